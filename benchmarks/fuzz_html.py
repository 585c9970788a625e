"""Broken, hostile and huge pages through our HTML extraction: bounded time and memory, and every page accounted for.

    python benchmarks/fuzz_html.py [--pages 10000] [--seed 0] [--wcxb DIR] [--keep DIR]

Pages of our own (formulas in every encoding, with samples of what KaTeX and MathJax set, AsciiMath, code, tables, a
thread) and, where they are, WCXB's are cut, nested 10,000 deep, blown up to 50 MB, re-encoded and so on, one to three
things at a time. Each must come out as a text or be dropped with a reason, within the limits; anything else fails the
run (exit code 1) and is kept as a file with --keep. A text must be encodable and not empty, and must hold none of the
words that stand for formulas while a page is worked on, unless the page itself had it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from html import unescape
from pathlib import Path
from threading import Timer

import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.extraction_html import DATA, WORK
from benchmarks.extraction_html_parts.formulas import formula_pages
from benchmarks.extraction_html_parts.general import wcxb_pages
from benchmarks.extraction_html_parts.tools import Answer, Page, Tool

# Of CPU. A page takes hundredths as a rule; with two seconds quadratic time shows at a hundred kilobytes.
SECONDS = 2.0
SECONDS_PER_MB = 1.0  # and for each megabyte of it more
# Of memory at any time. A tree takes two hundred bytes a node, the features of a run of text take six hundred: of a page
# of short paragraphs fifty bytes for each byte of it.
MEGABYTES = 2048
MEGABYTES_PER_MB = 32
STANDSTILL = 300.0  # seconds of time, and for each megabyte of the page ten more
WORD = re.compile(r"Qz\w*?\d+z")  # of `Protected`, whichever stem it took for the page
RENDERED = Path(__file__).parents[1] / "tests" / "pipeline" / "rendered_formulas.json"  # program → TeX → HTML
TAG = re.compile(rb"<(/?)([a-zA-Z][\w-]*)")
NAMES = (
    b"div span p table tr td ul li pre code math mrow script style svg b a h1 article nav blockquote template noscript select"
    b" option textarea button iframe form mjx-container annotation semantics frameset body html head title plaintext"
).split()
NESTED = (
    (b"<div>", b"</div>"), (b"<span class=katex>", b"</span>"), (b"<table><tr><td>", b"</td></tr></table>"),
    (b"<ul><li>", b"</li></ul>"), (b"<blockquote>", b"</blockquote>"), (b"<b><i>", b"</i></b>"), (b"<math><mrow>", b"</mrow></math>"),
    (b"<mfrac><msup>", b""), (b"<pre><code>", b"</code></pre>"), (b"<code>", b"</code>"), (b"<tt>", b""), (b"<mo fence=true>(", b"</mo>"),
    (b"<span style='font-family:monospace'>", b"</span>"), (b"<a href=/>", b""), (b"<mjx-container><mjx-mrow>", b""), (b"<font>", b""),
)  # fmt: skip
BROKEN = (
    b"&", b"&#", b"&#x", b"&amp", b"&#0;", b"&#x110000;", b"&#xD800;", b"&#99999999999999999999;", b"&notanentity;", b"&lt", b"&nbsp", b"&#128;",
)  # fmt: skip
MARKS = (
    b"$", b"$$", rb"\(", rb"\)", rb"\[", rb"\]", rb"\begin{align}", rb"\end{align}", b"```", b"~~~", b"`", b"[tex]", b"[/itex]", b"Qzxm1z", b"&#81;zxm1z", b"Qz<b>xm9z</b>",
    b"|", b"\n\n", b"<br>", b"\t", "\u202e".encode(), "\u2028".encode(), b"\x00", b"\xc2\x85",
)  # fmt: skip
MANY = (
    *((b"", piece, b"") for piece in (
        b"<li>x", b"<br>", b"<a href=/x>y</a> ", b"<p>word word</p>", b"<tr><td>1<td>2", b"<code>x</code> ", b"<img class=latex alt=x^2>",
        b"<span class=math>\\(x\\)</span>", b"<math><mi>x</mi></math>", b"<pre>x\n</pre>", b"<td colspan=9 rowspan=9>", b"<h2>x</h2>", b"\\( x ",
        b"<kbd>x</kbd>", b"<span class=MathJax_Preview></span><span class=MathJax>x</span>",
    )),
    (b"<pre>", b"\n", b"x</pre>"), (b"<pre><code>", b"<span>x</span>\n", b"</code></pre>"),
    (b"<math>", b"<mo>(</mo>", b"<mi>x</mi></math>"), (b"<math>", b"<mo>|</mo><mfrac><mn>1</mn><mn>2</mn></mfrac>", b"</math>"),
    (b"<math>", b"<mo fence=true>(</mo>", b"<mi>x</mi></math>"), (b"<math><mtable>", b"<mtr><mtd>x</mtd></mtr>", b"</mtable></math>"),
    *((before, piece, after) for before, after in ((b"<script type='math/asciimath'>", b"</script>"), (b"<p>`", b"`</p>"))
      for piece in (b"|(", b"(", b"{:", b"[[", b"a/", b"x^", b"sqrt ")),
)  # fmt: skip
UNCLOSED = (
    b"<!--", b"<![CDATA[", b"<script>", b"<style>", b"<template>", b"<noscript>", b"<svg>", b"<title>", b"<textarea>", b"<plaintext>", b"<select>",
    b"<script type='math/tex'>", b"<math>", b"<pre>", b"<table>", b"<!doctype", b"<?xml", b"<annotation encoding='application/x-tex'>",
)  # fmt: skip
OWN = """<!DOCTYPE html><html lang="en"><head><title>A page</title><meta charset="utf-8"></head><body><nav><a href="/">Home</a></nav>
<main><h1>Sorting</h1><p>To sort is to <code>compare</code> and to swap, about <i>n</i><sup>2</sup> times at first.</p>
<div class="highlight"><table><tr><td class="linenos"><pre>1\n2\n3</pre></td><td class="code"><pre class="language-python">def f(x):
    for y in x:\n        yield y &lt; 3</pre></td></tr></table></div>
<table><thead><tr><th>n</th><th>steps</th></tr></thead><tbody><tr><td>10</td><td>45</td></tr><tr><td>100</td><td>4950</td></tr></tbody></table>
<ol><li>First<ul><li>inner</li></ul></li><li>Second</li></ol><dl><dt>swap</dt><dd>两个元素交换位置</dd></dl>
<figure><img src="a.png" alt="a picture"><figcaption>Steps by size</figcaption></figure></main><footer>Imprint</footer></body></html>"""
ASCIIMATH = """<html><head><title>Roots</title><script src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/MathJax.js?config=TeX-MML-AM_CHTML">
</script></head><body><main><h1>Roots</h1><p>The roots of `a x^2 + b x + c` are `x = (-b +- sqrt(b^2 - 4 a c))/(2a)`, and `|x|` is their size.</p>
<p>As a script it is <script type="math/asciimath">sum_(i=1)^n i^3 = ((n(n+1))/2)^2</script>, and as a matrix `[[a,b],[c,d]]`, for every `n`.</p>
<pre>one\n\n\ntwo</pre><p>There is nothing else to say about them, but that they are two, or one, or none at all.</p></main></body></html>"""
RENDERED_PAGE = (
    "<html><head><title>Set formulas</title></head><body><main><h1>Set formulas</h1>{}</main></body></html>"
)
TITLE = "How does one sort a list of a million numbers by hand, in order of their size, with "  # longer than what titles are compared by
THREAD = (
    f'<html><head><title>{TITLE}int in n steps?</title></head><body><div id="question-header"><h1><a href="/q/1" class="question-hyperlink">{TITLE}<code>int</code> in <script type="math/tex">n</script> steps?</a></h1></div>'
    '<div id="question" class="question"><div class="js-post-body"><p>{}</p></div></div>{}</body></html>'
)  # fmt: skip
ANSWER = (
    '<div id="answer-{0}" data-answerid="{0}" class="answer"><div class="js-vote-count">{0}</div><div class="js-post-body"><p>Try number {0}: '
    'compare the first with the second, and so on to the end of the list.</p></div><ul class="comments-list"><li><span class="comment-copy">'
    "This takes too long for {0} items.</span></li></ul></div>"
)


def own_pages() -> list[bytes]:
    """What is broken here: pages with formulas, as text and set by programs, with code and tables, and a thread."""
    pages, _ = formula_pages({}, every=6)
    rendered = []
    for samples in json.loads(RENDERED.read_text(encoding="utf-8")).values():
        sentences = (f"<p>We begin with {html} and ask what it says here.</p>" for html in samples.values())
        rendered.append(RENDERED_PAGE.format("\n".join(sentences)).encode())
    thread = THREAD.format(
        "How does one sort a list by hand, without looking at it twice?",
        "".join(map(ANSWER.format, range(9))),
    )
    few = [OWN.encode(), thread.encode(), ASCIIMATH.encode(), *rendered]
    return few * 2 + [page.payload for page in pages]


# mutations: bytes of a page → bytes


def cut(page: bytes, choice: random.Random) -> bytes:
    start, end = sorted(choice.randrange(len(page) + 1) for _ in range(2))
    return choice.choice((page[:start], page[end:], page[:start] + page[end:]))


def repeat(page: bytes, choice: random.Random) -> bytes:
    start = choice.randrange(len(page) + 1)
    piece = page[start : start + choice.randrange(1, 2000)]
    return page[:start] + piece * choice.choice((2, 20, 300)) + page[start:]


def nest(page: bytes, choice: random.Random) -> bytes:
    opening, closing = choice.choice(NESTED)
    depth = choice.choice((50, 600, 3000, 10_000))
    start, end = sorted(choice.randrange(len(page) + 1) for _ in range(2))
    return page[:start] + opening * depth + page[start:end] + closing * choice.choice((0, depth)) + page[end:]


def swap_tags(page: bytes, choice: random.Random) -> bytes:
    return TAG.sub(
        lambda tag: b"<" + tag[1] + choice.choice(NAMES) if choice.random() < 0.1 else tag[0], page
    )


def lose_tags(page: bytes, choice: random.Random) -> bytes:
    share = choice.choice((0.05, 0.5))
    return re.sub(rb"<[^>]*>", lambda tag: b"" if choice.random() < share else tag[0], page)


def flip_bytes(page: bytes, choice: random.Random) -> bytes:
    raw = bytearray(page)
    for _ in range(choice.choice((1, 30, 1000)) if raw else 0):
        raw[choice.randrange(len(raw))] = choice.randrange(256)
    return bytes(raw)


def _sprinkle(page: bytes, pieces: tuple[bytes, ...], choice: random.Random, count: int) -> bytes:
    places = sorted(choice.randrange(len(page) + 1) for _ in range(count))
    parts = [page[a:b] + choice.choice(pieces) for a, b in zip([0, *places], places, strict=False)]
    return b"".join(parts) + page[places[-1] :]


def break_entities(page: bytes, choice: random.Random) -> bytes:
    return _sprinkle(page, BROKEN, choice, 40)


def sprinkle_marks(page: bytes, choice: random.Random) -> bytes:
    return _sprinkle(page, MARKS, choice, choice.choice((3, 60, 2000)))


def leave_open(page: bytes, choice: random.Random) -> bytes:
    return _sprinkle(page, UNCLOSED, choice, choice.choice((1, 5)))


def big_attributes(page: bytes, choice: random.Random) -> bytes:
    name = choice.choice(
        (b"class", b"style", b"alt", b"data-tex", b"src", b"href", b"id", b"alttext", b"colspan", b"x")
    )
    value = choice.choice(
        (b"x" * 10**6, b"a " * 300_000, b"99999999999", b"{" * 200_000, rb"\frac" * 100_000, b"-1")
    )
    tag = choice.choice((b"div", b"img", b"td", b"math", b"span", b"pre", b"a"))
    many = b" ".join(b"a%d=%d" % (i, i) for i in range(choice.choice((0, 3000))))
    return _sprinkle(
        page, (b"<" + tag + b" " + name + b"='" + value + b"' " + many + b">",), choice, choice.choice((1, 3))
    )


def many_elements(page: bytes, choice: random.Random) -> bytes:
    before, piece, after = choice.choice(MANY)
    return _sprinkle(page, (before + piece * choice.choice((500, 5000, 30_000)) + after,), choice, 1)


def other_charset(page: bytes, choice: random.Random) -> bytes:
    text = page.decode("utf-8", "replace")
    declared = choice.choice(("gbk", "shift_jis", "utf-16", "iso-8859-1", "big5", "nonsense", "utf-7", ""))
    text = re.sub(r'charset="?[\w-]+"?', f'charset="{declared}"', text)
    real = choice.choice(
        (
            "utf-8",
            "gb18030",
            "utf-16",
            "utf-16-be",
            "utf-32",
            "big5",
            "latin-1",
            "utf-7",
            "iso2022_jp",
            "euc_kr",
        )
    )
    mark = choice.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))
    return mark + text.encode(real, "replace")


def shuffle(page: bytes, choice: random.Random) -> bytes:
    parts = re.split(rb"(?=<)", page)
    start = choice.randrange(len(parts))
    some = parts[start : start + 60]
    choice.shuffle(some)
    return b"".join(parts[:start] + some + parts[start + 60 :])


def huge_text(page: bytes, choice: random.Random) -> bytes:
    megabytes = choice.choices((1, 5, 50), (20, 6, 1))[0]
    piece = choice.choice(
        (
            b"words of a very long text ",
            b"x",
            b"\n",
            "很长的文字".encode(),
            b"a $x$ ",
            b"<p>one more paragraph of words</p>\n",
            b"`",
            rb"\(x\) ",
            b"| ",
        )
    )
    return _sprinkle(page, (piece * (megabytes * 2**20 // len(piece)),), choice, 1)


MUTATIONS: tuple[tuple[Callable[[bytes, random.Random], bytes], float], ...] = (  # and how often, beside each other
    (cut, 2), (repeat, 1), (nest, 2), (swap_tags, 2), (lose_tags, 1), (flip_bytes, 2), (break_entities, 1), (sprinkle_marks, 2), (leave_open, 2),
    (big_attributes, 0.5), (many_elements, 1), (other_charset, 1.5), (shuffle, 1), (huge_text, 0.15),
)  # fmt: skip


def mutated(pages: list[bytes], seed: int, index: int, largest: int = 64 << 20) -> tuple[list[str], bytes]:
    """The mutations' names and the bytes of one broken page; the same for the same arguments."""
    choice = random.Random(f"{seed} {index}")
    page = choice.choice(pages)
    functions, weights = zip(*MUTATIONS, strict=True)
    names = []
    for mutation in choice.choices(functions, weights, k=choice.choice((1, 1, 2, 3))):
        if len(page) < 2**20:  # what is huge is not blown up again
            names.append(mutation.__name__)
            page = mutation(page, choice)
    return names, page[:largest]


def what_is_wrong(page: bytes, answer: Answer, slower: float = 1.0) -> str:
    """Why a page counts as failed; "" when it is a text or was dropped with a reason, in time.

    slower: how many times as slow the machine may be as an idle one.
    """
    if answer.failed and not answer.failed.startswith("Drop: "):
        return answer.failed
    if answer.cpu_seconds > slower * (SECONDS + SECONDS_PER_MB * len(page) / 2**20):
        return f"took {answer.cpu_seconds:.1f} CPU seconds"
    if answer.failed:
        return ""
    if not answer.text.strip():
        return "neither text nor reason"
    try:
        answer.text.encode()
    except UnicodeEncodeError as error:
        return str(error)
    left = {found[0] for found in WORD.finditer(answer.text)}
    if left and (left := left - {found[0] for found in WORD.finditer(_as_read(page))}):
        return f"the word {min(left)} is left in the text"
    return ""


def _as_read(page: bytes) -> str:
    """What a page writes in plain letters, without tags and entities, as bytes and in whatever encoding."""
    raw = page.replace(b"\0", b"").decode("latin-1")
    bare = unescape(re.sub(r"<[a-zA-Z/!?][^>]*>", "", raw))  # "<$$img …>" is no tag
    return f"{raw}\n{unescape(raw)}\n{bare}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first page, to see one again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wcxb", type=Path, default=DATA / "wcxb_dev")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--keep", type=Path, help="folder for the pages that fail")
    options = parser.parse_args()
    pages = own_pages()
    if (options.wcxb / "truth.jsonl.gz").exists():
        pages += [page.payload for page in wcxb_pages(options.wcxb)[::3]]
    console = Console(highlight=False, width=120)
    tool = Tool("ours", "", options.work, page_seconds=SECONDS + 64 * SECONDS_PER_MB)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    peak: dict[str, float] = defaultdict(float)
    reasons: Counter[str] = Counter()
    failures = 0
    for index in range(options.first, options.first + options.pages):
        names, payload = mutated(pages, options.seed, index)
        answer = watched(tool, Page(str(index), payload))
        megabytes = peak_memory(tool.process.pid)
        wrong = what_is_wrong(payload, answer)
        if not wrong and megabytes > MEGABYTES + MEGABYTES_PER_MB * len(payload) / 2**20:
            wrong = f"took {megabytes:.0f} MB"
        fate = "failed" if wrong else "dropped" if answer.failed else "text"
        reasons[answer.failed.removeprefix("Drop: ").partition(":")[0] if fate == "dropped" else fate] += 1
        for name in names:
            counts[name][fate] += 1
            slowest[name] = max(slowest[name], answer.cpu_seconds)
            peak[name] = max(peak[name], megabytes)
        if wrong:
            failures += 1
            console.print(f"page {index} ({', '.join(names)}, {len(payload)} bytes): {wrong}", markup=False)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{index}.html").write_bytes(payload)
    tool.close()
    table = Table("mutation", "pages", "text", "dropped", "failed", "slowest, CPU s", "peak, MB")
    for name in sorted(counts):
        row = counts[name]
        cells = [str(row[fate]) for fate in ("text", "dropped", "failed")]
        table.add_row(name, str(row.total()), *cells, f"{slowest[name]:.2f}", f"{peak[name]:.0f}")
    console.print(table)
    console.print(
        f"{options.pages} pages: "
        + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()),
        markup=False,
    )
    if reasons.total() != options.pages:
        sys.exit("pages are missing")
    sys.exit(1 if failures else 0)


def watched(tool: Tool, page: Page, standstill: float = STANDSTILL) -> Answer:
    """A tool's answer. A process that stands still, which no limit of CPU time ends, fails the page like one that dies."""
    watch = Timer(standstill + 10 * len(page.payload) / 2**20, tool.process.kill)
    watch.start()
    try:
        return tool.extract(page)
    finally:
        watch.cancel()


def peak_memory(process: int) -> float:
    """Largest resident memory of a process since this was asked last, in MB (Linux); 0 for one that has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        Path(f"/proc/{process}/clear_refs").write_text("5")  # starts the high-water mark anew
    except OSError:
        return psutil.Process(process).memory_info().rss / 1e6 if psutil.pid_exists(process) else 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
