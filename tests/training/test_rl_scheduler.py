"""The rollout scheduler: hand-worked iterations, and its promises under random orders of events."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RequestError
from training.rl.fate import fate
from training.rl.scheduler import PRESETS, Abort, Action, Judge, Rules, Scheduler, Select, Start
from training.rl.valid_share import ValidShare

ROOT = Path(__file__).parents[2]


def seamless(wanted: int, size: int, **changes: Any) -> Scheduler:
    return Scheduler(Rules.preset("seamless", wanted, size, **changes))


def answer(scheduler: Scheduler, group: int, *verdicts: bool | None) -> list[Action]:
    """Finish and reward all members of a group whose answers are judged at once; the actions of the last event."""
    actions: list[Action] = []
    for member, passed in enumerate(verdicts):
        assert Judge(group, member) in scheduler.finished(group, member)
        actions = scheduler.rewarded(group, member, None if passed is None else float(passed), passed)
    return actions


# ── fate ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rewards", "passes", "by_pass_rate", "by_variance"),
    [
        ([1, 0], [True, False], "valid", "valid"),
        ([1, 1], [True, True], "filtered_solved", "filtered_solved"),
        ([0, 0], [False, False], "filtered_unsolved", "filtered_unsolved"),
        ([0.5, 0.2], [False, False], "filtered_unsolved", "valid"),  # partial credit carries a gradient
        ([0.5, 0.5], [False, False], "filtered_unsolved", "filtered_even"),
        ([0.1] * 3, [False] * 3, "filtered_unsolved", "filtered_even"),  # their computed variance is not 0
        (
            [1, 0],
            [True, True],
            "filtered_solved",
            "valid",
        ),  # a reward that is not the verdict: the random control
        ([1, None, None], [True, None, None], "filtered_undecided", "filtered_undecided"),
        ([1, None, 0], [True, None, False], "valid", "valid"),
        ([1, 1, None], [True, True, None], "filtered_solved", "filtered_solved"),
        ([], [], "filtered_undecided", "filtered_undecided"),
    ],
)
def test_fate_by_hand(rewards: Any, passes: Any, by_pass_rate: str, by_variance: str) -> None:
    assert fate(rewards, passes, "pass_rate") == by_pass_rate
    assert fate(rewards, passes, "variance") == by_variance
    expected = "valid" if sum(reward is not None for reward in rewards) > 1 else "filtered_undecided"
    assert fate(rewards, passes, "none") == expected


REWARD = st.sampled_from([None, 0.0, 0.1, 0.3, 1.0])


@given(st.lists(REWARD, max_size=8))
def test_fate_by_variance_is_exact_variance_and_valid_stays_valid(rewards: list[float | None]) -> None:
    passes = [None if reward is None else reward == 1.0 for reward in rewards]
    decided = [Fraction(reward) for reward in rewards if reward is not None]
    varies = len(decided) > 1 and sum((r - sum(decided) / len(decided)) ** 2 for r in decided) > 0
    assert (fate(rewards, passes, "variance") == "valid") == varies
    rate = Fraction(sum(p is True for p in passes), len(decided)) if len(decided) > 1 else Fraction(0)
    assert (fate(rewards, passes, "pass_rate") == "valid") == (0 < rate < 1)
    for by in ("variance", "pass_rate"):
        if fate(rewards[:-1], passes[:-1], by) == "valid":
            assert fate(rewards, passes, by) == "valid"


# ── hand-worked iterations ──────────────────────────────────────────────────────────────────────────────────────────


def test_seamless_waits_for_what_was_started_before_and_aborts_what_was_started_after() -> None:
    scheduler = seamless(2, 2, foresight=False)
    # Two valid groups wanted and, as far as anybody knows, every second one is valid: four are started.
    assert scheduler.begin() == [Start(g, (0, 1)) for g in range(4)]
    assert answer(scheduler, 1, True, False) == []
    assert answer(scheduler, 2, True, False) == []  # the batch is full, but group 0 was started before
    assert scheduler.finished(0, 0) == [Judge(0, 0)]
    assert scheduler.rewarded(0, 0, 0.0, False) == []
    assert scheduler.finished(0, 1) == [Judge(0, 1)]
    assert scheduler.finished(3, 1) == [Judge(3, 1)]
    # Group 0 turns out valid: it comes before group 2, which is not needed; group 3 still runs.
    assert scheduler.rewarded(0, 1, 1.0, True) == [Abort(3), Select((0, 1), False)]
    assert scheduler.fates == {0: "trained", 1: "trained", 2: "surplus", 3: "aborted"}
    assert scheduler.finished(3, 0) == [] == scheduler.rewarded(3, 1, 1.0, True)  # late, harmless
    assert scheduler.members == {"started": 8, "rewarded": 6, "aborted": 2}
    assert scheduler.begin()[0].group == 4  # type: ignore[union-attr]


def test_at_once_takes_whatever_is_valid_first() -> None:
    scheduler = Scheduler(replace(seamless(2, 2).rules, stop="at_once"))
    assert len(scheduler.begin()) == 4
    answer(scheduler, 1, True, False)
    assert answer(scheduler, 2, True, False) == [Abort(0), Abort(3), Select((1, 2), False)]


def test_naive_judges_when_the_round_is_there_and_goes_on_when_all_is_judged() -> None:
    scheduler = Scheduler(Rules.preset("naive", 2, 2, oversample=1.5))
    assert scheduler.begin() == [Start(g, (0, 1)) for g in range(3)]
    members = [(group, member) for group in range(3) for member in (0, 1)]
    for group, member in members[:-1]:
        assert scheduler.finished(group, member) == []
    assert scheduler.finished(2, 1) == [Judge(*each) for each in members]
    verdicts = {0: (True, True), 1: (True, False), 2: (False, False)}
    for group, member in members[:-1]:
        passed = verdicts[group][member]
        assert scheduler.rewarded(group, member, float(passed), passed) == []
    assert scheduler.rewarded(2, 1, 0.0, False) == [Start(g, (0, 1)) for g in (3, 4, 5)]
    for group in (3, 4, 5):
        for member in (0, 1):
            last = scheduler.finished(group, member)
    assert len(last) == 6
    for group in (3, 4, 5):
        for member in (0, 1):
            last = scheduler.rewarded(group, member, float(member), bool(member))
    assert last == [Select((1, 3), False)]
    assert Counter(scheduler.fates.values()) == {
        "trained": 2, "surplus": 2, "filtered_solved": 1, "filtered_unsolved": 1
    }  # fmt: skip


def test_static_trains_on_everything_that_is_decided() -> None:
    scheduler = Scheduler(Rules.preset("static", 2, 2, filter="pass_rate"))
    assert scheduler.begin() == [Start(0, (0, 1)), Start(1, (0, 1))]
    for group, member in ((0, 0), (1, 0), (1, 1)):
        assert scheduler.finished(group, member) == []
    assert len(scheduler.finished(0, 1)) == 4
    for member in (0, 1):
        scheduler.rewarded(0, member, 1.0, True)
    scheduler.rewarded(1, 0, None, None)
    assert scheduler.rewarded(1, 1, 1.0, True) == [Select((0,), True)]  # one answer is nothing to compare
    assert scheduler.fates == {0: "trained", 1: "filtered_undecided"}


def test_continuous_decides_nothing_while_the_judges_are_busy() -> None:
    scheduler = Scheduler(Rules.preset("continuous", 1, 2))
    assert len(scheduler.begin()) == 2
    assert scheduler.finished(0, 0) == [Judge(0, 0)]
    assert scheduler.finished(0, 1) == [] == scheduler.finished(1, 0)
    assert scheduler.rewarded(0, 0, 1.0, True) == [Judge(0, 1), Judge(1, 0)]  # all that are there, together
    # Solved: the next group is needed, but a judge is still at work …
    assert scheduler.rewarded(0, 1, 1.0, True) == [] == scheduler.finished(1, 1)
    # … and when it is done, starting comes with the next answers to judge.
    actions = scheduler.rewarded(1, 0, 1.0, True)
    assert Judge(1, 1) in actions and Start(2, (0, 1)) in actions


def test_asynchronous_reward_waits_until_nothing_runs() -> None:
    scheduler = Scheduler(Rules.preset("asynchronous_reward", 1, 2))
    assert len(scheduler.begin()) == 2
    assert answer(scheduler, 0, True, False) == []
    assert answer(scheduler, 1, True, False) == [Select((0,), False)]
    assert scheduler.fates == {0: "trained", 1: "surplus"}


def test_all_solved_ends_short_instead_of_going_on_for_ever() -> None:
    for name in PRESETS:
        scheduler = Scheduler(Rules.preset(name, 3, 2, most_groups=7))
        actions, queue = scheduler.begin(), list[Action]()
        while actions or queue:
            queue += actions
            action = queue.pop(0)
            match action:
                case Start(group, members):
                    actions = [a for member in members for a in scheduler.finished(group, member)]
                case Judge(group, member):
                    actions = scheduler.rewarded(group, member, 1.0, True)
                case Select(groups, short):
                    expected = ((0, 1, 2), False, 3) if name == "static" else ((), True, 7)
                    assert (groups, short, scheduler.started) == expected, name
                    break
        assert not scheduler.open


def test_a_lost_engine_costs_the_unfinished_members_only() -> None:
    scheduler = seamless(1, 3, prior_valid_share=0.99)
    assert scheduler.begin() == [Start(0, (0, 1, 2)), Start(1, (0, 1, 2))]
    scheduler.finished(0, 1)
    assert scheduler.lost(0) == [Start(0, (0, 2))]
    scheduler.rewarded(0, 1, 1.0, True)
    scheduler.finished(0, 0)
    scheduler.finished(0, 2)
    assert scheduler.lost(0) == []  # nothing of it was being generated
    scheduler.rewarded(0, 0, 1.0, True)
    assert scheduler.rewarded(0, 2, 0.0, False) == [Abort(1), Select((0,), False)]
    assert scheduler.lost(1) == []
    assert scheduler.members == {"started": 8, "lost": 2, "rewarded": 3, "aborted": 3}


def test_foresight_starts_a_replacement_before_the_last_member_is_there() -> None:
    """Two groups in flight, one wanted. Fifteen members of each are right: hardly anybody still expects one valid."""
    sighted, blind = (seamless(1, 16, foresight=foresight) for foresight in (True, False))
    started = {}
    for scheduler in (sighted, blind):
        number = len(scheduler.begin())
        assert number == 2
        for member in range(15):
            for group in (0, 1):
                scheduler.finished(group, member)
                scheduler.rewarded(group, member, 1.0, True)
        started[scheduler] = scheduler.started
    assert started[sighted] > started[blind] >= 2


def test_a_split_group_counts_as_valid_before_it_ends() -> None:
    scheduler = seamless(2, 4)
    scheduler.begin()
    for passed in (True, False):
        scheduler.finished(0, int(passed))
        before = scheduler.expected_valid()
        scheduler.rewarded(0, int(passed), float(passed), passed)
    assert before < scheduler.expected_valid()
    assert scheduler.expected_valid() >= 1


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (lambda s: s.begin(), "running already"),
        (lambda s: s.finished(0, 0), "finished cannot follow judging"),
        (lambda s: s.finished(0, 1), "finished cannot follow rewarded"),
        (lambda s: s.finished(0, 9), "members 0…3"),
        (lambda s: s.finished(99, 0), "group 99 is not in flight"),
        (lambda s: s.rewarded(0, 1, 1.0, True), "rewarded cannot follow rewarded"),
        (lambda s: s.rewarded(0, 2, 1.0, True), "rewarded cannot follow generating"),
        (lambda s: s.rewarded(0, -1, 1.0, True), "members 0…3"),
        (lambda s: s.lost(99), "group 99 is not in flight"),
        (lambda s: s.weights_updated(1), "between iterations"),
        (lambda s: s.state_dict(), "between iterations"),
    ],
)
def test_events_that_cannot_be_are_refused_and_change_nothing(event: Callable, words: str) -> None:
    scheduler = seamless(2, 4)
    scheduler.begin()
    scheduler.finished(0, 0)
    scheduler.finished(0, 1)
    scheduler.rewarded(0, 1, 1.0, True)
    before = (scheduler.expected_valid(), scheduler.in_flight, dict(scheduler.members), scheduler.generating)
    with pytest.raises(ValueError, match=words):
        event(scheduler)
    assert before == (
        scheduler.expected_valid(), scheduler.in_flight, dict(scheduler.members), scheduler.generating
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups_wanted": 0}, "groups_wanted: 0"),
        ({"group_size": 1}, "group_size: 1.*2 members"),
        ({"most_groups": 3}, "most_groups: 3"),
        ({"oversample": 0.5}, "oversample: 0.5"),
        ({"prior_valid_share": 1.0}, "prior_valid_share"),
        ({"staleness": 1, "stop": "drain"}, "staleness: 1.*seamless"),
    ],
)
def test_impossible_rules_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        replace(Rules(groups_wanted=4, group_size=2), **changes)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="'eager' is not known: choose one of static, naive, continuous"):
        Rules.preset("eager", 4, 2)


# ── any order of events ─────────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def verdicts(content: int, group: int, size: int) -> list[bool | None]:
    draw = random.Random(f"{content} {group}")
    rate = draw.choice([0, 0.3, 0.7, 1])
    return [None if draw.random() < 0.1 else draw.random() < rate for _ in range(size)]


class Bystander:
    """Plays engine and judges in a random order, and keeps books of its own to hold the scheduler's against."""

    def __init__(self, rules: Rules, seed: int, content: int) -> None:
        self.scheduler, self.rules, self.content = Scheduler(rules), rules, content
        self.random = random.Random(seed)
        self.generating: set[tuple[int, int]] = set()
        self.judging: set[tuple[int, int]] = set()
        self.rewarded: set[tuple[int, int]] = set()
        self.aborted: set[int] = set()
        self.groups: list[int] = []  # in the order of starting
        self.version_of: dict[int, int] = {}
        self.selections: list[Select] = []
        self.first_of_iteration = 0

    def verdicts(self, group: int) -> list[bool | None]:
        """What the members of a group turn out to be: settled by the group's number, not by when it is asked."""
        return verdicts(self.content, group, self.rules.group_size)

    def is_valid(self, group: int) -> bool:
        """By counting, without the code under test."""
        passed = [v for v in self.verdicts(group) if v is not None]
        return len(passed) > 1 and (self.rules.filter == "none" or 0 < sum(passed) < len(passed))

    def do(self, actions: list[Action]) -> None:
        for number, action in enumerate(actions):
            match action:
                case Start(group, members):
                    if group not in self.groups:
                        assert group == len(self.groups) and members == tuple(range(self.rules.group_size))
                        self.groups.append(group)
                        self.version_of[group] = self.scheduler.version
                    assert not {(group, member) for member in members} & (self.judging | self.rewarded)
                    self.generating |= {(group, member) for member in members}
                case Judge(group, member):
                    assert (group, member) not in self.generating | self.judging | self.rewarded
                    self.judging.add((group, member))
                case Abort(group):
                    assert group in self.groups and group not in self.aborted
                    self.aborted.add(group)
                case Select():
                    assert number == len(actions) - 1 and not self.scheduler.open
                    self.selections.append(action)

    def is_split(self, group: int) -> bool:
        """Valid already, by the members rewarded so far."""
        seen = [
            v for m, v in enumerate(self.verdicts(group)) if (group, m) in self.rewarded and v is not None
        ]
        return len(set(seen)) == 2 or (self.rules.filter == "none" and len(seen) > 1)

    def is_running(self, group: int) -> bool:
        return group not in self.aborted and any(
            (group, m) not in self.rewarded for m in range(self.rules.group_size)
        )

    def check_books(self) -> None:
        scheduler, size = self.scheduler, self.rules.group_size
        assert scheduler.started == len(self.groups) == sum(scheduler.totals.values()) + scheduler.in_flight
        open_members = scheduler.generating + scheduler.waiting + scheduler.judging
        members = scheduler.members
        assert members["started"] == members["rewarded"] + members["aborted"] + members["lost"] + open_members
        assert members["started"] == size * len(self.groups) + members["lost"]
        assert members["rewarded"] == len(self.rewarded)
        live = {key for key in self.generating if key[0] not in self.aborted}
        assert scheduler.generating == len(live)
        assert scheduler.judging == len({key for key in self.judging if key[0] not in self.aborted})
        running = [group for group in self.groups if self.is_running(group)]
        trained = {group for selection in self.selections for group in selection.groups}
        waiting = [
            group
            for group in self.groups
            if group not in trained | self.aborted and not self.is_running(group) and self.is_valid(group)
        ]
        surplus = scheduler.totals["surplus"]
        assert scheduler.in_flight == len(running) + len(waiting) - surplus
        if not surplus and self.rules.foresight:
            certain = len(waiting) + sum(self.is_split(group) for group in running)
            assert certain - 1e-9 <= scheduler.expected_valid() <= len(waiting) + len(running)

    def iteration(self) -> Select:
        self.first_of_iteration = len(self.groups)
        self.do(self.scheduler.begin())
        while self.scheduler.open:
            self.check_books()
            self.event()
        self.check_books()
        return self.selections[-1]

    def event(self) -> None:
        live = sorted(key for key in self.generating if key[0] not in self.aborted)
        judged = sorted(key for key in self.judging if key[0] not in self.aborted)
        assert live or judged, "nothing is under way, and the iteration has not ended"
        chance = self.random.random()
        if chance < 0.03 and live:
            self.do(self.scheduler.lost(live[0][0]))
        elif chance < 0.06:
            self.refused_or_late()
        elif judged and (not live or self.random.random() < 0.5):
            group, member = key = self.random.choice(judged)
            self.judging.remove(key)
            self.rewarded.add(key)
            passed = self.verdicts(group)[member]
            self.do(self.scheduler.rewarded(group, member, None if passed is None else float(passed), passed))
        else:
            key = self.random.choice(live)
            self.generating.remove(key)
            self.do(self.scheduler.finished(*key))

    def refused_or_late(self) -> None:
        """Events that must have no effect."""
        group = self.random.choice(self.groups)
        if group in self.aborted:
            assert self.scheduler.finished(group, 0) == [] == self.scheduler.rewarded(group, 0, 1.0, True)
        for key in list(self.rewarded)[:1]:
            if key[0] not in self.aborted:
                for event in (self.scheduler.finished, lambda g, m: self.scheduler.rewarded(g, m, 1.0, True)):
                    with pytest.raises(ValueError, match=r"cannot follow rewarded|not in flight"):
                        event(*key)


RULES = st.builds(
    lambda name, wanted, size, most, foresight: Rules.preset(
        name, wanted, size, most_groups=wanted * most, foresight=foresight
    ),
    st.sampled_from(sorted(PRESETS)),
    st.integers(1, 6),
    st.integers(2, 5),
    st.integers(1, 6),
    st.booleans(),
)
SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(RULES, SEEDS, SEEDS)
def test_whatever_the_order_the_books_balance_and_the_selection_is_that_of_the_starting_order(
    rules: Rules, seed: int, content: int
) -> None:
    """The heart of it: which groups are selected follows from their content, never from who was first to finish."""
    run = Bystander(rules, seed, content)
    for version in (1, 2, 3):
        selection = run.iteration()
        since = range(run.first_of_iteration, len(run.groups))
        valid = [group for group in since if run.is_valid(group)]
        assert list(selection.groups) == valid[: rules.groups_wanted]
        assert selection.short == (len(selection.groups) < rules.groups_wanted)
        assert not selection.short or len(since) == rules.most or rules.launch == "once"
        assert len(since) <= rules.most
        assert set(run.scheduler.fates) == set(since)
        run.do(run.scheduler.weights_updated(version))


@settings(max_examples=20, deadline=None)
@given(SEEDS, SEEDS, SEEDS)
def test_seamless_selects_the_same_groups_in_any_two_orders(one: int, other: int, content: int) -> None:
    rules = Rules.preset("seamless", 4, 3)
    selections = [Bystander(rules, seed, content).iteration() for seed in (one, other)]
    assert selections[0] == selections[1] == Bystander(
        Rules.preset("naive", 4, 3), other, content
    ).iteration()  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.booleans(), SEEDS, SEEDS)
def test_groups_carried_over_are_never_too_old(
    staleness: int, foresight: bool, seed: int, content: int
) -> None:
    rules = Rules.preset("seamless", 4, 3, staleness=staleness, foresight=foresight)
    run, trained = Bystander(rules, seed, content), list[int]()
    for version in range(1, 6):
        selection = run.iteration()
        assert not run.aborted & set(selection.groups)
        assert all(version - 1 - run.version_of[group] <= staleness for group in selection.groups)
        trained += selection.groups
        run.do(run.scheduler.weights_updated(version))
        run.check_books()
    assert trained == sorted(set(trained))  # in the order of starting over the whole run, none twice
    oldest = run.scheduler.version - staleness
    for group in run.groups:  # given up or filtered: nothing else is missing before what was trained last
        if group < trained[-1] and run.is_valid(group) and run.version_of[group] >= oldest:
            assert group in trained


# ── the estimate, and what outlives a restart ───────────────────────────────────────────────────────────────────────


def test_valid_share_by_hand() -> None:
    """Ten groups get two rewards, four of them split; three of the six get a third, one splits; the prior faded."""
    share = ValidShare(3, 0.5)
    assert share.given()[0] == pytest.approx(0.5) == share.given()[1]
    for _ in range(60):
        share.fade()
    for split in [True] * 4 + [False] * 6:
        share.observe(1, False)
        share.observe(2, split)
    for split in (True, False, False):
        share.observe(3, split)
    assert share.given() == pytest.approx([1 - 0.6 * 2 / 3, 1 - 0.6 * 2 / 3, 1 / 3, 0])


def test_valid_share_is_not_misled_by_groups_that_end_early() -> None:
    """Solved groups end at once, the others have shown half of their members: of those that ended, none is valid."""
    share, draw = ValidShare(16, 0.5), random.Random(0)
    rates = [1.0] * 400 + [0.5] * 400
    for rate in rates:
        seen: set[bool] = set()
        for member in range(1, 17 if rate == 1 else 9):
            if len(seen) < 2:
                seen.add(draw.random() < rate)
                share.observe(member, len(seen) == 2)
    assert share.given()[0] == pytest.approx(0.5, abs=0.03)


def test_state_goes_through_json_and_the_next_iteration_is_the_same() -> None:
    run = Bystander(Rules.preset("seamless", 4, 3), seed=1, content=2)
    for version in (1, 2):
        run.iteration()
        run.do(run.scheduler.weights_updated(version))
    again = Scheduler(run.rules)
    again.load_state_dict(json.loads(json.dumps(run.scheduler.state_dict())))
    assert again.state_dict() == run.scheduler.state_dict()
    assert again.begin() == run.scheduler.begin()
    assert (again.version, again.started, again.totals) == (2, run.scheduler.started, run.scheduler.totals)


def test_groups_carried_over_count_as_aborted_after_a_restart() -> None:
    run = Bystander(Rules.preset("seamless", 4, 3, staleness=1), seed=1, content=2)
    run.iteration()
    assert run.scheduler.in_flight
    again = Scheduler(run.rules)
    again.load_state_dict(run.scheduler.state_dict())
    assert again.started == sum(again.totals.values())
    assert again.totals["aborted"] == run.scheduler.in_flight
    members = again.members
    assert members["started"] == members["rewarded"] + members["aborted"] + members["lost"]


def test_scheduler_and_simulation_need_no_torch() -> None:
    code = "import sys, training.rl.scheduler, training.rl.simulate; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT).strip() == b"False"
