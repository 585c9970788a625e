"""A run opened for its report: DuckDB over its datasets, its manifests and its logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipeline import storage, view
from pipeline.dataset import Dataset
from pipeline.errors import RunError
from reasonmill.stages import STAGES


@dataclass
class Section:
    """One part of the page. `data` is what its block of the template needs; without data, `missing` says why."""

    id: str
    title: str
    data: dict[str, Any] | None = None
    missing: str = ""


@dataclass
class Run:
    """A run's folder, opened: DuckDB over its datasets, and its logs."""

    folder: str
    connection: duckdb.DuckDBPyConnection = field(init=False)
    datasets: dict[str, Dataset] = field(init=False)
    logs: dict[str, dict[str, Any]] = field(init=False)  # run.json of each dataset: times, host, versions

    def __post_init__(self) -> None:
        try:
            self.connection = view.connect(self.folder)
        except duckdb.Error as error:
            raise self._damage(error) from None
        self.connection.execute("SET TimeZone = 'UTC'")
        self.datasets = {d.name: d for d in in_line(view.open_all(self.folder))}
        self.logs = {name: self.json(name, "run.json") or {} for name in self.datasets}
        self.views = {
            row[0] for row in self._fetch("SELECT view_name FROM duckdb_views() WHERE NOT internal")
        }
        if (
            "docs" in self.views
        ):  # `judged`: documents with all that is said about them, and whether the policy kept them
            policy = "policy" in self.views
            kept = (
                "policy.id IS NOT NULL AS kept, policy.* EXCLUDE (id)" if policy else "NULL::BOOLEAN AS kept"
            )
            join = "LEFT JOIN policy ON policy.id = docs.id" if policy else ""
            self.connection.execute(f"CREATE VIEW judged AS SELECT docs.*, {kept} FROM docs {join}")
            self.views.add("judged")

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """A query's rows by column name. SQL must order them: the page is the same every time."""
        fetched = self._fetch(sql, parameters)
        names = [column[0] for column in self.connection.description or []]
        return [dict(zip(names, row, strict=True)) for row in fetched]

    def row(self, sql: str, parameters: Iterable[Any] = ()) -> dict[str, Any]:
        return self.rows(sql, parameters)[0]

    def columns(self, name: str) -> dict[str, str]:
        """Column → SQL type of a view; empty when there is no such view."""
        return (
            {r["column_name"]: r["column_type"] for r in self.rows(f'DESCRIBE "{name}"')}
            if name in self.views
            else {}
        )

    def json(self, *path: str) -> Any:
        """A JSON file below the run's folder, None when there is none. Raises `RunError` when it is damaged."""
        file = storage.join(self.folder, *path)
        if not storage.exists(file):
            return None
        try:
            return storage.read_json(file)
        except ValueError as error:
            raise RunError(f"{file} is damaged ({error}): run the stage that writes it again") from None

    def lines(self, *path: str) -> tuple[list[dict[str, Any]], int]:
        """The objects of a JSON-lines file and how many lines are none (a writer that was killed leaves half a line)."""
        file = storage.join(self.folder, *path)
        if not storage.exists(file):
            return [], 0
        found, bad = [], 0
        for line in storage.read_bytes(file).decode(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                found.append(value)
            elif line.strip():
                bad += 1
        return found, bad

    def _fetch(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(sql, list(parameters)).fetchall()
        except duckdb.Error as error:
            raise self._damage(error) from None

    def _damage(self, error: duckdb.Error) -> RunError:
        first_line = str(error).splitlines()[0]
        return RunError(
            f"{self.folder}: a dataset cannot be read as expected ({first_line}). Run the recipe again: it mends what is "
            "damaged or of an older form."
        )


def in_line(datasets: list[Dataset]) -> list[Dataset]:
    """Datasets in the order of the line: none before one it was made from, else as the stages are listed."""
    known = {stage: index for index, stage in enumerate(["sources", *STAGES])}
    waiting = {d.name: d for d in datasets}
    ordered: list[Dataset] = []
    while waiting:
        ready = [d for d in waiting.values() if not set(d.manifest["inputs"]) & (waiting.keys() - {d.name})]
        first = min(ready or waiting.values(), key=lambda d: (known.get(stage_of(d), len(known)), d.name))
        ordered.append(waiting.pop(first.name))
    return ordered


def stage_of(dataset: Dataset) -> str:
    return str(dataset.manifest.get("stage", dataset.name))
