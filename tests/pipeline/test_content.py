"""The choice of main content: features against the tree, the best choice against all choices, and whole pages."""

from __future__ import annotations

import itertools
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from pipeline.extract.content import FEATURES, Trees, features, main_content, most_likely
from pipeline.extract.flat import NAME_BUCKETS, flatten

PROSE = "Some words of a paragraph that goes on for a while, as the paragraphs of articles do when they explain things. "
PAGE = f"""<body><nav><ul><li><a href=/>Home</a></li><li><a href=/b>Blog</a></li><li><a href=/c>Contact us</a></li></ul></nav>
<main><article><h1>A title</h1><p>{PROSE * 3}</p><p>{PROSE * 2}</p><p>Qzxm0z</p><h2>More</h2><p>{PROSE * 4}</p></article></main>
<div class="sidebar widget"><h3>Related posts</h3><a href=/1>One other post</a><br><br><a href=/2>Two other posts</a></div>
<footer><p>© 2024 <a href=/i>Imprint</a> <a href=/p>Privacy policy</a></p></footer></body>"""


def flat_of(html: str):
    return flatten(HTMLTree.parse(html).document.html.encode())


def column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, FEATURES.index(name)]


def test_features_are_what_the_tree_says():
    tree = HTMLTree.parse(PAGE)
    flat = flat_of(PAGE)
    x = features(flat, np.zeros((flat.runs, 3), np.int32), np.zeros(NAME_BUCKETS, np.float32))
    assert x.shape == (flat.runs, len(FEATURES))

    def words_in(element) -> int:
        return len(re.sub(r"<[^>]+>", " ", element.html).replace("©", "").split())

    words = words_in(tree.body)
    assert set(column(x, "page_words")) == {words}
    assert column(x, "words").sum() == words
    runs = {
        flat.html[flat.start_N[n] : flat.end_N[n]].decode().strip(): r
        for r, n in enumerate(flat.first_R.tolist())
    }
    home, title = runs["Home"], runs["A title"]
    assert column(x, "linked")[home] == 1 and column(x, "linked")[title] == 0
    assert column(x, "in_nav")[home] == column(x, "in_li")[home] == column(x, "in_a")[home] == 1
    assert column(x, "in_article")[title] == column(x, "in_main")[title] == column(x, "in_h1")[title] == 1
    assert column(x, "in_nav").sum() == 3 and column(x, "in_footer").sum() == 1
    article = tree.body.query_selector("article")
    assert column(x, "container1_words")[title] == words_in(article)  # above the heading stands the article
    assert column(x, "container1_children")[title] == len(article.query_selector_all("article > *").values())
    menu = tree.body.query_selector("ul")
    assert column(x, "container1_words")[home] == words_in(menu) and column(x, "container1_linked")[home] == 1
    assert column(x, "alike0_runs")[home] == 3  # three items of the menu are alike


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60)), min_size=1, max_size=9))
def test_no_choice_is_expected_to_be_better(runs):
    p_R, words_R = (np.array(some, float) for some in zip(*runs, strict=True))

    def expected(kept: np.ndarray) -> float:
        gained = (words_R * p_R)[kept].sum()
        return 2 * gained / (words_R[kept].sum() + (words_R * p_R).sum() + 1e-9)

    best = max(
        expected(np.array(choice))
        for choice in itertools.product([True, False], repeat=len(runs))
        if any(choice)
    )
    kept = most_likely(p_R, words_R)
    assert kept.any() and expected(kept) >= best - 1e-4


def test_trees_against_a_walk_by_hand():
    """Two trees of a few nodes each in pre-order, asked one row at a time."""
    trees = Trees(
        np.array([1, 0, -1, -1, -1, 2, -1, -1], np.int16),
        np.array([0.5, 2.0, 1.0, -1.0, 0.25, 7.0, -0.5, 3.0], np.float32),
        np.array([4, 3, 0, 0, 0, 7, 0, 0], np.int32),
        np.array([0, 5], np.int32),
    )
    x = np.array([[2, 0.5, 7], [2.1, 0.5, 8], [0, 0.6, 0]], np.float32)
    expected = [1.0 - 0.5, -1.0 + 3.0, 0.25 - 0.5]
    assert np.allclose(trees.probabilities(x), 1 / (1 + np.exp(-np.array(expected))))


def test_article_without_menu_sidebar_and_footer():
    flat = flat_of(PAGE)
    extra = np.zeros((flat.runs, 3), np.int32)
    texts = [flat.html[flat.start_N[n] : flat.end_N[n]].decode().strip() for n in flat.first_R.tolist()]
    formula = texts.index("Qzxm0z")
    extra[formula, 0] = 1
    kept = main_content(flat, extra)
    assert [text[:10] for text, keep in zip(texts, kept, strict=True) if keep] == [
        "A title", "Some words", "Some words", "Qzxm0z", "More", "Some words",
    ]  # fmt: skip
    assert kept[formula]


def test_a_page_of_one_word_is_kept():
    flat = flat_of("<body><p>Word")
    assert main_content(flat, np.zeros((1, 3), np.int32)).tolist() == [True]
    empty = flat_of("<body>")
    assert main_content(empty, np.zeros((0, 3), np.int32)).tolist() == []
