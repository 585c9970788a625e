"""Runs attacks through the judge and looks at this machine meanwhile: a script, so that any user can run it.

Standard library and `synth.verify` only. Argument: a JSON array of {name: [source, result, cpu, wall,
memory]}, the source of the tools, and whether to run unprotected; prints one JSON object {name: what was seen}.
Orphans of what the judge starts come to this process (it is a "subreaper"), so everything that outlives a judgement is
found among its descendants, whatever it calls itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PAGE = os.sysconf("SC_PAGE_SIZE")


class Ears:
    """Listeners of every kind a program could reach, and how many bytes or calls they got."""

    def __init__(self, folder: Path) -> None:
        self.tcp = socket.create_server(("0.0.0.0", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("0.0.0.0", 0))
        self.abstract, self.path = f"ears-{secrets.token_hex(8)}", str(folder / "socket")
        self.ends = [self.tcp, self.udp]
        for kind, more in ((socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, "d")):
            for name in (f"\0{self.abstract}{more}", self.path + more):
                end = socket.socket(socket.AF_UNIX, kind)
                end.bind(name)
                if kind == socket.SOCK_STREAM:
                    end.listen()
                self.ends.append(end)
            Path(self.path + more).chmod(0o777)
        for end in self.ends:
            end.setblocking(False)

    def heard(self) -> int:
        count = 0
        for end in self.ends:
            with contextlib.suppress(BlockingIOError):
                while True:
                    end.accept() if end.type == socket.SOCK_STREAM else end.recv(99)
                    count += 1
        return count


class Tree(threading.Thread):
    """Samples the processes below this one: the most there were, and the most memory they and shared memory took."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.processes = self.threads = self.memory = 0
        self.ended = threading.Event()
        self.shared = _shared_memory()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            below = descendants()
            self.processes = max(self.processes, len(below))
            self.threads = max(self.threads, sum(_threads(pid) for pid in below))
            grown = max(_shared_memory() - self.shared, 0)
            self.memory = max(self.memory, sum(_private_memory(pid) for pid in below) + grown)


def descendants() -> list[int]:
    """Living processes below this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents.setdefault(int(parent), []).append(int(entry.name))
    found, rest = [], [os.getpid()]
    while rest:
        below = parents.get(rest.pop(), [])
        found += below
        rest += below
    return found


def _threads(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    return 0


def _private_memory(pid: int) -> int:
    """Resident bytes that no file backs; statm: size, resident, shared."""
    with contextlib.suppress(OSError):
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
        return (int(resident) - int(shared)) * PAGE
    return 0


def _shared_memory() -> int:
    return int(Path("/proc/meminfo").read_text().partition("\nShmem:")[2].split()[0]) << 10


def place(folder: Path, ears: Ears, mark: str) -> dict[str, Any]:
    """What a program could find if nothing held it. Folders and files are open to everybody."""
    import synth.verify

    project = [str(path) for path in Path(synth.verify.__file__).parent.glob("*.py")]
    homes = ["/root", "/home", *map(str, Path("/home").glob("*"))]
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as end:
        end.connect(("192.0.2.1", 9)) if _has_route() else end.bind(("127.0.0.1", 0))
        address = end.getsockname()[0]
    return {
        "secret": str(folder / "secret"),
        "mark": mark,
        "judge": os.getpid(),
        "judge_uid": os.getuid(),
        "judge_mark": JUDGE_MARK,
        "project": project,
        "homes": homes,
        "tcp": ears.tcp.getsockname()[1],
        "udp": ears.udp.getsockname()[1],
        "abstract": ears.abstract,
        "unix": ears.path,
        "address": address,
    }


def _has_route() -> bool:
    return any(line.split()[1] == "00000000" for line in Path("/proc/net/route").read_text().splitlines()[1:])


def traces(mark: str) -> list[str]:
    """Files of that name in the places of this machine where anybody may write."""
    found = []
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/", "/root"):
        with contextlib.suppress(OSError):
            found += [str(path) for path in Path(folder).iterdir() if mark in path.name]
    return found


JUDGE_MARK = "the-judge-was-started-with-this"
TOGETHER = ("waiting", "signals")  # these take a second each of doing nothing: as threads


def judged(attack: list[Any], tools: str, facts: dict[str, Any], unsafe: bool) -> dict[str, Any]:
    from synth.verify.code import Limits, judge
    from synth.verify.task import Call, Task

    source, result, cpu, wall, memory = attack
    limits = Limits(cpu_seconds=cpu, wall_seconds=wall, memory_bytes=memory)
    task = Task((Call([facts], {}, result), Call([None], {}, "still here")), function="solve")
    for _ in range(5):  # an undecided answer of a busy machine says nothing about the attack
        began = time.monotonic()
        judgement = judge(tools + source, task, limits, unsafe=unsafe)
        if not any("too busy" in one.detail for one in judgement.outcomes):
            break
    outcomes = [[one.passed, one.reason, one.detail[-300:], one.cpu_seconds] for one in judgement.outcomes]
    return {"outcomes": outcomes, "seconds": time.monotonic() - began, "verdict": judgement.verdict[:3]}


def watched(
    attacks: dict[str, list[Any]], tools: str, facts: dict[str, Any], ears: Ears, unsafe: bool
) -> Any:
    """What the judge says of each, and what was seen while they ran, at the same time if there are several."""
    tree = Tree()
    tree.start()
    with ThreadPoolExecutor(len(attacks)) as pool:
        running = {
            name: pool.submit(judged, attack, tools, facts, unsafe) for name, attack in attacks.items()
        }
    for _ in range(20):  # what is killed needs a moment to be gone
        if not (left := descendants()):
            break
        time.sleep(0.05)
    tree.ended.set()
    tree.join()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    secret = Path(facts["secret"])
    seen = {
        "left": len(left),
        "processes": tree.processes,
        "threads": tree.threads,
        "memory": tree.memory,
        "heard": ears.heard(),
        "files": traces(facts["mark"]),
        "secret_is_whole": secret.exists() and secret.read_text() == SECRET,
    }
    return {name: future.result() | seen for name, future in running.items()}


SECRET = "only the judge knows"


def main(attacks: dict[str, list[Any]], tools: str, unsafe: bool = False) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["REASONMILL_TEST_SECRET"] = JUDGE_MARK
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o666)
        ears = Ears(folder)
        facts = place(folder, ears, f"mark{secrets.token_hex(8)}")
        together = {attack: said for attack, said in attacks.items() if attack.startswith(TOGETHER)}
        groups = [{attack: said} for attack, said in attacks.items() if attack not in together]
        seen: dict[str, Any] = {}
        for group in [*groups, together] if together else groups:
            seen |= watched(group, tools, facts, ears, unsafe)
        for path in traces(facts["mark"]):
            shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
