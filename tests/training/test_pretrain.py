"""The trainer as a user starts it, on a mixture of 230 sequences: one rank, two ranks, killed, stopped, refused."""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from small_mixture import STAGES, recipe, write_run

from pipeline.errors import RunError
from training import checkpoint, pretrain
from training.model import MiMo
from training.model_config import model_config
from training.settings import load_settings

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
CLOCK = ("seconds", "tokens_per_second")  # what may differ between two equal runs


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(str(folder), STAGES)
    return recipe(folder / "recipe.yaml", str(folder))


@pytest.fixture(scope="module")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "pretrain"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    command += ["--num_cpu_threads_per_process", "1", "-m", "training.pretrain"]
    command += ["--config", str(config), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def rows(output: Path) -> list[dict[str, Any]]:
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: v for name, v in json.loads(line).items() if name not in CLOCK} for line in lines]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_model(output)[0].state_dict()


def test_a_run_follows_the_schedule_to_the_token(config: Path, undisturbed: Path) -> None:
    schedule = load_settings(str(config)).schedule
    found = rows(undisturbed)
    token = 0
    for number, row in enumerate(found):
        rates = schedule.at(token)
        said = {name: getattr(rates, name) for name in ("stage", "learning_rate", "mtp_weight", "context")}
        said |= {"rope_base": rates.rope_base, "sequences": rates.sequences, "step_tokens": rates.step_tokens}
        assert row | said | {"step": number, "tokens": token} == row
        token += row["step_tokens"]
    assert token >= schedule.tokens > token - found[-1]["step_tokens"]
    assert [(row["context"], row["rope_base"]) for row in found] == (
        [(32, 10_000.0)] * schedule.totals["stage1"].steps
        + [(32, 10_000.0)] * schedule.totals["stage2"].steps
        + [(64, 640_000.0)] * schedule.totals["stage3"].steps
    )
    assert found[0]["loss"] == pytest.approx(math.log(97), rel=0.02)  # knows nothing yet
    assert found[-1]["loss"] < 3.4 and found[-1]["mtp_loss"] < 3.6

    run = json.loads((undisturbed / "run.json").read_text())
    assert (run["steps"], run["tokens"]) == (len(found), token)
    assert run["parameters"] == sum(tensor.numel() for tensor in weights(undisturbed).values())
    kept = checkpoint.found(undisturbed / "checkpoints")
    assert len(kept) == 2 and kept[-1].name == f"step-{len(found):07d}"
    assert checkpoint.about(kept[-1])["rope_base"] == 640_000


def test_losses_are_those_of_a_plain_loop(config: Path, undisturbed: Path) -> None:
    """A second trainer: whole steps at once, no micro-batches, torch's own cross-entropy, optimizer and clipping."""
    settings = load_settings(str(config))
    torch.manual_seed(settings.seed)
    model = MiMo(model_config(settings.model, 97))
    plain = [p for n, p in model.named_parameters() if "norm" in n or "bias" in n or "embed" in n]
    matrices = [p for p in model.parameters() if all(p is not one for one in plain)]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    taken = dict.fromkeys(STAGES, 0)
    data = {
        stage: duckdb.sql(
            f"SELECT tokens, lengths FROM read_parquet('{config.parent}/mixture/{stage}-*.parquet', "
            "filename=true, file_row_number=true) ORDER BY filename, file_row_number"
        ).fetchall()
        for stage in STAGES
    }
    for row in rows(undisturbed):
        first = taken[row["stage"]]
        taken[row["stage"]] += row["sequences"]
        sequences = data[row["stage"]][first : taken[row["stage"]]]
        tokens, lengths = [torch.tensor([s[0] for s in sequences]), [s[1] for s in sequences]]
        hidden = model(tokens, lengths, row["rope_base"])
        main, mtp = [], []
        for b, segments in enumerate(lengths):
            start = 0
            for n in segments:
                logits = hidden.main_BLD[b, start : start + n] @ model.lm_head.weight.T
                ahead = hidden.mtp[0][b, start : start + n] @ model.lm_head.weight.T
                labels = tokens[b, start : start + n]
                main.append(F.cross_entropy(logits[: n - 1], labels[1:], reduction="none"))
                if n > 2:
                    mtp.append(F.cross_entropy(ahead[: n - 2], labels[2:], reduction="none"))
                start += n
        loss, mtp_loss = torch.cat(main).mean(), torch.cat(mtp).mean()
        (loss + row["mtp_weight"] * mtp_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = row["learning_rate"]
        optimizer.step()
        optimizer.zero_grad()
        mine = (loss.item(), mtp_loss.item(), norm.item())
        assert (row["loss"], row["mtp_loss"], row["gradient_norm"]) == pytest.approx(mine, rel=2e-3)
    final = weights(undisturbed)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(final[name], parameter.detach(), atol=2e-3, rtol=0)


def test_losses_are_those_recorded_before_fine_tuning_shared_the_loop(undisturbed: Path) -> None:
    """Bit for bit on the machine they were recorded on; others may add up in another order."""
    recorded = [
        (4.592365406177662, 4.586716672207447),
        (4.319971659097327, 4.37345356411404),
        (3.3533409481956844, 3.5110423932756696),
        (2.7789694468180337, 2.997037546975272),
    ]
    found = [(row["loss"], row["mtp_loss"]) for row in rows(undisturbed)[::10]]
    assert found == [pytest.approx(pair, rel=1e-4) for pair in recorded]


def interrupt(config: Path, output: Path, number: int, when: Callable[[], bool]) -> int:
    """Start the trainer, send it a signal as soon as `when` says so, and return its exit code."""
    command = [sys.executable, "-m", "training.pretrain", "--config", str(config), "--output", str(output)]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        if when():
            process.send_signal(number)
            break
        time.sleep(0.001)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return process.returncode


def test_killed_and_continued_it_is_bit_equal(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "pretrain"
    metrics, checkpoints = output / "metrics.jsonl", output / "checkpoints"

    def steps() -> int:
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    assert interrupt(config, output, signal.SIGKILL, lambda: steps() >= 14) == -signal.SIGKILL
    saved = [checkpoint.about(path)["step"] for path in checkpoint.found(checkpoints)]
    assert saved and steps() > saved[-1]  # steps after the checkpoint will have to be done again
    with metrics.open("a") as torn:
        torn.write('{"step": 99, "lo')

    began, old = saved[-1], metrics.stat().st_ino
    goes_on = lambda: metrics.stat().st_ino != old and steps() >= began + 2  # noqa: E731
    assert interrupt(config, output, signal.SIGTERM, goes_on) == 143
    stopped = [checkpoint.about(path)["step"] for path in checkpoint.found(checkpoints)][-1]
    assert stopped == steps() > began
    assert rows(output) == rows(undisturbed)[:stopped]

    # in the middle of writing a checkpoint
    assert (
        interrupt(config, output, signal.SIGKILL, lambda: any(checkpoints.glob(".step-*.tmp")))
        == -signal.SIGKILL
    )
    assert interrupt(config, output, signal.SIGKILL, lambda: False) == 0

    assert rows(output) == rows(undisturbed)
    ours, theirs = weights(output), weights(undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not list(checkpoints.glob(".*"))
    assert json.loads((output / "run.json").read_text())["steps"] == len(rows(undisturbed))


SHORT = [  # odd numbers of sequences, so that ranks get unequal shares and one has nothing left in a micro-batch
    "schedule.batch_warm_up={tokens: 300, from: 3}",
    "schedule.phases.0.sequences=7",
    "schedule.phases.0.tokens=600",
    "schedule.phases.1.tokens=300",
    "schedule.phases.2.tokens=300",
    "schedule.phases.3.tokens=300",
    "schedule.phases.4.tokens=300",
    "schedule.phases.4.sequences=3",
]


def in_this_process(config: Path, output: Path, *changes: str) -> int:
    sets = [part for change in changes for part in ("--set", change)]
    AcceleratorState._reset_state(reset_partial_state=True)  # it is one for the whole process, and remembers
    return pretrain.main(["--config", str(config), "--output", str(output), *sets])


@pytest.fixture(scope="module")
def short(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("short") / "pretrain"
    assert in_this_process(config, output, *SHORT) == 0
    return output


@pytest.mark.parametrize(
    "program", [["-m", "training.pretrain"], [str(Path(__file__).with_name("fsdp_on_cpu.py"))]]
)
def test_two_ranks_are_one(program: list[str], config: Path, short: Path, tmp_path: Path) -> None:
    """With whole models (DDP) and with sharded ones (FSDP2)."""
    two = tmp_path / "pretrain"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=127.0.0.1:0", *program, "--config", str(config)]
    command += ["--output", str(two), *(part for change in SHORT for part in ("--set", change))]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def same() -> None:
        for mine, theirs in zip(rows(short), rows(two), strict=True):
            assert mine.pop("stage") == theirs.pop("stage")
            assert mine == pytest.approx(theirs, rel=1e-4)
        ours, theirs = weights(short), weights(two)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)

    same()
    assert json.loads((two / "run.json").read_text())["machine"]["processes"] == 2
    # one rank goes on where two were
    last = checkpoint.found(two / "checkpoints")[-1]
    shutil.rmtree(last)
    assert in_this_process(config, two, *SHORT) == 0
    assert checkpoint.found(two / "checkpoints")[-1] == last
    same()


def test_ctrl_c_finishes_the_step(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "pretrain"
    before = signal.getsignal(signal.SIGINT)  # a shell has what it starts in the background ignore it

    def press() -> None:
        while not (output / "metrics.jsonl").exists() or not rows(output):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    assert in_this_process(config, output) == 130
    presser.join()
    done = len(rows(output))
    assert checkpoint.about(checkpoint.found(output / "checkpoints")[-1])["step"] == done < 34
    assert signal.getsignal(signal.SIGINT) is before


def test_another_runs_checkpoint_is_refused(
    config: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pretrain"
    shutil.copytree(short, output)
    before = rows(output)
    other = [change.replace("tokens=600", "tokens=601") for change in SHORT]
    assert in_this_process(config, output, *other, "optimizer.clip=0.5") == 2
    said = capsys.readouterr().err
    assert "optimizer.clip: 1.0 → 0.5" in said and "schedule.0.tokens: 600 → 601" in said
    assert "--restart" in said and "Traceback" not in said

    data = tmp_path / "other"
    write_run(str(data), STAGES, rows_per_shard=9)
    assert in_this_process(config, output, *SHORT, f"data={data}") == 2
    assert "mixture: " in capsys.readouterr().err
    assert rows(output) == before

    # what does not decide the weights may change
    assert in_this_process(config, output, *SHORT, "checkpoints.keep=1", "micro_batch_tokens=64") == 0

    sets = [part for change in other for part in ("--set", change)]
    assert pretrain.main(["--config", str(config), "--output", str(output), "--restart", *sets]) == 0
    assert rows(output.with_name("pretrain.old-1")) == before != rows(output)


def test_what_cannot_be_trained_is_said_before_anything_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pretrain"
    for change, message in [
        ("schedule.phases.1.tokens=90K", "tokens are missing"),
        (f"data={tmp_path}/absent", "run the stage that writes it first"),
        ("model.vocab_size=50", "vocab_size = 50: the tokenizer has 97 tokens"),
        ("model=huge", "'huge' is unknown"),
        ("output=s3://bucket/x", "cannot do; give a local or mounted folder"),
    ]:
        arguments = ["--config", str(config), "--set", change]
        arguments += [] if change.startswith("output") else ["--output", str(output)]
        assert pretrain.main(arguments) == 2
        assert message in capsys.readouterr().err
        assert not output.exists()
    output.mkdir()
    with (output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert in_this_process(config, output) == 2
    assert "another process is training" in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pretrain"
    assert in_this_process(config, output, "schedule.phases.0.learning_rate=1e30") == 1
    assert "no longer a number" in capsys.readouterr().err
    assert all(math.isfinite(row["loss"]) for row in rows(output))


def test_a_disk_that_refuses_a_checkpoint_is_an_error_in_words(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert in_this_process(config, tmp_path / "pretrain", *SHORT) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert "step-0000" in said and "the file is larger than this process may write" in said


def test_a_checkpoint_tells_context_and_base_of_its_last_step(config: Path, tmp_path: Path) -> None:
    """Also that of the step which crosses a milestone: its weights have not seen the next stage."""
    changes = ("checkpoints.every_tokens=1", "checkpoints.keep=99")
    assert in_this_process(config, tmp_path, *changes) == 0
    for path in checkpoint.found(tmp_path / "checkpoints"):
        about = checkpoint.about(path)
        last = rows(tmp_path)[about["step"] - 1]
        assert (about["context"], about["rope_base"]) == (last["context"], last["rope_base"])


def test_a_damaged_checkpoint_is_an_error_in_words(
    config: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pretrain"
    shutil.copytree(short, output)
    last = checkpoint.found(output / "checkpoints")[-1]
    (last / "state" / "__0_0.distcp").write_bytes(b"")
    assert in_this_process(config, output, *SHORT) == 1
    assert f"cannot read checkpoint {last}" in capsys.readouterr().err
    with pytest.raises(RunError, match=f"cannot read checkpoint {last}"):
        checkpoint.load_model(output)
    shutil.rmtree(last)  # as it says
    assert in_this_process(config, output, *SHORT) == 0
    assert rows(output) == rows(short)


def test_activation_checkpointing_changes_no_loss(config: Path, short: Path, tmp_path: Path) -> None:
    assert in_this_process(config, tmp_path, *SHORT, "activation_checkpointing=true") == 0
    assert rows(tmp_path) == rows(short)
