"""Rows on their way from one round of a shuffle to the next: written by the unit that sends them, read in pieces.

A unit writes one file, an Arrow stream with the rows of one partition after those of another; where each begins stands
in the task's record. A receiver reads a piece of every sender's file, one range each, and no footer: with a thousand
senders and a hundred receivers there are a hundred thousand pieces, and to open a file for each cost more than the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import RunError

SAMPLE = (
    1000  # rows that tell whether compression is worth its time: most are hashes, which it makes no smaller
)
WORTH = 0.8  # of their size, at most


class Written(NamedTuple):
    """One file of rows that go on."""

    sha256: str
    size: int  # bytes
    rows: int
    header: int  # bytes of the schema, with which the file begins
    schema: str  # their sha256
    places: list[list[int]]  # of each partition's rows: [first byte, bytes], or [] where there are none


class Pieces(NamedTuple):
    """What one unit reads: pieces of files, all of one schema, which stands at the head of the first of `files`."""

    files: list[str]
    header: int
    places: list[tuple[int, int, int]]  # (which file, first byte, bytes)


def write(path: str, rows: pa.Table, partitions: int) -> Written:
    """The rows by their int32 column `partition`, those of one partition in their order. Raises `RunError`."""
    # Rows may be large: a table of two parts is not put together first.
    batches = (rows if rows["partition"].num_chunks <= 4 else rows.combine_chunks()).to_batches()
    parts = [_by_partition(batch, partitions) for batch in batches]
    schema = rows.schema.remove(rows.schema.get_field_index("partition"))
    header = schema.serialize()
    samples = [part.slice(0, SAMPLE) for part, _ in parts]
    compressed, plain = (_stream(schema, samples, codec).size for codec in ("lz4", None))
    codec = "lz4" if compressed < WORTH * plain else None
    sink, places = pa.BufferOutputStream(), list[list[int]]()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        for partition in range(partitions):
            before = max(sink.tell(), header.size)  # which is written with the first batch
            for part, starts in parts:
                start, stop = starts[partition : partition + 2]
                if stop > start:
                    writer.write_batch(part.slice(start, stop - start))
            size = sink.tell() - before
            places.append([before, size] if size > 0 else [])
    data = memoryview(sink.getvalue())
    storage.write_bytes(path, data)
    sha256, of_schema = (hashlib.sha256(part).hexdigest() for part in (data, header))
    return Written(sha256, len(data), rows.num_rows, header.size, of_schema, places)


def read(pieces: Pieces) -> pa.Table:
    """The rows of all pieces, in their order; with none, the empty table. Raises `RunError` naming the damaged file."""
    path = pieces.files[0]
    try:
        parts = [storage.read_range(path, 0, pieces.header)]
        for file, start, size in pieces.places:
            path = pieces.files[file]
            parts.append(storage.read_range(path, start, size))
        # A schema and batches, one after the other, are a stream. Threads would cost ten times what small batches do.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        return pa.ipc.open_stream(pa.py_buffer(b"".join(parts)), options=options).read_all()
    except MemoryError:  # Arrow's is one of ArrowException too, and no damage
        raise
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"cannot read {path}, rows between two rounds: {error}. Delete it and run the same command again."
        ) from None


def _by_partition(rows: pa.RecordBatch, partitions: int) -> tuple[pa.RecordBatch, list[int]]:
    """The rows without their partition, sorted by it, and where in them each partition begins, with the end."""
    partition = rows["partition"].to_numpy()
    if len(partition) and not 0 <= partition.min() <= partition.max() < partitions:
        raise RunError(
            f"sends rows to partitions {partition.min()} to {partition.max()}; there are {partitions}, counted from 0"
        )
    rows = rows.drop_columns(["partition"])
    if (partition[1:] < partition[:-1]).any():
        order = np.argsort(partition, kind="stable")
        partition, rows = partition[order], rows.take(pa.array(order))
    return rows, np.searchsorted(partition, np.arange(partitions + 1)).tolist()


def _stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch], codec: str | None) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()
