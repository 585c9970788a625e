"""All signals of a document beside datatrove's four filters as shipped: speed, and what both would drop.

    python -m benchmarks.filters_parts.signals [FOLDER] [--work DIR]

FOLDER holds Parquet shards with a column `text`; runs/dedup/corpus50k/documents, made by benchmarks/dedup.py, is taken
without one. Ours is timed from an Arrow table in memory to the stage's columns, after a first call that compiles; the
filters one after the other from texts in memory, spaCy's words cut anew in each, and once all four on each document,
where datatrove's cache spares cutting a text again. CPU seconds of one process.

Decisions: `DATATROVE` says in SQL over our columns what the filters say by default. They differ from the shipped ones
by our words (no brackets or operators among them), our sentences, and by leaving out formulas, code and addresses.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

if __package__:
    import duckdb

    from benchmarks.dedup_parts.peers import environment
    from benchmarks.dedup_parts.processes import ROOT, watched
    from benchmarks.dedup_parts.report import LeftOut, Report
    from filters.signals import Signals

DATATROVE = {  # filter: what it drops by default (datatrove 0.10), of texts that have words
    "gopher_quality": "signal_words < 50 OR signal_words > 100000 OR signal_mean_word_length < 3 "
    "OR signal_mean_word_length > 10 OR signal_gopher_hash_ratio > 0.1 OR signal_gopher_ellipsis_ratio > 0.1 "
    "OR signal_gopher_bullet_line_share > 0.9 OR signal_gopher_ellipsis_line_share > 0.3 "
    "OR signal_alphabetic_share < 0.8 OR signal_gopher_stop_words < 2",
    "gopher_repetition": "signal_gopher_duplicate_paragraph_share > 0.3 "
    "OR signal_gopher_duplicate_paragraph_character_share > 0.2 OR signal_gopher_duplicate_line_share > 0.3 "
    "OR signal_gopher_duplicate_line_character_share > 0.2 OR signal_gopher_top_2gram_share > 0.2 "
    "OR signal_gopher_top_3gram_share > 0.18 OR signal_gopher_top_4gram_share > 0.16 "
    + "".join(f"OR signal_gopher_duplicate_{n}gram_share > {(20 - n) / 100} " for n in range(5, 11)),
    "c4_quality": "signal_c4_lorem_ipsum_lines > 0 OR signal_c4_curly_bracket_lines > 0 OR signal_c4_sentences < 5",
    "fineweb_quality": "signal_fineweb_line_punctuation_share < 0.12 OR signal_fineweb_short_line_share > 0.67 "
    "OR signal_fineweb_duplicate_line_character_share > 0.01 OR signal_fineweb_newlines_per_word > 0.3",
}
TOGETHER = "all four"


class Row(NamedTuple):
    """What one side did with so many documents."""

    what: str
    documents: int
    megabytes: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.documents / self.cpu_seconds


class Agreement(NamedTuple):
    """Of the documents that both saw: how many each keeps, and the share on which they decide alike."""

    rule: str
    documents: int
    kept_by_ours: int
    kept_by_datatrove: int
    alike: float


# ---- from outside ----


def measure(
    folder: Path, work: Path, documents: int = 4000, peer_documents: int = 600
) -> tuple[list[Row], list[Agreement]]:
    """Speed of both sides and agreement of their decisions.

    Raises `LeftOut` when there are no documents, or when datatrove and spaCy cannot be installed below `work`.
    """
    texts = first_texts(folder, documents)
    signals, ours = measure_ours(texts)
    theirs = measure_datatrove(folder, peer_documents, work)
    part = texts["text"].slice(0, len(theirs["dropped"][TOGETHER]))
    size = megabytes(part)
    same = measure_ours(texts.slice(0, len(part)))[1]
    rows = [ours, same] + [
        Row(f"datatrove {name}, as shipped", len(part), size, seconds)
        for name, seconds in theirs["cpu_seconds"].items()
    ]
    alone = sum(row.cpu_seconds for row in rows[2:] if TOGETHER not in row.what)
    rows.append(Row("datatrove, the four one after the other", len(part), size, alone))
    decided = decisions(signals.slice(0, len(part)))
    agreements = [
        Agreement(
            rule,
            len(part),
            ours_dropped.count(False),
            theirs["dropped"][rule].count(False),
            sum(map(lambda a, b: a == b, ours_dropped, theirs["dropped"][rule])) / len(part),
        )
        for rule, ours_dropped in decided.items()
    ]
    return rows, agreements


def first_texts(folder: Path, documents: int) -> pa.Table:
    """Columns id and text of the first documents of a folder."""
    parts: list[pa.Table] = []
    for shard in sorted(folder.glob("*.parquet")):
        parts.append(pq.read_table(shard, columns=["text"]))
        if sum(map(len, parts)) >= documents:
            break
    if not parts:
        raise LeftOut(f"{folder} has no Parquet shards; benchmarks/dedup.py makes runs/dedup/corpus50k")
    table = pa.concat_tables(parts).slice(0, documents).combine_chunks()
    return table.add_column(0, "id", pa.array(map(str, range(len(table)))))


def measure_ours(texts: pa.Table, times: int = 5) -> tuple[pa.Table, Row]:
    """The stage over all texts: its columns, and the best of several times."""
    stage, seconds = Signals(), []
    stage.process(texts.slice(0, 20))
    for _ in range(times):
        started = time.process_time()
        kept = stage.process(texts).kept
        seconds.append(time.process_time() - started)
    return kept, Row(
        f"ours, {len(kept.column_names) - 1} signals", len(texts), megabytes(texts["text"]), min(seconds)
    )


def megabytes(texts: pa.ChunkedArray) -> float:
    return sum(len(text.as_py().encode()) for text in texts) / 1e6


def decisions(signals: pa.Table) -> dict[str, list[bool]]:
    """For each filter of datatrove, and all together, whether our columns drop each document."""
    connection = duckdb.connect(config={"threads": 1})
    connection.register("signals", signals)
    rules = DATATROVE | {TOGETHER: " OR ".join(f"({rule})" for rule in DATATROVE.values())}
    return {
        name: [row[0] for row in connection.execute(f"SELECT {rule} FROM signals").fetchall()]
        for name, rule in rules.items()
    }


def measure_datatrove(folder: Path, documents: int, work: Path) -> dict[str, Any]:
    """CPU seconds of each filter and of all four (`cpu_seconds`), and for each document if it drops (`dropped`)."""
    (work / "peers").mkdir(parents=True, exist_ok=True)
    out = (work / "peers" / "datatrove-filters.json").absolute()
    command = [environment("datatrove", work.absolute()), Path(__file__), folder.absolute(), documents, out]
    try:
        watched([str(part) for part in command], out.with_suffix(".txt"))
    except subprocess.CalledProcessError as error:
        last = error.output.decode("utf-8", "replace").strip().splitlines() or ["it was killed"]
        raise LeftOut(f"datatrove's filters: {last[-1][:200]}") from None
    return json.loads(out.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs/dedup/corpus50k/documents")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/dedup", help="where peers are installed")
    options = parser.parse_args()
    try:
        rows, agreements = measure(options.folder, options.work)
    except LeftOut as why:
        print(f"not measured: {why}", file=sys.stderr)
        return 2
    report = Report()
    report.show(
        "All signals, one core",
        ["what", "documents", "MB", "CPU seconds", "documents per CPU-s"],
        [[*row, row.per_second] for row in rows],
    )
    report.show(
        "Decisions of the default filters, by our columns and by datatrove as shipped",
        ["filter", "documents", "kept, ours", "kept, datatrove", "decided alike"],
        [list(agreement) for agreement in agreements],
    )
    return 0


# ---- from inside datatrove's environment ----


def datatrove(folder: str, documents: str, out: str) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_parts

    parts, missing = [], int(documents)
    for shard in sorted(Path(folder).glob("*.parquet")):
        parts += pq.read_table(shard, columns=["text"])["text"].slice(0, missing).to_pylist()
        missing = int(documents) - len(parts)
    filters = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4_quality": C4QualityFilter(),
        "fineweb_quality": FineWebQualityFilter(),
    }

    def drops(filter_: Any, text: str) -> bool:
        return filter_.filter(Document(text=text, id="0")) is not True

    for filter_ in filters.values():  # what is loaded when first needed
        drops(filter_, "It is the first text of all, and it ends here. " * 20)
    dropped, seconds = {}, {}
    for name, filter_ in filters.items():
        split_into_parts.cache_clear()
        started = time.process_time()
        dropped[name] = [drops(filter_, text) for text in parts]
        seconds[name] = time.process_time() - started
    started = time.process_time()
    verdicts = [[drops(filter_, text) for filter_ in filters.values()] for text in parts]
    seconds[TOGETHER] = time.process_time() - started
    dropped[TOGETHER] = [any(verdict) for verdict in verdicts]
    Path(out).write_text(json.dumps({"dropped": dropped, "cpu_seconds": seconds}))


if __name__ == "__main__":
    if __package__:
        sys.exit(main())
    datatrove(*sys.argv[1:])
