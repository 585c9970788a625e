"""The page of a running iteration: nothing that was judged is lost, and writing it costs what JSON costs."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import RunError
from training.rl.record import Page
from training.rl.trajectory import Trajectory


def answer(member: int, length: int) -> Trajectory:
    logprobs = [-1 / (3 + place) for place in range(length)]
    return Trajectory(0, member, "p", [1, 2], list(range(length)), logprobs, "stop", 0, reward=1.0)


def cpu(work: Callable[[], object]) -> float:
    """Seconds, the best of five."""
    took = []
    for _ in range(5):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def test_an_answer_costs_little_more_than_its_json(tmp_path: Path) -> None:
    long = answer(0, 32_000)
    page = Page(tmp_path / "iteration-00000.parquet")
    plain = cpu(lambda: json.dumps({"tokens": long.tokens, "logprobs": long.logprobs}))
    assert cpu(lambda: page.append(long)) < 2 * plain
    page.close(remove=True)


def test_a_disk_that_takes_a_part_of_a_line_loses_that_line_alone(tmp_path: Path) -> None:
    """A limit on the size of files does what a full disk does: the write is short, and raises nothing."""
    path = tmp_path / "iteration-00000.parquet"
    page = Page(path)
    page.append(answer(0, 1000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = page.path.stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        with pytest.raises(RunError):
            page.append(answer(1, 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    page.close(remove=False)
    assert page.path.stat().st_size == size + 100
    again = Page(path)
    assert [one.member for one in again.known.values()] == [0]
    again.append(answer(2, 10))
    again.close(remove=False)
    assert [one.member for one in Page(path).known.values()] == [0, 2]
