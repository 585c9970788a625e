"""What the kinds of measurement share: rows of the table, the tools, the worst pages."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.extraction_html_parts.tools import Page, Tool

QUICK = 24  # pages of a kind
console = Console(highlight=False, width=150)


@dataclass
class Row:
    """One line of the table. `target` is what ours must reach, if anything."""

    measure: str
    values: dict[str, float]
    target: float | None = None
    digits: int = 3

    @property
    def met(self) -> bool | None:
        """Whether ours is there; None where nothing is asked for or ours was not measured."""
        return (
            None if self.target is None or "ours" not in self.values else self.values["ours"] >= self.target
        )


@dataclass
class Run:
    """The tools, the options, what could not be measured, and the worst pages: kind → (score, page, what happened)."""

    tools: list[Tool]
    options: argparse.Namespace
    worst: dict[str, list[tuple[float, str, str]]] = field(default_factory=lambda: defaultdict(list))
    left_out: list[str] = field(default_factory=list)

    def sample(self, pages: list[Page], count: int = QUICK) -> list[Page]:
        """All pages, or with --quick about `count`, evenly spread."""
        return pages[:: -(-len(pages) // count)] if self.options.quick and pages else pages

    def leave_out(self, what: object) -> None:
        """Say that something is not measured; the table says it again, and the run does not end with exit code 0."""
        self.left_out.append(str(what))
        console.print(f"not measured: {what}", markup=False)

    def note(self, kind: str, tool: Tool, score: float, page: Page, what: str) -> None:
        if tool.name == "ours":
            self.worst[kind].append((score, page.name, what))


def show(title: str, rows: list[Row], tools: list[str]) -> Table:
    table = Table("measure", *tools, "target", "met", title=title, title_justify="left")
    for row in rows:
        cells = [f"{row.values[tool]:.{row.digits}f}" if tool in row.values else "" for tool in tools]
        met = {None: "", True: "yes", False: "NO"}[row.met]
        target = "" if row.target is None else f"{row.target:.{row.digits}f}"
        table.add_row(escape(row.measure), *cells, target, met)
    return table


def as_markdown(title: str, rows: list[Row], tools: list[str]) -> str:
    lines = [
        f"### {title}",
        "",
        "| " + " | ".join(["measure", *tools, "target"]) + " |",
        "|---" * (len(tools) + 2) + "|",
    ]
    for row in rows:
        cells = [f"{row.values[tool]:.{row.digits}f}" if tool in row.values else "" for tool in tools]
        target = "" if row.target is None else f"{row.target:.{row.digits}f}"
        lines.append("| " + " | ".join([row.measure.strip(), *cells, target]) + " |")
    return "\n".join(lines) + "\n"
