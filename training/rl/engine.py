"""The rollout engine: does what the `Scheduler` decides, with a real generator and real judges, under a real clock.

    engine = RolloutEngine(generator, pool, scheduler, draw, reward, text=chat.text, max_tokens=4096)
    with asyncio.Runner() as runner:                     # one event loop for all calls: groups may be carried over
        collected = runner.run(engine.collect())         # one iteration
        …                                                # train on collected.groups
        runner.run(engine.update_weights(folder, version=1))

One loop takes events (an answer is complete, a verdict is there, the generator died) and carries out the actions that
the scheduler answers with. Generation and judging never wait for each other, nor for this loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import RunError
from training.rl.generate import Generator, GeneratorLost
from training.rl.scheduler import Abort, Action, Judge, Scheduler, Select, Start
from training.rl.trajectory import RLProblem, Trajectory

if TYPE_CHECKING:
    from synth.verify.check import Checked

log = logging.getLogger(__name__)


class Judges(Protocol):
    """What the engine needs of `synth.verify.check_pool.CheckPool`."""

    def submit(
        self, answer: str, check: dict[str, Any], finish_reason: str, every_test: bool = True
    ) -> Future[Checked]: ...


@dataclass
class Collected:
    """One iteration. `statistics`: see `RolloutEngine`."""

    groups: list[list[Trajectory]]  # to train on, in the order they were started
    short: bool  # fewer than wanted
    fates: dict[int, str]  # of every group that met one, as the scheduler names them
    answers: list[Trajectory]  # of all these groups; what an abort cut off has the finish reason "abort"
    problems: dict[int, RLProblem]  # of these groups
    statistics: dict[str, float]


@dataclass
class _Answer:
    """A member under way or done."""

    trajectory: Trajectory
    attempt: int = 0  # of generating it; the generator may die
    generation: asyncio.Task[None] | None = None  # None: not under way
    judging: asyncio.Task[None] | None = None
    replayed: bool = False
    aborted: bool = False


class RolloutEngine:
    """Collects the groups of an iteration.

    draw: the problem of a group, by its number; asked once for each group. reward: of a verdict, its problem and the
    answer; None leaves the answer undecided. text: of generated tokens. max_tokens: of an answer; context: of it and its
    prompt together. every_test: judge all parts of a check even if one has failed (graded rewards need it). seed: of the
    run; an answer's own seed is a hash of it, the group, the member and the attempt.
    on_finished: is called with every trajectory as soon as it has its reward. known: trajectories that are already
    there, after a restart; they are replayed instead of generated. patience: seconds without any verdict after which
    answers that wait for theirs stay undecided. restarts: how often in a row a lost generator is brought back.

    Statistics of an iteration:
        seconds; tokens_generated; tokens_trained; answers; undecided; restarts (of the generator).
        groups_started; groups_trained, groups_surplus (valid, but not needed), groups_filtered, groups_aborted.
        waste: tokens of surplus and aborted groups ÷ these and those of trained ones. What a lost generator had
            generated is unknown and not in it.
        filtered: tokens of groups without a gradient ÷ all.
        idle: 1 − mean answers under way ÷ slots. empty: share of time in which none was.

    Raises `RunError` when the generator is lost for good.
    """

    def __init__(
        self,
        generator: Generator,
        pool: Judges,
        scheduler: Scheduler,
        draw: Callable[[int], RLProblem],
        reward: Callable[[Checked, RLProblem, Trajectory], float | None],
        *,
        text: Callable[[list[int]], str],
        max_tokens: int,
        context: int | None = None,
        temperature: float = 1.0,
        every_test: bool = True,
        seed: int = 0,
        on_finished: Callable[[Trajectory], None] | None = None,
        known: Mapping[tuple[int, int], Trajectory] | None = None,
        patience: float = 900.0,
        restarts: int = 3,
    ) -> None:
        self.generator, self.pool, self.scheduler = generator, pool, scheduler
        self.draw, self.reward, self.text, self.on_finished = draw, reward, text, on_finished
        self.max_tokens, self.context = max_tokens, context
        self.temperature, self.every_test = temperature, every_test
        self.seed, self.known, self.patience, self.restarts = seed, dict(known or {}), patience, restarts
        self._problems: dict[int, RLProblem] = {}
        self._groups: dict[int, list[_Answer]] = {}  # until they are handed over
        # Carried over and then too old: handed over with the next iteration.
        self._given_up: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[tuple[str, Any, Any]] = asyncio.Queue()
        self._epoch = 0  # of the generator; a restart begins another
        self._failures = 0  # losses of the generator in a row
        self._zero = time.monotonic()
        self._last_verdict = 0.0
        self._running = 0
        self._ticked = self._busy = self._empty = 0.0
        self._restarts = self._tokens_lost = 0

    async def collect(self) -> Collected:
        """One iteration, to the scheduler's `Select`."""
        began = self._ticked = self.clock()
        self._busy = self._empty = 0.0
        self._restarts = self._tokens_lost = 0
        started = self.scheduler.started
        try:
            actions = deque(self.scheduler.begin())
            while True:
                while actions:
                    action = actions.popleft()
                    if isinstance(action, Select):
                        return await self._select(action, began, self.scheduler.started - started)
                    await self._act(action)
                if not self._tasks and self._events.empty():
                    raise RuntimeError("the scheduler waits for an answer that nobody was asked for")
                actions.extend(await self._event(*await self._events.get()))
        except BaseException:
            await self._drop_all()
            raise

    async def update_weights(self, folder: Path, version: int) -> None:
        """The generator goes on with the weights of a model folder; groups that became too old are aborted."""
        actions: list[Action] = []
        while True:
            try:
                await self.generator.update_weights(folder)
                break
            except GeneratorLost as error:
                actions += await self._revive(error)
        for action in [*actions, *self.scheduler.weights_updated(version)]:
            await self._act(action)
            if isinstance(action, Abort):
                self._given_up[action.group] = "aborted"

    def clock(self) -> float:
        """Seconds since the engine was made."""
        return time.monotonic() - self._zero

    # ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _act(self, action: Action) -> None:
        if isinstance(action, Start):
            self._start(action.group, action.members)
        elif isinstance(action, Judge):
            answer = self._groups[action.group][action.member]
            answer.judging = self._task(self._judge(answer))
        elif isinstance(action, Abort):
            for answer in self._groups[action.group]:
                answer.aborted = True
                if answer.judging is not None:
                    answer.judging.cancel()
                if answer.generation is not None:
                    answer.trajectory.finish_reason = "abort"
                    await self.generator.abort(_request_id(answer))

    def _start(self, group: int, members: Iterable[int]) -> None:
        if group not in self._groups:
            problem = self._problems[group] = self.draw(group)
            prompt, version = list(problem.prompt_tokens), self.scheduler.version
            self._groups[group] = [
                _Answer(Trajectory(group, member, problem.id, prompt, [], [], "", version))
                for member in members
            ]
        for member in members:
            answer = self._groups[group][member]
            known = self.known.pop((group, member), None)
            if known is not None and known.problem_id == answer.trajectory.problem_id:
                answer.trajectory, answer.replayed = known, True
            elif known is not None:  # what draws problems has changed since
                log.warning(
                    "group %d member %d was answered before, but to problem %s; now %s is drawn, so it is answered anew",
                    group,
                    member,
                    known.problem_id,
                    answer.trajectory.problem_id,
                )
            if answer.replayed:
                self._events.put_nowait(("finished", answer, answer.attempt))
            else:
                answer.trajectory.started = self.clock()
                answer.generation = self._task(self._generate(answer))

    async def _generate(self, answer: _Answer) -> None:
        trajectory, attempt, epoch = answer.trajectory, answer.attempt, self._epoch
        if answer.aborted:  # before it could be asked for: nobody would end it
            return
        room = self.context - len(trajectory.prompt_tokens) if self.context else self.max_tokens
        self._count_running(+1)
        try:
            generated = await self.generator.generate(
                _request_id(answer),
                trajectory.prompt_tokens,
                max_tokens=min(self.max_tokens, room),
                temperature=self.temperature,
                seed=own_seed(self.seed, trajectory.group, trajectory.member, attempt),
            )
        except GeneratorLost as error:
            self._events.put_nowait(("lost", epoch, error))
            return
        finally:
            self._count_running(-1)
        if attempt != answer.attempt:  # complete, but the generator died before anybody knew: it begins again
            self._tokens_lost += len(generated.tokens)
            return
        trajectory.tokens, trajectory.logprobs, trajectory.finish_reason = generated
        trajectory.text = self.text(generated.tokens)
        trajectory.finished = self.clock()
        answer.generation = None
        self._events.put_nowait(("finished", answer, attempt))

    async def _judge(self, answer: _Answer) -> None:
        trajectory, problem = answer.trajectory, self._problems[answer.trajectory.group]
        if not answer.replayed:
            checked = await self._ask_judges(trajectory, problem.check)
            if checked is not None:
                decided = checked.verdict.verdict != "undecided"
                trajectory.passed = checked.verdict.passed if decided else None
                trajectory.passes, trajectory.reason = list(checked.passes), checked.verdict.reason
                trajectory.reward = self.reward(checked, problem, trajectory)
            trajectory.rewarded = self.clock()
        answer.judging = None
        self._events.put_nowait(("rewarded", answer, answer.attempt))

    async def _ask_judges(self, trajectory: Trajectory, check: dict[str, Any]) -> Checked | None:
        """The verdict; None and a `reason` where none comes."""
        asked = self.clock()
        try:
            verdict = asyncio.wrap_future(
                self.pool.submit(trajectory.text, check, trajectory.finish_reason, every_test=self.every_test)
            )
            try:
                # As long as verdicts come, this one may be in line behind others: no reason to give it up.
                while not verdict.done():
                    left = max(asked, self._last_verdict) + self.patience - self.clock()
                    if left <= 0:
                        raise TimeoutError(f"no verdict for {self.patience:g} s")
                    await asyncio.wait([verdict], timeout=left)
            finally:
                verdict.cancel()
            if verdict.cancelled():
                raise RunError("the judges were closed")
            checked = verdict.result()
        except Exception as error:  # whatever befell the judges, it is no fault of the answer
            trajectory.reason = "judge_timeout" if isinstance(error, TimeoutError) else "judge_failed"
            log.warning("an answer of group %d stays undecided: %s", trajectory.group, error)
            return None
        self._last_verdict = self.clock()
        return checked

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _event(self, kind: str, about: Any, content: Any) -> list[Action]:
        if kind == "failed":
            raise content
        if kind == "lost":
            return await self._revive(content) if about == self._epoch else []
        answer: _Answer = about
        trajectory = answer.trajectory
        if answer.aborted or content != answer.attempt:
            return []
        if kind == "finished":
            self._failures = 0
            return self.scheduler.finished(trajectory.group, trajectory.member)
        if not answer.replayed and self.on_finished is not None:
            self.on_finished(trajectory)
        return self.scheduler.rewarded(
            trajectory.group, trajectory.member, trajectory.reward, trajectory.passed
        )

    async def _revive(self, error: GeneratorLost) -> list[Action]:
        """Brings the generator back; what it had in flight is started again, from the first token."""
        while True:
            self._failures += 1
            if self._failures > self.restarts:
                raise RunError(f"the generator was lost {self._failures} times in a row. {error}") from error
            log.warning(
                "the generator was lost and is started again (%d of %d). %s",
                self._failures,
                self.restarts,
                error,
            )
            try:
                await self.generator.restart()
                break
            except GeneratorLost as again:
                error = again
        self._restarts += 1
        self._epoch += 1
        actions: list[Action] = []
        for group in [group for group in self._groups if group not in self.scheduler.fates]:
            for action in self.scheduler.lost(group):
                assert isinstance(action, Start)
                for member in action.members:  # what the old generator still says of them is of no interest
                    self._groups[group][member].attempt += 1
                actions.append(action)
        return actions

    # ── the end of an iteration ─────────────────────────────────────────────────────────────────────────────────

    async def _select(self, selected: Select, began: float, started: int) -> Collected:
        self._count_running(0)
        seconds = self._ticked - began
        occupancy = {
            "seconds": seconds,
            "idle": 1 - self._busy / (self.generator.slots * seconds) if seconds else 0.0,
            "empty": self._empty / seconds if seconds else 0.0,
        }
        fates = self._given_up | self.scheduler.fates
        self._given_up = {}
        # The generator hands over what it had of aborted answers: their tokens are waste.
        cut = [
            answer.generation
            for group in fates
            for answer in self._groups[group]
            if answer.generation is not None
        ]
        if cut:
            await asyncio.wait(cut)
        problems = {group: self._problems.pop(group) for group in fates}
        groups = {group: [answer.trajectory for answer in self._groups.pop(group)] for group in sorted(fates)}
        answers = [trajectory for group in groups.values() for trajectory in group]
        statistics = occupancy | self._statistics(fates, answers) | {"groups_started": started}
        return Collected(
            [groups[group] for group in selected.groups], selected.short, fates, answers, problems, statistics
        )

    def _statistics(self, fates: dict[int, str], answers: list[Trajectory]) -> dict[str, float]:
        tokens: Counter[str] = Counter()
        groups = Counter(fate.split("_")[0] for fate in fates.values())
        for trajectory in answers:
            tokens[fates[trajectory.group].split("_")[0]] += len(trajectory.tokens)
        generated = tokens.total() + self._tokens_lost
        wasted = tokens["aborted"] + tokens["surplus"] + self._tokens_lost
        return {
            "tokens_generated": generated,
            "tokens_trained": tokens["trained"],
            "waste": wasted / max(wasted + tokens["trained"], 1),
            "filtered": tokens["filtered"] / max(generated, 1),
            "answers": len(answers),
            "undecided": sum(a.reward is None and fates[a.group] != "aborted" for a in answers),
            **{f"groups_{fate}": groups[fate] for fate in ("trained", "surplus", "filtered", "aborted")},
            "restarts": self._restarts,
        }

    # ── bookkeeping ─────────────────────────────────────────────────────────────────────────────────────────────

    def _task(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def _drop_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.put_nowait(("failed", None, error))

    def _count_running(self, change: int) -> None:
        now = self.clock()
        self._busy += min(self._running, self.generator.slots) * (now - self._ticked)
        self._empty += (now - self._ticked) * (self._running == 0)
        self._running += change
        self._ticked = now


def _request_id(answer: _Answer) -> str:
    return f"{answer.trajectory.group}-{answer.trajectory.member}-{answer.attempt}"


def own_seed(*parts: int) -> int:
    """63 bits out of some numbers.

    >>> own_seed(0, 1, 2, 0) == own_seed(0, 1, 2, 0) != own_seed(0, 1, 2, 1)
    True
    """
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
