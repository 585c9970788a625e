"""Tables → GFM. Rows are read back by markdown-it, an independent parser of GFM tables."""

import random
from html import escape

import pytest
from markdown_it import MarkdownIt
from resiliparse.parse.html import HTMLTree

from pipeline.extract.census import Census
from pipeline.extract.formulas.delimiters import delimiters_of
from pipeline.extract.formulas.find import protect_formulas
from pipeline.extract.listings.find import protect_listings
from pipeline.extract.protect import Protected
from pipeline.extract.tables import protect_tables
from tests.patience import in_time

MATHJAX = '<script src="https://cdn/mathjax@3/tex-chtml.js"></script>'


def text_of(body: str, head: str = "") -> str:
    html = f"<html><head>{head}</head><body>{body}</body></html>"
    tree, protected, census = HTMLTree.parse(html), Protected.against(html), Census.of(html.encode())
    protect_listings(tree, census, protected)
    protect_formulas(tree, census, protected)
    protect_tables(tree, protected, delimiters_of(census))
    return "".join(
        f"\n\n{part.strip()}\n\n" if block else part
        for part, block in protected.parts(" ".join(tree.body.text.split()))
    ).strip()


def read_back(markdown: str) -> list[list[str]]:
    """Cells of the one table in a Markdown text, as markdown-it reads them."""
    rows, row = [], []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline" and token.level >= 3:
            row.append("".join(child.content for child in token.children))
        elif token.type == "tr_close":
            rows.append(row)
    return rows


def test_what_stands_in_cells_is_read_back():
    signs = ["a", "b|c", "<i>", "x`y", "1 < 2", "&amp;", "勾股", "", "a_b*c", "\\", "[x]"]
    choose = random.Random(0)
    for _ in range(50):
        rows = [[choose.choice(signs) for _ in range(4)] for _ in range(5)]
        rows[0], rows[1][0] = ["n", "o", "p", "q"], "first"
        for row in rows[1:]:
            row[choose.randrange(4)] = "z"
        for column in range(4):
            rows[-1][column] = rows[-1][column] or "z"
        cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        assert read_back(text_of(f"<table class=data>{cells}</table>")) == rows


def test_header_rows_are_joined_and_spans_are_filled():
    text = text_of(
        "<table><caption>Sales</caption><thead><tr><th rowspan=2>Land</th><th colspan=2>2024</th></tr><tr><th>cars</th><th>bikes</th></tr></thead>"
        "<tbody><tr><td rowspan=2>France</td><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr><tr><td colspan=3>All of it</td></tr></tbody></table>"
    )
    assert text.startswith("Sales\n\n| Land | 2024 cars | 2024 bikes |\n| --- | --- | --- |\n")
    assert read_back(text)[1:] == [["France", "1", "2"], ["", "3", "4"], ["All of it", "", ""]]


def test_header_choices():
    pairs = "<tr><th>Born</th><td>1815</td></tr><tr><th>Died</th><td>1852</td></tr>"
    assert read_back(text_of(f"<table>{pairs}</table>")) == [["", ""], ["Born", "1815"], ["Died", "1852"]]
    named = "<tr><td>Name</td><td>Born</td></tr><tr><td>Ada</td><td>1815</td></tr>"
    assert read_back(text_of(f"<table>{named}</table>")) == [["Name", "Born"], ["Ada", "1815"]]
    unnamed = "<tr><td>Founded:</td><td>1946</td></tr><tr><td>Where:</td><td>Tokyo</td></tr>"
    assert read_back(text_of(f"<table>{unnamed}</table>"))[0] == ["", ""]
    headings = "<tr><td><h3>a</h3></td><td> <h3>b</h3> </td></tr><tr><td>1</td><td>2</td></tr>"
    assert read_back(text_of(f"<table>{headings}</table>")) == [["a", "b"], ["1", "2"]]


def test_cells_with_lines_lists_code_and_formulas():
    text = text_of(
        "<table><tr><th>a</th><th>b</th></tr><tr><td>one<br>two<p>three</p></td><td><ul><li>x</li><li>y</li></ul></td></tr>"
        "<tr><td><code>p|q</code> and <pre>make all</pre></td><td>\\(|x|\\), 10<sup>6</sup>, H<sub>2</sub>O</td></tr>"
        "<tr><td>u<style>p{}</style></td><td>v<span style='display:none'>0001</span></td></tr></table>",
        MATHJAX,
    )
    assert "| one two three | x; y |" in text
    assert r"| `p\|q` and `make all` | $\vert x\vert $, 10^6, H_2O |" in text
    assert read_back(text)[2] == ["p|q and make all", r"$\vert x\vert $, 10^6, H_2O"]
    assert "| u | v |" in text


def test_formulas_stay_in_their_cells():
    text = text_of(
        r"<table><tr><th>a</th><th>b</th></tr><tr><td>\(|x| \le \|y\|\)</td><td>2</td></tr>"
        "<tr><td><script type='math/tex'>a % note\n+ b</script></td><td>\\(\\begin{array}{c|c} a \\\\|b| \\end{array}\\)</td></tr></table>",
        MATHJAX,
    )
    assert r"$\vert x\vert  \le \Vert y\Vert $ | 2 |" in text
    assert r"| $a + b$ | $\begin{array}{c\|c} a \\\vert b\vert  \end{array}$ |" in text
    assert [len(row) for row in read_back(text)] == [2, 2, 2]


def test_a_table_that_turns_out_to_be_none_leaves_its_code_alone():
    text = text_of(
        "<table><tr><th>a</th><th>b</th></tr><tr><td><code>a||b</code></td><td>1</td></tr><tr><td><pre>x\ny</pre></td><td>2</td></tr></table>"
    )
    assert "`a||b`" in text


def test_a_row_over_all_columns_is_the_title():
    row = "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr>"
    text = text_of(f"<table><tr><th colspan=2>Results</th></tr>{row}</table>")
    assert text == "Results\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert read_back(text_of(f"<table><thead>{row}<tr><td>3</td><td>4</td></tr></thead></table>")) == [
        ["a", "b"], ["1", "2"], ["3", "4"],
    ]  # fmt: skip


def test_ordinals_are_no_powers():
    text = text_of(
        "<table><tr><th>a</th><th>b</th></tr><tr><td>21<sup>st</sup></td><td>x<sup>2</sup></td></tr></table>"
    )
    assert read_back(text)[1] == ["21st", "x^2"]


def test_code_of_several_lines_is_in_no_table():
    text = text_of(
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><pre>x\n  y</pre></td></tr></table>"
    )
    assert "|" not in text and "```\nx\n  y\n```" in text


@pytest.mark.parametrize(
    "table",
    [
        "<table><tr><td>only one row</td><td>of cells</td></tr></table>",
        "<table><tr><td>one</td></tr><tr><td>column</td></tr></table>",
        "<table><tr><th>a</th><td><table><tr><td>x</td></tr></table></td></tr><tr><th>b</th><td>y</td></tr></table>",
        "<table><tr><td>a</td><td><form>b</form></td></tr><tr><td>c</td><td>d</td></tr></table>",
        "<table><tr><td><h2>News</h2>of the day</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>",
        '<table class="navbox"><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>',
        '<table role="presentation"><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>',
        "<table><tr><td><a href=1>Home</a></td><td><a href=2>About</a></td></tr><tr><td><a href=3>News 7</a></td><td><a href=4>Us</a></td></tr></table>",
        "<table><tr><th>a</th><th>b</th></tr><tr><td>x</td><td>" + "long prose in a cell " * 100 + "</td></tr></table>",
        "<table><tr><td>left</td><td>" + "a post of a forum " * 30 + "</td></tr><tr><td>c</td><td>d</td></tr></table>",
        "<table><tr><td></td><td></td><td>a</td></tr><tr><td></td><td>b</td><td></td></tr><tr><td>c</td><td></td><td></td></tr></table>",
        "<table><tr>" + "<th>d</th>" * 7 + "</tr>"
        + "".join("<tr>" + "".join(f"<td>{7 * week + day}</td>" for day in range(1, 8)) + "</tr>" for week in range(4)) + "</table>",
        "<table><tr><th>a</th><th>b</th></tr><tr><td></td><td></td></tr></table>",
        "<table><tr><th>Author</th><th>Message</th></tr>" + "<tr><td>joe</td><td>So it is, I think.</td></tr>" * 3 + "</table>",
        '<table class="ltx_equationgroup ltx_eqn_table">' + "<tr><td>$a$</td><td>$=b$</td><td>(1)</td></tr>" * 2 + "</table>",
    ],
    ids=["one row", "one column", "nested", "form", "headings", "navbox", "presentation", "links", "prose", "posts", "sparse",
         "calendar", "empty", "thread", "equations"],
)  # fmt: skip
def test_what_is_no_data_stays_as_it_is(table):
    body = HTMLTree.parse(table).body
    assert text_of(table) == " ".join(body.text.split())


def test_inner_table_of_a_layout_is_taken():
    text = text_of(
        "<table><tr><td>Side</td><td><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></td></tr></table>"
    )
    assert text.startswith("Side") and read_back(text) == [["a", "b"], ["1", "2"]]


def test_empty_rows_and_columns_go():
    text = text_of(
        "<table><tr><th>a</th><th></th><th>b</th></tr><tr><td>1</td><td><img></td><td>2</td></tr><tr><td></td><td></td><td></td></tr></table>"
    )
    assert read_back(text) == [["a", "b"], ["1", "2"]]


def test_big_and_hostile_tables_take_bounded_time():
    big = (
        "<table><tr><th>a</th><th>b</th></tr>" + "<tr><td>1</td><td><b>2</b></td></tr>" * 20_000 + "</table>"
    )
    spans = "<table>" + "<tr><td rowspan=9999 colspan=100>1</td><th>2</th></tr>" * 5_000 + "</table>"
    nested = "<table><tr><td>" * 10_000
    for table in (big, spans, nested):
        protected = in_time(1, lambda table=table: tables_of(table))  # 0.15 s measured
        assert len(protected.items) == (table is big)


def tables_of(html: str) -> Protected:
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    protect_tables(tree, protected, delimiters_of(Census.of(b"")))
    return protected
