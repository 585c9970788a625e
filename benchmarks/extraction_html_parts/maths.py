"""Formulas: our own in every encoding, and real pages with lists of theirs."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict

from benchmarks.extraction_html_parts import measures
from benchmarks.extraction_html_parts.formulas import ENCODINGS, FormulaPage, Renderer, formula_pages
from benchmarks.extraction_html_parts.measures import mean
from benchmarks.extraction_html_parts.report import Row, Run
from benchmarks.extraction_html_parts.tools import Answer, LeftOut, Page


def maths(run: Run) -> list[Row]:
    """Formulas kept and delimited, by encoding: our formulas on pages of our own, set by the real programs."""
    renderer = Renderer(run.options.node, run.options.work)
    rendered, missing = renderer.rendered()
    pages, _ = formula_pages(rendered, 8 if run.options.quick else 1)
    if no_node := _cannot_show(renderer):
        missing.append(f"what formulas show: {no_node}")
        pages = [page for page in pages if ENCODINGS[page.truth.encoding].tex]
    for reason in missing:
        run.leave_out(reason)
    measured = {page.truth.encoding for page in pages}
    if left_out := [name for name in ENCODINGS if name not in measured]:
        run.leave_out(f"formulas in these encodings: {', '.join(left_out)}")
    all_encodings = _mean_label("mean of", measured, list(ENCODINGS))
    tex_encodings = _mean_label(
        "encodings that carry TeX,", measured, [n for n, one in ENCODINGS.items() if one.tex]
    )
    targets = {} if left_out else {all_encodings: 0.95, tex_encodings: 0.99}
    rows: dict[str, Row] = {}
    for tool in run.tools:
        answers = tool.answers(pages)
        lines = shown_spans(renderer, pages, answers)
        kept: dict[str, list[bool]] = defaultdict(list)
        delimited: dict[str, list[bool]] = defaultdict(list)
        others: dict[str, list[float]] = defaultdict(list)
        for page, answer in zip(pages, answers, strict=True):
            name, wanted = page.truth.encoding, [formula.tex for formula in page.truth.formulas]
            here, marked = _found(answer.text, page.truth, lines)
            kept[name] += here
            delimited[name] += marked
            spans = measures.spans_of(answer.text)
            others["formulas said twice"] += [spans[measures.tidy_tex(tex)] > 1 for tex in wanted]
            blocks = measures.code_kept(answer.text, page.truth.code)
            others["code with dollars in it left alone"] += [block.exact for block in blocks]
            around = measures.running_words(measures.without_formulas(answer.text))
            said = measures.overlap(around, measures.running_words(page.truth.prose))
            others["word F1 of the sentences around"].append(said.f1)
            lost = [tex for tex, there in zip(wanted, marked, strict=True) if not there]
            what = f"{answer.failed} lost {len(lost)}: {'   '.join(lost[:4])}"
            run.note(f"formulas, {name}", tool, mean(marked), page, what)
        with_tex = [name for name in delimited if ENCODINGS[name].tex]
        without = [name for name in delimited if not ENCODINGS[name].tex]
        values = {
            all_encodings: mean(mean(delimited[name]) for name in delimited),
            tex_encodings: mean(mean(delimited[name]) for name in with_tex),
            "formulas delimited, without TeX (* by what is shown)": mean(mean(delimited[n]) for n in without),
            "formulas kept, mean of these encodings": mean(mean(kept[name]) for name in kept),
            **{label: mean(several) for label, several in others.items()},
            **{f"{name}{'' if ENCODINGS[name].tex else ' *'}": mean(delimited[name]) for name in delimited},
        }
        for label, value in values.items():
            rows.setdefault(label, Row(label, {}, targets.get(label))).values[tool.name] = value
    return list(rows.values())


def _mean_label(of_what: str, measured: set[str], wanted: list[str]) -> str:
    """A row's name, which says so where encodings are missing."""
    return f"formulas delimited, {of_what} {len(measured & set(wanted))} of {len(wanted)} encodings"


def _cannot_show(renderer: Renderer) -> OSError | None:
    """Why it cannot be said what a formula shows; None where it can."""
    try:
        renderer.shown(["x"])
    except OSError as error:
        return error
    return None


def _found(text: str, truth: FormulaPage, lines: dict[str, str]) -> tuple[list[bool], list[bool]]:
    """Which formulas of a page are in a text, and which of them delimited; by what they show where it has no TeX."""
    wanted = [formula.tex for formula in truth.formulas]
    kept, delimited = measures.formulas_kept(text, wanted)
    if not ENCODINGS[truth.encoding].tex:
        delimited = _served(text, wanted, lines)
        kept = [a or b for a, b in zip(kept, delimited, strict=True)]
    return kept, delimited


def _served(text: str, wanted: list[str], lines: dict[str, str]) -> list[bool]:
    """Which formulas a text delimits, equal as TeX or by what is shown; each span serves one formula."""
    _, delimited = measures.formulas_kept(text, wanted)
    by_tex = Counter(lines.get(tex) for tex, there in zip(wanted, delimited, strict=True) if there)
    others = [None if there else lines.get(tex) for tex, there in zip(wanted, delimited, strict=True)]
    by_shown = measures.served(others, measures.spans_of(text, lines.get) - by_tex)
    return [a or b for a, b in zip(delimited, by_shown, strict=True)]


def shown_spans(renderer: Renderer, pages: list[Page], answers: list[Answer]) -> dict[str, str]:
    """What is shown by each true formula and each delimited one of the answers, where the page has no TeX."""
    wanted: list[str] = []
    for page, answer in zip(pages, answers, strict=True):
        if not ENCODINGS[page.truth.encoding].tex:
            wanted += [formula.tex for formula in page.truth.formulas] + _delimited(answer)
    return shown_lines(renderer, wanted) if wanted else {}


def _delimited(answer: Answer) -> list[str]:
    return [span for reading in measures.readings(answer.text) for span in measures.formulas_in(reading)]


def shown_lines(renderer: Renderer, formulas: list[str]) -> dict[str, str]:
    """Formula → what it shows, for those that can be set. Raises OSError without node."""
    several = list(dict.fromkeys(tex for tex in formulas if len(tex) < 2000))
    return {tex: line for tex, line in zip(several, renderer.shown(several), strict=True) if line}


def ccmath(run: Run) -> list[Row]:
    """Real pages with formulas (ccmath, lists of formulas as truth; equal as TeX or by what is shown)."""
    pages = []
    for file in sorted(run.options.ccmath.glob("*.html.gz")):
        lists = [
            file.with_name(file.name.replace(".html.gz", f"{end}.html.gz")) for end in ("_1", "_inline_1")
        ]
        wanted = [
            line.strip()
            for one in lists
            if one.exists()
            for line in gzip.decompress(one.read_bytes()).decode().splitlines()
            if line.strip()
        ]
        if wanted and not file.name.endswith("_1.html.gz"):
            pages.append(
                Page(file.name.removesuffix(".html.gz"), gzip.decompress(file.read_bytes()), None, wanted)
            )
    if not pages:
        raise LeftOut(f"there are no ccmath pages in {run.options.ccmath} (--ccmath)")
    renderer = Renderer(run.options.node, run.options.work)
    no_node = _cannot_show(renderer)
    if no_node:
        run.leave_out(f"what formulas show: {no_node}")
    total = Row(f"formulas delimited, mean over pages{' (as TeX only)' if no_node else ''}", {})
    rows = [Row(f"{page.name} ({len(page.truth)})", {}) for page in pages]
    for tool in run.tools:
        answers = tool.answers(pages)
        wanted = [
            tex
            for page, answer in zip(pages, answers, strict=True)
            for tex in (*page.truth, *_delimited(answer))
        ]
        lines = {} if no_node else shown_lines(renderer, wanted)
        for page, answer, row in zip(pages, answers, rows, strict=True):
            marked = _served(answer.text, page.truth, lines)
            row.values[tool.name] = mean(marked)
            lost = [tex for tex, there in zip(page.truth, marked, strict=True) if not there]
            run.note(
                "ccmath",
                tool,
                mean(marked),
                page,
                f"{answer.failed} lost {len(lost)}: {'   '.join(lost[:4])}",
            )
        total.values[tool.name] = mean(row.values[tool.name] for row in rows)
    return [total, *rows]
