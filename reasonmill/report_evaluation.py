"""The report's section about evaluation: how often each model is right, with intervals, and what two of them differ by."""

from __future__ import annotations

from typing import Any

from pipeline import storage
from pipeline.dataset import folders
from reasonmill import report_plots as plots
from reasonmill.report_run import Run, Section


def evaluations(run: Run) -> list[Section]:
    """One section for all evaluations in the run's folder (`reasonmill evaluate … --output RUN/evaluation`), or none."""
    found = [
        (name, run.json(name, "results.json"))
        for name in folders(run.folder)
        if storage.exists(storage.join(run.folder, name, "results.json"))
    ]
    told = [_evaluation(name, results, n) for n, (name, results) in enumerate(found)]
    return [Section("evaluation", "Evaluation", {"evaluations": told})] if told else []


def _evaluation(name: str, results: dict[str, Any], number: int) -> dict[str, Any]:
    rows, models = results["rows"], [model["name"] for model in results["models"]]
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    at = {(row["model"], row["benchmark"]): row["pass_at"]["1"] for row in rows}
    picture = plots.intervals(
        f"evaluation{number}",
        "Share of right answers of each model, with 95 % intervals",
        benchmarks,
        {model: [at.get((model, benchmark)) for benchmark in benchmarks] for model in models},
    )
    more = sorted({int(k) for row in rows for k in row["pass_at"]} - {1})
    return {
        "name": name,
        "rows": rows,
        "more": [str(k) for k in more],
        "differences": results["differences"],
        "picture": picture,
        "benchmarks": results["benchmarks"],
        "sampling": results["sampling"],
    }
