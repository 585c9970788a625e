"""What the signals look for by name: stop words, words of inference, labels of lines, ends of sentences."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa

from filters.prose import texts_of
from filters.words import TABLE, find_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher's eight
INFERENCE = (  # words and phrases that announce a step of reasoning; none is the beginning of another
    *("therefore", "hence", "thus", "consequently", "accordingly", "thereby", "whence"),
    *("since", "because", "implies", "imply", "implying", "deduce", "conclude", "infer"),
    *("let", "suppose", "assume", "assuming", "contradiction", "otherwise", "whereas", "unless"),
    *("so that", "it follows", "this follows", "given that", "as a result", "for this reason"),
    *("if and only", "in other words", "we have", "we get", "we obtain", "we see", "we know", "this means"),
    *(
        "因为",
        "所以",
        "因此",
        "因而",
        "从而",
        "由于",
        "于是",
        "假设",
        "假定",
        "故",
        "可得",
        "推出",
        "矛盾",
        "设",
    ),
)
LABELS = {  # what begins a line that has this role; small letters never do
    "question": ("Q", "Question", "Problem", "Exercise", "问", "问题", "题目", "例题", "练习"),
    "answer": ("A", "Answer", "答", "答案"),
    "worked": ("Solution", "Derivation", "Explanation", "Worked example", "解", "解答", "解析", "推导"),
    "proof": ("Proof", "证", "证明"),
}
STEPS = (
    ("Step {}", "步骤{}", "第{}步"),
    30,
)  # openings of a numbered step, and the last number they are known for
CHINESE_NUMERALS = "一二三四五六七八九十"

# Characters that end a sentence in some script: Unicode's Sentence_Terminal as far as datatrove 0.10 knows it.
TERMINALS = """
    21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736
    17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F
    203C-203D 2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F
    A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59
    10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239
    1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946
    11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44
    16E98 1BC9F 1DA88
"""

# What the opening of a line says: a role, or NUMBERED + its number.
QUESTION, ANSWER, WORKED, PROOF, NUMBERED = 1, 2, 3, 4, 10


@functools.cache
def phrases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stop words and phrases of inference as hashes of their words (uint64 [phrases, 4], 0 where one ends; stop words
    carry their number + 1 in column 3), and their index as of `_indexed`."""
    texts = texts_of(pa.array([*STOP_WORDS, *INFERENCE]))
    words = find_words(texts)
    table = np.zeros((len(STOP_WORDS) + len(INFERENCE), 4), np.uint64)
    for i, (a, b) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        table[i, : b - a] = words.hashes[a:b]
        table[i, 3] = i + 1 if i < len(STOP_WORDS) else 0
    order, *index = _indexed(table[:, 0], np.diff(words.offsets))
    return table[order], *index


@functools.cache
def openings() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Openings of lines as hashes of their words (uint64 [openings, 3], 0 where one ends), their index as of `_indexed`,
    and what each says (int64): a role, or NUMBERED + its number."""
    roles = {"question": QUESTION, "answer": ANSWER, "worked": WORKED, "proof": PROOF}
    known = [(opening, roles[role]) for role, all_ in LABELS.items() for opening in all_]
    patterns, last = STEPS
    for number in range(1, last + 1):
        names = [str(number), *CHINESE_NUMERALS[number - 1 : number]]
        known += [(pattern.format(name), NUMBERED + number) for pattern in patterns for name in names]
    words = find_words(texts_of(pa.array([opening for opening, _ in known])))
    table = np.zeros((len(known), 3), np.uint64)
    for i, (a, b) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        table[i, : b - a] = words.hashes[a:b]
    order, *index = _indexed(table[:, 0], np.diff(words.offsets))
    return table[order], *index, np.array([role for _, role in known])[order]


def _indexed(hashes: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An order of the phrases with these first words, by the low twelve bits of their hashes, the longest first; where
    those with each twelve bits begin (int64 [4097]), and whether there are any (bool [4096])."""
    low = hashes & np.uint64(0xFFF)
    order = np.lexsort((-lengths, hashes, low))
    first = np.searchsorted(low[order], np.arange(4097).astype(np.uint64))
    return order, first, np.diff(first) > 0


@functools.cache
def terminals() -> np.ndarray:
    """For code points below TABLE whether one ends a sentence (bool)."""
    ends = np.zeros(TABLE, np.bool_)
    for block in TERMINALS.split():
        first, _, last = block.partition("-")
        ends[int(first, 16) : int(last or first, 16) + 1] = True
    return ends
