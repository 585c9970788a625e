"""What a stage is about to do, and what it came to: resume keys, the manifest, the sums.

`pipeline.runner` executes a `Plan`; nothing here runs anything.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import dataset, storage
from pipeline.dataset import DATASET_VERSION, Dataset, Shard
from pipeline.errors import RequestError, RunError
from pipeline.isolation import Job
from pipeline.stage import Round, ShuffleStage, Stage
from pipeline.tasks import Record


@dataclass
class Summary:
    """What running a stage came to."""

    stage: str
    output: str
    rows_in: int
    kept: int
    dropped: Counter[str]
    failed: Counter[str]
    tasks_run: int
    tasks_skipped: int
    seconds: float
    cpu_seconds: float

    def line(self) -> str:
        """One line for a person."""
        parts = [f"{self.stage:<14} {self.rows_in:>7,} in  {self.kept:>7,} kept"]
        for word, counts in (("dropped", self.dropped), ("failed", self.failed)):
            if counts:
                reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.most_common(4))
                parts.append(f"{sum(counts.values()):,} {word} ({reasons})")
        if not self.tasks_run:
            return "  ".join([*parts, "finished before"])
        rate = self.rows_in / self.seconds if self.seconds else 0
        again = (
            f", {self.tasks_skipped} of {self.tasks_run + self.tasks_skipped} units kept"
            if self.tasks_skipped
            else ""
        )
        return "  ".join([*parts, f"{self.seconds:.1f} s ({rate:,.0f}/s){again}"])


@dataclass(frozen=True)
class Input:
    """A dataset a stage works through, shard by shard, and what is joined to it."""

    dataset: Dataset
    beside: tuple[Dataset, ...] = ()  # its column datasets
    selection: Dataset | None = None  # which of its rows count
    run: str = ""  # name of the run's folder, where that is another one

    @property
    def rows(self) -> int:
        return (self.selection or self.dataset).rows

    def all(self) -> list[Dataset]:
        return [self.dataset, *self.beside, *([self.selection] if self.selection else [])]


@dataclass(frozen=True)
class InputShard:
    """A shard to work on. `name` is unique among all inputs, and the name of what is made of it."""

    name: str
    source: Input
    shard: str

    def read(self) -> pa.Table:
        inputs: list[tuple[str, list[str] | None]] = [(d.path, None) for d in self._joined()]
        return dataset.read_joined(inputs, self.shard, self._selected_by())

    def _joined(self) -> tuple[Dataset, ...]:
        return (self.source.dataset, *self.source.beside)

    def _selected_by(self) -> str | None:
        return self.source.selection.path if self.source.selection else None

    def digests(self) -> dict[str, str | None]:
        return {
            d.name: next((s.sha256 for s in d.shards if s.name == self.shard), None)
            for d in self.source.all()
        }

    def of_job(self, reads: list[str] | None, of_round: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The fields of a `Job` that say what to read. `of_round`: all columns that a round needs, wherever they are."""
        first, *beside = self._joined()
        inputs: list[tuple[str, list[str] | None]] = [(first.path, reads), *((d.path, None) for d in beside)]
        if of_round is not None:
            names = {name.lower() for name in of_round}  # as in SQL
            wanted = [(d, [c for c in d.manifest["schema"] if c.lower() in names]) for d in (first, *beside)]
            inputs = [(d.path, ["id", *(c for c in columns if c != "id")]) for d, columns in wanted]
            inputs = [inputs[0], *(one for one in inputs[1:] if len(one[1] or ()) > 1)]
        return {
            "inputs": inputs,
            "shard": self.shard,
            "selected_by": self._selected_by(),
        }


class Plan:
    """A stage, where it reads and writes, and the keys under which its units count as done."""

    def __init__(self, stage: Stage, folder: str, inputs: list[Input], used: list[Dataset]) -> None:
        self.stage, self.folder, self.inputs, self.used = stage, folder, inputs, used
        self.output = storage.join(folder, stage.output)
        self.stage_key = stage.key()
        self.rows = sum(source.rows for source in inputs)
        self.shards = [
            InputShard(
                f"{source.run or source.dataset.name}-{s.name}" if source.run or len(inputs) > 1 else s.name,
                source,
                s.name,
            )
            for source in inputs
            for s in source.dataset.shards
        ]

        if len({shard.name for shard in self.shards}) < len(self.shards):
            raise RequestError(
                f"stage {stage.name}: two of its input shards would have the same name; rename a run's folder"
            )

    def datasets(self) -> dict[str, Dataset]:
        """Everything that is read, by name; with the run before it where that is another one."""
        read = {
            f"{source.run}/{d.name}" if source.run else d.name: d
            for source in self.inputs
            for d in source.all()
        }
        return read | {d.name: d for d in self.used}

    @property
    def whole_key(self) -> str:
        inputs = {name: d.digest for name, d in self.datasets().items()}
        return storage.sha256(json.dumps([self.stage_key, inputs], sort_keys=True).encode())

    def key(self, what: str, unit: InputShard | int) -> str:
        """Resume key of a unit: the stage with what it uses, and the digests of what the unit reads.

        An int is a partition's index.
        """
        name, reads = (unit.name, unit.digests()) if isinstance(unit, InputShard) else (str(unit), {})
        parts = [self.stage_key, what, name, reads]
        return storage.sha256(json.dumps(parts, sort_keys=True).encode())

    def job(
        self, shard: InputShard | None, reads_in_round: tuple[str, ...] | None = None, **round_: Any
    ) -> Job:
        cls = type(self.stage)
        reads = ["id", *(c for c in cls.reads if c != "id")] if cls.reads is not None else None
        return Job(
            stage=f"{cls.__module__}.{cls.__qualname__}",
            stage_key=self.stage_key,
            config=self.stage.config.model_dump(),
            folder=self.folder,
            **(shard.of_job(reads, reads_in_round) if shard else {"inputs": [], "shard": None}),
            working_directory=str(Path.cwd()),
            **round_,
        )

    def is_finished(self) -> bool:
        """Whether the dataset is there, whole, and made from exactly this."""
        try:
            done = Dataset.open(self.output)
        except RequestError:
            return False
        sizes = all(storage.size(done.shard_path(s.name)) == s.bytes for s in done.shards)
        beside = all(
            storage.exists(storage.join(self.output, f"{n}.parquet")) for n in done.manifest["reasons"]
        )
        return done.manifest["key"] == self.whole_key and sizes and beside

    def had_failures(self) -> bool:
        return bool(Dataset.open(self.output).manifest["counts"]["failed"])

    def finished_tasks(self) -> list[str]:
        return [
            n.removesuffix(".json") for n in storage.list_files(storage.join(self.output, "_tasks"), ".json")
        ]


def manifest_of(stage: Stage, plan: Plan, records: list[Record], summary: Summary) -> dict[str, Any]:
    """Everything another stage or a person must know of the dataset; nothing that differs between two equal runs."""
    shards = [Shard(**entry) for record in records for entry in record.shards]
    reasons = {n: sha for r in records for n, sha in r.beside.items()}
    manifest: dict[str, Any] = {
        "version": DATASET_VERSION,
        "stage": stage.name,
        "shape": stage.shape,
        "aligned": bool(getattr(stage, "aligned", False)),
        "key": plan.whole_key,
        "inputs": {name: d.digest for name, d in plan.datasets().items()},
        "config": json.loads(stage.config.model_dump_json()),
        "files": stage.files(),
        "schema": {f.name: str(f.type) for f in stage.written()},
        "shards": dataset.describe(shards),
        "reasons": dict(sorted(reasons.items())),
        "counts": {
            "in": summary.rows_in,
            "kept": summary.kept,
            "dropped": dict(sorted(summary.dropped.items())),
            "failed": dict(sorted(summary.failed.items())),
        },
        "identity": _identity(stage, summary, records),
    }
    return manifest


def _identity(stage: Stage, summary: Summary, records: list[Record]) -> dict[str, Any]:
    """The shape's law with its numbers. Units proved it on ids; here the sums must agree too."""
    dropped, failed = sum(summary.dropped.values()), sum(summary.failed.values())
    if stage.shape == "expand":
        parents = Counter[str]()
        for record in records:
            parents.update(record.parents)
        return {
            "law": "every child names its parents, every parent is accounted for",
            "in": summary.rows_in,
            **parents,
        }
    aligned = bool(getattr(stage, "aligned", False))
    law = "rows out = rows in; failed rows are null" if aligned else "in = kept + dropped + failed"
    if stage.shape == "ledger":
        law = "requests = answered + dropped + failed, each once"
    total = summary.kept if aligned else summary.kept + dropped + failed
    if _rows_end_in_partitions(stage):
        law = "every row that a round sends, the next one receives"
    elif total != summary.rows_in:
        raise RunError(
            f"stage {stage.name}: {law} does not hold: {summary.rows_in} in, {total} accounted for"
        )
    numbers: dict[str, Any] = {
        "in": summary.rows_in,
        "kept": summary.kept,
        "dropped": dropped,
        "failed": failed,
    }
    if stage.shape == "shuffle":
        numbers["rows_sent"] = sum(r.rows_out for r in records)
        numbers["rows_received"] = sum(r.rows_received for r in records)
    return {"law": law, **numbers}


def _rows_end_in_partitions(stage: Stage) -> bool:
    """Whether the rows that come out are others than those that went in."""
    if not isinstance(stage, ShuffleStage):
        return False
    last = stage.rounds[-1]
    return not isinstance(last, Round) or last.over != "shards"


def summarise(stage: Stage, plan: Plan, records: list[Record], ran: int, started: float) -> Summary:
    """The sum of the units' records. `ran`: how many units were worked on now; a ledger's units are its requests."""
    final = [r for r in records if stage.shape != "shuffle" or not r.passed]
    dropped, failed = Counter[str](), Counter[str]()
    for record in final:
        dropped.update(record.dropped)
        failed.update(record.failed)
    return Summary(
        stage=stage.name,
        output=plan.output,
        rows_in=plan.rows if _rows_end_in_partitions(stage) else sum(r.rows_in for r in final),
        kept=sum(r.kept for r in final),
        dropped=dropped,
        failed=failed,
        tasks_run=ran,
        tasks_skipped=(sum(r.rows_in for r in records) if stage.shape == "ledger" else len(records)) - ran,
        seconds=time.monotonic() - started,
        cpu_seconds=sum(r.cpu_seconds for r in records),
    )
