"""The numbers of an evaluation: pass@1 and pass@k with intervals, truncated and undecided shares, paired differences.

The problems of a benchmark stand for all problems like them, so a problem is the unit of chance and its samples are a
cluster: intervals come from the spread between problems (Miller 2024, arXiv 2411.00640). A plain standard error says 0
for a benchmark that is wholly solved or wholly missed; the intervals here do not.

Legend of shapes: N samples (one answer to one problem each), P problems.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean over problems and its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How one model did on one benchmark. Shares are of samples, 0 to 1."""

    problems: int
    samples: int
    pass_at: dict[int, Estimate]  # k → pass@k; 1 is always there. An undecided answer has not passed
    decided: Estimate | None  # pass@1 without the undecided answers; None: there is nothing else
    undecided: float
    truncated: float
    tokens: float  # mean length of an answer; NaN: no length is known


def score(
    problem_N: ArrayLike,
    passed_N: ArrayLike,
    truncated_N: ArrayLike,
    tokens_N: ArrayLike,
    k: Sequence[int] = (),
) -> Score:
    """The score of all samples of one model on one benchmark.

    problem_N: which problem each sample belongs to, any labels. passed_N: 1, 0, or NaN where the verifier could not
    decide. tokens_N: NaN where there is no answer. k: of pass@k; each problem needs as many samples.
    Raises ValueError for no samples, or too few of a problem for a k.
    """
    _, place_N, samples_P = np.unique(np.asarray(problem_N), return_inverse=True, return_counts=True)
    passed, tokens = np.asarray(passed_N, float), np.asarray(tokens_N, float)
    if not len(passed):
        raise ValueError("there are no samples to score")
    right_P = np.bincount(place_N, weights=np.nan_to_num(passed))
    decided_P = np.bincount(place_N, weights=~np.isnan(passed))
    some = decided_P > 0
    at = {
        each: mean_of_problems(pass_at_k(samples_P, right_P, each), int(samples_P.sum()) // each)
        for each in sorted({1, *k})
    }
    return Score(
        problems=len(samples_P),
        samples=len(passed),
        pass_at=at,
        decided=mean_of_problems(right_P[some] / decided_P[some], int(decided_P.sum()))
        if some.any()
        else None,
        undecided=float(np.isnan(passed).mean()),
        truncated=float(np.asarray(truncated_N, float).mean()),
        tokens=float(np.nanmean(tokens)) if not np.isnan(tokens).all() else math.nan,
    )


def pass_at_k(samples_P: ArrayLike, right_P: ArrayLike, k: int) -> Floats:
    """Chance that one of k answers is right, each problem's, unbiased: 1 - C(n-c, k) / C(n, k) of n samples, c right.

    Chen et al. 2021 (arXiv 2107.03374), section 2.1. Raises ValueError when a problem has fewer than k samples.

    >>> pass_at_k([4, 4, 4], [0, 1, 3], 2)
    array([0. , 0.5, 1. ])
    """
    n, c = np.asarray(samples_P, float), np.asarray(right_P, float)
    if (n < k).any() or k < 1:
        raise ValueError(
            f"pass@{k} needs at least {max(k, 1)} samples of each problem, one has {int(n.min())}"
        )
    missed = np.ones_like(n)
    for drawn in range(k):
        missed *= np.maximum(0.0, n - c - drawn) / (n - drawn)
    return 1.0 - missed


def mean_of_problems(value_P: ArrayLike, samples: int) -> Estimate:
    """Mean of values between 0 and 1, one a problem, and its interval.

    Wilson's (1927) score interval, with an effective sample size m (1-m) / SE² of the clustered standard error in the
    place of n and Student's t in that of z: Dean and Pagano (2015, J. Surv. Stat. Methodol. 3:484) recommend it for
    clustered proportions. The effective size is at most `samples` (as many independent draws as stand behind the
    values) and, where all values are 0 or all are 1, the number of problems. One problem says nothing of others: 0 to 1.
    """
    values = np.asarray(value_P, float)
    mean, problems = float(values.mean()), len(values)
    if problems < 2:
        return Estimate(mean, 0.0, 1.0)
    variance = float(values.var(ddof=1)) / problems
    spread = mean * (1 - mean)
    size = (
        float(problems)
        if spread < 1e-12
        else min(float(samples), spread / variance if variance else math.inf)
    )
    q2 = students_t(problems - 1) ** 2
    middle = (mean + q2 / (2 * size)) / (1 + q2 / size)
    half = math.sqrt(q2 * (spread / size + q2 / (4 * size * size))) / (1 + q2 / size)
    return Estimate(mean, max(0.0, min(mean, middle - half)), min(1.0, max(mean, middle + half)))


def paired_difference(first_P: ArrayLike, second_P: ArrayLike, samples: int) -> Estimate:
    """Mean of second - first over the same problems, each a share of `samples` answers, and its interval.

    Student's interval of the per-problem differences, after two problems are thought to be added in which the models
    differ by +1/√samples and by -1/√samples: about the size of chance in one problem. With one sample a problem that is
    Bonett and Price's (2012, J. Educ. Behav. Stat. 37:479) interval for paired proportions; it does not shrink to a point
    where two models solve the same problems, and hardly matters elsewhere. One problem: -1 to 1.
    """
    differences = np.asarray(second_P, float) - np.asarray(first_P, float)
    mean, problems = float(differences.mean()), len(differences)
    if problems < 2:
        return Estimate(mean, -1.0, 1.0)
    noise = 1 / math.sqrt(samples)
    padded = np.append(differences, [noise, -noise])
    half = students_t(problems - 1) * float(padded.std()) / math.sqrt(problems + 2)
    middle = float(padded.mean())
    return Estimate(mean, max(-1.0, min(mean, middle - half)), min(1.0, max(mean, middle + half)))


@functools.cache
def students_t(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t for a whole number of degrees of freedom, by its closed form.

    The share between ±t is a sum of powers of cos θ, t = √freedom · tan θ (Abramowitz and Stegun 1964, 26.7.3 and
    26.7.4); θ is found by bisection.
    """
    odd = freedom % 2
    j = np.arange(1, (freedom - 2) // 2 + 1)
    ratios = (2 * j - 1 + odd) / (2 * j + odd)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        series = 1 + float(np.cumprod(ratios * math.cos(angle) ** 2).sum())
        if not odd:
            share = math.sin(angle) * series
        elif freedom == 1:
            share = 2 / math.pi * angle
        else:
            share = 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * series)
        low, high = (angle, high) if share < confidence else (low, angle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
