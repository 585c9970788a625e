"""What is prose in a text: a compiled pass over Arrow's UTF-8 buffers that marks links, formulas, code and addresses.

Markdown is read as the extraction writes it: ``` and ~~~ fences as in CommonMark; `$…$` and `$$…$$` as in
Pandoc (an opening `$` has no space after it, a closing one no space before it and no digit after it, neither
is escaped).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

# This list is compiled into kernels of other files, whose disk cache does not notice a change here: whoever renumbers
# it removes `__pycache__`.

# What a byte is part of. Up to SPAN it is prose: its words count.
PROSE, LINK, SPAN, URL, TARGET, FORMULA, CODE = range(7)
# LINK: text of a Markdown link; SPAN: `inline code`; URL: bare address; TARGET: `](address)`; CODE: fenced


class Texts(NamedTuple):
    """A column of texts as bytes: `data` uint8 (all texts end to end), `offsets` int64 [texts + 1]."""

    data: np.ndarray
    offsets: np.ndarray


def texts_of(column: pa.Array | pa.ChunkedArray) -> Texts:
    """The bytes of a string column, without a copy where there is one chunk. Null counts as empty."""
    column = column.cast(pa.large_string()).fill_null("")
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.large_string())
    offsets, data = np.zeros(1, np.int64), np.empty(0, np.uint8)
    if len(column):
        _, offset_buffer, data_buffer = column.buffers()
        data = np.frombuffer(data_buffer or b"", np.uint8)
        offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
    for array in (data, offsets):  # numba compiles again for arrays that may be written
        array.flags.writeable = False
    return Texts(data, offsets)


def regions(texts: Texts) -> np.ndarray:
    """For every byte what it is part of: PROSE, LINK, SPAN, URL, TARGET, FORMULA or CODE (uint8)."""
    kinds = np.zeros(len(texts.data), np.uint8)
    _mark(texts.data, texts.offsets, kinds)
    return kinds


# --- kernels ------------------------------------------------------------------------------------------------
# numba's disk cache looks at one source file only: no kernel calls a kernel of another file.

ONE = np.uint64(1)
NEWLINE, TAB, RETURN, BLANK = 10, 9, 13, 32
BACKTICK, TILDE, DOLLAR, BACKSLASH, OPEN, CLOSE, LEFT, RIGHT, COLON = 96, 126, 36, 92, 91, 93, 40, 41, 58


@numba.njit(cache=True)
def _mark(data, offsets, kinds):
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            fence = _fence(data, i, end)
            if fence > 0:
                stop = _end_of_code(data, i, end, fence)
                kinds[i:stop] = CODE
                i = stop + 1  # the last fence's newline is prose, so that blocks that touch stay two
            else:
                i = _mark_prose(data, i, end, kinds)


@numba.njit(cache=True)
def _fence(data, i, end):
    """Length of the code fence that opens at the line start `i`, 0 for none. Tildes: 1,000,000 is added."""
    indent = i
    while i < end and data[i] == BLANK:
        i += 1
    if i - indent > 3 or i >= end or (data[i] != BACKTICK and data[i] != TILDE):
        return 0
    mark, first = data[i], i
    while i < end and data[i] == mark:
        i += 1
    length = i - first
    if length < 3:
        return 0
    if mark == TILDE:
        return length + 1_000_000
    while i < end and data[i] != NEWLINE:  # ```x``` on one line is inline code
        if data[i] == BACKTICK:
            return 0
        i += 1
    return length


@numba.njit(cache=True)
def _end_of_code(data, i, end, fence):
    """Byte after the closing fence of the block that opens at `i`; `end` when it is never closed."""
    mark = TILDE if fence > 1_000_000 else BACKTICK
    length = fence % 1_000_000
    while True:
        while i < end and data[i] != NEWLINE:
            i += 1
        if i >= end:
            return end
        i += 1
        j = i
        while j < end and data[j] == BLANK:
            j += 1
        if j - i > 3:
            continue
        first = j
        while j < end and data[j] == mark:
            j += 1
        if j - first >= length:
            while j < end and (data[j] == BLANK or data[j] == TAB or data[j] == RETURN):
                j += 1
            if j >= end or data[j] == NEWLINE:
                return j


@numba.njit(cache=True)
def _ends_paragraph(data, i, end):
    """Whether a paragraph ends with the newline at `i`: a blank line, a code fence or nothing follows."""
    j = i + 1
    while j < end and (data[j] == BLANK or data[j] == TAB or data[j] == RETURN):
        j += 1
    return j >= end or data[j] == NEWLINE or _fence(data, i + 1, end) > 0


@numba.njit(cache=True)
def _is_space(byte):
    return byte in (BLANK, TAB, NEWLINE, RETURN)


BEGINS_MARKUP = np.isin(np.arange(256), [NEWLINE, BACKSLASH, DOLLAR, BACKTICK, OPEN, CLOSE, COLON])


@numba.njit(cache=True)
def _mark_prose(data, i, end, kinds):
    """Marks what lies outside code blocks, up to the next fence; its first byte is returned."""
    bracket = -1  # the last `[` of this line
    free = i  # what lies before belongs to something else, or is escaped
    while True:
        at, last = np.uint64(i), np.uint64(end)
        while at < last and not BEGINS_MARKUP[data[at]]:
            at += ONE
        i = np.int64(at)
        if i >= end:
            return end
        byte = data[i]
        if byte == NEWLINE:
            bracket = -1
            if _fence(data, i + 1, end) > 0:
                return i + 1
        elif byte == BACKSLASH and i + 1 < end and data[i + 1] != NEWLINE:
            i += 1
            free = i + 1
            if data[i] >= 0x80:  # an escaped character of several bytes is read again as itself
                continue
        elif byte == DOLLAR:
            stop = _end_of_formula(data, i, end)
            if stop > 0:
                kinds[i:stop] = FORMULA
                i = free = stop
                continue
            if i + 1 < end and data[i + 1] == DOLLAR:
                i += 1
        elif byte == BACKTICK:
            run = i
            while run < end and data[run] == BACKTICK:
                run += 1
            stop = _end_of_span(data, run, end, run - i)
            if stop > 0:
                kinds[i:stop] = SPAN
                i = free = stop
                continue
            i = run
            continue
        elif byte == OPEN:
            bracket = i
        elif byte == CLOSE and i + 1 < end and data[i + 1] == LEFT:
            stop = _end_of_target(data, i + 1, end)
            if stop > 0:
                if bracket >= 0:
                    for j in range(bracket, i):
                        if kinds[j] == PROSE:
                            kinds[j] = LINK
                bracket = -1
                kinds[i:stop] = TARGET
                i = free = stop
                continue
        elif byte == COLON:
            first = _address(data, i, free, end)
            if first >= 0:
                stop = i + 3
                while stop < end and not _ends_address(data[stop]):
                    stop += 1
                while stop > first + 7 and _is_stop(data[stop - 1]):  # the sentence's, not the address's
                    stop -= 1
                kinds[first:stop] = URL
                i = free = stop
                continue
        i += 1


@numba.njit(cache=True)
def _end_of_formula(data, i, end):
    """Byte after the formula that opens with the `$` at `i`, 0 if none does."""
    if i + 1 < end and data[i + 1] == DOLLAR:  # displayed: up to the next $$ of this paragraph
        j = i + 2
        while j + 1 < end:
            if data[j] == BACKSLASH and data[j + 1] != NEWLINE:
                j += 1
            elif data[j] == DOLLAR and data[j + 1] == DOLLAR:
                return j + 2 if j > i + 2 else 0
            elif data[j] == NEWLINE and _ends_paragraph(data, j, end):
                return 0
            j += 1
        return 0
    if i + 1 >= end or _is_space(data[i + 1]):
        return 0
    lines = 0
    j = i + 1
    while j < end:  # the next $ decides: it closes the formula, or there is none ("$5 and $10")
        if data[j] == BACKSLASH and j + 1 < end and data[j + 1] != NEWLINE:
            j += 1
        elif data[j] == DOLLAR:
            digit = j + 1 < end and 48 <= data[j + 1] <= 57
            return 0 if digit or _is_space(data[j - 1]) else j + 1
        elif data[j] == NEWLINE:
            lines += 1
            if lines > 1 or _ends_paragraph(data, j, end):
                return 0
        j += 1
    return 0


@numba.njit(cache=True)
def _end_of_span(data, i, end, length):
    """Byte after the run of exactly `length` backticks that closes inline code, 0 if none does."""
    limit = min(end, i + 1000)  # a bound, so that pages full of backticks stay linear
    while i < limit:
        if data[i] == BACKTICK:
            run = i
            while run < end and data[run] == BACKTICK:
                run += 1
            if run - i == length:
                return run
            i = run
        elif data[i] == NEWLINE and _ends_paragraph(data, i, end):
            return 0
        else:
            i += 1
    return 0


@numba.njit(cache=True)
def _end_of_target(data, i, end):
    """Byte after the `)` that balances the `(` at `i` on its line, 0 if none does."""
    depth = 0
    limit = min(end, i + 2000)
    while i < limit and data[i] != NEWLINE:
        if data[i] == LEFT:
            depth += 1
        elif data[i] == RIGHT:
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return 0


@numba.njit(cache=True)
def _address(data, i, free, end):
    """Where the address begins whose `://` is at `i`, -1 if none does: `http` or `https` that is still free."""
    if i + 3 >= end or data[i + 1] != 47 or data[i + 2] != 47:
        return -1
    first = i - 5 if i > free and data[i - 1] == 115 else i - 4
    if first < free or data[first] != 104 or data[first + 1] != 116 or data[first + 2] != 116:
        return -1
    return first if data[first + 3] == 112 else -1


@numba.njit(cache=True)
def _ends_address(byte):
    return byte <= BLANK or byte in (34, 60, 62, RIGHT, CLOSE, BACKTICK)  # " < >


@numba.njit(cache=True)
def _is_stop(byte):
    return byte in (46, 44, 58, 59, 33, 63, 39)  # . , : ; ! ? '
