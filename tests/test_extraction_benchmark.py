"""The measures of the extraction benchmark: cases counted by hand, and peers where one exists."""

import argparse
import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from latex2mathml.converter import convert
from lxml import html as lxml_html
from resiliparse.parse.html import HTMLTree

from benchmarks import extraction_html
from benchmarks.extraction_html_parts import debian, formulas, maths, measures, threads, tools
from benchmarks.extraction_html_parts.report import Run
from benchmarks.extraction_html_parts.shown import shown
from benchmarks.extraction_html_parts.silver_posts import select, silver_posts


def test_words_and_shingles_count_what_is_read():
    found = measures.word_overlap('The cat, the _mat_ and [a link](http://x.y/z_(1) "t").', "the cat the dog")
    assert (found.precision, found.recall) == (3 / 7, 3 / 4)  # the cat the mat and a link
    assert found.f1 == pytest.approx(2 * (3 / 7) * (3 / 4) / (3 / 7 + 3 / 4))
    assert measures.word_overlap("", "").f1 == 1 and measures.word_overlap("a", "").f1 == 0
    assert measures.words(measures.plain(r"snake\_case \# ![alt](p.png) __init__")) == ["snake_case", "init"]
    assert measures.shingles("One two 三四 five") == [("one", "two", "三", "四"), ("two", "三", "四", "five")]
    assert measures.shingles("too short") == [("too", "short")]
    some = [measures.Overlap(1.0, 0.5), measures.Overlap(0.5, 1.0)]
    assert measures.f1_of_means(some) == 0.75
    assert measures.snippets_found("Read  our\nPrivacy policy", ["our privacy", "cookies"]) == 0.5


def test_a_post_is_kept_with_four_fifths_of_its_shingles():
    post = "one two three four five six seven eight"  # five shingles
    for text, kept in ((post[:-6], True), (post[:-12], False), ("x " + post + " y", True)):
        assert measures.is_kept(post, set(measures.shingles(text)), text) is kept
    assert measures.is_kept("Thank you", set(), "Thank you!") and not measures.is_kept(
        "Thank you", set(), "Thanks, you"
    )


def test_formulas_are_found_between_delimiters_and_nowhere_else():
    text = (
        "It costs $5 or $6. Let $x_1$ and $$y\n = 2$$ be, \\(z\\), \\[w\\] and \\begin{align}a&=b\\end{align} "
        "but not `$c$` nor \\$d\\$.\n\n```\n$e$\n```\n\nLast $\\{f\\}$ here."
    )
    wanted = ["x_1", "y\n = 2", "z", "w", r"\begin{align}a&=b\end{align}", r"\{f\}"]
    assert measures.formulas_in(text) == wanted
    assert measures.tidy_tex(r"{\displaystyle {\frac {a}{b}} }") == r"\frac{a}{b}"
    assert measures.tidy_tex(r"{a} + {b}") == "{a}+{b}"  # these braces are no pair around the whole
    assert measures.tidy_tex("\\alpha\n x \\beta_1") == r"\alpha x\beta_1"
    kept, delimited = measures.formulas_kept(
        "$a + b$ and \\frac{1}{2}", ["a+b", r"\frac12", r"\frac{1} {2}", "a+b"]
    )
    assert kept == [True, False, True, True] and delimited == [
        True,
        False,
        False,
        False,
    ]  # one span, one formula


def test_formulas_are_read_as_written_and_without_escapes_of_markdown():
    truth = ["a_1 * b_2", r"x_i^*", r"\{y\}"]
    for text in (
        r"\(a_1 * b_2\), $x_i^*$ and $\{y\}$",
        r"\\(a\_1 \* b\_2\\), $x\_i^\*$ and $\{y\}$",
    ):
        assert measures.formulas_kept(text, truth) == ([True] * 3, [True] * 3), text
    assert measures.formulas_kept(r"a\_1 \* b\_2 or \{y}", truth)[0] == [True, False, False]
    assert measures.spans_of(r"$z$ and $z$") == {"z": 2}  # and not four, for two readings
    assert measures.formulas_kept("$z$", ["z", "z"])[1] == [True, False]


def test_what_is_shown_once_serves_one_formula():
    lines = {r"a \le b": "a≤b", r"a \leq b": "a≤b", r"{c}": "c"}
    served = lambda text: maths._served(text, [r"a \le b", r"a \le b", r"{c}"], lines)  # noqa: E731
    assert served(r"$a \leq b$ and ${c}$") == [True, False, True]
    assert served(r"$a \leq b$ and $a \le b$") == [True, True, False]
    assert served(r"$a \le b$") == [True, False, False]  # as TeX, and not once more by what it shows


def test_code_is_exact_with_its_own_indentation_wherever_it_stands():
    block = "def f(x):\n    if x:\n\n        return 1"
    inside = "\n".join("   " + line for line in block.split("\n"))
    cases = {
        f"```python\n{block}\n```": (1, True, True),
        f"1. First\n\n   ```\n{inside}\n   ```": (1, True, True),
        block: (1, True, False),
        f"text\n\n{inside}\n": (1, True, False),
        f"```\n{block.replace('        ', '    ')}\n```": (1, False, False),
        "```\ndef f(x):\nother\n```": (1 / 3, False, False),
    }
    for text, (lines, exact, fenced) in cases.items():
        (found,) = measures.code_kept(text, [block])
        assert (found.lines, found.exact, found.fenced) == (pytest.approx(lines), exact, fenced), text


def test_what_formulas_show_does_not_depend_on_who_set_them():
    """latex2mathml is a second way to MathML beside Temml, MathJax and KaTeX, with other elements and attributes."""
    same = [
        (r"\frac{a}{b} \le \sqrt{x_1}", r"\frac ab \leq \sqrt {x_{1}}"),
        (r"\left( x^{2}_{i} \right)", r"(x_i^2)"),
        (r"\mathbf{v} \in \mathbb{R}^{n}", r"\mathbf v\in{\mathbb R}^n"),
        (r"\mathrm{d}x - y", r"d x-y"),
        (r"\begin{matrix} a & b \\ c & d \end{matrix}", r"\begin{matrix}a&b\\c&d\end{matrix}"),
        (r"\sum_{k=1}^{n} k", r"\sum\limits_{k=1}^n k"),
    ]
    for a, b in same:
        assert shown(convert(a)) == shown(convert(b)), (a, b)
    different = [
        (r"\frac{a}{b}", r"\frac{b}{a}"), (r"x_1", r"x^1"), (r"\mathbb{R}", "R"), (r"\mathbf{v}", "v"), (r"\sqrt{x}y", r"\sqrt{xy}"),
        (r"\sqrt[3]{x}", r"\sqrt{x}"), (r"a \le b", r"a < b"), (r"\hat{x}", "x"), (r"\begin{matrix}a&b\end{matrix}", r"\begin{matrix}a\\b\end{matrix}"),
        (r"\binom{n}{k}", r"\frac{n}{k}"), (r"\mathtt{a}", "a"), (r"\mathsf{a}", r"\mathtt{a}"), (r"\boxed{a}", "a"),
    ]  # fmt: skip
    for a, b in different:
        assert shown(convert(a)) != shown(convert(b)), (a, b)
    assert (
        shown("<math><msup><mi>x</mi><mo>′</mo></msup><mi>ℝ</mi><mi>𝐯</mi></math>")
        == "x^{'}[DOUBLE-STRUCK R][BOLD v]"
    )


def test_boxes_strokes_and_rules_are_seen():
    """As Temml writes them."""
    a, b = "<mi>a</mi>", '<menclose notation="{}"><mi>a</mi></menclose>'
    cell, ruled = (
        "<mtable><mtr><mtd>{}<mi>a</mi></mtd></mtr></mtable>",
        '<mtd style="border-{}:0.06em solid;">',
    )
    several = [a, *map(b.format, ("box", "updiagonalstrike", "downdiagonalstrike", "top", "bottom"))]
    several += ['<mrow style="padding:3pt;border:1px solid;"><mi>a</mi></mrow>', cell.format("")]
    several += [cell.format("").replace("<mtd>", ruled.format(side)) for side in ("bottom", "right", "left")]
    assert len({shown(f"<math>{one}</math>") for one in several}) == len(several)


def test_the_formulas_are_many_and_every_page_holds_its_own_once():
    several = formulas.formulas()
    squeezed = [debian.squeezed(one.tex) for one in several]
    assert len(several) >= 300 and len(set(squeezed)) == len(several)
    assert sum(bool(re.search("[\u4e00-\u9fff]", one.tex)) for one in several) >= 10
    assert sum(encoding.tex for encoding in formulas.ENCODINGS.values()) >= 22
    pages, left_out = formulas.formula_pages({})
    assert {page.truth.encoding for page in pages}.isdisjoint(left_out)
    for name in formulas.ENCODINGS.keys() - set(left_out):
        own = [formula for page in pages if page.truth.encoding == name for formula in page.truth.formulas]
        assert sorted(one.tex for one in own) == sorted(one.tex for one in several)
    assert all(page.payload.decode() for page in pages)
    assert len({len(page.truth.formulas) for page in pages}) > 3  # of mixed length


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_without_the_packages_the_rendered_encodings_are_left_out(tmp_path):
    rendered, missing = formulas.Renderer(tmp_path, tmp_path).rendered()
    assert rendered == {} and len(missing) == len(formulas.ENGINES) and "katex" in missing[0]


def test_what_is_not_measured_is_said_and_bears_no_mark(tmp_path, monkeypatch, capsys):
    """Nothing of node is there, and no WCXB: the rows say so, and the exit code is 2 though no mark is missed."""
    arguments = [
        "x",
        "maths",
        "threads",
        "--quick",
        "--tools",
        "ours",
        "--work",
        str(tmp_path),
        "--wcxb",
        str(tmp_path),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        extraction_html.main()
    said = capsys.readouterr().out
    with_tex = sum(one.tex and not one.rendered for one in formulas.ENCODINGS.values())
    assert f"mean of {with_tex} of {len(formulas.ENCODINGS)} encodings" in said
    assert "not measured: threads: there is no WCXB" in said and "not measured: katex" in said
    assert "MathML only" in said.split("not measured: formulas in these encodings:")[1]
    assert " yes " not in said and " NO " not in said
    assert ended.value.code == 2
    assert "Not measured: threads" in (tmp_path / "table.md").read_text()


def test_pages_without_silver_posts_are_in_the_name_of_the_row(tmp_path):
    known = b'<div class="message--post"></div>' + 2 * (
        b'<article class="message message--post"><article class="message-body"><div class="bbWrapper">A post.</div></article></article>'
    )
    rows = []
    for name, page in (("1", known), ("2", b"<p>a board of unknown make</p>"), ("3", known)):
        (tmp_path / f"{name}.html.gz").write_bytes(gzip.compress(page))
        rows.append(
            {
                "id": name,
                "url": "",
                "main_content": "A post.",
                "with": [],
                "without": [],
                "page_type": "forum",
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "truth.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    found = threads.threads(Run([], argparse.Namespace(wcxb=tmp_path, quick=False)))
    assert found[0].measure == "posts kept, real threads (2 of 3 pages)"


def test_answers_are_kept_by_what_they_depend_on(tmp_path, monkeypatch):
    before = {name: tools.version_of(name) for name in ("ours", "resiliparse", "trafilatura")}
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stage.source_digest", lambda module: f"other sources than those of {module}")
        assert tools.version_of("ours") != before["ours"]
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda package: "2")
        readability = tools.version_of("readability")
        patch.setattr("importlib.metadata.version", lambda package: "3" if package == "html2text" else "2")
        assert tools.version_of("readability") != readability
    copy = tmp_path / "tools.py"  # how a tool is called is written in it
    copy.write_bytes(
        Path(tools.__file__).read_bytes().replace(b"ignore_links = True", b"ignore_links = False")
    )
    monkeypatch.setattr(tools, "__file__", str(copy))
    assert not any(tools.version_of(name) == version for name, version in before.items())


def test_blocks_and_formulas_of_restructuredtext():
    rst = (
        "Use it::\n\n  a = 1\n\n    b\n  c\n\nText `x^2` and :math:`y` but ``no`` and :func:`f` and `a link`_.\n\n"
        "* .. code-block:: c\n     :linenos:\n\n     int i;\n     i++;\n\n.. a comment::with\n\n   x\n   y\n\n"
        ">>> f(  # doctest: +SKIP\n... )\n1\n\n.. math ::\n\n   \\frac{1}\n   {2}\n\n.. parsed-literal::\n\n   not\n   this\n"
    )
    assert debian.code_blocks(rst) == ["a = 1\n\n  b\nc", "int i;\ni++;", ">>> f(\n... )\n1"]
    assert debian.formulas(rst) == ["x^2", "y", r"\frac{1} {2}"]


def test_posts_are_read_from_markup_without_quotes_of_others():
    post = (
        '<article class="message message--post" data-content="post-{0}"><h4 class="message-name"><a>user{0}</a></h4>'
        '<article class="message-body"><div class="bbWrapper">{1}<p>Post number {0} ends<br>here.</p></div></article></article>'
    )
    quote = '<blockquote class="bbCodeBlock bbCodeBlock--quote"><p>Post number 1</p></blockquote>'
    name, posts = silver_posts(f"<body>{post.format(1, '')}{post.format(2, quote)}</body>".encode())
    assert name == "XenForo"
    assert [(one.author, one.text) for one in posts] == [
        (f"user{n}", f"Post number {n} ends\nhere.") for n in (1, 2)
    ]
    assert silver_posts(b"<p>an article</p>") == ("", [])


def test_selectors_mean_what_they_mean_elsewhere():
    """resiliparse selects with a parser of its own (lexbor)."""
    html = (
        '<div class="a post" id="p1"><p class="b"><a href="x">1</a></p></div><div class="post" id="q"><a href="y">2</a></div>'
        '<div id="post"><span itemprop="name">3</span><b data-x>4</b></div><div class="posts"><a>5</a></div>'
    )
    tree, other = lxml_html.fromstring(html), HTMLTree.parse(html)
    selectors = (
        "div.post",
        "div.post[id^=p] a",
        "div.post > a",
        "#post [itemprop=name], b[data-x]",
        "div[id='q'] a, a[href]",
        ".b",
    )
    for selector in selectors:
        expected = [node.text for node in other.document.query_selector_all(selector).values()]
        assert [node.text_content() for node in select(tree, selector)] == expected, selector
    with pytest.raises(ValueError, match="selector"):
        select(tree, "div:hover")


def test_a_page_over_its_limit_costs_only_itself_and_answers_are_kept(tmp_path):
    page = tools.Page("a", b"<html><body><main><p>Some words that stand in a page.</p></main></body></html>")
    tool = tools.Tool("resiliparse", str(tmp_path), tmp_path, page_seconds=0.2)
    try:
        (first,) = tool.answers([page])
        assert "Some words" in first.text and not first.failed and first.cpu_seconds < 0.2
        long = tool.extract(tools.Page("b", b"<body>" + b"<div><p>word</p>" * 300_000))
        assert long.failed == "more than 0.2 CPU seconds" and long.text == ""
        assert "Some words" in tool.extract(page).text  # it was started again
        tool.process.kill()
        tool.process.wait()
        ended = tool.extract(page)
        assert ended.failed == "the process was ended by signal 9" and ended.cpu_seconds == 0.2
        again = tools.Tool("resiliparse", str(tmp_path), tmp_path)
        assert again.known == {page.key: first}
        again.close()
    finally:
        tool.close()
    with pytest.raises(tools.LeftOut, match="left out"):
        tools.Tool("readability", str(tmp_path), tmp_path)
