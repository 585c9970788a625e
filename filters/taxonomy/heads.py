"""Heads of a tagger: what a student learns from a label, and calibrated probabilities of its raw scores.

An ordinal dimension of K levels is K − 1 questions, "is it at least the level above?"; their probabilities never
increase (cumulative model, McCullagh 1980). A nominal dimension is one choice among its names. Whatever a student's
raw scores are, they are calibrated on rows it has not seen: a slope and an offset for each question (Platt 1999), one
slope and an offset a name for nominal dimensions (vector scaling, Guo et al. 2017, with a shared slope).

Legend: N rows, T thresholds or names of one dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError


class Targets(NamedTuple):
    """What a student is to say of each row, and where anything is known."""

    share_NT: (
        np.ndarray
    )  # float32: P(level ≥ first + 1 + t) of an ordinal dimension, P(name t) of a nominal one
    known_N: np.ndarray  # bool


class Calibration(NamedTuple):
    """A raw score s becomes slope · s + offset, a logit. Both float32 [T]."""

    slope_T: np.ndarray
    offset_T: np.ndarray


def width(dimension: Dimension) -> int:
    """How many probabilities are predicted: T."""
    return len(dimension.levels) - dimension.ordinal


def targets(labelled: pa.Table, dimension: Dimension, source: str = "the labelled table") -> Targets:
    """What a labelled table says of one dimension.

    An expected level between two levels is shared between them: 2.4 is surely ≥ 2 and by 0.4 ≥ 3. Raises
    `RequestError` for a missing column, a label that is no level, and labels that are all the same.
    """
    name = f"label_{dimension.name}"
    if name not in labelled.column_names:
        raise RequestError(f"{source} has no column {name}; it has {', '.join(labelled.column_names)}.")
    column = labelled[name]
    known = column.is_valid().to_numpy()
    if dimension.ordinal:
        levels = column.cast(pa.float64()).fill_null(dimension.first).to_numpy()
        top = dimension.first + len(dimension.levels) - 1
        wrong = ~((levels >= dimension.first) & (levels <= top))
        expected = f"a number from {dimension.first} to {top}"
        share = np.clip(levels[:, None] - np.arange(dimension.first, top), 0, 1)
        alike = len(np.unique(np.floor(levels[known] + 0.5))) < 2
    else:
        names = np.array(column.fill_null(dimension.levels[0]).to_pylist(), object)
        share = names[:, None] == np.array(dimension.levels, object)
        wrong = ~share.any(axis=1)
        expected = f"one of {', '.join(dimension.levels)}"
        alike = int(share[known].any(axis=0).sum()) < 2
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise RequestError(
            f"{source}, column {name}, id {labelled['id'][row]}: {column[row].as_py()!r} is no level of "
            f"{dimension.name}; expected {expected}."
        )
    if alike:
        said = {str(value) for value in column.drop_null().unique().to_pylist()[:3]}
        raise RequestError(
            f"{source}, column {name}: nothing can be learnt from {known.sum()} labels that are all the same "
            f"({', '.join(sorted(said)) or 'none'}). Label rows of other levels too, or leave {dimension.name} out."
        )
    return Targets(share.astype(np.float32), known)


def calibrate(
    score_NT: np.ndarray, share_NT: np.ndarray, weight_N: np.ndarray, dimension: Dimension
) -> Calibration:
    """Slopes and offsets of largest likelihood on rows the student has not seen, drawn to 1 and 0 as if by one row."""
    if not dimension.ordinal:
        slope, offset_T = _fit(score_NT, share_NT, weight_N)
        return Calibration(np.full(len(offset_T), slope, np.float32), offset_T.astype(np.float32))
    slopes, offsets = [], []
    for score_N, share_N in zip(score_NT.T, share_NT.T, strict=True):
        slope, two = _fit(np.stack([0 * score_N, score_N], 1), np.stack([1 - share_N, share_N], 1), weight_N)
        slopes.append(slope)
        offsets.append(two[1] - two[0])
    return Calibration(np.array(slopes, np.float32), np.array(offsets, np.float32))


def probabilities(score_NT: np.ndarray, calibration: Calibration, dimension: Dimension) -> np.ndarray:
    """What is predicted, float32 [N, T]: P(level ≥ first + 1 + t), never increasing in t, or P(name t), of sum 1."""
    logit_NT = score_NT.astype(np.float32) * calibration.slope_T + calibration.offset_T
    if dimension.ordinal:
        return np.minimum.accumulate(1 / (1 + np.exp(-np.clip(logit_NT, -60, 60))), axis=1)
    return _softmax(logit_NT)


def _softmax(logit_NT: np.ndarray) -> np.ndarray:
    share_NT = np.exp(logit_NT - logit_NT.max(axis=1, keepdims=True))
    return share_NT / share_NT.sum(axis=1, keepdims=True)


def _fit(score_NT: np.ndarray, share_NT: np.ndarray, weight_N: np.ndarray) -> tuple[float, np.ndarray]:
    """The slope (≥ 0) and offsets [T] of softmax(slope · score + offset) that fit best, by Newton's method.

    The loss is convex; a step is halved until it helps.
    """
    score_NT, share_NT = score_NT.astype(np.float64), share_NT.astype(np.float64)
    weight_N = weight_N.astype(np.float64)
    size = score_NT.shape[1]
    parameters, prior = np.r_[1.0, np.zeros(size)], np.r_[1.0, np.zeros(size)]

    def loss(parameters: np.ndarray) -> float:
        logit_NT = parameters[0] * score_NT + parameters[1:]
        top_N = logit_NT.max(axis=1)
        entropy_N = (
            np.log(np.exp(logit_NT - top_N[:, None]).sum(axis=1)) + top_N - (share_NT * logit_NT).sum(1)
        )
        return float(weight_N @ entropy_N + ((parameters - prior) ** 2).sum() / 2)

    for _ in range(50):
        found_NT = _softmax(parameters[0] * score_NT + parameters[1:])
        wrong_NT = weight_N[:, None] * (found_NT - share_NT)
        gradient = np.r_[(wrong_NT * score_NT).sum(), wrong_NT.sum(axis=0)] + parameters - prior
        # Of each row: the covariance of (score, indicator of t) under its distribution.
        weighed_NT = weight_N[:, None] * found_NT
        centred_NT = score_NT - (found_NT * score_NT).sum(axis=1, keepdims=True)
        curvature = np.empty((size + 1, size + 1))
        curvature[0, 0] = (weighed_NT * centred_NT**2).sum()
        curvature[0, 1:] = curvature[1:, 0] = (weighed_NT * centred_NT).sum(axis=0)
        curvature[1:, 1:] = np.diag(weighed_NT.sum(axis=0)) - weighed_NT.T @ found_NT
        step = np.linalg.solve(curvature + np.eye(size + 1), gradient)
        here, fraction = loss(parameters), 1.0
        while loss(parameters - fraction * step) > here and fraction > 1e-6:
            fraction /= 2
        parameters = parameters - fraction * step
        if np.abs(fraction * step).max() < 1e-7:
            break
    if (
        parameters[0] < 0
    ):  # on new rows the scores say the opposite or nothing: then the frequency alone is right
        return 0.0, _fit(np.zeros_like(score_NT), share_NT, weight_N)[1]
    return float(parameters[0]), parameters[1:]


def calibrations(
    dimensions: Sequence[Dimension],
    wanted: Mapping[str, Targets],
    weight_N: np.ndarray,
    rounds: Sequence[tuple[np.ndarray, np.ndarray]],
    score: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
) -> dict[str, Calibration]:
    """Calibrate on rows that a student has not seen.

    rounds: pairs of rows to train on and others, whose hosts and clusters are not among them. `score(rows, others)`
    trains a student on the former and says its raw scores [N, T] of the latter.
    """
    scores = [score(rows, others) for rows, others in rounds]
    rows = np.concatenate([others for _, others in rounds])
    found = {}
    for dimension in dimensions:
        share_NT, known_N = wanted[dimension.name]
        score_NT = np.concatenate([part[dimension.name] for part in scores])
        at = known_N[rows]
        found[dimension.name] = calibrate(
            score_NT[at], share_NT[rows][at], weight_N[rows][at] / len(rounds), dimension
        )
    return found
