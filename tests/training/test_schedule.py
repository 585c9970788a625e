"""The schedule against the published numbers of MiMo-7B (report §2.4), and against a walk over every step."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.errors import RequestError
from reasonmill.schedule import show
from training.schedule import Schedule, milestones, parse_tokens
from training.settings import load_settings

RECIPES = Path(__file__).parents[2] / "recipes"
B, T = 10**9, 10**12


@pytest.fixture(scope="module")
def mimo() -> Schedule:
    return load_settings(str(RECIPES / "mimo-7b.yaml")).schedule


def test_milestones_are_the_reports_to_the_token(mimo: Schedule) -> None:
    assert milestones(mimo) == [
        84_000_000_000,
        10_284_000_000_000,
        17_784_000_000_000,
        21_784_000_000_000,
        23_284_000_000_000,
        23_784_000_000_000,
    ]
    assert mimo.tokens == 23_784_000_000_000


@pytest.mark.parametrize(
    ("token", "rate"),
    [
        (0, 0.0),
        (42 * B, 0.535e-4),  # halfway up
        (84 * B - 1, 1.07e-4),
        (84 * B, 1.07e-4),
        (84 * B + 1, 1.07e-4),
        (5 * T, 1.07e-4),
        (10_284 * B - 1, 1.07e-4),
        (10_284 * B, 1.07e-4),
        (10_284 * B + 7_500 * B // 2, (1.07e-4 + 3e-5) / 2),  # the middle of a cosine is the mean
        (10_284 * B + 7_500 * B // 3, 3e-5 + 0.75 * 7.7e-5),  # cos 60° = 1/2
        (17_784 * B - 1, 3e-5),
        (17_784 * B, 3e-5),
        (20 * T, 3e-5),
        (21_784 * B, 3e-5),
        (23_284 * B - 1, 3e-5),
        (23_284 * B, 3e-5),
        (23_284 * B + 250 * B, 2e-5),
        (23_784 * B - 1, 1e-5),
        (23_784 * B, 1e-5),
    ],
)
def test_learning_rate(mimo: Schedule, token: int, rate: float) -> None:
    assert mimo.at(token).learning_rate == pytest.approx(rate, rel=1e-9, abs=1e-15)


def test_constant_phases_are_constant_to_the_last_bit(mimo: Schedule) -> None:
    assert {mimo.at(t).learning_rate for t in range(84 * B, 10_284 * B, 97 * B)} == {1.07e-4}
    assert {mimo.at(t).learning_rate for t in range(17_784 * B, 23_284 * B, 97 * B)} == {3e-5}


def test_cosine_and_mtp_weight_change_in_one_milestone(mimo: Schedule) -> None:
    before, at = mimo.at(10_284 * B - 1), mimo.at(10_284 * B)
    assert (before.mtp_weight, at.mtp_weight) == (0.3, 0.1)
    assert mimo.at(10_284 * B + 100 * B).learning_rate < at.learning_rate == before.learning_rate
    assert mimo.at(mimo.tokens).mtp_weight == 0.1


def test_stage_3_brings_context_and_rope(mimo: Schedule) -> None:
    before, at = mimo.at(21_784 * B - 1), mimo.at(21_784 * B)
    assert (before.stage, before.context, before.rope_base, before.sequences) == (
        "stage2",
        8192,
        10_000,
        2560,
    )
    assert (at.stage, at.context, at.rope_base, at.sequences) == ("stage3", 32_768, 640_000, 640)
    assert mimo.at(17_784 * B - 1).stage == "stage1"
    assert mimo.at(17_784 * B).stage == "stage2"


def test_full_batch_has_the_same_tokens_in_all_stages(mimo: Schedule) -> None:
    assert {mimo.at(t).step_tokens for t in (168 * B, 18 * T, 22 * T, 23_784 * B - 1)} == {20_971_520}


def test_batch_warm_up(mimo: Schedule) -> None:
    sizes = [mimo.at(t).sequences for t in range(0, 168 * B + 1, 500_000_000)]
    assert sizes[0] == 256
    assert sizes == sorted(sizes)
    assert all(size % 64 == 0 for size in sizes)
    line = [256 + (2560 - 256) * t / (168 * B) for t in range(0, 168 * B + 1, 500_000_000)]
    assert all(0 <= ideal - size < 64 for ideal, size in zip(line, sizes, strict=True))
    assert mimo.at(168 * B - 1).sequences == 2560 - 64
    assert mimo.at(168 * B).sequences == 2560


def test_totals_of_a_million_steps(mimo: Schedule) -> None:
    totals = mimo.totals
    # 4T and 2T in whole steps of 20,971,520 tokens, counted by hand
    assert totals["stage2"].steps == math.ceil(4 * T / 20_971_520) == 190_735
    assert totals["stage3"].steps in (95_367, 95_368)
    assert totals["stage1"].steps > 17_784 * B / 20_971_520  # the warm-up needs more of them
    trained = sum(total.tokens for total in totals.values())
    assert 0 <= trained - mimo.tokens < 20_971_520
    assert totals["stage3"].sequences == totals["stage3"].steps * 640


SMALL = """
batch_warm_up: {tokens: 5000, from: 2, multiple: 2}
phases:
  - {tokens: 3001, stage: one, learning_rate: {from: 0, to: 3e-4}, mtp_weight: .3, context: 16, rope_base: 1e4, sequences: 12}
  - {tokens: 7K, learning_rate: {to: 1e-5, shape: cosine}}
  - {tokens: 2.5K, stage: two, context: 48, rope_base: 5e5, sequences: 4, mtp_weight: 0}
  - {tokens: 50, learning_rate: {from: 1e-6, to: 0}}
"""


def test_runs_are_what_a_walk_over_the_steps_finds() -> None:
    schedule = Schedule.parse(yaml.safe_load(SMALL))
    token, walked = 0, []
    while token < schedule.tokens:
        walked.append((token, schedule.at(token)))
        token += schedule.at(token).sequences * schedule.at(token).context
    assert list(schedule.steps()) == walked
    for stage, total in schedule.totals.items():
        mine = [rates for _, rates in walked if rates.stage == stage]
        assert total.steps == len(mine)
        assert total.sequences == sum(rates.sequences for rates in mine)
        assert total.tokens == sum(rates.sequences * rates.context for rates in mine)
    # the step across the milestone at 10,001 is still wholly of stage one
    last_of_one = max(token for token, rates in walked if rates.stage == "one")
    assert last_of_one < 10_001 < last_of_one + 12 * 16
    assert schedule.at(last_of_one).context == 16
    # a phase that says nothing keeps everything, one that says `from` jumps
    assert schedule.at(10_001 + 2_000).learning_rate == pytest.approx(1e-5)
    assert schedule.at(10_001 + 2_500).learning_rate == pytest.approx(1e-6)
    assert schedule.at(12_520).mtp_weight == 0


@pytest.mark.parametrize(
    ("written", "count"),
    [("84B", 84 * B), ("10.2T", 10_200 * B), ("700K", 700_000), (1_234, 1_234), ("2.5 M", 2_500_000)],
)
def test_tokens(written: object, count: int) -> None:
    assert parse_tokens(written) == count


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tokens: 3001", "tokens: 3x", r"phases\[0\]\.tokens = '3x': write tokens as 84B"),
        ("tokens: 3001", "tokens: 1.5", r"phases\[0\]\.tokens = 1\.5: this is not a whole number"),
        ("tokens: 3001, ", "", r"phases\[0\]\.tokens: every phase says how long"),
        (
            "mtp_weight: .3",
            "mtp_wieght: .3",
            r"phases\[0\]\.mtp_wieght: unknown field; did you mean mtp_weight",
        ),
        ("mtp_weight: .3", "mtp_weight: -1", r"phases\[0\]\.mtp_weight = -1: write a number, 0 or more"),
        ("mtp_weight: .3, ", "", r"phases\[0\]\.mtp_weight: the first phase has nothing to carry over"),
        (
            "shape: cosine",
            "shape: cosin",
            r"phases\[1\]\.learning_rate\.shape = 'cosin': choose linear or cosine",
        ),
        ("{from: 0, to: 3e-4}", "fast", r"phases\[0\]\.learning_rate = 'fast': write a number"),
        (
            "{from: 0, to: 3e-4}",
            "{to: 3e-4}",
            r"phases\[0\]\.learning_rate\.from: the first phase has nothing",
        ),
        ("context: 16", "context: 16.5", r"phases\[0\]\.context = 16\.5: write a whole number"),
        ("sequences: 12", "sequences: true", r"phases\[0\]\.sequences = True: write a whole number"),
        (
            "stage: two, ",
            "",
            r"phases\[2\]\.context = 48: the sequences of one are packed to 16; begin a new stage",
        ),
        (
            "tokens: 50,",
            "tokens: 50, stage: one, context: 16,",
            r"phases\[3\]\.stage = 'one': a stage that has ended",
        ),
        ("from: 2", "from: 20", r"batch_warm_up\.from = 20: .* choose at most 12"),
        ("multiple: 2", "multiple: 4", r"batch_warm_up\.multiple = 4: the way from 2 to 12"),
        ("tokens: 50,", "tokens: 50, stage: three,", r"stage = 'three': no step begins in it"),
    ],
)
def test_mistakes_name_field_value_and_remedy(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(RequestError, match=message):
        Schedule.parse(yaml.safe_load(SMALL.replace(old, new, 1)))


@pytest.mark.parametrize("mapping", [None, [], {}, {"phases": []}, {"phases": ["84B"]}, {"phases": "x"}])
def test_what_is_no_schedule_at_all(mapping: object) -> None:
    with pytest.raises(RequestError, match="schedule"):
        Schedule.parse(mapping)


def test_settings_are_changed_by_path_and_mistakes_name_the_file(tmp_path: Path) -> None:
    path = str(RECIPES / "mimo-7b.yaml")
    settings = load_settings(path, ["schedule.phases.1.tokens=1T", "optimizer.clip=0.5", "seed=7"])
    assert milestones(settings.schedule)[1] == 1_084 * B
    assert (settings.optimizer.clip, settings.seed) == (0.5, 7)
    assert settings.data == "runs/mimo-7b"
    assert settings.output == "runs/mimo-7b/pretrain"
    for change, message in [
        ("optimizer.clib=1", r"mimo-7b\.yaml: pretrain\.optimizer\.clib: unknown field; did you mean clip"),
        ("optimizer.betas=[0.9]", r"pretrain\.optimizer\.betas = \[0\.9\]: write two numbers"),
        ("schedule.phases.9.tokens=1T", "no such place"),
        ("seed", "write FIELD=VALUE"),
        ("precision=fp16", r"pretrain\.precision = 'fp16': choose auto, bf16 or fp32"),
    ]:
        with pytest.raises(RequestError, match=message):
            load_settings(path, [change])
    with pytest.raises(RequestError, match=r"cannot read .*absent\.yaml: No such file"):
        load_settings(str(tmp_path / "absent.yaml"))


def test_show_prints_the_phases_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "schedule.svg"
    show(str(RECIPES / "mimo-7b.yaml"), plot=str(plot))
    printed = capsys.readouterr().out
    for shown in ("10.284T", "23.784T", "640,000", "32,768", "190,735", "1.07e-4", "cosine"):
        assert shown in printed
    assert plot.read_text().startswith("<?xml")
    with pytest.raises(RequestError, match=r"schedule\.doc.*\.png, \.svg or \.pdf"):
        show(str(RECIPES / "mimo-7b.yaml"), plot=str(tmp_path / "schedule.doc"))


def test_training_imports_only_what_a_trainer_needs() -> None:
    """Every module of training/ in a process in which the data line's libraries cannot be imported."""
    modules = [f"training.{path.stem}" for path in (RECIPES.parent / "training").glob("[!_]*.py")]
    program = (
        "import importlib, sys\n"
        "for name in ('dask', 'distributed', 'duckdb', 'pydantic', 'rich', 'vllm', 'click', 'numba'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "training.pretrain" in modules
