"""What the source of a page holds: names of tags and attributes, words of classes, styles, in one compiled pass.

A CSS selector over a parsed page costs a quarter of a millisecond, one over many classes a whole one, and a search for
a word in the source a tenth. So the source is read once, as the HTML standard's tokenizer reads it, and each selector is
asked only where the page has what it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from html import unescape

import numba
import numpy as np

from pipeline.extract.dom import mentions
from pipeline.extract.flat import FNV_OFFSET, FNV_PRIME, find, hash_of

MATH_WORD = re.compile(rb"math(?:[\w/-]+|\.?)")
TAG, ATTRIBUTE, CLASS, STYLE, REL = range(5)
WHOLE = {name: np.uint64(hash_of(name)) for name in ("class", "style", "rel")}
H_CLASS, H_STYLE, H_REL = WHOLE.values()
# What stands in these is text, `<` and all.
RAW = np.array(
    [
        hash_of(name)
        for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
    ],
    np.uint64,
)
H_PLAINTEXT = np.uint64(hash_of("plaintext"))


@dataclass(frozen=True)
class Census:
    """All names lower case. What stands in comments and scripts does not count."""

    lowered: bytes  # the page, as UTF-8
    tags: frozenset[str]
    attributes: frozenset[str]
    class_values: dict[str, int]  # whole class attributes, and how often each stands there
    styles: str  # all different style attributes, a line each
    relations: str  # all different rel attributes

    @cached_property
    def classes(self) -> frozenset[str]:
        """The words of all class attributes."""
        return frozenset(" ".join(self.class_values).split())

    @cached_property
    def math_words(self) -> bytes:
        """The words of the page that begin at "math", but for JavaScript's `Math.floor`; and KaTeX where it is."""
        if not mentions(self.lowered, ("math",)):
            return b""
        words = set(MATH_WORD.findall(self.lowered)) - {b"math."}
        if not words:
            return b""
        return b" ".join([*words, b"math katex" if b"katex" in self.lowered else b"math"])

    @classmethod
    def of(cls, source: bytes) -> Census:
        """Of a page as UTF-8."""
        kind_V, start_V, end_V, count_V = _census(np.frombuffer(source, np.uint8), RAW)
        found = []
        for kind in (TAG, ATTRIBUTE, CLASS, STYLE, REL):
            places = np.flatnonzero(kind_V == kind)
            ranges = zip(start_V[places].tolist(), end_V[places].tolist(), strict=True)
            joined = b"\0".join([source[start:end] for start, end in ranges]).lower()
            text = joined.decode("utf-8", "replace")
            found.append((unescape(text) if b"&" in joined else text).split("\0") if joined else [])
        tags, attributes, values, styles, relations = found
        counts = count_V[kind_V == CLASS].tolist()
        return cls(
            source.lower(),
            frozenset(tags),
            frozenset(attributes),
            dict(zip(values, counts, strict=False)),
            "\n".join(styles),
            "\n".join(relations),
        )

    def has(self, tags: str = "", classes: str = "") -> bool:
        """Whether one of these tags or classes (words in a string) is there."""
        return not (self.tags.isdisjoint(tags.split()) and self.classes.isdisjoint(classes.split()))


@numba.njit(cache=True, nogil=True, inline="always")
def _lower(byte):
    return byte | 32 if 65 <= byte <= 90 else byte


@numba.njit(cache=True, nogil=True)
def _census(data, raw):
    """Kind, start, end and number of every different name and value, as they come."""
    size = np.int64(len(data))
    opening = 0
    for at in range(size):
        opening += data[at] == 60
    capacity = 1024
    while capacity < 4 * opening:
        capacity *= 2
    mask = np.uint64(capacity - 1)
    key_of = np.zeros(capacity, np.uint64)  # a table of hashes; 0: free
    place_of = np.empty(capacity, np.int32)
    most = capacity // 2
    kind_V = np.empty(most, np.uint8)
    start_V = np.empty(most, np.int32)
    end_V = np.empty(most, np.int32)
    count_V = np.zeros(most, np.int32)
    found = 0

    at = 0
    while at + 1 < size:
        at = find(data, at, size, 60)  # <
        if at + 1 >= size:
            break
        following = data[at + 1]
        if following == 33 or following == 63:  # ! ?
            if at + 3 < size and data[at + 2] == 45 and data[at + 3] == 45:
                stop = find(data, at + 4, size, 62)  # `<!-->` is a whole comment
                while stop < size and not (
                    (data[stop - 1] == 45 and data[stop - 2] == 45)
                    or (
                        stop > at + 6
                        and data[stop - 1] == 33
                        and data[stop - 2] == 45
                        and data[stop - 3] == 45
                    )
                ):
                    stop = find(data, stop + 1, size, 62)
            else:
                stop = find(data, at + 2, size, 62)
            at = stop + 1
            continue
        closes = following == 47
        name = at + 2 if closes else at + 1
        if name >= size or not (97 <= (data[name] | 32) <= 122):
            at += 1
            continue
        key, stop = FNV_OFFSET, name
        while stop < size and data[stop] > 32 and data[stop] != 62 and data[stop] != 47:
            key = (key ^ np.uint64(_lower(data[stop]))) * FNV_PRIME
            stop += 1
        tag_end, tag_key = stop, key
        kind, start, end = TAG, name, stop
        slashed = False
        while True:
            if not closes and kind >= 0:
                full = (key ^ np.uint64(kind)) * FNV_PRIME | np.uint64(1)
                spot = (full >> np.uint64(32)) & mask
                while key_of[spot] != 0 and key_of[spot] != full:
                    spot = (spot + np.uint64(1)) & mask
                if key_of[spot] == full:
                    count_V[place_of[spot]] += 1
                elif found < most:
                    key_of[spot], place_of[spot] = full, found
                    kind_V[found], start_V[found], end_V[found], count_V[found] = kind, start, end, 1
                    found += 1
            kind = -1
            # The next attribute: its value is noted if all of it counts, its name otherwise.
            slashed = False
            while stop < size and (data[stop] <= 32 or data[stop] == 47):
                slashed = data[stop] == 47
                stop += 1
            if stop >= size or data[stop] == 62:
                break
            key, start = (FNV_OFFSET ^ np.uint64(_lower(data[stop]))) * FNV_PRIME, stop
            stop += 1
            while (
                stop < size and data[stop] > 32 and data[stop] != 62 and data[stop] != 47 and data[stop] != 61
            ):
                key = (key ^ np.uint64(_lower(data[stop]))) * FNV_PRIME
                stop += 1
            kind, end = ATTRIBUTE, stop
            while stop < size and data[stop] <= 32:
                stop += 1
            if stop >= size or data[stop] != 61:  # =
                continue
            stop += 1
            while stop < size and data[stop] <= 32:
                stop += 1
            if stop >= size or data[stop] == 62:
                continue
            quote = data[stop]
            value = stop
            if quote == 34 or quote == 39:
                value = stop = stop + 1
                while stop < size and data[stop] != quote:
                    stop += 1
                value_end, stop = stop, min(stop + 1, size)
            else:
                while stop < size and data[stop] > 32 and data[stop] != 62:
                    stop += 1
                value_end = stop
            if key in (H_CLASS, H_STYLE, H_REL):
                kind = CLASS if key == H_CLASS else STYLE if key == H_STYLE else REL
                start, end = value, value_end
                key = FNV_OFFSET
                for letter in range(start, end):
                    key = (key ^ np.uint64(_lower(data[letter]))) * FNV_PRIME
        at = stop + 1
        if closes or slashed:
            continue
        if tag_key == H_PLAINTEXT:
            break
        is_raw = False
        for one in raw:
            is_raw = is_raw or one == tag_key
        while is_raw and at < size:  # up to the end tag of the same name
            at = find(data, at, size, 60)
            if at + 1 >= size or data[at + 1] != 47:
                at += 1
                continue
            letter = 0
            while (
                letter < tag_end - name
                and at + 2 + letter < size
                and _lower(data[at + 2 + letter]) == _lower(data[name + letter])
            ):
                letter += 1
            behind = at + 2 + letter
            if letter == tag_end - name and (
                behind >= size or data[behind] <= 32 or data[behind] == 62 or data[behind] == 47
            ):
                break
            at += 1
    return kind_V[:found], start_V[:found], end_V[:found], count_V[:found]
