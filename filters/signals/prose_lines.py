"""Kernel over the lines and paragraphs of a text's prose as Gopher and FineWeb count them."""

from __future__ import annotations

import numba
import numpy as np

from filters.words import CONTINUATION, ELLIPSIS, SPACE, TABLE

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file. Hot loops run over
# unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE, TOP_BIT, EIGHT = np.uint64(1), np.uint64(1 << 63), np.uint64(8)
SPREAD = np.uint64(0xBF58476D1CE4E5B9)


@numba.njit(cache=True)
def count_prose_lines(data, offsets, classes, terminals, out):
    """Line breaks, #, ellipses, lines, repeated ones and their characters; of those that are not blank all, punctuated
    ones, short ones, characters of repeated ones; paragraphs, repeated ones and their characters (int64 [texts, 13])."""
    keys = np.empty(64, np.uint64)
    for d in range(len(out)):
        start, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        newlines, hashes, ellipses, dots = _sums(data, classes, start, end)
        if dots > 0:
            ellipses += _three_dots(data, start, end)
        keys, mask = _cleared(keys, newlines + 1)
        lines = repeated = repeated_characters = 0
        full = punctuated = short = full_repeated = 0
        i = start
        while i < end:
            stop = _line_break(data, i, end)
            if stop > i:
                lines += 1
                again = _seen(keys, mask, _hash(data, i, stop))
                characters = _characters(classes, i, stop) if again else 0
                repeated += again
                repeated_characters += characters
                solid = i
                while solid < stop and (classes[solid] == SPACE or classes[solid] == CONTINUATION):
                    solid += ONE
                if solid < stop:
                    full += 1
                    full_repeated += characters
                    short += _is_short(classes, i, stop)
                    punctuated += _is_terminal(data, classes, stop - ONE, terminals)
            i = stop + ONE
        if (
            start < end
        ):  # where the prose is cut at line breaks, nothing is left before the first and after the last
            lines += (data[start] == 10) + (data[end - ONE] == 10)
            repeated += data[start] == 10 and data[end - ONE] == 10
            if newlines == end - start:  # nothing but line breaks: two pieces
                lines, repeated = 2, 1
        out[d, 0:6] = (newlines, hashes, ellipses, lines, repeated, repeated_characters)
        out[d, 6:10] = (full, punctuated, short, full_repeated)
        keys, mask = _cleared(keys, newlines + 1)
        out[d, 10:13] = _count_paragraphs(data, start, end, classes, keys, mask)


@numba.njit(cache=True)
def _sums(data, classes, start, end):
    """Line breaks, #, … and pairs of full stops."""
    newlines = hashes = ellipses = dots = 0
    last = np.uint8(0)
    for i in range(start, end):
        newlines += data[i] == 10
        hashes += data[i] == 35
        ellipses += classes[i] == ELLIPSIS
        dots += (data[i] == 46) & (last == 46)
        last = data[i]
    return newlines, hashes, ellipses, dots


@numba.njit(cache=True)
def _three_dots(data, i, end):
    """How often ... occurs, none of them overlapping."""
    found = dots = 0
    while i < end:
        dots = (dots + 1) * (data[i] == 46)
        found += dots == 3
        dots %= 3
        i += ONE
    return found


@numba.njit(cache=True)
def _is_terminal(data, classes, i, terminals):
    """Whether the character whose last byte is `i` ends sentences in some script."""
    if data[i] < 0x80:
        return terminals[data[i]]
    code, shift = np.uint64(0), np.uint64(0)
    while classes[i] == CONTINUATION:
        code |= np.uint64(data[i] & 0x3F) << shift
        shift += np.uint64(6)
        i -= ONE
    first = np.uint64(data[i] & (0x1F if shift == 6 else 0x0F if shift == 12 else 0x07))
    code |= first << shift
    return code < TABLE and terminals[code]


@numba.njit(cache=True)
def _count_paragraphs(data, start, end, classes, keys, mask):
    """Paragraphs, repeated ones and their characters; white space at both ends of the text does not count."""
    while start < end and (classes[start] == SPACE or classes[start] == CONTINUATION):
        start += ONE
    while end > start and (classes[end - ONE] == SPACE or _is_end_of_space(classes, end)):
        end -= ONE
    paragraphs = repeated = characters = 0
    i = start
    while i < end:
        stop = _line_break(data, i, end)
        while stop < end and data[stop + ONE] != 10:  # the last byte is no line break
            stop = _line_break(data, stop + ONE, end)
        paragraphs += 1
        if _seen(keys, mask, _hash(data, i, stop)):
            repeated += 1
            characters += _characters(classes, i, stop)
        i = stop
        while i < end and data[i] == 10:
            i += ONE
    return paragraphs, repeated, characters


@numba.njit(cache=True)
def _is_end_of_space(classes, end):
    """Whether the byte before `end` continues a character of white space."""
    last = end - ONE
    while classes[last] == CONTINUATION:
        last -= ONE
    return classes[last] == SPACE


@numba.njit(cache=True)
def _is_short(classes, a, b):
    """Whether there are at most 30 characters, of one to four bytes each."""
    if b - a <= 30 or b - a > 120:
        return b - a <= 30
    return _characters(classes, a, b) <= 30


@numba.njit(cache=True)
def _characters(classes, a, b):
    characters = 0
    for i in range(a, b):
        characters += classes[i] != CONTINUATION
    return characters


# --- hashes and tables --------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _eight(data, i):
    """The eight bytes that begin at `i`: one load of the processor."""
    bytes_ = np.uint64(0)
    for k in range(EIGHT):
        bytes_ |= np.uint64(data[i + k]) << (EIGHT * k)
    return bytes_


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
def _cleared(keys, most):
    """A table for `most` keys, emptied, and its mask: `keys` or a larger one."""
    size = 64
    while size < 2 * most:
        size *= 2
    if size > len(keys):
        keys = np.empty(size, np.uint64)
    keys[:size] = 0
    return keys, np.uint64(size - 1)
