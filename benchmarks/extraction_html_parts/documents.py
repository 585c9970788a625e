"""Code blocks and formulas of documentation, with its sources as truth."""

from __future__ import annotations

from benchmarks.extraction_html_parts import debian, measures
from benchmarks.extraction_html_parts.measures import mean
from benchmarks.extraction_html_parts.report import Row, Run
from benchmarks.extraction_html_parts.tools import Answer, LeftOut, Page, Tool

DOCUMENTS = 100  # pages of a package


def documents(run: Run) -> list[Row]:
    """Code blocks and formulas of Debian's Sphinx documentation, with its sources as truth."""
    rows: list[Row] = []
    for package, kind in debian.PACKAGES.items():
        try:
            pages = debian.documents(package, run.options.work)
        except LeftOut as error:
            run.leave_out(error)
            continue
        pages = run.sample(pages[:: -(-len(pages) // DOCUMENTS)], 10)
        if blocks := sum(len(page.truth.code) for page in pages) if kind == "code" else 0:
            labels = [
                f"{package}, {blocks} code blocks: {what}" for what in ("lines", "exact", "exact in a fence")
            ]
            some = [Row(label, {}, target) for label, target in zip(labels, (None, 0.97, 0.97), strict=True)]
            for tool in run.tools:
                found = [_code_of(run, tool, *pair) for pair in zip(pages, tool.answers(pages), strict=True)]
                for row, what in zip(some, ("lines", "exact", "fenced"), strict=True):
                    row.values[tool.name] = mean(getattr(one, what) for page in found for one in page)
            rows += some
        if count := sum(len(page.truth.formulas) for page in pages):
            some = [Row(f"{package}, {count} formulas: {what}", {}) for what in ("kept", "delimited")]
            for tool in run.tools:
                totals: list[list[bool]] = [[], []]
                for page, answer in zip(pages, tool.answers(pages), strict=True):
                    kept, marked = measures.formulas_kept(answer.text, page.truth.formulas)
                    totals[0] += kept
                    totals[1] += marked
                    lost = [tex for tex, there in zip(page.truth.formulas, marked, strict=True) if not there]
                    if page.truth.formulas:
                        what = f"{answer.failed} lost {len(lost)}: {'   '.join(lost[:4])}"
                        run.note(f"{package}, formulas", tool, mean(marked), page, what)
                for row, values in zip(some, totals, strict=True):
                    row.values[tool.name] = mean(values)
            rows += some
    return rows


def _code_of(run: Run, tool: Tool, page: Page, answer: Answer) -> list[measures.CodeKept]:
    found = measures.code_kept(answer.text, page.truth.code)
    if found:
        lost = [block for block, kept in zip(page.truth.code, found, strict=True) if not kept.fenced]
        what = f"{answer.failed} lost {len(lost)} of {len(found)}, the first {lost[:1]!r:.300}"
        run.note("code blocks", tool, mean(kept.fenced for kept in found), page, what)
    return found
