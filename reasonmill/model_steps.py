"""What follows the mixtures: training, export, the check of the export, the report.

Each step is a program of its own with files in the run's folder; `steps.json` remembers what each was made from and
what came out. A step is skipped while both are the same. A training that was cut short goes on from its newest
checkpoint; one that was begun from another mixture or another schedule is set aside, never deleted.

The key of `pretrain` holds the recipe's decisions, mixture and tokenizer, and deliberately not the trainer's code: a
better log line must not throw away weeks of training. Who changes what it computes trains again with `--restart`. Nor
does it hold what only rounds sums differently: ranks, threads, micro-batches, versions of libraries.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from pipeline import storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError, RunError
from pipeline.models import sha256_of
from pipeline.server import devices, gpus
from pipeline.stage import source_digest
from training.settings import Settings

KEEPER = Path(storage.__file__).with_name("keeper.py")
GRACE = 600.0  # seconds a stopped training has to write its checkpoint


class Export(BaseModel):
    """The Hugging Face folder that is made of the last checkpoint: RUN/model."""

    model_config = ConfigDict(extra="forbid")

    dtype: Literal["bfloat16", "float16", "float32"] = Field("bfloat16", description="of the written weights")


class Check(BaseModel):
    """Greedy answers of the export: our forward pass, stock vLLM, and stock vLLM with MTP must agree."""

    model_config = ConfigDict(extra="forbid")

    prompts: list[str] | None = Field(
        None, min_length=1, description="texts to go on from; default: a few of ours"
    )
    new_tokens: int = Field(48, gt=0, description="tokens to generate for each prompt")


class ModelSteps:
    """The steps of one run folder, in order. `run` prints a line for each, as stages do."""

    def __init__(self, folder: str, console: Console) -> None:
        if not storage.is_local(folder):
            raise RequestError(
                f"{folder}: training writes checkpoints, which needs a local or mounted folder. Leave `pretrain` out of "
                "the recipe and launch it by itself, with `data` naming this folder and `output` a local one."
            )
        self.folder, self.console = Path(folder).absolute(), console
        self.path = self.folder / "steps.json"
        self.steps: dict[str, dict[str, Any]] = (
            json.loads(self.path.read_text()) if self.path.exists() else {}
        )

    def pretrain(self, settings: Settings, recipe: Path, launch: list[str] | None) -> bool:
        """Train as the recipe file says. Returns whether anything was done."""
        self.check_request(settings)
        decisions = settings.decisive() | {"precision": settings.precision}
        key = _key(decisions, self._digest("mixture"), self._digest("tokenizer"))

        def work() -> str:
            arguments = accelerate_arguments() if launch is None else launch
            # Quiet, or a mistake that training explains is followed by a traceback of accelerate.
            command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *arguments]
            # Training itself knows best whose checkpoints these are: the last run may have died before it set them aside.
            options = ["--config", str(recipe), "--restart-if-changed"]
            self._launch("pretrain", [*command, "-m", "training.pretrain", *options])
            log = storage.read_json(str(self.folder / "pretrain" / "run.json"))
            return f"{log['tokens']:,} tokens in {log['steps']:,} steps, {log['parameters']:,} parameters"

        return self._step("pretrain", key, self.folder / "pretrain" / "run.json", work)

    def check_request(self, settings: Settings) -> None:
        """What training would be refused for, found before anything is paid for. Raises `RequestError`."""
        absent = [name for name in ("torch", "accelerate", "tqdm") if importlib.util.find_spec(name) is None]
        if absent:
            raise RequestError(
                f"pretrain: {', '.join(absent)} not installed; install reasonmill with the extra `train`, or leave "
                "`pretrain`, `export` and `check` out of the recipe"
            )
        for name, said, own in (
            ("data", settings.data, self.folder),
            ("output", settings.output, self.folder / "pretrain"),
        ):
            if not storage.is_local(said) or Path(said).absolute() != own:
                raise RequestError(
                    f"pretrain.{name} = {said!r}: a whole run trains on its own mixture in its own folder, {own}; leave "
                    "this field out, or launch training.pretrain by itself"
                )

    def export(self, options: Export) -> bool:
        """The newest checkpoint as a Hugging Face folder."""
        checkpoints = self.folder.glob("pretrain/checkpoints/step-*/checkpoint.json")
        newest = max(checkpoints, key=lambda path: int(path.parent.name.removeprefix("step-")), default=None)
        weights = (
            storage.sha256(newest.read_bytes()) if newest else None
        )  # it tells the time: no two are alike
        key = _key(weights, self._digest("tokenizer"), options.model_dump(), source_digest("training.export"))
        target = self.folder / "model"

        def work() -> str:
            command = [sys.executable, "-m", "training.export", "--pretrain", str(self.folder / "pretrain")]
            tokenizer = ["--tokenizer", str(self.folder / "tokenizer"), "--dtype", options.dtype]
            self._launch("export", [*command, *tokenizer, "--output", str(target)], echo=False)
            size = sum(file.stat().st_size for file in target.iterdir())
            return f"{target}, {size / 1e6:,.1f} MB"

        return self._step("export", key, target / "config.json", work)

    def check(self, options: Check) -> bool:
        """Compare the export's greedy answers with those of vLLM."""
        from reasonmill.check_export import check_export, show

        model, target = self.folder / "model", self.folder / "check.json"
        missing = None  # of vLLM: once it is there, the check is made
        try:
            devices()
        except RequestError as error:
            missing = str(error)
        source = source_digest("reasonmill.check_export")
        key = _key(sha256_of(str(model)), options.model_dump(), source, missing)

        def work() -> str:
            result = check_export(str(model), options.prompts, new_tokens=options.new_tokens, output=target)
            show(result, self.console)
            if result.equal is not None and not result.passed:
                raise RunError(
                    f"the exported model answers differently in vLLM; {target} says where. It is not to be trusted."
                )
            if result.equal is None:
                return f"nothing compared: {result.missing}"
            line = f"{result.prompts} prompts, {result.new_tokens} tokens each, as in vLLM"
            if ties := len(result.differences):
                line += f" but for {ties} ties"
            if result.acceptance is not None:
                line += f", acceptance of MTP's tokens {result.acceptance:.1%}"
            return line

        return self._step("check", key, target, work)

    def report(self) -> bool:
        """The page about all of it."""
        from reasonmill.report import write_report

        page = self.folder / "report.html"
        said = [*sorted(self.folder.glob("*/manifest.json")), self.folder / "recipe.yaml"]
        digests = [storage.sha256(path.read_bytes()) for path in said if path.exists()]
        done = {name: step for name, step in self.steps.items() if name != "report"}
        key = _key(digests, done, source_digest("reasonmill.report"))
        return self._step("report", key, page, lambda: str(write_report(str(self.folder))))

    def _step(self, name: str, key: str, result: Path, work: Callable[[], str]) -> bool:
        before = self.steps.get(name, {})
        if before.get("key") == key and result.exists() and before.get("result") == _digest_of(result):
            self.console.print(f"{name:<14} {before['line']}  finished before")
            return False
        self._remember(name, {"key": key})
        started = time.monotonic()
        line = work()
        seconds = round(time.monotonic() - started, 1)
        ended = {"seconds": seconds, "ended": round(time.time()), "result": _digest_of(result)}
        self._remember(name, {"key": key, "line": line, **ended})
        self.console.print(f"{name:<14} {line}  {seconds:.1f} s")
        return True

    def _remember(self, name: str, step: dict[str, Any]) -> None:
        self.steps[name] = step
        storage.write_json(str(self.path), self.steps)

    def _digest(self, name: str) -> str:
        return Dataset.open(str(self.folder / name)).digest

    def _launch(self, name: str, command: list[str], *, echo: bool = True) -> None:
        """Run a program that ends with this process, however that ends. Raises `RunError` when it fails."""
        # On a CPU that others use as well, threads that spin while they wait cost four fifths of the speed.
        environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
        environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        keeper = [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid()), str(GRACE), "all", *command]
        status = None
        process = subprocess.Popen(
            keeper,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("the process ended with status "):
                    status = int(line.rsplit(" ", 1)[1])
                elif echo:
                    self.console.print(line.rstrip(), markup=False)
        except BaseException:
            process.terminate()  # the keeper hands it on; training then writes a checkpoint
            raise
        finally:
            process.wait()
        if status == 2:
            raise RequestError(f"{name} was refused; what is wrong stands above")
        if status != 0:
            raise RunError(
                f"{name} ended with status {status}; what it said stands above. What is finished is kept: the same command goes on."
            )


def accelerate_arguments() -> list[str]:
    """Arguments of `accelerate launch` that use this machine: all its GPUs, or all cores of its CPU."""
    devices = len(gpus())
    common = ["--num_machines", "1", "--dynamo_backend", "no", "--mixed_precision", "no"]
    if not devices:
        cores = len(os.sched_getaffinity(0))
        return [*common, "--cpu", "--num_processes", "1", "--num_cpu_threads_per_process", str(cores)]
    several = ["--multi_gpu"] if devices > 1 else []
    return [*common, *several, "--num_processes", str(devices)]


def _digest_of(result: Path) -> str | None:
    return storage.sha256(result.read_bytes()) if result.exists() else None


def _key(*parts: Any) -> str:
    return storage.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
