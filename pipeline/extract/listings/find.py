"""Code on a page: exact text of listings without line numbers and buttons, with its language; code spans.

What is a listing: `<pre>` and its like; the boxes of highlighters and editors that write lines as rows, list items or
divs (SyntaxHighlighter, Crayon, Enlighter, GitHub, CodeMirror, Monaco, Ace, doxygen, GeSHi); the code boxes of forums;
`<code>` with line breaks that is all its parent holds; boxes in a typewriter face whose text is code. Everything is
judged at the listing itself, so a page without any pays for one query.

A listing stays exact, also where it holds prose (poems, mails): Markdown has no other form that keeps lines. Only a
`<pre>` that is most of a page and reads like prose is taken apart into paragraphs.
"""

from __future__ import annotations

import re
from html import escape

from resiliparse.parse.html import ElementNode, HTMLTree

from pipeline.extract.census import Census
from pipeline.extract.dom import classes, mentions, select
from pipeline.extract.formulas.delimiters import PROSE
from pipeline.extract.listings.code_language import guess_language, language_name
from pipeline.extract.listings.page_language import language_of, take_caption
from pipeline.extract.listings.text import ASSISTIVE, ONLY_NUMBERS, PREFORMATTED, code_text, unescaped
from pipeline.extract.protect import Protected, fenced

MATHS = frozenset(["math", "language-math"])  # classes of formulas that are set in code elements
SPANS = frozenset(["code", "tt", "kbd", "samp"])
MAX_READ = 20  # times the page's length: more is read only where thousands of elements lie within each other
# Elements that hold lines as elements of their own; what is around the code in them is named in NOT_CODE.
EDITORS = (
    "table.highlight, table.js-file-line-container, table.diff-table, div.react-code-lines, div.syntaxhighlighter, "
    "div.dp-highlighter, div.crayon-syntax, ol.EnlighterJS, div.enlighter, div.CodeMirror, div.cm-editor, "
    "div.view-lines, div.ace_editor, div.ace_static_highlight, div.fragment, div.blockcode, div.geshifilter, "
    "div.codeBoxCode, div.ltx_lstlisting, div.member-signature, div.type-signature, div.memproto table.memname"
)
# Taken for code only if its text looks like it.
BOXES = (
    "td.code, p.code, div.code, blockquote.code, div.geshi, [style*='monospace' i], [style*='courier' i], "
    "[style*='consolas' i], font[face*='courier' i]"
)
INNER_BOX = "div.code, div[style*='monospace' i], div[style*='courier' i], div[style*='consolas' i]"
BOX_TAGS = frozenset(["td", "p", "div", "blockquote", "font", "span", "dd"])
NO_BOX = re.compile(r"<(?:pre|table|img|h\d|ul|form)\b")
INDENTED = re.compile(r"^(?: {2,}|\t)\S", re.MULTILINE)
SIGNATURES = "h3.code-header, h4.code-header"  # of rustdoc, one line each
TAGS = "pre, xmp, listing, textarea, code, tt, kbd, samp"
# Each selector with the classes that it names, lower case.
BY_CLASS = [
    (selector, frozenset(re.findall(r"\.([\w-]+)", selector.lower())))
    for selector in f"{SIGNATURES}, {EDITORS}, {BOXES}".split(", ")
    if "." in selector
]
BY_STYLE = [
    (selector, face[1]) for selector in BOXES.split(", ") if (face := re.match(r"\[style\*='(\w+)", selector))
]
EDITOR_CLASSES = frozenset(re.findall(r"\.([\w-]+)", EDITORS)) - {"memproto"}

CELL_PROMPT = re.compile(r"\s*(?:In|Out)?\s*\[[\d*\s]*\]\s*:?\s*")  # of notebooks
CELL_PROMPTS = "div.prompt, div.jp-InputPrompt, div.jp-OutputPrompt"
CELL_CLASSES = "prompt jp-inputprompt jp-outputprompt"
SPANS_TOGETHER = (
    "</code><code", "</tt><tt", "</kbd><kbd", "</code><br", "</tt><br", "</code>\n<br", "</tt>\n<br",
)  # fmt: skip
LINE_OF_SPANS = re.compile(r"<(code|tt|samp|kbd)\b[^>]*>(?:(?!</\1>).)*</\1>|<br>|&nbsp;|\s+", re.S)

BLOCKS = re.compile(r"<(?:p|div|ul|ol|table|h[1-6]|blockquote|pre)\b")
CODE_SIGN = re.compile(r"[(){}=;<>$/\\_-]|\w\.\w|\d")

WHOLE_PAGE = 2_000, 0.6  # characters, share of the page's text: from there on a <pre> of prose is the page
PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*?(?=[^\n])")
ALIGNED = re.compile(r"\S(?: {3,}|\t)\S|^\s*[|+*=_~-]{3}|^\s*[|+]", re.MULTILINE)


def protect_listings(tree: HTMLTree, census: Census, protected: Protected) -> None:
    """Replace every listing and code span of the page by a word. Formulas in `code.math` and `pre.math` are left (GitLab)."""
    lowered = census.lowered
    selector = _selector(census)
    found = select(tree, selector) if selector else []
    if census.has(classes=CELL_CLASSES) and any(node.tag == "pre" for node in found):
        for prompt in select(tree, CELL_PROMPTS):
            if CELL_PROMPT.fullmatch(prompt.text or ""):
                prompt.decompose()
    # Of many spans, look at what follows each only on a page where two follow each other.
    together = len(found) < 40 or mentions(lowered, SPANS_TOGETHER)
    left = MAX_READ * len(lowered)
    for node in found:
        tag = node.tag
        if tag in SPANS:
            if left > 0:
                html = node.inner_html  # "" within a listing that is a word by now
                left -= len(html)
                _protect_span(node, html, protected, together)
        elif tag in ("h3", "h4"):
            _protect_signature(node, protected)
        elif node.parent is None:  # within a listing that is a word by now
            continue
        elif tag in PREFORMATTED:
            _protect_preformatted(tree, node, lowered, protected)
        elif EDITOR_CLASSES.isdisjoint(classes(node)):
            if left > 0 and tag in BOX_TAGS and node.query_selector(INNER_BOX) is None:
                html = node.inner_html
                left -= len(html)
                _protect_box(tree, node, html, protected)
        elif _is_editor(node):
            _protect_editor(tree, node, protected)


def _selector(census: Census) -> str:
    """What may be a listing on this page: a selector with all that there is takes a millisecond."""
    asked = [tag for tag in TAGS.split(", ") if tag in census.tags]
    asked += [selector for selector, names in BY_CLASS if names <= census.classes]
    asked += [selector for selector, face in BY_STYLE if face in census.styles]
    asked += ["font[face*='courier' i]"] if "font" in census.tags else []
    return ", ".join(asked)


def _join_github(tree: HTMLTree, field: ElementNode) -> bool:
    """A file's page has all of its lines in an invisible field, and again those that are in view: let them be those of the field."""
    lines = select(tree, "div.react-code-lines")
    if lines and (field.text or "").strip():
        lines[0].text_content = field.text or ""
        field.decompose()
    return bool(lines)


def _protect_preformatted(tree: HTMLTree, node: ElementNode, lowered: bytes, protected: Protected) -> None:
    first = node.first_element_child
    if any(one is not None and not MATHS.isdisjoint(classes(one)) for one in (node, first)):
        return  # a formula (GitLab, Gitea)
    if node.tag == "textarea" and (
        ("react-blob-textarea" in classes(node) and _join_github(tree, node)) or not _code_in_textarea(node)
    ):
        return
    if node.getattr("aria-hidden") == "true" and node.query_selector("textarea") is not None:
        node.decompose()  # a copy for the clipboard
        return
    text = code_text(node)
    if not text.strip():
        if node.query_selector("pre") is not None:
            node.text_content = ""  # empty ones in empty ones
        return
    if CELL_PROMPT.fullmatch(text) or (ONLY_NUMBERS.fullmatch(text) and _numbers_of_a_neighbour(node, text)):
        node.decompose()
        return
    declared, caption = language_of(node), take_caption(node)
    language = declared or caption
    if not language and len(text) > max(WHOLE_PAGE[0], len(lowered) / 5) and _is_the_page(tree, text):
        _take_apart(node, text, protected)
        return
    _put(tree, node, protected.add("block", fenced(text, language or guess_language(text))))


def _is_editor(node: ElementNode) -> bool:
    names = classes(node)
    if "fragment" in names:
        return node.query_selector("div.line, pre") is not None
    if node.tag == "table" and "highlight" in names:  # Materialize names tables of data so
        return node.query_selector("td.blob-code, td.js-file-line, td.code, td.linenos, pre") is not None
    return True


def _protect_editor(tree: HTMLTree, node: ElementNode, protected: Protected) -> None:
    names = classes(node)
    plain = node.query_selector("textarea.crayon-plain")
    declared, caption = language_of(node), take_caption(node)
    language = declared or caption
    if "crayon-syntax" in names:
        title = node.query_selector("span.crayon-language")
        language = language_name((title.text or "").strip(), known=True) if title is not None else language
    if plain is not None and (plain.text or "").strip():
        text = code_text(plain)
    elif "view-lines" in names:  # Monaco sets lines by their distance from the top
        rows = sorted(select(node, ".view-line"), key=_top)
        text = "\n".join((row.text or "").replace("\xa0", " ") for row in rows)
    elif "memname" in names:
        text = "\n".join(" ".join((row.text or "").split()) for row in select(node, "tr"))
        language = language or "cpp"
    else:
        inner = node.query_selector(".ace_text-layer, .cm-content, .CodeMirror-code, pre.EnlighterJSRAW")
        text = code_text(inner if inner is not None else node)
        if inner is not None:
            language = language or language_of(inner)
    if "member-signature" in names or "type-signature" in names:
        language = language or "java"
    if text.strip():
        text = ASSISTIVE.sub("", text)
        _put(tree, node, protected.add("block", fenced(text, language or guess_language(text))))


def _protect_box(tree: HTMLTree, node: ElementNode, html: str, protected: Protected) -> None:
    """A box in a typewriter face, or of class "code": a listing if it has lines that look like code."""
    breaks = html.count("<br>") + html.count("<div")
    if not breaks or len(html) > 200_000 or protected.prefix in html or NO_BOX.search(html):
        return
    text = code_text(node, collapsed=True)
    language = guess_language(text)
    if not language and (breaks == 1 or len(INDENTED.findall(text)) * 4 <= text.count("\n")):
        return
    word = protected.add("block", fenced(text, language_of(node) or language))
    if node.tag in ("td", "p", "div", "blockquote"):
        node.text_content = word
    else:
        _put(tree, node, word)


def _protect_signature(node: ElementNode, protected: Protected) -> None:
    link = node.previous_element_sibling  # to the source
    if link is not None and {"src", "rightside", "srclink"} & set(classes(link)):
        link.decompose()
    text = " ".join(code_text(node).split())
    if text and protected.prefix not in text:
        node.text_content = protected.add("code", text)


def _protect_span(node: ElementNode, html: str, protected: Protected, together: bool) -> None:
    text = unescaped(html) if "<" not in html else node.text or ""
    if "math" in (node.getattr("class") or "") or not text.strip() or protected.prefix in text:
        return
    stripped = text.strip()
    if _is_unclosed(node, html, stripped):
        return
    if "<br" in html or "\n" in stripped:
        many = html.count("<br") > 1 or stripped.count("\n") > 2
        if (many and not _in_cell(node)) or _is_alone(node, stripped):
            text = code_text(node)
            declared, caption = language_of(node), take_caption(node)
            language = declared or caption or guess_language(text)
            node.text_content = protected.add("block", fenced(text, language))
            return
        text = code_text(node)
    following = node.next_sibling if together else None
    if following is not None and following.tag == "br" and _protect_lines_of_spans(node, protected):
        return
    while following is not None and following.tag == node.tag:  # one span, in two elements
        assert isinstance(following, ElementNode)
        text += (" " if node.tag == "kbd" else "") + (following.text or "")
        following.decompose()
        following = node.next_sibling
    node.text_content = protected.add("code", " ".join(text.replace("\xa0", " ").split()))


def _is_unclosed(node: ElementNode, html: str, text: str) -> bool:
    """Whether a code span holds what follows it: its end tag is missing, or written as a second start tag."""
    if "<" not in html:  # the tag was opened again in each paragraph
        sentence = len(text) > 20 and text[-1] in ".!?:" and PROSE.search(text) is not None
        return sentence and _is_alone(node, text) and _is_prose(text)
    if BLOCKS.search(html):
        return _is_prose(text)
    twice = node.tag in ("code", "tt") and html.startswith(f"<{node.tag}")
    return twice and (
        CODE_SIGN.search(text) is None or (PROSE.search(text) is not None and not guess_language(text))
    )


def _in_cell(node: ElementNode) -> bool:
    """Whether a code span stands in a table's cell: there, long ones are signatures, wrapped by who wrote the HTML."""
    parent = node.parent_element
    return parent is not None and parent.tag in ("td", "th")


def _is_alone(node: ElementNode, text: str) -> bool:
    """Whether a code span is all that its parent holds."""
    parent = node.parent_element
    if parent is None or parent.tag == "body" or parent.child_element_count > 1:
        return False
    return (parent.text or "").strip() == text


def _protect_lines_of_spans(node: ElementNode, protected: Protected) -> bool:
    """A parent that holds nothing but code spans, a line each: one listing."""
    parent = node.parent_element
    if parent is None or parent.tag not in ("p", "div", "td", "li", "blockquote", "dd"):
        return False
    if node.previous_element_sibling is not None:  # the first one has been asked
        return False
    html = parent.inner_html
    if len(html) > 200_000 or LINE_OF_SPANS.sub("", html) or protected.prefix in html:
        return False
    text = code_text(parent)
    parent.text_content = protected.add("block", fenced(text, language_of(node) or guess_language(text)))
    return True


def _numbers_of_a_neighbour(node: ElementNode, text: str) -> bool:
    """Whether a `<pre>` of numbers counts the lines of another one: 1, 2, 3 … in a cell or with a name for it."""
    if re.search(r"lin|num|gutter|src-line", node.getattr("class") or ""):
        return True
    numbers = re.findall(r"\d+", text)
    if not numbers or len(numbers[0]) > 7:
        return False
    first, cell = int(numbers[0]), node.closest("td, th")
    if cell is None or cell.previous_element_sibling is not None or cell.next_element_sibling is None:
        return False
    return all(number.lstrip("0") == str(first + place) for place, number in enumerate(numbers))


def _code_in_textarea(node: ElementNode) -> bool:
    text = node.text or ""
    if text.strip().count("\n") < 1 or len(text) > 500_000:
        return False
    language = guess_language(text)  # HTML is there to be embedded elsewhere: the page itself, once more
    return (bool(language) and language != "html") or "code" in (node.getattr("class") or "")


def _is_the_page(tree: HTMLTree, text: str) -> bool:
    body = tree.body
    if body is None or len(text) < WHOLE_PAGE[1] * len(body.text or ""):
        return False
    parts = PARAGRAPHS.split(text)
    return 2 * sum(len(part) for part in parts if _is_prose(part)) > len(text)


def _is_prose(part: str) -> bool:
    letters = sum(map(str.isalpha, part))
    mostly = letters > 20 and letters > 0.7 * len(part.replace(" ", ""))
    return mostly and not ALIGNED.search(part) and not guess_language(part)


def _take_apart(node: ElementNode, text: str, protected: Protected) -> None:
    """A page within one `<pre>`: prose as paragraphs, quoted lines as quotes, everything else as listings."""
    out: list[str] = []
    for part in PARAGRAPHS.split(text):
        quoted = all(line.lstrip().startswith(">") for line in part.split("\n") if line.strip())
        prose = re.sub(r"^[ \t]*> ?", "", part, flags=re.MULTILINE) if quoted else part
        if quoted or _is_prose(part) or ("\n" not in part.strip("\n") and not ALIGNED.search(part)):
            paragraph = f"<p>{escape(' '.join(prose.split()), quote=False)}</p>"
            out.append(f"<blockquote>{paragraph}</blockquote>" if quoted else paragraph)
        else:
            word = protected.add("block", fenced(part.strip("\n"), guess_language(part)))
            out.append(f"<pre>{word}</pre>")
    node.inner_html = "".join(out)


def _top(row: ElementNode) -> int:
    found = re.search(r"top:\s*(\d+)", row.getattr("style") or "")
    return int(found[1]) if found else 0


def _put(tree: HTMLTree, node: ElementNode, word: str) -> None:
    """The word in a `<pre>`, which stays where it is one: the choice of content looks at tags and classes."""
    node.text_content = word
    if node.tag != "pre" and (pre := tree.create_element("pre")) is not None:
        pre.text_content = word
        node.replace_with(pre)
