"""Many programs at a time, on this machine and on Dask workers; and the check of a problem by its own solution."""

import gc
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest

from pipeline.errors import RunError
from pipeline.problems import Problem, load
from synth.verify import pool as pools
from synth.verify import reference
from synth.verify.code import Judgement, Limits, Outcome
from synth.verify.isolation import sandbox
from synth.verify.pool import Job, JudgePool
from synth.verify.task import Call, Stdio, Task
from synth.verify.verdict import right, undecided, wrong

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
needs_compiler = pytest.mark.skipif(
    sandbox.isolation() != "bubblewrap" or shutil.which("g++") is None,
    reason="C++ needs a compiler, and a sandbox in which it can write",
)
SQUARES = Task(tuple(Call([n], {}, n * n) for n in range(4)), function="square")
SQUARE = "def square(n):\n    return n * n\n"
SHORT = Limits(cpu_seconds=1, wall_seconds=3, timeouts=1)


def square(id="square", program=SQUARE, **fields):
    return Job(id, program, SQUARES, SHORT)._replace(**fields)


def children():
    gc.collect()
    return set(psutil.Process().children(recursive=True))


@pytest.fixture
def no_process_is_left():
    before = children()
    yield
    _, alive = psutil.wait_procs(children() - before, timeout=30)
    assert not alive


@needs_sandbox
def test_judgements_come_in_the_order_of_the_jobs_whatever_the_programs_do(no_process_is_left):
    programs = {
        "right": (SQUARE, "right", None),
        "wrong": ("def square(n):\n    return n + n\n", "wrong", "tests_failed"),
        "hangs": ("def square(n):\n    while True: pass\n", "wrong", "timeout"),
        "kills": (
            "import os\ndef square(n):\n    os.kill(os.getppid(), 9); os.kill(0, 9)\n",
            "wrong",
            "crashed",
        ),
        "empty": ("", "wrong", None),
        "again": (SQUARE, "right", None),
    }
    jobs = [square(name, program) for name, (program, *_) in programs.items()]
    with JudgePool(workers=2) as pool:
        found = list(pool.map(jobs))
        unordered = {job.id: judgement.verdict[:2] for job, judgement in pool.as_completed(jobs)}
    for (name, (_, verdict, reason)), judgement in zip(programs.items(), found, strict=True):
        assert judgement.verdict.verdict == verdict, (name, judgement)
        assert reason is None or judgement.verdict.reason == reason, (name, judgement)
        assert len(judgement.outcomes) == 4
        assert unordered[name] == judgement.verdict[:2]
    assert found[1].passes == [True, False, True, False]  # 0 and 2 are their own doubles


@needs_sandbox
def test_one_broken_judgement_stops_no_other(no_process_is_left):
    with JudgePool(workers=2) as pool:
        broken = pool.submit(square(language="cobol"))
        assert pool.submit(square()).result(120).verdict.passed
        assert broken.result(120).verdict[:2] == ("undecided", "judge_failed")


@needs_sandbox
def test_leaving_by_an_exception_ends_what_runs_and_drops_what_waits(no_process_is_left):
    sleeper = square(program="import time\ndef square(n): time.sleep(600)", limits=Limits(wall_seconds=600))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), JudgePool(workers=2) as pool:
        futures = [pool.submit(sleeper) for _ in range(6)]
        while not all(future.running() for future in futures[:2]):
            time.sleep(0.01)
        assert futures[5].cancel()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 120
    assert {future.result().verdict[:2] for future in futures[:2]} == {("undecided", "pool_closed")}
    assert all(future.cancelled() for future in futures[2:])
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(sleeper)


@needs_sandbox
def test_a_pool_leaves_no_threads_and_map_takes_jobs_as_they_are_needed(no_process_is_left):
    taken = []

    def jobs():
        for n in range(100):
            taken.append(n)
            yield square(str(n))

    before = threading.active_count()
    with JudgePool(workers=1) as pool:
        judgements = pool.map(jobs())
        assert next(judgements).verdict.passed
        assert len(taken) < 10
        judgements.close()
    assert threading.active_count() == before


def failing(times):
    """A judge whose sandbox fails so many times for each program."""
    seen = {}

    def judge(program, task, limits, **_):
        seen[program] = seen.get(program, 0) + 1
        if seen[program] <= times:
            return Judgement([], undecided("sandbox_failed", "no memory for a process"))
        return Judgement([Outcome(True)], right())

    return judge, seen


@pytest.mark.parametrize(
    ("times", "verdict", "tries"), [(0, "right", 1), (1, "right", 2), (5, "undecided", 2)]
)
def test_the_machine_s_fault_is_tried_once_more(monkeypatch, times, verdict, tries):
    judge, seen = failing(times)
    monkeypatch.setattr(pools, "judge", judge)
    with JudgePool(workers=2, unsafe=True) as pool:
        found = list(pool.map([square(program=str(n)) for n in range(5)]))
    assert {judgement.verdict.verdict for judgement in found} == {verdict}
    assert seen == {str(n): tries for n in range(5)}


def test_without_isolation_there_is_no_pool_unless_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv(sandbox.VARIABLE, "none")
    with pytest.raises(RunError) as refused:
        JudgePool()
    assert str(refused.value) == sandbox.unavailable() and "bubblewrap" in str(refused.value)
    with JudgePool(workers=1, unsafe=True) as pool:
        assert pool.submit(square()).result(120).verdict.passed


@needs_sandbox
def test_a_dask_worker_that_dies_costs_a_repeat():
    """One of two workers is killed while it judges; every job is judged all the same."""
    import distributed

    slow = square(program="def square(n):\n    sum(range(10_000_000))\n    return n * n\n", limits=Limits())
    hangs = square(program="def square(n):\n    while n > 1: pass\n    return n * n\n")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
        JudgePool(cluster=client) as pool,
    ):
        assert pool.parallelism == 2
        futures = [pool.submit(slow._replace(id=str(n))) for n in range(5)]
        timeout = pool.submit(hangs)
        while not any(client.processing().values()):
            time.sleep(0.01)
        victim = next(iter(client.run(os.getpid).values()))
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        assert [future.result(120).verdict[:2] for future in futures] == [("right", None)] * 5
        assert timeout.result(120).passes == [True, True, False, False]


# ---- the reference check ----


def problem(tests, solutions=(), prompt="Square a number.", **metadata):
    listed = [{"language": language, "code": code} for language, code in solutions]
    return Problem(
        "set/1", prompt, None, tests, "code", "set", "", metadata | ({"solutions": listed} if listed else {})
    )


CALLS = [{"type": "call", "arguments": [n], "keywords": {}, "output": n * n} for n in (2, 3)]


@needs_sandbox
def test_a_problem_whose_solution_fails_is_refused_with_the_failing_test():
    doubles = "def square(n):\n    return n + n\n"
    of_calls = problem(CALLS, [("python", doubles)], entry_point="square")
    refused = reference.refusal(of_calls)
    assert refused is not None and refused[:2] == ("set/1", "tests_failed")
    assert refused.test == "test 2: square(3) should give 9"
    assert "6" in refused.detail
    assert reference.refusal(replace(of_calls, metadata=of_calls.metadata | {"solution": SQUARE})) is None

    asserts = [
        {"type": "assert", "code": f"def check(c):\n    assert c({n}) == {n * n}\n\ncheck(square)"}
        for n in (2, 3)
    ]
    refused = reference.refusal(problem(asserts, [("python", doubles)], entry_point="square"))
    assert refused is not None and "3" in refused.test and "== 9" in refused.test

    stdio = [{"type": "stdio", "input": f"{n}\n", "output": f"{n * n}\n"} for n in (2, 3)]
    refused = reference.refusal(problem(stdio, [("python", "n = int(input())\nprint(n + n)")]))
    assert refused is not None and refused.test == "test 2: input '3\\n' should print '9\\n'"


@needs_compiler
def test_one_solution_that_passes_is_enough_in_whichever_language():
    stdio = [{"type": "stdio", "input": "3\n", "output": "9\n"}]
    cpp = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n * n; }"
    found = reference.check(problem(stdio, [("python", "print 9"), ("cpp", cpp)]))
    assert found.state == "passed" and found.cpu_seconds > 0


def test_what_cannot_be_checked_is_said():
    assert reference.refusal(problem(CALLS, entry_point="square")) is None
    assert reference.check(problem(CALLS, entry_point="square")).state == "no_solution"
    refused = reference.refusal(problem(None, [("python", SQUARE)]))
    assert refused is not None and refused.reason == "no_tests"
    with pytest.raises(ValueError, match="not a problem in code"):
        reference.check(Problem("gsm8k/1", "1 + 1?", "2", None, "math", "gsm8k", ""))


def test_a_solution_that_cannot_be_run_here_is_no_refusal():
    fails = Judgement([Outcome(False, "tests_failed")], wrong("tests_failed"))
    unknown = Judgement([Outcome(None, "no_compiler")], undecided("no_compiler"))
    found = reference.finding(problem(CALLS, entry_point="square"), [fails, unknown])
    assert (found.state, found.reason) == ("undecided", "no_compiler")
    assert reference.finding(problem(CALLS, entry_point="square"), [fails]).state == "refused"


def test_no_sandbox_is_no_refusal(monkeypatch):
    monkeypatch.setenv(sandbox.VARIABLE, "none")
    of_calls = problem(CALLS, [("python", "def square(n): return 0")], entry_point="square")
    found = reference.check(of_calls)
    assert (found.state, found.reason) == ("undecided", "no_sandbox")
    assert reference.refusal(of_calls) is None


ROWS = {  # as published: the reference must pass, the same with one thing wrong must not
    "leetcode.jsonl": (
        {
            "task_id": "reverse",
            "problem_description": "Reverse a list.",
            "starter_code": "class Solution:\n    def turn(self, head: Optional[ListNode]) -> Optional[ListNode]:\n        ",
            "entry_point": "Solution().turn",
            "completion": "class Solution:\n    def turn(self, head: Optional[ListNode]) -> Optional[ListNode]:\n"
            "        last = None\n        while head:\n            head.next, last, head = last, head, head.next\n"
            "        return last\n",
            "test": "def check(candidate):\n"
            "    assert is_same_list(candidate(head = list_node([1, 2, 3])), list_node([3, 2, 1]))\n"
            "    assert is_same_list(candidate(head = list_node([])), list_node([]))\n",
        },
        ("return last", "return last and last.next"),
    ),
    "lcb.jsonl": (
        {
            "question_id": "7",
            "question_content": "Mean of the values of a dictionary, by key.",
            "starter_code": "class Solution:\n    def means(self, rows: Dict[str, List[int]]) -> Dict[str, float]:\n        ",
            "public_test_cases": json.dumps(
                [
                    {
                        "input": '{"a": [1, 2], "b": []}',
                        "output": '{"a": 1.5, "b": 0.0}',
                        "testtype": "functional",
                    }
                ]
            ),
            "metadata": '{"func_name": "means"}',
            "solutions": [
                "class Solution:\n    def means(self, rows: Dict[str, List[int]]) -> Dict[str, float]:\n"
                "        return {k: sum(v) / max(1, len(v)) for k, v in rows.items()}\n"
            ],
        },
        ("max(1,", "max(2, 1 +"),
    ),
    "apps.jsonl": (
        {
            "id": 3,
            "question": "Write a function.\n\n```python\ndef halves(n, by):\n    ...\n```",
            "input_output": json.dumps(
                {"fn_name": "halves", "inputs": [[3, 2], [-1, 2]], "outputs": [[1.5], [-0.5]]}
            ),
            "solutions": json.dumps(["def halves(n, by):\n    return n / by\n"]),
        },
        ("n / by", "n // by"),
    ),
}


@needs_sandbox
@pytest.mark.parametrize("name", ROWS)
def test_published_rows_judge_their_references(tmp_path, name):
    row, (good, bad) = ROWS[name]
    file = tmp_path / name
    file.write_text(json.dumps(row))
    [found] = load(file)
    assert reference.check(found).state == "passed", reference.check(found)
    program, _ = reference.solutions(found)[0]
    worse = replace(
        found, metadata=found.metadata | {"solution": program.replace(good, bad), "solutions": []}
    )
    assert program.replace(good, bad) != program
    assert reference.check(worse).state == "refused"


def test_jobs_keep_the_problem_s_limits():
    stdio = [{"type": "stdio", "input": "3\n", "output": "9\n"}]
    [job] = reference.jobs(
        problem(stdio, [("python", "print(9)")], time_limit_s=0.5, memory_limit_bytes=1 << 28)
    )
    assert (job.task.cpu_seconds, job.task.memory_bytes) == (0.5, 1 << 28)
    assert job.task.tests == (Stdio("3\n", "9\n"),)
