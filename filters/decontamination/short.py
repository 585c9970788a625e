"""Problems of a few tokens ("Simplify $\\sqrt{242}$."), which a document has if it has them as a sentence of their own."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from filters.decontamination.ngrams import SHORTEST, Index, grams_of, in_chunks, index_of, places_of
from filters.decontamination.tokens import Tokens, find_tokens
from filters.words import Texts

FIRST = 3  # tokens that a problem is found by; of fewer none is
DIGITS = 2  # of one of its numbers; "What is 2 + 2?" is in half the web
BORDER = frozenset(b"\n\r.?!:;)]*")  # one of these stands before and after it, or nothing does
FEW_WORDS = 13  # a text of fewer must have something distinctive
DISTINCTIVE = 2  # different words that are not in every exam
GENERIC = """
a about above all an and answer answers any are as at be below best both by can choice choices choose correct
correctly describe describes do does each every example explain false following for from given how if in incorrect
is it least likely most must neither no none not of on one only option options or other please problem question
questions same select solution solve statement statements than that the their them these this those to true type
was were what when where which who whom whose why will with you your
"""
IN_EVERY_EXAM = frozenset(GENERIC.split())


class Short(NamedTuple):
    """`firsts`: index of the first 3 tokens of each; `numbers`: the problems of the bytes of all its tokens' hashes;
    `lengths`: in tokens, all that occur, longest first; `indexed`: bool, which problems are looked for."""

    firsts: Index
    numbers: dict[bytes, list[int]]
    lengths: list[int]
    indexed: np.ndarray


def build_short(problems: list[str], wanted: np.ndarray) -> Short:
    """Of the problems that are `wanted` (bool) those that have 3 tokens and, as said above, a number."""
    firsts = [np.empty(0, np.uint64)]
    numbers: dict[bytes, list[int]] = {}
    lengths: set[int] = set()
    indexed = np.zeros(len(problems), np.bool_)
    given = np.flatnonzero(wanted).tolist()
    for begin, texts in in_chunks([problems[p] for p in given]):
        found = find_tokens(texts)
        long_enough = found.numbers & (found.ends - found.starts >= DIGITS)
        for d, (a, b) in enumerate(zip(found.offsets[:-1], found.offsets[1:], strict=True)):
            if b - a >= FIRST and long_enough[a:b].any():
                indexed[given[begin + d]] = True
                numbers.setdefault(found.hashes[a:b].tobytes(), []).append(given[begin + d])
                lengths.add(int(b - a))
                firsts.append(grams_of(found.hashes[a : a + FIRST], FIRST))
    hashes = np.unique(np.concatenate(firsts))
    no_owner = np.zeros(len(hashes), np.int32)
    index = index_of(hashes, no_owner, np.arange(1), 1, np.array([FIRST]))
    return Short(index, numbers, sorted(lengths, reverse=True), indexed)


def look_up_short(texts: Texts, tokens: Tokens, known: Short) -> dict[int, list[tuple[int, int, int]]]:
    """For each text that has some: the short problems in it, in their order, each with its first and last token."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    if not known.numbers:
        return found
    places = places_of(grams_of(tokens.hashes, FIRST), known.firsts)
    for t in np.flatnonzero(places >= 0).tolist():
        d = int(np.searchsorted(tokens.offsets, t, "right")) - 1
        for length in known.lengths:
            problems = known.numbers.get(tokens.hashes[t : t + length].tobytes())
            if problems is not None and _stands_alone(texts, tokens, d, t, t + length):
                found.setdefault(d, []).extend((problem, t, t + length - 1) for problem in problems)
                break
    return found


def distinctive(text: str) -> bool:
    """Whether a text can be recognised as a problem: it is long, has a formula or a number, or says what it is about.

    >>> distinctive("Which of the following statements is true?"), distinctive("What is the capital of Chad?")
    (False, True)
    """
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if not SHORTEST <= len(words) < FEW_WORDS or re.search(r"[\d$\\=+<>^]", text) or not text.isascii():
        return True
    return len(set(words) - IN_EVERY_EXAM) >= DISTINCTIVE


def _stands_alone(texts: Texts, tokens: Tokens, d: int, first: int, end: int) -> bool:
    """Whether tokens first … end - 1 lie in text d and are all between two borders of it."""
    begins, ends = int(tokens.offsets[d]), int(tokens.offsets[d + 1])
    if end > ends:
        return False
    before = texts.data[tokens.ends[first - 1] : tokens.starts[first]].tobytes() if first > begins else b"\n"
    after = texts.data[tokens.ends[end - 1] : tokens.starts[end]].tobytes() if end < ends else b"\n"
    return bool(BORDER & set(before) and BORDER & set(after))
