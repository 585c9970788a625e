r"""Pages with formulas in every encoding that the web has, made of formulas and sentences written for this benchmark.

Formulas that programs render (KaTeX, MathJax 2 to 4, Temml for MathML) are rendered by these programs, once, with
render.mjs. Some encodings carry the TeX and are compared as TeX; in the others only what is seen is left, and
the output's TeX is right when it shows the same: both sides are set to MathML by the same program (Temml) and written as
one line (`shown.shown`), in which the spelling does not matter (`\le` or `\leq`, `\left(` or `(`, grouping, spacing, upright or
italic) and what a reader sees does (symbols, scripts, fractions, roots, tables, boxes, bold and blackboard letters; see there).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

from benchmarks.extraction_html_parts.shown import shown
from benchmarks.extraction_html_parts.tools import Page

HERE = Path(__file__).parent
SIZES = (3, 12, 30, 62)  # formulas of a page
NODE_PACKAGES = (
    "katex@0.16",
    "katex_new@npm:katex@0.19",
    "temml@0.13",
    "mathjax-node@2",
    "mathjax3@npm:mathjax@3",
    "mathjax4@npm:mathjax@4",
)
ENGINES = ("katex", "temml", "mathjax2", "mathjax3", "mathjax3_svg", "mathjax4")


@dataclass(frozen=True)
class Formula:
    tex: str
    display: bool


def formulas() -> list[Formula]:
    """The formulas of formulas.txt; environments and long ones are set off from the text."""
    lines = (HERE / "formulas.txt").read_text(encoding="utf-8").splitlines()
    written = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [Formula(tex, r"\begin" in tex or len(tex) > 60 or i % 7 == 3) for i, tex in enumerate(written)]


# encodings


@dataclass(frozen=True)
class Encoding:
    """How a page writes a formula: a function of the TeX, of whether it stands alone, and of what an engine made."""

    write: Callable[[str, bool, str], str]
    head: str = ""
    rendered: str = ""  # what of an engine it shows: a key of `Rendered`
    tex: bool = True  # the page holds the TeX


MATHJAX3 = '<script id="MathJax-script" async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>'
MATHJAX2 = '<script src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/MathJax.js?config=TeX-MML-AM_CHTML"></script>'
KATEX = '<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/katex@0.16.9/dist/katex.min.css">'
SVG = "https://wikimedia.org/api/rest_v1/media/math/render/svg/"


def tex2jax(inline: str, display: str) -> str:
    settings = f"tex2jax: {{inlineMath: [{inline}], displayMath: [{display}], processEscapes: true}}"
    return f'<script type="text/x-mathjax-config">MathJax.Hub.Config({{{settings}}});</script>{MATHJAX2}'


def between(inline: str, display: str) -> Callable[[str, bool, str], str]:
    """Text between delimiters, "%" for the formula."""

    def write(tex: str, alone: bool, _: str) -> str:
        return (display if alone else inline).replace("%", escape(tex, quote=False))

    return write


def image(source: Callable[[str], str], attributes: str = "") -> Callable[[str, bool, str], str]:
    def write(tex: str, alone: bool, _: str) -> str:
        return f'<img src="{escape(source(tex))}" {attributes.replace("%", escape(tex))}>'

    return write


def codecogs(tex: str) -> str:
    return quote(tex, safe="\\{}()[]=|^_,'!*:;/").replace("%20", "&space;").replace("%2B", "&plus;")


def mediawiki(tex: str, alone: bool, mathml: str) -> str:
    kind = "display" if alone else "inline"
    shown = f"{{\\displaystyle {tex}}}"
    inner = re.sub(r"^<math[^>]*>|</math>$", "", mathml)
    return (
        f'<span class="mwe-math-element mwe-math-element-{kind}"><span class="mwe-math-mathml-{kind} mwe-math-mathml-a11y" '
        f'style="display: none;"><math display="{"block" if alone else "inline"}" xmlns="http://www.w3.org/1998/Math/MathML" '
        f'alttext="{escape(shown)}"><semantics><mrow class="MJX-TeXAtom-ORD"><mstyle displaystyle="true" scriptlevel="0">{inner}'
        f'</mstyle></mrow><annotation encoding="application/x-tex">{escape(shown)}</annotation></semantics></math></span>'
        f"{mediawiki_image(tex, alone, '')}</span>"
    )


def mediawiki_image(tex: str, alone: bool, _: str) -> str:
    name = hashlib.sha1(tex.encode()).hexdigest()
    return (
        f'<img src="{SVG}{name}" class="mwe-math-fallback-image-{"display" if alone else "inline"} mw-invert" aria-hidden="true" '
        f'style="vertical-align: -0.8ex; height: 2.6ex;" alt="{escape(f"{{{chr(92)}displaystyle {tex}}}")}">'
    )


def latexml(tex: str, alone: bool, mathml: str) -> str:
    inner = re.sub(r"^<math[^>]*>|</math>$", "", mathml)
    mode = "block" if alone else "inline"
    math = f'<math id="S1.m{len(tex)}" class="ltx_Math" alttext="{escape(tex)}" display="{mode}"><semantics>{inner}</semantics></math>'
    if not alone:
        return math
    return f'<table class="ltx_equation ltx_eqn_table"><tbody><tr class="ltx_eqn_row"><td class="ltx_eqn_cell">{math}</td></tr></tbody></table>'


def script(tex: str, alone: bool, rendered: str) -> str:
    kind = "math/tex; mode=display" if alone else "math/tex"
    return f'<span class="MathJax_Preview">{rendered}</span><script type="{kind}" id="MathJax-Element-1">{tex}</script>'


def mathjax2(tex: str, alone: bool, rendered: str) -> str:
    mode = "; mode=display" if alone else ""
    return (
        f'<span class="MathJax_Preview" style="display: none;"></span>{rendered}'
        f'<script type="math/tex{mode}" id="MathJax-Element-7">{tex}</script>'
    )


def kramdown(tex: str, alone: bool, _: str) -> str:
    code = f"% <![CDATA[\n{tex} %]]>" if "&" in tex or "<" in tex else tex
    return f'<script type="math/tex{"; mode=display" if alone else ""}">{code}</script>'


def gitlab(tex: str, alone: bool, _: str) -> str:
    if alone:
        return f'<pre class="code highlight js-syntax-highlight language-math" lang="math" data-math-style="display"><code class="js-render-math">{escape(tex)}</code></pre>'
    return f'<code class="code math js-render-math" data-math-style="inline">{escape(tex)}</code>'


def zhihu(tex: str, _: bool, __: str) -> str:
    return f'<span class="ztext-math" data-eeimg="1" data-tex="{escape(tex)}">{escape(tex)}</span>'


def csdn(tex: str, alone: bool, rendered: str) -> str:
    return f'<span class="katex--{"display" if alone else "inline"}">{rendered}</span>'


ENCODINGS: dict[str, Encoding] = {
    "MathJax \\( \\) in text": Encoding(between("\\(%\\)", "\\[%\\]"), MATHJAX3),
    "MathJax $ $ in text": Encoding(between("$%$", "$$%$$"), tex2jax("['$','$'], ['\\\\(','\\\\)']", "['$$','$$']")),
    "MathJax ## ## (own setting)": Encoding(between("##%##", "$$%$$"), tex2jax("['##','##']", "['$$','$$']")),
    "KaTeX auto-render": Encoding(
        between("$%$", "\\[%\\]"),
        KATEX + '<script>renderMathInElement(document.body, {delimiters: [{left: "\\\\[", right: "\\\\]", display: true}, '
        '{left: "$", right: "$", display: false}]});</script>',
    ),
    "StackExchange math-container": Encoding(
        between('<span class="math-container">$%$</span>', '<span class="math-container">$$%$$</span>'), MATHJAX2
    ),
    "Sphinx .math": Encoding(
        between('<span class="math notranslate nohighlight">\\(%\\)</span>', '<div class="math notranslate nohighlight">\n\\[%\\]</div>'),
        MATHJAX3,
    ),
    "Springer .mathjax-tex": Encoding(
        between('<span class="mathjax-tex">\\(%\\)</span>', '<div class="c-article-equation"><div class="c-article-equation__content"><span class="mathjax-tex">$$%$$</span></div></div>')
    ),
    "script math/tex": Encoding(lambda tex, alone, _: script(tex, alone, "")),
    "script math/tex, TeX as preview": Encoding(lambda tex, alone, _: script(tex, alone, escape(tex))),
    "kramdown script": Encoding(kramdown, MATHJAX2),
    "MathJax 2 rendered + script": Encoding(mathjax2, MATHJAX2, "mathjax2"),
    "KaTeX rendered": Encoding(lambda _, alone, html: html, KATEX, "katex"),
    "CSDN KaTeX": Encoding(csdn, KATEX, "katex"),
    "Wikipedia MathML": Encoding(mediawiki, "", "mathml"),
    "Wikipedia img alt": Encoding(mediawiki_image),
    "LaTeXML alttext": Encoding(latexml, "", "mathml"),
    "WordPress latex.php": Encoding(
        image(lambda tex: f"https://s0.wp.com/latex.php?latex={quote_plus(tex)}&bg=ffffff&fg=000000&s=0", 'alt="%" class="latex"')
    ),
    "codecogs gif.latex": Encoding(image(lambda tex: f"https://latex.codecogs.com/gif.latex?\\inline&space;{codecogs(tex)}")),
    "codecogs svg.image": Encoding(image(lambda tex: f"https://latex.codecogs.com/svg.image?{quote(tex)}", 'title="%"')),
    "mimetex": Encoding(image(lambda tex: f"/cgi-bin/mimetex.cgi?{tex}", 'align="absmiddle"')),
    "Sphinx imgmath": Encoding(
        image(lambda tex: f"_images/math/{hashlib.sha1(tex.encode()).hexdigest()}.png", 'class="math" alt="%" style="vertical-align: -4px"')
    ),
    "BBCode [tex] [itex]": Encoding(between("[itex]%[/itex]", "[tex]%[/tex]")),
    "GitLab code.math": Encoding(gitlab),
    "GitHub math-renderer": Encoding(
        between(
            '<math-renderer class="js-inline-math" style="display: inline-block" data-run-id="1">$%$</math-renderer>',
            '<math-renderer class="js-display-math" style="display: block" data-run-id="1">$$%$$</math-renderer>',
        )
    ),
    "pandoc span.math": Encoding(between('<span class="math inline">%</span>', '<span class="math display">%</span>'), KATEX),
    "pandoc span.math \\( \\)": Encoding(
        between('<span class="math inline">\\(%\\)</span>', '<span class="math display">\\[%\\]</span>'), MATHJAX3
    ),
    "Zhihu data-tex": Encoding(zhihu),
    "Zhihu equation image": Encoding(image(lambda tex: f"https://www.zhihu.com/equation?tex={quote(tex)}", 'alt="%" eeimg="1"')),
    "MathML only": Encoding(lambda _, __, html: html, "", "mathml", tex=False),
    "MathJax 3 + assistive MathML": Encoding(lambda _, __, html: html, MATHJAX3, "mathjax3_assistive", tex=False),
    "MathJax 3 CHTML only": Encoding(lambda _, __, html: html, MATHJAX3, "mathjax3_chtml", tex=False),
    "MathJax 3 SVG only": Encoding(lambda _, __, html: html, MATHJAX3, "mathjax3_svg", tex=False),
    "MathJax 4 CHTML (data-latex)": Encoding(lambda _, __, html: html, "", "mathjax4_chtml"),
    "KaTeX html only": Encoding(lambda _, __, html: html, KATEX, "katex_html", tex=False),
    "KaTeX 0.19 html only": Encoding(lambda _, __, html: html, KATEX, "katex_new_html", tex=False),
}  # fmt: skip


# pages

SENTENCES = (
    "We begin with {} and ask what it says about the numbers that we met in the last chapter.",
    "A short look at {} is enough to see why the second case cannot happen here.",
    "Suppose for a moment that {} holds; then the rest of the proof is a matter of bookkeeping.",
    "The reader should check by hand that {} agrees with the picture drawn above.",
    "It was long believed that {} is the end of the story, and for beginners it still is.",
    "If we write {} in this way, every term has a meaning that can be measured in the laboratory.",
    "Entry to the reading room costs $5, or $12.50 for a week, and the lecture on {} is free.",
    "Together with {} this gives the claim, because the remainder is smaller than anything we can see.",
    "Most textbooks put {} into an exercise, although it deserves a section of its own.",
    "Let us now use {} to count how many ways there are to cover the floor with tiles.",
    "Compare this with {} and note that only the sign has changed between the two.",
    "In the exam of last year, {} was asked for, and fewer than half of the students got it right.",
)
CHINESE = (
    "我们先来看 {} 这个式子,它在前一章里已经出现过一次。",
    "由题意可知 {} 成立,因此只需要讨论剩下的两种情形。",
    "把 {} 代入上式并整理,就得到了我们想要证明的结论。",
    "注意到 {} 对所有的正整数都成立,这一点可以用归纳法来说明。",
    "在高中课本里,{} 通常作为一道练习题出现,但它其实非常重要。",
    "老师在黑板上写下 {} 之后,让同学们自己动手算一算结果是多少。",
)
FILLER = (
    "Nothing in this paragraph needs a symbol: it only says in plain words what the next step is meant to achieve.",
    "The idea goes back to letters between two friends who never met, and who argued about it for thirty years.",
    "这一段没有任何公式,只是用普通的话把前面的想法再说一遍,方便第一次接触这个内容的读者。",
    "Before going on, it may help to draw a small sketch and to mark on it what is known and what is wanted.",
)
LISTINGS = (  # dollars and delimiters in code are no mathematics
    "awk '{ print $1 + $2 }' prices.txt\n  echo $HOME $PATH",
    "pattern = re.compile(r'\\(x_1\\)')\nif pattern.match(line):\n    print('$a$')",
)


BOXES = (  # where a formula stands that is set off from the text
    "<p>{}</p>",
    "<div>{}</div>",
    "<center>{}</center>",
    '<div class="equation"><div class="eq">{}</div></div>',
)


@dataclass(frozen=True)
class FormulaPage:
    """What is true of a page: its encoding, its formulas in order, its words, and its code blocks."""

    encoding: str
    formulas: list[Formula]
    prose: str
    code: list[str]


def formula_pages(rendered: dict[str, list[str | None]], every: int = 1) -> tuple[list[Page], list[str]]:
    """Pages of all encodings that can be written with what was rendered, and the names of the others."""
    pages, left_out = [], []
    for name, encoding in ENCODINGS.items():
        shown = rendered.get(encoding.rendered)
        if encoding.rendered and shown is None:
            left_out.append(name)
            continue
        written = []
        for i, formula in enumerate(formulas()):
            html = shown[i] if shown is not None else ""
            if html is not None and i % every == 0:
                written.append((formula, encoding.write(formula.tex, formula.display, html)))
        random.Random(name).shuffle(written)
        start = number = 0
        while start < len(written):
            size = SIZES[number % len(SIZES)]
            pages.append(_page(name, encoding, number, written[start : start + size]))
            start, number = start + size, number + 1
    return pages, left_out


def _page(name: str, encoding: Encoding, number: int, written: Sequence[tuple[Formula, str]]) -> Page:
    choice = random.Random(f"{name} {number}")
    chinese = number % 3 == 2
    body, prose = [], []
    for formula, html in written:
        sentence = choice.choice(CHINESE if chinese else SENTENCES)
        before, after = (part.strip() for part in sentence.split("{}"))
        prose.append(f"{before} {after}")
        if formula.display:
            block = html if re.match(r"<(div|pre|p|table)\b", html) else choice.choice(BOXES).format(html)
            body.append(f"<p>{before}</p>\n{block}\n<p>{after}</p>")
        else:
            body.append(f"<p>{before} {html} {after}</p>")
        if choice.random() < 0.3:
            prose.append(choice.choice(FILLER))
            body.append(f"<p>{prose[-1]}</p>")
    code = [choice.choice(LISTINGS)] if number % 2 else []
    if code:
        body.insert(len(body) // 2, f"<pre><code>{escape(code[0], quote=False)}</code></pre>")
    title = "数学笔记" if chinese else "Notes on the last lecture"
    prose.insert(0, title)
    html = (
        f'<!DOCTYPE html>\n<html lang="{"zh-CN" if chinese else "en"}"><head><meta charset="utf-8"><title>{title}</title>'
        f"{encoding.head}</head>\n<body><header><a href='/'>Home</a></header><nav><ul><li><a href='/all'>All notes</a></li>"
        f"<li><a href='/about'>About</a></li></ul></nav>\n<main><article><h1>{title}</h1>\n{chr(10).join(body)}\n</article></main>\n"
        f"<footer><p>Made with care. <a href='/imprint'>Imprint</a></p></footer></body></html>"
    )
    truth = FormulaPage(name, [formula for formula, _ in written], "\n".join(prose), code)
    return Page(f"{name} {number}", html.encode(), None, truth)


# rendering


class Renderer:
    """The node programs, if they are there. What they set is kept in the work folder."""

    def __init__(self, modules: Path, work: Path) -> None:
        self.modules, self.work = modules, work / "rendered"

    def rendered(self) -> tuple[dict[str, list[str | None]], list[str]]:
        """Output name → HTML of each formula (None where refused); and why engines are missing."""
        wanted = [(formula.tex, formula.display) for formula in formulas()]
        digest = hashlib.sha256(json.dumps(wanted).encode() + (HERE / "render.mjs").read_bytes()).hexdigest()[
            :12
        ]
        self.work.mkdir(parents=True, exist_ok=True)
        found: dict[str, list[str | None]] = {}
        missing = []
        for engine in ENGINES:
            file = self.work / f"{engine}-{digest}.json"
            if not file.exists():
                try:
                    file.write_text(json.dumps(self._run(engine, wanted)), encoding="utf-8")
                except OSError as error:
                    missing.append(f"{engine}: {error}")
                    continue
            rows = json.loads(file.read_text(encoding="utf-8"))
            for name in rows[0]:
                found[name] = [row[name] for row in rows]
        return found, missing

    def shown(self, formulas: Sequence[str]) -> list[str | None]:
        """Each formula as one line that says what is seen; None where Temml refuses it."""
        rows = self._run("temml", [(tex, True) for tex in formulas])
        return [shown(row["mathml"]) if row["mathml"] else None for row in rows]

    def _run(self, engine: str, rows: Sequence[tuple[str, bool]]) -> list[dict[str, str | None]]:
        node = shutil.which("node")
        if node is None:
            raise OSError("node is not installed")
        command = [node, str(HERE / "render.mjs"), engine, str(self.modules)]
        done = subprocess.run(
            command, input=json.dumps(rows), capture_output=True, text=True, env={"QUIET": "1"}
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "Error" in line] or ["node failed"]
            raise OSError(said[0])
        return json.loads(done.stdout)
