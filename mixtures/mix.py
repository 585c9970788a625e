"""The pre-training mixture: which documents, how often, in which stage, packed into sequences.

What is drawn is a *block*: a document, or of a longer one each stretch of the longest context of all stages (more of it
could never be seen together). All copies of a group's blocks stand in one line, ordered by

    place(k-th copy) = (k − u) / weight,    u in [0, 1) a hash of seed, document and block,

and the stages cut the line into consecutive stretches [Λ₀ = 0, Λ₁), [Λ₁, Λ₂) …: up to a place Λ a block has been drawn
⌊Λ · weight + u⌋ times. So within a group a block is drawn in proportion to its document's weight, never more than one
copy more or less than that, and a later stage draws what earlier ones have not used before anything is repeated. Where
to cut is known exactly, because a histogram of the places (in bins 0.02 % wide) is counted first: what the plan says is what
is drawn. Everything hangs on ids alone, not on shards or workers.

Copies per block, over all stages together, are capped: repeating documents up to 4 times costs almost nothing
(Muennighoff et al. 2023, arXiv 2305.16264); the MiMo-7B report (arXiv 2505.07608) saw synthetic reasoning stand very many
epochs. Shares are in `mixtures.shares`, packing in `mixtures.packing`.
"""

from __future__ import annotations

import bisect
import itertools
import logging
from collections import Counter
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from mixtures.packing import best_fit
from mixtures.shares import MixtureStage, Tokens, plan
from mixtures.tokenizer import open_tokenizer
from pipeline.dedup.minhash import ALGORITHM, string_hashes
from pipeline.stage import Round, ShuffleStage, StageConfig, Unit

PLACE_BITS = 12  # of a place's mantissa: bins are 2^-13 to 2^-12 of it wide
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # the odd step of splitmix64
SYNTHETIC = {"analysis": 64, "answers": 64}


class MixConfig(StageConfig):
    stages: list[MixtureStage] = Field(min_length=1, description="the stages of pre-training, in their order")
    max_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="copies of a document in all stages together, at most"
    )
    max_epochs_of: dict[str, Annotated[int, Field(ge=1, le=10_000)]] = Field(
        SYNTHETIC, description="the same for single groups; synthetic text stands more than documents do"
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(0, description="another seed, another draw")
    tokens_per_shard: Annotated[Tokens, Field(le=1 << 30)] = Field(
        16_000_000,
        description="shards hold about this many tokens; making one takes some 40 bytes of memory for each",
    )

    @model_validator(mode="after")
    def _order(self) -> MixConfig:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {', '.join(names)}")
        for number, stage in enumerate(self.stages):
            if stage.like is not None and stage.like not in names[:number]:
                raise ValueError(
                    f"stage {stage.name} is like {stage.like}, which is no stage before it; "
                    f"those are: {', '.join(names[:number]) or 'none'}"
                )
        return self

    def epochs(self, group: str) -> int:
        """How often a block of this group may be drawn."""
        return self.max_epochs_of.get(group, self.max_epochs)


class Copies(NamedTuple):
    """Copies of a shard's blocks, as arrays of equal length."""

    document: np.ndarray  # row of the table
    start: np.ndarray  # first token of the block
    length: np.ndarray
    number: np.ndarray  # 1 = first copy
    bin: np.ndarray  # of its place in the group's line


class Mix(ShuffleStage):
    """tokens, answer_tokens → packed sequences, stage by stage: shards `stage1-00000` …, each a random part of its stage.

    A sequence has exactly the stage's context; what is beyond the sum of `lengths` is padding with the end-of-text
    token. Documents longer than the context are cut into pieces of its length, all else stays whole.
    """

    name = "mix"
    output = "mixture"
    input = ("tokens",)
    more = ("answer_tokens",)
    uses = ("tokenizer",)
    patience = 10.0
    libraries = ("numpy", "numba")
    aligned = False
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),  # "stage1-00000:17", the row of the shard
            pa.field("stage", pa.string(), nullable=False),
            pa.field("tokens", pa.list_(pa.int32()), nullable=False),
            pa.field("lengths", pa.list_(pa.int32()), nullable=False),  # of the segments
            pa.field("documents", pa.list_(pa.string()), nullable=False),  # id for each segment
            pa.field("groups", pa.list_(pa.string()), nullable=False),
            pa.field(
                "starts", pa.list_(pa.int32()), nullable=False
            ),  # where the segment begins in its document
        ]
    )
    Config: ClassVar[type[StageConfig]] = MixConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.stages: list[MixtureStage] = self.config.stages
        self.block = max(stage.context for stage in self.stages)
        self.shards = [max(1, round(stage.tokens / self.config.tokens_per_shard)) for stage in self.stages]
        self.first = [0, *itertools.accumulate(self.shards)]  # partition of each stage's first shard
        self.bins = min(64, self.first[-1])
        self.rounds = (
            Round("count", "shards", self.bins),
            Round("add", "partitions", "all"),
            Round("cut", "all", "shards"),
            Round("draw", "shards", self.first[-1]),
            Round("pack", "partitions", None),
        )

    def files(self) -> dict[str, str]:
        return {"hash algorithm": str(ALGORITHM)}

    def prepare(self) -> None:
        _, self.end_of_text = open_tokenizer(self.used("tokenizer"))

    def shard_name(self, index: int) -> str:
        stage = bisect.bisect_right(self.first, index) - 1
        return f"{self.stages[stage].name}-{index - self.first[stage]:05d}"

    def count(self, unit: Unit) -> pa.Table:
        """Tokens of each group at each place of its line; and one row that says this shard is there."""
        table = _documents(unit)
        copies = self._copies(table)
        rows = pa.table(
            {
                "group": table["group"].take(pa.array(copies.document)),
                "bin": pa.array(copies.bin),
                "tokens": pa.array(copies.length),
            }
        )
        rows = _added(rows)
        here = {
            "group": pa.array([""]),
            "bin": pa.array([unit.index], pa.int32()),
            "tokens": pa.array([-1], pa.int64()),
        }
        rows = pa.concat_tables([rows, pa.table(here, schema=rows.schema)])
        partition = rows["bin"].to_numpy() % self.bins
        return rows.append_column("partition", pa.array(partition.astype(np.int32)))

    def add(self, unit: Unit) -> pa.Table:
        """The sum over shards."""
        rows = _routed(unit)
        marks = pc.less(rows["tokens"], 0)
        rows = pa.concat_tables([_added(rows.filter(pc.invert(marks))), rows.filter(marks)])
        return rows.append_column("partition", pa.array(np.zeros(len(rows), np.int32)))

    def cut(self, unit: Unit) -> pa.Table:
        """Where each stage's stretch of each group's line begins and ends, told to every shard."""
        rows = _routed(unit)
        marks = pc.less(rows["tokens"], 0)
        shards = rows.filter(marks)["bin"].to_numpy()
        lines = {}
        rows = rows.filter(pc.invert(marks)).sort_by([("group", "ascending"), ("bin", "ascending")])
        for group in pc.unique(rows["group"]).to_pylist():
            of_group = rows.filter(pc.equal(rows["group"], group))
            lines[group] = of_group["bin"].to_numpy(), np.cumsum(of_group["tokens"].to_numpy())
        epochs = {group: self.config.epochs(group) for group in lines}
        natural = {group: int(tokens[-1]) // epochs[group] for group, (_, tokens) in lines.items()}
        planned = plan(self.stages, natural, epochs)
        self._say_what_is_odd(planned, natural)

        cuts = []
        drawn, ends = Counter[str](), Counter[str]()
        for number, wanted in enumerate(planned):
            for group, (bins, tokens) in lines.items():
                begin = ends[group]
                if wanted[group].tokens:
                    aim = drawn[group] + wanted[group].tokens
                    at = int(np.searchsorted(tokens, aim))  # the first bin with which it is enough …
                    if at == len(tokens) or (at > 0 and aim - tokens[at - 1] <= tokens[at] - aim):
                        at -= 1  # … or the last with which it is not yet
                    if at >= 0 and bins[at] >= begin:
                        drawn[group], ends[group] = int(tokens[at]), int(bins[at]) + 1
                cuts.append({"group": group, "stage": number, "begin": begin, "end": ends[group]})
        schema = pa.schema([("group", pa.string()), *((n, pa.int32()) for n in ("stage", "begin", "end"))])
        table = pa.Table.from_pylist(cuts, schema=schema)
        everywhere = table.take(pa.array(np.tile(np.arange(len(cuts)), len(shards))))
        return everywhere.append_column("partition", pa.array(np.repeat(shards, len(cuts)).astype(np.int32)))

    def draw(self, unit: Unit) -> pa.Table:
        """The pieces of this shard's documents that are in the mixture, each in the partition its hash says."""
        table, cuts = _documents(unit), _routed(unit)
        copies = self._copies(table)
        names, code = np.unique(table["group"].to_numpy(), return_inverse=True)
        code = code[copies.document]
        stretch = np.zeros((len(self.stages), 2, len(names)), np.int64)
        for row in cuts.to_pylist():
            stretch[row["stage"], :, names == row["group"]] = row["begin"], row["end"]
        parts = []
        for number, stage in enumerate(self.stages):
            begin, end = stretch[number]
            drawn = np.flatnonzero((copies.bin >= begin[code]) & (copies.bin < end[code]))
            length = copies.length[drawn]
            pieces = -(-length // stage.context)
            which = np.repeat(drawn, pieces)
            offset = _ranges(np.zeros(len(pieces), np.int64), pieces) * stage.context
            document, start = copies.document[which], copies.start[which] + offset
            length = np.minimum(stage.context, copies.length[which] - offset)
            rank = _hash(self._hashes(table)[document], number, start, copies.number[which])
            partition = self.first[number] + (rank % np.uint64(self.shards[number])).astype(np.int32)
            parts.append((partition.astype(np.int32), rank, document, start, length))
        partition, rank, document, start, length = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        tokens = table["tokens"].combine_chunks()
        begins = np.append(0, np.cumsum(pc.list_value_length(tokens).to_numpy().astype(np.int64)))
        values = tokens.flatten().to_numpy()[_ranges(begins[document] + start, length)]
        return pa.table(
            {
                "partition": pa.array(partition),
                "rank": pa.array(rank),
                "id": table["id"].take(pa.array(document)),
                "group": table["group"].take(pa.array(document)),
                "start": pa.array(start.astype(np.int32)),
                "tokens": _lists(values, length),
            }
        )

    def pack(self, unit: Unit) -> pa.Table:
        """Sequences of one shard, in hash order, as are the segments in them."""
        stage = self.stages[bisect.bisect_right(self.first, unit.index) - 1]
        rows = _routed(unit).sort_by([("rank", "ascending"), ("id", "ascending"), ("start", "ascending")])
        tokens = rows["tokens"].combine_chunks()
        length = pc.list_value_length(tokens).to_numpy().astype(np.int64)
        sequence = best_fit(length, stage.context)
        _, first, sequence = np.unique(sequence, return_index=True, return_inverse=True)
        order = np.lexsort((np.arange(len(length)), first[sequence]))  # a sequence goes by its first segment
        count = len(first)
        sequence = np.cumsum(np.diff(first[sequence[order]], prepend=-1) != 0) - 1

        begins = np.cumsum(length) - length
        length = length[order]
        ends = np.cumsum(length)
        in_sequence = np.bincount(sequence, minlength=count)
        sequence_begins = (ends - length)[np.cumsum(in_sequence) - in_sequence]
        place = sequence * stage.context + (ends - length - sequence_begins[sequence])
        packed = np.full(count * stage.context, self.end_of_text, np.int32)
        packed[_ranges(place, length)] = tokens.flatten().to_numpy()[_ranges(begins[order], length)]

        shard, rows = self.shard_name(unit.index), rows.take(pa.array(order))
        columns = {
            "id": pa.array([f"{shard}:{row}" for row in range(count)], pa.string()),
            "stage": pa.array([stage.name] * count, pa.string()),
            "tokens": _lists(packed, np.full(count, stage.context)),
            "lengths": _lists(length.astype(np.int32), in_sequence),
            "documents": _lists(rows["id"].combine_chunks(), in_sequence),
            "groups": _lists(rows["group"].combine_chunks(), in_sequence),
            "starts": _lists(rows["start"].combine_chunks(), in_sequence),
        }
        return pa.table(columns, schema=self.schema)

    def _hashes(self, table: pa.Table) -> np.ndarray:
        return _hash(string_hashes(table["id"]), self.config.seed)

    def _copies(self, table: pa.Table) -> Copies:
        """Every copy that may ever be drawn of this shard's blocks, and where it stands in its group's line."""
        lengths = pc.list_value_length(table["tokens"]).to_numpy().astype(np.int64)
        weight = table["weight"].to_numpy()
        blocks = np.where(weight > 0, -(-lengths // self.block), 0)
        document = np.repeat(np.arange(len(table)), blocks)
        block = _ranges(np.zeros(len(blocks), np.int64), blocks)
        u = (_hash(self._hashes(table)[document], block) >> np.uint64(11)) * 2.0**-53

        epochs = {group: self.config.epochs(group) for group in pc.unique(table["group"]).to_pylist()}
        copies = np.array([epochs[group] for group in table["group"].to_pylist()], np.int64)[document]
        of = np.repeat(np.arange(len(document)), copies)
        number = _ranges(np.ones(len(copies), np.int64), copies)
        document, start = document[of], block[of] * self.block
        place = (number - u[of]) / weight[document]
        # Positive doubles are in the order of their bits: the leading ones are a logarithmic bin, without a logarithm.
        bin_ = (place.view(np.int64) >> (52 - PLACE_BITS)).astype(np.int32)
        return Copies(document, start, np.minimum(self.block, lengths[document] - start), number, bin_)

    def _say_what_is_odd(self, planned: list, natural: dict[str, int]) -> None:
        log = logging.getLogger(__name__)
        for stage, groups in zip(self.stages, planned, strict=True):
            for group in sorted(set(stage.factors) - set(natural)):
                log.warning(f"{stage.name}: a factor for {group}, but no document is in that group")
            for group, (asked, tokens) in groups.items():
                if tokens < asked * stage.tokens - 1:
                    log.warning(
                        f"{stage.name}: {group} is short: {tokens:,} of {round(asked * stage.tokens):,} tokens, "
                        f"with {self.config.epochs(group)} epochs of {natural[group]:,} over all stages"
                    )


def _documents(unit: Unit) -> pa.Table:
    assert unit.table is not None  # the runner's promise for rounds over shards
    return unit.table.combine_chunks()


def _routed(unit: Unit) -> pa.Table:
    assert unit.routed is not None  # the runner's promise for every round but the first
    return unit.routed


def _added(rows: pa.Table) -> pa.Table:
    """Tokens by group and bin; the order is that of the rows."""
    added = rows.group_by(["group", "bin"], use_threads=False).aggregate([("tokens", "sum")])
    return added.rename_columns({"tokens_sum": "tokens"}).select(["group", "bin", "tokens"])


def _hash(start: np.ndarray, *more: np.ndarray | int) -> np.ndarray:
    """64 bits of all of these, each mixed in by a step and the finaliser of splitmix64."""
    hashed = start
    for value in more:
        hashed = (hashed ^ np.asarray(value).astype(np.uint64)) + GOLDEN
        hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashed = hashed ^ (hashed >> np.uint64(31))
    return hashed


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1 … start + length − 1 of each, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def _lists(values: np.ndarray | pa.Array, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values) if isinstance(values, np.ndarray) else values
    )
