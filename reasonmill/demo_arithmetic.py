r"""Additions of three-digit numbers that carry nothing over: a task that three million parameters learn on two cores.

Three files, no pair of numbers in more than one of them, in either order:

    answers.jsonl    queries with their right answers, as another model might have written them: for the mixture and SFT
    problems.jsonl   problems for reinforcement learning
    test.jsonl       problems for evaluation

Every digit is from 0 to 4 (the first not 0), so each digit of a sum can be found, and rewarded, by itself. Which file a
pair belongs to is decided by a hash.
"""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path

FILES = {"answers": 0.2, "problems": 0.5, "test": 1.0}  # the hash of a pair, from 0 to 1, is below this
NUMBERS = [100 * a + 10 * b + c for a, b, c in product(range(1, 5), range(5), range(5))]


def write(folder: Path, test: int = 200) -> dict[str, int]:
    """Write the three files; returns how many rows each has. test: how many problems to evaluate on."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs: dict[str, list[tuple[str, int, int]]] = {name: [] for name in FILES}
    for a, b in product(NUMBERS, NUMBERS):
        drawn = int(_digest(f"{min(a, b)}+{max(a, b)}")[:8], 16) / 2**32
        name = next(name for name, end in FILES.items() if drawn < end)
        pairs[name].append((_digest(f"order {a}+{b}"), a, b))
    rows = {name: sorted(found) for name, found in pairs.items()}
    rows["test"] = rows["test"][:test]
    for name, found in rows.items():
        lines = [json.dumps(_answer(a, b) if name == "answers" else _problem(a, b)) for _, a, b in found]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {name: len(found) for name, found in rows.items()}


def _problem(a: int, b: int) -> dict[str, object]:
    return {"id": f"{a}+{b}", "problem": f"{a} + {b} = ?", "answer": str(a + b)}


def _answer(a: int, b: int) -> dict[str, object]:
    return {
        "id": f"{a}+{b}",
        "query": f"{a} + {b} = ?",
        "answer": rf"\boxed{{{a + b}}}",
        "model": "a rule",
        "check": {"kind": "digits", "answer": str(a + b)},
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
