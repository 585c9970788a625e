"""Rows between two rounds: every row arrives once, where it was sent, in its order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import passing
from pipeline.errors import RunError
from pipeline.passing import Pieces


def pieces_for(partition, files, written):
    places = [(number, *one.places[partition]) for number, one in enumerate(written) if one.places[partition]]
    return Pieces(files, written[0].header, places)


def table(partition, values):
    return pa.table(
        {
            "partition": pa.array(partition, pa.int32()),
            "value": pa.array(values, pa.int64()),
            "parts": pa.array(
                [[value] * (value % 3) if value % 5 else None for value in values], pa.list_(pa.int64())
            ),
            "name": pa.array([str(value) for value in values], pa.string()),
        }
    )


@given(st.data(), st.integers(1, 6))
def test_every_row_arrives_where_it_was_sent_in_its_order(tmp_path_factory, data, partitions):
    folder = tmp_path_factory.mktemp("passing")
    files, written, sent = [], [], []
    for unit in range(data.draw(st.integers(1, 3))):
        chunks = data.draw(st.lists(st.lists(st.integers(0, partitions - 1), max_size=9), max_size=6))
        parts = [
            table(where, [unit * 1000 + number * 100 + row for row in range(len(where))])
            for number, where in enumerate(chunks)
        ]
        rows = pa.concat_tables([table([], []), *parts])
        files.append(f"{folder}/{unit}.arrow")
        written.append(passing.write(files[-1], rows, partitions))
        assert written[-1].rows == len(rows)
        sent += zip(rows["partition"].to_pylist(), rows.drop_columns("partition").to_pylist(), strict=True)
    for partition in range(partitions):
        arrived = passing.read(pieces_for(partition, files, written))
        assert arrived.to_pylist() == [row for where, row in sent if where == partition]
        assert arrived.schema == table([], []).drop_columns("partition").schema


def test_rows_are_made_smaller_only_where_that_saves_something(tmp_path):
    size, zeros = 200_000, np.zeros(200_000, np.int32)
    random = np.random.default_rng(1).integers(0, 1 << 62, size)
    for values, at_most, at_least in ((random, 8.1, 8.0), (random % 4, 3.0, 0.1)):
        written = passing.write(f"{tmp_path}/a.arrow", pa.table({"partition": zeros, "value": values}), 1)
        assert at_least * size < written.size < at_most * size
        rows = passing.read(pieces_for(0, [f"{tmp_path}/a.arrow"], [written]))
        assert np.array_equal(rows["value"].to_numpy(), values)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_partition_that_there_is_not_is_refused(tmp_path, wrong):
    with pytest.raises(RunError, match=f"{wrong}.*there are 3"):
        passing.write(f"{tmp_path}/a.arrow", table([0, wrong, 1], [1, 2, 3]), 3)


def test_a_file_cut_short_is_named(tmp_path):
    file = tmp_path / "a.arrow"
    written = passing.write(str(file), table([0] * 9, range(9)), 1)
    for left in (written.size // 2, 10):
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(RunError, match=r"a\.arrow.*too early"):
            passing.read(pieces_for(0, [str(file)], [written]))


def test_a_file_on_another_filesystem(tmp_path):
    file = "memory://rounds/a.arrow"
    written = passing.write(file, table([1, 0, 1], [5, 6, 7]), 2)
    assert passing.read(pieces_for(1, [file], [written]))["value"].to_pylist() == [5, 7]
