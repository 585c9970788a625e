"""Documents are worked on in a child process, so that one that crashes, hangs or eats the memory harms only itself.

Every worker keeps one child. The child runs the stage batch by batch and reports each; the worker watches it. When a
batch raises, hangs (by CPU time, so that a busy machine changes nothing) or takes the child down, the batch is halved
until the culprit is alone; that document is marked as failed with the reason, and everything else goes on. A lone
document is given three lives before a crash is laid to its charge, because a child may also be killed from outside.

A `Job` for the child is either a map over rows (`ranges` of the joined input) or one call of a shuffle round.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pyarrow as pa

from pipeline.errors import RunError
from pipeline.passing import Pieces
from pipeline.stage import Outcome, Reason

LIVES = 3  # crashes of a lone document before it is quarantined
PATIENCE = 5.0  # a call that does not even use CPU is hung after this many times the CPU limit, in wall time


@dataclass(frozen=True)
class Limits:
    """What one call of a stage may use."""

    cpu_seconds: float = 60.0
    memory_bytes: int = 4 << 30


@dataclass(frozen=True)
class Job:
    """What the child is asked to do: a stage, its joined input, and, for a shuffle round, the routed rows."""

    stage: str  # dotted path of the class
    stage_key: str  # of its code, config and models: the child must agree
    config: dict[str, Any]
    folder: str  # of the run
    inputs: list[tuple[str, list[str] | None]]  # (dataset folder, columns)
    shard: str | None
    working_directory: str  # of the run: relative paths in the config are meant from there
    selected_by: str | None = None  # folder of the dataset that says which rows count
    round: str | None = None
    index: int = 0
    routed: Pieces | None = None  # of the previous round's rows, those for this unit
    also: dict[str, Pieces] = field(default_factory=dict)  # the same of other rounds
    to: int = 0  # partitions
    passing: str = ""  # the file for this unit's rows, which go on to those; "": they are the result


@dataclass
class LogLine:
    level: str
    document: str
    logger: str
    message: str


@dataclass
class Result:
    """Everything the child reported: outcomes by first row, and what it said."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    value: Any = None  # of a round: what it wrote, a table or an Outcome
    again: bool = False  # of a round to be repeated: it asked for it
    rows: int = 0
    ids: pa.ChunkedArray | None = None
    received: int = 0  # rows the previous round sent to this unit
    cpu_seconds: float = 0.0
    logs: list[LogLine] = field(default_factory=list)


class Child:
    """The worker's end: starts the child process, gives it jobs, watches it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.errors: Any = None
        self.stage_key = ""
        self.stopped = False  # from outside, with the run: what dies now is not to be retried

    def run_map(self, job: Job, rows_per_call: int, limits: Limits) -> Result:
        """Map over all rows of the job's shard. Documents that cannot be worked on come back as `failed`."""
        result = Result()
        self._begin(job, limits)
        result.rows, result.ids = self._load(job, limits, result)
        todo = deque(
            (start, min(start + rows_per_call, result.rows)) for start in range(0, result.rows, rows_per_call)
        )
        if not todo:
            todo.append((0, 0))  # an empty shard still needs its schema
        deaths: dict[int, int] = {}
        while todo:
            start, stop = todo.popleft()
            try:
                self._send(("map", start, stop))
                result.outcomes[start] = self._receive(result, limits)
            except _CallFailed as failure:
                if self.stopped:
                    raise RunError("the run was stopped") from None
                if failure.died:
                    self._load(job, limits, result)
                if stop - start > 1:
                    middle = (start + stop) // 2
                    todo.extendleft([(middle, stop), (start, middle)])
                    continue
                deaths[start] = deaths.get(start, 0) + 1
                if failure.retry and deaths[start] < LIVES:
                    todo.appendleft((start, stop))
                    continue
                document = (
                    result.ids[start].as_py() if result.ids is not None and stop > start else job.shard or ""
                )
                if stop == start:
                    raise RunError(f"{job.stage} fails on an empty shard: {failure.detail}") from None
                result.outcomes[start] = Outcome(
                    _nothing, failed=[Reason(document, failure.reason, failure.detail)]
                )
        return result

    def run_round(self, job: Job, limits: Limits) -> Result:
        """One call of a shuffle round. It has no culprit to isolate, so a crash is retried and then ends the run."""
        result = Result()
        self._begin(job, limits)
        for attempt in range(LIVES):
            try:
                self._send(("round", job, limits))
                result.value, result.again, result.rows, result.ids, result.received = self._receive(
                    result, limits, loading=True
                )
            except _CallFailed as failure:
                if attempt + 1 < LIVES and failure.retry and not self.stopped:
                    continue
                raise RunError(
                    f"round {job.round} of {job.stage} failed on unit {job.index}: {failure.reason} ({failure.detail})"
                ) from None
            return result
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Kill the child; the next job starts a fresh one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _begin(self, job: Job, limits: Limits) -> None:
        self.stopped = False
        if job.stage_key != self.stage_key:
            self.stage_key = job.stage_key
            if self.process is not None and not self._may_stay(limits):
                self.stop()

    def _may_stay(self, limits: Limits) -> bool:
        """Whether the child can go on with another stage: to start one takes a second or two."""
        try:
            self._send(("may_stay", limits))
            return bool(self._receive(Result(), limits))
        except _CallFailed:
            return False

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        environment = os.environ | {
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # mimalloc reserves memory that the limit would count
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
            "REASONMILL_PARENT": str(os.getpid()),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=self.errors,
            env=environment | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # Ctrl-C is for the run, which ends its children itself
        )
        theirs.close()
        self.connection = Connection(ours.detach())

    def _send(self, message: tuple[Any, ...]) -> None:
        if self.process is None or self.process.poll() is not None:
            self.stop()
            self._start()
        assert self.connection is not None
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # a dead child is noticed when receiving
            self.connection.send_bytes(pickle.dumps(message))

    def _load(self, job: Job, limits: Limits, result: Result) -> tuple[int, pa.ChunkedArray]:
        """Have the child build the stage and read the shard. No document is to blame when that fails."""
        for _ in range(LIVES):
            try:
                self._send(("load", job, limits))
                return self._receive(result, limits, loading=True)
            except _CallFailed as failure:
                last = failure
                if self.stopped:
                    break
        raise RunError(f"{job.stage} cannot be loaded for shard {job.shard}: {last.reason} ({last.detail})")

    def _receive(self, result: Result, limits: Limits, loading: bool = False) -> Any:
        """Wait for the answer to the last message; raise `_CallFailed` if the call raised, hung or took the child down."""
        assert self.connection is not None and self.process is not None
        cpu_start, wall_start = self._cpu(), time.monotonic()
        limit = limits.cpu_seconds * (
            20 if loading else 1
        )  # loading a model or a round over a partition takes longer
        while True:
            try:
                if self.connection.poll(0.2):
                    status, payload, cpu, logs = pickle.loads(self.connection.recv_bytes())
                    break
            except (EOFError, ConnectionResetError, OSError):
                raise self._death() from None
            if self._memory() > limits.memory_bytes * 1.25:
                self.stop()
                raise _CallFailed(
                    "out_of_memory", f"used more than {limits.memory_bytes >> 20} MiB", died=True
                )
            if self._cpu() - cpu_start > limit:
                self.stop()
                raise _CallFailed("hung", f"no result after {limit:.0f} s of CPU time", died=True)
            if time.monotonic() - wall_start > PATIENCE * limit:
                self.stop()
                raise _CallFailed("hung", f"no result after {PATIENCE * limit:.0f} s", died=True)
        result.cpu_seconds += cpu
        result.logs += logs
        if status == "ok":
            return payload
        if status == "abort":
            raise payload
        reason, detail = payload
        raise _CallFailed(reason, detail, died=reason == "out_of_memory")

    def _death(self) -> _CallFailed:
        assert self.process is not None
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode("utf-8", "replace")
        self.stop()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        frames = re.findall(
            r'File ".*?([^/"]+)", line (\d+) in (\S+)', said
        )  # faulthandler's, innermost first
        where = " in {2} ({0}:{1})".format(*frames[0]) if frames else ""  # no folders: equal on every machine
        return _CallFailed("crashed", how + where, died=True, retry=True)

    def _cpu(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()  # type: ignore[union-attr]
        except (psutil.Error, AttributeError):
            return 0.0
        return times.user + times.system

    def _memory(self) -> int:
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)  # type: ignore[union-attr]
        except (psutil.Error, AttributeError):
            return 0


class _CallFailed(Exception):
    """A call of the child raised, hung or killed it."""

    def __init__(self, reason: str, detail: str, died: bool = False, retry: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.died, self.retry = reason, detail, died, retry


_nothing = pa.table({})
_of_this_thread = threading.local()
_children: list[Child] = []  # of all threads of this worker


def child_of_this_worker() -> Child:
    """The child that belongs to the calling worker thread."""
    if not hasattr(_of_this_thread, "child"):
        _of_this_thread.child = Child()
        _children.append(_of_this_thread.child)
    return _of_this_thread.child


def stop_children() -> None:
    """End what this worker is doing: run on the workers of a lasting cluster when a run is stopped."""
    for child in _children:
        child.stopped = True
        if child.process is not None:
            child.process.kill()
