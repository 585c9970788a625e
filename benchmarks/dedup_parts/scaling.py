"""How time, memory and disk grow with the corpus: generated documents, two workers, each size from nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.dedup_parts import corpus, ours
from benchmarks.dedup_parts.ours import Measured
from pipeline.dataset import Dataset

mpl.use("svg")
from matplotlib import pyplot as plt

SIZES = (50_000, 200_000, 500_000, 2_000_000)
WORKERS = 2


@dataclass(frozen=True)
class Scaling:
    """The runs by size, and exponents of a straight line through logarithms."""

    runs: list[Measured]

    def exponent(self, what: str) -> float:
        """Of `cpu_seconds` or `wall_seconds` over documents."""
        x = np.log([run.documents for run in self.runs])
        y = np.log([getattr(run, what) for run in self.runs])
        return float(np.polyfit(x, y, 1)[0])

    def marginal(self) -> float:
        """Documents per CPU second between the smallest and the largest: without what every run pays."""
        first, last = self.runs[0], self.runs[-1]
        return (last.documents - first.documents) / (last.cpu_seconds - first.cpu_seconds)


def scale(sizes: list[int], base: Dataset, warm: Path, work: Path, keep: bool) -> Scaling:
    """Run every size. Corpora stay on disk with `keep`; what our stages wrote does not."""
    runs = []
    for size in sizes:
        folder = work / f"generated-{size}"
        corpus.generated(folder, size, base)
        runs.append(ours.measure(folder, warm, WORKERS))
        ours.forget(folder)
        if not keep:
            shutil.rmtree(folder)
    return Scaling(runs)


def plot(scaling: Scaling, file: Path) -> None:
    """Time and memory over documents."""
    documents = [run.documents for run in scaling.runs]
    figure, (time, memory) = plt.subplots(1, 2, figsize=(10, 4))
    for what, label in (("cpu_seconds", "CPU time"), ("wall_seconds", "wall time")):
        seconds = [getattr(run, what) for run in scaling.runs]
        time.loglog(documents, seconds, "o-", label=f"{label}, exponent {scaling.exponent(what):.2f}")
    first = scaling.runs[0]
    line = [first.cpu_seconds * n / first.documents for n in documents]
    time.loglog(documents, line, ":", color="grey", label="linear from the first")
    time.set(xlabel="documents", ylabel="seconds", title=f"{WORKERS} workers")
    for what, label in (("largest", "largest process"), ("together", "all processes")):
        memory.semilogx(
            documents, [getattr(run.used, what) / 2**20 for run in scaling.runs], "o-", label=label
        )
    memory.set(xlabel="documents", ylabel="peak resident memory, MiB", ylim=(0, None))
    for axes in (time, memory):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
