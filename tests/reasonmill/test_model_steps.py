"""The steps after the mixtures: what is skipped, what is made again, and what becomes of a training when the run dies."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import RequestError, RunError
from reasonmill.model_steps import ModelSteps, accelerate_arguments

ROOT = Path(__file__).parents[2]

# A training in miniature: a launcher that does not hand signals on, and a worker that tidies up when it gets one.
WORKER = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def stop(number, frame):
    time.sleep(0.5)                       # a checkpoint takes its time
    (folder / "checkpoint").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
(folder / "ready").touch()
time.sleep(60)
"""
LAUNCHER = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', *sys.argv[1:]]))"


def command(folder):
    return [sys.executable, "-c", LAUNCHER, WORKER, str(folder)]


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_writes_its_checkpoint_however_the_run_ends(tmp_path, number):
    code = textwrap.dedent(f"""
        import signal
        from rich.console import Console
        from reasonmill.model_steps import ModelSteps
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        ModelSteps({str(tmp_path)!r}, Console())._launch("training", {command(tmp_path)!r})
    """)
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "ready").exists)
    os.kill(run.pid, number)
    wait_until((tmp_path / "checkpoint").exists)
    run.wait(30)


def test_a_program_that_fails_is_an_error_with_its_status(tmp_path, capfd):
    steps = ModelSteps(str(tmp_path), Console(quiet=True))
    with pytest.raises(RunError, match="training ended with status 3"):
        steps._launch("training", [sys.executable, "-c", "import sys; sys.exit(3)"])
    with pytest.raises(RequestError, match="was refused"):
        steps._launch(
            "training", [sys.executable, "-c", "import sys; sys.exit('no good') if 0 else sys.exit(2)"]
        )


def test_a_step_is_made_once_and_again_when_what_it_is_made_of_changes(tmp_path):
    result, times = tmp_path / "result", []

    def work():
        times.append(len(times))
        result.write_text("made")
        return "made"

    def step(key):
        return ModelSteps(str(tmp_path), Console(quiet=True))._step("export", key, result, work)

    assert [step("a"), step("a"), step("b"), step("b")] == [True, False, True, False]
    result.unlink()
    assert step("b") and times == [0, 1, 2]
    assert json.loads((tmp_path / "steps.json").read_text())["export"]["line"] == "made"


def test_a_step_that_fails_is_tried_again(tmp_path):
    result = tmp_path / "result"
    result.write_text("of an earlier run")

    def fail():
        raise RunError("no")

    with pytest.raises(RunError):
        ModelSteps(str(tmp_path), Console(quiet=True))._step("export", "a", result, fail)
    assert ModelSteps(str(tmp_path), Console(quiet=True))._step("export", "a", result, lambda: "made")


def test_training_on_an_object_store_is_refused():
    with pytest.raises(RequestError, match="local or mounted"):
        ModelSteps("s3://bucket/run", Console())


def test_all_cores_are_used_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    arguments = accelerate_arguments()
    assert "--cpu" in arguments
    assert arguments[arguments.index("--num_cpu_threads_per_process") + 1] == str(
        len(os.sched_getaffinity(0))
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    arguments = accelerate_arguments()
    assert "--multi_gpu" in arguments and arguments[arguments.index("--num_processes") + 1] == "3"
