"""The stage `problems`: problems whose answers can be checked, for reinforcement learning or for an evaluation.

Follows MiMo-7B's report (arXiv 2505.07608, section 3.1): proofs and multiple choice are left out, so are problems
without tests, problems whose own solution fails their tests, repetitions and what is in a benchmark. Problems stay as
they were written. What `difficulty` drops later needs rollouts; this needs none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from mixtures import problem_rules
from pipeline.errors import Drop, RequestError
from pipeline.models import model_file, sha256_of
from pipeline.problems import Problem, load
from pipeline.stage import LedgerStage, StageConfig, source_digest
from synth import prompts
from synth.problems import Question, from_gym, gym_datasets, question
from synth.verify import reference
from synth.verify.check import parts
from synth.verify.isolation import sandbox
from synth.verify.maths import too_large
from synth.verify.pool import INFRASTRUCTURE

log = logging.getLogger("problems")
# Why a solution is undecided this time only. The request then fails and is asked again by the next run.
TRANSIENT = INFRASTRUCTURE - {"no_compiler"}
SCHEMA = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),  # as the set has it
        pa.field("prompt", pa.string(), nullable=False),  # as it is put to a model
        pa.field("kind", pa.string(), nullable=False),  # math, code, multiple_choice, reasoning_gym
        pa.field("source", pa.string(), nullable=False),  # name of the set or dataset
        pa.field("split", pa.string(), nullable=False),
        pa.field("check", pa.string(), nullable=False),  # JSON: see synth.verify.check
        pa.field("parts", pa.int32(), nullable=False),  # tests or digits: how many `passes` an answer gets
        pa.field("difficulty", pa.string()),  # reasoning-gym's own, JSON
        pa.field(
            "reference", pa.string()
        ),  # of code: "passed", "no_solution", "undecided"; null: not checked
    ]
)


@dataclass
class Candidate:
    """A problem on its way in: its row, or why it has none."""

    row: dict[str, Any]
    drop: tuple[str, str] | None = None  # reason and detail
    solved: Problem | None = None  # of code: the problem with its own solutions
    drawn: bool = False  # made by a program, not taken from a set


class Problems(LedgerStage):
    """Collect problems whose answers can be checked, and leave out what cannot teach or would spoil a benchmark."""

    name = "problems"
    output = "problems"
    input = ()
    libraries = ("reasoning-gym", "numba", "numpy")
    schema = SCHEMA

    class Config(StageConfig):
        """Where problems come from, and which are left out. The defaults take packaged sets and easy tasks."""

        sets: dict[str, int | None] = Field(
            {"champ-v0.json": None, "HumanEval.jsonl.gz": None},
            description="Sets of problems: file or folder in a published format (or a packaged set) → how many of it, "
            "drawn by the seed; null: all",
        )
        gym: dict[str, dict[str, Any] | list[dict[str, Any]]] = Field(
            {},
            description="Tasks that reasoning-gym draws: dataset → its options, or a list of several such (size: how "
            "many; level: 0, 1, … of its curriculum; any other makes it easy or hard)",
        )
        check: dict[str, Literal["digits"]] = Field(
            {},
            description="File or dataset → digits: judge its answers, whole numbers, digit by digit, so that each right "
            "digit can be rewarded",
        )
        prompts: dict[str, str] = Field(
            {},
            description=f"File or dataset → the words around its problems, one of {', '.join(prompts.SOLVE)}; default: "
            "what its kind asks for",
        )
        seed: int = Field(0, ge=0, description="Changes which problems and tasks are drawn")
        drop_kinds: list[Literal["proof", "multiple_choice"]] = Field(
            ["proof", "multiple_choice"],
            description="Kinds left out: a guessed letter earns a reward as well as a reason does. [] for an evaluation",
        )
        benchmarks: list[str] = Field(
            [], description="Sets of problems, in the same formats, that no problem may be taken from"
        )
        ngram: int = Field(
            10,
            ge=5,
            description="Words that must agree in a row, in benchmarks and repetitions; a shorter problem agrees as a "
            "whole. Fewer than the 13 of `decontaminate`: problems are short, and one lost too much costs little",
        )
        benchmark_share: float = Field(
            0.25,
            gt=0,
            le=1,
            description="Share of a benchmark problem's n-grams from which a problem counts as taken from it; "
            "one with formulas and numbers spelled otherwise or sentences in another order does as well",
        )
        duplicate_share: float | None = Field(
            0.8,
            gt=0,
            le=1,
            description="Share of n-grams from which a problem repeats an earlier one; null: keep repetitions",
        )
        references: bool = Field(
            True,
            description="Run the own solutions of problems in code, and leave out those whose solutions fail",
        )

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self._candidates: dict[str, Candidate] = {}
        self._threads: ThreadPoolExecutor | None = None

    # ---- before anything runs ----

    def check(self, schema: pa.Schema | None) -> None:
        config = self.config
        if not config.sets and not config.gym:
            raise RequestError("problems: no source is named; give `sets`, `gym` or both.")
        self.files()
        if config.gym and (unknown := set(config.gym) - set(gym_datasets())):
            raise RequestError(
                f"gym: reasoning-gym has no dataset {', '.join(sorted(unknown))}; it has {', '.join(gym_datasets())}."
            )
        for option in ("check", "prompts"):
            if unknown := set(getattr(config, option)) - set(config.sets) - set(config.gym):
                raise RequestError(
                    f"{option}: {', '.join(sorted(unknown))} is neither in `sets` nor in `gym`."
                )
        if unknown := set(config.prompts.values()) - set(prompts.SOLVE):
            raise RequestError(
                f"prompts: there are no words {', '.join(sorted(unknown))}; there are {', '.join(prompts.SOLVE)}."
            )

    def files(self) -> dict[str, str]:
        return {file: sha256_of(file) for file in (*self.config.sets, *self.config.benchmarks)}

    # ---- which problems ----

    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        return ()

    def own_requests(self) -> Iterable[dict[str, Any]]:
        """One for each problem. It says what is done with the problem, which may depend on all others."""
        found = [c for file, count in self.config.sets.items() for c in self._from_set(file, count)]
        found += [c for name in self.config.gym for c in self._from_gym(name)]
        self._drop_contaminated(found)
        self._drop_duplicates(found)
        self._candidates = {}
        for candidate in found:
            name = _unused(candidate.row["problem_id"], self._candidates)
            candidate.row["problem_id"] = name
            self._candidates[name] = candidate
            content = json.dumps(candidate.row, sort_keys=True)
            reason, detail = candidate.drop or (None, "")
            yield {
                "problem_id": name,
                "source": candidate.row["source"],
                "content": hashlib.sha256(content.encode()).hexdigest(),
                "drop": reason,
                "detail": detail,
                "reference": self._to_be_run(candidate),
            }

    def _from_set(self, file: str, count: int | None) -> Iterator[Candidate]:
        problems = list(load(model_file(file)))
        if count is not None and count < len(problems):
            drawn = sorted(
                problems, key=lambda p: hashlib.sha256(f"{self.config.seed}\0{p.id}".encode()).digest()
            )
            kept = {problem.id for problem in drawn[:count]}
            problems = [problem for problem in problems if problem.id in kept]
        return (self._candidate(problem, file) for problem in problems)

    def _candidate(self, problem: Problem, file: str) -> Candidate:
        drop = self._why_not(problem)
        asked = question(problem) if drop is None else None
        if drop is None and asked is None:
            drop = ("untestable", f"{problem.kind}: there is nothing to check an answer by")
        made = self._row(problem.id, problem.prompt, problem.kind, problem.source, asked, file)
        made.row["split"] = problem.split
        made.drop = drop or made.drop
        made.solved = problem if problem.kind == "code" else None
        return made

    def _why_not(self, problem: Problem) -> tuple[str, str] | None:
        """Why a problem of a set is left out for what it is."""
        kinds = self.config.drop_kinds
        if problem.kind == "code":
            return None if problem.tests else ("untestable", "there are no tests")
        if problem.kind not in ("math", "multiple_choice"):
            return None
        if "proof" in kinds and problem_rules.asks_for_proof(problem.prompt, problem.answer):
            return "proof", f"its answer is {problem.answer[:80]!r}" if problem.answer else ""
        choice = problem.kind == "multiple_choice" or problem_rules.has_options(problem.prompt)
        if "multiple_choice" in kinds and choice:
            return "multiple_choice", ""
        if not problem_rules.has_answer(problem.answer):
            return "no_answer", f"{problem.answer!r}"
        if why := too_large(problem.answer or ""):
            return "untestable", f"the known answer: {why}"
        return None

    def _from_gym(self, name: str) -> Iterator[Candidate]:
        options = self.config.gym[name]
        for one in options if isinstance(options, list) else [options]:
            for asked in from_gym(name, one, self.config.seed):
                made = self._row(asked.id, asked.problem, "reasoning_gym", name, asked, name)
                made.drawn = True
                difficulty = asked.check["entry"]["metadata"].get("difficulty")
                made.row["difficulty"] = json.dumps(difficulty) if difficulty is not None else None
                yield made

    def _row(
        self, problem_id: str, problem: str, kind: str, source: str, asked: Question | None, named: str
    ) -> Candidate:
        """named: the file or dataset as the config calls it."""
        made = Candidate(
            {
                "problem_id": problem_id,
                "problem": problem,
                "kind": kind,
                "source": source,
                "split": "",
                "difficulty": None,
                "reference": None,
            }
        )
        if asked is None:
            return made
        check, text = asked.check, asked.text
        if named in self.config.prompts:
            text = prompts.SOLVE[self.config.prompts[named]].format(problem=asked.problem.strip())
        if named in self.config.check:
            answer = check["entry"]["answer"] if kind == "reasoning_gym" else str(check.get("answer"))
            check = {"kind": "digits", "answer": answer.strip()}
            if not answer.strip().removeprefix("-").isdecimal():
                made.drop = ("untestable", f"the known answer is no whole number: {answer[:80]!r}")
        try:
            made.row |= {"prompt": text, "check": _json(check), "parts": parts(check)}
        except (ValueError, KeyError, TypeError) as error:
            made.drop = ("untestable", f"{type(error).__name__}: {error}")
        return made

    def _drop_contaminated(self, found: list[Candidate]) -> None:
        """What drawn tasks share with those of a benchmark are their set phrases: they are compared as a whole."""
        benchmark = [problem for file in self.config.benchmarks for problem in load(model_file(file))]
        known = [problem.prompt for problem in benchmark]
        for drawn in (False, True):
            left = [c for c in found if c.drop is None and c.drawn == drawn]
            share, ngram = self.config.benchmark_share, None if drawn else self.config.ngram
            hits = problem_rules.contaminated([c.row["problem"] for c in left], known, ngram, share)
            for candidate, hit in zip(left, hits, strict=True):
                if hit is not None:
                    said = f"{hit.share:.2f} of {benchmark[hit.problem].id}, {hit.way}"
                    candidate.drop = ("contaminated", said)

    def _drop_duplicates(self, found: list[Candidate]) -> None:
        """The first of those that are left stays. Drawn tasks differ in their signs and numbers: as a whole only."""
        if self.config.duplicate_share is None:
            return
        for drawn in (False, True):
            left = [c for c in found if c.drop is None and c.drawn == drawn]
            share, ngram = self.config.duplicate_share, self.config.ngram
            texts = [c.row["problem"] for c in left]
            earlier = problem_rules.duplicates(texts, None if drawn else ngram, share)
            for candidate, known in zip(left, earlier, strict=True):
                if known is not None:
                    candidate.drop = ("duplicate", f"of {left[known].row['problem_id']}")

    def _to_be_run(self, candidate: Candidate) -> str | None:
        """Digest of what the verdict on its own solutions depends on, but for the tests; None: it is not asked for."""
        if not self.config.references or candidate.drop is not None or candidate.solved is None:
            return None
        judge = source_digest("synth.verify.reference")
        said = json.dumps([judge, reference.solutions(candidate.solved)], ensure_ascii=False)
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()

    # ---- one problem ----

    def prepare(self) -> None:
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))  # each waits for a sandbox

    def release(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._threads = None

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The row. Raises `Drop` with the reason why there is none."""
        candidate = self._candidates[request["problem_id"]]
        if request["drop"] is not None:
            raise Drop(request["drop"], request["detail"])
        row = dict(candidate.row)
        if request["reference"]:
            assert candidate.solved is not None
            if reference.solutions(candidate.solved) and (missing := sandbox.unavailable()):
                raise RequestError(
                    f"{missing}\nOr leave the check out: `references: false` for the stage problems."
                )
            loop = asyncio.get_running_loop()
            state = await loop.run_in_executor(self._threads, reference.check, candidate.solved)
            if state.state == "undecided" and state.reason in TRANSIENT:
                raise RuntimeError(f"its solution could not be judged: {state.reason}: {state.detail}")
            if state.state == "refused":
                raise Drop("reference_fails", f"{state.reason}: {state.test or state.detail}")
            row["reference"] = state.state
        return row


def _unused(name: str, used: Iterable[str]) -> str:
    """The name, or where it is in use with `#2`, `#3`, … after it."""
    number = 1
    while (found := name if number == 1 else f"{name}#{number}") in used:
        number += 1
    return found


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
