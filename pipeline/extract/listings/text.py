"""The text of a listing: lines as the browser shows them, without line numbers, buttons and captions.

Serialised HTML is cut at the tags that end lines; all other tags go in one pass. So a listing with 50,000 spans costs
milliseconds; a walk over its nodes takes a thousand times as long.
"""

from __future__ import annotations

import re

from resiliparse.parse.html import ElementNode

from pipeline.extract.dom import select

PREFORMATTED = frozenset(["pre", "xmp", "listing", "textarea"])
# Within a listing: line numbers (taken out if they are numbers), and what is no code whatever it says.
NUMBERS = (
    "[class*='lineno' i], [class*='linenum' i], [class*='line-num' i], [class*='line_num' i], [class*='gutter' i], "
    "[class*='blob-num'], [class*='ln-num'], [class*='crayon-num'], [class*='gutter-cell'], .ln, .lnt, .lntd, .line-no, "
    "td.number, td.linenos, [style*='user-select'], [style*='float: left'], [style*='float:left']"
)
NOT_CODE = (
    "button, clipboard-copy, script, style, [aria-hidden='true'], .sr-only, .visually-hidden, div.toolbar, div.bar, "
    ".crayon-toolbar, .crayon-plain-wrap, .CodeMirror-measure, .CodeMirror-cursors, .CodeMirror-lines > div > div > pre:not(.CodeMirror-line), "
    ".CodeMirror-gutter-wrapper, .CodeMirror-gutters, .CodeMirror > textarea, .cm-gutters, .ace_gutter, .ace_print-margin-layer, "
    ".ace_marker-layer, .ace_cursor-layer, .ace_text-input, .enlighter-raw, .enlighter-toolbar, a.viewcode-back, div.ttc, "
    ".src-line-numbers, .line-numbers-rows, .button-holder, .test-arrow, .blockcode > em, .blockcode > a, .gutter-content, "
    ".ltx_listing_data, .ltx_tag_listingline"
)
# Buttons by their class. The class of code itself may say "copyable", that of a link in it "module-copy".
BUTTONS = (
    "[class~='copy' i], [class*='copy-btn' i], [class*='copybtn' i], [class*='copy-code' i], [class*='copycode' i], "
    "[class*='code-copy' i], [class*='code_copy' i], [class*='copy-button' i], [class*='copybutton' i], [class*='copy_button' i], "
    "[class*='clipboard' i], [class^='button' i], [class~='button' i], [class*='-button' i]"
)
BUTTON_WORDS = ("copy", "button", "clipboard")
LONGEST_LABEL = 40  # characters on a button
WORTH_A_LOOK = (  # a <pre> that holds none of these holds only code
    "line", "gutter", "num", '"ln', "user-select", "hidden", "sr-only", "button", "copy", "toolbar", "float", "viewcode",
    "<script", "<style",
)  # fmt: skip
ONLY_NUMBERS = re.compile(r"[\d\s.:|+…-]*")
PROMPT = re.compile(r"\s*(?:[$#>%]|>>>|\.\.\.|PS>|\w+[@:~]\S*[$#>])\s*")
SHOWN_AS_PRE = re.compile(r"white-space:\s*(?:pre|break-spaces)")
# Invisible: empty lines and break points of editors; no language has them.
ASSISTIVE = re.compile("[\u200b\ufeff\u2060]")

LINE_TAG = re.compile(r"<(/?)(br|div|p|li|tr|pre|dd|h[1-6])\b[^>]*>")
OTHER_TAG = re.compile(r"<(?!/?(?:br|div|p|li|tr|pre|dd|h[1-6])\b)[^>]*>", re.S)
COMMENT = re.compile(r"<!--.*?-->", re.S)
CODE_LINES = re.compile(r"(?<!\n)</code>(?=<code\b)")
LINE_SPANS = re.compile(r"(?<!\n)</span>(?=<span [^>]*(?:class=\"(?:[^\"]*[ _-])?line[\" ]|data-line=))")
# Medium sets what blank lines part as spans, shown as blocks.
MEDIUM_PARTS = re.compile(r"</span>(?=<span [^>]*data-selectable-paragraph)")
NUMBERED = re.compile(r"[ \t]*(\d{1,9})(?:[ \t]|$)")


def code_text(node: ElementNode, collapsed: bool = False) -> str:
    """The text of a listing as the browser shows it: `<br>` and line elements end lines, white space is kept.

    Line numbers and buttons are taken out of the tree. Blank lines at both ends go, no-break spaces become spaces.
    `collapsed`: what is around is running text, where only no-break spaces count.
    """
    html = node.inner_html
    numbered = False
    if "<" in html and (node.tag not in PREFORMATTED or any(word in html for word in WORTH_A_LOOK)):
        numbered = _take_out(node, html)
        html = node.inner_html
    preformatted = node.tag in PREFORMATTED or SHOWN_AS_PRE.search(node.getattr("style") or "") is not None
    if node.tag == "pre":
        html = _line_spans(html)
    if node.tag == "xmp" or "<" not in html:
        text = unescaped(node.text or "" if node.tag == "xmp" else html)
    elif LINE_TAG.search(html) is not None:
        text = unescaped(_lines(html, preformatted, collapsed))
    else:
        text = unescaped(OTHER_TAG.sub("", COMMENT.sub("", html)))
    # A blank line is often "&nbsp;".
    lines = [line if line.strip("\xa0") else "" for line in text.split("\n")]
    if numbered and all(line[:1] == "\xa0" for line in lines if line.strip(" \t")):
        lines = [line[1:] for line in lines]  # doxygen sets it between number and code
    elif len(lines) > 2 and (lines[0][:1].isdigit() or lines[0][:1] == " "):
        lines = _without_numbers(node, lines)
    filled = [place for place, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]).replace("\xa0", " ") if filled else ""


def _take_out(node: ElementNode, html: str) -> bool:
    """Remove what is no code from a listing. True if there were line numbers between the code."""
    numbered = False
    said = html.lower()
    buttons = f"{BUTTONS}, " if any(word in said for word in BUTTON_WORDS) else ""
    for element in select(node, f"{NOT_CODE}, {buttons}{NUMBERS}"):
        if element.parent is None:
            continue
        text = element.text or ""
        if element.tag == "code" and 2 * len(text.strip()) > len((node.text or "").strip()):
            continue  # the listing itself, which is named so ("line-numbers", "nocopy")
        if element.tag not in ("button", "script", "style") and PROMPT.fullmatch(text):
            continue
        if element.matches(NOT_CODE):
            element.decompose()
        elif element.matches(BUTTONS):
            if len(text.strip()) <= LONGEST_LABEL and element.query_selector("code, pre") is None:
                element.decompose()
        elif ONLY_NUMBERS.fullmatch(text):
            numbered = numbered or (bool(text.strip()) and element.tag == "span")
            element.decompose()
    return numbered


def _line_spans(html: str) -> str:
    """Lines that are elements without a line end: several `<code>` in one `<pre>`, spans that CSS shows as blocks."""
    if html.count("<code") > 1 and html.count("\n") < html.count("<code") - 1:
        html = CODE_LINES.sub("\n</code>", html)
    if "line" in html:
        spans = len(LINE_SPANS.findall(html))
        if spans and html.count("\n") + html.count("<br") < spans:
            html = LINE_SPANS.sub("\n</span>", html)
    if "data-selectable-paragraph" in html:
        html = MEDIUM_PARTS.sub("\n\n</span>", html)
    return html


def _lines(html: str, preformatted: bool, collapsed: bool) -> str:
    html = OTHER_TAG.sub("", COMMENT.sub("", html))
    breaks = html.count("<br>")
    if not preformatted and (collapsed or (breaks and "&nbsp;" in html)):  # spaces that count are written so
        html = re.sub(r"[ \t\r\n]+", " ", html).replace("<br> ", "<br>")
    elif breaks > 1 and html.count("<br>\n") >= breaks - 1:
        html = html.replace("<br>\n", "<br>")
    out: list[str] = []
    fresh, opened, at = True, False, 0  # at the start of a line; in a line element without anything so far
    for match in LINE_TAG.finditer(html):
        text = html[at : match.start()]
        if text and not (text.isspace() and (not preformatted or match[2] in ("tr", "li"))):
            out.append(text)
            fresh, opened = text[-1] == "\n", False
        if match[2] == "br":
            out.append("\n")
            fresh, opened = True, False
        elif match[1]:
            if opened or not fresh:
                out.append("\n")
            fresh, opened = True, False
        else:
            if not fresh:
                out.append("\n")
            fresh, opened = True, True
        at = match.end()
    out.append(html[at:])
    return "".join(out)


def _without_numbers(node: ElementNode, lines: list[str]) -> list[str]:
    """Without numbers that stand in the text: 00001 (old doxygen), or of a box that is known to write them (cnblogs)."""
    numbers = [NUMBERED.match(line) for line in lines if line.strip()]
    if not numbers or not all(numbers):
        return lines
    counted = [int(match[1]) for match in numbers if match]
    padded = all(match and len(match[1]) >= 5 and match[1][0] == "0" for match in numbers)
    if counted != list(range(counted[0], counted[0] + len(counted))):
        return lines
    if not padded and node.closest("div.cnblogs_code") is None:
        return lines
    return [NUMBERED.sub("", line, count=1) for line in lines]


def unescaped(html: str) -> str:
    """Text of serialised HTML, which writes four entities; without carriage returns and invisible break points."""
    if "&" in html:
        html = html.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\xa0").replace("&amp;", "&")
    return ASSISTIVE.sub("", html.replace("\r\n", "\n"))
