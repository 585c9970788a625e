"""The tree of a formula: presentation MathML, whether a page has it or a rendered formula is read back to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape

# A serialised tag and the text after it. Attribute values may hold `>`.
TAG = re.compile(r"<(/?)([a-zA-Z][\w:-]*)((?:[^>\"]|\"[^\"]*\")*)>([^<]*)")
ATTRIBUTE = re.compile(r"([\w:-]+)(?:=\"([^\"]*)\")?")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Lengths in the styles of renderers, in em.
TOP = re.compile(r"(?:^|;)\s*top:\s*(-?\d*\.?\d+)em")
HEIGHT = re.compile(r"(?:^|;)\s*height:\s*(-?\d*\.?\d+)em")
WIDTH = re.compile(r"(?:^|;)\s*(?:width|margin-(?:right|left)):\s*(-?\d*\.?\d+)em")
VOID = frozenset(["br", "img", "hr", "input", "wbr"])
MAX_DEPTH = 80  # deeper than any formula, shallower than Python's stack


@dataclass
class Math:
    """An element of a formula's tree: MathML, or what a renderer made of it."""

    tag: str
    children: list[Math] = field(default_factory=list)
    text: str = ""  # of a token; other elements have none
    attributes: dict[str, str] = field(default_factory=dict)
    empty: bool | None = field(default=None, repr=False)  # whether it shows nothing, once that was found out

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")

    @property
    def classes(self) -> list[str]:
        return self.get("class").split()

    def find(self, wanted: Callable[[Math], bool]) -> Math | None:
        """The first element within this one, in document order, for which `wanted` holds."""
        for child in self.children:
            if wanted(child):
                return child
            if (found := child.find(wanted)) is not None:
                return found
        return None

    def every(self) -> list[Math]:
        """This element and all within, in document order."""
        return [self] + [part for child in self.children for part in child.every()]

    def all_text(self) -> str:
        return self.text + "".join(child.all_text() for child in self.children)


def row_of(nodes: list[Math]) -> Math:
    return nodes[0] if len(nodes) == 1 else Math("mrow", nodes)


def parsed(html: str) -> Math:
    """Serialised, well-formed markup of one element → its tree. Below `MAX_DEPTH` everything is one row."""
    if "<!--" in html:
        html = COMMENT.sub("", html)
    root = Math("")
    stack = [root]
    for closing, tag, attributes, text in TAG.findall(html):
        tag = tag.lower()
        if closing:
            if len(stack) > 1:
                stack.pop()
        else:
            names = {k.lower(): unescape(v) for k, v in ATTRIBUTE.findall(attributes)} if attributes else {}
            node = Math(tag, attributes=names)
            (stack[-1] if len(stack) < MAX_DEPTH else stack[MAX_DEPTH - 1]).children.append(node)
            if tag not in VOID and not attributes.endswith("/"):
                stack.append(node)
        if (text and not text.isspace()) or text == "\xa0":
            # Text after a child is a child of its own, so that what stands between elements keeps its place.
            text = unescape(text) if "&" in text else text
            parent = stack[-1]
            if parent.children:
                parent.children.append(Math("#text", text=text))
            else:
                parent.text += text
    return root.children[0] if len(root.children) == 1 else Math("mrow", root.children)
