"""Answers that are there already: files of {query, answer} become a dataset like `synthetic`.

    answer_files     which files, in pieces of about 64 MB
    answers          their rows; shards of several pieces
    verify_answers   a verdict beside each: those with a `check` are judged, the others taken as they are given

`answer_tokens` and `sft` read what comes of it. A row may also have id, model, source, finish_reason and `check`, the
object that `synth.verify.check` judges answers by: {"kind": "math", "answer": "42"}. Files are JSON Lines or Parquet
(read piece by piece), or a JSON array or a gzipped file (read as a whole), below the names given.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.documents import printable
from pipeline.errors import RequestError, RunError
from pipeline.models import sha256_of
from pipeline.problems.rows import SUFFIXES, Row, rows
from pipeline.stage import LedgerStage, Round, ShuffleStage, StageConfig, Unit
from synth.verify.check import KINDS
from synth.verify.stage import Verify
from synth.verify.verdict import Verdict

log = logging.getLogger("answers")
PIECE = 64 << 20  # bytes of JSON Lines read at a time


class AnswerFiles(LedgerStage):
    """Say which files of queries and answers there are, and cut them into pieces."""

    name = "answer_files"
    output = "answer_files"
    input = ()
    schema = pa.schema(
        [
            pa.field("file", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),  # of the file
            pa.field("first_row", pa.int64(), nullable=False),  # of the piece, counted from 1
            pa.field("offset", pa.int64()),  # of JSON Lines: first byte …
            pa.field("length", pa.int64()),  # … and how many
            pa.field("row_group", pa.int32()),  # of Parquet; all three null: the whole file
        ]
    )

    class Config(StageConfig):
        files: list[str] = Field(
            [],
            description="files of queries and answers, or folders of them: .jsonl, .json, .parquet (.gz too)",
        )

    def files(self) -> dict[str, str]:
        return {str(path): sha256_of(str(path)) for path in self._paths()}

    def check(self, schema: pa.Schema | None) -> None:
        self._paths()

    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        return ()

    def own_requests(self) -> Iterator[dict[str, Any]]:
        first: dict[str, Path] = {}  # with this content; ids of rows are made of it
        for path in self._paths():
            sha256 = sha256_of(str(path))
            if (same := first.setdefault(sha256, path)) != path:
                log.warning("answers: %s is left out: it is the same as %s", path, same)
                continue
            for piece in _pieces(path):
                yield {"file": str(path), "sha256": sha256, **piece}

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def _paths(self) -> list[Path]:
        found = []
        for name in self.config.files:
            path = Path(name).expanduser().absolute()  # a worker may be in another folder
            inside = [p for p in path.rglob("*") if p.name.removesuffix(".gz").endswith(SUFFIXES)]
            if not path.exists() or (path.is_dir() and not inside):
                what = f"no file in it ends in {', '.join(SUFFIXES)}" if path.exists() else "no such file"
                raise RequestError(f"answers: {path}: {what}. Correct `files`")
            found += sorted(inside) if path.is_dir() else [path]
        return list(dict.fromkeys(found))


class Answers(ShuffleStage):
    """answer_files → their rows, with the columns of `synthetic`; strategy "solve" with a `check`, "write" without."""

    name = "answers"
    output = "answers"
    input = ("answer_files",)
    aligned = False
    patience = 30.0
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),  # "sha256 of the file, 16 digits:row"
            pa.field("strategy", pa.string(), nullable=False),
            pa.field("source_id", pa.string(), nullable=False),  # the row's own id, or else its number
            pa.field("source", pa.string(), nullable=False),  # as the row says, or else the file's name
            pa.field("model", pa.string(), nullable=False),  # "" where the row does not say
            pa.field("query", pa.string(), nullable=False),
            pa.field("answer", pa.string(), nullable=False),
            pa.field("finish_reason", pa.string(), nullable=False),  # "stop" where the row does not say
            pa.field("check", pa.string()),  # JSON
        ]
    )

    class Config(StageConfig):
        shards: int = Field(
            4, ge=1, description="shards to make; each holds some of the pieces of 64 MB in memory once"
        )

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.rounds = (Round("spread", "shards", self.config.shards), Round("read", "partitions", None))

    def spread(self, unit: Unit) -> pa.Table:
        """Each piece to a shard, in turn."""
        assert unit.table is not None  # the runner's promise for rounds over shards
        pieces = unit.table.drop_columns(["id", "request"])
        partition = [(unit.index + number) % self.config.shards for number in range(len(pieces))]
        return pieces.append_column("partition", pa.array(partition, pa.int32()))

    def read(self, unit: Unit) -> pa.Table:
        """The rows of a shard's pieces. Raises `RequestError` that names file, row and field."""
        assert unit.routed is not None  # the runner's promise for every round but the first
        found = [_answer(row, piece["sha256"]) for piece in unit.routed.to_pylist() for row in _rows(piece)]
        return pa.Table.from_pylist(found, schema=self.schema)


class VerifyAnswers(Verify):
    """answers → a verdict beside each, as `verify` gives for `synthetic`. One without a `check` is accepted."""

    name = "verify_answers"
    output = "answer_verdicts"
    input = ("answers",)  # type: ignore[assignment]

    def judge(self, row: dict[str, Any]) -> Verdict:
        if row["check"] is None:
            return Verdict("accepted", None, "there is nothing to check it by: taken as it is given")
        return super().judge(row)


def _pieces(path: Path) -> Iterator[dict[str, Any]]:
    if path.name.endswith(".parquet"):
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise RequestError(f"{path}: cannot be read as Parquet ({error}).") from error
        first = 1
        for group in range(metadata.num_row_groups):
            yield {"first_row": first, "row_group": group}
            first += metadata.row_group(group).num_rows
    elif path.name.endswith(".jsonl"):
        with path.open("rb") as file:
            first = offset = 0
            while data := file.read(PIECE) + file.readline():
                yield {"first_row": first + 1, "offset": offset, "length": len(data)}
                first, offset = first + data.count(b"\n"), offset + len(data)
    else:
        yield {"first_row": 1}


def _rows(piece: dict[str, Any]) -> Iterator[Row]:
    path, first = Path(piece["file"]), piece["first_row"]
    if sha256_of(str(path)) != piece["sha256"]:
        raise RunError(f"{path} has changed while it was read; run the same command again")
    if piece["row_group"] is not None:
        try:
            found = pq.ParquetFile(path).read_row_group(piece["row_group"])
        except (OSError, pa.ArrowException) as error:
            raise RequestError(f"{path}, from row {first}: cannot be read as Parquet ({error}).") from error
        for number, fields in enumerate(found.to_pylist(), first):
            yield Row(path, number, fields)
    elif piece["offset"] is not None:
        with path.open("rb") as file:
            file.seek(piece["offset"])
            data = file.read(piece["length"])
        for number, line in enumerate(data.split(b"\n"), first):
            if line.strip():
                yield Row(path, number, _object(path, number, line))
    else:
        yield from rows(path)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise RequestError(f"{path}, row {number}: not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise RequestError(
            f"{path}, row {number}: expected an object with query and answer, found {type(found).__name__}."
        )
    return found


def _answer(row: Row, sha256: str) -> dict[str, Any]:
    check = row.get("check")
    if isinstance(check, str):
        try:
            check = json.loads(check)
        except ValueError as error:
            raise row.wrong("check", f"an object as JSON ({error})") from None
    if check is not None and (not isinstance(check, dict) or check.get("kind") not in KINDS):
        raise row.wrong("check", f"an object whose kind is one of {', '.join(KINDS)}, found {check!r}"[:200])
    said = {
        "id": f"{sha256[:16]}:{row.number}",
        "strategy": "write" if check is None else "solve",
        "source_id": row.key("id") or str(row.number),
        "source": row.key("source") or row.path.name,
        "model": row.key("model") or "",
        "query": row.text("query"),
        "answer": row.text("answer"),
        "finish_reason": row.key("finish_reason") or "stop",
        "check": None if check is None else json.dumps(check, sort_keys=True, ensure_ascii=False),
    }
    return {name: value if value is None else printable(value) for name, value in said.items()}
