"""Many answers judged at once, whatever their kind, by child processes of this one.

    with CheckPool() as pool:
        future = pool.submit(answer, check, finish_reason)        # concurrent.futures.Future[Checked]

A thread waits for one child, so one child a core keeps all cores busy. A child that overruns its deadline is killed from
outside and replaced: no comparison of two answers, however it was made up, holds the pool. What needs no more than
reading a box (`check.quick`) is decided at once, in the caller's thread.

A trainer can hold a pool for weeks: nothing is kept between answers but the children, and these are replaced now and
then, because caches of computer algebra grow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import resource
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from synth.verify.check import Checked, Checker, parts, quick
from synth.verify.code import DEFAULTS, Limits
from synth.verify.isolation.peer import Gone, Peer, Silent
from synth.verify.pool import kill_children
from synth.verify.verdict import Verdict, undecided
from synth.verify.worker import START_SECONDS, die_with

SECONDS = 30.0  # for anything but a program: the verifiers' own deadlines are shorter
CODE_SECONDS = 600.0
RECYCLE = 5000  # answers judged by one child
MEMORY_BYTES = 8 << 30  # of address space; programs and computer algebra have limits of their own
BOOT = """
import json, sys
options = json.loads(sys.argv[1])
sys.path[:0] = options.pop("folders")
from synth.verify import check_pool
check_pool.serve(**options)
"""


class _Job(NamedTuple):
    message: dict[str, Any]
    seconds: float
    future: Future[Checked]


class CheckPool:
    """Judges answers side by side, as `check.Checker` does.

    workers: children, and threads that wait for them; default: one a core. Children start with the first answer that
    needs one. seconds, code_seconds: wall-clock deadline of one answer, once a child has it; one that overruns it is
    undecided, "timeout" (a program that is slow by its own fault fails its tests before, by `limits`).
    A child that dies (killed from outside, out of memory) costs a repeat with a fresh one; if that dies too, the answer
    is undecided, "worker_lost". Children end with this process, however it ends.
    Leaving the `with` block waits for what was submitted; leaving it by an exception ends it at once.
    """

    def __init__(
        self,
        workers: int | None = None,
        seconds: float = SECONDS,
        code_seconds: float = CODE_SECONDS,
        limits: Limits = DEFAULTS,
    ) -> None:
        self.parallelism = workers or len(os.sched_getaffinity(0))
        self.seconds, self.code_seconds, self.limits = seconds, code_seconds, limits
        self.starts = self.lost = self.overran = 0  # children started, lost, and killed at a deadline
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = self._dropping = False
        self._left = 0  # answers that are not settled
        self._settled = threading.Condition()
        # Daemons: a process that ends must not wait for a child that hangs; children end with their threads.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.parallelism)]
        for thread in self._threads:
            thread.start()

    def submit(
        self, answer: str, check: dict[str, Any], finish_reason: str, every_test: bool = True
    ) -> Future[Checked]:
        """Put an answer in line; returns at once. Cancelling the future takes it out of line."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        future: Future[Checked] = Future()
        if every_test and (found := quick(answer, check, finish_reason)) is not None:
            future.set_result(found)
            return future
        message = {
            "answer": answer,
            "check": check,
            "finish_reason": finish_reason,
            "every_test": every_test,
        }
        seconds = self.code_seconds if check.get("kind") == "code" else self.seconds
        with self._settled:
            self._left += 1
        self._jobs.put(_Job(message, seconds, future))
        return future

    def close(self, wait: bool = False) -> None:
        """End the children at once; what is not yet judged is undecided, "pool_closed". With `wait` finish first what
        was submitted. Harmless when closed before."""
        self._closed = True
        if wait:
            with self._settled:
                self._settled.wait_for(lambda: self._left == 0)
        self._dropping = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            while thread.is_alive():
                kill_children(thread)
                thread.join(0.02)

    def __enter__(self) -> CheckPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(wait=kind is None)

    # ---- in a thread of its own ----

    def _work(self) -> None:
        peer: Peer | None = None
        served = 0
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                found: Checked | None = None
                for _ in range(2):
                    if self._dropping:
                        break
                    try:
                        if peer is None or not peer.alive or served >= RECYCLE:
                            if peer is not None:
                                peer.kill()
                            peer, served = self._start(), 0
                        served += 1
                        found = _read(peer.ask(job.message, job.seconds), job)
                        break
                    except Silent:
                        self.overran += 1
                        found = _unknown(job, "timeout", f"no verdict within {job.seconds:g} s")
                        break
                    except (Gone, OSError) as error:  # OSError: no process could be started
                        self.lost += 1
                        found = _unknown(job, "worker_lost", f"twice: {error}")
                if self._dropping:
                    found = _unknown(job, "pool_closed", "the pool was closed before this was judged")
                assert found is not None
                job.future.set_result(found)
            with self._settled:
                self._left -= 1
                self._settled.notify_all()
        if peer is not None:
            peer.kill()

    def _start(self) -> Peer:
        """A child that has said that it is ready. It is killed by the kernel when this thread ends."""
        self.starts += 1
        root = Path(__file__).resolve().parents[2]
        options = {
            "folders": [str(root), *(folder or str(Path.cwd()) for folder in sys.path)],
            "parent": os.getpid(),
            "limits": dataclasses.asdict(self.limits),
        }
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOT, json.dumps(options)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the run
            )
        peer = Peer(process, ours)
        try:
            peer.receive(START_SECONDS)
        except Silent as silent:
            peer.kill()
            raise Gone(f"the child did not start: {silent}") from None
        return peer


def _read(said: dict[str, Any], job: _Job) -> Checked:
    if "failed" in said:
        return _unknown(job, "judge_failed", said["failed"])
    return Checked(Verdict(*said["verdict"]), tuple(said["passes"]))


def _unknown(job: _Job, reason: str, detail: str) -> Checked:
    count = 1
    if job.message["every_test"]:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            count = parts(job.message["check"])
    return Checked(undecided(reason, detail), (None,) * count)


def serve(parent: int, limits: dict[str, Any]) -> None:
    """In a child: judge the answers that come over descriptor 0, until it is closed."""
    die_with(parent)
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]  # stays: a sandbox sets its own
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    with Checker(limits=Limits(**limits)) as checker, channel.makefile("rb") as messages:
        channel.sendall(b"{}\n")
        for line in messages:
            try:
                found = checker.check(**json.loads(line))
                said: dict[str, Any] = {"verdict": found.verdict, "passes": found.passes}
            except MemoryError:
                os._exit(1)  # judged once more, by a fresh child
            except Exception as error:  # a mistake of ours is only this answer's
                said = {"failed": f"{type(error).__name__}: {error}"[:500]}
            channel.sendall(json.dumps(said).encode() + b"\n")
