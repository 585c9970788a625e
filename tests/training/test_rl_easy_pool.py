"""The easy pool: who is drawn, who moves where, and that a draw is a function of seed, iteration and group."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from training.rl.easy_pool import EasyPool


def test_every_problem_comes_once_before_any_comes_twice() -> None:
    pool = EasyPool(23, alpha=0.5, seed=4)  # the pool is empty: α has nothing to draw from
    drawn = []
    for iteration in range(5):
        pool.begin(iteration)
        drawn += [pool.draw(group) for group in range(23)]
    for epoch in range(5):
        assert sorted(drawn[23 * epoch : 23 * (epoch + 1)]) == list(range(23))
    assert drawn[:23] != drawn[23:46] != list(range(23))


def test_solved_problems_move_to_the_pool_and_return_when_they_are_not() -> None:
    pool = EasyPool(10, alpha=0.0)
    pool.begin(0)
    pool.observe(3, 1.0)
    pool.observe(4, 0.9)
    pool.observe(5, None)
    assert len(pool) == 1
    pool.begin(1)
    assert 3 not in {pool.draw(group) for group in range(40)} and pool.drawn == 0
    pool.observe(3, None)
    assert len(pool) == 1 and pool.returned == 0
    pool.observe(3, 0.5)
    assert len(pool) == 0 and pool.returned == 1
    pool.begin(2)
    assert 3 in {pool.draw(group) for group in range(20)} and pool.returned == 0


def test_a_tenth_of_the_groups_is_drawn_from_the_pool() -> None:
    pool = EasyPool(1000, alpha=0.1, seed=9)
    pool.begin(0)
    for problem in range(0, 1000, 2):
        pool.observe(problem, 1.0)
    seen: Counter[int] = Counter()
    total = 0
    for iteration in range(1, 21):
        pool.begin(iteration)
        drawn = [pool.draw(group) for group in range(500)]
        total += pool.drawn
        assert sum(problem % 2 == 0 for problem in drawn) == pool.drawn
        seen.update(problem for problem in drawn if problem % 2 == 0)
    assert 850 < total < 1150  # 10,000 draws: three standard deviations are 90
    assert len(seen) > 350  # spread over the pool


def test_a_small_pool_is_drawn_from_once_an_iteration() -> None:
    pool = EasyPool(100, alpha=0.5)
    pool.begin(0)
    for problem in (7, 8):
        pool.observe(problem, 1.0)
    for iteration in (1, 2):
        pool.begin(iteration)
        drawn = [pool.draw(group) for group in range(60)]
        assert pool.drawn == 2 and drawn.count(7) == drawn.count(8) == 1


def test_an_empty_main_set_draws_from_the_pool() -> None:
    pool = EasyPool(3, alpha=0.0)
    pool.begin(0)
    for problem in range(3):
        pool.observe(problem, 1.0)
    pool.begin(1)
    assert {pool.draw(group) for group in range(30)} == {0, 1, 2} and pool.drawn == 30


def test_an_aborted_problem_comes_first_the_next_time() -> None:
    pool = EasyPool(10, alpha=0.0, seed=2)
    pool.begin(0)
    first = [pool.draw(group) for group in range(6)]
    pool.unseen(first[2])
    pool.unseen(first[5])
    pool.begin(1)
    then = [pool.draw(group) for group in range(6, 12)]
    assert then[:2] == [first[2], first[5]]
    assert sorted({*first, *then}) == list(range(10))  # nobody was left out


@given(st.integers(1, 30), st.integers(0, 3), st.data())
def test_the_state_is_all_there_is(problems: int, seed: int, data: st.DataObject) -> None:
    """Drawn anew from a state that went through JSON, an iteration has the same problems, however often it is begun."""
    pool = EasyPool(problems, alpha=0.3, seed=seed)
    for iteration in range(3):
        pool.begin(iteration)
        drawn = [pool.draw(group) for group in range(data.draw(st.integers(0, 40)))]
        for problem in drawn:
            outcome = data.draw(st.sampled_from([1.0, 0.5, None, "aborted"]))
            pool.unseen(problem) if outcome == "aborted" else pool.observe(problem, outcome)  # type: ignore[arg-type]
    state = json.loads(json.dumps(pool.state_dict()))
    pool.begin(7)
    wanted = [pool.draw(group) for group in range(20)]
    for _ in range(2):
        other = EasyPool(problems, alpha=0.3, seed=seed)
        other.load_state_dict(state)
        other.begin(7)
        assert [other.draw(group) for group in range(20)] == wanted
