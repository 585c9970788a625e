"""What the parts of the benchmark share: a table, a mark, a word for what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False, width=150)


class LeftOut(Exception):
    """Something that is measured, or a peer, is not there; `str` of it says what."""


@dataclass(frozen=True)
class Mark:
    """Something that must be reached."""

    what: str
    value: float
    wanted: str  # such as "≥ 12,000"
    met: bool


@dataclass
class Report:
    """Tables in the order they were measured, and the marks among them."""

    tables: list[str] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def show(self, title: str, head: list[str], rows: list[list[object]], note: str = "") -> None:
        """Print a table and keep it for the file."""
        table = Table(*head, title=title, title_justify="left")
        texts = [[_text(cell) for cell in row] for row in rows]
        for row in texts:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)
        if note:
            console.print(note, markup=False)
        lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in texts]
        self.tables.append("\n".join([*lines, "", note, ""] if note else [*lines, ""]))

    def mark(self, what: str, value: float, wanted: str, met: bool) -> None:
        self.marks.append(Mark(what, value, wanted, bool(met)))

    def finish(self, file: Path) -> bool:
        """Show the marks, write everything to `file`; whether all marks are met."""
        body, self.tables = self.tables, []
        rows: list[list[object]] = [[m.what, m.value, m.wanted, "yes" if m.met else "NO"] for m in self.marks]
        self.show("What has to be reached", ["measure", "measured", "wanted", "met"], rows)
        file.write_text("\n".join([*self.tables, *body]), encoding="utf-8")
        return all(mark.met for mark in self.marks)


def _text(cell: object) -> str:
    """Numbers as a person reads them: three digits behind the point below ten, none above a hundred."""
    if isinstance(cell, float):
        return f"{cell:,.{3 if abs(cell) < 10 else 1 if abs(cell) < 100 else 0}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
