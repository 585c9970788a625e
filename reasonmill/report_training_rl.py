"""The report's sections about reinforcement learning: how hard the problems are, the curves, and rollouts to read."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

from pipeline import storage
from pipeline.dataset import folders
from reasonmill import report_plots as plots
from reasonmill.report_run import Run, Section

EDGES = 10  # most iterations that the first and the last value of a table are means of
PANELS: tuple[tuple[str, dict[str, str]], ...] = (  # title of a small picture, its lines: field → label
    ("reward", {"reward": "all", "reward_trained": "trained"}),
    ("pass rate", {"pass_rate": "all", "pass_rate_trained": "trained"}),
    ("tokens of a rollout", {"length": "mean", "length_max": "longest"}),
    ("rollouts cut off, undecided (share)", {"truncated": "cut off", "undecided": "undecided"}),
    ("idle, waste (share)", {"idle": "idle", "waste": "waste"}),
    ("groups", {"groups_trained": "trained", "groups_filtered": "filtered", "groups_aborted": "aborted"}),
    ("|Δ log p| trainer – engine, mean", {"mismatch_mean": "mean"}),
    ("gradient norm, before clipping", {"gradient_norm": "norm"}),
    ("clipped tokens (share)", {"clipped_low": "low", "clipped_high": "high", "clipped_dual": "dual"}),
)
FATES = {  # but "trained" → its words
    "filtered_solved": "filtered: all right",
    "filtered_unsolved": "filtered: all wrong",
    "filtered_even": "filtered: all alike",
    "filtered_undecided": "filtered: undecided",
    "aborted": "aborted",
}
SUMS = (
    *("updates", "seconds", "rollout_seconds", "train_seconds", "tokens_generated", "tokens_trained"),
    *("groups_started", "groups_trained", "groups_filtered", "groups_aborted", "groups_surplus"),
)
TABLE = {  # field → label, as means of the first and last iterations
    "reward": "reward",
    "pass_rate": "pass rate",
    "pass_rate_trained": "pass rate of what was trained on",
    "length": "tokens of a rollout",
    "truncated": "share cut off",
    "undecided": "share undecided",
    "idle": "idle share of the engine",
    "waste": "wasted share of its tokens",
    "mismatch_mean": "|Δ log p| of trainer and engine, mean",
    "mismatch_max": "|Δ log p| of trainer and engine, most",
    "mismatch_outside": "share of ratios outside 0.9 to 1.1",
}


def difficulty(run: Run) -> list[Section]:
    """How often each model solved the problems of RL, and how many were left out; no section without such problems."""
    if "rl_problems" not in run.views:
        return []
    counts = run.datasets["rl_problems"].manifest["counts"]
    rates = run.rows(
        """SELECT r.role AS role, r.model AS model, list(r.rate ORDER BY problem_id) AS rates, sum(r.samples)::BIGINT AS rollouts,
                  avg(r.rate) AS mean
           FROM (SELECT problem_id, unnest(rates) AS r FROM rl_problems) WHERE r.rate IS NOT NULL
           GROUP BY ALL ORDER BY role, model"""
    )
    edges = [n / 10 for n in range(10)] + [1.0 + 1e-9]  # a bin has its lower edge; the last one both
    columns = [
        plots.Histogram(
            f"{row['model']} ({row['role']})",
            edges,
            [sum(low <= rate < high for rate in row["rates"]) for low, high in itertools.pairwise(edges)],
            [0] * 10,
        )
        for row in rates
    ]
    title = "Problems by the share of rollouts that solve them"
    data = {
        "kept": counts["kept"],
        "dropped": sorted(counts["dropped"].items()),
        "sources": run.rows(
            """SELECT source, kind, count(*) AS problems, avg(len(levels)) AS parts, max(list_max(levels)) + 1 AS levels
               FROM rl_problems GROUP BY ALL ORDER BY source, kind"""
        ),
        "rates": [{name: row[name] for name in ("role", "model", "rollouts", "mean")} for row in rates],
        "picture": plots.histograms("difficulty", title, columns, ("problems", "")) if columns else None,
    }
    return [Section("difficulty", "Problems for reinforcement learning", data)]


def reinforcement(run: Run) -> list[Section]:
    """Curves, first and last values and a few rollouts of each RL run below the folder; no section without one."""
    told = []
    for name in folders(run.folder):
        if not storage.exists(storage.join(run.folder, name, "metrics.jsonl")):
            continue
        rows, unreadable = run.lines(name, "metrics.jsonl")
        if rows and "iteration" in rows[0] and "reward" in rows[0]:
            told.append(_rl_run(run, name, rows, unreadable))
    return [Section("rl", "Reinforcement learning", {"runs": told})] if told else []


def _rl_run(run: Run, name: str, rows: list[dict[str, Any]], unreadable: int) -> dict[str, Any]:
    x = [float(row["iteration"]) for row in rows]
    edge = min(EDGES, max(1, len(rows) // 2))
    panels = [
        (
            title,
            [plots.Curve(label, [_number(row.get(field)) for row in rows]) for field, label in lines.items()],
        )
        for title, lines in PANELS
        if any(row.get(field) is not None for field in lines for row in rows)
    ]
    sums = {field: sum(row.get(field) or 0 for row in rows) for field in SUMS}
    return {
        "name": name,
        "iterations": len(rows),
        "last": edge,
        "sums": sums,
        "unreadable": unreadable,
        "picture": plots.panels(
            f"rl-{name}", f"Reinforcement learning in {name}, over iterations", x, panels
        ),
        "table": [
            (label, _mean(rows[:edge], field), _mean(rows[-edge:], field)) for field, label in TABLE.items()
        ],
        **_rollouts(run, name),
    }


def _rollouts(run: Run, name: str) -> dict[str, Any]:
    """The best, the worst, the longest and one of each fate but "trained", of the last iteration that is written."""
    place = storage.join(run.folder, name, "rollouts")
    files = storage.list_files(place, ".parquet")
    chosen = [
        ("best", "fate = 'trained' AND reward IS NOT NULL", "reward DESC"),
        ("worst", "fate = 'trained' AND reward IS NOT NULL", "reward"),
        ("longest", "true", "len(tokens) DESC"),
        *((words, f"fate = '{fate}'", "len(tokens)") for fate, words in FATES.items()),
    ]
    told: dict[tuple[int, int], dict[str, Any]] = {}
    for why, where, order in chosen if files else ():
        for row in run.rows(
            f"""SELECT problem_id, "group", member, prompt, text, reward, passed, passes, reason, fate, finish_reason,
                       len(tokens) AS length FROM read_parquet(?)
                WHERE {where} ORDER BY {order}, md5(problem_id || '/' || member) LIMIT 1""",
            [storage.join(place, files[-1])],
        ):
            told.setdefault(
                (row["group"], row["member"]), {"why": why, **row, "passes": _passes(row["passes"])}
            )
    iteration = files[-1].removesuffix(".parquet") if files else None
    return {"rollouts": list(told.values()), "iteration": iteration}


def _passes(passes: list[bool | None] | None) -> str:
    """How many parts of the check passed.

    >>> _passes([True, False, None]), _passes([True]), _passes(None)
    ('1 of 3, 1 undecided', '', '')
    """
    if not passes or len(passes) == 1:
        return ""
    unknown = sum(part is None for part in passes)
    return f"{sum(part is True for part in passes)} of {len(passes)}" + (
        f", {unknown} undecided" if unknown else ""
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _mean(rows: list[dict[str, Any]], field: str) -> float | None:
    finite = [number for row in rows if not math.isnan(number := _number(row.get(field)))]
    return statistics.fmean(finite) if finite else None
