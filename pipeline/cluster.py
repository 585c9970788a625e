"""Where tasks run: a Dask cluster on this machine, or any Dask scheduler by its `tcp://` address.

One worker process holds one thread and one child (see `pipeline.isolation`). SLURM and Kubernetes users start their
cluster with dask-jobqueue or dask-kubernetes (extras `slurm`, `kubernetes`) and give its scheduler address.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import signal
from typing import Any

import dask
import distributed
import psutil

from pipeline.errors import RequestError

WORKER_DEATHS = 10  # a task survives this many killed workers before the run gives up


def default_workers() -> int:
    """One per core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_memory(workers: int) -> int:
    """Bytes one document's work may take: an equal share of 80 % of the machine, at most 4 GiB."""
    return min(4 << 30, int(psutil.virtual_memory().total * 0.8 / max(1, workers)))


class Cluster:
    """A Dask client that is started when first used, so that a run with nothing to do starts nothing."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        self.workers, self.address = workers, address
        self._client: distributed.Client | None = None
        self._local: distributed.LocalCluster | None = None

    @property
    def client(self) -> distributed.Client:
        if self._client is None:
            self._client = self._connect(self.address) if self.address else self._start()
        return self._client

    @property
    def parallelism(self) -> int:
        """How many tasks run at once."""
        if self.address:
            return max(1, sum(self.client.nthreads().values()))
        return self.workers

    def close(self) -> None:
        with contextlib.suppress(Exception):
            if self._client is not None:
                self._client.close(timeout=5)
        with contextlib.suppress(Exception):
            if self._local is not None:
                self._local.close(timeout=10)
        self._client = self._local = None

    def _start(self) -> distributed.Client:
        for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # a killed worker is our news to tell
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": WORKER_DEATHS,
                # A worker that was killed is started again, however long that takes on a busy machine; after 15 seconds
                # Dask would give it up, and with the last one the run would wait for ever.
                "distributed.deploy.lost-worker-timeout": "1 day",
                "distributed.worker.memory.terminate": False,  # the child has its own limit
                "distributed.worker.memory.pause": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                # The work is in the children: these would look at a waiting thread, for a fifth of a worker's time.
                "distributed.worker.profile.enabled": False,
                "distributed.admin.system-monitor.interval": "5s",
                "distributed.admin.tick.interval": "1s",  # the default, 50 a second, takes a tenth of a core
                "distributed.worker.memory.monitor-interval": "1s",
                # Dask would set these in *this* process, and a vLLM started later would run on one thread.
                "distributed.nanny.pre-spawn-environ": {},
            }
        )
        handler = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by workers: Ctrl-C is for the run
        try:
            self._local = distributed.LocalCluster(
                n_workers=self.workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
            return distributed.Client(self._local)
        finally:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGINT, handler)

    @staticmethod
    def _connect(address: str) -> distributed.Client:
        try:
            client = distributed.Client(address, timeout="15s", set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise RequestError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}). Start one with `dask scheduler`, "
                "or leave --cluster away to run on this machine."
            ) from None
        try:
            client.wait_for_workers(1, timeout=60)
            found = client.run(versions)
        except TimeoutError:
            client.close()
            raise RequestError(
                f"the Dask scheduler at {address} has no workers; start some with `dask worker {address}`"
            ) from None
        except ImportError as error:
            client.close()
            raise RequestError(
                f"a worker of {address} cannot import reasonmill ({error}); install it there"
            ) from None
        here = versions()
        for worker, there in found.items():
            if there != here:
                client.close()
                raise RequestError(
                    f"worker {worker} has {there}, this process has {here}: results would differ. "
                    "Install the same versions everywhere."
                )
        return client


def versions() -> dict[str, Any]:
    """The versions that must agree between the process that plans and the workers."""
    return {name: importlib.metadata.version(name) for name in ("reasonmill", "pyarrow", "numpy")}
