r"""Judges any answer by its `check`, the JSON object that stands beside every problem:

{"kind": "math", "answer": "42"}
{"kind": "choice", "answer": "C"}
{"kind": "digits", "answer": "1036"}
{"kind": "reasoning_gym", "dataset": "gcd", "entry": {…}}
{"kind": "code", "tests": […], …}                     what `synth.verify.task.Task` keeps
{"kind": "text", "query": "…", "analysis": false}     a text without a known answer
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NamedTuple

from synth.verify import code, digits, gym, maths, text
from synth.verify.answers import boxed, final_part
from synth.verify.code import Limits
from synth.verify.programs import assertions
from synth.verify.programs.solution import program_of
from synth.verify.task import Asserts, Task
from synth.verify.verdict import Verdict, right, undecided, wrong

if TYPE_CHECKING:  # runs in the comparer's process: never imported here, but part of what verdicts depend on
    from synth.verify.formulas import symbolic  # noqa: F401

KINDS = ("math", "choice", "digits", "reasoning_gym", "code", "text")


class Checked(NamedTuple):
    """A verdict, and what became of each test of a program or each digit of an integer (units first).

    passes: None is undecided. Where a problem has no parts, or they were not asked for, the one entry is the verdict.
    """

    verdict: Verdict
    passes: tuple[bool | None, ...]


class Checker:
    """The verifiers of one process. A helper process (computer algebra, scorers) starts with the first answer that
    needs it, is replaced when it hangs, and ends with `close` or with the thread that called `check`."""

    def __init__(
        self,
        *,
        maths_seconds: float = maths.SECONDS,
        scorer_seconds: float = gym.SECONDS,
        limits: Limits = code.DEFAULTS,
        rules: text.Rules | None = None,
    ) -> None:
        self.maths_seconds, self.scorer_seconds, self.limits, self.rules = (
            maths_seconds,
            scorer_seconds,
            limits,
            rules,
        )
        self.comparer, self.scorer = maths.comparer(), gym.scorer()

    def check(
        self, answer: str, check: dict[str, Any], finish_reason: str, *, every_test: bool = False
    ) -> Checked:
        """Judge one answer. A check that cannot be used is undecided, "bad_check".

        finish_reason: "length" says that the answer was cut off: it is "truncated" unless it had come to its end.
        every_test: run all tests of a program, not only up to the first that fails, and say what each gave.
        """
        try:
            return self._check(answer, check, finish_reason, every_test)
        except (ValueError, KeyError, TypeError) as error:
            return _alone(
                undecided("bad_check", f"the check cannot be used: {type(error).__name__}: {error}")
            )

    def _check(self, answer: str, check: dict[str, Any], finish_reason: str, every_test: bool) -> Checked:
        kind = check["kind"]
        if kind == "text":
            query, analysis = str(check.get("query") or ""), bool(check.get("analysis"))
            return _alone(text.check(answer, finish_reason, query, analysis, self.rules))
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
        if finish_reason == "length" and not _has_answer(kind, answer):
            verdict = wrong("truncated", "cut off before a final answer")
            return Checked(verdict, (False,) * parts(check)) if every_test else _alone(verdict)
        if kind == "digits":
            verdict, passes = digits.check(answer, str(check["answer"]))
            return Checked(verdict, passes) if passes and every_test else _alone(verdict)
        if kind in ("math", "choice"):
            gold = str(check["answer"])
            return _alone(maths.check(answer, gold, self.comparer, self.maths_seconds, kind=kind))
        if kind == "reasoning_gym":
            dataset, entry = str(check["dataset"]), check["entry"]
            return _alone(gym.check(answer, dataset, entry, self.scorer, self.scorer_seconds))
        task = Task.from_check(check)
        if every_test:
            return _every_test(answer, task, self.limits)
        return _alone(code.check(answer, task, self.limits))

    def close(self) -> None:
        """End the helper processes; the next answer that needs one starts another."""
        self.comparer.close()
        self.scorer.close()

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def quick(answer: str, check: dict[str, Any], finish_reason: str) -> Checked | None:
    """The same as `Checker.check` with `every_test`, for what needs no more than reading the box: digits, and in
    mathematics whole numbers, the same text and no answer at all. None for anything else. Bounded, so that it can be
    called where nothing may wait."""
    kind, gold = check.get("kind"), check.get("answer")
    if kind not in ("math", "digits") or not isinstance(gold, str) or not gold.strip():
        return None
    if finish_reason == "length" and not _has_answer(kind, answer):
        return Checked(wrong("truncated", "cut off before a final answer"), (False,) * parts(check))
    if kind == "digits":
        verdict, passes = digits.check(answer, gold)
        return Checked(verdict, passes) if passes else _alone(verdict)
    extracted = boxed(final_part(answer), parts=True)
    if not extracted:
        return _alone(wrong("no_boxed_answer"))
    if extracted == gold:
        return _alone(Verdict("right", None, "the same text", extracted))
    if len(gold) < 60 and len(extracted) < 60 and gold.isdecimal() and extracted.isdecimal():
        if int(gold) == int(extracted):
            return _alone(right(extracted, "the same number"))
        return _alone(wrong("not_equal", extracted=extracted))
    return None


def parts(check: dict[str, Any]) -> int:
    """How many `passes` an answer to this problem gets: its tests (asserts are counted one by one), its digits, or 1.

    Raises ValueError, KeyError or TypeError for a check that cannot be used.
    """
    if check["kind"] == "digits":
        return max(1, len(digits.check("", str(check["answer"]))[1]))
    return _parts(Task.from_check(check)) if check["kind"] == "code" else 1


def _parts(task: Task) -> int:
    return sum(_asserts(test, task) if isinstance(test, Asserts) else 1 for test in task.tests)


def _asserts(test: Asserts, task: Task) -> int:
    """As many outcomes as `code.judge` gives for it."""
    function = (task.function or "").rpartition(".")[2]
    wanted = assertions.read(test.code, function) if function else None
    if wanted is not None and wanted.assertions and not wanted.unread:
        return len(wanted.assertions)
    try:
        tree = ast.parse(test.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 1
    return max(1, sum(isinstance(node, ast.Assert) for node in ast.walk(tree)))


def _every_test(answer: str, task: Task, limits: Limits) -> Checked:
    count = _parts(task)
    found = program_of(answer, task)
    if isinstance(found, Verdict):
        return Checked(found, (False,) * count)
    program, language = found
    outcomes, verdict = code.judge(program, task, limits, language=language)
    passes = [outcome.passed for outcome in outcomes]
    if len(passes) != count:  # a test of several asserts that did not get as far as these has one outcome
        if len(task.tests) == 1 and len(passes) < count:
            passes += passes[-1:] * (count - len(passes)) or [None] * count
        else:
            passes = [False if verdict.verdict == "wrong" and True not in passes else None] * count
    return Checked(verdict._replace(extracted=program), tuple(passes))


def _alone(verdict: Verdict) -> Checked:
    return Checked(verdict, (None if verdict.verdict == "undecided" else verdict.passed,))


def _has_answer(kind: str, answer: str) -> bool:
    """Whether a text that was cut off had come to its answer: its last line is none, it may be half a line."""
    part = final_part(answer)
    return "```" in part if kind == "code" else boxed(part) is not None
