"""The simulated cluster: engines against a token-by-token walk, sums worked by hand, and what the ladder promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RequestError
from training.rl.scheduler import PRESETS, Rules
from training.rl.simulate import Answers, Cluster, Engine, Recorded, Synthetic, simulate

SMALL = Cluster(engines=8, slots=32, judges=8, train_seconds=10)


class Given:
    """Groups as written down: lengths, verdicts, judge seconds."""

    def __init__(self, *groups: tuple[list[int], list[bool], list[float]]) -> None:
        self.groups = [Answers(*(np.array(column) for column in group)) for group in groups]

    def answers(self, group: int, size: int) -> Answers:
        return self.groups[group]


def walk(lengths: list[int], cluster: Cluster) -> list[float]:
    """When each answer is complete on one engine, counted step by step, every running answer a token a step."""
    line, running, now, done = list(range(len(lengths))), dict[int, int](), 0.0, [0.0] * len(lengths)
    while line or running:
        while line and len(running) < cluster.slots:
            running[line.pop(0)] = 0
        now += cluster.step_seconds + cluster.step_seconds_per_answer * len(running)
        running = {answer: tokens + 1 for answer, tokens in running.items()}
        for answer in [a for a, tokens in running.items() if tokens == lengths[a]]:
            done[answer] = now
            del running[answer]
    return done


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=25), st.integers(1, 6))
def test_an_engine_is_as_fast_as_a_walk_over_its_steps(lengths: list[int], slots: int) -> None:
    cluster = Cluster(engines=1, slots=slots, step_seconds=0.012, step_seconds_per_answer=0.003)
    engine, done = Engine(cluster), [0.0] * len(lengths)
    engine.line.extend((0, member, float(length)) for member, length in enumerate(lengths))
    engine.fill()
    while engine.running:
        engine.advance(engine.next())
        for answer in engine.complete():
            done[answer.member] = engine.now
        engine.fill()
    expected = walk(lengths, cluster)
    assert done == pytest.approx(expected)
    assert engine.busy == pytest.approx(max(expected))


def test_seconds_idle_time_and_occupancy_by_hand() -> None:
    """Two engines, one answer each of 10 and 30 tokens, a second a token; one judge that needs 5 and 7 seconds."""
    cluster = Cluster(2, 4, step_seconds=0.9, step_seconds_per_answer=0.1, judges=1, train_seconds=100)
    workload = Given(([10, 30], [True, False], [5, 7]))
    naive = simulate(Rules.preset("naive", 1, 2), workload, cluster, 1)
    assert naive.rollout_seconds == pytest.approx(
        30 + 5 + 7
    )  # judged when both are there, one after the other
    assert naive.seconds == pytest.approx(naive.rollout_seconds + 100)
    assert naive.busy_seconds == pytest.approx(10 + 30)
    assert naive.idle_ratio == pytest.approx(1 - 40 / (2 * 42))
    assert naive.occupancy == pytest.approx(40 / (2 * 42 * 4))
    assert naive.tokens == {"trained": pytest.approx(40)}
    assert naive.tokens_per_second == pytest.approx(40 / (2 * 42))
    rules = replace(Rules.preset("asynchronous_reward", 1, 2), launch="once")
    asynchronous = simulate(rules, workload, cluster, 1)
    assert asynchronous.rollout_seconds == pytest.approx(
        37
    )  # the short answer was judged while the long one ran


def test_aborted_groups_are_idle_time_and_waste() -> None:
    """One engine. Group 0 is complete after 10 steps, group 1, which ran beside it, would have needed 1,000."""
    cluster = Cluster(1, 4, step_seconds=0.6, step_seconds_per_answer=0.1, train_seconds=0)
    workload = Given(([10, 10], [True, False], [0, 0]), ([1000, 1000], [True, False], [0, 0]))
    result = simulate(Rules.preset("seamless", 1, 2), workload, cluster, 1)
    assert result.groups == {"trained": 1, "aborted": 1}
    assert result.rollout_seconds == pytest.approx(10 * (0.6 + 0.4))
    assert result.tokens == {"trained": pytest.approx(20), "aborted": pytest.approx(20)}
    assert result.waste == pytest.approx(0.5)
    assert result.busy_seconds == pytest.approx(10)
    assert result.idle_ratio == pytest.approx(0.5)  # half of every step was for answers nobody used


def arms(wanted: int = 16, size: int = 8) -> dict[str, Rules]:
    presets = {name: Rules.preset(name, wanted, size) for name in PRESETS}
    return presets | {
        "at_once": replace(presets["seamless"], stop="at_once"),
        "carried": replace(presets["seamless"], staleness=1),
    }


@pytest.mark.parametrize("name", list(arms()))
def test_every_group_is_accounted_for_and_every_token_of_complete_groups(name: str) -> None:
    rules, workload = arms()[name], Synthetic(seed=3)
    result = simulate(rules, workload, SMALL, 4)
    unended = result.started - result.groups.total()
    assert unended == 0 or (name == "carried" and 0 < unended < 64)
    assert result.groups["trained"] == sum(map(len, result.selected)) == 4 * 16 == result.staleness.total()
    if not result.groups["aborted"] and not unended:
        whole = sum(workload.answers(group, 8).lengths.sum() for group in range(result.started))
        assert sum(result.tokens.values()) == pytest.approx(whole)
    trained = sum(workload.answers(group, 8).lengths.sum() for groups in result.selected for group in groups)
    assert result.tokens["trained"] == pytest.approx(trained)
    assert max(result.staleness) == (1 if name == "carried" else 0)
    assert 0 < result.idle_ratio < 1 and 0 < result.occupancy < 1 and result.short == 0


def test_the_same_arguments_give_the_same_run() -> None:
    runs = [simulate(arms()["seamless"], Synthetic(seed=3), SMALL, 2) for _ in range(2)]
    assert runs[0] == runs[1] != simulate(arms()["seamless"], Synthetic(seed=4), SMALL, 2)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest difference of the two distribution functions."""
    at = np.concatenate([one, other])
    parts = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (one, other))
    return float(np.abs(np.subtract(*parts)).max())


def mean_lengths(workload: Synthetic, groups: Any) -> np.ndarray:
    return np.array([workload.answers(group, 8).lengths.mean() for group in groups])


def valid_groups(workload: Synthetic, groups: range) -> list[int]:
    return [group for group in groups if 0 < workload.answers(group, 8).passed.sum() < 8]


def test_first_in_first_out_selects_what_was_started_abort_at_once_selects_short_answers() -> None:
    """Selection against long answers, measured on whole runs of 512 trained groups, lengths known in advance."""
    workload, rules = Synthetic(seed=5, median_length=2_000, most_tokens=20_000), arms(32)
    runs = {name: simulate(rules[name], workload, SMALL, 16) for name in ("seamless", "at_once", "carried")}
    means = {}
    for name, run in runs.items():
        trained = [group for groups in run.selected for group in groups]
        started = mean_lengths(workload, range(run.started))
        means[name] = mean_lengths(workload, trained).mean() / started.mean()
        limit = 1.63 * (1 / len(trained) + 1 / run.started) ** 0.5  # 1 % level
        far = distance(mean_lengths(workload, trained), started)
        assert (far > limit) == (name == "at_once"), (name, far, limit)
    assert means["at_once"] < 0.85 and abs(means["seamless"] - 1) < 0.1 and abs(means["carried"] - 1) < 0.1
    # The reason: whatever the clock did, each iteration trains on the first valid groups since it began.
    run = runs["seamless"]
    for first, after, groups in zip(run.first, [*run.first[1:], run.started], run.selected, strict=True):
        assert groups == valid_groups(workload, range(first, after))[:32]


def test_all_presets_train_the_first_iteration_on_the_same_groups() -> None:
    selections = {
        name: simulate(rules, Synthetic(seed=2), SMALL, 1).selected[0] for name, rules in arms().items()
    }
    seamless = selections["seamless"]
    assert all(
        selections[name] == seamless for name in ("naive", "continuous", "asynchronous_reward", "carried")
    )
    assert selections["at_once"] != seamless
    assert selections["static"] == list(range(16))


@pytest.mark.parametrize("seed", range(8))
def test_ending_earlier_never_makes_an_iteration_longer(seed: int) -> None:
    """Up to where they end, the three are the same run; in the first iteration that is an order without exception."""
    seconds = [
        simulate(arms()[name], Synthetic(seed=seed), SMALL, 1).rollout_seconds
        for name in ("at_once", "seamless", "asynchronous_reward")
    ]
    assert seconds == sorted(seconds)


def test_seamless_is_faster_than_naive_and_slower_than_carrying_over() -> None:
    seconds = {
        name: sum(simulate(arms()[name], Synthetic(seed=seed), SMALL, 4).seconds for seed in range(3))
        for name in ("naive", "seamless", "carried")
    }
    assert seconds["naive"] > 1.5 * seconds["seamless"] > 1.5 * seconds["carried"]


def test_recorded_traces_are_replayed_whole_groups_at_a_time(tmp_path: Path) -> None:
    table = {"group": [0, 0, 7, 7], "length": [5, 6, 50, 60], "passed": [True, False, None, False]}
    for name in ("a", "b"):
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    workload = Recorded([tmp_path / "a.parquet", tmp_path / "b.parquet"], seed=1)
    drawn = [workload.answers(group, 2) for group in range(200)]
    assert {tuple(answers.lengths) for answers in drawn} == {(5, 6), (50, 60)}
    assert 60 < sum(answers.lengths[0] == 5 for answers in drawn) < 140
    assert all(answers.passed.dtype == bool and not answers.judge_seconds.any() for answers in drawn)
    assert [a.lengths.tolist() for a in drawn[:9]] == [
        workload.answers(g, 2).lengths.tolist() for g in range(9)
    ]
    result = simulate(Rules.preset("seamless", 4, 2), workload, SMALL, 2)
    assert result.groups["trained"] == 8
    with pytest.raises(RequestError, match="no group of 16 members: its groups have 2"):
        workload.answers(0, 16)


def test_a_trace_without_its_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"group": [1], "tokens": [2]}), tmp_path / "t.parquet")
    with pytest.raises(RequestError, match=r"t\.parquet: no column length, passed"):
        Recorded([tmp_path / "t.parquet"])


def test_synthetic_lengths_and_verdicts_are_what_they_are_said_to_be() -> None:
    drawn = [Synthetic(seed=9).answers(group, 16) for group in range(4000)]
    lengths = np.stack([answers.lengths for answers in drawn])
    assert np.median(lengths) == pytest.approx(6_500, rel=0.05) and lengths.max() == 32_768
    uncapped = np.log(
        np.stack([Synthetic(seed=9, most_tokens=10**9).answers(g, 16).lengths for g in range(4000)])
    )
    assert uncapped.std() == pytest.approx(0.95, rel=0.03)
    between = uncapped.mean(1).var(ddof=1) - uncapped.var(1, ddof=1).mean() / 16
    assert between / uncapped.var() == pytest.approx(0.5, abs=0.03)
    valid = np.array([0 < answers.passed.sum() < 16 for answers in drawn])
    assert valid.mean() == pytest.approx(0.41, abs=0.025)
    code = np.array([answers.judge_seconds[0] != answers.judge_seconds[1] for answers in drawn])
    assert code.mean() == pytest.approx(0.25, abs=0.025)
