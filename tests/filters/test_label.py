"""Labelling: who is drawn and how likely, what is shown and asked, what an answer means, and what never is a label."""

from __future__ import annotations

import http.server
import json
import math
import re
import threading

import numpy as np
import pyarrow as pa
import pytest

from filters.signals import Signals
from filters.taxonomy.label import Label, labelled
from filters.taxonomy.pool import Pool, inclusion, spread
from filters.taxonomy.questions import GAP, answer_schema, instructions, read_labels, windows
from filters.taxonomy.rubric import load_rubric
from pipeline import ledger
from pipeline.client import Answer, Choice, TokenLogprob
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError
from pipeline.progress import StageProgress
from tests.mixtures.small_runs import reasons_of, rows_of, run, run_rounds, write_dataset

RUBRIC = """
name = "small"
version = "1"

[[dimension]]
name = "domain"
question = "What about?"
level = [{name = "maths", meaning = "numbers"}, {name = "code", meaning = "programs"}]

[[dimension]]
name = "depth"
question = "How deep is the reasoning?"
first = 1
level = [{meaning = "none", examples = ["a list"]}, {meaning = "some"}, {meaning = "much"}, {meaning = "most"}]

[[dimension]]
name = "right"
question = "Is it right?"
first = 0
abstain = "it says nothing"
level = [{meaning = "wrong"}, {meaning = "right"}]
"""


@pytest.fixture(scope="module")
def rubric_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rubric") / "rubric.toml"
    path.write_text(RUBRIC)
    return path


@pytest.fixture(scope="module")
def rubric(rubric_file):
    return load_rubric(rubric_file)


# ---- the pool ----


def test_spread_by_hand():
    assert spread(np.array([5, 5, 5]), 9).tolist() == [3, 3, 3]
    assert spread(np.array([1, 50, 2]), 20).tolist() == [1, 17, 2]
    assert spread(np.array([4, 4]), 20).tolist() == [4, 4]  # no more than there are
    assert spread(np.array([1, 1, 9]), 1).sum() == 1  # fewer documents than strata


def test_documents_are_drawn_as_often_as_is_said():
    """Of 4,000 pools: the share in which a document is, and the weighted estimate of a rare property's frequency."""
    generator = np.random.default_rng(3)
    stratum = np.repeat([0, 1, 2], [150, 40, 10])
    times, estimates, sizes = np.zeros(200), [], []
    for _ in range(4000):
        hashes = generator.integers(0, 2**64, (2, 200), dtype=np.uint64)
        drawn, probability = inclusion(stratum, *hashes, 48, 0.25)
        times += drawn
        weight = drawn / probability
        estimates.append(weight[stratum == 2].sum() / 200)
        sizes.append(drawn.sum())
    # At random: 12 of 200. Drawn in strata: 38 = 14 + 14 + 10, of which 6 % are drawn already.
    by_hand = [1 - 0.94 * (1 - 14 / 150), 1 - 0.94 * (1 - 14 / 40), 1]
    assert probability[[0, 150, 199]] == pytest.approx(by_hand)
    assert np.mean(sizes) == pytest.approx(48, abs=0.5)
    deviation = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(times / 4000 - probability) <= 5 * deviation).all()
    assert np.mean(estimates) == pytest.approx(10 / 200, abs=1e-9)  # all of the smallest are drawn


def corpus(count):
    generator = np.random.default_rng(5)
    return pa.table(
        {
            "id": pa.array([f"document-{n}" for n in range(count)], pa.string()),
            "media_type": generator.choice(["text/html", "text/x-python"], count, p=[0.95, 0.05]),
            "signal_words": pa.array(generator.lognormal(5, 1.5, count).astype(np.int32)),
            "signal_reasoning": pa.array(
                generator.random(count).astype(np.float32), mask=generator.random(count) < 0.02
            ),
        }
    )


SPREAD_OVER = {"code": "media_type LIKE 'text/x-%'", "long": "signal_words > 200"}


def drawn_of(shards, **options):
    stage = Pool(Pool.Config(strata=SPREAD_OVER, **options))
    marked = run_rounds(stage, shards)[-1]
    for shard, outcome in zip(shards, marked, strict=True):
        assert outcome.kept["id"].equals(shard["id"])
        assert outcome.kept.schema.equals(Pool.schema)
    rows = pa.concat_tables([outcome.kept for outcome in marked]).to_pylist()
    return {row["id"]: row for row in rows if row["pool_probability"] is not None}


def test_the_pool_spreads_over_strata_and_deciles():
    documents = corpus(4000)
    drawn = drawn_of([documents], documents=600)
    assert 570 < len(drawn) < 630
    code = documents["media_type"].to_numpy(zero_copy_only=False) == "text/x-python"
    rare = sum(code[int(id_.split("-")[1])] for id_ in drawn)
    assert rare / len(drawn) > 0.3 > 4 * code.mean()
    deciles = {row["pool_stratum"].rsplit("decile=", 1)[1] for row in drawn.values()}
    assert deciles == {*map(str, range(10)), "-"}
    assert any(row["pool_stratum"].startswith("code=true long=false") for row in drawn.values())
    # Weighted, the pool speaks for the corpus.
    weights = {id_: 1 / row["pool_probability"] for id_, row in drawn.items()}
    share = sum(w for id_, w in weights.items() if code[int(id_.split("-")[1])]) / sum(weights.values())
    assert share == pytest.approx(code.mean(), abs=0.015)


def test_the_pool_is_the_same_however_documents_are_sharded():
    documents = corpus(900)
    one = drawn_of([documents], documents=120)
    shuffled = documents.take(np.random.default_rng(0).permutation(900))
    several = drawn_of([shuffled.slice(0, 100), shuffled.slice(100, 0), shuffled.slice(100)], documents=120)
    assert one == several
    assert drawn_of([documents], documents=120, seed=1).keys() != one.keys()


def test_a_pool_larger_than_the_corpus_is_the_corpus():
    drawn = drawn_of([corpus(30)], documents=100)
    assert len(drawn) == 30 and {row["pool_probability"] for row in drawn.values()} == {1.0}
    assert drawn_of([corpus(0)]) == {}


@pytest.mark.parametrize(
    ("strata", "told"),
    [
        ({"a": "no_such_column = 1"}, r"pool: strata\.a: .*no_such_column.*Columns: id"),
        ({"a": "count(*) > 1"}, r"pool: strata\.a: "),
        ({"a": "true", "b": "signal_words >"}, r"pool: strata\.b: "),
    ],
)
def test_wrong_strata_are_named(strata, told):
    with pytest.raises(RequestError, match=told):
        Pool(Pool.Config(strata=strata)).check(corpus(0).schema)


# ---- what is shown and asked ----


def test_windows_are_head_middle_and_end():
    text = " ".join(f"w{n}" for n in range(5000))
    shown = windows(text, 900)
    head, middle, end = shown.split(GAP)
    assert len(shown.encode()) <= 900 and min(map(len, (head, middle, end))) > 250
    assert head.startswith("w0 w1 ") and end.endswith(" w4998 w4999")
    assert set(shown.replace(GAP, " ").split()) <= set(text.split())  # whole words only
    assert 2400 < int(middle.split()[0][1:]) < 2600
    assert windows(text, 10**6) == text
    chinese = "因此三角形的内角和等于一百八十度。" * 300
    parts = windows(chinese, 900).split(GAP)
    assert all(part in chinese and len(part) > 80 for part in parts) and len(parts) == 3


def test_levels_are_told_in_both_orders(rubric):
    rising, falling = (instructions(rubric, order) for order in ("rising", "falling"))
    assert re.findall(r"^- (\d): ", rising, re.M) == ["1", "2", "3", "4", "0", "1"]
    assert re.findall(r"^- (\d): ", falling, re.M) == ["4", "3", "2", "1", "1", "0"]
    assert re.findall(r'^- "(\w+)"', falling, re.M) == ["code", "maths"]
    assert sorted(rising.splitlines()) == sorted(falling.splitlines())
    assert "- null: it says nothing" in rising and "- 1: none (such as: a list)" in rising
    assert answer_schema(rubric)["properties"] == {
        "domain": {"enum": ["maths", "code"]},
        "depth": {"enum": [1, 2, 3, 4]},
        "right": {"enum": [0, 1, None]},
    }


# ---- what an answer means ----


def answered(*pieces, text=None):
    """An answer of these tokens: a text (sure), or a dict of alternatives and their probabilities, the first said."""
    tokens = []
    for piece in pieces:
        likely = piece if isinstance(piece, dict) else {piece: 1.0}
        top = tuple((token, math.log(p)) for token, p in likely.items())
        tokens.append(TokenLogprob(*top[0], top))
    said = "".join(token.token for token in tokens) if text is None else text
    return Answer((Choice(said, "stop", tuple(tokens)),), 10, len(tokens), "m", {})


def test_expected_levels_by_hand(rubric):
    answer = answered(
        '{"domain": "code", "depth": ',
        {"3": 0.5, "4": 0.25, "2": 0.05, " 4": 0.05, "7": 0.1, "x": 0.05},  # 7 is no level, x no number
        ', "right":',
        {" 1": 0.6, " 0": 0.2, " null": 0.2},
        "}",
        "<|im_end|>",
        text='{"domain": "code", "depth": 3, "right": 1}',
    )
    labels = read_labels(answer, rubric)
    assert labels == {
        "label_domain": "code",
        "level_depth": 3,
        "label_depth": pytest.approx((3 * 0.5 + 4 * 0.3 + 2 * 0.05) / 0.85),
        "level_right": 1,
        "label_right": pytest.approx(0.6 / 0.8),
    }


@pytest.mark.parametrize(
    "pieces",
    [
        ['{"domain":"maths","depth":', {"2": 0.5, "1": 0.5}, ',"right":0}'],
        ['{"domain":"maths","depth', {'":2': 0.4, '":1': 0.4, '":"': 0.2}, ',"right":0}'],
        ['{"domain":"maths","depth":', {"2,": 0.25, "1,": 0.25, "12": 0.5}, '"right":0}'],
        ['```json\n{"domain":"maths",\n"depth" : ', {"2": 0.5, "1": 0.5}, ', "right":0}', "\n```"],
        ["<think>depth is 4</think>", '{"domain":"maths","depth":', {"2": 0.2, "1": 0.2}, ',"right":0}'],
    ],
)
def test_however_a_tokenizer_cuts_the_answer(rubric, pieces):
    answer = answered(*pieces)
    labels = read_labels(answer, rubric)
    assert (labels["label_domain"], labels["level_depth"], labels["level_right"]) == ("maths", 2, 0)
    assert labels["label_depth"] == pytest.approx(1.5)


def test_without_usable_probabilities_the_level_itself(rubric):
    text = '{"domain": "maths", "depth": 4, "right": null}'
    bare = Answer((Choice(text, "stop", None),), 1, 1, "m", {})
    garbled = answered("{", "other tokens", "}", text=text)
    expected = {"label_domain": "maths", "level_depth": 4, "label_depth": 4.0}
    assert (
        read_labels(bare, rubric)
        == read_labels(garbled, rubric)
        == expected | {"level_right": None, "label_right": None}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I think it is 3.", "no JSON object"),
        ('{"domain": "maths", "depth": 3', "no JSON object"),
        ('{"domain": "maths", "right": 1}', "depth: None, expected one of 1, 2, 3, 4"),
        ('{"domain": "maths", "depth": null, "right": 1}', "depth: None"),
        ('{"domain": "maths", "depth": 5, "right": 1}', "depth: 5"),
        ('{"domain": "maths", "depth": true, "right": 1}', "depth: True"),
        ('{"domain": "maths", "depth": "3", "right": 1}', "depth: '3'"),
        ('{"domain": "maths", "depth": [3], "right": 1}', r"depth: \[3\]"),
        ('{"domain": "cooking", "depth": 3, "right": 1}', "domain: 'cooking', expected one of maths, code"),
        ('{"domain": "maths", "depth": 3}', "right: None"),
        ("", "no JSON object"),
    ],
)
def test_nonsense_is_no_label(rubric, text, told):
    with pytest.raises(ValueError, match=told):
        read_labels(Answer((Choice(text, "stop"),), 1, 1, "m", {}), rubric)


# ---- asking ----


class Rater(http.server.ThreadingHTTPServer):
    """A server of the OpenAI dialect that rates a document by what stands in it: `depth N P`, it says N with
    probability P and N − 1 otherwise; `nonsense K`, its first K answers are none; `huge`, it finds the prompt too long.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict] = []
        self.lock = threading.Lock()
        self.refuses = ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        shown = body["messages"][1]["content"]
        with self.server.lock:
            self.server.asked.append(body)
            before = sum(b["messages"] == body["messages"] for b in self.server.asked) - 1
        status, answer = 200, self.rating(shown, before)
        if "huge" in shown:
            status = 400
            answer = {"error": {"message": "This model's maximum context length is 10 tokens."}}
        if self.server.refuses:
            status, answer = 400, {"error": {"message": self.server.refuses}}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def rating(self, shown, before):
        level, p = re.search(r"depth (\d) ([\d.]+)", shown + " depth 2 1").groups()
        bad = re.search(r"nonsense (\d)", shown)
        tokens = [
            {"token": '{"domain": "maths", "depth": ', "logprob": -0.1, "top_logprobs": []},
            {
                "token": level,
                "logprob": math.log(float(p)),
                "top_logprobs": [
                    {"token": level, "logprob": math.log(float(p))},
                    {"token": str(int(level) - 1), "logprob": math.log(1.0001 - float(p))},
                ],
            },
            {"token": ', "right": 1}', "logprob": -0.1, "top_logprobs": []},
        ]
        text = "".join(token["token"] for token in tokens)
        if bad and before < int(bad[1]):
            text, tokens = "As a model I cannot say.", []
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": tokens},
            "finish_reason": "stop",
        }
        return {"model": "rater", "choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 9}}

    def log_message(self, *_):
        pass


@pytest.fixture
def rater():
    server = Rater()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        yield server
        server.shutdown()


def drawn(texts, start=0):
    """A shard of documents, all drawn but those whose text says no."""
    return pa.table(
        {
            "id": [f"d{start + n:03d}" for n in range(len(texts))],
            "text": texts,
            "pool_probability": [None if text == "no" else 0.5 for text in texts],
        }
    )


def ask(folder, server, rubric_file, *tables, **options):
    config = Label.Config(model="rater", server=server.url, rubric=str(rubric_file), **options)
    record, asked = ledger.run_ledger(
        Label(config), tables, str(folder), StageProgress("label", None, quiet=True)
    )
    rows = [json.loads(row["answer"] or "{}") for row in ledger.Book(str(folder / "_book")).rows.values()]
    return record, asked, {(row["source_id"], row["again"]): row for row in rows if row}


def test_answers_become_labels_and_are_never_asked_for_again(tmp_path, rater, rubric_file):
    table = drawn([f"depth {2 + n % 3} 0.75 of text {n}" for n in range(120)] + ["no"])
    record, asked, rows = ask(tmp_path, rater, rubric_file, table)
    assert asked == record.kept == len(rows)
    once = [row for (_, again), row in rows.items() if not again]
    assert len(once) == 120 and "d120" not in {row["source_id"] for row in once}
    for row in once:
        level = 2 + int(row["source_id"][1:]) % 3
        assert row["level_depth"] == level
        assert row["label_depth"] == pytest.approx(level - 0.25, abs=1e-3)
        assert (row["label_domain"], row["label_right"], row["tries"]) == ("maths", 1.0, 1)
    # The two orders, half each; one in twenty asked twice, and then in both.
    assert 45 < sum(row["order"] == "rising" for row in once) < 75
    twice = [row for (_, again), row in rows.items() if again]
    assert 1 < len(twice) < 15
    assert all(rows[row["source_id"], False]["order"] != row["order"] for row in twice)
    orders = {body["messages"][0]["content"].index("- 1: none") for body in rater.asked}
    assert len(orders) == 2
    assert all(body["response_format"]["json_schema"]["schema"]["required"] for body in rater.asked)
    # Again: nothing. A larger pool: what is new. Another rubric: all.
    before = len(rater.asked)
    assert ask(tmp_path, rater, rubric_file, table)[1] == 0 == len(rater.asked) - before
    more = drawn(["depth 1 1", "depth 2 1"], start=400)
    assert ask(tmp_path, rater, rubric_file, table, more, again_share=0)[1] == 2
    other = tmp_path / "other.toml"
    other.write_text(RUBRIC.replace("How deep is", "How far goes"))
    assert ask(tmp_path, rater, other, more, again_share=0)[1] == 2


def test_nonsense_is_asked_again_within_bounds_and_counted(tmp_path, rater, rubric_file):
    table = drawn(["depth 2 1", "depth 3 1 nonsense 2", "nonsense 9", "huge"])
    record, _, rows = ask(tmp_path, rater, rubric_file, table, again_share=0)
    assert {key[0]: row["tries"] for key, row in rows.items()} == {"d000": 1, "d001": 3}
    assert (record.kept, record.failed, record.dropped) == (2, {"failed": 1}, {"prompt_too_long": 1})
    to_nonsense = [b for b in rater.asked if "nonsense 9" in b["messages"][1]["content"]]
    assert [b["temperature"] for b in to_nonsense] == [0, 0.7, 0.7]
    assert len({b["seed"] for b in to_nonsense}) == 3
    (lost,) = pa.parquet.read_table(tmp_path / "failed" / "00000.parquet").to_pylist()
    assert "no answer that fits the rubric in 3 tries; the last one: no JSON object" in lost["detail"]


def test_a_server_without_probabilities(tmp_path, rater, rubric_file):
    _, _, rows = ask(tmp_path, rater, rubric_file, drawn(["depth 3 0.9"]), top_logprobs=0)
    assert rows["d000", False]["label_depth"] == pytest.approx(2.9, abs=1e-3)  # this one gives them unasked
    assert not any("logprobs" in body or "top_logprobs" in body for body in rater.asked)


def test_where_it_is_asked_is_no_part_of_the_question(rubric_file):
    """Nor is how fast; what may change an answer is."""
    table = drawn([f"depth {n % 4} 1 " * 50 for n in range(30)])

    def of(**options):
        stage = Label(Label.Config(model="rater", rubric=str(rubric_file), **options))
        return stage.key(), [ledger.request_id("label", request) for request in stage.requests(table)]

    here = of()
    assert here == of(server=["http://a:1", "http://b:2"], api_key_env="KEY", concurrency=3)
    assert here == of(vllm_options={"tensor-parallel-size": 8, "gpu_memory_utilization": 0.5})
    for other in ({"vllm_options": {"quantization": "fp8"}}, {"top_logprobs": 5}, {"window_bytes": 400}):
        key, requests = of(**other)
        assert key != here[0] and not {*requests} & {*here[1]}


def test_a_server_that_cannot_do_what_is_asked_is_told_at_once(tmp_path, rater, rubric_file):
    """The greeting has the form of all questions: what refuses it would refuse each of them, and nothing is dropped."""
    rater.refuses = "logprobs are not enabled on this server"
    with pytest.raises(RequestError, match="logprobs are not enabled"):
        ask(tmp_path, rater, rubric_file, drawn(["depth 2 1"] * 5))
    assert len(rater.asked) == 1 and rater.asked[0]["top_logprobs"] == 20
    assert rater.asked[0]["max_tokens"] == 1
    assert rater.asked[0]["response_format"]["json_schema"]["schema"]["required"]
    assert not ledger.Book(str(tmp_path / "_book")).rows
    rater.refuses = ""
    assert ask(tmp_path, rater, rubric_file, drawn(["depth 2 1"] * 5))[0].kept >= 5


def test_with_answers_in_the_book_no_model_need_be_there(tmp_path, rubric_file):
    stage = Label(Label.Config(model=str(tmp_path / "gone"), rubric=str(rubric_file)))
    stage.folder = str(tmp_path)
    with pytest.raises(RequestError, match="no such folder"):
        stage.check(None)
    (tmp_path / "labels" / "_book").mkdir(parents=True)
    stage.check(None)  # all that is wanted may be answered; if not, it is said then
    with pytest.raises(RequestError, match="no such folder"):
        stage.prepare()


def test_a_model_or_rubric_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match="no such folder"):
        Label(Label.Config(model=str(tmp_path / "none"))).check(None)
    with pytest.raises(RequestError, match="cannot read the rubric"):
        Label(Label.Config(model="m", server="http://127.0.0.1:9", rubric="none.toml")).check(None)


# ---- the whole of it ----


def write_pages(folder):
    """30 documents in two shards, with near-duplicate clusters known for some."""
    rows = [
        {
            "id": f"p{n:02d}",
            "parent_ids": [],
            "origin": {"source": "test", "path": str(n), "locator": "", "payload_sha256": ""},
            "url": [f"https://www.Site{n % 4}.org:443/page?n={n}", f"http://user@math.net#{n}", None][n % 3],
            "media_type": "text/html",
            "text": f"Since the sum is even, we get depth {1 + n % 3 + (n % 3 == 0)} 0.5 here. " * (n + 1),
            "extraction": {"method": "verbatim", "fidelity": 1.0},
        }
        for n in range(30)
    ]
    shards = [pa.Table.from_pylist(part, schema=DOCUMENT_SCHEMA) for part in (rows[:17], rows[17:])]
    write_dataset(folder, "documents", shards)
    said = [
        pa.table(
            {
                "id": s["id"],
                "dedup_cluster_id": [{"p03": "p02", "p02": "p02"}.get(i) for i in s["id"].to_pylist()],
            }
        )
        for s in shards
    ]
    write_dataset(folder, "dedup", said, describes="documents", aligned=True)
    return {row["id"]: row for row in rows}


def test_from_documents_to_a_labelled_table(tmp_path, rater, rubric_file):
    pages = write_pages(tmp_path)
    with pytest.raises(RequestError, match="run `pool` and `label` first"):
        labelled(str(tmp_path))
    config = Label.Config(model="rater", server=rater.url, rubric=str(rubric_file), again_share=0.5)
    with pytest.raises(RequestError, match="needs a finished dataset pool"):
        run(tmp_path, Label(config))
    _, pool, label = run(tmp_path, Signals(), Pool(Pool.Config(documents=16)), Label(config))
    assert pool.kept == 30
    table = labelled(str(tmp_path))
    assert table.column_names == [
        *("id", "text", "host", "cluster", "kind", "weight", "label_domain", "label_depth", "label_right"),
        *("again_domain", "again_depth", "again_right"),
    ]
    assert [
        str(table.schema.field(n).type) for n in ("label_depth", "again_right", "label_domain", "kind")
    ] == [
        *("float", "float", "string", "string"),
    ]
    probability = {row["id"]: row["pool_probability"] for row in rows_of(tmp_path, "pool")}
    drawn_ids = sorted(id_ for id_, p in probability.items() if p is not None)
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == drawn_ids and 12 <= len(drawn_ids) <= 20
    again = [row for row in rows if row["again_depth"] is not None]
    assert label.kept == len(rows) + len(again) and 0 < len(again) < len(rows)
    for row in rows:
        n = int(row["id"][1:])
        assert row["text"] == pages[row["id"]]["text"]
        assert row["host"] == [f"site{n % 4}.org", "math.net", row["id"]][n % 3]
        assert row["cluster"] == {"p03": "p02"}.get(row["id"], row["id"])
        assert row["label_depth"] == pytest.approx(1 + n % 3 + (n % 3 == 0) - 0.5, abs=1e-3)
        assert row["again_depth"] in (None, row["label_depth"])
    weights = np.array([row["weight"] for row in rows])
    inverse = np.array([1 / probability[id_] for id_ in drawn_ids])
    assert weights == pytest.approx(inverse / inverse.mean())
    # A finished stage asks nothing; a larger pool asks for what is new.
    before = len(rater.asked)
    assert [
        s.tasks_run for s in run(tmp_path, Signals(), Pool(Pool.Config(documents=16)), Label(config))
    ] == [0, 0, 0]
    run(tmp_path, Pool(Pool.Config(documents=30)))
    with pytest.raises(RequestError, match="run `label` again"):
        labelled(str(tmp_path))
    (larger,) = run(tmp_path, Label(config))
    assert len(rater.asked) - before == larger.kept - label.kept + 1  # one greets
    assert len(labelled(str(tmp_path))) == 30
    assert reasons_of(tmp_path, "labels") == {}
