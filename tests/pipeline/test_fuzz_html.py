"""A seeded slice of benchmarks/fuzz_html.py: broken pages come out as text or with a reason, in time, and all of them."""

from collections import Counter

from benchmarks import fuzz_html
from benchmarks.extraction_html_parts.tools import Answer, Page, Tool

PAGES = 90


def test_broken_pages_are_extracted_or_dropped_within_their_limits(tmp_path):
    pages = fuzz_html.own_pages()
    tool = Tool("ours", "", tmp_path)
    wrong, fates = [], Counter()
    try:
        for index in range(PAGES):
            names, payload = fuzz_html.mutated(pages, 6, index, largest=1 << 20)
            answer = tool.extract(Page(str(index), payload))
            if what := fuzz_html.what_is_wrong(payload, answer):
                wrong.append((index, names, what))
            fates[answer.failed.split(":")[0] or "text"] += 1
        assert fuzz_html.peak_memory(tool.process.pid) < fuzz_html.MEGABYTES
    finally:
        tool.close()
    assert not wrong
    assert fates.total() == PAGES and fates["text"] > PAGES / 2 and fates["Drop"]


def test_the_same_page_is_broken_in_the_same_way_again_and_every_way_is_tried():
    pages = fuzz_html.own_pages()
    seen = Counter()
    for index in range(0, 400, 4):
        names, payload = fuzz_html.mutated(pages, 6, index, largest=1 << 16)
        assert (names, payload) == fuzz_html.mutated(pages, 6, index, largest=1 << 16)
        seen.update(names)
    assert seen.keys() >= {mutation.__name__ for mutation, weight in fuzz_html.MUTATIONS if weight >= 1}


def test_what_counts_as_wrong():
    word = fuzz_html.Protected.against("").add("inline", "x")
    cases = {
        "": [Answer("text", 1.0), Answer("", 1.0, "Drop: empty_text: no main content found")],
        "took": [Answer("text", 99.0)],
        "ValueError": [Answer("", 0.1, "ValueError: x")],
        "surrogate": [Answer("\ud800", 0.1)],
        "left in the text": [Answer(f"so {word} is", 0.1)],
    }
    for expected, answers in cases.items():
        for answer in answers:
            found = fuzz_html.what_is_wrong(b"<p>page</p>", answer)
            assert expected in found and bool(found) == bool(expected), (answer, found)
    assert not fuzz_html.what_is_wrong(word.encode(), Answer(word, 0.1))  # the page itself had it
