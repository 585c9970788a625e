r"""Formulas read back from KaTeX's and MathJax's own output (`rendered_formulas.json`: our formulas, rendered by them).

What is read back is right when latex2mathml makes the same MathML of it as of the formula that was rendered.
"""

import json
import random
import re
from pathlib import Path

import pytest
from formula_normal import normal
from resiliparse.parse.html import HTMLTree

from pipeline.extract.formulas.rendered import rendered_to_tex
from tests.patience import in_time

SAMPLES = json.loads(Path(__file__).with_name("rendered_formulas.json").read_text())


def element(html: str):
    return HTMLTree.parse(f"<body>{html}</body>").body.first_element_child


@pytest.mark.parametrize("renderer", SAMPLES)
def test_rendered_formulas_are_read_back(renderer):
    for tex, html in SAMPLES[renderer].items():
        assert normal(rendered_to_tex(element(html))) == normal(tex), (tex, rendered_to_tex(element(html)))


def html_css(parts: list[tuple[float, str]]) -> str:
    """Parts of a construction of MathJax 2's HTML-CSS, each at a height in em (negative is up)."""
    placed = "".join(
        f'<span style="position: absolute; clip: rect(1.9em, 1000em, 2.7em, -999em); top: {at - 4}em; left: 0em;">{part}'
        '<span style="display: inline-block; width: 0px; height: 4em;"></span></span>'
        for at, part in parts
    )
    return (
        f'<span style="display: inline-block; position: relative; width: 1em; height: 0px;">{placed}</span>'
    )


def test_html_css_of_mathjax_2():
    x = '<span class="mi" style="font-family: MathJax_Math; font-style: italic;">x</span>'
    d = '<span class="mi" style="font-family: MathJax_Main;">d</span>'
    two, one = (f'<span class="mn" style="font-family: MathJax_Main;">{n}</span>' for n in "21")
    power = f'<span class="msubsup">{html_css([(0, x), (-0.4, two)])}</span>'
    both = f'<span class="msubsup">{html_css([(0, x), (-0.4, two), (0.2, one)])}</span>'
    line = (
        '<span style="border-left-width: 0em; border-top: 1.3px solid; height: 1.25px; width: 1em;"></span>'
    )
    fraction = f'<span class="mfrac">{html_css([(-0.7, power), (0.7, d), (-0.2, line)])}</span>'
    formula = html_css([(0, f'<span class="mrow">{fraction}<span class="mo">≤</span>{both}</span>')])
    math = f'<span class="MathJax"><nobr><span class="math">{formula}</span></nobr></span>'
    assert rendered_to_tex(element(math)) == r"\frac{x^{2}}{\mathrm{d}}\le x_{1}^{2}"


def test_struck_boxed_and_numbered():
    strike = (
        '<span class="katex"><span class="katex-html"><span class="base"><span class="mord"><span class="vlist-t"><span class="vlist-r">'
        '<span class="vlist"><span style="top:-3em;"><span class="pstrut" style="height:3em;"></span><span class="mord"><span class='
        '"mord mathnormal">x</span></span></span><span class="svg-align" style="top:-3em;"><span class="pstrut" style="height:3em;"></span>'
        '<span class="stretchy"><svg><line x1="0" y1="100%" x2="100%" y2="0"></line></svg></span></span></span></span></span></span></span>'
        '<span class="tag"><span class="strut"></span><span class="mord text"><span class="mord">(</span><span class="mord">2.1</span>'
        '<span class="mord">)</span></span></span></span></span>'
    )
    assert rendered_to_tex(element(strike)) == r"\cancel{x} \tag{2.1}"


def test_what_is_no_formula_gives_nothing_and_depth_costs_nothing():
    for html in (
        '<span class="katex">x</span>',
        '<span class="MathJax"></span>',
        "<mjx-container></mjx-container>",
        '<mjx-container><mjx-math><mjx-mi><mjx-c class="mjx-cFFFFFF"></mjx-c></mjx-mi></mjx-math></mjx-container>',
        "<mjx-container><mjx-math><mjx-mfrac></mjx-mfrac></mjx-math></mjx-container>",
    ):
        assert not re.sub(r"\\genfrac|0pt|[{}]", "", rendered_to_tex(element(html))), html
    deep = (
        '<span class="katex"><span class="katex-html">'
        + '<span class="mord">' * 3000
        + "x"
        + "</span>" * 3002
    )
    assert "x" in in_time(1, lambda: rendered_to_tex(element(deep)))


def test_damaged_markup_is_read_without_complaint():
    in_time(3, read_damaged)  # 0.9 s measured


def read_damaged():
    damage = random.Random(5)
    pages = [html for samples in SAMPLES.values() for html in samples.values()]
    for _ in range(3000):
        html = damage.choice(pages)
        start = damage.randrange(len(html))
        end = start + damage.randrange(1, 40)
        cut = damage.choice(["", html[start:end] * 3, "<", '"', "</span>", "<mi>", "."])
        node = element(html[:start] + cut + html[end:])
        if node is not None:
            tex = re.sub(r"\\[{}\\]", "", rendered_to_tex(node))
            assert tex.count("{") == tex.count("}")
