"""DuckDB over a run's folder: one view per dataset, and `docs`, where documents meet everything said about them.

    SELECT lang_label, count(*) FROM docs GROUP BY ALL
    SELECT stage, reason, count(*) FROM dropped GROUP BY ALL

`inspect`, the mixtures and notebooks read this; the policy reads the same join shard by shard.
"""

from __future__ import annotations

import duckdb

from pipeline import storage
from pipeline.dataset import Dataset, finished, folders, open_all, outdated
from pipeline.errors import RequestError, RunError

__all__ = ["connect", "open_all", "outdated", "unfinished"]


def connect(folder: str) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the views of a run's folder.

    Views: one per finished dataset under its folder's name; `docs` (documents and all their current column datasets);
    `generated` (synthetic text and its verdicts);
    `dropped` and `failed` over all stages, unfinished ones too: id, stage, reason, detail, and where the record came
    from (source, path, locator, url). Raises `RequestError` if there is no dataset, `RunError` if one is damaged.
    """
    connection = duckdb.connect()
    try:
        _create_views(connection, folder)
    except duckdb.Error as error:
        first_line = str(error).strip().splitlines()[0]
        raise RunError(
            f"a dataset below {folder} cannot be read: {first_line}. Delete the shard and run its stage again"
        ) from None
    return connection


def _create_views(connection: duckdb.DuckDBPyConnection, folder: str) -> None:
    if not storage.is_local(folder):
        connection.register_filesystem(storage.split(folder)[0])
    datasets = {d.name: d for d in open_all(folder)}
    if not datasets and not unfinished(folder):
        raise RequestError(f"{folder} holds no dataset of reasonmill")
    for name, found in datasets.items():
        files = [found.shard_path(shard.name) for shard in found.shards]
        if files:
            connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet({_sql_list(files)})')
    places = _places(datasets)
    for kind in ("dropped", "failed"):
        files = [
            storage.join(d.path, f"{name}.parquet")
            for d in datasets.values()
            for name in d.manifest["reasons"]
            if name.startswith(f"{kind}/")
        ]
        for name in unfinished(folder):
            inner = storage.join(folder, name, kind)
            files += [storage.join(inner, file) for file in storage.list_files(inner, ".parquet")]
        rows = f"SELECT * FROM read_parquet({_sql_list(files)})" if files else _NO_REASONS
        connection.execute(f"CREATE VIEW {kind} AS SELECT * FROM ({rows}) LEFT JOIN ({places}) USING (id)")
    for name, source in (("docs", "documents"), ("generated", "synthetic")):
        if source in datasets and datasets[source].shards:
            connection.execute(f"CREATE VIEW {name} AS {_joined(datasets, source)}")


def unfinished(folder: str) -> list[str]:
    """Names of the stages' folders that have begun and not ended."""
    if finished(folder):
        return []
    inside = [name for name in folders(folder) if not finished(storage.join(folder, name))]
    begun = {"_tasks", "failed", "dropped"}
    return [name for name in inside if begun & set(folders(storage.join(folder, name)))]


_NO_REASONS = "SELECT '' AS id, '' AS stage, '' AS reason, '' AS detail WHERE false"
_NO_PLACES = "SELECT '' AS id, '' AS source, '' AS path, '' AS locator, '' AS url WHERE false"


def _places(datasets: dict[str, Dataset]) -> str:
    """Where a record or a source file came from."""
    parts = [_NO_PLACES]
    if "read" in datasets and datasets["read"].shards:
        parts.append("SELECT id, origin.source, origin.path, origin.locator, url FROM read")
    if "sources" in datasets and datasets["sources"].shards:
        parts.append("SELECT id, source, path, NULL, NULL FROM sources")
    return " UNION ALL ".join(parts)


def _joined(datasets: dict[str, Dataset], source: str) -> str:
    """A dataset with all its current column datasets."""
    beside = [
        d
        for d in datasets.values()
        if d.aligned and d.manifest["inputs"].get(source) == datasets[source].digest and d.shards
    ]
    columns = [f"{source}.*", *(f'"{d.name}".* EXCLUDE (id)' for d in beside)]
    joins = "".join(f' LEFT JOIN "{d.name}" ON "{d.name}".id = {source}.id' for d in beside)
    return f"SELECT {', '.join(columns)} FROM {source}{joins}"


def _sql_list(paths: list[str]) -> str:
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"
