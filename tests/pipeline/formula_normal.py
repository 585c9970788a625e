"""The normal form in which tests compare formulas: what latex2mathml makes of their TeX, without its habits."""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert
from lxml import etree

SAME = {"munder": "msub", "mover": "msup", "munderover": "msubsup"}


def normal(tex: str) -> list[Any]:
    """MathML of a formula as nested lists: no spaces, no attributes but fonts, no rows, words letter by letter."""
    # latex2mathml 3.81 takes the cells of `aligned` for text, those of `align*` not.
    tex = re.sub(r"(\\(?:begin|end)\{)aligned\}", r"\1align*}", tex)
    return _walk(etree.fromstring(convert(tex).encode()))


def _walk(node: Any) -> list[Any]:
    tag = etree.QName(node).localname
    if tag == "mspace" or (tag == "mtext" and not (node.text or "").strip()):
        return []
    if len(node) == 0:
        text = (node.text or "").strip()
        if tag == "mi" and len(text) > 1:
            return [("mi", char, "normal") for char in text]
        return [(tag, text, node.get("mathvariant", ""))] if text else []
    parts = [_walk(child) for child in node]
    if tag in ("mrow", "mstyle", "mpadded", "math"):
        return [part for inner in parts for part in inner]
    return [(SAME.get(tag, tag), *parts)]
