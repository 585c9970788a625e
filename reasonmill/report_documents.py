"""The report's sections about documents: score histograms, samples, near-duplicates."""

from __future__ import annotations

import difflib
import math
from typing import Any

from reasonmill import report_plots as plots
from reasonmill.report_run import Run, Section

BINS = 40
SAMPLES = 6  # documents kept, and as many dropped
SCORES = {  # column: (title, whether its axis is logarithmic)
    "signal_reasoning": ("reasoning", False),
    "signal_words": ("words of prose", True),
    "signal_formula_share": ("share of formulas", False),
    "signal_code_share": ("share of code", False),
    "signal_link_density": ("share of links", False),
    "signal_duplicate_line_share": ("share of repeated lines", False),
    "signal_inference_words_per_sentence": ("inference words a sentence", False),
    "lang_score": ("certainty of the language", False),
    "extraction.fidelity": ("fidelity of the extraction", False),
}
PLACE = "coalesce(url, concat_ws('/', origin.source, origin.path) || coalesce('#' || nullif(origin.locator, ''), ''))"


def scores(run: Run) -> Section:
    """Histograms of what was measured, kept documents beside dropped ones; weights and groups of the policy."""
    section = Section("scores", "Scores")
    columns = run.columns("judged")
    asked = {
        **SCORES,
        **{
            c: (c.removeprefix("score_").replace("_", " "), False)
            for c in sorted(columns)
            if c.startswith("score_")
        },
    }
    if "extraction" not in columns:
        asked.pop("extraction.fidelity")
    found = [c for c in asked if c == "extraction.fidelity" or columns.get(c) in _NUMERIC]
    if not found:
        section.missing = "No document has been measured: the stages `extract` and `signals` have not run."
        return section
    decided = "policy" in run.views
    pictures = [histogram(run, column, *asked[column]) for column in found]
    names = (
        ("kept by the policy", "dropped by the policy")
        if decided
        else ("documents (no policy has run yet)", "")
    )
    section.data = {
        "picture": plots.histograms("scores", "Histograms of scores", [p for p in pictures if p], names),
        "weights": None,
        "groups": [],
        "decided": decided,
    }
    if decided and (weights := histogram(run, "policy_weight", "sampling weight of kept documents", False)):
        section.data["weights"] = plots.histograms(
            "weights", "Sampling weights", [weights], ("kept by the policy", "")
        )
    if "policy_group" in columns:
        measure = "sum(signal_characters)" if "signal_characters" in columns else "NULL"
        section.data["groups"] = run.rows(
            f"""SELECT policy_group AS name, count(*) AS documents, {measure} AS characters, avg(policy_weight) AS weight,
                       count(*) / sum(count(*)) OVER () AS share
                FROM judged WHERE kept GROUP BY ALL ORDER BY documents DESC, name"""
        )
    return section


def histogram(run: Run, column: str, title: str, logarithmic: bool) -> plots.Histogram | None:
    """Of a column of `judged`, kept documents beside dropped ones."""
    values = f"SELECT {column} AS x, coalesce(kept, true) AS kept FROM judged"
    if column == "policy_weight":
        values = f"SELECT x, kept FROM ({values}) WHERE kept"
    return counted(run, values, title, logarithmic)


def counted(
    run: Run,
    values: str,
    title: str,
    logarithmic: bool | None = None,
    thresholds: tuple[float, ...] = (),
    note: str = "",
) -> plots.Histogram | None:
    """Counted by DuckDB; None when no value is finite.

    values: SQL for numbers `x` and booleans `kept`. thresholds: the axis reaches as far as they do. logarithmic: bins
    of log10(1 + x); None: where nothing is below 0 and something above 100.
    """
    values = f"(SELECT * FROM (SELECT CAST(x AS DOUBLE) AS x, kept FROM ({values})) WHERE isfinite(x))"
    ends = run.row(f"SELECT min(x) AS low, max(x) AS high FROM {values}")
    if ends["low"] is None:
        return None
    low, high = min((ends["low"], *thresholds)), max((ends["high"], *thresholds))
    if logarithmic is None:
        logarithmic = low >= 0 and high > 100
    scaled = "x"
    if logarithmic:
        scaled = "log10(1 + x)"
        low, high = math.log10(1 + low), math.log10(1 + high)
        thresholds = tuple(math.log10(1 + x) for x in thresholds)
    high = high if high > low else low + 1
    width = (high - low) / BINS
    counts = {True: [0] * BINS, False: [0] * BINS}
    for row in run.rows(
        f"SELECT CAST(greatest(0, least(floor(({scaled} - ?) / ?), ?)) AS INTEGER) AS bin, kept, count(*) AS n FROM {values} GROUP BY ALL",
        [low, width, BINS - 1],
    ):
        counts[row["kept"]][row["bin"]] = row["n"]
    edges = [low + width * index for index in range(BINS + 1)]
    return plots.Histogram(title, edges, counts[True], counts[False], logarithmic, thresholds, note)


def samples(run: Run) -> Section:
    """A few documents that were kept and a few that were not, spread over groups and reasons."""
    section = Section("samples", "Samples")
    columns = run.columns("judged")
    if not columns:
        section.missing = "There are no documents yet: the stage `extract` has not run."
        return section
    chips = [(c, label) for c, label in _CHIPS.items() if c.split(".")[0] in columns]
    shown = ", ".join(f'{c} AS "{label}"' for c, label in chips)
    fields = f"id, kept, {PLACE} AS place, url, title, media_type, text{', ' if shown else ''}{shown}"
    spread = "policy_group" if "policy_group" in columns else "media_type"
    kept = _spread(run, f"SELECT id, {spread} AS part FROM judged WHERE coalesce(kept, true)")
    dropped = _spread(run, "SELECT d.id, d.reason AS part FROM dropped d JOIN docs ON docs.id = d.id")
    why = {r["id"]: r for r in run.rows("SELECT id, stage, reason, detail FROM dropped ORDER BY id, stage")}
    marks = ", ".join("?" * len(kept + dropped))
    rows = run.rows(f"SELECT {fields} FROM judged WHERE id IN ({marks})", kept + dropped) if marks else []
    found = {row["id"]: row for row in rows}
    section.data = {
        "decided": "policy" in run.views,
        "kept": [_card(found[i], chips, None) for i in kept],
        "dropped": [_card(found[i], chips, why[i]) for i in dropped],
    }
    return section


def _spread(run: Run, query: str) -> list[str]:
    """Ids: the first by hash of each part, then the second of each, and so on."""
    ranked = f"SELECT id, row_number() OVER (PARTITION BY part ORDER BY md5(id)) AS rank FROM ({query})"
    return [r["id"] for r in run.rows(f"SELECT id FROM ({ranked}) ORDER BY rank, md5(id) LIMIT {SAMPLES}")]


def _card(row: dict[str, Any], chips: list[tuple[str, str]], why: dict[str, Any] | None) -> dict[str, Any]:
    values = [(label, _chip(row[label])) for _, label in chips if row[label] is not None]
    text = row["text"] or ""
    source = row["media_type"].startswith("text/x-") and not text.lstrip().startswith(
        "```"
    )  # program code is not Markdown
    return {**row, "text": text, "chips": values, "why": why, "source": source}


def _chip(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def duplicates(run: Run) -> Section:
    """How many near-duplicates there are, in clusters of what size, and one pair to look at."""
    section = Section("duplicates", "Near-duplicates")
    columns = run.columns("docs")
    if "dedup_of" not in columns:
        section.missing = "Near-duplicates have not been looked for: the stage `dedup` has not run."
        return section
    clusters = run.rows(
        """SELECT dedup_cluster_size AS size, count(*) // dedup_cluster_size AS clusters, count(*) AS documents,
                  count(dedup_of) AS duplicates
           FROM docs WHERE dedup_cluster_size > 1 GROUP BY dedup_cluster_size ORDER BY size"""
    )
    section.data = {
        "clusters": clusters,
        "duplicates": sum(row["duplicates"] for row in clusters),
        "documents": run.datasets["documents"].rows,
        "threshold": run.datasets["dedup"].manifest["config"].get("threshold")
        if "dedup" in run.datasets
        else None,
        "pair": _pair(run),
    }
    return section


def _pair(run: Run) -> dict[str, Any] | None:
    """One pair, rather of two texts that differ, with the lines around their first difference."""
    place = PLACE.replace("url", "d.url").replace("origin.", "d.origin.")
    other = PLACE.replace("url", "o.url").replace("origin.", "o.origin.")
    rows = run.rows(
        f"""SELECT {place} AS place, {other} AS of, d.dedup_jaccard AS jaccard, d.text AS text, o.text AS original
            FROM docs d JOIN docs o ON o.id = d.dedup_of
            WHERE d.id IN (SELECT id FROM docs WHERE dedup_of IS NOT NULL ORDER BY dedup_jaccard >= 1, md5(id) LIMIT 20)
            ORDER BY d.text = o.text, greatest(length(d.text), length(o.text)) > 50000, md5(d.id) LIMIT 1"""
    )
    if not rows:
        return None
    pair = rows[0]
    pair["lines"] = _difference(
        (pair["original"] or "").splitlines()[:2000], (pair["text"] or "").splitlines()[:2000]
    )
    return pair


def _difference(left: list[str], right: list[str], rows: int = 14) -> list[tuple[str, str, bool]]:
    """Lines of both texts side by side, from a little before their first difference: (left, right, equal)."""
    aligned: list[tuple[str, str, bool]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for step in range(max(b - a, d - c)):
            one = left[a + step] if a + step < b else ""
            two = right[c + step] if c + step < d else ""
            if one.strip() or two.strip():
                aligned.append((one, two, kind == "equal"))
    first = next((index for index, line in enumerate(aligned) if not line[2]), 0)
    return aligned[max(0, first - 3) :][:rows]


_NUMERIC = ("FLOAT", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_CHIPS = {
    "policy_group": "group",
    "policy_weight": "weight",
    "signal_words": "words",
    "signal_reasoning": "reasoning",
    "signal_formula_share": "formulas",
    "signal_code_share": "code",
    "signal_link_density": "links",
    "lang_label": "language",
    "extraction.method": "extracted by",
    "licence": "licence",
}
