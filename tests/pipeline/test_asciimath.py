"""AsciiMath → LaTeX: cases by hand, after the examples and the grammar of asciimath.org."""

import pytest
from formula_normal import normal

from pipeline.extract.formulas.asciimath import asciimath_to_tex
from tests.patience import in_proportion, in_time

CASES = {
    "sum_(i=1)^n i^3=((n(n+1))/2)^2": r"\sum_{i=1}^n i^3=\left(\frac{n(n+1)}{2}\right)^2",
    "int_0^1 f(x)dx": r"\int_0^1 f(x)dx",
    "d/dx f(x)=lim_(h->0)(f(x+h)-f(x))/h": r"\frac{d}{dx}f(x)=\lim_{h\to 0}\frac{f(x+h)-f(x)}{h}",
    "[[a,b],[c,d]]": r"\begin{bmatrix} a & b \\ c & d \end{bmatrix}",
    "((1,0),(0,1))": r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}",
    "[[1,2,|,3],[4,5,|,6]]": r"\begin{bmatrix} 1 & 2 & 3 \\ 4 & 5 & 6 \end{bmatrix}",
    "{(x,if x>0),(0,text(otherwise)):}": r"\begin{cases} x & \text{if } x>0 \\ 0 & \text{otherwise} \end{cases}",
    "sqrt(x+1)/2": r"\frac{\sqrt{x+1}}{2}",
    "sqrt sqrt root3x": r"\sqrt{\sqrt{\sqrt[3]{x}}}",
    "(a,b]": "(a,b]",
    "{x in RR | x>0}": r"\{x\in\mathbb{R}|x>0\}",
    "a/b/c": r"\frac{a}{b}/c",
    "1.5xx10^-3": r"1.5\times 10^{-3}",
    "sin^2 x + cos x": r"\sin^2 x+\cos x",
    "log_2(x)": r"\log_2(x)",
    "|x|<=abs(x/2)": r"|x|\le\left|\frac{x}{2}\right|",
    "|__x__| !in NN": r"\lfloor x\rfloor\notin\mathbb{N}",
    "hat(ab) + vec v": r"\hat{ab}+\vec{v}",
    "bb(x) bbb(R) cc(A) fr(g)": r"\mathbf{x}\mathbb{R}\mathcal{A}\mathfrak{g}",
    "stackrel(def)(=)": r"\overset{def}{=}",
    "ubrace(1+2)_(n)": r"\underbrace{1+2}_n",
    '"speed" = "distance"/"time"': r"\text{speed}=\frac{\text{distance}}{\text{time}}",
    "AA x EE y: x!=y => p iff q": r"\forall x\exists y:x\ne y\Rightarrow p\iff q",
    "5% of $3": r"5\%of\$3",
    "color(red)(x)": "x",
    "alphabeta": r"\alpha\beta",
    "": "",
}


@pytest.mark.parametrize("source", CASES)
def test_cases_by_hand(source):
    if source:
        assert normal(asciimath_to_tex(source)) == normal(CASES[source]), asciimath_to_tex(source)
    else:
        assert asciimath_to_tex(source) == ""


@pytest.mark.parametrize(
    "broken",
    ["(x", "x)", "x^", "_", "frac(a", "[[a,b],[c", "/", "sqrt", "|", "((((", "text(", "^^^" * 50, "(" * 3000],
)
def test_anything_can_be_read_and_keeps_its_braces_even(broken):
    tex = asciimath_to_tex(broken).replace(r"\{", "").replace(r"\}", "")
    assert tex.count("{") == tex.count("}")


def test_bars_without_a_partner_are_read_once():
    # 0.2 s measured; by trying each anew, years
    assert in_time(1.5, lambda: asciimath_to_tex("|(" * 500)).count("|") == 500


def test_a_long_row_of_bars_and_brackets_takes_linear_time_and_a_page_is_no_formula():
    for piece in ("|(", "(|", "x|(", "y|[x"):

        def read(count: int, piece: str = piece) -> None:
            assert asciimath_to_tex(piece * count).count("|") == count * piece.count("|"), piece

        in_proportion(read, 500, 4_500)
    assert asciimath_to_tex("x + 1 " * 10_000) == ""
