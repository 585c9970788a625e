"""A process of its own for work that may hang, eat the memory or crash: sympy on an answer somebody made up.

Signals do not bound such work (a C function that computes 10^7! is not interrupted, and threads get no signals), so
the process is watched from outside, killed at the deadline and replaced.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synth.verify.isolation import sandbox
from synth.verify.isolation.peer import Gone, Peer, Silent
from synth.verify.isolation.sandbox import NoSandbox

START_SECONDS = 120.0  # imports on a busy machine
Function = Callable[[dict[str, Any]], dict[str, Any]]
GRACE_SECONDS = 5.0  # after which the watching process is killed as well
# `synth` is made by hand: a sandbox may read that folder, but the folder above it may be closed to it
BOOT = """
import json, sys, types
options = json.loads(sys.argv[1])
root, *_ = options["folders"]
sys.path[:0] = options.pop("folders")
sys.modules["synth"] = types.ModuleType("synth")
sys.modules["synth"].__path__ = [root + "/synth"]
from synth.verify import worker
worker.serve(**options)
"""


class Worker:
    """Answers messages with `target`, a function "module:name" from a JSON object to a JSON object.

    Two processes: one imports the module and watches, its fork does the work and is replaced (in milliseconds) when it
    hangs, dies or has served `recycle` messages, because sympy's caches grow. Both end with the thread that uses them.
    With `sandboxed` they run in the sandbox, which they need: without one `ask` raises `NoSandbox`.
    """

    def __init__(
        self, target: str, memory_bytes: int = 2 << 30, recycle: int = 2000, sandboxed: bool = False
    ) -> None:
        self.target, self.memory_bytes, self.recycle, self.sandboxed = (
            target,
            memory_bytes,
            recycle,
            sandboxed,
        )
        self.starts = 0
        self._peer: Peer | None = None

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer, within `seconds` (wall) of a process that is ready. Raises `Silent`, `Gone`, `NoSandbox`."""
        if self._peer is None or not self._peer.alive:
            self._peer = self._start()
        found = self._peer.ask({"message": message, "seconds": seconds}, seconds + GRACE_SECONDS)
        if found.get("failed") == "silent":
            raise Silent(f"no answer within {seconds:g} s")
        if "answer" not in found:
            raise Gone(str(found.get("failed")))
        return found["answer"]

    def close(self) -> None:
        """End the processes; the next question starts others."""
        if self._peer is not None:
            self._peer.kill()
            self._peer = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _start(self) -> Peer:
        self.starts += 1
        root = Path(__file__).resolve().parents[2]
        options = {"target": self.target, "memory_bytes": self.memory_bytes, "recycle": self.recycle}
        if self.sandboxed:
            if reason := sandbox.unavailable():
                raise NoSandbox(reason)
            libraries = _libraries()
            options |= {"folders": [str(root), *map(str, libraries)], "parent": 0}
            peer = sandbox.start(BOOT, [json.dumps(options)], [root / "synth", *libraries])
        else:
            ours, theirs = socket.socketpair()
            folders = [folder or str(Path.cwd()) for folder in sys.path]
            options |= {"folders": [str(root), *folders], "parent": os.getpid()}
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOT, json.dumps(options)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the run
            )
            theirs.close()
            peer = Peer(process, ours)
        ready = peer.receive(START_SECONDS)
        if "error" in ready:
            peer.kill()
            raise Gone(str(ready["error"]))
        return peer


def serve(target: str, memory_bytes: int, recycle: int, parent: int) -> None:
    """In the watching process: pass messages on to a fork until the other end is closed."""
    if parent:
        die_with(parent)
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
        if hasattr(module, "warm_up"):
            module.warm_up()
    except Exception as error:
        channel.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        return
    channel.sendall(b'{"ready": true}\n')
    fork: _Fork | None = None
    with channel.makefile("rb") as messages:
        for served, line in enumerate(messages):
            if fork is None or served % recycle == 0:
                if fork is not None:
                    fork.end()
                fork = _Fork(getattr(module, name), memory_bytes, channel)
            order = json.loads(line)
            answer = fork.ask(order["message"], order["seconds"])
            if b'"failed"' in answer[:12]:
                fork.end()
                fork = None
            channel.sendall(answer)
    if fork is not None:
        fork.end()


class _Fork:
    """The process that does the work, seen from the one that watches."""

    def __init__(self, function: Function, memory_bytes: int, outside: socket.socket) -> None:
        watcher = os.getpid()
        self.channel, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with(watcher)
                self.channel.close()
                os.close(outside.fileno())
                resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
                for line in theirs.makefile("rb"):
                    try:
                        answer: dict[str, Any] = {"answer": function(json.loads(line))}
                    except Exception as error:
                        answer = {"answer": {"error": f"{type(error).__name__}: {error}"[:500]}}
                    theirs.sendall(json.dumps(answer).encode() + b"\n")
            finally:
                os._exit(1)
        theirs.close()

    def ask(self, message: dict[str, Any], seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        received = b""
        try:
            self.channel.sendall(json.dumps(message).encode() + b"\n")
            while not received.endswith(b"\n"):
                self.channel.settimeout(max(deadline - time.monotonic(), 0.001))
                part = self.channel.recv(1 << 16)
                if not part or len(received) > 1 << 20:
                    return b'{"failed": "the process ended"}\n'
                received += part
            self.channel.settimeout(None)
            return received
        except TimeoutError:
            return b'{"failed": "silent"}\n'
        except OSError:
            return b'{"failed": "the process ended"}\n'

    def end(self) -> None:
        self.channel.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def die_with(parent: int) -> None:
    """The kernel kills this process when the thread that started it ends, however it ends (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _libraries() -> list[Path]:
    """The folder that installed packages are in."""
    spec = importlib.util.find_spec("reasoning_gym")
    if spec is None or spec.origin is None:
        raise NoSandbox("the package reasoning-gym is not installed")
    return [Path(spec.origin).resolve().parents[1]]


__all__ = ["Gone", "NoSandbox", "Silent", "Worker", "serve"]
