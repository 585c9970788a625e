"""How well predictions agree with labels: AUC, average precision, Spearman, kappa, calibration, with their intervals.

Rows come in groups (a site with all its near-duplicates), and rows of one group are no independent evidence. So every
measure is computed for the rows as they are and for `resamples` draws of as many groups with replacement (the cluster
bootstrap: Davison & Hinkley 1997, §2.4 and §3.8), and its interval is that of the middle 95 % of the draws. A drawn
group counts as often as it was drawn: nothing is copied, a draw is a vector of counts, and all draws of a measure are
one pass of a compiled kernel or one matrix product.

Shapes: N rows, G groups, D = 1 + resamples draws; the first draw is the rows themselves, each group once.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

BINS = 10  # of the probabilities, for calibration


class Draws(NamedTuple):
    """Rows, their groups and how often each group was drawn. Every measure returns float64 [D], NaN where undefined."""

    groups: np.ndarray  # int64 [N], from 0
    weights: np.ndarray  # float64 [N]
    counts: np.ndarray  # float64 [D, G]

    def only(self, rows: np.ndarray) -> Draws:
        """The same draws of fewer rows (a mask or places)."""
        return Draws(self.groups[rows], self.weights[rows], self.counts)

    def totals(self, values_NF: np.ndarray) -> np.ndarray:
        """Weighted sums of columns over the rows of each draw, [D, F]."""
        values_NF = np.asarray(values_NF, np.float64)
        of_group = np.zeros((self.counts.shape[1], values_NF.shape[1]))
        np.add.at(of_group, self.groups, values_NF * self.weights[:, None])
        return self.counts @ of_group

    def share(self, part: np.ndarray, whole: np.ndarray | None = None) -> np.ndarray:
        """Weight of the rows in `part` (and in `whole`) / weight of those in `whole` (default: all)."""
        whole = np.ones(len(self.groups), bool) if whole is None else whole
        totals = self.totals(np.column_stack([part & whole, whole]))
        return _ratio(totals[:, 0], totals[:, 1])

    def auc_and_ap(self, scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Area under the ROC curve (ties count half) and average precision (Σ precision · Δrecall; ties together)."""
        order = np.argsort(scores, kind="stable")
        return _auc_and_ap(
            np.asarray(scores, np.float64)[order],
            np.asarray(positive, bool)[order],
            self.groups[order],
            self.weights[order],
            self.counts,
        )

    def spearman(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Rank correlation; ties share their middle rank."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        by_a, by_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
        return _spearman(a, b, by_a, by_b, self.groups, self.weights, self.counts)

    def kappa(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cohen's kappa of two ratings with quadratic weights (Cohen 1968): 1 − observed / expected disagreement.

        The expected one is that of independent ratings with the same margins, E(a − b)² = E a² + E b² − 2 E a · E b.
        Ratings are numbers [N]; of names, one column each of zeros and ones [N, K], it is the plain kappa (Cohen 1960).
        """
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.ndim == 1:
            a, b = a[:, None], b[:, None]
        columns = [np.ones(len(a)), (a * a + b * b).sum(1), ((a - b) ** 2).sum(1), a, b]
        weight, squares, observed, *means = self.totals(np.column_stack(columns)).T
        a_, b_ = (_ratio(np.array(half), weight) for half in (means[: a.shape[1]], means[a.shape[1] :]))
        expected = _ratio(squares, weight) - 2 * (a_ * b_).sum(0)
        return 1 - _ratio(_ratio(observed, weight), expected)

    def calibration_error(self, probability: np.ndarray, positive: np.ndarray) -> np.ndarray:
        """Expected calibration error over `BINS` bins of equal width (Guo et al. 2017)."""
        in_bin = bins(probability)[:, None] == np.arange(BINS)
        gaps = self.totals(in_bin * (probability - positive)[:, None])
        return _ratio(np.abs(gaps).sum(1), self.totals(np.ones((len(probability), 1)))[:, 0])

    def accuracy_and_f1(
        self, labels: np.ndarray, guesses: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Share of equal numbers 0 … n − 1, and F1 averaged over the numbers that occur among the labels."""
        levels = np.arange(n)
        is_label, is_guess = labels[:, None] == levels, guesses[:, None] == levels
        totals = self.totals(np.column_stack([is_label & is_guess, is_label, is_guess]))
        right, of_label, of_guess = totals[:, :n], totals[:, n : 2 * n], totals[:, 2 * n :]
        f1 = _ratio(2 * right, of_label + of_guess)
        there = of_label > 0
        macro = _ratio(np.where(there, f1, 0).sum(1), there.sum(1).astype(float))
        return _ratio(right.sum(1), of_label.sum(1)), macro


def draw(groups: np.ndarray, weights: np.ndarray, resamples: int, seed: int) -> Draws:
    """`resamples` draws of as many groups as there are, with replacement, after one that has each once."""
    names, places = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    counts = np.concatenate([np.ones((1, len(names))), drawn])
    return Draws(places.astype(np.int64), np.asarray(weights, np.float64), counts)


def estimate(values: np.ndarray) -> dict[str, float | None]:
    """The value of the rows as they are, and the bounds of the middle 95 % of the draws; None where undefined."""
    known = values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    said = {"value": values[0], "low": low, "high": high}
    return {name: None if np.isnan(value) else round(float(value), 4) for name, value in said.items()}


def bins(probability: np.ndarray) -> np.ndarray:
    """The bin of each probability, 0 … BINS − 1."""
    return np.clip((np.asarray(probability) * BINS).astype(np.int64), 0, BINS - 1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.abs(whole) > 1e-12)


@numba.njit(cache=True)
def _auc_and_ap(scores, positive, groups, weights, counts):
    """Rows in ascending order of their scores; from the highest score down, rows of equal score together."""
    n, draws = len(scores), len(counts)
    auc, ap = np.full(draws, np.nan), np.full(draws, np.nan)
    for d in range(draws):
        hits, misses, below, gains = 0.0, 0.0, 0.0, 0.0
        i = n - 1
        while i >= 0:
            tied_hits, tied_misses, score = 0.0, 0.0, scores[i]
            while i >= 0 and scores[i] == score:
                weight = weights[i] * counts[d, groups[i]]
                if positive[i]:
                    tied_hits += weight
                else:
                    tied_misses += weight
                i -= 1
            below += tied_misses * (hits + tied_hits / 2)  # positives above these negatives
            hits += tied_hits
            misses += tied_misses
            if tied_hits > 0:
                gains += tied_hits * hits / (hits + misses)
        if hits > 0 and misses > 0:
            auc[d], ap[d] = below / (hits * misses), gains / hits
    return auc, ap


@numba.njit(cache=True)
def _rank(values, order, groups, weights, count, ranks):
    """Middle ranks under a draw's weights: all weight below, and half of the weight of equals."""
    total, i = 0.0, 0
    while i < len(order):
        end, tied = i, 0.0
        while end < len(order) and values[order[end]] == values[order[i]]:
            tied += weights[order[end]] * count[groups[order[end]]]
            end += 1
        for j in range(i, end):
            ranks[order[j]] = total + tied / 2
        total += tied
        i = end
    return total


@numba.njit(cache=True)
def _spearman(a, b, by_a, by_b, groups, weights, counts):
    out = np.full(len(counts), np.nan)
    ranks_a, ranks_b = np.empty(len(a)), np.empty(len(a))
    for d in range(len(counts)):
        total = _rank(a, by_a, groups, weights, counts[d], ranks_a)
        _rank(b, by_b, groups, weights, counts[d], ranks_b)
        middle = total / 2  # the mean of middle ranks, whatever the ties
        aa, bb, ab = 0.0, 0.0, 0.0
        for i in range(len(a)):
            weight = weights[i] * counts[d, groups[i]]
            aa += weight * (ranks_a[i] - middle) ** 2
            bb += weight * (ranks_b[i] - middle) ** 2
            ab += weight * (ranks_a[i] - middle) * (ranks_b[i] - middle)
        if aa > 0 and bb > 0:
            out[d] = ab / np.sqrt(aa * bb)
    return out
