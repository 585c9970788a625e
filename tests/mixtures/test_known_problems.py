"""Benchmark problems in another form, as queries and as problems of reinforcement learning."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.filters_parts.decontamination import FORMS as FORMS_MADE
from filters.decontamination.rearranged import build_rearranged, look_up_rearranged
from filters.decontamination.tokens import find_tokens
from filters.words import texts_of
from mixtures import problem_rules
from mixtures.known_problems import KnownProblems, Matcher
from mixtures.problems import Problems
from pipeline.problems import load
from synth import prompts

SHARED = Path(__file__).parents[2] / "../shared/data/problems"
FARM = (
    "Ella sold 1,250 jars of honey in spring. In summer she sold twenty-five jars fewer. Each jar costs $0.50 less than a "
    "jar of jam, and a jar of jam costs 7 dollars. How much did she earn in both seasons?"
)
CURVE = r"Let $f(x) = \frac{1}{2}x^2 \le 10$ for all $x \ge 0$. Find the sum of all integers $n$ with $f(n) \ne 8$."
SHORT = r"Simplify $\sqrt{242}$."
LETTERS = "Compute $3+x$"
BENCHMARK = (FARM, CURVE, SHORT, LETTERS)
FORMS = [  # a text, the problem that it holds, and the ways by which that may be found
    (FARM, 0, {"words"}),
    (FARM.replace(" ", "\n "), 0, {"words"}),
    (FARM.replace("1,250", "1250").replace("twenty-five", "25").replace("0.50", ".5"), 0, {"words", "formulas"}),
    (
        "Each jar costs $0.5 less than a jar of jam, and a jar of jam costs seven dollars. In summer Ella sold 25 jars "
        "fewer. She sold 1 250 jars of honey in spring. How much did she earn in both seasons?",
        0,
        {"rearranged"},
    ),
    (
        r"Let \(f\left(x\right) = \dfrac12 x^{2} \leq 10\) for all \(x \geq 0\). Find the sum of all integers \(n\) with "
        r"\(f\left(n\right) \neq 8\).",
        1,
        {"words", "formulas"},
    ),
    ("Let f(x) = ½ x² ≤ 10 for all x ≥ 0. Find the sum of all integers n with f(n) ≠ 8.", 1, {"formulas", "words"}),
    ("Simplify √242.", 2, {"formulas"}),
    (r"SIMPLIFY  $\sqrt{242}$.", 2, {"words"}),
    ("compute  $3+x$", 3, {"words"}),
    (r"Compute \(\left(3 + x\right)\)", 3, {"formulas"}),
]  # fmt: skip
OTHERS = [  # of one template with a problem, or with one word in common
    r"Let $g(x) = \frac{1}{3}x^2 \le 12$ for all $x \ge 1$. Find the sum of all integers $n$ with $g(n) \ne 9$.",
    r"Simplify $\sqrt{243}$.",
    "Compute $3-x$",
    "Ella sold 40 jars of honey. How much did she earn?",
]


@pytest.mark.parametrize("words_around", prompts.SOLVE)
def test_a_problem_in_another_form_is_held(words_around):
    queries = [prompts.SOLVE[words_around].format(problem=text) for text, *_ in FORMS]
    for ngram, min_share in ((16, 0.0), (10, 0.25)):
        found = Matcher(list(BENCHMARK), ngram, min_share).find(queries)
        for (text, number, ways), held in zip(FORMS, found, strict=True):
            assert held is not None and held.problem == number, (ngram, text)
            assert held.way in ways and 0 < held.share <= 1, (ngram, text, held)
            assert held.way != "formulas" or held.share == 1
        assert Matcher(list(BENCHMARK), ngram, min_share).find(OTHERS) == [None] * len(OTHERS)


def test_drawn_tasks_are_compared_as_a_whole():
    tasks = ["Calculate 12 - 25 + 7.", "Calculate 12 + 25 - 7."]
    whole = Matcher(tasks[:1], None)
    assert whole.find([*tasks, " calculate 12 - 25 + 7.\n", "Calculate 12 · 25 + 7."]) == [
        (0, 1.0, "words"), None, (0, 1.0, "words"), None
    ]  # fmt: skip
    assert Matcher([], 10).find(tasks) == [None, None]


def test_both_stages_say_by_which_way_and_how_much(tmp_path):
    exam, own = tmp_path / "exam.jsonl", tmp_path / "own.jsonl"
    for path, texts in ((exam, BENCHMARK), (own, [text for text, *_ in FORMS] + OTHERS)):
        rows = [{"id": n, "problem": text, "answer": "3"} for n, text in enumerate(texts)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = KnownProblems([str(exam)], 16).find([text for text, *_ in FORMS])
    assert [one and one.split(", ")[0] for one in said] == [f"{exam}: {number}" for _, number, _ in FORMS]
    assert str(said[3]).startswith(f"{exam}: 0, rearranged 0.") and said[6] == f"{exam}: 2, formulas 1.00"

    config = Problems.Config(sets={str(own): None}, benchmarks=[str(exam)])
    asked = list(Problems(config).own_requests())
    assert [request["drop"] for request in asked] == ["contaminated"] * len(FORMS) + [None] * len(OTHERS)
    assert asked[6]["detail"].startswith("1.00 of exam/2")


def test_a_question_without_its_choices_is_not_held(tmp_path):
    stem, choices = (
        "Which of the following statements is true?",
        [f"The {w} is a bird of the high moor" for w in "wxyz"],
    )
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": stem, "choices": choices, "answer": "A"}))
    query = f"{stem} " + " ".join(f"({letter}) {c}" for letter, c in zip("ABCD", choices, strict=True))
    for file in ("quiz.jsonl", "multiple_choice=quiz.jsonl"):
        name = file.replace("quiz.jsonl", str(tmp_path / "quiz.jsonl"))
        found = KnownProblems([name], 16).find(
            [f"Ponder this. {stem} Cows can fly, or pigs can.", stem, query]
        )
        assert found[:2] == [None, None] and found[2] is not None


def test_a_preamble_that_problems_share_is_not_held(tmp_path):
    preamble = " ".join(f"word{n}" for n in range(30))
    rows = [{"id": n, "problem": f"{preamble} {text}"} for n, text in enumerate((FARM, CURVE))]
    (tmp_path / "exam.jsonl").write_text("\n".join(map(json.dumps, rows)))
    known = KnownProblems([str(tmp_path / "exam.jsonl")], 16)
    assert known.find([preamble]) == [None]
    assert all(known.find([FARM, f"{preamble} {FARM}"]))


def test_a_lone_surrogate_in_a_query_is_read_over():
    assert Matcher([FARM], 16).find([f"\ud800 {FARM}"])[0] is not None


# ---- the numbers of a problem ----

NAMES = st.sampled_from(["Ada", "Ben", "Carl", "Dora", "Emil", "Flora", "Gina", "Hugo"])
THINGS = st.sampled_from(["apples", "books", "candles", "doors", "eggs", "flags", "grapes", "hats"])
SENTENCE = st.tuples(
    NAMES, st.integers(2, 99), THINGS, st.sampled_from(["buys", "sells", "counts", "paints"])
)


@given(
    st.lists(SENTENCE, min_size=3, max_size=7, unique_by=lambda s: s[0]), st.randoms(use_true_random=False)
)
@settings(max_examples=150, deadline=None)
def test_another_order_is_the_same_problem_and_another_number_is_another(sentences, draw):
    def told(parts):
        return " ".join(
            f"On this day {name} {does} {count} {things} at the market near the old town hall."
            for name, count, things, does in parts
        )

    known = build_rearranged([told(sentences)])
    changed = draw.randrange(len(sentences))
    other = [(n, c + 100 if i == changed else c, t, d) for i, (n, c, t, d) in enumerate(sentences)]
    texts = [told(draw.sample(parts, len(parts))) for parts in (sentences, other)]
    tokens = find_tokens(texts_of(pa.array(texts, pa.large_string())))
    same, renumbered = look_up_rearranged(tokens, known, strict=True)
    assert same is not None and same.ngrams == known.ngrams[0]
    assert renumbered is None


@pytest.mark.parametrize(
    ("problem", "other"),
    [
        (
            "Tom has 11 red, 12 blue, 13 green, 14 white and 15 black marbles in his box. How many are there?",
            "Tom has 11 red, 12 blue, 13 green, 14 white and 95 black marbles in his box. How many are there?",
        ),
        (
            "Determine the number of ways to arrange the letters of the word ALABAMA.",
            "Determine the number of ways to arrange the letters of the word COMBINATION.",
        ),
    ],
)
def test_one_thing_in_many_makes_another_problem_but_not_another_document(problem, other):
    known = build_rearranged([problem])
    tokens = find_tokens(texts_of(pa.array([other], pa.large_string())))
    assert look_up_rearranged(tokens, known)[0] is not None
    assert look_up_rearranged(tokens, known, strict=True) == [None]


# ---- published sets ----


@pytest.mark.skipif(not SHARED.exists(), reason="the published sets are not at hand")
def test_published_problems_are_found_in_every_form():
    files = ("gsm8k_test.jsonl.gz", "math500.jsonl.gz")
    problems = [problem.prompt for file in files for problem in load(SHARED / file)]
    matchers = Matcher(problems, 16), Matcher(problems, 10, 0.25, problem_rules.COMMON)
    for name, (form, wanted) in FORMS_MADE.items():
        if wanted is None:
            continue
        draw = random.Random(name)
        chosen = [text for text in problems[::3] if form(text, draw) != text or wanted == 1]
        made = [form(text, draw) for text in chosen]
        for matcher in matchers:
            found = matcher.find([prompts.SOLVE["maths"].format(problem=text) for text in made])
            right = [
                held and problems[held.problem] == text for held, text in zip(found, chosen, strict=True)
            ]
            assert sum(map(bool, right)) >= wanted * len(chosen), (name, sum(map(bool, right)), len(chosen))


@pytest.mark.skipif(not SHARED.exists(), reason="the published sets are not at hand")
def test_training_problems_are_other_problems():
    """Beyond what words find, at most one in a thousand."""
    files = ("gsm8k_test.jsonl.gz", "math500.jsonl.gz", "code_contests_test.json.gz", "ifeval.jsonl.gz")
    problems = [problem.prompt for file in files for problem in load(SHARED / file)]
    for file in ("gsm8k_train.jsonl.gz", "math_train.json.gz"):
        train = [problem.prompt for problem in load(SHARED / file)]
        found = problem_rules.contaminated(train, problems, 10, 0.25)
        assert sum(held is not None and held.way != "words" for held in found) <= len(train) / 1000
