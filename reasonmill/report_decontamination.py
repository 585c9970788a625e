"""The report's section about decontamination: which benchmarks' problems were looked for, and which documents have one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from filters.decontamination.benchmarks import Problem, digest_of, named_problems
from filters.decontamination.report import WAYS, too_short
from pipeline.errors import RequestError
from reasonmill.report_documents import PLACE
from reasonmill.report_run import Run, Section

WORST = 8  # problems that are shown
BEFORE, SPAN, AFTER = 160, 700, 160  # characters of a document that are shown


def decontamination(run: Run) -> Section:
    """Problems and what was found of them by benchmark, and the problems that most documents have."""
    section = Section("decontamination", "Decontamination")
    if "contam_problem" not in run.columns("judged"):
        section.missing = "Nobody has looked for benchmarks' problems in these documents: the stage `decontaminate` has not run on them."
        return section
    manifest = run.datasets["decontaminate"].manifest
    config, benchmarks = manifest["config"], manifest["config"]["benchmarks"]
    problems: list[Problem] = []
    short: Counter[str] = Counter()
    unread = ""
    try:
        problems, short = named_problems(benchmarks), too_short(config)
        changed = [path for path in benchmarks if digest_of(path) != manifest["files"].get(path)]
    except RequestError as error:
        unread, changed = str(error), []
    texts = {(problem.benchmark, problem.id): problem.text for problem in reversed(problems)}
    counts = Counter(benchmark for benchmark, _ in {(p.benchmark, p.id): None for p in problems})
    rows = _rows(run, counts, short)
    section.data = {
        "benchmarks": benchmarks,
        "documents": run.datasets["documents"].rows,
        "ngram": config["ngram"],
        "min_share": config["min_share"],
        "other_forms": config.get("other_forms", False),
        "unread": unread,
        "changed": changed,
        "problems": len(texts),
        "rows": rows,
        "ways": WAYS,
        "short": short.total(),
        "decided": "policy" in run.views,
        **run.row(
            "SELECT count(*) AS found, count(*) FILTER (kept) AS kept FROM judged WHERE contam_problem IS NOT NULL"
        ),
        "worst": [
            {**row, "problem_text": texts.get((row["benchmark"], row["problem"]))} for row in _worst(run)
        ],
    }
    return section


def _rows(run: Run, problems: Counter[str], short: Counter[str]) -> list[dict[str, Any]]:
    """A row of each benchmark, in the order in which they were given; numbers of problems are None where not known."""
    ways = ", ".join(f"count(*) FILTER (way = {number}) AS {way}" for number, way in enumerate(WAYS))
    order = " ".join(f"WHEN '{way}' THEN {number}" for number, way in enumerate(WAYS))
    found = {
        row["benchmark"]: row
        for row in run.rows(
            f"""WITH matches AS (SELECT id, kept, unnest(contam_problems) AS one FROM judged),
                documents AS (SELECT id, kept, one.benchmark AS benchmark, list(one.problem) AS problems,
                    min(CASE one."match" {order} END) AS way FROM matches GROUP BY ALL)
                SELECT benchmark, len(list_distinct(flatten(list(problems)))) AS problems_found,
                    count(*) AS documents, count(*) FILTER (kept) AS kept, {ways}
                FROM documents GROUP BY benchmark ORDER BY benchmark"""
        )
    }
    none = dict.fromkeys(("problems_found", "documents", "kept", *WAYS), 0)
    return [
        {
            **none,
            "benchmark": name,
            **found.get(name, {}),
            "problems": problems.get(name),
            "short": short.get(name),
        }
        for name in dict.fromkeys([*problems, *found])
    ]


def _worst(run: Run) -> list[dict[str, Any]]:
    """The problems that most documents have, and of each the document that has most of it."""
    rows = run.rows(
        f"""SELECT contam_benchmark AS benchmark, contam_problem AS problem, count(*) AS documents,
                count(*) FILTER (kept) AS kept, first(id ORDER BY contam_share DESC, md5(id)) AS id
            FROM judged WHERE contam_problem IS NOT NULL GROUP BY ALL
            ORDER BY documents DESC, max(contam_share) DESC, benchmark, problem LIMIT {WORST}"""
    )
    for row in rows:
        row |= run.row(
            f"""SELECT {PLACE} AS place, url, title, text, kept AS document_kept, contam_match AS way,
                    contam_share AS share, contam_ngrams AS ngrams, contam_start AS start, contam_end AS "end"
                FROM judged WHERE id = ?""",
            [row["id"]],
        )
        text, start, end = row.pop("text"), row["start"], row["end"]
        row["before"], row["span"] = (
            text[max(0, start - BEFORE) : start],
            text[start : min(end, start + SPAN)],
        )
        row["left_out"] = max(0, end - start - SPAN)
        row["after"] = "" if row["left_out"] else text[end : end + AFTER]
        row["begins"], row["ends"] = start <= BEFORE, not row["left_out"] and end + AFTER >= len(text)
    return rows
