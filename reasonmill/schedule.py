"""`reasonmill schedule`: what is trained when, as a table and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline import storage
from pipeline.errors import RequestError
from training.schedule import UNITS, LearningRate, Phase, Schedule, WarmUp
from training.settings import load_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
LINE, FILL, INK, FAINT = "#0072B2", ("#eef4f9", "#fdf5e6", "#eaf6f1"), "#333a44", "#d9dde3"
ZOOM_BELOW = 0.1  # a warm-up shorter than this share of the run gets a column of its own


def show(path: str, plot: str | None = None) -> None:
    """Print the schedule of a recipe's section `pretrain:`; with `plot`, also draw it to that file (.png, .svg, .pdf).

    Raises `RequestError` for a recipe with mistakes and for a file of another kind.
    """
    if plot is not None and Path(plot).suffix.lower() not in SUFFIXES:
        raise RequestError(f"--plot {plot}: write a file that ends with .png, .svg or .pdf")
    schedule = load_settings(path).schedule
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # files and pipes have no width; do not cut columns short
    console.print(_phases(schedule))
    console.print(_totals(schedule))
    if plot is not None:
        draw(schedule, plot, Path(path).stem)
        console.print(f"Drawn to {plot}.")


def _phases(schedule: Schedule) -> Table:
    table = Table("stage", title="Phases (each begins with the first step at or after its milestone)")
    for column in ("from", "until", "steps"):
        table.add_column(column, justify="right")
    table.add_column("learning rate")
    for column in ("MTP weight", "context", "RoPE base", "sequences", "tokens a full step"):
        table.add_column(column, justify="right")
    steps: Counter[int] = Counter()
    for run in schedule.runs():
        steps[schedule.phase_at(run.first_token).first_token] += run.steps
    for phase in schedule.phases:
        table.add_row(
            phase.stage,
            short(phase.first_token),
            short(phase.end),
            f"{steps[phase.first_token]:,}",
            _learning_rate(phase.learning_rate),
            f"{phase.mtp_weight:g}",
            f"{phase.context:,}",
            f"{phase.rope_base:,.0f}",
            _sequences(phase, schedule.warm_up),
            f"{phase.sequences * phase.context:,}",
        )
    return table


def _learning_rate(rate: LearningRate) -> str:
    if rate.start == rate.end:
        return scientific(rate.start)
    return f"{scientific(rate.start)} → {scientific(rate.end)} {rate.shape}"


def _sequences(phase: Phase, warm_up: WarmUp) -> str:
    first = warm_up.sequences(phase.first_token, phase.sequences)
    last = warm_up.sequences(phase.end - 1, phase.sequences)
    return f"{last:,}" if first == last else f"{first:,} → {last:,}"


def _totals(schedule: Schedule) -> Table:
    table = Table("stage", title="Totals in whole steps")
    for column in ("steps", "sequences", "tokens"):
        table.add_column(column, justify="right")
    rows = {stage: (total.steps, total.sequences, total.tokens) for stage, total in schedule.totals.items()}
    for stage, numbers in rows.items():
        table.add_row(stage, *(f"{number:,}" for number in numbers))
    table.add_section()
    table.add_row("all", *(f"{sum(column):,}" for column in zip(*rows.values(), strict=True)))
    return table


def short(tokens: float) -> str:
    """Tokens as in a recipe.

    >>> short(10_284_000_000_000), short(0), short(1_500)
    ('10.284T', '0', '1.5K')
    """
    for unit, size in sorted(UNITS.items(), key=lambda item: -item[1]):
        if tokens >= size:
            return f"{tokens / size:.6g}{unit}"
    return f"{tokens:g}"


def scientific(value: float) -> str:
    """A learning rate as one writes it.

    >>> scientific(1.07e-4), scientific(3e-5), scientific(0)
    ('1.07e-4', '3e-5', '0')
    """
    mantissa, exponent = f"{value:.4e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"


def draw(schedule: Schedule, plot: str, title: str) -> None:
    """Learning rate, batch, MTP weight and context over tokens. A short warm-up is shown again, enlarged, at the left."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    warm = max(schedule.warm_up.tokens, schedule.phases[0].end if len(schedule.phases) > 1 else 0)
    spans = [(0, schedule.tokens)]
    if 0 < warm < ZOOM_BELOW * schedule.tokens:
        spans.insert(0, (0, round(1.25 * warm)))
    style = {"font.size": 9, "axes.edgecolor": FAINT, "svg.hashsalt": "reasonmill", "svg.fonttype": "none"}
    with rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=(10.5, 7.2), layout="constrained")
        grid = figure.subplots(
            4,
            len(spans),
            sharey="row",
            sharex="col",
            squeeze=False,
            width_ratios=[1, 3][-len(spans) :],
            height_ratios=[1.5, 1, 0.8, 1],
        )
        for column, (begin, end) in enumerate(spans):
            _curves(schedule, list(grid[:, column]), begin, end)
            milestones_from = spans[0][1] if column else 0  # the others are legible in the enlarged column
            for phase in schedule.phases[1:]:
                if milestones_from <= phase.first_token < end:
                    _write(
                        grid[0, column], phase.first_token, 0.4, f"{short(phase.first_token)} ", rotation=90
                    )
            grid[3, column].set_xlabel("the warm-up, enlarged" if end < schedule.tokens else "tokens seen")
        _scales(schedule, list(grid[:, -1]))
        names = ("learning rate", "sequences a step", "MTP loss weight", "context, tokens")
        for axes, name in zip(grid[:, 0], names, strict=True):
            axes.set_ylabel(name, color=INK)
        several = len({phase.context for phase in schedule.phases}) > 1
        for stage in schedule.stages:
            phases = [phase for phase in schedule.phases if phase.stage == stage]
            middle = (phases[0].first_token + phases[-1].end) / 2
            _write(grid[0, -1], middle, 1.02, stage, ha="center", weight="bold", fontsize=9)
            bases = " → ".join(dict.fromkeys(f"{phase.rope_base:,.0f}" for phase in phases))
            free = 0.5 if several else 0.75  # between the lines of two contexts, above the only one
            _write(grid[3, -1], middle, free, f"RoPE\n{bases}", ha="center", va="center")
        figure.suptitle(
            f"{title}: {short(schedule.tokens)} tokens", x=0.01, ha="left", color=INK, fontsize=11
        )
        kind = Path(plot).suffix.lower().lstrip(".")
        storage.make_folder(str(Path(plot).parent))
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(
            kind
        )  # same schedule, same bytes
        figure.savefig(plot, format=kind, dpi=160, metadata=undated)


def _curves(schedule: Schedule, panels: list[Axes], begin: int, end: int) -> None:
    """One column of panels: the stages as bands, the milestones as dashes, the four curves from `begin` to `end`."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    tokens = _sample(schedule, begin, end)
    rates = [schedule.at(token) for token in tokens]
    for axes, name in zip(panels, ("learning_rate", "sequences", "mtp_weight", "context"), strict=True):
        axes.set_xlim(begin, end)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, length=0, which="both")
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.xaxis.label.set_color(INK)
        for number, stage in enumerate(schedule.stages):
            phases = [phase for phase in schedule.phases if phase.stage == stage]
            axes.axvspan(phases[0].first_token, phases[-1].end, color=FILL[number % len(FILL)], zorder=0)
        for phase in schedule.phases[1:]:
            axes.axvline(phase.first_token, color="#9aa1ab", linewidth=0.7, linestyle=(0, (3, 3)))
        axes.plot(tokens, [getattr(rate, name) for rate in rates], color=LINE, linewidth=1.8, zorder=3)
        axes.xaxis.set_major_locator(MaxNLocator(9 if end == schedule.tokens else 4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _scales(schedule: Schedule, panels: list[Axes]) -> None:
    """The values that stand in the recipe are the ticks."""
    phases = schedule.phases
    rates = {0.0, *(p.learning_rate.start for p in phases), *(p.learning_rate.end for p in phases)}
    sequences = {0, schedule.at(0).sequences, *(p.sequences for p in phases)}
    weights = {0.0, *(p.mtp_weight for p in phases)}
    scales: list[tuple[set[float], Callable[[float], str]]]
    scales = [(rates, scientific), (set(sequences), "{:,}".format), (weights, "{:g}".format)]
    for axes, (values, form) in zip(panels[:3], scales, strict=True):
        axes.set_yticks(sorted(values), [form(value) for value in sorted(values)])
        axes.set_ylim(0, 1.15 * (max(values) or 1))
    contexts = sorted({p.context for p in phases})
    panels[3].set_yscale("log", base=2)
    panels[3].set_yticks(contexts, [f"{context:,}" for context in contexts])
    panels[3].set_yticks([], minor=True)
    panels[3].set_ylim(contexts[0] / 2, contexts[-1] * 2)


def _write(axes: Axes, token: float, height: float, text: str, **style: Any) -> None:
    """Text at a token and at a share of the panel's height."""
    style = {"ha": "right", "va": "bottom", "fontsize": 7.5, "color": INK, **style}
    axes.text(token, height, text, transform=axes.get_xaxis_transform(), **style)


def _sample(schedule: Schedule, begin: int, end: int) -> list[int]:
    """Tokens at which to read the curves: many in every phase, and both sides of every jump."""
    edges = {begin, end, schedule.warm_up.tokens}
    edges |= {phase.first_token for phase in schedule.phases}
    edges |= {run.first_token for run in schedule.runs()}  # the batch's steps
    places = (
        set(np.linspace(begin, end, 800).astype(np.int64).tolist()) | edges | {edge - 1 for edge in edges}
    )
    return sorted(place for place in places if begin <= place <= end)
