"""The steps after the mixtures: what is skipped, what is made again, and what becomes of a training when the run dies."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import RequestError, RunError
from reasonmill.check_export import CheckResult, Difference
from reasonmill.model_steps import Check, Export, ModelSteps, accelerate_arguments
from training.settings import load_settings, parse_sft_settings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "training"))
from small_mixture import recipe, write_run  # noqa: E402

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
    run.wait(120)


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


def small_run(folder, seed):
    """Settings and recipe of a training of a few steps on a mixture of its own."""
    phase = {"tokens": 1_000, "stage": "stage1", "learning_rate": 1e-3, "mtp_weight": 0.3, "context": 32}
    schedule = {"phases": [phase | {"rope_base": 10_000, "sequences": 8}]}
    path = recipe(folder / "recipe.yaml", str(folder), schedule=schedule, seed=seed)
    return load_settings(str(path)), path


@pytest.fixture
def steps_here(tmp_path, monkeypatch):
    """A fresh `ModelSteps` at each call, whose programs run in this process: with torch, without its imports."""
    from accelerate.state import AcceleratorState

    from training import export, pretrain

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    programs = {"training.pretrain": pretrain.main, "training.export": export.main}
    dies = []

    def launch(self, name, command, *, echo=True):
        if dies:
            raise dies.pop()
        AcceleratorState._reset_state(reset_partial_state=True)  # as a new process has none
        module = command[1 + max(at for at, word in enumerate(command) if word == "-m")]
        assert programs[module](command[command.index(module) + 1 :]) == 0

    monkeypatch.setattr(ModelSteps, "_launch", launch)
    write_run(str(tmp_path), {"stage1": (32, 40)}, tokenizer_json=TOKENIZER)
    return lambda *death: dies.extend(death) or ModelSteps(str(tmp_path), Console(quiet=True))


TOKENIZER = json.dumps(
    {
        "added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": True}],
        "model": {"vocab": {"<|endoftext|>": 0}},
    }
)


def test_a_run_that_died_before_it_set_the_old_training_aside_does_so_when_it_goes_on(steps_here, tmp_path):
    assert steps_here().pretrain(*small_run(tmp_path, 1), None)
    first = (tmp_path / "pretrain" / "metrics.jsonl").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        steps_here(KeyboardInterrupt()).pretrain(*small_run(tmp_path, 2), None)
    assert steps_here().pretrain(*small_run(tmp_path, 2), None)
    assert (tmp_path / "pretrain.old-1" / "metrics.jsonl").read_bytes() == first
    assert not steps_here().pretrain(*small_run(tmp_path, 2), None)
    # an unfinished training goes on, it is not set aside
    (tmp_path / "pretrain" / "run.json").unlink()
    assert steps_here().pretrain(*small_run(tmp_path, 2), None)
    assert not (tmp_path / "pretrain.old-2").exists()


def test_a_training_that_somebody_put_in_its_place_is_noticed(steps_here, tmp_path):
    from training import pretrain

    settings, path = small_run(tmp_path, 1)
    assert steps_here().pretrain(settings, path, None) and steps_here().export(Export())
    exported = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert not steps_here().pretrain(settings, path, None) and not steps_here().export(Export())

    shutil.rmtree(tmp_path / "pretrain")
    small_run(tmp_path, 2)
    assert pretrain.main(["--config", str(path)]) == 0
    # the recipe still says seed 2: these weights are to be exported
    settings = load_settings(str(path))
    assert steps_here().pretrain(settings, path, None) and steps_here().export(Export())
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != exported
    assert not (tmp_path / "pretrain.old-1").exists()

    # the recipe says seed 1 again: they are set aside, and the old ones come back, bit for bit
    settings, path = small_run(tmp_path, 1)
    assert steps_here().pretrain(settings, path, None) and steps_here().export(Export())
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == exported


def test_a_fine_tuned_model_that_is_gone_is_made_again(tmp_path, monkeypatch):
    made = []

    def launch(self, name, command):
        (tmp_path / "sft" / "model").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sft" / "model" / "config.json").write_text("{}")
        (tmp_path / "sft" / "run.json").write_text('{"tokens": 1, "steps": 1}')
        made.append(name)

    monkeypatch.setattr(ModelSteps, "_launch", launch)
    monkeypatch.setattr(ModelSteps, "_digest", lambda self, name: name)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    settings = parse_sft_settings({"output": str(tmp_path), "sft": {}})

    def tune():
        return ModelSteps(str(tmp_path), Console(quiet=True)).sft(settings, tmp_path / "recipe.yaml", None)

    assert tune() and not tune()
    shutil.rmtree(tmp_path / "sft" / "model")
    assert tune() and not tune()
    assert made == ["sft", "sft"]


def test_another_precision_is_another_training(steps_here, tmp_path):
    settings, path = small_run(tmp_path, 1)
    assert steps_here().pretrain(settings, path, None)
    path = recipe(path, str(tmp_path), schedule=settings.said["schedule"], seed=1, precision="bf16")
    assert steps_here().pretrain(load_settings(str(path)), path, None)
    assert (tmp_path / "pretrain.old-1").exists()


def test_what_training_would_be_refused_for(tmp_path, monkeypatch):
    settings, _ = small_run(tmp_path, 1)
    steps = ModelSteps(str(tmp_path), Console(quiet=True))
    steps.check_request("pretrain", settings)
    for field in ("data", "output"):
        elsewhere = dataclasses.replace(settings, **{field: str(tmp_path / "elsewhere")})
        with pytest.raises(RequestError, match=rf"pretrain\.{field} = .*own folder"):
            steps.check_request("pretrain", elsewhere)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(RequestError, match="torch not installed; install reasonmill with the extra `train`"):
        steps.check_request("pretrain", settings)


def test_a_check_without_vllm_says_that_nothing_was_compared_and_is_made_once_there_is_one(
    tmp_path, monkeypatch
):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    result = CheckResult(str(tmp_path / "model"), "cpu", "float32", prompts=1, new_tokens=2)

    def check(*_, output, **__):
        output.write_text("{}")
        return result

    monkeypatch.setattr("reasonmill.check_export.check_export", check)

    def said():
        steps = ModelSteps(str(tmp_path), Console(quiet=True))
        return steps.check(Check()), steps.steps["check"]["line"]

    def absent():
        raise RequestError("vLLM is not installed.")

    monkeypatch.setattr("reasonmill.model_steps.devices", absent)
    result.missing = "vLLM is not installed."
    assert said() == (True, "nothing compared: vLLM is not installed.")
    assert said()[0] is False
    monkeypatch.setattr("reasonmill.model_steps.devices", lambda: ["cpu"])
    result.missing, result.equal = None, True
    assert said() == (True, "1 prompts, 2 tokens each, as in vLLM")
    result.equal, result.differences = False, [Difference("vllm", 0, 1, 1, 2, -1.0, -1.1, tie=False)]
    (tmp_path / "check.json").unlink()
    with pytest.raises(RunError, match="answers differently"):
        said()


def test_the_launcher_adds_no_traceback_to_a_mistake_that_training_explains(tmp_path, capfd):
    """The real launcher: the mixture is missing a stage."""
    write_run(str(tmp_path), {"other": (32, 40)}, tokenizer_json=TOKENIZER)
    settings, path = small_run(tmp_path, 1)
    with pytest.raises(RunError, match="pretrain ended with status"):
        ModelSteps(str(tmp_path), Console(quiet=True)).pretrain(settings, path, None)
    said = capfd.readouterr().err
    assert "correct the stage's name" in said and "Traceback" not in said


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
