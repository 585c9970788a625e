"""The report of a run: one static page that can be read anywhere, printed and sent on.

    reasonmill report runs/demo        # writes runs/demo/report.html

Everything on it is read back from the run's datasets (DuckDB), manifests and logs: nothing is remembered from the
running, so the page of an old run is as good as that of a new one. A section whose data is not there says what is
missing. Two equal runs give the same page, times apart; samples are chosen by the hash of their id.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from pipeline import storage, view
from reasonmill import report_documents as documents
from reasonmill import report_model as model
from reasonmill import report_plots as plots
from reasonmill.report_decontamination import decontamination
from reasonmill.report_evaluation import evaluations
from reasonmill.report_policy import policy
from reasonmill.report_run import Run, Section, stage_of
from reasonmill.report_taggers import taggers
from reasonmill.report_text import printable, rendered, shorten
from reasonmill.report_training_rl import difficulty, reinforcement

EXAMPLE = (
    "concat_ws(' ', coalesce(url, concat_ws('/', source, path) || coalesce('#' || nullif(locator, ''), '')))"
)


def write_report(run: str) -> str:
    """Write RUN/report.html and return where that is.

    Raises `RequestError` when the folder holds no dataset, `RunError` when a dataset or log is damaged.
    """
    opened = Run(run)
    sections = [
        funnel(opened),
        reasons(opened),
        documents.scores(opened),
        *taggers(opened),
        policy(opened),
        decontamination(opened),
        documents.samples(opened),
        documents.duplicates(opened),
        model.synthesis(opened),
        model.mixture(opened),
        model.training(opened),
        model.export_check(opened),
        *model.tuning(opened),
        *difficulty(opened),
        *reinforcement(opened),
        *evaluations(opened),
        provenance(opened),
    ]
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(head=head(opened, sections), sections=sections)
    )
    target = storage.join(run, "report.html")
    storage.write_bytes(target, page.lstrip().encode())
    return target


def head(run: Run, sections: list[Section]) -> dict[str, Any]:
    """What was run, when, and the few numbers to look at first."""
    by_id = {section.id: section.data for section in sections}
    logs = [log for log in run.logs.values() if "ended" in log]
    ends = [datetime.fromisoformat(log["ended"]) for log in logs]
    starts = [end - timedelta(seconds=log["seconds"]) for end, log in zip(ends, logs, strict=True)]
    recipe = _recipe(run)
    tiles: list[tuple[str, Any, str]] = []
    for name, label in (
        ("sources", "source files"),
        ("read", "records"),
        ("documents", "documents"),
        ("policy", "kept by the policy"),
    ):
        if name in run.datasets:
            tiles.append((label, run.datasets[name].rows, ""))
    if (data := by_id["synthesis"]) and data["checked"]:
        tiles.append(("synthetic texts accepted", data["passed"], f"of {data['total']:,}"))
    if data := by_id["mixture"]:
        tiles.append(("tokens in the mixture", data["tokens"], ""))
    if data := by_id["training"]:
        if data["parameters"]:
            tiles.append(("parameters", data["parameters"], ""))
        tiles += [
            ("final loss", data["final_loss"], "next token"),
            ("final MTP loss", data["final_mtp_loss"], "token after next"),
        ]
    if (data := by_id["check"]) and data["acceptance"] is not None:
        tiles.append(("drafts accepted", f"{data['acceptance']:.1%}", "speculative decoding"))
    seconds = sum(log["seconds"] for log in logs) + ((by_id["training"] or {}).get("seconds") or 0)
    return {
        "name": recipe.get("name") or run.folder.rstrip("/").rsplit("/", 1)[-1],
        "started": min(starts, default=None),
        "ended": max(ends, default=None),
        "seconds": seconds if logs else None,
        "hosts": sorted({log["host"] for log in logs if log.get("host")}),
        "unfinished": view.unfinished(run.folder),
        "outdated": sorted(view.outdated(run.datasets)),
        "tiles": tiles,
    }


def funnel(run: Run) -> Section:
    """Every stage: what came in, what became of it, and what it took."""
    rows = []
    for name, dataset in run.datasets.items():
        counts, log = dataset.manifest["counts"], run.logs[name]
        rows.append(
            {
                "dataset": name,
                "stage": stage_of(dataset),
                "shape": dataset.manifest["shape"],
                "in": counts["in"],
                "kept": counts["kept"],
                "dropped": sum(counts["dropped"].values()),
                "failed": sum(counts["failed"].values()),
                "bytes": sum(shard.bytes for shard in dataset.shards),
                "seconds": log.get("seconds"),
                "cpu_seconds": log.get("cpu_seconds"),
                "resumed": bool(log.get("units_kept")),
                "aligned": dataset.aligned,
            }
        )
    drawn = [row for row in rows if not row["aligned"] and row["dataset"] not in ("tokenizer", "mixture")]
    drawn += [row for row in rows if row["aligned"] and row["failed"]]
    notes = []
    for row in drawn:
        parts = [f"{row['kept']:,} kept"] + [
            f"{row[word]:,} {word}" for word in ("dropped", "failed") if row[word]
        ]
        notes.append(" · ".join(parts))
    series = {word: [float(row[word]) for row in drawn] for word in ("kept", "dropped", "failed")}
    series = {word: values for word, values in series.items() if word != "failed" or any(values)}
    picture = plots.bars(
        "funnel",
        "Rows kept, dropped and failed, by stage",
        [row["stage"] for row in drawn],
        series,
        notes,
        (plots.KEPT, plots.DROPPED, plots.FAILED),
    )
    longest = max((row["cpu_seconds"] or 0 for row in rows), default=0)
    totals = {column: sum(row[column] or 0 for row in rows) for column in ("seconds", "cpu_seconds", "bytes")}
    steps = [
        {"name": name, **step} for name, step in (run.json("steps.json") or {}).items() if "seconds" in step
    ]
    totals["seconds"] += sum(step["seconds"] for step in steps)
    return Section(
        "funnel",
        "From sources to the mixture",
        {"rows": rows, "picture": picture, "longest": longest, "totals": totals, "steps": steps},
    )


def reasons(run: Run) -> Section:
    """What was left out, why, and one example of each reason."""
    rows = run.rows(
        f"""
        SELECT kind, stage, reason, count(*) AS documents, arg_min({EXAMPLE}, md5(id)) AS place, arg_min(url, md5(id)) AS url,
               arg_min(nullif(detail, reason), md5(id)) FILTER (nullif(detail, reason) IS NOT NULL) AS detail
        FROM (SELECT 'dropped' AS kind, * FROM dropped UNION ALL SELECT 'failed', * FROM failed)
        GROUP BY ALL ORDER BY kind, documents DESC, stage, reason
        """
    )
    if not rows:
        return Section(
            "reasons", "What was left out", missing="No stage dropped anything and nothing failed."
        )
    return Section(
        "reasons", "What was left out", {"rows": rows, "most": max(row["documents"] for row in rows)}
    )


def provenance(run: Run) -> Section:
    """Versions, options and digests: what is needed to make the same run again."""
    versions: dict[str, set[str]] = {}
    for log in run.logs.values():
        found = dict(log.get("versions", {}), **({"python": log["python"]} if "python" in log else {}))
        for library, version in found.items():
            versions.setdefault(library, set()).add(str(version))
    for library, version in ((run.json("pretrain", "run.json") or {}).get("versions") or {}).items():
        versions.setdefault(library, set()).add(str(version))
    configs = {stage_of(d): d.manifest["config"] for d in run.datasets.values() if d.manifest.get("config")}
    recipe = _text(run, "recipe.yaml")
    shown = recipe or yaml.safe_dump({"stages": configs}, sort_keys=False, allow_unicode=True, width=100)
    data = {
        "versions": {name: ", ".join(sorted(versions[name])) for name in sorted(versions)},
        "recipe": shown,
        "from_manifests": recipe is None,
        "digests": [(d.name, stage_of(d), d.rows, len(d.shards), d.digest) for d in run.datasets.values()],
        "files": [
            (stage_of(d), name, digest)
            for d in run.datasets.values()
            for name, digest in d.manifest.get("files", {}).items()
        ],
    }
    return Section("provenance", "Provenance", data)


def _text(run: Run, name: str) -> str | None:
    path = storage.join(run.folder, name)
    return storage.read_bytes(path).decode(errors="replace") if storage.exists(path) else None


def _recipe(run: Run) -> dict[str, Any]:
    """The recipe kept with the run, if one is: only its name is taken from it."""
    try:
        found = yaml.safe_load(_text(run, "recipe.yaml") or "")
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _environment() -> jinja2.Environment:
    """Everything that is not `Markup` is escaped; what cannot be printed is replaced; None is a dash."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: "–" if value is None else f"{value:,}",
        "amount": lambda value: value if isinstance(value, str) else _amount(value),
        "decimal": lambda value, places=2: "–" if value is None else f"{value:,.{places}f}",
        "percent": lambda value, places=1: "–" if value is None else f"{value:.{places}%}",
        "duration": _duration,
        "megabytes": lambda value: f"{value / 1e6:,.2f}",
        "time": lambda value: "–" if value is None else f"{value:%d %B %Y, %H:%M} UTC",
        "rendered": rendered,
        "cut": _cut,
        "short": plots.short,
    }
    environment.tests["web_address"] = lambda text: bool(text and re.match(r"https?://[^\s\"'<>]+\Z", text))
    return environment


def _finalize(value: Any) -> Any:
    if value is None:
        return "–"
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _amount(value: float | None) -> str:
    """A number for a tile: exact while it is short.

    >>> [_amount(v) for v in (1232, 1048576, 4.2129, 7833409536)]
    ['1,232', '1.05M', '4.21', '7.83B']
    """
    if value is None:
        return "–"
    if isinstance(value, float) and value < 100:
        return f"{value:.2f}"
    return f"{value:,.0f}" if value < 100_000 else plots.short(value)


def _duration(seconds: float | None) -> str:
    """
    >>> [_duration(s) for s in (None, 1.234, 75, 7384)]
    ['–', '1.2 s', '1 min 15 s', '2 h 3 min']
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _cut(text: str, characters: int) -> str:
    head, left_out = shorten(text, characters)
    return f"{head}…" if left_out else head
