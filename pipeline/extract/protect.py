"""Words that stand for what must come through to the letter: formulas, code, tables.

A formula becomes one word before content is chosen and the formula again when it is rendered, as OpenWebMath does it.
So it counts as a word, no escape touches it, and what comes out says which formulas were kept.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

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
    def against(cls, html: str) -> Protected:
        """With a word stem that this page does not contain."""
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

    def words(self, text: str, letters: str = "mdcbt") -> Iterator[tuple[re.Match[str], int]]:
        """The words in a text that stand for something, of the kinds with these letters, and the items' numbers."""
        for match in re.finditer(rf"{self.prefix}([{letters}])(\d{{1,9}})z", text):
            number = int(match[2])
            if number < len(self.items) and LETTER[self.items[number][0]] == match[1]:
                yield match, number

    def in_order(self, text: str) -> list[int]:
        """Numbers of the formulas and code blocks whose words stand in a text, in its order (tables opened)."""
        found: list[int] = []
        for match, number in self.words(text, "mdbt"):
            if match[1] == "t":
                found += [inner for _, inner in self.words(self.items[number][1], "md")]
            else:
                found.append(number)
        return found

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """A text in pieces: what runs on, with its formulas and code spans again, and blocks (True: code, tables)."""
        at = 0
        for match, number in self.words(text, "bt"):
            yield self._opened(text[at : match.start()]), False
            self.restored.add(number)
            yield self._opened(self.items[number][1]) if match[1] == "t" else self.items[number][1], True
            at = match.end()
        yield self._opened(text[at:]), False

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


def fenced(code: str, language: str = "") -> str:
    """A Markdown code block whose fence is longer than any run of backticks in the code."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return f"{fence}{language}\n{code}\n{fence}"


def inline_code(code: str) -> str:
    """A Markdown code span (CommonMark §6.1: a longer run of backticks, padded where one touches the edge)."""
    runs = {len(run) for run in re.findall("`+", code)}
    fence = "`" * next(n for n in range(1, len(code) + 2) if n not in runs)
    pad = " " if code[:1] == "`" or code[-1:] == "`" else ""
    return f"{fence}{pad}{code}{pad}{fence}"
