"""What follows the mixtures: training, export, its check, fine-tuning, RL, evaluation, the report.

Each step is a program of its own with files in the run's folder; `steps.json` remembers what each was made from and
what came out. A step is skipped while both are the same. A training that was cut short goes on from its newest
checkpoint; one that was begun from another mixture, model or schedule is set aside, never deleted.

The key of a training holds the recipe's decisions and its data, and deliberately not the trainer's code: a
better log line must not throw away weeks of training. Who changes what it computes trains again with `--restart`. Nor
does it hold what only rounds sums differently: ranks, threads, versions of libraries; of pre-training and RL micro-batches
as well.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from pipeline import storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError, RunError
from pipeline.models import sha256_of
from pipeline.server import devices, gpus
from pipeline.stage import source_digest
from training.rl.settings import RLSettings
from training.settings import Settings, SFTSettings

if TYPE_CHECKING:
    from reasonmill.evaluate import Asking, Benchmark

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


class Evaluate(BaseModel):
    """How often models are right: `reasonmill evaluate`, written to RUN/evaluation. The first is what others are
    compared with."""

    model_config = ConfigDict(extra="forbid")

    models: dict[str, str] = Field(
        {"Base": "model", "SFT": "sft/model", "RL-Zero": "rl-zero/model", "RL": "rl/model"},
        min_length=1,
        description="name → model folder, below the run's folder or anywhere",
    )
    benchmarks: list[str] = Field([], description="NAME=FILE[:COUNT], problem sets in a published format")
    suite: str | None = Field(
        None,
        description="mimo: the benchmarks of MiMo-7B's report, each with its own samples and longest answer",
    )
    data: str = Field("benchmarks", description="folder with the files of the suite")
    only: list[str] = Field([], description="of the suite only these")
    gym: list[str] = Field([], description="DATASET:option=value,…, tasks that reasoning-gym draws")
    samples: int = Field(1, gt=0, description="answers to each problem")
    k: list[int] = Field([], description="also pass@k")
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(32_768, gt=0, description="longest answer; less where the context cannot hold it")
    prompt: str | None = Field(
        None, description="words around every problem: bare, brief, maths …; default: what its kind asks for"
    )
    vllm_options: dict[str, Any] = Field({}, description="of the vLLM that is started for each model")


def evaluated(options: Evaluate) -> tuple[list[Benchmark], Asking]:
    """What models are asked, and how. Raises `RequestError`."""
    from reasonmill import evaluate as evaluation

    parse = (options.samples, options.max_tokens)
    benchmarks = [evaluation.parse_benchmark(text, *parse) for text in options.benchmarks]
    benchmarks += [evaluation.parse_gym(text, *parse) for text in options.gym]
    if options.suite is not None:
        benchmarks += evaluation.suite(options.suite, options.data, options.only)
    asking = evaluation.Asking(
        temperature=options.temperature,
        top_p=options.top_p,
        prompt=options.prompt,
        vllm_options=options.vllm_options,
    )
    return benchmarks, asking


def check_evaluation(options: Evaluate) -> None:
    """Whether it can be done once the models are there. Raises `RequestError`."""
    from reasonmill import evaluate as evaluation

    benchmarks, asking = evaluated(options)
    models = [evaluation.Model(name, model) for name, model in options.models.items()]
    evaluation.check(models, benchmarks, asking, options.k)


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
        self.check_request("pretrain", settings)
        decisions = settings.decisive() | {"precision": settings.precision}
        key = _key(decisions, self._digest("mixture"), self._digest("tokenizer"))

        def told(log: dict[str, Any]) -> str:
            return f"{log['tokens']:,} tokens in {log['steps']:,} steps, {log['parameters']:,} parameters"

        return self._train(
            "pretrain", key, "training.pretrain", [], self.folder / "pretrain", recipe, launch, told
        )

    def sft(self, settings: SFTSettings, recipe: Path, launch: list[str] | None) -> bool:
        """Fine-tune RUN/model (or another) on the dataset `sft_mixture`; RUN/sft/model comes out."""
        self.check_request("sft", settings)
        said = {name: value for name, value in settings.said.items() if name != "checkpoints"}
        key = _key(said, self._digest("sft_mixture"), self._model_digest("sft", settings.model))

        def told(log: dict[str, Any]) -> str:
            return f"{log['tokens']:,} tokens in {log['steps']:,} steps → {self.folder / 'sft' / 'model'}"

        return self._train("sft", key, "training.sft", [], self.folder / "sft", recipe, launch, told)

    def reinforce(self, settings: RLSettings, recipe: Path, launch: list[str] | None) -> bool:
        """Reinforcement learning as a section of the recipe says; its folder's model/ comes out."""
        self.check_request(settings.section, settings)
        problems = Dataset.open(settings.problems).digest
        decisions = settings.decisive() | {"iterations": settings.iterations}
        key = _key(decisions, problems, self._model_digest(settings.section, settings.model))
        folder, options = Path(settings.output).absolute(), ["--section", settings.section]

        def told(log: dict[str, Any]) -> str:
            return (
                f"{log['iterations']:,} iterations, {log['tokens']:,} tokens trained on → {folder / 'model'}"
            )

        return self._train(settings.section, key, "training.rl", options, folder, recipe, launch, told)

    def evaluate(self, options: Evaluate) -> bool:
        """How often the models are right; the table is RUN/evaluation/results.json."""
        from reasonmill import evaluate as evaluation

        folders = {name: self._place(model) for name, model in options.models.items()}
        models = [evaluation.parse_model(f"{name}={folder}", ()) for name, folder in folders.items()]
        benchmarks, asking = evaluated(options)
        files = {b.file: sha256_of(b.file) for b in benchmarks if b.file is not None}
        sources = source_digest("reasonmill.evaluate")
        key = _key(options.model_dump(), [model.sha256 for model in models], files, sources)
        target = self.folder / "evaluation"

        def work() -> str:
            results = evaluation.evaluate(
                models, benchmarks, str(target), asking, k=options.k, console=self.console
            )
            return (
                f"{len(models)} models, {len(benchmarks)} benchmarks, {len(results['rows'])} rows in {target}"
            )

        return self._step("evaluate", key, target / "results.json", work)

    def check_request(self, section: str, settings: Settings | SFTSettings | RLSettings) -> None:
        """What training would be refused for, found before anything is paid for. Raises `RequestError`."""
        absent = [name for name in ("torch", "accelerate", "tqdm") if importlib.util.find_spec(name) is None]
        if absent:
            raise RequestError(
                f"{section}: {', '.join(absent)} not installed; install reasonmill with the extra `train`, or leave "
                f"`{section}` and what follows it out of the recipe"
            )
        places = {"output": (settings.output, self.folder / section.replace("_", "-"))}
        if not isinstance(settings, RLSettings):
            places["data"] = (settings.data, self.folder)
        for name, (said, own) in places.items():
            if not storage.is_local(said) or Path(said).absolute() != own:
                raise RequestError(
                    f"{section}.{name} = {said!r}: a whole run trains on its own data in its own folder, {own}; leave "
                    f"this field out, or launch this training by itself"
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

    def _train(
        self,
        name: str,
        key: str,
        module: str,
        options: list[str],
        folder: Path,
        recipe: Path,
        launch: list[str] | None,
        told: Callable[[dict[str, Any]], str],
    ) -> bool:
        """One training in a folder of its own. `told` makes a line of its run.json."""

        def work() -> str:
            arguments = accelerate_arguments() if launch is None else launch
            # Quiet, or a mistake that training explains is followed by a traceback of accelerate.
            command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *arguments]
            # Training itself knows best whose checkpoints these are: the last run may have died before it set them aside.
            said = ["--config", str(recipe), *options, "--restart-if-changed"]
            self._launch(name, [*command, "-m", module, *said])
            return told(storage.read_json(str(folder / "run.json")))

        models = [] if name == "pretrain" else [folder / "model" / "config.json"]
        return self._step(name, key, folder / "run.json", work, models)

    def _place(self, model: str) -> Path:
        """A model's folder; a relative path is below the run's folder if it is there."""
        below = self.folder / model
        return below if below.exists() else Path(model).expanduser()

    def _model_digest(self, section: str, model: str) -> str:
        if not (Path(model) / "config.json").exists():
            raise RequestError(
                f"{section}: there is no model in {model}; put the step that makes it into the recipe (export, sft), or "
                f"name another with {section}.model"
            )
        return sha256_of(model)

    def _step(
        self, name: str, key: str, result: Path, work: Callable[[], str], needed: Sequence[Path] = ()
    ) -> bool:
        """needed: files besides the result that must be there, or the work is done again."""
        before = self.steps.get(name, {})
        there = result.exists() and all(path.exists() for path in needed)
        if before.get("key") == key and there and before.get("result") == _digest_of(result):
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
