"""What a page's source holds, against what the parser and a slow reading by hand find in it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from resiliparse.parse.html import HTMLTree

from pipeline.extract.census import Census
from pipeline.extract.dom import mentions
from pipeline.extract.protect import Protected

PAGES = sorted((Path(__file__).parents[2] / "../shared/data/extraction/wcxb_dev").glob("*.html.gz"))[::12]
IMPLIED = {"html", "head", "body", "tbody", "colgroup", "tr"}  # elements that stand in no source

ODD = [
    "<DIV CLASS='A b'\n data-x=1 class=c>x</DIV>",
    "<p class=unquoted/><b/class='slash'>x",
    '<!-- <i class="no"> --><u class="yes">x</u>',
    '<!--><i class="short"></i><!---><b class="short2"></b><!-- a --!><s class="bang"></s>',
    '<script>if (a<b && c == "<i class=no>") { d = \'"\' }</script><u class="behind">x</u>',
    '<title><i class=no></title><textarea><b class="no"></textareas></textarea><q class="behind">',
    '<a title="a > b" class="x">y</a><? php "> <em id="z" hidden class="e&amp;f">',
    "<svg><style/><g class='in'></g></svg><i class='after'>",
    '<i class="a"<b class="never"></i><u class="z">',
    '<p class="é Ä">x</p><p class="">y</p><p class>z</p>',
    "a < b <3 <> </ x> <p class='text'>",
]


@pytest.mark.parametrize("html", ODD)
def test_what_the_parser_finds_is_there(html):
    _holds_what_the_parser_finds(html)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name[:4])
def test_what_the_parser_finds_on_real_pages(path):
    _holds_what_the_parser_finds(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))


@pytest.mark.skipif(not PAGES, reason="the pages of WCXB are not there")
def test_there_are_pages():
    assert len(PAGES) > 10


def _holds_what_the_parser_finds(html: str) -> None:
    census = Census.of(html.encode("utf-8", "replace"))
    nodes = HTMLTree.parse(html).document.query_selector_all("*").values()
    assert {node.tag.lower() for node in nodes} - IMPLIED <= census.tags
    words = {word for node in nodes for word in _lower(node.getattr("class") or "").split()}
    assert words <= census.classes
    names = {name.lower() for node in nodes for name in node.attrs} - {"class", "style", "rel"}
    assert names <= census.attributes
    styles = {_lower(node.getattr("style")) for node in nodes if node.getattr("style")}
    assert all(" ".join(style.split()) in " ".join(census.styles.split()) for style in styles)


def _lower(text: str) -> str:
    """As CSS and HTML compare: only ASCII's letters have case."""
    return text.encode("utf-8", "replace").lower().decode()


def test_what_is_no_markup_does_not_count():
    census = Census.of(
        b'<!-- <i class="a"> --><script>x = "<b class=b>"</script><title><u class="c"></title>'
        b'<textarea><s class="d"></textarea><style>e > f</style><plaintext><q class="g">'
    )
    assert census.tags == {"script", "title", "textarea", "style", "plaintext"}
    assert not census.classes and not census.attributes


def test_class_attributes_are_counted_whole():
    census = Census.of(b'<p class="A b"><p class="a b"><i class=c></i><b title=class>')
    assert census.class_values == {"a b": 2, "c": 1}
    assert census.classes == {"a", "b", "c"}
    assert census.has(classes="x b") and census.has(tags="ol i") and not census.has("ol", "x")


def test_a_page_of_nothing():
    for source in (
        b"",
        b"<",
        b"text",
        b"<!--",
        b"<script>",
        b"<a",
        b"<a b",
        b"<a b=",
        b"<a b='",
        b"</",
        b"<a/",
    ):
        assert Census.of(source).classes == frozenset()


def test_words_are_found_as_python_finds_them():
    page = (b"abcabcabd" * 1000 + b" left-\xc3\xa9-right " + b"ab" * 3000) * 2
    words = [
        "ab",
        "abd",
        "abcabd",
        "ba",
        "left-é-right",
        "é-",
        "cabdabc",
        "xab",
        "abababc",
        "b left",
        "bb",
        "abab" * 40,
    ]
    for word in [*words, page[-20:].decode(), page[:30].decode(), page[4080:4120].decode()]:
        assert mentions(page, (word,)) == (word.encode() in page), word
    assert mentions(page, ("nothing", "right")) and not mentions(page, ("nothing", "at all"))


@pytest.mark.parametrize(
    "page",
    [
        "Qzx", "Qz12x and more", "Q<b>zx</b>", "Qz<i></i>3x", "Q12<b>", "&#81;", "&#x51;zx", "&#0081zx", "a &#x7A;", "&#120",
        "Qx Qa Q1 Q12x Qzz Q", "&#8217; &#039; &#810; &#1200; &#x510; &#x8;", "&#", "&#x", "Q", "&amp;#81", "Qz", "",
    ],
)  # fmt: skip
def test_a_page_that_may_spell_a_word_of_ours_is_found_in_its_bytes(page):
    """Twice against the same page: with its bytes, which are looked at first, and with the patterns alone."""
    for html in (page, "x" * 70 + page + "y" * 40):
        assert Protected.against(html, html.encode()).prefix == Protected.against(html).prefix
