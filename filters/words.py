"""What is prose in a text, and what are its words: compiled passes over Arrow's UTF-8 buffers.

A text is first marked byte by byte (prose, link, formula, fenced code, …), then its prose is cut into words.
Both passes work on a whole batch and make no Python object per word; together they take about 60 MB a second
and core.

A word is
    * a run of letters, combining marks and digits; an apostrophe between letters and a `.` or `,` between
      digits belong to it ("don't", "3.14", "1,000");
    * one letter, with its marks, of a script written without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar,
      Tibetan, …).
A LaTeX command is no word (`\\frac`), unless it prints as one (`\\sin`). A word's hash ignores case, accents,
apostrophes, thousands commas and compatibility forms: "Don’t" = "dont", "１,０００" = "1000", "𝑥" = "x".

Markdown is read as the extraction writes it: ``` and ~~~ fences as in CommonMark; `$…$` and `$$…$$` as in
Pandoc (an opening `$` has no space after it, a closing one no space before it and no digit after it, neither
is escaped).
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

# Both lists are compiled into kernels of other files, whose disk cache does not notice a change here: whoever
# renumbers them removes `__pycache__`.

# What a byte is part of. Up to SPAN it is prose: its words count.
PROSE, LINK, SPAN, URL, TARGET, FORMULA, CODE = range(7)
# LINK: text of a Markdown link; SPAN: `inline code`; URL: bare address; TARGET: `](address)`; CODE: fenced

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


class Texts(NamedTuple):
    """A column of texts as bytes: `data` uint8 (all texts end to end), `offsets` int64 [texts + 1]."""

    data: np.ndarray
    offsets: np.ndarray


class Words(NamedTuple):
    """The words of a batch, in order. `offsets` int64 [texts + 1] says which belong to which text."""

    offsets: np.ndarray
    hashes: np.ndarray  # uint64
    starts: np.ndarray  # int64, first byte in `Texts.data`
    ends: np.ndarray  # int64, byte after the last
    lengths: np.ndarray  # int32, characters
    alphabetic: np.ndarray  # bool, has a letter


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

NEWLINE, TAB, RETURN, BLANK = 10, 9, 13, 32
FNV = np.uint64(0xCBF29CE484222325)  # FNV-1a's beginning
BACKTICK, TILDE, DOLLAR, BACKSLASH, OPEN, CLOSE, LEFT, RIGHT = 96, 126, 36, 92, 91, 93, 40, 41


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


@numba.njit(cache=True)
def _mark_prose(data, i, end, kinds):
    """Marks what lies outside code blocks, up to the next fence; its first byte is returned."""
    bracket = -1  # the last `[` of this line
    while i < end:
        byte = data[i]
        if byte == NEWLINE:
            bracket = -1
            if _fence(data, i + 1, end) > 0:
                return i + 1
        elif byte == BACKSLASH and i + 1 < end and data[i + 1] != NEWLINE:
            i += 1
            if data[i] >= 0x80:  # an escaped character of several bytes is read again as itself
                continue
        elif byte == DOLLAR:
            stop = _end_of_formula(data, i, end)
            if stop > 0:
                kinds[i:stop] = FORMULA
                i = stop
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
                i = stop
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
                i = stop
                continue
        elif byte == 104 and _is_address(data, i, end):  # h
            stop = i + 7
            while stop < end and not _ends_address(data[stop]):
                stop += 1
            while stop > i + 7 and _is_stop(data[stop - 1]):  # the sentence's, not the address's
                stop -= 1
            kinds[i:stop] = URL
            i = stop
            continue
        i += 1
    return end


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
def _is_address(data, i, end):
    """Whether `http://` or `https://` begins at `i`."""
    if i + 7 >= end or data[i + 1] != 116 or data[i + 2] != 116 or data[i + 3] != 112:
        return False
    j = i + 5 if data[i + 4] == 115 else i + 4
    return data[j] == 58 and data[j + 1] == 47 and data[j + 2] == 47


@numba.njit(cache=True)
def _ends_address(byte):
    return byte <= BLANK or byte in (34, 60, 62, RIGHT, CLOSE, BACKTICK)  # " < >


@numba.njit(cache=True)
def _is_stop(byte):
    return byte in (46, 44, 58, 59, 33, 63, 39)  # . , : ; ! ? '


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
def _classify(data, offsets, table, classes):
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            code, after = _decode(data, i, end)
            if code < TABLE:
                classes[i] = table[code]
            elif code < 0x40000:
                classes[i] = UNSPACED
            else:
                classes[i] = MARK if 0xE0100 <= code < 0xE01F0 else OTHER  # variation selectors
            classes[i + 1 : after] = CONTINUATION
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
    n = 0
    for d in range(len(offsets) - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            kind = classes[i]
            if kinds[i] > SPAN or kind < UNSPACED:
                i += 1
                if data[i - 1] == BACKSLASH and kinds[i - 1] <= SPAN:
                    after, hash_ = i, FNV
                    while after < end and (65 <= data[after] <= 90 or 97 <= data[after] <= 122):
                        hash_ = _add(hash_, folds[data[after]])
                        after += 1
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
                code, after = _decode(data, i, end)
                if kind >= UNSPACED:
                    if kind == UNSPACED or last == UNSPACED:
                        break
                    last = kind
                    letter = letter or kind != DIGIT
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
            n += 1
        word_offsets[d + 1] = n


@numba.njit(cache=True)
def _add(hash_, code):
    """FNV-1a over code points; 0 is left out."""
    if code == 0:
        return hash_
    return (hash_ ^ np.uint64(code)) * np.uint64(0x100000001B3)


@numba.njit(cache=True)
def _finish(hash_):
    """Spreads FNV's bits over the whole word (the finaliser of splitmix64)."""
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))
