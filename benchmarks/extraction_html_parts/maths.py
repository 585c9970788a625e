"""Formulas: our own in every encoding, and real pages with lists of theirs."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict

from benchmarks.extraction_html_parts import measures
from benchmarks.extraction_html_parts.formulas import ENCODINGS, FormulaPage, Renderer, formula_pages
from benchmarks.extraction_html_parts.measures import mean
from benchmarks.extraction_html_parts.report import Row, Run, console
from benchmarks.extraction_html_parts.tools import Answer, LeftOut, Page


def maths(run: Run) -> list[Row]:
    """Formulas kept and delimited, by encoding: our formulas on pages of our own, set by the real programs."""
    renderer = Renderer(run.options.node, run.options.work)
    rendered, missing = renderer.rendered()
    pages, left_out = formula_pages(rendered, 8 if run.options.quick else 1)
    for reason in missing:
        console.print(f"left out, {reason}", markup=False)
    if left_out:
        console.print(f"encodings left out: {', '.join(left_out)}", markup=False)
    targets = {
        "formulas delimited, mean of all encodings": 0.95,
        "formulas delimited, encodings that carry TeX": 0.99,
    }
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
            spans = Counter(measures.tidy_tex(span) for span in measures.formulas_in(answer.text))
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
            "formulas delimited, mean of all encodings": mean(mean(delimited[name]) for name in delimited),
            "formulas delimited, encodings that carry TeX": mean(mean(delimited[name]) for name in with_tex),
            "formulas delimited, without TeX (* by what is shown)": mean(mean(delimited[n]) for n in without),
            "formulas kept, mean of all encodings": mean(mean(kept[name]) for name in kept),
            **{label: mean(several) for label, several in others.items()},
            **{f"{name}{'' if ENCODINGS[name].tex else ' *'}": mean(delimited[name]) for name in delimited},
        }
        for label, value in values.items():
            rows.setdefault(label, Row(label, {}, targets.get(label))).values[tool.name] = value
    return list(rows.values())


def _found(text: str, truth: FormulaPage, lines: dict[str, str]) -> tuple[list[bool], list[bool]]:
    """Which formulas of a page are in a text, and which of them delimited; by what they show where it has no TeX."""
    wanted = [formula.tex for formula in truth.formulas]
    kept, delimited = measures.formulas_kept(text, wanted)
    if not ENCODINGS[truth.encoding].tex:
        seen = {lines[span] for span in measures.formulas_in(text) if span in lines}
        delimited = [lines.get(tex) in seen for tex in wanted]
        kept = [a or b for a, b in zip(kept, delimited, strict=True)]
    return kept, delimited


def shown_spans(renderer: Renderer, pages: list[Page], answers: list[Answer]) -> dict[str, str]:
    """What is shown by each true formula and each delimited one of the answers, where the page has no TeX."""
    wanted: list[str] = []
    for page, answer in zip(pages, answers, strict=True):
        if not ENCODINGS[page.truth.encoding].tex:
            wanted += [formula.tex for formula in page.truth.formulas] + measures.formulas_in(answer.text)
    return shown_lines(renderer, wanted)


def shown_lines(renderer: Renderer, formulas: list[str]) -> dict[str, str]:
    """Formula → what it shows, for those that can be set. Without node: nothing."""
    several = list(dict.fromkeys(tex for tex in formulas if len(tex) < 2000))
    try:
        return {tex: line for tex, line in zip(several, renderer.shown(several), strict=True) if line}
    except OSError:
        return {}


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
    total = Row("formulas delimited, mean over pages", {})
    rows = [Row(f"{page.name} ({len(page.truth)})", {}) for page in pages]
    for tool in run.tools:
        answers = tool.answers(pages)
        lines = shown_lines(
            renderer,
            [
                tex
                for page, answer in zip(pages, answers, strict=True)
                for tex in (*page.truth, *measures.formulas_in(answer.text))
            ],
        )
        for page, answer, row in zip(pages, answers, rows, strict=True):
            _, marked = measures.formulas_kept(answer.text, page.truth)
            seen = {lines[span] for span in measures.formulas_in(answer.text) if span in lines}
            marked = [there or lines.get(tex) in seen for tex, there in zip(page.truth, marked, strict=True)]
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
