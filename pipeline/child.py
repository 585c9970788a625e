"""The child process: builds a stage, reads the joined input, and answers the worker's messages one by one.

`python -m pipeline.child DESCRIPTOR` is started by `pipeline.isolation.Child` and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import gc
import logging
import os
import pickle
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from pipeline import dataset, passing, stage, storage
from pipeline.errors import ReadError, ReasonmillError, RequestError, RunError
from pipeline.isolation import Job, Limits, LogLine
from pipeline.stage import Outcome, Sent

LINES_PER_CALL = 50  # log lines one call may send
KEEPS_DEVICES = {"torch"}  # what it has taken of a GPU it gives back when its process ends


class _Collector(logging.Handler):
    """Keeps log lines of the current call, with the document they are about."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.document, self.lines = "", list[LogLine]()

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] in stage.OUR_PACKAGES
        if (ours or record.levelno >= logging.WARNING) and len(self.lines) < LINES_PER_CALL:
            self.lines.append(LogLine(record.levelname, self.document, record.name, record.getMessage()))


def main(descriptor: int) -> None:
    """Answer the worker's messages until it closes the connection."""
    _die_with_parent()
    faulthandler.enable()
    connection = Connection(descriptor)
    collector = _Collector()
    logging.getLogger().addHandler(collector)
    for package in stage.OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    worker = _Worker(collector)
    while True:
        try:
            message = pickle.loads(connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            return
        cpu = time.process_time()
        status, payload = worker.handle(message)
        answer = (status, payload, time.process_time() - cpu, collector.lines)
        connection.send_bytes(pickle.dumps(answer))
        collector.lines = []


class _Worker:
    """Holds the stage and the joined input between calls."""

    def __init__(self, collector: _Collector) -> None:
        self.collector = collector
        self.made: tuple[Any, ...] | None = None
        self.stage: Any = None
        self.table: pa.Table | None = None
        self.started = time.time()

    def handle(self, message: tuple[Any, ...]) -> tuple[str, Any]:
        kind, *arguments = message
        loading = kind == "load"
        try:
            return "ok", getattr(self, kind)(*arguments)
        except MemoryError as error:
            return "raised", ("out_of_memory", str(error) or "the memory limit was reached")
        except RecursionError as error:
            return "raised", ("raised", f"RecursionError: {error}")
        except OSError as error:
            if error.errno in storage.DISK_ERRORS and error.errno != errno.EACCES:
                return "abort", storage.explain_disk_error(error, error.filename or "a temporary file")
            return self._raised(error, loading)
        except Exception as error:
            return self._raised(error, loading)

    def _raised(self, error: Exception, loading: bool) -> tuple[str, Any]:
        if isinstance(error, ReadError):  # a reason of its own, such as source_changed
            return "raised", (error.reason, error.detail)
        if isinstance(error, RequestError | RunError) or (loading and isinstance(error, ReasonmillError)):
            return "abort", error
        if loading or isinstance(error, ImportError):  # no document is to blame
            logging.getLogger(__name__).error("could not prepare", exc_info=error)
            name = self.stage.name if self.stage is not None else "the stage"
            return "abort", RunError(f"stage {name} could not be prepared: {type(error).__name__}: {error}")
        return "raised", ("raised", f"{type(error).__name__}: {error}"[:2000])

    def may_stay(self, limits: Limits) -> bool:
        """Whether another stage can have this process: as good as new, and with the code that is on disk now."""
        self.made = self.stage = self.table = None
        gc.collect()
        files = {getattr(module, "__file__", None) for module in sys.modules.values()}
        return (
            not KEEPS_DEVICES & sys.modules.keys()
            and psutil.Process().memory_info().rss < limits.memory_bytes / 8
            and all(_changed(file) < self.started for file in files if file)
        )

    def load(self, job: Job, limits: Limits) -> tuple[int, pa.ChunkedArray]:
        self._limit_memory(limits)
        self._prepare(job)
        assert job.shard is not None
        self.table = dataset.read_joined(job.inputs, job.shard, job.selected_by)
        self.stage.begin(self.table)
        return self.table.num_rows, self.table["id"]

    def map(self, start: int, stop: int) -> Outcome:
        assert self.table is not None
        batch = self.table.slice(start, stop - start)
        self.collector.document = (
            batch["id"][0].as_py() + (f" (+{stop - start - 1})" if stop - start > 1 else "")
            if stop > start
            else ""
        )
        return self.stage.process(batch)

    def round(self, job: Job, limits: Limits) -> tuple[Any, bool, int, Any, int]:
        self._limit_memory(limits)
        self._prepare(job)
        table = None
        if job.shard is not None:
            table = dataset.read_joined(job.inputs, job.shard, job.selected_by)
        routed = passing.read(job.routed) if job.routed is not None else None
        also = {name: passing.read(pieces) for name, pieces in job.also.items()}
        unit = stage.Unit(job.index, table, routed, also, job.shard or "", job.to)
        value = getattr(self.stage, job.round or "")(unit)
        again = isinstance(value, Sent) and value.again
        value = value.rows if isinstance(value, Sent) else value
        if job.passing:
            try:
                value = passing.write(job.passing, value, job.to)
            except RunError as error:
                raise RunError(f"{self.stage.name}.{job.round} {error}") from None
        received = routed.num_rows if routed is not None else 0
        return (
            value,
            again,
            table.num_rows if table is not None else 0,
            table["id"] if table is not None else None,
            received,
        )

    def _prepare(self, job: Job) -> None:
        made = (job.stage_key, job.folder)
        if made != self.made:
            with contextlib.suppress(OSError):  # on another machine there may be no such folder
                os.chdir(job.working_directory)
            self.stage = stage.build(job.stage, job.config)
            self.stage.folder = job.folder
            if self.stage.key() != job.stage_key:
                raise RunError(
                    f"this worker has other code, libraries or model files for stage {self.stage.name} than the process "
                    "that plans the run: results would differ. Install the same everywhere and start the workers again."
                )
            self.stage.prepare()
            self.made = made

    @staticmethod
    def _limit_memory(limits: Limits) -> None:
        if sys.platform == "linux":
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, hard))


def _changed(file: str) -> float:
    """When a file was changed, seconds since 1970; of one that is gone, now."""
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return time.time()


def _die_with_parent() -> None:
    """Linux: the kernel kills the child when the worker goes, even if the child hangs in native code."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != int(os.environ["REASONMILL_PARENT"]):  # it went before we asked
            os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
