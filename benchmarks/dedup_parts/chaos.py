"""Kill workers and their child processes in every round, and cut the corpus otherwise: nothing may change.

In a disturbed run one process is killed in each round, soon after it has begun: when all records of the round before are
written, whose number is known from an undisturbed run. Which one, and how soon, is drawn with a seed. A round may end
before it is hit, so runs go on until every round was. A kill of the whole run is followed by the same command. Compared
are the bytes of every Parquet file and manifest of our stages' datasets, for other numbers of workers as well; for other
cuts of the corpus the decisions by id.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.dedup_parts import corpus, ours
from benchmarks.dedup_parts.processes import ROOT
from benchmarks.dedup_parts.report import LeftOut
from pipeline.dataset import Dataset
from pipeline.stage import source_digest

DOCUMENTS = 8000
ROWS_PER_SHARD = 500
PER_PARTITION = 2500
SHARD_SIZES = (333, 2000, 8000)
WORKERS = (1, 2, 7)
MOST_RUNS = 12  # of one kind of kill
LIMIT = 6  # times the undisturbed run's wall time, and a minute: longer is a hang


@dataclass(frozen=True)
class Disturbed:
    """Some runs and what became of them. `kills` is "" where nothing was killed."""

    what: str
    kills: int | str
    runs: int
    same: int  # runs
    hung: int = 0  # runs that had to be ended


def chaos(base: Dataset, work: Path, quick: bool, seed: int = 0) -> list[Disturbed]:
    """All disturbances. Raises `CalledProcessError` when an undisturbed run fails."""
    code = _code()
    rng, folder = random.Random(seed), work / "chaos"
    corpus.recut(base, folder, ROWS_PER_SHARD, DOCUMENTS)
    ours.forget(folder)
    begun = time.monotonic()
    subprocess.run(_command(folder, 2), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    truth, decided, rounds = digests(folder), ours.decisions(folder), records(folder)

    found = []
    for workers in WORKERS[: 1 if quick else None]:
        ours.forget(folder)
        _finish(folder, workers)
        found.append(Disturbed(f"{workers} workers", "", 1, digests(folder) == truth))
    for size in SHARD_SIZES[: 1 if quick else None]:
        other = work / f"chaos-{size}"
        shutil.rmtree(other, ignore_errors=True)
        corpus.recut(base, other, size, DOCUMENTS)
        same = _finish(other, 2) and ours.decisions(other).equals(decided)
        found.append(Disturbed(f"shards of {size} documents (decisions by id)", "", 1, same))
        shutil.rmtree(other)
    ours.forget(folder)
    same = _finish(folder, 2, PER_PARTITION // 3) and ours.decisions(folder).equals(decided)
    found.append(Disturbed(f"partitions of {PER_PARTITION // 3} documents (decisions by id)", "", 1, same))

    for kind in ("child process", "worker"):
        hit, runs, same_runs, hung = Counter[str](), 0, 0, 0
        while runs < (1 if quick else MOST_RUNS) and (missed := set(rounds) - set(hit)):
            now_hit, ended = disturb(folder, kind, rounds, missed, rng, LIMIT * seconds + 60)
            hit.update(now_hit)
            runs, hung = runs + 1, hung + (not ended)
            same_runs += ended and digests(folder) == truth
        kills = ", ".join(f"{name} {hit[name]}" for name in rounds)
        found.append(Disturbed(f"kill -9 of a {kind} in every round", kills, runs, same_runs, hung))
    for share in (0.4, 0.7, 0.9)[: 1 if quick else None]:
        ours.forget(folder)
        process = _start(folder)
        time.sleep(share * seconds)
        process.kill()
        process.wait()
        _finish(folder, 2)
        what = f"kill -9 of the whole run after {share:.0%} of its time, continued"
        found.append(Disturbed(what, 1, 1, digests(folder) == truth))
    if _code() != code:
        raise LeftOut("chaos: the code was changed while it was tried")
    return found


def disturb(
    folder: Path, kind: str, rounds: dict[str, int], missed: set[str], rng: random.Random, limit: float
) -> tuple[list[str], bool]:
    """A run in which a process is killed in each of the rounds `missed`, if it lasts.

    Returns the rounds in which one was, and whether the run has ended by itself within `limit` seconds.
    """
    ours.forget(folder)
    process, hit, begun = _start(folder), list[str](), time.monotonic()
    while process.poll() is None:
        name = at_work(folder, rounds)
        if name in missed and name not in hit:
            time.sleep(rng.random() * 0.02)
            if kill_one(process, kind, rng):
                hit.append(name)
        time.sleep(0.002)
        if time.monotonic() - begun > limit:
            process.terminate()
            process.wait()
            return hit, False
    return hit, True


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every manifest, Parquet and Arrow file that our stages left, what passed between rounds included."""
    outputs = [folder / stage.output for stage in ours.stages()]
    files = [p for o in outputs for end in ("*.parquet", "*.arrow", "manifest.json") for p in o.rglob(end)]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def records(folder: Path) -> dict[str, int]:
    """How many units every round of a run has finished, in order: "dedup 3-verify" → 4."""
    counts: dict[str, int] = {}
    for stage in ours.stages():
        names = [p.stem for p in (folder / stage.output / "_tasks").glob("*.json")]
        of_rounds = [found[0] for name in names if (found := re.match(r"\d+-[a-z]+(?=-\d+$)", name))]
        for name in sorted(of_rounds, key=lambda name: int(name.split("-")[0])):
            counts[f"{stage.name} {name}"] = counts.get(f"{stage.name} {name}", 0) + 1
        if rest := len(names) - len(of_rounds):  # a map's shards, or those of a shuffle's last round
            counts[f"{stage.name} shards"] = rest
    return counts


def at_work(folder: Path, rounds: dict[str, int]) -> str | None:
    """The first round of which records are missing."""
    done = records(folder)
    return next((name for name, count in rounds.items() if done.get(name, 0) < count), None)


def kill_one(run: subprocess.Popen[bytes], kind: str, rng: random.Random) -> bool:
    """Kill a child process, or the worker of one; False if none is there just now."""
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(run.pid).children(recursive=True)
        if children := [process for process in below if "pipeline.child" in process.cmdline()]:
            chosen = rng.choice(children)
            target = chosen.parent() if kind == "worker" else chosen
            if target is not None and target.pid != run.pid:
                target.kill()
                return True
    return False


def _command(folder: Path, workers: int, per_partition: int = PER_PARTITION) -> list[str]:
    return ours.command(folder, workers, per_partition)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(_command(folder, 2), cwd=ROOT, stdout=nothing, stderr=nothing)


def _finish(folder: Path, workers: int, per_partition: int = PER_PARTITION) -> bool:
    done = subprocess.run(_command(folder, workers, per_partition), cwd=ROOT, capture_output=True)
    return done.returncode == 0


def _code() -> list[str]:
    """Digest of what our stages do, as it is on disk now."""
    return [source_digest.__wrapped__(type(stage).__module__) for stage in ours.stages()]
