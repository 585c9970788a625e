"""The whole line, from raw bytes to a model that vLLM serves: what came out belongs to what went in."""

import json

import duckdb
import pytest
from command_line import reasonmill
from tokenizers import Tokenizer

from pipeline import view

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def db(finished_run):
    return view.connect(str(finished_run))


def one(connection, sql):
    return connection.execute(sql).fetchone()


def test_every_document_is_accounted_for_from_file_to_token(db):
    """Counted by SQL over the shards, not by the manifests."""
    read, gone_before = one(
        db,
        "SELECT (SELECT count(*) FROM read), (SELECT count(*) FROM dropped WHERE stage IN ('urls', 'extract'))",
    )
    documents, kept, dropped = one(
        db,
        "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM policy), (SELECT count(*) FROM dropped WHERE stage = 'policy')",
    )
    assert read == documents + gone_before and documents == kept + dropped
    tokenised, empty = one(
        db, "SELECT (SELECT count(*) FROM tokens), (SELECT count(*) FROM dropped WHERE stage = 'tokens')"
    )
    assert kept == tokenised + empty
    asked, given, passed, not_passed = one(
        db,
        "SELECT (SELECT count(*) FROM synthetic), (SELECT count(*) FROM answers), (SELECT count(*) FROM answer_tokens), "
        "(SELECT count(*) FROM dropped WHERE stage = 'answer_tokens')",
    )
    assert asked == 2 + 2 * 5 + 2  # documents, two samples of five tasks, queries
    assert asked + given == passed + not_passed
    conversations, left_out = one(
        db,
        "SELECT (SELECT sum(len(documents)) FROM sft_mixture), (SELECT count(*) FROM dropped WHERE stage = 'sft_mix')",
    )
    assert asked + given == conversations + left_out


def test_sequences_are_made_of_the_documents_they_name(db, finished_run):
    tokenizer = Tokenizer.from_str(one(db, "SELECT tokenizer_json FROM tokenizer")[0])
    texts = dict(db.execute("SELECT id, text FROM docs").fetchall())
    sources = dict(db.execute("SELECT id, tokens FROM tokens").fetchall())
    rows = db.execute("SELECT stage, tokens, lengths, documents, starts FROM mixture").fetchall()
    assert {row[0] for row in rows} == {"stage1", "stage2", "stage3"}
    for id_, tokens in sources.items():
        assert tokenizer.decode(tokens[:-1], skip_special_tokens=False) == texts[id_]
    for stage, tokens, lengths, documents, starts in rows:
        assert len(tokens) == {"stage1": 128, "stage2": 128, "stage3": 256}[stage]
        position = 0
        for length, document, start in zip(lengths, documents, starts, strict=True):
            assert tokens[position : position + length] == sources[document][start : start + length]
            position += length


def test_a_worthless_generator_is_found_out(db):
    """The model has random weights: nothing it says about a problem may count as right."""
    verdicts = dict(
        db.execute("SELECT strategy, bool_or(verdict_passed) FROM generated GROUP BY ALL").fetchall()
    )
    assert verdicts["solve"] is False and set(verdicts) == {"analyse", "solve", "write"}
    unfinished = one(db, "SELECT count(*) FROM generated WHERE finish_reason = 'length' AND verdict_passed")[
        0
    ]
    assert unfinished == 0


def test_training_went_through_the_stages_and_learnt(finished_run):
    steps = [
        json.loads(line) for line in (finished_run / "pretrain" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [step["step"] for step in steps] == list(range(len(steps)))
    assert list(dict.fromkeys(step["stage"] for step in steps)) == ["stage1", "stage2", "stage3"]
    assert steps[-1]["context"] == 256 and steps[-1]["rope_base"] == 640000
    first, last = steps[0], steps[-1]
    assert last["loss"] < first["loss"] - 0.5 and last["mtp_loss"] < first["mtp_loss"] - 0.5


def test_fine_tuning_learnt_answers_and_rl_accounts_for_every_one_it_had(db, finished_run):
    losses = [json.loads(line)["loss"] for line in (finished_run / "sft" / "metrics.jsonl").open()]
    assert losses[-1] < losses[0] - 0.5
    for name, iterations in (("rl-zero", 1), ("rl", 2)):
        rows = [json.loads(line) for line in (finished_run / name / "metrics.jsonl").open()]
        assert len(rows) == iterations
        for row in rows:
            fates = ("trained", "filtered", "surplus", "aborted")
            assert row["groups_started"] == sum(row[f"groups_{fate}"] for fate in fates)
        answers, groups = one(
            db,
            f"SELECT count(*), count(DISTINCT (iteration, \"group\")) FROM '{finished_run}/{name}/rollouts/*.parquet' WHERE fate <> 'aborted'",
        )
        assert answers == 4 * groups == 4 * sum(row["groups_started"] - row["groups_aborted"] for row in rows)
        assert (finished_run / name / "model" / "model.safetensors").stat().st_size > 0


def test_the_export_answers_in_vllm_as_we_do(finished_run):
    check = json.loads((finished_run / "check.json").read_text())
    assert check["passed"] and check["equal"] and check["mtp_equal"]
    assert len(check["answers"]["vllm_mtp"]) == 2 and check["drafts"] > 0


def test_the_report_tells_the_runs_numbers(db, finished_run):
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    kept = one(db, "SELECT count(*) FROM policy")[0]
    assert f"{kept:,}" in page
    parameters = json.loads((finished_run / "pretrain" / "run.json").read_text())["parameters"]
    assert f"{parameters:,}" in page


def test_a_second_run_has_nothing_to_do_and_a_changed_share_only_what_hangs_on_it(
    finished_recipe, finished_run
):
    again = reasonmill("run", finished_recipe)
    assert again.returncode == 0 and "nothing to do" in again.stdout, again.stdout + again.stderr
    before = (finished_run / "tokens" / "run.json").read_text()
    mixed = reasonmill("run", finished_recipe, "--until", "mix", "--set", "stages.mix.seed=7")
    assert mixed.returncode == 0, mixed.stderr
    assert (finished_run / "tokens" / "run.json").read_text() == before
    assert duckdb.sql(f"SELECT count(*) FROM '{finished_run}/mixture/stage3-*.parquet'").fetchall()[0][0] > 10
    restored = reasonmill("run", finished_recipe)  # other tests read this run
    assert "finished before" in restored.stdout and restored.returncode == 0, restored.stderr
