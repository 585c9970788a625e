"""Which runs of text are a page's main content: a small learned classifier over features of the flat tree.

Boosted decision trees over `features` say how likely each run is content; of these the runs are chosen whose
F1 is expected to be best. The weights (`model.npz`) are trained by `pipeline.extract.content.training`, which
says on what.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from pipeline.extract.content.features import features
from pipeline.extract.flat import LINKED_WORDS, TAGS, WORDS, Flat

MODEL = Path(__file__).with_name("model.npz")
DEPTH = 6  # questions from a tree's root to a leaf
SHORT_GAP = 2  # words between kept runs that are kept with them


@dataclass(frozen=True)
class Trees:
    """A boosted ensemble, every tree complete: question q is followed by 2q + 1 (at most the threshold) or 2q + 2.

    T trees, Q questions of a tree, L leaves. Where a grown tree ends early, what is below asks nothing (threshold ∞).
    """

    feature_TQ: np.ndarray  # uint8, or int16 for more features: (trees, 2**DEPTH − 1)
    threshold_TQ: np.ndarray  # float32
    value_TL: np.ndarray  # float32 (trees, 2**DEPTH)

    def probabilities(self, x_RF: np.ndarray) -> np.ndarray:
        """float32 (runs,) of float32 features; fastest if these lie column by column."""
        columns_FR = np.ascontiguousarray(x_RF.T, np.float32)
        return _run_trees(self.feature_TQ, self.threshold_TQ, self.value_TL, columns_FR)


@numba.njit(cache=True, nogil=True)
def _run_trees(feature, threshold, value, columns):
    """All rows take one step of a tree, then the next: steps that wait for nothing and need no guess of a branch are
    several times faster than walking each row down to its leaf."""
    rows = columns.shape[1]
    total = np.zeros(rows, np.float32)
    place = np.zeros(rows, np.int32)
    questions = np.int32(feature.shape[1])
    for tree in range(len(feature)):
        asked, limit, leaf = feature[tree], threshold[tree], value[tree]
        column, least = columns[asked[0]], limit[0]
        for r in range(rows):
            place[r] = np.int32(1) + np.int32(column[r] > least)
        for _ in range(1, DEPTH):
            for r in range(rows):
                at = place[r]
                place[r] = np.int32(2) * at + np.int32(1) + np.int32(columns[asked[at], r] > limit[at])
        for r in range(rows):
            total[r] += leaf[place[r] - questions]
    return 1 / (1 + np.exp(-total))


@dataclass(frozen=True)
class Model:
    name_scores: np.ndarray  # float32 (NAME_BUCKETS,)
    word_scores: np.ndarray  # float32 (WORD_BUCKETS,)
    trees: Trees

    def probabilities(self, flat: Flat, extra_RC: np.ndarray) -> np.ndarray:
        """How likely each run belongs to the main content."""
        return self.trees.probabilities(features(flat, extra_RC, self.name_scores, self.word_scores))


class Choice(NamedTuple):
    kept_R: np.ndarray  # bool (runs,)
    expected_f1: float  # of the words; 0.9 means that pages like this one have 0.9 on average


def most_likely(p_R: np.ndarray, words_R: np.ndarray) -> np.ndarray:
    """bool (runs,): the choice of runs whose expected F1 of words is best.

    Of the likeliest runs as many as make `expected_f1` largest (Lewis, "Evaluating and optimizing autonomous text
    classification systems", SIGIR 1995): a page that nothing is sure of keeps more than a fixed threshold would, a
    clear one no less.

    >>> most_likely(np.array([0.9, 0.3, 0.35, 0.0]), np.array([10, 50, 50, 500])).tolist()
    [True, True, True, False]
    """
    order = np.argsort(-p_R, kind="stable")
    weight_R = words_R[order] + 1e-6
    gained = np.cumsum(weight_R * p_R[order])
    best = int(np.argmax(gained / (np.cumsum(weight_R) + gained[-1])))
    kept_R = np.zeros(len(p_R), bool)
    kept_R[order[: best + 1]] = True
    return kept_R


def expected_f1(p_R: np.ndarray, kept_R: np.ndarray, words_R: np.ndarray) -> float:
    """2·Σ kept w·p / (Σ kept w + Σ all w·p): what F1 of words the choice has if the probabilities are right.

    >>> round(expected_f1(np.array([1.0, 0.5]), np.array([True, True]), np.array([30, 10])), 3)
    0.933
    """
    weight_R = words_R + 1e-6
    likely_R = weight_R * p_R
    return float(2 * likely_R[kept_R].sum() / (weight_R[kept_R].sum() + likely_R.sum()))


def choose(flat: Flat, extra_RC: np.ndarray) -> Choice:
    """The runs that are the page's main content (never none of them), and how well this is expected to fit.

    A formula, listing or table that stands among kept runs (one within three before it, one within three after it) is
    kept, whatever the classifier thinks of it. So are one or two words between kept runs that link nowhere (cells of a
    layout table, an "or"): the classifier knows little of so short a run, and they cost 0.0001 of F1 at most. So is the last `<h1>` before them: what people took out of pages to train
    on has no titles in it, but a document should begin with its own (it costs 0.001 of F1 there).
    """
    if not flat.runs:
        return Choice(np.zeros(0, bool), 0.0)
    p_R, words_R = load().probabilities(flat, extra_RC), flat.counts_RC[:, WORDS] + extra_RC[:, 2]
    kept_R = most_likely(p_R, words_R)
    expected = expected_f1(p_R, kept_R, words_R)
    likely = np.flatnonzero(kept_R)
    for gap in np.flatnonzero((np.diff(likely) == 2) | (np.diff(likely) == 3)).tolist():
        between = slice(likely[gap] + 1, likely[gap + 1])
        if words_R[between].sum() <= SHORT_GAP and not flat.counts_RC[between, LINKED_WORDS].any():
            kept_R[between] = True
    for run in np.flatnonzero(~kept_R & (extra_RC[:, :2].sum(1) > 0)).tolist():
        if kept_R[max(run - 3, 0) : run].any() and kept_R[run + 1 : run + 4].any():
            kept_R[run] = True
    titles = np.flatnonzero(flat.tag_N[flat.block_R[: int(np.argmax(kept_R))]] == TAGS["h1"])
    kept_R[titles[-1:]] = True
    return Choice(kept_R, expected)


def main_content(flat: Flat, extra_RC: np.ndarray) -> np.ndarray:
    """bool (runs,): which runs are the page's main content; see `choose`."""
    return choose(flat, extra_RC).kept_R


def save(model: Model, path: Path, about: str) -> None:
    np.savez_compressed(
        path,
        about=np.array(about),
        name_scores=model.name_scores.astype(np.float16),
        word_scores=model.word_scores.astype(np.float16),
        feature=model.trees.feature_TQ,
        threshold=model.trees.threshold_TQ,
        value=model.trees.value_TL,
    )


@functools.cache
def load(path: Path = MODEL) -> Model:
    with np.load(path) as stored:
        names, words = (stored[name].astype(np.float32) for name in ("name_scores", "word_scores"))
        return Model(names, words, Trees(stored["feature"], stored["threshold"], stored["value"]))
