"""Files of problems to look for: a row each with the problem's text, or a published set in its own format."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RequestError
from pipeline.models import KNOWN, model_file, sha256_of
from pipeline.problems import FORMATS, load

TEXT_FIELDS = (  # the first of these that a row has
    *("prompt", "problem", "question", "Question", "question_content", "query", "text"),
)
ID_FIELDS = (
    "id",
    "task_id",
    "unique_id",
    "problem_id",
    "question_id",
    "key",
)  # without one: the row's number


class Problem(NamedTuple):
    benchmark: str
    id: str
    text: str


def named_problems(benchmarks: list[str]) -> list[Problem]:
    """The problems of all files. A benchmark is called by its file's name without suffixes, or as given if two share it."""
    stems = Counter(_stem(path) for path in benchmarks)
    return [
        problem
        for path in benchmarks
        for problem in read_problems(path, _stem(path) if stems[_stem(path)] == 1 else path)
    ]


def digest_of(benchmark: str) -> str:
    """sha256 of the file, or of the folder of a published set."""
    format, path = _format_of(benchmark)
    return (
        hashlib.sha256(_read(benchmark)).hexdigest()
        if format is None
        else sha256_of(str(Path(path).resolve()))
    )


def read_problems(path: str, benchmark: str) -> Iterator[Problem]:
    """The problems of one file, or of `FORMAT=FILE` with one of `pipeline.problems.FORMATS` (a folder, CSV, …).

    `RequestError` when it is missing, empty or a row has no known text field.
    """
    format, file = _format_of(path)
    if format is not None:
        for known in load(file, format):
            yield Problem(benchmark, known.id, str(known.metadata.get("question") or known.prompt))
        return
    rows = _rows(path)
    if not rows:
        raise RequestError(
            f"Benchmark {path} has no rows. Give a file with one problem a row, or leave it out."
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(
                f"Benchmark {path}, row {number + 1}: expected an object with fields, found {type(row).__name__}."
            )
        field = next((name for name in TEXT_FIELDS if isinstance(row.get(name), str)), None)
        if field is None:
            raise RequestError(
                f"Benchmark {path}, row {number + 1}: none of the fields {', '.join(TEXT_FIELDS)} is a text "
                f"(found: {', '.join(map(str, row)) or 'nothing'}). Rename the problem's field to one of them."
            )
        id_ = next((row[name] for name in ID_FIELDS if row.get(name) is not None), number)
        yield Problem(benchmark, str(id_), row[field])


def _rows(path: str) -> list[Any]:
    data = _read(path)
    name = path.lower().removesuffix(".gz")
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if name.endswith((".parquet", ".pq")):
            return pq.read_table(pa.BufferReader(data)).to_pylist()
        if name.endswith(".json") and data.lstrip()[:1] == b"[":
            return json.loads(data)
        if name.endswith((".jsonl", ".ndjson", ".json")):
            return [_row(path, *line) for line in enumerate(data.split(b"\n"), 1) if line[1].strip()]
    except RequestError:
        raise
    except (ValueError, EOFError, OSError, zlib.error, pa.ArrowException) as error:
        raise RequestError(f"Benchmark {path} cannot be read: {error}. Is it what its name says?") from error
    raise RequestError(f"Benchmark {path}: expected .jsonl, .json or .parquet (or these with .gz).")


def _row(path: str, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise RequestError(
            f"Benchmark {path}, line {number}: expected a JSON object a line, but {error}."
        ) from error


def _read(path: str) -> bytes:
    try:
        with fsspec.open(str(model_file(path)) if path in KNOWN else path, "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:
        raise RequestError(
            f"Benchmark {path} cannot be opened ({error}). Check the path in `benchmarks`."
        ) from error


def _format_of(benchmark: str) -> tuple[str | None, str]:
    """Format and file of `FORMAT=FILE`; no format of any other name."""
    format, equals, path = benchmark.partition("=")
    return (format, path) if equals and format in FORMATS else (None, benchmark)


def _stem(benchmark: str) -> str:
    path = _format_of(benchmark)[1].rstrip("/")
    return Path(path.removesuffix(".gz")).stem
