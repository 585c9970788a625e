"""The pool's third draw: so many documents more of each host in a list. (The other draws: test_label.py.)"""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from filters.taxonomy.pool import HOST, Pool, either, inclusion, lowest
from pipeline.errors import RequestError
from tests.mixtures.small_runs import run_rounds

HOSTS = {"a.org": 40, "b.org": 25, "c.org": 9, None: 26}
SPREAD_OVER = {"long": "signal_words > 200"}


def corpus(seed=0):
    """100 documents: of three hosts, in a few spellings, and some without a URL."""
    random = np.random.default_rng(seed)
    hosts = [host for host, count in HOSTS.items() for _ in range(count)]
    forms = ["http://{}/{}", "https://www.{}:8080/{}", "HTTPS://user@{}?{}"]
    urls = [host and forms[n % 3].format(host.upper() if n % 2 else host, n) for n, host in enumerate(hosts)]
    return pa.table(
        {
            "id": [f"d{n:02d}" for n in range(100)],
            "url": pa.array(urls, pa.string()),
            "signal_words": random.lognormal(5, 1.5, 100).astype(np.int32),
            "signal_reasoning": random.random(100).astype(np.float32),
        }
    )


def drawn_of(shards, hosts=None, **options):
    stage = Pool(Pool.Config(strata=SPREAD_OVER, hosts=hosts and str(hosts), **options))
    rows = pa.concat_tables([outcome.kept for outcome in run_rounds(stage, shards)[-1]]).to_pylist()
    return {row["id"]: row["pool_probability"] for row in rows if row["pool_probability"] is not None}


def write_hosts(path, **counts):
    rows = [{"host": f"{name}.org", "documents": count, "why": "rich"} for name, count in counts.items()]
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def host_of(id_):
    return [host for host, count in HOSTS.items() for _ in range(count)][int(id_[1:])]


def test_a_list_only_adds_documents(tmp_path):
    documents = corpus()
    seed = drawn_of([documents], documents=20)
    few = drawn_of([documents], write_hosts(tmp_path / "few.jsonl", b=6, c=4), documents=20)
    more = drawn_of(
        [documents], write_hosts(tmp_path / "more.parquet", c=30, a=3, b=11, none=7), documents=20
    )
    assert seed.keys() < few.keys() < more.keys()
    assert {host_of(id_) for id_ in few.keys() - seed.keys()} == {"b.org", "c.org"}
    assert {id_ for id_ in more if host_of(id_) == "c.org"} == {
        f"d{n}" for n in range(65, 74)
    }  # there are but 9
    # By hand: out only if all three draws pass it over.
    for id_, p in few.items():
        third = {"b.org": 6 / 25, "c.org": 4 / 9}.get(host_of(id_), 0)
        if id_ in seed:
            assert p == pytest.approx(1 - (1 - seed[id_]) * (1 - third))
    assert all(p == 1 for id_, p in more.items() if host_of(id_) == "c.org")


def test_shards_and_kind_of_file_do_not_matter(tmp_path):
    documents = corpus()
    one = drawn_of([documents], write_hosts(tmp_path / "h.jsonl", a=9, b=5), documents=20)
    mixed = documents.take(np.random.default_rng(0).permutation(100))
    several = [mixed.slice(0, 30), mixed.slice(30, 0), mixed.slice(30)]
    assert drawn_of(several, write_hosts(tmp_path / "h.parquet", b=5, a=9), documents=20) == one


def test_documents_are_drawn_as_often_as_is_said():
    """Of 4,000 pools: how often each document is drawn, and what a host's good documents are estimated to be."""
    random = np.random.default_rng(3)
    stratum, host = np.repeat([0, 1], [160, 40]), np.arange(200) % 5
    good = (host == 1) & (np.arange(200) < 100)
    times, estimates = np.zeros(200), []
    for _ in range(4000):
        hashes = random.integers(0, 2**64, (3, 200), dtype=np.uint64)
        first = inclusion(stratum, hashes[0], hashes[1], 30, 0.25)
        drawn, probability = either(first, lowest(host, hashes[2], np.array([0, 7, 50, 1, 0])))
        times += drawn
        estimates.append((drawn / probability)[good].sum())
    assert (probability[host == 2] == 1).all() and (probability[host == 0] == first[1][host == 0]).all()
    deviation = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(times / 4000 - probability) <= 5 * deviation).all()
    assert np.mean(estimates) == pytest.approx(good.sum(), abs=5 * np.std(estimates) / 4000**0.5)


def test_weighted_pools_count_right_whatever_the_seed(tmp_path):
    """The stage itself, with 64 seeds: the mean of the weighted counts is the true count."""
    documents, hosts = corpus(), write_hosts(tmp_path / "h.jsonl", a=8, c=5)
    of_a = []
    for seed in range(64):
        drawn = drawn_of([documents], hosts, documents=16, seed=seed)
        of_a.append([sum(1 / p for id_, p in drawn.items() if host_of(id_) == host) for host in HOSTS])
    mean, error = np.mean(of_a, axis=0), np.std(of_a, axis=0) / 8
    assert (np.abs(mean - [*HOSTS.values()]) <= 4 * error).all(), (mean, error)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org/a", "example.org"),
        ("http://a.b.example.org:8080?x", "a.b.example.org"),
        ("https://user:word@www.example.org#x", "example.org"),
        ("https://[2001:DB8::1]:80/", "[2001:db8::1]"),
        ("https:///path", None),
        ("example.org/a", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts_by_hand(url, host):
    found = duckdb.execute(f"SELECT {HOST} FROM (SELECT CAST(? AS VARCHAR) AS url)", [url]).fetchone()
    assert found == (host,)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.jsonl", None, "cannot read the hosts .*none.jsonl: there is no such file"),
        ("h.jsonl", '{"host": "a"', "cannot read the hosts .*h.jsonl: JSON parse error"),
        ("h.parquet", "host", "cannot read the hosts .*h.parquet"),
        ("h.jsonl", '{"host": "a", "count": 1}', "h.jsonl: no field documents; expected host and documents"),
        ("h.jsonl", '{"host": "a", "documents": 1}\n{"documents": 1}', r"row 2 \(None, 1\): host: expected a name"),
        ("h.jsonl", '{"host": "a", "documents": -1}', r"row 1 \(a, -1\): documents: expected 0 or more"),
        ("h.jsonl", '{"host": "a", "documents": 1}\n{"host": "b"}', r"row 2 \(b, None\): documents"),
        ("h.jsonl", '{"host": "a", "documents": 1.5}', "cannot read the hosts .*1.5"),
        ("h.jsonl", '{"host": "a", "documents": 1}\n' * 2, r"row 2 \(a, 1\): host: it is given in an earlier row"),
    ],
)  # fmt: skip
def test_wrong_lists_are_named(tmp_path, name, text, told):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(RequestError, match=told):
        Pool(Pool.Config(hosts=str(file))).check(None)


def test_a_pool_knows_its_list(tmp_path):
    file = write_hosts(tmp_path / "h.jsonl", a=3)
    key = Pool(Pool.Config(hosts=str(file))).key()
    write_hosts(file, a=4)
    assert Pool(Pool.Config(hosts=str(file))).key() != key
    with pytest.raises(RequestError, match=r"pool: hosts: .*url.*Columns: id"):
        Pool(Pool.Config(strata={}, deciles_of="1", hosts=str(file))).check(pa.schema([("id", pa.string())]))
