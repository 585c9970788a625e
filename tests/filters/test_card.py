"""The honesty card: measures against second implementations, rows held out, intervals of groups, and what it says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from filters.taxonomy.card import card, groups_of, markdown, split
from filters.taxonomy.measures import draw, estimate
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError

DEPTH = Dimension("depth", ("none", "some", "much"), ordinal=True, first=1)
DOMAIN = Dimension("domain", ("maths", "code", "news"), ordinal=False)


def alone(n: int, weights: np.ndarray | None = None, resamples: int = 0):
    return draw(np.arange(n), np.ones(n) if weights is None else weights, resamples, 0)


# --- measures -----------------------------------------------------------------------------------------------


def test_auc_and_average_precision():
    random = np.random.default_rng(1)
    scores, positive = random.integers(0, 12, 300) / 12, random.random(300) < 0.3
    auc, ap = alone(300).auc_and_ap(scores, positive)
    ranked = stats.mannwhitneyu(scores[positive], scores[~positive])
    assert auc[0] == pytest.approx(ranked.statistic / (positive.sum() * (~positive).sum()))
    area, before = 0.0, 0.0
    for cut in sorted(set(scores), reverse=True):
        found = (positive & (scores >= cut)).sum() / positive.sum()
        area += (found - before) * positive[scores >= cut].mean()
        before = found
    assert ap[0] == pytest.approx(area)


def test_hand_worked_cases():
    # Scores fall from left to right: + − + −. Of 4 pairs 3 are in order; precision is 1 and 2/3 where recall grows.
    auc, ap = alone(4).auc_and_ap(np.array([0.9, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 0], bool))
    assert auc[0] == 0.75
    assert ap[0] == pytest.approx((1 + 2 / 3) / 2)
    # Bin .2–.3 says .25 and holds 1 of 4 (right); bin .9–1 says .95 and holds 1 of 2 (off by .45): 2/6 · .45.
    said, true = np.array([0.25] * 4 + [0.95] * 2), np.array([1, 0, 0, 0, 1, 0], bool)
    assert alone(6).calibration_error(said, true)[0] == pytest.approx(0.15)
    # maths, maths, code guessed as maths, code, code: F1 2/3 (2 of 3 guesses… 1 hit) and 4/5; news does not occur.
    labels, guesses = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1])
    accuracy, f1 = alone(5).accuracy_and_f1(labels, guesses, 3)
    assert accuracy[0] == 0.8
    assert f1[0] == pytest.approx((2 / 3 + 6 / 7) / 2)


def test_rank_correlation_and_kappa():
    random = np.random.default_rng(2)
    a = random.integers(0, 5, 200)
    b = np.clip(a + random.integers(-2, 3, 200), 0, 4)
    assert alone(200).spearman(a, b)[0] == pytest.approx(stats.spearmanr(a, b).statistic)
    table = np.zeros((5, 5))
    np.add.at(table, (a, b), 1 / 200)
    chance = np.outer(table.sum(1), table.sum(0))
    distance = np.subtract.outer(np.arange(5), np.arange(5)) ** 2
    assert alone(200).kappa(a, b)[0] == pytest.approx(
        1 - (distance * table).sum() / (distance * chance).sum()
    )


def test_a_draw_is_its_groups_copied():
    """Every measure of a draw, and of weights, equals that of rows copied as often as they were drawn."""
    random = np.random.default_rng(3)
    groups, weights = random.integers(0, 12, 90), random.integers(1, 4, 90).astype(float)
    scores, labels = random.random(90).round(1), random.integers(0, 3, 90)
    positive = labels == 2
    draws = draw(groups, weights, 5, 4)
    copies = (draws.counts[3][draws.groups] * weights).astype(int)
    assert len(set(draws.counts[3])) > 2
    rows = np.repeat(np.arange(90), copies)
    copied = alone(len(rows))
    for measure in (
        lambda d, at: d.auc_and_ap(scores[at], positive[at])[0],
        lambda d, at: d.auc_and_ap(scores[at], positive[at])[1],
        lambda d, at: d.spearman(scores[at], labels[at]),
        lambda d, at: d.kappa((3 * scores[at]).round(), labels[at]),
        lambda d, at: d.calibration_error(scores[at], positive[at]),
        lambda d, at: d.accuracy_and_f1(labels[at], (2 * scores[at]).astype(int), 3)[1],
    ):
        assert measure(draws, np.arange(90))[3] == pytest.approx(measure(copied, rows)[0])


def test_intervals_know_that_rows_of_a_group_are_no_evidence():
    """Twenty copies of every row in its group change no interval; as groups of their own they would narrow it."""
    random = np.random.default_rng(5)
    scores, positive = random.random(60), random.random(60) < 0.5
    scores[positive] += 0.2

    def width(groups, at):
        found = estimate(draw(groups, np.ones(len(at)), 400, 1).auc_and_ap(scores[at], positive[at])[0])
        assert found["low"] < found["value"] < found["high"]
        return found["high"] - found["low"]

    once, copied = np.arange(60), np.repeat(np.arange(60), 20)
    assert width(copied, copied) == pytest.approx(width(once, once), rel=0.02)
    assert width(np.arange(1200), copied) < 0.4 * width(copied, copied)
    # the textbook: Hanley & McNeil's standard error of an AUC, within a fifth
    auc = estimate(alone(60).auc_and_ap(scores, positive)[0])["value"]
    p, n = positive.sum(), (~positive).sum()
    variance = auc * (1 - auc) + (p - 1) * (auc / (2 - auc) - auc**2)
    variance += (n - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    assert width(once, once) == pytest.approx(2 * 1.96 * np.sqrt(variance / (p * n)), rel=0.2)


# --- rows held out ------------------------------------------------------------------------------------------


def labelled(n: int = 400, hosts: int = 40, seed: int = 0) -> pa.Table:
    """Rows whose depth depends on their words, and whose domain is their host's."""
    random = np.random.default_rng(seed)
    host = random.integers(0, hosts, n)
    words = random.integers(5, 400, n)
    depth = 1 + (words > 150) + (words > 280)
    return pa.table(
        {
            "id": [f"d{i}" for i in range(n)],
            "text": [" ".join(["word"] * count) for count in words],
            "host": [f"h{h}" for h in host],
            "cluster": [f"c{i}" if i % 20 else "shared" for i in range(n)],
            "kind": pa.array([("proof", "forum", None)[h % 3] for h in host], pa.string()),
            "weight": np.ones(n),
            "label_depth": pa.array(depth, pa.float32()),
            "again_depth": pa.array(
                [float(d) if i % 4 == 0 else None for i, d in enumerate(depth)], pa.float32()
            ),
            "label_domain": [DOMAIN.levels[h % 3] for h in host],
            "again_domain": pa.nulls(n, pa.string()),
        }
    )


def test_split_keeps_hosts_and_clusters_whole():
    table = labelled(hosts=200)
    train, test = split(table, 0.25)
    assert sorted([*train, *test]) == list(range(400))
    assert 0.15 < len(test) / 400 < 0.3
    for column in ("host", "cluster"):
        names = np.array(table[column].to_pylist())
        assert not set(names[train]) & set(names[test])
    kinds = np.array(table["kind"].to_pylist(), object)
    assert set(kinds[test]) == set(kinds[train]) == {"proof", "forum", None}
    order = np.random.default_rng(0).permutation(400)
    again = split(table.take(pa.array(order)), 0.25)[1]
    assert set(order[again]) == set(test)
    assert set(split(table, 0.25, seed=1)[1]) != set(test)


def test_a_chain_of_hosts_and_clusters_is_one_group():
    hosts, clusters = ["a", "b", "b", "c", "d"], ["1", "1", "2", "2", "3"]
    assert len(set(groups_of(hosts, clusters)[:4])) == 1
    table = labelled(5).set_column(2, "host", pa.array(hosts)).set_column(3, "cluster", pa.array(clusters))
    assert {tuple(sorted(rows)) for rows in map(np.ndarray.tolist, split(table))} == {(0, 1, 2, 3), (4,)}
    with pytest.raises(RequestError, match="share hosts or near-duplicates"):
        split(table.slice(0, 4))


# --- the card -----------------------------------------------------------------------------------------------


def predictions(table: pa.Table, noise: float, seed: int = 1) -> dict[str, np.ndarray]:
    """Of the labels themselves, blurred."""
    random = np.random.default_rng(seed)
    depth = table["label_depth"].to_numpy() + noise * random.normal(size=len(table))
    cumulative = 1 / (1 + np.exp(-8 * (depth[:, None] - np.array([1.5, 2.5]))))
    names = np.array(table["label_domain"].to_pylist())[:, None] == np.array(DOMAIN.levels)
    shares = names + 0.1 + noise * random.random(names.shape)
    return {"depth": cumulative.astype(np.float32), "domain": shares / shares.sum(1, keepdims=True)}


@pytest.fixture(scope="module")
def sides() -> tuple[pa.Table, pa.Table]:
    table = labelled(1200, hosts=120)
    table = table.set_column(3, "cluster", table["id"])
    return tuple(table.take(pa.array(rows)) for rows in split(table, 0.4))


def test_length_alone_explains_these_labels_and_the_card_says_so(sides):
    train, test = sides
    found = card(test, predictions(test, 0.8), [DEPTH, DOMAIN], train=train, resamples=200)
    high = found["dimensions"]["depth"]["thresholds"][1]
    assert high["at_least"] == 3
    assert high["length"]["auc"]["value"] > 0.99  # the label is a function of the number of words
    assert high["auc"]["value"] < 0.97
    assert high["over_length"]["high"] < 0
    assert any("`depth` ≥ 3 does not beat length alone" in sentence for sentence in found["to_know"])
    assert not any("does not beat domain" in sentence for sentence in found["to_know"])
    assert found["dimensions"]["depth"]["labeller"]["kappa"]["value"] == 1  # asked twice, answered the same
    assert any("labeller's with itself is 1.00" in sentence for sentence in found["to_know"])
    assert any("No held-out row was labelled twice for `domain`" in sentence for sentence in found["to_know"])
    page = markdown(found)
    assert f"{high['auc']['value']:.3f} [" in page
    assert "does not beat length" in page


def test_the_domain_alone_is_beaten_only_by_more_than_the_domain(sides):
    """Depth given by the domain alone, and a tagger that knows nothing else."""
    train, test = sides
    train, test = (
        side.set_column(
            side.column_names.index("label_depth"),
            "label_depth",
            pa.array([1.0 + DOMAIN.levels.index(d) for d in side["label_domain"].to_pylist()], pa.float32()),
        )
        for side in sides
    )
    found = card(test, predictions(test, 0.5), [DEPTH, DOMAIN], train=train, resamples=200)
    for row in found["dimensions"]["depth"]["thresholds"]:
        assert row["domain"]["auc"]["value"] == 1
        assert row["length"]["auc"]["value"] < 0.65
        assert row["over_domain"]["high"] <= 0
        assert any(f"≥ {row['at_least']} does not beat domain" in sentence for sentence in found["to_know"])


def test_the_cut_and_what_it_loses():
    """Ten good documents of which one, a forum page, has a low probability: at recall .9 it is what is lost."""
    n = 20
    p = np.r_[np.linspace(0.6, 0.99, 9), 0.2, np.full(8, 0.1), 0.7, 0.65]
    good = np.r_[np.ones(10), np.zeros(10)]
    table = labelled(n, hosts=n).drop_columns(["label_depth", "again_depth", "kind", "host", "cluster"])
    table = table.append_column("label_deep", pa.array(good, pa.float32()))
    table = table.append_column("again_deep", pa.nulls(n, pa.float32()))
    table = table.append_column("kind", pa.array(["proof"] * 9 + ["forum"] + [None] * 8 + ["forum"] * 2))
    table = table.append_column("host", pa.array([f"h{i}" for i in range(n)])).append_column(
        "cluster", table["id"]
    )
    deep = Dimension("deep", ("no", "yes"), ordinal=True)
    found = card(table, {"deep": p[:, None]}, [deep], train=table, resamples=50)["dimensions"]["deep"]
    cut = found["cut"]
    assert cut["at_least"] == 1
    assert cut["probability"] == pytest.approx(0.6)
    assert cut["recall"]["value"] == 0.9
    assert cut["precision"]["value"] == pytest.approx(9 / 11, abs=1e-4)
    forum, proof = cut["kinds"]
    assert (forum["name"], forum["rows"], forum["good"], forum["dropped"]["value"]) == ("forum", 3, 1, 0.3333)
    assert forum["good_dropped"] == {"value": 1.0, "low": None, "high": None}  # one document: no interval
    assert proof["good_dropped"]["value"] == 0
    assert cut["domains"] == []  # there is no nominal dimension


def test_weights_count_as_rows(sides):
    """A row of weight 3 is three rows, in every value of the card and in its baselines."""
    train, test = sides
    test = test.slice(0, 200)
    times = np.random.default_rng(0).integers(1, 4, len(test))
    weighted = test.set_column(test.column_names.index("weight"), "weight", pa.array(times.astype(float)))
    rows = np.repeat(np.arange(len(test)), times)
    found = predictions(test, 0.5)
    copied = card(
        test.take(pa.array(rows)),
        {name: p[rows] for name, p in found.items()},
        [DEPTH, DOMAIN],
        train=train,
        resamples=10,
    )
    once = card(weighted, found, [DEPTH, DOMAIN], train=train, resamples=10)

    def values(part):
        if isinstance(part, dict):
            return [part["value"]] if "value" in part else [v for name in part for v in values(part[name])]
        return [v for row in part for v in values(row)] if isinstance(part, list) else []

    assert len(values(once["dimensions"])) > 50
    assert values(once["dimensions"]) == values(copied["dimensions"])


def test_labels_that_are_missing_are_left_out(sides):
    train, test = sides
    column = test.column_names.index("label_depth")
    half = [value if i % 2 else None for i, value in enumerate(test["label_depth"].to_pylist())]
    found = predictions(test, 0.5)
    some = card(
        test.set_column(column, "label_depth", pa.array(half, pa.float32())),
        found,
        [DEPTH],
        train=train,
        resamples=9,
    )
    odd = np.arange(len(test)) % 2 == 1
    only = card(test.filter(pa.array(odd)), {"depth": found["depth"][odd]}, [DEPTH], train=train, resamples=9)
    for name in ("kappa", "spearman"):
        assert some["dimensions"]["depth"][name]["value"] == only["dimensions"]["depth"][name]["value"]
    none = card(
        test.set_column(column, "label_depth", pa.nulls(len(test), pa.float32())),
        found,
        [DEPTH],
        train=train,
        resamples=9,
    )
    assert any("no held-out row has a label" in sentence for sentence in none["to_know"])
    markdown(none)


def test_predictions_of_other_dimensions_are_refused(sides):
    train, test = sides
    with pytest.raises(
        RequestError, match=r"predictions of 'depth' have shape \(\d+, 3\), expected \(\d+, 2\)"
    ):
        card(test, {"depth": np.zeros((len(test), 3))}, [DEPTH], train=train)
