"""Words that stand for what an extractor would garble: formulas, code, tables, the level of a heading.

Main-content extractors work on words. So a formula becomes one word before extraction and the formula again after
it, as OpenWebMath does it. What comes out says which formulas the extractor kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["inline", "display", "code", "block", "table"]
LETTER: dict[Kind, str] = {"inline": "m", "display": "d", "code": "c", "block": "b", "table": "t"}
BULLET_OF_RESILIPARSE = re.compile(r"^  ((?:  )*)• ", re.MULTILINE)
NUMBER_OF_RESILIPARSE = re.compile(r"^  ((?:  )*)(\d+\. )", re.MULTILINE)


@dataclass
class Protected:
    """What was taken out of one page, and the words that stand for it."""

    prefix: str
    items: list[tuple[Kind, str]] = field(default_factory=list)
    restored: set[int] = field(default_factory=set)

    @classmethod
    def against(cls, html: str) -> Protected:
        """With a word stem that this page does not contain."""
        stem, number = "Qzx", 0
        while stem in html:
            stem, number = f"Qz{number}x", number + 1
        return cls(stem)

    def add(self, kind: Kind, content: str) -> str:
        """Keep `content` (TeX without delimiters, code, a finished table) and get the word for it."""
        self.items.append((kind, content))
        return f"{self.prefix}{LETTER[kind]}{len(self.items) - 1}z"

    def heading(self, level: int) -> str:
        """The word that goes before the text of a heading."""
        return f"{self.prefix}h{level}z "

    def in_order(self, text: str) -> list[int]:
        """Numbers of the formulas and code blocks whose words stand in a text, in its order (tables opened)."""
        found: list[int] = []
        for match in re.finditer(rf"{self.prefix}([mdbt])(\d+)z", text):
            number = int(match[2])
            if match[1] == "t":
                found += [int(n) for n in re.findall(rf"{self.prefix}[md](\d+)z", self.items[number][1])]
            else:
                found.append(number)
        return found

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """A text in pieces: what runs on, with its formulas and code spans again, and blocks (True: code, tables)."""
        at = 0
        for match in re.finditer(rf"{self.prefix}([bt])(\d+)z", text):
            yield self._opened(text[at : match.start()]), False
            number = int(match[2])
            self.restored.add(number)
            yield self._opened(self.items[number][1]) if match[1] == "t" else self.items[number][1], True
            at = match.end()
        yield self._opened(text[at:]), False

    def _opened(self, text: str) -> str:
        return re.sub(rf"{self.prefix}([mdc])(\d+)z", self._inline, text)

    def restore(self, text: str) -> str:
        """Extracted text → Markdown: headings, lists, formulas, code, tables in place of their words."""
        text = re.sub(
            rf"(?:^[ \t]*(?:[•-] )?)?{self.prefix}h(\d)z\s*", self._heading, text, flags=re.MULTILINE
        )
        text = re.sub(r"^#+[ \t]*$", "", text, flags=re.MULTILINE)
        text = BULLET_OF_RESILIPARSE.sub(r"\1- ", text)
        text = NUMBER_OF_RESILIPARSE.sub(r"\1\2", text)
        text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        # Blocks last: nothing above may touch the white space within them.
        text = re.sub(rf"{self.prefix}([mdc])(\d+)z", self._inline, text)
        text = re.sub(rf"\s*{self.prefix}([bt])(\d+)z\s*", self._block, text)
        return text.strip("\n")

    def _heading(self, match: re.Match[str]) -> str:
        return "\n\n" + "#" * int(match[1]) + " "

    def _inline(self, match: re.Match[str]) -> str:
        kind, content = self.items[int(match[2])]
        self.restored.add(int(match[2]))
        if kind == "code":
            return inline_code(content)
        return f"$${content}$$" if kind == "display" else f"${content}$"

    def _block(self, match: re.Match[str]) -> str:
        kind, content = self.items[int(match[2])]
        self.restored.add(int(match[2]))
        if kind == "table":  # cells hold words of their own
            content = re.sub(rf"{self.prefix}([mdc])(\d+)z", self._inline, content)
        return f"\n\n{content}\n\n"


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
