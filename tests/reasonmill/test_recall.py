"""Active recall over a corpus whose truth is known: a labeller that knows it, and a family of good documents that no
signal points at. They live where the other good ones live."""

from __future__ import annotations

import http.server
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import reasonmill.recall
from filters.taxonomy.label import Label, labelled
from filters.taxonomy.pool import Pool
from filters.taxonomy.recall import check_good
from filters.taxonomy.rubric import load_rubric
from filters.taxonomy.tag import describe, open_tagger
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError
from reasonmill.recall import recall
from tests.dask_workers import on_lasting_workers
from tests.mixtures.small_runs import rows_of, run, write_dataset

RUBRIC = """
name = "small"
version = "1"

[[dimension]]
name = "depth"
question = "How deep is the reasoning?"
first = 1
level = [{meaning = "none"}, {meaning = "some"}, {meaning = "much"}]
"""
GOOD = "score_depth >= 2.5"
RICH, POOR, OF_EACH = 12, 48, 25
# What is reasoned about. The pool's strata see formulas, which only the first family writes.
SUBJECTS = {
    "formal": "theorem lemma proof integer prime divides modulo bounded converges sequence",
    "river": "ferry current bank heron tide upstream anchor drift sail mooring",
    "engine": "piston valve torque coolant gasket spark throttle bearing crank exhaust",
    "kitchen": "dough yeast oven crumb salt flour knead proofing crust steam",
    "trial": "witness alibi verdict motive ledger clerk oath statute hearing appeal",
    "garden": "compost seedling frost mulch trellis pruning aphid loam graft orchard",
    "steps": "however reckon weighing ruled out remaining explanation checked against observed twice",
    "plain": "offer price today visit shop open hours parking ticket event welcome photo news",
}
WORDS = {name: words.split() for name, words in SUBJECTS.items()}


def corpus():
    """Rows of documents, and which of them are good. Rich hosts: a fifth formal, a third of another family, the rest
    plain; poor hosts: plain, and of the other families' subjects without any reasoning."""
    random = np.random.default_rng(8)
    rows, truth = [], {}
    others = [name for name in WORDS if name not in ("formal", "steps", "plain")]
    for n in range((RICH + POOR) * OF_EACH):
        host, place = n // OF_EACH, n % OF_EACH
        subject = others[(host + place) % len(others)]
        kind = "plain"
        if host < RICH:
            kind = "formal" if place < 5 else subject if place < 13 else "plain"
        words = list(random.choice(WORDS["plain"], 20))
        if kind != "plain":
            steps = WORDS["formal" if kind == "formal" else "steps"]
            words += [*random.choice(WORDS[kind], 15), *random.choice(steps, 15)]
        else:
            words += list(random.choice(WORDS[subject], 15 if place % 3 == 0 else 3))
        random.shuffle(words)
        id_ = f"d{n:04d}"
        truth[id_] = kind != "plain"
        rows.append(
            {
                "id": id_,
                "parent_ids": [],
                "origin": {"source": "test", "path": str(n), "locator": "", "payload_sha256": ""},
                "url": f"https://www.{'rich' if host < RICH else 'poor'}{host}.org/{place}",
                "media_type": "text/plain",
                "text": f"{id_} " + " ".join(words) + (" $a = b$" * (kind == "formal")),
                "extraction": {"method": "verbatim", "fidelity": 1.0},
            }
        )
    return rows, truth


ROWS, TRUTH = corpus()


class Rater(http.server.ThreadingHTTPServer):
    """Says level 3 of a good document and 1 of another, but 2 of one in 29: a labeller errs. `kill`: the process that is
    killed when so many answers are given."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.lock = threading.Lock()
        self.kill: tuple[int, int] | None = None  # process, answers

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        shown = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][1]["content"]
        known = [word for word in shown.split() if word in TRUTH]
        with self.server.lock:
            self.server.asked += known[:1]
            if self.server.kill and len(self.server.asked) >= self.server.kill[1]:
                os.kill(self.server.kill[0], signal.SIGKILL)
                self.server.kill = None
        number = int(known[0][1:]) if known else 0
        level = 2 if number % 29 == 5 else 1 + 2 * TRUTH[f"d{number:04d}"]
        text = json.dumps({"depth": level})
        token = {"token": text, "logprob": math.log(0.9), "top_logprobs": []}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": {"content": [token]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 50, "completion_tokens": 9}
        data = json.dumps({"model": "rater", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def rater():
    server = Rater()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        yield server
        server.shutdown()


def write_run(folder, rater, cuts=(700, 710), size=150):
    """Documents in shards and a signal; a pool, a third of it with formulas, and its labels."""
    folder.mkdir(parents=True)
    (folder / "rubric.toml").write_text(RUBRIC)
    edges = [0, *cuts, len(ROWS)]
    parts = [ROWS[start:end] for start, end in itertools.pairwise(edges)]
    shards = [pa.Table.from_pylist(part, schema=DOCUMENT_SCHEMA) for part in parts]
    write_dataset(folder, "documents", shards)
    said = [
        pa.table({"id": s["id"], "signal_formula_count": [t.count("$") // 2 for t in s["text"].to_pylist()]})
        for s in shards
    ]
    write_dataset(folder, "signals", said, describes="documents", aligned=True)
    label = Label.Config(model="rater", server=rater.url, rubric=str(folder / "rubric.toml"), concurrency=4)
    run(folder, pool_of(size), Label(label))
    return folder


def pool_of(size, spread_over="signal_formula_count > 0"):
    strata, same = {"maths": spread_over}, "CAST(NULL AS FLOAT)"
    return Pool(Pool.Config(documents=size, strata=strata, deciles_of=same, random_share=0.3))


OPTIONS = {"good": GOOD, "documents": 100, "rounds": 5, "options": {"rounds": 1}, "concurrency": 4}


def mill(folder, rater, **changed):
    return recall(str(folder), server=rater.url, running=on_lasting_workers(), **OPTIONS | changed)


@pytest.fixture(scope="module")
def milled(tmp_path_factory, rater):
    folder = write_run(tmp_path_factory.mktemp("recall") / "run", rater)
    return folder, mill(folder, rater)


def called_good(folder, number):
    rows = pa.parquet.read_table(folder / "recall" / f"round-{number}" / "documents.parquet").to_pylist()
    return {row["id"] for row in rows if row["good"]}


def test_what_no_signal_points_at_is_found(milled, tmp_path, rater):
    folder, found = milled
    rounds, last = found["rounds"], len(found["rounds"]) - 1
    good = {id_ for id_, is_good in TRUTH.items() if is_good}
    recalls = [len(called_good(folder, n) & good) / len(good) for n in range(last + 1)]
    assert recalls[0] < 0.6 and recalls[-1] > 0.95, recalls
    assert len(called_good(folder, last) & good) / len(called_good(folder, last)) > 0.95  # precision
    # It stops by itself, because of what the last round did not find.
    assert 1 < len(rounds) < 5 and [one["new_share"] >= 0.02 for one in rounds] == [True] * last + [False]
    assert "of the good documents are new, less than 2.0%" in found["stopped"]
    assert rounds[0]["mined_missed"] == 0 < rounds[1]["mined_missed"]
    # As many labels without mining find less.
    control = write_run(tmp_path / "control", rater, size=rounds[last]["labelled"])
    alone = mill(control, rater, rounds=1)
    assert alone["rounds"][0]["labelled"] >= rounds[last]["labelled"] * 0.95
    assert len(called_good(control, 0) & good) / len(good) < recalls[-1] - 0.1


def test_only_rich_hosts_are_mined(milled):
    folder, found = milled
    for number, one in enumerate(found["rounds"]):
        hosts = pa.parquet.read_table(folder / "recall" / f"round-{number}" / "hosts.parquet").to_pylist()
        assert all(row["host"].startswith("rich") and row["total"] == OF_EACH for row in hosts)
        assert sum(row["rich"] for row in hosts) == one["hosts"]["rich"] <= RICH
    assert found["rounds"][-1]["hosts"]["rich"] >= RICH - 1
    drawn = [row for row in rows_of(folder, "pool") if row["pool_probability"] is not None]
    seeds = [row for row in rows_of(folder, "labels") if not row["again"]]
    assert len(drawn) == len(seeds) == found["rounds"][-1]["labelled"]
    # Each round labels about as many documents as the one before asked for.
    for before, one in itertools.pairwise(found["rounds"]):
        assert one["mined"] == one["labelled"] - before["labelled"]
        assert abs(one["mined"] - before["to_label"]) < 0.25 * before["to_label"] + 8


def test_what_is_left_behind(milled, rater):
    folder, found = milled
    last = len(found["rounds"]) - 1
    assert open_tagger(folder / "recall" / "tagger").dimensions[0].name == "depth"
    assert describe(folder / "recall" / "tagger") == describe(folder / "recall" / f"round-{last}" / "tagger")
    assert len(labelled(str(folder))) == found["rounds"][-1]["labelled"]  # ready for `train-tagger`
    page = (folder / "recall" / "rounds.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in page[2 : 3 + last]] == [str(n) for n in range(last + 1)]
    # The same again does nothing; another question is refused.
    asked, before = len(rater.asked), (folder / "recall" / "rounds.json").read_bytes()
    assert mill(folder, rater) == found and len(rater.asked) == asked
    assert (folder / "recall" / "rounds.json").read_bytes() == before
    with pytest.raises(
        RequestError, match=r"another request: good was score_depth >= 2\.5, now it is score_depth"
    ):
        mill(folder, rater, good="score_depth >= 2")
    with pytest.raises(RequestError, match="another request: documents was 100, now it is 7"):
        mill(folder, rater, documents=7)


def test_a_killed_loop_goes_on_and_shards_do_not_matter(milled, tmp_path, rater, monkeypatch):
    """Killed while it labels, and stopped after training, after counting: the same bytes as without."""
    through, found = milled
    folder = write_run(tmp_path / "run", rater, cuts=())
    start = len(rater.asked)
    address = on_lasting_workers().cluster
    code = (
        "import json, sys; from reasonmill.recall import recall; from pipeline.runner import RunOptions\n"
        "folder, server, cluster, options = json.loads(sys.argv[1])\n"
        "recall(folder, server=server, running=RunOptions(workers=2, cluster=cluster, quiet=True), **options)"
    )
    given = json.dumps([str(folder), rater.url, address, OPTIONS | {"concurrency": 1}])
    child = subprocess.Popen([sys.executable, "-c", code, given], cwd=Path(__file__).parents[2])
    rater.kill = (child.pid, start + 30)
    assert child.wait() == -signal.SIGKILL
    assert (folder / "recall" / "round-0" / "record.json").exists()
    assert not (folder / "labels" / "manifest.json").exists()

    def stopping_after(name):
        """The next call ends with Ctrl-C just after its work."""
        real = getattr(reasonmill.recall, name)

        def stopped(*args, **options):
            real(*args, **options)
            monkeypatch.setattr(reasonmill.recall, name, real)
            raise KeyboardInterrupt

        monkeypatch.setattr(reasonmill.recall, name, stopped)

    for name in ("train_tagger", "count_round", "_keep"):
        stopping_after(name)
        with pytest.raises(KeyboardInterrupt):
            mill(folder, rater)
    assert mill(folder, rater) == found
    for file in ("rounds.json", "rounds.md", "round-1/hosts.parquet", "tagger/tagger.json"):
        assert (folder / "recall" / file).read_bytes() == (through / "recall" / file).read_bytes(), file
    mined = sum(one["mined"] for one in found["rounds"])
    assert len(set(rater.asked[start:])) == mined  # nothing of the seed again
    again = sum(row["again"] for row in rows_of(folder, "labels"))
    assert len(rater.asked) - start <= mined + again + 1  # and in flight was one
    # Begun again, it starts with the seed and asks nothing.
    shutil.rmtree(folder / "recall")
    asked = len(rater.asked)
    assert mill(folder, rater, rounds=1)["rounds"] == found["rounds"][:1] and len(rater.asked) == asked
    run(folder, pool_of(151))
    with pytest.raises(RequestError, match=r"another request: pool was \{.*150.*now it is \{.*151"):
        mill(folder, rater)
    run(folder, pool_of(150, "score_depth > 2"))
    with pytest.raises(RequestError, match="is spread over score_depth, which changes with every tagger"):
        mill(folder, rater)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A folder as transformers saves it: random weights, one token a word of the corpus."""
    words = sorted({word for row in ROWS for word in row["text"].split()[1:]})
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["[UNK]", *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("model")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words) + 1, max_position_embeddings=64, **sizes)).save_pretrained(
        folder
    )
    return str(folder)


@pytest.mark.parametrize("kind", ["fasttext", "lm"])
def test_any_kind_of_tagger_can_be_taught_in_rounds(tmp_path, rater, small_model, kind):
    folder = write_run(tmp_path / "run", rater)
    if kind == "lm":
        student = {
            "model": small_model,
            "options": {
                "context": 48,
                "epochs": 30,
                "batch_tokens": 768,
                "learning_rate": 5e-3,
                "head_factor": 4.0,
            },
        }
    else:
        student = {"options": {"buckets": 1 << 12}}
    found = mill(folder, rater, kind=kind, rounds=3, **student)
    assert open_tagger(folder / "recall" / "tagger").kind == kind
    good = {id_ for id_, is_good in TRUTH.items() if is_good}
    last = called_good(folder, len(found["rounds"]) - 1)
    assert len(last & good) / len(good) > 0.9 and len(last & good) / len(last) > 0.9
    assert "good documents are new" in found["stopped"]


@pytest.mark.parametrize(
    ("good", "told"),
    [
        ("score_dept >= 2", r"--good score_dept >= 2: .*score_dept.*Columns: .*score_depth"),
        ("score_depth_share > 0.5", "score_depth_share"),
        ("score_depth >=", "--good score_depth >=: .*"),
        ("avg(score_depth) > 2", "--good avg.*aggregate"),
        ("score_depth", "that is FLOAT, expected a condition"),
        ("true -- what", None),
    ],
)
def test_a_condition_that_cannot_be_asked(milled, good, told):
    folder, _ = milled
    dimensions = load_rubric(folder / "rubric.toml").dimensions
    if told is None:
        check_good(str(folder), good, dimensions)
    else:
        with pytest.raises(RequestError, match=told):
            check_good(str(folder), good, dimensions)


def test_runs_that_cannot_be_mined(tmp_path, rater):
    with pytest.raises(RequestError, match="no finished labels: run `pool` and `label` first"):
        recall(str(tmp_path / "none"), server=rater.url)
    assert not (tmp_path / "none").exists()
    write_dataset(tmp_path, "pool", [pa.table({"id": ["a"]})])
    write_dataset(tmp_path, "labels", [pa.table({"id": pa.array([], pa.string())})])
    with pytest.raises(RequestError, match="no finished labels"):
        recall(str(tmp_path), server=rater.url)
    with pytest.raises(RequestError, match="is not on this machine"):
        recall("memory://run", server=rater.url)
