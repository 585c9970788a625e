"""Kept runs of a flat page → Markdown (CommonMark, GFM tables, `$…$` formulas, `[^1]` footnotes).

Blocks get what their ancestors say: the level of a heading, list markers and indentation, quotes. Text is escaped only
where a reader of Markdown would take it for something else: `a_1 < a_2` and snake_case stay as they are, a line that
begins with `# ` or a whole `<tag>` does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.extract.flat import BLOCKS, BR, IS_UNSEEN, TAGS, TEXT, Flat
from pipeline.extract.protect import Protected

BLOCK_TAGS = frozenset(TAGS[name] for name in BLOCKS)
HEADINGS = {TAGS[f"h{level}"]: level for level in range(1, 7)}
LI, OL, UL, QUOTE, SUP, SUB, DT = (
    TAGS[name] for name in ("li", "ol", "ul", "blockquote", "sup", "sub", "dt")
)
ENTITY = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
ENTITIES = re.compile("|".join(ENTITY))
TAG = re.compile(rb"<[^>\"]*(?:\"[^\"]*\"[^>\"]*)*>")
NOT_PLAIN = re.compile(rb"<(?:br|su[bp]|s[ct]|t[ei]|svg|select|canvas|video|audio|object|iframe|!)")
SPACES = re.compile(r"[ \t\r\n\f\v\xa0]+")
START = re.compile(rb'\bstart="(\d{1,9})"')
HREF = re.compile(rb'href="#([^"]+)"')
ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|e|ème|o|a|TM|®|™|©)", re.IGNORECASE)
DEEPEST = 200  # ancestors that are looked at
NOTE = re.compile(
    rb'<sup\b[^>]*>(?:\s|<span\b[^>]*>)*<a\b[^>]*href="#([^"]+)"|<a\b[^>]*href="#([^"]+)"[^>]*>\s*<sup\b'
)
NOTE_TEXT = re.compile(r"[\[(]?([0-9A-Za-z]{1,4}|\*+|†|‡)[\])]?")
BACK = re.compile(r"^(?:\^|↑)\s+(?:[a-z]\s+)*|\s*(?:↩︎?|↵|⏎|\[return\]|\^)$")

# What must be escaped in running text, each only where CommonMark would read it as markup. A backslash before a bracket
# or a dollar is left alone: it marks a formula, or was set for one.
INLINE = re.compile(
    r"""(?P<slash>\\(?=[!-\#%-'*-/:-@\\^-`{-~\n]))
      | (?P<tag><(?=/?[A-Za-z][^<>]*>|!--|[?!]))
      | (?P<entity>&(?=\#\d{1,7};|\#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};))
      | (?P<star>\*+(?=\S)|(?<=\S)\*+)
      | (?P<line>(?<![\w_])_+(?=\S)|(?<=[^\s_])_+(?![\w_]))
      | (?P<tick>`+)
      | (?P<strike>~~)
      | (?P<link>\](?=[(\[:]))""",
    re.VERBOSE,
)
MAYBE_INLINE = re.compile(r"[\\<&*`]|~~|\]|(?<!\w)_|_(?!\w)")
LINE_START = re.compile(  # what makes a line a heading, quote, item, rule, fence, underlined heading or row
    r"(?P<at>\#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|[=-]+(?=\s*$)|[*_-](?=[\s*_-]+$)|~{3,}|`{3,}|\|(?=.*\|))"
    r"|(?P<number>\d{1,9})(?P<dot>[.)])(?=\s|$)"
)


@dataclass
class Rendering:
    """Renders ranges of one page. `text_formulas` turns formulas of running text into words of `protected`."""

    flat: Flat
    protected: Protected
    text_formulas: Callable[[str], str] | None = None
    _tag: list[int] = field(init=False)
    _parent: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._tag, self._parent = self.flat.tag_N.tolist(), self.flat.parent_N.tolist()
        self._around: dict[int, _Around] = {}
        self._numbers: dict[int, int] = {}
        self._notes: dict[int, str] = {}  # block → number of the footnote it holds
        self._targets = self._footnotes() if b"<sup" in self.flat.html else {}

    def _footnotes(self) -> dict[bytes, int]:
        """Where links in `<sup>` lead to on this page: id → the block that it names or that holds it."""
        flat, found = self.flat, {}
        for match in NOTE.finditer(flat.html):
            target = match[1] or match[2]
            if target in found:
                continue
            for attribute in (b'id="', b'name="'):
                at = flat.html.find(attribute + target + b'"')
                if at > match.start():  # a note stands below
                    node = int(np.searchsorted(flat.start_N, at, side="right")) - 1
                    while node and self._tag[node] not in BLOCK_TAGS:
                        node = self._parent[node]
                    found[target] = node
                    break
        return found

    def markdown(self, kept_R: np.ndarray, low: int = 0, high: int | None = None) -> str:
        """The kept runs among those that begin within the nodes low … high − 1."""
        flat = self.flat
        first, last = np.searchsorted(flat.first_R, [low, flat.last_N[0] if high is None else high])
        out: list[str] = []
        before: _Around | None = None
        marked: set[int] = set()
        for run in (np.flatnonzero(kept_R[first:last]) + first).tolist():
            text = self._text(run)
            if not text:
                continue
            around = self._around_of(int(flat.block_R[run]), low)
            if around.marker.startswith("[^"):
                text = BACK.sub("", text)
            lines, solid = self._restored(text, around)
            if not lines:
                continue
            marker = ""
            if around.item and around.item not in marked:
                marked.add(around.item)
                marker = around.marker
            tight = (
                before is not None and marker and before.item and not solid and before.quotes == around.quotes
            )
            if before is not None:
                out.append("\n" if tight else f"\n{self._within(before, around)}\n")
            out.append(_placed(lines, around, marker))
            before = around
        return "".join(out)

    @staticmethod
    def _within(before: _Around, around: _Around) -> str:
        """What stands in the empty line between two blocks: the marks of the quotes that hold both."""
        if not before.quotes or before.quoted != around.quoted:
            return ""
        return ("> " * min(before.quotes, around.quotes)).rstrip()

    def _text(self, run: int) -> str:
        """A run's text with words for formulas and code, spaces collapsed, `<br>` as a line end."""
        flat = self.flat
        first, final = int(flat.first_R[run]), int(flat.final_R[run])
        raw = flat.html[flat.start_N[first] : flat.end_N[final]]
        if first == final:
            return _plain(raw)
        if not NOT_PLAIN.search(raw):
            return _plain(TAG.sub(b"", raw))
        pieces: list[str] = []
        closing: list[
            tuple[int, int, int]
        ] = []  # where a <sup> or <sub> ends, its node, where its text begins in `pieces`
        node = first
        while node <= final:
            while closing and node >= closing[-1][0]:
                self._close(pieces, *closing.pop())
            kind = self._tag[node]
            if kind == TEXT:
                text = flat.html[flat.start_N[node] : flat.end_N[node]].decode("utf-8", "replace")
                pieces.append(SPACES.sub(" ", _unescaped(text)))
            elif kind == BR:
                pieces.append("\n")
            elif IS_UNSEEN[kind]:
                node = int(flat.last_N[node])
                continue
            elif kind in (SUP, SUB):
                closing.append((int(flat.last_N[node]), node, len(pieces)))
            node += 1
        while closing:
            self._close(pieces, *closing.pop())
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", "".join(pieces)))
        return text.strip(" \n")

    def _close(self, pieces: list[str], end: int, node: int, begin: int) -> None:
        """Writes what a `<sup>` or `<sub>` means that ends here: a footnote, a power, an index."""
        text = "".join(pieces[begin:]).strip()
        before = "".join(pieces[max(0, begin - 1) : begin])
        if self._targets and (label := NOTE_TEXT.fullmatch(text)):
            flat, around = self.flat, self._parent[node]
            target = HREF.search(flat.html[flat.start_N[node] : flat.end_N[node]])
            target = target or HREF.search(flat.html[flat.start_N[around] : flat.inner_N[around]])
            if target and (block := self._targets.get(target[1])):
                self._notes[block] = label[1]
                pieces[begin:] = [f"[^{label[1]}]"]
                return
        if (
            not text
            or not before
            or not (before[-1].isalnum() or before[-1] in ")]}")
            or ORDINAL.fullmatch(text)
        ):
            return
        if re.fullmatch(r"[\w+\-−*/=.,()′]{1,12}", text) and self.protected.prefix not in text:
            sign = "^" if self._tag[node] == SUP else "_"
            pieces[begin:] = [sign + (text if len(text) == 1 else "{" + text + "}")]

    def _restored(self, text: str, around: _Around) -> tuple[list[str], bool]:
        """Lines with formulas, code and tables in place of their words; whether there is a block among them."""
        if self.text_formulas is not None:
            text = self.text_formulas(text)  # may escape dollars itself
        text = escaped(text)
        if self.protected.prefix not in text:
            lines = text.split("\n")
            return [_line_start(line) for line in lines] if not around.heading else [" ".join(lines)], False
        lines, solid = [], False
        for part, block in self.protected.parts(text):
            if block:
                solid = True
                lines += ([""] if lines else []) + part.split("\n") + [""]
            elif part := part.strip():
                lines += [_line_start(line.strip()) for line in part.split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        return ([" ".join(lines)] if around.heading and not solid else lines), solid

    def _around_of(self, block: int, low: int) -> _Around:
        if found := self._around.get(block):
            return found
        heading = item = quotes = quoted = 0
        marker, indent = "", 0
        node = block
        for _ in range(DEEPEST):
            if node <= low:
                break
            kind = self._tag[node]
            if node in self._notes and not item:
                item, marker = node, f"[^{self._notes[node]}]: "
            elif kind in HEADINGS and not heading and not item:
                heading = HEADINGS[kind]
            elif kind == LI:
                own = self._marker(node)
                if item:
                    indent += len(own)
                else:
                    item, marker = node, own
            elif kind == QUOTE:
                quotes, quoted = quotes + 1, node
            node = self._parent[node]
        around = self._around[block] = _Around(heading, item, marker, indent, quotes, quoted)
        return around

    def _marker(self, item: int) -> str:
        parent = self._parent[item]
        if self._tag[parent] != OL:
            return "- "
        number = self._numbers.get(item)
        if number is None:
            found = START.search(self.flat.html[self.flat.start_N[parent] : self.flat.inner_N[parent]])
            number = int(found[1]) if found else 1
            child, end = parent + 1, int(self.flat.last_N[parent])
            while child < end:
                if self._tag[child] == LI:
                    self._numbers[child] = number
                    number += 1
                child = int(self.flat.last_N[child])
            number = self._numbers.get(item, 1)
        return f"{number}. "


@dataclass(frozen=True)
class _Around:
    """What the ancestors of a block say about it."""

    heading: int  # level, 0: none
    item: int  # the innermost list item, 0: none
    marker: str
    indent: int  # columns of the items around the innermost
    quotes: int
    quoted: int  # the outermost quote


def _placed(lines: list[str], around: _Around, marker: str) -> str:
    if around.heading:
        return "#" * around.heading + " " + lines[0]
    quote = "> " * around.quotes
    width = 4 if around.marker.startswith("[^") else len(around.marker)
    rest = " " * (around.indent + width)
    begin = " " * around.indent + marker if marker else rest
    if not around.item:
        begin = rest = ""
    placed = [quote + (begin if number == 0 else rest) + line for number, line in enumerate(lines)]
    return "\n".join(line if line.strip() else line.rstrip() for line in placed)


def _plain(raw: bytes) -> str:
    return " ".join(_unescaped(raw.decode("utf-8", "replace")).split())


def _unescaped(text: str) -> str:
    return ENTITIES.sub(lambda match: ENTITY[match[0]], text) if "&" in text else text


def escaped(text: str) -> str:
    r"""Running text with a backslash where CommonMark would read markup.

    >>> escaped("a_1 < a_2, f(x) * 2, snake_case, <b>, *p*")
    'a_1 < a_2, f(x) * 2, snake_case, \\<b>, \\*p\\*'
    """
    if not MAYBE_INLINE.search(text):
        return text

    def mark(match: re.Match[str]) -> str:
        sign = match[0]
        alone = match.lastgroup in ("star", "line", "tick") and text.count(sign[0]) == 1  # they come in pairs
        return sign if alone else "".join("\\" + one for one in sign)

    return INLINE.sub(mark, text)


def _line_start(line: str) -> str:
    """A line that begins like a heading, list, quote, fence or rule, escaped."""
    if line and (line[0] in "#>-+*_=~`|" or line[0].isdigit()) and (found := LINE_START.match(line)):
        if found["number"]:
            return f"{found['number']}\\{line[len(found['number']) :]}"
        return "\\" + line
    return line
