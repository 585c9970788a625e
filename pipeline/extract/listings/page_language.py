"""What a page says about the language of a listing: in class and data attributes, in the caption of its box."""

from __future__ import annotations

import functools
import re

from resiliparse.parse.html import ElementNode, Node, NodeType

from pipeline.extract.listings.code_language import language_name

ANY_TAG = re.compile(r"<[^>]*>")
# What class and data attributes say. A sure prefix may be followed by any name, a bare word by a known one.
SURE = re.compile(
    r"(?:^|[\s;])(?:(?:language|lang|brush|highlight-source|highlight-text|mw-highlight-lang|src|hl)[-:]\s*|ltx_lst_language_)([a-z0-9+#][a-z0-9+#._-]*)",
    re.IGNORECASE,
)
KNOWN = re.compile(
    r"(?:^|[\s;])(?:highlight|source|code|syntax|brush|lexer|mode|ace|cm|format)[-:_]\s*([a-z0-9+#][a-z0-9+#._-]*)",
    re.IGNORECASE,
)
LANGUAGE_ATTRIBUTES = frozenset((
    "data-lang", "data-language", "data-enlighter-language", "data-code-lang", "data-canonical-lang",
    "data-syntax", "data-lexer", "data-mode", "data-programming-language", "data-code-language",
    "data-syntaxhighlighter-params", "data-highlight-language",
))  # fmt: skip
HIGHLIGHTERS = frozenset((
    "highlight", "syntaxhighlighter", "sourcecode", "geshi", "geshifilter", "wp_syntax", "mw-geshi",
    "codehilite", "code", "src", "prettyprint", "listing", "code-block", "codeblock", "highlighter",
    "crayon-syntax", "source", "hljs", "chroma", "shiki", "codebox", "wp-block-code",
))  # fmt: skip
OUTPUTS = frozenset((
    "output_subarea", "output_text", "output_stream", "jp-outputarea-output", "jp-renderedtext",
    "nboutput", "cell_output", "cell-output", "output_area", "output",
))  # fmt: skip
# What a caption of a code box says besides its language.
CAPTION = re.compile(
    r"[\s:：|•·()\[\]\d.…-]+|\b(?:copy(?: (?:code|to clipboard))?|copied!?|select(?: all)?|expand|collapse|view (?:plain|raw)|plain text|download|"
    r"toggle(?: line numbers)?|wrap|print|edit|run(?: code)?|code|codice|código|quellcode|source(?: code)?|code snippet|open in .*|hide|show|lines?)\b"
    r"|复制代码|复制|代码|收起|展开|全选|コピー|コード|код|выделить все|alles auswählen|tout sélectionner|sélectionner tout",
    re.IGNORECASE,
)
HEADINGS = frozenset(["h1", "h2", "h3", "h5", "h6"])  # say a language as well, but stay
WITHIN_LINES = frozenset(["span", "em", "b", "strong", "label", "button"])
CAPTION_TAGS = HEADINGS | WITHIN_LINES | {"div", "dt", "header", "figcaption", "ul", "p", "h4"}


def language_of(node: ElementNode) -> str:
    """The language that a listing declares on itself, its `<code>` or up to three elements around it, else ""."""
    child = node.first_element_child
    declared = _declared(node, bare=True) or (_declared(child, bare=True) if child is not None else "")
    around: ElementNode | None = node
    for _ in range(3):
        if declared:
            break
        around = around.parent_element if around is not None else None
        if around is None or around.tag in ("body", "main", "article"):
            break
        declared = _declared(around, bare=False)
    return declared


def _declared(element: ElementNode, bare: bool) -> str:
    names = element.getattr("class") or ""
    if len(names) > 1000:
        return ""
    attributes = LANGUAGE_ATTRIBUTES.intersection(element.attrs)
    values = (
        [element.getattr(name) or "" for name in element.attrs if name in attributes] if attributes else ()
    )
    return _language_in(names, tuple(values), bare) if names or values else ""


@functools.lru_cache(maxsize=1_000)
def _language_in(names: str, values: tuple[str, ...], bare: bool) -> str:
    """The language that a class and the values of other attributes say. A page says the same many times."""
    said = SURE.findall(names)
    for value in values:
        said += SURE.findall(value) or value.split(";")[0].split()[:1]
    for name in said:
        if found := language_name(name):
            return found
    words = names.lower().split()
    if not OUTPUTS.isdisjoint(words):
        return "output"
    for name in KNOWN.findall(names):
        if found := language_name(name, known=True):
            return found
    if bare or not HIGHLIGHTERS.isdisjoint(words):
        for name in words:
            if name not in HIGHLIGHTERS and (found := language_name(name, known=True)):
                return found
    return ""


def take_caption(node: ElementNode) -> str:
    """The language that stands next to a listing ("Python", "PHP Code: [Select all]"); such a caption is taken away."""
    above: ElementNode | None = node
    language = ""
    for _ in range(3):
        if above is None or above.tag in ("body", "li", "td", "article", "main"):
            break
        before, after = above.previous_element_sibling, above.next_element_sibling
        for neighbour in (before, after):
            if neighbour is None or neighbour.tag not in CAPTION_TAGS:
                continue
            html = neighbour.inner_html[:2000]
            if (cut := html.find("<", 300)) > 0 and len(ANY_TAG.sub(" ", html[:cut]).strip()) > 80:
                continue  # prose
            text = ANY_TAG.sub(" ", html).strip()
            if not text or len(text) > 80:
                continue
            left, said = _caption(text)
            # What follows and says a language alone is the caption of the next listing.
            if neighbour is before or not left or len(text) > len(left) + 2:
                language = language or said
                if (said or not left) and _is_caption(neighbour, text):
                    neighbour.decompose()
        if before is not None or after is not None:
            break
        above = above.parent_element
    return language


@functools.lru_cache(maxsize=1_000)
def _caption(text: str) -> tuple[str, str]:
    """What a caption says besides "Copy" and the like, and the language that this is."""
    left = " ".join(CAPTION.sub(" ", text).split()).lower()
    return left, language_name(left.removesuffix(" code"), known=True) if left and len(left) < 25 else ""


def _is_caption(neighbour: ElementNode, text: str) -> bool:
    """Whether words like "Copy" or "Python" next to a listing are its frame's, not the author's."""
    if neighbour.tag in HEADINGS:
        return False
    if neighbour.tag in ("p", "h4"):
        parent = neighbour.parent_element
        return parent is not None and "code" in (parent.getattr("class") or "").lower()
    if neighbour.tag in WITHIN_LINES and (
        _is_text(neighbour.previous_sibling) or _is_text(neighbour.next_sibling)
    ):
        return False
    if "line" in (neighbour.getattr("class") or ""):
        return True  # numbers of lines
    return any(map(str.isalpha, text)) and not any(map(str.isdigit, text))


def _is_text(node: Node | None) -> bool:
    return node is not None and node.node_type == NodeType.TEXT and bool((node.node_value or "").strip())
