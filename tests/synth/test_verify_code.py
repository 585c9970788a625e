"""The code judge: honest solutions, wrong ones, cheats and attacks. Everything runs in the real sandbox."""

import gzip
import json
import socket
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from synth.verify import assertions, code, sandbox

needs_sandbox = pytest.mark.skipif(
    sandbox.unavailable() is not None, reason=f"no sandbox here: {sandbox.unavailable()}"
)
QUICK = code.Limits(cpu_seconds=1, wall_seconds=4)
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


def block(source: str) -> str:
    return f"Here it is:\n```python\n{textwrap.dedent(source)}\n```\nDone."


def judge(source: str, test: str = TEST, prompt: str = PROMPT, function: str = "total"):
    return code.check(block(source), prompt, function, test, QUICK)


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
        (block("def total(numbers):\n    return sum(numbers)"), "wrong", "tests_failed"),
        (block("def total(numbers):\n    return 2 * sum(numbers) / len(numbers)"), "wrong", "raised"),
        (block("def total(numbers)\n    return 0"), "wrong", "does_not_run"),
        (block("import no_such_module\ndef total(numbers): return 0"), "wrong", "does_not_run"),
        (block("def other(numbers):\n    return 0"), "wrong", "no_function"),
        (PROMPT, "wrong", "no_code"),
        ("I would use a loop.", "wrong", "no_code"),
        ("<think>" + block("def total(numbers): return 2 * sum(numbers)"), "wrong", "no_code"),
        (block("def total(numbers):\n    while True: pass"), "wrong", "timeout"),
        (block("def total(numbers):\n    return iter([0])"), "wrong", "not_plain_value"),
    ],
)
def test_verdicts(answer, verdict, reason):
    found = code.check(answer, PROMPT, "total", TEST, QUICK)
    assert (found.verdict, found.reason) == (verdict, reason), found


CHEATS = {  # each passes a runner that believes exit codes, sentinels, or the process under test
    "exit 0": "import os\nos._exit(0)\ndef total(n): pass",
    "sys.exit": "import sys\ndef total(n): sys.exit(0)",
    "_exit in the call": "import os\ndef total(n): os._exit(0)",
    "atexit": "import atexit, os\natexit.register(lambda: [os.write(fd, b'{\"value\": 0}') for fd in range(20)])\n"
    "def total(n): return None",
    "always equal": "class Yes:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\n"
    "def total(n): return Yes()",
    "an int that equals all": "class Yes(int):\n    def __eq__(self, other): return True\n    def __add__(self, o): return 12\n"
    "    def __abs__(self): return 12\ndef total(n): return Yes(99)",
    "a list that equals all": "class Yes(list):\n    def __eq__(self, other): return True\ndef total(n): return Yes()",
    "sentinel": "print('ALL TESTS PASSED')\ndef total(n):\n    print('passed', flush=True); import os; os._exit(0)",
    "patched json": "import json\njson.dumps = lambda *a, **k: '{\"value\": 12}'\ndef total(n): return 0",
    "patched builtins": "import builtins\nbuiltins.all = lambda x: True\nbuiltins.bool = lambda x: True\ndef total(n): return None",
    "frames": "import sys\ndef total(n):\n    f = sys._getframe()\n    while f:\n        for v in f.f_locals.values():\n"
    "            if isinstance(v, dict) and 'expected' in v: return v['expected']\n        f = f.f_back\n    return None",
    "all descriptors": "import os\ndef total(n):\n    for fd in range(3, 30):\n        for data in (b'%12d' % 12 + b'{\"value\":12}', "
    'b\'{"value": 0, "nonce": ""}\\n\'):\n            try: os.write(fd, data)\n            except OSError: pass\n    return -1',
    "other's descriptors": "import os\ndef total(n):\n    for pid in os.listdir('/proc'):\n        if pid.isdigit():\n"
    "            for fd in range(20):\n                try:\n                    with open(f'/proc/{pid}/fd/{fd}', 'wb', 0) as f:\n"
    "                        f.write(b'{\"value\": 0}\\n')\n                except OSError: pass\n    return -1",
}


@needs_sandbox
@pytest.mark.parametrize("name", CHEATS)
def test_cheats_are_wrong(name):
    assert judge(CHEATS[name]).verdict == "wrong"


def probe(source: str, limits: code.Limits = QUICK):
    """What a program that attacks comes back with: the value of `attack()`, or the failure."""
    seen: list[object] = []

    class Look(assertions.Assertion):
        def holds(self, values):
            seen.extend(values)
            return True

    call = Look([assertions.Call([], {})], assertions.ast.Constant(True), "attack")
    failure = code.first_failure(textwrap.dedent(source), "attack", [call], limits)
    return failure if failure is not None else seen[0]


@needs_sandbox
def test_no_network_no_files_no_users():
    found = probe(
        """
        import os, socket
        def attack():
            found = {}
            listener = ("127.0.0.1", PORT)
            try:
                socket.create_connection(listener, 1); found["net"] = "connected"
            except OSError as error:
                found["net"] = error.errno
            for path in ("/etc/passwd", "/etc/shadow", "/home", "/work", "/var", "SELF", "/sys/kernel"):
                found[path] = os.path.exists(path)
            found["uid"] = os.getuid()
            found["root"] = os.listdir("/root") if os.path.exists("/root") else []
            found["processes"] = len([p for p in os.listdir("/proc") if p.isdigit()])
            found["environment"] = sorted(os.environ)
            found["write"] = []
            for folder in ("/", "/dev", "/usr", "/lib", "/root", "/proc", "/tmp", os.path.dirname(os.__file__)):
                try:
                    open(folder + "/x", "w").close(); found["write"].append(folder)
                except OSError:
                    pass
            return found
        """.replace("PORT", str(_listener().getsockname()[1])).replace("SELF", __file__)
    )
    assert isinstance(found, dict), found
    assert found["net"] != "connected"
    assert not any(found[path] for path in ("/etc/passwd", "/etc/shadow", "/work", "/var", __file__))
    assert found["uid"] != 0
    prefix = Path(sys.base_prefix).parts  # Python's library, where it is compiled to be, may lie below
    assert set(found["root"]) <= {prefix[2] if prefix[1] == "root" else ""}
    assert found["processes"] <= 3
    assert found["write"] == ["/tmp"]
    assert not {"HOME_OF_JUDGE", "PYTHONPATH"} & set(found["environment"])


def _listener():
    listener = socket.create_server(("127.0.0.1", 0))
    _listeners.append(listener)
    return listener


_listeners: list = []


@needs_sandbox
def test_bombs_are_contained():
    patient = code.Limits(cpu_seconds=10, wall_seconds=60)  # what bounds these is not time
    forks = probe(
        """
        import os, time
        def attack():
            count = 0
            for _ in range(3000):
                try:
                    if os.fork() == 0:
                        time.sleep(20); os._exit(0)
                except OSError:
                    break
                count += 1
            return count
        """,
        patient,
    )
    assert isinstance(forks, int) and forks < 12
    memory = probe("def attack():\n    x = []\n    while True: x.append(bytearray(1 << 24))", patient)
    assert isinstance(memory, code.Failure) and memory.reason == "out_of_memory"
    disk = probe(
        """
        import os
        def attack():
            written = 0
            for folder in ("/tmp", "/dev/shm"):
                for i in range(100):
                    try:
                        with open(f"{folder}/{i}", "wb") as file:
                            written += file.write(bytes(8 << 20))
                    except OSError:
                        break
            return written
        """,
        patient,
    )
    assert isinstance(disk, int) and disk <= 80 << 20
    output = probe("import os\ndef attack():\n    while True: os.write(1, b'x' * 65536)")
    assert isinstance(output, code.Failure) and output.reason == "timeout"
    value = probe("def attack():\n    return 'x' * (5 << 20)", patient)
    assert isinstance(value, code.Failure) and value.reason == "output_limit"
    deep = probe("def attack():\n    x = []\n    for _ in range(100000): x = [x]\n    return x", patient)
    assert isinstance(deep, code.Failure)


@needs_sandbox
def test_refused_system_calls():
    found = probe(
        """
        import ctypes, os
        def attack():
            libc = ctypes.CDLL(None, use_errno=True)
            def call(*arguments):
                ctypes.set_errno(0)
                return libc.syscall(*arguments), ctypes.get_errno()
            return {
                "ptrace": call(101, 16, os.getppid(), 0, 0),
                "io_uring_setup": call(425, 1, 0),
                "unshare": call(272, 0x10000000),
                "clone newuser": (libc.unshare(0x10000000), ctypes.get_errno()),
                "memory of the driver": _memory(),
            }
        def _memory():
            try:
                with open(f"/proc/{os.getppid()}/mem", "rb"): return "open"
            except OSError as error:
                return error.errno
        """
    )
    if isinstance(found, code.Failure):
        pytest.skip(f"no ctypes in this Python: {found.detail}")
    if sandbox.platform.machine() == "x86_64":
        assert found["ptrace"] == (-1, 1)
        assert found["io_uring_setup"] == (-1, 1)
        assert found["unshare"] == (-1, 1)


@needs_sandbox
def test_nothing_outlives_the_judge():
    mark = f"outlive-{time.monotonic_ns()}"
    started = time.monotonic()
    found = probe(
        f"""
        import os, signal, time
        def attack():
            for number in range(1, 65):
                try: signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError): pass
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    open("/proc/self/comm", "w").write("{mark[-15:]}")
                    while True: pass
                os._exit(0)
            while True: time.sleep(1)
        """,
        code.Limits(cpu_seconds=1, wall_seconds=2),
    )
    assert isinstance(found, code.Failure) and found.reason == "timeout"
    assert time.monotonic() - started < 6
    deadline = time.monotonic() + 5
    while _named(mark[-15:]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _named(mark[-15:])


def _named(name: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == name]


@needs_sandbox
def test_what_cannot_be_read_never_counts_as_right():
    good = "def total(numbers): return 2 * sum(numbers)"
    random_test = "import random\ndef check(candidate):\n    assert candidate([]) == 0\n" + (
        "    for _ in range(9):\n        x = random.randint(0, 9)\n        assert candidate([x]) == 2 * x"
    )
    assert judge(good, random_test)[:2] == ("undecided", "untrusted_test")
    assert judge("def total(numbers): return 1", random_test)[:2] == ("wrong", "tests_failed")
    assert judge(good, "def check(candidate): pass")[:2] == ("undecided", "untrusted_test")
    assert judge(good, "not python at all")[:2] == ("undecided", "untrusted_test")


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
    assert judge("def total(numbers): return 0", test)[0] != "right"


def test_without_a_sandbox_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "unavailable", lambda: "none here")
    monkeypatch.setattr(sandbox, "start", lambda *a, **k: pytest.fail("it ran"))
    verdict = judge("def total(numbers): return 2 * sum(numbers)")
    assert verdict[:3] == ("undecided", "no_sandbox", "none here")


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
    folder = Path(__file__).parents[2] / "../shared/data/problems"
    files = [*folder.glob("*uman*val*.jsonl.gz")]
    if not files:
        pytest.skip("HumanEval is not there")
    with gzip.open(files[0]) as lines:
        rows = [json.loads(line) for line in lines][:20]
    for row in rows:
        answer = f"```python\n{row['prompt']}{row['canonical_solution']}```"
        verdict = code.check(answer, row["prompt"], row["entry_point"], row["test"])
        assert verdict.verdict == "right", (row["task_id"], verdict)
