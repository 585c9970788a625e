"""Reads the problems that RL practises on: the dataset `rl_problems`, or `problems` where difficulty is not known."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq

from mixtures.chat import Chat
from pipeline import storage
from pipeline.dataset import Dataset, read_shard
from pipeline.errors import RequestError
from training.rl.trajectory import RLProblem

COLUMNS = ("problem_id", "prompt", "check", "levels", "level_scores")


def read_problems(dataset: Dataset, chat: Chat, form: str = "chat") -> list[RLProblem]:
    """Every problem with its prompt as tokens. form: "chat", or "plain" text.

    Raises `RequestError` naming shard and row of a problem that cannot be judged, or when there is none at all.
    """
    problems = []
    for shard in dataset.shards:
        path = dataset.shard_path(shard.name)
        fs, inner = storage.split(path)
        with fs.open(inner, "rb") as handle:
            there = set(pq.read_schema(handle).names)
        if missing := [name for name in COLUMNS[:3] if name not in there]:
            raise RequestError(
                f"{path} has no column {missing[0]}: expected the dataset rl_problems, or problems; run these stages"
            )
        rows = read_shard(path, [name for name in COLUMNS if name in there]).to_pylist()
        for number, row in enumerate(rows):
            problems.append(_problem(row, chat, form, f"{path}, row {number}"))
    if not problems:
        raise RequestError(
            f"{dataset.path} holds no problem: its stage dropped all of them, for reasons that "
            f"`reasonmill inspect {dataset.path}` shows; give it more problems, or easier or harder ones"
        )
    return problems


def _problem(row: dict[str, Any], chat: Chat, form: str, where: str) -> RLProblem:
    name = f"{where} ({row['problem_id']})"
    try:
        check = json.loads(row["check"])
        kind = check["kind"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"{name}: its check is {str(row['check'])[:80]!r}, which nothing can be judged by. Run the stage `problems` "
            "again: it leaves such problems out"
        ) from None
    if kind == "text" or (kind == "code" and not check.get("tests")):
        what = "free text" if kind == "text" else "code without a test"
        raise RequestError(
            f"{name}: {what} has no right answer, and so no reward; leave it out of the problems"
        )
    if form == "plain":
        (tokens,) = chat.encoder([row["prompt"]])
    else:
        tokens = chat.query(row["prompt"])
    levels, scores = row.get("levels") or None, row.get("level_scores")
    if levels is not None and (
        scores is None or max(levels, default=0) >= len(scores) or min(levels, default=0) < 0
    ):
        raise RequestError(
            f"{name}: levels {levels} with the scores {scores}; run the stage `difficulty` again"
        )
    return RLProblem(
        id=row["problem_id"],
        prompt_tokens=tuple(tokens.tolist()),
        check=check,
        levels=tuple(levels) if levels is not None else None,
        level_scores=tuple(scores) if scores is not None else None,
        prompt=row["prompt"],
    )
