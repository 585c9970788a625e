"""Is a generated text good enough to learn from? Rules for texts that have no known answer.

Each rule is a countable reason to reject; the first that applies is given. They follow what Gopher (Rae et al. 2021,
arXiv:2112.11446) and later corpora use against machine repetition, and what goes wrong in generated text: cut off,
caught in a loop, a refusal, another language, remains of the chat template, a copy of the document or a text that is
not about it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from synth.verify.verdict import Verdict


class Rules(NamedTuple):
    """Limits; shares are of words (of characters in scripts without spaces) or of lines."""

    min_words: int = 30
    repeated_lines: float = 0.3  # share of lines that stood there before
    repeated_4grams: float = 0.4  # share of 4-grams that stood there before
    loop_characters: int = 120  # length of a tail that repeats itself at least four times
    same_script: float = 0.5  # least share of letters in the main script of the query
    about_document: float = 0.15  # least share of the text's distinct longer words that the query has too
    copied_8grams: float = 0.5  # share of the text's 8-grams that the query has too


_WORD = re.compile(r"[\u0e00-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\d_]+|\d+")
_TEMPLATE = re.compile(
    r"<\|[a-z_]{2,30}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(start|end)_of_turn>|^\s*#{2,3} (Instruction|Response):"
    r"|^\s*(Human|User|Assistant|System):\s*$|</?(think|tool_call)>",
    re.MULTILINE,
)
_REFUSAL = re.compile(
    r"\bas an? (AI|artificial intelligence|(large )?language model)\b|\bI('m| am) (just )?an? (AI|language model)\b"
    r"|\bI('m| am) sorry,? (but )?(I )?(can('t|not)|am (not able|unable)|won't)|\bmy (knowledge|training) cut-?off\b"
    r"|\bI (cannot|can't|am unable to|'m unable to) (assist|help|fulfil|comply|provide|answer|complete)\b"
    r"|作为一个?(人工智能|AI|语言模型)|我(无法|不能)(回答|提供|协助|帮助)|很抱歉，我(无法|不能)",
    re.IGNORECASE,
)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
about above after again also although because been before being between both could does doing down
during each every from further have having here into itself just more most much must only other over
same should since some such than that their them then there these they this those through under
until upon very what when where which while will with within without would your
""",
    )
)


def check(
    answer: str, finish_reason: str | None, query: str, analysis: bool, rules: Rules | None = None
) -> Verdict:
    """Accepted, or rejected with a reason. `analysis`: the text is about the document that the query contains.

    What stands in `<think>…</think>` before the text is judged with it; one that is never closed is unfinished.
    """
    reason, detail = _problem(answer, finish_reason, query, analysis, rules or Rules())
    return Verdict("rejected", reason, detail) if reason else Verdict("accepted")


def _problem(
    answer: str, finish_reason: str | None, query: str, analysis: bool, rules: Rules
) -> tuple[str | None, str]:
    if finish_reason != "stop":
        return ("truncated" if finish_reason == "length" else "unfinished"), str(finish_reason)
    thoughts, closed, text = answer.rpartition("</think>")
    if not closed:
        text = answer
    if thoughts:
        thoughts = thoughts.replace("<think>", "", 1)
    for part in (thoughts, text):
        if found := _TEMPLATE.search(part):
            return "template_leftover", found[0].strip()
    words = _WORD.findall(text)
    if len(words) < rules.min_words:
        return "too_short", f"{len(words)} words"
    if found := _REFUSAL.search(text):
        return "refusal", found[0]
    for part in (thoughts, text):
        if (share := repeated_lines(part)) > rules.repeated_lines:
            return "repetitive", f"{share:.2f} of the lines are repeated"
        if (share := repeated_ngrams(_WORD.findall(part.casefold()), 4)) > rules.repeated_4grams:
            return "repetitive", f"{share:.2f} of the 4-grams are repeated"
        if loop := loop_at_end(part, rules.loop_characters):
            return "loop", loop[:80]
    wanted = main_script(query)
    if wanted and (share := script_share(text, wanted)) < rules.same_script:
        return "wrong_language", f"{share:.2f} of the letters are {wanted.title()}"
    if analysis:
        lower = [word.casefold() for word in words]
        asked = [word.casefold() for word in _WORD.findall(query)]
        if (share := about(lower, asked)) < rules.about_document:
            return "off_document", f"{share:.2f} of its words are in the document"
        if (share := shared_ngrams(lower, asked, 8)) > rules.copied_8grams:
            return "copied", f"{share:.2f} of its 8-grams are in the document"
    return None, ""


def repeated_lines(text: str) -> float:
    """Share of non-blank lines that stood there before, weighted by length; short ones (`}`, `---`) are left out."""
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 10]
    if len(lines) < 4:
        return 0.0
    repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items())
    return repeated / sum(map(len, lines))


def repeated_ngrams(words: list[str], n: int) -> float:
    """Share of the n-grams that stood there before.

    >>> repeated_ngrams("a b a b a b".split(), 2)
    0.6
    """
    total = len(words) - n + 1
    if total < 1:
        return 0.0
    distinct = len({tuple(words[i : i + n]) for i in range(total)})
    return (total - distinct) / total


def loop_at_end(text: str, length: int) -> str:
    """What the text repeats at its end, at least four times and over `length` characters; "" if nothing."""
    text = text.rstrip()[-4000:]
    for period in range(1, 1000):
        run = 0
        while run + period < len(text) and text[-1 - run] == text[-1 - run - period]:
            run += 1
        if run >= max(3 * period, length):
            return text[-period:]
    return ""


def main_script(text: str) -> str:
    """The script with most letters ("LATIN", "CJK", "CYRILLIC", …); "" for a text without letters."""
    found = _scripts(text)
    return found.most_common(1)[0][0] if found else ""


def script_share(text: str, script: str) -> float:
    """Share of the letters that belong to a script. Code and formulas are Latin, so those never count against Latin."""
    text = re.sub(r"```.*?(```|\Z)|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`", " ", text, flags=re.DOTALL)
    found = _scripts(text)
    return found[script] / found.total() if found else 1.0


def _scripts(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        if letter.isascii():
            found["LATIN"] += count * letter.isalpha()
        elif letter.isalpha():
            script = unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]
            found["CJK" if script in ("HIRAGANA", "KATAKANA") else script] += count
    return +found


def about(words: list[str], document: list[str]) -> float:
    """Share of the distinct words of substance (or pairs of characters without spaces) that the document has too."""
    of_text, of_document = _substance(words), _substance(document)
    return len(of_text & of_document) / len(of_text) if of_text else 0.0


def _substance(words: list[str]) -> set[str]:
    pairs = {a + b for a, b in pairwise(words) if len(a) == len(b) == 1 and a > "\u0e00" and b > "\u0e00"}
    return pairs | {word for word in words if len(word) > 3 and word not in _COMMON}


def shared_ngrams(words: list[str], document: list[str], n: int) -> float:
    """Share of the n-grams of a text that the document has too; 0 for one shorter than n words."""
    total = len(words) - n + 1
    if total < 1:
        return 0.0
    known = {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}
    return sum(tuple(words[i : i + n]) in known for i in range(total)) / total
