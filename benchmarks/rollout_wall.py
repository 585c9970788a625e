"""The ladder of the rollout scheduler by the clock: real engine, real generator (vLLM), forced lengths and verdicts.

    python benchmarks/rollout_wall.py [--iterations 5] [--generator vllm|torch] [--seed 0]

Measured is all of `training/rl/engine.py` with one vLLM process on this machine's CPU and a model of MiMo's shape with
two layers. Lengths, verdicts and judge times come from the workload that the simulated ladder uses: group 17 is the
same group in every arm, every answer is exactly as long as the workload says (no token stops it, `max_tokens` does),
so arms differ in nothing but what they start and when. Judging sleeps for its time in a thread: with two cores, judges
that compute would take them from the generator, which on a cluster they do not. The arms take turns, iteration by
iteration, so that what else the machine does hits all of them.

"simulated" is the same workload and rules in `training/rl/simulate.py` with one engine and the time of a step
measured here at the start (two batch sizes, a straight line between them); "tokens" are all that were generated,
"CPU" the seconds of processor time of generator and engine together. Waste, idle and empty as
`training.rl.engine.RolloutEngine` defines them. Training is left out: these are times of rollout alone.

Measured with three iterations on a busy machine (load 16 on two cores; trust the CPU column more):
naive 122 s, continuous 2.4 times as fast, asynchronous 2.3, early termination 2.0 (simulated 1.9, 1.9, 2.0), CPU time
of naive 1.7 times that of each of these. With batches this small early termination gains nothing over asynchronous
reward: what it saves in waiting it spends on groups that it aborts (waste 30 % against 21 %).

What to expect: less gain than on a cluster. One engine cannot stand still while another works, and on a CPU a step
costs nearly as much as its answers, so that a full batch is worth less than on a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from tokenizers import Tokenizer, models

from synth.verify.check import Checked
from synth.verify.verdict import right, wrong
from training.export import export
from training.model import MiMo
from training.model_config import model_config
from training.rl.engine import Collected, RolloutEngine
from training.rl.generate import Generated, Generator
from training.rl.scheduler import Rules, Scheduler
from training.rl.simulate import Cluster, Synthetic, simulate
from training.rl.trajectory import RLProblem

WANTED, SIZE, SLOTS, JUDGES = 12, 4, 48, 4
ARMS = {
    "without dynamic sampling": Rules.preset("static", WANTED, SIZE),
    "naive dynamic sampling": Rules.preset("naive", WANTED, SIZE),
    "naive, 1.5 times": Rules.preset("naive", WANTED, SIZE, oversample=1.5),
    "+ continuous rollout": Rules.preset("continuous", WANTED, SIZE),
    "+ asynchronous reward": Rules.preset("asynchronous_reward", WANTED, SIZE),
    "+ early termination": Rules.preset("seamless", WANTED, SIZE),
}
NAIVE = "naive dynamic sampling"


class Forced:
    """A generator whose answers are as long as the workload says."""

    def __init__(self, inner: Any, workload: Synthetic) -> None:
        self.inner, self.workload, self.slots = inner, workload, inner.slots

    async def generate(
        self, request_id: str, prompt_tokens: Sequence[int], *, max_tokens: int, temperature: float, seed: int
    ) -> Generated:
        group, member, _ = (int(part) for part in request_id.split("-"))
        length = int(self.workload.answers(group, SIZE).lengths[member])
        options: dict[str, Any] = {"max_tokens": length, "temperature": temperature, "seed": seed}
        found = await self.inner.generate(request_id, prompt_tokens, **options)
        assert found.finish_reason == "abort" or len(found.tokens) == length
        return found

    async def abort(self, request_id: str) -> None:
        await self.inner.abort(request_id)


class Sleeping:
    """Judges with the workload's verdicts, each after its time; a group's are given in the order they are asked for."""

    def __init__(self, workload: Synthetic) -> None:
        self.workload, self.threads = workload, ThreadPoolExecutor(JUDGES)
        self.given: defaultdict[int, int] = defaultdict(int)

    def submit(
        self, answer: str, check: dict[str, Any], finish_reason: str, every_test: bool = True
    ) -> Future[Checked]:
        group = check["group"]
        number, answers = self.given[group], self.workload.answers(group, SIZE)
        self.given[group] += 1
        return self.threads.submit(
            self._judge, bool(answers.passed[number]), float(answers.judge_seconds[number])
        )

    @staticmethod
    def _judge(passed: bool, seconds: float) -> Checked:
        time.sleep(seconds)
        return Checked(right() if passed else wrong("not_equal"), (passed,))


def tiny_model(folder: Path) -> Path:
    torch.manual_seed(0)
    config = model_config({"size": "tiny", "num_hidden_layers": 2}, vocab_size=1_024)
    tokenizer = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "a": 1}, unk_token="<|endoftext|>"))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return export(
        MiMo(config), tokenizer.to_str(), folder, dtype="float32", context=1_024, rope_theta=10_000.0
    )


def generator_of(kind: str, folder: Path) -> Any:
    if kind == "torch":
        from training.rl.generate_torch import TorchGenerator

        torch.set_num_threads(1)
        return TorchGenerator(tiny_model(folder / "model"), slots=SLOTS)
    from training.rl.generate_vllm import VLLMGenerator

    options = {"kv_cache_memory_bytes": 256 << 20}
    return VLLMGenerator(tiny_model(folder / "model"), slots=SLOTS, log=folder / "vllm.log", options=options)


async def step_seconds(generator: Generator) -> tuple[float, float]:
    """Of a step: a part whatever runs, and a part for each answer."""
    seconds = []
    for running in (4, SLOTS) * 2:
        began = time.monotonic()
        asked = [
            generator.generate(f"{n}", [1, 2, 3], max_tokens=100, temperature=1.0, seed=n)
            for n in range(running)
        ]
        await asyncio.gather(*asked)
        seconds.append((time.monotonic() - began) / 100)
    few, many = min(seconds[0::2]), min(seconds[1::2])
    each = max(many - few, 0) / (SLOTS - 4)
    return few - 4 * each, each


def cpu_seconds() -> float:
    """Of this process and all it started."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [own, *own.children(recursive=True)])


async def measure(
    generator: Any, workload: Synthetic, iterations: int, console: Console
) -> tuple[dict[str, list[Collected]], dict[str, float], tuple[float, float]]:
    """Per arm its iterations and its CPU-seconds, and the time of a step."""
    step = await step_seconds(generator)
    engines = {
        name: RolloutEngine(
            Forced(generator, workload),  # type: ignore[arg-type]  # weights stay as they are
            Sleeping(workload),
            Scheduler(rules),
            lambda group: RLProblem(f"{group}", (1, 2, 3), {"group": group}),
            lambda checked, problem, trajectory: float(checked.verdict.passed),
            text=lambda tokens: "",
            max_tokens=1,
        )
        for name, rules in ARMS.items()
    }
    found: dict[str, list[Collected]] = {name: [] for name in ARMS}
    cpu = dict.fromkeys(ARMS, 0.0)
    for iteration in range(iterations):
        for name, engine in engines.items():
            before = cpu_seconds()
            found[name].append(await engine.collect())
            cpu[name] += cpu_seconds() - before
            assert (
                engine.scheduler.started == sum(engine.scheduler.totals.values()) + engine.scheduler.in_flight
            )
        console.print(f"iteration {iteration + 1} of {iterations}", style="dim")
    await generator.close()
    return found, cpu, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--generator", choices=["vllm", "torch"], default="vllm")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    console = Console()
    workload = Synthetic(
        options.seed, median_length=60, most_tokens=400, code_seconds=0.3, maths_seconds=0.002
    )
    with tempfile.TemporaryDirectory() as folder:
        generator = generator_of(options.generator, Path(folder))
        found, cpu, step = asyncio.run(measure(generator, workload, options.iterations, console))

    cluster = Cluster(1, SLOTS, *step, judges=JUDGES, train_seconds=0.0)
    simulated = {
        name: simulate(rules, workload, cluster, options.iterations).rollout_seconds
        for name, rules in ARMS.items()
    }
    seconds = {name: sum(one.statistics["seconds"] for one in arm) for name, arm in found.items()}
    table = Table(
        title=f"{options.generator}, {options.iterations} iterations of {WANTED} groups of {SIZE}, {SLOTS} slots; a step "
        f"takes {1e3 * step[0]:.1f} ms + {1e3 * step[1]:.2f} ms an answer"
    )
    for heading in (
        "",
        "s",
        "speed-up",
        "simulated",
        "idle",
        "empty",
        "waste",
        "tokens",
        "CPU s",
        "tokens/s",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    for name, arm in found.items():

        def mean(what: str, arm: list[Collected] = arm, total: float = seconds[name]) -> float:
            return sum(one.statistics[what] * one.statistics["seconds"] for one in arm) / total

        tokens = sum(one.statistics["tokens_generated"] for one in arm)
        thrown = sum(
            len(one.tokens)
            for it in arm
            for one in it.answers
            if it.fates[one.group] in ("surplus", "aborted")
        )
        trained = sum(one.statistics["tokens_trained"] for one in arm)
        table.add_row(
            name,
            f"{seconds[name]:.1f}",
            f"{seconds[NAIVE] / seconds[name]:.2f}",
            f"{simulated[NAIVE] / simulated[name]:.2f}",
            f"{mean('idle'):.0%}",
            f"{mean('empty'):.0%}",
            f"{thrown / (thrown + trained):.0%}",
            f"{tokens:.0f}",
            f"{cpu[name]:.1f}",
            f"{tokens / seconds[name]:.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
