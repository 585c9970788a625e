"""The honesty card of a tagger: what it was taught to say, how well it says it about unseen sites, and where it fails.

Everything is measured on rows whose site and near-duplicates were not trained on (`split`), against the labels of
whoever taught it, with the intervals of a cluster bootstrap (`filters.taxonomy.measures`). Beside the tagger stand
    * the labeller's agreement with itself where it was asked twice: more than that cannot be learnt;
    * length alone: logistic regression on log words and its square, fitted on the training side;
    * the domain alone: for each domain (the labeller's own word) the rate of the training side.
A tagger that does not beat these is said not to, in words. Weights are inverse sampling probabilities, so shares are
those of the pool that was sampled from, not of the sample.

The cut. For each ordinal dimension rows are kept whose probability reaches the highest cut that keeps `recall` of the
good ones, .9 by default: a mixture can still sample a doubtful document seldom, a dropped one is lost. "Good" is the
middle threshold (3 of 1–5, as FineWeb-Edu and FineMath choose) unless `good` says otherwise. The cut is chosen on the
rows of the card, so the recall of all is what was asked for; that of each domain and kind is what is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.taxonomy.card_page import markdown, to_know
from filters.taxonomy.held_out import groups_of, split
from filters.taxonomy.measures import BINS, Draws, bins, draw, estimate
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError

WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|[^\s\p{Han}\p{Hiragana}\p{Katakana}]+"

__all__ = ["card", "groups_of", "markdown", "split", "to_know"]

Table = dict[str, Any]


def card(
    held_out: pa.Table,
    predicted: Mapping[str, np.ndarray],
    dimensions: Sequence[Dimension],
    *,
    train: pa.Table,
    name: str = "tagger",
    target: str = "",
    good: Mapping[str, int] | None = None,
    recall: float = 0.9,
    resamples: int = 1000,
    seed: int = 0,
) -> Table:
    """The card as JSON: see the head of this file. Every measure is {"value", "low", "high"}, None where undefined.

    held_out, train: labelled tables (id, text, host, cluster, kind, weight, label_…, again_…), as `split` cut them.
    predicted: for each dimension what a tagger's `predict` returns for `held_out`: of an ordinal one P(level ≥ k)
    float [N, levels − 1], of a nominal one shares [N, levels]. good: of an ordinal dimension the level from which a
    document is good. Raises `RequestError` if predictions and dimensions do not fit together.
    """
    draws = draw(
        groups_of(held_out["host"].to_pylist(), held_out["cluster"].to_pylist()),
        held_out["weight"].to_numpy(),
        resamples,
        seed,
    )
    nominal = next((d for d in dimensions if not d.ordinal), None)
    found: Table = {}
    for dimension in dimensions:
        width = len(dimension.levels) - dimension.ordinal
        shape = np.shape(predicted.get(dimension.name, ()))
        if shape != (len(held_out), width):
            raise RequestError(
                f"the predictions of {dimension.name!r} have shape {shape}, expected {(len(held_out), width)}: the "
                "tagger was trained for other dimensions or other rows"
            )
        if dimension.ordinal:
            least = (good or {}).get(dimension.name, dimension.first + len(dimension.levels) // 2)
            part = _ordinal(
                dimension, held_out, train, predicted[dimension.name], draws, nominal, least, recall
            )
        else:
            part = _nominal(dimension, held_out, train, predicted[dimension.name], draws)
        found[dimension.name] = part

    def counts(table: pa.Table) -> Table:
        different = {f"{what}s": len(table[what].unique()) for what in ("host", "cluster")}
        return {"rows": len(table), **different}

    made = {
        "name": name,
        "target": target,
        "train": counts(train),
        "held_out": {**counts(held_out), "groups": draws.counts.shape[1]},
        "intervals": {"resamples": resamples, "seed": seed, "of": "groups of hosts and near-duplicates"},
        "dimensions": found,
    }
    return made | {"to_know": to_know(made)}


def _labels(dimension: Dimension, table: pa.Table, column: str = "label") -> tuple[np.ndarray, np.ndarray]:
    """Rows that have a label, and their labels: levels as numbers (ordinal), places in `levels` (nominal)."""
    labels = table[f"{column}_{dimension.name}"].combine_chunks()
    rows = np.flatnonzero(labels.is_valid().to_numpy(zero_copy_only=False))
    known = labels.drop_null()
    if dimension.ordinal:
        return rows, known.to_numpy().astype(np.float64)
    return rows, pc.index_in(known, pa.array(dimension.levels)).fill_null(-1).to_numpy().astype(np.int64)


def _ordinal(
    dimension: Dimension,
    held_out: pa.Table,
    train: pa.Table,
    predicted: np.ndarray,
    all_draws: Draws,
    nominal: Dimension | None,
    good: int,
    recall: float,
) -> Table:
    rows, labels = _labels(dimension, held_out)
    if not len(rows):
        return {"ordinal": True, "rows": 0}
    table, draws, p = held_out.take(pa.array(rows)), all_draws.only(rows), predicted[rows].astype(np.float64)
    train_rows, train_labels = _labels(dimension, train)
    taught = train.take(pa.array(train_rows))
    weights, lengths = taught["weight"].to_numpy(), _length(table)
    taught_lengths = _length(taught)
    expected = dimension.first + p.sum(1)
    thresholds = []
    for k in range(p.shape[1]):
        least = dimension.first + k + 1
        positive, taught_positive = _at_least(labels, least), _at_least(train_labels, least)
        auc, ap = draws.auc_and_ap(p[:, k], positive)
        by_length = lengths @ _logistic(taught_lengths, taught_positive, weights)
        length_auc, length_ap = draws.auc_and_ap(by_length, positive)
        said = {
            "at_least": least,
            "positives": int(positive.sum()),
            "share": estimate(draws.share(positive)),
            "auc": estimate(auc),
            "ap": estimate(ap),
            "calibration_error": estimate(draws.calibration_error(p[:, k], positive)),
            "bins": _bins(draws, p[:, k], positive),
            "length": {"auc": estimate(length_auc), "ap": estimate(length_ap)},
            "over_length": estimate(auc - length_auc),
        }
        if nominal:
            rates = _rates(nominal, taught, taught_positive, weights)
            domain_auc, domain_ap = draws.auc_and_ap(rates[_places(nominal, table)], positive)
            said["domain"] = {"auc": estimate(domain_auc), "ap": estimate(domain_ap)}
            said["over_domain"] = estimate(auc - domain_auc)
        thresholds.append(said)
    of_good = p[:, good - dimension.first - 1]
    return {
        "ordinal": True,
        "rows": len(rows),
        "groups": len(np.unique(draws.groups)),
        "spearman": estimate(draws.spearman(expected, labels)),
        "kappa": estimate(draws.kappa(np.floor(expected + 0.5), np.floor(labels + 0.5))),
        "labeller": _labeller(dimension, held_out, all_draws),
        "thresholds": thresholds,
        "cut": _cut(of_good, _at_least(labels, good), good, recall, table, nominal, draws),
    }


def _nominal(
    dimension: Dimension, held_out: pa.Table, train: pa.Table, predicted: np.ndarray, all_draws: Draws
) -> Table:
    rows, labels = _labels(dimension, held_out)
    if not len(rows):
        return {"ordinal": False, "rows": 0}
    table, draws, p = held_out.take(pa.array(rows)), all_draws.only(rows), predicted[rows].astype(np.float64)
    train_rows, train_labels = _labels(dimension, train)
    taught = train.take(pa.array(train_rows))
    weights, lengths, taught_lengths = taught["weight"].to_numpy(), _length(table), _length(taught)
    n = len(dimension.levels)
    guesses = p.argmax(1)
    accuracy, f1 = draws.accuracy_and_f1(labels, guesses, n)
    levels, by_length = [], np.full((len(rows), n), -np.inf)
    for k, level in enumerate(dimension.levels):
        positive = labels == k
        by_length[:, k] = lengths @ _logistic(taught_lengths, train_labels == k, weights)
        auc, ap = draws.auc_and_ap(p[:, k], positive)
        length_auc, _ = draws.auc_and_ap(by_length[:, k], positive)
        levels.append(
            {
                "level": level,
                "positives": int(positive.sum()),
                "auc": estimate(auc),
                "ap": estimate(ap),
                "groups": len(np.unique(draws.groups[positive])),
                "recall": _of_few(draws, positive, draws.share(guesses == k, positive)),
                "precision": estimate(draws.share(positive, guesses == k)),
                "length": {"auc": estimate(length_auc)},
                "over_length": estimate(auc - length_auc),
            }
        )
    length_accuracy, length_f1 = draws.accuracy_and_f1(labels, by_length.argmax(1), n)
    sure = p.max(1)
    return {
        "ordinal": False,
        "rows": len(rows),
        "groups": len(np.unique(draws.groups)),
        "accuracy": estimate(accuracy),
        "macro_f1": estimate(f1),
        "length": {"accuracy": estimate(length_accuracy), "macro_f1": estimate(length_f1)},
        "over_length": estimate(accuracy - length_accuracy),
        "calibration_error": estimate(draws.calibration_error(sure, guesses == labels)),
        "bins": _bins(draws, sure, guesses == labels),
        "labeller": _labeller(dimension, held_out, all_draws),
        "levels": levels,
    }


def _labeller(dimension: Dimension, held_out: pa.Table, all_draws: Draws) -> Table | None:
    """How the labeller agrees with itself where it was asked twice; None where it was not."""
    rows, again = _labels(dimension, held_out, "again")
    first_rows, first = _labels(dimension, held_out)
    both, a, b = np.intersect1d(first_rows, rows, return_indices=True)
    if not len(both):
        return None
    draws, first, again = all_draws.only(both), first[a], again[b]
    if dimension.ordinal:
        kappa = draws.kappa(np.floor(first + 0.5), np.floor(again + 0.5))
        return {
            "rows": len(both),
            "spearman": estimate(draws.spearman(first, again)),
            "kappa": estimate(kappa),
        }
    accuracy, f1 = draws.accuracy_and_f1(first, again, len(dimension.levels))
    return {"rows": len(both), "accuracy": estimate(accuracy), "macro_f1": estimate(f1)}


def _of_few(draws: Draws, rows: np.ndarray, values: np.ndarray) -> Table:
    """The estimate of a share among some rows; without an interval where they are one group: draws cannot vary it."""
    found = estimate(values)
    return found if len(np.unique(draws.groups[rows])) > 1 else found | {"low": None, "high": None}


def _bins(draws: Draws, probability: np.ndarray, positive: np.ndarray) -> list[Table]:
    """Reliability: of each bin that has rows, how many, the mean probability and the share that is positive."""
    in_bin = bins(probability)
    found = []
    for b in np.unique(in_bin).tolist():
        here = in_bin == b
        weight = draws.weights[here]
        found.append(
            {
                "from": b / BINS,
                "rows": int(here.sum()),
                "said": round(float(np.average(probability[here], weights=weight)), 4),
                "true": round(float(np.average(positive[here], weights=weight)), 4),
            }
        )
    return found


def _cut(
    p: np.ndarray,
    positive: np.ndarray,
    good: int,
    recall: float,
    table: pa.Table,
    nominal: Dimension | None,
    draws: Draws,
) -> Table | None:
    """What is kept and lost at the highest cut that keeps `recall` of the positives, by domain and by kind."""
    if not positive.any():
        return None
    order = np.argsort(-p[positive], kind="stable")
    kept_weight = np.cumsum(draws.weights[positive][order])
    reached = np.searchsorted(kept_weight, recall * kept_weight[-1] * (1 - 1e-12))
    cut = float(p[positive][order][reached])
    kept = p >= cut

    def of(column: str) -> list[Table]:
        rows = []
        names = table[column].to_numpy(zero_copy_only=False)
        for name in sorted({name for name in names if name is not None}):
            here = names == name
            lost = _of_few(draws, here & positive, draws.share(~kept, here & positive))
            rows.append(
                {
                    "name": name,
                    "rows": int(here.sum()),
                    "good": int((here & positive).sum()),
                    "dropped": _of_few(draws, here, draws.share(~kept, here)),
                    "good_dropped": lost,  # the false drops; recall is 1 − this
                }
            )
        return rows

    return {
        "at_least": good,
        "probability": round(cut, 4),
        "asked_recall": recall,
        "recall": estimate(draws.share(kept, positive)),
        "precision": estimate(draws.share(positive, kept)),
        "kept": estimate(draws.share(kept)),
        "domains": of(f"label_{nominal.name}") if nominal else [],
        "kinds": of("kind"),
    }


# --- baselines ----------------------------------------------------------------------------------------------


def _length(table: pa.Table) -> np.ndarray:
    """1, log words and its square [N, 3]; characters of scripts without spaces are words."""
    words = pc.count_substring_regex(table["text"], WORD).to_numpy()
    x = np.log1p(words) / 2 - 3  # about -3 … 3, so that the regression is well conditioned
    return np.column_stack([np.ones(len(x)), x, x * x])


def _logistic(x_NF: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients of a weighted logistic regression with a weak ridge, by Newton's method (a few features)."""
    beta = np.zeros(x_NF.shape[1])
    ridge = (
        1e-3 * np.eye(len(beta)) * max(weights.sum() / len(weights), 1e-12)
        if len(weights)
        else np.eye(len(beta))
    )
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x_NF @ beta, -30, 30)))
        gradient = x_NF.T @ (weights * (y - p)) - ridge @ beta
        step = np.linalg.solve((x_NF.T * (weights * p * (1 - p))) @ x_NF + ridge, gradient)
        beta += step * min(1.0, 4 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return beta


def _places(nominal: Dimension, table: pa.Table) -> np.ndarray:
    """Of each row the place of its domain, the last place + 1 where there is none."""
    known = pc.index_in(table[f"label_{nominal.name}"], pa.array(nominal.levels))
    return known.fill_null(len(nominal.levels)).to_numpy().astype(np.int64)


def _rates(nominal: Dimension, taught: pa.Table, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each domain the share of positives, drawn towards that of all by one row's weight; the last is that of all."""
    places, n = _places(nominal, taught), len(nominal.levels) + 1
    overall = float(np.average(positive, weights=weights)) if len(positive) else 0.5
    hits, all_ = np.bincount(places, weights * positive, n), np.bincount(places, weights, n)
    rates = (hits + overall) / (all_ + 1)
    rates[-1] = overall
    return rates


def _at_least(labels: np.ndarray, level: int) -> np.ndarray:
    """Expected levels count as the level they are nearest to, halves upwards."""
    return labels >= level - 0.5
