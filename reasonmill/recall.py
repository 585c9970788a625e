"""`reasonmill recall`: teach a tagger, mine the hosts where it finds good documents, label those, and teach it again.

RUN/recall holds `request.json` (what was asked for), of every round a folder `round-N` (`tagger`, `documents.parquet`,
`hosts.parquet`, `record.json`), `rounds.json` and `rounds.md` about all of them, and the last `tagger`. A round that
has its record is over; one that has not is gone through again, and its stages skip what they have done.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from filters.taxonomy.label import Label
from filters.taxonomy.pool import Pool
from filters.taxonomy.recall import GOOD, check_good, count_round, table
from filters.taxonomy.rubric import Dimension, load_rubric
from filters.taxonomy.tag import Tag, TagConfig
from pipeline import storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from pipeline.runner import Runner, RunOptions
from reasonmill.run import run_stage
from reasonmill.train_tagger import train_tagger

# What the pool is described by. Not scores: they change in every round, and it must only grow.
DESCRIBED_BY = ["documents", "signals", "language", "dedup"]


def recall(
    run: str,
    *,
    good: str = GOOD,
    rounds: int = 4,
    documents: int = 1000,
    min_new: float = 0.02,
    host_share: float = 0.1,
    kind: str = "ngrams",
    model: str | None = None,
    share: float = 0.2,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    server: str | list[str] | None = None,
    api_key_env: str | None = None,
    concurrency: int = 128,
    running: RunOptions | None = None,
) -> dict[str, Any]:
    """Rounds of active recall over a run whose pool is labelled; returns what is written to RUN/recall/rounds.json.

    good: SQL over the scores. rounds: taggers taught at most. documents: to label in a round. min_new: the share of
    the good documents that must be new for another round. host_share: of a host's documents that must be good for it
    to be mined. kind, model, share, seed, options: of `train_tagger`. server, api_key_env, concurrency: of `label`; all
    else is done as the run's pool and labels were made. Afterwards the run's scores are the last tagger's.

    Raises `RequestError` for a run without labels, a condition that cannot be asked, or another request than the one
    whose rounds are there; `RunError` where a stage fails.
    """
    running = running or RunOptions()
    console = Console(quiet=running.quiet, highlight=False, soft_wrap=True)
    if not storage.is_local(run):
        raise RequestError(f"{run} is not on this machine: taggers are trained on a local folder")
    folder = Path(storage.split(run)[1]) / "recall"
    student = {"kind": kind, "model": model, "share": share, "seed": seed, "options": dict(options or {})}
    asked = _request(folder, student | {"good": good, "documents": documents, "host_share": host_share})
    how = {"server": server, "api_key_env": api_key_env, "concurrency": concurrency}
    label = Label(Label.Config(**asked["label"] | how))
    dimensions = load_rubric(asked["label"]["rubric"]).dimensions
    if not (folder / "request.json").exists():
        check_good(run, good, dimensions)
        storage.write_json(str(folder / "request.json"), asked)
    records: list[dict[str, Any]] = []
    with Runner(run, running) as runner:
        stopped = ""
        while not stopped:
            here = folder / f"round-{len(records)}"
            if not (here / "record.json").exists():
                console.print(f"[bold]round {len(records)}[/]")
                _round(runner, console, here, asked, label, dimensions)
            records.append(storage.read_json(str(here / "record.json")))
            stopped = _stopped(records, rounds, min_new)
            found = {"rounds": records, "stopped": stopped}
            storage.write_json(str(folder / "rounds.json"), found)
            storage.write_bytes(str(folder / "rounds.md"), table(records).encode())
    _keep(here / "tagger", folder / "tagger")
    console.print(f"{table(records)}\nStopped: {stopped}. The tagger: {folder / 'tagger'}", markup=False)
    return found


def _request(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What is asked for, with the options of the run's pool and labels. It must be what rounds that are there asked."""
    file, recorded = folder / "request.json", None
    if file.exists():
        recorded = json.loads(file.read_bytes())
    for stage, name in (("pool", "pool"), ("label", "labels")):
        try:
            found = Dataset.open(str(folder.parent / name))
            asked[stage] = found.manifest["config"]
            if not found.rows:
                raise RequestError("it is empty")
        except RequestError:
            if recorded is None:
                raise RequestError(
                    f"{folder.parent} holds no finished labels: run `pool` and `label` first."
                ) from None
            asked[stage] = recorded[stage]  # a round was stopped in this stage
    spread_over = [*asked["pool"]["strata"].values(), asked["pool"]["deciles_of"]]
    if scores := re.findall(r"\bscore_\w+", " ".join(spread_over)):
        raise RequestError(
            f"the pool of {folder.parent} is spread over {scores[0]}, which changes with every tagger, and documents "
            "that are labelled would leave it: draw it by signals."
        )
    if recorded is None:
        hosts = asked["pool"].get("hosts")
        ours = hosts is not None and Path(hosts).is_relative_to(folder)  # of rounds that were deleted
        asked["pool"]["hosts"] = None if ours else hosts
        return asked
    asked["pool"]["hosts"] = recorded["pool"]["hosts"]  # it has grown since
    for name, value in json.loads(json.dumps(asked)).items():
        if value != recorded.get(name):
            raise RequestError(
                f"{folder} holds rounds of another request: {name} was {recorded.get(name)}, now it is {value}. "
                "Ask for the same, or delete that folder to begin again (labels are not lost)."
            )
    return asked


def _round(
    runner: Runner,
    console: Console,
    here: Path,
    asked: dict[str, Any],
    label: Label,
    dimensions: tuple[Dimension, ...],
) -> None:
    """Draw and label what the round before asks for, teach a tagger, tag the run, count; ends with the record."""
    earlier = [here.with_name(f"round-{n}") for n in range(int(here.name.removeprefix("round-")))]
    hosts = str(earlier[-1] / "hosts.parquet") if earlier else asked["pool"]["hosts"]
    pool = Pool(Pool.Config(**asked["pool"] | {"hosts": hosts}))
    run_stage(runner, pool, console, DESCRIBED_BY)
    run_stage(runner, label, console, None)
    taught = {name: asked[name] for name in ("share", "seed")}
    if not (here / "tagger" / "tagger.json").exists():
        runner.cluster.close()  # training wants the memory
        student = {name: asked[name] for name in ("kind", "model", "options")}
        train_tagger(runner.folder, str(here / "tagger"), name=here.name, **student, **taught)
    run_stage(runner, Tag(TagConfig(taggers=[str(here / "tagger")])), console, None)
    record = count_round(
        runner.folder,
        here,
        dimensions,
        **{name: asked[name] for name in ("good", "host_share", "documents")},
        **taught,
        earlier=earlier,
        hosts=hosts,
    )
    storage.write_json(str(here / "record.json"), record)


def _stopped(records: list[dict[str, Any]], rounds: int, min_new: float) -> str:
    """Why no other round follows; empty if one does."""
    last = records[-1]
    if not last["good"]:
        return "no document of the run is good"
    if last["new_share"] < min_new:
        return f"{last['new_share']:.1%} of the good documents are new, less than {min_new:.1%}"
    if not last["to_label"]:
        return "no rich host has a document left to label"
    return f"after {rounds} rounds" if len(records) >= rounds else ""


def _keep(tagger: Path, folder: Path) -> None:
    """A copy of the tagger; it replaces the one before, whole."""
    new = folder.with_name("tagger.tmp")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(tagger, new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
