"""Which problems are worth training on, by hand; and levels of tests against a search through all groupings."""

import itertools
import random
import statistics

import pytest
from small_runs import reasons_of, rows_of, run
from test_rollouts import PROBLEMS, write_problems, write_rollouts

from mixtures.difficulty import Counts, Difficulty, DifficultyConfig, decide, level_scores, levels
from mixtures.rollouts import Rollouts, RolloutVerdicts
from pipeline.errors import RequestError
from synth.verify.isolation import sandbox

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
CONFIG = DifficultyConfig()


def counts(strong="", sft="", passes=None):
    """Of verdicts, a letter each: r(ight), w(rong), u(ndecided). passes: of each wrong answer."""
    made = Counts()
    words = {"r": ("right", [True]), "w": ("wrong", passes or [False]), "u": ("undecided", [None])}
    for model, role, said in (("big", "strong", strong), ("small", "sft", sft)):
        for letter in said:
            made.add(model, role, *words[letter])
    return made


@pytest.mark.parametrize(
    ("strong", "sft", "kind", "reference", "drop"),
    [
        ("wwwr", "wwww", "math", None, None),
        ("wwww", "wwww", "math", None, "too_hard"),
        ("wwww", "wwwr", "math", None, "too_hard"),
        ("", "wwww", "math", None, None),  # no strong model was asked
        ("uuuw", "wwww", "math", None, None),  # too few are decided
        ("uwww", "wwww", "math", None, "too_hard"),
        ("uuuu", "uuuu", "math", None, None),
        ("rrrr", "rrrrrrrrrw", "math", None, None),  # 0.9 is not above 0.9
        ("rrrr", "r" * 15 + "w", "math", None, "too_easy"),
        ("rrrr", "r" * 9 + "u", "math", None, "too_easy"),  # undecided ones do not count
        ("rrrr", "ruuu", "math", None, None),
        ("rrrr", "r" * 15 + "w", "reasoning_gym", None, "too_easy"),
        ("rrrr", "r" * 15 + "w", "code", "passed", None),
        ("rrrr", "r" * 16, "code", "passed", "too_easy"),
        ("rrrr", "r" * 15 + "u", "code", "passed", None),  # of code all must be right
        ("wwww", "wwww", "code", "passed", None),  # its own solution says that it can be solved
        ("wwww", "wwww", "code", "no_solution", "no_test_passed"),
        ("wwww", "wwww", "code", "undecided", "no_test_passed"),
        ("uuuw", "wwww", "code", None, None),
    ],
)
def test_fates_by_hand(strong, sft, kind, reference, drop):
    assert decide(counts(strong, sft), kind, reference, CONFIG).drop == drop


def test_a_passed_test_saves_a_problem_in_code_and_doubt_is_noted():
    assert decide(counts("wwww", passes=[True, False]), "code", None, CONFIG).drop is None
    note = decide(counts("uuuw", "ww"), "math", None, CONFIG)
    assert note == (None, "strong: 1 of 4 rollouts are decided")


def best_grouping(values, groups):
    """The least sum of squared distances over all ways to cut the sorted values."""
    ordered, found = sorted(values, reverse=True), []
    for cuts in itertools.combinations(range(1, len(ordered)), groups - 1):
        parts = [ordered[a:b] for a, b in itertools.pairwise([0, *cuts, len(ordered)])]
        if all(a[-1] != b[0] for a, b in itertools.pairwise(parts)):  # equal rates share a level
            found.append(sum(statistics.pvariance(part) * len(part) for part in parts))
    return min(found)


def test_levels_are_the_best_of_all_groupings():
    draw = random.Random(0)
    for _ in range(300):
        rates = [draw.randrange(9) / 8 for _ in range(draw.randrange(1, 11))]
        most = draw.randrange(1, 5)
        found = levels(rates, most)
        groups = min(most, len(set(rates)))
        assert sorted(set(found)) == list(range(groups))
        for (a, m), (b, n) in itertools.combinations(zip(rates, found, strict=True), 2):
            assert (a == b) <= (m == n) and (a < b) <= (m >= n)  # monotone; level 0 is the easiest
        spread = sum(
            statistics.pvariance(part) * len(part)
            for level in range(groups)
            if (part := [rate for rate, of in zip(rates, found, strict=True) if of == level])
        )
        assert spread == pytest.approx(best_grouping(rates, groups), abs=1e-9)


def test_levels_by_hand():
    assert levels([0.98, 0.97, 0.2, 0.99, 0.15]) == [0, 0, 1, 0, 2]
    assert levels([0.98, 0.97, 0.2, 0.99, 0.15], 2) == [0, 0, 1, 0, 1]
    assert levels([0.5, 0.5]) == [0, 0]
    assert levels([1.0, None, 0.0]) == [0, 1, 1]
    assert levels([None, None]) == [0, 0]
    assert levels([0.3], 1) == [0]
    for count in range(1, 6):
        assert sum(level_scores(count)) == pytest.approx(1) == sum(level_scores(count, "rising"))
    assert level_scores(3, "rising") == pytest.approx([1 / 6, 1 / 3, 1 / 2])


PROGRAM = "```python\ndef square(n):\n    return {}\n```"
ANSWERS = {  # problem → of the strong model, of the one to be trained
    "six": ([r"\boxed{6}", r"\boxed{7}"], [r"\boxed{8}", r"\boxed{6}"]),
    "digits": ([r"\boxed{144}"] * 2, [r"\boxed{124}", r"\boxed{4}"]),
    "square": ([PROGRAM.format("n * n"), PROGRAM.format("n + n")], [PROGRAM.format("0"), "None."]),
    "hard": ([r"\boxed{1}"] * 2, [r"\boxed{1}"] * 2),
    "easy": ([r"\boxed{5}"] * 2, [r"\boxed{5}"] * 2),
}


@needs_sandbox
def test_from_rollouts_to_problems_worth_training_on(tmp_path):
    more = [
        (name, f"{name}?", "math", {"kind": "math", "answer": "5"}, 1) for name in ("hard", "easy", "silent")
    ]
    write_problems(tmp_path, [*PROBLEMS, *more])
    rows = [
        (problem, model, role, sample, answer, "stop")
        for problem, said in ANSWERS.items()
        for (model, role), answers in zip((("big", "strong"), ("small", "sft")), said, strict=True)
        for sample, answer in enumerate(answers)
    ]
    files = [write_rollouts(tmp_path / "answers.jsonl", rows)]
    *_, summary = run(tmp_path, Rollouts(Rollouts.Config(files=files)), RolloutVerdicts(), Difficulty())
    assert dict(summary.dropped) == {"too_hard": 1, "too_easy": 1}
    names = {row["id"]: row["problem_id"] for row in rows_of(tmp_path, "problems")}
    why = {names[id]: reason for id, reason in reasons_of(tmp_path, "rl_problems").items()}
    assert why == {"hard": "too_hard", "easy": "too_easy"}
    kept = {row["problem_id"]: row for row in rows_of(tmp_path, "rl_problems")}
    assert set(kept) == {"six", "digits", "square", "silent"}
    assert kept["six"]["rates"] == [
        {"model": "big", "role": "strong", "samples": 2, "decided": 2, "rate": 0.5},
        {"model": "small", "role": "sft", "samples": 2, "decided": 2, "rate": 0.5},
    ]
    assert (kept["six"]["test_rates"], kept["six"]["levels"], kept["six"]["level_scores"]) == (
        [0.5],
        [0],
        [1.0],
    )
    # of 144, 144, 124 and 4: the units are right four times, the tens twice, the hundreds three times
    assert (kept["digits"]["test_rates"], kept["digits"]["levels"]) == ([1.0, 0.5, 0.75], [0, 2, 1])
    assert kept["digits"]["level_scores"] == pytest.approx([1 / 3] * 3)
    # of n * n, n + n, 0 and no program: 0² is right three times, 1² once, 2² twice
    assert (kept["square"]["test_rates"], kept["square"]["levels"]) == ([0.75, 0.25, 0.5], [0, 2, 1])
    assert (kept["silent"]["rates"], kept["silent"]["test_rates"], kept["silent"]["levels"]) == (
        [],
        [None],
        [0],
    )
    silent = kept.pop("silent")["note"]
    assert silent == "strong: no rollouts; sft: no rollouts" and {r["note"] for r in kept.values()} == {None}


@needs_sandbox
def test_verdicts_up_to_the_first_failed_test_are_not_enough(tmp_path):
    write_problems(tmp_path)
    files = [write_rollouts(tmp_path / "answers.jsonl", [("six", "big", "strong", 0, "6", "stop")])]
    short = RolloutVerdicts(RolloutVerdicts.Config(every_test=False))
    with pytest.raises(RequestError, match="run `rollout_verdicts` with every_test"):
        run(tmp_path, Rollouts(Rollouts.Config(files=files)), short, Difficulty())
