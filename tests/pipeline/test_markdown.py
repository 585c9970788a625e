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
    ],
)
def test_blocks_are_read_back_as_they_were(html):
    seen = read_back(markdown_of(html))
    for tag in ("li", "blockquote"):  # tight or loose, with or without line ends: the same
        seen = re.sub(rf"<{tag}> ?", f"<{tag}>", re.sub(rf" ?</{tag}>", f"</{tag}>", seen))
    plain = re.sub(r"(?<=<li>)<p>(.*?)</p>(?=</li>|<ul>)", r"\1", seen)
    assert re.sub(r" (?=<[uo]l)", "", plain) == re.sub(r"(?<=<li>)<p>(.*?)</p>(?=</li>|<ul>)", r"\1", html)


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


def test_what_only_looks_like_markup_is_text():
    for text in (
        "# no heading", "1. no item", "- no item", "+ no", "> no quote", "```", "~~~ x", "---", "===", "*no* **emphasis**",
        "_no_ __emphasis__", "`no code`", "<b>no tag</b>", "<!-- no comment -->", "&lt; no entity; &#60;", "[no](link)", "[no]: link",
        r"C:\*\_path", "a_1 < a_2", "snake_case_name", "2 * 3 * 4", "a*b*c", "|a|b|", "x\\", "<https://e.org>", "a<b and c>d",
        "***", "* * *", "= 5", "-", "1)", "1) a",
    ):  # fmt: skip
        back = READER.render(markdown_of(f"<p>{entities.escape(text)}</p>"))
        assert entities.unescape(back).strip() == f"<p>{text}</p>", text


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
