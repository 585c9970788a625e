"""The numbers of an evaluation against enumeration, textbook formulas and simulated benchmarks whose truth is known."""

import itertools
import math

import numpy as np
import pytest

from training.evaluation import mean_of_problems, paired_difference, pass_at_k, score, students_t


@pytest.mark.parametrize(
    "freedom, quantile",  # two-sided 95 %, as printed in tables of Student's t
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (9, 2.262),
        (29, 2.045),
        (100, 1.984),
        (100_000, 1.960),
    ],
)
def test_students_t_is_that_of_the_tables(freedom, quantile):
    assert students_t(freedom) == pytest.approx(quantile, abs=5e-4)


def test_students_t_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 4, 5, 8, 31, 498, 5001):
        for confidence in (0.8, 0.95, 0.999):
            expected = stats.t.ppf(0.5 + confidence / 2, freedom)
            assert students_t(freedom, confidence) == pytest.approx(expected, rel=1e-9)


def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_answer():
    for n, k in itertools.product(range(1, 8), repeat=2):
        if k > n:
            continue
        expected = [
            np.mean([min(drawn) < right for drawn in itertools.combinations(range(n), k)])
            for right in range(n + 1)
        ]
        np.testing.assert_allclose(pass_at_k([n] * (n + 1), range(n + 1), k), expected, atol=1e-12)
    with pytest.raises(ValueError, match="pass@3 needs at least 3 samples"):
        pass_at_k([4, 2], [1, 1], 3)


def test_a_score_worked_by_hand():
    """Problem a: right, right, wrong, undecided; problem b: four times wrong, two of them cut off."""
    nan = math.nan
    found = score(
        list("abababab"),
        [1, 0, 1, 0, 0, 0, nan, 0],
        [0, 0, 0, 1, 0, 1, 0, 0],
        [10, 20, 10, 20, 10, 20, nan, 30],
        k=(2,),
    )
    assert (found.problems, found.samples) == (2, 8)
    assert found.pass_at[1].value == pytest.approx((2 / 4 + 0) / 2)
    assert found.pass_at[2].value == pytest.approx(
        (1 - 1 / 6 + 0) / 2
    )  # of six pairs of a, one has no right one
    assert found.decided.value == pytest.approx((2 / 3 + 0) / 2)
    assert (found.undecided, found.truncated) == (1 / 8, 2 / 8)
    assert found.tokens == pytest.approx(120 / 7)


def test_problems_weigh_alike_however_many_samples_they_have():
    found = score(["a"] * 9 + ["b"], [0] * 9 + [1], [0] * 10, [1] * 10)
    assert found.pass_at[1].value == 0.5


def test_with_one_sample_a_problem_the_interval_is_wilsons():
    """8 of 10: an effective size of 10 - 1 (the unbiased variance) in the textbook's formula, worked out here."""
    t, n, p = 2.262157, 9, 0.8
    middle = (p + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * math.sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    found = mean_of_problems([1] * 8 + [0] * 2, 10)
    assert found == pytest.approx((0.8, middle - half, middle + half), abs=1e-6)


def test_nothing_collapses_where_every_problem_is_alike():
    solved, missed = mean_of_problems([1.0] * 30, 960), mean_of_problems([0.0] * 30, 960)
    assert solved.high == 1 and 0.85 < solved.low < 0.9  # "the rule of three": 1 - 3/30 = 0.9
    assert missed == pytest.approx([1 - solved.value, 1 - solved.high, 1 - solved.low])
    even = mean_of_problems([0.5] * 30, 960)  # no spread between problems: 960 independent coins
    assert even.high - even.low == pytest.approx(2 * students_t(29) * math.sqrt(0.25 / 960), rel=0.01)
    same = paired_difference([1.0] * 30, [1.0] * 30, 32)
    assert same.value == 0 and -0.03 < same.low < 0 < same.high < 0.03
    assert mean_of_problems([0.25], 4) == (0.25, 0, 1)
    assert paired_difference([0.25], [0.5], 4) == (0.25, -1, 1)


def test_with_one_sample_a_problem_the_difference_is_bonett_and_prices():
    """20 problems: both right 8, both wrong 5, only the first 2, only the second 5."""
    first = [1] * 8 + [0] * 5 + [1] * 2 + [0] * 5
    second = [1] * 8 + [0] * 5 + [0] * 2 + [1] * 5
    p12, p21 = (2 + 1) / 22, (5 + 1) / 22
    half = students_t(19) * math.sqrt((p12 + p21 - (p21 - p12) ** 2) / 22)
    found = paired_difference(first, second, 1)
    assert found == pytest.approx((3 / 20, p21 - p12 - half, p21 - p12 + half))


@pytest.mark.parametrize(
    "a, b, problems, samples",
    [(1, 1, 30, 8), (0.2, 0.3, 30, 1), (0.5, 9.5, 30, 1), (5, 0.2, 15, 1), (0.1, 0.9, 164, 32)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(a, b, problems, samples):
    """Problems whose pass rates are Beta(a, b): the truth is a / (a+b)."""
    draws, truth = 800, a / (a + b)
    rng = np.random.default_rng(7)
    rates = rng.binomial(samples, rng.beta(a, b, (draws, problems))) / samples
    found = [mean_of_problems(row, problems * samples) for row in rates]
    held = np.mean([each.low <= truth <= each.high for each in found])
    assert held > 0.925  # 0.95 but for three standard errors of 800 draws
    if (problems, samples) == (15, 1):  # where a plain standard error is 0 every other time
        plain = np.abs(rates.mean(1) - truth) <= 1.96 * rates.std(1, ddof=1) / math.sqrt(problems)
        assert np.mean(plain) < 0.6


def test_the_difference_of_two_models_is_found_where_unpaired_intervals_overlap():
    """Two models that differ by 0.05 on every problem, on problems from hopeless to trivial."""
    rng = np.random.default_rng(11)
    rates = rng.beta(0.5, 0.5, (300, 164)) * 0.95
    first, second = rng.binomial(8, rates) / 8, rng.binomial(8, rates + 0.05) / 8
    found = [paired_difference(a, b, 8) for a, b in zip(first, second, strict=True)]
    assert np.mean([each.low <= 0.05 <= each.high for each in found]) > 0.91
    assert np.mean([each.low > 0 for each in found]) > 0.85
    alone = [
        (mean_of_problems(a, 1312), mean_of_problems(b, 1312)) for a, b in zip(first, second, strict=True)
    ]
    assert np.mean([b.low > a.high for a, b in alone]) < 0.05


def test_no_difference_is_rarely_taken_for_one():
    rng = np.random.default_rng(3)
    rates = rng.beta(0.5, 0.5, (500, 30))
    pairs = zip(rng.binomial(4, rates) / 4, rng.binomial(4, rates) / 4, strict=True)
    found = [paired_difference(a, b, 4) for a, b in pairs]
    assert np.mean([each.low > 0 or each.high < 0 for each in found]) < 0.06


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="no samples"):
        score([], [], [], [])
