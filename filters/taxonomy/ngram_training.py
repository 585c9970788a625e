"""How filters.taxonomy.ngrams learns: all dimensions at once, from sparse rows, in minutes on one core.

The loss of an ordinal dimension is the sum over its thresholds of the logistic loss of score + bias, with one score for
all, so that P(level ≥ k) can only fall with k (Cao, Mirjalili & Raschka 2020); of a nominal one, softmax. Labels may be
shares, rows have weights, labels may be missing. AdaGrad (Duchi et al. 2011) with a step size for each place, weight
decay, and the average of the later epochs' weights; calibrated on held-out hosts (filters.taxonomy.heads).

On WCXB's page types (three splits by host) one step size a place was better than one a weight (AUC .932 against .930) and
twice as fast; 2^21 places in place of 2^18 gained nothing; log counts in place of whether a token occurs gained .015 for
"article", nothing for the others.

Legend: F places, C directions of all dimensions together, N rows, T thresholds or names of all dimensions, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.taxonomy.heads import Calibration, Targets, calibrations, targets, width
from filters.taxonomy.ngrams import BUCKETS_BITS, Features, NgramTagger, ngram_features, of_dimensions
from filters.taxonomy.rubric import Dimension
from pipeline.stage import StageConfig


class NgramOptions(StageConfig):
    window: int = Field(4096, gt=0, description="bytes read at the beginning, in the middle and at the end")
    epochs: int = Field(10, gt=0, description="passes over the training rows")
    rate: float = Field(3.0, gt=0, description="AdaGrad's step")
    decay: float = Field(0.03, ge=0, description="how strongly weights are drawn to 0")
    rounds: int = Field(3, gt=0, description="quarters of the hosts held out in turn to calibrate")
    seed: int = Field(0, description="of the order of rows")


def train_ngrams(
    labelled: pa.Table,
    dimensions: Sequence[Dimension],
    rounds: Sequence[tuple[np.ndarray, np.ndarray]],
    options: NgramOptions | None = None,
) -> NgramTagger:
    """Learn all dimensions from a labelled table; the same bytes for the same rows. Raises `RequestError` (heads.targets).

    rounds: pairs of rows to train on and to calibrate on (heads.calibrations). 20,000 documents of eight dimensions and
    three rounds take about a minute.
    """
    options = options or NgramOptions()
    features = ngram_features(labelled["text"], options.window)
    wanted = {d.name: targets(labelled, d) for d in dimensions}
    weight_N = labelled["weight"].to_numpy().astype(np.float32)

    def learn(rows: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return _weights(features, dimensions, wanted, weight_N, rows, options)

    def score(rows: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        weights_FC, bias = learn(rows)
        score_NC = np.zeros((len(others), weights_FC.shape[1]), np.float32)
        _dot(*features, others, weights_FC, score_NC)
        return {name: score_NT + bias[name] for name, score_NT in of_dimensions(score_NC, dimensions).items()}

    found = calibrations(dimensions, wanted, weight_N, rounds, score)
    weights_FC, bias = learn(np.arange(len(labelled)))
    calibration = {
        name: Calibration(slope_T, slope_T * bias[name] + offset_T)
        for name, (slope_T, offset_T) in found.items()
    }
    # What is kept in the file has half precision: the model in memory says the same.
    return NgramTagger(
        dimensions, weights_FC.astype(np.float16).astype(np.float32), calibration, options.window
    )


def _weights(
    features: Features,
    dimensions: Sequence[Dimension],
    wanted: dict[str, Targets],
    weight_N: np.ndarray,
    rows: np.ndarray,
    options: NgramOptions,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Directions [F, C] and each dimension's thresholds [T], learnt from `rows`: averages of the later epochs."""
    share_NT = np.concatenate([wanted[d.name].share_NT for d in dimensions], axis=1)
    known_ND = np.stack([wanted[d.name].known_N for d in dimensions], axis=1)
    # Of each dimension: is it ordinal, its first direction and the next one's, its first target and the next one's.
    plan, c, t = np.zeros((len(dimensions), 5), np.int64), 0, 0
    for i, dimension in enumerate(dimensions):
        size = 1 if dimension.ordinal else width(dimension)
        plan[i] = dimension.ordinal, c, c + size, t, t + width(dimension)
        c, t = c + size, t + width(dimension)
    base_T = np.array(
        [
            np.average(share_NT[rows, k], weights=weight_N[rows] * known_ND[rows, i] + 1e-9)
            for i, (*_, a, b) in enumerate(plan)
            for k in range(a, b)
        ]
    ).clip(1e-4, 1 - 1e-4)
    bias_T = np.log(base_T / (1 - base_T)).astype(np.float32)
    weights_FC = np.zeros((1 << BUCKETS_BITS, c), np.float32)
    squares_F = np.ones(1 << BUCKETS_BITS, np.float32)
    squares_T, last_F = np.ones_like(bias_T), np.zeros(1 << BUCKETS_BITS, np.int64)
    average_FC, average_T, averaged = np.zeros_like(weights_FC), np.zeros_like(bias_T), 0
    random = np.random.default_rng(options.seed)
    shrink = np.float32(options.decay * options.rate / len(rows))
    for epoch in range(options.epochs):
        order = random.permutation(rows)
        _learn(
            *(*features, order, share_NT, known_ND, weight_N, plan),
            *(weights_FC, squares_F, bias_T, squares_T, last_F),
            *(np.int64(epoch * len(rows)), np.float32(options.rate), shrink),
        )
        if 2 * (epoch + 1) > options.epochs:
            pending_F = np.exp(-shrink * ((epoch + 1) * len(rows) - last_F)).astype(np.float32)
            average_FC += weights_FC * pending_F[:, None]
            average_T += bias_T
            averaged += 1
    average_T /= averaged
    return average_FC / averaged, {
        d.name: average_T[a:b] for d, (*_, a, b) in zip(dimensions, plan, strict=True)
    }


@numba.njit(cache=True, nogil=True)
def _dot(offsets, places, values, rows, weights, scores):
    for i in range(len(rows)):
        for f in range(offsets[rows[i]], offsets[rows[i] + 1]):
            for c in range(weights.shape[1]):
                scores[i, c] += values[f] * weights[places[f], c]


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy")
def _learn(
    offsets,
    places,
    values,
    order,
    targets,
    known,
    row_weights,
    plan,
    weights,
    squares,
    bias,
    bias_squares,
    last,
    step,
    rate,
    shrink,
):
    """One epoch of AdaGrad with one step size a place: it wastes less on rare features than one for each weight.

    The decay of a weight is caught up with when its feature occurs. `plan`: see `_weights`.
    """
    directions = weights.shape[1]
    score, slope = np.empty(directions, np.float32), np.empty(directions, np.float32)
    for row in order:
        score[:] = 0
        for f in range(offsets[row], offsets[row + 1]):
            place, value = np.uint64(places[f]), values[f]
            weight = weights[place]
            kept = np.float32(np.exp(-shrink * np.float32(step - last[place])))
            last[place] = step
            for c in range(directions):
                weight[c] *= kept
                score[c] += value * weight[c]
        for d in range(len(plan)):
            ordinal, c, c_end, t, t_end = plan[d]
            slope[c:c_end] = 0
            if not known[row, d]:
                continue
            if not ordinal:
                top = np.float32(-np.inf)
                for k in range(t_end - t):
                    top = max(top, score[c + k] + bias[t + k])
                total = np.float32(0)
                for k in range(t_end - t):
                    slope[c + k] = np.exp(score[c + k] + bias[t + k] - top)
                    total += slope[c + k]
            for k in range(t_end - t):
                if ordinal:
                    found = np.float32(1) / (np.float32(1) + np.exp(-score[c] - bias[t + k]))
                else:
                    found = slope[c + k] / total
                wrong = (found - targets[row, t + k]) * row_weights[row]
                bias_squares[t + k] += wrong * wrong
                bias[t + k] -= rate * wrong / np.sqrt(bias_squares[t + k])
                if ordinal:
                    slope[c] += wrong
                else:
                    slope[c + k] = wrong
        steepness = np.float32(0)
        for c in range(directions):
            steepness += slope[c] * slope[c] / len(plan)
        for f in range(offsets[row], offsets[row + 1]):
            place, value = np.uint64(places[f]), values[f]
            weight = weights[place]
            squares[place] += value * value * steepness
            move = rate * value / np.sqrt(squares[place])
            for c in range(directions):
                weight[c] -= move * slope[c]
        step += 1
