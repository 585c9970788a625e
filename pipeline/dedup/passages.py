"""Passages that stand in several documents: paragraphs of equal words, whatever the documents around them are.

What near-duplicates leave behind: licences, notices, menus in prose, questions quoted in many answers. Nothing is cut;
the columns say where such a passage stands and which document has it first, and the policy may look at their share.
Lee et al., "Deduplicating Training Data Makes Language Models Better" (ACL 2022), look for repeated substrings of any
place; paragraphs are found without a suffix array, in one shuffle, and are what a reader would call the same.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.dedup import minhash
from pipeline.stage import Outcome, Round, ShuffleStage, StageConfig, Unit

SEPARATOR = "\n\n"
PASSAGE = pa.struct(
    [
        pa.field("start", pa.int32()),  # characters into the text
        pa.field("stop", pa.int32()),
        pa.field("first_in", pa.string()),  # id of the document that has it first
        pa.field("documents", pa.int32()),  # how many have it
    ]
)


class PassagesConfig(StageConfig):
    min_words: Annotated[int, Field(ge=1)] = Field(
        25, description="words from which a paragraph is looked for elsewhere"
    )
    documents_per_partition: Annotated[int, Field(ge=1)] = Field(
        50_000, description="how many documents' paragraphs a worker holds at a time, 64 bytes each"
    )


class Passages(ShuffleStage):
    """Of every document the paragraphs that another one has first, and the share of its words in them.

    First is the earlier crawl, then the smaller id; a document without a date comes last. A paragraph that a document
    itself repeats counts from its second time on.
    """

    name = "passages"
    output = "passages"
    input = ("documents",)
    libraries = ("numba",)
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("passages_repeated", pa.list_(PASSAGE), nullable=False),
            pa.field("passages_repeated_share", pa.float32()),  # of words; null = a text without words
        ]
    )
    Config: ClassVar[type[StageConfig]] = PassagesConfig

    @property
    def rounds(self) -> tuple[Round, ...]:  # type: ignore[override]
        parts = -(-max(1, self.rows) // self.config.documents_per_partition)
        return (
            Round("hash", "shards", parts, reads=("id", "text", "origin")),
            Round("meet", "partitions", "shards"),
            Round("align", "shards", None, reads=("id", "text")),
        )

    def files(self) -> dict[str, str]:
        """Not files, but the result hangs on them as on a file: our hashes and Python's tables of Unicode."""
        return {"minhash algorithm": str(minhash.ALGORITHM), "unicode": unicodedata.unidata_version}

    def hash(self, unit: Unit) -> pa.Table:
        """Every long paragraph's hash, with what decides which document has it first."""
        assert unit.table is not None
        table = unit.table
        row, number, words, hashes = _paragraphs(table["text"])
        long = words >= self.config.min_words
        row, number, hashes = row[long], number[long], hashes[long]
        date = pc.struct_field(table["origin"].combine_chunks(), "crawl_date").cast(pa.int64())
        when = date.fill_null(np.iinfo(np.int64).max).to_numpy()
        return pa.table(
            {
                "partition": pa.array(
                    ((hashes >> np.uint64(32)) * np.uint64(unit.to) >> np.uint64(32)).astype(np.int32)
                ),
                "hash": pa.array(hashes),
                "when": pa.array(when[row]),
                "id": table["id"].take(pa.array(row)).combine_chunks(),
                "shard": pa.array(np.full(len(row), unit.index, np.int32)),
                "row": pa.array(row.astype(np.int32)),
                "number": pa.array(number.astype(np.int32)),
            }
        )

    def meet(self, unit: Unit) -> pa.Table:
        """To every paragraph but the first of its words: where that one stands, and in how many documents there is one."""
        assert unit.routed is not None
        rows = unit.routed
        hashes, when, number = (rows[name].to_numpy() for name in ("hash", "when", "number"))
        rank = pc.rank(rows["id"].cast(pa.large_string()), tiebreaker="dense").to_numpy().astype(np.int64)
        order = np.lexsort((number, rank, when, hashes))
        new = np.diff(hashes[order], prepend=~hashes[order[:1]]) != 0
        group = np.cumsum(new) - 1
        first = order[np.flatnonzero(new)]
        documents = np.bincount(
            group[new | (np.diff(rank[order], prepend=-1) != 0)], minlength=len(first)
        )  # of one document its paragraphs stand together
        again = order[~new]
        group = group[~new]
        return pa.table(
            {
                "partition": rows["shard"].take(pa.array(again)).combine_chunks(),
                "row": rows["row"].take(pa.array(again)).combine_chunks(),
                "number": rows["number"].take(pa.array(again)).combine_chunks(),
                "first_in": rows["id"].take(pa.array(first[group])).combine_chunks(),
                "documents": pa.array(documents[group].astype(np.int32)),
            }
        )

    def align(self, unit: Unit) -> Outcome:
        """The repeated paragraphs of every document of this shard, from its beginning to its end."""
        assert unit.table is not None and unit.routed is not None
        table = unit.table
        row, _, words, _ = _paragraphs(table["text"])
        start, stop = _places(table["text"])
        first_of_row = np.searchsorted(row, np.arange(len(table)))
        said = unit.routed.sort_by([("row", "ascending"), ("number", "ascending")])
        at = first_of_row[said["row"].to_numpy()] + said["number"].to_numpy()
        counts = np.bincount(said["row"].to_numpy(), minlength=len(table))
        passages = pa.StructArray.from_arrays(
            [
                pa.array(start[at].astype(np.int32)),
                pa.array(stop[at].astype(np.int32)),
                said["first_in"].combine_chunks(),
                said["documents"].combine_chunks(),
            ],
            fields=list(PASSAGE),
        )
        offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
        total = np.bincount(row, weights=words, minlength=len(table))
        repeated = np.bincount(row[at], weights=words[at], minlength=len(table))
        share = pa.array((repeated / np.maximum(total, 1)).astype(np.float32), mask=total == 0)
        return Outcome(
            pa.Table.from_arrays(
                [table["id"], pa.ListArray.from_arrays(offsets, passages), share], schema=self.schema
            )
        )


def _paragraphs(texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of every paragraph: the row of its text, its number there, its words and their hash."""
    lists = pc.split_pattern(texts.cast(pa.large_string()).combine_chunks(), SEPARATOR)
    row = pc.list_parent_indices(lists).to_numpy()
    _, words, hashes = minhash.signed(pc.list_flatten(lists), 1, 1)
    return row, np.arange(len(row)) - np.searchsorted(row, row), words, hashes


def _places(texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Where every paragraph starts and stops in its text, in characters."""
    lists = pc.split_pattern(texts.cast(pa.large_string()).combine_chunks(), SEPARATOR)
    row = pc.list_parent_indices(lists).to_numpy()
    length = pc.utf8_length(pc.list_flatten(lists)).to_numpy().astype(np.int64)
    end = np.cumsum(length + len(SEPARATOR))
    begin = end - length - len(SEPARATOR)
    start = begin - begin[np.searchsorted(row, row)]
    return start, start + length
