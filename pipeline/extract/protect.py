"""Words that stand for what must come through to the letter: formulas, code, tables.

A formula becomes one word before content is chosen and the formula again when it is rendered, as OpenWebMath does it.
So it counts as a word, no escape touches it, and what comes out says which formulas were kept.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numba
import numpy as np

from pipeline.extract.flat import find

Kind = Literal["inline", "display", "code", "block", "table"]
LETTER: dict[Kind, str] = {"inline": "m", "display": "d", "code": "c", "block": "b", "table": "t"}
# How a page may spell a stem: by letters, by tags between them, by entities.
SPELT = re.compile(r"Q(?:z\d*x|z?\d*<(?:[^<>]{0,300}><)*[^<>]{0,300}>\d*[zx])")
BY_NUMBER = re.compile(r"&#(?:0*(?:81|12[02])|[xX]0*(?:51|7[8aA]))(?![0-9a-fA-F])")
COMMENT_OF_TEX = re.compile(r"((?:\A|[^\\])(?:\\\\)*)%[^\n]*\n")


@dataclass
class Protected:
    """What was taken out of one page, and the words that stand for it."""

    prefix: str
    items: list[tuple[Kind, str]] = field(default_factory=list)
    restored: set[int] = field(default_factory=set)

    @classmethod
    def against(cls, html: str, source: bytes | None = None) -> Protected:
        """With a word stem that this page does not contain. `source`: the page as UTF-8, where that is at hand."""
        if source is not None and not _may_spell(np.frombuffer(source, np.uint8)):
            return cls("Qzx")
        if not SPELT.search(html) and not BY_NUMBER.search(html):
            return cls("Qzx")
        number = zlib.crc32(html.encode("utf-8", "replace"))  # that nobody guesses who writes the page
        stem = f"Qz{number}x"
        while stem in html:
            stem, number = f"Qz{number}x", number + 1
        return cls(stem)

    def add(self, kind: Kind, content: str) -> str:
        """Keep `content` (TeX without delimiters, code, a finished table) and get the word for it.

        A formula becomes one line, without the comments that end at line ends.
        """
        if "\n" in content and kind in ("inline", "display"):
            content = re.sub(r"\s*\n\s*", " ", COMMENT_OF_TEX.sub(r"\1\n", content))
        self.items.append((kind, content))
        return f"{self.prefix}{LETTER[kind]}{len(self.items) - 1}z"

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """Of all words of the page in UTF-8: groups letter, number."""
        return re.compile(self._word.pattern.encode())

    @cached_property
    def _word(self) -> re.Pattern[str]:
        return re.compile(rf"{self.prefix}([mdcbt])(\d{{1,9}})z")

    def words(self, text: str, letters: str = "mdcbt") -> Iterator[tuple[re.Match[str], int]]:
        """The words in a text that stand for something, of the kinds with these letters, and the items' numbers."""
        for match in self._word.finditer(text):
            number = int(match[2])
            if match[1] in letters and number < len(self.items) and LETTER[self.items[number][0]] == match[1]:
                yield match, number

    def in_order(self, html: bytes) -> list[int]:
        """Numbers of the formulas and code blocks whose words stand in a page, in its order (tables opened)."""
        found: list[int] = []
        for match in self.pattern.finditer(html):
            letter, number = match[1].decode(), int(match[2])
            if letter == "c" or number >= len(self.items) or LETTER[self.items[number][0]] != letter:
                continue
            if letter == "t":
                found += [inner for _, inner in self.words(self.items[number][1], "md")]
            else:
                found.append(number)
        return found

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """A text in pieces: what runs on, with its formulas and code spans again, and blocks (True: code, tables)."""
        pieces, at = [], 0
        for match, number in self.words(text):
            pieces.append(text[at : match.start()])
            at = match.end()
            if match[1] not in "bt":
                pieces.append(self._inline(number))
                continue
            yield "".join(pieces), False
            pieces = []
            self.restored.add(number)
            yield self._opened(self.items[number][1]) if match[1] == "t" else self.items[number][1], True
        yield "".join([*pieces, text[at:]]), False

    def line(self, text: str) -> str:
        """A text that has room for one line, such as a title, with its formulas and code again."""
        return (
            " ".join("".join(part for part, _ in self.parts(text)).split()) if self.prefix in text else text
        )

    def _opened(self, text: str) -> str:
        pieces, at = [], 0
        for match, number in self.words(text, "mdc"):
            pieces += [text[at : match.start()], self._inline(number)]
            at = match.end()
        return "".join([*pieces, text[at:]])

    def _inline(self, number: int) -> str:
        kind, content = self.items[number]
        self.restored.add(number)
        if kind == "code":
            return inline_code(content)
        return f"$${content}$$" if kind == "display" else f"${content}$"


@numba.njit(cache=True, nogil=True)
def _may_spell(data: np.ndarray) -> bool:
    """Whether there is a Q, perhaps a z and digits, then x or a tag; or Q, x or z as the number of an entity."""
    size = len(data)
    at = find(data, 0, size, 81)  # Q
    while at + 1 < size:
        stop = at + 1
        if data[stop] == 122:
            stop += 1
        while stop < size and 48 <= data[stop] <= 57:
            stop += 1
        if stop < size and (data[stop] == 60 or (data[stop] == 120 and data[at + 1] == 122)):
            return True
        at = find(data, at + 1, size, 81)
    at = find(data, 0, size, 38)  # &
    while at + 3 < size:
        if data[at + 1] == 35:
            is_hex = (data[at + 2] | 32) == 120
            stop, value = at + (3 if is_hex else 2), 0
            while stop < size and value < 1_000:
                byte = data[stop] | 32
                if 48 <= data[stop] <= 57:
                    value = value * (16 if is_hex else 10) + data[stop] - 48
                elif is_hex and 97 <= byte <= 102:
                    value = value * 16 + byte - 87
                else:
                    break
                stop += 1
            if value == 81 or value == 120 or value == 122:
                return True
        at = find(data, at + 1, size, 38)
    return False


def fenced(code: str, language: str = "") -> str:
    """A Markdown code block whose fence is longer than any run of backticks in the code."""
    if "```" not in code:
        return f"```{language}\n{code}\n```"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return f"{fence}{language}\n{code}\n{fence}"


def inline_code(code: str) -> str:
    """A Markdown code span (CommonMark §6.1: a longer run of backticks, padded where one touches the edge)."""
    if "`" not in code:
        return f"`{code}`"
    runs = {len(run) for run in re.findall("`+", code)}
    fence = "`" * next(n for n in range(1, len(code) + 2) if n not in runs)
    pad = " " if code[:1] == "`" or code[-1:] == "`" else ""
    return f"{fence}{pad}{code}{pad}{fence}"
