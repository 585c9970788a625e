"""General pages: WCXB's word F1 by type of page, F4, and snippets that must or must not be there."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.extraction_html_parts import measures
from benchmarks.extraction_html_parts.measures import mean
from benchmarks.extraction_html_parts.report import Row, Run
from benchmarks.extraction_html_parts.tools import Answer, LeftOut, Page, Tool


def wcxb_pages(folder: Path) -> list[Page]:
    """Pages of a WCXB folder: `truth.jsonl.gz` and either `ID.html.gz` or `pages.tar` of such files."""
    if not (folder / "truth.jsonl.gz").exists():
        raise LeftOut(f"there is no WCXB in {folder} (--wcxb)")
    with gzip.open(folder / "truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        truth = [json.loads(line) for line in lines]
    packed: dict[str, bytes] = {}
    if (folder / "pages.tar").exists():
        with tarfile.open(folder / "pages.tar") as archive:
            for member in archive.getmembers():
                if file := archive.extractfile(member):
                    packed[member.name] = file.read()
    pages = []
    for row in truth:
        name = f"{row['id']}.html.gz"
        data = packed.get(name) if packed else (folder / name).read_bytes()
        if data is not None and row["main_content"]:
            payload = gzip.GzipFile(fileobj=io.BytesIO(data)).read()
            pages.append(
                Page(
                    row["id"],
                    payload,
                    row["url"],
                    {**row, "with": _list(row["with"]), "without": _list(row["without"])},
                )
            )
    return pages


def _list(value: Any) -> list[str]:
    """Snippets are a list, or one written as JSON."""
    return json.loads(value) if isinstance(value, str) else value or []


def wcxb(run: Run) -> list[Row]:
    """General pages: words, F4, snippets that must (not) be there. Ours, alone, has learned on other pages of WCXB."""
    pages = run.sample(wcxb_pages(run.options.wcxb))
    rows: dict[str, Row] = {}

    def put(measure: str, tool: Tool, value: float, target: float | None = None) -> None:
        rows.setdefault(measure, Row(measure, {}, target)).values[tool.name] = value

    for tool in run.tools:
        answers = tool.answers(pages)
        by_type = defaultdict(list)
        fours, wanted, unwanted = [], [], []
        for page, answer in zip(pages, answers, strict=True):
            found = measures.word_overlap(answer.text, page.truth["main_content"])
            by_type[page.truth["page_type"]].append(found)
            fours.append(measures.shingle_overlap(answer.text, page.truth["main_content"]))
            if page.truth["with"]:
                wanted.append(measures.snippets_found(answer.text, page.truth["with"]))
            if page.truth["without"]:
                unwanted.append(measures.snippets_found(answer.text, page.truth["without"]))
            run.note(
                f"WCXB {page.truth['page_type']}", tool, found.f1, page, _words_lost(page, answer, found)
            )
        everything = [found for some in by_type.values() for found in some]
        put("word F1, all pages", tool, mean(found.f1 for found in everything), 0.90)
        put("  precision", tool, mean(found.precision for found in everything))
        put("  recall", tool, mean(found.recall for found in everything))
        for kind in sorted(by_type, key=lambda kind: -len(by_type[kind])):
            label = f"word F1, {kind} ({len(by_type[kind])})"
            put(label, tool, mean(found.f1 for found in by_type[kind]), 0.88 if kind == "forum" else None)
        put("F4 (four words in a row)", tool, measures.f1_of_means(fours))
        put("snippets that must be there", tool, mean(wanted))
        put("snippets that must not", tool, mean(unwanted))
        put("CPU ms a page", tool, 1000 * mean(answer.cpu_seconds for answer in answers))
        put("pages without an answer", tool, sum(not answer.text.strip() for answer in answers))
    for measure in rows.keys() & {"CPU ms a page", "pages without an answer"}:
        rows[measure].digits = 1 if "CPU" in measure else 0
    return list(rows.values())


def _words_lost(page: Page, answer: Answer, found: measures.Overlap) -> str:
    """Precision, recall, and the first lines lost and gained."""
    text, truth = measures.plain(answer.text), page.truth["main_content"]
    had, wanted = set(measures.shingles(text)), set(measures.shingles(truth))

    def first(lines: str, there: set[tuple[str, ...]]) -> str:
        for line in lines.splitlines():
            own = measures.shingles(line)
            if own and len(own[0]) == 4 and not any(shingle in there for shingle in own):
                return repr(line.strip()[:80])
        return "-"

    reason = f"{answer.failed}; " if answer.failed else ""
    return f"{reason}P {found.precision:.2f} R {found.recall:.2f}  lost {first(truth, had)}  gained {first(text, wanted)}  {page.url}"
