"""What an evaluation came to: OUTPUT/results.json, and the same as a table on the terminal.

    models        name, model (folder, known name or a server's), sha256
    sampling      temperature, top_p, seed, those of vLLM's options that may change an answer
    benchmarks    name, file (or gym), files' sha256, problems, left_out (reason → how many), samples, max_tokens
    rows          a model on a benchmark: pass_at {"1": [value, low, high], …}, decided, shares, mean tokens, max_tokens
                  (less than the benchmark's where the model's context is too small)
    differences   of pass@1 to the first model, on the same problems: [value, low, high]

An answer that a server refused (its problem does not fit the context) has not passed; `unanswered` counts these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline import storage, view
from pipeline.asking import decisive
from pipeline.dataset import Dataset
from training.evaluation import paired_difference, pass_at_k, score

if TYPE_CHECKING:
    from reasonmill.evaluate import Asking, Benchmark, Model

PASSED = {"right": 1.0, "wrong": 0.0}  # anything else is undecided


def collect(
    output: str,
    models: Sequence[Model],
    benchmarks: Sequence[Benchmark],
    asking: Asking,
    k: Sequence[int] = (),
) -> dict[str, Any]:
    """Read the answers and verdicts of all benchmarks below the folder."""
    rows, differences, told = [], [], []
    for benchmark in benchmarks:
        folder = storage.join(output, benchmark.name)
        rates: dict[str, np.ndarray] = {}
        with view.connect(folder) as database:
            problems = [
                name for (name,) in database.sql("SELECT problem_id FROM problems ORDER BY 1").fetchall()
            ]
            for model in models:
                row, rates[model.name] = _row(database, model, benchmark, problems, k)
                rows.append(row)
        for model in models[1:]:
            found = paired_difference(rates[models[0].name], rates[model.name], benchmark.samples)
            differences.append(
                {
                    "model": model.name,
                    "to": models[0].name,
                    "benchmark": benchmark.name,
                    "difference": list(found),
                }
            )
        manifest = Dataset.open(storage.join(folder, "problems")).manifest
        told.append(
            {
                "name": benchmark.name,
                "file": benchmark.file,
                "gym": benchmark.gym,
                "sha256": manifest["files"],
                "problems": len(problems),
                "left_out": manifest["counts"]["dropped"],
                "samples": benchmark.samples,
                "max_tokens": benchmark.max_tokens,
            }
        )
    return {
        "version": 1,
        "models": [{"name": m.name, "model": m.model, "sha256": m.sha256} for m in models],
        "sampling": {
            "temperature": asking.temperature,
            "top_p": asking.top_p,
            "seed": asking.seed,
            "vllm_options": {} if asking.servers else decisive(asking.vllm_options),
        },
        "benchmarks": told,
        "rows": rows,
        "differences": differences,
    }


def _row(
    database: Any, model: Model, benchmark: Benchmark, problems: list[str], k: Sequence[int]
) -> tuple[dict[str, Any], np.ndarray]:
    """A row of the table, and the share of right samples of each problem."""
    place = {name: index for index, name in enumerate(problems)}
    shape = (len(problems), benchmark.samples)
    passed_PN, cut_PN, tokens_PN = np.zeros(shape), np.zeros(shape), np.full(shape, math.nan)
    answered = database.execute(
        """SELECT problem_id, sample, rollout_verdict, finish_reason = 'length', completion_tokens, max_tokens
           FROM rollouts JOIN rollout_verdicts USING (id) WHERE model = ?""",
        [model.name],
    ).fetchall()
    for problem, sample, verdict, cut, tokens, _ in answered:
        p, n = place[problem], sample
        passed_PN[p, n], cut_PN[p, n], tokens_PN[p, n] = PASSED.get(verdict, math.nan), cut, tokens
    names_PN = np.repeat(np.arange(len(problems)), benchmark.samples)
    reached = [each for each in k if each <= benchmark.samples]
    found = score(names_PN, passed_PN.ravel(), cut_PN.ravel(), tokens_PN.ravel(), reached)
    row = {
        "model": model.name,
        "benchmark": benchmark.name,
        "problems": found.problems,
        "samples": found.samples,
        "pass_at": {str(each): list(estimate) for each, estimate in found.pass_at.items()},
        "decided": list(found.decided) if found.decided else None,
        "undecided": found.undecided,
        "truncated": found.truncated,
        "unanswered": found.samples - len(answered),
        "tokens": None if math.isnan(found.tokens) else found.tokens,
        "max_tokens": max((most for *_, most in answered), default=None),
    }
    return row, pass_at_k([benchmark.samples] * len(problems), np.nan_to_num(passed_PN).sum(1), 1)


def show(results: dict[str, Any], console: Console) -> None:
    """Print a table for each benchmark, a row for each model, and the differences. In per cent, intervals at 95 %."""
    for benchmark in results["benchmarks"]:
        rows = [row for row in results["rows"] if row["benchmark"] == benchmark["name"]]
        more = sorted({int(k) for row in rows for k in row["pass_at"]} - {1})
        numbers = ["pass@1", *(f"pass@{k}" for k in more), "decided", "undecided", "cut off", "tokens"]
        table = _table("model", *numbers)
        table.title = (
            f"{benchmark['name']}: {benchmark['problems']:,} problems × {benchmark['samples']:,} samples"
        )
        for row in rows:
            table.add_row(
                row["model"],
                _percent(row["pass_at"]["1"]),
                *(_percent(row["pass_at"][str(k)], interval=False) for k in more),
                _percent(row["decided"], interval=False),
                f"{row['undecided']:.1%}",
                f"{row['truncated']:.1%}",
                "–" if row["tokens"] is None else f"{row['tokens']:,.0f}",
            )
        console.print(table)
    for benchmark in results["benchmarks"]:
        if left_out := benchmark["left_out"]:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items())
            console.print(
                f"{benchmark['name']}: {sum(left_out.values()):,} problems are left out and in no number above, because "
                f"answers to them cannot be checked: {reasons}",
                style="yellow",
                markup=False,
            )
    console.print("pass@1 with its 95 % interval, clustered by problem; an undecided answer has not passed.")
    if results["differences"]:
        table = _table("model", "benchmark", f"minus {results['models'][0]['name']}, on the same problems")
        for row in results["differences"]:
            table.add_row(row["model"], row["benchmark"], _points(row["difference"]))
        console.print(table)
    for row in results["rows"]:
        if row["unanswered"]:
            console.print(
                f"{row['benchmark']}: {row['unanswered']:,} of {row['samples']:,} requests to {row['model']} were refused "
                "and count as not passed: mostly problems that its context cannot hold",
                style="yellow",
                markup=False,
            )


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for n, column in enumerate(columns):
        table.add_column(column, justify="right" if n else "left", no_wrap=n > 0, overflow="fold")
    return table


def _percent(estimate: Sequence[float] | None, interval: bool = True) -> str:
    """
    >>> _percent((0.5, 0.25, 0.7504)), _percent((0.5, 0.25, 0.7504), interval=False)
    ('50.0 [25.0, 75.0]', '50.0')
    """
    if estimate is None:
        return "–"
    value, low, high = (f"{100 * number:.1f}" for number in estimate)
    return f"{value} [{low}, {high}]" if interval else value


def _points(difference: Sequence[float]) -> str:
    """
    >>> _points((0.125, -0.05, 0.3))
    '+12.5 [-5.0, +30.0]'
    """
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in difference))
