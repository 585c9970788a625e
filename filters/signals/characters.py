"""Kernel over a text's characters: how many are what, formulas, code blocks and chains of equations."""

from __future__ import annotations

import numba
import numpy as np

from filters.prose import CODE, FORMULA, LINK, SPAN, URL
from filters.words import CONTINUATION, DIGIT, RELATION, SPACE

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file. Hot loops run over
# unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE = np.uint64(1)


@numba.njit(cache=True)
def count_characters(data, offsets, kinds, classes, out):
    """Characters: all, of prose, solid ones, digits, #, of links, addresses, formulas and code; then formulas, code
    blocks, formulas that are chains of equations (int64 [texts, 12])."""
    for d in range(len(out)):
        first, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        out[d, 0:10] = _sums(data, kinds, classes, first, end)
        if out[d, 9] > 0:
            out[d, 9:12] = _count_regions(data, kinds, classes, first, end)


@numba.njit(cache=True)
def _sums(data, kinds, classes, first, end):
    """Characters: all, of prose, solid ones, digits, #, of links, addresses, formulas and code; bytes of no prose."""
    total = prose = solid = digits = hashes = link = url = formula = code = outside = 0
    for i in range(first, end):
        kind, class_ = kinds[i], classes[i]
        counts = class_ != CONTINUATION
        total += counts
        prose += counts & (kind <= SPAN)
        solid += counts & (kind <= SPAN) & (class_ != SPACE)
        digits += (class_ == DIGIT) & (kind <= SPAN)
        hashes += (data[i] == 35) & (kind <= SPAN)
        link += counts & (kind == LINK)
        url += counts & (kind == URL)
        formula += counts & (kind == FORMULA)
        code += counts & (kind == CODE)
        outside += kind > SPAN
    return total, prose, solid, digits, hashes, link, url, formula, code, outside


@numba.njit(cache=True)
def _count_regions(data, kinds, classes, i, end):
    """Formulas, code blocks and formulas that are chains of equations."""
    formulas = blocks = chains = 0
    while i < end:
        kind, first = kinds[i], i
        while i < end and kinds[i] == kind:
            i += ONE
        blocks += kind == CODE
        if kind == FORMULA:
            formulas += 1
            chains += _has_chain(data, classes, first, i)
    return formulas, blocks, chains


@numba.njit(cache=True)
def _has_chain(data, classes, i, end):
    """Whether the formula in these bytes has two signs of equality or implication outside braces."""
    depth = found = 0
    while i < end:
        byte = data[i]
        if byte == 92:  # a command, or an escaped character
            i += ONE
            name = i
            while i < end and (97 <= data[i] <= 122 or 65 <= data[i] <= 90):
                i += ONE
            if depth == 0 and _is_relation(data, name, i):
                found += 1
            i += np.uint64(i == name)
            continue
        if byte == 123:
            depth += 1
        elif byte == 125:
            depth -= 1
        elif depth == 0 and byte == 61:
            before = data[i - ONE]  # a formula begins with $, so there is one
            found += before not in (61, 33, 60, 62)  # not ==, !=, <=, >=
        elif depth == 0:
            found += classes[i] == RELATION
        i += ONE
    return found >= 2


RELATIONS = tuple(
    np.frombuffer(name.encode(), np.uint8).copy()
    for name in ("approx", "equiv", "implies", "iff", "Rightarrow", "Leftrightarrow")
)


@numba.njit(cache=True)
def _is_relation(data, i, end):
    for name in numba.literal_unroll(RELATIONS):
        if np.uint64(len(name)) == end - i:
            same = True
            for k in range(np.uint64(len(name))):
                same = same and data[i + k] == name[k]
            if same:
                return True
    return False
