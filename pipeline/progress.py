"""What a person sees while stages run: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class StageProgress:
    """Progress of one stage, counted in rows (documents, records, requests).

    >>> with StageProgress("extract", total=10, quiet=True) as progress:
    ...     progress.advance(10, dropped=1, failed=0)
    """

    def __init__(self, stage: str, total: int | None, *, quiet: bool = False, every: float = 15.0) -> None:
        self.stage, self.total, self.quiet, self.every = stage, total, quiet, every
        self.done = self.dropped = self.failed = 0
        self.start()
        self.said = time.monotonic()
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal and not quiet
        self.bar = Progress(
            TextColumn("[bold]{task.description:<14}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>9}"),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> StageProgress:
        if self.live:
            self.bar.start()
            self.task = self.bar.add_task(self.stage, total=self.total, rate="", news="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bar.stop()

    def start(self) -> None:
        """What was done before this moment cost no time: a resumed book of answers."""
        self.started, self.before = time.monotonic(), self.done

    def advance(self, rows: int, *, dropped: int = 0, failed: int = 0) -> None:
        """Count `rows` more as done."""
        self.done, self.dropped, self.failed = self.done + rows, self.dropped + dropped, self.failed + failed
        rate = (self.done - self.before) / max(1e-9, time.monotonic() - self.started)
        speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
        news = f"dropped {self.dropped}" + (f", [red]failed {self.failed}[/]" if self.failed else "")
        if self.live:
            self.bar.update(self.task, completed=self.done, total=self.total, rate=speed, news=news)
        elif not self.quiet and time.monotonic() - self.said > self.every:
            self.said = time.monotonic()
            left = (
                f" of {self.total:,}, {(self.total - self.done) / rate:,.0f} s left"
                if self.total and rate
                else ""
            )
            self.say(f"{self.stage}: {self.done:,} rows{left}, {speed}")

    def say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)
