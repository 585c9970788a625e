"""The code judge: which program is found, how it is run, how its values and texts are compared. In the real sandbox."""

import gzip
import json
import textwrap
import time

import pytest

from pipeline.models import model_file
from pipeline.problems import Problem
from synth.verify import code
from synth.verify.isolation import sandbox
from synth.verify.isolation.peer import Peer
from synth.verify.programs import assertions
from synth.verify.programs.compare import same_output, same_value
from synth.verify.programs.solution import program_of
from synth.verify.programs.values import decode, encode
from synth.verify.task import Asserts, Call, Stdio, Task
from tests.patience import in_time

needs_sandbox = pytest.mark.skipif(
    sandbox.unavailable() is not None, reason=f"no sandbox here: {sandbox.unavailable()}"
)
QUICK = code.Limits(cpu_seconds=2, wall_seconds=10)
PROMPT = textwrap.dedent(
    '''
    from typing import List

    def double(n: int) -> int:
        return 2 * n

    def total(numbers: List[int]) -> int:
        """Twice the sum of the numbers."""
    '''
)
TEST = textwrap.dedent(
    """
    METADATA = {"author": "us"}

    def check(candidate):
        assert candidate([]) == 0
        assert candidate([1, 2, 3]) == 12, "a message"
        many = [1] * 10
        assert candidate(many) == 20
        for n in range(3):
            assert candidate([n]) == 2 * n
    """
)
HUMANEVAL = {"kind": "code", "prompt": PROMPT, "entry_point": "total", "test": TEST}
FORGED = "import os\ndef total(n):\n    for fd in range(99):\n        try: os.write(fd, b'{\"value\": [')\n        except OSError: pass\n    os._exit(0)"
GOOD = "def total(numbers): return 2 * sum(numbers)"


def block(source: str, tag: str = "python") -> str:
    return f"Here it is:\n```{tag}\n{textwrap.dedent(source)}\n```\nDone."


def task(*tests: Stdio | Call | Asserts, **named) -> Task:
    return Task(tests, **named)


@needs_sandbox
@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (
            block("def total(numbers):\n    return double(sum(numbers))"),
            "right",
            None,
        ),  # helper of the prompt
        (PROMPT + "    return 2 * sum(numbers)\n", "right", None),
        ("    return 2 * sum(numbers)\n", "right", None),  # the rest of the prompt
        ("\n    return 2 * sum(numbers)\n", "right", None),
        (block(GOOD) + "\nIt prints:\n```\n12\n```", "right", None),
        (block("def total(numbers):\n    return sum(numbers)"), "wrong", "tests_failed"),
        (block("def total(numbers):\n    return 2 * sum(numbers) / len(numbers)"), "wrong", "raised"),
        (block("def total(numbers)\n    return 0"), "wrong", "does_not_run"),
        (block("import no_such_module\ndef total(numbers): return 0"), "wrong", "does_not_run"),
        (block("def other(numbers):\n    return 0"), "wrong", "no_function"),
        (PROMPT, "wrong", "no_code"),
        (block("def total(numbers):\n    return 'x' * (8 << 20)"), "wrong", "output_limit"),
        (
            block(FORGED),
            "wrong",
            "crashed",
        ),
        ("I would use a loop.", "wrong", "no_code"),
        ("<think>" + block(GOOD), "wrong", "no_code"),
        (block("def total(numbers):\n    while True: pass"), "wrong", "timeout"),
        (block("def total(numbers):\n    return iter([0])"), "wrong", "tests_failed"),
        (block("def total(numbers):\n    return object()"), "wrong", "not_plain_value"),
        (
            block("import itertools\ndef total(numbers):\n    return itertools.count()"),
            "wrong",
            "not_plain_value",
        ),
    ],
)
def test_verdicts(answer, verdict, reason):
    found = code.check(answer, Task.from_check(HUMANEVAL), QUICK)
    assert (found.verdict, found.reason) == (verdict, reason), found


PROGRAM = task(Stdio("", ""))


@pytest.mark.parametrize(
    ("answer", "program", "language"),
    [
        (block("print(1)") + block("print(2)"), "print(2)\n", "python"),
        (block("int main() {}", "cpp"), "int main() {}\n", "cpp"),
        (block("#include <cstdio>\nint main() {}", ""), "#include <cstdio>\nint main() {}\n", "cpp"),
        (block("print(1)") + "For 3 it prints\n```\n5\n```", "print(1)\n", "python"),
        ("import sys\nprint(sys.stdin.read())", "import sys\nprint(sys.stdin.read())", "python"),
        (
            "1. So:\n   ```python\n   for i in input():\n       print(i)\n   ```",
            "for i in input():\n    print(i)\n",
            "python",
        ),
        ("```python\nprint(1)\n", "print(1)\n", "python"),  # generation stopped at the closing fence
        ("~~~py\nprint(1)\n```\nprint(2)\n~~~", "print(1)\n```\nprint(2)\n", "python"),
    ],
)
def test_the_program_in_an_answer(answer, program, language):
    assert program_of(answer, PROGRAM) == (program, language)


@pytest.mark.parametrize(
    "text", ["```a\n" * 50_000, "\n" * 200_000, "~" * 200_000, "```" + " " * 200_000, "It is clear."]
)
def test_a_text_without_a_program_is_said_at_once(text):
    assert program_of(text, PROGRAM).reason == "no_code"  # quadratic searches would take minutes


ITERABLES = {
    "def f(n):\n    yield from range(n)": [True, True, True, False, False],
    "def f(n): return map(int, '012')": [True, True, True, False, False],
    "def f(n): return range(n)": [True, True, True, True, False],
    "from collections import deque\ndef f(n): return deque(range(n))": [True, True, True, True, False],
    "def f(n): return dict.fromkeys(range(n)).keys()": [True, True, True, True, False],
    "def f(n): return list(range(n))": [True, True, True, True, True],
}


@needs_sandbox
@pytest.mark.parametrize("program", ITERABLES)
def test_what_is_iterated_over_is_as_in_python(program):
    tests = (
        "list(f(3)) == [0, 1, 2]",
        "sum(f(3)) == 3",
        "sorted(f(3), reverse=True)[0] == 2",
        "len(f(3)) == 3",
        "f(3) == [0, 1, 2]",
    )
    names: dict = {}
    exec(program, names)  # the oracle: Python itself

    def holds(test):
        try:
            return bool(eval(test, names))
        except TypeError:
            return False

    assert ITERABLES[program] == list(map(holds, tests))
    for random in ("", "import random\nrandom.seed(1)\n"):  # read, or run in a sandbox of its own
        found = code.judge(
            program, task(*(Asserts(f"{random}assert {test}") for test in tests), function="f")
        )
        assert found.passes == ITERABLES[program]


@needs_sandbox
def test_every_test_has_its_outcome():
    tests = task(*(Call([n], {}, 2 * n) for n in range(5)), function="f")
    found = code.judge("def f(n):\n    return 2 * n if n != 3 else 1 / 0", tests)
    assert found.passes == [True, True, True, False, True]
    assert found.outcomes[3].reason == "raised" and "ZeroDivisionError" in found.verdict.detail
    first = code.judge("def f(n): return n", tests, fail_fast=True)
    assert first.passes == [True, False] and first.verdict.verdict == "wrong"


STDIN = {
    "input": "n = int(input())\nprint(sum(map(int, input().split())))",
    "sys.stdin": "import sys\nn, *rest = map(int, sys.stdin.read().split())\nprint(sum(rest))",
    "lines": "import sys\nsys.stdin.readline()\nprint(sum(map(int, sys.stdin.readline().split())), end='')",
    "bytes": "import sys\nread = sys.stdin.buffer.readline\nread()\nprint(sum(map(int, read().split())))",
    "open(0)": "lines = open(0).read().split('\\n')\nprint(sum(map(int, lines[1].split())))",
    "os.read": "import os\nos.write(1, b'%d' % sum(map(int, os.read(0, 10**6).split()[1:])))\nos._exit(0)",
    "/dev/stdin": "lines = open('/dev/stdin').readlines()\nprint(sum(map(int, lines[1].split())))",
    "fileinput": "import fileinput\nlines = list(fileinput.input())\nprint(sum(map(int, lines[1].split())))",
    "main": "def main():\n    input()\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()",
    "exit": "input()\nprint(sum(map(int, input().split())))\nexit()",
    "thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
    "def f(x):\n    return f(x - 1) + 1 if x else 0\n"
    "def main():\n    input()\n    print(f(sum(map(int, input().split()))))\nthreading.Thread(target=main).start()",
    "own stdout": "import sys, io\nsys.stdout.reconfigure(encoding='utf-8', newline='')\nout = io.StringIO()\nsys.stdin.readline()\n"
    "print(sum(map(int, sys.stdin.readline().split())), file=out)\nsys.stdout.write(out.getvalue())\nsys.stdout.close()",
    "atexit": "import atexit\nout = []\natexit.register(lambda: print(*out))\ninput()\nout.append(sum(map(int, input().split())))",
}


@needs_sandbox
@pytest.mark.parametrize("name", STDIN)
def test_programs_read_and_print_as_they_like(name):
    tests = task(Stdio("3\n1 2 30000\n", "30003\n"), Stdio("1\n5", "5"))
    found = code.judge(STDIN[name], tests)
    assert found.passes == [True, True], found


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print(4)\nraise SystemExit(1)", "raised"),
        ("print(4)\nraise ValueError", "raised"),
        ("print(4)\nimport os\nos._exit(3)", "raised"),
        ("print(4)\nprint('Accepted')", "tests_failed"),
        ("import time\nprint(4, flush=True)\ntime.sleep(60)", "timeout"),
        ("while True: print('x' * 10**6)", "output_limit"),
        ("print(int(input()) * 2)\nx = bytearray(2 << 30)", "out_of_memory"),
    ],
)
def test_printing_the_answer_is_not_enough(program, reason):
    limits = code.Limits(cpu_seconds=2, wall_seconds=3)
    assert code.judge(program, task(Stdio("2", "4")), limits).verdict.reason == reason


@needs_sandbox
def test_cpp():
    program = "#include <bits/stdc++.h>\nint main() { long long n; std::cin >> n; if (n == 3) abort(); std::cout << n * n; }"
    tests = task(Stdio("2", "4\n"), Stdio("100000", "10000000000"), Stdio("3", "9"))
    found = code.judge(program, tests, language="cpp")
    if found.verdict.reason == "no_compiler":
        pytest.skip(found.verdict.detail)
    assert found.passes == [True, True, False]
    broken = code.judge(program.replace("long long", "int x,"), tests, language="cpp").verdict
    assert broken.verdict == "wrong" and broken.reason in ("does_not_run", "tests_failed")
    broken = code.judge("int main() { return y; }", tests, language="cpp").verdict
    assert broken.reason == "does_not_run" and "y" in broken.detail


@needs_sandbox
@pytest.mark.parametrize(
    ("test", "value"),
    [
        ("assert set(f()) == {1}", "[k * (2**61 - 1) for k in range(100_000)]"),  # all of one hash
        ("assert dict(f()) == {1: 2}", "[[k * (2**61 - 1), 0] for k in range(60_000)]"),
        ("assert sum(f(), []) == [1]", "[[1]] * 150_000"),
        ("assert sorted(f()) == [1]", "[1] * 1_000_001"),
        ("assert f() ** 2 == 4", "'2'"),
    ],
)
def test_a_value_neither_holds_the_judge_nor_makes_itself_undecided(test, value):
    task = Task((Asserts(test),), function="f")
    found = in_time(1, lambda: code.judge(f"def f(): return {value}", task), time.process_time)
    assert found.verdict[:2] == ("wrong", "tests_failed")


@needs_sandbox
def test_programs_may_raise_their_stack_and_ask_for_their_file():
    program = "import os, resource\nresource.setrlimit(resource.RLIMIT_STACK, (2**28, -1))\nprint(os.path.basename(__file__))"
    assert code.judge(program, task(Stdio("", "solution.py"))).passes == [True]


@needs_sandbox
def test_a_sandbox_that_ends_after_its_answer_is_no_strike(monkeypatch):
    def late(self, *arguments, receive=Peer.receive):
        answer = receive(self, *arguments)
        time.sleep(0.1)  # the judge's thread had no processor: the sandbox has ended by now
        return answer

    monkeypatch.setattr(Peer, "receive", late)
    program = "import os\nos.makedirs('/tmp/a/b')\nprint(input())"
    tests = [Stdio(str(n), str(n)) for n in range(5)]
    if sandbox.isolation() != "bubblewrap":
        pytest.skip("only there programs can write files")
    assert code.judge(program, task(*tests)).passes == [True] * 5


@needs_sandbox
def test_a_program_that_hangs_does_not_hold_the_judge():
    tests = task(*(Call([n], {}, n) for n in range(300)), function="f")
    found = code.judge(
        "def f(n):\n    while n > 1: pass\n    return n", tests, code.Limits(cpu_seconds=1, timeouts=2)
    )
    assert found.passes == [True, True] + [False] * 298
    assert "not run" in found.outcomes[-1].detail


@needs_sandbox
def test_a_checker_decides_where_several_outputs_are_right():
    checker = "def check(input, output, expected):\n    return sum(map(int, output.split())) == int(input)"
    tests = (Stdio("10", "5 5"), Stdio("7", "3 4"))
    program = "n = int(input())\nprint(1, n - 1)"
    assert code.judge(program, Task(tests, checker=checker)).passes == [True, True]
    assert code.judge("print(5, 5)", Task(tests, checker=checker)).passes == [True, False]
    assert code.judge(program, Task(tests, several=True)).verdict[:2] == ("undecided", "several_answers")
    assert code.judge(program, Task(tests)).verdict.verdict == "wrong"
    broken = code.judge(program, Task(tests, checker="def check(i, o, e): return 1 / 0")).verdict
    assert broken[:2] == ("undecided", "bad_check")


@needs_sandbox
def test_leetcode():
    reverse = """
    class Solution:
        def reverse(self, head: Optional[ListNode], unused: List[int] = []) -> Optional[ListNode]:
            before = None
            while head:
                head.next, before, head = before, head, head.next
            return before
    """
    tests = (
        Call([[1, 2, 3]], {}, [3, 2, 1]),
        Call([[]], {}, []),
        Asserts(
            "def check(candidate):\n    assert is_same_list(candidate(head=list_node([1, 2])), list_node([2, 1]))\ncheck(Solution().reverse)"
        ),
    )
    found = code.judge(textwrap.dedent(reverse), Task(tests, function="Solution.reverse", prelude=True))
    assert found.passes[0] is True and found.passes[2] is True, found
    assert [outcome.trusted for outcome in found.outcomes] == [True, True, False]
    mirror = "class Solution:\n def f(self, t: TreeNode):\n  if t: t.left, t.right = self.f(t.right), self.f(t.left)\n  return t"
    tree = Task(
        (Call([[1, 2, 3, None, 4]], {}, [1, 3, 2, None, None, 4]),), function="Solution.f", prelude=True
    )
    assert code.judge(mirror, tree).verdict.verdict == "right"
    in_place = Task((Call([[3, 1, 2]], {}, [1, 2, 3]),), function="Solution.f", prelude=True)
    assert code.judge("class Solution:\n def f(self, x): x.sort()", in_place).verdict.verdict == "right"
    assert code.judge("class Solution:\n def f(self, x): x.reverse()", in_place).verdict.verdict == "wrong"


RANDOM = """
import random
def reference(x):
    return x * x
def check(candidate):
    for _ in range(20):
        x = random.randint(2, 50)
        assert candidate(x) == reference(x)
    try:
        candidate("a")
        assert False
    except TypeError:
        pass
    numbers = [3, 1, 2]
    assert candidate(numbers) is None
    assert numbers == [1, 2, 3]
"""
SQUARE = "def f(x):\n    if isinstance(x, list):\n        x.sort()\n    else:\n        return x * x"


@needs_sandbox
def test_a_test_that_cannot_be_read_runs_in_a_sandbox_of_its_own():
    def judged(program):
        return code.judge(program, Task((Asserts(RANDOM),), function="f"))

    found = judged(SQUARE)
    assert found.verdict.verdict == "right" and "4 of them not trusted" in found.verdict.detail, found
    assert judged(SQUARE.replace("x * x", "x + x")).passes == [False, False, True, True]
    assert judged(SQUARE.replace("x.sort()", "x.append(9)")).passes == [True, True, True, False]
    assert (
        judged("class Yes:\n    __eq__ = lambda *a: True\ndef f(x): return Yes()").verdict.verdict == "wrong"
    )
    nothing = code.judge(GOOD, Task((Asserts("def check(candidate): pass"),), function="total")).verdict
    assert nothing[:2] == ("undecided", "untrusted_test")
    broken = code.judge(GOOD, Task((Asserts("not python at all"),), function="total")).verdict
    assert broken[:2] == ("undecided", "bad_test")


@needs_sandbox
def test_asserts_say_themselves_which_function_they_call():
    tests = (
        Asserts("assert area(2, 3) == 6"),
        Asserts("import math\nassert math.isclose(area(0.5, 2), 1.0)"),
    )
    assert code.judge("def area(a, b): return a * b", Task(tests)).passes == [True, True]
    assert code.judge("def size(a, b): return a * b", Task(tests)).verdict.reason == "no_function"
    assert code.judge("area = lambda a, b: a * b", Task(tests)).passes == [True, True]
    own_sum = Task((Asserts("assert sum(2, 3) == 5"),))  # MBPP has functions named like Python's own
    assert code.judge("def sum(a, b): return a + b", own_sum).passes == [True]
    helper = Task((Asserts("assert close(f(1), 2)"),), head="def close(a, b):\n    return a == b\n")
    assert code.judge("def f(x): return 3\ndef close(a, b): return True", helper).verdict.verdict == "wrong"


@needs_sandbox
@pytest.mark.parametrize(
    "test",
    [
        "def also(c):\n    assert c([1]) == 2\ndef check(candidate):\n    assert candidate([]) == 0\n    also(candidate)",
        "def check(candidate):\n    assert candidate([]) == 0\nassert total([1]) == 2",
        "def check(candidate):\n    assert candidate([]) == 0\n    x = [1 / 0]",
        "def len(x):\n    return 9\ndef check(candidate):\n    assert len([candidate([])]) == 1",
        "from our import *\ndef check(candidate):\n    assert candidate([]) == 0",
        "def check(candidate):\n    assert candidate([]) == 0\ndef check(candidate):\n    assert candidate([1]) == 2",
    ],
)
def test_what_a_test_asserts_elsewhere_is_not_forgotten(test):
    """`total` returns 0 always: wrong by the whole test, or by a test that is another one than it seems."""
    found = code.judge("def total(numbers): return 0", Task((Asserts(test),), function="total"))
    assert found.verdict.verdict != "right"


def test_without_a_sandbox_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "unavailable", lambda: "none here")
    monkeypatch.setattr(sandbox, "start", lambda *a, **k: pytest.fail("it ran"))
    verdict = code.check(block(GOOD), Task.from_check(HUMANEVAL))
    assert verdict[:3] == ("undecided", "no_sandbox", "none here")


@needs_sandbox
def test_a_sandbox_that_fails_is_no_fault_of_the_program(monkeypatch):
    def broken(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(sandbox, "start", broken)
    found = code.judge(GOOD, Task.from_check(HUMANEVAL))
    assert found.verdict[:2] == ("undecided", "sandbox_failed") and found.passes == [None]


@pytest.mark.parametrize(
    ("value", "expected", "named", "same"),
    [
        ([1, (2, 3)], (1, [2, 3]), {}, True),
        ("1", 1, {}, False),
        (True, 1, {}, True),
        (0.1 + 0.2, 0.3, {}, True),
        (0.31, 0.3, {}, False),
        (3, 3.0, {}, True),
        (3, 3.0000001, {}, True),
        (10**400, 1.5, {}, False),
        (2000001.0, 2000000, {}, False),
        (2000000.0, 2000000, {}, True),
        (float("nan"), float("nan"), {}, False),
        ({1: "a"}, {"1": "a"}, {}, True),
        ({1: "a"}, {"2": "a"}, {}, False),
        ([2, 1], [1, 2], {}, False),
        ([2, 1], [1, 2], {"any_order": True}, True),
        ([[2], [1.0]], [[1], [2]], {"any_order": True}, True),
        ([1, 1, 2], [1, 2, 2], {"any_order": True}, False),
        ({1, 2}, [2, 1], {}, True),
        (None, [], {}, False),
        ("a", None, {}, False),
    ],
)
def test_values(value, expected, named, same):
    assert same_value(value, expected, **named) is same


@pytest.mark.parametrize(
    ("printed", "expected", "named", "same"),
    [
        ("4", "4\n", {}, True),
        ("1 2 3 \n\n", "1 2 3", {}, True),
        ("1\n2\n3", "1 2 3", {}, True),
        ("1 2", "1 2 3", {}, False),
        ("1 2 3 4", "1 2 3", {}, False),
        ("0.3333333333", "0.333333333", {}, True),
        ("0.34", "0.333", {}, False),
        ("3", "3.0", {}, True),
        ("3.0", "3", {}, False),
        ("YES", "Yes", {}, False),
        ("YES", "Yes", {"any_case": True}, True),
        ("*\n***", "  *\n***", {}, False),
        ("  *\n***\n", "  *\n***", {}, True),
        ("nan", "0.5", {}, False),
        ("1e5", "100000.0", {}, True),
        ("٣.٠", "3.0", {}, False),
        ("", "", {}, True),
        ("", "0", {}, False),
    ],
)
def test_printed_texts(printed, expected, named, same):
    assert same_output(printed, expected, **named) is same


def test_values_survive_the_way():
    value = [None, True, 2**70, -1.5, "ü\0", (1, {2: [3]}), {4}, frozenset({5}), b"6", 7j, bytearray(b"8")]
    assert decode(json.loads(json.dumps(encode(value)))) == value
    with pytest.raises(ValueError, match="same hash"):
        decode({"set": [k * (2**61 - 1) for k in range(5000)]})


def test_a_task_survives_json():
    tests = (Stdio("1", "2"), Call([(1, 2)], {"k": {3}}, 4.5), Asserts("assert f(1)"))
    whole = Task(tests, function="f", checker="def check(*a): return True", several=True, cpu_seconds=1.5)
    assert Task.from_check(json.loads(json.dumps(whole.to_check()))) == whole
    with pytest.raises(ValueError, match="no tests"):
        Task.from_check({"kind": "code", "tests": []})


CONDITIONS = [  # test, values of its calls, whether it holds: worked out by hand
    ("assert f(1) == (1, 2)", [(1, 2)], True),
    ("assert f(1) == (1, 2)", [[1, 2]], False),
    ("assert f(1)", [0], False),
    ("assert not f(1)", [[]], True),
    ("assert f(1) is True", [1], False),
    ("assert abs(f(1) - 0.3) < 1e-6", [0.1 + 0.2], True),
    ("assert abs(f(1) - 0.3) < 1e-6", [0.31], False),
    ("assert abs(f(1) - 0.3) < 1e-6", [None], False),
    ("assert f(1) == f(2)", [3, 3], True),
    ("assert sorted(f(1)) == [1, 2] and len(f(1)) == 2", [[2, 1], [2, 1]], True),
    ("assert math.isclose(f(1), 2.0)", [2.0000000001], True),
    ("assert f(1)['a'][0] == 'x'.upper()", [{"a": ["X"]}], True),
    ("x = f(3)\nassert x == 4 or x == 5", [5, 5], True),
    ("a, b = 2, 3\nassert f(a, k=b) == a + b", [5], True),
    ("assert 1 < f(1) < 3", [3], False),
    ("assert f(1) in (3, 4)", [4], True),
]


@pytest.mark.parametrize(("source", "values", "holds"), CONDITIONS)
def test_conditions(source, values, holds):
    (assertion,) = assertions.read(source, "f").assertions
    assert assertion.holds(values) is holds


@pytest.mark.parametrize(
    "source",
    [
        "assert f(open('/etc/passwd').read()) == 1",
        "assert f(1) == __import__('os').getpid()",
        "assert f(9 ** 9 ** 9) == 1",
        "assert f('x' * 10 ** 9) == 1",
        "assert f(f(1)) == 1",
        "assert (lambda: f(1))() == 1",
        "assert [f(x) for x in (1, 2)] == [1, 2]",
        "x = [1]\nx.append(2)\nassert f(x) == 3",
        "from numpy import abs\nassert abs(f(1)) == 1",
        "assert f(1).__class__ == int",
        "assert False",
        "if True:\n    assert f(1) == 1",
        "try:\n    assert f(1) == 1\nexcept Exception: pass",
    ],
)
def test_what_is_not_understood_is_left_unread(source):
    found = assertions.read(source, "f")
    assert not found.assertions and found.unread


def test_the_calls_that_are_read():
    found = assertions.read(TEST, "total")
    assert not found.unread
    assert [call.arguments for a in found.assertions for call in a.calls] == [
        *([[]], [[1, 2, 3]], [[1] * 10]),
        *([[0]], [[1]], [[2]]),
    ]


@needs_sandbox
def test_humaneval_reference_solutions():
    """Every eighth here; all 164 in benchmarks/verify.py."""
    with gzip.open(model_file("HumanEval.jsonl.gz")) as lines:
        rows = [json.loads(line) for line in lines][::8]
    for row in rows:
        task = Task.from_check({name: row[name] for name in ("prompt", "entry_point", "test")})
        assert code.judge(row["prompt"] + row["canonical_solution"], task).verdict.passed, row["task_id"]
        nothing = row["prompt"] + "    return None\n"
        assert not code.judge(nothing, task, fail_fast=True).verdict.passed, row["task_id"]


@pytest.mark.parametrize(
    ("said", "any_case"),
    [
        ("You can print each letter in any case (upper or lower).", True),
        ("You may print the answer in any case.", True),
        ("First print YES or NO (in any case).", True),
        ("The movements in both cases are the same. In any case, print the smallest number.", False),
        ("Print YES or NO.", False),
    ],
)
def test_the_statement_says_whether_case_matters(said, any_case):
    problem = Problem("a/1", said, None, [{"type": "stdio", "input": "1", "output": "YES"}], "code", "a", "")
    assert Task.of(problem).any_case is any_case
