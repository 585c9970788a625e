"""Kept runs of a flat page → Markdown (CommonMark, GFM tables, `$…$` formulas, `[^1]` footnotes).

Blocks get what their ancestors say: the level of a heading, list markers and indentation, quotes. Text is escaped only
where a reader of Markdown would take it for something else: `a_1 < a_2` and snake_case stay as they are, a line that
begins with `# ` or a whole `<tag>` does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np

from pipeline.extract.flat import BLOCKS, BR, SIGNS, TAGS, TEXT, UNSEEN, WORDS, Flat
from pipeline.extract.protect import Protected

BLOCK_TAGS = frozenset(TAGS[name] for name in BLOCKS)
HEADINGS = {TAGS[f"h{level}"]: level for level in range(1, 7)}
UNSEEN_TAGS = frozenset(TAGS[name] for name in UNSEEN)
LI, OL, QUOTE, SUP, SUB = (TAGS[name] for name in ("li", "ol", "blockquote", "sup", "sub"))
IS_AROUND = np.isin(
    np.arange(max(TAGS.values()) + 2), [*HEADINGS, LI, QUOTE]
)  # tags that say how a block is written
ENTITY = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
ENTITIES = re.compile("|".join(ENTITY))
TAG = re.compile(rb"<[^>\"]*(?:\"[^\"]*\"[^>\"]*)*>")
STRAY_QUOTE = re.compile(
    rb'"="|"\s[^\s<>="]*="|"\s"[^\s<>="]*='
)  # in the name of an attribute: <a href="x"">
NOT_PLAIN = re.compile(
    rb"<(?:br|su[bp]|script|style|template|textarea|title|svg|select|canvas|video|audio|object|iframe|!)"
)
SPACES = re.compile(r"[ \t\r\n\f\v\xa0]+")
START = re.compile(rb'\bstart="(\d{1,9})"')
ID = re.compile(rb' (?:id|name)="([^"]*)"')
HREF = re.compile(rb'href="#([^"]+)"')
ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|e|ème|o|a|TM|®|™|©)", re.IGNORECASE)
DEEPEST = 200  # ancestors that are looked at
MOST_WORDS = {"heading": 50, "note": 150}  # of what is one; longer ones are elements that were never closed
NOTE = re.compile(
    rb'<sup\b[^>]*>(?:\s|<span\b[^>]*>)*<a\b[^>]*href="#([^"]+)"|<a\b[^>]*href="#([^"]+)"[^>]*>\s*<sup\b'
)
NOTE_TEXT = re.compile(r"[\[(]?([0-9A-Za-z]{1,4}|\*+|†|‡)[\])]?")
BACK = re.compile(r"^(?:\^|↑)\s+(?:[a-z]\s+)*|\s*(?:↩︎?|↵|⏎|\[return\]|\^)$")

# What must be escaped in running text, each only where CommonMark would read it as markup. A backslash before a bracket
# or a dollar is left alone: it marks a formula, or was set for one.
INLINE = re.compile(
    r"""(?P<note>\[\^[0-9A-Za-z*†‡]{1,4}\][(:]?)
      | (?P<slash>\\(?=[!-\#%-'*-/:-@\\^-`{-~\n]))
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
LINE_START = re.compile(  # a heading, quote, item, rule, fence, underlined heading, a table's row or the one below its header
    r"(?P<at>\#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|[=-]+(?=\s*$)|[*_-](?=[\s*_-]+$)|~{3,}|`{3,}|\|(?=.*\|)|[-:|](?=[-:|\s]+$))"
    r"|(?P<number>\d{1,9})(?P<dot>[.)])(?=\s|$)"
)


@dataclass
class Rendering:
    """Renders ranges of one page. `text_formulas` turns formulas of running text into words of `protected`.

    Most runs are one text that holds nothing that Markdown could take for markup: these pass by what others need.
    """

    flat: Flat
    protected: Protected
    text_formulas: Callable[[str], str] | None = None
    _near_N: np.ndarray = field(init=False)  # the node or the next above it that is a heading, item or quote

    def __post_init__(self) -> None:
        self._near_N = _near(self.flat.tag_N, self.flat.parent_N, IS_AROUND)
        self._around: dict[int, _Around] = {}
        self._numbers: dict[int, int] = {}
        self._notes: dict[int, str] = {}  # block → number of the footnote it holds
        self._heading_words: dict[int, int] = {}  # of a heading's element that holds several runs
        self._labels: dict[str, int] = {}  # and back
        self._kept_R = np.zeros(self.flat.runs, bool)  # of the range that is being rendered
        self._targets = self._footnotes() if b"<sup" in self.flat.html else {}

    def _footnotes(self) -> dict[bytes, int]:
        """Where links in `<sup>` lead to on this page: id → the block that it names or that holds it."""
        flat, linked = self.flat, dict[bytes, int]()
        for match in NOTE.finditer(flat.html):
            linked.setdefault(match[1] or match[2], match.start())
        found: dict[bytes, int] = {}
        for match in ID.finditer(flat.html) if linked else ():
            if (
                match[1] in found or linked.get(match[1], len(flat.html)) > match.start()
            ):  # a note stands below
                continue
            node = int(np.searchsorted(flat.start_N, match.start(), side="right")) - 1
            while node and int(flat.tag_N[node]) not in BLOCK_TAGS:
                node = int(flat.parent_N[node])
            found[match[1]] = node
        return found

    def markdown(self, kept_R: np.ndarray, low: int = 0, high: int | None = None) -> str:
        """The kept runs among those that begin within the nodes low … high − 1."""
        flat = self.flat
        first, last = (0, flat.runs) if high is None else np.searchsorted(flat.first_R, [low, high]).tolist()
        if self._targets:
            self._kept_R = np.zeros(flat.runs, bool)
            self._kept_R[first:last] = kept_R[first:last]
        self._around.clear()
        out: list[str] = []
        before: _Around | None = None
        widths: dict[int, int] = {}  # of the items that were begun: columns
        run_K = np.flatnonzero(kept_R[first:last]) + first
        first_K, final_K = flat.first_R[run_K], flat.final_R[run_K]
        has_signs_K = flat.counts_RC[run_K, SIGNS] > 0
        for run, block, near, first, final, start, end, has_signs in zip(
            run_K.tolist(), (block_K := flat.block_R[run_K]).tolist(), self._near_N[block_K].tolist(), first_K.tolist(),
            final_K.tolist(), flat.start_N[first_K].tolist(), flat.end_N[final_K].tolist(), has_signs_K.tolist(),
            strict=True,
        ):  # fmt: skip
            raw = flat.html[start:end]
            if first == final or (
                not NOT_PLAIN.search(raw) and not (b'"' in raw and STRAY_QUOTE.search(raw))
            ):
                text = (raw if first == final else TAG.sub(b"", raw)).decode("utf-8", "replace")
                text = " ".join(_unescaped(text).split())
            else:
                text, has_signs = self._text(first, final), True
            if not text:
                continue
            around = self._around_of(block, near, low) if near > low or self._notes else NOTHING_AROUND
            if around.is_note:
                text = BACK.sub("", text)
            level = around.heading if around.heading and self._is_heading(run, around.heading_node) else 0
            if has_signs or self.text_formulas is not None or self.protected.prefix in text:
                lines, solid = self._restored(text, level, has_signs)
                if not lines:
                    continue
            else:
                lines, solid = ["#" * level + " " + text if level else _line_start(text)], False
            begun = 0
            if level:  # the items around a heading are parts of the page, not items
                widths.update((node, 0) for node, mark in around.containers if mark != ">")
            elif around.item and around.item not in widths:
                begun = around.item
                if around.is_note:
                    widths.update((node, 0) for node, mark in around.containers if mark != ">")
                widths[begun] = 4 if around.is_note else len(dict(around.containers)[begun])
            if before is not None:
                tight = begun and before.item and not solid and self._is_tight(before, around, widths)
                shared = _shared(before, around) if before.containers and not tight else ()
                out.append("\n" if tight else f"\n{_prefix(shared, widths).rstrip()}\n" if shared else "\n\n")
            if around.containers:
                rest = _prefix(around.containers, widths)
                begin = _prefix(around.containers, widths, begun) if begun else rest
                lines = [(rest if number else begin) + line for number, line in enumerate(lines)]
            if len(lines) > 1:
                lines = [line if line.strip() else line.rstrip() for line in lines]
            out.append("\n".join(lines))
            before = around
        return "".join(out)

    @staticmethod
    def _is_tight(before: _Around, around: _Around, widths: dict[int, int]) -> bool:
        """Whether an item may follow in the next line: within a paragraph's item only what begins with 1 is a list."""
        if [node for node, mark in before.containers if mark == ">"] != [
            node for node, mark in around.containers if mark == ">"
        ]:
            return False
        outer = sum(widths.get(node, 0) for node, _ in around.containers if node != around.item)
        above = sum(widths.get(node, 0) for node, _ in before.containers if node != before.item)
        return outer <= above or around.containers[-1][1] in ("- ", "1. ")

    def _is_heading(self, run: int, node: int) -> bool:
        """Whether all that stands in a heading's element is a heading, or else the first of it."""
        first_R, end = self.flat.first_R, self.flat.last_N[node]
        alone = (run == 0 or first_R[run - 1] < node) and (run + 1 == len(first_R) or first_R[run + 1] >= end)
        if alone:
            return True
        if node not in self._heading_words:
            low, high = np.searchsorted(first_R, [node, end])
            self._heading_words[node] = int(self.flat.counts_RC[low:high, WORDS].sum())
        if self._heading_words[node] <= MOST_WORDS["heading"]:
            return True
        is_first = run == 0 or first_R[run - 1] < node
        return bool(is_first and self.flat.counts_RC[run, WORDS] <= MOST_WORDS["heading"])

    def _text(self, first: int, final: int) -> str:
        """The text of a run with `<br>` as line ends, powers and footnotes; spaces collapsed."""
        flat = self.flat
        kinds = flat.tag_N[first : final + 1].tolist()
        pieces: list[str] = []
        closing: list[
            tuple[int, int, int]
        ] = []  # where a <sup> or <sub> ends, its node, where its text begins in `pieces`
        node = first
        while node <= final:
            while closing and node >= closing[-1][0]:
                self._close(pieces, *closing.pop())
            kind = kinds[node - first]
            if kind == TEXT:
                text = flat.html[flat.start_N[node] : flat.end_N[node]].decode("utf-8", "replace")
                pieces.append(SPACES.sub(" ", _unescaped(text)))
            elif kind == BR:
                pieces.append("\n")
            elif kind in UNSEEN_TAGS:
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
        if label := NOTE_TEXT.fullmatch(text):
            flat, around = self.flat, int(self.flat.parent_N[node])
            target = HREF.search(flat.html[flat.start_N[node] : flat.end_N[node]])
            target = target or HREF.search(flat.html[flat.start_N[around] : flat.inner_N[around]])
            if target:
                block = self._targets.get(target[1], 0)
                pieces[begin:] = [
                    f"[^{label[1]}]" if self._is_note(node, block, label[1]) else f"[{label[1]}]"
                ]
                return
        if (
            not text
            or not before
            or not (before[-1].isalnum() or before[-1] in ")]}")
            or ORDINAL.fullmatch(text)
        ):
            return
        if re.fullmatch(r"[\w+\-−*/=.,()′]{1,12}", text) and self.protected.prefix not in text:
            sign = "^" if self.flat.tag_N[node] == SUP else "_"
            pieces[begin:] = [sign + (text if len(text) == 1 else "{" + text + "}")]

    def _is_note(self, reference: int, block: int, label: str) -> bool:
        """Whether a block is what a reference with this label means, and is rendered here; it is remembered."""
        if not block or block <= reference < self.flat.last_N[block]:
            return False
        low, high = np.searchsorted(self.flat.first_R, [block, self.flat.last_N[block]])
        if (
            high - low > MOST_WORDS["note"]
            or not self._kept_R[low:high].any()
            or self.flat.counts_RC[low:high, WORDS].sum() > MOST_WORDS["note"]
            or self._notes.get(block, label) != label
            or self._labels.get(label, block) != block
        ):
            return False
        self._notes[block], self._labels[label] = label, block
        return True

    def _restored(self, text: str, level: int, has_signs: bool) -> tuple[list[str], bool]:
        """Lines with formulas, code and tables in place of their words; whether there is a block among them.

        What stands before the first block is the heading, where the level of one is given.
        """
        if self.text_formulas is not None:
            text = self.text_formulas(text)  # may escape dollars itself
            has_signs = True
        text = escaped(text) if has_signs else text
        parts = self.protected.parts(text) if self.protected.prefix in text else [(text, False)]
        lines: list[str] = []
        solid = False
        for part, block in parts:
            if block:
                solid = True
                lines += ([""] if lines else []) + part.split("\n") + [""]
            elif (part := part.strip()) and level and not lines:
                lines = ["#" * level + " " + " ".join(part.split("\n"))]
            elif part:
                lines += [_line_start(line.strip()) for line in part.split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        return lines, solid

    def _around_of(self, block: int, near: int, low: int) -> _Around:
        """`near`: the block or the next above it that is a heading, item or quote; a footnote may be any block."""
        key = -block if self._notes else near
        if found := self._around.get(key):
            return found
        flat = self.flat
        heading = heading_node = item = 0
        is_note = False
        containers: list[tuple[int, str]] = []
        node = block if self._notes else near
        for _ in range(DEEPEST):
            if node <= low:
                break
            kind = int(flat.tag_N[node])
            if node in self._notes and not item:
                item, is_note = node, True
                containers.append((node, f"[^{self._notes[node]}]: "))
            elif kind in HEADINGS and not heading and not item:
                heading, heading_node = HEADINGS[kind], node
            elif kind == LI:
                item = item or node
                containers.append((node, self._marker(node)))
            elif kind == QUOTE:
                containers.append((node, ">"))
            node = int(flat.parent_N[node])
            if not self._notes:
                node = int(self._near_N[node])
        around = _Around(heading, heading_node, item, is_note, tuple(reversed(containers)))
        self._around[key] = around
        return around

    def _marker(self, item: int) -> str:
        flat = self.flat
        parent = int(flat.parent_N[item])
        if flat.tag_N[parent] != OL:
            return "- "
        number = self._numbers.get(item)
        if number is None:
            found = START.search(flat.html[flat.start_N[parent] : flat.inner_N[parent]])
            number = int(found[1]) if found else 1
            child, end = parent + 1, int(flat.last_N[parent])
            while child < end:
                if flat.tag_N[child] == LI:
                    self._numbers[child] = number
                    number += 1
                child = int(flat.last_N[child])
            number = self._numbers.get(item, 1)
        return f"{number}. "


@dataclass(frozen=True)
class _Around:
    """What the ancestors of a block say about it."""

    heading: int  # level, 0: none
    heading_node: int
    item: int  # the innermost list item or footnote, 0: none
    is_note: bool
    containers: tuple[
        tuple[int, str], ...
    ]  # from the outermost: node, and the marker of an item or ">" of a quote


NOTHING_AROUND = _Around(0, 0, 0, False, ())


@numba.njit(cache=True, nogil=True)
def _near(tag: np.ndarray, parent: np.ndarray, is_around: np.ndarray) -> np.ndarray:
    """Of every node: itself or the next above it whose tag counts, 0 if there is none."""
    near = np.zeros(len(tag), np.int32)
    for node in range(1, len(tag)):
        near[node] = node if is_around[tag[node]] else near[parent[node]]
    return near


def _shared(before: _Around, around: _Around) -> tuple[tuple[int, str], ...]:
    """The containers of two blocks up to the innermost quote that holds both."""
    shared = 0
    if not before.containers:
        return ()
    for place, (one, other) in enumerate(zip(before.containers, around.containers, strict=False), 1):
        if one != other:
            break
        shared = place if one[1] == ">" else shared
    return around.containers[:shared]


def _prefix(containers: tuple[tuple[int, str], ...], widths: dict[int, int], begun: int = 0) -> str:
    """What stands before a line in its containers: marks of quotes, columns of items, the marker of the one begun."""
    return "".join(
        "> " if mark == ">" else mark if node == begun else " " * widths.get(node, 0)
        for node, mark in containers
    )


def _unescaped(text: str) -> str:
    return ENTITIES.sub(lambda match: ENTITY[match[0]], text) if "&" in text else text


def escaped(text: str) -> str:
    r"""Running text with a backslash where CommonMark would read markup.

    >>> escaped("a_1 < a_2, f(x) * 2, snake_case, <b>, *p*")
    'a_1 < a_2, f(x) * 2, snake_case, \\<b>, \\*p\\*'
    """
    if not MAYBE_INLINE.search(text):
        return text

    counts = {sign: text.count(sign) for sign in "*_`"}

    def mark(match: re.Match[str]) -> str:
        sign = match[0]
        if match.lastgroup == "note":  # a reference to a footnote, written here
            return sign if sign[-1] == "]" else f"{sign[:-1]}\\{sign[-1]}"
        alone = match.lastgroup in ("star", "line", "tick") and counts[sign[0]] == 1  # they come in pairs
        return sign if alone else "".join("\\" + one for one in sign)

    return INLINE.sub(mark, text)


def _line_start(line: str) -> str:
    """A line that begins like a heading, list, quote, fence or rule, escaped."""
    if line and (line[0] in "#>-+*_=~`|:" or line[0].isdigit()) and (found := LINE_START.match(line)):
        if found["number"]:
            return f"{found['number']}\\{line[len(found['number']) :]}"
        return "\\" + line
    return line
