"""Signals against hand-worked texts, and against a slow second implementation made of regular expressions."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.signals import INFERENCE, SIGNALS, STOP_WORDS, Signals, signals
from filters.words import find_words, regions, texts_of


def of(text: str) -> dict[str, float]:
    return {name: values[0].item() for name, values in signals(texts_of(pa.array([text]))).items()}


def words_of(text: str, everything: bool = False) -> list[str]:
    texts = texts_of(pa.array([text]))
    words = find_words(texts, None if everything else regions(texts))
    return [texts.data[a:b].tobytes().decode() for a, b in zip(words.starts, words.ends, strict=True)]


def kinds_of(text: str) -> str:
    """One letter a character: . prose, l link, s span, u URL, t target, f formula, c code."""
    marks = regions(texts_of(pa.array([text])))
    return "".join(".lsutfc"[marks[len(text[:i].encode())]] for i in range(len(text)))


# --- hand-worked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $x$ b", "..fff.."),
        ("$5 and $10 now", ".............."),  # prices
        ("is $5-$10 now", "............."),  # a digit follows
        (r"\$x$ y", "......"),
        (r"$a\$b$ y", "ffffff.."),
        ("$$a\nb$$", "fffffff"),
        ("$$a\n\nb$$", "........"),  # a formula ends with its paragraph
        ("`$a$` $a$", "sssss.fff"),
        ("```py\n$a$\n```\nb $x$", "ccccccccccccc...fff"),
        ("~~~~\n~~~\n~~~~ \nb", "cccccccccccccc.."),
        ("```\nnever closed\n\nx", "c" * 19),
        ("$x\n```\ny$\n```", "...cccccccccc"),  # no formula reaches into code
        ("$x\ny$ $x\ny\nz$", "fffff........"),  # one line break in a formula, not two
        ("```\na\n`````\nb", "ccccccccccc.."),  # a closing fence may be longer
        ("    ```\nx", "........."),  # four spaces open no fence
        ("```x``` y", "sssssss.."),
        ("see [a b](http://c.d/(e)) f", "....llll" + "t" * 17 + ".."),
        ("at https://a.b/c?d=1, then", "..." + "u" * 17 + "......"),
        ("shttps://a http:/b https:// ttp://c", "." + "u" * 9 + "." * 9 + "u" * 8 + "." * 8),
        (r"\http://a \https://b s://c", "." * 26),  # escaped, and none
        ("(http://a)://b http://a://b", ".uuuuuuuu......" + "u" * 12),
        ("`http`://a $h$ttp://b", "ssssss.....fff......."),
    ],
)
def test_regions(text: str, expected: str) -> None:
    assert kinds_of(text) == expected


def test_words() -> None:
    assert words_of("Don't pay 1,000.50 for it, x_1 = y-2.") == [
        "Don't",
        "pay",
        "1,000.50",
        "for",
        "it",
        "x",
        "1",
        "y",
        "2",
    ]
    assert words_of("我们证明 ประเทศ 한국어 text") == [
        "我",
        "们",
        "证",
        "明",
        "ป",
        "ร",
        "ะ",
        "เ",
        "ท",
        "ศ",
        "한국어",
        "text",
    ]
    assert words_of(r"so \frac{a}{b}, $hidden$ `shown`") == ["so", "a", "b", "shown"]
    assert words_of(r"\sinx \sin x \frac \arcsin{y}") == ["sin", "x", "arcsin", "y"]
    assert words_of("$shown$ when all is asked for", everything=True)[0] == "shown"
    assert words_of("") == []


def test_words_that_are_the_same() -> None:
    same = [
        ("Don’t", "dont"),
        ("Café", "cafe\u0301"),
        ("1,000", "１０００"),
        ("𝑥", "X"),
        ("ΣΑΣ", "σας"),
        ("co\u00adop", "coop"),
    ]
    for a, b in same:
        words = find_words(texts_of(pa.array([f"{a} {b}"])))
        assert words.hashes[0] == words.hashes[1], (a, b)
    different = find_words(texts_of(pa.array(["3.14 314 か が a b ab ba"]))).hashes
    assert len(set(different.tolist())) == len(different)


def test_a_short_proof() -> None:
    text = (
        "# A proof\n\n"
        "Suppose $n$ is even. Then $n = 2k = k + k$, e.g. for the number four...\n"
        "Therefore it follows that we are done!\n\n"
        "- one step\n"
        "2. another step\n\n"
        "```python\nprint('since')\n```\n"
    )
    got = of(text)
    # words: A proof | Suppose is even Then e g for the number four | Therefore it follows that we are done |
    #        one step | 2 another step
    assert got["words"] == 2 + 10 + 7 + 2 + 3
    assert got["characters"] == len(text)
    assert got["lines"] == 5
    # heading · Suppose … even. · Then … four... · Therefore … done! · one step · another step
    assert got["sentences"] == 6
    assert got["bullet_line_share"] == pytest.approx(1 / 5)
    assert got["list_item_share"] == pytest.approx(2 / 5)
    assert got["ellipsis_line_share"] == pytest.approx(1 / 5)
    assert got["line_punctuation_share"] == pytest.approx(2 / 5)
    assert got["short_line_share"] == pytest.approx(3 / 5)
    assert got["alphabetic_share"] == pytest.approx(23 / 24)  # all but "2"
    assert got["symbol_ratio"] == pytest.approx(1 / 24)  # the ellipsis; the heading's # is structure
    assert got["stop_words"] == 2  # the, that
    assert got["formula_count"] == 2
    assert got["formula_share"] == pytest.approx((3 + 16) / len(text))
    assert got["equation_chain_count"] == 1
    assert got["code_block_count"] == 1
    assert got["code_share"] == pytest.approx(len("```python\nprint('since')\n```") / len(text))
    assert got["inference_words_per_sentence"] == pytest.approx(3 / 6)  # suppose, therefore, it follows
    assert 0 < got["reasoning"] < 1


def test_repetition() -> None:
    got = of("red fish\nblue fish\n\nred fish\nblue fish\n\nend\n")
    assert got["duplicate_line_share"] == pytest.approx(2 / 5)
    assert got["duplicate_paragraph_share"] == pytest.approx(1 / 3)
    assert got["unique_word_share"] == pytest.approx(4 / 9)
    # "red fish", "fish blue" and "blue fish" occur twice; 9 characters is the longest
    assert got["top_2gram_share"] == pytest.approx(2 * 9 / 44)
    assert of("all words differ here")["top_2gram_share"] == 0


def test_what_just_fails_to_be_something() -> None:
    assert of("so, that is it. It; follows")["inference_words_per_sentence"] == 0
    assert of("so\nthat is it")["inference_words_per_sentence"] == 1
    assert of("two.. dots")["symbol_ratio"] == 0
    assert of("four.... dots and … one")["symbol_ratio"] == pytest.approx(2 / 4)
    assert of("####### seven marks")["symbol_ratio"] == pytest.approx(7 / 2)  # no heading
    assert of("###### six marks")["symbol_ratio"] == 0
    assert of("A. Smith is here")["list_item_share"] == 0


def test_chinese_counts_characters() -> None:
    got = of("因为三角形相等，所以边相等。我们得到结论！")
    assert got["words"] == 7 + 5 + 6
    assert got["sentences"] == 2
    assert got["mean_word_length"] == 1
    assert got["inference_words_per_sentence"] == pytest.approx(2 / 2)
    assert got["line_punctuation_share"] == 1


def test_sums_over_indices_are_no_equation_chains() -> None:
    assert of(r"$\sum_{i=1}^{n} \sum_{j=1}^{m} a_{ij} = b$")["equation_chain_count"] == 0
    assert of(r"$a \implies b \iff c$")["equation_chain_count"] == 1
    assert of(r"$$\begin{aligned} a &= b \\ &= c \end{aligned}$$")["equation_chain_count"] == 1
    assert of(r"$a <= b != c == d$")["equation_chain_count"] == 0  # operators of programs; == is one sign


def test_link_density() -> None:
    text = "[menu](http://a.b) and prose"
    assert of(text)["link_density"] == pytest.approx(len("[menu") / len("[menu and prose"))


def test_reasoning_separates_a_derivation_from_a_menu() -> None:
    derivation = (
        "Suppose $a = b$. Then, since $c = d$, we have $a + c = b + d = e$. Hence the claim follows. " * 8
    )
    menu = "- Home page\n- All our products\n- Contact and imprint\n" * 15
    story = "The old man walked down to the harbour and looked at the boats. It was a cold morning. " * 8
    assert of(derivation)["reasoning"] > 0.5
    assert of(menu)["reasoning"] < 0.15
    assert of(story)["reasoning"] < 0.05


def test_the_stage_keeps_every_row_and_defines_every_column() -> None:
    texts = ["", "One sentence.", "\n\n \n", "```\nonly code\n```", "$$x$$"]
    batch = pa.table({"id": list("abcde"), "text": texts}).slice(1)  # offsets that do not begin at 0
    kept = Signals().process(batch).kept
    assert kept["id"].to_pylist() == list("bcde")
    assert kept.schema.equals(Signals.schema)
    assert set(kept.schema.names) == {"id", *(f"signal_{name}" for name in SIGNALS)}
    assert kept["signal_words"].to_pylist() == [2, 0, 0, 0]
    assert kept["signal_code_share"].to_pylist() == [0, 0, 1, 0]
    for name in SIGNALS:
        values = kept[f"signal_{name}"].to_numpy()
        assert np.isfinite(values).all(), name
        if name.endswith("share"):
            assert ((values >= 0) & (values <= 1)).all(), name


def test_large_strings_chunks_and_nulls() -> None:
    texts = ["One sentence.", None, "Two. Sentences here."]
    plain = signals(texts_of(pa.array(texts)))
    chunked = signals(texts_of(pa.chunked_array([pa.array(texts[:1]), pa.array(texts[1:])])))
    large = signals(texts_of(pa.array(texts, pa.large_string())))
    for name, values in plain.items():
        np.testing.assert_array_equal(values, chunked[name])
        np.testing.assert_array_equal(values, large[name])


# --- the slow reference -------------------------------------------------------------------------------------

STOPS, CJK_STOPS = ".!?…", "。！？"
NEITHER, CODE, END = "\ue001\ue002\ue003"  # stand for what is no prose, for code, for the end of a sentence
CLOSERS = "\"')]}*_’”»》」』】）"
BLANKS = "".join(map(chr, range(33)))
BULLETS = "-*+•·●○◦▪■‣–—"
PARAGRAPH = r"\n[ \t\r]*(?:\n|\Z)"


def slow_kinds(text: str) -> list[str]:
    kinds: list[str] = []
    prose, fence = "", None
    lines = text.split("\n")
    for number, line in enumerate(lines):
        newline = "\n" if number < len(lines) - 1 else ""
        if fence:
            closing = re.fullmatch(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t\r]*", line)
            kinds += "c" * len(line) + ("." if closing else "c") * len(newline)
            fence = None if closing else fence
        elif opening := re.fullmatch(r" {0,3}(`{3,})[^`]*|(?: {0,3})(~{3,}).*", line):
            kinds += slow_prose(prose)
            prose, fence = "", opening[1] or opening[2]
            kinds += "c" * len(line + newline)
        else:
            prose += line + newline
            if number == len(lines) - 1 or re.match(r" {0,3}(`{3,}[^`\n]*$|~{3,})", lines[number + 1]):
                kinds += slow_prose(prose)
                prose = ""
    return kinds + slow_prose(prose)


def slow_prose(text: str) -> list[str]:
    kinds = ["."] * len(text)
    bracket, i = -1, 0

    def mark(stop: int, kind: str) -> int:
        kinds[i:stop] = kind * (stop - i)
        return stop

    while i < len(text):
        rest = text[i:]
        if re.match(r"\\[^\n]", rest):
            i += 2
        elif rest.startswith("$$"):
            ends = (m for m in re.finditer(rf"\\[^\n]|\$\$|{PARAGRAPH}", text[i + 2 :]) if m[0][0] != "\\")
            end = next(ends, None)
            i = mark(i + 2 + end.end(), "f") if end and end[0] == "$$" and end.start() else i + 2
        elif re.match(r"\$[^ \t\n\r]", rest):
            found = re.match(r"\$((?:\\[^\n]|\\(?=\n)|[^$\\])*)\$(?![0-9])", rest)
            inner = found[1] if found else " "
            good = inner[-1] not in " \t\n\r" and inner.count("\n") < 2 and not re.search(PARAGRAPH, inner)
            i = mark(i + len(inner) + 2, "f") if good else i + 1
        elif rest[0] == "`":
            run = rest[: len(rest) - len(rest.lstrip("`"))]
            ends = (
                m for m in re.finditer(f"`+|{PARAGRAPH}", rest[len(run) :]) if m[0] == run or "\n" in m[0]
            )
            end = next(ends, None)
            i = mark(i + len(run) + end.end(), "s") if end and end[0] == run else i + len(run)
        elif rest.startswith("](") and (stop := balanced(rest)):
            if bracket >= 0:
                kinds[bracket:i] = ["l" if kind == "." else kind for kind in kinds[bracket:i]]
            bracket = -1
            i = mark(i + stop, "t")
        elif rest != "http://" and (found := re.match(r"https?://[^\x00-\x20\"<>)\]`]*", rest)):
            i = mark(i + max(7, len(found[0].rstrip(".,:;!?'"))), "u")
        else:
            bracket = {"[": i, "\n": -1}.get(rest[0], bracket)
            i += 1
    return kinds


def balanced(rest: str) -> int:
    """Length of `](…)` at the beginning of `rest`, 0 if its bracket is not closed on the line."""
    depth = 0
    for i, character in enumerate(rest.split("\n")[0]):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == ")" and depth == 0:
            return i + 1
    return 0


def letter_class(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "L":
        return "u" if re.match(r"[฀-႟぀-ヿ㐀-鿿]", character) else "l"
    return {"N": "d", "M": "m"}.get(
        category[0], "'" if character in "'’" else "." if character in ".," else "o"
    )


def slow_words(text: str, kinds: list[str]) -> list[tuple[int, int]]:
    classes = "".join(letter_class(c) if kind in ".ls" else "x" for c, kind in zip(text, kinds, strict=True))
    for command in re.finditer(r"\\[A-Za-z]+", text):
        if kinds[command.start()] in ".ls":
            classes = classes[: command.start()] + "x" * len(command[0]) + classes[command.end() :]
    return [m.span() for m in re.finditer(r"um*|(?:lm*(?:'(?=l))?|dm*(?:\.(?=d))?)+", classes)]


def fold(word: str) -> str:
    return "".join(
        c
        for c in unicodedata.normalize("NFKD", word.casefold())
        if not unicodedata.combining(c) and c not in "'’,"
    )


def slow_signals(text: str) -> dict[str, float]:
    kinds = slow_kinds(text)
    prose = [c for c, kind in zip(text, kinds, strict=True) if kind in ".ls"]
    spans = slow_words(text, kinds)
    words = [fold(text[a:b]) for a, b in spans]
    lengths = [b - a for a, b in spans]
    n = len(words)

    view = "".join(
        c if k in ".ls" else CODE if k == "c" else NEITHER for c, k in zip(text, kinds, strict=True)
    )
    lines: list[tuple[str, re.Match[str] | None, str]] = []
    paragraphs: list[list[tuple[str, bool]]] = [[]]
    sentence_text, heading_marks = "", 0
    for raw, line in zip(text.split("\n"), slow_split(text, view), strict=True):
        trimmed = raw.strip(BLANKS)
        if not trimmed or line.lstrip(BLANKS).startswith(CODE):
            paragraphs.append([])
            sentence_text += END + "\n"
            continue
        shown = line[len(raw) - len(raw.lstrip(BLANKS)) :][: len(trimmed)]
        lead = re.match(
            rf"(#{{1,6}})(?: |$)|([{re.escape(BULLETS)}]) |(\(?(?:[0-9]{{1,3}}|[A-Za-z])\)|[0-9]{{1,3}}\.) ",
            shown,
        )
        marks = lead[1] or "" if lead else ""  # of a heading
        heading_marks += len(marks)
        sentence_text += END + shown[lead.end() :] if lead else shown
        sentence_text += "\n" + (END if marks else "")
        has_word = any(letter_class(c) in "uld" for c in shown if c not in NEITHER + CODE)
        paragraphs[-1].append((trimmed, has_word))
        if has_word:
            tail = re.sub(rf"[{re.escape(CLOSERS)}{NEITHER}{CODE}\s\u0300-\u036f]+$", "", shown)
            lines.append((trimmed, lead, tail))
    # sentences
    ends = (
        rf"[{STOPS}](?=[{re.escape(CLOSERS + STOPS)}]*(?:\Z|{END}|\s+(?:(?![\s])[^a-zé]|\Z)))|[{CJK_STOPS}]"
    )
    pieces = re.split(END, re.sub(ends, END, sentence_text))
    sentences = sum(
        any(letter_class(c) in "uld" for c in piece if c not in NEITHER + CODE) for piece in pieces
    )

    pairs = Counter(itertools.pairwise(words))
    sizes: dict[tuple[str, str], list[int]] = {}
    for i, pair in enumerate(itertools.pairwise(words)):
        sizes.setdefault(pair, []).append(lengths[i] + lengths[i + 1] + (spans[i + 1][0] > spans[i][1]))
    frequent = max(pairs.values(), default=0)
    top = (
        max((frequent * sizes[p][-1] for p, times in pairs.items() if times == frequent), default=0)
        if frequent > 1
        else 0
    )

    phrases = [
        tuple(fold(text_[a:b]) for a, b in slow_words(text_, ["."] * len(text_))) for text_ in INFERENCE
    ]
    inferences = 0
    for i in range(n):
        for phrase in phrases:
            k = len(phrase)
            gaps = [text[spans[j][1] : spans[j + 1][0]] for j in range(i, min(i + k, n) - 1)]
            inferences += tuple(words[i : i + k]) == phrase and not any(
                re.search(r"[^\x00-\x20]", gap) for gap in gaps
            )

    formulas = [m[0] for m in re.finditer("f+", "".join(kinds))]
    formula_texts = [text[m.start() : m.end()] for m in re.finditer("f+", "".join(kinds))]
    real = [p for p in paragraphs if any(has for _, has in p)]
    solid = [c for c in prose if not c.isspace()]
    joined = "".join(c if k in ".ls" else NEITHER for c, k in zip(text, kinds, strict=True))
    ellipses = len(re.findall(r"\.{3,}", joined)) + joined.count("…")

    def share(a: float, b: float) -> float:
        return a / b if b else 0.0

    return {
        "words": n,
        "characters": len(text),
        "sentences": sentences,
        "lines": len(lines),
        "mean_word_length": share(sum(lengths), n),
        "alphabetic_share": share(sum(any(c.isalpha() for c in w) for w in words), n),
        "symbol_ratio": share(ellipses + "".join(prose).count("#") - heading_marks, n),
        "digit_share": share(sum(letter_class(c) == "d" for c in solid), len(solid)),
        "bullet_line_share": share(sum(bool(lead and lead[2]) for _, lead, _ in lines), len(lines)),
        "list_item_share": share(sum(bool(lead and not lead[1]) for _, lead, _ in lines), len(lines)),
        "line_punctuation_share": share(
            sum(tail.endswith(tuple(STOPS + CJK_STOPS + ":;：；")) for _, _, tail in lines), len(lines)
        ),
        "ellipsis_line_share": share(sum(tail.endswith(("...", "…")) for _, _, tail in lines), len(lines)),
        "short_line_share": share(sum(len(t) <= 30 for t, _, _ in lines), len(lines)),
        "duplicate_line_share": share(len(lines) - len({t for t, _, _ in lines}), len(lines)),
        "duplicate_paragraph_share": share(
            len(real) - len({tuple(t for t, _ in p) for p in real}), len(real)
        ),
        "top_2gram_share": min(1.0, share(top, len(prose))),
        "stop_words": len(set(words) & set(STOP_WORDS)),
        "unique_word_share": share(len(set(words)), n),
        "formula_count": len(formulas),
        "formula_share": share(sum(map(len, formulas)), len(text)),
        "code_block_count": len(re.findall("c+", "".join(kinds))),
        "code_share": share(kinds.count("c"), len(text)),
        "inference_words_per_sentence": share(inferences, sentences),
        "equation_chain_count": sum(slow_chain(f) for f in formula_texts),
        "link_density": share(kinds.count("l") + kinds.count("u"), len(prose) + kinds.count("u")),
    }


def slow_split(text: str, view: str) -> list[str]:
    """`view` cut where `text` has its newlines."""
    cuts = [-1, *(i for i, c in enumerate(text) if c == "\n"), len(text)]
    return [view[a + 1 : b] for a, b in itertools.pairwise(cuts)]


def slow_chain(formula: str) -> bool:
    depth = found = 0
    for token in re.finditer(r"\\[A-Za-z]+|\\.|[{}]|(?<![=!<>])=|[≈≡⇒⇔]", formula, re.S):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        names = (r"\approx", r"\equiv", r"\implies", r"\iff", r"\Rightarrow", r"\Leftrightarrow")
        found += depth == 0 and (token[0] in "=≈≡⇒⇔" or token[0] in names)
    return found >= 2


PIECES = (
    *(
        "the",
        "Therefore",
        "it follows",
        "we have",
        "so that",
        "Since",
        "don't",
        "x",
        "A",
        "é",
        "e\u0301",
        "3.14",
        "1,000",
        "7",
    ),
    *(
        " ",
        " ",
        " ",
        "\n",
        "\n",
        "\n\n",
        "\t",
        ". ",
        "! ",
        "? ",
        "...",
        "…",
        ":",
        ";",
        ",",
        '"',
        "'",
        ")",
        "(",
        "#",
        "# ",
        "## ",
    ),
    *(
        "- ",
        "* ",
        "1. ",
        "2) ",
        "(a) ",
        "\n- ",
        "\n# ",
        "$",
        "$",
        "$$",
        "$x = y = z$",
        "$$\na \\implies b\n$$",
        "{",
        "}",
        "=",
        "\\",
    ),
    *(
        "\\frac",
        "\\$",
        "`",
        "``",
        "```",
        "\n```\n",
        "\n~~~\n",
        "~~~~",
        "[",
        "](",
        "](http://a.b/c)",
        "http://",
        "https://d.e/f ",
    ),
    *(
        "因为",
        "所以",
        "。",
        "！",
        "我",
        "ไทย",
        "か",
        "\n红鱼\n",
        "red fish\n",
        "red fish",
        "-",
        "–",
        "_",
        "**",
        "≈",
    ),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_regions_against_the_slow_reference(text: str) -> None:
    assert kinds_of(text) == "".join(slow_kinds(text))


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_signals_against_the_slow_reference(text: str) -> None:
    got, expected = of(text), slow_signals(text)
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-6), name


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_is_counted_and_texts_do_not_touch_each_other(texts: list[str]) -> None:
    together = signals(texts_of(pa.array(texts, pa.string())))
    alone = [of(text) for text in texts]
    for name, values in together.items():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, [np.asarray(one[name], values.dtype) for one in alone])
