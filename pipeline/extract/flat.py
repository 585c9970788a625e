"""A page as arrays: the elements and texts of a serialised tree, in document order, read in one compiled pass.

Node by node, a tree costs Python as much as the whole rest of extraction (0.3 µs a look, several looks a node). Here a
page is one array per property; a subtree is the range `node … last[node]`, so that sums over it are differences of
cumulative sums.

What is read is what lexbor writes: HTML that is well formed (attributes in double quotes, every element closed but for
the void ones). Other input gives some tree, never an error. N nodes, R runs: a *run* is text that a reader sees in one
piece, between two boundaries of blocks or of marked elements (or empty lines of `<br><br>`). Offsets are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

TEXT = 0  # the tag of a text node
BLOCKS = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
    "search",
    "noscript",
    "option",
    "optgroup",
    "select",
]
INLINE = [
    "a",
    "abbr",
    "b",
    "bdi",
    "bdo",
    "big",
    "br",
    "button",
    "canvas",
    "cite",
    "code",
    "data",
    "del",
    "dfn",
    "em",
    "embed",
    "font",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "map",
    "mark",
    "meter",
    "object",
    "output",
    "picture",
    "progress",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "script",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "sup",
    "svg",
    "template",
    "textarea",
    "time",
    "title",
    "tt",
    "u",
    "var",
    "video",
    "wbr",
    "audio",
    "head",
    "link",
    "meta",
    "base",
    "area",
    "col",
    "colgroup",
    "math",
    # Only ever append: these numbers are features of the model.
    "track",
    "param",
    "keygen",
    "bgsound",
    "basefont",
    "frame",
    "noembed",
    "noframes",
    "xmp",
    "plaintext",
]
TAGS = {name: number for number, name in enumerate(["", *BLOCKS, *INLINE])}
OTHER = len(TAGS)  # any tag that is not in the table: an inline element
LAST_BLOCK = len(BLOCKS)
VOID = "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split()  # noqa: SIM905
UNSEEN = "script style template head title iframe canvas svg textarea audio video object select".split()  # noqa: SIM905 – their texts are no text of the page
RAW = "script style iframe noembed noframes xmp plaintext".split()  # noqa: SIM905 – serialised as they are, `<` and all

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
NAME_BUCKETS = 1 << 13  # of hashed words in class, id, role and itemprop


def hash_of(name: str) -> int:
    value = int(FNV_OFFSET)
    for byte in name.encode():
        value = ((value ^ byte) * int(FNV_PRIME)) & 0xFFFFFFFFFFFFFFFF
    return value


SPREAD, SHIFT = np.uint64(3461), np.uint64(52)  # found by trying: no two tags have the same place
TAG_HASHES = np.zeros(1 << 12, dtype=np.uint64)
TAG_NUMBERS = np.zeros(1 << 12, dtype=np.int16)
for _name, _number in list(TAGS.items())[1:]:
    _place = (hash_of(_name) * int(SPREAD) & 0xFFFFFFFFFFFFFFFF) >> int(SHIFT)
    assert not TAG_HASHES[_place], f"{_name} has the place of another tag: try another SPREAD"
    TAG_HASHES[_place], TAG_NUMBERS[_place] = hash_of(_name), _number


def _flags(names: list[str]) -> np.ndarray:
    flags = np.zeros(OTHER + 1, dtype=np.bool_)
    flags[[TAGS[name] for name in names]] = True
    return flags


IS_BLOCK, IS_VOID, IS_UNSEEN, IS_RAW = _flags(BLOCKS), _flags(VOID), _flags(UNSEEN), _flags(RAW)
A, BR, BODY = TAGS["a"], TAGS["br"], TAGS["body"]
ATTRIBUTES = {
    name: hash_of(name) for name in ("class", "id", "role", "itemprop", "hidden", "style", "data-reasonmill")
}
H_CLASS, H_ID, H_ROLE, H_ITEMPROP, H_HIDDEN, H_STYLE, H_MARK = (
    np.uint64(value) for value in ATTRIBUTES.values()
)
HIDDEN, MARKED, LINKED = 1, 2, 4  # flags of a node; LINKED: within a link


@dataclass(frozen=True)
class Flat:
    """A page. Node 0 is a root without tag around everything."""

    html: bytes
    tag_N: np.ndarray  # int16, TEXT for texts
    start_N: np.ndarray  # int32: of the tag's `<`, or of the text
    inner_N: np.ndarray  # int32: after the start tag
    end_N: np.ndarray  # int32: of the text, or of the end tag's `<`
    parent_N: np.ndarray  # int32
    last_N: np.ndarray  # int32: after the last node within
    flags_N: np.ndarray  # uint8
    run_N: np.ndarray  # int32: of a text, −1 if it has no part in one
    names_at_N: np.ndarray  # int32, N + 1: where a node's names begin in `names`
    names: np.ndarray  # uint16: hashed words of class, id, role, itemprop
    counts_RC: np.ndarray  # int32: of each run, columns COUNTS
    block_R: np.ndarray  # int32: the nearest block around a run
    first_R: np.ndarray  # int32: first text of a run
    final_R: np.ndarray  # int32: last text of a run

    @property
    def runs(self) -> int:
        return len(self.block_R)


COUNTS = ("words", "linked", "letters", "stops", "digits", "capitals", "texts", "characters", "signs")
WORDS, LINKED_WORDS, LETTERS, STOPS, DIGITS, CAPITALS, TEXTS, CHARACTERS, SIGNS = range(len(COUNTS))
# SIGNS: bytes that Markdown or HTML may read as markup, & * ] _ ` ~ and the backslash.


def flatten(html: bytes) -> Flat:
    """The arrays of a serialised page."""
    data = np.frombuffer(html, dtype=np.uint8)
    arrays = _flatten(data, TAG_HASHES, TAG_NUMBERS, IS_BLOCK, IS_VOID, IS_UNSEEN, IS_RAW)
    return Flat(html, *arrays)


@numba.njit(cache=True, nogil=True, inline="always")
def _is_letter(byte: int) -> bool:
    return (97 <= byte <= 122) or (65 <= byte <= 90)


@numba.njit(cache=True, nogil=True)
def find(data: np.ndarray, at: int, end: int, byte: int) -> np.int64:
    """Where the byte stands next, else `end`. By 32 bytes at once, which the compiler makes one comparison."""
    place = np.uint64(at)
    while place + np.uint64(32) <= np.uint64(end):
        part = data[place : place + np.uint64(32)]
        hit = np.uint8(0)
        for lane in range(32):
            hit |= np.uint8(part[lane] == byte)
        if hit:
            break
        place += np.uint64(32)
    while place < np.uint64(end) and data[place] != byte:
        place += np.uint64(1)
    return np.int64(place)


@numba.njit(cache=True, nogil=True)
def _count(data: np.ndarray, start: int, end: int, row_C: np.ndarray, linked: bool) -> None:
    """Adds up what a text holds. Characters of scripts without spaces are a word each."""
    words, inside, at = 0, False, start
    while at < end:
        byte = data[at]
        if byte < 128:
            if _is_letter(byte):
                row_C[LETTERS] += 1
                if byte < 97:
                    row_C[CAPITALS] += 1
                if not inside:
                    words, inside = words + 1, True
            elif 48 <= byte <= 57:
                row_C[DIGITS] += 1
                if not inside:
                    words, inside = words + 1, True
            elif byte == 38:  # an entity: lexbor writes &amp; &lt; &gt; &nbsp;
                inside = False
                row_C[SIGNS] += 1
                stop = at + 1
                while stop < end and stop < at + 8 and data[stop] != 59:
                    stop += 1
                at = min(stop, end - 1)
            elif byte == 46 or byte == 33 or byte == 63 or byte == 59 or byte == 44 or byte == 58:
                row_C[STOPS] += 1
                inside = False
            else:
                if byte != 39 and byte != 95:  # ' and _ do not end a word
                    inside = False
                if byte == 42 or byte >= 92:  # no letter: * \ ] ^ _ ` { | } ~
                    row_C[SIGNS] += 1
            if byte > 32:
                row_C[CHARACTERS] += 1
            at += 1
            continue
        row_C[CHARACTERS] += 1
        if 0xE3 <= byte <= 0xE9 and at + 2 < end:  # CJK: U+3000 … U+9FFF
            if byte == 0xE3 and data[at + 1] == 0x80:  # its punctuation
                row_C[STOPS] += 1
            else:
                words += 1
                row_C[LETTERS] += 1
            inside = False
            at += 3
        elif byte == 0xEF and at + 2 < end and data[at + 1] == 0xBC:  # full-width forms, punctuation mostly
            row_C[STOPS] += 1
            inside = False
            at += 3
        elif byte == 0xE2 or byte == 0xC2:  # punctuation, symbols
            if not (byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and data[at + 2] == 0x99):  # ’
                inside = False
            at += 2 if byte == 0xC2 else 3
        else:
            if not inside:
                words, inside = words + 1, True
            row_C[LETTERS] += 1
            at += 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    row_C[WORDS] += words
    row_C[TEXTS] += 1
    if linked:
        row_C[LINKED_WORDS] += words


@numba.njit(cache=True, nogil=True)
def _blank(data: np.ndarray, start: int, end: int) -> bool:
    at = start
    while at < end:
        if data[at] == 38 and at + 5 < end and data[at + 1] == 110 and data[at + 2] == 98:  # &nbsp;
            at += 6
        elif data[at] > 32:
            return False
        else:
            at += 1
    return True


@numba.njit(cache=True, nogil=True)
def _flatten(data, tag_hashes, tag_numbers, is_block, is_void, is_unseen, is_raw):
    size = len(data)
    most = 2
    for at in range(size):
        if data[at] == 60:  # <
            most += 2
    other = len(is_block) - 1
    tag = np.zeros(most, np.int16)
    start = np.zeros(most, np.int32)
    inner = np.zeros(most, np.int32)
    end = np.full(most, size, np.int32)
    parent = np.zeros(most, np.int32)
    last = np.zeros(most, np.int32)
    box = np.zeros(most, np.int32)  # of an element: itself if it is a block, else the block around it
    flags = np.zeros(most, np.uint8)
    run_of = np.full(most, -1, np.int32)
    names_at = np.zeros(most + 1, np.int32)
    names = np.zeros(1024, np.uint16)
    named = 0
    runs_most = most // 2 + 2
    counts = np.zeros((runs_most, len(COUNTS)), np.int32)
    block = np.zeros(runs_most, np.int32)
    first = np.zeros(runs_most, np.int32)
    final = np.zeros(runs_most, np.int32)

    tag[0] = other
    node, runs, open_, unseen = (
        1,
        0,
        0,
        0,
    )  # open_: the innermost open element; unseen: how many around hide text
    links = 0
    in_run, breaks = False, 0
    at = 0
    while at < size:
        if data[at] != 60:  # text
            stop = find(data, at, size, 60)
            if unseen == 0 and not _blank(data, at, stop):
                if not in_run:
                    in_run = True
                    block[runs], first[runs] = box[open_], node
                    runs += 1
                _count(data, at, stop, counts[runs - 1], links > 0)
                final[runs - 1] = node
                run_of[node] = runs - 1
                breaks = 0
            tag[node], start[node], inner[node], end[node], parent[node] = TEXT, at, at, stop, open_
            flags[node] = LINKED if links > 0 else 0
            last[node] = node + 1
            node += 1
            names_at[node] = named
            at = stop
            continue
        following = data[at + 1] if at + 1 < size else 0
        if following == 33 or following == 63:  # comment, doctype, processing instruction
            if at + 3 < size and data[at + 2] == 45 and data[at + 3] == 45:
                stop = at + 4
                while stop < size and not (
                    data[stop] == 62 and data[stop - 1] == 45 and data[stop - 2] == 45
                ):
                    stop += 1
            else:
                stop = find(data, at, size, 62)
            at = stop + 1
            continue
        if following == 47:  # end tag
            stop = at
            while stop < size and data[stop] != 62:
                stop += 1
            if open_ > 0:
                end[open_], last[open_] = at, node
                kind = tag[open_]
                if kind == A:
                    links -= 1
                if is_unseen[kind]:
                    unseen -= 1
                if is_block[kind] or flags[open_] & MARKED:  # the body of a post may be a span
                    in_run, breaks = False, 0
                open_ = parent[open_]
            at = stop + 1
            continue
        # A start tag: its name, its attributes.
        key, stop = FNV_OFFSET, at + 1
        while stop < size and data[stop] != 62 and data[stop] > 32 and data[stop] != 47:
            key = (key ^ np.uint64(data[stop])) * FNV_PRIME
            stop += 1
        place = (key * SPREAD) >> SHIFT
        kind = tag_numbers[place] if tag_hashes[place] == key else other
        mine = LINKED if links > 0 else 0
        while stop < size and data[stop] != 62:
            while stop < size and (data[stop] <= 32 or data[stop] == 47):
                stop += 1
            if stop >= size or data[stop] == 62:
                break
            name = FNV_OFFSET
            while stop < size and data[stop] != 61 and data[stop] != 62 and data[stop] > 32:
                name = (name ^ np.uint64(data[stop])) * FNV_PRIME
                stop += 1
            value_start = value_end = stop
            if stop + 1 < size and data[stop] == 61 and data[stop + 1] == 34:
                value_start = stop + 2
                value_end = find(data, value_start, size, 34)
                stop = value_end + 1
            elif stop < size and data[stop] == 61:  # not in quotes: passed over
                while stop < size and data[stop] > 32 and data[stop] != 62:
                    stop += 1
            if name in (H_CLASS, H_ID, H_ROLE, H_ITEMPROP):
                # Words of it: at white space, - _ : and where a capital follows a small letter.
                word, length = FNV_OFFSET, 0
                for spot in range(value_start, min(value_end, value_start + 300) + 1):
                    byte = data[spot] if spot < value_end else 32
                    capital = 65 <= byte <= 90
                    part = _is_letter(byte)
                    if length and (not part or (capital and 97 <= data[spot - 1] <= 122)):
                        if length > 1:
                            if named == len(names):
                                grown = np.zeros(2 * named, np.uint16)
                                grown[:named] = names
                                names = grown
                            names[named] = (word ^ (word >> np.uint64(29))) % np.uint64(NAME_BUCKETS)
                            named += 1
                        word, length = FNV_OFFSET, 0
                    if part:
                        word = (word ^ np.uint64(byte | 32)) * FNV_PRIME
                        length += 1
            elif name == H_HIDDEN:
                mine |= HIDDEN
            elif name == H_MARK:
                mine |= MARKED
            elif name == H_STYLE:  # display: none
                for spot in range(value_start, value_end - 11):
                    if (
                        data[spot] == 100
                        and data[spot + 1] == 105
                        and data[spot + 2] == 115
                        and data[spot + 6] == 121
                    ):
                        spot += 7
                        while spot < value_end and (data[spot] == 58 or data[spot] == 32):
                            spot += 1
                        if (
                            spot + 3 < value_end + 1
                            and data[spot] == 110
                            and data[spot + 1] == 111
                            and data[spot + 2] == 110
                        ):
                            mine |= HIDDEN
                        break
        stop = min(stop + 1, size)
        tag[node], start[node], inner[node], end[node], parent[node], last[node] = (
            kind,
            at,
            stop,
            stop,
            open_,
            node + 1,
        )
        flags[node] = mine
        box[node] = node if is_block[kind] else box[open_]
        names_at[node + 1] = named
        at = stop
        if is_block[kind] or mine & MARKED:
            in_run, breaks = False, 0
        elif kind == BR:
            breaks += 1
            if breaks == 2:
                in_run = False
        if is_void[kind]:
            node += 1
            continue
        if is_raw[kind]:  # up to its own end tag, whatever stands in between
            close = find(data, at, size, 60)
            while close + 3 < size and not (
                data[close + 1] == 47
                and (data[close + 2] | 32) == (data[start[node] + 1] | 32)
                and (data[close + 3] | 32) == (data[start[node] + 2] | 32)
            ):
                close = find(data, close + 1, size, 60)
            close = close if close + 3 < size else size
            end[node] = close
            at = min(find(data, close, size, 62) + 1, size)
            node += 1
            continue
        if kind == A:
            links += 1
        if is_unseen[kind]:
            unseen += 1
        open_ = node
        node += 1
    last[0], end[0] = node, size
    while open_ > 0:
        end[open_], last[open_] = size, node
        open_ = parent[open_]
    return (
        tag[:node], start[:node], inner[:node], end[:node], parent[:node], last[:node], flags[:node], run_of[:node],
        names_at[: node + 1], names[:named], counts[:runs], block[:runs], first[:runs], final[:runs],
    )  # fmt: skip
