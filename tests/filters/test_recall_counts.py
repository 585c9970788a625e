"""What a round of active recall counts, worked by hand, and which hosts are rich. (The loop: reasonmill/test_recall.py.)"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy.stats import binomtest

from filters.taxonomy.label import labelled
from filters.taxonomy.pool import HOST
from filters.taxonomy.recall import count_round, lower_bound, table
from filters.taxonomy.rubric import Dimension
from pipeline import view
from tests.mixtures.small_runs import write_dataset

DIMENSIONS = (
    Dimension("depth", ("none", "some", "much"), ordinal=True, first=1),
    Dimension("domain", ("maths", "other"), ordinal=False),
    Dimension("right", ("no", "yes"), ordinal=True, first=1),  # a score is a probability, a label from 1 to 2
)
GOOD = "score_depth >= 2.5 AND score_domain = 'maths' AND score_right > 0.5"
# host: documents, how many of them are good by score. Of each the first are.
HOSTS = {"rich.org": (20, 8), "poor.org": (40, 1), "tiny.org": (3, 3), "few.org": (10, 2), None: (7, 2)}
POOLED = {"rich.org": 5, "poor.org": 10, "few.org": 3, None: 2}  # the last of each
LABELLED_GOOD = {"rich.org": 4, "few.org": 1}  # of these the first, by label


def write_run(folder, good=HOSTS, pooled=POOLED, labelled_good=LABELLED_GOOD):
    """Documents with scores; some in the pool with probability 1/2, of poor.org 1/4, each with a label."""
    documents, scores, pool, labels = [], [], [], []
    for host, (count, good_here) in good.items():
        for n in range(count):
            id_, in_pool = f"{host}-{n:02d}", n - (count - pooled.get(host, 0))
            by_label = 0 <= in_pool < labelled_good.get(host, 0)
            url = host and (f"https://www.{host.title()}:443/{n}" if n % 2 else f"http://me@{host}?{n}")
            documents.append({"id": id_, "text": id_, "url": url})
            depth = 2.5 + n / 100 if n < good_here else 2.4
            scores.append({"id": id_, "score_depth": depth, "score_domain": "maths", "score_right": 0.9})
            pool.append(
                {
                    "id": id_,
                    "pool_probability": (0.25 if host == "poor.org" else 0.5) if in_pool >= 0 else None,
                }
            )
            if in_pool >= 0:
                # What is not good by label is deep but wrong, or right but not deep.
                depth, right = (2.6, 1.9) if by_label else (2.6, 1.2) if n % 2 else (1.0, 1.9)
                label = {
                    "source_id": id_,
                    "label_depth": depth,
                    "label_right": right,
                    "label_domain": "maths",
                }
                labels += [label | {"again": False}] + [label | {"again": True}] * (n % 2)
    scores[0]["score_domain"] = "other"  # rich.org: 7 are left
    write_dataset(folder, "documents", [pa.Table.from_pylist(documents)])
    write_dataset(folder, "scores", [pa.Table.from_pylist(scores)], describes="documents", aligned=True)
    write_dataset(folder, "pool", [pa.Table.from_pylist(pool)], describes="documents", aligned=True)
    write_dataset(folder, "labels", [pa.Table.from_pylist(labels)], describes="pool")


def count(run, number, **options):
    """The round, with a card on which depth's cut is at level 2."""
    folder = run / f"round-{number}"
    (folder / "tagger").mkdir(parents=True)
    at = [{"at_least": level, "auc": {"value": 0.9 + level / 100}, "ap": {"value": 0.5}} for level in (2, 3)]
    cut = {"at_least": 2, "recall": {"value": 0.9}, "precision": {"value": None}}
    of_depth = {"ordinal": True, "thresholds": at, "cut": cut}
    dimensions = {"depth": of_depth, "domain": {"ordinal": False}, "right": {"ordinal": True, "rows": 0}}
    (folder / "tagger" / "card.json").write_text(json.dumps({"dimensions": dimensions}))
    return count_round(str(run), folder, DIMENSIONS, good=GOOD, **options)


def test_two_rounds_by_hand(tmp_path):
    write_run(tmp_path)
    first = count(tmp_path, 0, documents=6, share=0.5)
    # 7 of rich.org, 1, 3, 2 and 2 of no host. 5 + 10 + 3 + 2 labels.
    assert (first["good"], first["new"], first["new_share"], first["lost"]) == (15, 15, 1.0, 0)
    assert (first["labelled"], first["labelled_good"]) == (20, 5)
    assert (first["mined"], first["mined_good"], first["mined_missed"]) == (0, 0, 0)
    assert first["card"] == {
        "depth": {"at_least": 2, "auc": 0.92, "ap": 0.5, "recall": 0.9, "precision": None}
    }
    # Of rich.org 7 of 20: its lower bound is .18. Of few.org 2 of 10: .06. tiny.org is too small.
    assert first["hosts"] == {"rich": 1, "newly_rich": 1} and first["to_label"] == 6
    hosts = tmp_path / "round-0" / "hosts.parquet"
    (rich,) = parquet.read_table(hosts).to_pylist()
    # 15 of 20 are not in the pool: among the 8 with the lowest hashes we expect 6 of them.
    assert (
        rich | {"host": "rich.org", "total": 20, "good": 7, "labelled": 5, "documents": 8, "new": 6} == rich
    )
    # Then the pool has 6 more, the first 4 good by label, of which the tagger had called one good. The next tagger calls
    # 12 of rich.org good, 11 once the first is of another domain, and loses the one of poor.org and one of no host.
    again = tmp_path / "again"
    scores = HOSTS | {"rich.org": (20, 12), "poor.org": (40, 0), None: (7, 1)}
    write_run(again, scores, POOLED | {"rich.org": 14}, LABELLED_GOOD | {"rich.org": 3})
    earlier = [tmp_path / "round-0"]
    second = count(again, 1, documents=6, share=0.5, earlier=earlier, hosts=str(hosts))
    assert (second["good"], second["new"], second["lost"]) == (17, 4, 2)
    assert second["new_share"] == pytest.approx(4 / 17, abs=1e-4)
    # 9 are labelled since: rich.org's 6th to 14th; of these by label good: 6, 7, 8; and missed before: 8.
    assert (second["labelled"], second["mined"], second["mined_good"], second["mined_missed"]) == (
        29,
        9,
        3,
        1,
    )
    assert second["hosts"] == {"rich": 1, "newly_rich": 0}
    (rich,) = parquet.read_table(again / "round-1" / "hosts.parquet").to_pylist()
    # 8 are drawn. Of the other 12, 6 are not in the pool, and all of these are wanted.
    assert (rich["documents"], rich["new"]) == (20, 6)
    # A third round that finds what the first had found, and the second lost: nothing new.
    third = tmp_path / "third"
    write_run(third)
    found = count(third, 2, earlier=[*earlier, again / "round-1"], share=0.5)
    assert (found["good"], found["new"], found["lost"]) == (15, 0, 4)
    lines = table([first, second, found]).splitlines()
    assert lines[3].split("|")[1:5] == [" 1 ", " 29 ", " 0.920 ", " 0.500 "]
    assert lines[3].split("|")[7:9] == [" 17 ", " 4 (23.5%) "]


def test_recall_of_what_is_held_out_is_weighted(tmp_path):
    """rich.org and poor.org share a near-duplicate, so they are held out together, and few.org is too large for that.

    rich.org, each for 2: 5 good by score, 4 by label, all of them found. poor.org, each for 4: 1 by score, 3 by label.
    """
    scores = {"rich.org": (20, 20), "poor.org": (40, 32), "few.org": (30, 15)}
    pooled = {"rich.org": 5, "poor.org": 9, "few.org": 20}
    write_run(tmp_path, scores, pooled, {"rich.org": 4, "poor.org": 3, "few.org": 2})
    ids = [f"{host}-{n:02d}" for host, (total, _) in scores.items() for n in range(total)]
    of_cluster = {"rich.org-19": "one", "poor.org-39": "one"}
    clusters = pa.table({"id": ids, "dedup_cluster_id": [of_cluster.get(id_) for id_ in ids]})
    write_dataset(tmp_path, "dedup", [clusters], describes="documents", aligned=True)
    held_out = count(tmp_path, 0, share=0.4)["held_out"]
    assert held_out == {"rows": 14, "good": 7, "recall": 0.6, "precision": round(12 / 14, 4)}


def test_hosts_are_those_of_labels(tmp_path):
    write_run(tmp_path)
    hosts = {row["id"]: row["host"] for row in labelled(str(tmp_path)).to_pylist()}
    with view.connect(str(tmp_path)) as connection:
        ours = dict(connection.execute(f"SELECT id, coalesce({HOST}, id) FROM docs").fetchall())
    assert hosts == {id_: ours[id_] for id_ in hosts} and "rich.org" in hosts.values()


def test_the_lower_bound_is_wilson_s():
    cases = [(0, 1), (1, 1), (1, 9), (3, 10), (50, 400), (999, 1000)]
    peer = [binomtest(k, n).proportion_ci(0.95, method="wilson").low for k, n in cases]
    good, documents = np.array(cases).T
    assert lower_bound(good, documents) == pytest.approx(peer, abs=1e-6)
