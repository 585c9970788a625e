"""A dataset: a folder of Parquet shards with `dropped/` and `failed/` beside them and a manifest.

    documents/
      00000-000.parquet …        what was kept; SELECT … FROM 'documents/*.parquet' works
      dropped/  failed/          id, stage, reason, detail of everything else
      manifest.json              inputs, config, shard digests and counts; equal for two equal runs
      run.json                   times, host, versions of the last run that changed something
      _tasks/                    one small record per finished unit of work: the resume state

The manifest is written last: a folder without one is unfinished and no stage reads it.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import RequestError, RunError

COMPRESSION = {"compression": "zstd", "compression_level": 3}
DATASET_VERSION = 1  # of the layout above


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a dataset. `name` has no suffix and no folder."""

    name: str
    sha256: str
    rows: int
    bytes: int


class Dataset:
    """A finished dataset, opened for reading through its manifest."""

    def __init__(self, path: str, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.name: str = path.rstrip("/").rsplit("/", 1)[-1]
        self.shards = [Shard(**entry) for entry in manifest["shards"]]

    @classmethod
    def open(cls, path: str) -> Dataset:
        """Raises `RequestError` when there is no finished dataset at `path`."""
        try:
            manifest = storage.read_json(storage.join(path, "manifest.json"))
        except FileNotFoundError:
            state = "is not finished" if storage.exists(path) else "does not exist"
            raise RequestError(f"dataset {path} {state}: run the stage that writes it first") from None
        except ValueError as error:
            raise RequestError(
                f"{path}/manifest.json is damaged ({error}); run the stage that writes it again"
            ) from None
        if manifest.get("version") != DATASET_VERSION:
            raise RequestError(
                f"{path} was written in layout {manifest.get('version')}, this is {DATASET_VERSION}"
            )
        return cls(path, manifest)

    @functools.cached_property
    def digest(self) -> str:
        """Digest of what the dataset holds (its shards' digests), whatever it was made from."""
        content = [self.manifest["schema"], [(shard.name, shard.sha256) for shard in self.shards]]
        return storage.sha256(json.dumps(content).encode())

    @property
    def aligned(self) -> bool:
        """Whether this is a column dataset: same shards, ids and row order as the dataset it describes."""
        return bool(self.manifest["aligned"])

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def shard_path(self, name: str) -> str:
        return storage.join(self.path, f"{name}.parquet")


def finished(folder: str) -> bool:
    return storage.exists(storage.join(folder, "manifest.json"))


def open_all(folder: str) -> list[Dataset]:
    """Every finished dataset right below a folder, by name; or the one the folder is."""
    if finished(folder):
        return [Dataset.open(folder)]
    return [
        Dataset.open(storage.join(folder, n)) for n in folders(folder) if finished(storage.join(folder, n))
    ]


def folders(folder: str) -> list[str]:
    """Names of the folders right below a folder, sorted."""
    fs, inner = storage.split(folder)
    if not fs.exists(inner):
        raise RequestError(f"there is no folder {folder}")
    entries = fs.ls(inner, detail=True, refresh=True)
    return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")


def outdated(datasets: dict[str, Dataset]) -> set[str]:
    """Names of datasets made from something that has changed since: their stage should run again."""
    old: set[str] = set()
    while True:
        found = {
            name
            for name, dataset in datasets.items()
            for source, digest in dataset.manifest["inputs"].items()
            if source in datasets and (datasets[source].digest != digest or source in old)
        }
        if found <= old:
            return old
        old |= found


def encode(table: pa.Table) -> bytes:
    """The Parquet bytes of a table: the same bytes for the same rows and library versions."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, **COMPRESSION) as writer:
        writer.write_table(table.combine_chunks(), row_group_size=max(1, table.num_rows))
    return sink.getvalue()


def write_shard(path: str, table: pa.Table) -> Shard:
    data = encode(table)
    storage.write_bytes(path, data)
    name = path.rsplit("/", 1)[-1].removesuffix(".parquet")
    return Shard(name, storage.sha256(data), table.num_rows, len(data))


def read_shard(path: str, columns: list[str] | None = None) -> pa.Table:
    """One shard as a table. Raises `RunError` naming the file when it is damaged or gone."""
    fs, inner = storage.split(path)
    try:
        with fs.open(inner, "rb") as handle:
            file = pq.ParquetFile(handle)
            if absent := {name.split(".")[0] for name in columns or ()} - set(file.schema_arrow.names):
                raise pa.ArrowInvalid(f"it has no columns {sorted(absent)}")
            return file.read(columns, use_threads=False)  # a worker is one of many, each on its core
    except MemoryError:  # Arrow's is one of ArrowException too, and no fault of the shard
        raise
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"cannot read shard {path}: {error}. Delete it and run the stage that writes it again."
        ) from None


def read_joined(
    datasets: list[tuple[str, list[str] | None]], shard: str, selected_by: str | None = None
) -> pa.Table:
    """One shard of a dataset with its column datasets beside it.

    `datasets`: (folder, columns or None for all); the first is the one described. `selected_by`: folder of a dataset
    whose same-named shard holds the rows that count, in the same order; its columns come along. Raises `RunError`
    when a column dataset's ids are not the same in the same order: the contract that makes joining a matter of pasting.
    """
    (folder, columns), *described_by = datasets
    table = read_shard(storage.join(folder, f"{shard}.parquet"), columns)
    for column_folder, wanted in described_by:
        beside = read_shard(storage.join(column_folder, f"{shard}.parquet"), wanted)
        if not beside["id"].equals(table["id"]):
            raise RunError(
                f"{column_folder}/{shard}.parquet does not hold the ids of {folder}/{shard}.parquet in the same "
                "order: it belongs to an earlier state. Run its stage again."
            )
        for name in beside.column_names:
            if name != "id":
                table = table.append_column(beside.field(name), beside[name])
    if selected_by is not None:
        selection = read_shard(storage.join(selected_by, f"{shard}.parquet"))
        rows = pc.index_in(selection["id"], value_set=table["id"])
        if rows.null_count or (len(rows) > 1 and not pc.all(pc.less(rows[:-1], rows[1:])).as_py()):
            raise RunError(
                f"{selected_by}/{shard}.parquet holds ids that {folder}/{shard}.parquet has not, or in another order: "
                "it belongs to an earlier state. Run its stage again."
            )
        table = table.take(rows)
        for name in selection.column_names:
            if name != "id":
                table = table.append_column(selection.field(name), selection[name])
    return table


def describe(shards: Iterable[Shard]) -> list[dict[str, Any]]:
    return [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)]
