"""The four shapes of stage. A stage says what to do with rows; `pipeline.runner` does everything else.

    map      shard → shard: every document in is kept, dropped or failed
    expand   parents → children (WARC → records) or many → one (files → repository): every child names its
             parents, every parent is accounted for
    shuffle  rounds of "emit rows to partitions, work on one partition": dedup, sampling
    ledger   questions to a model or a judge: an append-only book, each request answered once

A stage class is small: a name, a config (pydantic, its field descriptions are the command's help), and one method
per shape. It must be importable by name, because workers and their child processes build it again from its config.
"""

from __future__ import annotations

import abc
import ast
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline import storage
from pipeline.dataset import Dataset
from pipeline.errors import Drop

OUR_PACKAGES = ("pipeline", "filters", "synth", "mixtures", "training", "reasonmill")
# The plumbing: how a stage is run never changes what it computes, so it is no part of a resume key.
PLUMBING = {
    *(f"pipeline.{m}" for m in ("stage", "dataset", "storage", "runner", "isolation", "cluster", "errors")),
    *(f"pipeline.{m}" for m in ("tasks", "child", "ledger", "passing", "plan", "progress", "view")),
}


class StageConfig(BaseModel):
    """Base of every stage's options. Unknown fields are refused, so that a typo never runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(NamedTuple):
    """Why one document was dropped or failed. `reason` is one of few words, `detail` is for a person."""

    id: str
    reason: str
    detail: str = ""


@dataclass
class Outcome:
    """What became of a batch: rows kept, rows dropped by rule, rows that failed."""

    kept: pa.Table
    dropped: list[Reason] = field(default_factory=list)
    failed: list[Reason] = field(default_factory=list)


class Stage(abc.ABC):
    """What all four shapes have in common."""

    name: ClassVar[str]  # the sub-command and the `stage` of dropped rows
    output: ClassVar[str]  # folder of the dataset it writes, below the run's folder
    # Dataset it reads; the first that exists of several alternatives. (): a ledger all of whose requests are its own.
    input: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, ...]] = ()  # column datasets joined to the input; ("*",) = all there are
    selected_by: ClassVar[str | None] = None  # dataset (the policy) that says which rows of the input count
    more: ClassVar[tuple[str, ...]] = ()  # datasets like the input, worked on as well where they are there
    uses: ClassVar[tuple[str, ...]] = ()  # datasets it reads as a whole, by `used`: a tokenizer
    reads: ClassVar[tuple[str, ...] | None] = (
        None  # columns of `input` it needs (None: all); `id` always comes
    )
    patience: ClassVar[float] = 1.0  # one call may take this many times `seconds_per_document`
    libraries: ClassVar[tuple[str, ...]] = ()  # distributions whose versions change its results
    schema: pa.Schema  # of the kept rows
    Config: ClassVar[type[StageConfig]] = StageConfig
    shape: ClassVar[Literal["map", "expand", "shuffle", "ledger"]]
    folder: str = ""  # of the run; set by the runner. A place to look things up, never part of a result
    coming: frozenset[str] = frozenset()  # absolute paths that are not there yet, but will be when it runs

    def __init__(self, config: StageConfig | None = None) -> None:
        """Cheap: validates and stores. Models and indexes are loaded by `prepare`, in the process that needs them."""
        self.config: Any = config if config is not None else self.Config()

    def prepare(self) -> None:  # noqa: B027 - optional hook
        """Load what the work needs (models, indexes). Called once in every worker process before any work."""

    def check(self, schema: pa.Schema | None) -> None:  # noqa: B027 - optional hook
        """Called before anything runs, with the joined input's schema if it is known. Raises `RequestError`.

        For a recipe that is when it is read, and again by the runner. What lies in `coming` need not be there yet.
        """

    def begin(self, table: pa.Table) -> None:  # noqa: B027 - optional hook
        """Called with a whole joined input shard before its batches are processed (map and expand)."""

    def elsewhere(self) -> list[str]:
        """Other run folders whose `input` is worked on in place of this one's; each by the name of its folder."""
        return []

    def remark(self) -> str:
        """What a person should know of its options; printed below the stage's line when it has run."""
        return ""

    def written(self) -> pa.Schema:
        """Columns of the dataset."""
        return self.schema

    def used(self, name: str) -> Dataset:
        """One of the datasets that the stage `uses`."""
        return Dataset.open(storage.join(self.folder, name))

    def files(self) -> dict[str, str]:
        """Model, policy, rubric and benchmark files the result depends on: name → sha256."""
        return {}

    def key(self) -> str:
        """Digest of everything but the input that the stage's result depends on: the first part of a resume key.

        With what it `uses`, once `folder` says where that is: a worker that has prepared for another tokenizer must
        prepare again.
        """
        parts: dict[str, Any] = {
            "stage": f"{type(self).__module__}.{type(self).__qualname__}",
            "source": source_digest(type(self).__module__),
            "libraries": {name: importlib.metadata.version(name) for name in ("pyarrow", *self.libraries)},
            "config": json.loads(self.config.model_dump_json()),
            "files": self.files(),
        }
        if self.uses and self.folder:
            parts["uses"] = {name: self.used(name).digest for name in self.uses}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class MapStage(Stage):
    """shard → shard. `process` sees batches of at most `rows_per_call` rows of the joined input.

    With `aligned = True` (column datasets) `process` must keep every row, in order, under its `id`; a document that
    fails gets nulls in the shard and a row in `failed/`. With `aligned = False` it may drop rows.
    """

    shape: ClassVar[Literal["map", "expand", "shuffle", "ledger"]] = "map"
    aligned: ClassVar[bool] = True
    rows_per_call: ClassVar[int] = (
        1024  # a batch that raises, hangs or crashes is halved until the culprit is alone
    )

    @abc.abstractmethod
    def process(self, batch: pa.Table) -> Outcome:
        """Work on one batch. May raise: the runner finds the culprit and goes on without it."""


class DocumentStage(MapStage):
    """A map stage that works on one document at a time and may drop it, such as `extract`."""

    aligned = False
    rows_per_call = 1

    @abc.abstractmethod
    def process_document(self, row: dict[str, Any]) -> dict[str, Any]:
        """The new row of one document (missing columns are null). Raises `Drop` to leave it out by rule."""

    def process(self, batch: pa.Table) -> Outcome:
        kept, dropped = [], []
        for row in batch.to_pylist():
            try:
                kept.append(self.process_document(row))
            except Drop as drop:
                dropped.append(Reason(row["id"], drop.reason, drop.detail))
        return Outcome(pa.Table.from_pylist(kept, schema=self.schema), dropped)


class ExpandStage(MapStage):
    """parents → children, in both directions. Children carry `parent_ids`, all of them from the batch.

    A parent is accounted for when a kept child names it, or it is in `dropped` or `failed` (it may be both a parent
    and failed: a WARC truncated halfway). Output shards hold at most `rows_per_shard` children.
    """

    shape = "expand"
    aligned = False
    rows_per_call = 1
    rows_per_shard: int = 2000


@dataclass(frozen=True)
class Round:
    """One round of a shuffle: the stage's method `name` is called for each unit.

    `over`: a unit is an input shard, or a partition of the rows the previous round emitted, or everything at once
    ("all": only for what stays small). `to`: how many partitions the emitted rows go to; "shards" sends rows back
    to the input shard whose index stands in their `partition` column; None marks the last round. Over shards it
    returns an `Outcome` that accounts for every row of the shard; over partitions, a table that becomes a shard.
    """

    name: str
    over: Literal["shards", "partitions", "all"]
    to: int | Literal["shards", "all"] | None
    also: tuple[str, ...] = ()  # earlier rounds that send their rows to this one as well, to as many units
    reads: tuple[str, ...] | None = None  # over shards: the columns it needs; None: those of the stage


@dataclass(frozen=True)
class Repeat:
    """Rounds over partitions that are run again and again while any of their units asks for it (`Sent.again`)."""

    rounds: tuple[Round, ...]
    most: int = 100  # times; more is a defect


@dataclass
class Unit:
    """What one call of a round sees."""

    index: int  # of the shard or partition
    table: pa.Table | None  # the joined input shard, for rounds over shards
    routed: pa.Table | None  # rows the previous round sent here, in a fixed order; None in the first round
    also: dict[str, pa.Table] = field(default_factory=dict)  # the same of the rounds in `Round.also`
    shard: str = ""  # its name, for rounds over shards
    to: int = 0  # how many partitions there are for the rows it returns


@dataclass
class Sent:
    """What a round returns in place of a table when it is one to be repeated."""

    rows: pa.Table
    again: bool


class ShuffleStage(Stage):
    """Rounds of work in which rows meet by key. Memory is that of one unit; every unit is resumable.

    Each round is a method `(Unit) -> pa.Table`; the table's int32 column `partition` says where a row goes (column
    and round sizes as in `Round.to`). Rows must come in an order that does not depend on time or on other units.
    """

    shape = "shuffle"
    aligned: ClassVar[bool] = True
    rows: int = 0  # of the whole input; the runner says it before it looks at `rounds`
    rounds: tuple[Round | Repeat, ...]

    def shard_name(self, index: int) -> str:
        """Name of the shard that the last round's unit writes, if that round is over partitions."""
        return f"{index:05d}"


class LedgerStage(Stage):
    """Questions asked once each. `requests` turns input rows into questions, `answer` asks one.

    `prepare` is called when there is something to ask, in the process of the run, and `release` after it.

    The request's key is a hash of its content, so the same question is never paid for twice, in this run or the next.
    """

    shape = "ledger"
    concurrency: int = 64

    def written(self) -> pa.Schema:
        """`schema` is that of an answer; before it stand the request's id and the request itself, as JSON."""
        id_, request = (
            pa.field("id", pa.string(), nullable=False),
            pa.field("request", pa.string(), nullable=False),
        )
        return pa.schema([id_, request, *self.schema])

    @abc.abstractmethod
    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        """JSON-able requests for a batch of rows; `source_id` in them names the document."""

    def own_requests(self) -> Iterable[dict[str, Any]]:
        """Requests that come of no single row: of files of the config, or of what `requests` has seen. Called last."""
        return ()

    def release(self) -> None:
        """The opposite of `prepare`, however asking ended: stop a server."""

    @abc.abstractmethod
    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask one question. The dict must fit `schema`. Raises `Drop` for a refusal by rule."""


def build(path: str, config: dict[str, Any]) -> Stage:
    """A stage from its class's dotted path and its config: how workers get theirs."""
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    return cls(cls.Config(**config))


@functools.cache
def source_digest(module: str) -> str:
    """Digest of a module and of every module of ours it imports, plumbing excepted; comments do not count."""
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or name in PLUMBING or (name.split(".")[0] not in OUR_PACKAGES and name != module):
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        tree = ast.parse(Path(spec.origin).read_bytes())
        seen[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
        todo += _imports(tree)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append(node.module)
            for alias in node.names:  # `from pipeline import documents` names a module, not an attribute
                name = f"{node.module}.{alias.name}"
                try:
                    if node.module.split(".")[0] in OUR_PACKAGES and importlib.util.find_spec(name):
                        found.append(name)
                except ModuleNotFoundError:
                    pass
    return found
