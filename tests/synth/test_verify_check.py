"""Any answer judged by its check: what passes for each digit, test and kind."""

import gzip
import json
import random
import re

import pytest
import reasoning_gym

from pipeline.errors import RequestError
from pipeline.models import model_file
from synth.verify import digits
from synth.verify.check import Checked, Checker, parts, quick
from synth.verify.code import Limits, judge
from synth.verify.isolation import sandbox
from synth.verify.task import Asserts, Call, Stdio, Task
from tests.synth.test_verify_text import ANALYSIS, DOCUMENT

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
SQUARES = Task(tuple(Call([n], {}, n * n) for n in range(4)), function="square").to_check()
ADD = Task(
    (
        Asserts(
            "def check(candidate):\n    for a, b in [(1, 2), (2, 2)]:\n        assert candidate(a, b) == a + b\n    assert candidate(0, 0) == 0\n"
        ),
    ),
    function="add",
).to_check()
NO, ALL = False, True


@pytest.fixture(scope="module")
def checker():
    with Checker(limits=Limits(cpu_seconds=1, wall_seconds=4)) as checker:
        yield checker


@pytest.mark.parametrize(
    ("gold", "box", "verdict", "passes"),
    [
        ("1036", "1036", "right", [ALL, ALL, ALL, ALL]),
        ("1036", "1,036", "right", [ALL, ALL, ALL, ALL]),
        ("1036", r"1{,}036", "right", [ALL, ALL, ALL, ALL]),
        ("1036", "1046", "wrong", [ALL, NO, ALL, ALL]),  # the tens
        ("1036", "36", "wrong", [ALL, ALL, NO, NO]),
        ("1036", "21036", "wrong", [ALL, ALL, ALL, ALL]),  # every digit, but one too many
        ("36", "036", "wrong", [ALL, ALL]),
        ("-36", "-36", "right", [ALL, ALL]),
        ("-36", "36", "wrong", [NO, NO]),
        ("36", "+36", "right", [ALL, ALL]),
        ("36", "36.0", "wrong", [NO, NO]),
        ("36", "x = 36", "wrong", [NO, NO]),
        ("36", "", "wrong", [NO, NO]),
        ("36", "1" * 100_000, "wrong", [NO, NO]),
    ],
)
def test_digits_by_hand(gold, box, verdict, passes, checker):
    text = rf"Let me see: \boxed{{99}}? No, \boxed{{{box}}}."
    check = {"kind": "digits", "answer": gold}
    found = checker.check(text, check, "stop", every_test=True)
    assert found.verdict.verdict == verdict
    assert list(found.passes) == passes
    assert quick(text, check, "stop") == found
    assert checker.check(text, check, "stop").passes == (verdict == "right",)


def test_digits_against_arithmetic():
    """Place i is right exactly where both numbers, as numbers, leave the same digit there."""
    draw = random.Random(0)
    for _ in range(2000):
        a, b = draw.randrange(10 ** draw.randrange(1, 6)), draw.randrange(10 ** draw.randrange(1, 6))
        verdict, passes = digits.check(rf"\boxed{{{b}}}", str(a))
        assert verdict.passed == (a == b)
        expected = [b // 10**i % 10 == a // 10**i % 10 and (b >= 10**i or i == 0) for i in range(len(str(a)))]
        assert list(passes) == expected, (a, b)


def test_a_known_answer_that_is_no_integer_is_undecided(checker):
    for gold in ("3.5", "", "ten", "1" * 5000):
        check = {"kind": "digits", "answer": gold}
        found = checker.check(r"\boxed{3}", check, "stop", every_test=True)
        assert (found.verdict.reason, found.passes) == ("bad_check", (None,))
        assert parts(check) == 1


def test_truncated_answers_and_unusable_checks(checker):
    for check, count in (({"kind": "math", "answer": "7"}, 1), ({"kind": "digits", "answer": "701"}, 3)):
        found = checker.check("<think>so 7, or", check, "length", every_test=True)
        assert (found.verdict.reason, found.passes) == ("truncated", (False,) * count)
        assert quick("<think>so 7, or", check, "length") == found
    assert checker.check(r"\boxed{7}, as", {"kind": "math", "answer": "7"}, "length").verdict.passed
    bad = [
        {},
        {"kind": "oracle"},
        {"kind": "math"},
        {"kind": "code", "tests": []},
        {"kind": "code", "tests": [{}]},
    ]
    for check in bad:
        found = checker.check("```python\npass\n```" r"\boxed{7}", check, "stop", every_test=True)
        assert (found.verdict[:2], found.passes) == (("undecided", "bad_check"), (None,)), check


def test_quick_and_careful_agree(checker):
    """The short way gives the very verdict of the long one, or none."""
    boxes = ["7", "07", "8", "", " 7", r"\frac{14}{2}", "7.0", "x", "7" * 70, r"\text{7}", "٧", "7,8", "²"]
    golds = ["7", "07", "7.0", " ", r"\frac{14}{2}", "7" * 70, "x", "²"]
    taken = 0
    for gold in golds:
        for text in [rf"It is $\boxed{{{box}}}$." for box in boxes] + [
            "7",
            r"<think>\boxed{7}",
            r"\boxed{7} or \boxed{8}",
        ]:
            check = {"kind": "math", "answer": gold}
            found = quick(text, check, "stop")
            taken += found is not None
            if found is not None:
                careful = checker.check(text, check, "stop", every_test=True)
                assert found == careful, (gold, text)
    assert taken > 30


def test_kinds_without_parts(checker):
    entry = reasoning_gym.create_dataset("chain_sum", size=1, seed=3)[0]
    gym = {"kind": "reasoning_gym", "dataset": "chain_sum", "entry": entry}
    text = {"kind": "text", "query": DOCUMENT, "analysis": True}
    cases = [
        (r"\boxed{\frac12}", {"kind": "math", "answer": "0.5"}, "right"),
        (r"\boxed{\text{C}}", {"kind": "choice", "answer": "C"}, "right"),
        (r"\boxed{D}", {"kind": "choice", "answer": "C"}, "wrong"),
        (r"\boxed{!!}", {"kind": "choice", "answer": "C"}, "undecided"),
        (ANALYSIS, text, "accepted"),
        ("Short.", text, "rejected"),
    ]
    if sandbox.unavailable() is None:
        cases += [(f"Answer: {entry['answer']}", gym, "right"), ("Answer: nine", gym, "wrong")]
    for answer, check, verdict in cases:
        found = checker.check(answer, check, "stop", every_test=True)
        assert found.verdict.verdict == verdict, found
        assert found.passes == ({"undecided": None}.get(verdict, verdict in ("right", "accepted")),)
        assert parts(check) == 1


@needs_sandbox
def test_every_test_of_a_program(checker):
    def passes(program, check, **options):
        return checker.check(f"```python\n{program}\n```", check, "stop", every_test=True, **options)

    assert passes("def square(n): return n + n", SQUARES).passes == (True, False, True, False)
    assert passes("def square(n): return n * n", SQUARES) == Checked(
        judge("def square(n): return n * n\n", Task.from_check(SQUARES)).verdict._replace(
            extracted="def square(n): return n * n\n"
        ),
        (True,) * 4,
    )
    for program in ("def cube(n): return n", "def square(n) return", "import os; os._exit(0)"):
        found = passes(program, SQUARES)
        assert (found.verdict.verdict, found.passes) == ("wrong", (False,) * 4), program
    # asserts are parts: two of the loop, one after it
    assert parts(ADD) == 3
    assert passes("def add(a, b): return 2 * a", ADD).passes == (False, True, True)
    assert passes("def sub(a, b): return a - b", ADD).passes == (False,) * 3
    only = checker.check("```python\ndef add(a, b): return 2 * a\n```", ADD, "stop")
    assert (only.verdict.reason, only.passes) == ("tests_failed", (False,))


@needs_sandbox
def test_passes_always_fit_the_parts(checker):
    """Also where a test of several asserts breaks off, where tests are no Python, and where nothing is called."""
    loose = Task(
        (Asserts("assert f(1) == 1\nassert f(2) == 2"), Asserts("assert f(3) == 3"), Asserts("assert (")),
    ).to_check()
    for program in ("def f(n): return n", "def g(n): return n", "x = 1", "f = 3", "raise ValueError"):
        found = checker.check(f"```python\n{program}\n```", loose, "stop", every_test=True)
        assert len(found.passes) == parts(loose) == 4, (program, found)
        assert found.verdict.verdict in ("wrong", "undecided")


@needs_sandbox
def test_packaged_reference_solutions_pass_every_part(checker):
    try:
        path = model_file("HumanEval.jsonl.gz")
    except RequestError as error:
        pytest.skip(str(error))
    with gzip.open(path) as lines:
        problems = [json.loads(line) for line in lines]
    for problem in problems[::33]:
        check = {"kind": "code", **{name: problem[name] for name in ("prompt", "entry_point", "test")}}
        answer = f"```python\n{problem['prompt']}{problem['canonical_solution']}\n```"
        found = checker.check(answer, check, "stop", every_test=True)
        assert found.verdict.passed, found
        assert found.passes == (True,) * parts(check)
        wrong = (
            re.sub(r"\n    (?!\s)[^\n]*$", "\n    return None", answer.removesuffix("\n```").rstrip())
            + "\n```"
        )
        found = checker.check(wrong, check, "stop", every_test=True)
        assert not found.verdict.passed
        assert len(found.passes) == parts(check)


def test_a_program_s_input_that_is_standard_input(checker):
    check = Task((Stdio("1\n", "1"), Stdio("2\n", "2"))).to_check()
    found = checker.check("It prints 1.", check, "stop", every_test=True)
    assert (found.verdict.reason, found.passes) == ("no_code", (False, False))
