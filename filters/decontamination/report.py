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
COLUMNS = ("contam_benchmark", "contam_problem", "contam_match")


def report(run_folder: str) -> pa.Table:
    """One row per benchmark of the run's `decontaminate` dataset, in the order in which they were given.

    benchmark; problems: how many it has; problems_found: how many of them some document has; documents: how many
    documents have one; words, formulas, rearranged: how many of those were found in each way; most_found: the problem
    that most documents have. A document counts once, for the problem in its columns. Raises `RequestError` where the
    dataset is not finished or a benchmark's file is gone.
    """
    found = Dataset.open(storage.join(run_folder, "decontaminate"))
    problems = Counter(p.benchmark for p in named_problems(found.manifest["config"]["benchmarks"]))
    matches: Counter[tuple[str, str, str]] = Counter()
    for shard in found.shards:
        table = dataset.read_shard(found.shard_path(shard.name), list(COLUMNS))
        table = table.filter(table["contam_problem"].is_valid())
        matches.update(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))
    rows = []
    for benchmark, count in problems.items():
        own: Counter[str] = Counter()
        ways: Counter[str] = Counter()
        for (name, problem, way), documents in matches.items():
            if name == benchmark:
                own[problem] += documents
                ways[way] += documents
        rows.append(
            {
                "benchmark": benchmark,
                "problems": count,
                "problems_found": len(own),
                "documents": own.total(),
                **{way: ways[way] for way in WAYS},
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
        "(sentences in another order, a few words changed).",
    ]
    return "\n".join(lines) + "\n"
