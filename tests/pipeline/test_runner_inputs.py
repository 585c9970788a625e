"""What a stage may read: rows that another dataset selects, datasets used as a whole, several inputs at once."""

from collections import Counter

import pyarrow as pa
import pytest
from test_runner import digests, run, texts, write_docs
from troubled_stages import EvenOnes, Gather, Selected

from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from pipeline.runner import Runner, RunOptions
from tests.dask_workers import on_lasting_workers


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


def test_a_worker_that_has_prepared_for_another_used_dataset_prepares_again(tmp_path):
    write_docs(tmp_path, texts(2, 6))
    write_suffix(tmp_path, "!")
    with Runner(tmp_path, RunOptions(workers=1, quiet=True)) as runner:
        runner.run(EvenOnes())
        runner.run(Selected())
        write_suffix(tmp_path, "?")
        assert runner.run(Selected()).tasks_run == 2
    assert all(row["text"].endswith("?") for row in rows(tmp_path, "selected"))


def test_a_selection_made_from_what_has_changed_is_refused(tmp_path):
    """The documents are the same ones, but the policy has not seen the signals that are there now."""
    write_docs(tmp_path, texts(1, 6))
    write_suffix(tmp_path, "!")
    run(tmp_path, EvenOnes())
    manifest = storage.read_json(f"{tmp_path}/even/manifest.json")
    manifest["inputs"]["suffix"] = "of another state"
    storage.write_json(f"{tmp_path}/even/manifest.json", manifest)
    with pytest.raises(RequestError, match="even is outdated"):
        run(tmp_path, Selected())


def test_a_recipe_of_later_stages_hears_what_belongs_to_the_datasets_it_goes_on_from(tmp_path):
    write_docs(tmp_path, texts(1, 6))
    write_suffix(tmp_path, "!")
    run(tmp_path, EvenOnes())
    with Runner(tmp_path, on_lasting_workers()) as runner:
        assert runner.run(Selected(), earlier=[]).kept == 3
        assert runner.run(Gather(), earlier=[]).rows_in == 3 + 6
        with pytest.raises(RequestError, match="works on what even has kept"):
            runner.run(
                Selected(), earlier=["docs"]
            )  # these are the recipe's own, the selection is a leftover
