r"""Is a final answer to a problem in mathematics equal to the known one?

Cheap and exact first: the same text, the same rational number, the same list of such. What is left goes to math-verify
(Kydlíček 2025, https://github.com/huggingface/Math-Verify) in a process with a deadline and a memory limit. Its "equal"
is believed only where a second look confirms it: it rounds absolutely (1/2^99 = 1/2^98), reads (3, 1) as an empty
interval and an equation as 0, and drops units. Its "not equal" is believed where it read both answers.

Only the body of the last `\boxed{…}` counts. What is not certain is undecided: a false "right" is the worst error.
"""

from __future__ import annotations

import re
import time

from synth.verify import worker
from synth.verify.answers import boxed, final_part
from synth.verify.exact import FACTORIAL, rational
from synth.verify.verdict import Verdict, right, undecided, wrong

CHARACTERS = 2000
NESTING = 60
DIGITS = 1000
ITEMS = 200
EXPONENT = 20_000
SECONDS = 2.0
MEMORY_BYTES = 2 << 30

_FORMULA_NAMES = re.compile(
    r"\\(begin|end)\{\w+\}|\\text\{[^{}]*\}|\\[a-zA-Z]+"
    r"|(?<![a-zA-Z])(arc)?(sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm|max|min)"
)
_SCIENTIFIC = re.compile(r"^-?\d+(\.\d+)?[eE]-?\d{1,3}$")
_WORD = re.compile(r"[^\W\d_]{3,}|(?<![a-zA-Z])(cm|mm|km|kg|ft|in|is|of|to|no|or|not)(?![a-zA-Z])")
_AMBIGUOUS = re.compile(  # what math-verify drops, or reads in one of two ways; `␛` is a LaTeX command
    r"'|±|:|~ ?[a-zA-Z␛]|(?<![\d.])0\^\{?0(?![\d.])|[-/]0\d|/(\d+|[a-zA-Z])[a-zA-Z␛(]|[a-zA-Z]\d"
)
_SIGNS = str.maketrans({"−": "-", "–": "-", "×": r"\times ", "π": r"\pi ", "∞": r"\infty ", "％": "%"})
_AND = re.compile(r"\\text\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![a-zA-Z]),?\s*(?:or|and)(?![a-zA-Z])")
_INEQUALITY = re.compile(r"[<>≤≥≠]|\\([lg](e|t|eq|eqslant)|neq?)(?![a-zA-Z])")
_THOUSANDS = re.compile(
    r"[^\d,()\[\]{}]*[1-9]\d{0,2}((,|\{,\}|,\\!|\\,|\\ |,\\ )\d{3})+(\.\d+)?[^\d,()\[\]]*"
)


def check(answer: str, gold: str, compare: worker.Worker, seconds: float = SECONDS) -> Verdict:
    """The verdict on a generated text whose final answer should be `gold`; `compare` is `comparer()`."""
    extracted = boxed(final_part(answer))
    if extracted is None or not extracted:
        return wrong("no_boxed_answer")
    return equal(gold, extracted, compare, seconds)._replace(extracted=extracted[:CHARACTERS])


def comparer() -> worker.Worker:
    """The process that compares what is not decided here: started when first needed, closed by the caller."""
    return worker.Worker("synth.verify.symbolic:compare", MEMORY_BYTES)


def equal(gold: str, answer: str, compare: worker.Worker, seconds: float = SECONDS) -> Verdict:
    """Whether two answers mean the same. Either may be LaTeX or words."""
    for name, text in (("answer", answer), ("known answer", gold)):
        if problem := too_large(text):
            return undecided("too_large" if name == "answer" else "bad_check", f"the {name}: {problem}")
    gold, answer = normalised(gold), normalised(answer)
    if not gold:
        return undecided("bad_check", "the known answer is empty")
    if not answer:
        return wrong("no_boxed_answer", "the box is empty")
    if "\\boxed" in answer or "\\fbox" in answer:
        return undecided("nested_box")
    if gold == answer:
        return right(detail="the same text")
    return _decide(gold, answer, compare, time.monotonic() + seconds)


def too_large(text: str) -> str | None:
    """Why a text is not looked at: it could keep a computer algebra system busy for hours. None if it is fine."""
    if len(text) > CHARACTERS:
        return f"{len(text)} characters"
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    if deepest > NESTING:
        return f"nested {deepest} deep"
    if sum(map(str.isdigit, text)) > DIGITS:
        return "too many digits"
    if text.count(",") + text.count(";") + text.count("&") + text.count("\\\\") > ITEMS:
        return "too many items"
    squeezed = re.sub(r"[\s{}()\[\]]|\\left|\\right|\\[,!;:]", "", text).replace("**", "^")
    if re.search(r"\^[^+\-=,^]*\^", squeezed) and re.search(r"\d|!", squeezed):
        return "a tower of exponents"
    if any(int(number) > EXPONENT for number in re.findall(r"\^-?(\d+)", squeezed)):
        return "a large exponent"
    if re.search(r"!\s*[)}\]]*\s*!|\^[^+\-=,]*!", text):
        return "a factorial of a factorial, or in an exponent"
    for before in re.finditer(r"([\w\s^*+\-.{}()\[\]\\]*)!", text):
        inside = before[1][-60:]
        if any(int(number) > FACTORIAL for number in re.findall(r"\d+", inside)) or re.search(
            r"\^|\*", inside[-12:]
        ):
            return "a large factorial"
    if re.search(r"\\(sum|prod|int|lim|binom|[dt]?binom|gcd|lcm|choose)", text) and re.search(
        r"\d{5}|\^", text
    ):
        return "a sum, product, limit or binomial that may not end"
    return None


def normalised(text: str) -> str:
    r"""The text without what only changes how it looks: dollars around it, `\left`, spaces, `\dfrac`, a full stop.

    >>> normalised(r"$\left( \dfrac12,\ 3 \right).$")
    '(\\frac{1}{2},3)'
    """
    text = text.strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and len(text) > 2 and "$" not in inner:
            text = inner.strip()
    text = text.rstrip(".。") if not text.endswith("..") else text
    text = re.sub(r"\\(left|right|[bB]ig{1,2}[lr]?)(?![a-zA-Z])\.?", "", text)
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(
        r"\\(text|mathrm|textrm|operatorname|mbox|textbf|mathbf|textit|rm)\s*\{\s*([a-zA-Z])\s*\}",
        r"\2",
        text,
    )
    text = re.sub(r"\\(textbf|textit|textrm|mbox|mathrm|mathbf|operatorname)\s*\{", r"\\text{", text)
    if any(map(str.isdigit, text)) and not _INEQUALITY.search(text):  # of x < 1 and x > -1, "and" is a part
        text = _AND.sub(",", text)
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"(?<=\d)(\{,\}|,\\!|,\\ |\\,|\\ |,)(?=\d)", "", text)
    text = re.sub(r"(?<!\\)\\[,!;: ]|~|\\q?quad(?![a-zA-Z])|\\displaystyle(?![a-zA-Z])", " ", text)
    text = text.translate(_SIGNS)
    text = re.sub(r"\\[lg]eq?slant(?![a-zA-Z])", lambda match: match[0].replace("slant", ""), text)
    text = re.sub(r"\^\s*\{?\s*(\\circ|°)\s*\}?|°|\\degree(?![a-zA-Z])", r"^\\circ", text)
    text = _short_fractions(text)
    text = re.sub(r"\\text\s*\{([^{}]*)\}", lambda match: "\\text{" + " ".join(match[1].split()) + "}", text)
    if plain := re.fullmatch(r"\\text\{([^{}]*)\}", text.strip()):
        text = plain[1]
    if _is_words(text):
        return " ".join(text.split()).rstrip(".")
    text = re.sub(r"(\\[a-zA-Z]+)\s+(?=[a-zA-Z])", "\\1\0", text)  # the space after a command is part of it
    text = re.sub(r"(?<=\d)\s+(?=\d)", "␣", text)  # "1 2" is not 12
    text = re.sub(r"\s+", "", text).replace("\0", " ")
    return re.sub(r"([_^])\{(\w)\}(?!\w)", r"\1\2", text)


def _short_fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{23}` with all their braces; `\sqrt2` likewise."""
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}", text)
    return re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", text)


def _is_words(text: str) -> bool:
    return bool(re.fullmatch(r"[^\W\d_]{2,}([\s,'-]+[^\W\d_]+)*\.?", text.strip())) and "\\" not in text


def _decide(gold: str, answer: str, compare: worker.Worker, deadline: float) -> Verdict:
    """The verdict on two normalised texts that differ."""
    if _is_words(gold) or _is_words(answer):
        return _words(gold, answer)
    if (
        len(gold) == 1
        and gold.isalpha()
        and (choice := re.fullmatch(r"\(?\\?(?:text\{)?\(?([A-Za-z])\)?\}?\)?", answer))
    ):
        return right(detail="the same letter") if choice[1] == gold else wrong("not_equal")
    gold_name, gold_value = _assignment(gold)
    name, value = _assignment(answer)
    if (gold_name or name) and gold_value is not None and value is not None:
        if gold_name and name and gold_name != name:
            return undecided("equation", f"{gold_name} is asked, {name} is given")
        if gold_value == value:
            return right(detail="the same value")
        return _decide(gold_value, value, compare, deadline)
    if re.search(r"\\[lc]?dots|\.\.\.|…", gold + answer):
        return undecided("ellipsis")
    if "␣" in gold + answer:
        return undecided("unreadable", "digits with spaces between them")
    if re.search(r"\d[A-F]*_\{?\d", gold + " " + answer):
        return _based(gold, answer)
    if any(
        _AMBIGUOUS.search(_FORMULA_NAMES.sub(_keep_signs, _SCIENTIFIC.sub("", text)))
        for text in (gold, answer)
    ):
        return undecided("ambiguous", "a prime, a ratio, \\pm, a/bc or the like")
    if any(_WORD.search(_FORMULA_NAMES.sub("", text)) for text in (gold, answer)):
        return undecided("words_differ", "words among numbers are not understood")
    if (units := _units(gold, answer)) is not None:
        return units
    if (numbers := _numbers(gold, answer)) is not None:
        return numbers
    if (lists := _lists(gold, answer, compare, deadline)) is not None:
        return lists
    if _cases_mixed(gold, answer):
        return undecided("letter_case", "math-verify takes R and r for one letter")
    try:
        found = compare.ask({"gold": gold, "answer": answer}, max(deadline - time.monotonic(), 0.001))
    except worker.Silent as silent:
        return undecided("timeout", str(silent))
    except worker.Gone as error:
        return undecided("crashed", str(error))
    if "error" in found:
        return undecided("unreadable", str(found["error"]))
    if found["verdict"] == "equal":
        return right(detail="math-verify")
    return wrong("not_equal") if found["verdict"] == "different" else undecided(str(found["verdict"]))


def _keep_signs(command: re.Match[str]) -> str:
    return {r"\phantom": "'", r"\pm": "±", r"\mp": "±", r"\prime": "'", r"\times": "~", r"\colon": ":"}.get(
        command[0], "␛"
    )


def _cases_mixed(*texts: str) -> bool:
    """Whether a letter (or Greek one, as a command) occurs both as a capital and as a small one."""
    plain = (re.sub(r"\\text\{[^{}]*\}", "", text) for text in texts)
    letters = {letter for text in plain for letter in re.findall(r"\\[a-zA-Z]+|[^\W\d_]", text)}
    return len({letter.casefold() for letter in letters}) < len(letters)


def _words(gold: str, answer: str) -> Verdict:
    if gold.casefold() == answer.casefold():
        if all(text.lower() == "no" or (len(text) > 2 and _as_written(text)) for text in (gold, answer)):
            return right(detail="the same words")
        return undecided("letter_case", "short words and mixed ones may be formulas: AB, aB")
    one_word = r"[^\W\d_]+"
    if re.fullmatch(one_word, gold) and re.fullmatch(one_word, answer):
        return wrong("not_equal")
    return undecided("words_differ", "an answer in words may be said in other words")


def _as_written(words: str) -> bool:
    """Whether each word is all small, all capitals, or begins with a capital."""
    return all(word[1:] in (word[1:].lower(), word[1:].upper()) for word in re.findall(r"[^\W\d_]+", words))


def _assignment(text: str) -> tuple[str, str | None]:
    r"""The variable and the value of `x = 5` or `f(x) = 5`; no variable for a text without "="; no value otherwise."""
    if "=" not in text:
        return "", text
    match = re.fullmatch(r"([a-zA-Z]|\\[a-zA-Z]+)((?:_\{?\w+\}?)?(?:\([a-z]\))?)=([^=<>]+)", text)
    if match is None or match[1] in (r"\frac", r"\pi"):
        return "", None
    return match[1] + match[2], match[3]


def _based(gold: str, answer: str) -> Verdict:
    """Numbers with a base, `1011_2`: the same base is needed on both sides."""
    one, other = (re.fullmatch(r"([0-9A-F]+)_\{?(\d{1,2})\}?", text) for text in (gold, answer))
    based, plain = (one, answer) if one else (other, gold)
    if based and plain.isdigit() and plain != based[1]:
        return wrong("not_equal")
    if one is None or other is None or one[2] != other[2]:
        return undecided("base", "a base on one side only, or two bases")
    return (
        right(detail="the same digits") if one[1].lstrip("0") == other[1].lstrip("0") else wrong("not_equal")
    )


def _units(gold: str, answer: str) -> Verdict | None:
    """Undecided when the two differ in unit, currency or percent; None when they do not.

    Degrees are no unit here: an angle is asked in degrees or it is not written with 90.
    """
    pattern = r"\\text\{[^{}]*\}(?:\^\{?-?\d\}?)?|%|\\\$"
    one, other = (sorted(re.findall(pattern, text)) for text in (gold, answer))
    if one != other:
        return undecided("units", "units, currency or percent on one side only")
    return None


def _numbers(gold: str, answer: str) -> Verdict | None:
    """The verdict on two rational numbers, exactly; None if one is not rational."""
    a, b = (
        rational(re.sub(r"\^\\circ$|\\%$|\\text\{[^{}]*\}(\^\{?[23]\}?)?$", "", text))
        for text in (gold, answer)
    )
    if a is None or b is None:
        return None
    if a == b:
        return right(detail="the same number")
    if any("." in text for text in (gold, answer)) and abs(a - b) <= abs(a) / 100:
        return undecided("rounding", "one may be the other, rounded")
    return wrong("not_equal")


def _lists(gold: str, answer: str, compare: worker.Worker, deadline: float) -> Verdict | None:
    """The verdict on two lists of the same kind, item by item; None if neither is a list."""
    (kind, items), (other_kind, others) = _items(gold), _items(answer)
    if len(items) < 2 and len(others) < 2 and not (kind and other_kind):
        return None
    if len(items) == len(others) and kind != other_kind:
        return undecided("brackets", "the same number of items in other brackets")
    if len(items) != len(others):
        return (
            wrong("not_equal", f"{len(others)} items where {len(items)} are known")
            if kind == other_kind
            else None
        )
    if len(items) > ITEMS // 10:
        return undecided("too_large", f"{len(items)} items")

    def same(a: str, b: str) -> Verdict:
        return right() if a == b else _decide(a, b, compare, deadline)

    in_order = [same(a, b) for a, b in zip(items, others, strict=True)]
    if all(verdict.passed for verdict in in_order):
        return right(detail="the same items")
    if kind not in ("", "{"):  # a tuple, a vector, an interval
        return next((v for v in in_order if v.verdict == "wrong"), None) or next(
            v for v in in_order if not v.passed
        )
    left, doubt = list(others), None
    for item in items:
        verdicts = [same(item, other) for other in left]
        match = next((i for i, verdict in enumerate(verdicts) if verdict.passed), None)
        if match is None:
            doubt = next((verdict for verdict in verdicts if verdict.verdict == "undecided"), None)
            return doubt or wrong("not_equal")
        left.pop(match)
    return (
        right(detail="the same set") if kind == "{" else undecided("order", "the same items in another order")
    )


def _items(text: str) -> tuple[str, list[str]]:
    r"""The brackets of a list ("" without) and its items: `(1,2]` → "(]", `\{1,2\}` → "{", `1,2` → ""."""
    kind, inner = "", text
    if text.startswith(r"\{") and text.endswith(r"\}"):
        kind, inner = "{", text[2:-2]
    elif len(text) > 1 and text[0] in "([" and text[-1] in ")]":
        kind, inner = text[0] + text[-1], text[1:-1]
    items = _split(inner)
    if items is None:  # the first bracket is not closed by the last
        kind, items = "", _split(text)
    if items is None or "" in items:
        return "", [text]
    if kind not in ("", "{") and len(items) == 1:  # just brackets around an expression
        return "", [text]
    return kind, items


def _split(text: str) -> list[str] | None:
    """The parts between the commas outside all brackets; None if the brackets do not match."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return None
        if character in ",;" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if depth == 0 else None
