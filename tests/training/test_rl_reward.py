"""Graded rewards against a brute force over levels, by hand, and what must hold for any of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rl.reward import accuracy, graded, random_reward, soft, strict


@st.composite
def judged(draw: st.DrawFn) -> tuple[list[bool | None], list[int], list[float]]:
    """passes, levels (every level has a test), scores."""
    count = draw(st.integers(1, 4))
    levels = list(range(count)) + draw(st.lists(st.integers(0, count - 1), max_size=6))
    levels = draw(st.permutations(levels))
    parts = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    scores = [part / sum(parts) for part in parts]
    passes = draw(st.lists(st.sampled_from([True, False, None]), min_size=len(levels), max_size=len(levels)))
    return passes, levels, scores


def brute_force(passes: list[bool | None], levels: list[int], scores: list[float]) -> tuple[float, float]:
    """Strict and soft, level by level, from sets of tests."""
    hard, easy = 0.0, 0.0
    for level, score in enumerate(scores):
        tests = {t for t, one in enumerate(levels) if one == level}
        passed = {t for t in tests if passes[t] is True}
        easy += score * len(passed) / len(tests)
        below = {t for t, one in enumerate(levels) if one <= level}
        if all(passes[t] is True for t in below):
            hard += score
    return hard, easy


@given(judged())
def test_rewards_are_those_of_a_brute_force(case: tuple[list[bool | None], list[int], list[float]]) -> None:
    passes, levels, scores = case
    found = strict(passes, levels, scores), soft(passes, levels, scores)
    if all(passed is None for passed in passes):
        assert found == (None, None)
        return
    assert found == pytest.approx(brute_force(passes, levels, scores))
    assert found[0] is not None and found[1] is not None
    assert -1e-12 <= found[0] <= found[1] + 1e-12 <= 1 + 1e-9
    if all(passes):
        assert found == (pytest.approx(1.0), pytest.approx(1.0)) and found[0] == found[1]


@given(judged(), st.data())
def test_one_more_test_passed_never_costs_anything(
    case: tuple[list[bool | None], list[int], list[float]], data: st.DataObject
) -> None:
    passes, levels, scores = case
    better = list(passes)
    better[data.draw(st.integers(0, len(passes) - 1))] = True
    for reward in (strict, soft):
        before, after = reward(passes, levels, scores), reward(better, levels, scores)
        assert after is not None and (before is None or after >= before - 1e-12)


def test_by_hand() -> None:
    """Six tests, levels of two, worth 0.2, 0.3 and 0.5."""
    levels, scores = [0, 0, 1, 1, 2, 2], [0.2, 0.3, 0.5]
    everything_but_one_of_the_middle = [True, True, True, False, True, True]
    assert strict(everything_but_one_of_the_middle, levels, scores) == pytest.approx(0.2)
    assert soft(everything_but_one_of_the_middle, levels, scores) == pytest.approx(0.2 + 0.15 + 0.5)
    undecided_at_the_top = [True, True, True, True, True, None]
    assert strict(undecided_at_the_top, levels, scores) == pytest.approx(0.5)
    assert soft(undecided_at_the_top, levels, scores) == pytest.approx(0.75)
    assert strict([False] + [True] * 5, levels, scores) == 0.0


def test_what_a_problem_may_leave_open() -> None:
    assert accuracy(True) == 1.0 and accuracy(False) == 0.0 and accuracy(None) is None
    # no levels: all tests are of one
    assert graded("strict", False, [True, False], None, None) == 0.0
    assert graded("soft", False, [True, False], None, None) == 0.5
    # a verdict without its tests counts as a whole
    assert graded("soft", False, [False], [0, 1], [0.5, 0.5]) == 0.0
    assert graded("strict", None, [None], [0, 1], [0.5, 0.5]) is None
    # 11036 for 1036: every digit is right, the answer is not; its hardest part is not earned
    assert graded("soft", False, [True] * 4, [0, 1, 2, 3], [0.25] * 4) == 0.75
    assert graded("strict", False, [True] * 4, [3, 2, 1, 0], [0.25] * 4) == 0.75
    assert graded("soft", True, [True] * 4, [0, 1, 2, 3], [0.25] * 4) == 1.0


def test_the_coin_is_fair_and_fixed() -> None:
    coins = [random_reward(1, group, member) for group in range(100) for member in range(16)]
    assert set(coins) == {0.0, 1.0} and 0.45 < sum(coins) / len(coins) < 0.55
    assert coins == [random_reward(1, group, member) for group in range(100) for member in range(16)]
    assert coins != [random_reward(2, group, member) for group in range(100) for member in range(16)]
