"""What all tests share, and how they are divided among several workers (`pytest -n 2`)."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["tests.vllm_server", "tests.finished_run", "tests.dask_workers"]

# Before torch is imported, and for all processes that tests start: the models are too small to gain from threads,
# which spin while they wait (a short training takes ten times the processor time with two of them).
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, so that a change is judged by what it changed; to look for new failures:
# HYPOTHESIS_PROFILE=search pytest -n 2 -k "…"
settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

ROOT = Path(__file__).parents[1]
MADE_ONCE = ("tiny_llama", "vllm_server", "finished_recipe", "finished_run")  # these fixtures take minutes


@functools.cache
def needs_server(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(name in text for name in MADE_ONCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the server first, then the long before the short, so that no worker is alone at the end."""
    items.sort(key=lambda item: item.path.parent, reverse=True)  # training, …, filters, the whole
    items.sort(key=lambda item: not needs_server(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file is one worker's, so that its fixtures are made once; all files that need the server are the same one's."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "server" if needs_server(ROOT / file) else file

    config.option.loadscopereorder = False  # the order is ours
    return ByFile(config, log)
