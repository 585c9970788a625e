"""Language identification: what a window costs and how often it says what the full text says.

    python benchmarks/filters_parts/language.py runs/dedup/corpus50k/documents

The reference is the same model's label of all the prose of a document. Cost is CPU time of one core, marking the prose
and cutting windows included, reading the files not.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.language import Language, LanguageConfig

DOCUMENTS = 4000  # of the sample as it comes
OF_EACH = 60  # documents of a language, at most, in the sample of languages
AT_LEAST = 10  # fewer documents of a language say nothing of it
EVERYTHING = 1 << 60  # characters of a window
WAYS = {  # what is compared: options of the stage
    "ours, 500 then 2,000 characters below .7": LanguageConfig(),
    "one short window, 500 characters": LanguageConfig(threshold=0),
    "one long window, 2,000 characters": LanguageConfig(short=2000, threshold=0),
    "full text": LanguageConfig(short=EVERYTHING, threshold=0),
}


def measure(folder: Path, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each of WAYS: documents per CPU-second, agreement with the full text, share that needed the long window.

    `folder` holds Parquet files with `id` and `text`. Agreement is that on a random sample of DOCUMENTS, and, as
    `languages`, on up to OF_EACH documents of each language found in all files: language → (documents, agreement).
    """
    table = pa.concat_tables(
        pq.read_table(path, columns=["id", "text"]) for path in sorted(folder.glob("*.parquet"))
    )
    random = np.random.default_rng(seed)
    order = random.permutation(len(table))
    stage = Language(WAYS["full text"])
    stage.prepare()
    stage.process(table.slice(0, 1024))  # the kernels are compiled now
    full = _labels(stage, table)
    sample = np.sort(order[:DOCUMENTS])
    languages = {name: order[full[order] == name][:OF_EACH] for name in np.unique(full)}
    languages = {name: rows for name, rows in languages.items() if len(rows) >= AT_LEAST}
    rows = []
    for name, config in WAYS.items():
        way = Language(config)
        way.model = stage.model
        taken = table.take(sample).combine_chunks()
        before = time.process_time()
        kept = [way.process(batch).kept for batch in _batches(taken)]
        seconds = time.process_time() - before
        found = pa.concat_tables(kept)
        rows.append(
            {
                "way": name,
                "documents_per_second": len(sample) / seconds,
                "megabytes_per_second": taken["text"].nbytes / seconds / 1e6,
                "agreement": float(np.mean(np.array(found["lang_label"]) == full[sample])),
                "long_window": float(np.mean(np.array(found["lang_window"]) == "long")),
                "languages": {
                    language: (
                        len(rows_),
                        float(np.mean(_labels(way, table.take(np.sort(rows_))) == language)),
                    )
                    for language, rows_ in languages.items()
                },
            }
        )
    return rows


def _batches(table: pa.Table) -> list[pa.Table]:
    return [table.slice(i, Language.rows_per_call) for i in range(0, len(table), Language.rows_per_call)]


def _labels(stage: Language, table: pa.Table) -> np.ndarray:
    return np.array(
        [label for batch in _batches(table) for label in stage.process(batch).kept["lang_label"].to_pylist()]
    )


def main() -> None:
    rows = measure(Path(sys.argv[1]))
    print(f"{'':42} docs/s   MB/s  same label  long")
    for row in rows:
        print(
            f"{row['way']:42} {row['documents_per_second']:6.0f} {row['megabytes_per_second']:6.1f} {row['agreement']:11.2%} "
            f"{row['long_window']:5.1%}"
        )
    print(
        "\nours, by language: "
        + ", ".join(f"{k} {share:.1%} of {n}" for k, (n, share) in rows[0]["languages"].items())
    )


if __name__ == "__main__":
    main()
