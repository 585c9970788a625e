"""The columns gopher_…, c4_… and fineweb_… against datatrove's own filters, given our words and sentences.

datatrove gets the prose of a text: formulas, fenced code and addresses are left out by design. What its filters
compare with a threshold is seen from outside: with a threshold a little below they drop, a little above they keep.
"""

from __future__ import annotations

import decimal
import difflib
import email.message
import heapq
import inspect
import json
import math
import random
import re
import statistics
import textwrap
import unicodedata
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils import text as datatrove_text
from datatrove.utils import word_tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.filters_parts.signals import DATATROVE, decisions
from filters.signals import TERMINALS, Signals, signals
from filters.words import SPAN, find_words, regions, texts_of

PAGE = """# Why the harmonic series diverges #

Group the terms… First, let us bound each group from below:

$$\\sum_{k=1}^{2^n} \\frac1k = 1 + \\frac12 + \\dots \\geq 1 + \\frac n2$$

- each group has at least $2^{k-1}$ terms; each is at least $2^{-k}$
- so every group adds one half...
- so every group adds one half...
• and there is no last group.[1][citation needed]

```python
total = sum(1 / k for k in range(1, 1000))  # {no prose}
```

Therefore the sums grow without bound. "See also" the [notes](http://a.b/c) of 1689! Is that all?
Enable JavaScript to see the applet.
By reading on you accept our Terms of Use and privacy policy.
We repeat that we repeat that we repeat that we repeat that we repeat that we repeat that nothing is new.
We repeat that we repeat that we repeat that we repeat that we repeat that we repeat that nothing is new.
Lorem ipsum dolor sit amet, 1 10 and 11 0 and 1 1 0 and a set {x} of names.
"""
TEXTS = [
    PAGE,
    PAGE.replace("{x}", "x").replace("Lorem", "Dolorem"),
    "\n\n  \n  red fish\n\nblue fish \n \nred fish\n\n\n red fish\n\nblue fish \u3000\n",
    "\nred fish\nred fish\nRed fish\n\nred fish\nred fish\n",
    "red fish\nblue fish\n\nend\n\n\nred fish\nblue fish\n\nred fish\nblue fish  \n \n",
    "xy z, xz y, yx z, yz x. " * 3 + "1 10 11 0, 11 01 0, 1 1 0 1 0. 1 10 11 0. 11 01 0. 1 1 0 1 0.",
    "one\r\ntwo three four.\rfive six seven.\x0cEight nine\u2028ten eleven twelve. \x85 - thirteen [3] fourteen.\n\n",
    "因为三角形相等，所以边相等。我们得到结论！\n所以边相等。所以边相等。所以边相等。\n\n• 所以边相等…",
    "Καλημέρα κόσμε; ναι. Ὁ κόσμος εἶναι μεγάλος. ประเทศไทย ฯ ยินดี. नमस्ते दुनिया। यह ठीक है।\n" * 3,
    "a " * 40 + "b. " + "x" * 1001 + " is a long word.\n" + "y" * 1000 + " is not a long one.",
    "- - - ... .\n' ' ' \"\nno end\nthe be to of and that have with. The Be To Of.",
    *(
        inspect.getdoc(thing) or ""
        for thing in (decimal, difflib, heapq, json, math, random, re, statistics, textwrap)
    ),
    *(
        inspect.getdoc(thing) or ""
        for thing in (difflib.SequenceMatcher, difflib.Differ, email.message.Message, heapq.merge)
    ),
    inspect.getdoc(textwrap.TextWrapper) or "",
    # long ones of few words: nearly every sequence comes again, some only joined otherwise ("a ab" = "aa b")
    *(
        "".join(random.Random(seed).choices(words, k=900))
        for seed, words in enumerate(
            (["a ", "b ", "ab ", "ba. ", "aab\n", "b\n\n", "c-"], ["因", "为", "所 ", "以。", "à ", "la\n"])
        )
    ),
    " ".join(f"w{n * n % 97} of {n % 41} internationalisations" for n in range(700)),
    *(inspect.getsource(thing) for thing in (heapq.merge, statistics.median_grouped, difflib.unified_diff)),
]
PIECES = (
    *(
        "the",
        "The",
        "red fish",
        "red",
        "fish",
        "don't",
        "é",
        "e\u0301",
        "3.14",
        "1",
        "11",
        "因为",
        "か",
        "ไทย",
    ),
    *(
        " ",
        " ",
        " ",
        "\u3000",
        "\t",
        "\n",
        "\n",
        "\n\n",
        "\n\n\n",
        "\r",
        "\r\n",
        "\x0b",
        "\x85",
        "\u2029",
        "\x1d",
    ),
    *(
        ".",
        ". ",
        "...",
        "....",
        "…",
        "! ",
        "?",
        "？",
        "。",
        "।",
        "𑁇",
        '"',
        "'",
        ")",
        ", ",
        "#",
        "# ",
        "•",
        "- ",
    ),
    *(
        "1. ",
        "[1]",
        "[]",
        "[edit]",
        "[citation needed]",
        "[12",
        "]",
        "{",
        "Java",
        "JAVASCRIPT",
        "lorem ipsum",
    ),
    *(
        "use cookies",
        "uses cookies",
        "Privacy",
        " policy",
        "red fish\nred fish\n",
        "a b c d e f g ",
        "ab cd ",
    ),
)


def prose_of(text: str) -> str:
    texts = texts_of(pa.array([text]))
    return texts.data[regions(texts) <= SPAN].tobytes().decode()


def words_of(text: str) -> list[str]:
    texts = texts_of(pa.array([text]))
    words = find_words(texts, regions(texts))
    return [texts.data[a:b].tobytes().decode() for a, b in zip(words.starts, words.ends, strict=True)]


def sentences_of(line: str) -> int:
    """Sentences of a line, by a regular expression: what begins it as a list item or heading is left out."""
    closers = re.escape("\"')]}*_’”»〉》」』】）.!?…")
    lead = r"#{1,6}(?: |$)|[-+*•·●○◦▪■‣–—] |\(?(?:[0-9]{1,3}|[A-Za-z])\) |[0-9]{1,3}\. "
    line = re.sub(f"^(?:{lead})", "", line.strip())
    marked, end = "", 0
    for stop in re.finditer(rf"[.!?…](?=[{closers}]*(?:\s+(\S)|\s*$))|[。！？]", line):
        if stop[1] is None or unicodedata.category(stop[1]) != "Ll":
            marked += line[end : stop.end()] + "\0"
            end = stop.end()
    return sum(any(unicodedata.category(c)[0] in "LN" for c in s) for s in (marked + line[end:]).split("\0"))


class OurWords:
    """A tokenizer for datatrove; `words` are those of the text that is being looked at."""

    words: list[str]

    def word_tokenize(self, text: str) -> list[str]:
        return self.words

    def span_tokenize(self, line: str) -> Iterator[tuple[int, int]]:
        return iter([(i, i + 1) for i in range(sentences_of(line))])


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[OurWords]:
    with pytest.MonkeyPatch.context() as patch:
        ours = OurWords()
        patch.setattr(word_tokenizers, "load_word_tokenizer", lambda language: ours)
        patch.setattr(datatrove_text, "split_into_parts", datatrove_text.split_into_parts.__wrapped__)
        yield ours


def verdict(filter_: object, text: str) -> str | None:
    """Why datatrove drops a text, None if it keeps it."""
    result = filter_.filter(Document(text, "0"))  # type: ignore[attr-defined]
    return None if result is True else result[1]


def quality(**thresholds: float) -> GopherQualityFilter:
    names = ("doc_words", "avg_word_length")
    off = {f"{side}_{name}": None for side in ("min", "max") for name in names}
    off |= dict.fromkeys(
        (
            "max_symbol_word_ratio",
            "max_bullet_lines_ratio",
            "max_ellipsis_lines_ratio",
            "max_non_alpha_words_ratio",
            "min_stop_words",
        )
    )
    return GopherQualityFilter(**(off | thresholds))


def repetition(**thresholds: object) -> GopherRepetitionFilter:
    off = dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"))
    return GopherRepetitionFilter(**({**off, "top_n_grams": (), "dup_n_grams": ()} | thresholds))


def top_gram(n: int) -> Callable[[float], object]:
    return lambda t: repetition(top_n_grams=((n, t),))


def repeated_gram(n: int) -> Callable[[float], object]:
    return lambda t: repetition(dup_n_grams=((n, t),))


def fineweb(**thresholds: float) -> FineWebQualityFilter:
    off = {"line_punct_thr": 0, "short_line_thr": 1, "char_duplicates_ratio": 1, "new_line_ratio": math.inf}
    return FineWebQualityFilter(**(off | thresholds))


# column: the filter with that threshold, the reason it gives, whether it drops what is above
THRESHOLDS: dict[str, tuple[Callable[[float], object], str, bool]] = {
    "words": (lambda t: quality(min_doc_words=t), "gopher_short_doc", False),
    "mean_word_length": (lambda t: quality(min_avg_word_length=t), "gopher_below_avg_threshold", False),
    "alphabetic_share": (
        lambda t: quality(max_non_alpha_words_ratio=t),
        "gopher_below_alpha_threshold",
        False,
    ),
    "gopher_hash_ratio": (lambda t: quality(max_symbol_word_ratio=t), "gopher_too_many_hashes", True),
    "gopher_ellipsis_ratio": (lambda t: quality(max_symbol_word_ratio=t), "gopher_too_many_ellipsis", True),
    "gopher_bullet_line_share": (
        lambda t: quality(max_bullet_lines_ratio=t),
        "gopher_too_many_bullets",
        True,
    ),
    "gopher_ellipsis_line_share": (
        lambda t: quality(max_ellipsis_lines_ratio=t),
        "gopher_too_many_end_ellipsis",
        True,
    ),
    "gopher_stop_words": (lambda t: quality(min_stop_words=t), "gopher_enough_stop_words", False),
    "gopher_duplicate_line_share": (lambda t: repetition(dup_line_frac=t), "dup_line_frac", True),
    "gopher_duplicate_line_character_share": (
        lambda t: repetition(dup_line_char_frac=t),
        "dup_line_char_frac",
        True,
    ),
    "gopher_duplicate_paragraph_share": (lambda t: repetition(dup_para_frac=t), "dup_para_frac", True),
    "gopher_duplicate_paragraph_character_share": (
        lambda t: repetition(dup_para_char_frac=t),
        "dup_para_char_frac",
        True,
    ),
    **{
        f"gopher_top_{n}gram_share": (
            top_gram(n),
            f"top_{n}_gram",
            True,
        )
        for n in (2, 3, 4)
    },
    **{
        f"gopher_duplicate_{n}gram_share": (
            repeated_gram(n),
            f"duplicated_{n}_n_grams",
            True,
        )
        for n in range(5, 11)
    },
    "fineweb_line_punctuation_share": (lambda t: fineweb(line_punct_thr=t), "line_punct_ratio", False),
    "fineweb_short_line_share": (lambda t: fineweb(short_line_thr=t), "short_line_ratio", True),
    "fineweb_duplicate_line_character_share": (
        lambda t: fineweb(char_duplicates_ratio=t),
        "char_dup_ratio",
        True,
    ),
    "fineweb_newlines_per_word": (lambda t: fineweb(new_line_ratio=t), "list_ratio", True),
}
C4_RULES = {  # column: datatrove's count, or its reason to drop the document
    "c4_long_word_lines": "line-filter-too_long_word",
    "c4_unpunctuated_lines": "line-filter-no_terminal_punc",
    "c4_few_word_lines": "line-filter-too_few_words",
    "c4_lorem_ipsum_lines": "lorem_ipsum",
    "c4_javascript_lines": "line-filter-javascript",
    "c4_curly_bracket_lines": "curly_bracket",
    "c4_policy_lines": "line-filter-policy",
    "c4_kept_lines": "line-kept",
}


def check(text: str, tokenizer: OurWords) -> None:
    got = {name: values[0].item() for name, values in signals(texts_of(pa.array([text]))).items()}
    prose, tokenizer.words = prose_of(text), words_of(text)
    if not tokenizer.words:
        return  # datatrove divides by their number
    shown = {  # one threshold for both
        "gopher_hash_ratio": prose.replace(".", "-").replace("…", "-"),
        "gopher_ellipsis_ratio": prose.replace("#", "-"),
    }
    for name, (filter_at, reason, above) in THRESHOLDS.items():
        value = got[name]
        margin = 1e-6 + 1e-6 * value
        dropped, kept = (value - margin, value + margin) if above else (value + margin, value - margin)
        if kept > 0:  # 0 would turn the rule off
            assert verdict(filter_at(kept), shown.get(name, prose)) is None, name
        if dropped > 0:
            assert verdict(filter_at(dropped), shown.get(name, prose)) == reason, name

    counted = dict.fromkeys(C4_RULES.values(), 0)
    for line in prose.splitlines():  # one at a time, for a rule that drops the document hides the lines below
        c4 = C4QualityFilter(min_num_sentences=-1)
        dropped_for = verdict(c4, line + "\n")
        counted[dropped_for or next(key for key in c4.stats.stats if key in counted)] += 1
    assert {rule: got[name] for name, rule in C4_RULES.items()} == counted
    if not counted["lorem_ipsum"] and not counted["curly_bracket"]:
        sentences = got["c4_sentences"]
        assert verdict(C4QualityFilter(min_num_sentences=sentences), prose) is None
        assert verdict(C4QualityFilter(min_num_sentences=sentences + 1), prose) == "too_few_sentences"


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_values_of_written_texts(number: int, tokenizer: OurWords) -> None:
    check(TEXTS[number], tokenizer)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_values_of_any_text(text: str, tokenizer: OurWords) -> None:
    check(text, tokenizer)


def test_decisions_at_the_default_thresholds(tokenizer: OurWords) -> None:
    good = [textwrap.dedent(inspect.getdoc(thing) or "") for thing in (difflib.SequenceMatcher, statistics)]
    sentence = "The value of the sum is {} and that of the other is less, as we have to be with {} of them. "
    good += ["".join(sentence.format(n, n * n * k) + "\n" * (n % 3 == 0) for n in range(9)) for k in (1, 7)]
    # three of ten lines repeat: exactly at the threshold, where nothing is dropped
    edge = "\n".join(f"line {min(n, 6)} of the text has to be like that" for n in range(10))
    batch = pa.table({"id": [str(n) for n in range(len(TEXTS + good) + 1)], "text": [*TEXTS, *good, edge]})
    ours = decisions(Signals().process(batch).kept)
    filters = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4_quality": C4QualityFilter(),
        "fineweb_quality": FineWebQualityFilter(),
    }
    assert DATATROVE.keys() == filters.keys()
    for name, filter_ in filters.items():
        theirs = []
        for text in batch["text"].to_pylist():
            tokenizer.words = words_of(text)
            theirs.append(verdict(filter_, prose_of(text)) is not None)
        assert ours[name] == theirs, name
        assert len(set(theirs)) == 2, f"{name} decides alike on all texts"


def test_the_written_texts_try_every_rule() -> None:
    values = signals(texts_of(pa.array(TEXTS)))
    for name in (*THRESHOLDS, *C4_RULES, "c4_sentences"):
        assert len(set(values[name].tolist())) > 1, f"{name} is the same for all texts"


def test_characters_that_end_sentences() -> None:
    ours = set()
    for block in TERMINALS.split():
        first, _, last = block.partition("-")
        ours |= {chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)}
    assert ours == datatrove_text.TERMINAL_PUNCTUATION
