"""Words of runs as hashes: against a regular expression, against sums by hand, against what a head says."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from pipeline.extract.content.words import (
    LEAD,
    WORD_BUCKETS,
    buckets_of,
    said_in_head,
    scores_of,
    tokens_of,
)
from pipeline.extract.flat import flatten


def flat_of(html: str):
    return flatten(HTMLTree.parse(html).document.html.encode())


def hashes(text: str) -> list[int]:
    flat = flat_of(f"<body><p>{text}</p>")
    tokens = tokens_of(flat)
    assert len(tokens.begin_R) == flat.runs + 1 and tokens.begin_R[-1] == len(tokens.hash_T)
    return tokens.hash_T.tolist()


@settings(max_examples=300, deadline=None)
@given(st.text("abCD12 .,;!?()-\n", max_size=60))
def test_tokens_are_words_and_symbols(text):
    expected = [
        re.sub(r"\d+", "0", word.lower()) for word in re.findall(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]", text)
    ]
    found = hashes(text)
    assert len(found) == min(len(expected), LEAD)
    same: dict[str, int] = {}
    for word, value in zip(expected, found, strict=False):
        assert same.setdefault(word, value) == value
    assert len(set(same.values())) == len(same)


@pytest.mark.parametrize(
    "one, other, alike",
    [
        ("Leave a Reply", "LEAVE A REPLY", True),
        ("Page 2 of 17", "Page 314 of 2", True),
        ("don't", "dont", True),
        ("don’t", "dont", False),
        ("a&nbsp;b", "a b", True),
        ("a&amp;b", "a b", False),
        ("a&lt;b", "a&gt;b", False),
        ("über", "uber", False),
        ("© 2024", "2024", False),
        ("中文", "中 文", True),  # a character is a word
        ("中文", "文中", False),
        ("ру́сский", "ру́сски", False),
        ("<b>add</b> to <i>cart</i>", "add to cart", True),
    ],
)
def test_what_is_alike(one, other, alike):
    assert (hashes(one) == hashes(other)) is alike


@pytest.mark.parametrize("text", ["é", "©", "中", "’", "&amp;", "don'", "…", "\u00a0", "7"])
def test_a_text_may_end_anywhere(text):
    data = f"<body><p>{text}</p>".encode()
    for end in range(9, len(data) + 1):  # also within a character
        tokens_of(flatten(data[:end]))
    assert len(hashes("a " + text)) <= 3


def test_a_score_is_the_mean_weight_of_a_runs_buckets_times_the_root_of_their_number():
    flat = flat_of("<body><p>Add to cart<p>A run of more than five words, as they<p>$ 12.99<p>Add to cart")
    tokens = tokens_of(flat)
    buckets, begin = buckets_of(tokens)
    weights = np.random.default_rng(0).normal(size=WORD_BUCKETS).astype(np.float32)
    parts = [weights[buckets[low:high]] for low, high in itertools.pairwise(begin)]
    expected = [part.mean() * np.sqrt(len(part)) for part in parts]
    assert np.allclose(scores_of(tokens, weights), expected, atol=1e-5)
    assert len(parts[0]) == 3 + 3 + 1 + 1  # words, pairs (the last with the end), first word, whole
    assert len(parts[1]) == 10 + 10 + 1  # a comma is a token; too long to be taken as a whole
    assert expected[0] == expected[3]


def test_what_the_head_says():
    flat = flat_of(
        """<head><title>Blue mug – Shop</title><meta property="og:description" content="A mug for coffee and tea.">
        <script type="application/ld+json">{"description": "Holds 300 ml &amp; more of any drink"}</script>
        <script>var other = "words that nobody should remember here";</script></head>
        <body><h1>Blue mug</h1><p>A mug for coffee</p><p>Holds 300 ml</p><p>words that nobody should remember</p>"""
    )
    shares = said_in_head(flat, tokens_of(flat))
    assert shares.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    plain = flat_of("<body><p>Word")
    assert (said_in_head(plain, tokens_of(plain)) == -1).all()
