"""Which groups of answers are started, judged, aborted and trained on: the rollout scheduler, pure logic.

Events go in, lists of actions come out. The scheduler has no clock, does no input or output and knows no model, so
the engine (`training.rl.engine`) and the simulation (`training.rl.simulate`) drive this same class. The unit of
starting, aborting and selecting is a group: all answers (members) to one problem. Groups are numbered 0, 1, 2, … over
the whole run in the order they are started.

    scheduler = Scheduler(Rules.preset("seamless", groups_wanted=512, group_size=16))
    actions = scheduler.begin()                      # [Start(0, (0, …, 15)), Start(1, …), …]
    actions = scheduler.finished(0, 3)               # an answer is complete → [Judge(0, 3)]
    actions = scheduler.rewarded(0, 3, 1.0, True)    # it was judged → [] or [Start(…), …] or [Abort(…), …, Select(…)]
    …                                                # Select ends the iteration: train, then
    actions = scheduler.weights_updated(1)           # [] ([Abort(…)] where carried groups became too old)
    actions = scheduler.begin()

The presets are the ladder of the Seamless Rollout Engine (MiMo-7B, arXiv 2505.07608 §3.4, table 2):

| preset              | groups are started        | answers are judged              | the iteration ends               |
|---------------------|---------------------------|---------------------------------|----------------------------------|
| static              | all wanted, once          | when all are there              | when all are judged, unfiltered  |
| naive               | in rounds of the batch    | when the whole round is there   | after the round that fills it    |
| continuous          | when too few are expected | in the scheduler's loop         | when nothing runs any more       |
| asynchronous_reward | when too few are expected | at once, beside everything else | when nothing runs any more       |
| seamless            | when too few are expected | at once, beside everything else | full, first in first out         |

*In the loop* (what the report calls continuous rollout, without its asynchronous rewards): all answers that are there
go to the judges together, and until the last of them is judged nothing else is: no other answer, no start, no end of
the iteration. Engines go on generating what they already have; what is held up is the scheduler's next decision.

*First in first out*: the iteration ends when, among the groups in the order they were STARTED, an unbroken run of
ended ones from the first on holds as many valid groups as wanted. Whatever still runs was then started after every
selected group. Selected are always the first valid groups in the order of starting, so which groups these are is
settled by their content alone: no order of finishing can change it, long answers are not selected against, and
every preset selects the same groups of the same sequence. `stop="at_once"` (abort when enough are valid, as others
do) breaks this and is there to be measured beside it.

*When too few are expected*: when `Scheduler.expected_valid` falls below the groups wanted.

Synchronous by default: what still runs at `Select` is aborted, so every trained group is of the newest weights. With
`staleness=n` (seamless only) nothing is aborted; groups go on into the next iteration, and are started ahead for the n
iterations to come. A group that has lived through more than n weight updates is given up.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.errors import RequestError
from training.rl.fate import By, fate
from training.rl.valid_share import ValidShare


class Start(NamedTuple):
    """Generate these members of a group; of a new group always all of them."""

    group: int
    members: tuple[int, ...]


class Judge(NamedTuple):
    """Judge a finished answer and report `rewarded`."""

    group: int
    member: int


class Abort(NamedTuple):
    """Stop generating a group and forget it; it is never trained on. Events of it that come late are ignored."""

    group: int


class Select(NamedTuple):
    """The iteration is over: train on these groups, in the order they were started.

    `short`: fewer than wanted, because `most_groups` were started (or, static, because answers stayed undecided).
    """

    groups: tuple[int, ...]
    short: bool


Action = Start | Judge | Abort | Select
PRESETS: dict[str, dict[str, Any]] = {
    "static": {"launch": "once", "judging": "after_rollouts", "stop": "drain", "filter": "none"},
    "naive": {"launch": "rounds", "judging": "after_rollouts", "stop": "drain"},
    "continuous": {"launch": "continuous", "judging": "in_loop", "stop": "drain"},
    "asynchronous_reward": {"launch": "continuous", "judging": "concurrent", "stop": "drain"},
    "seamless": {"launch": "continuous", "judging": "concurrent", "stop": "first_in_first_out"},
}


@dataclass(frozen=True)
class Rules:
    """How a `Scheduler` decides; `Rules.preset` gives the named ones. Raises `RequestError` for impossible values."""

    groups_wanted: int  # valid groups of an iteration
    group_size: int  # members of a group
    launch: Literal["once", "rounds", "continuous"] = "continuous"
    judging: Literal["after_rollouts", "in_loop", "concurrent"] = "concurrent"
    stop: Literal["drain", "first_in_first_out", "at_once"] = "first_in_first_out"
    filter: By = "pass_rate"
    oversample: float = 1.0  # rounds: groups of a round ÷ groups wanted
    most_groups: int = 0  # started in one iteration; 0: ten times the groups wanted
    prior_valid_share: float = 0.5  # continuous: of groups, before anything is known
    foresight: bool = True  # continuous: let the rewards of unfinished groups speak
    staleness: int = 0  # how many versions old the weights that began a trained group may be

    @classmethod
    def preset(cls, name: str, groups_wanted: int, group_size: int, **changes: Any) -> Rules:
        """The rules of a preset with `changes`; an unfiltered preset stays unfiltered whatever `filter` says."""
        if name not in PRESETS:
            raise RequestError(f"schedule {name!r} is not known: choose one of {', '.join(PRESETS)}")
        return cls(**{"groups_wanted": groups_wanted, "group_size": group_size, **changes, **PRESETS[name]})

    def __post_init__(self) -> None:
        checks = [
            (self.groups_wanted >= 1, "groups_wanted", "want at least 1 group"),
            (self.group_size >= 2, "group_size", "a group needs 2 members to compare"),
            (self.oversample >= 1, "oversample", "say 1 or more"),
            (self.most_groups == 0 or self.most_groups >= self.groups_wanted, "most_groups", "not below groups_wanted"),
            (0 < self.prior_valid_share < 1, "prior_valid_share", "say a share between 0 and 1"),
            (self.staleness >= 0, "staleness", "say 0 or more"),
            (not self.staleness or self.stop == "first_in_first_out", "staleness", "only the seamless schedule carries groups over"),
        ]  # fmt: skip
        for fine, name, remedy in checks:
            if not fine:
                raise RequestError(f"{name}: {getattr(self, name)!r} is not possible: {remedy}")

    @property
    def most(self) -> int:
        return self.most_groups or 10 * self.groups_wanted


@dataclass
class Group:
    """A group without a fate yet. `states` of its members: generating, finished, judging, rewarded."""

    number: int
    version: int  # of the weights it began with
    states: list[str]
    rewards: list[float | None]
    passes: list[bool | None]
    rewarded: int = 0  # members
    valid: bool = False  # already, whatever the members to come bring
    ended: bool = False  # all members rewarded


class Scheduler:
    """Decides what is started, judged, aborted and selected. Every event returns what to do now, in order.

    To be read at any time:
        open: an iteration runs (between `begin` and `Select`).
        version: of the weights that groups are started with.
        started: groups of the whole run. Always
            started == sum(totals.values()) + in_flight
        totals: groups of the whole run by fate: "trained", "surplus" (valid, not needed), "aborted",
            "filtered_solved", "filtered_unsolved", "filtered_even", "filtered_undecided".
        members: answers of the whole run. Always
            members["started"] == members["rewarded"] + members["aborted"] + members["lost"] (started anew since)
                                  + generating + waiting + judging
        fates: the group numbers of this iteration with their fate; complete after `Select`, cleared by `begin`.

    Raises ValueError for an event that cannot be (a duplicate, an unknown group, an answer nobody asked to judge);
    late events of aborted groups are no error and do nothing.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.open = False
        self.version = 0
        self.started = 0
        self.totals: Counter[str] = Counter()
        self.members: Counter[str] = Counter()
        self.fates: dict[int, str] = {}
        self.generating = 0  # members
        self.judging = 0
        self._waiting: list[Judge] = []  # finished, not yet given to a judge
        self._share = ValidShare(rules.group_size, rules.prior_valid_share)
        self._groups: dict[int, Group] = {}  # without a fate yet, in the order of starting
        self._aborted: set[int] = set()
        self._started_now = 0  # groups of this iteration
        # Running sums over _groups, so that a decision costs the same however many groups are in flight.
        self._ended_valid = 0
        self._running_valid = 0  # have not ended and are valid already
        self._running_undivided = [0] * (rules.group_size + 1)  # the other running ones by number of rewards
        self._queue: deque[Group] = deque()  # in the order of starting, from the first that has not ended on
        self._prefix_valid = 0  # valid groups before that one

    @property
    def in_flight(self) -> int:
        """Groups started that have no fate yet: running, or valid and not yet selected."""
        return len(self._groups)

    @property
    def waiting(self) -> int:
        """Members finished and not yet given to a judge."""
        return len(self._waiting)

    def begin(self) -> list[Action]:
        """Start an iteration. Groups carried over go on without a new `Start`."""
        if self.open:
            raise ValueError("an iteration is running already: it ends with Select")
        self.open, self._started_now, self.fates = True, 0, {}
        self._share.fade()
        return self._decide()

    def finished(self, group: int, member: int) -> list[Action]:
        """A member's answer is complete."""
        if group in self._aborted:
            return []
        self._step(group, member, "generating", "finished")
        self.generating -= 1
        self._waiting.append(Judge(group, member))
        return self._decide()

    def rewarded(self, group: int, member: int, reward: float | None, passed: bool | None) -> list[Action]:
        """A member's answer was judged; `reward` None: it could not be decided."""
        if group in self._aborted:
            return []
        entry = self._step(group, member, "judging", "rewarded")
        self.judging -= 1
        self.members["rewarded"] += 1
        self._count(entry, -1)
        entry.rewards[member], entry.passes[member] = reward, passed
        entry.rewarded += 1
        entry.ended = entry.rewarded == self.rules.group_size
        if not entry.valid:
            entry.valid = fate(entry.rewards, entry.passes, self.rules.filter) == "valid"
            self._share.observe(entry.rewarded, entry.valid)
        self._count(entry, +1)
        if entry.ended and not entry.valid:
            self._leave(entry, fate(entry.rewards, entry.passes, self.rules.filter))
        self._pass_ended()
        return self._decide()

    def lost(self, group: int) -> list[Action]:
        """The engine died: the members of the group that it was generating start anew, finished ones are kept."""
        if group in self._aborted:
            return []
        members = tuple(m for m, state in enumerate(self._known(group).states) if state == "generating")
        self.members["lost"] += len(members)
        self.members["started"] += len(members)
        return [Start(group, members)] if members else []

    def weights_updated(self, version: int) -> list[Action]:
        """New weights are in place; groups that began with weights more than `staleness` updates ago are given up."""
        if self.open:
            raise ValueError("weights change between iterations: this one has not selected its groups yet")
        if version < self.version:  # the same again: a generator that was started anew
            raise ValueError(f"version {version} is older than {self.version}, which is in place")
        self.version = version
        old = [g for g in self._groups.values() if version - g.version > self.rules.staleness]
        aborts = self._give_up(old)
        self._requeue()
        return aborts

    def expected_valid(self) -> float:
        """How many valid groups there will be when everything in flight has ended.

        A group that ended valid counts 1. With `foresight` a running group counts 1 as soon as two of its rewards
        differ (valid it stays), and until then the probability that it becomes valid after so many equal ones
        (`ValidShare`): fifteen right answers of sixteen make a group that will most likely be filtered, and its
        replacement need not wait for the sixteenth. Without, it counts the share of all groups that become valid,
        as the report has it.
        """
        given = self._share.given()
        if not self.rules.foresight:
            return self._ended_valid + (self._running_valid + sum(self._running_undivided)) * given[0]
        undivided = sum(groups * p for groups, p in zip(self._running_undivided, given, strict=True))
        return self._ended_valid + self._running_valid + undivided

    def state_dict(self) -> dict[str, Any]:
        """What outlives a restart, plain enough for JSON; between iterations only.

        Groups carried over are not in it: after a restart they count as aborted.
        """
        if self.open:
            raise ValueError("the scheduler's state can be kept between iterations only")
        unrewarded = self.generating + self.waiting + self.judging
        return {
            "version": self.version,
            "started": self.started,
            "totals": dict(self.totals + Counter(aborted=self.in_flight)),
            "members": dict(self.members + Counter(aborted=unrewarded)),
            "valid_share": self._share.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the `state_dict()` of a scheduler with the same group size; before the first `begin`."""
        self.version, self.started = state["version"], state["started"]
        self.totals, self.members = Counter(state["totals"]), Counter(state["members"])
        self._share.load_state_dict(state["valid_share"])

    def _decide(self) -> list[Action]:
        """What follows from where things stand: end the iteration or else start groups, and judge."""
        if self.rules.judging == "in_loop" and self.judging:
            return []
        actions: list[Action] = []
        if self.open:
            actions = self._select() if self._complete() else self._start()
        return [*self._judge(), *actions]

    def _judge(self) -> list[Judge]:
        if self.rules.judging == "after_rollouts" and self.generating:
            return []
        jobs, self._waiting = self._waiting, []
        for group, member in jobs:
            self._groups[group].states[member] = "judging"
        self.judging += len(jobs)
        return jobs

    def _complete(self) -> bool:
        """Is this the end of the iteration?"""
        wanted, running = self.rules.groups_wanted, self.in_flight - self._ended_valid
        if not running and (self._started_now >= self.rules.most or self.rules.launch == "once"):
            return self._started_now > 0
        if self.rules.stop == "first_in_first_out":
            return self._prefix_valid >= wanted
        return self._ended_valid >= wanted and (self.rules.stop == "at_once" or not running)

    def _select(self) -> list[Action]:
        ended = [group for group in self._groups.values() if group.ended]
        chosen, surplus = ended[: self.rules.groups_wanted], ended[self.rules.groups_wanted :]
        for group in chosen:
            self._leave(group, "trained")
        aborts: list[Action] = []
        if not self.rules.staleness:
            for group in surplus:
                self._leave(group, "surplus")
            aborts = self._give_up([*self._groups.values()])
        self._requeue()
        self.open = False
        short = len(chosen) < self.rules.groups_wanted
        return [*aborts, Select(tuple(group.number for group in chosen), short)]

    def _start(self) -> list[Action]:
        """New groups, as many as the launch rule asks for."""
        wanted, number = self.rules.groups_wanted, 0
        if self.rules.launch == "continuous":
            number = self._missing()
        elif self._started_now == 0:
            number = wanted if self.rules.launch == "once" else math.ceil(wanted * self.rules.oversample)
        elif self.rules.launch == "rounds" and self.in_flight == self._ended_valid < wanted:
            number = math.ceil(wanted * self.rules.oversample)
        number = min(number, self.rules.most - self._started_now)
        return [self._new_group() for _ in range(number)]

    def _missing(self) -> int:
        """The fewest new groups with which as many valid ones as wanted are expected."""
        wanted = self.rules.groups_wanted * (
            1 + self.rules.staleness
        )  # of the iterations a group may wait for
        missing = max(0.0, wanted - self.expected_valid()) / max(self._share.given()[0], 1e-3)
        return math.ceil(missing - 1e-9)  # rounding must not start a group

    def _new_group(self) -> Start:
        size = self.rules.group_size
        group = Group(self.started, self.version, ["generating"] * size, [None] * size, [None] * size)
        self._groups[group.number] = group
        self._queue.append(group)
        self._count(group, +1)
        self.started += 1
        self._started_now += 1
        self.generating += size
        self.members["started"] += size
        return Start(group.number, tuple(range(size)))

    def _known(self, group: int) -> Group:
        if group not in self._groups:
            raise ValueError(f"group {group} is not in flight")
        return self._groups[group]

    def _step(self, group: int, member: int, before: str, after: str) -> Group:
        entry = self._known(group)
        if not 0 <= member < self.rules.group_size:
            raise ValueError(f"group {group} has members 0…{self.rules.group_size - 1}, not {member}")
        if entry.states[member] != before:
            raise ValueError(f"group {group} member {member}: {after} cannot follow {entry.states[member]}")
        entry.states[member] = after
        return entry

    def _count(self, group: Group, sign: int) -> None:
        """Add a group to the running sums, or take it out before it changes."""
        if group.ended:
            self._ended_valid += sign * group.valid
        elif group.valid:
            self._running_valid += sign
        else:
            self._running_undivided[group.rewarded] += sign

    def _pass_ended(self) -> None:
        while self._queue and self._queue[0].ended:
            self._prefix_valid += self._queue.popleft().valid

    def _requeue(self) -> None:
        """After groups were taken from the middle."""
        self._queue, self._prefix_valid = deque(self._groups.values()), 0
        self._pass_ended()

    def _leave(self, group: Group, what: str) -> None:
        """The group has its fate."""
        del self._groups[group.number]
        self._count(group, -1)
        self.fates[group.number] = what
        self.totals[what] += 1

    def _give_up(self, groups: list[Group]) -> list[Action]:
        """Abort groups, whatever their members are doing."""
        for group in groups:
            states = Counter(group.states)
            self.generating -= states["generating"]
            self.judging -= states["judging"]
            self._waiting = [job for job in self._waiting if job.group != group.number]
            self.members["aborted"] += self.rules.group_size - group.rewarded
            self._aborted.add(group.number)
            self._leave(group, "aborted")
        return [Abort(group.number) for group in groups]
