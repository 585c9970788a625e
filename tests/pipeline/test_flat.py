"""The arrays of a page against the tree they were made of, walked node by node."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree, NodeType

from pipeline.extract.flat import (
    HIDDEN,
    LINKED_WORDS,
    MARKED,
    OTHER,
    RAW,
    STOPS,
    TAGS,
    TEXT,
    UNSEEN,
    VOID,
    WORDS,
    flatten,
)  # fmt: skip

NAMES = [
    "div",
    "p",
    "span",
    "b",
    "a",
    "ul",
    "li",
    "table",
    "tr",
    "td",
    "script",
    "style",
    "br",
    "img",
    "pre",
    "h2",
    "section",
    "x-card",
    "svg",
    "noscript",
    "select",
    "option",
]


def tree_of(html: str):
    tree = HTMLTree.parse(html)
    return tree, flatten(tree.document.html.encode("utf-8", "replace"))


def walked(node, parent, out):
    """(tag or "", text, number of the parent) of everything below a node, in document order."""
    for child in node.child_nodes.values():
        if child.node_type == NodeType.ELEMENT:
            out.append((child.tag, None, parent))
            if child.tag not in RAW:
                walked(child, len(out), out)
        elif child.node_type == NodeType.TEXT and child.value:
            out.append(("", child.value, parent))


pieces = st.one_of(
    st.sampled_from([f"<{name}>" for name in NAMES] + [f"</{name}>" for name in NAMES]),
    st.sampled_from(
        [
            '<a href="x > y" class=\'Big "q" Link\'>',
            "<!-- a <b> c -->",
            "<p hidden>",
            "&amp;",
            "&lt;i&gt;",
            "&nbsp;",
            "<",
            ">",
        ]
    ),
    st.text(alphabet="ab 1.，中文\n'é_", min_size=1, max_size=8),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=30))
def test_every_element_and_text_stands_in_its_place(parts):
    compare(parts)


@pytest.mark.parametrize("name", [*VOID, *RAW, *UNSEEN])
def test_elements_of_every_kind_end_where_they_do(name):
    if name not in (
        "template",
        "plaintext",
    ):  # what these hold is not among the children, or all that follows
        compare(["<div>", f"<{name}>", "a", f"</{name}>", "</div>", "<p>b</p>", "<i>c</i>"])


def compare(parts):
    tree, flat = tree_of("<body>" + "".join(parts))
    expected: list = []
    walked(tree.document, 0, expected)
    assert len(flat.tag_N) == 1 + len(expected)
    for number, (tag, text, parent) in enumerate(expected, 1):
        assert flat.parent_N[number] == parent
        assert flat.tag_N[number] == (TEXT if text is not None else TAGS.get(tag, OTHER))
        if text is not None:
            raw = flat.html[flat.start_N[number] : flat.end_N[number]].decode()
            for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\xa0"), ("&amp;", "&")):
                raw = raw.replace(entity, sign)
            assert raw == text
    # A subtree is the range up to its last node: its members are those whose chain of parents leads to it.
    for number in range(len(flat.tag_N)):
        inside = np.arange(number + 1, flat.last_N[number])
        assert all(flat.parent_N[other] >= number for other in inside)
        after = flat.last_N[number]
        assert after == len(flat.tag_N) or flat.parent_N[after] < number


def test_runs_end_at_blocks_and_at_empty_lines():
    _, flat = tree_of(
        "<body>one <b>two</b><br>three<div>four<p>five</p>six</div><br><br>seven <i></i><hr>eight"
    )
    seen: dict[int, str] = {}
    for node in np.flatnonzero(flat.run_N >= 0):
        run = int(flat.run_N[node])
        seen[run] = seen.get(run, "") + flat.html[flat.start_N[node] : flat.end_N[node]].decode()
    assert list(seen.values()) == ["one twothree", "four", "five", "six", "seven ", "eight"]
    tags = {number: name for name, number in TAGS.items()}
    assert [tags[flat.tag_N[node]] for node in flat.block_R] == ["body", "div", "p", "div", "body", "body"]


def test_what_a_run_counts():
    html = "<body><p>One don't, <a>two three.</a> 42 中文。 &lt;x&gt; a_b</p><title>no</title><script>if (a < b) no</script>"
    _, flat = tree_of(html)
    assert flat.runs == 1
    row = flat.counts_RC[0]
    assert row[WORDS] == len(["One", "don't", "two", "three", "42", "中", "文", "x", "a_b"])
    assert (row[LINKED_WORDS], row[STOPS]) == (2, len([",", ".", "。"]))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1 .,!-中国é", max_size=40))
def test_words_are_those_of_a_pattern(text):
    _, flat = tree_of(f"<body><p>{text}</p>")
    expected = len(re.findall(r"[㐀-鿿]|[^\W㐀-鿿]+", text))
    assert flat.counts_RC[:, WORDS].sum() == expected


def test_flags_and_names():
    html = (
        '<body><div style="color:red; display : none">a</div><div style="DISPLAY:none; display:none">b</div><p hidden>c</p>'
        '<p data-reasonmill="1.0" class="postBody post-body" id="x">d</p>'
    )
    _, flat = tree_of(html)
    divs = [node for node in range(len(flat.tag_N)) if flat.tag_N[node] in (TAGS["div"], TAGS["p"])]
    assert [bool(flat.flags_N[node] & HIDDEN) for node in divs] == [True, True, True, False]
    assert [bool(flat.flags_N[node] & MARKED) for node in divs] == [False, False, False, True]
    post, body, post_again, body_again = flat.names[flat.names_at_N[divs[3]] : flat.names_at_N[divs[3] + 1]]
    assert (post, body) == (post_again, body_again) and post != body  # a name of one letter is none


def test_broken_input_is_read_to_its_end():
    for html in (
        b"",
        b"<",
        b"<p",
        b'<p class="x',
        b"<p><b>text",
        b"</p></p>x",
        b"<script>a",
        b"<!--",
        b"<a b=c d>x</a>",
        b"<\xff>",
    ):
        flat = flatten(html)
        assert len(flat.tag_N) >= 1 and flat.last_N[0] == len(flat.tag_N)


def test_a_long_line_of_entities_is_blank():
    assert flatten(b"<p>" + b"&nbsp;" * 200_000 + b"</p>").runs == 0
