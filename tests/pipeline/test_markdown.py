"""Blocks as Markdown, read back by a CommonMark parser."""

from __future__ import annotations

import html as entities
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mdit_py_plugins.footnote import footnote_plugin
from resiliparse.parse.html import HTMLTree

from pipeline.extract.flat import flatten
from pipeline.extract.markdown import Rendering
from pipeline.extract.protect import Protected, fenced
from tests.patience import in_time

READER = MarkdownIt("commonmark").enable("table").use(footnote_plugin)


def markdown_of(html: str, protected: Protected | None = None) -> str:
    tree = HTMLTree.parse(f"<body>{html}</body>")
    flat = flatten(tree.document.html.encode())
    return Rendering(flat, protected or Protected("Qzx")).markdown(np.ones(flat.runs, bool))


def read_back(markdown: str) -> str:
    """The tags that a reader of Markdown makes of it, without line ends between them."""
    return re.sub(r"\s*\n\s*", " ", READER.render(markdown)).replace("> <", "><").strip()


@pytest.mark.parametrize(
    "html",
    [
        "<h1>One</h1><h3>Two three</h3><p>Text.</p>",
        "<ul><li>one</li><li>two<ul><li>inner</li><li>more</li></ul></li><li>three</li></ul>",
        '<ol start="7"><li>seven</li><li>eight</li></ol>',
        "<ul><li><p>one</p><p>of two</p></li><li><p>two</p></li></ul>",
        "<blockquote><p>said</p><p>and said</p><blockquote><p>before</p></blockquote></blockquote><p>So.</p>",
        "<blockquote><ul><li>listed</li><li>quoted</li></ul></blockquote>",
        '<ul><li>two<ol start="7"><li>seven</li><li>eight</li></ol></li></ul>',
        "<ul><li>a<ul><li>b<blockquote><p>note</p><p>and note</p></blockquote></li></ul></li><li>c</li></ul>",
        "<ol><li><blockquote><p>said</p></blockquote></li></ol>",
    ],
)
def test_blocks_are_read_back_as_they_were(html):
    seen = read_back(markdown_of(html))
    for tag in ("li", "blockquote"):  # tight or loose, with or without line ends: the same
        seen = re.sub(rf"<{tag}> ?", f"<{tag}>", re.sub(rf" ?</{tag}>", f"</{tag}>", seen))
    tight = r"(?<=<li>)<p>(.*?)</p>(?=</li>|<[uo]l|<blockquote>)"
    plain = re.sub(tight, r"\1", seen)
    assert re.sub(r" (?=<[uo]l|<blockquote)", "", plain) == re.sub(tight, r"\1", html)


def test_no_indentation_without_the_item_it_belongs_to():
    """What would be indented for items that are not there would be read as code."""
    deep = markdown_of("<ul><li><ul><li><ul><li>deep</li><li>deeper</li></ul></li></ul></li></ul>")
    assert deep == "- deep\n- deeper"
    headed = "<ol start=100><li>a<ul><li><h4>Question</h4><p>Answer.</p><p>More.</p></li></ul></li></ol><p>End.</p>"
    assert read_back(markdown_of(headed)) == (
        '<ol start="100"><li>a</li></ol><h4>Question</h4><p>Answer.</p><p>More.</p><p>End.</p>'
    )


def test_a_heading_that_holds_more():
    protected = Protected("Qzx")
    word = protected.add("block", fenced("a = 1\nb = 2"))
    assert markdown_of(f"<h3>Two<br>lines{word}after</h3>", protected) == (
        "### Two lines\n\n```\na = 1\nb = 2\n```\n\nafter"
    )
    words = "Words of a paragraph. " * 20
    unclosed = markdown_of(f"<h2>Title<p>{words}</p>{word}<p>{words}</p></h2>", protected)
    assert (
        unclosed.startswith("## Title\n\nWords") and unclosed.count("#") == 2 and unclosed.count("```") == 2
    )


def test_stray_quotes_in_tags():
    html = '<p>See <a href="x"">the link</a> is 5" long and <b class="y"">bold</b> <i "a b">end</i> <b c"d>of it</b></p>'
    assert markdown_of(html) == 'See the link is 5" long and bold end of it'


def test_many_signs_and_notes_take_linear_time():
    for part in ("a *b _c `d ", '<sup><a href="#x{}">{}</a></sup>'):
        html = "<p>" + "".join(part.format(n, n) for n in range(10_000)) + "</p>"
        in_time(1.5, lambda html=html: markdown_of(html))


def test_code_in_a_list_item_and_in_a_quote_keeps_its_lines():
    protected = Protected("Qzx")
    code = "if x:\n\n    y = `1`\n```\n"
    word = protected.add("block", fenced(code, "python"))
    text = markdown_of(
        f"<ol><li>first<p>{word}</p>after</li></ol><blockquote><p>{word}</p></blockquote>", protected
    )
    tokens = [token for token in READER.parse(text) if token.type == "fence"]
    assert [(token.content, token.info) for token in tokens] == [(code + "\n", "python")] * 2
    assert read_back(text).count("<li>") == 1


def test_powers_and_indices_but_no_ordinals():
    text = markdown_of(
        "<p>H<sub>2</sub>O, x<sup>10</sup>, the 1<sup>st</sup>, a<sup>long remark</sup>, brand<sup>®</sup></p>"
    )
    assert text == "H_2O, x^{10}, the 1st, along remark, brand®"


def test_footnotes():
    html = (
        '<p>Said.<sup><a href="#n1">[1]</a></sup> Again.<a href="#n2"><sup>2</sup></a> Power: 2<sup>3</sup></p>'
        '<ol><li id="n1">First note. <a href="#r1">↩</a></li><li><p id="n2">Second note.</p></li></ol>'
    )
    text = markdown_of(html)
    assert (
        "Said.[^1] Again.[^2] Power: 2^3" in text
        and "[^1]: First note." in text
        and "[^2]: Second note." in text
    )
    assert READER.render(text).count('class="footnote-ref"') == 2


def test_footnotes_in_a_row_and_before_brackets():
    html = (
        '<p>Said<sup><a href="#n1">[1]</a></sup><sup><a href="#n2">[2]</a></sup>(so x<sup><a href="#n1">[1]</a></sup>: y)'
        '<sup><a href="#n2">[2]</a></sup>(1999)</p><ol><li id="n1">First.</li><li id="n2">Second.</li></ol>'
    )
    back = READER.render(markdown_of(html))
    assert back.count('class="footnote-ref"') == 4 and back.count('class="footnote-item"') == 2
    assert "(so x" in back and "(1999)" in back and "\\" not in back


@pytest.mark.parametrize(
    "html",
    [
        '<p>A.<sup><a href="#n1">1</a></sup> B.</p>',  # the note is not kept
        '<div><p>A.<sup><a href="#n1">1</a></sup> B.</p><p>C.</p><a name="n1"></a>1. The note.<p>End.</p></div>',
        '<p>A.<sup><a href="#n1">1</a></sup> B.</p><div id="n1">' + "Words of the article. " * 100 + "</div>",
    ],
)
def test_what_is_no_footnote(html):
    text = markdown_of(html)
    assert text.startswith("A.[1] B.") and "[^" not in text and "\n    " not in text


def test_what_only_looks_like_markup_is_text():
    for text in (
        "# no heading", "1. no item", "- no item", "+ no", "> no quote", "```", "~~~ x", "---", "===", "*no* **emphasis**",
        "_no_ __emphasis__", "`no code`", "<b>no tag</b>", "<!-- no comment -->", "&lt; no entity; &#60;", "[no](link)", "[no]: link",
        r"C:\*\_path", "a_1 < a_2", "snake_case_name", "2 * 3 * 4", "a*b*c", "|a|b|", "x\\", "<https://e.org>", "a<b and c>d",
        "***", "* * *", "= 5", "-", "1)", "1) a", "1|<br>-|", "a|b<br>:-|-:", "a|<br>:-",
    ):  # fmt: skip
        html = "<br>".join(entities.escape(line) for line in text.split("<br>"))
        back = READER.render(markdown_of(f"<p>{html}</p>"))
        assert entities.unescape(back).strip() == f"<p>{text}</p>".replace("<br>", "\n"), text


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.text(alphabet="ab1 *_`#>-+.)<&;[](!)~=|中$'\"/", min_size=1, max_size=12), min_size=1, max_size=3
    )
)
def test_any_text_is_read_back(lines):
    """Also with line breaks in it; white space at the ends of lines is not text."""
    shown = [" ".join(line.split()) for line in lines]
    shown = [line for line in shown if line]
    text = markdown_of("<p>" + "<br>".join(entities.escape(line) for line in shown) + "</p>")
    back = entities.unescape(re.sub(r"</?p>", "", READER.render(text)))
    assert back.strip().split("\n") == (shown or [""])
