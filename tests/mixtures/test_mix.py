"""Mixtures against plain arithmetic, the documents themselves, and any cut into shards."""

import io
import math
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from small_runs import bytes_of, rows_of, run, run_rounds, write_dataset

from mixtures.mix import Mix
from mixtures.packing import best_fit
from mixtures.shares import token_count
from mixtures.table import mixture_table, planned_and_realised
from mixtures.tokens import SCHEMA
from pipeline.errors import RequestError
from pipeline.runner import RunOptions

END = 7  # the end-of-text id of the test's tokenizer
STAGES = [
    {"name": "stage1", "tokens": "60K", "context": 64, "factors": {"low": 0.25, "maths": 2}},
    {
        "name": "stage2",
        "tokens": 30_000,
        "context": 64,
        "like": "stage1",
        "shares": {"maths": 0.4, "code": 0.3},
    },
    {"name": "stage3", "tokens": "0.02M", "context": 256, "like": "stage2", "shares": {"answers": 0.1}},
]


def corpus(sizes=(("maths", 500), ("code", 400), ("low", 300), ("technical", 600), ("answers", 200)), seed=0):
    """Documents by id: {group, weight, tokens}; lengths as in life, most short and few very long."""
    rng = np.random.default_rng(seed)
    documents = {}
    for group, count in sizes:
        for _ in range(count):
            length = min(6000, 1 + int(rng.lognormal(4.3, 1.1)))
            tokens = [*rng.integers(10, 30_000, length).tolist(), END]
            weight = 1.0 if group == "answers" else float(rng.choice([0.5, 1.0, 2.7]))
            documents[f"{rng.integers(1 << 62):016x}"] = {"group": group, "weight": weight, "tokens": tokens}
    return documents


def tables(documents, shards=1):
    rows = [{"id": id, **document} for id, document in documents.items()]
    cuts = np.array_split(np.arange(len(rows)), shards)
    return [pa.Table.from_pylist([rows[i] for i in cut], schema=SCHEMA) for cut in cuts]


def mixed(documents, stages=STAGES, shards=3, **config):
    """Rows of the mixture, in this process, and what the round `draw` sent to `pack`."""
    stage = Mix(Mix.Config(stages=stages, **{"tokens_per_shard": "20K"} | config))
    stage.end_of_text = END
    results = run_rounds(stage, tables(documents, shards))
    return [row for table in results[-1] for row in table.to_pylist()], pa.concat_tables(results[-2])


def segments(rows):
    """(stage, sequence, document, group, start, tokens) of each."""
    for row in rows:
        place = 0
        for parts in zip(row["documents"], row["groups"], row["starts"], row["lengths"], strict=True):
            yield row["stage"], row["id"], *parts[:3], row["tokens"][place : place + parts[3]]
            place += parts[3]


def drawn_tokens(rows):
    """stage → group → tokens."""
    counts = defaultdict(Counter)
    for stage, _, _, group, _, tokens in segments(rows):
        counts[stage][group] += len(tokens)
    return counts


def seen(rows, documents):
    """document → how often each of its tokens is in the mixture."""
    counts = {id: np.zeros(len(document["tokens"]), int) for id, document in documents.items()}
    for _, _, id, _, start, tokens in segments(rows):
        counts[id][start : start + len(tokens)] += 1
    return counts


@pytest.fixture(scope="module")
def documents():
    return corpus()


@pytest.fixture(scope="module")
def mixture(documents):
    return mixed(documents)


def test_shares_are_those_of_plain_arithmetic(documents, mixture):
    natural = Counter()
    for document in documents.values():
        natural[document["group"]] += len(document["tokens"])
    factors = {"low": 0.25, "maths": 2, "code": 1, "technical": 1}
    whole = sum(natural[group] * factor for group, factor in factors.items())
    one = {group: natural[group] * factor / whole for group, factor in factors.items()}
    others = one["low"] + one["technical"]
    two = {
        "maths": 0.4,
        "code": 0.3,
        "low": 0.3 * one["low"] / others,
        "technical": 0.3 * one["technical"] / others,
    }
    three = {group: share * 0.9 for group, share in two.items()} | {"answers": 0.1}
    found = drawn_tokens(mixture[0])
    for (name, budget), shares in zip(
        {"stage1": 60_000, "stage2": 30_000, "stage3": 20_000}.items(), (one, two, three), strict=True
    ):
        assert set(found[name]) == set(shares)
        assert sum(found[name].values()) == pytest.approx(budget, rel=0.01)
        for group, share in shares.items():
            # one block is the least that a group can be off by; half of one on either side
            assert found[name][group] == pytest.approx(budget * share, abs=max(0.01 * budget * share, 160)), (
                name,
                group,
            )


def test_every_segment_is_a_slice_of_its_document_and_the_rest_is_padding(documents, mixture):
    rows, _ = mixture
    contexts = {stage["name"]: stage["context"] for stage in STAGES}
    numbers = Counter()
    for row in rows:
        shard, number = row["id"].split(":")
        assert int(number) == numbers[shard] and shard.startswith(row["stage"])
        numbers[shard] += 1
        used = sum(row["lengths"])
        assert len(row["tokens"]) == contexts[row["stage"]] >= used and min(row["lengths"]) > 0
        assert set(row["tokens"][used:]) <= {END}
    for stage, _, id, group, start, tokens in segments(rows):
        document = documents[id]
        assert tokens == document["tokens"][start : start + len(tokens)] and group == document["group"]
        whole = start == 0 and len(tokens) == len(document["tokens"])
        to_the_end = start + len(tokens) == len(document["tokens"])
        assert whole or (
            len(document["tokens"]) > contexts[stage] and (len(tokens) == contexts[stage] or to_the_end)
        )
    assert set(numbers) == {
        "stage1-00000",
        "stage1-00001",
        "stage1-00002",
        "stage2-00000",
        "stage2-00001",
        "stage3-00000",
    }


def test_what_was_drawn_is_what_was_packed(mixture):
    rows, sent = mixture
    packed = Counter((id, start, len(tokens)) for _, _, id, _, start, tokens in segments(rows))
    drawn = Counter((row["id"], row["start"], len(row["tokens"])) for row in sent.to_pylist())
    assert packed == drawn and sum(drawn.values()) > 1500


def test_there_is_little_padding(mixture):
    room, used = Counter(), Counter()
    for row in mixture[0]:
        room[row["stage"]] += len(row["tokens"])
        used[row["stage"]] += sum(row["lengths"])
    assert all(used[stage] / room[stage] > 0.97 for stage in room)


def test_sequences_are_in_random_order(mixture):
    lengths = [len(row["lengths"]) for row in mixture[0] if row["stage"] == "stage1"]
    halves = np.array_split(
        lengths, 2
    )  # best-fit begins with the longest pieces: unshuffled, the halves would differ
    assert np.mean(halves[0]) == pytest.approx(np.mean(halves[1]), rel=0.25)


def test_nothing_is_repeated_before_all_was_seen():
    documents = corpus([("a", 300)])
    for document in documents.values():
        document["weight"] = 1.0
    whole = sum(len(document["tokens"]) for document in documents.values())
    stages = [{"name": f"s{n}", "tokens": round(0.45 * whole), "context": 64} for n in range(4)]
    for upto, allowed in ((2, {0, 1}), (4, {1, 2})):  # 0.9 and 1.8 epochs
        rows, _ = mixed(documents, stages[:upto])
        counts = np.concatenate(list(seen(rows, documents).values()))
        assert set(counts) == allowed and counts.mean() == pytest.approx(0.45 * upto, rel=0.01)


def test_documents_are_drawn_in_proportion_to_their_weight():
    documents = corpus([("a", 4000)], seed=5)
    for id in list(documents)[:5]:
        documents[id]["weight"] = 0.0
    whole = sum(len(document["tokens"]) for document in documents.values())
    rows, _ = mixed(documents, [{"name": "one", "tokens": whole // 2, "context": 64}])
    counts = seen(rows, documents)
    mean = {}
    for weight in (0.0, 0.5, 1.0, 2.7):
        of_weight = np.concatenate([counts[id] for id, d in documents.items() if d["weight"] == weight])
        mean[weight] = of_weight.mean()
        rate = mean[weight]
        assert set(of_weight) <= {math.floor(rate), math.ceil(rate)}
    assert mean[0.0] == 0 and mean[1.0] / mean[0.5] == pytest.approx(2, rel=0.06)
    assert mean[2.7] / mean[1.0] == pytest.approx(2.7, rel=0.06)


def test_caps_hold_over_all_stages_and_the_others_fill_in(documents, caplog):
    rows, _ = mixed(documents, max_epochs=2, max_epochs_of={"answers": 3, "low": 1}, stages=[
        {"name": "one", "tokens": "100K", "context": 64, "factors": {"low": 20, "answers": 1}},
        {"name": "two", "tokens": "100K", "context": 128, "like": "one", "shares": {"low": 0.5, "maths": 0.25}},
    ])  # fmt: skip
    caps = {"answers": 3, "low": 1}
    counts = seen(rows, documents)
    for id, document in documents.items():
        assert counts[id].max() <= caps.get(document["group"], 2)
        if document["group"] == "low":
            assert (counts[id] == 1).all()  # all there was
    assert all(
        sum(stage.values()) == pytest.approx(100_000, rel=0.01) for stage in drawn_tokens(rows).values()
    )
    two = drawn_tokens(rows)["two"]
    natural = Counter()
    for document in documents.values():
        natural[document["group"]] += len(document["tokens"])
    assert "low" not in two  # used up by stage one; its half goes to the others by their shares
    rest = natural["code"] + natural["technical"] + natural["answers"]
    assert two["maths"] == pytest.approx(50_000, rel=0.01)
    for group in ("code", "technical", "answers"):
        assert two[group] == pytest.approx(50_000 * natural[group] / rest, abs=200)
    assert "one: low is short" in caplog.text and "two: low is short: 0 of 50,000" in caplog.text


def test_when_all_is_used_up_the_stage_is_short(documents, caplog):
    rows, _ = mixed(
        documents, [{"name": "one", "tokens": "1B", "context": 64}], max_epochs=1, tokens_per_shard="0.5B"
    )
    counts = seen(rows, documents)
    assert all((counts[id] == (d["group"] != "answers")).all() for id, d in documents.items())
    assert "one: maths is short" in caplog.text


def test_one_giant_does_not_spoil_a_share():
    documents = corpus([("a", 100), ("b", 100)])
    documents["giant"] = {"group": "a", "weight": 1.0, "tokens": [*range(10, 60_010), END]}
    rows, _ = mixed(documents, [{"name": "one", "tokens": 20_000, "context": 64, "factors": {"a": 0.2}}])
    a = sum(len(d["tokens"]) for d in documents.values() if d["group"] == "a") * 0.2
    b = sum(len(d["tokens"]) for d in documents.values() if d["group"] == "b")
    assert drawn_tokens(rows)["one"]["a"] == pytest.approx(20_000 * a / (a + b), abs=64)


def test_another_seed_is_another_draw_of_the_same_shares(documents, mixture):
    rows, _ = mixed(documents, seed=1)
    assert [row["documents"] for row in rows] != [row["documents"] for row in mixture[0]]
    one, other = drawn_tokens(mixture[0])["stage1"], drawn_tokens(rows)["stage1"]
    assert all(one[group] == pytest.approx(other[group], abs=260) for group in one)  # a block off


@pytest.mark.parametrize("capacity", [1, 2, 7, 64, 100])
def test_packing_against_a_search_through_all_sequences(capacity):
    rng = np.random.default_rng(capacity)
    for count in (0, 1, 50, 400):
        lengths = np.minimum(1 + rng.geometric(3 / capacity if capacity > 3 else 0.9, count), capacity)
        rooms = []
        for piece in sorted(range(count), key=lambda i: -lengths[i]):
            fits = [room for room in rooms if room >= lengths[piece]]
            if not fits:
                rooms.append(capacity)
                fits = [capacity]
            rooms[rooms.index(min(fits))] -= lengths[piece]
        sequences = best_fit(lengths, capacity)
        used = np.bincount(sequences, weights=lengths)
        assert sorted(capacity - used) == sorted(rooms)
    with pytest.raises(ValueError, match="do not fit"):
        best_fit(np.array([capacity + 1]), capacity)


def write_run(folder, documents, shards, answers=True):
    vocabulary = {"<|endoftext|>": END, "a": 0}
    json = (
        '{"version":"1.0","added_tokens":[{"id":7,"content":"<|endoftext|>","single_word":false,"lstrip":false,'
        '"rstrip":false,"normalized":false,"special":true}],"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}'
    )
    row = {
        "id": "tokenizer",
        "tokenizer_json": json,
        "vocabulary": len(vocabulary),
        "end_of_text": END,
        "sha256": "",
    }
    write_dataset(folder, "tokenizer", [pa.Table.from_pylist([row])])
    for name, wanted in (("tokens", False), ("answer_tokens", True)):
        of_kind = {id: d for id, d in documents.items() if (d["group"] == "answers") == wanted}
        if of_kind and (answers or not wanted):
            write_dataset(folder, name, tables(of_kind, shards if name == "tokens" else 2))


def test_any_workers_and_any_cut_give_the_same_bytes(tmp_path, documents, mixture):
    config = Mix.Config(stages=STAGES, tokens_per_shard="20K")
    made = []
    order = np.random.default_rng(1).permutation(list(documents)).tolist()
    for workers, shards, ids in ((1, 1, list(documents)), (2, 5, order), (3, 9, order[::-1])):
        folder = tmp_path / str(workers)
        write_run(folder, {id: documents[id] for id in ids}, shards)
        options = RunOptions(workers=workers, quiet=True) if workers != 2 else None  # two of them last
        (summary,) = run(folder, Mix(config), options=options)
        made.append(bytes_of(folder, "mixture"))
        assert summary.kept == len(mixture[0])
    assert made[0] == made[1] == made[2] and len(made[0]) == 6
    assert rows_of(tmp_path / "3", "mixture") == mixture[0]

    # … and the table says what is in the shards
    table = planned_and_realised(str(tmp_path / "3"))
    found = drawn_tokens(mixture[0])
    natural = Counter()
    for document in documents.values():
        natural[document["group"]] += len(document["tokens"])
    for stage in STAGES:
        name, context = stage["name"], stage["context"]
        rows = [row for row in mixture[0] if row["stage"] == name]
        budget = token_count(stage["tokens"])
        *groups, whole = [row for row in table if row.stage == name]
        assert {row.group: row.realised_tokens for row in groups} == found[name] and whole.group is None
        assert whole.sequences == len(rows) and whole.realised_tokens == sum(found[name].values())
        assert whole.padding == pytest.approx(1 - whole.realised_tokens / (len(rows) * context))
        for row in groups:
            assert row.documents == len({s[2] for s in segments(rows) if s[3] == row.group})
            assert row.epochs == pytest.approx(row.realised_tokens / natural[row.group])
            assert row.planned_tokens == pytest.approx(row.asked_share * budget, abs=1)
            assert row.realised_tokens == pytest.approx(row.planned_tokens, abs=160)
    console = Console(width=160, file=io.StringIO())
    console.print(mixture_table(str(tmp_path / "3")))
    printed = console.file.getvalue()
    assert all(f"{row.realised_tokens:,}" in printed and row.stage in printed for row in table)


def test_wrong_requests_say_what_to_do(tmp_path, documents):
    one = STAGES[0]
    for wrong, message in (
        ([one, one], "two stages have the same name"),
        ([STAGES[1]], r"stage2 is like stage1, which is no stage before it"),
        ([one | {"like": "x"}], "give `factors`, or `like`"),
        ([{"name": "a", "tokens": 5, "context": 8, "shares": {"b": 0.5}}], "name it with `like`"),
        ([one, STAGES[1] | {"shares": {"a": 0.6, "b": 0.5}}], "add up to 1.1"),
        ([one | {"tokens": "many"}], "'many' is no number of tokens; write e.g. 700K"),
        ([one | {"tokens": 0}], "no number of tokens"),
        ([one | {"factors": {"a": -1}}], "greater than or equal to 0"),
        ([one | {"epochs": 3}], "Extra inputs"),
        ([], "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Mix.Config(stages=wrong)
    unknown = [one, STAGES[1] | {"shares": {"physics": 0.1}}]
    with pytest.raises(RequestError, match=r"stage2 asks for a share of physics.*answers \(.*code \(.*maths"):
        mixed(documents, unknown)
    with pytest.raises(RequestError, match="stage1 has nothing to draw from"):
        mixed(documents, [one | {"factors": dict.fromkeys(["maths", "code", "low", "technical"], 0)}])
    # Through the runner it is the same sentence.
    write_run(tmp_path, documents, 2, answers=False)
    with pytest.raises(RequestError, match=r"stage3 asks for a share of answers.*code"):
        run(tmp_path, Mix(Mix.Config(stages=STAGES)))


def test_a_factor_for_nothing_is_said(documents, caplog):
    mixed(documents, [STAGES[0] | {"factors": {"physics": 3}}])
    assert "a factor for physics, but no document is in that group" in caplog.text


def test_token_counts():
    given = {
        "700K": 700_000,
        "1.5M": 1_500_000,
        "8.4 B": 8_400_000_000,
        "10.2T": 10_200_000_000_000,
        12: 12,
        "34": 34,
    }
    assert {text: token_count(text) for text in given} == given
    for wrong in ("", "K", "-3", "1e5", "3 x", 0, -1, None, True):
        with pytest.raises(ValueError):
            token_count(wrong)
