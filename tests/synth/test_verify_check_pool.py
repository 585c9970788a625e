"""Answers judged side by side by child processes that hang, die and end with their parent."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from synth.verify import check_pool
from synth.verify.check import Checker
from synth.verify.check_pool import CheckPool
from synth.verify.isolation import sandbox
from synth.verify.task import Call, Task
from tests.patience import in_time

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
HALF = (r"\boxed{\frac{1}{2}}", {"kind": "math", "answer": "0.5"}, "stop")
SQUARES = Task(tuple(Call([n], {}, n * n) for n in range(3)), function="square").to_check()
SLEEPS = "```python\nimport time\ndef square(n):\n    time.sleep(600)\n```"


def children():
    return psutil.Process().children(recursive=True)


@pytest.fixture
def no_process_is_left():
    before = set(children())
    yield
    _, alive = psutil.wait_procs(set(children()) - before, timeout=30)
    assert not alive


def cases():
    draw = random.Random(1)
    for n in range(150):
        gold = draw.choice(["12", r"\frac{3}{4}", "0.75", r"2\sqrt{2}", "x+1", "(1,2)"])
        box = draw.choice(["12", "13", "3/4", ".75", r"\sqrt{8}", "1+x", "(1, 2)", "none", ""])
        yield (
            rf"{n}: \boxed{{{box}}}",
            {"kind": draw.choice(["math", "math", "digits"]), "answer": gold},
            "stop",
        )


def test_the_verdicts_are_those_of_one_process(no_process_is_left):
    asked = list(cases())
    with CheckPool(workers=2) as pool:
        futures = [pool.submit(*case) for case in asked]
        found = [future.result(120) for future in futures]
    with Checker() as checker:
        assert found == [checker.check(*case, every_test=True) for case in asked]
    assert pool.starts == 2


@needs_sandbox
def test_programs_run_in_their_sandbox(no_process_is_left):
    answer = "```python\ndef square(n):\n    return n + n\n```"
    with CheckPool(workers=1) as pool:
        found = pool.submit(answer, SQUARES, "stop").result(120)
        assert (found.verdict.reason, found.passes) == ("tests_failed", (True, False, True))
        assert pool.submit(answer, SQUARES, "stop", every_test=False).result(120).passes == (False,)
        probe = "```python\nimport os\ndef square(n):\n    return n * n + len(os.listdir('/root'))\n```"
        assert not pool.submit(probe, SQUARES, "stop").result(120).verdict.passed


def when_busy(pool, text):
    """The children of this process once one of their descendants sleeps in a program."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        workers = [
            child for child in psutil.Process().children() if "check_pool" in " ".join(child.cmdline())
        ]
        if workers and len(workers[0].children(recursive=True)) >= text:
            return workers
        time.sleep(0.02)
    raise AssertionError("no child is at work")


@needs_sandbox
def test_a_killed_child_costs_a_repeat_and_a_second_one_the_verdict(no_process_is_left):
    with CheckPool(workers=1) as pool:
        future = pool.submit(SLEEPS, SQUARES, "stop")
        first = when_busy(pool, 2)[0]
        waiting = pool.submit(*HALF)
        first.send_signal(signal.SIGKILL)
        first.wait(60)
        while (second := when_busy(pool, 2)[0]).pid == first.pid:
            time.sleep(0.02)
        assert not future.done()
        second.send_signal(signal.SIGKILL)
        found = future.result(120)
        assert (found.verdict[:2], found.passes) == (("undecided", "worker_lost"), (None,) * 3)
        assert waiting.result(120).verdict.passed  # the others go on
        assert (pool.starts, pool.lost) == (3, 2)


@needs_sandbox
def test_a_deadline_ends_what_runs(no_process_is_left):
    with CheckPool(workers=1, code_seconds=1.5) as pool:
        assert pool.submit(*HALF).result(120).verdict.passed
        began = time.monotonic()
        found = pool.submit(SLEEPS, SQUARES, "stop").result(120)
        assert 1.4 < time.monotonic() - began < 120
        assert (found.verdict[:2], found.passes) == (("undecided", "timeout"), (None,) * 3)
        assert pool.submit(*HALF).result(120).verdict.passed
        assert pool.overran == 1


def test_a_child_that_computes_without_end_is_killed(no_process_is_left, monkeypatch):
    """A verifier with a loop that no signal handler of Python's ends: one C call of hours."""
    slow = "from synth.verify import check_pool, check; check.text.check = lambda *a: pow(3, 10**9)"
    boot = check_pool.BOOT.replace("from synth.verify import check_pool", slow)
    assert boot != check_pool.BOOT
    monkeypatch.setattr(check_pool, "BOOT", boot)
    with CheckPool(workers=1, seconds=1.0) as pool:
        found = pool.submit("words", {"kind": "text"}, "stop").result(120)
        assert found.verdict[:2] == ("undecided", "timeout")
        assert pool.submit(*HALF).result(120).verdict.passed


@needs_sandbox
def test_closing_drops_what_runs_and_what_waits(no_process_is_left):
    pool = CheckPool(workers=1)
    running, waiting, cancelled = (pool.submit(SLEEPS, SQUARES, "stop") for _ in range(3))
    when_busy(pool, 2)
    assert cancelled.cancel()
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 120
    for future in (running, waiting):
        assert future.result(0).verdict[:2] == ("undecided", "pool_closed")
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(*HALF)
    pool.close()


@needs_sandbox
def test_children_end_with_a_parent_that_is_killed(tmp_path):
    script = f"""
        import time
        from synth.verify.check_pool import CheckPool
        pool = CheckPool(workers=1)
        pool.submit({SLEEPS!r}, {SQUARES!r}, "stop")
        print("busy", flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout.readline() == b"busy\n"
    deadline = time.monotonic() + 120
    while (
        len(family := psutil.Process(parent.pid).children(recursive=True)) < 3 and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    assert len(family) >= 3  # the child, and the program in its sandbox
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def ask_4000(pool: CheckPool, check: dict[str, str]) -> None:
    futures = [pool.submit(rf"So it is \boxed{{{n}}}.", check, "stop") for n in range(4000)]
    assert sum(future.result().verdict.passed for future in futures) == 1


def test_thousands_of_short_answers_a_second():
    with CheckPool(workers=1) as pool:
        for check in ({"kind": "digits", "answer": "1036"}, {"kind": "math", "answer": "1036"}):
            in_time(1, lambda check=check: ask_4000(pool, check), time.process_time)
        assert pool.starts == 0  # decided here: no child was needed
