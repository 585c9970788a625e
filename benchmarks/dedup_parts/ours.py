"""Our stages on a corpus, from Parquet to decision columns, with the CPU time of everything that takes part.

`python -m benchmarks.dedup_parts.ours FOLDER [--workers N] [--warm WARM --out OUT]` runs them in FOLDER, a run folder
with a finished dataset `documents`. With WARM, another such folder, they run there first, so that the kernels are
compiled and the cluster is up, and what FOLDER then takes is written to OUT: CPU seconds of scheduler, workers and child
processes together, by round. What every run pays whatever its size (child processes that start) is in it.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.dedup_parts.processes import Used, python, tree_cpu_seconds, watched
from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.dedup.near import Dedup
from pipeline.dedup.signatures import Signatures
from pipeline.runner import Runner, RunOptions
from pipeline.stage import Stage

BANDS, ROWS = 16, 7
PER_PARTITION = 50_000


def stages(per_partition: int = PER_PARTITION) -> list[Stage]:
    """What is measured, in order. `per_partition`: documents whose rows a worker holds at a time."""
    return [
        Signatures(Signatures.Config(bands=BANDS, rows=ROWS)),
        Dedup(Dedup.Config(threshold=0.8, documents_per_partition=per_partition)),
    ]


class TimedRunner(Runner):
    """Notes the CPU time of each round, whichever process spends it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.by_round: dict[str, float] = defaultdict(float)

    def _execute(self, todo: Any, plan: Any, progress: Any) -> Any:
        before = tree_cpu_seconds()
        done = super()._execute(todo, plan, progress)
        self.by_round[(todo[0].job.round if todo else None) or plan.stage.name] += tree_cpu_seconds() - before
        return done


@dataclass(frozen=True)
class Measured:
    """One run over one corpus. Times and memory of `used` include starting everything and the warm-up."""

    documents: int
    text_bytes: int
    used: Used
    cpu_seconds: float  # without starting the cluster and compiling
    wall_seconds: float
    by_round: dict[str, float]  # CPU seconds
    disk: int  # bytes written: signatures, rounds, decisions

    @property
    def per_second(self) -> float:
        return self.documents / self.cpu_seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.text_bytes / self.cpu_seconds / 1e6


def measure(corpus: Path, warm: Path, workers: int) -> Measured:
    """Our stages over a corpus, from nothing."""
    forget(corpus)
    out = corpus / "measured.json"
    forget(warm)
    used = watched([*command(corpus, workers), "--warm", str(warm), "--out", str(out)], corpus / "said.txt")
    found = json.loads(out.read_text())
    disk = sum(f.stat().st_size for s in stages() for f in (corpus / s.output).rglob("*") if f.is_file())
    about = about_corpus(corpus)
    return Measured(about["documents"], about["text_bytes"], used, disk=disk, **found)


def command(folder: Path, workers: int, per_partition: int = PER_PARTITION) -> list[str]:
    """Our stages in a folder, as a command."""
    options = ["--workers", workers, "--per-partition", per_partition]
    return python("benchmarks.dedup_parts.ours", folder, *options)


def forget(folder: Path) -> None:
    """Remove what our stages wrote."""
    for stage in stages():
        storage.remove(str(folder / stage.output))


def about_corpus(folder: Path) -> dict[str, int]:
    """How many documents a corpus has, and bytes of text."""
    file = folder / "about.json"
    if not file.exists():
        documents, size = Dataset.open(str(folder / "documents")), 0
        for shard in documents.shards:
            text = dataset.read_shard(documents.shard_path(shard.name), ["text"])["text"]
            size += pc.sum(pc.binary_length(text)).as_py()
        storage.write_json(str(file), {"documents": documents.rows, "text_bytes": size})
    return dict(json.loads(file.read_text()))


def decisions(folder: Path) -> pa.Table:
    """The columns that the last stage wrote, by id."""
    found = Dataset.open(str(folder / Dedup.output))
    tables = [dataset.read_shard(found.shard_path(shard.name)) for shard in found.shards]
    return pa.concat_tables(tables).combine_chunks().sort_by("id")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--per-partition", type=int, default=PER_PARTITION)
    parser.add_argument("--warm")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    options = RunOptions(workers=given.workers, quiet=True)
    with TimedRunner(given.warm or given.folder, options) as first:
        for stage in stages(given.per_partition):
            first.run(stage)
        if given.out is None:
            return
        with TimedRunner(given.folder, options) as runner:
            runner.cluster = first.cluster
            before, wall = tree_cpu_seconds(), 0.0
            for stage in stages(given.per_partition):
                wall += runner.run(stage).seconds
            found = {"cpu_seconds": tree_cpu_seconds() - before, "wall_seconds": wall}
        given.out.write_text(json.dumps({**found, "by_round": runner.by_round}))


if __name__ == "__main__":
    main()
