"""What a tree of processes uses: CPU time, and memory sampled while it runs."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Used:
    """What a finished tree of processes has used. Memory is sampled ten times a second."""

    wall_seconds: float
    cpu_seconds: float
    largest: int  # bytes: peak resident memory of the largest process, by the kernel's high-water mark
    together: int  # bytes: peak of all processes together, pages that they share counted once


def tree_cpu_seconds() -> float:
    """CPU time of this process, of all below it, and of those that have ended and were waited for."""
    seconds = 0.0
    for pid in _tree(os.getpid()):
        with contextlib.suppress(psutil.Error):
            seconds += sum(psutil.Process(pid).cpu_times()[:4])
    return seconds


def watched(command: list[str], log: Path) -> Used:
    """Run a command to its end. What it says goes to `log`. Raises `CalledProcessError`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    largest = together = 0
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD
        )
        while process.poll() is None:
            resident = [_memory(pid) for pid in _tree(process.pid)]
            largest = max([largest, *(peak for peak, _ in resident)])
            together = max(together, sum(shared for _, shared in resident))
            time.sleep(0.1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, log.read_bytes()[-2000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Used(time.monotonic() - started, cpu, largest, together)


def _tree(pid: int) -> list[int]:
    """It and all processes below it. From /proc's own lists of children: psutil would look at every process there is."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Peak resident and present proportional memory of a process, bytes."""
    try:
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        share = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0, 0
    return (int(peak[1]) << 10 if peak else 0), (int(share[1]) << 10 if share else 0)


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of ours in a process of its own."""
    return [sys.executable, "-m", module, *map(str, arguments)]
