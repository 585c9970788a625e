"""Hand-worked pairs of answers, hostile input, and the worker process behind them."""

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from math import factorial
from pathlib import Path

import psutil
import pytest

from synth.verify import maths, worker
from synth.verify.answers import answer_line, boxed, final_part
from synth.verify.formulas.exact import rational


@pytest.fixture(scope="module")
def compare():
    with maths.comparer() as process:
        maths.equal(r"\sum_{k=1}^3 k", "6", process, 30)  # so that no test pays for the start
        yield process


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (r"\boxed{3} ... wait, \boxed{4}", "4"),
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{x = \boxed{3} + 1}", r"x = \boxed{3} + 1"),
        (r"\boxed{5} and then \boxed{6", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a\}b}", r"a\}b"),
        ("the answer is 25", None),
        (r"\boxed", None),
        (r"\[\boxed{5}\]" + "\n\n" + r"\[\boxed{6}\]", "6"),
        (r"\boxed{3 \boxed{4}", "4"),
        (r"\fbox{1} \boxed {2}", "2"),
    ],
)
def test_the_last_balanced_box_counts(text, body):
    assert boxed(text) == body


def test_boxes_with_and_between_them_are_one_answer(compare):
    assert boxed(r"$\boxed{2}$ and $\boxed{3}$", parts=True) == "2, 3"
    assert boxed(r"\boxed{4} or \boxed{5}", parts=True) == r"4 \text{ or } 5"
    assert boxed(r"\boxed{4}? No, \boxed{5}", parts=True) == "5"
    assert maths.check(r"It is $\boxed{2}$ and $\boxed{3}$.", "2,3", compare).passed
    assert not maths.check(r"It is $\boxed{4}$ or $\boxed{5}$.", "5", compare).passed
    assert maths.check(r"It is $\boxed{1\frac12}$, or $\boxed{\frac32}$.", "1.5", compare).passed


def test_thoughts_hold_no_answer():
    assert final_part("<think>I try \\boxed{3}") == ""
    assert boxed(final_part("<think>\\boxed{3}</think> It is \\boxed{4}")) == "4"
    assert boxed(final_part("<think>\\boxed{3}</think> It is four")) is None
    assert answer_line("Answer: 3\nThe final answer is: **4**") == "4"
    assert answer_line("I have no answer.") is None


RIGHT = r"""
1/2 | \frac{1}{2}
0.5 | \frac12
1,234 | 1234
10{,}000 | 10000
0.\overline{3} | 1/3
1e6 | 10^6
1e6 | 1000000
90^\circ | 90
5 | x=5
x = 5 | 5
\sqrt{8} | 2\sqrt{2}
\frac{\sqrt{2}}{2} | \frac{1}{\sqrt2}
(1,2) | \left(1, 2\right)
\{1,2\} | \{2,1\}
[0,\infty) | [0,+\infty)
x^2+2x+1 | (x+1)^2
3x+4y+14=0 | 6x+8y+28=0
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix} 1 \\ 2 \end{pmatrix}
\text{Tuesday} | tuesday
A | \textbf{(A)}
\frac{\pi}{3} | \pi/3
3\frac{1}{2} | \frac{7}{2}
\binom{5}{2} | 10
1-1/e | 1-\frac{1}{\mathrm{e}}
(-\infty,-1)\cup(1,\infty) | (-\infty, -1) \cup (1, \infty)
6-5i | -5i+6
12\text{ cm} | 12\,\mathrm{cm}
3\sqrt{13} | \sqrt{117}
-0.25 | -\dfrac14
1.2\times10^{3} | 1200
x=2\text{ or }x=3 | x=2, x=3
"""


@pytest.mark.parametrize("line", RIGHT.strip().splitlines())
def test_equal_answers_are_right(line, compare):
    gold, answer = line.split(" | ")
    assert maths.equal(gold, answer, compare).verdict == "right"
    assert maths.check(rf"<think>hm</think>so $\boxed{{{answer}}}$.", gold, compare).verdict == "right"


def table(section: str) -> list[tuple[str, str]]:
    """The pairs of one section of the table beside this file."""
    text = (Path(__file__).parent / "maths_pairs.txt").read_text(encoding="utf-8")
    lines = text.partition(f"\n# {section}")[2].partition("\n# ")[0].splitlines()[1:]
    pairs = [line.split(" || ", 1) for line in lines if " || " in line]
    return [(known, given) for known, given in pairs]


def test_the_table_is_as_large_as_it_has_to_be():
    assert len(table("equal")) + len(table("different")) >= 200
    assert len(table("hostile")) >= 60


@pytest.mark.parametrize(("gold", "answer"), table("equal"))
def test_equal_pairs_are_right_both_ways(gold, answer, compare):
    assert maths.equal(gold, answer, compare).verdict == "right"
    assert maths.equal(answer, gold, compare).verdict == "right"
    text = rf"<think>\boxed{{0}}?</think> So it is $\boxed{{{answer}}}$."
    if "$" not in answer:
        assert maths.check(text, gold, compare).verdict == "right"


@pytest.mark.parametrize(("gold", "answer"), table("different"))
def test_different_pairs_are_never_right(gold, answer, compare):
    assert maths.equal(gold, answer, compare).verdict != "right"
    assert maths.equal(answer, gold, compare).verdict != "right"


@pytest.mark.parametrize(("gold", "answer"), table("hostile"))
def test_hostile_predictions_are_never_right_and_quick(gold, answer, compare):
    started = time.process_time()
    assert maths.check(rf"So it is $\boxed{{{answer}}}$.", gold, compare).verdict != "right"
    assert time.process_time() - started < 2


NEVER_RIGHT = r"""
12\text{ cm} | 12\text{ m}
12\text{cm}^2 | 12\text{cm}^3
1/2004! | 1/2006!
\frac{1}{2^{99}} | \frac{1}{2^{98}}
\sqrt{2}\cdot2^{-99} | \sqrt{2}\cdot2^{-98}
\frac{2^{2005}+1}{3\cdot2^{2006}} | \frac{1}{3\cdot2^{2006}}
1-1/\mathrm{e} | 1+1/\mathrm{e}
1,2,...,n | 1,3,5,...,2n-1
0.1 | 0.1000001
3*x-1*y+13=0 | 3x+4y+14=0
25 | There is no extra taler
5 | 5 or 6
5 | 5, 6
(1,2) | (2,1)
(3,1) | (5,2)
[1,2] | (1,2)
\frac13 | 0.333333
\sqrt2 | 1.414214
\pi | 3.14159265
x<3 | x\le 3
10^{-30} | 0
e^{-50} | e^{-51}
x=5 | y=5
2x+3=0 | 0
1001_2 | 1001
1001_2 | 1001_3
12 | 1\,2
x' | x
\pm 3 | \mp 3
2:3 | 3:2
1/2x | 1/(2x)
a_n | a_m
\log_2 x | \log_3 x
2 dogs | 2 gods
3 R 2 | 2 R 3
2024-01-02 | 2021
2^{3}2 | 2^{32}
\overline{AB} | AB
5\text{ dollars} | 5\text{ cents}
\emptyset | 0
\frac{1}{0} | \frac{2}{0}
A | C
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \begin{pmatrix}1&3\\2&4\end{pmatrix}
x=1,y=2 | x=2,y=1
\mathbb{R} | \mathbb{Q}
Tuesday | Monday
N-1 | n-1
\Delta | \delta
S^2 | s^2
\frac{R}{r} | \frac{r}{R}
V=\pi R^2 | V=\pi r^2
x+y=1 | X+Y=1
aB | Ab
AB | ab
x>1\text{ or }x<-1 | x>1\text{ and }x<-1
x\neq 1\text{ and }x\neq 2 | x\neq 1\text{ or }x\neq 2
3 | \phantom{3}
"""


@pytest.mark.parametrize("line", NEVER_RIGHT.strip().splitlines())
def test_different_answers_are_never_right(line, compare):
    gold, answer = line.split(" | ")
    assert maths.equal(gold, answer, compare).verdict != "right"
    assert maths.equal(answer, gold, compare).verdict != "right"


@pytest.mark.parametrize(("gold", "answer"), [("1", "2"), ("x+1", "x+2"), ("yes", "no"), ("(1,2)", "(2,1)")])
def test_clearly_different_is_wrong_not_undecided(gold, answer, compare):
    assert maths.equal(gold, answer, compare).verdict == "wrong"


def test_no_fallback_to_numbers_in_the_text(compare):
    assert maths.check("The answer is 25.", "25", compare).reason == "no_boxed_answer"
    assert maths.check(r"The answer is 25. \boxed{}", "25", compare).verdict == "wrong"
    verdict = maths.check(r"It is 25. \boxed{There is no extra taler}", "25", compare)
    assert verdict.verdict != "right"
    assert verdict.extracted == "There is no extra taler"


def test_boxes_without_end_are_read_in_linear_time():
    started = time.process_time()
    assert boxed(r"\boxed{" * 100_000) is None
    assert boxed(r"\boxed{" * 100_000 + "5" + "}" * 50_000) is not None
    assert time.process_time() - started < 2


def test_long_lists_share_one_deadline(compare):
    heavy = [rf"e^{{\sqrt{{{n}}}+\sin {n}}}" for n in range(1, 38)]
    started = time.process_time()
    maths.equal(", ".join(heavy), ", ".join(reversed(heavy)), compare)
    assert time.process_time() - started < 2.5


CHOICES = r"""
A | (A) | right
C | c | right
(B) | Option b | right
A,C | C and A | right
A, C | AC | right
D | The answer is (D). | right
B | \text{(B) } 7 | right
A | B | wrong
A,C | A | wrong
A | A or B | undecided
A | 5 | undecided
A | (A)-26 | undecided
5 | A | undecided
"""


@pytest.mark.parametrize("line", CHOICES.strip().splitlines())
def test_choices(line, compare):
    gold, answer, verdict = line.split(" | ")
    found = maths.equal(gold, answer, compare, kind="choice").verdict
    assert found == verdict or (verdict == "undecided" and found == "wrong")


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "relative", "verdict"),
    [
        ("3.14", r"\pi", 0.01, 0.0, "right"),
        ("3.14", r"\pi", 0.001, 0.0, "wrong"),
        ("1000", "1009", 0.0, 0.01, "right"),
        ("1000", "1011", 0.0, 0.01, "wrong"),
        ("0.00001", "0.00002", 0.0, 0.01, "wrong"),
        (r"9.8\text{ m/s}^2", "9.81", 0.05, 0.0, "right"),
        (r"9.8\text{ m}", r"9.81\text{ s}", 0.05, 0.0, "wrong"),
        ("4.123105625617661", r"\sqrt{17}", 0.0, 1e-9, "right"),
        ("5", "x", 1.0, 0.0, "wrong"),
        ("5", "5, 6", 10.0, 0.0, "wrong"),
        ("5", "5+i", 10.0, 0.0, "wrong"),
        ("x", "5", 1.0, 0.0, "wrong"),
    ],
)
def test_numbers_with_a_tolerance(gold, answer, tolerance, relative, verdict, compare):
    found = maths.equal(gold, answer, compare, kind="number", tolerance=tolerance, relative=relative)
    assert (found.verdict == "right") == (verdict == "right")


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("New York", r"\text{new  york}.", True),
        ("racecar", "RaceCar", True),
        ("abc", "acb", False),
        ("1/2", "0.5", False),
        ("abc", "abc abc", False),
    ],
)
def test_texts(gold, answer, same, compare):
    assert maths.equal(gold, answer, compare, kind="text").passed is same


HOSTILE = [
    r"3^{10^8}",
    r"(10^7)!",
    r"\gcd(3^{10^7},7^{10^7})",
    r"2^{10^{10}}",
    r"\sum_{i=1}^{10^9} i^i",
    "{" * 20_000 + "1" + "}" * 20_000,
    "9" * 20_000,
    "9^9^9^9",
    r"((9!)!)!",
    "1," * 5000,
    r"(x+y+z+w)^{200}",
    r"\sin(\sin(\sin(10^{30})))",
    r"(2^{20000})^{20000}",
    "1e999999999",
]


def test_hostile_numbers_return_in_time(compare):
    for text in HOSTILE:
        started = time.monotonic()
        verdict = maths.check(rf"\boxed{{{text}}}", r"x^2+\sqrt{2}", compare)
        assert time.monotonic() - started < 3, text[:40]
        assert verdict.verdict != "right"
    assert compare.starts == 1  # a hung fork is replaced; the watching process stays
    assert maths.equal(r"\sum_{k=1}^4 k", "10", compare).passed  # and the next answer is judged


def test_exact_numbers_against_fractions():
    assert rational(r"\frac{2004!}{2003!}") == 2004
    assert rational(r"\frac{1}{20!}") == Fraction(1, factorial(20))
    assert rational(r"-3\frac{1}{2}") == Fraction(-7, 2)
    assert rational(r"0.1\overline{6}") == Fraction(1, 6)
    assert rational("2^{-3}+(1-3)*4/8") == Fraction(1, 8) - 1
    assert rational("-2^2") == -4
    for text in ("", "x", "1 2", "2^{1/2}", "5!!", "(1", "1/0", "2^3^2", "9^{9^9}", "3 4", "1..2", "0^0"):
        assert rational(text) is None, text


def _processes() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


def test_the_worker_is_recycled_and_leaves_no_process():
    before = {p.pid for p in _processes()}
    process = worker.Worker("synth.verify.formulas.symbolic:compare", recycle=2)
    forks = set()
    for _ in range(5):
        assert process.ask({"gold": "x", "answer": "x"}, 30)["verdict"] == "equal"
        forks |= {p.pid for p in _processes()} - before
    assert process.starts == 1
    assert len(forks) == 1 + 3  # the watching process, and a fork for each two messages
    process.close()
    deadline = time.monotonic() + 120
    while {p.pid for p in _processes()} - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not {p.pid for p in _processes()} - before


def test_the_worker_dies_with_its_owner():
    """Killed with SIGKILL, so that no clean-up runs: the kernel has to end the workers."""
    script = (
        "import sys, time; from synth.verify import maths; w = maths.comparer(); "
        "w.ask({'gold': 'x', 'answer': 'x'}, 60); import psutil; "
        "print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 2
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 120
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
