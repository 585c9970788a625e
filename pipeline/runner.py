"""Runs a stage: plans its units of work, skips what is finished, sends the rest to Dask, proves and records the whole.

    with Runner("runs/demo") as runner:
        runner.run(Extract(Extract.Config()))

What a stage is stands in `pipeline.stage`, what happens on a worker in `pipeline.tasks`. A stopped or killed run is
continued by running the same thing again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import itertools
import json
import os
import platform
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import distributed

from pipeline import dataset, storage, tasks
from pipeline.cluster import Cluster, default_memory, default_workers, versions
from pipeline.dataset import Dataset
from pipeline.errors import ReasonmillError, RequestError, RunError
from pipeline.isolation import Limits, stop_children
from pipeline.ledger import run_ledger
from pipeline.passing import Pieces
from pipeline.plan import Input, Plan, Summary, manifest_of, summarise
from pipeline.progress import StageProgress
from pipeline.stage import ExpandStage, LedgerStage, MapStage, Round, ShuffleStage, Stage
from pipeline.tasks import Record, Task

# Dask takes a hundredth of a second for whatever it is given, so units that take little more are given several at once:
BATCH_SECONDS = 0.5  # of work; more would make a progress bar stand still


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. `code` is the exit code a shell expects: 130 or 143."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@dataclass(frozen=True)
class RunOptions:
    """How to run, never what: nothing here changes a result."""

    workers: int = dataclasses.field(default_factory=default_workers)
    cluster: str | None = None  # tcp://…, else a cluster on this machine
    seconds_per_document: float = 60.0  # CPU time after which one call on one document is a hang
    memory_per_worker: int | None = None  # bytes; None: a share of the machine, at most 4 GiB
    failure_budget: float = 0.01  # share of a stage's rows that may fail before the run stops
    failure_floor: int = 10  # … but never stop for fewer than this many
    retry_failed: bool = False  # work again on units in which documents failed
    quiet: bool = False


class Runner:
    """Runs stages one after the other in one run folder."""

    def __init__(self, folder: str | os.PathLike[str], options: RunOptions | None = None) -> None:
        self.folder = _absolute(os.fspath(folder))
        self.options = options or RunOptions()
        self.cluster = Cluster(self.options.workers, self.options.cluster)
        self._lock: IO[str] | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Runner:
        storage.make_folder(self.folder)
        if storage.is_local(self.folder):
            self._lock = _lock(storage.split(self.folder)[1])
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread
                self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not break the clean-up
        self.cluster.close()
        if self._lock is not None:
            self._lock.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def run(self, stage: Stage, *, earlier: Iterable[str] | None = None) -> Summary:
        """Bring the stage's dataset up to date and return what came of it.

        `earlier` are the datasets that the recipe's earlier stages wrote: the stage reads those and no leftovers of
        another recipe. None: what lies in the folder. Raises `RequestError` (nothing ran) or `RunError` (finished
        units are kept).
        """
        if isinstance(stage, ShuffleStage):
            execute = self._shuffle
        elif isinstance(stage, MapStage):
            execute = self._map
        else:
            execute = self._ledger
        stage.folder = self.folder
        stage.check(None)
        plan = self._plan(stage, None if earlier is None else set(earlier))
        started = time.monotonic()
        if plan.is_finished() and not (
            plan.had_failures() and (self.options.retry_failed or stage.shape == "ledger")
        ):
            records = [r for name in plan.finished_tasks() if (r := tasks.load_record(plan.output, name))]
            return summarise(stage, plan, records, 0, started)
        storage.sweep_temporary(plan.output)
        storage.remove(storage.join(plan.output, "manifest.json"))  # from here on the dataset is unfinished
        with StageProgress(stage.name, plan.rows, quiet=self.options.quiet) as progress:
            records, ran = execute(stage, plan, progress)
        self._finish(stage, plan, records, ran, started)
        return summarise(stage, plan, records, ran, started)

    # ---- planning ----

    def _plan(self, stage: Stage, earlier: set[str] | None) -> Plan:
        if elsewhere := stage.elsewhere():
            return Plan(stage, self.folder, [self._input_of(stage, folder) for folder in elsewhere], [])
        names = [n for n in stage.input if earlier is not None and n in earlier] or stage.input
        around = {d.name: d for d in dataset.open_all(self.folder)}
        sources = [self._open(stage, around, names)] if names else []
        sources += [
            self._open(stage, around, [name])
            for name in stage.more
            if name != sources[0].name
            and (name in earlier if earlier and sources[0].name in earlier else name in around)
        ]
        inputs = [self._joined(stage, source, around, earlier) for source in sources]
        used = [self._open(stage, around, [name]) for name in stage.uses]
        return Plan(stage, self.folder, inputs, used)

    def _input_of(self, stage: Stage, folder: str) -> Input:
        """What a stage reads in another run's folder."""
        folder = _absolute(folder)
        around = {d.name: d for d in dataset.open_all(folder)}
        joined = self._joined(stage, self._open(stage, around, stage.input, folder), around, None)
        return dataclasses.replace(joined, run=folder.rsplit("/", 1)[-1])

    def _open(
        self, stage: Stage, around: dict[str, Dataset], names: Iterable[str], run: str | None = None
    ) -> Dataset:
        """The first of these datasets that is there. It must be finished, and made from what is there now."""
        for name in names:
            folder = storage.join(run or self.folder, name)
            if not storage.exists(folder):
                continue
            found = Dataset.open(folder)
            if name in dataset.outdated(around):
                raise _outdated(folder)
            return found
        raise RequestError(
            f"stage {stage.name} needs a finished dataset {' or '.join(names)} in {run or self.folder}: "
            f"run the stage that writes it first"
        )

    def _joined(
        self, stage: Stage, source: Dataset, around: dict[str, Dataset], earlier: set[str] | None
    ) -> Input:
        """A dataset with what says something about exactly this state of it.

        What an earlier recipe left is heard only about a dataset that it left as well.
        """
        about = [
            d
            for d in around.values()
            if d.manifest["inputs"].get(source.name) == source.digest
            and d.name != stage.output
            and (earlier is None or d.name in earlier or source.name not in earlier)
        ]
        beside = [d for d in about if d.aligned and {"*", d.name} & set(stage.columns)]
        selection = next((d for d in about if d.name == stage.selected_by), None)
        if stage.selected_by and selection is None:
            raise RequestError(
                f"stage {stage.name} works on what {stage.selected_by} has kept of {source.path}: run that stage first"
            )
        old = dataset.outdated(around)
        for said in (*beside, *([selection] if selection else [])):
            if said.name in old:
                raise _outdated(said.path)
        return Input(source, tuple(beside), selection)

    # ---- the shapes ----

    def _map(self, stage: Stage, plan: Plan, progress: StageProgress) -> tuple[list[Record], int]:
        assert isinstance(stage, MapStage)
        identity = "expand" if isinstance(stage, ExpandStage) else "aligned" if stage.aligned else "map"
        todo = [
            Task(
                name=shard.name,
                key=plan.key("map", shard),
                job=plan.job(shard),
                output=plan.output,
                limits=self._limits(stage),
                rows_per_call=stage.rows_per_call,
                identity=identity,
                rows_per_shard=stage.rows_per_shard if isinstance(stage, ExpandStage) else 0,
                schema=stage.schema,
                stage_name=stage.name,
            )
            for shard in plan.shards
        ]
        return self._execute(todo, plan, progress)

    def _shuffle(self, stage: Stage, plan: Plan, progress: StageProgress) -> tuple[list[Record], int]:
        assert isinstance(stage, ShuffleStage)
        stage.rows = plan.rows
        progress.total = plan.rows * sum(
            isinstance(step, Round) and step.over == "shards" for step in stage.rounds
        )
        shards = plan.shards
        previous: list[Record] = []
        last: dict[str, list[Record]] = {}  # of every round, when it last ran
        records: list[Record] = []
        ran = 0
        for number, step in enumerate(_steps(stage, last)):
            partitions = {"shards": len(shards), "all": 1, None: 0}.get(step.to, step.to)  # type: ignore[arg-type]
            units = {"shards": len(shards), "all": 1}.get(step.over) or len(
                previous[0].passed["places"] if previous else []
            )
            read = [*previous, *(record for name in step.also for record in last[name])]
            sent = storage.sha256(json.dumps([[r.name, r.passed["sha256"]] for r in read]).encode())
            todo = []
            for index in range(units if shards else 0):
                shard = shards[index] if step.over == "shards" else None
                if step.to is not None:
                    name = f"{number}-{step.name}-{index:05d}"
                else:
                    name = shard.name if shard else stage.shard_name(index)
                todo.append(
                    Task(
                        name=name,
                        # With the index, which shards may send along; it changes when other shards come or go.
                        key=plan.key(f"{number}-{step.name}-{index}-{partitions}-{sent}", shard or index),
                        job=plan.job(
                            shard,
                            step.reads,
                            round=step.name,
                            index=index,
                            routed=_routed(plan.output, previous, index) if previous else None,
                            to=partitions,
                            passing=tasks.passing_file(plan.output, name) if step.to is not None else "",
                            also={name: _routed(plan.output, last[name], index) for name in step.also},
                        ),
                        output=plan.output,
                        limits=self._limits(stage),
                        identity="rows" if shard is None else "aligned" if stage.aligned else "map",
                        schema=stage.schema,
                        stage_name=stage.name,
                    )
                )
            done, ran_now = self._execute(todo, plan, progress)
            rows_sent, received = sum(r.rows_out for r in previous), sum(r.rows_received for r in done)
            if rows_sent != received:
                raise RunError(
                    f"{stage.name}.{step.name} received {received} of the {rows_sent} rows that were sent to it"
                )
            if len({record.passed["schema"] for record in done if record.passed}) > 1:
                raise RunError(
                    f"{stage.name}.{step.name} returns tables of different columns, which cannot meet"
                )
            previous = last[step.name] = done
            records, ran = [*records, *previous], ran + ran_now
        return records, ran

    def _ledger(self, stage: Stage, plan: Plan, progress: StageProgress) -> tuple[list[Record], int]:
        assert isinstance(stage, LedgerStage)
        tables = (shard.read() for shard in plan.shards)
        record, asked = run_ledger(stage, tables, plan.output, progress)
        self._check_budget(plan, Counter(record.failed), record.rows_in, [record])
        storage.write_json(tasks.record_path(plan.output, record.name), dataclasses.asdict(record))
        return [record], asked

    def _limits(self, stage: Stage) -> Limits:
        memory = self.options.memory_per_worker or default_memory(self.options.workers)
        return Limits(self.options.seconds_per_document * stage.patience, memory)

    # ---- execution ----

    def _execute(self, todo: list[Task], plan: Plan, progress: StageProgress) -> tuple[list[Record], int]:
        """Run the tasks whose record is missing or outdated; all records, in the order of `todo`, and how many ran."""
        records: dict[str, Record] = {}
        pending = []
        failed = Counter[str]()
        for task in todo:
            record = tasks.load_record(plan.output, task.name)
            if record is not None and record.failed and self.options.retry_failed:
                record = None
            if record is not None and record.key == task.key and tasks.is_intact(plan.output, record):
                records[task.name] = record
                failed.update(record.failed)
                _count(progress, record)
            else:
                pending.append(task)
        for record in self._submit(pending):
            records[record.name] = record
            failed.update(record.failed)
            _count(progress, record)
            self._write_log(plan, record)
            if plan.stage.shape != "expand":  # a container's rows are known only when all are read
                self._check_budget(plan, failed, plan.rows, records.values())
        rows = sum(r.kept + sum(r.dropped.values()) + sum(r.failed.values()) for r in records.values())
        self._check_budget(plan, failed, max(plan.rows, rows), records.values())
        return [records[task.name] for task in todo], len(pending)

    def _submit(self, pending: list[Task]) -> Iterator[Record]:
        """Records as they come. A window of tasks is with Dask at a time, so a million tasks cost no memory."""
        if not pending:
            return
        client, parallelism = self.cluster.client, self.cluster.parallelism
        waiting, left = iter(pending), len(pending)
        running = distributed.as_completed(loop=client.loop)
        futures: dict[distributed.Future, list[Task]] = {}
        at_once = 1

        def fill() -> None:
            nonlocal left
            if len(futures) > 2 * parallelism:
                return
            batches: list[list[Task]] = []
            while len(futures) + len(batches) < 4 * parallelism:
                size = max(
                    1, min(at_once, left // (4 * parallelism))
                )  # fewer at the end: all should end together
                if not (batch := list(itertools.islice(waiting, size))):
                    break
                batches.append(batch)
                left -= len(batch)
            submitted = client.map(tasks.run_tasks, batches, pure=False)
            futures.update(zip(submitted, batches, strict=True))
            running.update(submitted)

        try:
            fill()
            while futures:
                future = next(running)
                for record in _results(future, futures.pop(future), self.options.cluster):
                    at_once = int(BATCH_SECONDS / (record.seconds + 0.001)) + 1
                    yield record
                fill()
        finally:
            if futures:
                with contextlib.suppress(Exception):
                    client.cancel(list(futures), force=True)
                    if self.options.cluster:  # cancelling does not end what a worker has begun
                        client.run(stop_children)

    def _check_budget(self, plan: Plan, failed: Counter[str], rows: int, records: Iterable[Record]) -> None:
        allowed = max(self.options.failure_floor, int(self.options.failure_budget * rows))
        if failed.total() > allowed:
            for record in records:
                if record.failed:  # so that the next run works on them again
                    storage.remove(tasks.record_path(plan.output, record.name))
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in failed.most_common(5))
            raise RunError(
                f"stage {plan.stage.name}: {failed.total():,} of {rows:,} rows failed ({reasons}), more than the budget "
                f'of {allowed:,}. Look at them with `reasonmill inspect {self.folder} --sql "SELECT * FROM failed"`; '
                "then mend the cause, or raise --failure-budget. What is finished is kept."
            )

    def _write_log(self, plan: Plan, record: Record) -> None:
        if record.logs and storage.is_local(self.folder):
            with (Path(storage.split(self.folder)[1]) / "log.txt").open(
                "a", encoding="utf-8", errors="replace"
            ) as log:
                for line in record.logs:
                    log.write(
                        f"{_now()} {line['level']} stage={plan.stage.name} unit={record.name} "
                        f"document={line['document']} {line['logger']}: {line['message']}\n"
                    )

    # ---- the end of a stage ----

    def _finish(self, stage: Stage, plan: Plan, records: list[Record], ran: int, started: float) -> None:
        """Remove what earlier states left, then write run.json, then the manifest: from there on it is finished."""
        _sweep(plan.output, records)
        summary = summarise(stage, plan, records, ran, started)
        storage.write_json(
            storage.join(plan.output, "run.json"),
            {
                "ended": _now(),
                "seconds": round(summary.seconds, 2),
                "cpu_seconds": round(summary.cpu_seconds, 2),
                "rows_per_second": round(summary.rows_in / max(1e-9, summary.seconds), 1),
                "units_run": summary.tasks_run,
                "units_kept": summary.tasks_skipped,
                "workers": self.options.workers,
                "cluster": self.options.cluster,
                "host": platform.node(),
                "python": platform.python_version(),
                "versions": versions(),
            },
        )
        storage.write_json(
            storage.join(plan.output, "manifest.json"), manifest_of(stage, plan, records, summary)
        )


def _steps(stage: ShuffleStage, last: dict[str, list[Record]]) -> Iterator[Round]:
    """The rounds one after the other. `last`: the records of each, filled in while they are run."""
    for step in stage.rounds:
        if isinstance(step, Round):
            yield step
            continue
        for _ in range(step.most):
            yield from step.rounds
            if not any(record.again for one in step.rounds for record in last[one.name]):
                break
        else:
            names = ", ".join(one.name for one in step.rounds)
            raise RunError(f"stage {stage.name}: the rounds {names} have not ended after {step.most} times")


def _absolute(folder: str) -> str:
    """Workers may have another working directory."""
    return os.path.abspath(folder) if storage.is_local(folder) else folder.rstrip("/")  # noqa: PTH100


def _outdated(folder: str) -> RequestError:
    return RequestError(f"{folder} is outdated: what it was made from has changed. Run its stage again first")


def _count(progress: StageProgress, record: Record) -> None:
    progress.advance(record.rows_in, dropped=sum(record.dropped.values()), failed=sum(record.failed.values()))


def _routed(output: str, previous: list[Record], index: int) -> Pieces:
    """Where the rows for unit `index` are."""
    senders = [record for record in previous if record.passed["places"][index]] or previous[:1]
    places = [(number, *record.passed["places"][index]) for number, record in enumerate(senders)]
    files = [tasks.passing_file(output, record.name) for record in senders]
    return Pieces(files, senders[0].passed["header"], [place for place in places if len(place) > 1])


def _results(future: distributed.Future, batch: list[Task], address: str | None) -> Iterator[Record]:
    """The records of a batch of units. Raises what its unit failed with, in the user's terms."""
    records: list[Record] = []
    try:
        records, error = future.result()
    except Exception as lost:
        error = lost
    yield from records
    if error is not None:
        raise _explained(error, batch[len(records)], address) from error


def _explained(error: Exception, task: Task, address: str | None) -> Exception:
    """An error of a unit as a person should read it."""
    if isinstance(error, ReasonmillError):
        return error
    if isinstance(error, distributed.KilledWorker):
        return RunError(
            f"stage {task.stage_name}: every worker that took unit {task.name} was killed. If the machine ran out of "
            "memory, use fewer --workers. What is finished is kept."
        )
    if isinstance(error, OSError) and error.errno in storage.DISK_ERRORS:
        return storage.explain_disk_error(error, task.output)
    if isinstance(error, AttributeError | TypeError | KeyError):
        return RunError(
            f"stage {task.stage_name}, unit {task.name}: {type(error).__name__}: {error}. "
            "The stage returned something the runner cannot use: a MapStage returns an Outcome, a round a table."
        )
    return _lost(task, address, error)


def _lost(task: Task, address: str | None, error: Exception) -> RunError:
    where = f"the Dask scheduler at {address}" if address else "the local cluster"
    return RunError(
        f"stage {task.stage_name}, unit {task.name}: lost to {where}: {type(error).__name__}: {error}. "
        "What is finished is kept; run the same command again."
    )


def _sweep(output: str, records: list[Record]) -> None:
    """Remove shards, reasons and records that no task of this state wrote."""
    expected = {f"{entry['name']}.parquet" for record in records for entry in record.shards}
    expected |= {f"{name}.parquet" for record in records for name in record.beside}
    expected |= {f"_rounds/{record.name}.arrow" for record in records if record.passed}
    expected |= {f"_tasks/{record.name}.json" for record in records}
    for folder in ("", "dropped", "failed", "_rounds", "_tasks"):
        for name in storage.list_files(storage.join(output, folder) if folder else output):
            path = f"{folder}/{name}" if folder else name
            if (
                path.endswith((".parquet", ".arrow", ".json"))
                and path not in expected
                and path not in ("run.json", "manifest.json")
            ):
                storage.remove(storage.join(output, path))


def _lock(folder: str) -> IO[str]:
    """One run per folder. The lock goes with the process, however it ends."""
    path = Path(folder) / ".lock"
    try:
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise storage.explain_disk_error(error, str(path)) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        raise RequestError(f"another run (process {handle.read().strip()}) is at work in {folder}") from None
    handle.seek(0)
    handle.truncate()
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _interrupt(number: int, _frame: Any) -> None:
    raise Interrupted(number)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
