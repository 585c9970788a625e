"""Kernels over a text's lines: where they are, what they begin and end with, which come again; and its sentences."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from filters.prose import CODE, SPAN, Texts
from filters.words import (
    BULLET,
    CLOSER,
    COLON,
    CONTINUATION,
    ELLIPSIS,
    FULL_STOP,
    LOWER,
    MARK,
    SPACE,
    STOP,
    UNSPACED,
)

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file. Hot loops run over
# unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE, TOP_BIT, EIGHT = np.uint64(1), np.uint64(1 << 63), np.uint64(8)
SPREAD = np.uint64(0xBF58476D1CE4E5B9)
TEXT, ITEM, NUMBERED_ITEM, HEADING = range(4)  # what a line begins with


class Lines(NamedTuple):
    """The lines of a batch, those of one text after those of the last. `offsets` int64 [texts + 1]."""

    offsets: np.ndarray
    stops: np.ndarray  # int64, the byte of the line break, or the one after the text
    starts: np.ndarray  # int64, first byte, leading white space (ASCII) not counted
    ends: np.ndarray  # int64, byte after the last, trailing white space (ASCII) not counted
    leads: np.ndarray  # uint8, TEXT, ITEM, NUMBERED_ITEM or HEADING
    after_leads: np.ndarray  # int64, the byte after the bullet, the number or the marks of the heading


def find_lines(texts: Texts, kinds: np.ndarray, classes: np.ndarray) -> Lines:
    """The lines of each text; one more than line breaks."""
    most = np.count_nonzero(texts.data == 10) + len(texts.offsets)
    places = (np.empty(most, np.int64) for _ in range(4))
    stops, starts, ends, after_leads = places
    found = Lines(
        np.zeros(len(texts.offsets), np.int64), stops, starts, ends, np.empty(most, np.uint8), after_leads
    )
    _find_lines(texts.data, texts.offsets, kinds, classes, *found)
    return found


@numba.njit(cache=True)
def _find_lines(data, offsets, kinds, classes, line_offsets, stops, starts, ends, leads, after_leads):
    n = 0
    for d in range(len(offsets) - 1):
        i, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while i <= end:
            stop = _line_break(data, i, end)
            a, b = i, stop
            while a < b and data[a] <= 32:
                a += ONE
            while b > a and data[b - ONE] <= 32:
                b -= ONE
            lead, after = TEXT, np.int64(a)
            if a < b and kinds[a] <= SPAN:
                lead, after = _lead(data, classes, np.int64(a), np.int64(b))
            stops[n], starts[n], ends[n], leads[n], after_leads[n] = stop, a, b, lead, after
            n += 1
            i = stop + ONE
        line_offsets[d + 1] = n


@numba.njit(cache=True)
def _line_break(data, i, end):
    """Where the line that begins at `i` ends, looked for in eights."""
    low, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    while i + EIGHT <= end:
        breaks = _eight(data, i) ^ np.uint64(0x0A0A0A0A0A0A0A0A)
        if (breaks - low) & ~breaks & high != 0:
            break
        i += EIGHT
    while i < end and data[i] != 10:
        i += ONE
    return i


@numba.njit(cache=True)
def _lead(data, classes, i, end):
    """What the line whose first solid byte is `i` begins with, and the byte after it."""
    first = i
    if data[i] == 35:  # #
        while i < end and data[i] == 35:
            i += 1
        return (HEADING, i) if i - first <= 6 and (i >= end or data[i] == 32) else (TEXT, first)
    if classes[i] == BULLET or data[i] == 42:  # *
        i += 1
        while i < end and classes[i] == CONTINUATION:
            i += 1
        return (ITEM, i) if i < end and data[i] == 32 else (TEXT, first)
    opened = data[i] == 40  # (
    i += opened
    begin = i
    while i < end and i < begin + 3 and 48 <= data[i] <= 57:
        i += 1
    letter = i == begin and i < end and (97 <= data[i] <= 122 or 65 <= data[i] <= 90)
    i += letter
    if i == begin or i + 1 >= end or data[i + 1] != 32:
        return TEXT, first
    if data[i] == 41 or (data[i] == 46 and not opened and not letter):  # ) . ("A. Smith" is no list item)
        return NUMBERED_ITEM, i + 1
    return TEXT, first


@numba.njit(cache=True)
def count_lines(data, offsets, kinds, classes, line_offsets, stops, starts, ends, leads, after_leads, out):
    """Ellipses less the marks of headings, sentences, lines with words; of these bullets, list items, those with an
    ellipsis at their end, punctuated, short and repeated ones; paragraphs, repeated ones; questions (int64 [texts, 12])."""
    size = _table_size(_most(line_offsets))
    line_keys, paragraph_keys = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for d in range(len(out)):
        first, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        mask = _cleared(line_keys, line_offsets[d + 1] - line_offsets[d])
        _cleared(paragraph_keys, line_offsets[d + 1] - line_offsets[d])
        symbols = sentences = lines = bullets = items = ellipses = 0
        punctuated = short = repeated = paragraphs = repeated_paragraphs = questions = 0
        in_sentence = False  # a word since the last sentence's end
        paragraph_hash, paragraph_words = np.uint64(0), False
        i = first
        for n in range(np.uint64(line_offsets[d]), np.uint64(line_offsets[d + 1])):
            stop, a, b = np.uint64(stops[n]), np.uint64(starts[n]), np.uint64(ends[n])
            begins, i = i, stop + ONE
            lead, after_lead = leads[n], np.uint64(after_leads[n])
            code_line = a < end and kinds[a] == CODE
            if a == b or code_line:  # a paragraph ends here
                if paragraph_words:
                    paragraphs += 1
                    repeated_paragraphs += _seen(paragraph_keys, mask, paragraph_hash)
                paragraph_hash, paragraph_words = np.uint64(0), False
            if in_sentence and (a == b or code_line or lead != TEXT):
                sentences += 1
                in_sentence = False
            if a == b or code_line:
                continue

            line_words = lead == NUMBERED_ITEM
            words = False  # since the last mark that may end a sentence
            for j in range(after_lead, b):
                class_, prose = classes[j], kinds[j] <= SPAN
                words |= prose & (class_ >= UNSPACED)
                if prose & (class_ >= STOP) & (class_ <= FULL_STOP):
                    in_sentence |= words
                    line_words |= words
                    words = False
                    if class_ == ELLIPSIS or (data[j] == 46 and _dots(data, kinds, first, j) == 3):
                        symbols += 1
                    if in_sentence and (class_ == FULL_STOP or _ends_sentence(j + ONE, end, kinds, classes)):
                        sentences += 1
                        questions += data[j] == 63 or (data[j] == 0xEF and data[j + np.uint64(2)] == 0x9F)
                        in_sentence = False
            in_sentence |= words
            line_words |= words
            if lead == HEADING:
                out[d, 0] -= after_lead - a  # its marks are no symbols
                if in_sentence:
                    sentences += 1
                    in_sentence = False
            line_hash = _hash(data, a, b)
            paragraph_hash = (paragraph_hash ^ line_hash) * SPREAD + ONE
            if line_words:
                paragraph_words = True
                lines += 1
                bullets += lead == ITEM
                items += (lead == ITEM) | (lead == NUMBERED_ITEM)
                ending = _ending(data, kinds, classes, first, begins, stop)
                ellipses += ending == ELLIPSIS
                punctuated += ending != OTHER_END
                short += _is_short(classes, a, b)
                repeated += _seen(line_keys, mask, line_hash)
        if paragraph_words:  # the text ends without a newline
            paragraphs += 1
            repeated_paragraphs += _seen(paragraph_keys, mask, paragraph_hash)
        out[d, 0] += symbols
        sentences += in_sentence
        out[d, 1:6] = (sentences, lines, bullets, items, ellipses)
        out[d, 6:12] = (punctuated, short, repeated, paragraphs, repeated_paragraphs, questions)


@numba.njit(cache=True)
def _dots(data, kinds, first, i):
    """How many full stops of the prose end at `i`, four at most."""
    dots = 0
    while dots < 4 and data[i] == 46 and kinds[i] <= SPAN:
        dots += 1
        if i == first:
            break
        i -= ONE
    return dots


@numba.njit(cache=True)
def _ends_sentence(i, end, kinds, classes):
    """Whether the . ! ? or … before byte `i` ends a sentence: white space follows, then no small letter."""
    while i < end and kinds[i] <= SPAN and _may_follow(classes[i]):
        i += ONE
    if i < end and classes[i] != SPACE:
        return False
    while i < end and (classes[i] == SPACE or classes[i] == CONTINUATION):
        i += ONE
    return i >= end or kinds[i] > SPAN or classes[i] != LOWER


@numba.njit(cache=True)
def _may_follow(class_):
    return class_ in (STOP, ELLIPSIS, CLOSER, CONTINUATION)


OTHER_END = 0


@numba.njit(cache=True)
def _ending(data, kinds, classes, first, i, stop):
    """How the prose of a line ends, closing marks not counted: ELLIPSIS (or ...), STOP (or : ;) or OTHER_END."""
    while stop > i:
        stop -= ONE
        class_ = classes[stop]
        if kinds[stop] > SPAN or class_ in (SPACE, CLOSER, MARK, CONTINUATION):
            continue
        if class_ == STOP:
            return ELLIPSIS if _dots(data, kinds, first, stop) >= 3 else STOP
        if class_ == ELLIPSIS:
            return ELLIPSIS
        return STOP if class_ in (FULL_STOP, COLON) else OTHER_END
    return OTHER_END


@numba.njit(cache=True)
def _is_short(classes, a, b):
    """Whether there are at most 30 characters, of one to four bytes each."""
    if b - a <= 30 or b - a > 120:
        return b - a <= 30
    characters = 0
    for i in range(a, b):
        characters += classes[i] != CONTINUATION
    return characters <= 30


# --- hashes and tables --------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _eight(data, i):
    """The eight bytes that begin at `i`: one load of the processor."""
    bytes_ = np.uint64(0)
    for k in range(EIGHT):
        bytes_ |= np.uint64(data[i + k]) << (EIGHT * k)
    return bytes_


@numba.njit(cache=True)
def _hash(data, i, end):
    """Hash of the bytes from `i` to `end`, in eights; the last eight overlap those before."""
    hash_ = end - i
    if hash_ < EIGHT:
        for j in range(i, end):
            hash_ = (hash_ << EIGHT) | np.uint64(data[j])
        return _with(end - i, hash_)
    while i + EIGHT < end:
        hash_ = _with(hash_, _eight(data, i))
        i += EIGHT
    return _with(hash_, _eight(data, end - EIGHT))


@numba.njit(cache=True)
def _with(hash_, bytes_):
    hash_ = (hash_ ^ bytes_) * SPREAD
    return hash_ ^ (hash_ >> np.uint64(32))


@numba.njit(cache=True)
def _seen(keys, mask, key):
    """Whether `key` is in the table, open addressing, mask + 1 places; it is from now on."""
    key |= TOP_BIT
    slot = key & mask
    while (keys[slot] != 0) & (keys[slot] != key):
        slot = (slot + ONE) & mask
    seen = keys[slot] == key
    keys[slot] = key
    return seen


@numba.njit(cache=True)
def _table_size(most):
    size = 64
    while size < 2 * most:
        size *= 2
    return size


@numba.njit(cache=True)
def _cleared(table, most):
    """The mask of a table for `most` keys, emptied. A small one for a small text: it stays in the cache."""
    size = _table_size(most)
    table[:size] = 0
    return np.uint64(size - 1)


@numba.njit(cache=True)
def _most(offsets):
    most = 0
    for d in range(len(offsets) - 1):
        most = max(most, offsets[d + 1] - offsets[d])
    return most
