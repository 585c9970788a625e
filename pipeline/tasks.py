"""One unit of work on a worker: run it in the child, prove that nothing was lost, write shards, then the record.

The record (`_tasks/NAME.json`) is the commit: it is written last, and holds the resume key, the digests of what was
written, and the counts. A unit whose record has the right key is never run again.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import dataset, storage
from pipeline.documents import REASON_SCHEMA, printable
from pipeline.errors import RunError
from pipeline.isolation import Job, Limits, Result, child_of_this_worker
from pipeline.passing import Written
from pipeline.stage import Outcome, Reason


@dataclass(frozen=True)
class Task:
    """A unit of work: what to do, where its result goes, and the key under which it counts as done."""

    name: str
    key: str
    job: Job
    output: str  # folder of the dataset
    limits: Limits
    rows_per_call: int = 0  # 0: a shuffle round
    identity: str = "map"  # "map", "aligned", "expand", or "rows": other rows than those that went in
    rows_per_shard: int = 0  # expand: how many children a shard holds
    schema: pa.Schema | None = None  # of kept rows
    stage_name: str = ""


@dataclass
class Record:
    """What a finished task leaves behind. All of it but `seconds`, `cpu_seconds` and `logs` is reproducible."""

    name: str
    key: str
    rows_in: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason → count
    failed: dict[str, int] = field(default_factory=dict)
    parents: dict[str, int] = field(default_factory=dict)  # expand: with_children, dropped, failed
    shards: list[dict[str, Any]] = field(default_factory=list)  # kept rows
    beside: dict[str, str] = field(default_factory=dict)  # "dropped/…", "failed/…" → sha256
    passed: dict[str, Any] = field(default_factory=dict)  # of a round's rows that go on: `passing.Written`
    rows_out: int = 0  # of a shuffle round: sent to the next one
    rows_received: int = 0  # … and sent here by the one before
    again: bool = False  # of a round to be repeated: it is not finished yet
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    logs: list[dict[str, str]] = field(default_factory=list)


def record_path(output: str, name: str) -> str:
    return storage.join(output, "_tasks", f"{name}.json")


def load_record(output: str, name: str) -> Record | None:
    """The record of a finished task; None when there is none or it cannot be read (it then runs again)."""
    try:
        return Record(**storage.read_json(record_path(output, name)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_intact(output: str, record: Record) -> bool:
    """Whether the files a record promises are there with the promised size."""
    kept = all(
        storage.size(storage.join(output, f"{s['name']}.parquet")) == s["bytes"] for s in record.shards
    )
    passed = not record.passed or storage.size(passing_file(output, record.name)) == record.passed["size"]
    return (
        kept
        and passed
        and all(storage.exists(storage.join(output, f"{name}.parquet")) for name in record.beside)
    )


def passing_file(output: str, name: str) -> str:
    """Where a unit of a round writes the rows that go on."""
    return storage.join(output, "_rounds", f"{name}.arrow")


def run_tasks(batch: list[Task]) -> tuple[list[Record], Exception | None]:
    """Several units, one after the other: the records of those that ended, and why the next one did not."""
    records = []
    for task in batch:
        try:
            records.append(run_task(task))
        except Exception as error:
            return records, error
    return records, None


def run_task(task: Task) -> Record:
    """Run one unit to its committed end. Runs on a Dask worker; may be repeated at any time with the same result."""
    started = time.monotonic()
    storage.remove(record_path(task.output, task.name))  # it speaks of files that are about to be overwritten
    child = child_of_this_worker()
    record = Record(task.name, task.key)
    if task.rows_per_call:
        result = child.run_map(task.job, task.rows_per_call, task.limits)
        _write_outcome(task, record, result, _assemble(result, task))
    else:
        result = child.run_round(task.job, task.limits)
        record.again = result.again
        if isinstance(result.value, Written):
            record.passed, record.rows_out = result.value._asdict(), result.value.rows
        else:  # the last round's rows are a shard
            outcome = result.value if isinstance(result.value, Outcome) else Outcome(result.value)
            assert task.schema is not None
            outcome.kept = _conform(outcome.kept, task.schema, task)
            _write_outcome(task, record, result, outcome)
    record.rows_in, record.rows_received = result.rows, result.received
    record.cpu_seconds = round(result.cpu_seconds, 3)
    record.logs = [asdict(line) for line in result.logs]
    record.seconds = round(time.monotonic() - started, 3)
    storage.write_json(record_path(task.output, task.name), asdict(record) | {"logs": []})
    return record


def _assemble(result: Result, task: Task) -> Outcome:
    """The calls' outcomes in row order. Aligned stages get a row of nulls for each failed document."""
    assert task.schema is not None
    tables, dropped, failed = [task.schema.empty_table()], list[Reason](), list[Reason]()
    for _, outcome in sorted(result.outcomes.items()):
        if task.identity == "aligned" and not outcome.kept.num_columns:
            nulls = pa.Table.from_pylist([{"id": reason.id} for reason in outcome.failed])
            outcome.kept = _conform(nulls, _nullable(task.schema), task)
        if outcome.kept.num_columns:
            tables.append(_conform(outcome.kept, task.schema, task))
        dropped += outcome.dropped
        failed += outcome.failed
    return Outcome(pa.concat_tables(tables), dropped, failed)


def _conform(table: pa.Table, schema: pa.Schema, task: Task) -> pa.Table:
    """The table with exactly the schema's columns; missing ones are null."""
    surplus = set(table.column_names) - set(schema.names)
    if surplus:
        raise RunError(
            f"stage {task.stage_name} returned columns its schema does not have: {sorted(surplus)}"
        )
    columns = [
        table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in schema
    ]
    try:
        return pa.Table.from_arrays(
            [c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )
    except pa.ArrowException as error:
        raise RunError(f"stage {task.stage_name} returned rows that do not fit its schema: {error}") from None


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_nullable(True) for f in schema])


def _write_outcome(task: Task, record: Record, result: Result, outcome: Outcome) -> None:
    ids = result.ids if result.ids is not None else pa.chunked_array([], pa.string())
    if task.identity != "rows":
        _prove(task, record, ids, outcome)
    record.kept = outcome.kept.num_rows
    record.dropped, record.failed = _count(outcome.dropped), _count(outcome.failed)
    for name, part in _parts(task, outcome.kept):
        written = dataset.write_shard(storage.join(task.output, f"{name}.parquet"), part)
        record.shards.append(asdict(written))
    for kind, reasons in (("dropped", outcome.dropped), ("failed", outcome.failed)):
        if reasons:
            rows = [
                {"id": r.id, "stage": task.stage_name, "reason": r.reason, "detail": printable(r.detail)}
                for r in reasons
            ]
            table = pa.Table.from_pylist(rows, schema=REASON_SCHEMA)
            name = f"{kind}/{task.name}"
            record.beside[name] = dataset.write_shard(
                storage.join(task.output, f"{name}.parquet"), table
            ).sha256


def _parts(task: Task, kept: pa.Table) -> list[tuple[str, pa.Table]]:
    if task.identity != "expand":
        return [(task.name, kept)]
    starts = range(0, kept.num_rows, task.rows_per_shard)  # no children: no shard
    return [
        (f"{task.name}-{n:03d}", kept.slice(start, task.rows_per_shard)) for n, start in enumerate(starts)
    ]


def _prove(task: Task, record: Record, ids: pa.ChunkedArray, outcome: Outcome) -> None:
    """The shape's identity, checked on the ids themselves. A violation is a defect of the stage and ends the run."""

    def broken(what: str) -> RunError:
        return RunError(
            f"stage {task.stage_name}, shard {task.job.shard}: {what}. This is a defect of the stage."
        )

    kept, given = outcome.kept["id"], ids
    gone = [reason.id for reason in (*outcome.dropped, *outcome.failed)]
    if task.identity == "expand":
        _prove_expand(record, given, outcome, broken)
    elif task.identity == "aligned":
        if not kept.equals(given):
            raise broken("a column stage must return every document, in order")
        if outcome.dropped or not set(gone) <= set(given.to_pylist()):
            raise broken("a column stage must not drop documents, nor fail documents it was not given")
    else:
        counted = sorted([*kept.to_pylist(), *gone])
        if counted != sorted(given.to_pylist()):
            raise broken(
                f"{len(given)} documents in, {len(kept)} kept + {len(gone)} dropped or failed, or other ids"
            )


def _prove_expand(record: Record, given: pa.ChunkedArray, outcome: Outcome, broken: Any) -> None:
    parents = set(given.to_pylist())
    named = set(pc.unique(pc.list_flatten(outcome.kept["parent_ids"])).to_pylist())
    if pc.any(pc.equal(pc.list_value_length(outcome.kept["parent_ids"]), 0)).as_py():
        raise broken("a child names no parent")
    if named - parents:
        raise broken(f"a child names a parent that was not given: {sorted(named - parents)[:3]}")
    if pc.count_distinct(outcome.kept["id"]).as_py() != outcome.kept.num_rows:
        raise broken("two children have the same id")
    dropped = {r.id for r in outcome.dropped} & parents
    failed = {r.id for r in outcome.failed} & parents
    if parents - named - dropped - failed:
        raise broken(f"parents unaccounted for: {sorted(parents - named - dropped - failed)[:3]}")
    record.parents = {"with_children": len(named), "dropped": len(dropped), "failed": len(failed)}


def _count(reasons: list[Reason]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason.reason] = counts.get(reason.reason, 0) + 1
    return counts
