"""`reasonmill evaluate`: models answer the problems of benchmarks, rules judge the answers, a table says how often right.

Each benchmark is a run folder of its own below the output, so that all of it can be queried, judged again and added to:

    DIR/aime2024/problems, rollouts, rollout_verdicts     every sample with its verdict
    DIR/results.json                                      the table (see reasonmill.evaluation_results)

The answers are in ledgers: stopped and started again, with a model or a benchmark more, only what is missing is asked.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from mixtures.problems import Problems
from mixtures.rollouts import Rollouts, RolloutVerdicts, RolloutVerdictsConfig
from pipeline import dataset, storage
from pipeline.asking import SAMPLING_AS_SAID
from pipeline.dataset import Dataset
from pipeline.errors import RequestError, RunError
from pipeline.ledger import Book, request_id
from pipeline.models import FOLDERS, KNOWN, cache_folder, model_folder, sha256_of
from pipeline.runner import Runner, RunOptions
from pipeline.server import context_of, start_servers
from reasonmill.evaluation_results import collect, show
from reasonmill.serving import speculation
from synth import prompts
from synth.asking import CHAT_TOKENS, drawn_number
from synth.windows import tokens

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
LEAST_ANSWER = 16  # tokens; a context that leaves less is too small for a benchmark's problems


@dataclass(frozen=True)
class Benchmark:
    """A set of problems in a file (count: so many of it, drawn by the seed), or tasks that reasoning-gym draws."""

    name: str
    file: str | None = None
    count: int | None = None
    gym: dict[str, dict[str, Any]] = field(default_factory=dict)  # dataset → options
    samples: int = 1
    max_tokens: int = 32_768


@dataclass(frozen=True)
class Model:
    """Who answers. model: a folder, a known name, or what a server calls it. sha256: None where only a server knows."""

    name: str
    model: str
    sha256: str | None = None
    context: int | None = None  # tokens of prompt and answer; None: unknown


@dataclass(frozen=True)
class Asking:
    """How they are asked. Temperature, top_p, seed, prompt and some of vLLM's options change what may be answered."""

    temperature: float = 0.6  # as the model card recommends, and the report evaluates
    top_p: float = 0.95
    seed: int = 0
    prompt: str | None = (
        None  # words around every problem, of synth.prompts.SOLVE; None: what its kind asks for
    )
    servers: tuple[str, ...] = ()  # addresses; none: vLLM is started on this machine
    api_key_env: str | None = None
    mtp: bool | None = None  # draft with the MTP block; None: where there is one
    vllm_options: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 256


# MiMo-7B's report (arXiv 2505.07608, tables 2 to 4): name → samples, longest answer, what the file holds. Left out, for
# want of a scorer here: DROP (F1 over 3 shots) and IF-Eval.
MIMO = {
    "math500": (1, 32_768, "MATH-500"),
    "aime2024": (32, 32_768, "AIME 2024, 30 problems"),
    "aime2025": (32, 32_768, "AIME 2025, 30 problems"),
    "livecodebench_v5": (8, 32_768, "LiveCodeBench v5, problems of 2024-08-01 to 2025-02-01"),
    "livecodebench_v6": (8, 32_768, "LiveCodeBench v6, problems of 2025-02-01 to 2025-05-01"),
    "gpqa_diamond": (8, 32_768, "GPQA-Diamond"),
    "supergpqa": (1, 32_768, "SuperGPQA"),
    "mmlu_pro": (1, 8_192, "MMLU-Pro, test split"),
}
SUITES = {"mimo": MIMO}


def evaluate(
    models: Sequence[Model],
    benchmarks: Sequence[Benchmark],
    output: str,
    asking: Asking | None = None,
    *,
    k: Sequence[int] = (),
    options: RunOptions | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Asks, judges, writes OUTPUT/results.json and prints its table; returns what it says.

    The first model is the one that the others are compared with. k: also pass@k, where a benchmark has as many samples.
    Raises `RequestError` before anything is asked for what cannot be; `RunError` when a server goes away, and
    for requests that failed: what was answered is kept then, and the same call asks the rest.
    """
    asking, options, console = asking or Asking(), options or RunOptions(), console or Console()
    check(models, benchmarks, asking, k)
    folders = {benchmark.name: storage.join(output, benchmark.name) for benchmark in benchmarks}
    for benchmark in benchmarks:
        _problems(benchmark, folders[benchmark.name], asking, options)
    stages = {b.name: [_asked(m, b, folders[b.name], asking, console) for m in models] for b in benchmarks}
    for number, model in enumerate(models):
        with _Servers(model, asking, max(s[number]["context"] for s in stages.values()), console) as servers:
            for benchmark in benchmarks:
                _rollouts(
                    folders[benchmark.name], stages[benchmark.name][: number + 1], asking, options, servers
                )
    for folder in folders.values():
        with Runner(folder, options) as runner:
            runner.run(RolloutVerdicts(RolloutVerdictsConfig(every_test=False)))
    results = collect(output, models, benchmarks, asking, k)
    storage.write_json(storage.join(output, "results.json"), results)
    show(results, console)
    console.print(
        f"{storage.join(output, 'results.json')}; every sample: reasonmill inspect {next(iter(folders.values()))} --samples 3"
    )
    return results


# ---- what is asked for ----


def parse_model(text: str, servers: Sequence[str]) -> Model:
    """`FOLDER`, a known name, or `NAME=FOLDER`; with servers, what they call it.

    A folder that is called "model" is named after the one it lies in: runs/demo/sft/model is "sft".
    """
    name, equals, model = text.partition("=")
    if not equals:
        model = text
        path = Path(text).expanduser().resolve()
        name = path.parent.name if path.name == "model" else path.name
        name = text.rsplit("/", 1)[-1] if servers or text in FOLDERS else name
    if servers:
        return Model(name, model)
    folder = model_folder(model)
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"{model}: no config.json in it; expected a model folder as transformers saves it."
        )
    return Model(name, model, sha256_of(model), context_of(str(folder)))


def parse_benchmark(text: str, samples: int, max_tokens: int) -> Benchmark:
    """`NAME=FILE` or `NAME=FILE:COUNT`."""
    name, equals, file = text.partition("=")
    if not equals:
        raise RequestError(f"--benchmark {text}: write NAME=FILE or NAME=FILE:COUNT")
    head, colon, count = file.rpartition(":")
    if colon and count.isdigit():
        return Benchmark(name, head, int(count), samples=samples, max_tokens=max_tokens)
    return Benchmark(name, file, samples=samples, max_tokens=max_tokens)


def parse_gym(text: str, samples: int, max_tokens: int) -> Benchmark:
    """`DATASET:option=value,option=value`, with `NAME=` before it where two benchmarks draw from one dataset."""
    head, _, options = text.partition(":")
    name, equals, data = head.partition("=")
    said: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, sign, value = option.partition("=")
        if not sign:
            raise RequestError(f"--gym {text}: write DATASET:option=value,option=value")
        said[key.strip()] = _value(value.strip())
    gym = {data if equals else name: said}
    return Benchmark(name, gym=gym, samples=samples, max_tokens=max_tokens)


def suite(name: str, folder: str, only: Sequence[str] = ()) -> list[Benchmark]:
    """The benchmarks of a named suite, each in a file of the folder that is called as it is, with any ending."""
    if name not in SUITES:
        raise RequestError(f"suite {name}: expected one of {', '.join(SUITES)}")
    wanted = SUITES[name]
    if unknown := set(only) - set(wanted):
        raise RequestError(f"--only {', '.join(sorted(unknown))}: the suite {name} has {', '.join(wanted)}")
    found, missing = [], []
    for benchmark, (samples, max_tokens, holds) in wanted.items():
        if only and benchmark not in only:
            continue
        files = sorted(Path(folder).glob(f"{benchmark}.*"))
        if files:
            found.append(Benchmark(benchmark, str(files[0]), samples=samples, max_tokens=max_tokens))
        else:
            missing.append(f"  {benchmark}.jsonl (or another ending): {holds}")
    if missing:
        raise RequestError(
            f"--suite {name}: benchmarks are not shipped; put these into {folder}, in a published format, or choose with "
            "--only:\n" + "\n".join(missing)
        )
    return found


def check(models: Sequence[Model], benchmarks: Sequence[Benchmark], asking: Asking, k: Sequence[int]) -> None:
    """Raises `RequestError` for what can be seen to be wrong before the models are there."""
    if not models:
        raise RequestError("there is no model to evaluate.")
    if not benchmarks:
        raise RequestError(
            "there is nothing to evaluate on; give --benchmark NAME=FILE, --gym DATASET or --suite."
        )
    for kind, names in (("model", [m.name for m in models]), ("benchmark", [b.name for b in benchmarks])):
        for name in names:
            if not NAME.fullmatch(name):
                raise RequestError(f"{kind} {name!r}: a name has letters, digits and . _ + -; write NAME=…")
            if names.count(name) > 1:
                raise RequestError(f"two {kind}s are called {name}: give one another name, as NAME=…")
    most = max(benchmark.samples for benchmark in benchmarks)
    if most > 1 and asking.temperature == 0:
        raise RequestError(
            f"{most} samples at temperature 0 would all be the same: take 1, or a higher temperature."
        )
    if k and max(k) > most:
        raise RequestError(
            f"pass@{max(k)} needs as many samples of each problem, there are {most}: raise --samples."
        )
    if asking.prompt is not None and asking.prompt not in prompts.SOLVE:
        raise RequestError(f"--prompt {asking.prompt}: expected one of {', '.join(prompts.SOLVE)}")
    for benchmark in benchmarks:
        if benchmark.file is not None and benchmark.file not in KNOWN and not Path(benchmark.file).exists():
            raise RequestError(f"benchmark {benchmark.name}: there is no file {benchmark.file}")
        _stage(benchmark, asking).check(None)


def _value(text: str) -> int | float | bool | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


# ---- the line ----


def _stage(benchmark: Benchmark, asking: Asking) -> Problems:
    """All problems that can be checked: a benchmark is taken as it is, its kinds, repetitions and references too."""
    source = benchmark.file or next(iter(benchmark.gym))
    config = Problems.Config(
        sets={benchmark.file: benchmark.count} if benchmark.file else {},
        gym=benchmark.gym,
        prompts={source: asking.prompt} if asking.prompt else {},
        # Not the seed that training sets are drawn by: a task of reasoning-gym is a function of seed and number.
        seed=drawn_number("evaluate", asking.seed) % 2**31,
        drop_kinds=[],
        duplicate_share=None,
        references=False,
    )
    return Problems(config)


def _problems(benchmark: Benchmark, folder: str, asking: Asking, options: RunOptions) -> None:
    with Runner(folder, options) as runner:
        found = runner.run(_stage(benchmark, asking))
    if not found.kept:
        source = benchmark.file or next(iter(benchmark.gym))
        why = (
            ", ".join(f"{count:,} {reason}" for reason, count in found.dropped.most_common()) or "it is empty"
        )
        raise RequestError(f"benchmark {benchmark.name}: no problem of {source} can be checked: {why}.")


def _asked(
    model: Model, benchmark: Benchmark, folder: str, asking: Asking, console: Console
) -> dict[str, Any]:
    """How this model is asked the problems of this benchmark: the fields of a `RolloutModel`.

    Where the context cannot hold the longest problem and the longest answer, answers are cut off earlier.
    """
    problems = Dataset.open(storage.join(folder, "problems"))
    longest = CHAT_TOKENS + max(
        math.ceil(tokens(prompt))
        for shard in problems.shards
        for prompt in dataset.read_shard(problems.shard_path(shard.name), ["prompt"])["prompt"].to_pylist()
    )
    context = min(model.context or sys.maxsize, benchmark.max_tokens + longest)
    most = min(benchmark.max_tokens, context - min(longest, context // 2))
    if most < min(LEAST_ANSWER, benchmark.max_tokens):
        raise RequestError(
            f"benchmark {benchmark.name}: the context of {model.name} ({context} tokens) is too small."
        )
    if most < benchmark.max_tokens:
        console.print(
            f"{benchmark.name}: answers of {model.name} end at {most:,} tokens instead of {benchmark.max_tokens:,}: its "
            f"context of {context:,} holds the problem too",
            style="yellow",
        )
    return {
        "name": model.name,
        "role": "evaluated",
        "model": model.model,
        "samples": benchmark.samples,
        "temperature": asking.temperature,
        "top_p": asking.top_p,
        "max_tokens": most,
        "context": max(256, context),
        "vllm_options": {} if asking.servers else dict(asking.vllm_options),
    }


def _rollouts(
    folder: str, asked: Sequence[dict[str, Any]], asking: Asking, options: RunOptions, servers: _Servers
) -> None:
    """Brings the ledger of one benchmark up to date for the models so far; the last of them is the one that is served."""

    def stage(addresses: Sequence[str]) -> Rollouts:
        # Those before have answered already; what they have not, `rollouts` would start a server for.
        served = {"server": list(addresses) or None, "api_key_env": asking.api_key_env}
        models = [one | (served if one is asked[-1] or asking.servers else {}) for one in asked]
        config = {"models": models, "seed": asking.seed, "concurrency": asking.concurrency}
        return Rollouts(Rollouts.Config.model_validate(config))

    with Runner(folder, options) as runner:
        addresses = servers.addresses() if _unanswered(folder, stage(asking.servers)) else asking.servers
        said = runner.run(stage(addresses))
    if said.failed:
        raise RunError(
            f"{said.failed.total():,} requests failed: see {storage.join(said.output, 'failed')}. What was answered is kept; "
            "run the same command again."
        )
    name, rollouts = asked[-1]["name"], Dataset.open(said.output)
    models = (dataset.read_shard(rollouts.shard_path(s.name), ["model"])["model"] for s in rollouts.shards)
    if not any(name in column.to_pylist() for column in models):
        reasons = dataset.read_shard(storage.join(said.output, "dropped", "00000.parquet"))["detail"]
        raise RequestError(f"{name}: every request was refused, such as: {reasons[-1].as_py()}")


def _unanswered(folder: str, stage: Rollouts) -> bool:
    """Whether anything has to be asked: only then is a server worth its start."""
    problems = Dataset.open(storage.join(folder, "problems"))
    for shard in problems.shards:
        stage.requests(dataset.read_shard(problems.shard_path(shard.name), ["problem_id", "prompt"]))
    wanted = {request_id(stage.name, request) for request in stage.own_requests()}
    place = storage.join(folder, stage.output, "_book")
    if not storage.exists(place):
        return True
    book = Book(place)
    book.close()
    return bool(wanted - book.rows.keys())


class _Servers:
    """The servers of one model, started when somebody asks for their addresses."""

    def __init__(self, model: Model, asking: Asking, context: int, console: Console) -> None:
        self.model, self.asking, self.context, self.console = model, asking, context, console
        self.running: list[Any] = []

    def addresses(self) -> Sequence[str]:
        if self.asking.servers:
            return self.asking.servers
        if not self.running:
            folder = str(model_folder(self.model.model))
            drafting = speculation(folder, self.asking.mtp)
            log = cache_folder() / "logs" / "vllm-evaluate.log"
            self.console.print(f"starting vLLM for {self.model.name} ({drafting.why}); its log is {log}")
            options = {"max_model_len": self.context, "max_num_seqs": min(256, self.asking.concurrency)}
            options |= SAMPLING_AS_SAID | drafting.options | dict(self.asking.vllm_options)
            self.running = start_servers(folder, options=options, log=log)
        return [server.base_url for server in self.running]

    def __enter__(self) -> _Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.running:
            server.stop()
