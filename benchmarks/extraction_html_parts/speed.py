"""How fast: pages per CPU second beside the others, and where our own time goes."""

from __future__ import annotations

import contextlib
import cProfile
import pstats
from collections import Counter
from pathlib import Path

from benchmarks.extraction_html_parts import debian
from benchmarks.extraction_html_parts.general import wcxb_pages
from benchmarks.extraction_html_parts.report import Row, Run, console
from benchmarks.extraction_html_parts.tools import LeftOut

SLOW = 0.03  # CPU seconds a page: a tool beyond it is measured twice and not again


def speed(run: Run) -> list[Row]:
    """Pages per CPU second on one core, in one process a tool: the best of interleaved rounds."""
    rows = []
    sets = {"WCXB pages": run.sample(wcxb_pages(run.options.wcxb))}
    try:
        sets["long documentation pages"] = debian.long_pages(
            "python3.11-doc", run.options.work, 10 if run.options.quick else 40
        )
    except LeftOut as error:
        run.leave_out(error)
    for name, pages in sets.items():
        best: dict[str, float] = {}
        for turn in range(2 if run.options.quick else 4):
            for tool in run.tools:
                if turn > 1 and best[tool.name] > SLOW * len(pages):
                    continue
                seconds = sum(tool.extract(page).cpu_seconds for page in pages)
                best[tool.name] = min(seconds, best.get(tool.name, seconds))
        size = sum(len(page.payload) for page in pages)
        rate = {tool: len(pages) / seconds for tool, seconds in best.items()}
        long = name != "WCXB pages"
        rows.append(Row(f"pages a CPU second, {len(pages)} {name}", rate, None if long else 120, 1))
        rows.append(
            Row(
                f"MB a CPU second, {size / 1e6:.1f} MB",
                {tool: size / 1e6 / seconds for tool, seconds in best.items()},
                None,
                2,
            )
        )
        if "resiliparse" in rate:
            ratio = {tool: value / rate["resiliparse"] for tool, value in rate.items()}
            rows.append(Row(f"× bare resiliparse, {name}", ratio, 0.35 if long else None, 2))
    return rows


def profile(run: Run) -> None:
    """Where our time goes on the WCXB pages and the long ones: own time by file, then the costliest functions."""
    from pipeline.errors import Drop
    from pipeline.extract import extract

    pages = run.sample(wcxb_pages(run.options.wcxb))
    with contextlib.suppress(LeftOut):
        pages += debian.long_pages("python3.11-doc", run.options.work, 10)
    profiler = cProfile.Profile()
    for page in [pages[0], *pages]:  # the first once more: what is loaded when first needed does not count
        with contextlib.suppress(Drop):
            profiler.runcall(extract, page.payload, "text/html", url=page.url)
        if page is pages[0]:
            profiler.clear()
    files: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for (file, line, function), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        place = Path(file).name if "/extract/" in file else "C and libraries"
        files[place] += own
        functions[f"{function} ({Path(file).name}:{line})" if file != "~" else function] += own
    total = sum(files.values())
    console.print(
        f"\nOur time on {len(pages)} pages, {1000 * total / len(pages):.1f} ms a page under the profiler",
        style="bold",
    )
    for counter in (files, functions):
        for name, seconds in counter.most_common(18):
            console.print(f"  {seconds / total:6.1%}  {name}", markup=False)
