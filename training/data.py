"""Batches of the packed `mixture`, addressed by number: sequence i of a stage is row i of its shards in name order.

Pre-training reads each row once, in this order (the mixture's rows are random draws already). Fine-tuning goes over the
rows again and again, in another order each epoch. There is no state: which rows a step, a rank and a micro-batch take
follows from counters alone, so a resumed run reads exactly what an undisturbed one would have read, and a reader can
be thrown away at any time. Memory: the two row groups read last.
"""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_right
from collections import OrderedDict
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from pipeline import storage
from pipeline.dataset import Dataset, read_shard
from pipeline.errors import RequestError, RunError
from training.model import places
from training.schedule import Schedule

ROW_GROUPS_KEPT = 2  # a batch that straddles two row groups reads neither twice


class Rows(NamedTuple):
    """A row group in memory. R rows, L the context."""

    tokens_RL: np.ndarray
    lengths: list[list[int]]
    trained_RL: np.ndarray | None


class Batch(NamedTuple):
    """`tokens_BL`: int64, L = the stage's context. `lengths`: of the segments of each row; the rest is padding.

    `trained_BL`: booleans, which tokens are to be predicted; None: all, as in pre-training.
    """

    tokens_BL: torch.Tensor
    lengths: list[list[int]]
    trained_BL: torch.Tensor | None = None


class Tokenizer(NamedTuple):
    """The one row of the dataset `tokenizer`."""

    json: str  # the text of tokenizer.json
    vocabulary: int
    end_of_text: int


class MixtureReader:
    """Reads the dataset `mixture` or `sft_mixture` of a run at any path fsspec knows.

    shuffle: None reads a stage's sequences once and in order. A seed reads them epoch after epoch: the numbers go on
    beyond the last one, and each epoch has an order of its own (shards in random order, and the rows in each).

    Every row group is checked when it is read: sequences of one length, segments that fit into them, tokens below
    `vocabulary`. Raises `RunError` naming shard and row.
    """

    def __init__(self, path: str, vocabulary: int, shuffle: int | None = None) -> None:
        self.dataset = Dataset.open(path)
        self.vocabulary = vocabulary
        self.shuffle = shuffle
        self.maker = self.dataset.manifest.get("stage", "mix")  # the stage to run again
        self.shards: dict[str, list[str]] = {}
        self._ends: dict[str, list[int]] = {}  # of each shard of a stage: sequences up to and with it
        for shard in sorted(self.dataset.shards, key=lambda shard: shard.name):
            stage = shard.name.rpartition("-")[0]
            self.shards.setdefault(stage, []).append(shard.name)
            ends = self._ends.setdefault(stage, [])
            ends.append((ends[-1] if ends else 0) + shard.rows)
        self._groups: OrderedDict[tuple[str, int], Rows] = OrderedDict()
        self._open: tuple[str, IO[bytes], pq.ParquetFile, list[int]] | None = None

    def sequences(self, stage: str) -> int:
        """How many sequences the mixture holds for a stage."""
        return self._ends[stage][-1] if stage in self._ends else 0

    def context(self, stage: str) -> int:
        """Tokens of a sequence of the stage; the stage must have one."""
        return self.batch(stage, 0, 1).tokens_BL.shape[1]

    def batch(self, stage: str, first: int, count: int) -> Batch:
        """Sequences first … first + count − 1 of a stage. Raises `RunError` when a shard is damaged or changed."""
        have = self.sequences(stage)
        if not (first >= 0 and count >= 1 and have and (self.shuffle is not None or first + count <= have)):
            raise IndexError(f"{stage} has no sequences {first}…{first + count - 1}: {have}")
        parts: list[Rows] = []
        while count:
            name, row, most = self._place(stage, first)
            rows, start = self._row_group(name, row)
            taken = slice(row - start, min(row - start + min(count, most), len(rows.tokens_RL)))
            trained = None if rows.trained_RL is None else rows.trained_RL[taken]
            parts.append(Rows(rows.tokens_RL[taken], rows.lengths[taken], trained))
            if parts[-1].tokens_RL.shape[1] != parts[0].tokens_RL.shape[1]:
                raise RunError(
                    f"{self.dataset.shard_path(name)}: sequences of {parts[-1].tokens_RL.shape[1]} tokens, others in "
                    f"{stage} have {parts[0].tokens_RL.shape[1]}. Run the stage `{self.maker}` again."
                )
            first, count = first + len(parts[-1].lengths), count - len(parts[-1].lengths)
        masks = [part.trained_RL for part in parts if part.trained_RL is not None]
        return Batch(
            torch.from_numpy(np.concatenate([part.tokens_RL for part in parts]).astype(np.int64)),
            [lengths for part in parts for lengths in part.lengths],
            torch.from_numpy(np.concatenate(masks)) if masks else None,
        )

    def _place(self, stage: str, number: int) -> tuple[str, int, int]:
        """Where sequence `number` of a stage is: shard, row, and how many from there on may be read in order."""
        ends, most = self._ends[stage], 1 << 62
        if self.shuffle is not None:
            epoch, number = divmod(number, ends[-1])
            number, most = int(self._order(stage, epoch)[number]), 1
        index = bisect_right(ends, number)
        return self.shards[stage][index], number - (ends[index - 1] if index else 0), most

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a step may straddle two epochs; a reader lives as long as its run
    def _order(self, stage: str, epoch: int) -> np.ndarray:
        """The rows of a stage in the order of an epoch. Shard by shard: memory never holds more than two."""
        ends, seed = self._ends[stage], (self.shuffle or 0) % 2**32
        # RandomState, because its stream is the same in every version of NumPy.
        shards = np.random.RandomState([seed, epoch]).permutation(len(ends))
        parts = []
        for shard in shards:
            start = ends[shard - 1] if shard else 0
            rows = np.random.RandomState([seed, epoch, 1 + shard]).permutation(ends[shard] - start)
            parts.append(start + rows)
        return np.concatenate(parts)

    def _row_group(self, name: str, row: int) -> tuple[Rows, int]:
        """The row group of a shard that holds `row`, and the row it begins with."""
        path = self.dataset.shard_path(name)
        try:
            if self._open is None or self._open[0] != name:
                self.close()
                fs, inner = storage.split(path)
                handle = fs.open(inner, "rb")
                file = pq.ParquetFile(handle)
                rows = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
                self._open = (name, handle, file, list(itertools.accumulate(rows, initial=0)))
            _, _, file, starts = self._open
            if row >= starts[-1]:
                raise OSError(f"it has {starts[-1]} rows, its manifest says more")
            group = bisect_right(starts, row) - 1
            key = (name, group)
            if key not in self._groups:
                columns = [c for c in ("tokens", "lengths", "trained") if c in file.schema_arrow.names]
                table = file.read_row_group(group, columns=columns)
                while len(self._groups) >= ROW_GROUPS_KEPT:
                    self._groups.popitem(last=False)
                self._groups[key] = _arrays(table, path, starts[group], self.vocabulary, self.maker)
        except MemoryError:  # Arrow's is an ArrowException too, and no fault of the shard
            raise
        except (OSError, pa.ArrowException, KeyError) as error:
            raise RunError(
                f"cannot read shard {path}: {error}. Run the stage `{self.maker}` again; training goes on from its "
                "last checkpoint if the mixture comes out the same."
            ) from None
        self._groups.move_to_end(key)
        return self._groups[key], starts[group]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def check(self, schedule: Schedule) -> None:
        """Whether the mixture has every stage of the schedule, with its context and enough sequences.

        Raises one `RequestError` with everything that is missing.
        """
        mistakes = []
        for stage, total in schedule.totals.items():
            have = self.sequences(stage)
            if have == 0:
                known = ", ".join(self.shards) or "no stage at all"
                mistakes.append(f"{stage}: the mixture has {known}; correct the stage's name in the schedule")
                continue
            need = next(phase.context for phase in schedule.phases if phase.stage == stage)
            context = self.context(stage)
            if context != need:
                mistakes.append(
                    f"{stage}: its sequences have {context:,} tokens, the schedule's context is {need:,}; "
                    "set the same context in the stage `mix` and in pretrain.schedule"
                )
            elif self.shuffle is None and have < total.sequences:
                missing = (total.sequences - have) * context
                mistakes.append(
                    f"{stage}: {missing:,} tokens are missing ({total.sequences:,} sequences of {context:,} are "
                    f"needed, {have:,} are there); raise its budget in the stage `mix` or shorten its phases by that many tokens"
                )
        if mistakes:
            raise RequestError("\n".join(f"{self.dataset.path}: {mistake}" for mistake in mistakes))


def _arrays(table: pa.Table, path: str, start: int, vocabulary: int, maker: str) -> Rows:
    """A row group as arrays [rows, context] and lists of segment lengths, checked."""
    tokens = table["tokens"].combine_chunks()
    lengths: list[list[int]] = table["lengths"].to_pylist()
    offsets = tokens.offsets.to_numpy()
    sizes = np.diff(offsets)
    flat = tokens.values.to_numpy()[offsets[0] : offsets[-1]]

    def complain(row: int, what: str) -> None:
        raise RunError(f"{path}, row {start + row}: {what}. Run the stage `{maker}` again.")

    if (odd := np.flatnonzero(sizes != sizes[0])).size:
        complain(int(odd[0]), f"a sequence of {sizes[odd[0]]} tokens among sequences of {sizes[0]}")
    tokens_RL = flat.reshape(len(sizes), sizes[0])
    if (odd := np.flatnonzero((tokens_RL < 0).any(1) | (tokens_RL >= vocabulary).any(1))).size:
        complain(
            int(odd[0]), f"a token outside the vocabulary of {vocabulary}: the mixture has another tokenizer"
        )
    for row, segments in enumerate(lengths):
        if segments is None or any(n < 1 for n in segments) or sum(segments) > sizes[0]:
            complain(row, f"segments {segments} do not fit into {sizes[0]} tokens")
    if "trained" not in table.column_names:
        return Rows(tokens_RL, lengths, None)
    trained = table["trained"].combine_chunks()
    if (odd := np.flatnonzero(pc.list_value_length(trained).to_numpy(zero_copy_only=False) != sizes[0])).size:
        complain(int(odd[0]), f"`trained` does not say of each of {sizes[0]} tokens whether it is")
    flags = trained.flatten().to_numpy(zero_copy_only=False)
    return Rows(tokens_RL, lengths, flags.reshape(tokens_RL.shape))


def padding(context: int) -> Batch:
    """One row without any loss, for a rank that has nothing left of a step: every rank must take part in it."""
    return Batch(torch.zeros((1, context), dtype=torch.int64), [[1]])


def micro_batches(sequences: int, ranks: int, rank: int, rows: int) -> list[range]:
    """Which of a step's sequences a rank takes, in micro-batches of at most `rows`.

    All ranks together take each of 0 … sequences − 1 once, and have the same number of micro-batches (some empty),
    because the ranks' collective operations must pair up.

    >>> micro_batches(5, ranks=2, rank=1, rows=2)
    [range(2, 4), range(4, 5)]
    >>> micro_batches(3, ranks=2, rank=0, rows=1)
    [range(0, 1), range(1, 1)]
    """
    first, end = sequences * rank // ranks, sequences * (rank + 1) // ranks
    most = -(-sequences // ranks)
    starts = range(first, first + most, rows)
    return [range(min(start, end), min(start + rows, end)) for start in starts]


def loss_tokens(
    lengths: list[list[int]], mtp_blocks: int = 1, trained_BL: torch.Tensor | None = None
) -> tuple[int, int]:
    """How many tokens are predicted inside the segments: one ahead by the output head, 2 … by the MTP blocks.

    With `trained_BL` (see `Batch`) only those that it marks.

    >>> loss_tokens([[4, 1], [2]])
    (4, 2)
    >>> loss_tokens([[4]], trained_BL=torch.tensor([[True, False, True, True]]))
    (2, 2)
    """
    if trained_BL is not None:
        rows, context = trained_BL.shape
        segment_BL, position_BL = places(lengths, rows, context, "cpu")
        marked_BL = trained_BL & (segment_BL >= 0)
        ahead = [int((marked_BL & (position_BL >= k)).sum()) for k in range(1, mtp_blocks + 2)]
        return ahead[0], sum(ahead[1:])
    segments = list(itertools.chain.from_iterable(lengths))
    ahead = [sum(max(0, n - k) for n in segments) for k in range(1, mtp_blocks + 2)]
    return ahead[0], sum(ahead[1:])


def read_tokenizer(path: str) -> Tokenizer:
    """The dataset `tokenizer` of a run: one row. Raises `RequestError` when there is none."""
    dataset = Dataset.open(path)
    rows: list[dict[str, Any]] = [
        row for shard in dataset.shards for row in read_shard(dataset.shard_path(shard.name)).to_pylist()
    ]
    if len(rows) != 1:
        raise RequestError(
            f"{path} holds {len(rows)} rows instead of one tokenizer; run its stage again into an empty folder"
        )
    return Tokenizer(rows[0]["tokenizer_json"], rows[0]["vocabulary"], rows[0]["end_of_text"])
