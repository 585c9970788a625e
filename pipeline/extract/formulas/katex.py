"""What KaTeX rendered → the tree of MathML that it says the same as.

KaTeX writes spans with the classes of TeX's atoms; scripts, fractions, limits and tables are stacks (`vlist`) whose parts
tell by their height what they are (https://github.com/KaTeX/KaTeX, src/buildHTML.ts; classes of 0.5 to 0.19).
"""

from __future__ import annotations

import re
import unicodedata

from pipeline.extract.formulas.math_tree import HEIGHT, TOP, WIDTH, Math, row_of
from pipeline.extract.formulas.tex_symbols import FENCES, FUNCTIONS, PIECES

# Parts of the scaffolding that show nothing of the formula.
SCAFFOLD = frozenset(
    "strut pstrut vlist-s frac-line svg fix hline vertical-separator arraycolsep rule".split()  # noqa: SIM905
)


def katex_tree(root: Math) -> Math | None:
    """The formula that an element of KaTeX's shows, its number as a table's label; None if it shows none."""
    html = root if "katex-html" in root.classes else root.find(lambda part: "katex-html" in part.classes)
    if html is None:
        return None
    row = Math("mtd", _katex_row([part for part in html.children if "tag" not in _classes(part)]))
    number = (
        "".join(part.all_text() for part in html.children if "tag" in _classes(part))
        .replace("\u200b", "")
        .strip()
    )
    if not number:
        return Math("mrow", row.children)
    return Math("mtable", [Math("mlabeledtr", [Math("mtd", [Math("mtext", text=number)]), row])])


def _classes(node: Math) -> list[str]:
    return [name.removeprefix("katex-") for name in node.classes]


def _katex_row(nodes: list[Math]) -> list[Math]:
    row: list[Math] = []
    for node in nodes:
        names = _classes(node)
        if "msupsub" in names:  # scripts of all that stands before them in the same span
            row = [_katex_scripts(row_of(row), node)]
        else:
            row += _katex(node, names)
    return row


def _katex(node: Math, names: list[str]) -> list[Math]:
    if node.tag in SCAFFOLD or SCAFFOLD & set(names):
        return []
    if "color:transparent" in node.get("style").replace(" ", ""):
        return [Math("mphantom", _katex_row(node.children) or _katex_tokens(node.text, names))]
    if "nulldelimiter" in names:
        return []
    if "mspace" in names:
        width = WIDTH.search(node.get("style"))
        # Spaces around operators are TeX's own.
        return [Math("mspace", attributes={"width": width[1] + "em"})] if width and _is_wide(width[1]) else []
    if "minner" in names and (row := _katex_fenced(node)):
        return row
    if "mfrac" in names:
        parts = sorted(_stack(node), key=lambda item: item[0])
        lines = [part for _, part in parts if any("frac-line" in _classes(child) for child in part.children)]
        halves = [Math("mrow", _katex_row(part.children)) for _, part in parts if part not in lines]
        if len(halves) == 2:
            return [Math("mfrac", halves, attributes={} if lines else {"linethickness": "0"})]
        return halves
    if "sqrt" in names:
        return [_katex_root(node)]
    if "accent" in names or "accentunder" in names:
        return [_katex_accent(node)]
    if "overline" in names or "underline" in names:
        body = [Math("mrow", _katex_row(part.children)) for _, part in _stack(node)]
        body = [part for part in body if part.children]
        mark = Math("mo", text="―", attributes={"stretchy": "true"})
        return [Math("mover" if "overline" in names else "munder", [*body[:1], mark])]
    if {"op-limits", "x-arrow", "mover", "munder"} & set(names):
        return [_katex_limits(node, names)]
    if "mtable" in names:
        return [_katex_table(node)]
    if "delimsizing" in names:
        return [Math("mo", text=_katex_fence(node), attributes={"fence": "true", "stretchy": "true"})]
    if "text" in names:
        return [Math("mtext", text=_katex_text(node))]
    if "mop" in names and (name := _katex_function(node)):
        return [name]
    if "mrel" in names and node.all_text().replace("\u200b", "") == "∈/":
        return [Math("mo", text="∉")]
    if any("fbox" in _classes(part) for _, part in _stack(node) for part in part.children):
        inner = [item for _, part in _stack(node) for item in _katex_row(part.children)]
        return [Math("menclose", inner, attributes={"notation": "box"})]
    if node.children:
        if strike := _katex_strike(node):
            return [strike]
        row = _katex_row(node.children)
        if node.text.strip("\u200b \n"):
            row = [*_katex_tokens(node.text, names), *row]
        return [Math("mrow", row)] if len(row) > 1 and "base" not in names else row
    return _katex_tokens(node.text, names) if node.text.strip("\u200b\n ") or "\xa0" in node.text else []


def _is_wide(width: str) -> bool:
    return float(width) >= 0.9 or float(width) < -0.1


_KATEX_FONTS = {
    "mathbf": "bold", "boldsymbol": "bold-italic", "mathbb": "double-struck", "amsrm": "double-struck", "mathcal": "script",
    "mathscr": "script", "mathfrak": "fraktur", "mathsf": "sans-serif", "mathtt": "monospace", "textbf": "bold", "mathrm": "normal",
    "textrm": "normal",
}  # fmt: skip


def _katex_tokens(text: str, names: list[str]) -> list[Math]:
    text = text.strip("\u200b\n ")
    if {"mathnormal", "mathdefault", "mathit"} & set(names) and text.isalpha():  # neighbours share a span
        return [_katex_token(char, names) for char in text]
    return [_katex_token(text, names)]


_COMBINING = dict(
    zip(
        "¨ˊˋ^ˆ~˜ˉ˘˙ˇ˚˝¯",
        "\u0308\u0301\u0300\u0302\u0302\u0303\u0303\u0304\u0306\u0307\u030c\u030a\u030b\u0304",
        strict=True,
    )
)


def _katex_text(node: Math) -> str:
    """The characters of `\\text{…}`, letters with their accents."""
    names = _classes(node)
    if "accent" in names:
        base, mark = "", ""
        for _, part in _stack(node):
            if any("accent-body" in _classes(child) for child in part.children):
                mark = part.all_text().strip("\u200b ")
            else:
                base += part.all_text().strip("\u200b ")
        return unicodedata.normalize("NFC", base + _COMBINING.get(mark, ""))
    if SCAFFOLD & set(names):
        return ""
    return node.text.replace("\u200b", "") + "".join(_katex_text(child) for child in node.children)


def _katex_token(text: str, names: list[str]) -> Math:
    if text.replace("\u2009", " ").strip() in FUNCTIONS:
        return Math("mi", text=text)
    atom = {"mbin", "mrel", "mopen", "mclose", "mpunct"} & set(names)
    if text == "\xa0":
        return Math("mtext", text=text)
    if (
        "op-symbol" in names
        or atom
        or (text in FENCES and not text.isalnum())
        or not (text.isalnum() or len(text) > 1)
    ):
        return Math("mo", text=text, attributes={"stretchy": "false"})
    variant = next((_KATEX_FONTS[name] for name in names if name in _KATEX_FONTS), "")
    attributes = {"mathvariant": variant} if variant else {}
    if text[0].isdigit():
        return Math("mn", text=text, attributes=attributes if variant != "normal" else {})
    if (
        not variant
        and "mathnormal" not in names
        and "mathit" not in names
        and "mathdefault" not in names
        and text.isascii()
    ):
        attributes["mathvariant"] = "normal"
    return Math("mi", text=text, attributes=attributes)


def _katex_function(node: Math) -> Math | None:
    r"""`\operatorname{…}`, whose letters may stand in spans of their own with spaces between them."""
    if not node.children or {"op-symbol"} & set(_classes(node)):
        return None
    letters = ""
    for child in node.children:
        names = _classes(child)
        if "mspace" in names:
            letters += " "
        elif {"mathrm", "textrm", "text"} & set(names) or ("mop" in names and child.text.isalpha()):
            letters += child.all_text().replace("\u200b", "")
        else:
            return None
    letters = letters.strip()
    if not re.fullmatch(r"[A-Za-z][A-Za-z \u2009-]+", letters):
        return None
    return Math("mi", text=letters, attributes={"data-mjx-texclass": "OP"})


def _stack(node: Math) -> list[tuple[float, Math]]:
    """The parts of a vlist: how far down from the baseline each hangs (em), and the part."""
    column = node
    for wanted in ("vlist-t", "vlist-r", "vlist"):
        column = next((child for child in column.children if wanted in _classes(child)), Math(""))
    parts = []
    for child in column.children:
        top = TOP.search(child.get("style"))
        struts = [HEIGHT.search(part.get("style")) for part in child.children if "pstrut" in _classes(part)]
        strut = struts[0] if struts else None
        if top is not None:
            parts.append((float(top[1]) + (float(strut[1]) if strut else 0.0), child))
    return parts


def _katex_scripts(base: Math, node: Math) -> Math:
    parts = [(at, Math("mrow", _katex_row(part.children))) for at, part in _stack(node)]
    over = [part for at, part in parts if at < 0]
    under = [part for at, part in parts if at >= 0]
    if len(parts) == 2 and len(over) != 1:  # both on one side of the baseline: the higher is the superscript
        (_, first), (_, second) = sorted(parts, key=lambda item: item[0])
        over, under = [first], [second]
    if not parts:
        return base
    name = "m" + ("sub" if under else "") + ("sup" if over else "")
    return Math(name, [base, *under[:1], *over[:1]])


def _katex_fenced(node: Math) -> list[Math]:
    r"""`\left…\right`: a row whose first and last are delimiters, empty ones included. [] if it is none."""
    children = [child for child in node.children if "mspace" not in _classes(child)]
    if len(children) < 2 or "mopen" not in _classes(children[0]) or "mclose" not in _classes(children[-1]):
        return []
    fences = [
        Math("mo", text=_katex_fence(children[end]), attributes={"fence": "true", "stretchy": "true"})
        for end in (0, -1)
    ]
    return [Math("mrow", [fences[0], *_katex_row(node.children[1:-1]), fences[1]])]


_TALL_SVG = {  # widths of the SVG parts of tall delimiters (KaTeX, src/delimiter.ts, src/svgGeometry.ts)
    "333": "|", "556": "∥", "875": "(", "667": "[",
}  # fmt: skip


def _katex_fence(node: Math) -> str:
    text = node.all_text().replace("\u200b", "").strip()
    for char in text:
        if char in PIECES or char in FENCES:
            return PIECES.get(char, char)
    svg = node.find(lambda part: part.tag == "svg")
    if svg is None:
        return text[:1]
    width = [*svg.get("viewbox").split(), "", "", ""][2]
    path = svg.find(lambda part: part.tag == "path")
    drawn = path.get("d") if path is not None else ""
    for fence, start in _TALL_PATHS.items():
        if drawn.startswith(start):
            return fence
    return _TALL_SVG.get(width, "|")


_TALL_PATHS = {"(": "M863,9c0", ")": "M76,0c-16.7", "[": "M403 1759", "]": "M347 1759"}


def _katex_root(node: Math) -> Math:
    body = Math("mrow", [item for _, part in _stack(node) for item in _katex_row(part.children)])
    index = next((child for child in node.children if "root" in _classes(child)), None)
    if index is None:
        return Math("msqrt", [body])
    degree = Math("mrow", [item for _, part in _stack(index) for item in _katex_row(part.children)])
    return Math("mroot", [body, degree])


def _svg_mark(node: Math) -> str:
    """The accent or arrow that KaTeX draws with SVG, told by the box it is drawn in."""
    drawn = [part for part in node.every() if part.tag == "svg"]
    if any("brace-center" in _classes(part) for part in node.every()):
        return "brace"
    if not drawn:
        return ""
    box = drawn[0].get("viewbox").split()
    width, height = [*box, "", "", "", ""][2:4]
    if (width, height) == ("471", "714"):
        return "⃗"
    if height in ("239", "300", "360", "420"):
        return "^"
    if height in ("260", "286", "306", "312"):
        return "~"
    sides = [part.get("preserveaspectratio")[:4] for part in drawn]
    double = height == "560"
    if len(drawn) > 1:
        return "⇔" if double else "↔" if "mapsto" not in repr(node) else "↦"
    right = sides[0] == "xMax"
    return ("⇒" if right else "⇐") if double else ("→" if right else "←")


def _katex_accent(node: Math) -> Math:
    under = "accentunder" in _classes(node)
    base: list[Math] = []
    mark = ""
    stretched = False
    for _, part in _stack(node):
        body = next((child for child in part.children if "accent-body" in _classes(child)), None)
        if body is not None or "svg-align" in _classes(part):
            drawn = _svg_mark(part)
            mark = drawn or (body or part).all_text().replace("\u200b", "").strip()
            stretched = "svg-align" in _classes(part)
        else:
            base += _katex_row(part.children)
    if mark == "brace":
        mark = "⏟" if under else "⏞"
    token = Math("mo", text=mark, attributes={"stretchy": "true" if stretched else "false"})
    return Math("munder" if under else "mover", [Math("mrow", base), token])


def _katex_limits(node: Math, names: list[str]) -> Math:
    """An operator with limits, a brace or arrow with its label: the part at the baseline has the others around it."""
    parts = []
    for at, part in _stack(node):
        mark = _svg_mark(part) if "svg-align" in _classes(part) else ""
        if mark == "brace":
            mark = "⏞" if at < 0 else "⏟"
        content = (
            [Math("mo", text=mark, attributes={"stretchy": "true"})] if mark else _katex_row(part.children)
        )
        parts.append((at, Math("mrow", content), bool(mark)))
    if not parts:
        return Math("mrow", _katex_row(node.children))
    if "x-arrow" in names:
        base = next((part for part in parts if part[2]), parts[0])
    else:
        base = min(parts, key=lambda part: abs(part[0]))
    over = [part for at, part, _ in parts if part is not base[1] and at < base[0]]
    under = [part for at, part, _ in parts if part is not base[1] and at >= base[0]]
    name = "m" + ("under" if under else "") + ("over" if over else "")
    return Math(name, [base[1], *under[:1], *over[:1]]) if len(parts) > 1 else base[1]


def _katex_strike(node: Math) -> Math | None:
    """`\\cancel` and its kin: a stack of the body and lines drawn over it."""
    lines = [part for _, entry in _stack(node) for part in entry.every() if part.tag == "line"]
    if not lines:
        return None
    rising = {part.get("y1") not in ("0", "") for part in lines}
    notation = " ".join("updiagonalstrike" if up else "downdiagonalstrike" for up in sorted(rising))
    body = [item for _, part in _stack(node) for item in _katex_row(part.children)]
    return Math("menclose", body, attributes={"notation": notation})


def _katex_table(node: Math) -> Math:
    columns: list[tuple[str, list[Math]]] = []
    lines: list[str] = []
    for child in node.children:
        names = _classes(child)
        aligned = next((name[-1] for name in names if name.startswith("col-align-")), "")
        if aligned:
            entries = sorted(_stack(child), key=lambda item: item[0])
            columns.append((aligned, [Math("mtd", _katex_row(part.children)) for _, part in entries]))
            lines.append("none")
        elif "vertical-separator" in names and lines:
            lines[-1] = "solid"
    if not columns:
        return Math("mrow", [item for _, part in _stack(node) for item in _katex_row(part.children)])
    height = max(len(cells) for _, cells in columns)
    rows = [
        Math("mtr", [cells[n] if n < len(cells) else Math("mtd") for _, cells in columns])
        for n in range(height)
    ]
    sides = {"l": "left", "c": "center", "r": "right"}
    attributes = {
        "columnalign": " ".join(sides.get(side, "center") for side, _ in columns),
        "columnlines": " ".join(lines[:-1]),
    }
    return Math("mtable", rows, attributes=attributes)
