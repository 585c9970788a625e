"""`reasonmill judge`: what goes in, what comes out, and that nothing is judged twice."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import reasonmill

from pipeline.errors import RequestError, RunError
from reasonmill import judge as judging
from reasonmill.judge import Options, check_references
from synth.verify.code import Limits
from synth.verify.isolation import sandbox

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
needs_compiler = pytest.mark.skipif(
    sandbox.isolation() != "bubblewrap" or shutil.which("g++") is None,
    reason="C++ needs a compiler, and a sandbox in which it can write",
)
ROOT = Path(__file__).parents[2]

DOUBLE = {
    "task_id": "T/0",
    "prompt": 'import math\n\n\ndef double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n    assert candidate(0) == 0\n",
}
HALF = DOUBLE | {
    "task_id": "T/1",
    "prompt": 'def half(x):\n    """Half of x."""\n',
    "entry_point": "half",
    "canonical_solution": "    return x // 2\n",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n    assert candidate(3) == 1.5\n",
}
SUM = {
    "name": "sum",
    "problem": "Print the sum.",
    "tests": {"inputs": ["1 2\n", "5 5\n"], "outputs": ["3\n", "10\n"]},
}


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def functions(tmp_path):
    return jsonl(tmp_path / "functions.jsonl", DOUBLE, HALF)


def judge(given, problems, output, *, format=None, **options):
    judging.judge(str(given), problems, str(output), Options(**options), format=format)
    return {row["id"]: row for row in rows(output)}


def rows(output):
    return duckdb.sql(f"SELECT * FROM '{output}/*.parquet'").arrow().read_all().to_pylist()


def test_generated_answers_in_every_shape(tmp_path, functions):
    answers = [
        {
            "id": "fenced",
            "problem_id": "humaneval/T/0",
            "answer": "So:\n```python\ndef double(x):\n    return x + x\n```\n",
        },
        {"id": "body", "task_id": "T/0", "completion": "    return 2 * x\n"},
        {"id": "plain", "problem": "T/0", "solution": "def double(x):\n    return math.fsum([x, x])\n"},
        {"id": "wrong", "task_id": "T/0", "response": "```python\ndef double(x):\n    return x * x\n```"},
        {"id": "none", "task_id": "T/0", "response": "I do not know."},
        {"task_id": "T/1", "completion": ["    return x / 2\n", "    return x // 2\n"]},
    ]
    found = judge(jsonl(tmp_path / "answers.jsonl", *answers), functions, tmp_path / "out")
    verdicts = {name: (row["verdict"], row["passes"]) for name, row in found.items()}
    assert verdicts == {
        "fenced": ("right", [True, True, True]),
        "body": ("right", [True, True, True]),
        "plain": ("right", [True, True, True]),
        "wrong": ("wrong", [True, False, True]),
        "none": ("wrong", []),
        "answers.jsonl:6": ("right", [True, True]),
        "answers.jsonl:6#2": ("wrong", [True, False]),
    }
    assert {name: row["problem"] for name, row in found.items()}["plain"] == "humaneval/T/0"
    assert found["wrong"]["reasons"] == [None, "tests_failed", None]
    assert "candidate(-1) == -2" in found["wrong"]["detail"]
    assert (
        found["fenced"]["cpu_seconds"] > 0
        and found["fenced"]["trusted"]
        and found["none"]["reason"] == "no_code"
    )
    assert len({row["program_sha256"] for row in found.values()}) == 7

    fast = judge(tmp_path / "answers.jsonl", functions, tmp_path / "fast", fail_fast=True)
    assert fast["wrong"]["passes"] == [True, False]


@needs_compiler
def test_programs_in_a_folder_and_in_a_table(tmp_path):
    problems = jsonl(tmp_path / "contest_test.jsonl", SUM, SUM | {"name": "same"})
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "sum.py").write_text("print(sum(map(int, input().split())))")
    (folder / "same.cpp").write_text(
        "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }"
    )
    (folder / "notes.txt").write_text("not a program")
    found = judge(folder, problems, tmp_path / "out")
    assert {(row["id"], row["verdict"], row["language"]) for row in found.values()} == {
        ("sum.py", "right", "python"),
        ("same.cpp", "right", "cpp"),
    }
    [one] = judge(folder / "sum.py", problems, tmp_path / "one").values()
    assert one["verdict"] == "right"

    table = tmp_path / "rows.parquet"
    text = (folder / "same.cpp").read_text()
    pq.write_table(pa.table({"problem_id": ["same"], "code": [text], "language": ["c++"]}), table)
    [row] = judge(table, problems, tmp_path / "table").values()
    assert (row["verdict"], row["language"]) == ("right", "cpp")


def test_nothing_is_judged_twice(tmp_path, functions, monkeypatch):
    """The second time there is no sandbox: all that is still in the book needs none."""
    answers = [
        {"id": n, "task_id": f"T/{n % 2}", "solution": f"def double(x): return {n}\n"} for n in range(4)
    ]
    file = jsonl(tmp_path / "answers.jsonl", *answers)
    out = tmp_path / "out"
    before = judge(file, functions, out)
    monkeypatch.setenv(sandbox.VARIABLE, "none")
    assert judge(file, functions, out) == before
    # half is asked for, and not defined: no program, nothing to run
    assert [row["verdict"] for row in before.values()] == ["wrong"] * 4

    for changed in ({"limits": Limits(cpu_seconds=4)}, {"fail_fast": True}):
        with pytest.raises(RunError, match="bubblewrap"):
            judge(file, functions, out, **changed)
    more = jsonl(tmp_path / "more.jsonl", *answers, {"task_id": "T/0", "solution": "def double(x): return 9"})
    with pytest.raises(RunError, match="bubblewrap"):
        judge(more, functions, out)
    assert judge(file, jsonl(tmp_path / "functions.jsonl", DOUBLE, HALF), out).keys() == before.keys()
    with pytest.raises(RunError, match="bubblewrap"):  # another test, another judgement
        judge(file, jsonl(tmp_path / "functions.jsonl", DOUBLE | {"test": HALF["test"]}, HALF), out)


def test_ctrl_c_keeps_what_was_judged(tmp_path, functions):
    """Stopped in the middle; the rest is judged by the same command, and no process is left."""
    slow = "def double(x):\n    for _ in range(3_000_000): pass\n    return 2 * x + {n} * (x == 0)\n"
    file = jsonl(
        tmp_path / "answers.jsonl",
        *({"id": n, "task_id": "T/0", "solution": slow.format(n=n)} for n in range(12)),
    )
    out = tmp_path / "out"
    arguments = [
        sys.executable,
        "-m",
        "reasonmill.command",
        "judge",
        file,
        "--problems",
        functions,
        "--output",
        str(out),
    ]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    page = out / "_book" / "open.jsonl"
    while not (page.exists() and page.read_text().count("\n") >= 2):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    inside = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "What is finished is kept" in said, said
    _, alive = psutil.wait_procs(inside, timeout=30)
    assert not alive
    judged = {
        row["request_id"] for name in out.glob("_book/*.parquet") for row in pq.read_table(name).to_pylist()
    }
    assert 2 <= len(judged) < 12
    found = judge(file, functions, out, workers=2)
    assert [found[str(n)]["verdict"] for n in range(12)] == ["right"] + ["wrong"] * 11
    pages = [
        row["request_id"] for name in out.glob("_book/*.parquet") for row in pq.read_table(name).to_pylist()
    ]
    assert len(pages) == len(set(pages)) == 12 and judged < set(pages)


def test_references_are_checked_and_refused(tmp_path, capsys):
    problems = [
        DOUBLE,
        HALF,  # 3 // 2 is not 1.5
        {key: value for key, value in (DOUBLE | {"task_id": "T/2"}).items() if key != "canonical_solution"},
    ]
    file = jsonl(tmp_path / "functions.jsonl", *problems)
    out = tmp_path / "out"
    check_references(file, str(out), Options())
    said = capsys.readouterr().out
    assert "humaneval/T/1" in said and "candidate(3) == 1.5" in said
    assert "no solution" in said
    [refused] = pq.read_table(out / "refused" / "00000.parquet").to_pylist()
    assert (refused["problem"], refused["reason"]) == ("humaneval/T/1", "tests_failed")
    assert "candidate(3) == 1.5" in refused["test"]
    assert {row["id"]: row["verdict"] for row in rows(out)} == {
        "humaneval/T/0#reference-1": "right",
        "humaneval/T/1#reference-1": "wrong",
    }


def test_the_second_solution_counts_where_the_first_fails(tmp_path):
    codes = [
        {"language": 3, "solution": "print(3)"},
        {"language": 3, "solution": "print(sum(map(int, input().split())))"},
    ]
    file = jsonl(
        tmp_path / "contest_test.jsonl",
        SUM | {"solutions": codes},
        SUM | {"name": "no tests", "tests": {"inputs": ["1"], "outputs": ["2"]}},
    )
    check_references(file, str(tmp_path / "out"), Options())
    assert [row["verdict"] for row in rows(tmp_path / "out")] == ["wrong", "right"]
    assert pq.read_table(tmp_path / "out" / "refused" / "00000.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"solution": "x"},
            r"answers.jsonl, row 1, field 'problem_id or .*the id of the problem, found nothing",
        ),
        (
            {"task_id": "T/7", "solution": "x"},
            r"row 1, field 'task_id': .*found 'T/7'; the first are humaneval/T/0, ",
        ),
        (
            {"task_id": "T/0"},
            r"row 1, field 'solution or completion .*a text or a list of texts, found nothing",
        ),
        ({"task_id": "T/0", "answer": 3}, r"row 1, field 'answer': .*found int"),
    ],
)
def test_wrong_rows_are_answers(tmp_path, functions, row, message):
    with pytest.raises(RequestError, match=message):
        judge(jsonl(tmp_path / "answers.jsonl", row), functions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_requests_are_answers(tmp_path, functions):
    answers = jsonl(tmp_path / "answers.jsonl", {"task_id": "T/0", "solution": "x"})
    words = jsonl(tmp_path / "words.jsonl", {"question": "1 + 1?", "answer": "#### 2"})
    (tmp_path / "other.py").write_text("pass")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.parquet").write_bytes(b"")
    for given, problems, output, message in (
        (tmp_path / "absent.jsonl", functions, "out", "no such file or folder"),
        (answers, words, "out", "no problem in code"),
        (tmp_path / "other.py", functions, "out", "there is no problem 'other'"),
        (answers, functions, "full", "mine.parquet and more that is not ours"),
    ):
        with pytest.raises(RequestError, match=message):
            judge(given, problems, tmp_path / output)


def test_another_stages_folder_is_left_alone(tmp_path, functions):
    answers = jsonl(tmp_path / "answers.jsonl", {"task_id": "T/0", "solution": "x"})
    (tmp_path / "synthetic" / "_book").mkdir(parents=True)  # as synth's has
    theirs = tmp_path / "synthetic" / "00001.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["dear"]}), theirs)
    with pytest.raises(RequestError, match="not ours"):
        judge(answers, functions, tmp_path / "synthetic")
    assert theirs.exists()


def test_the_command(tmp_path, functions, monkeypatch):
    answers = jsonl(tmp_path / "answers.jsonl", {"task_id": "T/0", "solution": "def double(x): return x"})
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setenv(sandbox.VARIABLE, "none")
        result = reasonmill("judge", answers, "--problems", functions, "--output", out)
    assert result.returncode == 1 and "bubblewrap" in result.stderr and "--unsafe" in result.stderr, (
        result.stderr
    )
    assert not rows_or_none(out)
    result = reasonmill("judge", answers, "--problems", functions, "--output", out, "--workers", 1)
    assert result.returncode == 0, result.stderr
    assert "tests_failed" in result.stdout and "0.0%" in result.stdout
    result = reasonmill("judge", "--problems", functions, "--output", out)
    assert result.returncode == 2 and "--references" in result.stderr


def rows_or_none(output):
    return list(Path(output).glob("*.parquet"))
