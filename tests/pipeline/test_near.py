"""Near-duplicates against exact all-pairs comparison, hand-worked clusters, and any cut into shards."""

import datetime
import random
import re
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.dedup.graph import bucket_pairs, large_star, small_star
from pipeline.dedup.near import Dedup, DedupConfig
from pipeline.dedup.signatures import Signatures, SignaturesConfig
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError
from pipeline.stage import Repeat, Sent, Unit

ONE = SignaturesConfig(ngram=1)  # sets of words: similarities that one can count by hand


def run_rounds(stage, shards, tmp_path=None):
    """A shuffle stage in memory: each round's rows meet by `partition`, by source unit, then as emitted."""
    routed, sent = None, {}
    rounds = list(stage.rounds)
    repeated = 0
    while rounds:
        step = rounds.pop(0)
        if isinstance(step, Repeat):
            again = repeated == 0 or any(sent[one.name][1] for one in step.rounds)
            repeated += 1
            assert repeated < 20
            rounds = [*step.rounds, step, *rounds] if again else rounds
            continue
        count = len(shards) if step.over == "shards" else len(routed)
        results = []
        for index in range(count):
            table = shards[index] if step.over == "shards" else None
            also = {name: sent[name][0][index] for name in step.also}
            parts = len(shards) if step.to == "shards" else step.to or 0
            unit = Unit(index, table, routed[index] if routed else None, also, to=parts)
            results.append(getattr(stage, step.name)(unit))
        if step.to is None:
            return results
        again = any(isinstance(result, Sent) and result.again for result in results)
        tables = [result.rows if isinstance(result, Sent) else result for result in results]
        units = len(shards) if step.to == "shards" else step.to
        emitted = pa.concat_tables(tables)
        assert emitted.schema.field("partition").type == pa.int32()
        if tmp_path:  # what travels must survive the file format
            pq.write_table(emitted, tmp_path / "round.parquet")
            assert pq.read_table(tmp_path / "round.parquet").equals(emitted)
        where = emitted["partition"].to_numpy()
        assert ((where >= 0) & (where < units)).all()
        rows = emitted.drop_columns("partition")
        routed = [rows.filter(pa.array(where == index)) for index in range(units)]
        sent[step.name] = routed, again
    raise AssertionError("no last round")


def decide(documents, config=None, sizes=None, tmp_path=None, signatures=None):
    """Rows of the stage's output by id, for documents cut into shards of the given sizes."""
    table = (
        documents
        if isinstance(documents, pa.Table)
        else pa.Table.from_pylist(documents, schema=DOCUMENT_SCHEMA)
    )
    store = Signatures(signatures)
    beside = store.process(table).kept
    for name in beside.column_names[1:]:
        table = table.append_column(name, beside[name])
    stops = np.cumsum(sizes or [len(table)])
    shards = [table.slice(stop - size, size) for stop, size in zip(stops, sizes or [len(table)], strict=True)]
    stage = Dedup(config)
    stage.rows = len(table)
    stage.open_store(store.files(), store.config.model_dump())
    outcomes = run_rounds(stage, shards, tmp_path)
    for shard, outcome in zip(shards, outcomes, strict=True):
        assert outcome.kept.schema == stage.schema and not outcome.dropped and not outcome.failed
        assert outcome.kept["id"].to_pylist() == shard["id"].to_pylist()  # aligned
    return {row["id"]: row for outcome in outcomes for row in outcome.kept.to_pylist()}


def document(id, text, fidelity=1.0, crawled=None):
    return {
        "id": id,
        "parent_ids": [],
        "origin": {
            "source": "test",
            "path": id,
            "locator": "",
            "payload_sha256": "",
            "crawl_date": crawled and datetime.datetime(crawled, 1, 1, tzinfo=datetime.UTC),
        },
        "media_type": "text/plain",
        "text": text,
        "extraction": {"method": "verbatim", "fidelity": fidelity},
    }


def words(start, stop):
    return " ".join(f"w{i:03}" for i in range(start, stop))


def planted_corpus(rng, bases, copies):
    """Texts of random words, and copies of them with one stretch of words replaced; some texts are empty or short."""
    documents = []
    for base in range(bases):
        size = rng.randint(40, 300)
        original = [f"b{base}w{rng.randint(0, 5000)}" for _ in range(size)]
        documents.append(" ".join(original))
        for _ in range(rng.choice(copies)):
            replaced = int(size * rng.choice([0, 0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3]))
            at = rng.randint(0, size - replaced)
            middle = [f"n{rng.randint(0, 10**9)}" for _ in range(replaced + rng.choice([0, 0, 1]))]
            documents.append(" ".join(original[:at] + middle + original[at + replaced :]))
    documents += ["", "", " . ", "two words", "two words", "Two  words!", "only these"]
    ids = rng.sample(range(10**9), len(documents))
    rows = [
        document(f"{i:032x}", text, rng.choice([0.5, 0.9]), rng.choice([None, 2020, 2021]))
        for i, text in zip(ids, documents, strict=True)
    ]
    rng.shuffle(rows)
    return rows


def exact_pairs(rows, threshold, n=5):
    """All pairs of Jaccard ≥ threshold by an inverted index over Python sets: pair of ids → similarity."""
    sets = {}
    for row in rows:
        tokens = row["text"].replace(".", " ").replace("!", " ! ").lower().split()
        grams = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)} or (
            {tuple(tokens)} if tokens else set()
        )
        sets[row["id"]] = grams
    holders, common = defaultdict(list), defaultdict(int)
    for id, grams in sets.items():
        for gram in grams:
            holders[gram].append(id)
    for group in holders.values():
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                common[min(a, b), max(a, b)] += 1
    similarity = {(a, b): c / (len(sets[a]) + len(sets[b]) - c) for (a, b), c in common.items()}
    return {pair: jaccard for pair, jaccard in similarity.items() if jaccard >= threshold}


def clusters_of(pairs):
    """Connected components by repeated merging of Python sets, the simplest way there is."""
    cluster = {}
    for a, b in pairs:
        merged = cluster.get(a, {a}) | cluster.get(b, {b})
        for member in merged:
            cluster[member] = merged
    return cluster


@pytest.fixture(scope="module")
def corpus():
    return planted_corpus(random.Random(5), 700, [0, 1, 2, 3, 6])


@pytest.fixture(scope="module")
def decisions(corpus):
    return decide(corpus, sizes=[500] * (len(corpus) // 500) + [len(corpus) % 500])


def test_precision_is_one_and_recall_that_of_all_pairs(corpus, decisions):
    truth = exact_pairs(corpus, 0.8)
    cluster = clusters_of(truth)
    assert len(corpus) > 2000 and len(truth) > 1000 and sum(j < 0.9 for j in truth.values()) > 200
    for name, row in decisions.items():
        if row["dedup_of"] is not None:  # never linked to what the truth does not connect
            assert row["dedup_of"] in cluster[name]
            if row["dedup_jaccard"] is not None:
                pair = min(name, row["dedup_of"]), max(name, row["dedup_of"])
                assert row["dedup_jaccard"] == np.float32(truth[pair])
    together = sum(
        decisions[a]["dedup_cluster_id"] == decisions[b]["dedup_cluster_id"] is not None for a, b in truth
    )
    dropped = sum(row["dedup_of"] is not None for row in decisions.values())
    should = len(cluster) - len({id(group) for group in cluster.values()})
    assert together / len(truth) >= 0.97
    assert 0.97 <= dropped / should <= 1
    # Similarity to the kept document is told where there is a link, and only there.
    told = {name: row["dedup_jaccard"] for name, row in decisions.items() if row["dedup_of"]}
    direct = {
        name
        for name in told
        if (min(name, decisions[name]["dedup_of"]), max(name, decisions[name]["dedup_of"])) in truth
    }
    assert sum(told[name] is not None for name in direct) / len(direct) >= 0.97
    assert len(told) - len(direct) > 20 and all(told[name] is None for name in told.keys() - direct)


def test_the_columns_agree_with_each_other(corpus, decisions):
    by_id = {row["id"]: row for row in corpus}
    members = defaultdict(list)
    for row in decisions.values():
        members[row["dedup_cluster_id"]].append(row)
    alone = members.pop(None)
    assert len(alone) > 100 and all(row["dedup_cluster_size"] == 1 for row in alone)
    assert all(row["dedup_of"] is row["dedup_kept_because"] is row["dedup_jaccard"] is None for row in alone)
    for cluster_id, rows in members.items():
        ids = sorted(row["id"] for row in rows)
        assert cluster_id == ids[0] and {row["dedup_cluster_size"] for row in rows} == {len(ids)} != {1}
        (kept,) = (row for row in rows if row["dedup_of"] is None)
        assert all((row["dedup_of"] == kept["id"]) != (row is kept) for row in rows)
        assert all((row["dedup_kept_because"] is None) != (row is kept) for row in rows)

        def merit(id):  # the policy, written out: the smallest tuple is the best document
            document = by_id[id]
            crawled = document["origin"]["crawl_date"]
            return (
                -document["extraction"]["fidelity"],
                -len(re.findall(r"\w+|[^\w\s.]", document["text"])),
                crawled.timestamp() if crawled else np.inf,
                id,
            )

        best, second = sorted(map(merit, ids))[:2]
        assert kept["id"] == best[3]
        rules = ["extraction.fidelity highest", "minhash_words highest", "epoch(origin.crawl_date) lowest"]
        rules.append("smallest id")
        assert kept["dedup_kept_because"] == next(
            rule for rule, a, b in zip(rules, best, second, strict=True) if a != b
        )
    assert {row["dedup_kept_because"] for rows in members.values() for row in rows} == {None, *rules}


@pytest.mark.parametrize(("shards", "partitions"), [(1, 1), (2, 7), (7, 16), (40, 3)])
def test_decisions_do_not_depend_on_shards_their_order_or_partitions(
    corpus, decisions, shards, partitions, tmp_path
):
    rng = random.Random(shards)
    rows = rng.sample(corpus, len(corpus))
    cuts = sorted(rng.choices(range(len(rows) + 1), k=shards - 1))  # some may be empty
    sizes = np.diff([0, *cuts, len(rows)]).tolist()
    assert (
        decide(rows, DedupConfig(documents_per_partition=-(-len(rows) // partitions)), sizes, tmp_path)
        == decisions
    )


def test_the_threshold_is_met_exactly():
    rows = [document("a", words(0, 90)), document("b", words(10, 100))]  # 80 of 100 words
    assert decide(rows, signatures=ONE)["b"]["dedup_of"] == "a"
    assert decide(rows, signatures=ONE)["b"]["dedup_jaccard"] == np.float32(0.8)
    config = DedupConfig(threshold=0.8000001)
    assert decide(rows, config, signatures=ONE)["b"]["dedup_cluster_size"] == 1


def test_a_chain_is_one_cluster_and_says_where_similarity_is_unknown():
    # a–b and b–c share 90 of 110 words (0.818), a–c only 80 of 120 (0.667): c belongs to a through b.
    rows = [document("a", words(0, 100)), document("b", words(10, 110)), document("c", words(20, 120))]
    decided = decide(rows, signatures=SignaturesConfig(ngram=1, bands=60, rows=2))  # proposes every pair
    assert [decided[id]["dedup_of"] for id in "abc"] == [None, "a", "a"]
    assert decided["b"]["dedup_jaccard"] == pytest.approx(90 / 110) and decided["c"]["dedup_jaccard"] is None
    assert {row["dedup_cluster_size"] for row in decided.values()} == {3}
    assert decided["a"]["dedup_kept_because"] == "smallest id"


def test_copies_know_their_similarity_to_the_kept_one_through_their_twin():
    # x1…x3 have the same words, only x1 is compared with y; y is kept for its fidelity.
    rows = [document(f"x{i}", words(0, 90) + "." * i) for i in (1, 2, 3)]
    rows.append(document("y", words(0, 100), fidelity=1.0))
    rows[0]["extraction"]["fidelity"] = rows[1]["extraction"]["fidelity"] = 0.5
    rows[2]["extraction"]["fidelity"] = 0.6
    decided = decide(rows, sizes=[1, 1, 1, 1], signatures=ONE)
    assert [decided[id]["dedup_of"] for id in ("x1", "x2", "x3", "y")] == ["y", "y", "y", None]
    assert {row["dedup_jaccard"] for row in decided.values()} == {None, np.float32(0.9)}
    assert decided["y"]["dedup_kept_because"] == "extraction.fidelity highest"


def test_texts_without_words_are_never_duplicates():
    decided = decide([document("a", ""), document("b", ""), document("c", "..."), document("d", "...")])
    assert all(row["dedup_cluster_size"] == 1 for row in decided.values())


def test_no_documents_at_all():
    assert decide([], sizes=[0, 0]) == {}


def test_chinese_copies_are_found():
    rng = random.Random(1)
    text = "".join(chr(rng.randint(0x4E00, 0x5E00)) for _ in range(400))
    rows = [document("a", text), document("b", text[:200] + "，" + text[200:]), document("c", text[200:] * 2)]
    decided = decide(rows)
    assert [decided[id]["dedup_cluster_size"] for id in "abc"] == [2, 2, 1]


@pytest.mark.parametrize("cap", [2, 64])
def test_a_bucket_above_the_cap_is_compared_with_its_smallest_id(cap):
    # One band of one hash: all that share their smallest hash meet. Copies of equal words count once.
    rng = random.Random(2)
    rows = [document(f"{i:03}", words(0, 400) + f" x{i}") for i in range(30)]
    rows += [document(f"{i:03}", words(0, 400) + " x7") for i in range(30, 60)]
    rng.shuffle(rows)
    one_band = SignaturesConfig(ngram=1, bands=1, rows=1)
    store = Signatures(one_band)
    table = store.process(pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)).kept
    places, text = np.arange(len(rows)), table["minhash_text"].to_numpy()
    order = np.random.default_rng(1).permutation(len(rows)).astype(np.uint64)
    key = table["minhash_bands"].combine_chunks().flatten().to_numpy()
    assert len(np.unique(key)) == 1
    twins, pairs, left_out = bucket_pairs(key, np.zeros(len(rows), np.int16), text, order, places, cap)
    first = {}
    for row in np.argsort(order):
        first.setdefault(rows[row]["text"], row)
    assert sorted(map(tuple, twins.T)) == sorted(
        (first[row["text"]], n) for n, row in enumerate(rows) if first[row["text"]] != n
    )
    standing = list(first.values())
    if cap == 2:
        middle = min(standing, key=lambda row: order[row])
        wanted = {(row, middle) for row in standing if row != middle}
    else:
        wanted = {(a, b) for a in standing for b in standing if order[a] > order[b]}
    assert set(map(tuple, pairs.T)) == wanted and pairs.shape[1] == len(wanted)
    assert left_out == len(standing) * (len(standing) - 1) // 2 - len(wanted)
    decided = decide(rows, DedupConfig(bucket_cap=cap), signatures=one_band)
    assert {row["dedup_cluster_size"] for row in decided.values()} == {60}


@pytest.mark.parametrize("size", [3, 40, 400])
def test_twins_are_found_whatever_the_size_of_their_bucket(size):
    rng = np.random.default_rng(size)
    text = rng.integers(0, size // 3 + 1, size).astype(np.uint64)
    order = rng.permutation(size).astype(np.uint64)
    key, document = np.zeros(size, np.uint64), np.arange(size) * 7
    twins, pairs, _ = bucket_pairs(key, np.zeros(size, np.int16), text, order, document, 10_000)
    of = {value: min(np.flatnonzero(text == value), key=lambda row: order[row]) for value in np.unique(text)}
    assert set(map(tuple, twins.T)) == {
        (of[value] * 7, row * 7) for row, value in enumerate(text) if of[value] != row
    }
    assert pairs.shape[1] == len(of) * (len(of) - 1) // 2


@pytest.mark.parametrize("seed", range(12))
def test_stars_end_at_the_components_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 400))
    if seed < 4:  # a long path, whose far ends meet last
        left, right = rng.permutation(np.stack([np.arange(count - 1), np.arange(1, count)]), axis=1)
    else:
        left, right = rng.integers(0, count, (2, int(count * rng.uniform(0.2, 1.5))))
    left, right = left[left != right], right[left != right]
    parts = 3
    edges = np.stack([np.concatenate([left, right]), np.concatenate([right, left])])
    for _ in range(2 + 2 * int(np.log2(count))):
        sent = [large_star(*edges[:, edges[0] % parts == part]) for part in range(parts)]
        edges = np.concatenate([np.stack(one[:2]) for one in sent], axis=1)
        small = [small_star(*edges[:, edges[0] % parts == part]) for part in range(parts)]
        edges = np.concatenate([np.stack(one) for one in small], axis=1)
        edges = np.concatenate([edges, edges[::-1]], axis=1)
        if not any(again for *_, again in sent):
            break
    else:
        raise AssertionError("no end")
    label = np.arange(count)
    np.minimum.at(label, edges[0], edges[1])
    graph = csr_array((np.ones(len(left)), (left, right)), (count, count))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(component.max() + 1, count)
    np.minimum.at(smallest, component, np.arange(count))
    assert (label == smallest[component]).all()


def test_an_id_that_stands_twice_is_refused():
    rows = [document("a", words(0, 100)), document("b", words(200, 300)), document("a", words(400, 500))]
    with pytest.raises(RequestError, match=r"two documents have the id 'a': row 0 of input shard [01]"):
        decide(rows, sizes=[2, 1])


def test_signatures_of_another_algorithm_are_refused():
    stage = Dedup()
    with pytest.raises(RequestError, match=r"'minhash algorithm': '0'.*run `reasonmill signatures` again"):
        stage.open_store(stage.files() | {"minhash algorithm": "0"}, {"ngram": 5})


def test_keep_takes_any_expression_over_the_columns():
    rows = [document("a", words(0, 100)), document("b", words(0, 99)), document("c", words(0, 98))]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA).append_column(
        "score", pa.array([None, 1.5, 2.5])
    )
    keep = [("CASE WHEN score > 1 THEN 1 ELSE 0 END", "highest"), ("score", "lowest")]
    decided = decide(table, DedupConfig(keep=keep), [2, 1], signatures=ONE)
    assert [decided[id]["dedup_of"] for id in "abc"] == ["b", None, "b"]
    assert decided["b"]["dedup_kept_because"] == "score lowest"
    assert decide(table, DedupConfig(keep=[]), signatures=ONE)["a"]["dedup_kept_because"] == "smallest id"


@pytest.mark.parametrize("expression", ["count(*)", "max(length(text))", "unnest([1, 2])"])
def test_a_keep_expression_is_about_one_document(expression):
    rows = [document("a", words(0, 100)), document("b", words(0, 100))]
    with pytest.raises(RequestError, match=r"one number a document|alone"):
        decide(rows, DedupConfig(keep=[(expression, "highest")]))


def test_the_year_of_a_crawl_does_not_depend_on_where_it_is_asked(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    rows = [document("a", words(0, 100), crawled=2021), document("b", words(0, 100), crawled=2020)]
    rows[1]["origin"]["crawl_date"] = datetime.datetime(2020, 12, 31, 23, tzinfo=datetime.UTC)
    decided = decide(rows, DedupConfig(keep=[("year(origin.crawl_date)", "highest")]))
    assert decided["b"]["dedup_of"] == "a"  # in New York both are of 2020


@pytest.mark.parametrize(
    "expression", ["no_such_column", "origin.path", "length(text", "1; DROP TABLE documents"]
)
def test_a_wrong_keep_expression_is_named(expression):
    rows = [document("a", words(0, 100)), document("b", words(0, 100))]
    with pytest.raises(RequestError, match="keep expression") as error:
        decide(rows, DedupConfig(keep=[(expression, "highest")]))
    assert expression in str(error.value) and "extraction" in str(error.value)


def test_wrong_options_are_refused():
    for wrong in (
        {"threshold": 0},
        {"threshold": 1.5},
        {"bucket_cap": 1},
        {"keep": [("text", "best")]},
        {"cap": 3},
    ):
        with pytest.raises(ValueError):
            DedupConfig(**wrong)
