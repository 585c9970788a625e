"""Sources: listing, reading, and fetching the same bytes again."""

import gzip
import json
import os
from pathlib import Path

import pytest

from pipeline import dataset, storage, view
from pipeline.dataset import Dataset
from pipeline.errors import ReadError, RequestError, RunError
from pipeline.runner import Runner
from pipeline.sources import Payloads, Read, Source, list_sources
from tests.dask_workers import on_lasting_workers


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.py").write_text("print('a')\n")
    (folder / "page.html").write_text("<html><body><p>Hello there, world</p></body></html>")
    rows = [{"text": f"row {n}", "id": str(n), "url": f"https://example.org/{n}"} for n in range(20)]
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return folder


def read(run, corpus, **more):
    sources = [Source(name="all", path=str(corpus), licence="CC0-1.0", **more)]
    with Runner(run, on_lasting_workers()) as runner:
        list_sources(str(run), sources)
        summary = runner.run(Read())
    found = Dataset.open(str(run / "read"))
    rows = [
        row for shard in found.shards for row in dataset.read_shard(found.shard_path(shard.name)).to_pylist()
    ]
    return summary, rows


def test_every_record_can_be_fetched_again_in_any_order(tmp_path, corpus):
    summary, rows = read(tmp_path / "run", corpus)
    assert summary.rows_in == 3
    assert len(rows) == 22
    payloads = Payloads(str(tmp_path / "run"))
    found = Dataset.open(str(tmp_path / "run" / "read"))
    payloads.expect(dataset.read_shard(found.shard_path(found.shards[0].name)))
    for row in [*rows, *reversed(rows)]:  # the second half is what a retry in a fresh child looks like
        assert storage.sha256(payloads.fetch(row)) == row["origin"]["payload_sha256"]
    texts = {
        row["origin"]["locator"]: payloads.fetch(row)
        for row in rows
        if row["origin"]["path"] == "rows.jsonl.gz"
    }
    assert b"row 7" in texts.values()
    assert {row["licence"] for row in rows} == {"CC0-1.0"}


def test_ids_do_not_depend_on_where_the_corpus_lies(tmp_path, corpus):
    _, here = read(tmp_path / "run", corpus)
    moved = corpus.rename(tmp_path / "moved")
    _, there = read(tmp_path / "run2", moved)
    assert [row["id"] for row in here] == [row["id"] for row in there]
    one, two = ((tmp_path / run / "read" / "manifest.json").read_bytes() for run in ("run", "run2"))
    assert one == two  # equal runs have equal manifests, wherever they ran


def test_changed_bytes_are_noticed(tmp_path, corpus):
    _, rows = read(tmp_path / "run", corpus)
    (corpus / "page.html").write_text("<html><body><p>Hello there, World</p></body></html>")
    page = next(row for row in rows if row["origin"]["path"] == "page.html")
    with pytest.raises(ReadError, match="source_changed"):
        Payloads(str(tmp_path / "run")).fetch(page)
    summary, _ = read(tmp_path / "run", corpus)
    assert summary.tasks_run == 1


def test_exclude_and_touch(tmp_path, corpus):
    summary, _ = read(tmp_path / "run", corpus, exclude=["*.jsonl.gz"])
    assert summary.rows_in == 2
    (corpus / "page.html").touch()  # the same bytes: nothing to do
    summary, _ = read(tmp_path / "run", corpus, exclude=["*.jsonl.gz"])
    assert summary.tasks_run == 0


def test_empty_and_missing_sources_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "no files at"), (tmp_path / "none", "there is nothing at")):
        with pytest.raises(RequestError, match=message):
            list_sources(str(tmp_path / "run"), [Source(name="s", path=str(path))])


def test_odd_entries_of_a_folder_are_left_out_and_said(tmp_path, corpus):
    (corpus / "loop").symlink_to("..")
    (corpus / "broken").symlink_to("nowhere")
    (corpus / "linked.py").symlink_to("sub/a.py")
    os.mkfifo(corpus / "pipe")
    (Path(os.fsdecode(os.fsencode(corpus) + b"/\xff.html"))).write_text("<p>x</p>")
    _, rows = read(tmp_path / "run", corpus)
    assert {row["origin"]["path"] for row in rows} == {"sub/a.py", "linked.py", "page.html", "rows.jsonl.gz"}
    counts = Dataset.open(str(tmp_path / "run" / "sources")).manifest["counts"]
    assert counts["dropped"] == {
        "broken_link": 1,
        "link_to_folder": 1,
        "name_not_utf8": 1,
        "no_regular_file": 1,
    }


def test_the_failure_budget_is_a_share_of_the_rows_in_a_file_not_of_files(tmp_path):
    rows = [json.dumps({"text": f"row {n}"}) for n in range(3000)]
    for n in range(20):
        rows[n * 100 + 7] = "{broken"
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    summary, found = read(tmp_path / "run", tmp_path / "rows.jsonl")
    assert (len(found), summary.failed["bad_json"]) == (2980, 20)
    rows[:200] = ["{broken"] * 200
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(
        RunError, match=r"218 of 3,000 rows failed \(bad_json 218\), more than the budget of 30"
    ):
        read(tmp_path / "run", tmp_path / "rows.jsonl")
    with pytest.raises(RunError, match="more than the budget"):  # nothing new to read, and still too many
        read(tmp_path / "run", tmp_path / "rows.jsonl")
    ((told,),) = view.connect(str(tmp_path / "run")).execute("SELECT count(*) FROM failed").fetchall()
    assert told == 218  # an unfinished stage shows what failed


def test_a_new_file_moves_nothing_far_behind_it(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for n in range(900):
        (corpus / f"{n:04d}.txt").write_text(f"text {n}")
    first, _ = read(tmp_path / "run", corpus)
    (corpus / "0000-new.txt").write_text("a new one")
    again, rows = read(tmp_path / "run", corpus)
    assert len(rows) == 901
    assert first.tasks_run > 3
    assert again.tasks_run < first.tasks_run / 2


def test_metadata_that_is_no_utf8_costs_no_record(tmp_path):
    rows = [
        json.dumps({"text": "one", "title": "\ud83d", "url": "https://example.org/\ud83d"}),
        json.dumps({"text": "two"}),
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    _, found = read(tmp_path / "run", tmp_path / "rows.jsonl")
    assert [row["title"] for row in found] == ["?", None]


def test_a_file_that_vanishes_is_a_reason_not_a_riddle(tmp_path, corpus):
    _, rows = read(tmp_path / "run", corpus)
    (corpus / "page.html").unlink()
    page = next(row for row in rows if row["origin"]["path"] == "page.html")
    with pytest.raises(ReadError, match=r"source_changed: page.html is gone"):
        Payloads(str(tmp_path / "run")).fetch(page)
