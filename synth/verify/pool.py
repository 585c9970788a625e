"""Many programs judged at once: on this machine's cores, or on the workers of a Dask cluster.

    with JudgePool() as pool:
        future = pool.submit(Job("a", program, task))       # concurrent.futures.Future[Judgement]
        for judgement in pool.map(jobs): ...                # in the order of the jobs

A thread waits for one sandbox process, so one thread a core keeps all cores busy. A Dask worker judges as many programs
at a time as it has threads. Nothing is kept between jobs: a trainer can hold a pool for weeks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import RunError
from synth.verify.code import Judgement, Limits, judge
from synth.verify.isolation import sandbox
from synth.verify.task import Task
from synth.verify.verdict import undecided

INFRASTRUCTURE = frozenset(("no_sandbox", "sandbox_failed", "judge_failed", "worker_lost", "no_compiler"))

DROPPED = Judgement([], undecided("pool_closed", "the pool was closed before this was judged"))


class Job(NamedTuple):
    """One program to judge. `id` is the caller's own; language: "python" or "cpp"."""

    id: str
    program: str
    task: Task
    limits: Limits = Limits()
    language: str = "python"
    fail_fast: bool = False


class JudgePool:
    """Judges jobs side by side. A job that fails by the machine's fault is judged once more, elsewhere if possible, and
    then stays undecided (`INFRASTRUCTURE` has the reasons); whatever a program does, the other jobs go on.

    workers: threads on this machine; default: one a core. cluster: instead, the address of a Dask scheduler, or a
    client. Raises `RunError` where programs cannot be isolated, unless `unsafe`: then they run unprotected.
    Leaving the `with` block waits for what was submitted; leaving it by an exception ends it at once.
    """

    def __init__(self, workers: int | None = None, cluster: Any = None, unsafe: bool = False) -> None:
        self.unsafe = unsafe
        self._backend: _Threads | _Dask
        if cluster is not None:
            self._backend = _Dask(cluster, unsafe)
        else:
            if not unsafe and (missing := sandbox.unavailable()):
                raise RunError(missing)
            self._backend = _Threads(workers or len(os.sched_getaffinity(0)), unsafe)

    @property
    def parallelism(self) -> int:
        """How many programs are judged at once."""
        return self._backend.parallelism

    def submit(self, job: Job) -> Future[Judgement]:
        """Put a job in line; returns at once. Cancelling the future takes it out of line."""
        future: Future[Judgement] = Future()
        self._backend.start(job, future, None)
        return future

    def map(self, jobs: Iterable[Job]) -> Iterator[Judgement]:
        """The judgements in the order of the jobs, which are taken from their iterable as they are needed."""
        waiting: deque[Future[Judgement]] = deque()
        try:
            for job in jobs:
                waiting.append(self.submit(job))
                if len(waiting) > 4 * self.parallelism:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def as_completed(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Judgement]]:
        """Each job with its judgement, whichever is ready first."""
        running: dict[Future[Judgement], Job] = {}
        todo = iter(jobs)
        try:
            while True:
                for job in itertools.islice(todo, 4 * self.parallelism - len(running)):
                    running[self.submit(job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            for future in running:
                future.cancel()

    def close(self, wait: bool = True) -> None:
        """Finish what was submitted, or with `wait=False` drop it and end what runs. Harmless when closed before."""
        self._backend.close(wait)

    def __enter__(self) -> JudgePool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(wait=kind is None)


def judge_job(job: Job, unsafe: bool) -> Judgement:
    """`code.judge`, of which even a mistake in the judge itself is only this job's."""
    try:
        return judge(
            job.program, job.task, job.limits, language=job.language, fail_fast=job.fail_fast, unsafe=unsafe
        )
    except Exception as error:
        return Judgement([], undecided("judge_failed", f"{type(error).__name__}: {error}"[:500]))


def _settle(future: Future[Judgement], judgement: Judgement) -> None:
    if not future.done():  # cancelled meanwhile
        with contextlib.suppress(Exception):
            future.set_result(judgement)


def _again(judgement: Judgement) -> bool:
    return judgement.verdict.verdict == "undecided" and judgement.verdict.reason in INFRASTRUCTURE


class _Threads:
    """Threads of this process, each with at most one program in its sandbox."""

    def __init__(self, workers: int, unsafe: bool) -> None:
        self.parallelism, self.unsafe = workers, unsafe
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Judgement], bool] | None] = queue.SimpleQueue()
        # Daemons: a process that ends must not wait for a program that hangs; its sandbox ends with the process.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        self._dropping = self._closed = False
        self._left = 0  # jobs that are not settled
        self._settled = threading.Condition()
        for thread in self._threads:
            thread.start()

    def start(self, job: Job, future: Future[Judgement], _: Any) -> None:
        if self._closed:
            raise RuntimeError("the pool is closed")
        with self._settled:
            self._left += 1
        self._jobs.put((job, future, False))

    def _work(self) -> None:
        while (order := self._jobs.get()) is not None:
            job, future, second = order
            if self._dropping and not second:
                future.cancel()
            if second or future.set_running_or_notify_cancel():
                judgement = DROPPED if self._dropping else judge_job(job, self.unsafe)
                if _again(judgement) and not second and not self._dropping:
                    self._jobs.put((job, future, True))  # behind the others: by then all may be well
                    continue
                _settle(future, DROPPED if self._dropping else judgement)
            with self._settled:
                self._left -= 1
                self._settled.notify_all()

    def close(self, wait: bool) -> None:
        self._closed = True
        if wait:
            with self._settled:
                self._settled.wait_for(lambda: self._left == 0)
        self._dropping = True
        for _ in self._threads:
            self._jobs.put(None)
        while any(thread.is_alive() for thread in self._threads):
            for thread in self._threads:
                kill_children(thread)
            time.sleep(0.01)


def kill_children(thread: threading.Thread) -> None:
    """End the processes that a thread started, each with its group: one that has just begun may have a child that does
    not yet end with it (Linux). The judge that waits for them then goes on."""
    with contextlib.suppress(OSError):
        for pid in Path(f"/proc/self/task/{thread.native_id}/children").read_text().split():
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(int(pid), signal.SIGKILL)


class _Dask:
    """Workers of a Dask cluster. One that dies costs a repeat: the scheduler gives its jobs to another. What a worker
    judges when the pool is dropped ends there by its limits."""

    def __init__(self, cluster: Any, unsafe: bool) -> None:
        from pipeline.cluster import Cluster

        self.unsafe = unsafe
        self._own = Cluster(0, cluster) if isinstance(cluster, str) else None
        self._client = self._own.client if self._own else cluster
        self._running: dict[Any, Future[Judgement]] = {}
        self._lock = threading.Lock()
        self._dropping = False
        if not unsafe:
            for worker, missing in self._client.run(sandbox.unavailable).items():
                if missing:
                    self.close(False)
                    raise RunError(f"worker {worker}: {missing}")

    @property
    def parallelism(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def start(self, job: Job, future: Future[Judgement], not_on: str | None) -> None:
        # Others judge it the second time where there are others; `None` is any worker.
        others = [worker for worker in self._client.nthreads() if worker != not_on] if not_on else None
        asked = self._client.submit(
            _judge_there,
            job,
            self.unsafe,
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        with self._lock:
            self._running[asked] = future
        future.add_done_callback(lambda done: asked.cancel() if done.cancelled() else None)
        asked.add_done_callback(self._finisher(job, future, second=not_on is not None))

    def _finisher(self, job: Job, future: Future[Judgement], second: bool) -> Callable[[Any], None]:
        def finish(asked: Any) -> None:
            worker, judgement = "?", Judgement([], undecided("worker_lost", "the cluster gave the job up"))
            if asked.status == "finished":
                worker, judgement = asked.result()
            elif asked.status == "error":
                judgement = Judgement([], undecided("worker_lost", str(asked.exception())[:500]))
            if _again(judgement) and not (second or self._dropping or future.cancelled()):
                self.start(job, future, worker)
            else:
                _settle(future, judgement)
            with self._lock:  # last, so that `close` does not miss a second try
                self._running.pop(asked, None)

        return finish

    def close(self, wait: bool) -> None:
        while wait and self._running:
            time.sleep(0.02)
        self._dropping = True
        with self._lock:
            left = dict(self._running)
        for future in left.values():
            future.cancel()
        if left:
            self._client.cancel(list(left))
        if self._own is not None:
            self._own.close()


def _judge_there(job: Job, unsafe: bool) -> tuple[str, Judgement]:
    """On a Dask worker: its address and the judgement."""
    from distributed import get_worker

    return get_worker().address, judge_job(job, unsafe)
