r"""MathML → LaTeX: a fixed point with latex2mathml (TeX → MathML → our TeX → the same MathML), and cases by hand."""

import pytest
from formula_normal import normal
from latex2mathml.converter import convert
from resiliparse.parse.html import HTMLTree

from pipeline.extract.formulas.mathml import mathml_to_tex
from tests.patience import in_time


def tex_of(mathml: str) -> str:
    return mathml_to_tex(HTMLTree.parse(f"<body>{mathml}</body>").body.query_selector("math"))


FORMULAS = r"""
x_i^2
\frac{a+b}{c-d}
\sqrt[3]{x+1}
\sum_{i=1}^{n} i^{2} = \frac{n(n+1)(2n+1)}{6}
\int_{-\infty}^{\infty} e^{-x^2} \, dx = \sqrt{\pi}
\lim_{x \to 0} \frac{\sin x}{x} = 1
\prod_{k=1}^{\infty} \left(1 - \frac{1}{k^2}\right)
\left. \frac{dy}{dx} \right|
\left\lfloor \frac{n}{2} \right\rfloor
\left\{ \frac{a}{b} \right\}
\mathbb{R}^{n} \mathcal{L} \mathfrak{g} \mathbf{x} \mathsf{T}
\mathrm{Re}(z)
\forall x \in S \exists y \notin T \subseteq U
\alpha \beta \Gamma \varepsilon \vartheta \varphi \hbar \ell
\hat{x} + \tilde{a} + \dot{y} + \ddot{z} + \vec{v}
\overline{AB} + \underline{x} + \widehat{ABC}
\overbrace{a+b}^{n} + \underbrace{c+d}_{m}
\binom{n}{k}
\begin{pmatrix} a & b \\ c & d \end{pmatrix}
\begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix}
\begin{vmatrix} a & b \\ c & d \end{vmatrix}
\begin{cases} x & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}
\text{für alle } x
\text{价格} \times 2
x' + f''(x)
x^{y^{z}}_{i_j}
{x^{2}}^{3}
a \quad b \qquad c \, d \; e
50\% \# \$ \&
p \land q \lor \neg r \Rightarrow s \Leftrightarrow t
\overset{!}{=} \underset{x}{y}
X \xrightarrow{f} Y
\partial_t u = \Delta u
A \times B \cdot C \pm D \oplus E \otimes F
""".strip().splitlines()


@pytest.mark.parametrize("tex", FORMULAS)
def test_latex2mathml_makes_the_same_of_our_tex(tex):
    assert normal(tex_of(convert(tex))) == normal(tex), tex_of(convert(tex))


M = "<math>{}</math>".format
TABLE = "<mtable{}><mtr><mtd><mi>a</mi></mtd><mtd><mo>=</mo><mi>b</mi></mtd></mtr><mtr><mtd></mtd><mtd><mo>=</mo><mi>c</mi></mtd></mtr></mtable>"
CASES = {
    # MathJax: stretchy fences have no attribute, others say stretchy="false".
    M("<mrow><mo>(</mo><mfrac><mi>a</mi><mi>b</mi></mfrac><mo>)</mo></mrow>"): r"\left(\frac{a}{b}\right)",
    M('<mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo>'): "(x)",
    M(
        '<msup><mrow><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo></mrow><mn>2</mn></msup>'
    ): "(x)^{2}",
    # KaTeX: fence="true" is \left, whatever is within.
    M('<mrow><mo fence="true">|</mo><mi>x</mi><mo fence="true">|</mo></mrow>'): r"\left|x\right|",
    M('<mrow><mo fence="true"></mo><mi>x</mi><mo fence="true">|</mo></mrow>'): r"\left.x\right|",
    M('<mo>(</mo><mfrac linethickness="0px"><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>'): r"\binom{n}{k}",
    M('<mfenced open="[" close=")" separators=";"><mi>a</mi><mi>b</mi></mfenced>'): "[a;b)",
    M("<mfenced><mi>a</mi><mi>b</mi></mfenced>"): "(a,b)",
    M(TABLE.format(' columnalign="right left"')): r"\begin{aligned} a & =b \\ & =c \end{aligned}",
    M(TABLE.format(' columnalign="left center"')): r"\begin{array}{lc} a & =b \\ & =c \end{array}",
    M(
        TABLE.format(' columnalign="center center" columnlines="solid"')
    ): r"\begin{array}{c|c} a & =b \\ & =c \end{array}",
    M(
        "<mtable><mlabeledtr><mtd><mtext>(3)</mtext></mtd><mtd><mi>x</mi></mtd></mlabeledtr></mtable>"
    ): r"x \tag{3}",
    M(
        "<msub><mo>∑</mo><mtable><mtr><mtd><mi>i</mi></mtd></mtr><mtr><mtd><mi>j</mi></mtd></mtr></mtable></msub>"
    ): (r"\sum_{\substack{i \\ j}}"),
    M(
        "<mmultiscripts><mi>X</mi><mi>c</mi><mi>d</mi><mprescripts/><mi>a</mi><none/></mmultiscripts>"
    ): "{}_{a}X_{c}^{d}",
    M('<menclose notation="updiagonalstrike"><mi>x</mi></menclose>'): r"\cancel{x}",
    M('<menclose notation="box"><mi>x</mi></menclose>'): r"\boxed{x}",
    M("<mphantom><mi>x</mi></mphantom><mi>y</mi>"): r"\phantom{x}y",
    M('<mi>a</mi><mspace width="1em"/><mi>b</mi><mspace width="thinmathspace"/><mi>c</mi>'): r"a\quad b\,c",
    M("<mi>sin</mi><mo>&ApplyFunction;</mo><mi>x</mi><mo>&InvisibleTimes;</mo><mi>y</mi>"): r"\sin xy",
    M("<mi>rank</mi><mo>&#x2061;</mo><mi>A</mi>"): r"\operatorname{rank}A",
    M("<munder><mi>argmax</mi><mi>x</mi></munder>"): r"\operatorname*{argmax}_{x}",
    M("<munderover><mo>∫</mo><mn>0</mn><mn>1</mn></munderover>"): r"\int\limits_{0}^{1}",
    M("<mi>&#x1D49C;</mi><mi>&#x211D;</mi><mi>𝐱</mi><mi mathvariant='normal'>d</mi><mi>&#x1D6FC;</mi>"): (
        r"\mathcal{A}\mathbb{R}\mathbf{x}\mathrm{d}\alpha"
    ),
    M("<mtext>a_b &amp; 50%</mtext>"): r"\text{a\_b \& 50\%}",
    M("<semantics><mi>x</mi><annotation-xml><ci>twice</ci></annotation-xml></semantics>"): "x",
    M("<mo>∥<!-- ∥ -->⊥<!-- ⊥ --></mo>"): r"\parallel \perp",
    M("<mn>1,000.5</mn>"): "1{,}000.5",
    M("<msup><mi>x</mi><mrow><mo>′</mo><mn>2</mn></mrow></msup>"): r"x^{\prime 2}",
    # Slashes and bars between tall things are no fences of what lies between them.
    M(
        "<mi>a</mi><mo>/</mo><mi>b</mi><mo>=</mo><mfrac><mi>p</mi><mi>q</mi></mfrac><mo>+</mo><mi>c</mi><mo>/</mo><mi>d</mi>"
    ): (r"a/b=\frac{p}{q}+c/d"),
    M(
        "<mi>a</mi><mo>|</mo><mi>b</mi><mo>,</mo><mfrac><mi>p</mi><mi>q</mi></mfrac><mo>,</mo><mi>c</mi><mo>|</mo><mi>d</mi>"
    ): (r"a|b,\frac{p}{q},c|d"),
    M(
        "<mi>y</mi><mo>=</mo><mo>|</mo><mfrac><mi>p</mi><mi>q</mi></mfrac><mo>|</mo>"
    ): r"y=\left|\frac{p}{q}\right|",
    M(
        "<mo>(</mo><mi>a</mi><mo>|</mo><mfrac><mi>p</mi><mi>q</mi></mfrac><mo>)</mo>"
    ): r"\left(a|\frac{p}{q}\right)",
    M(
        "<mo>(</mo><mo>(</mo><mfrac><mi>p</mi><mi>q</mi></mfrac><mo>)</mo><mo>[</mo><mi>x</mi><mo>]</mo><mo>)</mo>"
    ): (r"\left(\left(\frac{p}{q}\right)[x]\right)"),
    # Content MathML is another language: its operators are elements without text.
    M("<apply><plus/><ci>x</ci><ci>y</ci></apply>"): "",
    M("<semantics><mi>x</mi><annotation-xml><apply><ci>x</ci></apply></annotation-xml></semantics>"): "x",
    M(""): "",
}


@pytest.mark.parametrize("mathml", CASES)
def test_cases_by_hand(mathml):
    assert tex_of(mathml) == CASES[mathml]


def test_depth_and_length_are_bounded():
    in_time(3, deep_and_long)


def deep_and_long():
    assert "x" in tex_of(M("<mrow>" * 5000 + "<mi>x</mi>" + "</mrow>" * 5000))
    assert tex_of(M("<msup><mi>x</mi>" * 300 + "<mi>y</mi>" + "</msup>" * 300)).count("x") == 300
    assert tex_of(M("<mi>x</mi><mo>+</mo>" * 20_000)).count("x+") == 20_000
    fences = '<mo fence="true">(</mo>' * 3000 + "<mi>x</mi>" + '<mo fence="true">)</mo>' * 3000
    assert tex_of(M(fences)) == r"\left(" * 3000 + "x" + r"\right)" * 3000
    assert tex_of(M("<mo>(</mo>" * 10_000)) == "(" * 10_000
    for tag in ("mover", "munder", "msup"):
        assert tex_of(M(f"<{tag}>" * 30 + "<mi>x</mi>" + f"<mi>y</mi></{tag}>" * 30)).count("y") == 30
