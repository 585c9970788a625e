"""What MathJax rendered → the tree of MathML that it was made of.

* MathJax 3 and 4 CHTML: elements `mjx-…` named after MathML, characters as code points in class names (`mjx-c1D465`);
* MathJax 2 CommonHTML: the same names as classes of spans, characters as text;
* MathJax 3 and 4 SVG: groups with `data-mml-node`, characters in `data-c`, fonts in the glyphs' names;
* MathJax 2 HTML-CSS: spans with classes `mi`, `mfrac`, `msubsup` …, parts told apart by where they stand.
"""

from __future__ import annotations

import re

from pipeline.extract.formulas.math_tree import HEIGHT, TOP, WIDTH, Math, row_of
from pipeline.extract.formulas.tex_symbols import FENCES, PIECES

FONT = re.compile(r"(?:MJXc-TeX|[A-Z]{2,6})-([\w-]+)")  # MathJax's font classes: TEX-C, NCM-B, MJXc-TeX-cal-R
GLYPH = re.compile(r"-(?:TEX|[A-Z]{2,6})-([A-Z0-9]+)-[0-9A-F]+$")
TRANSLATION = re.compile(r"translate\(\s*(-?\d*\.?\d+)\s*,\s*(-?\d*\.?\d+)")
# Braces of MathJax's own fonts by what they begin with, and lines: drawn wide over or under something.
WIDE = {
    "⏞": "⏞",
    "⏟": "⏟",
    "\ue155": "⏞",
    "\ue156": "⏟",
    "→": "→",
    "←": "←",
    "⇒": "⇒",
    "\ue150": "⏞",
    "\ue152": "⏟",
    "–": "―",
    "¯": "―",
    "―": "―",
}
# Parts of the scaffolding that show nothing of the formula.
SCAFFOLD = frozenset(
    "nstrut dstrut tstrut strut line spacer mark surd vsize labels assistive-mml svg path rect defs charbox break".split()  # noqa: SIM905
)


def mathjax_tree(root: Math) -> Math | None:
    """The formula that an element of MathJax's shows; None if it shows none."""
    lines = [
        part for part in root.every() if part.get("data-mml-node") == "math"
    ]  # MathJax 4 breaks long formulas
    if lines:
        return row_of([item for line in lines for item in _svg(line)])
    if (math := root.find(lambda part: _name(part) == "math")) is not None:
        return row_of(_mathjax(math))
    math = root.find(lambda part: "math" in part.classes)
    return row_of(_html_css(math)) if math is not None else None


def _drawn(text: str) -> str:
    """The one character that a stretched or assembled operator stands for."""
    for pieces in (PIECES, WIDE):
        for sign, char in pieces.items():
            if sign in text and (pieces is PIECES or sign in "⏞⏟\ue155\ue156→←⇒" or text.startswith(sign)):
                return char
    return text[:1]


# CHTML of 3 and 4, CommonHTML of 2


def _name(node: Math) -> str:
    """What an element of MathJax's is: `mjx-mfrac`, or the class `mjx-mfrac` of a span, is "mfrac"."""
    if node.tag.startswith("mjx-"):
        return node.tag[4:]
    return next((name[4:] for name in node.get("class").split() if name.startswith("mjx-")), "")


def _part(node: Math, *names: str) -> Math | None:
    """The part of a construction by its name, not looked for within other parts."""
    for child in node.children:
        name = _name(child)
        if name in names:
            return child
        if name in (
            "box",
            "row",
            "cell",
            "stack",
            "itable",
            "frac",
            "dbox",
            "dtable",
            "munder",
            "mover",
            "sqrt",
            "script",
            "",
        ) or (name == "munderover" and _name(node) == "munderover"):
            if name in ("munder", "mover") and _name(node) not in ("box", "munderover"):
                continue
            if found := _part(child, *names):
                return found
    return None


def _inner(node: Math | None) -> Math:
    return row_of([part for child in node.children for part in _mathjax(child)]) if node else Math("mrow")


def _mathjax(node: Math) -> list[Math]:
    name = _name(node)
    if name in SCAFFOLD or node.tag in SCAFFOLD:
        return []
    if name in ("mi", "mn", "mo", "mtext", "ms"):
        return [_mathjax_token(node, name)]
    if name == "mspace":
        width = WIDTH.search(node.get("style"))
        return [Math("mspace", attributes={"width": (width[1] if width else "0") + "em"})]
    if name in ("msub", "msup", "msubsup", "munder", "mover", "munderover"):
        return [_mathjax_scripts(node, name)]
    if name == "mfrac":
        over, under = _part(node, "num", "numerator"), _part(node, "den", "denominator")
        lined = _part(node, "line") is not None
        bevelled = over is None and node.find(lambda part: _name(part) == "bevelled")
        if bevelled:
            return [part for child in bevelled.children for part in _mathjax(child)]
        attributes = {} if lined and "0px" not in node.get("style") else {"linethickness": "0"}
        return [Math("mfrac", [_inner(over), _inner(under)], attributes=attributes)]
    if name in ("msqrt", "mroot"):
        boxes = [part for part in _walk(node, ("box",), ("sqrt", "box")) if not _find_surd(part)]
        body = _inner(boxes[-1]) if boxes else Math("mrow")
        index = _part(node, "root")
        return [Math("mroot", [body, _inner(index)]) if index is not None else Math("msqrt", [body])]
    if name == "mtable":
        return [_mathjax_table(node)]
    if name == "menclose":
        return [_mathjax_enclosed(node)]
    parts = [part for child in node.children for part in _mathjax(child)]
    if name == "mphantom" or "visibility: hidden" in node.get("style"):
        return [Math("mphantom", parts)]
    if name in ("c", "char", "utext") or (not node.children and node.text.strip()):
        return [Math("mo", text=_characters(node)[0])]
    if name in ("mrow", "texatom", "TeXAtom") and len(parts) != 1:
        texclass = node.get("data-mjx-texclass")
        return [Math("mrow", parts, attributes={"data-mjx-texclass": texclass} if texclass else {})]
    return parts


def _walk(node: Math, wanted: tuple[str, ...], through: tuple[str, ...]) -> list[Math]:
    found = []
    for child in node.children:
        name = _name(child)
        if name in wanted:
            found.append(child)
        if name in through:
            found += _walk(child, wanted, through)
    return found


def _find_surd(node: Math) -> bool:
    return any(_name(child) == "surd" for child in node.children)


def _character(code: str) -> str:
    number = int(code, 16)
    return chr(number) if number < 0xD800 or 0xDFFF < number < 0x110000 else ""


def _characters(node: Math) -> tuple[str, set[str]]:
    """The characters of a token and the fonts they are in."""
    found = re.search(r"(?:^|\s)mjx-c([0-9A-F]{2,6})(?:\s|$)", node.get("class"))
    fonts = {font[1] for font in map(FONT.fullmatch, node.get("class").split()) if font}
    if found:
        return _character(found[1]), fonts
    text = node.text
    for child in node.children:
        if _name(child) in ("ext", "mark", "spacer"):
            continue
        inner, more = _characters(child)
        text += inner
        fonts |= more
    return text, fonts


_FONTS = {
    "C": "script", "cal-R": "script", "B": "bold", "main-B": "bold", "BI": "bold-italic", "math-BI": "bold-italic",
    "FR": "fraktur", "frak-R": "fraktur", "SS": "sans-serif", "sans-R": "sans-serif", "T": "monospace", "type-R": "monospace",
    "SC": "script", "scr-R": "script", "script-R": "script", "I": "italic", "math-I": "italic", "main-I": "italic", "VAR": "",
}  # fmt: skip


def _mathjax_token(node: Math, name: str) -> Math:
    text, fonts = _characters(node)
    stretched = node.find(lambda part: _name(part) in ("stretchy-v", "stretchy-h", "delim-v", "delim-h"))
    attributes: dict[str, str] = {}
    if stretched is not None:
        text = _drawn(text)
    if name == "mo":
        sized = stretched is not None or bool(fonts - {"main-R"})
        wide = stretched is not None and _name(stretched) in ("stretchy-h", "delim-h")
        attributes["stretchy"] = "true" if wide or (sized and text in FENCES) else "false"
    variant = next((_FONTS[font] for font in fonts if _FONTS.get(font)), "")
    if "AMS" in " ".join(fonts) or "ams-R" in fonts or "A" in fonts:
        variant = "double-struck" if text.isascii() and text.isupper() else ""
    italic = variant == "italic" or any(ord(char) > 0x1D3FF for char in text)
    if name == "mi" and len(text) == 1 and text.isascii() and text.isalpha() and not italic and not variant:
        variant = "normal"
    if variant and variant != "italic":
        attributes["mathvariant"] = variant
    return Math(name, text=text, attributes=attributes)


def _mathjax_scripts(node: Math, name: str) -> Math:
    script = next((child for child in node.children if _name(child) in ("script", "sup", "sub")), None)
    stack = next((child for child in node.children if _name(child) == "stack"), None)
    if script is not None or (
        stack is not None and any(_name(part) in ("sub", "sup") for part in stack.children)
    ):
        bases = [child for child in node.children if _name(child) not in ("script", "sup", "sub", "stack")]
        base = row_of([part for child in bases for part in _mathjax(child)])
        if script is None or _name(script) != "script":  # MathJax 2
            parts = {kind: _part(node, kind) for kind in ("sub", "sup")}
            present = [(kind, _inner(part)) for kind, part in parts.items() if part is not None]
            return Math("m" + "".join(kind for kind, _ in present), [base, *(part for _, part in present)])
        parts_of_script = [part for child in script.children for part in _mathjax(child)]
        separate = [child for child in script.children if _name(child) not in SCAFFOLD]
        if name in ("msubsup", "munderover") and len(separate) == 2:
            upper, lower = (row_of(_mathjax(child)) for child in separate)
            return Math("msubsup", [base, lower, upper])
        under_it = name in ("msub", "munder")
        return Math("msub" if under_it else "msup", [base, row_of(parts_of_script)])
    base = _inner(_part(node, "base", "op"))
    over, under = _part(node, "over"), _part(node, "under")
    children = [base] + [_inner(part) for part in (under, over) if part is not None]
    kind = (
        "munderover" if over is not None and under is not None else "mover" if over is not None else "munder"
    )
    return Math(kind, children) if len(children) > 1 else base


def _mathjax_table(node: Math) -> Math:
    rows, lines = [], ""
    for row in _walk(node, ("mtr", "mlabeledtr"), ("table", "itable")):
        cells = []
        lines_of_row = []
        for cell in row.children:
            if _name(cell) != "mtd":
                continue
            style = cell.get("style")
            aligned = re.search(r"text-align:\s*(\w+)", style)
            cells.append(
                Math("mtd", [_inner(cell)], attributes={"columnalign": aligned[1] if aligned else "center"})
            )
            lines_of_row.append("solid" if "border-left" in style else "none")
        rows.append(Math("mtr", cells))
        lines = lines or " ".join(lines_of_row[1:])
    return Math("mtable", rows, attributes={"columnlines": lines} if "solid" in lines else {})


def _mathjax_enclosed(node: Math) -> Math:
    markup = repr(node)
    notations = [
        notation
        for sign, notation in (
            ("ustrike", "updiagonalstrike"),
            ("dstrike", "downdiagonalstrike"),
            ("hstrike", "horizontalstrike"),
            ("border: ", "box"),
        )
        if sign in markup
    ]
    inner = [part for child in node.children for part in _mathjax(child) if part.tag != "mo" or part.text]
    return Math("menclose", inner, attributes={"notation": " ".join(notations)})


# SVG


def _svg(node: Math) -> list[Math]:
    name = node.get("data-mml-node")
    if name in ("mi", "mn", "mo", "mtext", "ms"):
        text = "".join(_svg_characters(node))
        glyphs = [found[1] for part in node.every() if (found := GLYPH.search(part.get("xlink:href")))]
        attributes = {}
        if name == "mo":
            assembled = (
                len(text) > 1 and not text.isalpha() and any(char in text for char in (*PIECES, *WIDE))
            )
            text = _drawn(text) if assembled else text
            sized = assembled or any(re.fullmatch(r"S[0-9O]|LO", font) for font in glyphs)
            attributes["stretchy"] = "true" if sized else "false"
        elif variant := next(
            (_FONTS[font] for font in glyphs if _FONTS.get(font) not in (None, "", "italic")), ""
        ):
            attributes["mathvariant"] = variant
        elif name == "mi" and len(text) == 1 and text.isascii() and text.isalpha() and "I" not in glyphs:
            attributes["mathvariant"] = "normal"
        return [Math(name, text=text, attributes=attributes)]
    parts = [row_of(_svg(child)) for child in node.children if child.tag == "g" and _shows(child)]
    if name in ("msub", "msup", "munder", "mover"):
        return [Math(name, parts)] if len(parts) == 2 else parts
    if name in ("msubsup", "munderover") and len(parts) == 3:
        groups = [child for child in node.children if child.tag == "g" and _shows(child)]
        heights = [
            float(found[2]) if (found := TRANSLATION.search(group.get("transform"))) else 0.0
            for group in groups
        ]
        under, over = (1, 2) if heights[1] < heights[2] else (2, 1)
        return [Math(name, [parts[0], parts[under], parts[over]])]
    if name == "mfrac" and len(parts) == 2:
        lined = any(child.tag == "rect" for child in node.children)
        return [Math("mfrac", parts, attributes={} if lined else {"linethickness": "0"})]
    if name in ("msqrt", "mroot"):
        groups = [child for child in node.children if child.tag == "g" and _shows(child)]
        body = [row_of(_svg(child)) for child in groups if not child.get("data-mml-node")]
        index = [row_of(_svg(child)) for child in groups if child.get("data-mml-node")]
        index = [part for part in index if part.text != "√"]
        return [Math(name, [*body, *index[:1]]) if name == "mroot" else Math("msqrt", body or index)]
    if name in ("mtable", "mtr", "mtd", "mphantom", "menclose"):
        notation = {"notation": _svg_notation(node)} if name == "menclose" else {}
        if name == "mtable":  # numbered rows stand in an <svg> of their own
            parts = [row for found in _svg_rows(node) for row in _svg(found)]
        return [Math(name, parts, attributes=notation)]
    if name == "mlabeledtr":
        return [Math("mtr", parts)]
    if name == "mspace":
        return [Math("mspace")]
    if name in ("mrow", "TeXAtom") and len(parts) != 1:
        texclass = (
            {"data-mjx-texclass": node.get("data-mjx-texclass")} if node.get("data-mjx-texclass") else {}
        )
        return [Math("mrow", parts, attributes=texclass)]
    return parts


def _svg_rows(node: Math) -> list[Math]:
    rows = []
    for child in node.children:
        name = child.get("data-mml-node")
        if name in ("mtr", "mlabeledtr"):
            rows.append(child)
        elif child.get("data-labels") != "true" and not name:
            rows += _svg_rows(child)
    return rows


def _shows(node: Math) -> bool:
    return bool(node.get("data-mml-node")) or any(_shows(child) for child in node.children)


def _svg_notation(node: Math) -> str:
    lines = [child for child in node.children if child.tag in ("line", "rect")]
    if any(line.tag == "rect" for line in lines):
        return "box"
    rising = {_number(line.get("y1")) < _number(line.get("y2")) for line in lines}
    return " ".join("updiagonalstrike" if up else "downdiagonalstrike" for up in sorted(rising))


def _number(text: str) -> float:
    found = re.match(r"-?\d*\.?\d+", text)
    return float(found[0]) if found else 0.0


def _svg_characters(node: Math) -> list[str]:
    out = []
    for child in node.children:
        if child.tag == "text":
            out.append(child.text)
        elif child.get("data-c"):
            out += [
                _character(code)
                for code in child.get("data-c").split(",")
                if re.fullmatch(r"[0-9A-Fa-f]+", code)
            ]
        else:
            out += _svg_characters(child)
    return out


# HTML-CSS


def _html_css(node: Math) -> list[Math]:
    names = node.classes
    name = next((n for n in names if n in ("mi", "mn", "mo", "mtext", "ms", "mspace", "mfrac", "msqrt", "mroot", "msubsup",
                                           "munderover", "mtable", "mtd", "texatom", "mrow", "mphantom")), "")  # fmt: skip
    if name in ("mi", "mn", "mo", "mtext", "ms"):
        text = node.all_text().strip("\u200b")
        family = "".join(re.findall(r"font-family:\s*([\w-]+)", repr(node)))
        pieces = [PIECES[char] for char in text if char in PIECES]
        if pieces:
            return [Math("mo", text=pieces[0], attributes={"stretchy": "true"})]
        variant = next((v for key, v in (("Caligraphic", "script"), ("Fraktur", "fraktur"), ("SansSerif", "sans-serif"),
                                          ("Typewriter", "monospace"), ("main-bold", "bold"), ("Script", "script"))
                        if key in family), "")  # fmt: skip
        if "AMS" in family and text.isascii() and text.isupper():
            variant = "double-struck"
        if name == "mi" and len(text) == 1 and text.isascii() and not variant and "_Math" not in family:
            variant = "normal"
        attributes = {"mathvariant": variant} if variant else {}
        if name == "mo":
            attributes["stretchy"] = "true" if "Size" in family else "false"
        return [Math(name, text=text, attributes=attributes)]
    if name == "mspace":
        width = WIDTH.search(node.get("style"))
        return [Math("mspace", attributes={"width": (width[1] if width else "0") + "em"})]
    if name in ("mfrac", "msubsup", "munderover", "msqrt", "mroot", "mtable"):
        return [_html_css_stack(node, name)]
    parts = [part for child in node.children for part in _html_css(child)]
    if name in ("mrow", "texatom") and len(parts) != 1:
        return [Math("mrow", parts)]
    if not parts and node.text.strip("\u200b \n") and not name and not node.children:
        return [Math("mo", text=node.text.strip())]
    return parts


def _placed(node: Math) -> list[tuple[float, float, Math]]:
    """The absolutely placed parts of a construction: how far down (em), how far right, the part."""
    found = []
    for child in node.children:
        style = child.get("style")
        if "absolute" in style and (top := TOP.search(style)):
            strut = [HEIGHT.search(part.get("style")) for part in child.children]
            heights = [float(height[1]) for height in strut if height]
            left = re.search(r"left:\s*(-?\d*\.?\d+)", style)
            found.append(
                (float(top[1]) + (heights[-1] if heights else 0.0), float(left[1]) if left else 0.0, child)
            )
        else:
            found += _placed(child)
    return found


def _html_css_stack(node: Math, name: str) -> Math:
    placed = _placed(node)
    shown = [(down, right, row_of(_html_css(part))) for down, right, part in placed]
    if name == "mtable":
        cells = _all(node, "mtd")
        columns: dict[int, list[Math]] = {}
        for column, (_, _, part) in enumerate(placed):
            columns[column] = [Math("mtd", _html_css(cell)) for cell in _all(part, "mtd")]
        rows = zip(*columns.values(), strict=False) if columns and cells else []
        return Math("mtable", [Math("mtr", list(row)) for row in rows])
    shown = [item for item in shown if item[2].tag != "mrow" or item[2].children]
    if name == "mfrac":
        ordered = [part for _, _, part in sorted(shown, key=lambda item: item[0])]
        return Math("mfrac", ordered[:2]) if len(ordered) >= 2 else Math("mrow", ordered)
    if name in ("msqrt", "mroot"):
        body = [part for _, _, part in shown if part.text not in ("√", "⎷", "–", "─")]
        return Math("mroot", body[:2]) if name == "mroot" and len(body) > 1 else Math("msqrt", body[:1])
    base, rest = shown[:1], shown[1:]
    if not base or not rest:
        return row_of([part for _, _, part in shown])
    level = base[0][0]
    over = [part for down, _, part in rest if down < level]
    under = [part for down, _, part in rest if down >= level]
    kinds = ("sub", "sup") if name == "msubsup" else ("under", "over")
    kind = "m" + (kinds[0] if under else "") + (kinds[1] if over else "")
    return Math(kind, [base[0][2], *under[:1], *over[:1]])


def _all(node: Math, name: str) -> list[Math]:
    if name in node.classes:
        return [node]
    return [found for child in node.children for found in _all(child, name)]
