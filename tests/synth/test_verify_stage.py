"""The stage end to end: a small `synthetic` table in, verdicts out."""

import json

import psutil
import pyarrow as pa
import pytest
import reasoning_gym

from synth.verify.isolation import sandbox
from synth.verify.stage import Verify, VerifyConfig
from synth.verify.task import Asserts, Call, Stdio, Task
from tests.synth.test_verify_text import ANALYSIS, DOCUMENT

CODE = Task(
    (Asserts("def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"),),
    function="add",
    stub='def add(a, b):\n    """The sum."""\n',
).to_check()
CALLS = Task((Call([1, 0.5], {}, 1.5), Call([2], {"b": -2}, 0)), function="add").to_check()
PROGRAM = Task((Stdio("2 3\n", "5\n"), Stdio("-1 1\n", "0\n"))).to_check()
OF_HUMANEVAL = {  # as older runs wrote it
    "kind": "code",
    "prompt": 'def add(a, b):\n    """The sum."""\n',
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}


def rows():
    gym = reasoning_gym.create_dataset("chain_sum", size=1, seed=3)[0]
    procedural = {"kind": "reasoning_gym", "dataset": "chain_sum", "entry": gym}
    maths = {"kind": "math", "answer": "42"}
    return [  # strategy, answer, finish_reason, check, verdict, reason
        ("solve", r"<think>6 times 7</think>It is \boxed{42}.", "stop", maths, "right", None),
        ("solve", r"It is \boxed{41}.", "stop", maths, "wrong", "not_equal"),
        ("solve", "It is 42.", "stop", maths, "wrong", "no_boxed_answer"),
        ("solve", "<think>42, is it", "length", maths, "wrong", "truncated"),
        ("solve", None, "stop", maths, "wrong", "no_boxed_answer"),
        ("solve", f"Answer: {gym['answer']}", "stop", procedural, "right", None),
        ("solve", "Answer: 10", "stop", procedural, "wrong", "not_equal"),
        ("solve", "```python\ndef add(a, b):\n    return a + b\n```", "stop", CODE, "right", None),
        ("solve", "```python\ndef add(a, b):\n    return a - b\n```", "stop", CODE, "wrong", "tests_failed"),
        ("solve", "```python\ndef add(a, b):\n    return a + b\n```", "stop", OF_HUMANEVAL, "right", None),
        ("solve", "```python\ndef add(a, b):\n    return a + b\n```", "stop", CALLS, "right", None),
        ("solve", "```python\ndef add(a, b):\n    return b\n```", "stop", CALLS, "wrong", "tests_failed"),
        ("solve", "```python\nprint(sum(map(int, input().split())))\n```", "stop", PROGRAM, "right", None),
        ("solve", "```python\nprint(5)\n```", "stop", PROGRAM, "wrong", "tests_failed"),
        ("solve", "It prints 5.", "stop", PROGRAM, "wrong", "no_code"),
        ("solve", "```python\nprint(sum(", "length", PROGRAM, "wrong", "does_not_run"),
        (
            "solve",
            "```python\nprint(5)\n```",
            "stop",
            {"kind": "code", "tests": []},
            "undecided",
            "bad_check",
        ),
        (
            "solve",
            "```python\nprint(5)\n```",
            "stop",
            {"kind": "code", "tests": [{}]},
            "undecided",
            "bad_check",
        ),
        ("solve", r"\boxed{1}", "stop", None, "undecided", "bad_check"),
        ("solve", r"\boxed{1}", "stop", {"kind": "oracle"}, "undecided", "bad_check"),
        ("solve", r"\boxed{1}", "stop", {"kind": "math"}, "undecided", "bad_check"),
        ("analyse", ANALYSIS, "stop", {"kind": "text"}, "accepted", None),
        ("analyse", ANALYSIS, "length", {"kind": "text"}, "rejected", "truncated"),
        ("write", ANALYSIS, "stop", None, "accepted", None),
        ("write", "Short.", "stop", None, "rejected", "too_short"),
    ]


@pytest.mark.skipif(sandbox.unavailable() is not None, reason=f"no sandbox here: {sandbox.unavailable()}")
def test_a_small_table():
    table = rows()
    synthetic = pa.table(
        {
            "id": [f"r{i}" for i in range(len(table))],
            "strategy": [row[0] for row in table],
            "query": [DOCUMENT] * len(table),
            "answer": [row[1] for row in table],
            "finish_reason": [row[2] for row in table],
            "check": [json.dumps(row[3]) if row[3] else None for row in table],
        }
    )
    before = set(psutil.Process().children(recursive=True))
    stage = Verify(VerifyConfig())
    stage.prepare()
    outcome = stage.process(synthetic)
    again = stage.process(synthetic)
    stage.close()
    assert outcome.kept.schema == Verify.schema
    assert outcome.kept.equals(again.kept)  # the same bytes at every run
    assert outcome.kept["id"].to_pylist() == synthetic["id"].to_pylist()
    assert not outcome.dropped and not outcome.failed
    for row, found in zip(table, outcome.kept.to_pylist(), strict=True):
        assert (found["verdict"], found["verdict_reason"]) == row[4:], found
        assert found["verdict_passed"] is (row[4] in ("right", "accepted"))
    _, left = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=30)
    assert not left


def test_an_empty_table():
    stage = Verify()
    stage.prepare()
    schema = pa.schema([(name, pa.string()) for name in Verify.reads])
    assert stage.process(schema.empty_table()).kept.schema == Verify.schema


def test_the_worker_s_code_is_part_of_the_key(monkeypatch):
    """A changed rule in the worker process changes verdicts, so it has to change the resume key."""
    from pipeline import stage

    stage.source_digest.cache_clear()
    before = stage.source_digest("synth.verify.stage")
    real = stage._without_docstrings

    def changed(tree):
        tree = real(tree)
        for node in tree.body:
            if getattr(node, "name", "") == "_misread":
                node.body = node.body[:1]
        return tree

    monkeypatch.setattr(stage, "_without_docstrings", changed)
    stage.source_digest.cache_clear()
    assert stage.source_digest("synth.verify.stage") != before
    stage.source_digest.cache_clear()
