"""Kernel over the lines of a text's prose, cut where Python's `splitlines` cuts, by C4's rules."""

from __future__ import annotations

import numba
import numpy as np

from filters.words import (
    BULLET,
    CLOSER,
    CONTINUATION,
    DIGIT,
    ELLIPSIS,
    FULL_STOP,
    LOWER,
    SPACE,
    STOP,
    UNSPACED,
)

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file. Hot loops run over
# unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE = np.uint64(1)
RULES = (
    *("long_word", "unpunctuated", "few_word", "lorem_ipsum", "javascript", "curly_bracket", "policy"),
    "kept",
)
LONG_WORD, UNPUNCTUATED, FEW_WORDS, LOREM, JAVASCRIPT, CURLY, POLICY, KEPT = range(8)
C4_PHRASES = (
    ("lorem ipsum", LOREM),
    ("javascript", JAVASCRIPT),
    *((phrase, POLICY) for phrase in ("terms of use", "privacy policy", "cookie policy")),
    *((phrase, POLICY) for phrase in ("uses cookies", "use of cookies", "use cookies")),
)
PHRASES = np.array([list(phrase.encode().ljust(16, b"\0")) for phrase, _ in C4_PHRASES], np.uint8)
PHRASE_RULES = np.array([rule for _, rule in C4_PHRASES])
SHORTEST = np.uint64(min(len(phrase) for phrase, _ in C4_PHRASES))
EDIT, NEEDED = (np.frombuffer(mark, np.uint8).copy() for mark in (b"[edit]", b"[citation needed]"))
MAY_BREAK = np.isin(
    np.arange(256), [10, 11, 12, 13, 28, 29, 30, 0xC2, 0xE2]
)  # bytes that a line may end with


def _four_letters(phrase: str) -> int:
    return int.from_bytes(phrase[:4].encode(), "little") | 0x20202020


# Where a phrase may begin, by a hash of four bytes in small letters: few other places have it.
BEGINNING = np.uint32(0x9E3779B1)
PHRASE_BEGINS = np.zeros(4096, np.bool_)
PHRASE_BEGINS[[(_four_letters(phrase) * 0x9E3779B1 & 0xFFFFFFFF) >> 20 for phrase, _ in C4_PHRASES]] = True


@numba.njit(cache=True)
def count_c4(data, offsets, classes, out):
    """Lines that each of `RULES` takes; sentences of those that are kept; lines, those with a bullet of Gopher's and
    those with an ellipsis at their end (int64 [texts, 12])."""
    spare, spare_classes = np.empty(0, np.uint8), np.empty(0, np.uint8)
    for d in range(len(out)):
        i, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while i < end:
            a, width = i, np.uint64(0)
            while i < end:
                if MAY_BREAK[data[i]]:
                    width = _line_break(data, i, end)
                    if width > 0:
                        break
                i += ONE
            a, b = _trimmed(data, classes, a, i)
            i += width
            out[d, 9] += 1
            if a == b:
                out[d, UNPUNCTUATED] += 1
                continue
            out[d, 10] += data[a] == 45 or (data[a] == 0xE2 and data[a + ONE] == 0x80 and data[a + 2] == 0xA2)
            dots = _ends_with_dots(data, a, b)
            out[d, 11] += dots or (b > a + np.uint64(2) and classes[b - np.uint64(3)] == ELLIPSIS)
            if b - a > 1000 and _longest_word(classes, a, b) > 1000:
                out[d, LONG_WORD] += 1
                continue
            brackets = _count_byte(data, a, b, 91)
            if brackets == 0 and not _is_punctuated(data, a, b):
                out[d, UNPUNCTUATED] += 1
                continue
            few = _few_words(classes, a, b)
            if brackets > 0:
                if b - a > np.uint64(len(spare)):
                    spare, spare_classes = np.empty(2 * (b - a), np.uint8), np.empty(2 * (b - a), np.uint8)
                size = _without_citations(data, classes, a, b, spare, spare_classes)
                rule = _c4_rule(spare, np.uint64(0), size, few)
                sentences = _sentences(spare, spare_classes, 0, np.int64(size)) if rule == KEPT else 0
            else:
                rule = _c4_rule(data, a, b, few)
                sentences = _sentences(data, classes, np.int64(a), np.int64(b)) if rule == KEPT else 0
            out[d, rule] += 1
            out[d, 8] += max(sentences, np.int64(rule == KEPT))


@numba.njit(cache=True)
def _line_break(data, i, end):
    """Bytes of the line break at `i`, 0 for none: those of Python's `splitlines`."""
    byte = data[i]
    if byte == 13:
        return np.uint64(1 + (i + ONE < end and data[i + ONE] == 10))
    if byte <= 30:
        return ONE
    if byte == 0xC2:
        return np.uint64(2 * (data[i + ONE] == 0x85))
    return np.uint64(3 * (data[i + ONE] == 0x80 and data[i + 2] in (0xA8, 0xA9)))


@numba.njit(cache=True)
def _trimmed(data, classes, a, b):
    """The same stretch without white space of any script at its ends."""
    while a < b and (classes[a] == SPACE or classes[a] == CONTINUATION):
        a += ONE
    while a < b:
        last = b - ONE
        while classes[last] == CONTINUATION:
            last -= ONE
        if classes[last] != SPACE:
            break
        b = last
    return a, b


@numba.njit(cache=True)
def _count_byte(data, start, end, byte):
    count = 0
    for i in range(start, end):
        count += data[i] == byte
    return count


@numba.njit(cache=True)
def _longest_word(classes, a, b):
    """Characters of the longest word between spaces."""
    length = most = 0
    for i in range(a, b):
        length = (length + (classes[i] != CONTINUATION)) * (classes[i] != SPACE)
        most = max(most, length)
    return most


@numba.njit(cache=True)
def _few_words(classes, a, b):
    """Whether there are fewer than three words between spaces."""
    words, in_word = 0, False
    for i in range(a, b):
        if classes[i] != CONTINUATION:
            words += not in_word and classes[i] != SPACE
            in_word = classes[i] != SPACE
            if words == 3:
                return False
    return True


@numba.njit(cache=True)
def _without_citations(data, classes, a, b, spare, spare_classes):
    """Copies the line but for [12], [], [edit] and [citation needed]; the bytes that stay are returned."""
    size = np.uint64(0)
    while a < b:
        if data[a] == 91:
            stop = a + ONE
            while stop < b and (classes[stop] == DIGIT or classes[stop] == CONTINUATION):
                stop += ONE
            if stop < b and data[stop] == 93:
                a = stop + ONE
                continue
            if _begins(data, a, b, EDIT):
                a += np.uint64(len(EDIT))
                continue
            if _begins(data, a, b, NEEDED):
                a += np.uint64(len(NEEDED))
                continue
        spare[size], spare_classes[size] = data[a], classes[a]
        size += ONE
        a += ONE
    return size


@numba.njit(cache=True)
def _begins(data, a, b, mark):
    if b - a < np.uint64(len(mark)):
        return False
    same = True
    for k in range(np.uint64(len(mark))):
        same = same and data[a + k] == mark[k]
    return same


@numba.njit(cache=True)
def _c4_rule(data, a, b, few_words):
    """The first rule of C4 that drops a line, or the document for it; KEPT for none."""
    if not _is_punctuated(data, a, b):
        return UNPUNCTUATED
    if few_words:
        return FEW_WORDS
    rule = CURLY if _count_byte(data, a, b, 123) > 0 else KEPT
    for i in range(a, max(a, b + ONE - min(SHORTEST, b + ONE))):
        hash_ = np.uint32((_four(data, i) | np.uint32(0x20202020)) * BEGINNING)  # the product has 64 bits
        if PHRASE_BEGINS[hash_ >> np.uint32(20)]:
            for p in range(np.uint64(len(PHRASES))):
                k = np.uint64(0)
                while i + k < b and PHRASES[p, k] != 0 and PHRASES[p, k] == _lower(data[i + k]):
                    k += ONE
                if PHRASES[p, k] == 0:
                    rule = min(rule, PHRASE_RULES[p])
    return rule


@numba.njit(cache=True)
def _is_punctuated(data, a, b):
    return a < b and data[b - ONE] in (46, 63, 33, 34, 39) and not _ends_with_dots(data, a, b)  # . ? ! " '


@numba.njit(cache=True)
def _ends_with_dots(data, a, b):
    return b >= a + np.uint64(3) and data[b - 3] == 46 and data[b - 2] == 46 and data[b - 1] == 46


@numba.njit(cache=True)
def _four(data, i):
    """The four bytes that begin at `i`: one load of the processor."""
    bytes_ = np.uint32(0)
    for k in range(np.uint64(4)):
        bytes_ |= np.uint32(data[i + k]) << np.uint32(8 * k)
    return bytes_


@numba.njit(cache=True)
def _lower(byte):
    return byte + np.uint8(32 * (65 <= byte <= 90))


# --- sentences of one line by itself; as in filters.signals.lines, but all is prose ---------------------------


@numba.njit(cache=True)
def _sentences(data, classes, a, b):
    count, in_sentence = 0, False
    for j in range(np.uint64(_after_lead(data, classes, a, b)), np.uint64(b)):
        class_ = classes[j]
        in_sentence |= class_ >= UNSPACED
        if (class_ < STOP) | (class_ > FULL_STOP) or not in_sentence:
            continue
        if class_ == FULL_STOP or _ends_sentence(j + ONE, np.uint64(b), classes):
            count += 1
            in_sentence = False
    return count + in_sentence


@numba.njit(cache=True)
def _ends_sentence(i, end, classes):
    """Whether the . ! ? or … before byte `i` ends a sentence: white space follows, then no small letter."""
    while i < end and _may_follow(classes[i]):
        i += ONE
    if i < end and classes[i] != SPACE:
        return False
    while i < end and (classes[i] == SPACE or classes[i] == CONTINUATION):
        i += ONE
    return i >= end or classes[i] != LOWER


@numba.njit(cache=True)
def _may_follow(class_):
    return class_ in (STOP, ELLIPSIS, CLOSER, CONTINUATION)


@numba.njit(cache=True)
def _after_lead(data, classes, i, end):
    """The byte after the bullet, the number or the heading's marks that the line begins with."""
    first = i
    if data[i] == 35:  # #
        while i < end and data[i] == 35:
            i += 1
        return i if i - first <= 6 and (i >= end or data[i] == 32) else first
    if classes[i] == BULLET or data[i] == 42:  # *
        i += 1
        while i < end and classes[i] == CONTINUATION:
            i += 1
        return i if i < end and data[i] == 32 else first
    opened = data[i] == 40  # (
    i += opened
    begin = i
    while i < end and i < begin + 3 and 48 <= data[i] <= 57:
        i += 1
    letter = i == begin and i < end and (97 <= data[i] <= 122 or 65 <= data[i] <= 90)
    i += letter
    if i == begin or i + 1 >= end or data[i + 1] != 32:
        return first
    return i + 1 if data[i] == 41 or (data[i] == 46 and not opened and not letter) else first
