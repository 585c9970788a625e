"""The first rank's side of RL: from the newest weights to the record of an iteration.

    rollouts = Rollouts(settings, problems, chat, folder)
    rollouts.state = about["state"]                       # after a restart
    rollouts.collect(12, weights_folder, version, stopped, show)
    rollouts.close()

Generator and judges are started with the first iteration that needs them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mixtures.chat import Chat
from pipeline.errors import RequestError
from training.rl.easy_pool import EasyPool
from training.rl.engine import Collected, RolloutEngine
from training.rl.generate import Generator
from training.rl.groups import advantages, pass_rate
from training.rl.record import Page, iteration_path, write_iteration
from training.rl.reward import accuracy, graded, random_reward
from training.rl.scheduler import Rules, Scheduler
from training.rl.settings import RLSettings
from training.rl.trajectory import RLProblem, Trajectory

if TYPE_CHECKING:
    from synth.verify.check import Checked

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
UNDECIDED = 0.05  # share of the answers above which there is a warning


class Rollouts:
    """Draws problems, has them answered and judged, and writes what came of it.

    context: the model's; an answer gets what its prompt leaves of it unless the settings say less. Raises `RequestError`
    when a prompt leaves no room, and when there are programs to judge on a machine that has no sandbox for them.
    """

    def __init__(
        self, settings: RLSettings, problems: Sequence[RLProblem], chat: Chat, folder: Path, context: int
    ) -> None:
        self.settings, self.problems, self.chat, self.folder = settings, problems, chat, folder
        longest = max(problems, key=lambda problem: len(problem.prompt_tokens))
        left = context - len(longest.prompt_tokens)
        self.max_tokens = settings.max_tokens or context
        if left < (settings.max_tokens or 1):
            raise RequestError(
                f"{settings.section}.max_tokens = {settings.max_tokens}: the model has a context of {context}, and the "
                f"prompt of {longest.id} takes {len(longest.prompt_tokens)} of it; set at most {max(left, 1)}, or "
                "leave long problems out"
            )
        self.context = min(context, len(longest.prompt_tokens) + self.max_tokens)
        if any(problem.check["kind"] == "code" for problem in problems):
            from synth.verify.isolation import sandbox  # on this rank only, as all that judges

            if reason := sandbox.unavailable():
                raise RequestError(
                    f"{settings.section}.problems: there are programs to judge, and none may run here. {reason}\n"
                    "(Not in RL.) Or leave out the problems of the kind code."
                )
        rules = Rules.preset(
            settings.schedule,
            settings.groups,
            settings.group_size,
            filter=settings.filter,
            most_groups=math.ceil(settings.most_groups * settings.groups),
        )
        self.scheduler = Scheduler(rules)
        self.easy = EasyPool(len(problems), settings.alpha, settings.seed)
        self.number = {problem.id: number for number, problem in enumerate(problems)}
        # A program's tests are run up to the first that fails, unless each of them may earn something.
        graded_reward = settings.reward in ("strict", "soft")
        self.every_test = graded_reward or all(problem.check["kind"] != "code" for problem in problems)
        self._runner = asyncio.Runner()
        self._generator: Generator | None = None
        self._engine: RolloutEngine | None = None
        self._pool: Any = None

    @property
    def state(self) -> dict[str, Any]:
        """Of scheduler and easy pool, between iterations, as JSON takes it."""
        return {"scheduler": self.scheduler.state_dict(), "easy": self.easy.state_dict()}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        self.easy.load_state_dict(state["easy"])

    def collect(
        self, iteration: int, weights: Path, version: int, stopped: Sequence[int], show: Callable[[int], None]
    ) -> bool:
        """Rolls out one iteration with the weights of a model folder and writes its record.

        stopped: becomes true when it is to end early: then what is judged stays in the page, and the answer is False.
        show: is called with the number of answers judged, several times a second.
        """
        path = iteration_path(self.folder, iteration)
        page = Page(path)
        judged = len(page.known)

        def note(trajectory: Trajectory) -> None:
            nonlocal judged
            page.append(trajectory)
            judged += 1

        async def iterate(engine: RolloutEngine) -> Collected:
            if version > self.scheduler.version:
                await engine.update_weights(weights, version)
            return await engine.collect()

        async def watch(work: Coroutine[Any, Any, Collected]) -> Collected | None:
            task = asyncio.create_task(work)
            while not task.done():
                await asyncio.wait([task], timeout=POLL_SECONDS)
                show(judged)
                if stopped and not task.done():
                    task.cancel()
                    await asyncio.wait([task])
                    return None
            return task.result()

        self.easy.begin(iteration)
        try:
            engine = self._ready(weights, version)
            engine.on_finished, engine.known = note, dict(page.known)
            collected = self._runner.run(watch(iterate(engine)))
        except BaseException:
            page.close(remove=False)
            raise
        if collected is None:
            page.close(remove=False)
            return False
        self._write(path, iteration, collected, list(engine.known.values()))
        page.close(remove=True)
        return True

    def close(self) -> None:
        """Ends generator and judges."""
        if self._generator is not None:
            self._runner.run(self._generator.close())
        if self._pool is not None:
            self._pool.close()
        self._runner.close()

    def _ready(self, weights: Path, version: int) -> RolloutEngine:
        """The engine; a new one with these weights in its generator."""
        settings = self.settings
        if self._engine is not None:
            return self._engine
        if version > self.scheduler.version:
            self.scheduler.weights_updated(version)
        from synth.verify.check_pool import CheckPool  # what judges is loaded on this rank only

        self._pool = CheckPool(settings.judges, seconds=settings.judge_seconds)
        self._generator = self._make_generator(weights)
        self._engine = RolloutEngine(
            self._generator,
            self._pool,
            self.scheduler,
            lambda group: self.problems[self.easy.draw(group)],
            self._reward,
            text=self.chat.text,
            max_tokens=self.max_tokens,
            context=self.context,
            temperature=settings.temperature,
            every_test=self.every_test,
            seed=settings.seed,
        )
        return self._engine

    def _make_generator(self, weights: Path) -> Generator:
        settings, options = self.settings, self.settings.generator_options
        on_gpu = torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "") not in ("1", "true")
        kind = settings.generator
        if kind == "auto":
            kind = "vllm" if on_gpu and importlib.util.find_spec("vllm") else "torch"
        shared: dict[str, Any] = {
            "stops": self.chat.stops,
            "slots": min(settings.slots, settings.groups * settings.group_size),
            "context": self.context,
        }
        make: Callable[..., Generator]
        if kind == "torch":
            from training.rl.generate_torch import TorchGenerator

            make = TorchGenerator
            own = {"device": "cuda" if on_gpu else "cpu"} | options
        else:
            if importlib.util.find_spec("vllm") is None:
                raise RequestError(
                    f"{settings.section}.generator = 'vllm': vLLM is not installed; choose torch"
                )
            from training.rl.generate_vllm import VLLMGenerator

            make = VLLMGenerator
            own = options | {"log": self.folder / "generator.log"}
            if on_gpu:  # the trainer lives on the same device
                own["options"] = {"gpu_memory_utilization": 0.4} | options.get("options", {})
        try:
            inspect.signature(make).bind(weights, **shared, **own)
        except TypeError as error:
            raise RequestError(f"{settings.section}.generator_options: {error}") from None
        return make(weights, **shared, **own)

    def _reward(self, checked: Checked, problem: RLProblem, trajectory: Trajectory) -> float | None:
        kind = self.settings.reward
        passed = None if checked.verdict.verdict == "undecided" else checked.verdict.passed
        if kind == "random":
            return random_reward(self.settings.seed, trajectory.group, trajectory.member)
        if kind == "accuracy":
            return accuracy(passed)
        return graded(kind, passed, checked.passes, problem.levels, problem.level_scores)

    def _write(self, path: Path, iteration: int, collected: Collected, left: list[Trajectory]) -> None:
        """left: answers of an earlier sitting that were not needed: their groups were not started again."""
        answers, fates = [*collected.answers, *left], dict(collected.fates)
        fates |= {one.group: "aborted" for one in left}
        by_group: dict[int, list[Trajectory]] = {}
        for one in answers:
            by_group.setdefault(one.group, []).append(one)
        gains: dict[tuple[int, int], float] = {}
        for group, problem in sorted(collected.problems.items()):
            number, members = self.number[problem.id], by_group[group]
            if fates[group] == "aborted":
                self.easy.unseen(number)
            elif (
                self.settings.reward != "random"
            ):  # the control does not look at answers: its pool stays empty
                passes = [one.passed for one in members]
                rate = pass_rate(passes)
                # With undecided answers it is not known to be solved, however right the others are.
                self.easy.observe(number, None if rate == 1 and None in passes else rate)
            if fates[group] == "trained":
                gains |= self._advantages(members)
        statistics = collected.statistics
        ended = [
            one for one in answers if fates[one.group] != "aborted"
        ]  # whole groups: no length is left out
        trained = [one for one in ended if fates[one.group] == "trained"]
        row = {
            "rollout_seconds": statistics["seconds"],
            "reward": _mean([one.reward for one in ended]),
            "pass_rate": _mean([one.passed for one in ended]),
            "reward_trained": _mean([one.reward for one in trained]),
            "pass_rate_trained": _mean([one.passed for one in trained]),
            "length": _mean([len(one.tokens) for one in ended]),
            "length_max": max((len(one.tokens) for one in ended), default=0),
            "truncated": _mean([one.finish_reason == "length" for one in ended]),
            "undecided": _mean([one.reward is None for one in ended]),
            "short": collected.short,
            **{
                name: int(statistics[name])
                for name in (
                    "groups_started",
                    "groups_trained",
                    "groups_filtered",
                    "groups_aborted",
                    "groups_surplus",
                )
            },
            **{
                fate: count
                for fate, count in sorted(Counter(collected.fates.values()).items())
                if "_" in fate
            },
            "tokens_generated": int(statistics["tokens_generated"]),
            "waste": statistics["waste"],
            "idle": statistics["idle"],
            "easy_pool": len(self.easy),
            "easy_drawn": self.easy.drawn,
            "easy_returned": self.easy.returned,
        }
        if row["undecided"] > UNDECIDED:
            reasons = Counter(str(one.reason) for one in ended if one.reward is None)
            log.warning(
                "iteration %d: %.0f %% of the answers could not be judged and train nothing, most often: %s (column "
                "reason of %s)",
                iteration,
                100 * row["undecided"],
                reasons.most_common(1)[0][0],
                path,
            )
        about = {"row": row, "state": self.state, "statistics": statistics}
        prompts = {group: problem.prompt for group, problem in collected.problems.items()}
        write_iteration(path, iteration, answers, fates, gains, prompts, about)

    def _advantages(self, members: list[Trajectory]) -> dict[tuple[int, int], float]:
        """Of the members with a loss. A masked one counts in its group's mean and deviation all the same: whether an
        answer was cut off must not change what the others are compared with."""
        gains = advantages([one.reward for one in members], self.settings.advantage)
        return {
            (one.group, one.member): gain
            for one, gain in zip(members, gains, strict=True)
            if gain is not None and not (self.settings.truncated == "mask" and one.finish_reason == "length")
        }


def _mean(values: Sequence[float | bool | None]) -> float:
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known else 0.0
