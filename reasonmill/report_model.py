"""The report's sections about text written by a model, the mixture, training and the exported model."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer

from mixtures.table import planned_and_realised
from pipeline import view
from reasonmill import report_plots as plots
from reasonmill.report_run import Run, Section

POINTS = 400  # of a curve: more steps than that are averaged in equal stretches
LAST = 10  # steps that the final loss is the mean of
OUTCOMES = ("right", "accepted", "undecided", "wrong", "rejected")
OUTCOME_COLOURS = ("#009E73", "#56B4E9", "#d0d4da", "#E69F00", "#D55E00")


def synthesis(run: Run) -> Section:
    """What the generator wrote, what the verifiers said of it, and one example of each verdict."""
    section = Section("synthesis", "Synthetic text and its verification")
    if "synthetic" not in run.views:
        section.missing = "No text has been generated: the stage `synth` has not run."
        return section
    checked = "verdict" in run.columns("generated")
    totals = run.row(
        """SELECT count(*) AS total, sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
                  list_sort(list(DISTINCT model)) AS models FROM synthetic"""
    )
    log = run.logs.get("synthetic", {})
    complete = log.get("seconds") and not log.get(
        "units_kept"
    )  # a resumed run's time is not that of all its tokens
    section.data = {
        **totals,
        "sizes": sorted({size for model in totals["models"] if (size := _size(model))}),
        "checked": checked,
        "seconds": log.get("seconds"),
        "tokens_per_second": totals["completion_tokens"] / log["seconds"] if complete else None,
        "strategies": run.rows(
            """SELECT strategy, count(*) AS texts, sum(prompt_tokens)::BIGINT AS prompt_tokens,
                      sum(completion_tokens)::BIGINT AS completion_tokens, avg(completion_tokens) AS mean_tokens,
                      count(*) FILTER (finish_reason = 'stop') AS finished
               FROM synthetic GROUP BY ALL ORDER BY strategy"""
        ),
        "finish_reasons": run.rows(
            "SELECT finish_reason AS name, count(*) AS texts FROM synthetic GROUP BY ALL ORDER BY texts DESC, name"
        ),
        "passed": 0,
        "verdicts": [],
        "picture": None,
        "examples": [],
    }
    if not checked:
        return section
    section.data["passed"] = run.row("SELECT count(*) FILTER (verdict_passed) AS n FROM generated")["n"]
    section.data["verdicts"] = run.rows(
        """SELECT strategy, verdict, verdict_reason AS reason, count(*) AS texts FROM generated
           GROUP BY ALL ORDER BY strategy, texts DESC, verdict, reason"""
    )
    section.data["picture"] = _verdict_picture(section.data["strategies"], section.data["verdicts"])
    ranked = "SELECT *, row_number() OVER (PARTITION BY verdict ORDER BY md5(id)) AS rank FROM generated"
    examples = {
        r["verdict"]: r for r in run.rows(f"SELECT * EXCLUDE (request) FROM ({ranked}) WHERE rank = 1")
    }
    section.data["examples"] = [
        dict(examples[o], expected=_expected(examples[o]["check"])) for o in OUTCOMES if o in examples
    ]
    return section


def _verdict_picture(strategies: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> Any:
    names = [row["strategy"] for row in strategies]
    series = {
        outcome: [
            float(sum(r["texts"] for r in verdicts if (r["strategy"], r["verdict"]) == (name, outcome)))
            for name in names
        ]
        for outcome in OUTCOMES
    }
    there = [outcome for outcome in OUTCOMES if any(series[outcome])]
    return plots.bars(
        "verdicts",
        "Verdicts by strategy",
        names,
        {outcome: series[outcome] for outcome in there},
        [" · ".join(f"{int(series[o][i]):,} {o}" for o in there if series[o][i]) for i in range(len(names))],
        [OUTCOME_COLOURS[OUTCOMES.index(outcome)] for outcome in there],
    )


def _size(model: str) -> str | None:
    """How many parameters a model says it has in its name.

    >>> _size("smollm2-135m-instruct"), _size("Qwen3-1.7B"), _size("gpt-oss")
    ('135M', '1.7B', None)
    """
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])", model, re.IGNORECASE)
    return found[1] + found[2].upper() if found else None


def _expected(check: str | None) -> str | None:
    """The known answer of a problem, where its check holds one."""
    try:
        found = json.loads(check or "null")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    answer = found.get("answer") or (found.get("entry") or {}).get("answer")
    return None if answer is None else str(answer)


def mixture(run: Run) -> Section:
    """Shares of each stage and group, as planned and as packed."""
    section = Section("mixture", "The mixture")
    if not {"mixture", "tokens"} <= run.views:
        section.missing = "Nothing has been mixed: the stage `mix` has not run."
        return section
    if "mixture" in view.outdated(run.datasets):
        section.missing = (
            "The mixture is outdated, what it was made from has changed: the stage `mix` has to run again."
        )
        return section
    rows = planned_and_realised(run.folder)
    stages = [row for row in rows if row.group is None]
    tokens: Counter[str] = Counter()
    for row in rows:
        if row.group is not None:
            tokens[row.group] += row.realised_tokens
    groups = sorted(tokens, key=lambda group: (-tokens[group], group))
    by_place = {(row.stage, row.group): row for row in rows}
    bars: list[str] = []
    series: dict[str, list[float]] = {group: [] for group in groups}
    for stage in stages:
        bars += [f"{stage.stage} planned", f"{stage.stage} realised"]
        for group in groups:
            found = by_place.get((stage.stage, group))
            series[group] += [found.planned_share, found.realised_share] if found else [0.0, 0.0]
    section.data = {
        "rows": rows,
        "tokens": sum(stage.realised_tokens for stage in stages),
        "picture": plots.shares(
            "mixture", "Shares of the groups in each stage, planned and realised", bars, series
        ),
    }
    return section


def tuning(run: Run) -> list[Section]:
    """Supervised fine-tuning, told like pre-training; no section without it."""
    section = training(run, "sft", Section("sft", "Supervised fine-tuning"))
    return [section] if section.data else []


def training(run: Run, folder: str = "pretrain", section: Section | None = None) -> Section:
    """Losses of both heads and the schedule as it was, over tokens."""
    section = section or Section("training", "Pre-training")
    steps, unreadable = run.lines(folder, "metrics.jsonl")
    if not steps:
        section.missing = f"Nothing has been trained: there is no {folder}/metrics.jsonl in the run."
        return section
    log = run.json(folder, "run.json") or {}
    stages = _stages(steps)
    x, columns = _thinned(steps)
    losses = [
        plots.Curve("next token", columns["loss"]),
        plots.Curve("token after next (MTP)", columns["mtp_loss"]),
    ]
    schedule = [plots.Curve(label, columns[name]) for name, label in _SCHEDULE.items() if name in columns]
    spans = [(stage["stage"], float(stage["first_token"]), float(stage["last_token"])) for stage in stages]
    tokens = steps[-1]["tokens"] + steps[-1]["step_tokens"]
    rates = [s["tokens_per_second"] for s in steps if s.get("tokens_per_second")]
    section.data = {
        "stages": stages,
        "steps": len(steps),
        "tokens": tokens,
        "unreadable": unreadable,
        "parameters": log.get("parameters"),
        "machine": _plain(log.get("machine")),
        "seconds": log.get("seconds"),
        "tokens_per_second": statistics.median(rates) if rates else None,
        "final_loss": _mean(s["loss"] for s in steps[-LAST:]),
        "final_mtp_loss": _mean(s["mtp_loss"] for s in steps[-LAST:]),
        "losses": plots.curves(
            f"{section.id}-losses",
            "Training loss of both heads",
            x,
            losses,
            spans,
            "cross-entropy, nats a token",
        ),
        "schedule": plots.small_curves(f"{section.id}-schedule", "Schedule and speed", x, schedule, spans),
        "averaged": len(steps) > POINTS,
        "last": LAST,
    }
    return section


def _stages(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each stage of the training was, in the order they came."""
    stages = []
    for name in dict.fromkeys(step["stage"] for step in steps):
        own = [step for step in steps if step["stage"] == name]
        stages.append(
            {
                "stage": str(name),
                "steps": len(own),
                "first_token": own[0]["tokens"],
                "last_token": own[-1]["tokens"] + own[-1]["step_tokens"],
                "context": own[-1].get("context"),
                "rope_base": own[-1].get("rope_base"),
                "learning_rate": (own[0]["learning_rate"], own[-1]["learning_rate"]),
                "mtp_weight": (own[0]["mtp_weight"], own[-1]["mtp_weight"]),
                "loss": (_mean(s["loss"] for s in own[:LAST]), _mean(s["loss"] for s in own[-LAST:])),
                "mtp_loss": (
                    _mean(s["mtp_loss"] for s in own[:LAST]),
                    _mean(s["mtp_loss"] for s in own[-LAST:]),
                ),
            }
        )
    return stages


def _thinned(steps: list[dict[str, Any]]) -> tuple[list[float], dict[str, list[float]]]:
    """Tokens seen, and each column, averaged over equal stretches of steps so that a curve has at most `POINTS`."""
    stretch = math.ceil(len(steps) / POINTS)
    parts = [steps[start : start + stretch] for start in range(0, len(steps), stretch)]
    names = [name for name in ("loss", "mtp_loss", *_SCHEDULE) if any(name in step for step in steps)]
    columns = {name: [_mean(step.get(name) for step in part) for part in parts] for name in names}
    return [float(part[0]["tokens"]) for part in parts], columns


def _mean(values: Any) -> float:
    """The mean of what is a finite number; NaN, which leaves a gap in a curve, when nothing is."""
    finite = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return statistics.fmean(finite) if finite else math.nan


def _plain(value: Any) -> str | None:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value


def export_check(run: Run) -> Section:
    """Whether vLLM, with and without speculation, says what our own forward pass says."""
    section = Section("check", "The exported model")
    found = run.json("check.json")
    if found is None:
        section.missing = (
            "The exported model has not been compared with vLLM: there is no check.json in the run."
        )
        return section
    answers = found.get("answers", {})
    ours = answers.get("ours", [])
    decode = _decoder(run)
    prompts = []
    for number, tokens in enumerate(ours):
        same = {
            name: answers[name][number] == tokens if name in answers else None
            for name in ("vllm", "vllm_mtp")
        }
        prompts.append(
            {"number": number, "text": decode(tokens) if decode else None, "tokens": len(tokens), **same}
        )
    section.data = {**found, "answered": prompts, "ties": sum(d["tie"] for d in found["differences"])}
    return section


def _decoder(run: Run) -> Callable[[list[int]], str] | None:
    """What makes text of token ids, if the run's tokenizer is there."""
    if "tokenizer_json" not in run.columns("tokenizer"):
        return None
    tokenizer = Tokenizer.from_str(run.row("SELECT tokenizer_json FROM tokenizer")["tokenizer_json"])
    return lambda tokens: tokenizer.decode(tokens, skip_special_tokens=False)


_SCHEDULE = {
    "learning_rate": "learning rate",
    "sequences": "sequences a step",
    "mtp_weight": "weight of the MTP loss",
    "step_tokens": "tokens a step",
    "gradient_norm": "gradient norm, before clipping",
    "tokens_per_second": "tokens a second",
}
