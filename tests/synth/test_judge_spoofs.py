"""Wrong programs that pretend, and right ones that must not be taken for wrong. All of it in the real sandbox.

Every cheat is tried on each form of test; none may pass a single one. None may make itself undecided either: that would
be a way out of every punishment.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Any

import pytest
from judge_cheats import ALL_DESCRIPTORS, CHEATS

from synth.verify import code
from synth.verify.isolation import sandbox
from synth.verify.task import Asserts, Call, Stdio, Task
from tests.patience import in_time

pytestmark = pytest.mark.skipif(
    sandbox.unavailable() is not None, reason=f"no sandbox here: {sandbox.unavailable()}"
)
QUICK = code.Limits(cpu_seconds=2, wall_seconds=10, memory_bytes=512 << 20)

TESTS: dict[str, tuple[Stdio | Call | Asserts, ...]] = {  # of total(numbers): twice their sum
    "call": (Call([[4001, 5002]], {}, 18006), Call([[7007]], {}, 14014), Call([[45009]], {}, 90018)),
    "stdio": (Stdio("4001 5002", "18006\n"), Stdio("7007", "14014\n"), Stdio("45009", "90018\n")),
    "asserts": (
        Asserts(
            "def check(candidate):\n    assert candidate([4001, 5002]) == 18006\n    assert candidate([7007]) == 14014\n"
            "    assert candidate([45009]) == 90018"
        ),
    ),
    "asserts that are run": (
        Asserts(
            "import random, math\nrandom.seed(7)\ndef twice(x):\n    return 2 * sum(x)\ndef check(candidate):\n"
            "    for _ in range(3):\n        x = [random.randint(1, 99) for _ in range(5)]\n        y = list(x)\n"
            "        assert candidate(x) == twice(y), 'no'\n    assert math.isclose(candidate([2160.75]), 4321.5)"
        ),
    ),
}
MAIN = "\nif __name__ == '__main__':\n    print(total([int(x) for x in input().split()]))\n"


def judged(program: str, *tests, function: str | None = "total", limits=QUICK, **said) -> code.Judgement:
    return code.judge(program, Task(tests, function=function, **said), limits)


@pytest.mark.parametrize("form", TESTS)
def test_the_form_of_test_is_passed_by_the_right_program(form):
    program = "def total(numbers): return 2 * sum(numbers)" + (MAIN if form == "stdio" else "")
    found = judged(program, *TESTS[form], function=None if form == "stdio" else "total")
    assert found.verdict.verdict == "right", found
    assert all(outcome.trusted == (form != "asserts that are run") for outcome in found.outcomes)


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes_a_single_test(name):
    """As a program, and as a function whose calls and asserts of both kinds share one sandbox."""
    patient = replace(QUICK, timeouts=0)  # all tests are run
    found = judged(CHEATS[name] + MAIN, *TESTS["stdio"], function=None, limits=patient)
    assert not any(passed is not False for passed in found.passes), found
    tests = [*TESTS["call"], *TESTS["asserts"], *TESTS["asserts that are run"]]
    found = judged(CHEATS[name], *tests, limits=patient)
    assert len(found.passes) >= 8 and not any(passed is not False for passed in found.passes), found
    assert found.verdict.verdict == "wrong", found.verdict


# ---- what the judge reads from a pipe that the program can write to ---------------------------------------------------

REPORTS = [
    b'{"failed": []}', b'{"failed": {}}', b'{"failed": null}', b'{"failed": "no_compiler", "detail": []}', b'{"failed": "passed"}',
    b'{"value": null, "arguments": 5}', b'{"value": null, "arguments": {"dict": [[1, 2]]}}', b'{"value": null, "arguments": []}',
    b'{"value": {"int": 5}}', b'{"value": {"int": "0x"}}', b'{"value": {"fraction": [1, 0]}}', b'{"value": {"decimal": "sNaN"}}',
    b'{"value": {"float": "0x1p99999999999999"}}', b'{"value": {"set": 5}}', b'{"value": {"tuple": [{"tuple": []}], "set": []}}',
    b'{"value": {"dict": [[{"dict": []}, 1]]}}', b'{"value": {"complex": [1]}}', b'{"value": {"eval": "12"}}', b'{"value": NaN}',
    b'{"value": 13.0}', b'{"value": {"bytes": "zz"}}', b'{"value": {"ListNode": 5}}', b'{"value": {"decimal": "1E+999999999"}}',
    b'{"value": [{"decimal": "Infinity"}]}', b'{"value": 5, "cpu": -1e99, "nonce": "x"}', b'[]', b'null', b'"x"', b'{', b'\xff\xfe',
    b'{"value": ' + b"9" * 5000 + b'}', b'{"printed": "12"}', b'{"value": ' + b"[" * 900 + b"]" * 900 + b'}', b'{"value": "\\ud800"}',
]  # fmt: skip


def test_the_judge_survives_whatever_a_program_reports():
    program = (
        ALL_DESCRIPTORS + "def total(number):\n    everywhere(REPORTS[number] + b'\\n')\n    os._exit(0)\n"
    )
    program += f"REPORTS = {REPORTS!r}"
    limits = code.Limits(cpu_seconds=1, wall_seconds=4, timeouts=0)
    for expected in (12, "12", [12], 12.5, {"a": 12}, True):
        tests = [Call([number], {}, expected) for number in range(len(REPORTS))]
        found = judged(program, *tests[:: 1 if expected == 12 else 5], limits=limits)
        assert not any(passed is not False for passed in found.passes), found


FLOOD = "import random\nmany = ','.join('{\"int\": \"%s\"}' % hex(k * ((1 << 61) - 1)) for k in range(1, 110_000))\n"
FLOOD += "pairs = ','.join('[{\"int\": \"%s\"}, 0]' % hex(k * ((1 << 61) - 1)) for k in range(1, 90_000))\n"
FLOOD += "numbers = ['{\"int\": \"0x%s\"}' % random.randbytes(900_000).hex() for _ in '12']\n"
HEAVY = [  # Python for the JSON of a value that is a burden to read, to compare or to show
    "'{\"set\": [%s]}' % ','.join('{\"tuple\": [%s]}' % x for x in many.split(',')[:80_000])",
    "'{\"set\": [%s]}' % ','.join('{\"decimal\": \"%d\"}' % (k * ((1 << 61) - 1)) for k in range(1, 80_000))",
    "'{\"set\": [%s]}' % many", "'{\"frozenset\": [%s]}' % many", "'{\"dict\": [%s]}' % pairs", "'[%s]' % many",
    "'{\"fraction\": [%s, %s]}' % tuple(numbers)", "'[%s]' % ','.join(['{\"int\": \"0x%s\"}' % ('9' * 5000)] * 500)", "numbers[0]",
    "'{\"dict\": [[%s, 1]]}' % numbers[0]", "'[' + '[],' * 900_000 + '[]]'", "'[' + '[1],' * 2999 + '[]]'", "'{\"decimal\": \"1E+999999999\"}'",
    "'{\"set\": [{\"decimal\": \"1E+999999999\"}]}'", "'\"' + 'x' * 3_000_000 + '\"'", "'[' * 400 + ']' * 400", "'{\"tuple\": [' * 300 + ']}' * 300",
]  # fmt: skip


@pytest.mark.parametrize("any_order", [False, True])
def test_no_value_holds_the_judge_itself(any_order):
    """What is read, compared and shown outside the sandbox is somebody else's choice: sets whose hashes all collide,
    fractions to shorten, numbers too long to print, millions of items."""
    program = ALL_DESCRIPTORS + FLOOD + f"values = [{', '.join(f'lambda: {text}' for text in HEAVY)}]\n"
    program += "def total(i):\n    everywhere(('{\"value\": %s}\\n' % values[i]()).encode())\n    os._exit(0)"
    expected = {5: list(range(109_999)), 9: {"1": 2}, 11: [[-1]] * 3000}
    tests = [Call([i], {}, expected.get(i, 12)) for i in range(len(HEAVY))]
    limits = replace(QUICK, cpu_seconds=2, timeouts=0)
    found = in_time(2, lambda: judged(program, *tests, any_order=any_order, limits=limits), time.process_time)
    assert not any(passed is not False for passed in found.passes), found


@pytest.mark.parametrize(
    "answer",
    ["```a\n" * 20_000, "\n" * 100_000, " \n" * 50_000, "~" * 100_000, "`~" * 50_000, "```" + " " * 100_000, "<think>" * 20_000,
     "def total(" * 10_000, "def total(n):\n" + '\"\"\"a' * 20_000, "for " * 30_000, "```python\n" * 5_000 + "def total(n): 1\n" * 999,
     "import" + " " * 100_000 + "x", "import " + "a," * 50_000 + "!"],
)  # fmt: skip
def test_no_text_holds_the_judge_itself(answer):
    for tests, function in ((TESTS["call"], "total"), (TESTS["stdio"], None)):
        task = Task(tests, function=function, stub="def total(numbers):\n")
        found = in_time(0.2, lambda task=task: code.check(answer, task, QUICK), time.process_time)
        assert found.verdict == "wrong", found


# ---- what a program can know ----------------------------------------------------------------------------------------

SEARCH = """
import ctypes, gc, os, re, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
def total(mine):
    wanted = bytes(c + 1 for c in b"mddckd-")            # "needle-", which must not stand in this program
    pattern = re.compile(wanted + b"[0-9a-f]{16}|" + "".join(chr(c) + chr(0) for c in wanted).encode() + b"(?:[0-9a-f]\\0){16}")
    inner, outer = os.pipe()
    os.set_blocking(outer, False)
    found, seen, size = set(), set(), 1 << 15
    def page(at):                                        # None where nothing is mapped: the kernel says so, nothing crashes
        if libc.write(outer, at, 4096) != 4096:
            return None
        return os.read(inner, 4096)
    def around(address):
        for step in (4096, -4096):
            at, before = address & ~4095, b""
            while at not in seen and len(seen) < 60_000:
                seen.add(at)
                part = page(at)
                if part is None:
                    break
                text = before[-60:] + part if step > 0 else part + before[:60]
                found.update(m[0].replace(b"\\0", b"") for m in pattern.finditer(text))
                before, at = part, at + step
    stack = ctypes.c_long()
    places = [id(mine), id(object()), ctypes.addressof(stack), id(sys), ctypes.cast(libc.malloc, ctypes.c_void_p).value]
    libc.malloc.restype = ctypes.c_void_p
    places += [libc.malloc(n) for n in (16, 500, 5000, 1 << 17, 1 << 20)]
    for thing in gc.get_objects():
        places.append(id(thing))
    frame = sys._getframe()
    while frame:
        places += [id(value) for value in [*frame.f_locals.values(), *frame.f_globals.values()]]
        frame = frame.f_back
    for place in places:
        around(place)
    return sorted(text.decode() for text in found)
"""


@pytest.mark.parametrize("form", ["call", "asserts", "asserts that are run", "checker"])
def test_what_is_expected_is_nowhere_in_the_memory_of_the_program(form):
    """The search finds what the program was given, and only that: neither what is expected nor later inputs."""
    given, expected, later = (f"needle-{secrets.token_hex(8)}" for _ in range(3))
    if form == "call":
        tests = (
            Call([given], {}, [given]),
            Call([given], {}, sorted([given, expected])),
            Call([later], {}, [later]),
        )
        found = judged(SEARCH, *tests)
    elif form == "checker":
        checker = "def check(given, output, expected): return output == [given[0]] and expected != ''"
        found = judged(
            SEARCH, Call([given], {}, expected), Call([given], {}, ""), Call([later], {}, ""), checker=checker
        )
    else:
        hidden = "pass" if form == "asserts" else "for i in range(len(sorted([1], key=lambda x: x))): pass"
        test = f"def check(candidate):\n    {hidden}\n    assert candidate({given!r}) == [{given!r}]\n"
        test += (
            f"    assert {expected!r} in candidate({given!r})\n    assert candidate({later!r}) == [{later!r}]"
        )
        found = judged(SEARCH, Asserts(test))
        assert all(outcome.trusted == (form == "asserts") for outcome in found.outcomes)
    assert found.passes[:2] == [True, False], found


def test_visible_tests_alone_are_not_enough():
    found = judged("def total(n): return {(4001, 5002): 18006, (7007,): 14014}.get(tuple(n))", *TESTS["call"])
    assert found.passes == [True, True, False] and found.verdict.verdict == "wrong"


# ---- which values are the same --------------------------------------------------------------------------------------

VALUES = [  # expected, what the function returns, same?
    (12, "12", True), (12, "12.0", True), (12, "'12'", False), (12, "b'12'", False), (12, "[12]", False), (12, "13", False),
    (1, "True", True), (True, "1", True), (0, "None", False), (None, "0", False), ([], "None", False), ("", "None", False),
    (False, "None", False), (True, "'True'", False), (True, "1.0000001", False), (None, "'None'", False), ("None", "None", False),
    (12, "float('nan')", False), (float("nan"), "float('nan')", False), (0.5, "float('nan')", False), (float("inf"), "1e308", False),
    (0.5, "0.5000001", True), (0.5, "0.501", False), (0.5, "1/2", True), (0.5, "Fraction(1, 2)", None), (0.0, "-0.0", True),
    (2_000_000, "2000001.0", False), (10**17 + 1, "1e17", False), (10**30, "10**30", True), (10**30, "10**30 + 1", False), (3, "3 + 1e-3", False),
    (1 << 20_000, "1 << 20_000", True), (1 << 20_000, "(1 << 20_000) + 1", False), (0.5, "0.5 + 0j", None), (0.5, "0.5 + 1j", False),
    ("a", "b'a'", False), ("a", "'A'", False), ("a", "'a '", False), ("a", "['a']", False), ("ab", "['a', 'b']", False), (["a", "b"], "'ab'", False),
    ([1, 2], "(1, 2)", True), ([1, 2], "[2, 1]", False), ([1, 2], "[1, 2, 3]", False), ([1, 2], "[1]", False), ([1, 2], "[1, '2']", False),
    ([1, 2], "{1: 1, 2: 2}", False), ([1, 2], "range(1, 3)", None), ([1, 2], "(x for x in [1, 2])", False), ([1, 2], "iter([1, 2])", False),
    ([[1], [2]], "[[1], [2], []]", False), ([[1], [2]], "[[1, 2]]", False), ([0.5, None], "[0.5, None]", True), ([None], "[]", False),
    ({"a": 1}, "{'a': 1}", True), ({"a": 1}, "{'a': 1, 'b': 2}", False), ({"a": 1}, "{}", False), ({"a": 1}, "{'a': '1'}", False),
    ({"a": 1}, "[('a', 1)]", False), ({"1": 2}, "{1: 2}", True), ({"1": 2}, "{1: 2, '1': 3}", False), ({"a": 1}, "{'a'}", False),
    ({1, 2}, "{2, 1}", True), ({1, 2}, "{1, 2, 3}", False), ({1, 2}, "set()", False), ("\ud800", "'\\ud800'", True), ("a\0b", "'a'", False),
    ([1] * 300, "[1] * 299 + [2]", False), ("x" * 300, "'x' * 299", False), ([], "''", False), ([], "{}", False), ({}, "[]", False),
]  # fmt: skip


def test_which_values_are_the_same():
    """None in the table: either answer is sane."""
    program = "from fractions import Fraction\ndef total(number):\n    return ["
    program += ", ".join(f"lambda: {text}" for _, text, _ in VALUES) + "][number]()"
    found = judged(program, *(Call([i], {}, expected) for i, (expected, _, _) in enumerate(VALUES)))
    wrong = [
        (row, outcome)
        for row, outcome in zip(VALUES, found.outcomes, strict=True)
        if row[2] not in (None, outcome.passed)
    ]
    assert not wrong


PRINTED = [  # expected, what the program prints, same?
    ("12\n", "12", True), ("12", "12\n", True), ("12", "12\n\n", True), ("12", "12  \n", True), ("12\n", "12\r\n", True), ("12\n", "", False),
    ("12", "12 13", False), ("12", "12\n13", False), ("12", "13\n12", False), ("12", "12.0", False), ("12", "+12", False), ("12", "012", False),
    ("12", "1 2", False), ("12", "12\f13", False), ("12", "12\x1c13", False), ("12", "12\0", False), ("12", "12\x1b[2K13", False),
    ("12", "13\r12", False), ("12", "13\b\b12", False), ("12", "12\u200b", False), ("12", "answer: 12", False), ("12", "12;", False),
    ("12", "[12]", False), ("12", "'12'", False), ("12", "１２", False), ("12", "12 or 13", False), ("YES", "yes", False), ("YES", "YES NO", False),
    ("YES", "YES\nNO", False), ("YES\nNO", "NO\nYES", False), ("YES\nNO", "YES", False), ("YES", "YESNO", False), ("YES", "Y", False),
    ("0.5", "0.5000001", True), ("0.5", "0.50", True), ("0.5", "5e-1", True), ("0.5", "0.51", False), ("0.5", "nan", False), ("0.5", "inf", False),
    ("0.5", "0.5 0.5", False), ("0.5", "1/2", False), ("0.5", "0,5", False), ("0.5", "0.5abc", False), ("0.5", "1e999", False), ("0.5", "½", False),
    ("1.0 2.0", "1.0 2.1", False), ("1 2 3", "1 2 3 ", True), ("1 2 3", "3 2 1", False), ("1 2 3", "123", False), ("100000007", "1e8", False),
    ("1000000007", "1000000008", False), ("nan", "0", False), ("a b", "a  c", False), ("Case 1: x", "Case 1: y", False), ("-1", "1", False),
]  # fmt: skip


def test_which_outputs_are_the_same():
    program = f"import sys\nsys.stdout.reconfigure(encoding='utf-8', newline='')\nsys.stdout.write({[row[1] for row in PRINTED]!r}[int(input())])"
    found = judged(program, *(Stdio(str(i), row[0]) for i, row in enumerate(PRINTED)), function=None)
    wrong = [(row, one) for row, one in zip(PRINTED, found.outcomes, strict=True) if row[2] != one.passed]
    assert not wrong


# ---- tests that run as Python ---------------------------------------------------------------------------------------

RUN = [  # a test, a wrong program
    ("def check(candidate):\n    cases = [([1], 2), ([2], 4)]\n    assert all(map(lambda c: candidate(c[0]) == c[1], cases))",
     "def total(n): raise StopIteration"),
    ("def check(candidate):\n    cases = [([1], 2), ([2], 4)]\n    assert all(candidate(x) == y for x, y in cases if id(x))",
     "def total(n): raise StopIteration"),
    ("import random\ndef check(candidate):\n    for _ in range(3):\n        x = [random.random()]\n        assert candidate(x) == sorted(x)",
     "def total(n):\n    n.clear()\n    return []"),
    ("import random\ndef check(candidate):\n    x = [random.random()]\n    try:\n        assert candidate(x) == x[0]\n    except ZeroDivisionError:\n        pass",
     "def total(n): raise ZeroDivisionError"),
    ("import random\ndef check(candidate):\n    x = [random.random() for _ in range(9)]\n    y = candidate(x)\n    assert y == sorted(x)",
     "def total(n): return type('L', (list,), {'__eq__': lambda s, o: True})()"),
    ("import random\ndef check(candidate):\n    x = random.random()\n    y = candidate(x)\n    assert isinstance(y, float) and abs(y - 2 * x) < 1e-6",
     "def total(n): return float('nan')"),
    ("import random\ndef check(candidate):\n    x = random.random()\n    assert len('x' * candidate(x)) == 2",
     "def total(n): return 10 ** 11"),
    ("import random\ndef check(candidate):\n    x = random.random()\n    assert 2 * x in set(candidate(x))",
     "def total(n): return {k * ((1 << 61) - 1) for k in range(60_000)}"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(RUN)))
def test_a_test_that_runs_is_not_fooled(number):
    test, program = RUN[number]
    found = judged(program, Asserts(test))
    assert found.verdict.verdict == "wrong" and True not in found.passes, found


def test_a_program_gives_no_names_to_the_test():
    """Where the asserts name the function, only that one is the program's."""
    head = "def close(a, b): return abs(a - b) < 1e-6\n"
    tests = (
        "assert close(total([1]), 2)",
        "assert set(total([1, 2])) == set([6])",
        "import math\nassert math.isclose(total([1]), 2)",
    )
    program = "close = lambda a, b: True\ndef close(a, b): return True\ndef set(x): return 0\ndef isclose(a, b): return True\n"
    program += "class math: isclose = isclose\ndef total(n): return 5\ndef check(f): pass\ndef random(): pass"
    found = judged(program, *map(Asserts, tests), function=None, head=head)
    assert True not in found.passes, found
    found = judged(program, *map(Asserts, tests), head=head)
    assert True not in found.passes, found


# ---- right programs -------------------------------------------------------------------------------------------------

NUMBERS = "1 2 3\n4 5\n"
READING = {
    "input": "a = input(); b = input()\nprint(a.split() + b.split())",
    "input until the end": "x = []\ntry:\n    while True: x += input().split()\nexcept EOFError: print(x)",
    "sys.stdin": "import sys\nx = []\nfor line in sys.stdin: x += line.split()\nprint(x)",
    "sys.stdin.read": "import sys\nprint(sys.stdin.read().split())",
    "readlines": "import sys\nprint(sum([l.split() for l in sys.stdin.readlines()], []))",
    "readline": "import sys\ninput = sys.stdin.readline\nprint(input().split() + input().split())",
    "buffer": "import sys\nprint([x.decode() for x in sys.stdin.buffer.read().split()])",
    "iter": "import sys\nprint(sum(map(str.split, iter(sys.stdin.readline, '')), []))",
    "open(0)": "print(open(0).read().split())",
    "open('/dev/stdin')": "print(open('/dev/stdin').read().split())",
    "fileinput": "import fileinput\nprint(sum([l.split() for l in fileinput.input()], []))",
    "os.read": "import os\nprint(os.read(0, 10**6).decode().split())",
    "io.BytesIO": "import io, os\nf = io.BytesIO(os.read(0, os.fstat(0).st_size))\nprint([x.decode() for x in f.read().split()])",
    "mmap": "import mmap\nprint(mmap.mmap(0, 0, access=mmap.ACCESS_READ)[:].decode().split())",
    "a function": "def main():\n    import sys\n    print(sys.stdin.read().split())\nif __name__ == '__main__':\n    main()",
    "exit()": "import sys\nprint(sys.stdin.read().split())\nexit()",
    "quit()": "import sys\nprint(sys.stdin.read().split())\nquit()",
    "sys.exit(0)": "import sys\nprint(sys.stdin.read().split())\nsys.exit(0)",
    "os._exit after a flush": "import os, sys\nprint(sys.stdin.read().split(), flush=True)\nos._exit(0)",
    "os.write": "import os, sys\nos.write(1, repr(sys.stdin.read().split()).encode())",
    "sys.stdout.buffer": "import sys\nsys.stdout.buffer.write(repr(sys.stdin.read().split()).encode())",
    "sys.stdout replaced": "import io, os, sys, atexit\nsys.stdout = io.StringIO()\n"
    "atexit.register(lambda: os.write(1, sys.stdout.getvalue().encode()))\nprint(sys.stdin.read().split())",
    "a thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
    "t = threading.Thread(target=lambda: print(sys.stdin.read().split()))\nt.start(); t.join()",
    "a thread that is not joined": "import sys, threading\nthreading.Thread(target=lambda: print(sys.stdin.read().split())).start()",
    "classes that pickle": "import pickle, sys\nclass A: pass\na = A(); a.x = sys.stdin.read().split()\nprint(pickle.loads(pickle.dumps(a)).x)",
    "data classes": "from __future__ import annotations\nfrom dataclasses import dataclass\nimport sys\n@dataclass\nclass A:\n    x: list[str]\n"
    "print(A(sys.stdin.read().split()).x)",
    "a warning on stderr": "import sys\nprint('debug' * 999, file=sys.stderr)\nprint(sys.stdin.read().split())",
    "asyncio": "import asyncio, sys\nasync def main(): print(sys.stdin.read().split())\nasyncio.run(main())",
    "a process pool of threads": "import sys\nfrom concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n"
    "    print(list(pool.map(str, sys.stdin.read().split())))",
    "globals in exec": "import sys\nexec('x = sys.stdin.read().split()')\nprint(x)",
    "inspect the module": "import sys\nx = sys.stdin.read().split()\nprint(sys.modules['__main__'].x)",
}  # fmt: skip


@pytest.mark.parametrize("name", READING)
def test_every_usual_way_to_read_and_print(name):
    found = judged(READING[name], Stdio(NUMBERS, "['1', '2', '3', '4', '5']"), function=None)
    assert found.verdict.verdict == "right", found


HONEST: dict[str, tuple[Any, ...]] = {  # a program, its tests
    "deep recursion": ("import sys\nsys.setrecursionlimit(10**6)\ndef total(n): return 0 if n == 0 else 1 + total(n - 1)",
        Call([50_000], {}, 50_000)),
    "deep recursion in C and Python": ("import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**6)\n@lru_cache(None)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\ndef total(n): return f(n)", Call([12_000], {}, 12_000)),
    "threads": ("import threading\ndef total(n):\n    x = []\n    t = [threading.Thread(target=x.append, args=(i,)) for i in range(n)]\n"
        "    [a.start() for a in t]; [a.join() for a in t]\n    return len(x)", Call([6], {}, 6)),
    "a big list": ("def total(n): return list(range(n))", Call([200_000], {}, list(range(200_000)))),
    "a long text": ("def total(n): return 'x\\n' * n", Call([1_000_000], {}, "x\n" * 1_000_000)),
    "a big argument": ("def total(n): return len(n)", Call([list(range(200_000))], {}, 200_000)),
    "memory near the limit": ("def total(n): return len(bytearray(n))", Call([300 << 20], {}, 300 << 20)),
    "files of its own": ("import tempfile\ndef total(n):\n    with tempfile.TemporaryFile() as f:\n        f.write(b'x' * n)\n        return f.tell()",
        Call([1000], {}, 1000)),
    "a module state": ("import random\nseen = []\ndef total(n):\n    seen.append(n)\n    return len(seen)", Call([1], {}, 1), Call([2], {}, 1)),
    "a nested result": ("def total(n):\n    x = []\n    for _ in range(n): x = [x]\n    return x", Call([50], {}, eval("[" * 51 + "]" * 51))),
    "prints besides": ("def total(n):\n    print('debug', n)\n    return n", Call([1], {}, 1)),
    "a subclass that behaves": ("from collections import Counter, OrderedDict, defaultdict\ndef total(n): return [Counter(n), OrderedDict(a=1), defaultdict(int, b=2)]",
        Call(["aab"], {}, [{"a": 2, "b": 1}, {"a": 1}, {"b": 2}])),
    "a named tuple, an enumeration": ("import enum\nfrom typing import NamedTuple\nclass P(NamedTuple):\n    x: int\nclass E(enum.IntEnum):\n    A = 5\n"
        "def total(n): return [P(1), E.A]", Call([1], {}, [[1], 5])),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_function_is_right(name):
    program, *tests = HONEST[name]
    found = judged(program, *tests, limits=code.Limits(cpu_seconds=5, wall_seconds=20))
    assert found.verdict.verdict == "right", found


def test_large_input_and_output():
    lines = "\n".join(map(str, range(300_000))) + "\n"  # 2 MB
    program = "import sys\nsys.stdout.write('\\n'.join(sys.stdin.read().split()) + '\\n')"
    printing = "for _ in range(100_000): print(input())"
    for source, text in (
        (program, lines),
        (printing, "\n".join(["7"] * 100_000)),
        (program, "\n".join(["x"] * 1_900_000)),
    ):
        found = judged(source, Stdio(text, text), function=None, limits=code.Limits())
        assert found.verdict.verdict == "right", (found.verdict.reason, found.verdict.detail[:300])


def test_a_busy_judge_is_not_unjust():
    """CPU time decides: a program that sleeps longer than its CPU limit is right."""
    found = judged("import time\ndef total(n):\n    time.sleep(1.5)\n    return n", Call([1], {}, 1))
    assert found.verdict.verdict == "right", found
