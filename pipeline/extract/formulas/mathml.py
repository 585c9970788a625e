r"""Presentation MathML → LaTeX, for pages that carry no TeX, and the tree that rebuilt formulas go through as well.

Follows the element semantics of MathML 3 and of what MathJax, KaTeX, LaTeXML, Temml, Word and MathType write of it:
stretchy fences become `\left…\right`, tables between fences matrices and cases, tables of right-left columns `aligned`.
Unknown elements give their children in a row, so nothing is lost silently. Content MathML is not converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate

from resiliparse.parse.html import ElementNode

from pipeline.extract.formulas.math_tree import Math, parsed
from pipeline.extract.formulas.tex_symbols import (
    ACCENTS,
    ARROWS,
    FENCES,
    FUNCTIONS,
    INTEGRALS,
    LARGE_OPERATORS,
    LIMIT_FUNCTIONS,
    SYMBOLS,
    UNDER_ACCENTS,
    styled,
)

TOKENS = frozenset(["mi", "mn", "mo", "ms", "mtext"])
ROWS = frozenset(["math", "mrow", "mstyle", "mpadded", "semantics", "texatom", "merror", "maction", "none"])
NOTHING = frozenset(["annotation", "annotation-xml", "maligngroup", "malignmark", "mprescripts", "script", "style"])  # fmt: skip
SCRIPTS = {"msub": "_", "msup": "^", "msubsup": "_^", "munder": "_", "mover": "^", "munderover": "_^"}
TALL = frozenset(["mfrac", "mtable", "munder", "mover", "munderover", "msqrt", "mroot", "msub", "msup", "msubsup"])  # fmt: skip
MATRIX = {"()": "pmatrix", "[]": "bmatrix", "||": "vmatrix", "‖‖": "Vmatrix", "∥∥": "Vmatrix", "{}": "Bmatrix", "∣∣": "vmatrix"}  # fmt: skip
VARIANTS = {
    "normal": "mathrm", "bold": "mathbf", "bold-italic": "boldsymbol", "double-struck": "mathbb", "script": "mathcal",
    "bold-script": "mathcal", "fraktur": "mathfrak", "bold-fraktur": "mathfrak", "sans-serif": "mathsf",
    "bold-sans-serif": "mathsf", "sans-serif-italic": "mathsf", "monospace": "mathtt", "-tex-calligraphic": "mathcal",
    "-tex-bold-calligraphic": "mathcal", "-tex-mathit": "mathit",
}  # fmt: skip
RELATIONS = (
    "=",
    "<",
    ">",
    "≤",
    "≥",
    "≈",
    "≡",
    "∼",
    "≅",
    "→",
    "⇒",
    "⇔",
    "∈",
    "⊂",
    "⊆",
    "≠",
    "≪",
    "≫",
    "∝",
    "≃",
)
CONTENT = re.compile(r"<(?:apply|ci|csymbol)\b")
CONTENT_ANNOTATION = re.compile(r"<annotation-xml\b.*?</annotation-xml>", re.DOTALL)
CONTROL_WORD = re.compile(r"(?<!\\)\\[A-Za-z]+$")
BRACES = ("⏞", "⏟", "︷", "︸", "⎴", "⎵")
NAMED_SPACES = {"thinmathspace": 0.167, "mediummathspace": 0.222, "thickmathspace": 0.278, "negativethinmathspace": -0.167}  # fmt: skip
PADDING = re.compile(r"^(?:\\[,:;]\s*)+|(?:\\[,:;]\s*)+$")
UNITS = {"em": 1.0, "ex": 0.43, "px": 1 / 16, "pt": 0.1, "mu": 1 / 18}  # in em
TEXT_ESCAPES = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
TEXT_ESCAPES |= {char: "\\" + char for char in "{}$%#&_"}


def mathml_to_tex(math: ElementNode) -> str:
    r"""LaTeX of a `<math>` element, without delimiters; "" when it holds nothing.

    Content MathML (`<apply>`), which says operators by elements without text, gives "" as well.
    A letter in an upright variant becomes `\mathrm{…}`; colours, sizes and the display style are not kept.
    """
    html = math.html
    if CONTENT.search(html) and CONTENT.search(CONTENT_ANNOTATION.sub("", html)):
        return ""
    return tex_of(parsed(html))


def tex_of(math: Math) -> str:
    """A formula's tree → LaTeX on one line."""
    tex = re.sub(r"[ \t\n]+", " ", _tex(math)).strip()
    # Neighbours in one font are one word: \mathrm{a}\mathrm{b} → \mathrm{ab}.
    joint = re.compile(
        r"\\(mathrm|mathbf|mathsf|mathtt|mathit|mathbb|mathcal|mathfrak|text)\{([^{}\\]*)\} ?\\\1\{"
    )
    while True:
        tex, found = joint.subn(r"\\\1{\2", tex)
        if not found:
            return tex.removeprefix("{}") if not tex.startswith(("{}_", "{}^")) else tex


def joined(pieces: list[str]) -> str:
    r"""TeX of neighbours in a row: a control word is kept apart from what would run into it."""
    out: list[str] = []
    for piece in filter(None, pieces):
        runs_on = piece[0] == "\\" or (piece[0].isalnum() and piece[0].isascii())
        if out and runs_on and CONTROL_WORD.search(out[-1]):
            out.append(" ")
        out.append(piece)
    return "".join(out)


def _tex(node: Math) -> str:
    tag = node.tag
    if tag in TOKENS and node.children:  # KaTeX nests rows in operators
        word = "".join(leaf.text for leaf in _leaves(node))
        return _token(Math("mo", text=word)) if word.isalpha() and word.isascii() else _row(node.children)
    if tag in TOKENS or (not node.children and node.text):
        return _token(node)
    if tag in NOTHING:
        return ""
    if tag == "semantics" or tag == "maction":  # the first child is the formula, the others say it again
        return _tex(node.children[0]) if node.children else ""
    if tag in SCRIPTS:
        return _scripts(node)
    if tag == "mrow" and "border:" in node.get("style"):  # Temml
        return rf"\boxed{{{_row(node.children).strip()}}}"
    return _WRITERS[tag](node) if tag in _WRITERS else _row(node.children)


def _group(node: Math) -> str:
    return "{" + _tex(node).strip() + "}"


def _core(node: Math) -> Math:
    """The one element that a nest of rows holds; the nest itself if it holds several or none."""
    while node.tag in ROWS or (node.tag == "mo" and len(node.children) == 1):
        inner = [child for child in node.children if not _is_empty(child)]
        if node.tag == "semantics":
            inner = inner[:1]
        if len(inner) != 1:
            return node
        node = inner[0]
    return node


def _is_empty(node: Math) -> bool:
    if node.empty is None:
        if node.tag in ("mi", "mo") and not node.children:
            node.empty = not node.text.strip("\u2061\u2062\u2063\u2064\u200b \n\t")
        elif node.tag in ROWS or node.tag in ("mspace", "mtd", "mo"):
            node.empty = not node.text.strip() and (
                node.tag == "mspace" or all(map(_is_empty, node.children))
            )
        else:
            node.empty = node.tag in NOTHING
    return node.empty


# Rows: fences, matrices, binomials


def _row(nodes: list[Math]) -> str:
    pieces: list[str] = []
    nodes = _flat(nodes)
    partners = _partners(nodes)
    tall_N = [0, *accumulate(map(_tall, nodes))] if partners else []  # how many of the first N are tall
    open_until: list[int] = []  # where the fences end that are open
    place = 0
    while place < len(nodes):
        node = nodes[place]
        if open_until and place == open_until[-1]:
            pieces.append(rf"\right{_delimiter(_fence_of(node) or '')}")
            open_until.pop()
            place += 1
            continue
        if (opening := _fence_of(node)) is not None:
            limit = open_until[-1] if open_until else len(nodes)
            end = partners.get(place, limit)
            if found := _matrix_or_binomial(nodes, place, end, limit):
                tex, place = found
                pieces.append(tex)
                continue
            if end < limit and _stretched(nodes, place, end, tall_N[end] > tall_N[place + 1]):
                pieces.append(rf"\left{_delimiter(opening)}")
                open_until.append(end)
                place += 1
                continue
        following = nodes[place + 1] if place + 1 < len(nodes) else None
        applied = following is not None and following.tag == "mo" and not following.text.strip("\u2061 \n")
        pieces.append(_token(node, applied) if node.tag == "mi" else _tex(node))
        place += 1
    return joined(pieces)


def _flat(nodes: list[Math]) -> list[Math]:
    """Without the rows around single elements (MathJax puts each big fence in one) and without rows that stand open."""
    flat: list[Math] = []
    for node in nodes:
        core = _core(node) if node.tag in ROWS else node
        if core.tag in ("mo", "mtable") or (core.tag == "mfrac" and node.tag != "mstyle"):
            flat.append(core)
        else:
            flat.append(node)
    return flat


def _fence_of(node: Math) -> str | None:
    """The character of a fence; "" for the empty one of `\\left.`, None for what is no fence."""
    if node.tag != "mo":
        return None
    text = node.text.strip()
    if not text:
        fence = "true" in (node.get("fence"), node.get("stretchy")) or node.get("data-mjx-texclass") in (
            "OPEN",
            "CLOSE",
        )
        return "" if fence else None
    return text if text in FENCES else None


def _stretches(node: Math) -> bool:
    return node.get("stretchy") != "false" and node.get("minsize") == ""


def _matrix_or_binomial(nodes: list[Math], start: int, end: int, limit: int) -> tuple[str, int] | None:
    """What begins with the fence at `start`, whose partner is at `end`, if it is one command; and where it ends.

    From `limit` on the row belongs to other fences.
    """
    opening = _fence_of(nodes[start]) or ""
    if _closes(nodes[start]):
        return None
    following = nodes[start + 1] if start + 1 < limit else None
    if following is not None and following.tag == "mtable":
        closing = _fence_of(nodes[start + 2]) if start + 2 < limit else None
        if opening == "{" and not closing:
            return _table(following, "cases"), start + 2 + (closing is not None)
        if opening + (closing or "") in MATRIX and not _rules(following):
            return _table(following, MATRIX[opening + (closing or "")]), start + 3
    if (
        end == start + 2 < limit
        and following is not None
        and following.tag == "mfrac"
        and _no_line(following)
    ):
        closing = _fence_of(nodes[end]) or ""
        over, under = (_tex(part).strip() for part in (following.children + [Math("mrow")] * 2)[:2])
        if opening + closing == "()":
            return rf"\binom{{{over}}}{{{under}}}", end + 1
        fences = _delimiter(opening) + "}{" + _delimiter(closing)
        return rf"\genfrac{{{fences}}}{{0pt}}{{}}{{{over}}}{{{under}}}", end + 1
    return None


def _closes(node: Math) -> bool:
    return FENCES.get(_fence_of(node) or "", 1) < 0 or node.get("data-mjx-texclass") == "CLOSE"


def _stretched(nodes: list[Math], start: int, end: int, tall: bool) -> bool:
    r"""Whether the fences at `start` and `end` are `\left…\right`: said so, or around something tall."""
    first, last = nodes[start], nodes[end]
    if _closes(first) or not (_stretches(first) and _stretches(last)):
        return False
    opening = _fence_of(first) or ""
    said = any("true" in (fence.get("fence"), fence.get("stretchy")) for fence in (first, last))
    if said or first.get("data-mjx-texclass") == "OPEN" or not (opening and _fence_of(last)):
        return True
    if (
        FENCES[opening] == 0
    ):  # a slash is no fence unless it says so, a bar only where nothing stands before it
        before = nodes[start - 1] if start else None
        free = before is None or (before.tag == "mo" and FENCES.get(before.text.strip(), 1) >= 0)
        return tall and opening in "|‖" and free
    return tall


def _partners(nodes: list[Math]) -> dict[int, int]:
    """Where each fence of a row ends. A bar ends at the next bar or closing fence outside of other fences."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    bars: list[int | None] = [None]  # the last one at each level
    for place, node in enumerate(nodes):
        fence = _fence_of(node)
        if fence is None:
            continue
        kind = FENCES.get(fence, -1)
        if kind > 0:
            opened.append(place)
            bars.append(None)
            continue
        if (bar := bars[-1]) is not None:
            partners[bar] = place
        bars[-1] = place if kind == 0 or not fence else None
        if kind == 0:
            closes = bar is None and node.get("data-mjx-texclass") == "CLOSE"
        else:  # a ket within brackets ends itself alone
            bra = bool(opened) and nodes[opened[-1]].text.strip() in ("⟨", "〈")
            closes = bar is None or bra or fence not in ("⟩", "〉")
        if opened and closes:
            partners[opened.pop()] = place
            bars.pop()
    return partners


def _tall(node: Math) -> bool:
    if node.tag == "mo" and node.text.strip() in LARGE_OPERATORS:
        return True
    return (node.tag in TALL and node.tag not in ("msub", "msup", "msubsup")) or any(
        map(_tall, node.children)
    )


def _delimiter(fence: str) -> str:
    if not fence:
        return "."
    return {"∣": "|", "∥": r"\|", "‖": r"\|"}.get(fence) or SYMBOLS.get(fence, fence)


# Tokens


def _token(node: Math, applied: bool = False) -> str:
    raw = node.text
    if node.tag in ("mtext", "ms", "#text"):
        return _text(f'"{raw}"' if node.tag == "ms" else raw, node.get("mathvariant"))
    text = raw.strip(" \n\t\r\u2061").replace("\ufe0e", "").replace("\ufe0f", "")
    variant = node.get("mathvariant")
    if node.tag in ("mi", "mo", "mtext") and len(text) > 1:
        word = re.sub(r"[\s\u2009\xa0\u2006]+", " ", text)
        if word.replace(" ", "") in FUNCTIONS:
            return "\\" + word.replace(" ", "")
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9 .-]+", word):
            if word == "mod" and node.tag == "mo":
                return r"\bmod"
            if (
                applied
                or node.get("data-mjx-texclass") == "OP"
                or (node.tag == "mo" and word != text.upper())
            ):
                return _operator(word).replace("*", "")
            word = word.replace(" ", "~")
            return rf"\{VARIANTS.get(variant, 'mathrm')}{{{word}}}"
    if node.tag == "mn":
        return _number(text, variant)
    fonts = [styled(char) for char in text]
    default = "" if node.tag == "mo" else VARIANTS.get(variant, "")
    pieces = []
    for char, font in fonts:
        if char.isalpha() and not char.isascii() and char not in SYMBOLS:
            pieces.append(rf"\text{{{char}}}" if len(char.encode()) > 2 or not char.isidentifier() else char)
            continue
        tex = SYMBOLS.get(char, char)
        font = font or (default if char.isalnum() else "")
        if tex.startswith("\\"):  # symbols have no fonts but bold
            font = "boldsymbol" if font in ("mathbf", "boldsymbol") else ""
        pieces.append(rf"\{font}{{{tex}}}" if font and tex else tex)
    tex = joined(pieces)
    if len(text) == 2 and text[1] == "\u0338":
        return rf"\not{SYMBOLS.get(text[0], text[0])}"
    return tex


def _number(text: str, variant: str) -> str:
    pieces = [styled(char) for char in text]
    font = next((font for _, font in pieces if font), "") or VARIANTS.get(variant, "").replace("mathrm", "")
    plain = "".join(char for char, _ in pieces)
    if plain.isalpha() and plain.isascii() and len(plain) > 1:
        plain = rf"\mathrm{{{plain}}}"
    else:
        plain = re.sub(r"(?<=\d),(?=\d)", "{,}", joined([SYMBOLS.get(char, char) for char in plain]))
    return rf"\{font}{{{plain}}}" if font else plain


def _text(raw: str, variant: str) -> str:
    text = re.sub(r"\s+", " ", raw)
    if not text.strip():
        return r"\ " if text else ""
    if text.strip("\xa0 ") in SYMBOLS and len(text.strip()) == 1:  # an operator set as text
        return SYMBOLS[text.strip()]
    command = {"bold": "textbf", "italic": "textit", "monospace": "texttt", "sans-serif": "textsf"}.get(
        variant, "text"
    )
    return rf"\{command}{{" + "".join(TEXT_ESCAPES.get(char, char) for char in text) + "}"


# Scripts, limits, accents


def _scripts(node: Math) -> str:
    parts = [child for child in node.children if child.tag not in NOTHING]
    marks = SCRIPTS[node.tag]
    if len(parts) != 1 + len(marks):
        return _row(parts)
    base, core = parts[0], _core(parts[0])
    if node.tag in ("munder", "mover", "munderover"):
        if node.tag != "munderover" and _is_empty(parts[1]):
            return _tex(base)
        if node.tag != "munderover" and _is_empty(base):
            return _tex(parts[1])
        if found := _accented(node, parts):
            return found
        if core.tag == "mo" and core.text.strip() in ARROWS and (marks != "_" or node.tag == "munderover"):
            labels = [PADDING.sub("", _tex(part).strip()) for part in parts[1:]]
            under = f"[{labels[0]}]" if marks == "_^" else ""
            return rf"\{ARROWS[core.text.strip()]}{under}{{{labels[-1]}}}"
        operator = _limit_operator(core)
        if operator is None:
            tex = _tex(base).strip()
            if "_" in marks:
                tex = rf"\underset{{{_tex(parts[1]).strip()}}}{{{tex}}}"
            return rf"\overset{{{_tex(parts[-1]).strip()}}}{{{tex}}}" if "^" in marks else tex
        return operator + _marks(parts, marks)
    tex = _tex(base).strip()
    if not _is_atom(core, tex):
        fenced = _flat(core.children)
        if not _one_fence(fenced):
            tex = "{" + tex + "}"
        elif _stretches(fenced[0]) and _stretches(fenced[-1]):
            for fence in (fenced[0], fenced[-1]):
                fence.attributes["stretchy"] = "true"
            tex = _row(fenced)
    return tex + _marks(parts, marks)


def _marks(parts: list[Math], marks: str) -> str:
    out = ""
    for mark, part in zip(marks, parts[1:], strict=True):
        core = _core(part)
        tex = _table(core, "substack") if core.tag == "mtable" else _tex(part).strip()
        if mark == "^" and tex and not tex.strip("'"):
            out += tex  # primes
        elif tex:
            out += mark + "{" + tex.replace("''", r"\prime\prime ").replace("'", r"\prime ") + "}"
    return out


def _is_atom(core: Math, tex: str) -> bool:
    r"""Whether a script may stand behind this base without braces around it."""
    if core.tag in (
        "mi",
        "mn",
        "mo",
        "mtext",
        "msqrt",
        "mroot",
        "ms",
        "mfrac",
        "menclose",
        "mtable",
        "mfenced",
    ):
        return bool(tex)
    if core.tag in ("mover", "munder") and re.fullmatch(r"\\(?!overset|underset)[a-z]+\{.*\}", tex):
        return _core(core.children[-1]).tag == "mo"
    if tex.startswith((r"\left", r"\begin", r"\binom", r"\genfrac")):
        return _one_fence(_flat(core.children))
    return False


def _one_fence(nodes: list[Math]) -> bool:
    nodes = [node for node in nodes if not _is_empty(node) or _fence_of(node) is not None]
    return bool(nodes) and _fence_of(nodes[0]) is not None and _partners(nodes).get(0) == len(nodes) - 1


def _limit_operator(core: Math) -> str | None:
    """TeX of a base that takes limits by itself (∑, lim, …), or made so; None for any other."""
    text = re.sub(r"[\s\u2009\xa0\u2006\u2061]+", " ", core.text).strip()
    if core.tag == "mo" and text in LARGE_OPERATORS:
        return SYMBOLS[text] + (r"\limits" if text in INTEGRALS else "")
    if core.tag in ("mo", "mi") and text.replace(" ", "") in FUNCTIONS:
        name = text.replace(" ", "")
        return rf"\{name}" if name in LIMIT_FUNCTIONS else rf"\operatorname*{{{name}}}"
    if core.tag in ("mi", "mo", "mtext") and re.fullmatch(r"[A-Za-z][A-Za-z ]+", text):
        return _operator(text)
    if core.tag in ROWS:  # KaTeX: letters and spaces one by one
        letters = "".join(
            " " if part.tag == "mspace" else part.text.strip("\u2061") for part in _leaves(core)
        )
        upright = all(
            part.tag in ("mspace", "mo") or len(part.text) > 1 or part.get("mathvariant") == "normal"
            for part in _leaves(core)
        )
        if upright and re.fullmatch(r"[A-Za-z]+(?:[ \u2009]?[A-Za-z]+)*", letters):
            return _operator(letters.replace("\u2009", " "))
    if core.tag in ("mover", "munder") and core.children and _core(core.children[-1]).text in BRACES:
        return _scripts(core)
    return None


def _operator(name: str) -> str:
    return r"\operatorname*{" + name.replace(" ", r"\,") + "}"


def _leaves(node: Math) -> list[Math]:
    if not node.children:
        return [node] if node.text or node.tag == "mspace" else []
    return [leaf for child in node.children for leaf in _leaves(child)]


def _accented(node: Math, parts: list[Math]) -> str:
    """The base with its accents, of `<mover>` and `<munder>`; "" if the mark is none."""
    if node.tag == "munderover":
        return ""
    mark = _core(parts[1])
    if mark.tag not in ("mo", "mi", "mtext", "mn"):
        return ""
    char = mark.text.strip()
    core = _core(parts[0])
    if (
        core.tag == "mo"
        and core.text.strip() not in ("∇",)
        and char in ("~", "→", "^", "…", ".", "-", "−", "∼", "_", "←", "↔")
    ):
        return ""
    if node.tag == "mover" and char in ACCENTS and len(char) <= 2:
        narrow, wide = ACCENTS[char]
        stretched = mark.get("stretchy") != "false" and len(_leaves(parts[0])) + len(core.text) > 2
        if mark.get("stretchy") == "true" and char not in "→⃗":
            stretched = True
        return rf"\{wide if stretched else narrow}{{{_tex(parts[0]).strip()}}}"
    if node.tag == "munder" and char in UNDER_ACCENTS:
        return rf"\{UNDER_ACCENTS[char]}{{{_tex(parts[0]).strip()}}}"
    return ""


def _multiscripts(node: Math) -> str:
    if not node.children:
        return ""
    base = node.children[0]
    before: list[Math] = []
    after: list[Math] = []
    target = after
    for child in node.children[1:]:
        if child.tag == "mprescripts":
            target = before
        else:
            target.append(child)

    def pairs(scripts: list[Math]) -> str:
        out = ""
        for place in range(0, len(scripts) - 1, 2):
            out += ("{}" if place else "") + _marks([base, *scripts[place : place + 2]], "_^")
        return out

    tex = _tex(base).strip()
    left = pairs(before)
    return (
        ("{}" + left if left else "")
        + (tex if _is_atom(_core(base), tex) else "{" + tex + "}")
        + pairs(after)
    )


# Fractions, roots, enclosures, spaces


def _no_line(node: Math) -> bool:
    return re.fullmatch(r"0(\.0*)?\s*(em|ex|px|pt|mm|%)?", node.get("linethickness")) is not None


def _fraction(node: Math) -> str:
    over, under = (_tex(part).strip() for part in (node.children + [Math("mrow")] * 2)[:2])
    if len(node.children) > 2:
        return _row(node.children)
    if _no_line(node):
        return rf"\genfrac{{}}{{}}{{0pt}}{{}}{{{over}}}{{{under}}}"
    return rf"\frac{{{over}}}{{{under}}}"


def _style(node: Math) -> str:
    inner = [child for child in node.children if not _is_empty(child)]
    display = node.get("displaystyle")
    if len(inner) == 1 and inner[0].tag == "mfrac" and display and not _no_line(inner[0]):
        return _fraction(inner[0]).replace(r"\frac", r"\dfrac" if display == "true" else r"\tfrac", 1)
    return _row(node.children)


def _root(node: Math) -> str:
    if len(node.children) != 2:
        return _square_root(node)
    return rf"\sqrt[{_tex(node.children[1]).strip()}]{_group(node.children[0])}"


def _square_root(node: Math) -> str:
    return rf"\sqrt{{{_row(node.children).strip()}}}"


def _fenced_element(node: Math) -> str:
    opening = node.attributes.get("open", "(").strip()
    closing = node.attributes.get("close", ")").strip()
    separators = node.attributes.get("separators", ",").replace(" ", "")
    inner = [child for child in node.children if child.tag not in NOTHING]
    row = [Math("mo", text=opening, attributes={"fence": "true"})]
    for place, child in enumerate(inner):
        if place and separators:
            row.append(Math("mo", text=separators[min(place, len(separators)) - 1]))
        row.append(child)
    row.append(Math("mo", text=closing, attributes={"fence": "true"}))
    if not any(map(_tall, inner)):
        for fence in (row[0], row[-1]):
            if fence.text:
                fence.attributes = {}
    return _row(row)


def _enclosed(node: Math) -> str:
    inner = _row(node.children).strip()
    notations = set(node.attributes.get("notation", "longdiv").split())
    if {"updiagonalstrike", "downdiagonalstrike"} <= notations:
        return rf"\xcancel{{{inner}}}"
    for notation, command in (
        ("box", "boxed"),
        ("updiagonalstrike", "cancel"),
        ("downdiagonalstrike", "bcancel"),
        ("horizontalstrike", "sout"),
        ("radical", "sqrt"),
        ("top", "overline"),
        ("bottom", "underline"),
        ("longdiv", "overline"),
    ):
        if notation in notations and not (notation in ("top", "bottom") and len(notations) > 2):
            return rf"\{command}{{{inner}}}"
    return rf"\boxed{{{inner}}}" if {"left", "right", "top", "bottom"} <= notations else inner


def _phantom(node: Math) -> str:
    inner = _row(node.children).strip()
    return rf"\phantom{{{inner}}}" if inner else ""


def _space(node: Math) -> str:
    if node.get("linebreak") == "newline":
        return r"\\ "
    width = node.get("width").strip()
    found = re.fullmatch(r"(-?\d*\.?\d+)\s*([a-z]*)", width)
    size = NAMED_SPACES.get(width, 0.0)
    if found:
        size = float(found[1]) * UNITS.get(found[2] or "em", 0.0)
    for least, command in (
        (1.9, r"\qquad"),
        (0.9, r"\quad"),
        (0.45, r"\enspace"),
        (0.25, r"\;"),
        (0.2, r"\:"),
        (0.1, r"\,"),
    ):
        if size >= least:
            return command
    return r"\!" if size <= -0.1 else ""


# Tables


def _rules(table: Math) -> bool:
    return "solid" in table.get("columnlines") or "dashed" in table.get("columnlines")


def _rows(table: Math) -> list[tuple[str, list[Math]]]:
    """The rows of a table: tag of an equation ("" without) and cells."""
    rows = []
    for row in table.children:
        if row.tag not in ("mtr", "mlabeledtr"):
            continue
        cells = [cell for cell in row.children if cell.tag == "mtd"] or row.children
        label = ""
        if row.tag == "mlabeledtr" and cells:
            label = re.sub(r"^\\text\{\((.*)\)\}$|^\(?(.*?)\)?$", r"\1\2", _tex(cells[0]).strip())
            cells = cells[1:]
        rows.append((label, cells))
    if len(rows) == 1:  # KaTeX and Temml set an equation and its number as a row
        shown = [cell for cell in rows[0][1] if not _is_empty(cell)]
        if len(shown) == 2 and (
            number := re.fullmatch(r"\((.{1,12})\)", "".join(leaf.text for leaf in _leaves(shown[1])))
        ):
            return [(number[1], shown[:1])]
    while rows and all(cells and _is_empty(cells[0]) for _, cells in rows):  # margins around an equation
        rows = [(label, cells[1:]) for label, cells in rows]
    while rows and all(cells and _is_empty(cells[-1]) for _, cells in rows):
        rows = [(label, cells[:-1]) for label, cells in rows]
    return rows


def _alignment(table: Math, rows: list[tuple[str, list[Math]]]) -> str:
    """One letter (l, c, r) a column."""
    width = max((len(cells) for _, cells in rows), default=0)
    said = table.get("columnalign").split()
    if not said and rows:
        for cell in max((cells for _, cells in rows), key=len):
            style = f"{cell.get('style')} {cell.get('class')} text-align:{cell.get('columnalign')}"
            found = re.search(r"(?:text-align:\s*(?:-webkit-)?|tml-|ltx_align_)(left|right|center)", style)
            said.append(found[1] if found else "")
        if not any(said) and _looks_aligned(rows):
            said = ["right", "left"]
    said = (said + said[-1:] * width)[:width] if said else ["center"] * width
    return "".join(name[:1] if name[:1] in "lcr" else "c" for name in said)


def _looks_aligned(rows: list[tuple[str, list[Math]]]) -> bool:
    """Two columns whose second begins with a relation: what SVG keeps of `aligned`."""
    seconds = [_leaves(cells[1]) for _, cells in rows if len(cells) == 2]
    starts = [next((leaf.text for leaf in leaves if leaf.text.strip()), "") for leaves in seconds]
    return len(starts) == len(rows) and all(start in RELATIONS for start in starts)


def _table(table: Math, environment: str = "") -> str:
    rows = _rows(table)
    columns = _alignment(table, rows)
    lines = []
    for label, cells in rows:
        line = " & ".join(_row([cell]).strip() for cell in cells)
        lines.append(line + (rf" \tag{{{label}}}" if label else ""))
    body = r" \\ ".join(lines)
    if not environment and len(rows) == 1 and (len(columns) == 1 or rows[0][0]):  # a numbered equation
        return body.replace("&", " ")
    if environment == "substack":
        return rf"\substack{{{body}}}"
    argument = ""
    if not environment and (rules := table.get("columnlines").split()):
        for place, rule in reversed(list(enumerate(rules[: len(columns) - 1], 1))):
            if rule != "none":
                columns = columns[:place] + "|" + columns[place:]
    if not environment:
        plain = columns.replace("|", "")
        if "|" in columns:
            environment, argument = "array", f"{{{columns}}}"
        elif len(plain) > 1 and plain == ("rl" * len(plain))[: len(plain)]:
            environment = "aligned"
        elif plain == "c" * len(plain):
            environment = "gathered" if len(plain) == 1 and table.get("displaystyle") == "true" else "matrix"
        else:
            environment, argument = "array", f"{{{columns}}}"
    return rf"\begin{{{environment}}}{argument} {body} \end{{{environment}}}"


_WRITERS: dict[str, Callable[[Math], str]] = {
    "mfrac": _fraction,
    "mstyle": _style,
    "mroot": _root,
    "msqrt": _square_root,
    "mfenced": _fenced_element,
    "menclose": _enclosed,
    "mphantom": _phantom,
    "mspace": _space,
    "mtable": _table,
    "mmultiscripts": _multiscripts,
}
