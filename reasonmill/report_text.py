"""Text of documents and models, made safe to stand in a page: what was crawled is shown, never obeyed.

Markdown is rendered without raw HTML, links or images; formulas become MathML of an allowed vocabulary, because
latex2mathml hands `\\text{<script>}` and `\\href` through as they are. What cannot be converted stays TeX source.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import Converter
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.dollarmath import dollarmath_plugin

FORMULA_CHARACTERS = 1000  # longer formulas stay TeX source
FORMULA_DEPTH = 40
MATHML = frozenset(
    {"math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mstyle", "menclose", "mphantom", "mpadded"}
    | {"msup", "msub", "msubsup", "mfrac", "msqrt", "mroot", "mover", "munder", "munderover"}
    | {"mtable", "mtr", "mtd", "mmultiscripts", "mprescripts", "none"}
)
ATTRIBUTES = frozenset(
    {
        "display",
        "displaystyle",
        "scriptlevel",
        "stretchy",
        "fence",
        "separator",
        "accent",
        "accentunder",
        "form",
    }
    | {"linethickness", "mathvariant", "largeop", "movablelimits", "minsize", "maxsize", "notation", "width"}
    | {"columnalign", "columnspacing", "rowspacing", "columnlines", "rowlines"}
)
_VALUE = re.compile(r"(?:[a-z-]+|-?\d{0,2}(?:\.\d+)?(?:em|ex|pt|px|%)?)(?: (?:[a-z-]+|\d{1,2}(?:\.\d+)?em))*")
_COMMAND = re.compile(r"\\[A-Za-z]")


def printable(text: str) -> str:
    """Control characters as their pictures (␀, ␛ …), direction overrides and other unprintable ones as U+FFFD.

    >>> printable("a" + chr(27) + "[1m" + chr(0x202E) + "b")
    'a␛[1m\\ufffdb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_picture(c) if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_HARMLESS = "\n\t\u200c\u200d\u00ad\ufeff"  # joiners, soft hyphen, byte order mark: parts of honest text


def _picture(character: str) -> str:
    if character in _HARMLESS:
        return character
    if character == "\r":
        return ""
    return chr(0x2400 + ord(character)) if character < " " else "\ufffd"


def shorten(text: str, characters: int) -> tuple[str, int]:
    """The beginning of a text, cut at the end of a line or a word where one is near, and how much is left out."""
    if len(text) <= characters:
        return text, 0
    head = text[:characters]
    for border in ("\n", " "):
        at = head.rfind(border, characters * 4 // 5)
        if at > 0:
            head = head[:at]
            break
    return head, len(text) - len(head)


def rendered(text: str, characters: int = 1200) -> Markup:
    """The beginning of a Markdown text as HTML that holds no link, image, script or identifier."""
    head, left_out = shorten(text, characters)
    page = _markdown().render(printable(head))
    if left_out:
        page += f'<p class="cut">… {left_out:,} more characters</p>'
    return Markup(page)  # every part is escaped by the rules below


def formula(tex: str, display: bool = False) -> Markup:
    """A TeX formula as MathML, or its source in `<code>` where it cannot be converted."""
    source = Markup('<code class="tex">{}</code>').format(printable(tex))
    if len(tex) > FORMULA_CHARACTERS:
        return source
    try:
        tree = Converter(display="block" if display else "inline").convert_to_element(tex)
        allowed = _allowed(tree)
    except (Exception, RecursionError):  # the converter raises whatever its input leads it to
        return source
    if allowed is None:
        return source
    mathml = ElementTree.tostring(allowed, encoding="unicode", short_empty_elements=False)
    return Markup(mathml)  # only known elements and attributes, text escaped on the way out


def _allowed(element: ElementTree.Element, depth: int = 0) -> ElementTree.Element | None:
    """A copy with known attributes only; None if there is an unknown element or a command that was not understood."""
    text = printable(
        html.unescape(element.text or "")
    )  # the converter writes =, <, → as character references
    if (
        element.tag not in MATHML
        or depth > FORMULA_DEPTH
        or (element.tail or "").strip()
        or _COMMAND.search(text)
    ):
        return None
    attributes = {k: v for k, v in element.attrib.items() if k in ATTRIBUTES and _VALUE.fullmatch(v)}
    copy = ElementTree.Element(element.tag, attributes)
    copy.text = text
    for child in element:
        inner = _allowed(child, depth + 1)
        if inner is None:
            return None
        copy.append(inner)
    return copy


def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.use(
        dollarmath_plugin,
        allow_labels=False,
        allow_space=False,
        allow_digits=False,
        double_inline=True,
        renderer=lambda tex, how: str(formula(tex, how["display_mode"])),
    )
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return parser


# A sample's headings must not become the page's, its links must not be clickable, its images not be fetched.
def _constant(markup: str) -> Any:
    return lambda self, tokens, index, options, env: markup


def _image(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return str(
        Markup('<span class="image">[image: {}]</span>').format(tokens[index].content or "no description")
    )


def _fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f"<pre><code>{escape(tokens[index].content)}</code></pre>\n"


_RULES = {
    "heading_open": _constant('<p class="heading">'),
    "heading_close": _constant("</p>\n"),
    "link_open": _constant('<span class="link">'),
    "link_close": _constant("</span>"),
    "image": _image,
    "fence": _fence,
    "math_inline_double": lambda self, tokens, index, options, env: str(
        formula(tokens[index].content.strip(), True)
    ),
}
