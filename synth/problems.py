r"""Problems whose answers can be checked: tasks that reasoning-gym draws, and sets of problems in files.

Each becomes a `Question`: what is asked, and the `check` that `verify` later runs on the answer:
    {"kind": "math", "answer": "42"}
    {"kind": "reasoning_gym", "dataset": "gcd", "entry": {…}}
    {"kind": "code", "prompt": …, "entry_point": …, "test": …}    the fields of HumanEval
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError
from pipeline.models import model_file
from pipeline.problems import Problem, load
from synth import prompts


@dataclass(frozen=True)
class Question:
    """One problem as it is put to a model. `prompt` is the name in `prompts.SOLVE`."""

    id: str
    text: str
    prompt: str
    check: dict[str, Any]


def gym_datasets() -> list[str]:
    """Names of reasoning-gym's datasets (Stojanovski et al. 2025)."""
    return sorted(set(_gym().factory.DATASETS) - {"composite"})


def from_gym(name: str, options: dict[str, Any], seed: int) -> Iterator[Question]:
    """Tasks of one reasoning-gym dataset. `options` are its own (size, seed, and what makes it easy or hard).

    An entry is checked to survive JSON: its own answer must still score 1, or what a model answers could not be judged.
    Raises `RequestError` for an unknown dataset or option, and for a dataset that fails that check.
    """
    gym = _gym()
    if name not in gym_datasets():
        raise RequestError(f"reasoning-gym has no dataset {name!r}; it has {', '.join(gym_datasets())}.")
    options = {"seed": seed, "size": 10, **options}
    try:
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
        text = prompts.SOLVE["maths"].format(problem=entry["question"].strip())
        check = {"kind": "reasoning_gym", "dataset": name, "entry": entry}
        yield Question(f"reasoning_gym/{name}/{options['seed']}-{index}", text, "maths", check)


def from_file(file: str, count: int | None, seed: int) -> list[Question]:
    """`count` problems (None: all) of a set, drawn by `seed`: whichever order the file has, the same ones.

    file: a path that `pipeline.problems` reads, or the name of a packaged set. Problems without anything to check an
    answer by are left out. Raises `RequestError` when none is left.
    """
    path = model_file(file)
    problems = champ(path) if file == "champ-v0.json" else load(path)
    questions = [question for problem in problems if (question := _question(problem)) is not None]
    if not questions:
        raise RequestError(f"{file}: no problem in it has an answer or a test that could be checked.")
    drawn = sorted(questions, key=lambda q: hashlib.sha256(f"{seed}\0{q.id}".encode()).digest())
    return drawn[:count]


def champ(path: Path) -> Iterator[Problem]:
    """CHAMP (Mao, Kim & Zhou 2024), of its 270 problems those whose answer is one number, as such or "equivalently".

    The others are answered in words or in a notation of the set's own, which no rule can compare.
    """
    problems = json.loads(path.read_bytes())["problems"]
    for name, problem in problems.items():
        stated = problem["_raw_answer"].replace("@@", "").strip()
        found = re.fullmatch(r"(?:.*equivalently )?(-?\d+(?:/\d+)?)", stated)
        if found:
            category = {"category": problem["category"]}
            yield Problem(f"champ/{name}", problem["_text"], found[1], None, "math", "champ", "", category)


def _question(problem: Problem) -> Question | None:
    if problem.kind in ("math", "multiple_choice") and problem.answer is not None:
        prompt = "maths" if problem.kind == "math" else "choice"
        check: dict[str, Any] = {"kind": "math", "answer": problem.answer}
    elif problem.kind == "code" and (function := problem.metadata.get("entry_point")) and problem.tests:
        prompt = "code"
        test = problem.tests[0]["code"].removesuffix(f"\n\ncheck({function})\n")
        check = {"kind": "code", "prompt": problem.prompt, "entry_point": function, "test": test}
    else:
        return None
    text = prompts.SOLVE[prompt].format(problem=problem.prompt.strip())
    return Question(problem.id, text, prompt, check)


def _gym() -> Any:
    """Imported when it is needed: it takes 3 s. Its dependencies warn about their own syntax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    return reasoning_gym
