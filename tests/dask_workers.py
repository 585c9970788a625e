"""Two Dask workers for all tests of this process that need some: every run that starts its own costs 3 CPU seconds.

Runs that are killed, change their environment, or are about the number of workers start their own.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from pipeline.cluster import Cluster
from pipeline.runner import RunOptions


@functools.cache
def cluster() -> Cluster:
    """Started. While it lives Dask silences the handlers of the root logger, those of pytest's `caplog` too: undone."""
    levels = [(handler, handler.level) for handler in logging.root.handlers]
    started = Cluster(workers=2)
    started.client  # noqa: B018
    for handler, level in levels:
        handler.setLevel(level)
    return started


def on_lasting_workers(**options: Any) -> RunOptions:
    """Options of a run on these two."""
    return RunOptions(workers=2, cluster=cluster().client.scheduler_info()["address"], quiet=True, **options)


def pytest_sessionfinish() -> None:
    if cluster.cache_info().currsize:
        cluster().close()
