r"""Formulas on pages: every encoding gives the TeX it carries, once, inline or displayed; what is no formula stays."""

from html import escape
from urllib.parse import quote, quote_plus

import pytest
from resiliparse.parse.html import HTMLTree

from pipeline.extract import extract
from pipeline.extract.census import Census
from pipeline.extract.formulas.delimiters import delimiters_of, replace_delimited
from pipeline.extract.formulas.find import protect_formulas
from pipeline.extract.protect import Protected
from tests.patience import in_proportion, in_time

MATHJAX = '<script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>'
TWIN = "<nobr>rendered twin</nobr>"


def formulas_of(body: str, head: str = "") -> str:
    """The text of a page with its formulas in dollars, white space collapsed."""
    html = f"<html><head>{head}</head><body>{body}</body></html>"
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    census = Census.of(html.encode())
    protect_formulas(tree, census, protected)
    for script in tree.body.query_selector_all("script").values():
        script.remove()
    text = replace_delimited(tree.body.text, protected, delimiters_of(census))
    return " ".join("".join(part for part, _ in protected.parts(text)).split())


TEX = [
    r"x",
    r"a+b_1 < c",
    r"\frac{a}{b} \& 50\%",
    r"\begin{cases} x^2 & \text{if } x \ge 0 \\ -x & \text{sonst, für } x < 0 \end{cases}",
    r"f'(x) \neq \sqrt[3]{x^{y_1}} \, dx",
    r"\text{价格} \times 2",
    r"\left\{ \int_0^\infty e^{-x^2} \right.",
]
MATHML = "<math{}><semantics><mrow><mi>x</mi><mo>+</mo><mi>twin</mi></mrow>{}</semantics></math>"


def annotated(tex: str, encoding: str = "application/x-tex", attributes: str = "") -> str:
    return MATHML.format(attributes, f'<annotation encoding="{encoding}">{escape(tex)}</annotation>')


INLINE = {
    "annotation": lambda t: annotated(t),
    "annotation, other names": lambda t: annotated(t, "Application/X-TeX"),
    "annotation TeX": lambda t: annotated(t, "TeX"),
    "katex": lambda t: (
        f'<span class="katex"><span class="katex-mathml">{annotated(t)}</span><span class="katex-html">rendered</span></span>'
    ),
    "katex error": lambda t: (
        f'<span class="katex-error" title="ParseError: x" style="color:#cc0000">{escape(t)}</span>'
    ),
    "wikipedia": lambda t: (
        f'<span class="mwe-math-element"><span style="display: none;">{annotated("{" + chr(92) + "displaystyle " + t + "}")}</span>'
        '<img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/a" class="mwe-math-fallback-image-inline" alt="twin"></span>'
    ),
    "wikipedia image": lambda t: (
        f'<img class="mwe-math-fallback-image-inline" src="/svg/a" alt="{escape("{" + chr(92) + "displaystyle " + t + "}")}">'
    ),
    "latexml": lambda t: MATHML.format(f' alttext="{escape(t)}" display="inline"', ""),
    "script": lambda t: f'<script type="math/tex">{t}</script>',
    "script, HTML-CSS": lambda t: (
        f'<span class="MathJax_Preview">twin</span><span class="MathJax" id="MathJax-Element-1-Frame">{TWIN}</span>'
        f'<script type="math/tex" id="MathJax-Element-1">{t}</script>'
    ),
    "script, SVG": lambda t: (
        f'<span class="MathJax_SVG" id="MathJax-Element-2-Frame">{TWIN}</span><script type="math/tex" id="MathJax-Element-2">{t}</script>'
    ),
    "script, NativeMML": lambda t: (
        f'<span class="MathJax_MathML" id="MathJax-Element-3-Frame"><math><mi>twin</mi></math></span>'
        f'<script type="math/tex" id="MathJax-Element-3">{t}</script>'
    ),
    "kramdown": lambda t: f'<script type="math/tex">% <![CDATA[\n{t} %]]></script>',
    "mathjax 3, assistive": lambda t: (
        '<mjx-container class="MathJax" jax="CHTML"><mjx-math><mjx-mi><mjx-c class="mjx-c1D465"></mjx-c></mjx-mi></mjx-math>'
        f"<mjx-assistive-mml>{annotated(t)}</mjx-assistive-mml></mjx-container>"
    ),
    "mathjax 4": lambda t: (
        f'<mjx-container class="MathJax" jax="SVG"><svg><g data-mml-node="math" data-latex="{escape(t)}"><g data-mml-node="mi" '
        'data-latex="twin"><use data-c="78"></use></g></g></svg></mjx-container>'
    ),
    "data-mathml": lambda t: f'<span class="MathJax" data-mathml="{escape(annotated(t))}">{TWIN}</span>',
    "zhihu": lambda t: f'<span class="ztext-math" data-eeimg="1" data-tex="{escape(t)}">twin</span>',
    "zhihu image": lambda t: (
        f'<img src="https://www.zhihu.com/equation?tex={quote_plus(t)}" alt="[公式]" eeimg="1">'
    ),
    "data-latex": lambda t: f'<span class="math" data-latex="{escape(t)}"><b>twin</b></span>',
    "quill": lambda t: (
        f'<span class="ql-formula" data-value="{escape(t)}"><span class="katex">twin</span></span>'
    ),
    "stackexchange": lambda t: f'<span class="math-container">${escape(t)}$</span>',
    "sphinx": lambda t: rf'<span class="math notranslate nohighlight">\({escape(t)}\)</span>',
    "pandoc": lambda t: f'<span class="math inline">{escape(t)}</span>',
    "pandoc, delimited": lambda t: rf'<span class="math inline">\({escape(t)}\)</span>',
    "gitlab": lambda t: f'<code class="code math js-render-math" data-math-style="inline">{escape(t)}</code>',
    "gitea": lambda t: f'<code class="language-math">{escape(t)}</code>',
    "github": lambda t: f'<math-renderer class="js-inline-math">$`{escape(t)}`$</math-renderer>',
    "arithmatex": lambda t: rf'<span class="arithmatex">\({escape(t)}\)</span>',
    "distill": lambda t: f"<d-math>{escape(t)}</d-math>",
    "wordpress": lambda t: (
        f'<img src="https://s0.wp.com/latex.php?latex={quote_plus(t)}&#038;bg=ffffff" alt="{escape(t)}" class="latex">'
    ),
    "latex.php": lambda t: f'<img src="/latex.php?latex={quote_plus(t)}&amp;bg=ffffff">',
    "codecogs": lambda t: (
        f'<img src="https://latex.codecogs.com/gif.latex?\\inline&amp;space;{escape(t.replace(" ", "&space;").replace("+", "&plus;"))}">'
    ),
    "codecogs svg": lambda t: f'<img src="https://latex.codecogs.com/svg.image?{quote(t)}">',
    "mimetex": lambda t: f'<img src="/cgi-bin/mimetex.cgi?{escape(t)}">',
    "mathtex": lambda t: f'<img src="https://www.forkosh.com/mathtex.cgi?{quote(t)}" alt="">',
    "quicklatex": lambda t: (
        f'<img src="/ql-cache/1_l3.png" class="ql-img-inline-formula quicklatex-auto-format" alt="{escape(t)}">'
    ),
    "imgmath": lambda t: f'<img class="math" src="_images/math/0f.png" alt="{escape(t)}">',
    "latex2html": lambda t: f'<img width="9" src="img1.png" alt="${escape(t)}$">',
    "github image": lambda t: f'<img src="https://render.githubusercontent.com/render/math?math={quote(t)}">',
    "vercel": lambda t: f'<img src="https://math.vercel.app/?inline={quote(t)}">',
    "charts": lambda t: f'<img src="https://chart.googleapis.com/chart?cht=tx&amp;chl={quote(t)}">',
    "canvas": lambda t: (
        f'<img class="equation_image" alt="LaTeX: {escape(t)}" data-equation-content="{escape(t)}">'
    ),
}
DISPLAY = {
    "annotation": lambda t: annotated(t, attributes=' display="block"'),
    "katex": lambda t: (
        f'<span class="katex-display"><span class="katex"><span class="katex-mathml">{annotated(t)}</span>'
        '<span class="katex-html">rendered</span></span></span>'
    ),
    "latexml": lambda t: MATHML.format(f' alttext="{escape(t)}" display="block"', ""),
    "script": lambda t: f'<script type="math/tex; mode=display">{t}</script>',
    "script, HTML-CSS": lambda t: (
        f'<div class="MathJax_Display"><span class="MathJax" id="MathJax-Element-1-Frame">{TWIN}</span></div>'
        f'<script type="math/tex; mode=display" id="MathJax-Element-1">{t}</script>'
    ),
    "script, CommonHTML": lambda t: (
        '<span class="mjx-chtml MJXc-display" id="MathJax-Element-9-Frame"><span class="mjx-math">twin</span></span>'
        f'<script type="math/tex; mode=display" id="MathJax-Element-9">{t}</script>'
    ),
    "sphinx": lambda t: rf'<div class="math notranslate nohighlight">\[{escape(t)}\]</div>',
    "stackexchange": lambda t: f'<span class="math-container">$${escape(t)}$$</span>',
    "pandoc": lambda t: rf'<span class="math display">\[{escape(t)}\]</span>',
    "gitlab": lambda t: f'<pre class="code math js-render-math" data-math-style="display">{escape(t)}</pre>',
    "github": lambda t: f'<math-renderer class="js-display-math">$${escape(t)}$$</math-renderer>',
    "distill": lambda t: f"<d-math block>{escape(t)}</d-math>",
    "jekyll": lambda t: f'<div class="kdmath">$$\n{escape(t)}\n$$</div>',
    "codecogs alone": lambda t: f'<p><img src="https://latex.codecogs.com/svg.image?{quote(t)}"></p>',
}
RUNNING = {
    r"\(": (MATHJAX, r"\({}\)", r"\[{}\]"),
    "tex2jax": (
        MATHJAX
        + '<script type="text/x-mathjax-config">MathJax.Hub.Config({tex2jax: {inlineMath: [["$","$"],["\\\\(","\\\\)"]],\n'
        "// as always\n displayMath: [['$$','$$']], processEscapes: true}});</script>",
        "${}$",
        "$${}$$",
    ),
    "mathjax 3": (
        "<script>window.MathJax = { tex: { inlineMath: [ ['$', '$'] ] } }</script>",
        "${}$",
        "$${}$$",
    ),
    "mathjax 4": ("<script>MathJax = {tex: {inlineMath: {'[+]': [['$', '$']]}}}</script>", "${}$", "$${}$$"),
    "katex": (
        '<script>renderMathInElement(document.body, {delimiters: [{left: "$$", right: "$$", display: true}, '
        '{left: "$", right: "$", display: false}]})</script>',
        "${}$",
        "$${}$$",
    ),
    "other signs": (
        '<script>MathJax.Hub.Config({tex2jax: {inlineMath: [["##","##"]], displayMath: [["@@@","@@@"]]}})</script>',
        "##{}##",
        "@@@{}@@@",
    ),
    "bbcode": ("", "[itex]{}[/itex]", "[tex]{}[/tex]"),
    "bbcode, other tags": ("", "[imath]{}[/imath]", "[DMATH]{}[/DMATH]"),
}


@pytest.mark.parametrize("encoding", INLINE)
def test_inline_formulas_keep_their_tex(encoding):
    for tex in TEX:
        wanted = f"We start ${tex}$, and go on."
        assert (
            formulas_of(f"<p>We start {INLINE[encoding](tex)}, and go on.</p>", "<!-- math -->") == wanted
        ), tex


@pytest.mark.parametrize("encoding", DISPLAY)
def test_displayed_formulas_keep_their_tex(encoding):
    for tex in TEX:
        wanted = f"We start $${tex}$$ and go on."
        assert (
            formulas_of(f"<div>We start {DISPLAY[encoding](tex)} and go on.</div>", "<!-- math -->") == wanted
        ), tex


@pytest.mark.parametrize("settings", RUNNING)
def test_delimiters_in_running_text(settings):
    head, inline, display = RUNNING[settings]
    for tex in TEX:
        body = f"<p>It costs $5 or $10. Let {inline.format(escape(tex))} and {display.format(escape(tex))} hold.</p>"
        assert formulas_of(body, head) == rf"It costs \$5 or \$10. Let ${tex}$ and $${tex}$$ hold.", tex


def test_several_formulas_and_twins_in_one_element_come_out_once_and_in_order():
    body = (
        r'<p class="mathjax">Let \(a_1\) be <span class="math-container"><span class="MathJax">twin</span><script type="math/tex">b_1'
        r"</script></span> and <math><mi>c</mi></math>, $d$ or <code>code</code>.</p>"
    )
    assert formulas_of(body, MATHJAX) == "Let $a_1$ be $b_1$ and $c$, $d$ or code."


def test_a_formula_that_begins_with_a_definition_is_one():
    for tex in (
        r"\renewcommand{\arraystretch}{1.5}\begin{bmatrix} 1 & 2 \end{bmatrix}",
        r"\def\R{\mathbb R} x \in \R",
        r"\newcommand{\R}{\mathbb R} \R^{n}",
    ):
        assert formulas_of(rf"Hence \({escape(tex)}\) holds.", MATHJAX) == f"Hence ${tex}$ holds."
        assert formulas_of(f'<script type="math/tex">{tex}</script>') == f"${tex}$"
    for tex in (
        r"\require{cancel}",
        r"\newcommand{\vecs}[1]{\overset { \scriptstyle \rightharpoonup} {\mathbf{#1}} } \let\a=\b \def\q#1#2{#1}",
        r"\DeclareMathOperator*{\am}{arg\,min} \newcommand\x{\{y\}} % done",
    ):
        assert formulas_of(rf"Hence \({escape(tex)}\)it holds.", MATHJAX) == "Hence it holds."
        assert formulas_of(f'Hence <script type="math/tex">{tex}</script>it holds.') == "Hence it holds."
    diagram = r"\begin{CD} A @>>> B \end{CD}"
    assert formulas_of(rf"\[\require{{AMScd}}{escape(diagram)}\]", MATHJAX) == f"$${diagram}$$"


def test_lines_of_latexml_are_one_formula_each():
    row = (
        r'<tr class="ltx_equation ltx_eqn_row"><td><math alttext="\displaystyle{}"><mi>x</mi></math></td>'
        r'<td><math alttext="\displaystyle={}"><mi>x</mi></math></td><td><span class="ltx_tag">({})</span></td></tr>'
    )
    body = f'<table class="ltx_equationgroup ltx_eqn_table">{row.format("a", "b+c", 1)}{row.format(" d", "e", 2)}</table>'
    assert formulas_of(body) == "$$a =b+c$$ (1) $$d =e$$ (2)"


def test_numbers_of_equations_are_not_in_them():
    number = '<span class="eqno">(1)<a href="#e">¶</a></span>'
    assert formulas_of(rf'<div class="math">{number}\[x = 1\]</div>', MATHJAX) == "$$x = 1$$"


def test_a_rendering_belongs_to_the_script_right_behind_it():
    body = (
        '<span class="MathJax" id="MathJax-Element-1-Frame">q</span> then <span class="MathJax_Preview">p</span>'
        '<span class="MathJax" id="MathJax-Element-2-Frame">r</span><script type="math/tex" id="MathJax-Element-2">y</script>'
    )
    assert formulas_of(f"<p>{body}</p>", MATHJAX) == "q then $y$"


def test_a_display_in_pre():
    assert formulas_of('<pre><code class="language-math">E = mc^2</code></pre>') == "$$E = mc^2$$"


def test_pages_without_tex_are_converted():
    for html, tex in {
        "<math><msup><mi>x</mi><mn>2</mn></msup></math>": "x^{2}",
        '<script type="math/mml"><math><msup><mi>x</mi><mn>2</mn></msup></math></script>': "x^{2}",
        '<script type="math/asciimath">x^2/y</script>': r"\frac{x^{2}}{y}",
        '<math alttext="x squared"><msup><mi>x</mi><mn>2</mn></msup></math>': "x^{2}",
        "<img class='Wirisformula' data-mathml='«math»«msup»«mi»x«/mi»«mn»2«/mn»«/msup»«/math»' src='x.png'>": "x^{2}",
        '<span class="katex"><span class="katex-html"><span class="base"><span class="mord mathnormal">x</span></span></span></span>': "x",
        '<mjx-container><mjx-math><mjx-mi><mjx-c class="mjx-c1D465"></mjx-c></mjx-mi></mjx-math></mjx-container>': "x",
    }.items():
        assert formulas_of(f"<p>So {html} it is.</p>", "<!-- math -->") == f"So ${tex}$ it is.", html
    asciimath = '<script src="MathJax.js?config=TeX-MML-AM_CHTML"></script>'
    assert formulas_of("<p>So `x^2/y` it is.</p>", asciimath) == r"So $\frac{x^{2}}{y}$ it is."
    assert formulas_of("<p>So `x^2/y` it is.</p>", MATHJAX) == "So `x^2/y` it is."


DOLLARS = '<script>MathJax = {tex: {inlineMath: [["$", "$"]]}}</script>'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("It costs $5 and then $10 a day.", r"It costs \$5 and then \$10 a day."),
        ("Between $1,000 and $2,000.50 (or $3).", r"Between \$1,000 and \$2,000.50 (or \$3)."),
        ("Set $HOME and $PATH first.", "Set $HOME and $PATH first."),
        ("jQuery: $('#a').hide(); $('#b').show();", "jQuery: $('#a').hide(); $('#b').show();"),
        ("jQuery: $(function() { $(this).hide(); })", "jQuery: $(function() { $(this).hide(); })"),
        ("PHP: $total = $price * 2;", "PHP: $total = $price * 2;"),
        (r"An escaped \$5 and \$6 stay.", r"An escaped \$5 and \$6 stay."),
        ("Arrays a[1] and b[2]; [b]bold[/b].", "Arrays a[1] and b[2]; [b]bold[/b]."),
        ("A line $x\n\n y$ across paragraphs.", "A line $x y$ across paragraphs."),
        ("It costs $10, $20 and $30.", r"It costs \$10, \$20 and \$30."),
        (r"\(\newcommand{\R}{\mathbb{R}}\)Let \(x\) be.", "Let $x$ be."),
    ],
)
def test_what_is_no_formula_stays(body, text):
    for head in (MATHJAX, DOLLARS):
        # A formula besides, for only then amounts are escaped.
        assert formulas_of(f"<p>{body} \\(z\\)</p>", head) == f"{text} $z$", head


@pytest.mark.parametrize(
    "body",
    [
        '<article data-math="true"><p>One.</p><p>Two of $3.</p></article>',
        '<div class="math"><p>The teacher of mathematics said so.</p><p>Two.</p></div>',
        '<p class="math">The word underscore_case is no formula at all.</p>',
        '<img src="/images/texture.png" alt="a texture"><img src="/math.png" alt="Maths class"> One.',
        '<img src="/card.png" alt="$50 Gift Card"><img src="a.png" alt="$19.99 Blue Shirt"> math',
        r'<img src="q.png" alt="\\server\share"> math',
        '<img class="text-muted" src="/thumb.php?source=cat.png"><img src="/context/math.php?f=cat_1.png"> math',
        '<img class="equation" src="eq1.gif" alt="Equation 3"> math',
        '<table><tr><td data-formula="=SUM(A1:A2)">55</td><td data-math="=A1">2</td></tr></table>',
        "<math><apply><plus></plus><ci>x</ci><ci>y</ci></apply></math>",
        '<span class="latex">L<sup>A</sup>T<sub>E</sub>X</span> One.',
        r"Without a word on how it renders: \(x_1\) or $y$.",
    ],
)
def test_pages_about_mathematics_are_not_formulas(body):
    assert "math" not in body or formulas_of(body) == " ".join(HTMLTree.parse(body).body.text.split())
    tree = HTMLTree.parse(body)
    protected = Protected.against(body)
    protect_formulas(tree, Census.of(body.encode()), protected)
    assert not protected.items


def test_a_wrapper_that_is_no_formula_costs_none_of_those_within_and_nests_are_bounded():
    twin = '<span class="MathJax_Preview">t</span><span class="MathJax" id="MathJax-Element-1-Frame">t</span>'
    body = "".join(f'{twin}<script type="math/tex">x_{n}</script> and ' for n in range(30))
    wanted = " and ".join(f"$x_{n}$" for n in range(30)) + " and"
    assert formulas_of(f'<div class="mathjax"><b>First.</b> {body}</div>', MATHJAX) == f"First. {wanted}"
    for tag in (
        '<div class="math">x_1',
        '<span class="katex">',
        "<math><mi>x",
        '<span class="math-container">$x$',
    ):
        in_time(1, lambda tag=tag: formulas_of(tag * 3000, MATHJAX))


def test_code_is_not_mathematics():
    body = "<p>Run <code>echo $x_1$ \\(y\\)</code>, <code>`x`</code>:</p><pre>a = $b_1$ + \\[c\\]</pre>"
    html = f"<head>{DOLLARS}</head>{body}"
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    for code in tree.body.query_selector_all("code, pre").values():
        code.text_content = protected.add("code", code.text)
    protect_formulas(tree, Census.of(html.encode()), protected)
    text = replace_delimited(tree.body.text, protected, delimiters_of(Census.of(html.encode())))
    text = "".join(part for part, _ in protected.parts(text))
    assert (
        "`echo $x_1$ \\(y\\)`" in text
        and "``` `x` ```".replace("```", "``") in text
        and "a = $b_1$ + \\[c\\]" in text
    )
    assert all(kind == "code" for kind, _ in protected.items)


def test_a_formula_is_one_line_without_comments():
    script = (
        r'<script type="math/tex; mode=display">a%' + "\n\n - b % 5\\% of\n\n + 5\\% \\\\% end\n + c</script>"
    )
    html = f"<p>{script}</p>"
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    protect_formulas(tree, Census.of(html.encode()), protected)
    assert protected.items == [("display", "a - b + 5\\% \\\\ + c")]


def test_time_is_linear_and_broken_markup_is_read():
    part = (
        '<p>Let <span class="katex"><span class="katex-mathml"><math><semantics><mi>x</mi><annotation encoding="application/x-tex">x'
        r"</annotation></semantics></math></span></span> and \(y\) and $z$ and <math><mi>w</mi></math>.</p>"
    )

    def read(repeats: int) -> None:
        assert formulas_of(part * repeats, MATHJAX).count("$") == 8 * repeats

    in_proportion(read, 500, 2000)
    for html in (
        "<span class=katex><math>",
        r"\( \( \[ $ $$ x",
        "<script type=math/tex>",
        "<math>" * 500,
        "$" * 5000,
        "\\begin{align}" * 500,
    ):
        in_time(1, lambda html=html: formulas_of(html, MATHJAX))


@pytest.mark.parametrize(
    "around",
    ["katex-display", "a katex--display", "katex-block", "MathJax_Display", "MJXc-display", "math a display"],
)
def test_what_stands_around_a_formula_displays_it(around):
    formula = "<math><mi>x</mi></math>"
    assert formulas_of(f'<p class="{around}"><b><i>{formula}</i></b></p>') == "$$x$$"
    assert formulas_of(f'<p class="display">{formula}</p><p class="{around}"> </p>') == "$x$"


def test_formulas_deep_within_other_elements_take_no_longer_for_each_around_them():
    for head in ("", '<p class="katex-display">$$y$$</p>'):
        html = head + "<div>" * 5_000 + '<b class="math">\\(x\\)</b> ' * 2_500
        # 0.3 s measured; by asking all that is around each, 6 s
        assert in_time(0.5, lambda html=html: formulas_of(html)).count("$x$") == 2_500


def test_an_image_is_displayed_where_it_stands_alone():
    image = '<img class="latex" alt="x^2">'
    for html, text in {
        f"<p>{image}</p>": "$$x^2$$",
        f"<div><br><b> </b>{image}</div>": "$$x^2$$",
        f"<p>a{image}</p>": "a$x^2$",
        f"<p>{image}{image}</p>": "$x^2$$x^2$",
        f'<p>{image}<b><img src="a.png"></b></p>': "$x^2$",
        f'<p><img src="a.png">{image}</p><p>{image}</p>': "$x^2$ $$x^2$$",
        f'<div><p>{image}</p><img src="a.png"></div>': "$$x^2$$",
        f"<b>{image}</b>": "$x^2$",
    }.items():
        assert formulas_of(html.replace("</p><p>", "</p> <p>")) == text, html
    html = f"<p>{'word ' * 60_000}{(image + ' ') * 8_000}</p>"
    # 0.2 s; by reading all of it each time 13 s, 3 GB
    assert in_time(1, lambda: formulas_of(html)).count("$x^2$") == 8_000


@pytest.mark.parametrize("row", ["`", "$$", "$ ", r"\( ", r"\[ ", r"\begin{align} ", r"\(\) ", "$x "])
def test_a_row_of_what_opens_formulas_is_read_once(row):
    head = MATHJAX + '<script src="https://cdn.example.org/asciimath.js"></script>'
    text = "Before " + "\\(x\\) and `x^2` " + row * ((1 << 18) // len(row)) + "end"
    page = Census.of(f"<html><head>{head}</head></html>".encode())

    def read() -> tuple[str, Protected]:
        protected = Protected.against(text)
        return replace_delimited(text, protected, delimiters_of(page)), protected

    replaced, protected = in_time(
        1.5, read
    )  # 0.1 to 1 s measured; by reading what is behind each, up to 10 s
    assert replaced.startswith("Before Qzxm0z and Qzxm1z ") and protected.items[:2] == [
        ("inline", "x"),
        ("inline", "x^{2}"),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"\(a \(b\) c\)", r"$a \(b$ c\)"),
        ("\\(a\n\nb\\) and \\(c\\)", r"\(a b\) and $c$"),
        ("$$$$x$$", "$$$$x$$"),
        ("```x` and `y`", "``$x$ and $y$"),
        (r"\begin{align}a\end{align} \begin{align}b", r"$$\begin{align}a\end{align}$$ \begin{align}b"),
        (r"\(" + "x" * 8_001 + r"\) \(y\)", r"\(" + "x" * 8_001 + r"\) $y$"),
    ],
)
def test_what_closes_a_formula(text, wanted):
    head = MATHJAX + '<script src="https://cdn.example.org/asciimath.js"></script>'
    protected = Protected.against(text)
    page = Census.of(f"<html><head>{head}</head></html>".encode())
    replaced = replace_delimited(text, protected, delimiters_of(page))
    assert " ".join("".join(part for part, _ in protected.parts(replaced)).split()) == wanted


def test_a_display_formula_in_running_text_is_content_wherever_it_stands():
    prose = (
        "<p>"
        + "Words of an article that explains what stands between its paragraphs, at some length. " * 3
        + "</p>"
    )
    head = "<script src='https://cdn/mathjax@3/tex-chtml.js'></script>"
    for box in ("<center>{}</center>", "<div>{}</div>", "<div class='eq'><div>{}</div></div>"):
        html = f"<html><head>{head}</head><body><main>{prose}{box.format(chr(92) + '[x=1' + chr(92) + ']')}{prose}</main></body></html>"
        assert "$$x=1$$" in extract(html.encode(), "text/html").text, box


def test_an_image_that_sphinx_made_of_a_formula():
    html = '<p>Ohm: <img class="math" src="../_images/math/0b7be0b1fd2d0a7d9f2d2f13.png" alt="U = IR"/> holds.</p>'
    assert "$U = IR$" in extract(f"<body>{html}</body>".encode(), "text/html").text
