"""The default training set: what is in it, that nothing gives a kind away, and that written solutions are right."""

from __future__ import annotations

import importlib.metadata
import math
import random
import re
import sysconfig
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import sympy

from filters.taxonomy import known_kinds, no_content, worked_problems, written_kinds
from filters.taxonomy.card import split
from filters.taxonomy.measures import draw
from filters.taxonomy.worked_solutions import solved, unsolved


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def table(said: list[str]) -> pa.Table:
    return known_kinds.build(say=said.append)


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def test_the_table(table: pa.Table, said: list[str]):
    assert table.schema == known_kinds.SCHEMA
    assert len(table) >= 3000
    assert len(set(table["id"].to_pylist())) == len(table)
    assert len(table["kind"].unique()) >= 12
    for column in ("id", "text", "host", "cluster", "kind", "weight"):
        assert table[column].null_count == 0
    hosts = defaultdict(set)
    for domain, host in zip(table["label_domain"].to_pylist(), table["host"].to_pylist(), strict=True):
        hosts[domain].add(host)
    assert len(hosts.pop(None)) == 3  # problems of commerce, puzzles
    assert set(hosts) == set(known_kinds.DIMENSIONS[-1].levels)
    assert min(map(len, hosts.values())) >= 5
    worked = table["label_worked_reasoning"]
    assert set(worked.unique().to_pylist()) == {0.0, 1.0, None}
    assert 0.1 < np.nanmean(worked.to_numpy()) < 0.4
    content = dict(zip(table["kind"].to_pylist(), table["label_content"].to_pylist(), strict=True))
    assert {kind for kind, label in content.items() if label == 0} == set(known_kinds.NO_CONTENT)
    assert content["proof"] == content["forum"] == content["manual page"] == 1 and content["licence"] is None
    assert f"{len(table):,} documents" in said[-1]
    train, test = split(table)
    for rows in (train, test):  # every domain, and both answers
        assert set(table["label_domain"].take(pa.array(rows)).drop_null().unique().to_pylist()) == set(hosts)
        assert set(worked.take(pa.array(rows)).drop_null().unique().to_pylist()) == {0.0, 1.0}


def test_no_word_gives_a_written_kind_away(table: pa.Table):
    """Whether the best single word of ten finds a kind: present in nearly all its pages and nowhere else."""
    kinds = table["kind"].to_pylist()
    pages = [set(words_of(text)) for text in table["text"].to_pylist()]
    everywhere = Counter(word for page in pages for word in page)
    in_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, page in zip(kinds, pages, strict=True):
        in_kind[kind].update(page)
    size = Counter(kinds)
    # Licences and copyright notices are as they are; they say "license".
    written = {family["kind"] for family in written_kinds.families()} | {
        "worked solutions",
        "proof",
        "exercises",
    }
    for kind in written:
        detectors = {
            word: 2 * hits / (size[kind] + everywhere[word])
            for word, hits in in_kind[kind].items()
            if hits > 10
        }
        ten = sorted(detectors, key=lambda word: -detectors[word])[:10]
        assert detectors[ten[0]] < 0.8, (kind, [(word, round(detectors[word], 2)) for word in ten])
        for word in ten:  # a constant of the generator would be on all its pages
            assert in_kind[kind][word] < 0.9 * size[kind], (kind, word)


def test_length_gives_nothing_away(table: pa.Table):
    known = table.filter(table["label_worked_reasoning"].is_valid())
    lengths = np.array([len(text.split()) for text in known["text"].to_pylist()])
    positive = known["label_worked_reasoning"].to_numpy() == 1
    auc = draw(np.arange(len(known)), np.ones(len(known)), 0, 0).auc_and_ap(lengths, positive)[0][0]
    assert 0.35 < auc < 0.65


def test_no_licence_comes_twice(table: pa.Table):
    """The MIT licence lies in half of all packages."""
    texts = [
        t for t, k in zip(table["text"].to_pylist(), table["kind"].to_pylist(), strict=True) if k == "licence"
    ]
    cut = [re.findall(r"\w+", text.lower()) for text in texts]
    grams = [{tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in cut]
    alike = [len(a & b) / len(a | b) for i, a in enumerate(grams) for b in grams[:i] if a and b]
    assert max(alike) < 0.9
    files = [
        f for d in importlib.metadata.distributions() for f in d.files or [] if f.name.startswith("LICENSE")
    ]
    assert len(texts) < len(files)


def test_the_same_seed_writes_the_same_and_another_does_not():
    def pages(seed: int) -> list[str]:
        chance = random.Random(seed)
        return [written_kinds.page(family, chance, 80) for family in written_kinds.families()]

    assert pages(3) == pages(3)
    assert not set(pages(3)) & set(pages(4))


def test_nothing_is_left_of_the_grammar():
    chance = random.Random(0)
    for _ in range(3):
        texts = [written_kinds.page(family, chance, 60) for family in written_kinds.families()]
        for _, family in worked_problems.FAMILIES.values():
            texts += [solved(family, chance, 60)[0], unsolved(family, chance, 60)[0]]
        texts += [no_content.site_page(site, ["algebra is fun"], chance, 200) for site in no_content.sites()]
        texts += [
            no_content.offer_page(offer, ["algebra is fun"], chance, 200) for offer in no_content.offers()
        ]
        for text in texts:
            assert not re.search(r"<[A-Za-z]+>|\{[A-Z][a-z]+\}", text), text
            assert not re.search(r"\[[^\]\n]*\|[^\]\n]*\](?!\()", text), text  # links may have bars


def test_what_a_menu_or_an_offer_is_about_comes_from_the_other_documents():
    chance, texts = random.Random(2), ["ergodic lattices commute pairwise " * 20]
    kinds = [
        (no_content.sites(), lambda site: no_content.site_page(site, texts, chance, 200)),
        (no_content.offers(), lambda offer: no_content.offer_page(offer, texts, chance, 200)),
    ]
    for families, page_of in kinds:
        borrowing = 0
        for family in families:
            pages = [page_of(family) for _ in range(6)]
            assert len(set(pages)) == 6
            assert 100 < np.mean([len(page.split()) for page in pages]) < 500
            borrowing += any(re.search("ergodic|lattices", page.lower()) is not None for page in pages)
        assert borrowing > 0.9 * len(families)
    page = no_content.surrounded("The text itself. " * 40, texts, chance)
    assert "The text itself. " * 40 in page and len(page) > 17 * 40


def test_exercises_ask_what_solutions_solve_and_take_no_step():
    chance = random.Random(1)
    for _, family in worked_problems.FAMILIES.values():
        long = len(solved(family, chance, 1)[0].split())
        exercise = unsolved(family, chance, 1)[0]
        assert len(exercise.split()) < long
        steps = [written_kinds.expand(s, chance, worked_solutions_voice()) for s in family(chance).steps]
        assert not any(step in exercise for step in steps)


def worked_solutions_voice() -> dict[str, list[str]]:
    from filters.taxonomy.worked_solutions import VOICE

    return VOICE


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?<![\w.])-?\d+", text.replace(",", ""))]


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_right(seed: int):
    """Each against another way to compute it."""
    chance = random.Random(seed)
    x = sympy.Symbol("x")
    problem = worked_problems.euclid(chance)
    assert int(problem.answer) == math.gcd(*numbers(problem.question))

    for family in (worked_problems.linear_equation, worked_problems.quadratic):
        problem = family(chance)
        formula = re.findall(r"\$([^$]*=[^$]*)\$", problem.question)[0].replace("^2", "**2")
        formula = re.sub(r"(\d)([xyztn])", r"\1*\2", re.sub(r"[yztn]", "x", formula))
        left, right = formula.split("=")
        roots = sympy.solve(sympy.sympify(left) - sympy.sympify(right), x)
        assert sorted(map(int, roots)) == sorted(numbers(problem.answer))

    problem = worked_problems.derivative(chance)
    f, df = (
        re.sub(
            r"(\d|\))(?=[x(e])",
            r"\1*",
            s.replace("{", "(").replace("}", ")").replace("^", "**").replace(" e", "*e").replace(")e", ")*e"),
        )
        for s in (re.search(r"= (.*?)\$", part)[1] for part in (problem.question, problem.answer))
    )
    names = {"e": sympy.E, "x": x}
    assert sympy.simplify(sympy.diff(sympy.sympify(f, names), x) - sympy.sympify(df, names)) == 0

    problem = worked_problems.integral_by_parts(chance)
    a, k = map(int, re.search(r"int (\d+)x .*\((\d+)x\)", problem.question).groups())
    integral = sympy.integrate(a * x * sympy.cos(k * x), x)
    said = re.fullmatch(r"\$(\S+?)x\\sin\((\d+)x\) \+ (\S+?)\\cos\((\d+)x\) \+ C\$", problem.answer).groups()
    told = Fraction(said[0]) * x * sympy.sin(k * x) + Fraction(said[2]) * sympy.cos(k * x)
    assert sympy.simplify(integral - told) == 0

    printed: list[int] = []
    problem = worked_problems.loop_trace(chance)
    exec(re.search(r"```python\n(.*)```", problem.question, re.S)[1], {"print": printed.append})
    assert numbers(problem.answer.replace("`", " ")) == printed

    problem = worked_problems.overflow(chance)
    bits, first, second = map(int, re.search(r"int(\d+)_t a = (\d+), b = (\d+)", problem.question).groups())
    with np.errstate(over="ignore"):
        kind = {8: np.int8, 16: np.int16}[bits]
        assert int(problem.answer) == int((np.array([first], kind) + np.array([second], kind))[0])

    problem = worked_problems.recursion(chance)
    n, base, factor = map(
        int, re.search(r"f\((\d)\).*return (\d+);.*return (\d+) \*", problem.question, re.S).groups()
    )
    value = base
    for _ in range(n):
        value = factor * value + 1
    assert problem.answer == f"`{value}`"

    women_men = worked_problems.committees(chance)
    size, women, men = numbers(women_men.question)
    count = sum(math.comb(women, w) * math.comb(men, size - w) for w in range(1, size + 1))
    assert int(women_men.answer) == count


def test_sources_that_are_missing_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(known_kinds, "SYSTEM", tmp_path / "share")
    monkeypatch.setattr(importlib.metadata, "distributions", list)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    said: list[str] = []
    documents = list(known_kinds.found(random.Random(0), said.append))
    assert {document.kind for document in documents} <= {"word problems"}
    assert [line for line in said if f"no documents from {tmp_path / 'share'}/doc" in line]
    assert [line for line in said if f"no documents from {tmp_path / 'share'}/man" in line]
    assert [line for line in said if "no documents from Python packages" in line]


def test_excerpts_are_whole_lines_of_their_text():
    text = "\n".join(f"line {i} has five words" for i in range(400))
    chance = random.Random(0)
    for _ in range(50):
        part = known_kinds.excerpt(text, chance)
        assert part in text
        assert set(part.splitlines()) <= set(text.splitlines())
        assert known_kinds.SHORTEST <= len(part.split()) <= known_kinds.LONGEST + 5
