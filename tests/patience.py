"""Limits of CPU time that no busy machine breaks.

What these limits are there to find, a step whose time grows with the square of its input, takes a hundred times as
long, on every run. Neighbours on the same core and a collection of garbage take a few times as long, now and then.
So garbage is not collected meanwhile, limits are four times what an idle machine is allowed, and a limit is broken
only where each of several runs breaks it. Speed is measured in benchmarks/, not here.
"""

import gc
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TypeVar

Answer = TypeVar("Answer")

RUNS = 5
SLOWER = 4.0


def in_time(
    seconds: float, work: Callable[[], Answer], clock: Callable[[], float] = time.thread_time
) -> Answer:
    """What `work` answers, if one of its runs takes at most this many CPU seconds, times `SLOWER`.

    clock: `time.process_time` where other threads of this process do the work.
    """
    took = []
    for _ in range(RUNS):
        answer, spent = _measured(work, clock)
        if spent <= SLOWER * seconds:
            return answer
        took.append(spent)
    raise AssertionError(f"took {min(took):.2f} CPU seconds at best, more than {SLOWER:g} × {seconds:g}")


def in_proportion(work: Callable[[int], object], few: int, many: int, times: float = 3.0) -> None:
    """Fails where `work(many)` takes more than `times` what its share in `work(few)` would be, on each of several runs."""
    work(few // 10)  # what is made once
    ratios = []
    for _ in range(RUNS):
        (_, short), (_, long) = (
            _measured(lambda count=count: work(count), time.thread_time) for count in (few, many)
        )
        ratios.append(long / max(short, 0.02))
        if ratios[-1] < times * many / few:
            return
    raise AssertionError(f"{many} take {min(ratios):.0f} times as long as {few}")


def _measured(work: Callable[[], Answer], clock: Callable[[], float]) -> tuple[Answer, float]:
    with _garbage_left():
        began = clock()
        answer = work()
        return answer, clock() - began


@contextmanager
def _garbage_left():
    """A collection costs by how much the whole process holds, not by what is measured."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
