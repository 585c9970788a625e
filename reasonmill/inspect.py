"""`reasonmill inspect`: counts, reasons, verdicts, the mixture, samples, and any SQL over a run's folder or one dataset."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import view
from pipeline.errors import RequestError

SAMPLE_CHARACTERS = 1200


def inspect(folder: str, *, sql: str | None, samples: int, stage: str | None, csv: bool) -> None:
    """Print what a run's folder holds. With `sql`, print the result of a query over its views instead."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # files and pipes have no width; do not cut columns short
    connection = view.connect(folder)
    if sql is not None:
        _print_query(console, connection, sql, csv)
        return
    old = _print_datasets(console, folder)
    _print_reasons(console, connection)
    names = {row[0] for row in _query(connection, "SELECT view_name FROM duckdb_views() WHERE NOT internal")}
    if {"synthetic", "verdicts"} <= names - old:
        _print_verdicts(console, connection)
    if {"tokens", "mixture"} <= names - old:
        from mixtures.table import mixture_table

        console.print()
        console.print(mixture_table(folder))
    if samples:
        _print_samples(console, connection, names, samples, stage)
    console.print(
        f'\nViews for --sql: {", ".join(sorted(names))}.  Columns: --sql "DESCRIBE docs"', style="dim"
    )


def _query(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None) -> list[Any]:
    return connection.execute(sql, parameters or []).fetchall()


def _print_query(console: Console, connection: duckdb.DuckDBPyConnection, sql: str, csv: bool) -> None:
    try:
        result = connection.sql(sql)
        if result is None:
            return
        if not csv:
            result.show(max_width=console.width, max_rows=1000)  # type: ignore[call-arg]
            return
        rows = result.fetchall()
    except duckdb.Error as error:
        raise RequestError(f"this SQL does not run: {str(error).strip()}") from None
    for row in [result.columns, *rows]:
        print(",".join(_cell(value) for value in row))


def _cell(value: Any) -> str:
    """One CSV cell; lists and structs as JSON."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text


def _print_datasets(console: Console, folder: str) -> set[str]:
    """Prints one line a dataset; returns the names of those that are outdated."""
    columns = ("dataset", "stage", "shape", "shards", "in", "kept", "dropped", "failed", "MB", "state")
    table = Table(*columns, title=escape(folder), title_justify="left")
    datasets = {found.name: found for found in view.open_all(folder)}
    old = view.outdated(datasets)
    for name, found in datasets.items():
        counts = found.manifest["counts"]
        table.add_row(
            name,
            found.manifest["stage"],
            found.manifest["shape"],
            f"{len(found.shards):,}",
            f"{counts['in']:,}",
            f"{counts['kept']:,}",
            f"{sum(counts['dropped'].values()):,}",
            f"{sum(counts['failed'].values()):,}",
            f"{sum(shard.bytes for shard in found.shards) / 1e6:,.2f}",
            "[yellow]outdated[/]" if name in old else "finished",
        )
    for name in view.unfinished(folder):
        table.add_row(name, *[""] * 8, "[yellow]unfinished[/]")
    console.print(table)
    if old:
        console.print(
            "outdated: something it was made from has changed since; run its stage again", style="yellow"
        )
    return old


def _print_reasons(console: Console, connection: duckdb.DuckDBPyConnection) -> None:
    rows = _query(
        connection,
        """
        SELECT kind, stage, reason, count(*),
               min(concat_ws(' ', coalesce(url, source || '/' || path), nullif(detail, reason)))
        FROM (SELECT 'dropped' AS kind, * FROM dropped UNION ALL SELECT 'failed', * FROM failed)
        GROUP BY ALL ORDER BY kind, count(*) DESC, stage, reason
        """,
    )
    if rows:
        columns = ("", "stage", "reason", "documents", "for example")
        table = Table(*columns, title="\nWhat was left out", title_justify="left")
        for kind, stage, reason, count, example in rows:
            table.add_row(
                kind, escape(stage), escape(reason), f"{count:,}", escape(textwrap.shorten(example, 80))
            )
        console.print(table)


def _print_verdicts(console: Console, connection: duckdb.DuckDBPyConnection) -> None:
    rows = _query(
        connection,
        """
        SELECT strategy, coalesce(verdict, 'failed'), verdict_reason, count(*), sum(completion_tokens)
        FROM generated GROUP BY ALL ORDER BY strategy, count(*) DESC, 2, 3
        """,
    )
    table = Table(
        "strategy", "verdict", "reason", "answers", "tokens", title="\nSynthetic text", title_justify="left"
    )
    for strategy, verdict, reason, answers, tokens in rows:
        table.add_row(escape(strategy), verdict, escape(reason or ""), f"{answers:,}", f"{tokens:,}")
    console.print(table)


def _print_samples(
    console: Console, connection: duckdb.DuckDBPyConnection, views: set[str], samples: int, stage: str | None
) -> None:
    """Kept documents, or what one stage dropped; chosen by the hash of the id: the same ones every time."""
    if stage is not None:
        stages = [row[0] for row in _query(connection, "SELECT DISTINCT stage FROM dropped ORDER BY stage")]
        if stage not in stages:
            raise RequestError(
                f"--dropped-by {stage}: no stage of that name dropped anything; these did: {stages}"
            )
        text = "(SELECT text FROM docs WHERE docs.id = dropped.id)" if "docs" in views else "NULL"
        rows = _query(
            connection,
            f"SELECT id, coalesce(url, path), reason || ' (' || detail || ')', {text} FROM dropped WHERE stage = ? "
            f"ORDER BY hash(id) LIMIT {samples}",
            [stage],
        )
    elif "docs" in views:
        kept = "WHERE id IN (SELECT id FROM policy)" if "policy" in views else ""
        rows = _query(
            connection,
            f"SELECT id, coalesce(url, origin.path), 'kept', text FROM docs {kept} ORDER BY hash(id) LIMIT {samples}",
        )
    else:
        raise RequestError("--samples needs documents: run `extract` first")
    for document, place, verdict, text in rows:
        console.rule(escape(f"{document}  {place or ''}  {verdict}"), align="left")
        cut = " …" if text and len(text) > SAMPLE_CHARACTERS else ""
        console.print((text or "(no text)")[:SAMPLE_CHARACTERS] + cut, markup=False)
