"""Targets of labels, calibration against known truths, and what bad labels say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from filters.taxonomy.heads import Calibration, calibrate, probabilities, targets
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError

DEPTH = Dimension("depth", ("none", "some", "much", "proof"), ordinal=True, first=1)
DOMAIN = Dimension("domain", ("mathematics", "code", "news"), ordinal=False)


def labelled(**labels: list) -> pa.Table:
    ids = [f"d{i}" for i in range(len(next(iter(labels.values()))))]
    return pa.table({"id": ids} | {f"label_{name}": values for name, values in labels.items()})


def test_an_expected_level_is_shared_between_the_two_around_it() -> None:
    share, known = targets(labelled(depth=[1.0, 2.4, None, 4.0]), DEPTH)
    assert np.allclose(share[[0, 1, 3]], [[0, 0, 0], [1, 0.4, 0], [1, 1, 1]])
    assert known.tolist() == [True, True, False, True]


def test_a_name_is_all_of_its_share() -> None:
    share, known = targets(labelled(domain=["code", None, "news"]), DOMAIN)
    assert share[[0, 2]].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert known.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("dimension", "labels", "words"),
    [
        (DEPTH, [1.0, 5.5, 2.0], ("label_depth", "d1", "5.5", "from 1 to 4")),
        (DEPTH, [1.0, 2.0, 0.5], ("label_depth", "d2", "0.5")),
        (DEPTH, [1.0, float("nan"), 2.0], ("label_depth", "d1", "nan")),
        (DOMAIN, ["code", "sport"], ("label_domain", "d1", "'sport'", "mathematics, code, news")),
        (DEPTH, [3.0, 3.0, 3.1], ("label_depth", "3 labels", "all the same")),
        (DOMAIN, ["code", None, "code"], ("label_domain", "2 labels", "code")),
        (DOMAIN, pa.array([None, None], pa.string()), ("label_domain", "0 labels")),
    ],
)
def test_labels_that_do_not_fit_are_named(dimension: Dimension, labels: list, words: tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as error:
        targets(labelled(**{dimension.name: labels}), dimension, "labels.parquet")
    for word in ("labels.parquet", *words):
        assert word in str(error.value)


def test_a_dimension_without_labels_names_the_columns_there_are() -> None:
    with pytest.raises(RequestError, match=r"no column label_depth.*label_domain"):
        targets(labelled(domain=["code", "news"]), DEPTH)


def test_calibration_finds_the_slopes_and_offsets_that_labels_were_drawn_with() -> None:
    """Labels are drawn from known probabilities of known scores; all weight is on the first half of the rows."""
    random = np.random.default_rng(3)
    score = random.normal(0, 2, (40_000, 1)).repeat(3, 1)
    slope, offset = np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.0, -1.5])
    true = 1 / (1 + np.exp(-(slope * score + offset)))
    labels = (random.random(true.shape) < true).astype(np.float32)
    weight = np.ones(len(score), np.float32)
    labels[20_000:], weight[20_000:] = 1 - labels[20_000:], 0
    found = calibrate(score, labels, weight, DEPTH)
    assert found.slope_T == pytest.approx(slope, rel=0.06)
    assert found.offset_T == pytest.approx(offset, abs=0.06)


def test_calibration_of_names_finds_what_they_were_drawn_with() -> None:
    random = np.random.default_rng(4)
    score = random.normal(0, 1.5, (40_000, 3))
    logit = 0.6 * score + [0.0, 1.0, -1.0]
    true = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    names = (random.random((len(true), 1)) > true.cumsum(axis=1)).sum(axis=1)
    found = calibrate(score, np.eye(3)[names], np.ones(len(score)), DOMAIN)
    assert found.slope_T == pytest.approx([0.6] * 3, rel=0.05)
    assert found.offset_T - found.offset_T[0] == pytest.approx([0.0, 1.0, -1.0], abs=0.08)


def test_scores_that_say_the_opposite_are_not_believed() -> None:
    """A quarter of the rows is good, and they have the lowest scores: what remains is one in four for everybody."""
    score = np.linspace(1, -1, 4000)[:, None].repeat(3, 1)
    labels = (np.arange(4000) >= 3000)[:, None].repeat(3, 1)
    share = probabilities(score, calibrate(score, labels, np.ones(4000), DEPTH), DEPTH)
    assert share == pytest.approx(np.full((4000, 3), 0.25), abs=0.01)


def test_thresholds_never_rise_even_where_their_curves_cross() -> None:
    crossing = Calibration(np.array([1.0, 4.0, 0.2], np.float32), np.array([0.0, -1.0, 0.0], np.float32))
    share = probabilities(np.linspace(-5, 5, 101)[:, None], crossing, DEPTH)
    assert share.dtype == np.float32 and share.shape == (101, 3)
    assert (np.diff(share, axis=1) <= 0).all()
