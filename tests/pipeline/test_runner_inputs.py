"""What a stage may read: rows that another dataset selects, datasets used as a whole, several inputs at once."""

from collections import Counter

import pyarrow as pa
import pytest
from test_runner import digests, run, texts, write_docs
from troubled_stages import EvenOnes, Gather, Selected

from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from pipeline.runner import RunOptions


def write_suffix(folder, text):
    shard = dataset.write_shard(f"{folder}/suffix/00000.parquet", pa.table({"id": ["s"], "text": [text]}))
    counts = {"in": 1, "kept": 1, "dropped": {}, "failed": {}}
    manifest = {"version": 1, "stage": "suffix", "shape": "map", "aligned": False, "inputs": {}, "schema": {}}
    more = {"reasons": {}, "counts": counts, "shards": dataset.describe([shard])}
    storage.write_json(f"{folder}/suffix/manifest.json", manifest | more)


def rows(folder, name):
    found = Dataset.open(f"{folder}/{name}")
    return [
        row for shard in found.shards for row in dataset.read_shard(found.shard_path(shard.name)).to_pylist()
    ]


def test_a_stage_works_on_what_another_dataset_selects_and_sees_its_columns(tmp_path):
    given = texts(3, 11)
    write_docs(tmp_path, given)
    write_suffix(tmp_path, "!")
    _, summary = run(tmp_path, EvenOnes(), Selected())
    expected = [
        {"id": f"{s:02d}-{r:04d}", "text": f"{r}:{text}!"}
        for s, shard in enumerate(given)
        for r, text in enumerate(shard)
        if r % 2 == 0
    ]
    assert rows(tmp_path, "selected") == expected
    assert summary.rows_in == summary.kept == len(expected)


def test_a_change_of_what_is_selected_or_used_reruns_what_depends_on_it(tmp_path):
    write_docs(tmp_path, texts(2, 6))
    write_suffix(tmp_path, "!")
    run(tmp_path, EvenOnes(), Selected())
    assert run(tmp_path, Selected())[0].tasks_run == 0
    write_suffix(tmp_path, "?")
    assert run(tmp_path, Selected())[0].tasks_run == 2
    assert all(row["text"].endswith("?") for row in rows(tmp_path, "selected"))
    run(tmp_path, EvenOnes(EvenOnes.Config(keep=3)))
    assert run(tmp_path, Selected())[0].tasks_run == 2
    assert len(rows(tmp_path, "selected")) == 4


def test_without_the_selection_nothing_runs(tmp_path):
    write_docs(tmp_path, texts(1, 3))
    write_suffix(tmp_path, "!")
    with pytest.raises(RequestError, match="works on what even has kept"):
        run(tmp_path, Selected())
    run(tmp_path, EvenOnes())
    write_docs(tmp_path, texts(1, 4))  # the selection speaks of other rows now
    with pytest.raises(RequestError, match="works on what even has kept"):
        run(tmp_path, Selected())


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_of_several_datasets_meet_and_end_in_partitions(tmp_path, workers):
    given = texts(3, 11)
    write_docs(tmp_path, given)
    write_suffix(tmp_path, "!")
    run(tmp_path, EvenOnes(), Selected())
    options = RunOptions(workers=workers, quiet=True)
    run(tmp_path, Gather(), options=options)
    all_texts = [row["text"] for name in ("docs", "selected") for row in rows(tmp_path, name)]
    expected = Counter(map(len, all_texts))
    found = Dataset.open(f"{tmp_path}/gather")
    assert [shard.name for shard in found.shards] == ["third-0", "third-1", "third-2"]
    assert {row["length"]: row["rows"] for row in rows(tmp_path, "gather")} == expected
    assert found.manifest["counts"]["in"] == len(all_texts)
    assert set(found.manifest["inputs"]) == {"docs", "selected"}
    before = digests(tmp_path, "gather")
    storage.remove(f"{tmp_path}/gather/third-1.parquet")
    assert run(tmp_path, Gather(), options=options)[0].tasks_run == 1
    assert digests(tmp_path, "gather") == before
