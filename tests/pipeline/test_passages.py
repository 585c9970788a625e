"""Repeated paragraphs against a plain loop over Python strings."""

import itertools
import random
import re
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from test_near import document, run_rounds, words

from pipeline.dedup.passages import Passages
from pipeline.documents import DOCUMENT_SCHEMA


def found(rows, shards=1, partitions=1, **options):
    """Rows of the stage's output by id."""
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    cuts = np.linspace(0, len(rows), shards + 1).astype(int)
    stage = Passages(Passages.Config(documents_per_partition=-(-max(1, len(rows)) // partitions), **options))
    stage.rows = len(rows)
    outcomes = run_rounds(stage, [table.slice(a, b - a) for a, b in itertools.pairwise(cuts)])
    return {row["id"]: row for outcome in outcomes for row in outcome.kept.to_pylist()}


def expected(rows, least):
    """The same by dictionaries: id → (start, stop, first, documents)."""
    holders = defaultdict(list)
    for row in rows:
        start = 0
        for paragraph in row["text"].split("\n\n"):
            tokens = re.findall(r"\w+", paragraph.lower())
            if len(tokens) >= least:
                crawled = row["origin"]["crawl_date"]
                when = crawled.timestamp() if crawled else float("inf")
                holders[tuple(tokens)].append((when, row["id"], start, start + len(paragraph)))
            start += len(paragraph) + 2
    said = defaultdict(list)
    for places in holders.values():
        first, *others = sorted(places)
        for _, id, start, stop in others:
            said[id].append((start, stop, first[1], len({place[1] for place in places})))
    return {row["id"]: sorted(said[row["id"]]) for row in rows}


@pytest.mark.parametrize(("shards", "partitions"), [(1, 1), (4, 3), (9, 2)])
def test_every_repeated_paragraph_and_no_other(shards, partitions):
    rng = random.Random(7)
    pool = [" ".join(f"W{n}é{rng.randint(0, 9)}" for _ in range(rng.randint(1, 9))) for n in range(60)]
    rows = []
    for n in rng.sample(range(1000), 120):
        text = "\n\n".join(
            rng.choice([str.upper, str.lower, lambda x: f"“{x}.”", lambda x: x + "\n"])(rng.choice(pool))
            for _ in range(rng.randint(0, 8))
        )
        rows.append(document(f"{n:04d}", text, crawled=rng.choice([None, 2020, 2021])))
    result = found(rows, shards, partitions, min_words=4)
    told = {
        id: [(p["start"], p["stop"], p["first_in"], p["documents"]) for p in row["passages_repeated"]]
        for id, row in result.items()
    }
    assert told == expected(rows, 4) and sum(map(len, told.values())) > 100
    for row in rows:
        total = len(re.findall(r"\w+", row["text"]))
        share = result[row["id"]]["passages_repeated_share"]
        parts = [row["text"][start:stop] for start, stop, *_ in told[row["id"]]]
        if total:
            assert share == pytest.approx(len(re.findall(r"\w+", " ".join(parts))) / total)
        else:
            assert share is None


def test_the_earlier_crawl_has_it_first_and_short_ones_do_not_count():
    notice, title = words(0, 30), words(50, 60)
    rows = [
        document("a", f"{words(100, 140)}\n\n{notice}", crawled=2021),
        document("b", f"{notice}\n\n{title}\n\n{notice}", crawled=2020),
        document("c", f"{title}\n\n{words(200, 240)}"),
    ]
    result = found(rows)
    assert [p["first_in"] for p in result["a"]["passages_repeated"]] == ["b"]
    (itself,) = result["b"]["passages_repeated"]  # b repeats its own
    assert rows[1]["text"][itself["start"] : itself["stop"]] == notice and itself["start"] > 0
    assert itself["first_in"] == "b" and itself["documents"] == 2
    assert result["c"]["passages_repeated"] == [] and result["c"]["passages_repeated_share"] == 0
    assert result["a"]["passages_repeated_share"] == pytest.approx(30 / 70)


def test_no_documents_at_all():
    assert found([]) == {}
