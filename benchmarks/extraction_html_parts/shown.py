"""The normal form of formulas: what a reader sees of presentation MathML, as one line.

Seen: symbols and their order, scripts, fractions, roots, tables with their rules, boxes, strokes, lines above and below,
bold, script, Fraktur, blackboard, sans-serif and typewriter letters. Not seen: upright or italic, sizes, spacing, colours,
and whether a script stands beside or below (`\\sum` in a text and on a line of its own show the same).
"""

from __future__ import annotations

import re
import unicodedata

from lxml import etree

TAG = re.compile(r"\{.*\}")
DROPPED = {
    "mspace",
    "annotation",
    "annotation-xml",
    "mphantom",
    "maligngroup",
    "malignmark",
    "mprescripts",
    "none",
}
SCRIPTS = {"msub": "_", "munder": "_", "msup": "^", "mover": "^", "msubsup": "_^", "munderover": "_^"}
SAME = str.maketrans("∣∥−∗·•〈〉′‵ˆ˜¯ˉ‾―̅̄⃗˙¨∖∶⟂◻", "|‖-*⋅∙⟨⟩'`^~------→.\"\\:⊥□")
STYLES = ("DOUBLE-STRUCK", "BOLD", "SCRIPT", "FRAKTUR", "BLACK-LETTER", "SANS-SERIF", "MONOSPACE")
VARIANTS = {
    "bold": "BOLD",
    "bold-italic": "BOLD",
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "fraktur": "FRAKTUR",
}
VARIANTS |= {
    "sans-serif": "SANS-SERIF",
    "monospace": "MONOSPACE",
    "bold-script": "SCRIPT",
    "bold-fraktur": "FRAKTUR",
}
RULE = re.compile(r"border(-\w+)?:[^;]*\b(solid|dashed)")  # as Temml draws the rules of a table, and \boxed
INVISIBLE = re.compile("[\u2061-\u2064\u200b-\u200d\ufe00-\ufe0f\\s]")


def shown(mathml: str) -> str:
    """What a reader sees of a formula in presentation MathML (rules and boxes as Temml writes them), as one line.

    >>> shown("<math><mrow><msup><mi>x</mi><mn>2</mn></msup><mo>≤</mo><mi>ℝ</mi></mrow></math>")
    'x^{2}≤[DOUBLE-STRUCK R]'
    """
    root = etree.fromstring(mathml.replace("&nbsp;", "\xa0").encode(), etree.XMLParser(recover=True))
    return unicodedata.normalize("NFC", _shown(root, ""))


def _shown(node: etree._Element, variant: str) -> str:
    tag = TAG.sub("", str(node.tag))
    if tag in DROPPED:
        return ""
    variant = node.get("mathvariant") or variant
    if tag in ("mi", "mn", "mo", "mtext", "ms"):
        return "".join(_character(c, variant) for c in INVISIBLE.sub("", "".join(node.itertext())))
    parts = [child for child in node if isinstance(child.tag, str)]
    if tag == "semantics":
        parts = parts[:1]
    inner = [_shown(child, variant) for child in parts]
    if tag in SCRIPTS and len(inner) == len(SCRIPTS[tag]) + 1:
        marks = sorted(zip(SCRIPTS[tag], inner[1:], strict=True))
        return inner[0] + "".join(f"{mark}{{{script}}}" for mark, script in marks if script)
    if tag == "mfrac":
        line = "/" if re.match(r"0(\D|$)", node.get("linethickness", "")) is None else "over"
        return f"({inner[0]}){line}({inner[1]})"
    if tag == "msqrt":
        return f"√({''.join(inner)})"
    if tag == "mroot":
        return f"√[{inner[1]}]({inner[0]})"
    if tag == "menclose" and node.get("notation") in ("top", "bottom"):  # Temml's lines above and below
        return "".join(inner) + ("^{-}" if node.get("notation") == "top" else "_{-}")
    if tag == "menclose":
        return f"[{node.get('notation')}]({''.join(inner)})"
    rules = [f"{side.strip('-') or 'box'} {line}" for side, line in RULE.findall(node.get("style", ""))]
    if rules:
        return f"[{', '.join(sorted(rules))}]({''.join(inner)})"
    if tag in ("mtr", "mlabeledtr"):
        return "&".join(inner).rstrip("&") + ";"
    if tag == "mfenced":
        return node.get("open", "(") + ",".join(inner) + node.get("close", ")")
    return "".join(inner)


def _character(char: str, variant: str) -> str:
    """A character in its plain form, with its style where that can carry meaning (italic and upright do not)."""
    name = unicodedata.name(char, "")
    style = VARIANTS.get(variant, "")
    plain = unicodedata.normalize("NFKC", char.translate(SAME))
    if "MATHEMATICAL" in name or (plain != char and name.split(" ")[0] in STYLES):
        style = next((style for style in STYLES if style in name), "")
    style = {"BLACK-LETTER": "FRAKTUR"}.get(style, style)
    plain = "".join(plain.translate(SAME).split())
    return f"[{style} {plain}]" if style and plain.isalnum() else plain
