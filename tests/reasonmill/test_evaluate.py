"""`reasonmill evaluate`: the table says what the models can do, nothing is asked twice, wrong requests are told at once."""

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import numpy as np
import pytest
from command_line import reasonmill
from dask_workers import on_lasting_workers

from pipeline.errors import RequestError
from reasonmill.evaluate import (
    Asking,
    Benchmark,
    Model,
    evaluate,
    parse_benchmark,
    parse_gym,
    parse_model,
    suite,
)
from training.evaluation import score

SAMPLES = 4


class Pupil(BaseHTTPRequestHandler):
    """An OpenAI-compatible server of models that can add, each right with a known probability on each problem.

    What it does with a request depends on the request alone; it keeps what it has answered.
    """

    protocol_version = "HTTP/1.1"
    asked: Counter[str]  # model → requests
    right: Counter[tuple[str, str]]  # model, problem → right answers
    most: int | None  # requests it answers before it is out of service

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = request["messages"][-1]["content"]
        cls = type(self)
        found = re.search(r"(-?\d+) ([+-]) (-?\d+)", text)
        if found and cls.most is not None and sum(cls.asked.values()) >= cls.most:
            self.reply(401, {"error": {"message": "no credit left"}})
            return
        if found and request["model"] == "narrow":
            self.reply(400, {"error": {"message": "maximum context length is 4 tokens"}})
            return
        answer, reason = "Good day.", "stop"
        if found:
            a, sign, b = int(found[1]), found[2], int(found[3])
            total = a + b if sign == "+" else a - b
            draw = hashlib.sha256(f"{request['model']} {text} {request['seed']}".encode()).digest()[0] / 256
            able = {"good": 0.9, "poor": 0.2, "half": a % 2}[request["model"]]
            if draw < able:
                cls.right[request["model"], text] += 1
                answer = rf"It is \boxed{{{total}}}."
            elif draw > 0.97:
                answer, reason = "It is", "length"
            else:
                answer = rf"It is \boxed{{{total + 1}}}."
            cls.asked[request["model"]] += 1
        message = {"role": "assistant", "content": answer}
        usage = {"prompt_tokens": 5, "completion_tokens": len(answer)}
        choices = [{"index": 0, "message": message, "finish_reason": reason}]
        self.reply(200, {"model": request["model"], "choices": choices, "usage": usage})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def pupil():
    """The class, with the address it serves at."""
    cls = type("Served", (Pupil,), {"asked": Counter(), "right": Counter(), "most": None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), cls)
    cls.address = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield cls
    server.shutdown()
    server.server_close()


@pytest.fixture
def sums(tmp_path):
    """Ten additions in GSM8K's form."""
    lines = [
        {"question": f"What is {n} + 1?", "answer": f"So it is {n + 1}.\n#### {n + 1}"} for n in range(10)
    ]
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Benchmark("sums", str(file), samples=SAMPLES, max_tokens=64)


def ask(pupil, names, folder, *benchmarks, **more):
    asking = Asking(servers=(pupil.address,), **more.pop("asking", {}))
    models = [Model(name, name) for name in names]
    return evaluate(models, list(benchmarks), str(folder), asking, options=on_lasting_workers(), **more)


def test_the_table_is_what_the_models_can_do(tmp_path, pupil, sums, capsys):
    found = ask(pupil, ["poor", "good", "half"], tmp_path / "out", sums, k=[2])
    rows = {row["model"]: row for row in found["rows"]}
    texts = [
        text
        for (text,) in duckdb.sql(f"SELECT prompt FROM '{tmp_path}/out/sums/problems/*.parquet'").fetchall()
    ]
    assert len(texts) == 10
    for name, row in rows.items():
        rights = [pupil.right[name, text] for text in texts]
        expected = score(
            np.repeat(range(10), SAMPLES),
            [place < right for right in rights for place in range(SAMPLES)],
            np.zeros(40),
            np.ones(40),
            k=[2],
        )
        assert (row["problems"], row["samples"], row["unanswered"]) == (10, 40, 0)
        for k in (1, 2):
            assert row["pass_at"][str(k)] == pytest.approx(expected.pass_at[k])
    assert rows["poor"]["pass_at"]["1"][0] < 0.5 < rows["good"]["pass_at"]["1"][0]
    difference = next(d for d in found["differences"] if d["model"] == "good")["difference"]
    means = [rows[name]["pass_at"]["1"][0] for name in ("poor", "good")]
    assert difference[0] == pytest.approx(means[1] - means[0]) and difference[1] > 0
    half = rows["half"]["pass_at"]
    # always or never right: a second try is no use
    assert 0 < half["1"][0] < 1 and half["1"][0] == half["2"][0]
    printed = capsys.readouterr().out
    assert "pass@2" in printed and f"{100 * means[1]:.1f} [" in printed
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


def test_nothing_is_asked_twice_and_a_model_more_is_asked_alone(tmp_path, pupil, sums):
    first = ask(pupil, ["poor"], tmp_path / "out", sums)
    assert pupil.asked == {"poor": 40}
    assert ask(pupil, ["poor"], tmp_path / "out", sums) == first
    assert pupil.asked == {"poor": 40}
    both = ask(pupil, ["good", "poor"], tmp_path / "out", sums)
    assert pupil.asked == {"poor": 40, "good": 40}
    assert both["rows"][1] == first["rows"][0]  # the same answers, now the second row


def test_a_server_that_goes_away_ends_the_run_and_the_rest_is_asked_later(tmp_path, pupil, sums):
    pupil.most = 25
    with pytest.raises(RequestError, match="no credit left"):
        ask(pupil, ["poor"], tmp_path / "out", sums, asking={"concurrency": 2})
    assert pupil.asked["poor"] == 25
    pupil.most = None
    (row,) = ask(pupil, ["poor"], tmp_path / "out", sums)["rows"]
    assert pupil.asked["poor"] == 40 and row["unanswered"] == 0


def test_a_model_that_refuses_everything_has_no_result(tmp_path, pupil, sums):
    with pytest.raises(
        RequestError, match=r"narrow: every request was refused, .*maximum context length is 4"
    ):
        ask(pupil, ["narrow"], tmp_path / "out", sums)


def test_problems_that_cannot_be_checked_are_told(tmp_path, pupil, sums, capsys):
    """Ten of twelve: whoever compares with published numbers must know."""
    rows = [json.loads(line) for line in Path(sums.file).read_text().splitlines()]
    more = tmp_path / "more.jsonl"
    rows = [{"problem": row["question"], "answer": row["answer"].split()[-1]} for row in rows]
    rows += [
        {"problem": "What is 3 + 4, about?", "answer": ""},
        {"problem": "How long?", "answer": "9" * 3000},
    ]
    more.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = ask(pupil, ["good"], tmp_path / "out", replace(sums, file=str(more)))
    (benchmark,) = found["benchmarks"]
    assert benchmark["problems"] == 10
    assert benchmark["left_out"] == {"no_answer": 1, "untestable": 1}
    assert found["rows"][0]["max_tokens"] == 64
    said = " ".join(capsys.readouterr().out.split())
    assert "sums: 2 problems are left out and in no number above" in said and "untestable 1" in said


def test_a_part_of_a_set_and_a_context_that_cuts_answers_short(tmp_path, pupil, sums, capsys):
    part = replace(sums, name="part", count=3, max_tokens=32_768)
    models, asking = [Model("good", "good", context=300)], Asking(servers=(pupil.address,))
    (row,) = evaluate(models, [part], str(tmp_path / "out"), asking, options=on_lasting_workers())["rows"]
    assert (row["problems"], row["samples"]) == (3, 12)
    assert row["pass_at"]["1"][0] == pytest.approx(sum(pupil.right.values()) / 12)
    said = " ".join(capsys.readouterr().out.split())
    assert "part: answers of good end at" in said
    assert "instead of 32,768: its context of 300 holds the problem too" in said
    query = f"SELECT DISTINCT max_tokens FROM '{tmp_path}/out/part/rollouts/*.parquet'"
    ((most,),) = duckdb.sql(query).fetchall()
    assert 100 < most < 200  # what the problem and the form of a chat are estimated to leave


def test_wrong_requests_are_told_before_anything_is_asked(tmp_path):
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text("{}")
    ifeval = tmp_path / "ifeval.jsonl"
    ifeval.write_text(
        json.dumps({"key": 1, "prompt": "Be brief.", "instruction_id_list": ["x"], "kwargs": [{}]})
    )
    for arguments, *words in (
        (["nowhere"], "no such folder"),
        ([tmp_path], "no config.json"),
        ([model], "there is nothing to evaluate on"),
        ([model, model, "--gym", "gcd"], "two models are called tiny"),
        ([model, "--gym", "gcd", "--gym", "gcd:size=3"], "two benchmarks are called gcd"),
        ([model, "--gym", "no_such_task"], "no dataset no_such_task"),
        ([model, "--gym", "gcd:size"], "write DATASET:option=value"),
        ([model, "--benchmark", "set.jsonl"], "write NAME=FILE"),
        ([model, "--benchmark", "set=set.jsonl"], "benchmark set: there is no file set.jsonl"),
        ([model, "--benchmark", "a/b=champ-v0.json"], "a name has letters"),
        ([model, "--benchmark", f"if={ifeval}"], "benchmark if: no problem of", "can be checked: 1 untestable"),
        ([model, "--gym", "gcd", "--samples", 2, "--temperature", 0], "would all be the same"),
        ([model, "--gym", "gcd", "--k", 8], "pass@8 needs as many samples"),
        ([model, "--gym", "gcd", "--k", "x"], "--k x: write numbers"),
        ([model, "--gym", "gcd", "--prompt", "nice"], "expected one of bare, brief"),
        ([model, "--suite", "mimo", "--data", tmp_path], "aime2024.jsonl", "AIME 2024, 30 problems", "--only"),
        ([model, "--suite", "mimo", "--only", "aime"], "the suite mimo has math500, aime2024"),
    ):  # fmt: skip
        refused = reasonmill("evaluate", *arguments, "--output", tmp_path / "out", "--quiet", "--workers", 1)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert all(word in refused.stderr for word in words), refused.stderr


def test_requests_as_they_are_written(tmp_path):
    (tmp_path / "aime2024.jsonl").write_text("")
    folder = tmp_path / "sft" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"max_position_embeddings": 512}')
    assert parse_benchmark("gsm=data/gsm8k.gz:100", 4, 9) == Benchmark("gsm", "data/gsm8k.gz", 100, {}, 4, 9)
    assert parse_benchmark("gsm=a:b.jsonl", 1, 9).file == "a:b.jsonl"
    assert parse_gym("chain_sum:size=50,min_digits=1", 1, 9).gym == {
        "chain_sum": {"size": 50, "min_digits": 1}
    }
    assert parse_gym("easy=gcd:max_value=12", 1, 9) == Benchmark(
        "easy", gym={"gcd": {"max_value": 12}}, max_tokens=9
    )
    (aime,) = suite("mimo", str(tmp_path), ["aime2024"])
    assert (aime.samples, aime.max_tokens, aime.file) == (32, 32_768, str(tmp_path / "aime2024.jsonl"))
    tuned = parse_model(str(folder), ())
    assert (tuned.name, tuned.context) == ("sft", 512) and len(tuned.sha256) == 64
    assert parse_model(f"mine={folder}", ()).name == "mine"
    assert parse_model("org/big-model", ("http://x",)) == Model("big-model", "org/big-model")


@pytest.mark.vllm
def test_a_real_server(tmp_path, vllm_server):
    """The random model is never right; every number is there all the same."""
    done = reasonmill(
        *("evaluate", vllm_server.model, "--server", vllm_server.base_url, "--output", tmp_path / "out"),
        *("--gym", "chain_sum:size=3", "--samples", 2, "--max-tokens", 8, "--workers", 1),
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert row["pass_at"]["1"][0] == 0 and row["pass_at"]["1"][2] < 1
    assert (row["samples"], row["unanswered"]) == (6, 0)
    assert 0 < row["tokens"] <= 8 and 0 <= row["truncated"] <= 1
    assert "chain_sum: 3 problems × 2 samples" in done.stdout
