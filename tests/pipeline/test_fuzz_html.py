"""A seeded slice of benchmarks/fuzz_html.py: broken pages come out as text or with a reason, in time, and all of them."""

import os
import signal
from collections import Counter

import pytest

from benchmarks import fuzz_html
from benchmarks.extraction_html_parts.tools import Answer, Page, Tool
from pipeline.extract import extract
from pipeline.extract.protect import Protected

PAGES = 60
SLOWER = 6.0  # than an idle machine: what is quadratic takes a hundred times as long


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    tool = Tool("ours", "", tmp_path_factory.mktemp("fuzz"), page_seconds=60.0)
    yield tool
    tool.close()


def test_broken_pages_are_extracted_or_dropped_within_their_limits(tool):
    pages = fuzz_html.own_pages()
    wrong, fates = [], Counter[str]()
    for index in range(PAGES):
        names, payload = fuzz_html.mutated(pages, 6, index, largest=1 << 20)
        answer = tool.extract(Page(str(index), payload))
        if what := fuzz_html.what_is_wrong(payload, answer, SLOWER):
            wrong.append((index, names, what))
        fates[answer.failed.split(":")[0] or "text"] += 1
    assert fuzz_html.peak_memory(tool.process.pid) < fuzz_html.MEGABYTES
    assert not wrong
    assert fates.total() == PAGES and fates["text"] > PAGES / 2 and fates["Drop"]


def test_many_of_one_thing_take_no_longer_for_each_of_them(tool):
    """Four times as many elements, lines or brackets in a row: quadratic time would be sixteen times as much."""
    for before, piece, after in fuzz_html.MANY:
        pages = [fuzz_html.ASCIIMATH.encode() + before + piece * count + after for count in (1000, 4000)]
        for _ in range(5):  # a busy machine may slow one of the two, but not five times the same one
            few, many = (tool.extract(Page("many", page)) for page in pages)
            if many.cpu_seconds < 8 * few.cpu_seconds + 0.2:
                break
        else:
            raise AssertionError((before, piece, few.cpu_seconds, many.cpu_seconds))
        assert not many.failed or many.failed.startswith("Drop: "), (before, piece, many.failed)


def test_the_same_page_is_broken_in_the_same_way_again_and_every_way_is_tried():
    pages = fuzz_html.own_pages()
    seen = Counter[str]()
    for index in range(0, 400, 4):
        names, payload = fuzz_html.mutated(pages, 6, index, largest=1 << 16)
        assert (names, payload) == fuzz_html.mutated(pages, 6, index, largest=1 << 16)
        seen.update(names)
    assert seen.keys() >= {mutation.__name__ for mutation, weight in fuzz_html.MUTATIONS if weight >= 1}


def test_what_counts_as_wrong():
    page = b"<p>page</p>"
    cases = {
        "": [Answer("text", 1.0), Answer("", 1.0, "Drop: empty_text: no main content found")],
        "took": [Answer("text", 2.5), Answer("", 99.0, "Drop: empty_text: no main content found")],
        "ValueError": [Answer("", 0.1, "ValueError: x")],
        "neither text nor reason": [Answer("", 0.1), Answer(" \n", 0.1)],
        "surrogate": [Answer("\ud800", 0.1)],
    }
    for expected, answers in cases.items():
        for answer in answers:
            found = fuzz_html.what_is_wrong(page, answer)
            assert expected in found and bool(found) == bool(expected), (answer, found)
    assert not fuzz_html.what_is_wrong(
        page + b" " * (4 << 20), Answer("text", 5.5)
    )  # a second a megabyte more


def test_a_word_left_in_the_text_is_seen_whatever_stem_it_has():
    page = "<p>Qzxm1z"
    for html in ("", page, page + " Qz0x", "<p>&#81;zxm1z"):
        word = Protected.against(html).add("inline", "x")
        text = f"Qzxm1z, so {word} is"  # the first stood in the page, the second did not
        assert word in fuzz_html.what_is_wrong(page.encode(), Answer(text, 0.1)), html
    for own in (page, "<p>&#81;zxm1z", "Q<b>zx</b>m1z", "Q<!-- -->zxm1z"):
        for charset in ("utf-8", "utf-16"):
            assert not fuzz_html.what_is_wrong(own.encode(charset), Answer("as Qzxm1z says", 0.1)), own


def test_what_only_looks_like_a_tag_is_text():
    page = b'<p>that <$$img alt="a" Qz<b>xm9z</b> agrees'
    text = extract(page, "text/html").text
    assert "Qzxm9z" in text and not fuzz_html.what_is_wrong(page, Answer(text, 0.1))


def test_a_process_that_stands_still_or_dies_fails_one_page(tool):
    page = Page("page", fuzz_html.OWN.encode())
    for number, by in ((signal.SIGSTOP, signal.SIGKILL), (signal.SIGABRT, signal.SIGABRT)):
        os.kill(tool.process.pid, number)
        answer = fuzz_html.watched(tool, page, standstill=0.5)
        assert f"signal {by}" in fuzz_html.what_is_wrong(page.payload, answer)
        assert not fuzz_html.what_is_wrong(page.payload, fuzz_html.watched(tool, page))


def test_what_is_broken_holds_every_kind_of_formula():
    texts = [extract(page, "text/html").text for page in fuzz_html.own_pages()[:9]]
    assert "`compare`" in texts[0] and "| n | steps |" in texts[0]
    assert texts[1].startswith("# How does one sort a list") and "for 8 items" in texts[1]
    assert (
        r"\sqrt{" in texts[2] and r"\sum_{i=1}^{n}" in texts[2] and "`" not in texts[2].split("```")[0]
    )  # AsciiMath
    assert all(r"\frac{" in text for text in texts[3:])  # KaTeX's and MathJax's own output
