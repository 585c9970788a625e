"""Stages for the tests: ones that misbehave on cue, and small honest ones whose result is known."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import time
from pathlib import Path

import pyarrow as pa

from pipeline import dataset, storage
from pipeline.errors import Drop, RunError
from pipeline.stage import (
    DocumentStage,
    LedgerStage,
    MapStage,
    Outcome,
    Reason,
    Round,
    ShuffleStage,
    StageConfig,
    Unit,
)

log = logging.getLogger("pipeline.tests")


def misbehave(text: str) -> None:
    """Do to this process what the text says."""
    if text == "raise":
        raise ValueError("cannot be parsed")
    if text == "surrogate":
        raise ValueError("caf\udce9")
    if text == "crash":
        ctypes.string_at(0)  # a real segmentation fault
    if text == "hang":
        while True:
            pass
    if text == "eat":
        hoard = []
        while len(hoard) < 30 * 1024:  # 30 GB in pieces of 1 MB, really written to
            hoard.append(b"x" * (1 << 20))
    if text == "exit":
        os._exit(3)


class Lengths(DocumentStage):
    """Text length of each document; drops texts that say so, misbehaves on others."""

    name, output, input = "lengths", "lengths", ("docs",)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("length", pa.int64())])

    class Config(StageConfig):
        """Options."""

        at_least: int = 0
        seconds_each: float = 0.0
        flag: str = ""

    def process_document(self, row):
        misbehave(row["text"])
        if row["text"] == "needs flag" and not Path(self.config.flag).exists():
            raise ValueError("the flag is missing")
        log.info("measured")
        time.sleep(self.config.seconds_each)
        if row["text"] == "drop" or len(row["text"]) < self.config.at_least:
            raise Drop("too_short", f"{len(row['text'])} characters")
        return {"id": row["id"], "length": len(row["text"])}


class UsesFile(MapStage):
    """Says the number that stands in a file, as a stage with a model would."""

    name, output, input = "uses", "uses", ("docs",)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("number", pa.int64())])

    class Config(StageConfig):
        """Options."""

        model: str

    def files(self):
        return {"model": storage.sha256(Path(self.config.model).read_bytes())}

    def prepare(self):
        self.number = int(Path(self.config.model).read_text())

    def process(self, batch):
        return Outcome(
            pa.table({"id": batch["id"], "number": pa.array([self.number] * batch.num_rows, pa.int64())})
        )


class LengthColumn(MapStage):
    """The same as an aligned column, in large batches, so that the culprit must be searched for."""

    name, output, input = "column", "column", ("docs",)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("signal_length", pa.int64())])
    rows_per_call = 64

    def process(self, batch):
        texts = batch["text"].to_pylist()
        for text in texts:
            misbehave(text)
        return Outcome(
            pa.table({"id": batch["id"], "signal_length": pa.array([len(t) for t in texts], pa.int64())})
        )


class Loses(MapStage):
    """A defective stage: it forgets a document without a word."""

    name, output, input = "loses", "loses", ("docs",)
    aligned = False
    schema = pa.schema([pa.field("id", pa.string(), nullable=False)])

    def process(self, batch):
        return Outcome(batch.select(["id"]).slice(1))


class FirstOfEach(ShuffleStage):
    """Documents with equal text meet; the one with the smallest id stays, the others are dropped."""

    name, output, input = "first", "first", ("docs",)
    aligned = False
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("text", pa.string())])
    rounds = (
        Round("keys", "shards", 5),
        Round("choose", "partitions", "shards"),
        Round("tell", "shards", None),
    )

    def keys(self, unit: Unit) -> pa.Table:
        texts = unit.table["text"].to_pylist()
        partition = pa.array([sum(text.encode()) % 5 for text in texts], pa.int32())
        home = pa.array([unit.index] * len(texts), pa.int32())
        return pa.table(
            {"partition": partition, "home": home, "id": unit.table["id"], "text": unit.table["text"]}
        )

    def choose(self, unit: Unit) -> pa.Table:
        first: dict[str, str] = {}
        for row in unit.routed.to_pylist():
            first[row["text"]] = min(first.get(row["text"], row["id"]), row["id"])
        rows = [
            (r["home"], r["id"], first[r["text"]])
            for r in unit.routed.to_pylist()
            if first[r["text"]] != r["id"]
        ]
        partition, ids, of = zip(*rows, strict=True) if rows else ((), (), ())
        columns = [pa.array(partition, pa.int32()), pa.array(ids, pa.string()), pa.array(of, pa.string())]
        return pa.table(columns, names=["partition", "id", "of"])

    def tell(self, unit: Unit) -> Outcome:
        gone = dict(zip(unit.routed["id"].to_pylist(), unit.routed["of"].to_pylist(), strict=True))
        kept = [row for row in unit.table.to_pylist() if row["id"] not in gone]
        dropped = [
            Reason(row["id"], "seen", gone[row["id"]]) for row in unit.table.to_pylist() if row["id"] in gone
        ]
        return Outcome(pa.Table.from_pylist(kept, schema=self.schema), dropped)


class Shout(LedgerStage):
    """A ledger whose answers are upper case; every question asked is noted in a file, to be counted."""

    name, output, input = "shout", "shout", ("docs",)
    schema = pa.schema([pa.field("loud", pa.string())])
    concurrency = 4

    class Config(StageConfig):
        """Options."""

        asked: str
        seconds_each: float = 0.0
        greeting: str = ""

    def requests(self, table):
        for row in table.to_pylist():
            yield {"source_id": row["id"], "prompt": self.config.greeting + row["text"]}

    async def answer(self, request):
        with Path(self.config.asked).open("a") as log_file:
            log_file.write(request["source_id"] + "\n")
        await asyncio.sleep(self.config.seconds_each)
        if request["prompt"] == "drop":
            raise Drop("refused")
        if request["prompt"] == "gone":
            raise RunError("the server is gone")
        if request["prompt"] == "raise":
            raise ValueError("nonsense")
        return {"loud": request["prompt"].upper()}


class EvenOnes(MapStage):
    """Selects every second row and says something about it, as the policy does."""

    name, output, input, aligned = "even", "even", ("docs",), False
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("rank", pa.int64())])

    class Config(StageConfig):
        """Options."""

        keep: int = 2

    def process(self, batch):
        ids = batch["id"].to_pylist()
        kept = [{"id": id_, "rank": int(id_[-4:])} for id_ in ids if int(id_[-4:]) % self.config.keep == 0]
        gone = [Reason(id_, "odd") for id_ in ids if int(id_[-4:]) % self.config.keep]
        return Outcome(pa.Table.from_pylist(kept, schema=self.schema), gone)


class Selected(DocumentStage):
    """Works on what `even` selected; sees its column and a dataset it uses as a whole."""

    name, output, input, selected_by, uses = "selected", "selected", ("docs",), "even", ("suffix",)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("text", pa.string())])

    def prepare(self):
        self.suffix = dataset.read_shard(self.used("suffix").shard_path("00000"))["text"][0].as_py()

    def process_document(self, row):
        return {"id": row["id"], "text": f"{row['rank']}:{row['text']}{self.suffix}"}


class Gather(ShuffleStage):
    """Rows of two datasets meet by their text's length; what comes out are other rows, in shards of its own naming."""

    name, output, input, more, aligned = "gather", "gather", ("selected",), ("docs",), False
    rounds = (Round("send", "shards", 3), Round("count", "partitions", None))
    schema = pa.schema(
        [pa.field("id", pa.string()), pa.field("length", pa.int64()), pa.field("rows", pa.int64())]
    )

    def shard_name(self, index):
        return f"third-{index}"

    def send(self, unit: Unit):
        lengths = [len(text) for text in unit.table["text"].to_pylist()]
        return pa.table({"partition": pa.array([n % 3 for n in lengths], pa.int32()), "length": lengths})

    def count(self, unit: Unit):
        rows = [
            {"id": str(n["values"]), "length": n["values"], "rows": n["counts"]}
            for n in unit.routed["length"].value_counts().to_pylist()
        ]
        return pa.Table.from_pylist(sorted(rows, key=lambda row: row["length"]), schema=self.schema)
