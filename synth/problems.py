r"""Problems whose answers can be checked: tasks that reasoning-gym draws, and sets of problems in files.

Each becomes a `Question`: what is asked, and the `check` that `verify` later runs on the answer:
    {"kind": "math", "answer": "42"}
    {"kind": "choice", "answer": "B"}
    {"kind": "reasoning_gym", "dataset": "gcd", "entry": {…}}
    {"kind": "code", "tests": […], …}    what `synth.verify.task.Task` keeps
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import RequestError
from pipeline.models import cache_folder, model_file, sha256_of
from pipeline.problems import Problem, load
from pipeline.stage import source_digest
from synth import prompts
from synth.verify import reference
from synth.verify.isolation import sandbox
from synth.verify.reference import Reference
from synth.verify.task import Stdio, Task

log = logging.getLogger("synth")
LETTERS = list("ABCDEFGHIJ")  # options that a check of kind "choice" knows


@dataclass(frozen=True)
class Question:
    """One problem as it is put to a model: `problem` is the problem itself, `text` what is asked, `prompt` the name
    of the words around it in `prompts.SOLVE`."""

    id: str
    text: str
    prompt: str
    check: dict[str, Any]
    problem: str


def gym_datasets() -> list[str]:
    """Names of reasoning-gym's datasets (Stojanovski et al. 2025)."""
    return sorted(set(_gym().factory.DATASETS) - {"composite"})


def from_gym(name: str, options: dict[str, Any], seed: int) -> Iterator[Question]:
    """Tasks of one reasoning-gym dataset. `options` are its own (size, seed, and what makes it easy or hard); `level`
    (0, 1, …) sets whatever else makes it hard by the dataset's own curriculum.

    An entry is checked to survive JSON: its own answer must still score 1, or what a model answers could not be judged.
    Raises `RequestError` for an unknown dataset or option, and for a dataset that fails that check.
    """
    gym = _gym()
    if name not in gym_datasets():
        raise RequestError(f"reasoning-gym has no dataset {name!r}; it has {', '.join(gym_datasets())}.")
    try:
        if "level" in options:
            options = _at_level(gym, name, **options)
        options = {"seed": seed, "size": 10, **options}
        dataset = gym.create_dataset(name, **options)
        entries = [dataset[index] for index in range(options["size"])]
    except (TypeError, ValueError, AssertionError) as error:
        raise RequestError(f"reasoning-gym's {name} refuses the options {options}: {error}.") from None
    for index, entry in enumerate(entries):
        try:
            entry = json.loads(json.dumps(entry))
            score = dataset.score_answer(entry["answer"], entry)
        except Exception as error:
            raise RequestError(f"tasks of reasoning-gym's {name} cannot be kept as JSON: {error}.") from None
        if score != 1:
            raise RequestError(
                f"reasoning-gym's {name} gives its own answer to task {index} the score {score}, so it cannot judge; leave it out."
            )
        problem = entry["question"].strip()
        text = prompts.SOLVE["maths"].format(problem=problem)
        check = {"kind": "reasoning_gym", "dataset": name, "entry": entry}
        yield Question(f"reasoning_gym/{name}/{options['seed']}-{index}", text, "maths", check, problem)


def _at_level(gym: Any, name: str, level: int, **options: Any) -> dict[str, Any]:
    """Options of a dataset at a level of its curriculum; those that are given are kept."""
    if name not in gym.factory.CURRICULA:
        raise RequestError(
            f"reasoning-gym's {name} has no levels: leave out `level` and give its own options."
        )
    curriculum = gym.factory.create_curriculum(name)
    curriculum.set_global_level(level)
    found = vars(curriculum.generate_configuration())
    return {key: value for key, value in found.items() if key not in ("seed", "size")} | options


def from_file(file: str, count: int | None, seed: int, check_references: bool = True) -> list[Question]:
    """`count` problems (None: all) of a set, drawn by `seed`: whichever order the file has, the same ones.

    file: a path that `pipeline.problems` reads, or the name of a packaged set. Problems without anything to check an
    answer by are left out; with `check_references` also those in code whose own solution fails their tests, which is
    said. Raises `RequestError` when none is left.
    """
    found = [
        (problem, asked) for problem in load(model_file(file)) if (asked := question(problem)) is not None
    ]
    if not found:
        raise RequestError(f"{file}: no problem in it has an answer or a test that could be checked.")
    drawn = sorted(found, key=lambda pair: hashlib.sha256(f"{seed}\0{pair[1].id}".encode()).digest())
    count = len(drawn) if count is None else count
    if not check_references:
        return [asked for _, asked in drawn[:count]]
    kept: list[Question] = []
    refused: list[Reference] = []
    states = _States(file)
    while len(kept) < count and drawn:
        batch, drawn = drawn[: count - len(kept)], drawn[count - len(kept) :]
        for (_, asked), state in zip(batch, states.of([problem for problem, _ in batch]), strict=True):
            if state is not None and state.state == "refused":
                refused.append(state)
            else:
                kept.append(asked)
    if refused:
        some = ", ".join(f"{state.problem_id} ({state.reason})" for state in refused[:5])
        log.warning(
            "%s: %d problems left out whose own solution fails their tests: %s%s",
            file,
            len(refused),
            some,
            " …" if len(refused) > 5 else "",
        )
    if not kept:
        raise RequestError(f"{file}: of every problem in it the own solution fails, e.g. {refused[0].detail}")
    return kept


class _States:
    """What the reference check says of the problems of a set, kept in the cache so that it is worked out once."""

    def __init__(self, file: str) -> None:
        key = storage.sha256(f"{sha256_of(file)} {source_digest('synth.verify.reference')}".encode())[:32]
        self.path = str(cache_folder() / "references" / f"{key}.json")
        self.known: dict[str, list[Any]] = storage.read_json(self.path) if storage.exists(self.path) else {}

    def of(self, problems: list[Problem]) -> list[Reference | None]:
        """For each problem; None where there is nothing to check."""
        missing = [
            problem
            for problem in problems
            if problem.kind == "code" and reference.solutions(problem) and problem.id not in self.known
        ]
        if missing and (reason := sandbox.unavailable()):
            log.warning("the problems' own solutions are not checked: %s", reason)
            missing = []
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # each waits for a sandbox
            for found in threads.map(reference.check, missing):
                if found.state != "undecided":  # another time it may be decided
                    self.known[found.problem_id] = list(found)
        if missing:
            storage.write_json(self.path, self.known)
        return [
            Reference(*self.known[problem.id]) if problem.id in self.known else None for problem in problems
        ]


def question(problem: Problem) -> Question | None:
    """How a problem of a set is asked and checked; None where there is nothing to check an answer by."""
    check: dict[str, Any]
    if problem.kind in ("math", "multiple_choice") and problem.answer is not None:
        prompt = "maths" if problem.kind == "math" else "choice"
        lettered = problem.kind == "multiple_choice" and problem.answer in LETTERS
        check = {"kind": "choice" if lettered else "math", "answer": problem.answer}
    elif problem.kind == "code" and problem.tests:
        task = Task.of(problem)
        if all(isinstance(test, Stdio) for test in task.tests):
            prompt = "program"
        else:  # "code" is a prompt that is the head of the function, and nothing else
            prompt = "code" if task.stub and task.head + task.stub == problem.prompt else "function"
        check = task.to_check()
    else:
        return None
    text = prompts.SOLVE[prompt].format(problem=problem.prompt.strip())
    return Question(problem.id, text, prompt, check, problem.prompt)


def _gym() -> Any:
    """Imported when it is needed: it takes 3 s. Its dependencies warn about their own syntax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    return reasoning_gym
