"""Files of problems to look for: a row each with the problem's text, or a published set in its own format.

Every text field of a row is looked for, each by itself. Choices belong to the question: looked for are both together, with
the letters before the choices and without, and the question alone if it is long. A text that many rows share, or few if
it is short, is no problem by itself ("Solve the problem below.", "Which of these statements is true?").
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RequestError
from pipeline.models import KNOWN, model_file, sha256_of
from pipeline.problems import FORMATS, load

TEXT_FIELDS = (*("prompt", "problem", "question", "Question", "question_content", "query", "text"),)
ID_FIELDS = (
    "id",
    "task_id",
    "unique_id",
    "problem_id",
    "question_id",
    "key",
)  # without one: the row's number
CHOICE_FIELDS = ("choices", "options")  # a list of texts, or a mapping with one under "text" or by letter
CHOICE_LETTERS = ("A", "B", "C", "D", "E")  # fields of their own
GPQA_FIELDS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LONG_STEM = 13  # words of a multiple-choice question that is looked for without its choices
FEW_ROWS = 4  # that may share a longer text which their other texts repeat
SURROGATES = re.compile("[\ud800-\udfff]")


class Problem(NamedTuple):
    """One text of a problem; those of the same benchmark and id are one problem."""

    benchmark: str
    id: str
    text: str


class Row(NamedTuple):
    """A problem with all texts that it is found by."""

    id: str
    texts: tuple[str, ...]


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
    rows = list(_problem_rows(path))
    fixed = _fixed_texts(rows)
    for row in rows:
        own = [text for text in row.texts if _folded(text) not in fixed]
        for text in own or ["\n".join(row.texts)]:
            yield Problem(benchmark, row.id, text)


def fixed_texts(path: str) -> dict[str, int]:
    """Texts of a file that are not looked for by themselves, because rows share them: how many rows have each."""
    return _fixed_texts(list(_problem_rows(path)))


def without_surrogates(text: str) -> str:
    """The text with each lone surrogate replaced: it is no character and cannot be written as UTF-8."""
    if not SURROGATES.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _problem_rows(path: str) -> Iterator[Row]:
    format, file = _format_of(path)
    if format is not None:
        for known in load(file, format):
            texts = [str(known.metadata.get("question") or known.prompt)]
            yield _row_of(known.id, texts, known.metadata.get("choices") or [])
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
        texts = [row[name] for name in TEXT_FIELDS if isinstance(row.get(name), str)]
        if not texts:
            raise RequestError(
                f"Benchmark {path}, row {number + 1}: none of the fields {', '.join(TEXT_FIELDS)} is a text "
                f"(found: {', '.join(map(str, row)) or 'nothing'}). Rename the problem's field to one of them."
            )
        id_ = next((row[name] for name in ID_FIELDS if row.get(name) is not None), number)
        yield _row_of(str(id_), texts, _choices(row))


def _choices(row: dict[str, Any]) -> list[str]:
    """The choices of a multiple-choice problem; of any other none."""
    for name in CHOICE_FIELDS:
        listed = row.get(name)
        if isinstance(listed, dict):
            listed = listed["text"] if isinstance(listed.get("text"), list) else list(listed.values())
        if isinstance(listed, list) and listed and all(isinstance(choice, str) for choice in listed):
            return listed
    for names in (GPQA_FIELDS, CHOICE_LETTERS):
        found = [row[name] for name in names if isinstance(row.get(name), str)]
        if len(found) > 1:
            return found
    return []


def _row_of(id_: str, texts: list[str], choices: list[str]) -> Row:
    found: list[str] = []
    for text in map(without_surrogates, texts):
        if not choices or all(choice.strip() in text for choice in choices):
            found.append(text)
            continue
        plain = [without_surrogates(choice).strip() for choice in choices]
        lettered = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, plain, strict=False)]
        found += ["\n".join([text, *lettered]), "\n".join([text, *plain])]
        if len(text.split()) >= LONG_STEM:
            found.append(text)
    return Row(without_surrogates(id_), tuple(dict.fromkeys(found)))


def _fixed_texts(rows: list[Row]) -> dict[str, int]:
    """By folded text. The same row twice is one problem, no boilerplate; nor is a question that few prompts repeat."""
    holders: dict[str, dict[tuple[str, ...], None]] = {}
    for row in rows:
        for text in row.texts if len(row.texts) > 1 else ():
            holders.setdefault(_folded(text), {})[row.texts] = None
    fixed = {}
    for text, texts in holders.items():
        if len(texts) > 1:
            repeated = len(text.split()) >= LONG_STEM and all(
                sum(text in _folded(other) for other in others) > 1 for others in texts
            )
            if len(texts) > FEW_ROWS or not repeated:
                fixed[text] = len(texts)
    return fixed


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


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
