"""A program in its sandbox: started, asked, watched, and started again where it took the sandbox down.

The processes inside speak with `driver.py` (the program's) or `assert_driver.py` (a test's). Whatever they send is
checked here for its form; what it means is `synth.verify.code`'s.
"""

from __future__ import annotations

import inspect
import json
import marshal
import re
import secrets
import sys
import types
from dataclasses import dataclass, replace
from typing import Any

from synth.verify.isolation import sandbox
from synth.verify.isolation.peer import Exceeded, Gone, Peer, Silent
from synth.verify.isolation.watch import Watch
from synth.verify.programs import assert_driver, driver, prelude, values
from synth.verify.task import Task

START_SECONDS = 30.0
SLOWER = {"python": 5.0, "cpp": 2.0}  # than what a problem's time limit was made for
STARVED = 0.5  # share of the time in which a program could have run and had no processor
_FAILURES = frozenset(
    (
        "does_not_run",
        "raised",
        "crashed",
        "timeout",
        "out_of_memory",
        "output_limit",
        "not_plain_value",
    )
)


def _compiled(module: types.ModuleType) -> bytes:
    """The module after `values`, compiled once, here, by the Python that will run it: its length, then its code."""
    source = inspect.getsource(values) + inspect.getsource(module).replace(_FUTURE, "")
    code = marshal.dumps(compile(source, f"{module.__name__}.py", "exec", dont_inherit=True, optimize=2))
    return b"%8d" % len(code) + code


_BOOT = """
import marshal, os
size, code = int(os.read(0, 8)), b""
while len(code) < size:
    code += os.read(0, size - len(code))
exec(marshal.loads(code))
"""
_FUTURE = "from __future__ import annotations\n"
DRIVER, ASSERT_DRIVER = _compiled(driver), _compiled(assert_driver)


@dataclass(frozen=True)
class Limits:
    """What one test may use. CPU time decides, so that a busy machine changes no verdict; wall time is the last resort.

    timeouts: after so many tests that ran out of time or took the sandbox down, the others count as failed without
    being run (0: all are run), or a program that hangs on hundreds of tests would hold the judge for an hour.
    """

    cpu_seconds: float = 5.0
    wall_seconds: float = 20.0
    memory_bytes: int = 1 << 30
    processes: int = 12  # of one sandbox, threads included
    file_bytes: int = 16 << 20
    output_bytes: int = 4 << 20
    timeouts: int = 3

    def of(self, task: Task, language: str) -> Limits:
        """With the task's own limits where those are more generous."""
        cpu = max(self.cpu_seconds, (task.cpu_seconds or 0) * SLOWER[language])
        return replace(
            self,
            cpu_seconds=cpu,
            wall_seconds=max(self.wall_seconds, 2 * cpu),
            memory_bytes=max(self.memory_bytes, task.memory_bytes or 0),
        )


DEFAULTS = Limits()


class Infrastructure(Exception):
    """The machine or the sandbox failed, not the program."""


class Running:
    """A program in its sandbox. A sandbox that was taken down is replaced when the next test needs one."""

    def __init__(self, program: str, task: Task, limits: Limits, language: str, unsafe: bool) -> None:
        self.program, self.task, self.limits, self.language = program, task, limits, language
        self.unsafe = unsafe
        self.strikes = 0  # tests that ran out of time or took the sandbox down
        self.given_up = False
        self.broken: dict[str, Any] | None = None  # why the program cannot be loaded
        self._peer: Peer | None = None
        self._checker: Running | None = None

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._peer is not None:
            self._peer.kill()
        if self._checker is not None:
            self._checker.__exit__()

    def checker(self) -> Running:
        if self._checker is None:
            task = Task((), function="check")
            self._checker = Running(self.task.checker or "", task, self.limits, "python", self.unsafe)
        return self._checker

    def call(
        self, function: str, arguments: list[Any], keywords: dict[str, Any], back: bool = False
    ) -> dict[str, Any]:
        """`ask` with plain values."""
        message = {
            "function": function,
            "arguments": values.encode(arguments),
            "keywords": values.encode(keywords),
            "arguments_back": back,
        }
        answer = self.ask(message)
        try:
            for name in ("value", "arguments"):
                if name in answer:
                    answer[name] = values.decode(answer[name])
        except Exception:  # whatever a made-up message can cause
            return {"failed": "not_plain_value", "detail": "what was sent is no encoded value"}
        return answer

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The driver's answer, with "cpu"; or {"failed": one of few words, "detail"}. Raises Infrastructure."""
        if self.given_up:
            return {"failed": "timeout", "detail": f"not run: {self.strikes} tests before it ran out of time"}
        for again in (True, False):
            if self.broken is None and (self._peer is None or not self._peer.alive):
                self._load()
            if self.broken is not None:
                return self.broken
            peer = self._peer
            assert peer is not None
            watch = Watch(peer.process.pid, 2 * self.limits.memory_bytes, 2 * self.limits.cpu_seconds)
            try:
                answer = self._answer(peer, message, self.limits.wall_seconds + 5, watch)
                # The kernel stops it at its limit by a clock of its own, a little before or after what is counted here.
                spent = max(answer.get("cpu", 0.0), watch.used) > 0.8 * self.limits.cpu_seconds
                if answer.get("failed") == "timeout" and not spent and watch.starved() > STARVED:
                    raise Infrastructure("the machine is too busy: the program waited for a processor")
            except Exceeded as exceeded:
                answer = {"failed": str(exceeded), "detail": "all its processes together"}
            except Silent:
                if watch.starved() > STARVED:
                    raise Infrastructure("the machine is too busy: the sandbox did not answer") from None
                answer = {"failed": "timeout", "detail": f"more than {self.limits.wall_seconds:g} s"}
            except Gone as gone:
                if again:  # it may have been the machine: who does it twice does it himself
                    continue
                answer = {"failed": "crashed", "detail": str(gone)}
            break
        alive = self._peer is not None and self._peer.alive
        # a sandbox that ends after an answer had many files to delete: that is no fault
        if answer.get("failed") == "timeout" or ("failed" in answer and not alive):
            self.strikes += 1
            self.given_up = 0 < self.limits.timeouts <= self.strikes
        return answer

    def _answer(
        self, peer: Peer, message: dict[str, Any], seconds: float, watch: Watch | None
    ) -> dict[str, Any]:
        nonce = secrets.token_hex(8)
        answer = peer.ask(message | {"nonce": nonce}, seconds, watch)
        if answer.get("nonce") != nonce:
            peer.kill()
            raise Gone("an answer to a question that was not asked")
        if "failed" in answer:
            reason = str(answer["failed"])
            known = reason in _FAILURES or (reason == "no_compiler" and "language" in message)
            reason = reason if known else "crashed"
            found = {
                "failed": reason,
                "detail": str(answer.get("detail", ""))[:300],
                "type": str(answer.get("type")),
            }
        else:
            wanted = "printed" if "stdin" in message else "value" if "function" in message else "nonce"
            if wanted not in answer or (wanted == "printed" and not isinstance(answer["printed"], str)):
                return {"failed": "crashed", "detail": "no value"}
            found = {name: answer[name] for name in ("value", "printed", "arguments") if name in answer}
        cpu = answer.get("cpu")
        return found | {"cpu": cpu if isinstance(cpu, float | int) and 0 <= cpu < 1e6 else 0.0}

    def _load(self) -> None:
        """Start a sandbox and load the program; sets `broken` if it cannot be loaded."""
        limits = self.limits
        options = {
            "cpu_seconds": limits.cpu_seconds,
            "wall_seconds": limits.wall_seconds,
            "memory_bytes": limits.memory_bytes,
            "processes": sandbox.process_limit(limits.processes),
            "file_bytes": limits.file_bytes,
            "output_bytes": limits.output_bytes,
            "unsafe": self.unsafe,
            "private_files": not self.unsafe and sandbox.isolation() == "bubblewrap",
        }
        before = sources_before(self.task)
        loading = {
            "program": self.program,
            "language": self.language,
            "before": before,
            "imports": _imports("\n".join([*before, self.program])),
        }
        self._peer = started(DRIVER, options, self.unsafe)
        seconds = driver.COMPILE_SECONDS * 4 if self.language == "cpp" else limits.wall_seconds
        try:
            answer = self._answer(self._peer, loading, seconds, None)
        except (Silent, Gone) as error:
            answer = {"failed": "does_not_run", "detail": f"while it was compiled: {error}"}
        if "failed" in answer:
            self.broken = {"failed": answer["failed"], "detail": answer["detail"]}


def started(code: bytes, options: dict[str, Any], unsafe: bool) -> Peer:
    """A sandbox that has answered. Raises Infrastructure."""
    try:
        peer = sandbox.start(_BOOT, [json.dumps(options)], unsafe=unsafe)
    except (OSError, sandbox.NoSandbox) as error:
        raise Infrastructure(str(error)) from None
    nonce = secrets.token_hex(8)
    try:
        peer.send_bytes(code, START_SECONDS)
        answer = peer.ask({"nonce": nonce}, START_SECONDS)
    except (Silent, Gone) as error:
        raise Infrastructure(f"the sandbox did not start: {error}") from None
    if answer.get("nonce") != nonce:
        peer.kill()
        raise Infrastructure("the sandbox did not answer")
    return peer


def sources_before(task: Task) -> list[str]:
    """Python sources that come before the program."""
    return [source for source in (prelude.SOURCE if task.prelude else "", task.head) if source.strip()]


def _imports(source: str) -> list[str]:
    """Modules of the standard library that a program seems to import: safe to import before it runs."""
    names = set(re.findall(r"^[ \t]*(?:from|import)[ \t]+(\w+)", source, re.MULTILINE))
    for line in re.findall(r"^[ \t]*import[ \t]+(\w+(?:[ \t]*,[ \t]*\w+)+)", source, re.MULTILINE):
        names |= {name.strip() for name in line.split(",")}
    return sorted(
        names & sys.stdlib_module_names - {"antigravity", "this", "idlelib", "turtle", "tkinter", "__main__"}
    )
