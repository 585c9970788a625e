"""The report's section about the policy: what each rule drops of each group, examples of it, and where its thresholds lie."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa

from filters.policy import effects
from pipeline.errors import RequestError, RunError
from reasonmill import report_plots as plots
from reasonmill.report_documents import PLACE, counted
from reasonmill.report_run import Run, Section

GROUPS = 9  # columns of a table of rules, and rows of one of documents: the largest; all others are one
EXAMPLES = 5  # documents of each rule
DROPPED = "SELECT id, string_split(detail, ', ') AS hits FROM dropped WHERE stage = 'policy'"


def policy(run: Run) -> Section:
    """Tables of rules and groups, documents before and after, thresholds in what they cut, and examples of each rule."""
    section = Section("policy", "What the policy drops")
    if "policy" not in run.datasets:
        section.missing = "No policy has decided yet: the stage `policy` has not run."
        return section
    manifest, parts = run.datasets["policy"].manifest, _parts(run)
    title, column = next(iter(parts.items()))
    try:
        tables = {title: effects(run.folder, f'"{column}"')}
        if manifest["config"].get("group"):
            tables = {"groups of the policy": effects(run.folder)} | tables
    except RequestError as error:
        section.missing = f"What its rules drop cannot be said: {error}"
        return section
    conditions = manifest["config"]["drop"]  # sorted by name, as JSON is
    rules = {name: conditions[name] for name in json.loads(manifest["files"]["order of drop"])}
    totals = _totals(tables[title])
    pictures = thresholds(run, rules)
    names = ("passed by the rule", "dropped by it")
    section.data = {
        "tables": [{"title": name, **_grid(table)} for name, table in tables.items()],
        "parts": [{"title": name, "rows": _before_and_after(run, part)} for name, part in parts.items()],
        "words": "signal_words" in run.columns("judged"),
        "picture": plots.histograms("thresholds", "Thresholds", pictures, names) if pictures else None,
        "most": EXAMPLES,
        "rules": [
            {"name": name, "sql": sql, **totals[name], "examples": _examples(run, name, column)}
            for name, sql in rules.items()
        ],
    }
    return section


def _parts(run: Run) -> dict[str, str]:
    """Title → column by which documents are told apart: what taggers name, media type, language."""
    columns = run.columns("judged")
    named = [c for c in columns if columns[c] == "VARCHAR" and f"{c}_share" in columns]
    found = {c.removeprefix("score_").replace("_", " "): c for c in named}
    found |= {"media type": "media_type", "language": "lang_label"}
    return {title: column for title, column in found.items() if column in columns}


def _totals(effect: pa.Table) -> dict[str | None, dict[str, int]]:
    """Of each rule, None being any of them, what it drops of all groups."""
    sums: dict[str | None, dict[str, int]] = {}
    for row in effect.to_pylist():
        total = sums.setdefault(row["rule"], {"documents": 0, "drops": 0, "first": 0, "alone": 0})
        for name in total:
            total[name] += row[name]
    return sums


def _grid(effect: pa.Table) -> dict[str, Any]:
    """Rows of rules, columns of groups, the smallest in one, and of all: each cell with what is dropped, and by it alone."""
    sizes = {row["group"]: row["documents"] for row in effect.to_pylist()}  # in order of their size
    shown = list(sizes) if len(sizes) <= GROUPS else list(sizes)[: GROUPS - 1]
    others = f"{len(sizes) - len(shown)} others"
    heads = [*shown, *([others] if len(shown) < len(sizes) else []), "all"]
    cells: dict[str | None, dict[str, dict[str, int]]] = {}
    for row in effect.to_pylist():
        at = cells.setdefault(row["rule"], {})
        for head in (row["group"] if row["group"] in shown else others, "all"):
            cell = at.setdefault(head, {"documents": 0, "drops": 0, "alone": 0})
            for name in cell:
                cell[name] += row[name]
    documents = cells[None]
    return {
        "heads": [(head, documents[head]["documents"]) for head in heads if head in documents],
        "rows": [(rule, [at[head] for head in heads if head in at]) for rule, at in cells.items()],
    }


def _before_and_after(run: Run, column: str) -> list[dict[str, Any]]:
    """Documents and words of each value before and after the policy, the smallest values in one row, and all."""
    words = "signal_words" if "signal_words" in run.columns("judged") else "0"
    return run.rows(
        f"""WITH counted AS (
                SELECT coalesce(CAST("{column}" AS VARCHAR), 'unknown') AS name, count(*) AS documents,
                    count(*) FILTER (kept) AS kept, coalesce(sum({words}), 0)::BIGINT AS words,
                    coalesce(sum({words}) FILTER (kept), 0)::BIGINT AS kept_words
                FROM judged GROUP BY ALL
            ), ranked AS (
                SELECT *, row_number() OVER (ORDER BY documents DESC, name) AS rank, count(*) OVER () AS names FROM counted
            )
            SELECT CASE WHEN rank < {GROUPS} OR names = {GROUPS} THEN name ELSE names - {GROUPS} + 1 || ' others' END AS name,
                min(rank) AS rank, sum(documents)::BIGINT AS documents, sum(kept)::BIGINT AS kept,
                sum(words)::BIGINT AS words, sum(kept_words)::BIGINT AS kept_words
            FROM ranked GROUP BY 1
            UNION ALL
            SELECT 'all', NULL, sum(documents), sum(kept), sum(words), sum(kept_words) FROM counted
            ORDER BY rank NULLS LAST"""
    )


def _examples(run: Run, rule: str, part: str) -> list[dict[str, Any]]:
    """Documents that a rule drops, first those that it alone drops: what would be kept without it."""
    return run.rows(
        f"""SELECT id, title, url, {PLACE} AS place, CAST("{part}" AS VARCHAR) AS part, left(text, 400) AS text,
                list_filter(hits, lambda hit: hit <> {_literal(rule)}) AS others
            FROM docs JOIN (
                SELECT * FROM ({DROPPED}) WHERE list_contains(hits, {_literal(rule)})
                ORDER BY len(hits) > 1, md5(id) LIMIT {EXAMPLES}
            ) USING (id) ORDER BY len(hits) > 1, md5(id)"""
    )


def thresholds(run: Run, rules: dict[str, str]) -> list[plots.Histogram]:
    """What each rule compares with a number, of all documents, those it drops beside those it lets pass."""
    pictures: list[plots.Histogram] = []
    for name, rule in rules.items():
        hit = f"(SELECT id, true AS hit FROM ({DROPPED}) WHERE list_contains(hits, {_literal(name)}))"
        for said, value, numbers in comparisons(run, rule):
            values = f"(SELECT id, TRY(CAST(({value}) AS DOUBLE)) AS x FROM docs)"
            values = f"SELECT x, hit IS NULL AS kept FROM {values} LEFT JOIN {hit} USING (id)"
            with contextlib.suppress(RunError):  # it is no number, or another one each time: nothing to draw
                pictures += filter(None, [counted(run, values, name, thresholds=numbers, note=_short(said))])
    return pictures


def comparisons(run: Run, rule: str) -> list[tuple[str, str, tuple[float, ...]]]:
    """Comparisons of columns with numbers in a SQL condition: (as SQL, what is compared as SQL, with which numbers).

    DuckDB parses and writes the SQL. Those within subqueries and lambdas are left out: their columns are others.
    """
    parsed = json.loads(run.row("SELECT json_serialize_sql(?) AS tree", [f"SELECT ({rule})"])["tree"])
    node = parsed["statements"][0]["node"]

    def written(tree: dict[str, Any]) -> str:
        node["select_list"] = [tree]
        sql = run.row("SELECT json_deserialize_sql(?::JSON) AS sql", [json.dumps(parsed)])["sql"]
        return str(sql).removeprefix("SELECT ")

    found = []
    for comparison in list(_nodes(node["select_list"], {"COMPARISON", "BETWEEN"})):
        sides = [
            comparison[side] for side in ("left", "right", "input", "lower", "upper") if side in comparison
        ]
        of_columns = [side for side in sides if any(_nodes(side, {"COLUMN_REF", "SUBQUERY"}))]
        numbers = [_number(run, written(side)) for side in sides if side not in of_columns]
        if len(of_columns) == 1 and None not in numbers:
            said = written(comparison).removeprefix("(").removesuffix(")")
            found.append((said, written(of_columns[0]), tuple(n for n in numbers if n is not None)))
    return list(dict.fromkeys(found))


def _nodes(tree: Any, classes: set[str]) -> Iterator[dict[str, Any]]:
    """Of a parsed expression the nodes of these classes, outside of subqueries and lambdas."""
    if isinstance(tree, dict):
        if tree.get("class") in classes:
            yield tree
        if tree.get("class") in ("SUBQUERY", "LAMBDA"):
            return
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(part, classes)


def _number(run: Run, sql: str) -> float | None:
    """The value of a SQL expression without columns, None if that is no finite number."""
    value = run.row(f"SELECT ({sql}) AS value")["value"]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return None
    return float(value)


def _short(sql: str) -> str:
    """Both ends: what is compared, and with what."""
    return sql if len(sql) <= 50 else f"{sql[:23]} … {sql[-23:]}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
