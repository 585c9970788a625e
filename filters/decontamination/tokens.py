"""A text as tokens in which the spelling of formulas and numbers makes no difference.

    `\\(\\dfrac12 \\left(x+y\\right)\\)`, `$\\frac{1}{2}(x + y)$` and "1/2 (x+y)"   →   1  2  x  +  y
    "1,000.50", `1{,}000.5`, `1\\,000.5`, "1 000.5" and "１０００.5"                →   1000.5
    "x² ≤ 2π", `$x^2 \\le 2\\pi$` and "x^2 <= 2 pi"                               →   x  2  leq  2  pi

A token is
    * a word: a run of letters, folded as in `filters.words`; within a formula each letter by itself, so that
      `xy` = `x y` = `x\\cdot y`; one character of a script written without spaces;
    * a number, whatever groups its thousands, without needless zeros; "twenty-five" = 二十五 = 25, 二〇二五 = 2025;
    * a sign that says something (=, +, ≤, √, …), by the name LaTeX has for it.
Multiplication, division, powers, minus signs, brackets and all that only sets the type are no tokens: they are spelled
in too many ways, and `a/b` is `\\frac{a}{b}`. That `a-b` is `ab` then costs little where whole problems are compared.

Not known are traditional and simplified forms of the same Chinese character, numerals of accounting (贰拾), and numbers
written partly in digits (3万).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from filters.decontamination.notation import (
    DIGIT,
    DROPPED,
    FNV,
    FRACTION,
    HAN,
    IS_ENVIRONMENT,
    IS_FRACTION,
    IS_UPRIGHT,
    LETTER,
    MARK,
    NAMED,
    PRIME,
    RAISED,
    SINGLE,
    TABLE,
    characters,
    names,
)
from filters.words import Texts


class Tokens(NamedTuple):
    """The tokens of a batch, in order. `offsets` int64 [texts + 1] says which belong to which text."""

    offsets: np.ndarray
    hashes: np.ndarray  # uint64
    starts: np.ndarray  # int64, first byte in `Texts.data`
    ends: np.ndarray  # int64, byte after the last
    numbers: np.ndarray  # bool, is a number


def find_tokens(texts: Texts) -> Tokens:
    """The tokens of each text."""
    most = len(texts.data) + 1  # pages never written cost nothing
    found = Tokens(
        np.zeros(len(texts.offsets), np.int64),
        np.empty(most, np.uint64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.bool_),
    )
    _cut(texts.data, texts.offsets, *characters(), *names(), *found)
    n = found.offsets[-1]
    return Tokens(found.offsets, *(array[:n] for array in found[1:]))


# --- kernels ------------------------------------------------------------------------------------------------
# numba's disk cache looks at one source file only: no kernel calls a kernel of another file.

HALF = np.uint64(32)
NEWLINE, BLANK, BANG, PERCENT, DOLLAR, QUOTE, LEFT, RIGHT, PLUS, COMMA, HYPHEN, POINT = b"\n !%$'()+,-."
LESS, EQUAL, GREATER, SQUARE, BACKSLASH, SQUARED, UNDERSCORE, OPEN, CLOSE, TILDE = b"<=>[\\]_{}~"


@numba.njit(cache=True)
def _cut(
    data, offsets, entries, names, command_keys, command_values, word_keys, word_values,
    token_offsets, hashes, starts, ends, numbers,
):  # fmt: skip
    n = 0
    less_or_equal, more_or_equal, unequal, arrow = _of(b"leq"), _of(b"geq"), _of(b"neq"), _of(b"to")
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        formula = i  # until this byte letters stand alone …
        upright = i  # … but not until this one
        tens = -1  # the token "twenty" that a "five" may belong to
        line = True  # nothing but blanks and quotation marks of Markdown yet
        while i < end:
            byte = data[i]
            if byte < 0x80:
                code, after = np.uint32(byte), i + 1
            else:
                code, after = _decode(data, i, end)
            entry = entries[code] if code < TABLE else np.uint32(SINGLE << 24) | code
            kind = entry >> np.uint32(24)
            if kind == LETTER:
                hash_ = _add(FNV, entry & np.uint32(0xFFFFFF))
                start, i = i, after
                alone = start < formula and start >= upright
                while i < end:
                    if data[i] < 0x80:
                        code, after = np.uint32(data[i]), i + 1
                    else:
                        code, after = _decode(data, i, end)
                    entry = entries[code] if code < TABLE else np.uint32(0)
                    kind = entry >> np.uint32(24)
                    if kind == LETTER and not alone:
                        hash_ = _add(hash_, entry & np.uint32(0xFFFFFF))
                    elif kind != MARK and (
                        (code != QUOTE and code != 0x2019)
                        or alone
                        or not _letter_at(data, after, end, entries)
                    ):
                        break
                    i = after
                hash_ ^= hash_ >> HALF
                place = _place(hash_, word_keys)
                value = word_values[place] if place >= 0 else np.uint64(100)
                if value < 100:
                    if tens == n - 1 and tens >= 0 and 0 < value < 10 and start - ends[tens] == 1:
                        n -= 1
                        start = starts[n]
                        hash_ = _of_value(_tens_value(hashes[n]) + value)
                    else:
                        hash_ = _of_value(value)
                        tens = n if value >= 20 else -1
                elif place >= 0:
                    hash_ = value
                hashes[n], starts[n], ends[n], numbers[n] = hash_, start, i, value < 100
                n += 1
                line = False
            elif kind == DIGIT or (
                byte == POINT and _digit_at(data, after, end) and (i == offsets[d] or data[i - 1] != POINT)
            ):
                hashes[n], ends[n] = _number(data, i, end, entries)
                starts[n], numbers[n] = i, True
                i = ends[n]
                n += 1
                line = False
            elif kind == RAISED:
                start, hash_ = i, FNV
                while kind == RAISED:
                    hash_ = _add(hash_, entry & np.uint32(0xFF))
                    i = after
                    if i >= end:
                        break
                    code, after = _decode(data, i, end)
                    entry = entries[code] if code < TABLE else np.uint32(0)
                    kind = entry >> np.uint32(24)
                hashes[n], starts[n], ends[n], numbers[n] = hash_ ^ (hash_ >> HALF), start, i, True
                n += 1
            elif kind == HAN and (code == 0x5341 or entry & np.uint32(0xFFFFFF) < 16):  # 十 or a digit
                hashes[n], ends[n] = _han_number(data, i, end, entries)
                starts[n], numbers[n] = i, True
                i = ends[n]
                n += 1
                line = False
            elif kind in (SINGLE, NAMED, HAN):
                if kind != NAMED:
                    hash_ = _add(FNV, entry & np.uint32(0xFFFFFF) if kind == SINGLE else code)
                    hash_ ^= hash_ >> HALF
                else:
                    hash_ = names[entry & np.uint32(0xFFFFFF)]
                start, i = i, after
                if byte < 0x80 and byte != PERCENT:  # = + < >
                    follows = data[i] if i < end else np.uint8(0)
                    if line and byte in (GREATER, PLUS):
                        continue  # a quotation or an item of a list
                    if follows == EQUAL and byte in (LESS, GREATER):
                        hash_ = less_or_equal if byte == LESS else more_or_equal
                        i += 1
                    elif byte == EQUAL and start > offsets[d] and data[start - 1] == BANG:
                        hash_ = unequal
                    elif byte == GREATER and start > offsets[d] and data[start - 1] == HYPHEN:
                        hash_ = arrow
                    run = i
                    while run < end and data[run] == byte:
                        run += 1
                    if run - start > 2:  # a ruled line
                        i = run
                        continue
                    i = run
                hashes[n], starts[n], ends[n], numbers[n] = hash_, start, i, False
                n += 1
                line = False
            elif kind == FRACTION:
                for shift in (np.uint32(8), np.uint32(0)):
                    hash_ = _add(FNV, (entry >> shift) & np.uint32(0xFF))
                    hashes[n], starts[n], ends[n], numbers[n] = hash_ ^ (hash_ >> HALF), i, after, True
                    n += 1
                i = after
                line = False
            elif byte == BACKSLASH and after < end:
                start = i
                i = after
                hash_ = FNV
                while i < end and (65 <= data[i] <= 90 or 97 <= data[i] <= 122):
                    hash_ = _add(hash_, np.uint32(data[i] | 32))
                    i += 1
                if i == after:  # no letter: \( \, \{ \\
                    if data[i] == LEFT or data[i] == SQUARE:
                        formula = max(formula, _end_of_brackets(data, i, end))
                    if data[i] != PERCENT and data[i] < 0x80:  # \% is %
                        i += 1
                    continue
                hash_ ^= hash_ >> HALF
                place = _place(hash_, command_keys)
                meant = command_values[place] if place >= 0 else hash_
                if meant > IS_ENVIRONMENT:
                    hashes[n], starts[n], ends[n], numbers[n] = meant, start, i, False
                    n += 1
                elif meant == IS_FRACTION:
                    while i < end and data[i] == BLANK:
                        i += 1
                    for _ in range(2):
                        if _digit_at(data, i, end):
                            hash_ = _add(FNV, np.uint32(data[i]))
                            hashes[n], starts[n], ends[n], numbers[n] = (
                                hash_ ^ (hash_ >> HALF),
                                i,
                                i + 1,
                                True,
                            )
                            n += 1
                            i += 1
                        else:
                            break
                elif meant != DROPPED and i < end and data[i] == OPEN:
                    stop = i
                    while stop < min(end, i + 200) and data[stop] != CLOSE:
                        stop += 1
                    if meant == IS_UPRIGHT:
                        upright = stop
                    else:
                        i = stop
                line = False
            else:
                if byte == DOLLAR and i >= formula:
                    formula = max(formula, _end_of_formula(data, i, end))
                if byte == NEWLINE:
                    line = True
                elif byte > BLANK:
                    line = False
                i = after
        token_offsets[d + 1] = n


@numba.njit(cache=True)
def _number(data, i, end, entries):
    """Hash of the number that begins at `i`, and the byte after it."""
    hash_ = FNV
    first, digits, grouped, significant = i, 0, True, False
    while i < end:
        code, after = _decode(data, i, end)
        entry = entries[code] if code < TABLE else np.uint32(0)
        if entry >> np.uint32(24) == DIGIT:
            digit = entry & np.uint32(0xFF)
            if digits == 0 and digit == 48:
                grouped = False  # 0,125 is no thousand
            if digit != 48 or significant:
                hash_ = _add(hash_, digit)
                significant = True
            digits += 1
            i = after
            continue
        if not grouped or digits == 0 or digits > 3:
            break
        group = _group(data, i, end)
        if group == 0:
            break
        while group > 0:
            for j in range(group, group + 3):
                hash_ = _add(hash_, np.uint32(data[j]))
            i = group + 3
            group = _group(data, i, end)
        break
    if not significant:
        hash_ = _add(hash_, np.uint32(48))
    if i < end and data[i] == POINT and _digit_at(data, i + 1, end):
        i += 1
        zeros, point = 0, False
        while _digit_at(data, i, end):
            if data[i] == 48:
                zeros += 1
            else:
                if not point:
                    hash_ = _add(hash_, np.uint32(POINT))
                    point = True
                for _ in range(zeros):
                    hash_ = _add(hash_, np.uint32(48))
                hash_ = _add(hash_, np.uint32(data[i]))
                zeros = 0
            i += 1
    if i == first:
        i += 1
    return hash_ ^ (hash_ >> HALF), i


@numba.njit(cache=True)
def _han_number(data, i, end, entries):
    """Hash of the number in Han numerals that begins at `i`, and the byte after it: 三百零五, or by its digits 二〇二五."""
    start, units, total, part, digit = i, False, np.uint64(0), np.uint64(0), np.uint64(0)
    by_digits, by_digits_stop = FNV, i
    significant = False
    while i < end:
        code, after = _decode(data, i, end)
        entry = entries[code] if code < TABLE else np.uint32(0)
        if entry >> np.uint32(24) != HAN or after - start > 60:
            break
        value = np.uint64(entry & np.uint32(0xFFFFFF))
        if value < 16:
            digit = value
            if not units:
                significant |= bool(value > 0)
                if significant:
                    by_digits = _add(by_digits, np.uint32(48 + value))
                by_digits_stop = after
        else:
            units = True
            power = np.uint64(10) ** (value - np.uint64(16))
            if value < 20:  # 十百千
                part += max(digit, np.uint64(1 if i == start or value == 17 else 0)) * power
            elif value == 20:  # 万
                total += (part + digit) * power
                part = np.uint64(0)
            else:  # 亿
                total = (total + part + digit) * power
                part = np.uint64(0)
            digit = np.uint64(0)
        i = after
    if not units:
        if not significant:
            by_digits = _add(by_digits, np.uint32(48))
        return by_digits ^ (by_digits >> HALF), by_digits_stop
    return _of_value(total + part + digit), i


@numba.njit(cache=True)
def _group(data, i, end):
    """Where three digits begin that belong to the number before `i`, 0 if none do."""
    if i >= end:
        return 0
    byte = data[i]
    j = i
    if byte == COMMA:
        j = i + 1
        if j + 1 < end and data[j] == BACKSLASH and data[j + 1] == BANG:  # 1,\!000
            j += 2
    elif byte == OPEN and i + 2 < end and data[i + 1] == COMMA and data[i + 2] == CLOSE:
        j = i + 3
    elif byte in (BLANK, TILDE, QUOTE, UNDERSCORE):
        j = i + 1
    elif byte == BACKSLASH and i + 1 < end and data[i + 1] in (COMMA, 58, 59, BLANK):  # \, \: \;
        j = i + 2
    elif byte >= 0x80:
        code, after = _decode(data, i, end)
        if code in (0xA0, 0x2009, 0x202F, 0x2019):  # spaces that do not break or are thin, ’
            j = after
    if j == i or j + 3 > end or _digit_at(data, j + 3, end):
        return 0
    for k in range(j, j + 3):
        if not _digit_at(data, k, end):
            return 0
    return j


@numba.njit(cache=True)
def _end_of_formula(data, i, end):
    """The `$` that closes the formula opened at `i`, as Pandoc has it and within the paragraph; `i` if none does."""
    if i + 1 < end and data[i + 1] == DOLLAR:
        j = i + 2
        while j + 1 < end and not (data[j] == NEWLINE and data[j + 1] == NEWLINE):
            if data[j] == DOLLAR and data[j + 1] == DOLLAR:
                return j + 2
            j += 1
        return i
    if i + 1 >= end or data[i + 1] <= BLANK:
        return i
    j = i + 1
    while j < end and not (data[j] == NEWLINE and j + 1 < end and data[j + 1] == NEWLINE):
        if data[j] == BACKSLASH:
            j += 1
        elif data[j] == DOLLAR:
            return i if data[j - 1] <= BLANK or _digit_at(data, j + 1, end) else j + 1
        j += 1
    return i


@numba.njit(cache=True)
def _end_of_brackets(data, i, end):
    """Where the formula ends that is opened by the second byte of `\\(` or `\\[`, at `i`; `i` if it does not."""
    close = RIGHT if data[i] == LEFT else SQUARED
    for j in range(i + 1, min(end - 1, i + 2000)):
        if data[j] == BACKSLASH and data[j + 1] == close:
            return j
        if data[j] == BACKSLASH and data[j + 1] == data[i]:  # formulas do not hold formulas
            return i
    return i


@numba.njit(cache=True)
def _digit_at(data, i, end):
    return i < end and 48 <= data[i] <= 57


@numba.njit(cache=True)
def _letter_at(data, i, end, entries):
    if i >= end:
        return False
    code, _ = _decode(data, i, end)
    return code < TABLE and entries[code] >> np.uint32(24) == LETTER


@numba.njit(cache=True)
def _decode(data, i, end):
    """Code point at byte `i` and the byte after it."""
    byte = np.uint32(data[i])
    if byte < 0x80:
        return byte, i + 1
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if i + width > end:  # not UTF-8: never read beyond the text
        return np.uint32(0xFFFD), end
    code = byte & np.uint32(0x7F >> width)
    for j in range(i + 1, i + width):
        code = (code << np.uint32(6)) | (np.uint32(data[j]) & np.uint32(0x3F))
    return code, i + width


@numba.njit(cache=True)
def _add(hash_, code):
    """FNV-1a over code points."""
    return (hash_ ^ np.uint64(code)) * PRIME


@numba.njit(cache=True)
def _of(name):
    """Hash of a name in ASCII."""
    hash_ = FNV
    for byte in name:
        hash_ = _add(hash_, np.uint32(byte))
    return hash_ ^ (hash_ >> HALF)


@numba.njit(cache=True)
def _of_value(value):
    """Hash of a whole number, as of its digits."""
    hash_ = FNV
    unit = np.uint64(1)
    while value // unit >= 10:
        unit *= np.uint64(10)
    while unit > 0:
        hash_ = _add(hash_, np.uint32(48 + (value // unit) % np.uint64(10)))
        unit //= np.uint64(10)
    return hash_ ^ (hash_ >> HALF)


@numba.njit(cache=True)
def _tens_value(hash_):
    """The number among 20, 30 … 90 that has this hash."""
    value = np.uint64(20)
    while value < 90 and _of_value(value) != hash_:
        value += np.uint64(10)
    return value


@numba.njit(cache=True)
def _place(hash_, keys):
    """Place of a key in a table, -1 if it is not there."""
    mask = np.uint64(len(keys) - 1)
    place = hash_ & mask
    while keys[place] != 0:
        if keys[place] == hash_:
            return np.int64(place)
        place = (place + np.uint64(1)) & mask
    return -1
