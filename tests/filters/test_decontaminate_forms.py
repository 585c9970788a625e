"""Problems in another dress are found where they stand, others are not; the spelling of formulas and numbers."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dask_workers import on_lasting_workers
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decontaminate import Decontaminate, DecontaminateConfig
from filters.decontamination.ngrams import build_index
from filters.decontamination.rearranged import build_rearranged, look_up_rearranged
from filters.decontamination.report import markdown, report
from filters.decontamination.tokens import find_tokens
from filters.words import texts_of
from pipeline import dataset, storage
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError
from pipeline.runner import Runner

PROBLEMS = {
    "mill": "A mill grinds 12,500 kg of wheat in March and 9750.5 kg in April. Each sack holds 25 kg. The miller sells "
    "sacks at a price of $31.50 to the baker. How many dollars does he take in these two months?",
    "roots": r"Let $p$ and $q$ be the two distinct roots of $3x^2 - 14x + \dfrac{16}{3} = 0$ with $p < q$. "
    r"Compute $\left(p + \frac12\right) \cdot (q - \sqrt{7})$, and express it as a multiple of $\pi$.",
    "triples": r"How many ordered triples $(a,b,c)$ of integers with $1 \leq a \leq b \leq c \leq 60$ satisfy "
    r"$a \times b + c \equiv 5 \pmod{11}$? Give the last two digits only.",
    "root": r"Simplify $\sqrt{1452}$.",
    "tiny": "What is $2 + 3$?",
}
FILLER = "Rain fell on the harbour all morning, and nobody came to see the boats."


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Decontaminate:
    file = tmp_path_factory.mktemp("benchmarks") / "own.jsonl"
    file.write_text("".join(json.dumps({"id": i, "problem": p}) + "\n" for i, p in PROBLEMS.items()))
    stage = Decontaminate(DecontaminateConfig(benchmarks=[str(file)]))
    stage.prepare()
    return stage


def check(stage: Decontaminate, *texts: str) -> list[dict[str, object]]:
    batch = pa.table({"id": [str(i) for i in range(len(texts))], "text": list(texts)})
    return stage.process(batch).kept.to_pylist()


def tokens(text: str) -> list[int]:
    return find_tokens(texts_of(pa.array([text], pa.string()))).hashes.tolist()


# --- tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "spellings"),
    [
        (5, [r"\(\dfrac12 \left(x+y\right)\)", r"$\frac{1}{2}(x + y)$", "1/2 (x+y)", "½(x+y)", r"$$\tfrac 1 2 (x+y)$$"]),
        (5, ["x² ≤ 2π", r"$x^2 \le 2\pi$", "x^2 <= 2 pi", r"\[x^{2}\leqslant 2 \cdot \pi\]", "𝑥² ⩽ 2·𝜋"]),
        (3, [r"$xyz$", r"$x y z$", r"$x\cdot y\cdot z$", r"\(x \times y*z\)"]),
        (2, ["90°", r"$90^\circ$", r"$90^{\circ}$", "90 degrees"]),
        (2, ["√2", r"$\sqrt2$", r"$\sqrt{2}$", "sqrt(2)"]),
        (3, ["a ≠ b", r"$a \neq b$", r"$a\ne b$", "a != b"]),
        (3, ["n → ∞", r"$n\to\infty$", r"$n \rightarrow \infty$"]),
        (5, [r"$a \equiv b \pmod{7}$", r"$a\equiv b \bmod 7$", "a ≡ b (mod 7)"]),
        (2, ["50%", r"50\%", r"$50\%$", "fifty percent"]),
        (3, ["25 fat hens", "Twenty-five fat hens", "twenty five FAT hens", "**25** _fat_ héns"]),
        (2, ["don't go", "don’t go", "dont go"]),
        (4, ["if x ≤ 3", r"$\text{if } x\le 3$", r"\(\mathrm{if}\; x \leq 3\)"]),
        (3, ["> a\n> b\n+ c", "a b c", "- a\n- b\n- c"]),
        (4, ["$$\\begin{pmatrix}1 & 2\\\\3 & 4\\end{pmatrix}$$", "1 2 3 4", r"\[\begin{bmatrix} 1&2\\ 3&4 \end{bmatrix}\]"]),
        (4, ["果园 3 树", "果园３樹".replace("樹", "树")]),
        (3, ["$40 and $3", "$40.00 and $3.00", "40 and 3"]),
    ],
)  # fmt: skip
def test_spelling_makes_no_difference(count: int, spellings: list[str]) -> None:
    first, *others = map(tokens, spellings)
    assert len(first) == count
    for spelling, other in zip(spellings[1:], others, strict=True):
        assert other == first, spelling


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x < 3", r"$x \le 3$"),
        (r"$\sqrt{2}$", "$2$"),
        ("$x+1$", "$x-1$"),
        ("3.14", "314"),
        ("1,000", "1,00"),
        ("0.5", "0.05"),
        (r"$\alpha$", r"$\beta$"),
        (r"$\sin x$", r"$\cos x$"),
        ("5 and 6", "5 and 7"),
        ("一", "二"),
    ],
)
def test_meaning_makes_one(one: str, other: str) -> None:
    assert tokens(one) != tokens(other)


@pytest.mark.parametrize(
    ("numeral", "digits"),
    [
        ("二十五", "25"),
        ("十", "10"),
        ("十七", "17"),
        ("三百零五", "305"),
        ("两千四百", "2,400"),
        ("一万二千三百四十五", "12345"),
        ("三億二千萬", "320000000"),
        ("二〇二五", "2025"),
        ("零", "0"),
    ],
)
def test_han_numerals_are_numbers(numeral: str, digits: str) -> None:
    assert tokens(f"有{numeral}棵树") == tokens(f"有{digits}棵树")
    assert tokens(numeral) == tokens(digits)


def test_a_chinese_problem_is_found_with_its_numbers_in_digits(tmp_path: Path) -> None:
    problem = "一个果园有三十七行苹果树，每行有二十四棵。春天的暴风雨吹倒了十九棵，现在果园里有多少棵树？"
    (tmp_path / "zh.jsonl").write_text(json.dumps({"id": "tree", "problem": problem}))
    stage = Decontaminate(DecontaminateConfig(benchmarks=[str(tmp_path / "zh.jsonl")]))
    stage.prepare()
    respelled = problem.replace("三十七", "37").replace("二十四", "24").replace("十九", "19")
    (row,) = check(stage, respelled)
    assert (row["contam_problem"], row["contam_match"], row["contam_share"]) == ("tree", "formulas", 1.0)


@settings(max_examples=300, deadline=None)
@given(
    st.decimals("0", "99999999.999", allow_nan=False, places=3),
    st.sampled_from([",", "{,}", "\\,", "\u202f", " ", "'"]),
)
def test_numbers_have_the_value_that_decimal_gives_them(number: Decimal, separator: str) -> None:
    """However Python writes a number, with groups and zeros, it is the token of its shortest form."""
    shortest = f"{number:f}".rstrip("0").rstrip(".")
    grouped = f"{number:,f}".replace(",", separator)
    assert tokens(grouped) == tokens(f"{number:f}") == tokens(shortest) == tokens(f"x {shortest}")[1:]
    assert len(tokens(shortest)) == 1
    assert tokens(f"{number + 1:f}") != tokens(shortest)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.text(alphabet=r"ab1\$(){}[],.'^ fractextsqrt½²π中é" + "\n" + "’\u0301=<>+!-%", max_size=40),
        max_size=4,
    )
)
def test_no_text_is_read_beyond_its_end(texts: list[str]) -> None:
    together = find_tokens(texts_of(pa.array(texts, pa.string())))
    assert together.hashes.tolist() == [token for text in texts for token in tokens(text)]
    assert (together.starts < together.ends).all() and (np.diff(together.starts) >= 0).all()
    of = np.repeat(np.arange(len(texts)), np.diff(together.offsets))
    edges = np.append(0, np.cumsum([len(text.encode()) for text in texts]))
    assert (together.starts >= edges[:-1][of]).all() and (together.ends <= edges[1:][of]).all()


# --- forms of problems --------------------------------------------------------------------------------------

FORMS = {
    "mill": {
        "formulas": [
            PROBLEMS["mill"].replace("12,500", r"12\,500").replace("9750.5", "9 750.50").replace("31.50", "31.5"),
            PROBLEMS["mill"].replace("12,500", "12500").replace(" two ", " 2 ").replace("25", "twenty-five"),
        ],
        "rearranged": [
            "Each sack holds 25 kg. A mill grinds 12,500 kg of wheat in March and 9750.5 kg in April. The miller sells sacks "
            "at a price of $31.50 to the baker. How many dollars does he take in these two months?",
            "The miller sells sacks at a price of $31.50 to the baker. A windmill grinds 12500 kg of barley in March and "
            "9750.5 kg in April. Each bag holds 25 kg. How many dollars does he take in these two months?",
        ],
    },
    "roots": {
        "formulas": [
            r"Let \(p\) and \(q\) be the 2 distinct roots of \(3x^{2}-14x+\frac{16}3=0\) with \(p<q\). "
            r"Compute \((p+\tfrac{1}{2})(q-\sqrt 7)\), and express it as a multiple of \(\pi\).",
            "Let p and q be the two distinct roots of 3x² − 14x + 16/3 = 0 with p < q. "
            "Compute (p + ½)·(q − √7), and express it as a multiple of π.",
        ],
    },
    "triples": {
        "rearranged": [
            r"Give the last two digits only. How many ordered triples $(a, b, c)$ of integers with "
            r"$1\le a\le b\le c\le 60$ satisfy $ab+c\equiv 5 \bmod 11$?"
        ],
    },
    "root": {"formulas": [r"Simplify \(\sqrt{1,452}\).", "**Simplify** √1452"]},
}  # fmt: skip


def test_other_forms_are_found_and_the_span_is_theirs(stage: Decontaminate) -> None:
    wanted = [
        (name, way, form) for name, ways in FORMS.items() for way, forms in ways.items() for form in forms
    ]
    texts = [f"Ÿ ein Süßer Satz. {FILLER}\n\n{form}\n\n{FILLER}" for _, _, form in wanted]
    for (name, way, form), text, row in zip(wanted, texts, check(stage, *texts), strict=True):
        assert row["contam_problem"] == name, form
        ways = {way, "words"} if name != "root" else {way}  # a quarter of the runs of words may be left
        assert row["contam_match"] in ways, form
        span = text[row["contam_start"] : row["contam_end"]]  # type: ignore[misc]
        assert span[:300] == row["contam_excerpt"]
        if row["contam_match"] == "formulas":
            assert (row["contam_share"], span.strip("*")) == (1.0, form.rstrip("?.\\)}$").strip("*")), form
        else:
            assert span in form
    assert {"formulas", "rearranged"} <= {row["contam_match"] for row in check(stage, *texts)}


def test_without_other_forms_only_runs_of_words_count(stage: Decontaminate) -> None:
    words_only = Decontaminate(DecontaminateConfig(benchmarks=stage.config.benchmarks, other_forms=False))
    words_only.prepare()
    swapped = FORMS["mill"]["rearranged"][1]
    assert [check(s, swapped)[0]["contam_problem"] for s in (stage, words_only)] == ["mill", None]
    assert check(words_only, PROBLEMS["mill"])[0]["contam_match"] == "words"
    assert words_only.index_bytes < stage.index_bytes
    assert (stage.unindexed["own"], words_only.unindexed["own"]) == (1, 2)


def test_near_misses_are_clean(stage: Decontaminate) -> None:
    sentences = PROBLEMS["mill"].split(". ")
    other_numbers = (
        ". ".join(sentences[::-1])
        .replace("12,500", "18,200")
        .replace("25 kg", "40 kg")
        .replace("31.50", "29")
    )
    scattered = "\n\n".join(f"{sentence}. {(FILLER + ' ') * 12}" for sentence in sentences)
    formula_only = r"We know that $3x^2 - 14x + \dfrac{16}{3} = 0$ has $p < q$. " + FILLER
    inside = r"To simplify $\sqrt{1452}$ one looks for squares."
    shuffled = " ".join(random.Random(1).sample(PROBLEMS["mill"].split(), len(PROBLEMS["mill"].split())))
    texts = [
        other_numbers,
        scattered,
        formula_only,
        inside,
        shuffled,
        PROBLEMS["tiny"],
        "Simplify $\\sqrt{1453}$.",
    ]
    assert [row["contam_problem"] for row in check(stage, *texts)] == [None] * len(texts)


def test_boilerplate_leads_nowhere_but_does_not_hide_a_problem() -> None:
    """Of 40 problems in the same words only the numbers differ; each is found by what is its own."""
    text = (
        "Find the number of ways in which {} red and {} blue balls can be put into {} boxes. No box is empty."
    )
    problems = [text.format(3 + n, 50 + n, 100 + n) for n in range(40)]
    known = build_rearranged(problems)
    swapped = [f"No box is empty. {problem.removesuffix(' No box is empty.')}" for problem in problems]
    found = look_up_rearranged(
        find_tokens(texts_of(pa.array([*swapped, text.format(1, 2, 3)], pa.string()))), known
    )
    assert [match.problem if match else None for match in found] == [*range(40), None]
    # Twelve pieces of one refrain have the same six 4-grams: nothing leads to them, runs of words have to find them.
    refrain = ["round", "and", "round", "the", "garden", "goes"] * 4
    pieces = [" ".join(refrain[n : n + length]) for n in range(6) for length in (10, 11)]
    assert not build_rearranged(pieces).ngrams.any()
    assert build_rearranged(pieces, common=12).ngrams.tolist() == [6] * 12


WORD = st.sampled_from(["ab", "cd", "ef", "gh", "ik", "lm", "7", "8"])
SENTENCE = st.lists(WORD, min_size=4, max_size=9)


@settings(max_examples=400, deadline=None)
@given(st.lists(SENTENCE, min_size=1, max_size=3), st.lists(SENTENCE, max_size=4), st.booleans())
def test_against_sets_of_tuples(problem: list[list[str]], document: list[list[str]], planted: bool) -> None:
    """The definition with Python sets, for one problem and a document no longer than a window."""
    document = [*document[:1], *reversed(problem)] if planted else document
    flat = [word for sentence in problem for word in sentence]
    own = {tuple(s[i : i + 4]) for s in problem for i in range(len(s) - 3)}
    text = [word for sentence in document for word in sentence]
    places = [i for i in range(len(text) - 3) if tuple(text[i : i + 4]) in own]
    expected = None
    if len(flat) >= 6 and len({w for w in flat if w.isalpha()}) >= 3 and places:
        stretch = text[max(0, places[0] - 12) : places[-1] + 4 + 12]
        hits = len({tuple(text[i : i + 4]) for i in places})
        enough = hits >= min(0.5 * len(own) + 2, len(own)) and hits >= 0.3 * len(own)
        for kind in (str.isalpha, str.isdigit):
            wanted = {word for word in flat if kind(word)}
            enough = enough and len(wanted & set(stretch)) >= 0.8 * len(wanted)
        expected = hits if enough else None
    known = build_rearranged([". ".join(map(" ".join, problem)) + "."])
    if len(text) > 2 * len(flat) + 20:
        return
    (found,) = look_up_rearranged(
        find_tokens(texts_of(pa.array([". ".join(map(" ".join, document))]))), known
    )
    assert (found.ngrams if found else None) == expected
    if found:
        assert (found.first, found.last) == (places[0], places[-1] + 3) or found.in_order
        assert found.in_order == (" ".join(flat) in " ".join(text))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(SENTENCE, max_size=3), max_size=4), st.lists(st.lists(SENTENCE, max_size=4), max_size=4)
)
def test_a_document_is_judged_by_itself(
    problems: list[list[list[str]]], documents: list[list[list[str]]]
) -> None:
    """What lies before it in a batch leaves nothing behind."""
    known = build_rearranged([". ".join(map(" ".join, problem)) for problem in problems])
    texts = [". ".join(map(" ".join, document)) for document in documents]

    def found(texts: list[str]) -> list[object]:
        tokens = find_tokens(texts_of(pa.array(texts, pa.string())))
        matches = look_up_rearranged(tokens, known)
        begins = tokens.offsets[:-1].tolist()
        return [
            m and m._replace(first=m.first - b, last=m.last - b) for m, b in zip(matches, begins, strict=True)
        ]

    assert found(texts) == [match for text in texts for match in found([text])]


def test_an_index_takes_the_bytes_it_says() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(chr(97 + i) for i in rng.integers(0, 26, 6)) for _ in range(5000)]
    problems = [" ".join(words[n] for n in rng.integers(0, 5000, 60)) for _ in range(3000)]
    for built, most in ((build_index(problems, 13, 4), 24), (build_rearranged(problems), 32)):
        ngrams = int(built.ngrams.sum())
        assert ngrams >= 3000 * 47
        assert built.nbytes / ngrams < most


# --- benchmark files and the report -------------------------------------------------------------------------


def test_published_sets_are_read_in_their_own_formats(tmp_path: Path) -> None:
    question = "Which of these towns of the coast had the most lighthouses at the end of that year?"
    (tmp_path / "quiz.csv").write_text(f'question,choices,answer\n"{question}","x",A\n')
    rows = [{"question": question, "options": ["Brest", "Cork", "Esbjerg"], "answer": "B", "id": "q7"}]
    (tmp_path / "quiz.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one.jsonl").write_text(
        json.dumps({"question": PROBLEMS["mill"], "answer": "x #### 1"})
    )
    quiz, folder = f"multiple_choice={tmp_path}/quiz.jsonl", f"gsm8k={tmp_path}/set"
    stage = Decontaminate(DecontaminateConfig(benchmarks=[quiz, folder]))
    stage.prepare()
    first, second = check(stage, f"{question} Nobody knows.", PROBLEMS["mill"])
    assert (first["contam_benchmark"], first["contam_problem"]) == ("quiz", "quiz/q7")
    assert first["contam_share"] == 1.0  # a long question is looked for without its choices too
    key = hashlib.sha256(PROBLEMS["mill"].encode()).hexdigest()[:16]
    assert (second["contam_benchmark"], second["contam_problem"]) == ("set", f"gsm8k/{key}")
    digests = stage.files()
    (tmp_path / "set" / "one.jsonl").write_text(json.dumps({"question": "Another?", "answer": "#### 2"}))
    assert stage.files()[quiz] == digests[quiz] and stage.files()[folder] != digests[folder]
    with pytest.raises(RequestError, match=r"quiz\.csv, row 1, field"):
        Decontaminate(DecontaminateConfig(benchmarks=[f"multiple_choice={tmp_path}/quiz.csv"])).prepare()
    with pytest.raises(RequestError, match="absent"):
        Decontaminate(DecontaminateConfig(benchmarks=[f"gsm8k={tmp_path}/absent"])).files()


def test_the_report_counts_all_problems_of_a_document_in_every_benchmark(tmp_path: Path) -> None:
    sets = {"farm": ["mill", "root"], "algebra": ["roots", "triples"], "empty": ["tiny"], "again": ["mill"]}
    for name, ids in sets.items():
        lines = (json.dumps({"id": i, "problem": PROBLEMS[i]}) for i in ids)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    texts = [
        PROBLEMS["mill"],
        FORMS["mill"]["rearranged"][1],
        FILLER,
        FORMS["root"]["formulas"][0],
        PROBLEMS["roots"],
        "\n\n".join(PROBLEMS[name] for name in ("mill", "root", "roots")),
    ]
    rows = [
        {"id": f"{n}", "parent_ids": [], "media_type": "text/plain", "text": text,
         "origin": {"source": "s", "path": "p", "locator": "", "payload_sha256": ""},
         "extraction": {"method": "m", "fidelity": 1.0}}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    shard = dataset.write_shard(f"{tmp_path}/documents/00000.parquet", table)
    counts = {"in": len(rows), "kept": len(rows), "dropped": {}, "failed": {}}
    manifest = {"version": 1, "stage": "extract", "shape": "map", "aligned": False, "key": "", "config": {}}
    manifest |= {
        "schema": {f.name: str(f.type) for f in DOCUMENT_SCHEMA},
        "inputs": {},
        "files": {},
        "reasons": {},
    }
    storage.write_json(
        f"{tmp_path}/documents/manifest.json",
        manifest | {"counts": counts, "shards": dataset.describe([shard])},
    )
    benchmarks = [str(tmp_path / f"{name}.jsonl") for name in sets]
    with Runner(str(tmp_path), on_lasting_workers()) as runner:
        runner.run(Decontaminate(DecontaminateConfig(benchmarks=benchmarks)))
    names = (
        "benchmark",
        "problems",
        "problems_found",
        "documents",
        "words",
        "formulas",
        "rearranged",
        "most_found",
    )
    assert report(str(tmp_path)).to_pylist() == [
        dict(zip(names, row, strict=True))
        for row in (
            ("farm", 2, 2, 4, 2, 1, 1, "mill"),
            ("algebra", 2, 1, 2, 2, 0, 0, "roots"),
            ("empty", 1, 0, 0, 0, 0, 0, None),
            ("again", 1, 1, 3, 2, 0, 1, "mill"),
        )
    ]  # fmt: skip
    lines = markdown(report(str(tmp_path))).splitlines()
    assert lines[2] == "| farm | 2 | 2 | 4 | 2 | 1 | 1 | mill |"
    assert lines[4].endswith("| – |")


def test_it_needs_no_torch() -> None:
    code = "import sys, filters.decontaminate; sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
