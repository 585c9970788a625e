"""Data tables as Markdown tables (GFM); tables that only place things on a page are left to the renderer.

A table is read from its serialised HTML, which lexbor writes in one form, so a cell costs about two microseconds. What
is data: cells in rows and columns, short on the whole, most of them filled; `<th>`, captions and the class names of
data tables allow more. What Markdown cannot hold is written so:

* A cell that spans stands once, in its first place; the others are empty. Header cells are repeated: each column needs
  its whole name. Several header rows are joined, "2024" over "sales" to "2024 sales".
* Lines and paragraphs in a cell are joined by a space, items of a list by "; ".
* Without any `<th>` the first row is the header; with `<th>` only at the left the header is empty.
* The caption is a paragraph above. Empty rows and columns go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from resiliparse.parse.html import HTMLTree

from pipeline.extract.dom import select
from pipeline.extract.formulas.delimiters import Delimiters, replace_delimited
from pipeline.extract.protect import Protected

TAG = re.compile(r"<(/?)(thead|tr|td|th|caption)\b([^>]*)>")
SPAN = re.compile(r"\b(col|row)span=\"\s*(\d{1,4})")
LAYOUT = re.compile(
    r"<(?:table|form|iframe|textarea|article|section|nav|header|footer|aside|blockquote|object|video|canvas)\b"
)
DATA_NAMES = re.compile(
    r"wikitable|infobox|data|sort|docutils|dataframe|confluence|striped|border|tablepress|markdown|grid|spec|compar|result|"
    r"has-fixed-layout|price|stat|schedule|param|propert|summary|index|longtable|booktabs|(?:^|\s)table(?:\s|$)"
)
LAYOUT_NAMES = re.compile(
    r"nav|menu|calendar|(?<!fixed-)layout|multicol|\btoc\b|footer|sidebar|mbox|social|pager|crumb|forumline|tborder|tablebg|\bpost|presentation|"
    r"gallery|banner|fatitem|comment-tree|login|search|ltx_eqn"
)
HEADING = re.compile(r"<h[1-6]\b")
HEADING_CELL = re.compile(r"<t[dh]\b[^>]*>\s*<h[1-6]\b[^>]*>(?:(?!</h).)*</h[1-6]>\s*</t[dh]>", re.DOTALL)
LINK = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)
UNSEEN = re.compile(
    r"<(style|script|noscript|template|button|select|svg)\b.*?</\1>|<span[^>]*display:\s*none[^>]*>[^<]*</span>|<!--.*?-->",
    re.DOTALL,
)
RAISED = re.compile(r"(?<=[\w)\]])<(su[pb])>(?!(?:st|nd|rd|th|TM|SM)<)([\w+−-]{1,12})</\1>")
ITEM = re.compile(r"<li\b[^>]*>")
BREAK = re.compile(r"<(?:br|/?p|/?div|/?ul|/?ol|/?dl|/?dd|/?dt|hr)\b[^>]*>")
ANY_TAG = re.compile(r"<[^>]*>")
LIST_JOINTS = re.compile(r"\s*;(?:\s*;)*\s*")
# What GFM reads as markup; `\\$` stands for the dollar of an amount.
MARKUP = re.compile(
    r"[|`]|<(?=[A-Za-z/!?])|&(?=#?\w{2,31};)|\\(?=[!-#%-/:-@\[-`{-~])|\*(?=\S[^*]*\*)|(?<!\w)_(?=\S[^_]*_)"
)
AUTHORS = frozenset(["author", "poster", "posted by", "user", "username", "autor", "auteur", "автор", "作者"])
MESSAGES = frozenset(
    ["message", "messages", "post", "posts", "comment", "nachricht", "beitrag", "mensaje", "сообщение"]
)
TEX_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n")
PIPE = re.compile(r"\\\\|\\?\|")  # `\\\\` first, so that its second is not that of a pipe
COLUMNS = re.compile(r"(\\begin\{array\}(?:\[\w\])?\{)([^{}]*)")  # `{c|c}`, where only a bar draws one
MOST_HEADS = 4  # rows
MOST_CELLS = 50_000
LONGEST, LONGEST_SURE = 300, 1_500  # characters of a cell; with a sign of data
MEAN, MEAN_SURE = 80, 250
FILLED = 0.4  # share of cells that hold something


@dataclass(frozen=True)
class Cell:
    """A cell where it begins. `html` is what it holds."""

    html: str
    header: bool
    columns: int = 1
    rows: int = 1


def protect_tables(tree: HTMLTree, protected: Protected, delimiters: Delimiters) -> None:
    """Replace the content of every data table by one word. Formulas and code must be protected before.

    `delimiters`: how the page marks formulas in running text, so in cells too.
    """
    for table in select(tree, "table"):
        if table.query_selector("table") is not None:
            continue
        html = table.inner_html
        names = " ".join(table.getattr(name) or "" for name in ("class", "id", "role")).lower()
        markdown = table_markdown(html, names, protected, delimiters)
        if markdown:
            # One cell stays: the choice of content looks at tags and names.
            table.inner_html = f"<tbody><tr><td>{protected.add('table', markdown)}</td></tr></tbody>"


def table_markdown(html: str, names: str, protected: Protected, delimiters: Delimiters) -> str:
    """The Markdown of a table's inner HTML; "" if it is no data table. `names`: its class, id and role."""
    if LAYOUT.search(html):
        return ""
    if "<h" in html and len(HEADING.findall(html)) != len(HEADING_CELL.findall(html)):
        return ""  # headings with text below them
    caption, rows, heads = _rows(html)
    places = sum(cell.columns * min(cell.rows, len(rows)) for row in rows for cell in row)
    if len(rows) < 2 or places > MOST_CELLS:
        return ""
    has_th = any(cell.header for row in rows for cell in row)
    sure = has_th or bool(caption) or bool(DATA_NAMES.search(names))
    if LAYOUT_NAMES.search(names) and not has_th:
        return ""
    texts = {cell.html: _text(cell.html) for row in rows for cell in row}
    filled = [text for text in texts.values() if text]
    if not filled or max(map(len, filled)) > (LONGEST_SURE if sure else LONGEST):
        return ""
    if sum(map(len, filled)) > (MEAN_SURE if sure else MEAN) * len(filled):
        return ""
    if (
        not sure
        and "<a " in html
        and sum(len(_text(link)) for link in LINK.findall(html)) > 0.8 * sum(map(len, filled))
    ):
        return ""  # navigation
    if has_th and len(rows) > 3 and _of_posts([texts[cell.html].lower() for cell in rows[0]]):
        return ""
    # The title of all columns is no name of one.
    width = max(sum(cell.columns for cell in row) for row in rows)
    titles: list[str] = []
    while width > 1 and len(rows) > 2 and len(rows[0]) == 1 and rows[0][0].columns >= width:
        titles.append(texts[rows.pop(0)[0].html])
        heads = max(heads - 1, 0)
    unnamed = has_th or "param" in names or _names_a_value(rows[0], texts)  # "params": doxygen's
    heads = 0 if heads >= len(rows) else min(heads, MOST_HEADS)  # all rows in `<thead>`
    heads = heads or _leading_headers(rows) or (0 if unnamed else 1)
    grid = _grid(rows, texts, heads)
    grid, heads = _without_empty(grid, heads)
    if not grid or len(grid[0]) < 2 or len(grid) < 2 or _is_calendar(grid):
        return ""
    if not sure and sum(map(bool, (text for row in grid for text in row))) < FILLED * len(grid) * len(
        grid[0]
    ):
        return ""
    header = [_joined([row[column] for row in grid[:heads]]) for column in range(len(grid[0]))]
    lines = []
    for row in [header, *grid[heads:]]:
        finished = [_finished(text, protected, delimiters) for text in row]
        if None in finished:
            return ""
        lines.append(f"| {' | '.join(text or '' for text in finished)} |")
    lines.insert(1, "|" + " --- |" * len(header))
    above = [_finished(text, protected, delimiters) for text in (_text(caption), *titles)]
    return "".join(f"{text}\n\n" for text in above if text) + "\n".join(lines)


def _rows(html: str) -> tuple[str, list[list[Cell]], int]:
    """Caption, rows of cells, and how many rows stand in `<thead>`."""
    rows: list[list[Cell]] = []
    caption, heads, in_head, start, opened = "", 0, False, 0, ""
    for match in TAG.finditer(html):
        closing, tag, attributes = match.groups()
        if tag == "tr":
            if not closing:
                rows.append([])
                heads += in_head
        elif tag == "thead":
            in_head = not closing and not any(rows)
        elif not closing:
            start, opened = match.end(), attributes
        elif tag == "caption":
            caption = html[start : match.start()]
        elif rows:
            spans = {kind: int(number) for kind, number in SPAN.findall(opened)} if "span=" in opened else {}
            content = html[start : match.start()]
            rows[-1].append(
                Cell(content, tag == "th", min(max(spans.get("col", 1), 1), 100), max(spans.get("row", 1), 1))
            )
    return caption, rows, heads


def _leading_headers(rows: list[list[Cell]]) -> int:
    heads = 0
    while heads < min(len(rows), MOST_HEADS) and rows[heads] and all(cell.header for cell in rows[heads]):
        heads += 1
    return heads


def _names_a_value(row: list[Cell], texts: dict[str, str]) -> bool:
    """Whether a first row without `<th>` is a pair like "Founded: | 1946", not the names of two columns."""
    return len(row) == 2 and (
        texts[row[0].html].endswith((":", "：")) or any(map(str.isdigit, texts[row[1].html]))
    )


def _grid(rows: list[list[Cell]], texts: dict[str, str], heads: int) -> list[list[str]]:
    """Texts by row and column, all rows as long as the longest."""
    grid: list[list[str]] = [[] for _ in rows]
    below: dict[tuple[int, int], str] = {}  # places that a cell above reaches
    for number, row in enumerate(rows):
        line = grid[number]
        for cell in row:
            while (number, len(line)) in below:
                line.append(below[number, len(line)])
            text = texts[cell.html]
            again = text if number < heads else ""
            for row_below in range(number + 1, min(number + cell.rows, len(rows))):
                for column in range(len(line), len(line) + cell.columns):
                    below[row_below, column] = text if row_below < heads else ""
            line += [text] + [again] * (cell.columns - 1)
        while (number, len(line)) in below:
            line.append(below[number, len(line)])
    width = max(map(len, grid))
    return [line + [""] * (width - len(line)) for line in grid]


def _without_empty(grid: list[list[str]], heads: int) -> tuple[list[list[str]], int]:
    """Without rows and columns that hold nothing; a column needs something below its name unless nothing else does."""
    heads = sum(any(row) for row in grid[:heads])
    grid = [row for row in grid if any(row)]
    columns = [column for column in range(len(grid[0]) if grid else 0) if any(row[column] for row in grid)]
    return [[row[column] for column in columns] for row in grid], heads


def _joined(names: list[str]) -> str:
    """The name of a column from its cells in several header rows, each said once."""
    parts: list[str] = []
    for name in names:
        if name and (not parts or parts[-1] != name):
            parts.append(name)
    return " ".join(parts)


def _text(html: str) -> str:
    if "<" in html:
        html = UNSEEN.sub("", html)
        html = RAISED.sub(lambda match: ("^" if match[1] == "sup" else "_") + _grouped(match[2]), html)
        html = BREAK.sub(" ", ITEM.sub(" ; ", html))
        html = ANY_TAG.sub("", html)
        if " ; " in html:
            html = LIST_JOINTS.sub("; ", html).strip("; ")
    if "&" in html:
        html = html.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
    return " ".join(html.split())


def _grouped(script: str) -> str:
    return script if len(script) == 1 else "{" + script + "}"


def _finished(text: str, protected: Protected, delimiters: Delimiters) -> str | None:
    """A cell's text with its formulas as words, pipes escaped; None if it holds what no cell can: lines of code."""
    if delimiters and ("\\" in text or "$" in text or "[" in text or "`" in text):
        text = replace_delimited(text, protected, delimiters)
    text = MARKUP.sub(lambda match: "\\" + match[0], text)
    if protected.prefix not in text:
        return text

    def word(match: re.Match[str]) -> str:
        kind, content = protected.items[int(match[2])]
        if kind == "block":
            lines = content.split("\n")[1:-1]
            return protected.add("code", lines[0].strip().replace("|", r"\|")) if len(lines) == 1 else "\n"
        # A new item, for this table may turn out to be none.
        if kind == "code" and "|" in content:
            return protected.add("code", re.sub(r"(?<!\\)\|", r"\\|", content))
        if kind in ("inline", "display") and ("|" in content or "\n" in content):
            return protected.add(kind, _formula_in_cell(content))
        return match[0]

    text = re.sub(rf"{protected.prefix}([bctmd])(\d+)z", word, text)
    return None if "\n" in text else text


def _formula_in_cell(tex: str) -> str:
    r"""TeX on one line and without pipes, which end a cell in GFM.

    >>> _formula_in_cell(r"|x| \le \|y\|")
    '\\vert x\\vert  \\le \\Vert y\\Vert '
    """
    tex = COLUMNS.sub(lambda match: match[1] + match[2].replace("|", r"\!"), TEX_COMMENT.sub(" ", tex))
    tex = PIPE.sub(lambda match: {r"\|": r"\Vert ", "|": r"\vert "}.get(match[0], match[0]), tex)
    return COLUMNS.sub(lambda match: match[1] + match[2].replace(r"\!", r"\|"), tex).replace("\n", " ")


def _of_posts(names: list[str]) -> bool:
    """Whether these are the columns of a forum's thread."""
    return not AUTHORS.isdisjoint(names) and not MESSAGES.isdisjoint(names)


def _is_calendar(grid: list[list[str]]) -> bool:
    days = [text for row in grid for text in row if text.isdigit() and int(text) <= 31]
    return len(grid[0]) in (7, 8) and 28 <= len(days) <= 45 and len(set(days)) >= 28
