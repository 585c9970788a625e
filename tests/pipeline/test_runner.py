"""The runner: nothing lost, nothing done twice, the same bytes whatever happens."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pytest
from troubled_stages import FirstOfEach, LengthColumn, Lengths, Loses, Shout, UsesFile

from pipeline import dataset, storage
from pipeline.errors import RequestError, RunError
from pipeline.isolation import Child, Job, Limits
from pipeline.ledger import Book
from pipeline.runner import Runner, RunOptions
from pipeline.tasks import Task, run_task
from tests.dask_workers import on_lasting_workers

HERE = Path(__file__).parent
LIMITS = {"seconds_per_document": 2.0, "memory_per_worker": 512 << 20}
QUICK = RunOptions(workers=2, quiet=True, **LIMITS)


def write_docs(folder, texts_by_shard):
    """A finished dataset `docs` of (id, text)."""
    shards = []
    for number, texts in enumerate(texts_by_shard):
        ids = [f"{number:02d}-{row:04d}" for row in range(len(texts))]
        path = f"{folder}/docs/{number:05d}.parquet"
        shards.append(dataset.write_shard(path, pa.table({"id": ids, "text": pa.array(texts, pa.string())})))
    manifest = {
        "version": 1,
        "stage": "docs",
        "shape": "map",
        "aligned": False,
        "inputs": {},
        "schema": {},
        "reasons": {},
    }
    counts = {
        "in": sum(map(len, texts_by_shard)),
        "kept": sum(map(len, texts_by_shard)),
        "dropped": {},
        "failed": {},
    }
    storage.write_json(
        f"{folder}/docs/manifest.json", manifest | {"shards": dataset.describe(shards), "counts": counts}
    )


def texts(shards=4, rows=60):
    return [[f"text {(s * 7 + r * 3) % 50}" for r in range(rows)] for s in range(shards)]


def digests(folder, output):
    """sha256 of everything but run.json below a dataset's folder."""
    files = sorted(Path(folder, output).rglob("*"))
    wanted = [f for f in files if f.suffix == ".parquet" or f.name == "manifest.json"]
    return {str(f.relative_to(folder)): storage.sha256(f.read_bytes()) for f in wanted}


def run(folder, *stages, options=None):
    with Runner(folder, options or on_lasting_workers(**LIMITS)) as runner:
        return [runner.run(stage) for stage in stages]


def reasons(folder):
    rows = duckdb.sql(f"SELECT stage, id, reason FROM read_parquet('{folder}/*/failed/*.parquet')").fetchall()
    return {(stage, document): reason for stage, document, reason in rows}


def test_every_kind_of_bad_document_is_quarantined_and_the_run_goes_on(tmp_path):
    troubled = texts()
    troubled[1][5:11] = ["raise", "crash", "hang", "eat", "exit", "drop"]
    write_docs(tmp_path, troubled)
    document, column = run(tmp_path, Lengths(), LengthColumn())
    assert (document.rows_in, document.kept, sum(document.dropped.values())) == (240, 234, 1)
    expected = {
        "01-0005": "raised",
        "01-0006": "crashed",
        "01-0007": "hung",
        "01-0008": "out_of_memory",
        "01-0009": "crashed",
    }
    found = reasons(tmp_path)
    assert {i: r for (stage, i), r in found.items() if stage == "lengths"} == expected
    assert {i: r for (stage, i), r in found.items() if stage == "column"} == expected
    # a column dataset keeps its rows: what failed is null, everything else is right
    rows = duckdb.sql(
        f"SELECT id, signal_length, length(text) FROM read_parquet('{tmp_path}/column/*.parquet') AS said "
        f"JOIN read_parquet('{tmp_path}/docs/*.parquet') AS docs USING (id)"
    ).fetchall()
    assert len(rows) == 240
    assert {i for i, length, _ in rows if length is None} == set(expected)
    assert all(length == true for i, length, true in rows if i not in expected)
    assert column.kept == 240
    log = (tmp_path / "log.txt").read_text()
    assert "stage=lengths unit=00000 document=00-0000 pipeline.tests: measured" in log


def test_a_stage_that_loses_a_document_is_stopped(tmp_path):
    write_docs(tmp_path, texts(1))
    with pytest.raises(RunError, match=r"60 documents in, 59 kept"):
        run(tmp_path, Loses())
    assert not (tmp_path / "loses" / "manifest.json").exists()


def test_finished_work_is_skipped_and_a_change_reruns_what_depends_on_it(tmp_path):
    write_docs(tmp_path, texts())
    (first,) = run(tmp_path, Lengths())
    before = digests(tmp_path, "lengths")
    (again,) = run(tmp_path, Lengths())
    assert (first.tasks_run, again.tasks_run) == (4, 0)
    assert (again.rows_in, again.kept) == (first.rows_in, first.kept)

    changed = texts()
    changed[2][0] = "another text altogether"
    write_docs(tmp_path, changed)
    (one_shard,) = run(tmp_path, Lengths())
    assert (one_shard.tasks_run, one_shard.tasks_skipped) == (1, 3)

    (other_config,) = run(tmp_path, Lengths(Lengths.Config(at_least=7)))
    assert other_config.tasks_run == 4
    assert other_config.dropped["too_short"] == sum(len(t) < 7 for shard in changed for t in shard)

    write_docs(tmp_path, texts())
    run(tmp_path, Lengths())
    assert digests(tmp_path, "lengths") == before  # nothing of the other states is left


def test_a_deleted_or_damaged_shard_is_made_again(tmp_path):
    write_docs(tmp_path, texts())
    run(tmp_path, Lengths())
    before = digests(tmp_path, "lengths")
    (tmp_path / "lengths" / "00001.parquet").unlink()
    (tmp_path / "lengths" / "00002.parquet").write_bytes(b"PAR1")
    (summary,) = run(tmp_path, Lengths())
    assert summary.tasks_run == 2
    assert digests(tmp_path, "lengths") == before


def test_too_many_failures_end_the_run_with_the_reason_and_keep_the_rest(tmp_path):
    write_docs(tmp_path, [["fine"] * 30, ["raise"] * 30])
    with pytest.raises(RunError, match=r"raised 30.*budget of 10"):
        run(
            tmp_path, Lengths(), options=RunOptions(workers=1, quiet=True, **LIMITS)
        )  # one shard after the other
    assert (tmp_path / "lengths" / "00000.parquet").exists()
    (summary,) = run(tmp_path, Lengths(), options=on_lasting_workers(failure_budget=1.0))
    assert summary.failed["raised"] == 30


def test_shuffle_against_a_count_by_hand_and_for_any_number_of_workers(tmp_path):
    shards = texts()
    seen = {}
    for workers in (1, 2, 5):  # 5: one of them has nothing to do
        folder = tmp_path / str(workers)
        write_docs(folder, shards)
        options = RunOptions(workers=workers, quiet=True) if workers != 2 else on_lasting_workers()
        summary, *_ = run(folder, FirstOfEach(), Lengths(), options=options)
        seen[workers] = digests(folder, "first") | digests(folder, "lengths")
        distinct = {text for shard in shards for text in shard}
        assert summary.kept == len(distinct)
        assert summary.dropped == Counter(seen=240 - len(distinct))
    assert seen[1] == seen[2] == seen[5]
    kept = duckdb.sql(f"SELECT text, id FROM read_parquet('{tmp_path}/1/first/*.parquet')").fetchall()
    smallest: dict[str, str] = {}
    for number, shard in enumerate(shards):
        for row, text in enumerate(shard):
            smallest.setdefault(text, f"{number:02d}-{row:04d}")
    assert dict(kept) == smallest


def test_shuffle_resumes_in_the_middle(tmp_path):
    write_docs(tmp_path, texts())
    run(tmp_path, FirstOfEach())
    before = digests(tmp_path, "first")
    (tmp_path / "first" / "manifest.json").unlink()
    (tmp_path / "first" / "_rounds" / "1-choose-00003.arrow").unlink()
    (summary,) = run(tmp_path, FirstOfEach())
    assert summary.tasks_run == 1
    assert digests(tmp_path, "first") == before


def test_one_run_per_folder(tmp_path):
    with Runner(tmp_path, QUICK), pytest.raises(RequestError, match="another run"), Runner(tmp_path, QUICK):
        pass


def test_missing_input_says_which(tmp_path):
    with pytest.raises(RequestError, match=r"stage lengths needs a finished dataset docs"):
        run(tmp_path, Lengths())


# ---- kills ----

DRIVER = """
import sys
sys.path[:0] = {paths!r}
from pipeline.runner import Runner, RunOptions
from troubled_stages import Lengths
if __name__ == "__main__":
    with Runner({folder!r}, RunOptions(workers=2, cluster={cluster!r})) as runner:
        print(runner.run(Lengths(Lengths.Config(seconds_each=0.01))).line())
"""


def start_driver(folder, cluster=None):
    script = Path(folder) / "driver.py"
    script.write_text(
        DRIVER.format(paths=[str(HERE), str(HERE.parents[1])], folder=str(folder), cluster=cluster)
    )
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_units(folder, count, process):
    deadline = time.monotonic() + 120
    while len(list(Path(folder, "lengths").glob("_tasks/*.json"))) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write_docs(folder, texts(8))
    run(folder, Lengths(Lengths.Config(seconds_each=0.01)), options=QUICK)
    return digests(folder, "lengths")


def test_a_killed_worker_changes_nothing(tmp_path, undisturbed):
    write_docs(tmp_path, texts(8))
    driver = start_driver(tmp_path)
    wait_for_units(tmp_path, 1, driver)
    children = [
        p for p in psutil.Process(driver.pid).children(recursive=True) if "pipeline.child" in p.cmdline()
    ]
    workers = [child.parent() for child in children]
    assert workers
    workers[0].kill()
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert digests(tmp_path, "lengths") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_or_stopped_run_is_continued(tmp_path, undisturbed, number):
    write_docs(tmp_path, texts(8))
    driver = start_driver(tmp_path)
    wait_for_units(tmp_path, 2, driver)
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(number)
    driver.communicate(timeout=120)
    assert driver.returncode != 0
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive  # neither workers nor their children outlive the run
    (summary,) = run(tmp_path, Lengths(Lengths.Config(seconds_each=0.01)))
    assert summary.tasks_skipped >= 2
    assert digests(tmp_path, "lengths") == undisturbed


def test_a_lost_scheduler_is_one_clear_error_and_the_next_run_continues(tmp_path, undisturbed):
    write_docs(tmp_path, texts(8))
    address_file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [
            *dask,
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(address_file),
        ],
        stderr=subprocess.DEVNULL,
    )
    while not (address_file.exists() and address_file.stat().st_size):
        time.sleep(0.1)
    address = json.loads(address_file.read_text())["address"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"],
        stderr=subprocess.DEVNULL,
        cwd=HERE,  # where the stages of this test can be imported
    )
    try:
        driver = start_driver(tmp_path, address)
        wait_for_units(tmp_path, 2, driver)
        scheduler.kill()
        output, _ = driver.communicate(timeout=120)
        assert driver.returncode != 0
        assert "What is finished is kept" in output
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    (summary,) = run(tmp_path, Lengths(Lengths.Config(seconds_each=0.01)))
    assert summary.tasks_skipped >= 2
    assert digests(tmp_path, "lengths") == undisturbed


# ---- ledgers ----


def test_ledger_asks_each_question_once_and_again_only_what_failed(tmp_path):
    write_docs(tmp_path, [["a", "b", "drop", "raise"], ["c"]])
    asked = tmp_path / "asked"
    stage = Shout(Shout.Config(asked=str(asked)))
    (first,) = run(tmp_path, stage)
    assert (first.rows_in, first.kept, first.dropped["refused"], first.failed["failed"]) == (5, 3, 1, 1)
    run(tmp_path, stage)  # unchanged: only what failed is asked again
    assert Counter(asked.read_text().split()) == Counter(
        ["00-0000", "00-0001", "00-0002", *["00-0003"] * 2, "01-0000"]
    )
    write_docs(tmp_path, [["a", "b", "drop", "raise"], ["c", "d"]])
    (second,) = run(tmp_path, stage)
    counts = Counter(asked.read_text().split())
    assert counts == Counter(
        {"00-0000": 1, "00-0001": 1, "00-0002": 1, "00-0003": 3, "01-0000": 1, "01-0001": 1}
    )
    assert second.kept == 4
    rows = duckdb.sql(f"SELECT request, loud FROM read_parquet('{tmp_path}/shout/*.parquet')").fetchall()
    assert {json.loads(request)["prompt"]: loud for request, loud in rows} == {
        "a": "A",
        "b": "B",
        "c": "C",
        "d": "D",
    }
    # questions that are no longer asked leave the dataset, not the book
    (third,) = run(tmp_path, Shout(Shout.Config(asked=str(asked), greeting="hello ")))
    assert third.kept == 6  # "hello drop" and "hello raise" are ordinary questions
    (fourth,) = run(tmp_path, stage)
    assert fourth.kept == 4
    assert Counter(asked.read_text().split())["01-0001"] == 2  # once plain, once greeted: the book knew it


def test_a_killed_ledger_loses_only_what_was_in_flight(tmp_path):
    write_docs(tmp_path, [[f"question {n}" for n in range(60)]])
    asked = tmp_path / "asked"
    script = tmp_path / "driver.py"
    body = DRIVER.format(paths=[str(HERE), str(HERE.parents[1])], folder=str(tmp_path), cluster=None)
    config = f"Shout(Shout.Config(asked={str(asked)!r}, seconds_each=0.05))"
    script.write_text(
        body.replace("import Lengths", "import Shout").replace(
            "Lengths(Lengths.Config(seconds_each=0.01))", config
        )
    )
    driver = subprocess.Popen([sys.executable, str(script)])
    while not asked.exists() or len(asked.read_text().split()) < 20:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    before = len(asked.read_text().split())
    assert before < 60
    (summary,) = run(tmp_path, Shout(Shout.Config(asked=str(asked), seconds_each=0.05)))
    assert summary.kept == 60
    twice = [question for question, times in Counter(asked.read_text().split()).items() if times > 1]
    assert len(twice) <= Shout.concurrency


def test_a_torn_page_and_a_lost_segment_cost_no_other_answer(tmp_path):
    def row(key):
        return {"request_id": key, "request": "{}", "answer": "{}", "reason": None, "seconds": 0.0}

    folder = str(tmp_path / "_book")
    for key in ("a", "b"):
        book = Book(folder)
        book.add(row(key))
        with (tmp_path / "_book" / "open.jsonl").open("a") as page:
            page.write('{"request_id": "torn')  # the process dies in the middle of a line
    book = Book(folder)
    assert set(book.rows) == {"a", "b"}
    book.pack()
    book.add(row("c"))
    book.pack()
    (tmp_path / "_book" / "segment-00000.parquet").unlink()  # damaged, and deleted as the message says
    book = Book(folder)
    book.add(row("d"))
    book.close()
    assert set(Book(folder).rows) == {"c", "d"}


def test_a_lost_server_ends_a_ledger_with_its_own_error(tmp_path):
    write_docs(tmp_path, [["a", "gone", "b"]])
    with pytest.raises(RunError, match="the server is gone"):
        run(tmp_path, Shout(Shout.Config(asked=str(tmp_path / "asked"))))


# ---- what a careless resume would get wrong ----


def test_leftovers_of_another_recipe_are_not_read(tmp_path):
    class Second(Lengths):
        input = ("first", "docs")

    write_docs(tmp_path, texts(2))
    run(tmp_path, FirstOfEach())
    changed = texts(2)
    changed[0].append("a new one")
    write_docs(tmp_path, changed)
    with Runner(tmp_path, QUICK) as runner:
        with pytest.raises(RequestError, match="outdated"):
            runner.run(Second())
        plan = runner._plan(Second(), {"docs"})
    assert plan.inputs[0].dataset.name == "docs"


def test_a_record_never_vouches_for_another_states_shard(tmp_path):
    write_docs(tmp_path, [["aaaa", "bbbb"]])
    run(tmp_path, Lengths())
    record = tmp_path / "lengths" / "_tasks" / "00000.json"
    assert record.exists()
    job = Job(
        "no.such.Stage", "", {}, str(tmp_path), [(str(tmp_path / "docs"), None)], "00000", str(tmp_path)
    )
    with pytest.raises(RunError):  # a unit of another state begins, and dies before its own record is written
        run_task(
            Task(
                "00000",
                "other",
                job,
                str(tmp_path / "lengths"),
                Limits(),
                rows_per_call=1,
                schema=Lengths.schema,
            )
        )
    assert not record.exists()


def test_a_child_is_not_used_again_for_another_state_of_a_model(tmp_path):
    write_docs(tmp_path, [["a"]])
    model = tmp_path / "model"
    child = Child()
    seen = []
    for number in ("1", "2"):
        model.write_text(number)
        stage = UsesFile(UsesFile.Config(model=str(model)))
        job = Job(
            "troubled_stages.UsesFile", stage.key(), {"model": str(model)}, str(tmp_path), [(str(tmp_path / "docs"), None)],
            "00000", str(tmp_path),
        )  # fmt: skip
        result = child.run_map(job, 10, Limits())
        seen.append(result.outcomes[0].kept["number"].to_pylist())
    assert seen == [[1], [2]]
    model.write_text("3")  # the file on this worker is not the one the run was planned with
    child.stop()
    with pytest.raises(RunError, match="other code, libraries or model files"):
        child.run_map(job, 10, Limits())
    child.stop()


def test_a_child_goes_on_with_another_stage_unless_its_code_has_changed(tmp_path, monkeypatch):
    write_docs(tmp_path, [["a", "bb"]])
    source = (HERE / "troubled_stages.py").read_text()
    module = tmp_path / "fleeting_stages.py"
    module.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    child, processes = Child(), []
    try:
        for number, at_least in enumerate((0, 1, 2)):
            if number == 2:
                time.sleep(0.01)
                module.write_text(source + "# another line\n")
            fleeting = importlib.import_module("fleeting_stages").Lengths
            stage = fleeting(fleeting.Config(at_least=at_least))
            job = Job(
                "fleeting_stages.Lengths", stage.key(), {"at_least": at_least}, str(tmp_path),
                [(str(tmp_path / "docs"), None)], "00000", str(tmp_path),
            )  # fmt: skip
            kept = child.run_map(job, 10, Limits()).outcomes[0].kept
            assert kept["length"].to_pylist() == [n for n in (1, 2) if n >= at_least]
            processes.append(child.process.pid)
    finally:
        child.stop()
    assert processes[0] == processes[1] != processes[2]


def test_after_the_cause_is_mended_the_same_command_works_again_on_what_failed(tmp_path):
    write_docs(tmp_path, [["needs flag"] * 30, ["fine"] * 5])
    stage = Lengths(Lengths.Config(flag=str(tmp_path / "flag")))
    with pytest.raises(RunError, match="more than the budget"):
        run(tmp_path, stage)
    (tmp_path / "flag").touch()
    (summary,) = run(tmp_path, stage)
    assert (summary.kept, summary.failed.total()) == (35, 0)


def test_retry_failed_works_again_on_few_failures_too(tmp_path):
    write_docs(tmp_path, [["needs flag", "fine"], ["fine"]])
    stage = Lengths(Lengths.Config(flag=str(tmp_path / "flag")))
    (first,) = run(tmp_path, stage)
    (tmp_path / "flag").touch()
    (again,) = run(tmp_path, stage)
    (retried,) = run(tmp_path, stage, options=on_lasting_workers(retry_failed=True))
    assert (first.failed.total(), again.tasks_run, again.failed.total()) == (1, 0, 1)
    assert (retried.tasks_run, retried.kept, retried.failed.total()) == (1, 3, 0)


def test_an_error_message_that_is_no_utf8_is_kept_readable(tmp_path):
    write_docs(tmp_path, [["surrogate", "fine"]])
    (summary,) = run(tmp_path, Lengths())
    assert summary.failed == Counter(raised=1)
    assert reasons(tmp_path) == {("lengths", "00-0000"): "raised"}


def test_a_cluster_leaves_the_environment_as_it_was(tmp_path):
    """What is started after the stages, a vLLM or a training, may use all cores."""
    write_docs(tmp_path, texts(1, 3))
    code = (
        "import os; from pipeline.runner import Runner, RunOptions; from troubled_stages import Lengths\n"
        "if __name__ == '__main__':\n"
        f"    with Runner({str(tmp_path)!r}, RunOptions(workers=1, quiet=True)) as runner: runner.run(Lengths())\n"
        "    print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('MKL_NUM_THREADS'))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "None"], done.stderr
