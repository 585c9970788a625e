"""The rollout scheduler in a simulated cluster: the same `Scheduler` class as in production, under a virtual clock.

    result = simulate(Rules.preset("seamless", 128, 16), Workload(seed=0), Cluster(), iterations=5)

An engine generates one token for each of its running answers in a step of `step_seconds + step_seconds_per_answer ×
running` seconds (decoding is bound by memory bandwidth: the first term), has `slots` places, and a line of its own.
A new answer goes to the engine with the fewest. Judges are a pool with one line. Training stops the engines for
`train_seconds` (trainer and engines share the GPUs). Left out: prefill, weight transfer, pre-emption for lack of
memory, failures, and that a training step with longer answers takes longer.

What the numbers mean:

* busy: engine-seconds with an answer running. Of these, those of aborted groups count as idle, as in the published
  table; an answer's part of an engine-second is one over the number of answers that ran beside it.
* idle ratio: idle engine-seconds ÷ engine-seconds of rollout (from `begin` to `Select`, judging included; training
  is not rollout). Normalised idle time: idle engine-seconds ÷ those of naive dynamic sampling.
* occupancy: answers running ÷ slots, over rollout time. An engine with a single answer is busy, but hardly occupied.
* waste: tokens of groups thrown away that training could have used (surplus, aborted) ÷ tokens of those and of the
  trained ones. Filtered groups are no waste: that they carry no gradient is known only once they are there.
  (How the published waste is counted is not said.)
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow.parquet as pq

from pipeline.errors import RequestError
from training.rl.scheduler import Abort, Action, Judge, Rules, Scheduler, Select, Start


class Answers(NamedTuple):
    """What the members of one group will be, one entry a member."""

    lengths: np.ndarray  # tokens
    passed: np.ndarray  # bool
    judge_seconds: np.ndarray


class Workload(Protocol):
    """The answers of group number 0, 1, …: the same for every scheduler, whenever it starts the group."""

    def answers(self, group: int, size: int) -> Answers: ...


@dataclass(frozen=True)
class Synthetic:
    """Lengths lognormal with a cap, verdicts by a share of valid groups, judge times by a share of code problems.

    The defaults are not fitted to anything published. Lengths and verdicts are independent of each other. `between`:
    the part of the variance of log length that is the problem's and shared by its answers (without it every group of
    16 has an answer near the cap, and groups hardly differ). The pass rates of valid groups are uniform; of the
    others one half is solved, one half unsolved.
    """

    seed: int = 0
    median_length: float = 6_500
    log_std: float = 0.95
    between: float = 0.5
    most_tokens: int = 32_768
    valid_share: float = 0.41
    code_share: float = 0.25
    code_seconds: float = 4.0  # mean of an exponential
    maths_seconds: float = 0.02

    def answers(self, group: int, size: int) -> Answers:
        random = np.random.default_rng((self.seed, group))
        normal = self.between**0.5 * random.normal() + (1 - self.between) ** 0.5 * random.normal(size=size)
        lengths = np.minimum(self.median_length * np.exp(self.log_std * normal), self.most_tokens)
        if random.random() < self.valid_share:
            right = int(random.integers(1, size))
        else:
            right = size * int(random.integers(2))
        code = random.random() < self.code_share
        seconds = random.exponential(self.code_seconds, size) if code else np.full(size, self.maths_seconds)
        return Answers(np.ceil(lengths), random.permutation(size) < right, seconds)


class Recorded:
    """Groups drawn at random, with replacement, from measured ones.

    files: Parquet with the columns group, length (tokens), passed and, if known, judge_seconds; groups of different
    files are different groups. Raises `RequestError` where a column or a whole group of `size` members is missing.
    """

    def __init__(self, files: Iterable[str | Path], seed: int = 0) -> None:
        self.seed, self.by_size = seed, defaultdict[int, list[Answers]](list)
        for file in files:
            table = pq.read_table(file)
            if missing := {"group", "length", "passed"} - set(table.column_names):
                raise RequestError(f"{file}: no column {', '.join(sorted(missing))}: a trace has all three")
            group, length, passed = (np.asarray(table[name]) for name in ("group", "length", "passed"))
            timed = "judge_seconds" in table.column_names
            seconds = np.asarray(table["judge_seconds"]) if timed else np.zeros(len(group))
            for number in np.unique(group):
                rows = group == number
                answers = Answers(length[rows], passed[rows].astype(bool), seconds[rows])
                self.by_size[len(answers.lengths)].append(answers)

    def answers(self, group: int, size: int) -> Answers:
        fitting = self.by_size.get(size)
        if fitting is None:
            sizes = ", ".join(map(str, sorted(self.by_size)))
            raise RequestError(f"the trace has no group of {size} members: its groups have {sizes}")
        return fitting[np.random.default_rng((self.seed, group)).integers(len(fitting))]


@dataclass(frozen=True)
class Cluster:
    """What the answers run on."""

    engines: int = 64
    slots: int = 64  # answers an engine runs at the same time
    step_seconds: float = 0.012
    step_seconds_per_answer: float = 0.00012
    judges: int = 64
    train_seconds: float = 60.0


@dataclass
class Result:
    """Sums over a simulated run. Times in seconds, tokens generated; lists have one entry a group or an iteration."""

    cluster: Cluster
    seconds: float = 0.0
    rollout_seconds: float = 0.0
    busy_seconds: float = 0.0  # of all engines, in rollout
    aborted_seconds: float = 0.0  # of these, for groups that were aborted
    answer_seconds: float = 0.0  # integral of the number of running answers over time
    tokens: dict[str, float] = field(default_factory=dict)  # by fate of their group
    groups: Counter[str] = field(default_factory=Counter)  # by fate
    started: int = 0
    first: list[int] = field(default_factory=list)  # number of the first group started in each iteration
    selected: list[list[int]] = field(default_factory=list)  # group numbers of each iteration
    short: int = 0  # iterations
    staleness: Counter[int] = field(
        default_factory=Counter
    )  # of trained groups: versions between start and training

    @property
    def engine_seconds(self) -> float:
        return self.cluster.engines * self.rollout_seconds

    @property
    def idle_seconds(self) -> float:
        return self.engine_seconds - self.busy_seconds + self.aborted_seconds

    @property
    def idle_ratio(self) -> float:
        return self.idle_seconds / self.engine_seconds

    @property
    def occupancy(self) -> float:
        return self.answer_seconds / (self.engine_seconds * self.cluster.slots)

    @property
    def waste(self) -> float:
        lost = self.tokens.get("surplus", 0) + self.tokens.get("aborted", 0)
        return lost / (lost + self.tokens["trained"])

    @property
    def tokens_per_second(self) -> float:
        """Of one engine, in rollout."""
        return sum(self.tokens.values()) / self.engine_seconds


class Running(NamedTuple):
    """An answer on an engine, ordered by when it will be complete."""

    until: float  # the engine's token count at its last token
    group: int
    member: int
    since: float  # the engine's token count when it began
    share_since: float  # the engine's `share` when it began


class Engine:
    """Answers that advance together, one token each a step; continuous in time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.running: list[Running] = []  # a heap
        self.line: deque[tuple[int, int, float]] = deque()  # group, member, length
        self.now = 0.0
        self.count = 0.0  # tokens each answer would have that had run from the beginning
        self.share = 0.0  # seconds such an answer would have had to itself, time divided evenly
        self.busy = 0.0
        self.answer_seconds = 0.0

    def step(self) -> float:
        return self.cluster.step_seconds + self.cluster.step_seconds_per_answer * len(self.running)

    def advance(self, now: float) -> None:
        if number := len(self.running):
            elapsed = now - self.now
            self.count += elapsed / self.step()
            self.share += elapsed / number
            self.busy += elapsed
            self.answer_seconds += elapsed * number
        self.now = now

    def fill(self) -> None:
        """Answers in line move up into free slots."""
        while self.line and len(self.running) < self.cluster.slots:
            group, member, length = self.line.popleft()
            heapq.heappush(self.running, Running(self.count + length, group, member, self.count, self.share))

    def next(self) -> float:
        """When the next answer is complete; infinity if none runs."""
        return self.now + (self.running[0].until - self.count) * self.step() if self.running else float("inf")

    def complete(self) -> list[Running]:
        """Take the answers that are complete now: the first of the heap, and its equals."""
        self.count = max(self.count, self.running[0].until)  # exactly, against rounding
        done = []
        while self.running and self.running[0].until <= self.count:
            done.append(heapq.heappop(self.running))
        return done

    def remove(self, groups: set[int]) -> list[Running]:
        """Abort groups. Returns those of their answers that had begun."""
        gone = [answer for answer in self.running if answer.group in groups]
        if gone:
            self.running = [answer for answer in self.running if answer.group not in groups]
            heapq.heapify(self.running)
        self.line = deque(entry for entry in self.line if entry[0] not in groups)
        return gone


class Simulation:
    """One run: a scheduler, engines, judges and the clock."""

    def __init__(self, rules: Rules, workload: Workload, cluster: Cluster) -> None:
        self.scheduler, self.workload, self.cluster = Scheduler(rules), workload, cluster
        self.engines = [Engine(cluster) for _ in range(cluster.engines)]
        self.result = Result(cluster)
        self.now = 0.0
        self.events: list[
            tuple[float, int, int, int]
        ] = []  # time, stamp, group and member judged | engine and -1
        self.load = [0] * cluster.engines  # answers running or in line
        self.stamps = [0] * cluster.engines  # the event of an engine that counts is its newest
        self.stamp = 0
        self.judges_free = cluster.judges
        self.judge_line: deque[Judge] = deque()
        self.answers: dict[int, Answers] = {}  # of groups without a fate
        self.version: dict[int, int] = {}
        self.tokens: defaultdict[int, float] = defaultdict(float)  # by group
        self.shares: defaultdict[int, float] = defaultdict(float)  # engine-seconds by group
        self.selection: Select | None = None

    def run(self, iterations: int) -> Result:
        for version in range(1, iterations + 1):
            began, busy, answer_seconds = self.now, *self._engine_sums()
            self.result.first.append(self.scheduler.started)
            self.selection = None
            self._do(self.scheduler.begin())
            while self.selection is None:
                self._next_event()
            self._engines_to_now()
            self.result.selected.append([*self.selection.groups])
            self.result.short += self.selection.short
            busy_after, answer_seconds_after = self._engine_sums()
            self._book(self.selection.groups)
            self.result.rollout_seconds += self.now - began
            self.result.busy_seconds += busy_after - busy
            self.result.answer_seconds += answer_seconds_after - answer_seconds
            self._train(version)
        self.result.seconds, self.result.started = self.now, self.scheduler.started
        return self.result

    def _engine_sums(self) -> tuple[float, float]:
        return sum(e.busy for e in self.engines), sum(e.answer_seconds for e in self.engines)

    def _engines_to_now(self) -> None:
        for engine in self.engines:
            engine.advance(self.now)

    def _next_event(self) -> None:
        time, stamp, number, member = heapq.heappop(self.events)
        if member >= 0:  # a judge is done with member of group `number`
            self.now = max(self.now, time)  # one that ended while the engines stood still is read afterwards
            self.judges_free += 1
            self._give_to_judges()
            answers = self.answers.get(number)
            if answers is not None:
                passed = bool(answers.passed[member])
                self._do(self.scheduler.rewarded(number, member, float(passed), passed))
        elif self.stamps[number] == stamp:  # an engine has complete answers
            self.now = time
            engine = self.engines[number]
            engine.advance(time)
            done = engine.complete()
            self._note(engine, done)
            self._go_on(number)
            for answer in done:
                self._do(self.scheduler.finished(answer.group, answer.member))

    def _do(self, actions: list[Action]) -> None:
        started, aborted = set[int](), set[int]()
        for action in actions:
            match action:
                case Start(group, members):
                    self.answers[group] = answers = self.workload.answers(
                        group, self.scheduler.rules.group_size
                    )
                    self.version[group] = self.scheduler.version
                    for member in members:
                        number = min(range(len(self.engines)), key=self.load.__getitem__)
                        self.load[number] += 1
                        self.engines[number].line.append((group, member, float(answers.lengths[member])))
                        started.add(number)
                case Judge():
                    self.judge_line.append(action)
                case Abort(group):
                    aborted.add(group)
                case Select():
                    self.selection = action
        for number in started:
            self._go_on(number)
        if aborted:
            for number, engine in enumerate(self.engines):
                engine.advance(self.now)
                self._note(engine, engine.remove(aborted))
                self._go_on(number)
        self._give_to_judges()

    def _go_on(self, number: int) -> None:
        """After an engine's answers changed: fill its slots, announce when the next one is complete."""
        engine = self.engines[number]
        engine.advance(self.now)
        engine.fill()
        self.load[number] = len(engine.running) + len(engine.line)
        self.stamp += 1
        self.stamps[number] = self.stamp
        if engine.running:
            heapq.heappush(self.events, (engine.next(), self.stamp, number, -1))

    def _give_to_judges(self) -> None:
        while self.judges_free and self.judge_line:
            group, member = self.judge_line.popleft()
            if group in self.answers:  # else it was aborted in line
                self.judges_free -= 1
                seconds = float(self.answers[group].judge_seconds[member])
                self.stamp += 1
                heapq.heappush(self.events, (self.now + seconds, self.stamp, group, member))

    def _note(self, engine: Engine, answers: list[Running]) -> None:
        """What answers that leave an engine have cost."""
        for answer in answers:
            self.tokens[answer.group] += engine.count - answer.since
            self.shares[answer.group] += engine.share - answer.share_since

    def _book(self, selected: Iterable[int]) -> None:
        """Groups that have their fate since the last time; those selected are trained on now."""
        for group in selected:
            self.result.staleness[self.scheduler.version - self.version[group]] += 1
        for group, what in self.scheduler.fates.items():
            if self.answers.pop(group, None) is None:
                continue  # booked before
            self.result.groups[what] += 1
            tokens, share = self.tokens.pop(group, 0.0), self.shares.pop(group, 0.0)
            self.result.tokens[what] = self.result.tokens.get(what, 0.0) + tokens
            self.result.aborted_seconds += share * (what == "aborted")

    def _train(self, version: int) -> None:
        """Engines stand still; then the new weights are in place."""
        self.now += self.cluster.train_seconds
        for engine in self.engines:
            engine.now = self.now
        self._do(self.scheduler.weights_updated(version))
        self._book(())
        for number in range(len(self.engines)):
            self._go_on(number)


def simulate(rules: Rules, workload: Workload, cluster: Cluster, iterations: int) -> Result:
    """So many iterations under these rules; the same arguments give the same result."""
    return Simulation(rules, workload, cluster).run(iterations)
