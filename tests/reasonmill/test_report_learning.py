"""The report after pre-training: fine-tuning, problems, rollouts and evaluation as their folders say, or no section."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from lxml import html
from test_report import HOSTILE, Structure, data_line, put, table, text_of

from pipeline import storage
from reasonmill.report import write_report
from training.rl.record import write_iteration
from training.rl.trajectory import Trajectory

RATES = pa.list_(
    pa.struct(
        [
            ("model", pa.string()),
            ("role", pa.string()),
            ("samples", pa.int32()),
            ("decided", pa.int32()),
            ("rate", pa.float64()),
        ]
    )
)


def fine_tuning(run: Path) -> None:
    steps = [
        {"step": n, "tokens": n * 64, "step_tokens": 64, "stage": "sft", "loss": 2 - n / 50, "mtp_loss": 2.5 - n / 50}
        | {"learning_rate": 3e-5, "mtp_weight": 0.1, "sequences": 8, "context": 8, "rope_base": 640000}
        for n in range(40)
    ]  # fmt: skip
    (run / "sft").mkdir()
    (run / "sft" / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))


def problems(run: Path) -> None:
    rows = []
    for n in range(10):
        strong = {"model": "big", "role": "strong", "samples": 4, "decided": 4, "rate": 1.0}
        tuned = {"model": "ours", "role": "sft", "samples": 16, "decided": 16, "rate": n / 16}
        rows.append(
            {
                "id": f"p{n}",
                "problem_id": f"set/{n}",
                "prompt": f"Problem {n}",
                "kind": "math",
                "source": "set",
            }
            | {"rates": [strong, tuned], "levels": [0] if n else [0, 1]}
        )
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "problem_id", "prompt", "kind", "source")),
            ("rates", RATES),
            ("levels", pa.list_(pa.int32())),
        ]
    )
    out = [(f"x{n}", reason, "") for n, reason in enumerate(["too_easy", "too_easy", "too_hard"])]
    put(run, "rl_problems", rows, stage="difficulty", schema=schema, dropped=out)


def rl(run: Path, name: str = "rl") -> None:
    (run / name).mkdir()
    rows = [
        {"iteration": n, "version": n, "updates": 2, "seconds": 10.0, "rollout_seconds": 7.0, "train_seconds": 3.0}
        | {"reward": 0.25 + n / 100, "pass_rate": 0.5, "reward_trained": 0.4, "pass_rate_trained": 0.4}
        | {"length": 100.0 + n, "length_max": 200, "truncated": 0.1, "undecided": None, "groups_started": 6}
        | {"groups_trained": 4, "groups_filtered": 1, "groups_aborted": 1, "tokens_generated": 2000}
        | {"tokens_trained": 1500, "waste": 0.25, "idle": 0.5, "loss": 0.1, "gradient_norm": 1.0}
        | {"clipped_low": 0.0, "clipped_high": 0.01, "clipped_dual": 0.0, "mismatch_mean": 2e-3, "mismatch_max": 0.2, "mismatch_outside": 0.01}
        for n in range(30)
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run / name / "metrics.jsonl").write_text(lines + '{"iterat')
    members = [
        # group, member, tokens, reward, passed, passes
        (0, 0, 5, 1.0, True, [True, True]),
        (0, 1, 4, 0.5, False, [True, False]),
        (1, 0, 9, 0.0, False, [False]),
        (1, 1, 8, None, None, [None]),
        (2, 0, 3, 1.0, True, [True]),
        (2, 1, 2, 1.0, True, [True]),
        (3, 0, 50, None, None, []),
    ]
    answers = [
        Trajectory(
            group, member, f"set/{group}", [1], [7] * tokens, [-1.0] * tokens, "abort" if group == 3 else "stop", 28,
            text=f"Answer {group}.{member} {HOSTILE[:300]}", reward=reward, passed=passed, passes=passes,
        )
        for group, member, tokens, reward, passed, passes in members
    ]  # fmt: skip
    fates = {0: "trained", 1: "trained", 2: "filtered_solved", 3: "aborted"}
    prompts = {group: f"Question {group}?" for group in fates}
    for iteration in (28, 29):
        path = run / name / "rollouts" / f"iteration-{iteration:05d}.parquet"
        told = answers if iteration == 29 else answers[:1]
        write_iteration(path, iteration, told, fates, {}, prompts, {})


def evaluation(run: Path) -> None:
    def row(model, benchmark, value, half):
        estimate = [value, max(0, value - half), min(1, value + half)]
        return {
            "model": model,
            "benchmark": benchmark,
            "problems": 30,
            "samples": 120,
            "decided": estimate,
        } | {
            "pass_at": {"1": estimate, "4": [min(1, value * 2), value, 1.0]},
            "undecided": 0.05,
            "truncated": 0.25,
            "unanswered": 2,
            "tokens": 321.4,
        }

    results = {
        "models": [{"name": "base"}, {"name": "tuned<b>"}],
        "sampling": {"temperature": 0.6, "top_p": 0.95, "seed": 0},
        "benchmarks": [{"name": "aime", "samples": 4, "max_tokens": 32768}, {"name": "gsm8k", "samples": 1, "max_tokens": 512}],
        "rows": [row("base", "aime", 0.0, 0.1), row("tuned<b>", "aime", 0.5, 0.1), row("base", "gsm8k", 0.125, 0.05)],
        "differences": [{"model": "tuned<b>", "to": "base", "benchmark": "aime", "difference": [0.5, 0.4, 0.6]}],
    }  # fmt: skip
    storage.write_json(str(run / "evaluation" / "results.json"), results)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = tmp_path_factory.mktemp("learning") / "run"
    data_line(run)
    for part in (fine_tuning, problems, rl, evaluation):
        part(run)
    rl(run, "rl-zero")
    return Path(write_report(str(run))).read_text()


def test_what_is_not_there_has_no_section(tmp_path):
    run = tmp_path / "run"
    data_line(run)
    found = html.fromstring(Path(write_report(str(run))).read_text()).xpath("//section/@id")
    assert "training" in found and not {"sft", "difficulty", "rl", "evaluation"} & set(found)


def test_the_page_is_well_formed_and_no_two_pictures_share_a_name(page):
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == [] and "script" not in structure.tags
    identifiers = [value for _, name, value in structure.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))


def test_fine_tuning_is_told_like_training(page):
    assert "40 steps over 2,560 tokens" in text_of(page, "sft")
    assert table(page, "sft")[1][:2] == ["sft", "2,560"]


def test_problems_with_their_pass_rates(page):
    said = text_of(page, "difficulty")
    assert "10 problems are kept, 2 left out as too_easy, 1 left out as too_hard" in said
    assert "big (strong): 40 rollouts, 100.0% right" in said
    assert "ours (sft): 160 rollouts, 28.1% right" in said  # (0 + … + 9) / 16 / 10
    assert table(page, "difficulty")[1] == ["set", "math", "10", "1.1", "2"]


def test_rl_adds_up_its_iterations(page):
    said = text_of(page, "rl")
    assert (
        "30 iterations with 60 updates in 5 min 0 s: 3 min 30 s of rollouts, 1 min 30 s of training" in said
    )
    assert "180 groups were started, 120 trained on, 30 filtered and 30 aborted" in said
    assert "45,000 of 60,000 tokens were trained on" in said
    assert "could not be read and are left out: 1" in said
    rows = {row[0]: row[1:] for row in table(page, "rl")[1:]}
    assert rows["reward"] == ["0.295", "0.495"]  # means of iterations 0–9 and 20–29
    assert rows["share undecided"] == ["–", "–"]


def test_rollouts_are_chosen_from_the_last_iteration(page):
    section = html.fromstring(page).get_element_by_id("rl")
    told = [" ".join(" ".join(article.itertext()).split()) for article in section.xpath(".//article")]
    told = told[: len(told) // 2]  # the folders are alike
    assert [each.split(" reward")[0] for each in told] == ["best", "worst", "longest", "filtered: all right"]
    assert "reward 1.00 parts passed 2 of 2 trained on 5 tokens, stop set/0" in told[0]
    assert "Question 0?" in told[0] and "Answer 0.0" in told[0]
    assert "reward 0.00" in told[1] and "Answer 1.0" in told[1]
    assert (
        "reward undecided" in told[2] and "50 tokens, abort" in told[2]
    )  # the aborted one is the longest: once
    assert "Answer 2.1" in told[3]


def test_evaluation_with_intervals_and_differences(page):
    rows = table(page, "evaluation")
    assert rows[0][4:7] == ["pass@1", "pass@4", "without undecided"]
    assert rows[2][:5] == ["tuned<b>", "aime", "30", "120", "50.0% 40.0% to 60.0%"]
    assert rows[2][7:] == ["5.0%", "25.0%", "2", "321"]
    assert table(page, "evaluation", 1)[1] == ["tuned<b>", "base", "aime", "+50.0 points", "+40.0 to +60.0"]
    assert "aime: 4 samples of at most 32,768 tokens; gsm8k: 1 sample of at most 512" in text_of(
        page, "evaluation"
    )
    labels = html.fromstring(page).get_element_by_id("evaluation").xpath(".//svg//text()")
    assert {"50.0", "12.5", "0.0"} <= {
        label.strip() for label in labels
    }  # above the bars; none for what was not run
