"""The command as a user meets it: exit codes, and one clear message for each kind of bad input."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from command_line import reasonmill

from reasonmill import sample_documents

ROOT = Path(__file__).parents[2]
PROCESS = (sys.executable, "-m", "reasonmill.command")

RECIPE = """name: samples
output: {run}
run: {{workers: 2}}
sources: [{{name: samples, path: {corpus}, exclude: [benchmark.jsonl]}}]
stages:
  read:
  urls:
  extract:
  signals:
  signatures:
  dedup:
  decontaminate: {{benchmarks: [{corpus}/benchmark.jsonl]}}
  policy:
    drop: {{near_duplicate: dedup_of IS NOT NULL, contaminated: contam_benchmark IS NOT NULL, short: signal_words < 20}}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    sample_documents.write(folder)
    return folder


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A finished run over the sample documents, and its recipe."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(run=folder / "run", corpus=corpus))
    result = reasonmill("run", recipe)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "run", recipe


def query(run, sql):
    result = reasonmill("inspect", run, "--csv", "--sql", sql)
    assert result.returncode == 0, result.stderr
    return [line.split(",") for line in result.stdout.splitlines()[1:]]


def test_the_line_accounts_for_every_record(finished):
    run, _ = finished
    ((read, dropped, failed, kept),) = query(
        run,
        "SELECT (SELECT count(*) FROM read), (SELECT count(*) FROM dropped WHERE stage IN ('urls', 'extract', 'policy')), "
        "(SELECT count(*) FROM failed WHERE stage IN ('extract')), (SELECT count(*) FROM policy)",
    )
    assert int(read) == int(dropped) + int(failed) + int(kept)
    reasons = {(stage, reason) for stage, reason in query(run, "SELECT DISTINCT stage, reason FROM dropped")}
    assert {("urls", "duplicate_url"), ("policy", "near_duplicate"), ("policy", "contaminated")} <= reasons
    assert ("extract", "encrypted_pdf") in reasons


def test_shards_are_plain_parquet(finished):
    run, _ = finished
    ((count,),) = duckdb.sql(f"SELECT count(*) FROM '{run}/documents/*.parquet'").fetchall()
    assert count > 15


def test_again_does_nothing_and_a_changed_threshold_runs_the_policy_only(finished):
    _, recipe = finished
    again = reasonmill("run", recipe)
    assert "nothing to do: everything is finished and unchanged" in again.stdout
    changed = reasonmill(
        "run", recipe, "--workers", 1, "--set", "stages.policy.drop.short=signal_words < 150"
    )
    lines = [line for line in changed.stdout.splitlines() if " in " in line and "kept" in line]
    assert [line.split()[0] for line in lines if "finished before" not in line] == ["policy"]


def test_one_stage_alone_and_its_help(finished):
    run, _ = finished
    result = reasonmill("policy", run, "--workers", 1, "--drop", "{long: signal_words > 100}")
    assert result.returncode == 0, result.stderr
    assert "(long " in result.stdout
    text = reasonmill("dedup", "--help").stdout
    assert "--threshold" in text
    assert "--workers" in text


def test_dumps_are_decided_in_a_folder_of_their_own(finished, tmp_path):
    run, _ = finished
    result = reasonmill("dedup", tmp_path / "corpus", "--dumps", f"[{run}]", "--workers", 1)
    assert result.returncode == 0, result.stderr
    counts = [
        reasonmill("inspect", folder, "--csv", "--sql", "SELECT count(*), count(dedup_of) FROM dedup").stdout
        for folder in (tmp_path / "corpus", run)
    ]
    assert counts[0] == counts[1] and not counts[0].splitlines()[-1].endswith(",0")


def test_dry_run_prints_the_plan_and_runs_nothing(tmp_path, corpus):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(run=tmp_path / "run", corpus=corpus))
    result = reasonmill("run", recipe, "--dry-run")
    assert result.returncode == 0
    assert "bands: 16" in result.stdout
    assert not (tmp_path / "run").exists()


def expect(result, code, *messages):
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for message in messages:
        assert message in " ".join(result.stderr.split()), result.stderr


def test_wrong_requests_end_with_2_and_a_sentence(tmp_path, corpus, finished):
    run, _ = finished
    cluster = [*PROCESS, "urls", run, "--cluster", "tcp://127.0.0.1:1", "--keep", "latest"]
    # It waits for a scheduler, the others meanwhile do not wait for it.
    waiting = subprocess.Popen(cluster, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (tmp_path / "empty").mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(run=tmp_path / "run", corpus=corpus).replace("policy:", "polcy:"))
    expect(reasonmill("run", recipe), 2, "recipe.yaml:13", "Did you mean 'policy'?")
    expect(reasonmill("run", tmp_path / "none.yaml"), 2, "cannot read recipe")
    expect(reasonmill("read", tmp_path / "r", "--source", f"s={tmp_path}/empty"), 2, "no files at")
    expect(reasonmill("signals", tmp_path / "r"), 2, "needs a finished dataset documents")
    expect(reasonmill("inspect", tmp_path / "nowhere"), 2, "there is no folder")
    expect(reasonmill("inspect", run, "--sql", "SELECT nothing FROM docs"), 2, "this SQL does not run")
    output, errors = waiting.communicate(timeout=300)
    said = subprocess.CompletedProcess(cluster, waiting.returncode, output, errors)
    expect(said, 2, "no Dask scheduler answers")
    # one run per folder: these would have been refused while the other one waited
    expect(reasonmill("language", run, "--model", "no-such-model.ftz"), 2, "no-such-model.ftz")
    expect(reasonmill("policy", run, "--drop", "{x: nothing > 1}"), 2, "policy rule 'x'", "Columns:")
    expect(reasonmill("dedup", run, "--threshold", "2"), 2, "--threshold")


def test_broken_documents_are_told_apart_and_the_rest_goes_on(tmp_path):
    corpus = tmp_path / "corpus"
    sample_documents.write(corpus)
    warc = next(corpus.rglob("*.warc.gz"))
    whole = warc.read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cut.warc.gz").write_bytes(whole[: len(whole) // 2])
    (broken / "picture.html").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (broken / "fine.html").write_text(
        "<html><body><p>" + "A sentence with some words in it. " * 20 + "</p></body></html>"
    )
    encrypted = [p for p in corpus.rglob("*.pdf") if b"/Encrypt" in p.read_bytes()]
    shutil.copy(encrypted[0], broken / "locked.pdf")
    run = tmp_path / "run"
    assert reasonmill("read", run, "--workers", 1, "--source", f"broken={broken}").returncode == 0
    assert reasonmill("extract", run, "--workers", 1).returncode == 0
    found = {reason for (reason,) in query(run, "SELECT reason FROM dropped UNION SELECT reason FROM failed")}
    assert {"truncated", "encrypted_pdf", "not_what_its_name_says"} <= found
    ((pages,),) = query(run, "SELECT count(*) FROM documents WHERE text LIKE '%sentence with some words%'")
    assert pages == "1"
    ((before_the_cut,),) = query(run, "SELECT count(*) FROM read WHERE origin.path = 'cut.warc.gz'")
    assert int(before_the_cut) > 0


UNSHARE = ("unshare", "-rm", "sh", "-c")


def can_mount():
    probe = [*UNSHARE, "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="mounting a small disk needs user namespaces")
@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("mount -t tmpfs -o size=200k tmpfs {disk}", "the disk is full"),
        ("mount -t tmpfs -o ro tmpfs {disk}", "read-only"),
    ],
)
def test_a_full_or_locked_disk_is_one_sentence(tmp_path, corpus, mount, message):
    disk = tmp_path / "disk"
    disk.mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(run=disk / "run", corpus=corpus))
    script = f'{mount.format(disk=disk)} && exec "$@"'
    command = [*UNSHARE, script, "sh", *PROCESS, "run", str(recipe)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    expect(result, 1, message, "What is finished is kept")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_one_sentence(tmp_path, corpus):
    (tmp_path / "locked").mkdir(mode=0o555)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(run=tmp_path / "locked" / "run", corpus=corpus))
    expect(reasonmill("run", recipe), 1, "no permission to write")
