"""Ledgers: questions to a model or a judge, each asked once, ever.

The book (`_book/`) is append-only: every answer is written to `open.jsonl` the moment it arrives and later packed
into Parquet segments. A killed run loses what is in flight and nothing else (on an object store, which cannot append,
the last `OBJECTS_PACK_EVERY` answers too); a re-run asks only what has no answer. The dataset's own shards are the book's answers to today's requests, sorted by request, so that equal answers give equal
shards whatever the order they came in, and whatever else the book holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import dataset, storage
from pipeline.documents import REASON_SCHEMA, printable
from pipeline.errors import Drop, ReasonmillError
from pipeline.progress import StageProgress
from pipeline.stage import LedgerStage
from pipeline.tasks import Record, record_path

ROWS_PER_SHARD = 2000
PACK_EVERY = 1000  # answers after which the open page becomes a segment
OBJECTS_PACK_EVERY = 50  # the same on an object store
PACK_SECONDS = 60.0

BOOK = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("request", pa.string(), nullable=False),  # canonical JSON
        pa.field("answer", pa.string()),  # JSON; null: refused by rule
        pa.field("reason", pa.string()),  # of the refusal
        pa.field("detail", pa.string()),
        pa.field("seconds", pa.float64()),
    ]
)


def canonical(request: dict[str, Any]) -> str:
    return printable(json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def request_id(stage: str, request: dict[str, Any]) -> str:
    """Identity of a question: its content and the stage that asks it. 32 hex digits."""
    return storage.sha256(f"{stage}\0{canonical(request)}".encode())[:32]


class Book:
    """All answers ever given below one folder. One process writes at a time (the run's lock sees to it)."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, Any]] = {}
        self._open_rows: list[dict[str, Any]] = []
        self._packed = time.monotonic()
        self._segments = storage.list_files(folder, ".parquet")
        for name in self._segments:
            for row in dataset.read_shard(storage.join(folder, name)).to_pylist():
                self.rows.setdefault(row["request_id"], row)
        self._page: Any = None
        if storage.is_local(folder):
            storage.make_folder(folder)
            path = Path(storage.split(folder)[1]) / "open.jsonl"
            self._recover(path)
            torn = path.exists() and not path.read_bytes().endswith(b"\n")
            self._page = path.open("a", encoding="utf-8")
            if torn:  # a crash cut the last line short: the next answer gets a line of its own
                self._page.write("\n")
                self._page.flush()

    def _recover(self, path: Path) -> None:
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # the line a crash cut short: that answer was in flight
                if row["request_id"] not in self.rows:
                    self.rows[row["request_id"]] = row
                    self._open_rows.append(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write one answer down: a process killed after this does not lose it (on an object store: once it is packed)."""
        self.rows[row["request_id"]] = row
        self._open_rows.append(row)
        if self._page is not None:
            self._page.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._page.flush()
        full = len(self._open_rows) >= (PACK_EVERY if self._page else OBJECTS_PACK_EVERY)
        if full or time.monotonic() - self._packed > PACK_SECONDS:
            self.pack()

    def pack(self) -> None:
        """Turn the open page into a segment."""
        if self._open_rows:
            number = 1 + max((int(name[8:-8]) for name in self._segments), default=-1)
            name = f"segment-{number:05d}.parquet"
            table = pa.Table.from_pylist(self._open_rows, schema=BOOK)
            storage.write_bytes(storage.join(self.folder, name), dataset.encode(table))
            self._segments.append(name)
            self._open_rows = []
        if self._page is not None:
            self._page.truncate(0)
        self._packed = time.monotonic()

    def close(self) -> None:
        self.pack()
        if self._page is not None:
            os.fsync(self._page.fileno())
            self._page.close()


def run_ledger(
    stage: LedgerStage, tables: Iterable[pa.Table], output: str, progress: StageProgress
) -> tuple[Record, int]:
    """Ask what is not yet answered; write the dataset of today's answers. Returns its record and how many were asked.

    `tables` are the joined input shards. Requests that failed (after the client's own retries)
    stand in `failed/` and are asked again next time; refusals by rule (`Drop`) stand in `dropped/` and are not.
    """
    wanted: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    error: Exception | None = None
    for table in tables:
        for request in stage.requests(table):
            wanted.setdefault(request_id(stage.name, request), request)
    for request in stage.own_requests():
        wanted.setdefault(request_id(stage.name, request), request)
    book = Book(storage.join(output, "_book"))
    missing = {key: request for key, request in wanted.items() if key not in book.rows}
    progress.total = len(wanted)
    progress.advance(len(wanted) - len(missing))
    try:
        if missing:
            stage.prepare()
            progress.start()  # the server is up: from here on time tells the rate
            failed = asyncio.run(_ask_all(stage, missing, book, progress))
    except* ReasonmillError as group:
        error = next(_leaves(group))
    except* OSError as group:
        error = storage.explain_disk_error(next(_leaves(group)), output)  # type: ignore[arg-type]
    finally:
        try:
            book.close()
        finally:
            if missing:
                stage.release()
    if error is not None:
        raise error
    return _write(stage, output, wanted, book, failed), len(missing)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[Exception]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]


async def _ask_all(
    stage: LedgerStage, missing: dict[str, dict[str, Any]], book: Book, progress: StageProgress
) -> dict[str, str]:
    """Ask all; returns the failed ones with their reasons."""
    failed: dict[str, str] = {}
    todo = iter(missing.items())

    async def asker() -> None:
        for key, request in todo:  # shared iterator: each asker takes the next question
            started, answer, reason, detail = time.monotonic(), None, None, None
            try:
                answer = canonical(_fitting(await stage.answer(request), stage.schema))
            except Drop as drop:
                reason, detail = drop.reason, printable(drop.detail)
            except ReasonmillError:
                raise  # the server is gone or the request can never work: no use asking on
            except Exception as error:
                failed[key] = printable(f"{type(error).__name__}: {error}")
                progress.advance(1, failed=1)
                continue
            seconds = round(time.monotonic() - started, 3)
            book.add(
                {
                    "request_id": key,
                    "request": canonical(request),
                    "answer": answer,
                    "reason": reason,
                    "detail": detail,
                    "seconds": seconds,
                }
            )
            progress.advance(1, dropped=int(reason is not None))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(stage.concurrency, len(missing))):
            group.create_task(asker())
    return failed


def _fitting(answer: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The answer, if it can be a row of the dataset: one that cannot must not get into the book, where it would stay."""
    pa.Table.from_pylist([answer], schema=schema)
    if absent := [field.name for field in schema if not field.nullable and answer.get(field.name) is None]:
        raise ValueError(f"the answer lacks {', '.join(absent)}")
    return answer


def _write(
    stage: LedgerStage, output: str, wanted: dict[str, dict[str, Any]], book: Book, failed: dict[str, str]
) -> Record:
    record = Record(name="ledger", key="", rows_in=len(wanted))
    storage.remove(record_path(output, record.name))  # it speaks of files that are about to be overwritten
    kept, dropped = [], []
    for key in sorted(wanted.keys() - failed.keys()):
        row = book.rows[key]
        if row["answer"] is None:
            dropped.append(
                {"id": key, "stage": stage.name, "reason": row["reason"], "detail": row.get("detail") or ""}
            )
        else:
            kept.append({"id": key, "request": row["request"], **json.loads(row["answer"])})
    table = pa.Table.from_pylist(kept, schema=stage.written())
    for n, start in enumerate(range(0, len(kept), ROWS_PER_SHARD)):
        path = storage.join(output, f"{n:05d}.parquet")
        record.shards.append(vars(dataset.write_shard(path, table.slice(start, ROWS_PER_SHARD))))
    lost = [
        {"id": k, "stage": stage.name, "reason": "failed", "detail": why} for k, why in sorted(failed.items())
    ]
    for kind, rows in (("dropped", dropped), ("failed", lost)):
        if rows:
            reasons = pa.Table.from_pylist(rows, schema=REASON_SCHEMA)
            name = f"{kind}/00000"
            record.beside[name] = dataset.write_shard(storage.join(output, f"{name}.parquet"), reasons).sha256
    record.kept = len(kept)
    for row in dropped:
        record.dropped[row["reason"]] = record.dropped.get(row["reason"], 0) + 1
    record.failed = {"failed": len(lost)} if lost else {}
    return record
