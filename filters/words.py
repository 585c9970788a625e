"""The words of a text's prose: compiled passes over Arrow's UTF-8 buffers.

What is prose `filters.prose` marks; here each character gets its class, and prose is cut into words. The passes work
on a whole batch and make no Python object per word; those of both files take about 150 MB a second and core.

A word is
    * a run of letters, combining marks and digits; an apostrophe between letters and a `.` or `,` between
      digits belong to it ("don't", "3.14", "1,000");
    * one letter, with its marks, of a script written without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar,
      Tibetan, …).
A LaTeX command is no word (`\\frac`), unless it prints as one (`\\sin`). A word's hash ignores case, accents,
apostrophes, thousands commas and compatibility forms: "Don’t" = "dont", "１,０００" = "1000", "𝑥" = "x".
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numba
import numpy as np

from filters.prose import LINK as LINK  # what is cut into words is asked for here too
from filters.prose import SPAN as SPAN
from filters.prose import Texts as Texts
from filters.prose import regions as regions
from filters.prose import texts_of as texts_of

# This list is compiled into kernels of other files, whose disk cache does not notice a change here: whoever renumbers
# it removes `__pycache__`.

# What a character is. From UNSPACED on it is part of a word, from DIGIT on of a spaced one.
OTHER, SPACE, MARK, STOP, ELLIPSIS, FULL_STOP, COLON, CLOSER, BULLET, RELATION, CONTINUATION = range(11)
UNSPACED, DIGIT, LETTER, LOWER = range(11, 15)
PUNCTUATION = {
    STOP: ".!?",
    ELLIPSIS: "…",
    FULL_STOP: "。！？",  # ends a sentence whatever follows
    COLON: ":;：；",
    CLOSER: "\"')]}*_’”»〉》」』】）",  # closing quotes and brackets, marks of emphasis
    BULLET: "-+•·●○◦▪■‣–—",
    RELATION: "≈≡⇒⇔",
}

OPERATORS = (  # LaTeX commands that print as words
    *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "coth"),
    *(
        "log",
        "ln",
        "lg",
        "exp",
        "lim",
        "limsup",
        "liminf",
        "max",
        "min",
        "sup",
        "inf",
        "arg",
        "argmax",
        "argmin",
    ),
    *("det", "dim", "ker", "hom", "deg", "gcd", "lcm", "Pr"),
)
TABLE = 0x20000  # code points with an entry of their own; above lie rare Han characters and unassigned planes
UNSPACED_SCRIPTS = (  # first and last code point of blocks whose letters are words by themselves
    (0x0E00, 0x109F),  # Thai, Lao, Tibetan, Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),
    (0x3040, 0x312F),  # Kana, Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # half-width Katakana
    (0x1B000, 0x1B16F),
)
JOINERS_IGNORED = {
    0x00AD,
    0x02BC,
    0x200C,
    0x200D,
}  # soft hyphen, modifier apostrophe, zero-width (non-)joiner


class Words(NamedTuple):
    """The words of a batch, in order. `offsets` int64 [texts + 1] says which belong to which text."""

    offsets: np.ndarray
    hashes: np.ndarray  # uint64
    starts: np.ndarray  # int64, first byte in `Texts.data`
    ends: np.ndarray  # int64, byte after the last
    lengths: np.ndarray  # int32, characters
    alphabetic: np.ndarray  # bool, has a letter


def classify(texts: Texts) -> np.ndarray:
    """For every byte the class of the character that begins there, or CONTINUATION (uint8)."""
    classes = np.empty(len(texts.data), np.uint8)
    _classify(texts.data, texts.offsets, characters()[0], classes)
    return classes


def find_words(texts: Texts, kinds: np.ndarray | None = None, classes: np.ndarray | None = None) -> Words:
    """The words of each text's prose, or of all of it without `kinds`. `classes` spares classifying again."""
    if kinds is None:
        kinds = np.zeros(len(texts.data), np.uint8)
    if classes is None:
        classes = classify(texts)
    # There are at most as many words as half the bytes, rounded up; pages never written cost nothing.
    most = (len(texts.data) + len(texts.offsets)) // 2 + 1
    found = Words(
        np.zeros(len(texts.offsets), np.int64),
        np.empty(most, np.uint64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int32),
        np.empty(most, np.bool_),
    )
    _cut(texts.data, texts.offsets, kinds, classes, characters()[1], _operators(), *found)
    n = found.offsets[-1]
    return Words(found.offsets, *(array[:n] for array in found[1:]))


def prose_of(texts: Texts, kinds: np.ndarray, classes: np.ndarray) -> tuple[Texts, np.ndarray]:
    """The texts without formulas, fenced code and addresses, and the classes of their bytes."""
    prose = Texts(np.empty(len(texts.data) + 1, np.uint8), np.zeros(len(texts.offsets), np.int64))
    prose_classes = np.empty(len(texts.data) + 1, np.uint8)
    _keep_prose(texts.data, texts.offsets, kinds, classes, prose.data, prose.offsets, prose_classes)
    n = prose.offsets[-1]
    return Texts(prose.data[:n], prose.offsets), prose_classes[:n]


@functools.cache
def characters() -> tuple[np.ndarray, np.ndarray]:
    """Two tables over code points below TABLE: class (uint8) and code point hashed in its place (uint32).

    Characters with 0 in its place are left out of hashes.

    Made from Python's Unicode data in about 0.1 s, once a process.
    """
    classes = np.zeros(TABLE, np.uint8)
    folds = np.arange(TABLE, dtype=np.uint32)
    unspaced = np.zeros(TABLE, np.bool_)
    for first, last in UNSPACED_SCRIPTS:
        unspaced[first : last + 1] = True
    for code in range(TABLE):
        if 0xD800 <= code < 0xE000:  # surrogates do not occur in UTF-8
            continue
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "L":
            classes[code] = UNSPACED if unspaced[code] else LOWER if category == "Ll" else LETTER
            folds[code] = _fold(character)
        elif category[0] == "N":
            classes[code] = DIGIT
            folds[code] = _fold(character)
        elif category[0] == "M" or code in JOINERS_IGNORED:
            classes[code] = MARK
        elif character.isspace():
            classes[code] = SPACE
    for kind, marks in PUNCTUATION.items():
        classes[[ord(mark) for mark in marks]] = kind
    folds[[*range(0x300, 0x370), *range(0xFE00, 0xFE10), *JOINERS_IGNORED]] = 0
    return classes, folds


@functools.cache
def _operators() -> np.ndarray:
    """Hashes of OPERATORS, before the finaliser (uint64)."""
    folds = characters()[1]
    hashes = np.full(len(OPERATORS), FNV, np.uint64)
    for i, name in enumerate(OPERATORS):
        for letter in name:
            hashes[i] = _add(hashes[i], folds[ord(letter)])
    return hashes


def _fold(character: str) -> int:
    """The one code point a letter or digit is hashed as: lower case, without accent, ordinary form."""
    folded = character.casefold()
    folded = folded if len(folded) == 1 else character
    parts = unicodedata.normalize("NFKD", folded)
    if len(parts) == 1 or all(0x300 <= ord(part) < 0x370 for part in parts[1:]):
        return ord(parts[0].lower()) if len(parts[0].lower()) == 1 else ord(parts[0])
    whole = unicodedata.normalize("NFKC", folded)
    return ord(whole) if len(whole) == 1 else ord(folded)


# --- kernels ------------------------------------------------------------------------------------------------
# numba's disk cache looks at one source file only: no kernel calls a kernel of another file.

ONE = np.uint64(1)
FNV, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a's
BACKSLASH = 92


@numba.njit(cache=True)
def _decode(data, i, end):
    """Code point at byte `i` and the byte after it. Places are unsigned: of a signed one numba asks each time
    whether it counts from the end."""
    byte = np.uint32(data[i])
    if byte < 0x80:
        return byte, i + ONE
    width = np.uint64(2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    if i + width > end:  # not UTF-8: never read beyond the text
        return np.uint32(0xFFFD), end
    code = byte & np.uint32(np.uint32(0x7F) >> np.uint32(width))
    for j in range(i + ONE, i + width):
        code = (code << np.uint32(6)) | (np.uint32(data[j]) & np.uint32(0x3F))
    return code, i + width


@numba.njit(cache=True)
def _classify(data, offsets, table, classes):
    for d in range(len(offsets) - 1):
        i, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while i < end:
            if data[i] < 0x80:
                classes[i] = table[data[i]]
                i += ONE
                continue
            code, after = _decode(data, i, end)
            if code < TABLE:
                classes[i] = table[code]
            elif code < 0x40000:
                classes[i] = UNSPACED
            else:
                classes[i] = MARK if 0xE0100 <= code < 0xE01F0 else OTHER  # variation selectors
            for j in range(i + ONE, after):
                classes[j] = CONTINUATION
            i = after


@numba.njit(cache=True)
def _keep_prose(data, offsets, kinds, classes, prose, prose_offsets, prose_classes):
    n = np.uint64(0)  # every byte is written and only counted if it stays: no branch to guess
    for d in range(len(offsets) - 1):
        for i in range(np.uint64(offsets[d]), np.uint64(offsets[d + 1])):
            prose[n], prose_classes[n] = data[i], classes[i]
            n += np.uint64(kinds[i] <= SPAN)
        prose_offsets[d + 1] = n


@numba.njit(cache=True)
def _cut(
    data, offsets, kinds, classes, folds, operators, word_offsets, hashes, starts, ends, lengths, alphabetic
):
    n = np.uint64(0)
    for d in range(len(offsets) - 1):
        i, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while i < end:
            kind = classes[i]
            if kinds[i] > SPAN or kind < UNSPACED:
                i += ONE
                if data[i - ONE] == BACKSLASH and kinds[i - ONE] <= SPAN:
                    after, hash_ = i, FNV
                    while after < end and (65 <= data[after] <= 90 or 97 <= data[after] <= 122):
                        hash_ = _add(hash_, folds[data[after]])
                        after += ONE
                    printed = False
                    for operator in operators:
                        printed = printed or operator == hash_
                    i = i if printed else after
                continue
            starts[n] = i
            code, i = _decode(data, i, end)
            hash_ = _add(FNV, folds[code] if code < TABLE else code)
            length = 1
            last = kind
            letter = kind != DIGIT
            while i < end and kinds[i] <= SPAN:
                kind = classes[i]
                if kind > UNSPACED and data[i] < 0x80 and last != UNSPACED:  # nearly always
                    hash_ = (hash_ ^ np.uint64(folds[data[i]])) * FNV_PRIME
                    last = kind
                    letter |= kind != DIGIT
                    length += 1
                    i += ONE
                    continue
                code, after = _decode(data, i, end)
                if kind >= UNSPACED:
                    if kind == UNSPACED or last == UNSPACED:
                        break
                    last = kind
                    letter |= kind != DIGIT
                elif kind != MARK:  # a joiner belongs to the word if the word goes on after it
                    joins = code == 39 or code == 0x2019  # ' ’
                    if last == DIGIT:
                        joins = code == 46 or code == 44  # . ,
                    if not joins or last == UNSPACED or after >= end or kinds[after] > SPAN:
                        break
                    if classes[after] != DIGIT if last == DIGIT else classes[after] < LETTER:
                        break
                    if code != 46:
                        code = np.uint32(0)  # only the decimal point makes a difference
                hash_ = _add(hash_, folds[code] if code < TABLE else code)
                length += 1
                i = after
            ends[n] = i
            lengths[n] = length
            alphabetic[n] = letter
            hashes[n] = _finish(hash_)
            n += ONE
        word_offsets[d + 1] = n


@numba.njit(cache=True)
def _add(hash_, code):
    """FNV-1a over code points; 0 is left out."""
    if code == 0:
        return hash_
    return (hash_ ^ np.uint64(code)) * FNV_PRIME


@numba.njit(cache=True)
def _finish(hash_):
    """Spreads FNV's bits over the whole word (the finaliser of splitmix64)."""
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))
