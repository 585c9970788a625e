"""Hand-worked pairs of answers, hostile input, and the worker process behind them."""

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from math import factorial

import psutil
import pytest

from synth.verify import maths, worker
from synth.verify.answers import answer_line, boxed, final_part
from synth.verify.exact import rational


@pytest.fixture(scope="module")
def compare():
    with maths.comparer() as process:
        maths.equal(r"\sqrt{8}", "x", process, 30)  # so that no test pays for the start
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
    ],
)
def test_the_last_balanced_box_counts(text, body):
    assert boxed(text) == body


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
5\% | 5
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
    assert maths.equal(r"\sqrt{8}", r"2\sqrt{2}", compare).passed  # and the next answer is judged


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
    process = worker.Worker("synth.verify.symbolic:compare", recycle=2)
    forks = set()
    for _ in range(5):
        assert process.ask({"gold": "x", "answer": "x"}, 30)["verdict"] == "equal"
        forks |= {p.pid for p in _processes()} - before
    assert process.starts == 1
    assert len(forks) == 1 + 3  # the watching process, and a fork for each two messages
    process.close()
    deadline = time.monotonic() + 5
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
    deadline = time.monotonic() + 5
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
