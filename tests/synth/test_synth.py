"""What is asked is settled by config and documents alone, and every answer of a real server is kept as it came."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pytest

from pipeline import asking, dataset, storage
from pipeline.client import ModelClient
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from pipeline.ledger import request_id
from pipeline.runner import Runner, RunOptions
from pipeline.server import Server
from synth import problems, windows
from synth.synth import Synth
from synth.verify import code
from synth.verify.isolation import sandbox
from synth.verify.task import Task

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")

ROOT = Path(__file__).parents[2]
PROOF = "Let $n$ be odd, so $n = 2k + 1$. Then $n^2 = 4k(k + 1) + 1$, which is odd. "
EASY = {"chain_sum": {"size": 3, "max_terms": 2, "max_digits": 1}}


def config(**options) -> Synth.Config:
    """Small, and without packaged files."""
    few = {"problems": {}, "tasks": EASY, "worked_examples": 0, "write_queries": 3, "context": 512}
    few |= {"analyse_where": "true", "analyse_order": "score", "max_generated_tokens": None}
    few |= {"analyse_max_tokens": 24, "solve_max_tokens": 16, "write_max_tokens": 20}
    return Synth.Config(**(few | options))


def documents(number: int, seed: int = 0) -> pa.Table:
    """Rows (id, text, score) in a random order; scores repeat."""
    drawn = random.Random(seed)
    rows = [{"id": f"d{n:03d}", "text": f"{n}. {PROOF}", "score": float(n * 7 % 10)} for n in range(number)]
    drawn.shuffle(rows)
    return pa.Table.from_pylist(rows)


def asked(stage: Synth, *tables: pa.Table) -> list[dict]:
    made = [request for table in tables for request in stage.requests(table)]
    return [*made, *stage.own_requests()]


def of(strategy: str, requests: list[dict]) -> list[dict]:
    return [request for request in requests if request["strategy"] == strategy]


def ids(requests: list[dict]) -> set[str]:
    return {request_id("synth", request) for request in requests}


# ---- what is asked ----


def test_the_documents_to_analyse_do_not_depend_on_shards():
    table = documents(60)
    ranked = sorted(zip(table["score"].to_pylist(), table["id"].to_pylist(), strict=True), reverse=True)
    stage = Synth(config(analyse_documents=11))
    whole = asked(stage, table)
    assert {r["source_id"] for r in of("analyse", whole)} == {document for _, document in ranked[:11]}
    parts = [documents(60, seed=1).slice(start, 13) for start in range(0, 60, 13)]
    assert asked(stage, *parts) == whole  # in the same order, too; and nothing is left over of the first time
    assert len(ids(whole)) == len(whole)
    assert {r["prompt"].split("@")[0] for r in of("analyse", whole)} == {"derive", "explain", "question"}
    assert not of("analyse", asked(Synth(config(analyse_documents=0)), table))
    odd = Synth(config(analyse_where="score = 7", analyse_order="CASE WHEN id < 'd030' THEN score END"))
    assert {r["source_id"] for r in of("analyse", asked(odd, table))} == {"d001", "d011", "d021"}


def test_equal_configs_ask_the_same_and_a_seed_asks_all_anew():
    table = documents(5)
    first, second, other = (asked(Synth(config(seed=seed)), table) for seed in (4, 4, 5))
    assert first == second
    assert json.loads(json.dumps(first)) == first
    assert not ids(first) & ids(other)
    samples = [r["sampling"]["seed"] for r in of("solve", first)]
    assert len(samples) == 6  # three tasks, two samples each
    assert len(set(samples)) == 6
    assert len({r["source_id"] for r in of("solve", first)}) == 3


def test_where_it_is_asked_is_no_part_of_the_question():
    here = Synth(config())
    there = Synth(
        config(server="http://gpu:8000", api_key_env="KEY", concurrency=7, vllm_options={"seed": 1})
    )
    assert here.key() == there.key()
    assert asked(here) == asked(there)
    assert Synth(config(temperature=0.7)).key() != here.key()


def test_what_hardly_fits_is_asked_again_in_another_context(tmp_path):
    """Its refusal is final, the size of the server's context is not."""
    queries = tmp_path / "queries.yaml"
    queries.write_text(f"short: Tell me of the sea.\nlong: {'tale ' * 350}\n")

    def made(context: int) -> dict[str, str]:
        options = config(tasks={}, analyse_documents=0, words=None, queries=str(queries), context=context)
        return {r["source_id"]: request_id("synth", r) for r in asked(Synth(options))}

    one, other, wide, wider = made(512), made(600), made(4096), made(8192)
    assert one["query/short"] == other["query/short"] == wide["query/short"]
    assert len({one["query/long"], other["query/long"], wide["query/long"]}) == 3
    assert wide == wider


def test_the_budget_bounds_all_answers_and_keeps_every_kind():
    full = asked(Synth(config(analyse_documents=40, write_queries=40, solve_samples=10)), documents(50))
    cap = sum(r["sampling"]["max_tokens"] for r in full) // 3
    stage = Synth(config(analyse_documents=40, write_queries=40, solve_samples=10, max_generated_tokens=cap))
    some = asked(stage, documents(50))
    assert some == full[: len(some)]
    assert cap - 24 < sum(r["sampling"]["max_tokens"] for r in some) <= cap
    for strategy in ("analyse", "solve", "write"):
        assert len(of(strategy, some)) == pytest.approx(len(of(strategy, full)) / 3, abs=1.5)


def test_a_window_is_the_head_and_a_piece_of_the_middle():
    paragraphs = [(f"Paragraph {n}. " + PROOF * (1 + n % 3)).strip() for n in range(60)]
    text = "\n\n".join(paragraphs)
    shown = windows.window(text, 900)
    assert windows.tokens(shown) <= 900
    assert windows.tokens(shown) > 600
    head, middle = shown.split(windows.GAP)
    assert text.startswith(head)
    assert text.index(middle) >= len(text) // 2
    whole = set(paragraphs)
    assert {
        *head.split("\n\n"),
        *middle.split("\n\n"),
    } <= whole  # cut between paragraphs, where there are some
    assert windows.window(text, windows.tokens(text)) == text
    for budget in (0, 5, 40):
        assert windows.tokens(windows.window("x" * 10_000 + "鸡兔同笼" * 500, budget)) <= budget + 20
    (request,) = of(
        "analyse",
        asked(Synth(config()), pa.Table.from_pylist([{"id": "d", "text": text, "score": 1.0}])),
    )
    assert request["cut"] is True
    (request,) = of("analyse", asked(Synth(config()), documents(1)))
    assert request["cut"] is False


def test_the_estimate_is_on_the_safe_side_of_a_real_tokenizer():
    cached = list((asking.cache_folder() / "models").glob("*/smollm2-135m-instruct/tokenizer.json"))
    if not cached:
        pytest.skip("the packaged generator is not in the cache")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(cached[0]))
    pages = [path.read_text() for path in sorted((ROOT / "pipeline").rglob("*.py"))]
    pieces = [
        page[at : at + 3000]
        for page in [*pages, (ROOT / "README.md").read_text()]
        for at in range(0, len(page), 3000)
    ]
    ratios = sorted(windows.tokens(piece) / len(tokenizer.encode(piece).ids) for piece in pieces)
    assert ratios[len(ratios) // 50] > 0.95  # 98 of 100
    assert ratios[len(ratios) // 2] < 1.4  # and not far beyond it


# ---- problems ----


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chain_sum", {}),
        ("gcd", {}),
        ("fraction_simplification", {}),
        ("number_sorting", {}),
        ("calendar_arithmetic", {}),
        ("coin_flip", {}),
        ("gsm_symbolic", {}),
        ("time_intervals", {}),
        ("letter_counting", {"min_words": 2, "max_words": 3}),
        ("syllogism", {}),
        ("knights_knaves", {}),
        ("mini_sudoku", {}),
    ],
)
def test_tasks_can_be_judged_after_a_round_through_json(name, options):
    import reasoning_gym

    scorer = reasoning_gym.create_dataset(name, size=1, seed=0, **options)
    made = list(problems.from_gym(name, {"size": 4, **options}, seed=3))
    assert made == list(problems.from_gym(name, {"size": 4, **options}, seed=3))
    assert len({question.id for question in made}) == 4
    for question in made:
        entry = json.loads(json.dumps(question.check))["entry"]
        assert scorer.score_answer(entry["answer"], entry) == 1
        assert scorer.score_answer("no idea", entry) < 1
        assert entry["question"].strip() in question.text
        assert r"\boxed{}" in question.text


def test_tasks_that_cannot_be_had_are_answers():
    with pytest.raises(RequestError, match="no dataset 'chain_som'; it has ab, "):
        list(problems.from_gym("chain_som", {}, 0))
    with pytest.raises(RequestError, match=r"chain_sum refuses the options .*max_digit"):
        list(problems.from_gym("chain_sum", {"max_digit": 2}, 0))
    with pytest.raises(RequestError, match=r"gives its own answer .* leave it out"):
        list(problems.from_gym("rush_hour", {"size": 3}, 0))


def test_problem_files(tmp_path):
    words = [{"question": f"{n} + 1 = ?", "answer": f"One more.\n#### {n + 1}"} for n in range(20)]
    file = tmp_path / "words.jsonl"
    file.write_text("\n".join(map(json.dumps, words)))
    drawn = problems.from_file(str(file), 5, seed=1)
    assert len({question.id for question in drawn}) == 5
    for question in drawn:
        number = int(question.text.split(" + ")[0])
        assert question.check == {"kind": "math", "answer": str(number + 1)}
    file.write_text("\n".join(map(json.dumps, reversed(words))))
    assert problems.from_file(str(file), 5, seed=1) == drawn  # the file's order does not matter
    assert problems.from_file(str(file), 5, seed=2) != drawn
    assert len(problems.from_file(str(file), None, seed=1)) == 20

    body = "    return 2 * x\n"
    function = {"task_id": "t/0", "entry_point": "double", "prompt": 'def double(x):\n    """Twice x."""\n'}
    function |= {"canonical_solution": body, "test": "def check(candidate):\n    assert candidate(4) == 8\n"}
    file.write_text(json.dumps(function))
    (question,) = problems.from_file(str(file), None, 0)
    assert (question.check["kind"], question.check["function"], question.prompt) == ("code", "double", "code")
    answer = "```python\n{}    return {}\n```"
    task = Task.from_check(json.loads(json.dumps(question.check)))
    assert code.check(answer.format(function["prompt"], "2 * x"), task).passed
    assert code.check(answer.format(function["prompt"], "3 * x"), task).reason == "tests_failed"
    assert function["prompt"].strip() in question.text

    choice = {"question": "Which is even?", "options": ["one", "two"], "answer": "B"}
    file.write_text(json.dumps(choice))
    (question,) = problems.from_file(str(file), None, 0)
    assert (question.prompt, question.check) == ("choice", {"kind": "choice", "answer": "B"})
    file.write_text(json.dumps({"problem": "Prove it.", "solution": "Clear."}))
    with pytest.raises(RequestError, match="no problem in it has an answer or a test"):
        problems.from_file(str(file), None, 0)


@needs_sandbox
def test_programs_and_functions_are_asked_for_by_their_own_prompts(tmp_path):
    def asked(name, row):
        file = tmp_path / name
        file.write_text(json.dumps(row))
        (question,) = problems.from_file(str(file), None, 0)
        return question, Task.from_check(json.loads(json.dumps(question.check)))

    contest = {"problem": "Print the sum.", "tests": {"inputs": ["1 2\n"], "outputs": ["3\n"]}}
    question, task = asked("contest.jsonl", contest)
    assert question.prompt == "program" and "standard input" in question.text
    assert code.check("```python\nprint(sum(map(int, input().split())))\n```", task).passed
    assert not code.check("```python\nprint(4)\n```", task).passed

    pairs = {"fn_name": "half", "inputs": [[3], [4]], "outputs": [[1.5], [2.0]]}
    question, task = asked(
        "apps.jsonl", {"question": "Halve.", "input_output": pairs, "starter_code": "def half(n):"}
    )
    assert question.prompt == "function" and "def half(n):" in question.text
    assert code.check("```python\ndef half(n):\n    return n / 2\n```", task).passed
    assert not code.check("```python\ndef half(n):\n    return n // 2\n```", task).passed


@needs_sandbox
def test_problems_whose_own_solution_fails_are_not_asked(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path / "cache"))
    tests = {"inputs": ["1 2\n"], "outputs": ["3\n"]}
    rows = [
        {
            "name": "a",
            "problem": "Sum?",
            "tests": tests,
            "solutions": [{"language": 3, "solution": "print(3)"}],
        }
    ]
    rows += [
        {
            "name": "b",
            "problem": "Sum!",
            "tests": tests,
            "solutions": [{"language": 3, "solution": "print(4)"}],
        }
    ]
    rows += [
        {"name": "c", "problem": "Sum.", "tests": tests}
    ]  # without a solution: nothing to hold against it
    file = tmp_path / "contest.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = {question.id for question in problems.from_file(str(file), None, 0)}
    assert found == {"code_contests/a", "code_contests/c"}
    assert "1 problems left out" in caplog.text and "code_contests/b (tests_failed)" in caplog.text
    assert len(problems.from_file(str(file), None, 0, check_references=False)) == 3
    for count in (1, 2, 3):  # others are drawn in the place of what is left out
        assert len(problems.from_file(str(file), count, 0)) == min(count, 2)

    monkeypatch.setenv(sandbox.VARIABLE, "none")  # what is known needs no sandbox
    assert {question.id for question in problems.from_file(str(file), None, 0)} == found
    file.write_text(json.dumps(rows[1]))
    assert len(problems.from_file(str(file), None, 0)) == 1
    assert "are not checked" in caplog.text
    monkeypatch.delenv(sandbox.VARIABLE)
    with pytest.raises(RequestError, match="of every problem in it the own solution fails"):
        problems.from_file(str(file), None, 0)


# ---- what is refused before anything runs ----


def test_mistakes_are_told_before_anything_runs(tmp_path, monkeypatch):
    schema = documents(1).schema
    good = {"server": "http://gpu:8000"}
    Synth(config(**good)).check(schema)
    for options, message in (
        ({"analyse_where": "scor > 1"}, "scor.*Columns: id, text, score"),
        ({"analyse_order": "max(score)"}, "analyse_where and analyse_order: .*aggregate"),
        ({"tasks": {"chain_som": {}}}, "no dataset chain_som; it has ab"),
        ({"problems": {"missing.jsonl": 3}}, "missing.jsonl: no such file"),
        ({"queries": "missing.yaml"}, "missing.yaml"),
        ({"solve_max_tokens": 400}, "solve_max_tokens is more than half of the context"),
    ):
        with pytest.raises(RequestError, match=message):
            Synth(config(**good, **options)).check(schema)
    (tmp_path / "list.yaml").write_text("- a query\n")
    with pytest.raises(RequestError, match="expected one query a line"):
        Synth(config(**good, queries=str(tmp_path / "list.yaml"))).check(schema)

    def on_a_laptop() -> list[str]:
        raise RequestError("vLLM is not installed. Install it, or give the address of a running server.")

    monkeypatch.setattr(asking, "devices", on_a_laptop)
    with pytest.raises(RequestError, match=r"not installed.*`server:` beside `model:`"):
        Synth(config()).check(schema)
    rerun = Synth(config())
    rerun.folder = str(tmp_path)
    with pytest.raises(RequestError, match="not installed"):
        rerun.check(schema)
    (tmp_path / "synthetic" / "_book").mkdir(parents=True)
    rerun.check(schema)  # every answer may be in the book
    with pytest.raises(RequestError, match=r"not installed.*`server:` beside `model:`"):
        rerun.prepare()
    rerun.release()
    monkeypatch.setattr(asking, "devices", lambda: ["cpu"])
    with pytest.raises(RequestError, match="smollm3: no such folder, and no model of that name"):
        Synth(config(model="smollm3")).check(schema)


def test_our_own_queries_are_varied():
    queries = Synth()._queries()
    assert len(set(queries.values())) == len(queries) >= 60
    assert sum(name.split("-")[0] in ("story", "poem", "dialogue") for name in queries) > len(queries) / 3


# ---- answers of a real server ----


def write_run(folder: Path, texts: list[str]) -> None:
    """Finished datasets `documents` (two shards) and `policy`, which keeps all but the first."""
    rows = [{"id": f"d{n}", "text": text, "score": float(n)} for n, text in enumerate(texts)]
    half = len(rows) // 2
    empty = {"version": 1, "shape": "map", "aligned": False, "schema": {}, "reasons": {}}

    def write(name: str, shards: list[list[dict]], inputs: dict[str, str]) -> None:
        schema = pa.Table.from_pylist(shards[-1]).schema
        made = [
            dataset.write_shard(f"{folder}/{name}/{n:05d}.parquet", pa.Table.from_pylist(shard, schema))
            for n, shard in enumerate(shards)
        ]
        number = sum(map(len, shards))
        counts = {"in": number, "kept": number, "dropped": {}, "failed": {}}
        manifest = empty | {"stage": name, "inputs": inputs, "counts": counts}
        storage.write_json(f"{folder}/{name}/manifest.json", manifest | {"shards": dataset.describe(made)})

    write("documents", [rows[:half], rows[half:]], {})
    kept = [{"id": row["id"], "policy_weight": 1.0, "policy_group": "maths"} for row in rows]
    digest = Dataset.open(str(folder / "documents")).digest
    write("policy", [kept[1:half], kept[half:]], {"documents": digest})


def run(folder: Path, options: Synth.Config):
    with Runner(folder, RunOptions(workers=1, quiet=True)) as runner:
        return runner.run(Synth(options))


def answers(folder: Path) -> list[dict]:
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{folder}/synthetic/*.parquet') ORDER BY id")
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]


@pytest.mark.vllm
def test_answers_are_kept_as_they_came(vllm_server: Server, tmp_path):
    """The tiny model's vocabulary is so small that the long document is too long for it, whatever we estimate."""
    write_run(tmp_path, [PROOF, PROOF * 2, "Short. " * 4, PROOF * 40])
    options = config(server=vllm_server.base_url, model=vllm_server.model, analyse_window=300)
    summary = run(tmp_path, options)
    assert (summary.rows_in, summary.kept, dict(summary.dropped)) == (12, 11, {"prompt_too_long": 1})
    rows = answers(tmp_path)
    assert {row["source_id"] for row in rows if row["strategy"] == "analyse"} == {
        "d1",
        "d2",
    }  # not d0, the policy's
    assert [row["strategy"] for row in rows].count("solve") == 6
    for row in rows:
        request = json.loads(row["request"])
        assert row["id"] == request_id("synth", request)
        assert row["query"] == request["messages"][-1]["content"]
        assert json.loads(row["check"]) == request["check"]
        assert {name: row[name] for name in request["sampling"]} == request["sampling"]
        assert 0 < row["completion_tokens"] <= row["max_tokens"]
        assert row["finish_reason"] in ("stop", "length")

    async def ask(row: dict):
        async with ModelClient(vllm_server.base_url, vllm_server.model) as client:
            sampling = {name: row[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
            return await client.chat([{"role": "user", "content": row["query"]}], **sampling)

    again = asyncio.run(ask(rows[0]))  # independent of the stage: the row says all it takes to repeat it
    assert (again.prompt_tokens, again.text[:10]) == (rows[0]["prompt_tokens"], rows[0]["answer"][:10])

    # another config asks only what is new
    book = (tmp_path / "synthetic" / "_book" / "segment-00000.parquet").read_bytes()
    more = config(server=vllm_server.base_url, model=vllm_server.model, analyse_window=300, write_queries=5)
    assert run(tmp_path, more).kept == 13
    assert (tmp_path / "synthetic" / "_book" / "segment-00000.parquet").read_bytes() == book
    new = duckdb.sql(f"SELECT count(*) FROM read_parquet('{tmp_path}/synthetic/_book/segment-00001.parquet')")
    assert new.fetchall() == [(2,)]


DRIVER = """
import sys
from pipeline.runner import Runner, RunOptions
from synth.synth import Synth
with Runner(sys.argv[1], RunOptions(workers=1, quiet=True)) as runner:
    runner.run(Synth(Synth.Config.model_validate_json(sys.argv[2])))
"""


@pytest.mark.vllm
def test_a_killed_run_asks_only_what_is_missing(vllm_server: Server, tmp_path):
    write_run(tmp_path, [PROOF, PROOF])
    options = {"tasks": {}, "problems": {}, "write_queries": 40, "write_max_tokens": 30, "context": 512}
    options |= {"analyse_documents": 0, "concurrency": 2}
    options |= {"server": vllm_server.base_url, "model": vllm_server.model}
    page = tmp_path / "synthetic" / "_book" / "open.jsonl"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path, json.dumps(options)], cwd=ROOT)
    while not page.exists() or page.read_bytes().count(b"\n") < 5:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    before = [json.loads(line) for line in page.read_text().splitlines()]
    assert len(before) < 40
    assert run(tmp_path, Synth.Config(**options)).kept == 40
    rows = duckdb.sql(f"SELECT request_id, answer FROM read_parquet('{tmp_path}/synthetic/_book/*.parquet')")
    book = dict(rows.fetchall())
    assert len(book) == 40
    assert all(book[row["request_id"]] == row["answer"] for row in before)


@pytest.mark.vllm
def test_a_wrong_name_is_one_error_and_no_refused_requests(vllm_server: Server, tmp_path):
    write_run(tmp_path, [PROOF, PROOF])
    with pytest.raises(RequestError, match=r"404.*Check the address .* and the model's name"):
        run(tmp_path, config(server=vllm_server.base_url, model="another-model"))
    assert (tmp_path / "synthetic" / "_book" / "open.jsonl").read_bytes() == b""


@pytest.mark.vllm
def test_a_server_of_its_own_is_started_and_stopped(tiny_llama: Path, tmp_path, monkeypatch):
    """Prompts that together do not fit into one batch, with a seed each: what the CPU build cannot do unaided."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_run(tmp_path / "run", [PROOF * 3 for _ in range(12)])
    small = {"kv_cache_memory_bytes": (64 << 20) + 4096, "dtype": "float32", "max_num_batched_tokens": 1024}
    stage = config(model=str(tiny_llama), context=1024, analyse_window=150, tasks={}, vllm_options=small)
    summary = run(tmp_path / "run", stage)
    assert (summary.rows_in, summary.kept) == (14, 14)
    assert {row["model"] for row in answers(tmp_path / "run")} == {"tiny-llama"}
    log = (tmp_path / "cache" / "logs" / "vllm-synth.log").read_text()
    assert log.count("POST /v1/chat/completions") == 15  # one of them to see whether it answers at all
    running = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in running if str(small["kv_cache_memory_bytes"]) in command]
