"""Several dumps decided together, one after the other: the same as all at once; and what does not fit is refused."""

import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from test_near import planted_corpus

from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.dedup.near import Dedup
from pipeline.dedup.signatures import Signatures
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError, RunError
from pipeline.runner import Runner
from tests.dask_workers import on_lasting_workers

PARTS = {"documents_per_partition": 200}  # several


def write_documents(folder, rows, shards):
    """A finished dataset `documents`."""
    size = -(-len(rows) // shards)
    tables = [
        pa.Table.from_pylist(rows[n * size : (n + 1) * size], schema=DOCUMENT_SCHEMA) for n in range(shards)
    ]
    written = [
        dataset.write_shard(f"{folder}/documents/{n:05d}.parquet", table) for n, table in enumerate(tables)
    ]
    counts = {"in": len(rows), "kept": len(rows), "dropped": {}, "failed": {}}
    manifest = {"version": 1, "stage": "extract", "shape": "map", "aligned": False, "key": "", "config": {}}
    manifest |= {"schema": {f.name: str(f.type) for f in DOCUMENT_SCHEMA}, "inputs": {}, "files": {}}
    more = {"reasons": {}, "counts": counts, "shards": dataset.describe(written)}
    storage.write_json(f"{folder}/documents/manifest.json", manifest | more)


def run(folder, *stages):
    with Runner(folder, on_lasting_workers()) as runner:
        return [runner.run(stage) for stage in stages]


def signed(folder, **options):
    return run(folder, Signatures(Signatures.Config(**options)))[0]


def decided(folder, *dumps):
    run(folder, Dedup(Dedup.Config(dumps=[str(dump) for dump in dumps], **PARTS)))


def decisions(folder):
    rows = duckdb.sql(f"SELECT * FROM '{folder}/dedup/*.parquet' ORDER BY id").fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory):
    """Three dumps of a corpus whose copies lie in several of them, each with its signatures; and all in one run."""
    folder = tmp_path_factory.mktemp("dumps")
    rows = planted_corpus(random.Random(11), 260, [0, 1, 3])
    assert len(rows) > 600
    parts = {"a": rows[:300], "b": rows[300:500], "c": rows[500:]}
    for name, part in parts.items():
        write_documents(folder / name, part, 2)
        signed(folder / name)
    for name, part in {"all": rows, "without_b": parts["a"] + parts["c"]}.items():
        write_documents(folder / name, part, 5)
        run(folder / name, Signatures(), Dedup())
    return folder


def test_dumps_that_come_and_go_are_decided_as_from_scratch(dumps):
    a, b, c = (dumps / name for name in "abc")
    decided(dumps / "corpus", a)
    alone = decisions(dumps / "corpus")
    decided(dumps / "corpus", a, b)
    decided(dumps / "corpus", a, b, c)
    together = decisions(dumps / "corpus")
    assert together == decisions(dumps / "all")
    flipped = sum(together[id][0] != said[0] for id, said in alone.items())
    assert flipped > 10  # earlier decisions change: a better copy came
    decided(dumps / "corpus", c, a)
    assert decisions(dumps / "corpus") == decisions(dumps / "without_b")
    for dump in (a, b, c):
        assert signed(dump).tasks_run == 0  # their signatures were written once


def test_the_work_is_spread_over_the_partitions(dumps, tmp_path):
    decided(tmp_path / "corpus", dumps / "a", dumps / "b")  # 500 documents, 200 a partition
    records = [storage.read_json(str(path)) for path in (tmp_path / "corpus" / "dedup" / "_tasks").iterdir()]
    received = {
        r["name"]: r["rows_received"] for r in records if "-pairs-" in r["name"] or "-verify-" in r["name"]
    }
    assert len(received) == 6 and max(received.values()) < 0.45 * sum(received.values())
    pairs = [count for name, count in received.items() if "-pairs-" in name]
    stored = f"SELECT count(minhash_words) FROM read_parquet(['{dumps}/a/signatures/*.parquet', '{dumps}/b/signatures/*.parquet'])"
    ((with_words,),) = duckdb.sql(stored).fetchall()
    assert sum(pairs) == 500 + 16 * with_words and min(pairs) > 0.25 * sum(pairs)


def test_a_dump_adopts_what_was_decided(dumps, tmp_path):
    decided(tmp_path / "corpus", *(dumps / name for name in "abc"))
    adopt = Dedup(Dedup.Config(decided_in=str(tmp_path / "corpus")))
    run(dumps / "b", adopt)
    everywhere, here = decisions(dumps / "all"), decisions(dumps / "b")
    assert 0 < len(here) < len(everywhere) and here == {id: everywhere[id] for id in here}
    ids = [dataset.read_shard(f"{dumps}/b/{name}/00001.parquet")["id"] for name in ("documents", "dedup")]
    assert ids[0].equals(ids[1]) and Dataset.open(f"{dumps}/b/dedup").aligned
    rows = dataset.read_shard(f"{dumps}/c/documents/00000.parquet").to_pylist()
    write_documents(tmp_path / "b", rows, 2)  # other texts under the same name
    with pytest.raises(RequestError, match="decided about other documents than there are"):
        run(tmp_path / "b", adopt)
    decided(tmp_path / "corpus", dumps / "a", dumps / "c")
    with pytest.raises(RequestError, match=r"knows no shard b-0000\d: name this run among its --dumps"):
        run(dumps / "b", adopt)


def test_what_does_not_fit_is_refused(dumps, tmp_path):
    rows = planted_corpus(random.Random(3), 5, [1])
    for name, folder in {
        "x": tmp_path / "x",
        "y": tmp_path / "y",
        "second": tmp_path / "second" / "x",
    }.items():
        write_documents(folder, rows, 1)
        if name != "y":
            signed(folder)
    with pytest.raises(RequestError, match=r"y/signatures does not exist"):
        decided(tmp_path / "corpus", tmp_path / "x", tmp_path / "y")
    signed(tmp_path / "y", ngram=4)
    with pytest.raises(RequestError, match=r"'ngram': 4.*'ngram': 5.*with the same options on both"):
        decided(tmp_path / "corpus", tmp_path / "x", tmp_path / "y")
    with pytest.raises(RequestError, match="names of their folders, and two are the same"):
        decided(tmp_path / "corpus", tmp_path / "x", tmp_path / "second" / "x")
    with pytest.raises(RequestError, match="needs a finished dataset signatures"):
        run(tmp_path / "z", *[Dedup()] if write_documents(tmp_path / "z", rows, 1) is None else [])
    signed(tmp_path / "y")  # the same documents twice: the same ids
    with pytest.raises(RequestError, match="two documents have the id"):
        decided(tmp_path / "corpus", tmp_path / "x", tmp_path / "y")
    shard = Path(tmp_path / "x" / "signatures" / "00000.parquet")
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises((RunError, RequestError), match=r"signatures/00000\.parquet"):
        decided(tmp_path / "corpus2", tmp_path / "x")
