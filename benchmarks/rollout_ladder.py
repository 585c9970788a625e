"""The ladder of the rollout scheduler in simulation, beside the published one.

    python benchmarks/rollout_ladder.py [--seeds 6] [--iterations 5] [--trace FILE…]

The class that is measured is the one that runs in training; engines, judges and the clock are simulated
(`training/rl/simulate.py` says how, what is left out and what each number means). Every arm answers the same groups:
group 17 of seed 3 has the same lengths, verdicts and judge times whoever starts it, and whenever. A row is the mean
over seeds with half the width of its 95 % interval; speed-ups are taken seed by seed against naive dynamic sampling.

The published rows (MiMo-7B, arXiv 2505.07608, table 2: five steps on 256 GPUs) stand beside ours uncalibrated: cluster,
lengths and judge times are round numbers chosen beforehand, and nothing was turned to come closer. What to expect of
that: the order of the rows and about the size of the speed-ups. Not the idle ratios: engines here hold dozens of
answers, so that one is rarely without any, where theirs stood still for two thirds of the naive iteration; and not the
waste, whose published count is not defined. Rows without published numbers:

* naive, rounds of 1.5: each round asks for half as many groups again, the cheap remedy.
* abort at once: the batch is full, stop everything. The fastest synchronous one, and it trains on short answers: the
  second table. How much shorter hangs on how much of an answer's length is its problem's (`--between`): mean length
  0.86 of all started at 0.9, 0.93 at 0.5, 1.00 at 0, where every group has some answer near the cap and all last
  equally long. The other rows lie at 1 within their intervals, as they must: what they select is settled by the
  order of starting.
* seamless: what `training.rl` runs. As the published rule, except that unfinished groups count for what their
  rewards so far make likely (`foresight`).
* carried over: `staleness: 1`, nothing is aborted, most groups are one version old.

What did not work: starting more groups than expected to be needed, by 1, 2 or 4 standard deviations of the number of
valid groups: speed-up unchanged up to 1, then falling, waste 14 % → 18, 26, 39 %; so there is no such option. Carrying
over without starting ahead for the next iteration: 2.6 times instead of 3.2 times naive.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.rl.scheduler import Rules
from training.rl.simulate import Cluster, Recorded, Result, Synthetic, Workload, simulate

# Overall and rollout speed-up, normalised idle time, idle ratio in %, waste in %.
PUBLISHED: dict[str, tuple[str, str, str, str, str]] = {
    "no dynamic sampling": ("2.45", "2.82", "0.36", "70.8", "–"),
    "naive": ("1.00", "1.00", "1.00", "69.3", "22.1"),
    "+ continuous rollout": ("1.99", "2.20", "0.25", "38.8", "13.9"),
    "+ asynchronous reward": ("2.09", "2.34", "0.21", "34.0", "16.4"),
    "+ early termination": ("2.29", "2.61", "0.15", "27.7", "12.9"),
}
NAIVE = "naive"
# Two-sided 95 % quantiles of Student's t by number of seeds.
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def arms(wanted: int, size: int) -> dict[str, Rules]:
    published = [
        Rules.preset(name, wanted, size, foresight=False)
        for name in ("static", "naive", "continuous", "asynchronous_reward", "seamless")
    ]
    seamless = Rules.preset("seamless", wanted, size)
    return dict(zip(PUBLISHED, published, strict=True)) | {
        "naive, rounds of 1.5": Rules.preset("naive", wanted, size, oversample=1.5),
        "abort at once": replace(seamless, stop="at_once", foresight=False),
        "seamless": seamless,
        "carried over": replace(seamless, staleness=1),
    }


def interval(values: Sequence[float] | np.ndarray, form: str = "{:.2f}") -> str:
    values = np.asarray(values)
    mean = form.format(values.mean())
    if len(values) < 2:
        return mean
    half = STUDENT.get(len(values), 2.2) * values.std(ddof=1) / len(values) ** 0.5
    return f"{mean} ± {form.format(half)}"


def ladder(results: dict[str, list[Result]]) -> Table:
    table = Table("ours (published)")
    for title in (
        "overall ×",
        "rollout ×",
        "idle, normalised",
        "idle ratio %",
        "waste %",
        "occupied %",
        "tokens/s",
    ):
        table.add_column(title, justify="right", no_wrap=True)

    def against_naive(name: str, of: Callable[[Result, Result], float]) -> list[float]:
        return [of(naive, own) for naive, own in zip(results[NAIVE], results[name], strict=True)]

    for name, runs in results.items():
        cells = [
            interval(against_naive(name, lambda naive, own: naive.seconds / own.seconds)),
            interval(against_naive(name, lambda naive, own: naive.rollout_seconds / own.rollout_seconds)),
            interval(against_naive(name, lambda naive, own: own.idle_seconds / naive.idle_seconds)),
            interval([100 * run.idle_ratio for run in runs], "{:.1f}"),
            interval([100 * run.waste for run in runs], "{:.1f}"),
        ]
        if name in PUBLISHED:
            cells = [f"{own} ({theirs})" for own, theirs in zip(cells, PUBLISHED[name], strict=True)]
        cells.append(interval([100 * run.occupancy for run in runs], "{:.0f}"))
        cells.append(interval([run.tokens_per_second for run in runs], "{:,.0f}"))
        table.add_row(name, *cells)
    return table


def lengths(workload: Workload, groups: Sequence[int] | range, size: int) -> np.ndarray:
    """Of every answer the groups have, or would have had; groups × members."""
    return np.stack([workload.answers(group, size).lengths for group in groups])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest difference between two distribution functions."""
    at = np.concatenate([one, other])
    first, second = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (one, other))
    return float(np.abs(first - second).max())


def bias(results: dict[str, list[Result]], workloads: Sequence[Workload], size: int) -> Table:
    """Are answers selected by their length? Trained groups against all that were started, had they been complete.

    The distance is that of the distributions of a group's mean length, all seeds together; beyond the limit they
    differ (1 % level for independent samples; for a part and its whole the limit is too wide rather than too narrow).
    """
    table = Table("trained ÷ started", "mean length", "median", "90th percentile", "KS distance", "limit")
    for name, runs in results.items():
        pairs = [
            (
                lengths(w, [g for groups in run.selected for g in groups], size),
                lengths(w, range(run.started), size),
            )
            for w, run in zip(workloads, runs, strict=True)
        ]
        trained, started = (np.concatenate(each).mean(1) for each in zip(*pairs, strict=True))
        limit = 1.63 * (1 / len(trained) + 1 / len(started)) ** 0.5
        cells = [interval([one.mean() / all_.mean() for one, all_ in pairs], "{:.3f}")]
        for q in (0.5, 0.9):
            cells.append(
                interval([np.quantile(one, q) / np.quantile(all_, q) for one, all_ in pairs], "{:.3f}")
            )
        table.add_row(name, *cells, f"{distance(trained, started):.3f}", f"{limit:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--wanted", type=int, default=128, help="valid groups of an iteration")
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--engines", type=int, default=64)
    parser.add_argument(
        "--between", type=float, default=0.5, help="part of the variance that is the problem's"
    )
    parser.add_argument("--trace", nargs="+", help="Parquet: group, length, passed[, judge_seconds]")
    options = parser.parse_args()
    began, cluster, size = time.process_time(), Cluster(engines=options.engines), options.group_size
    workloads: list[Workload] = [
        Recorded(options.trace, seed) if options.trace else Synthetic(seed, between=options.between)
        for seed in range(options.seeds)
    ]
    results = {
        name: [simulate(rules, workload, cluster, options.iterations) for workload in workloads]
        for name, rules in arms(options.wanted, size).items()
    }
    console = Console(width=170)
    console.print(
        f"{options.wanted} groups of {size} an iteration, {options.iterations} iterations, {cluster}"
    )
    console.print(f"answers: {workloads[0] if not options.trace else options.trace}, {options.seeds} seeds")
    console.print(ladder(results))
    console.print(bias(results, workloads, size))
    console.print(f"{time.process_time() - began:.0f} CPU seconds")
    carried = results["carried over"]
    stale = sum((run.staleness for run in carried[1:]), carried[0].staleness)
    console.print(f"carried over: versions old of trained groups {dict(sorted(stale.items()))}")


if __name__ == "__main__":
    main()
