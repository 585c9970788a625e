"""What a run found of each benchmark, as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from filters.decontaminate import Decontaminate, DecontaminateConfig
from filters.decontamination.benchmarks import named_problems
from pipeline import dataset, storage
from pipeline.dataset import Dataset

WAYS = ("words", "formulas", "rearranged")
COLUMN = "contam_problems"


def report(run_folder: str) -> pa.Table:
    """One row per benchmark of the run's `decontaminate` dataset, in the order in which they were given.

    benchmark; problems: how many it has; problems_found: how many of them some document has; documents: how many
    documents have one; words, formulas, rearranged: how many of those were found in each way, the first of these where
    a document has several problems; most_found: the problem that most documents have. A document counts for every
    problem that it has, a problem of two benchmarks for both. Raises `RequestError` where the
    dataset is not finished or a benchmark's file is gone.
    """
    found = Dataset.open(storage.join(run_folder, "decontaminate"))
    known = named_problems(found.manifest["config"]["benchmarks"])
    problems = Counter(benchmark for benchmark, _ in {(p.benchmark, p.id): None for p in known})
    documents_of: dict[str, Counter[str]] = {benchmark: Counter() for benchmark in problems}
    ways_of: dict[str, Counter[str]] = {benchmark: Counter() for benchmark in problems}
    for shard in found.shards:
        table = dataset.read_shard(found.shard_path(shard.name), [COLUMN])
        for matches in table[COLUMN].to_pylist():
            ways: dict[str, str] = {}
            for match in matches or ():
                documents_of[match["benchmark"]][match["problem"]] += 1
                earlier = ways.setdefault(match["benchmark"], match["match"])
                ways[match["benchmark"]] = min(earlier, match["match"], key=WAYS.index)
            for benchmark, way in ways.items():
                ways_of[benchmark][way] += 1
    rows = []
    for benchmark, count in problems.items():
        own, by_way = documents_of[benchmark], ways_of[benchmark]
        rows.append(
            {
                "benchmark": benchmark,
                "problems": count,
                "problems_found": len(own),
                "documents": by_way.total(),
                **{way: by_way[way] for way in WAYS},
                "most_found": min(own, key=lambda problem: (-own[problem], problem)) if own else None,
            }
        )
    whole_numbers = ("problems", "problems_found", "documents", *WAYS)
    return pa.Table.from_pylist(
        rows,
        pa.schema(
            [
                ("benchmark", pa.string()),
                *((name, pa.int64()) for name in whole_numbers),
                ("most_found", pa.string()),
            ]
        ),
    )


def too_short(config: dict[str, Any]) -> Counter[str]:
    """By benchmark the problems too short to look for, of a `decontaminate` dataset's config.

    The index is built anew, as the stage did (on one core 20,000 problems in 0.7 s): nobody else knows. Raises
    `RequestError` where a benchmark's file is gone.
    """
    stage = Decontaminate(DecontaminateConfig(**config))
    stage.prepare()
    return stage.unindexed


def markdown(table: pa.Table) -> str:
    """The report as a table in Markdown, with what it means below."""
    names = [name.replace("_", " ") for name in table.column_names]
    lines = ["| " + " | ".join(names) + " |", "|---" + "|--:" * (len(names) - 2) + "|---|"]
    for row in table.to_pylist():
        cells = (
            "–" if v is None else f"{v:,}" if isinstance(v, int) else v.replace("|", "\\|")
            for v in row.values()
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Documents that have a problem: by runs of words; by formulas and numbers spelled otherwise; rearranged "
        "(sentences in another order, a few words changed). A document counts for every benchmark of which it has one.",
    ]
    return "\n".join(lines) + "\n"
