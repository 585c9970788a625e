"""Spelling by hand, features against plain Python, and learning against the model that wrote the texts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters.taxonomy.heads import targets
from filters.taxonomy.held_out import split
from filters.taxonomy.ngram_training import NgramOptions, train_ngrams
from filters.taxonomy.ngrams import SHAPES, NgramTagger, ngram_features, spelled
from filters.taxonomy.rubric import Dimension

DEPTH = Dimension("depth", ("none", "some", "much"), ordinal=True, first=1)
GOOD = Dimension("good", ("no", "yes"), ordinal=True)
DOMAIN = Dimension("domain", ("mathematics", "code", "news"), ordinal=False)
PAGE = """# Über Roots

Since $\\sqrt{2}≥1.41$, don't write `x != 2`:

```python
def f(x):
    return {x: "Ä"}
```
数学很好。 ไทย ２０２４ ﬁne"""


def spell(text: str, window: int = 4096) -> str:
    """The tokens of a text without the shapes of its lines."""
    return re.sub("[\ue000-\ue0ff] ?", "", spelled(pa.array([text]), window)[0]).rstrip()


def shapes(text: str) -> list[tuple[int, int, int, int]]:
    """Of each line: length, beginning, end, capitals."""
    codes = [ord(found) - SHAPES for found in re.findall("[\ue000-\ue0ff]", spelled(pa.array([text]))[0])]
    return [(code // 18, code // 6 % 3, code // 2 % 3, code % 2) for code in codes]


def test_shapes_of_lines_by_hand() -> None:
    sign, number, letter = range(3)
    other, full_stop, comma = range(3)
    page = "Home\n• About Us\n\n1. Read this first, please.\nélan vital:\n***\n" + "so it goes " * 12 + "!\n"
    assert shapes(page) == [
        (1, letter, other, 1),
        (2, sign, other, 1),
        (3, number, full_stop, 0),
        (2, letter, comma, 0),
        (0, sign, other, 1),
        (6, letter, full_stop, 0),
    ]
    assert shapes("Last line") == [(2, letter, other, 1)]
    assert shapes("数学很好。") == [(0, letter, full_stop, 1)]  # scripts without spaces have no words
    assert shapes("") == shapes(" \n\n\t") == []


def test_a_menu_is_known_by_its_shape_whatever_it_is_about() -> None:
    menu, prose = (
        ngram_features(pa.array([text]))
        for text in ("Maths\nPhysics Now\nArt", "We like maths, physics, art.")
    )
    other = ngram_features(pa.array(["Boats\nBlue Shoes\nTea"]))
    assert len(set(menu.places) & set(other.places)) >= 5  # shapes, pairs of shapes, the breaks
    assert not set(prose.places) & set(other.places)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Thus $\\frac{12}{x^2} ⇒ y$.", "thus $ \\frac { 00 } { x ^ 0 } ⇒ y $ ."),
        ("a=b\\\\c \\{ \\", "a = b \\ \\c \\ { \\"),
        ("def f(x):\n\treturn x_1 != 'a'", "def f ( x ) : ↵ return x _ 0 ! = ' a"),
        ("\n\nOne.\n- two\n\n\n- three\n", "¶ one . ↵ - two ¶ - three"),
        ("Don't, don’t; Éa e\u0301a", "dont , dont ; ea ea"),
        ("数学 is 10 times かな", "数 学 is 00 times か な"),
        ("__label__1 </s>", "_ _ label _ _ 0 < / s >"),
        ("", ""),
        (" \t ", ""),
    ],
)
def test_spelling_by_hand(text: str, tokens: str) -> None:
    assert spell(text) == tokens


def test_a_book_is_read_at_its_beginning_middle_and_end() -> None:
    book = "alpha " * 1000 + "beta " * 1000 + "gamma " * 1000
    counts = Counter(spell(book, window=60).split())
    assert counts == {"alpha": 10, "beta": 12, "gamma": 10}
    for window in range(1, 40):  # windows that would begin or end within a character
        assert set(spell("数𝑥é" * 500, window)) <= set("数xe ")


def test_features_are_those_of_plain_python() -> None:
    """Counts of tokens and neighbours, 1 + log, length 1; equal texts but for case, accents and digits have equal ones."""
    texts = pa.array([PAGE, "", PAGE.replace("Since", "SINCE").replace("1.41", "9.73"), "a a a b"])
    offsets, places, values = ngram_features(texts)
    assert np.diff(offsets)[1] == 0
    for row in (0, 3):
        tokens = spell(texts[row].as_py()).split()
        lines = shapes(texts[row].as_py())
        counts = sum((Counter(of) + Counter(itertools.pairwise(of)) for of in (tokens, lines)), Counter())
        weights = 1 + np.log(sorted(counts.values()))
        found = values[offsets[row] : offsets[row + 1]]
        assert np.sort(found) == pytest.approx(weights / np.linalg.norm(weights), rel=1e-5)
    first, third = slice(*offsets[0:2]), slice(*offsets[2:4])
    assert (places[first] == places[third]).all() and (values[first] == values[third]).all()


def written(rows: int, seed: int, hosts: int = 60) -> tuple[pa.Table, np.ndarray]:
    """Texts whose words are drawn at random, and the exact log-odds that each has more than the lowest depth.

    Half the words of a text are drawn from a mixture that depends on its depth, half from one that depends on its
    domain. Hosts add a word of their own.
    """
    random = np.random.default_rng(seed)
    plain, deep = random.dirichlet(np.full(400, 0.5), 2)
    common = np.array([(1 - share) * plain + share * deep for share in (0.4, 0.5, 0.6)])  # of depth 1, 2, 3
    topics = 0.8 / 400 + 0.2 * random.dirichlet(np.full(400, 0.5), 3)
    names = np.array(["w" + "".join("abcdefghij"[int(c)] for c in f"{i:03d}") for i in range(800)])
    depth, domain, host = (
        random.integers(0, 3, rows),
        random.integers(0, 3, rows),
        random.integers(0, hosts, rows),
    )
    texts, odds = [], []
    for d, t, h in zip(depth, domain, host, strict=True):
        words = random.choice(400, 60, p=common[d])
        others = random.choice(400, 60, p=topics[t])
        log = np.log(common[:, words]).sum(axis=1)
        odds.append(np.logaddexp(log[1], log[2]) - log[0])
        texts.append(
            " ".join(random.permutation([*names[words], *names[400 + others], f"site{chr(97 + h % 26)}"]))
        )
    columns = {
        "id": [f"{seed}-{i}" for i in range(rows)],
        "text": texts,
        "host": [f"h{h}" for h in host],
        "cluster": [f"{seed}-{i}" for i in range(rows)],
        "kind": pa.nulls(rows, pa.string()),
        "weight": np.ones(rows),
        "label_depth": pa.array(depth + 1.0, pa.float32()),
        "label_good": pa.array((depth > 0) * 1.0, pa.float32()),
        "label_domain": np.array(DOMAIN.levels)[domain].tolist(),
    }
    return pa.table(columns), np.array(odds)


def rounds(table: pa.Table, count: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    return [split(table, 0.25, seed) for seed in range(count)]


def area(score: np.ndarray, good: np.ndarray) -> float:
    """Share of pairs of a good and a bad row that are in order, by looking at every pair."""
    return float((score[good][:, None] > score[~good][None, :]).mean())


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return written(1600, seed=1)[0]


@pytest.fixture(scope="module")
def unseen() -> tuple[pa.Table, np.ndarray]:
    table, odds = written(1600, seed=1)
    return table.slice(1200), odds[1200:]


@pytest.fixture(scope="module")
def tagger(table: pa.Table) -> NgramTagger:
    known = table.slice(0, 1200)
    return train_ngrams(known, [DEPTH, DOMAIN, GOOD], rounds(known))


def logistic_regression(table: pa.Table, train: int) -> np.ndarray:
    """A second implementation: words counted in Python, ridge logistic regression by plain gradient descent."""
    counts = [Counter(spell(text).split()) for text in table["text"].to_pylist()]
    places = {word: i for i, word in enumerate(sorted(set().union(*counts)))}
    x = np.zeros((len(counts), len(places)))
    for row, found in enumerate(counts):
        for word, count in found.items():
            x[row, places[word]] = 1 + np.log(count)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    good, weights, bias = table["label_good"].to_numpy(), np.zeros(len(places)), 0.0
    for _ in range(400):
        wrong = 1 / (1 + np.exp(-x[:train] @ weights - bias)) - good[:train]
        weights -= 4 * (x[:train].T @ wrong + 2 * weights) / train
        bias -= wrong.mean()
    return x[train:] @ weights


def test_it_learns_as_much_as_plain_logistic_regression_and_its_probabilities_are_true(
    tagger: NgramTagger, table: pa.Table, unseen: tuple[pa.Table, np.ndarray]
) -> None:
    test, odds = unseen
    predicted = tagger.predict(test["text"])
    good = test["label_good"].to_numpy() > 0.5
    reference = area(logistic_regression(table, 1200), good)
    assert 0.75 < reference < area(odds, good)
    for share in (predicted["good"][:, 0], predicted["depth"][:, 0]):
        assert area(share, good) > reference - 0.03
        for low, high in ((0, 0.5), (0.5, 0.8), (0.8, 1)):
            here = (share >= low) & (share <= high)
            assert share[here].mean() == pytest.approx(good[here].mean(), abs=0.12)
    names = np.array(DOMAIN.levels)[predicted["domain"].argmax(axis=1)]
    assert (names == np.array(test["label_domain"].to_pylist())).mean() > 0.7
    assert predicted["domain"].sum(axis=1) == pytest.approx(np.ones(len(test)), abs=1e-5)
    assert (np.diff(predicted["depth"], axis=1) <= 0).all()


def test_a_text_is_judged_alone_and_training_is_repeatable(
    tagger: NgramTagger, table: pa.Table, unseen: tuple[pa.Table, np.ndarray], tmp_path: Path
) -> None:
    known, texts = table.slice(0, 1200), unseen[0]["text"]
    again = train_ngrams(known, [DEPTH, DOMAIN, GOOD], rounds(known))
    whole = tagger.predict(texts)
    for name, share in again.predict(texts.slice(7, 1)).items():
        assert (share == whole[name][7:8]).all()
    for part, model in (("a", tagger), ("b", again)):
        (tmp_path / part).mkdir()
        model.save(tmp_path / part)
    assert (tmp_path / "a" / "heads.npz").read_bytes() == (tmp_path / "b" / "heads.npz").read_bytes()


def test_weights_and_missing_labels_are_respected(
    unseen: tuple[pa.Table, np.ndarray], table: pa.Table
) -> None:
    """Rows of weight 0 with wrong labels, or rows without one, change nothing that counts."""
    known = table.slice(0, 1200)
    labels = known["label_good"].to_numpy().copy()
    wrong = np.arange(1200) % 3 == 0
    column = known.column_names.index("label_good")
    upside_down = known.set_column(
        column, "label_good", pa.array(np.where(wrong, 1 - labels, labels), pa.float32())
    )
    light = upside_down.set_column(
        known.column_names.index("weight"), "weight", pa.array(np.where(wrong, 0, 1.5))
    )
    absent = known.set_column(column, "label_good", pa.array(labels, pa.float32(), mask=wrong))
    test = unseen[0]
    good = test["label_good"].to_numpy() > 0.5
    options = NgramOptions(rounds=1)
    areas = [
        area(train_ngrams(rows, [GOOD], rounds(rows, 1), options).predict(test["text"])["good"][:, 0], good)
        for rows in (light, absent, upside_down)
    ]
    assert areas[0] == pytest.approx(areas[1], abs=0.02)
    assert min(areas[:2]) > 0.75
    assert areas[2] < min(areas[:2]) - 0.03


def test_labels_between_levels_are_learnt_as_chances() -> None:
    """Of equal texts half are said to be 2, half 3: as good as 2.5 for all."""
    texts = ["the same words every time", "quite another text stands here"]
    rows = [(text, f"h{i}") for i in range(300) for text in texts]
    columns = {
        "id": [str(i) for i in range(600)],
        "text": [text for text, _ in rows],
        "host": [host for _, host in rows],
        "cluster": [host for _, host in rows],
        "kind": pa.nulls(600, pa.string()),
        "weight": np.ones(600),
    }
    mixed = pa.table(columns | {"label_depth": pa.array([2.0, 1, 3, 1] * 150, pa.float32())})
    between = pa.table(columns | {"label_depth": pa.array([2.5, 1, 2.5, 1] * 150, pa.float32())})
    assert targets(between, DEPTH).share_NT[0].tolist() == [1, 0.5]
    for table, chance in ((mixed, 0.12), (between, 0.03)):  # which labels are held out is chance
        share = train_ngrams(table, [DEPTH], rounds(table)).predict(pa.chunked_array([texts]))["depth"]
        assert share[0, 1] == pytest.approx(0.5, abs=chance)
        assert share[0, 0] > 0.85 and share[1, 0] < 0.15
