"""Answers of several models, each asked in its turn or taken from files, and the verdicts beside them."""

import asyncio
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from small_runs import rows_of, run, write_dataset

from mixtures.problems import SCHEMA
from mixtures.rollouts import RolloutModel, Rollouts, RolloutVerdicts
from pipeline import asking
from pipeline.client import ModelClient
from pipeline.errors import RequestError
from pipeline.ledger import request_id
from pipeline.models import sha256_of
from pipeline.runner import Runner, RunOptions
from reasonmill import evaluate
from synth.verify.isolation import sandbox
from synth.verify.task import Call, Task

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
SQUARES = Task(tuple(Call([n], {}, n * n) for n in range(3)), function="square").to_check()
PROBLEMS = [  # name, prompt, kind, check, parts
    ("six", "What is 2 times 3?", "math", {"kind": "math", "answer": "6"}, 1),
    ("digits", "What is 12 times 12?", "reasoning_gym", {"kind": "digits", "answer": "144"}, 3),
    ("square", "Write square(n).", "code", SQUARES, 3),
]


def write_problems(folder, problems=PROBLEMS, references=None):
    """A finished dataset `problems`, in two shards."""
    rows = [
        {
            "id": hashlib.sha256(name.encode()).hexdigest()[:32],
            "request": "{}",
            "problem_id": name,
            "problem": prompt,
            "prompt": prompt,
            "kind": kind,
            "source": "test",
            "split": "train",
            "check": json.dumps(check),
            "parts": parts,
            "difficulty": None,
            "reference": (references or {}).get(name),
        }
        for name, prompt, kind, check, parts in problems
    ]
    schema = pa.schema([pa.field("id", pa.string()), pa.field("request", pa.string()), *SCHEMA])
    tables = [pa.Table.from_pylist(part, schema=schema) for part in (rows[:2], rows[2:])]
    write_dataset(folder, "problems", tables)
    return tables


def asked(*tables, **config):
    stage = Rollouts(Rollouts.Config(**config))
    for table in tables:
        assert not list(stage.requests(table))
    return list(stage.own_requests())


def model(name="a", **options):
    given = {"name": name, "model": "m", "server": "http://127.0.0.1:9", "samples": 3}
    return given | {"max_tokens": 64, "context": 512} | options


# ---- what is asked ----


def test_every_problem_is_asked_samples_times_of_each_model_in_its_turn(tmp_path):
    tables = write_problems(tmp_path)
    requests = asked(*tables, models=[model("a"), model("b", samples=2, role="sft")])
    assert [request["model"] for request in requests] == ["a"] * 9 + ["b"] * 6
    assert {(r["model"], r["problem_id"], r["sample"]) for r in requests} == {
        (name, problem[0], sample)
        for name, samples in (("a", 3), ("b", 2))
        for problem in PROBLEMS
        for sample in range(samples)
    }
    assert len({r["sampling"]["seed"] for r in requests}) == 15
    assert requests[0]["sampling"] | {"seed": 0} == {
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 64,
        "seed": 0,
    }
    assert asked(*reversed(tables), models=[model("a"), model("b", samples=2, role="sft")]) == requests
    # more samples and another model ask anew only what is new; another prompt, all of that problem
    more = asked(*tables, models=[model("a", samples=4), model("c")])
    assert [request for request in more if request in requests] == requests[:9]
    other = [(name, "Now: " * (name == "six") + prompt, *rest) for name, prompt, *rest in PROBLEMS]
    changed = asked(*write_problems(tmp_path / "other", other), models=[model("a")])
    assert {r["problem_id"] for r in changed if r not in requests} == {"six"}


def test_a_limit_takes_the_same_problems_for_all_models_and_samples(tmp_path):
    tables = write_problems(tmp_path)
    requests = asked(*tables, models=[model("a"), model("b")], limit=2)
    assert len({request["problem_id"] for request in requests}) == 2
    assert len(requests) == 12
    assert requests[:6] == [r for r in asked(*tables, models=[model("a")]) if r in requests]


def test_where_it_is_asked_is_no_part_of_the_question(tmp_path):
    tables = write_problems(tmp_path)
    here = [model("a", server="http://127.0.0.1:1", api_key_env="KEY")]
    there = [model("a", server=["http://gpu:1", "http://gpu:2"], vllm_options={"seed": 1})]
    assert asked(*tables, models=here) == asked(*tables, models=there)
    keys = {Rollouts(Rollouts.Config(models=models)).key() for models in (here, there)}
    assert len(keys) == 1


def test_what_changes_answers_is_part_of_the_question(tmp_path):
    """Of vLLM's options those that do, and the model of this run, not one of the same name elsewhere."""
    tables = write_problems(tmp_path)
    plain = [model("a", vllm_options={"max_num_seqs": 8, "tensor-parallel-size": 2})]
    assert asked(*tables, models=plain) == asked(*tables, models=[model("a")])
    for option in ({"quantization": "fp8"}, {"chat-template": "x.jinja"}):
        other = [model("a", vllm_options=option)]
        names = {request_id("rollouts", r) for r in asked(*tables, models=other)}
        assert not names & {request_id("rollouts", r) for r in asked(*tables, models=plain)}
        assert len({Rollouts(Rollouts.Config(models=m)).key() for m in (plain, other)}) == 2

    for folder, weights in (("one", "1"), ("two", "2")):
        path = tmp_path / folder / "sft" / "model"
        path.mkdir(parents=True)
        (path / "config.json").write_text(f'{{"weights": {weights}}}')
    found = []
    for folder in ("one", "two"):
        stage = Rollouts(Rollouts.Config(models=[model("a", server=None, model="sft/model")]))
        stage.folder = str(tmp_path / folder)
        found.append(stage.files())
        assert found[-1] == {"model a": sha256_of(str(tmp_path / folder / "sft" / "model"))}
    assert found[0] != found[1]
    stage.folder = str(tmp_path / "three")
    assert stage.files() == {}
    with pytest.raises(RequestError, match="sft/model: no such folder"):
        stage.check(None)
    stage.coming = frozenset([str(tmp_path / "three" / "sft" / "model")])
    stage.check(None)


def test_a_server_draws_as_the_request_says_and_not_as_the_models_folder(tmp_path, monkeypatch):
    """Asked of what vLLM is started with, whoever starts it."""
    started = []

    def start(folder, *, options, log):
        started.append(options["generation_config"])
        raise RequestError("not now")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(asking, "start_servers", start)
    monkeypatch.setattr(evaluate, "start_servers", start)
    monkeypatch.setattr(asking, "devices", lambda: ["cpu"])
    for options in ({}, {"generation_config": "auto"}):
        stage = Rollouts(
            Rollouts.Config(models=[model("a", server=None, model=str(tmp_path), vllm_options=options)])
        )
        served = evaluate._Servers(
            evaluate.Model("a", str(tmp_path)),
            evaluate.Asking(vllm_options=options),
            512,
            Console(quiet=True),
        )
        for begin in (stage._models["a"].start, served.addresses):
            with pytest.raises(RequestError, match="not now"):
                begin()
    assert started == ["vllm", "vllm", "auto", "auto"]


class Recorded:
    """Stands for a model whose server takes its time to start and to answer, and must be the only one."""

    running: list[str] = []
    seen: list[str] = []

    def __init__(self, name, fails=False):
        self.name, self.identity, self.fails = name, (name, None), fails

    def tight(self, messages, max_tokens):
        return {}

    def options(self):
        return {}

    def check(self):
        pass

    def start(self):
        assert not self.running
        self.running.append(self.name)
        self.seen.append(f"start {self.name}")

    def stop(self):
        if self.name in self.running:
            self.running.remove(self.name)
            self.seen.append(f"stop {self.name}")

    async def greet(self, **sampling):
        if self.fails:
            raise RequestError("a wrong name")

    async def ask(self, messages, **sampling):
        assert self.running == [self.name]
        await asyncio.sleep(0.001 * (sampling["seed"] % 7))
        assert self.running == [self.name]
        choice = type("Choice", (), {"text": f"\\boxed{{{self.name}}}", "reasoning": None})
        return type("Answer", (), {"choices": [choice], "finish_reason": "stop", "prompt_tokens": 1,
                                   "completion_tokens": 1})  # fmt: skip


def test_one_server_at_a_time(tmp_path):
    write_problems(tmp_path)
    stage = Rollouts(Rollouts.Config(models=[model("a"), model("b"), model("c", samples=1)], concurrency=4))
    stage._models = {name: Recorded(name) for name in "abc"}
    Recorded.seen.clear()
    with Runner(tmp_path, RunOptions(workers=1, quiet=True)) as runner:
        assert runner.run(stage).kept == 21
    assert Recorded.seen == ["start a", "stop a", "start b", "stop b", "start c", "stop c"]
    assert {(row["model"], row["answer"]) for row in rows_of(tmp_path, "rollouts")} == {
        (name, f"\\boxed{{{name}}}") for name in "abc"
    }

    # the second model's server is refused: an error, what the first said is kept, and no server is left
    again = Rollouts(Rollouts.Config(models=[model("a", samples=5), model("d")], concurrency=4))
    again._models = {"a": Recorded("a"), "d": Recorded("d", fails=True)}
    Recorded.seen.clear()
    with Runner(tmp_path, RunOptions(workers=1, quiet=True)) as runner:
        with pytest.raises(RequestError, match="a wrong name"):
            runner.run(again)
        assert Recorded.seen == ["start a", "stop a", "start d", "stop d"]
        Recorded.seen.clear()
        alone = Rollouts(Rollouts.Config(models=[model("a", samples=5)]))
        alone._models = {"a": Recorded("a")}
        assert runner.run(alone).kept == 15
    assert Recorded.seen == []  # all was in the book


@pytest.mark.vllm
def test_a_real_server_answers_in_chat(vllm_server, tmp_path):
    write_problems(tmp_path)
    served = {"model": vllm_server.model, "server": vllm_server.base_url, "max_tokens": 12}
    models = [model("greedy", **served, temperature=0, samples=1), model("drawn", **served, role="sft")]
    stage = Rollouts(Rollouts.Config(models=models))
    with Runner(tmp_path, RunOptions(workers=1, quiet=True)) as runner:
        summary = runner.run(stage)
    assert (summary.kept, summary.dropped, summary.failed) == (12, {}, {})
    rows = rows_of(tmp_path, "rollouts")
    for row in rows:
        assert row["id"] == request_id("rollouts", json.loads(row["request"]))
        assert 0 < row["completion_tokens"] <= 12 == row["max_tokens"]
        assert row["finish_reason"] in ("stop", "length")
    prompts = {name: prompt for name, prompt, *_ in PROBLEMS}

    async def ask(row):
        async with ModelClient(vllm_server.base_url, vllm_server.model) as client:
            sampling = {name: row[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
            return await client.chat([{"role": "user", "content": prompts[row["problem_id"]]}], **sampling)

    greedy = next(row for row in rows if row["model"] == "greedy")
    again = asyncio.run(ask(greedy))
    assert (again.text, again.prompt_tokens) == (greedy["answer"], greedy["prompt_tokens"])
    drawn = [row["answer"] for row in rows if row["model"] == "drawn" and row["problem_id"] == "six"]
    assert len(set(drawn)) == 3


# ---- answers made elsewhere, and verdicts ----

PROGRAM = "```python\ndef square(n):\n    return {}\n```"
ELSEWHERE = [  # problem, model, role, sample, answer, finish, verdict, reason, passes
    ("six", "big", "strong", 0, r"\boxed{6}", "stop", "right", None, [True]),
    ("six", "big", "strong", 1, r"\boxed{7}", "stop", "wrong", "not_equal", [False]),
    ("six", "small", "sft", 0, "2 times 3 is", "length", "wrong", "truncated", [False]),
    ("digits", "big", "strong", 0, r"\boxed{144}", "stop", "right", None, [True, True, True]),
    ("digits", "small", "sft", 0, r"\boxed{124}", "stop", "wrong", "not_equal", [True, False, True]),
    ("square", "big", "strong", 0, PROGRAM.format("n * n"), "stop", "right", None, [True, True, True]),
    ("square", "small", "sft", 0, PROGRAM.format("n + n"), "stop", "wrong", "tests_failed", [True, False, True]),
]  # fmt: skip
FIELDS = ("problem_id", "model", "role", "sample", "answer", "finish_reason")


def write_rollouts(path, rows=ELSEWHERE):
    made = [dict(zip(FIELDS, row, strict=False)) for row in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return str(path)


@needs_sandbox
def test_answers_from_files_and_their_verdicts(tmp_path, caplog):
    tables = write_problems(tmp_path / "run")
    files = [
        write_rollouts(tmp_path / "big.parquet", [row for row in ELSEWHERE if row[1] == "big"]),
        write_rollouts(
            tmp_path / "small.jsonl",
            [r for r in ELSEWHERE if r[1] == "small"] + [("other", "small", "sft", 0, "1", "stop")],
        ),
    ]
    assert len(asked(*tables, files=files)) == 7
    assert "1 answers are to problems that are not asked here" in caplog.text
    summary, judged = run(tmp_path / "run", Rollouts(Rollouts.Config(files=files)), RolloutVerdicts())
    assert (summary.kept, judged.kept, judged.failed) == (7, 7, {})
    rows = rows_of(tmp_path / "run", "rollouts")
    verdicts = {row["id"]: row for row in rows_of(tmp_path / "run", "rollout_verdicts")}
    expected = {row[:4]: row for row in ELSEWHERE}
    for row in rows:
        said = expected[tuple(row[name] for name in FIELDS[:4])]
        assert (row["answer"], row["finish_reason"], row["seed"]) == (said[4], said[5], None)
        verdict = verdicts[row["id"]]
        assert (verdict["rollout_verdict"], verdict["rollout_reason"], verdict["rollout_passes"]) == said[
            6:
        ], said
    # one more answer is one more row; the others are not taken again
    more = [*ELSEWHERE, ("six", "small", "sft", 1, r"\boxed{6}", "stop")]
    (again,) = run(
        tmp_path / "run", Rollouts(Rollouts.Config(files=[write_rollouts(tmp_path / "all.jsonl", more)]))
    )
    assert (again.kept, again.tasks_run) == (8, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sample": "first"}, "row 2, field 'sample': expected a number from 0 on, found 'first'"),
        ({"sample": 0}, "row 2, field 'sample': expected each answer once, found sample 0 of big again"),
        ({"answer": None}, "row 2, field 'answer': expected a text, found NoneType"),
        ({"role": ""}, "row 2, field 'role': expected a text"),
        ({"problem_id": 7}, "row 2, field 'problem_id': expected a text"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, message):
    first = dict(zip(FIELDS, ELSEWHERE[0], strict=False))
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(first) + "\n" + json.dumps(first | {"sample": 1} | row) + "\n")
    with pytest.raises(RequestError, match=message):
        asked(*write_problems(tmp_path), files=[str(path)])


def test_wrong_requests_say_what_to_do(tmp_path):
    for options, message in (
        ({}, "nobody is there to answer"),
        ({"models": [model("a"), model("a")]}, "two have the same name"),
        ({"models": [model("a", max_tokens=500)]}, r"a: max_tokens \(500\) leaves less than 100 tokens"),
        ({"files": ["missing.jsonl"]}, "missing.jsonl: no such file"),
    ):
        with pytest.raises(RequestError, match=message):
            Rollouts(Rollouts.Config(**options)).check(None)
        write_problems(tmp_path / "run")
        with pytest.raises(RequestError, match=message):  # by its own command as well
            run(tmp_path / "run", Rollouts(Rollouts.Config(**options)))
    with pytest.raises(ValueError, match="temprature"):
        RolloutModel(name="a", model="m", temprature=1)
    elsewhere = write_rollouts(tmp_path / "none.jsonl", [("other", "big", "strong", 0, "1", "stop")])
    with pytest.raises(
        RequestError, match="none of their answers has the problem_id of one of the 3 problems"
    ):
        asked(*write_problems(tmp_path), files=[elsewhere])
