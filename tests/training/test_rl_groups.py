"""Advantages against numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rl.groups import LEAST_STD, advantages, pass_rate

REWARD = st.one_of(st.none(), st.floats(0, 1).map(lambda x: round(x, 3)))


@given(st.lists(REWARD, min_size=1, max_size=20), st.sampled_from(["std", "none"]))
def test_advantages_are_standardised_rewards_of_the_decided(rewards: list[float | None], scale: str) -> None:
    found = advantages(rewards, scale)  # type: ignore[arg-type]
    assert [one is None for one in found] == [reward is None for reward in rewards]
    values = np.array([reward for reward in rewards if reward is not None])
    if not len(values):
        return
    wanted = values - np.mean(values)
    if scale == "std":
        wanted = wanted / max(np.std(values), LEAST_STD)
    np.testing.assert_allclose([one for one in found if one is not None], wanted, atol=1e-9)
    assert sum(one for one in found if one is not None) == pytest.approx(0, abs=1e-7)


def test_one_right_answer_of_sixteen() -> None:
    found = advantages([1.0] + [0.0] * 15)
    assert found[0] == pytest.approx(15**0.5) and found[1] == pytest.approx(-(15**-0.5))


def test_equal_rewards_have_exactly_no_advantage() -> None:
    assert advantages([0.1] * 16) == [0.0] * 16  # 16 · 0.1 / 16 is not 0.1 in floating point sums
    assert advantages([0.7]) == [0.0] and advantages([None, None]) == [None, None]


def test_a_hair_of_difference_is_not_blown_up() -> None:
    found = advantages([0.5, 0.5 + 1e-6])
    assert all(one is not None and abs(one) < 1e-3 for one in found)


def test_pass_rate_leaves_out_what_is_undecided() -> None:
    assert pass_rate([True, None, False, None]) == 0.5
    assert pass_rate([None]) is None and pass_rate([True, None]) == 1.0
