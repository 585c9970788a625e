"""Planted problems are found, near misses are not, and bad benchmark files get an answer."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decontaminate import Decontaminate, DecontaminateConfig, build_index, look_up
from filters.words import find_words, texts_of
from pipeline.errors import RequestError

SHARED = Path(__file__).parents[2] / "../shared/data/problems"

PROBLEMS = {
    "orchard": "An orchard has 37 rows of apple trees with 24 trees in each row. In spring a storm fells 19 trees and the "
    "owner plants 45 new ones along the brook. How many trees stand in the orchard now?",
    "tank": r"A conical tank of height $h = 12$ and base radius $\frac{7}{2}$ is filled with water at the rate of "
    r"$3\text{ m}^3$ a minute. How fast does the water level rise when the depth is exactly $\sqrt{5}$ metres?",
    "short": "Compute the ninth prime that ends in seven.",
    "tiny": "What is $2 + 2$?",
    "chinese": "一个果园有三十七行苹果树，每行有二十四棵。春天的暴风雨吹倒了十九棵，现在果园里有多少棵树？",
}


def write(path: Path, rows: list[dict[str, object]]) -> str:
    text = "\n".join(json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.fixture
def benchmark_file(tmp_path: Path) -> str:
    return write(tmp_path / "farm.jsonl", [{"id": id_, "question": text} for id_, text in PROBLEMS.items()])


def stage_of(*benchmarks: str, **options: object) -> Decontaminate:
    stage = Decontaminate(DecontaminateConfig(benchmarks=list(benchmarks), **options))
    stage.prepare()
    return stage


def check(stage: Decontaminate, *texts: str) -> list[dict[str, object]]:
    batch = pa.table({"id": [str(i) for i in range(len(texts))], "text": list(texts)})
    kept = stage.process(batch).kept
    assert kept.schema.equals(Decontaminate.schema)
    assert kept["id"].to_pylist() == batch["id"].to_pylist()
    return kept.to_pylist()


def found(stage: Decontaminate, *texts: str) -> list[object]:
    return [row["contam_problem"] for row in check(stage, *texts)]


def test_planted_problems_are_found_and_the_excerpt_shows_them(benchmark_file: str) -> None:
    stage = stage_of(benchmark_file)
    filler = "Words that have nothing to do with any of it, neither before nor after. "
    planted = {id_: text for id_, text in PROBLEMS.items() if id_ != "tiny"}
    rows = check(
        stage, *(f"{filler * 3}\n\n> {text}\n\n{filler * 3}" for text in planted.values()), filler * 6
    )
    for row, (id_, text) in zip(rows, planted.items(), strict=False):
        assert (row["contam_benchmark"], row["contam_problem"], row["contam_share"]) == ("farm", id_, 1.0)
        assert row["contam_excerpt"] == text.rstrip("?.？")[:300].removesuffix("$ metres?")
    clean = {name: value for name, value in rows[-1].items() if name != "id" and value is not None}
    assert clean == {"contam_share": 0.0, "contam_problems": []}
    assert stage.unindexed == {"farm": 1}  # "What is 2 + 2?": fewer than five words


def test_dress_does_not_hide_a_problem(benchmark_file: str) -> None:
    text = PROBLEMS["orchard"]
    dressed = [
        text.upper(),
        text.replace(" ", "\n"),
        re.sub(r"(\w+)", r"**\1**", text),
        text.replace(".", " —"),
    ]
    latex = PROBLEMS["tank"]
    dressed += [latex.replace("$", ""), latex.replace(r"\frac", r"\dfrac").replace("$h = 12$", r"\(h=12\)")]
    assert found(stage_of(benchmark_file), *dressed) == ["orchard"] * 4 + ["tank"] * 2


def test_near_misses_are_clean(benchmark_file: str) -> None:
    orchard = PROBLEMS["orchard"]
    variant = (
        orchard.replace("37", "41")
        .replace("24", "30")
        .replace("19", "6")
        .replace("45", "50")
        .replace("apple", "pear")
    )
    shuffled = " ".join(random.Random(0).sample(orchard.split(), len(orchard.split())))
    one_gram = "We read: " + " ".join(orchard.split()[:13]) + ". That is all."
    short_broken = "Compute the ninth odd prime that ends in seven."
    texts = [variant, shuffled, one_gram, short_broken]
    assert found(stage_of(benchmark_file), *texts) == [None] * 4
    # a single n-gram is enough for the variant (its last 13 words have no number) and for the quotation
    assert found(stage_of(benchmark_file, min_share=1e-6), *texts) == ["orchard", None, "orchard", None]


def test_functions_tell_formulas_apart(tmp_path: Path) -> None:
    problem = r"Compute $\arcsin \frac{1}{\sqrt{2}}.$ Express your answer in radians."
    stage = stage_of(write(tmp_path / "b.jsonl", [{"id": "a", "problem": problem}]))
    assert found(stage, problem.replace("$", "").replace(r"\arcsin", "arcsin")) == ["a"]
    assert found(stage, problem.replace("arcsin", "arccos")) == [None]


def test_share_and_count_by_hand(tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(20)]  # 8 n-grams of 13
    stage = stage_of(write(tmp_path / "b.jsonl", [{"id": "a", "text": " ".join(words)}]))
    (row,) = check(stage, "x " + " ".join(words[:15]) + " y " + " ".join(words[2:16]) + " z")
    # the first run has n-grams 0, 1, 2, the second 2, 3
    assert (row["contam_ngrams"], row["contam_share"]) == (4, 0.5)
    assert row["contam_excerpt"] == " ".join(words[:15])
    assert found(stage_of(stage.config.benchmarks[0], min_share=0.51), " ".join(words[:16])) == [None]


def test_boilerplate_does_not_count(tmp_path: Path) -> None:
    boilerplate = (
        "choose the one best answer to the following question and give a reason for the choice you made"
    )
    own = [" ".join(f"p{i}w{j}" for j in range(30)) for i in range(6)]
    rows: list[dict[str, object]] = [
        {"id": str(i), "prompt": f"{boilerplate} {text}"} for i, text in enumerate(own)
    ]
    rows.append({"id": "bare", "prompt": boilerplate})
    stage = stage_of(write(tmp_path / "b.jsonl", rows), min_share=1e-6)
    # A problem of nothing but boilerplate keeps it: a document that quotes it has that problem, not the
    # others.
    assert found(stage, boilerplate, own[3]) == ["bare", "3"]
    assert stage.index.ngrams[0] == 30  # its own 18 and the 12 that reach from the boilerplate into it


def test_a_problem_that_is_there_ten_times_is_no_boilerplate(tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", [{"task_id": i, "prompt": PROBLEMS["orchard"]} for i in range(10)])
    (row,) = check(stage_of(path), PROBLEMS["orchard"])
    assert (row["contam_problem"], row["contam_share"]) == ("0", 1.0)


def test_of_two_problems_with_the_same_share_the_longer_wins(tmp_path: Path) -> None:
    short, long = (" ".join(f"{name}{i}" for i in range(n)) for name, n in (("s", 14), ("l", 30)))
    path = write(tmp_path / "b.jsonl", [{"id": "short", "text": short}, {"id": "long", "text": long}])
    assert found(stage_of(path), f"{short} {long}", f"{long} {short}") == ["long", "long"]


def test_file_formats_fields_and_names(tmp_path: Path) -> None:
    text = PROBLEMS["orchard"]
    (tmp_path / "array.json").write_text(json.dumps([{"unique_id": "u1", "problem": text}], indent=1))
    (tmp_path / "array.json.gz").write_bytes(gzip.compress(json.dumps([{"key": 5, "query": text}]).encode()))
    pq.write_table(pa.table({"text": [text], "answer": ["887"]}), tmp_path / "table.parquet")
    lines = write(
        tmp_path / "lines.v1-test.jsonl.gz", [{"task_id": "T/1", "prompt": text, "text": "not this"}]
    )
    for path, benchmark, problem in (
        (str(tmp_path / "array.json"), "array", "u1"),
        (str(tmp_path / "array.json.gz"), "array", "5"),
        (str(tmp_path / "table.parquet"), "table", "0"),
        (lines, "lines.v1-test", "T/1"),
    ):
        stage = stage_of(path)
        (row,) = check(stage, text)
        assert (row["contam_benchmark"], row["contam_problem"]) == (benchmark, problem)
        assert stage.files() == {path: hashlib.sha256(Path(path).read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.jsonl", None, "absent.jsonl cannot be opened"),
        ("empty.jsonl", b"", "empty.jsonl has no rows"),
        (
            "fields.jsonl",
            b'{"task": "x", "solution": "y"}',
            r"row 1: none of the fields .*found: task, solution",
        ),
        ("null.jsonl", b'{"question": "x"}\n{"question": null}', "row 2: none of the fields"),
        ("broken.jsonl", b'{"question": "x"}\n{"question": ', "broken.jsonl, line 2"),
        ("broken.json", b'[{"question": "x"}', "broken.json cannot be read"),
        (
            "cut.jsonl.gz",
            gzip.compress(b'{"question": "x"}' * 99, mtime=0)[:30],
            "cut.jsonl.gz cannot be read",
        ),
        ("fake.parquet", b"PAR?", "fake.parquet cannot be read"),
        ("list.json", b"[1, 2]", "row 1: expected an object"),
        ("table.csv", b"question\nx\n", r"expected \.jsonl, \.json or \.parquet"),
    ],
)
def test_bad_benchmark_files_get_an_answer(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        stage_of(str(tmp_path / name))


def test_without_benchmarks_everything_is_null() -> None:
    stage = stage_of()
    assert stage.files() == {}
    (row,) = check(stage, PROBLEMS["orchard"])
    assert set(row.values()) == {"0", None}

    assert "no benchmark" in stage.remark()


# --- rows of several texts, choices, what problems share ----------------------------------------------------

LAKE = "A lake loses a ninth of its water each dry week and gains 410 litres in a wet one, of which there were three"


def problems_in(stage: Decontaminate, text: str) -> set[str]:
    (row,) = check(stage, text)
    return {f"{one['benchmark']}:{one['problem']}" for one in row["contam_problems"]}  # type: ignore[attr-defined]


def test_every_text_of_a_row_is_looked_for_but_not_an_instruction_that_rows_share(tmp_path: Path) -> None:
    instruction = "Solve the problem below, show all of your work, and write the result on a line of its own at the end."
    texts = [PROBLEMS["orchard"], PROBLEMS["tank"], *(f"{LAKE} in year {n}?" for n in range(1950, 1954))]
    rows: list[dict[str, object]] = [
        {"id": n, "prompt": instruction, "problem": t} for n, t in enumerate(texts)
    ]
    stage = stage_of(write(tmp_path / "exam.jsonl", rows))
    assert found(stage, PROBLEMS["tank"], f"Rules. {instruction} Good luck.") == ["1", None]
    assert "6 problems share" in stage.remark() and "solve the problem below" in stage.remark()
    assert stage.unindexed == {"exam": 0}


def test_the_same_row_many_times_shares_no_instruction(tmp_path: Path) -> None:
    row: dict[str, object] = {"prompt": PROBLEMS["orchard"], "question": PROBLEMS["tank"]}
    stage = stage_of(write(tmp_path / "exam.jsonl", [row] * 6))
    assert found(stage, PROBLEMS["orchard"], PROBLEMS["tank"]) == ["0", "0"] and stage.remark() == ""


STEM = "Which of the following statements is true?"
CHOICES = [
    "Basalt cools faster than granite",
    "Granite floats upon warm basalt",
    "Marble is a kind of volcanic glass",
    "Slate forms out of living coral",
]
OTHER_CHOICES = [f"The {thing} of a ship lies behind its mast" for thing in ("bow", "keel", "helm", "galley")]
PASTED = [
    f"{STEM} " + " ".join(f"({letter}) {choice}" for letter, choice in zip("ABCD", CHOICES, strict=True)),
    "\n".join([STEM, *CHOICES]),
    "\n".join([STEM, *(f"{letter}. {choice}" for letter, choice in zip("ABCD", CHOICES, strict=True))]),
    "\n".join([STEM, *(f"- {choice}" for choice in CHOICES)]),
]


@pytest.mark.parametrize("format", ["", "multiple_choice="])
@pytest.mark.parametrize("alone", [True, False])
def test_a_multiple_choice_problem_is_its_question_and_choices(
    tmp_path: Path, format: str, alone: bool
) -> None:
    rows: list[dict[str, object]] = [{"id": "a", "question": STEM, "choices": CHOICES, "answer": "A"}]
    if not alone:
        rows.append({"id": "b", "question": STEM, "choices": OTHER_CHOICES, "answer": "A"})
    stage = stage_of(format + write(tmp_path / "quiz.jsonl", rows))
    filler = "Rocks are sorted by the way in which they came about, and by what is in them."
    ids = found(stage, *(f"{filler}\n\n{form}\n\n{filler}" for form in PASTED))
    assert [str(id_).removeprefix("quiz/") for id_ in ids] == ["a"] * 4
    assert found(stage, f"{filler} {STEM} {filler}", STEM) == [None, None]


def test_a_short_question_that_says_nothing_is_in_no_document(tmp_path: Path) -> None:
    questions = [STEM, "What is the capital of Chad?"]
    stage = stage_of(write(tmp_path / "quiz.jsonl", [{"question": text} for text in questions]))
    assert found(stage, *questions) == [None, "1"] and stage.unindexed == {"quiz": 1}


def test_a_document_is_said_to_have_all_its_problems_in_every_benchmark(tmp_path: Path) -> None:
    first = write(
        tmp_path / "first.jsonl", [{"id": n, "problem": PROBLEMS[n]} for n in ("orchard", "tank", "short")]
    )
    second = write(tmp_path / "second.jsonl", [{"id": "x", "problem": PROBLEMS["orchard"]}])
    page = "\n\n".join(PROBLEMS[n] for n in ("orchard", "tank", "short"))
    wanted = {"first:orchard", "first:tank", "first:short", "second:x"}
    assert problems_in(stage_of(first, second), page) == wanted
    assert problems_in(stage_of(second, first), page) == wanted


def test_a_lone_surrogate_is_no_reason_to_stop(tmp_path: Path) -> None:
    stage = stage_of(
        write(tmp_path / "b.jsonl", [{"id": "q\ud800", "problem": "\ud800 " + PROBLEMS["orchard"]}])
    )
    assert found(stage, PROBLEMS["orchard"]) == ["q\ufffd"]


PREAMBLE = (
    "Read the text carefully before you begin, write down every step that leads to your result, check the units of "
    "all quantities twice, and give the final answer as a decimal number rounded to two places at the end."
)


@pytest.mark.parametrize("forms", [True, False])
def test_a_preamble_that_few_problems_share_is_no_problem(tmp_path: Path, forms: bool) -> None:
    own = [
        "How heavy are 12 bricks of dry clay, stacked beside the red kiln?",
        "How long is the shadow of a mast of 31 feet near dusk?",
        "How many of 55 lamps still burn when the ferry lands?",
    ]
    rows: list[dict[str, object]] = [{"id": n, "problem": f"{PREAMBLE} {text}"} for n, text in enumerate(own)]
    stage = stage_of(write(tmp_path / "b.jsonl", rows), other_forms=forms)
    assert found(stage, PREAMBLE) == [None]
    assert found(stage, *(f"{PREAMBLE} {text}" for text in own)) == ["0", "1", "2"]


@pytest.mark.parametrize("variants", [2, 4, 30])
def test_variants_of_a_template_are_each_found(tmp_path: Path, variants: int) -> None:
    texts = [
        PROBLEMS["orchard"].replace("37", str(40 + n)).replace("45", str(90 + n)) for n in range(variants)
    ]
    rows: list[dict[str, object]] = [{"id": n, "question": text} for n, text in enumerate(texts)]
    stage = stage_of(write(tmp_path / "variants.jsonl", rows))
    assert found(stage, *texts) == [str(n) for n in range(variants)]
    assert problems_in(stage, texts[1]) == {"variants:1"}


LETTERS = st.lists(st.sampled_from("abcdefg"), min_size=0, max_size=40)


@settings(max_examples=300, deadline=None)
@given(st.lists(LETTERS, max_size=6), st.lists(LETTERS, max_size=4), st.integers(5, 8), st.integers(1, 3))
def test_against_sets_of_tuples(
    problems: list[list[str]], documents: list[list[str]], ngram: int, common: int
) -> None:
    """The same definition with Python sets, on an alphabet so small that n-grams are shared all the time."""

    def grams(words: list[str], n: int) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    of = [grams(p, min(ngram, len(p))) if len(p) >= 5 else set() for p in problems]
    distinct = {tuple(p): of[i] for i, p in enumerate(problems)}.values()
    rare = [{g for g in own if sum(g in other for other in distinct) <= common} or own for own in of]
    index = build_index([" ".join(p) for p in problems], ngram, common)
    assert index.ngrams.tolist() == [len(own) for own in rare]
    texts = texts_of(pa.array([" ".join(d) for d in documents], pa.string()))
    for d, match in enumerate(look_up(find_words(texts), index, 0.4)):
        shares = []
        for p, own in enumerate(rare):
            hits = sum(g in grams(documents[d], len(g)) for g in own)
            if own and hits / len(own) >= 0.4:
                shares.append((-hits / len(own), -hits, p))
        assert (match is None) == (not shares)
        if match is not None:
            assert (match[0], match[1]) == (min(shares)[2], -min(shares)[1])


@pytest.mark.skipif(not SHARED.exists(), reason="the public problem sets are not here")
def test_gsm8k_planted_in_gsm8k_train() -> None:
    """Every test problem in a text is found under its own number; the training problems are (nearly) all
    clean."""
    stage = stage_of(str(SHARED / "gsm8k_test.jsonl.gz"), str(SHARED / "math500.jsonl.gz"))
    with gzip.open(SHARED / "gsm8k_train.jsonl.gz", "rt") as file:
        train = [json.loads(line) for line in file]
    train = [f"{row['question']}\n{row['answer']}" for row in train]
    rng = random.Random(0)
    test = [(i, p) for i, p in enumerate(stage.problems) if stage.index.ngrams[i]]
    planted = ["\n\n".join((*rng.sample(train, 2), p.text, *rng.sample(train, 2))) for _, p in test]
    rows = check(stage, *planted)
    assert sum(row["contam_share"] == 1 for row in rows) == len(test)
    assert np.mean([row["contam_problem"] == p.id for row, (_, p) in zip(rows, test, strict=True)]) > 0.998
    assert sum(row["contam_problem"] is not None for row in check(stage, *train)) <= 5
    assert sum(stage.unindexed.values()) <= 5
