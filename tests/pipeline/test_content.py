"""The choice of main content: features against the tree, the best choice against all choices, and whole pages."""

from __future__ import annotations

import itertools
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from pipeline.extract.content.choose import (
    DEPTH,
    MODEL,
    Trees,
    choose,
    expected_f1,
    load,
    main_content,
    most_likely,
)
from pipeline.extract.content.features import FEATURES, features
from pipeline.extract.content.words import WORD_BUCKETS, buckets_of, tokens_of
from pipeline.extract.flat import NAME_BUCKETS, flatten

PROSE = "Some words of a paragraph that goes on for a while, as the paragraphs of articles do when they explain things. "
PAGE = f"""<body><nav><ul><li><a href=/>Home</a></li><li><a href=/b>Blog</a></li><li><a href=/c>Contact us</a></li></ul></nav>
<main><article><h1>A title</h1><p>{PROSE * 3}</p><p>{PROSE * 2}</p><p>Qzxm0z</p><h2>More</h2><p>{PROSE * 4}</p></article></main>
<div class="sidebar widget"><h3>Related posts</h3><a href=/1>One other post</a><br><br><a href=/2>Two other posts</a></div>
<footer><p>© 2024 <a href=/i>Imprint</a> <a href=/p>Privacy policy</a></p></footer></body>"""


def flat_of(html: str):
    return flatten(HTMLTree.parse(html).document.html.encode())


def features_of(flat, name_scores=None, word_scores=None):
    names = np.zeros(NAME_BUCKETS, np.float32) if name_scores is None else name_scores
    words = np.zeros(WORD_BUCKETS, np.float32) if word_scores is None else word_scores
    return features(flat, np.zeros((flat.runs, 3), np.int32), names, words)


def column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, FEATURES.index(name)]


def test_features_are_what_the_tree_says():
    tree = HTMLTree.parse(PAGE)
    flat = flat_of(PAGE)
    x = features_of(flat)
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


def test_what_headings_and_containers_say_reaches_the_runs_below():
    """Words of the sidebar's heading get a bad score: its links stand under it."""
    flat = flat_of(PAGE)
    texts = [flat.html[flat.start_N[n] : flat.end_N[n]].decode().strip() for n in flat.first_R.tolist()]
    related, other = texts.index("Related posts"), texts.index("Two other posts")
    base = column(features_of(flat), "said")
    assert not base.any()
    alone = flat_of("<body><p>Related posts</p></body>")
    scores = np.zeros(WORD_BUCKETS, np.float32)
    scores[buckets_of(tokens_of(alone))[0]] = -1
    x = features_of(flat, word_scores=scores)
    assert column(x, "said")[related] < column(x, "said")[other] <= 0
    assert (
        column(x, "said_heading")[other] == column(x, "said")[related] == column(x, "said_heading")[related]
    )
    assert column(x, "said_headings_least")[other] <= column(x, "said")[related]
    assert (
        column(x, "container0_said_first")[other] == column(x, "said")[related]
    )  # the box begins with its heading
    assert column(x, "said_before_least")[other] == column(x, "said")[related]
    assert column(x, "near-2_said")[other] == column(x, "said")[related]


def test_copies_are_counted_in_the_order_of_the_page():
    flat = flat_of("<body><p>Buy now</p><p>Words</p><p>BUY  now</p><p>Buy now!</p><p>Buy now</p>")
    x = features_of(flat)
    assert column(x, "copies").tolist() == [3, 1, 3, 1, 3]
    assert column(x, "copies_before").tolist() == [0, 0, 1, 0, 2]


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


def test_expected_f1_is_what_drawn_truths_have_on_average():
    random = np.random.default_rng(0)
    p_R, words_R = random.beta(0.5, 0.7, 400), random.integers(1, 80, 400)
    kept_R = most_likely(p_R, words_R)
    drawn = []
    for _ in range(500):
        truth_R = random.random(400) < p_R
        common = words_R[kept_R & truth_R].sum()
        drawn.append(2 * common / (words_R[kept_R].sum() + words_R[truth_R].sum()))
    assert abs(expected_f1(p_R, kept_R, words_R) - np.mean(drawn)) < 0.005


def test_trees_against_a_walk_by_hand():
    """Complete trees of random questions, some of them never answered with yes."""
    random = np.random.default_rng(0)
    questions = 2**DEPTH - 1
    feature = random.integers(0, 9, (5, questions)).astype(np.uint8)
    threshold = random.random((5, questions)).astype(np.float32)
    threshold[random.random((5, questions)) < 0.2] = np.inf
    value = random.normal(size=(5, questions + 1)).astype(np.float32)
    x = random.random((40, 9)).astype(np.float32)
    x[:20] = threshold[0, 0]  # exactly at a threshold: to the left

    def walk(tree: int, row: np.ndarray) -> float:
        path = ""
        for depth in range(DEPTH):
            place = 2**depth - 1 + int("0" + path, 2)
            path += "1" if row[feature[tree, place]] > threshold[tree, place] else "0"
        return float(value[tree, int(path, 2)])

    odds = np.array([sum(walk(tree, row) for tree in range(5)) for row in x])
    trees = Trees(feature, threshold, value)
    assert np.allclose(trees.probabilities(x), 1 / (1 + np.exp(-odds)), atol=1e-6)
    assert np.array_equal(trees.probabilities(x), trees.probabilities(np.asfortranarray(x)))


def test_the_stored_model_fits_the_features():
    assert MODEL.stat().st_size < 1_000_000
    model = load()
    assert model.trees.feature_TQ.max() < len(FEATURES) and model.trees.feature_TQ.shape[1] == 2**DEPTH - 1
    assert model.name_scores.shape == (NAME_BUCKETS,) and model.word_scores.shape == (WORD_BUCKETS,)
    assert np.isfinite(model.trees.value_TL).all() and np.isfinite(model.word_scores).all()


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
    choice = choose(flat, extra)
    assert choice.kept_R.tolist() == kept.tolist() and 0.8 < choice.expected_f1 <= 1


def test_less_is_expected_of_a_page_without_prose():
    links = "".join(f"<div><a href=/{n}>Item {n}</a> <span>{n}.00</span></div>" for n in range(60))
    shop, article = flat_of(f"<body>{links}"), flat_of(PAGE)
    expected = [choose(flat, np.zeros((flat.runs, 3), np.int32)).expected_f1 for flat in (shop, article)]
    assert expected[0] < expected[1]


def test_a_word_or_two_between_paragraphs_stay_but_no_link():
    words = "<div><span>or</span></div>"
    link = "<div><a href=/x>more</a></div>"
    for between, stays in ((words, True), (words + words, True), (3 * words, None), (link, None)):
        flat = flat_of(PAGE.replace("<p>Qzxm0z</p>", between))
        extra = np.zeros((flat.runs, 3), np.int32)
        inside = [
            flat.html[flat.start_N[n] : flat.end_N[n]] in (b"or", b"more") for n in flat.first_R.tolist()
        ]
        words_R = flat.counts_RC[:, 0]
        likely = most_likely(load().probabilities(flat, extra), words_R)
        kept = main_content(flat, extra)
        assert kept[inside].all() if stays else (kept[inside] == likely[inside]).all()


def test_a_page_of_one_word_is_kept():
    flat = flat_of("<body><p>Word")
    assert main_content(flat, np.zeros((1, 3), np.int32)).tolist() == [True]
    empty = flat_of("<body>")
    assert main_content(empty, np.zeros((0, 3), np.int32)).tolist() == []
