"""What may go wrong with single answers, and with the book itself."""

from __future__ import annotations

import json
from typing import ClassVar

import pyarrow as pa
import pytest

from pipeline import dataset, ledger
from pipeline.errors import Drop, RunError
from pipeline.progress import StageProgress
from pipeline.stage import LedgerStage


class Judge(LedgerStage):
    """Answers with what is given for each question; an exception is raised."""

    name, output, input = "judge", "judged", ("docs",)
    schema = pa.schema([pa.field("mark", pa.int32(), nullable=False), pa.field("why", pa.string())])
    given: ClassVar[dict] = {}
    released = 0

    def requests(self, table):
        for row in table.to_pylist():
            yield {"source_id": row["id"]}

    async def answer(self, request):
        answer = self.given[request["source_id"]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self):
        self.released += 1


def ask(folder, **given):
    stage = Judge()
    stage.given = given
    table = pa.table({"id": list(given)})
    try:
        record, _ = ledger.run_ledger(stage, [table], str(folder), StageProgress("judge", None, quiet=True))
    finally:
        assert stage.released == 1
    return record


def test_an_answer_that_is_no_row_fails_alone_and_is_asked_again(tmp_path):
    record = ask(tmp_path, a={"mark": 1, "why": "good"}, b={"mark": None, "why": ""}, c={"mark": "one"})
    assert (record.kept, record.failed) == (1, {"failed": 2})
    assert set(ledger.Book(str(tmp_path / "_book")).rows) == {ledger.request_id("judge", {"source_id": "a"})}
    assert ask(tmp_path, a={}, b={"mark": 2, "why": None}, c={"mark": 3}).kept == 3


def test_words_of_a_server_that_no_file_can_hold(tmp_path):
    record = ask(tmp_path, a=Drop("refused", "half a \ud83d face"), b=ValueError("\udc00"), c={"mark": 1})
    assert (record.kept, record.dropped, record.failed) == (1, {"refused": 1}, {"failed": 1})
    assert dataset.read_shard(f"{tmp_path}/dropped/00000.parquet")["detail"].to_pylist() == ["half a ? face"]


def test_the_server_is_stopped_when_the_book_cannot_be_closed(tmp_path):
    segment = tmp_path / "_book" / "segment-00000.parquet"
    segment.mkdir(parents=True)
    with pytest.raises(RunError, match="cannot write"):
        ask(tmp_path, a={"mark": 1})
    segment.rmdir()
    page = (tmp_path / "_book" / "open.jsonl").read_text().splitlines()
    assert [json.loads(json.loads(line)["answer"]) for line in page] == [{"mark": 1}]


def test_the_hundred_thousandth_segment_overwrites_none(tmp_path):
    row = {"request": "{}", "answer": "{}", "reason": None, "detail": None, "seconds": 0.0}
    for name, key in (("segment-99999", "a"), ("segment-100000", "b")):
        (tmp_path / "_book").mkdir(exist_ok=True)
        table = pa.Table.from_pylist([row | {"request_id": key}], schema=ledger.BOOK)
        (tmp_path / "_book" / f"{name}.parquet").write_bytes(dataset.encode(table))
    for key in ("c", "d"):
        book = ledger.Book(str(tmp_path / "_book"))
        book.add(row | {"request_id": key})
        book.close()
    assert set(ledger.Book(str(tmp_path / "_book")).rows) == {"a", "b", "c", "d"}
