"""Steps, worked answers, proofs, code beside explanation, questions answered: hand-worked, and by a slow reference."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.signals import signals
from filters.words import find_words, regions, texts_of

NAMES = ("step_count", "worked_label_count", "proof_count", "code_explanation_count", "question_answer_count")
TEN_WORDS = "It is because one thing leads to another, as always."


def of(text: str) -> dict[str, float]:
    return {name: values[0].item() for name, values in signals(texts_of(pa.array([text]))).items()}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1. one\n2. two\n3. three", 2),
        ("(1) one\n\nmore of it\n\n(2) two", 1),
        ("1) one\n1) one\n3) three", 0),
        ("Step 1: divide.\nSome words.\n**Step 2.** Conquer.\n\n### Step 3\nMerge.", 2),
        ("## 1. One\n## 2. Two\n### 2.1 Two and one\n### 2.2 Two and two\n## 3 Three", 2),
        ("第一步：设未知数。\n第二步：列方程。\n第3步 解方程。", 2),
        ("步骤1：读。\n步骤2：写。", 1),
        ("In 1999 it rained.\nIn 2000 it did not.", 0),
        ("step 1 is small\nstep 2 too", 0),  # wrapped lines of prose
        ("998. a\n999. b\n1000. c", 1),  # no list item has four digits
        ("```\n1. one\n2. two\n```", 0),
        ("a) one\nb) two", 0),
    ],
)
def test_steps(text: str, steps: int) -> None:
    assert of(text)["step_count"] == steps


@pytest.mark.parametrize(
    ("text", "worked", "proofs"),
    [
        ("**Proof.** We add.\nAnd so on. ∎", 1, 1),
        ("Proof. We add $a = b$. $\\blacksquare$", 1, 1),
        ("*Proof of Lemma 3.* As above.", 0, 0),  # says whose, which is no label here
        ("Proof (by induction). Let it be so.\n\nQ.E.D.", 1, 1),
        ("Proof:\n$$a = b \\qed$$\n\nProof: no mark.\n\nProof: with one. □", 3, 2),
        ("We prove it. ∎", 0, 0),
        ("The\nproof. Then more", 0, 0),
        ("### Solution\nAdd.\n\nSolution 2. Add again.\n\nSolution: add.", 3, 0),
        ("Solution of acids is sour.\nSolutions. Many.\nA solution. One.", 0, 0),
        ("Worked example\n\nDerivation:", 2, 0),
        ("解：设。\n证明：显然。证毕。\n解决问题。", 2, 1),
    ],
)
def test_worked_labels_and_proofs(text: str, worked: int, proofs: int) -> None:
    got = of(text)
    assert (got["worked_label_count"], got["proof_count"]) == (worked, proofs)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("We set the value as follows:\n\n```\nx = 1\n```\n\nNow the value is one indeed.", 2),
        ("We set the value as follows:\n```\nx\n```\nand\n```\ny\n```\nNow the value is one indeed.", 2),
        ("We set the value as follows:\n```\nx\n```\nThen we set the other:\n```\ny\n```", 3),
        ("```\nx\n```\n```\ny\n```\n", 0),
        ("Only words here, and no code at all.", 0),
        ("```\nx\n```\nfour words are few\n", 0),
    ],
)
def test_code_and_explanation(text: str, changes: int) -> None:
    assert of(text)["code_explanation_count"] == changes


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        ("Q: Why?\nA: Because.", 1),
        ("**Q:** Why?\n\n**A:** Because.\n\nQ: And?\nQ: How?\nA: So.", 2),
        ("Q. Smith and A. Smith were here.\nA. Smith left.", 0),
        ("Problem 3.\nAdd.\n\nSolution. Added.\n\nSolution. Again.", 1),
        ("Exercise\n\nAdd.\n\n**Answer:** 3", 1),
        (f"## Why is it so?\n{TEN_WORDS}\n## Is it?\nYes.\n## Contact\n{TEN_WORDS}", 1),
        (f"## **Why?** ##\nIt is\n\n{TEN_WORDS}", 1),
        ("## 什么是数学？\n数学是研究数量结构变化以及空间的学科。", 1),
        (f"## Statement\n{TEN_WORDS}", 0),
        ("问：为什么？\n答：因为。", 1),
        ("A: Because.\nQ: Why?", 0),
    ],
)
def test_questions_answered(text: str, answered: int) -> None:
    assert of(text)["question_answer_count"] == answered


def test_question_share() -> None:
    assert of("Is it? It is! Really?! 是吗？是。 What")["question_share"] == pytest.approx(3 / 6)
    assert of("no words ? ?")["question_share"] == 1  # one sentence
    assert of("")["question_share"] == 0


# --- the slow reference -------------------------------------------------------------------------------------

CLOSERS = re.escape("\"')]}*_’”»〉》」』】）")
LABEL = (
    rf"^[{CLOSERS}\s]*(?:(Q|A)(?=[{CLOSERS} ]*[:;：；])"
    r"|(Question|Problem|Exercise|问题|题目|例题|练习|问)|(Answer|答案|答)"
    r"|(Solution|Derivation|Explanation|Worked\s+example|解答|解析|推导|解)|(Proof|证明|证)(?![A-Za-z]))"
)
AFTER = rf"(?: *[0-9]+(?:\.[0-9]+)?)?(?:[{CLOSERS} ]*(?:$|[.(:;：；。！？]|\$))"


def slow_structure(text: str) -> tuple[int, ...]:
    """By regular expressions, line by line, for texts without fences in formulas and the like."""
    fenced: list[tuple[str, bool]] = []
    inside = False
    for raw in text.split("\n"):
        fenced.append((raw.strip(), inside or raw == "```"))
        inside ^= raw == "```"
    steps = worked = proofs = changes = answered = below = since = 0
    number, question, proof, after, was_code = None, "", False, False, False
    for line, code in fenced:
        opens, was_code = code and not was_code, code and not (line == "```" and was_code)
        if code:
            if opens:
                changes += since >= 5
                since, after = 0, True
            continue
        if not line:
            continue
        words = len(find_words(texts := texts_of(pa.array([line])), regions(texts)).starts)
        since += words
        if after and since >= 5:
            changes, after = changes + 1, False
        item = re.match(r"\(?([0-9]{1,3})\) |([0-9]{1,3})\. ", line)
        heading = re.match(r"#{1,6}(?: +|$)", line)
        lead = re.match(r"#{1,6}(?: |$)|[-*•] |\(?(?:[0-9]{1,3}|[A-Za-z])\) |[0-9]{1,3}\. ", line)
        rest = line[lead.end() :] if lead else line
        value = None
        if item:
            value = int(item[1] or item[2])
        elif heading and (digits := re.match(r"[0-9]{1,3}(?![0-9])", line[heading.end() :])):
            value = int(digits[0])
        if step := re.match(rf"[{CLOSERS}\s]*Step ([1-9]|[12][0-9]|30)(?![0-9A-Za-z]|[.,][0-9])", rest):
            value = int(step[1])
        if value is not None:
            steps += number is not None and value == number + 1
            number = value
        label = re.match(LABEL, rest)
        role = next((i for i, group in enumerate(label.groups()) if group), None) if label else None
        if label and role and not re.match(AFTER, rest[label.end() :]):
            role = None
        if role == 0:
            role = 1 if label and label[1] == "Q" else 2
        worked += role in (3, 4)
        if role in (2, 3, 4):
            answered += bool(question)
            question = ""
        proof = proof or role == 4
        if proof and re.search(rf"(?:∎|□|QED|\\qed)[{CLOSERS}$. ]*$", line):
            proofs, proof = proofs + 1, False
        asks = bool(heading and re.search(rf"[?？][{CLOSERS}# ]*$", line))
        if role == 1 or asks:
            question, below = "heading" if asks else "label", 0
        elif heading:
            question = question if question == "label" else ""
        elif question == "heading":
            below += words
            if below >= 10:
                answered, question = answered + 1, ""
    return steps, worked, proofs, changes, answered


LINES = (
    *("1. one", "2. two", "(2) two again", "3) three", "## 1 One", "## 2. Two", "Step 1: go", "**Step 2** on", "Step 30"),
    *("Q: why", "A: so", "**Q:** why?", "Q. no", "A", "Question 4: what", "Problem 2.1.", "Problem with this", "问：何"),
    *("Answer", "*Answer*: yes", "答：是", "Solution.", "Solution (short)", "Solution 3", "Solutions: no", "解 设", "解：设"),
    *("Proof.", "**Proof.** so ∎", "Proof", "proof.", "- Proof: $x$", "and so. □", "QED", "so $x \\qed$", "Worked example:"),
    *("## Why is it?", "## Which** ##", "# Why?! #", "### 为何？", "## Statement", "", "", "```", "```", "four words are few"),
    *("here are ten words that answer what somebody has asked before", "five words of plain prose", "Derivation $x$"),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=24).map("\n".join))
def test_structure_against_the_slow_reference(text: str) -> None:
    got = of(text)
    assert tuple(got[name] for name in NAMES) == slow_structure(text)
