"""The pictures of the report: data in, one inline SVG out, always the same bytes for the same data.

Text stays text, colours are told apart by colour-blind readers and in grey (Okabe and Ito 2008, ordered by lightness
where bars meet), and labels are taken literally: a `$` in a reason's name is no formula.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from lxml import etree
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reasonmill.report_text import printable

KEPT, DROPPED, FAILED = "#0072B2", "#E69F00", "#B3320F"
SERIES = ("#0b3954", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#8a8f98", "#D55E00", "#f0e442")
INK, FAINT = "#333a44", "#d9dde3"
WIDTH = 8.6  # inches; the page scales the picture to its column

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "reasonmill",
}


@dataclass(frozen=True)
class Histogram:
    """Counts per bin of one column, of kept and of dropped documents. `edges` has one value more than the counts.

    `thresholds` are drawn as lines across, on the scale of the edges; `note` stands below the axis.
    """

    title: str
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    logarithmic: bool = False
    thresholds: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One line: a value for each x. Values that are missing or not finite leave a gap."""

    label: str
    values: list[float]


def bars(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    notes: Sequence[str],
    colours: Sequence[str],
) -> Markup:
    """Horizontal stacked bars, one for each label, with a note behind each: absolute numbers on one axis."""
    with _figure(WIDTH, 0.55 + 0.27 * len(labels)) as (figure, done):
        axes = figure.add_axes((0.17, 0.3 / figure.get_figheight(), 0.8, 1 - 0.58 / figure.get_figheight()))
        places = range(len(labels))
        left = [0.0] * len(labels)
        for (label, values), colour in zip(series.items(), colours, strict=False):
            axes.barh(
                places,
                values,
                left=left,
                color=colour,
                height=0.68,
                label=label,
                edgecolor="white",
                linewidth=0.5,
            )
            left = [a + b for a, b in zip(left, values, strict=True)]
        longest = max(left, default=0) or 1
        for place, end, note in zip(places, left, notes, strict=True):
            axes.text(end + longest * 0.008, place, note, va="center", fontsize=7.5)
        axes.set_yticks(places, [printable(label) for label in labels])
        axes.set_xlim(0, longest * 1.33)  # room for the notes
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.xaxis.set_major_formatter(_SHORT)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="x")
        axes.spines[["left", "bottom"]].set_visible(False)
        _legend(figure, axes)
    return done(name, title)


def shares(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Sequence[str] = SERIES,
) -> Markup:
    """Horizontal bars of parts of a whole (values 0–1), each wide part with its per cent written in it."""
    with _figure(WIDTH, 0.5 + 0.3 * len(labels)) as (figure, done):
        axes = figure.add_axes((0.17, 0.06, 0.8, 1 - 0.36 / figure.get_figheight()))
        places, left = range(len(labels)), [0.0] * len(labels)
        for index, (label, values) in enumerate(series.items()):
            colour = colours[index % len(colours)]
            axes.barh(
                places,
                values,
                left=left,
                color=colour,
                height=0.72,
                label=label,
                edgecolor="white",
                linewidth=0.5,
            )
            for place, start, value in zip(places, left, values, strict=True):
                if value >= 0.045:
                    axes.text(
                        start + value / 2,
                        place,
                        f"{value:.0%}",
                        ha="center",
                        va="center",
                        fontsize=7.5,
                        color=_on(colour),
                    )
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.set_yticks(places, [printable(label) for label in labels])
        axes.set_xlim(0, 1)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.xaxis.set_visible(False)
        axes.spines[["left", "bottom"]].set_visible(False)
        _legend(figure, axes)
    return done(name, title)


def histograms(
    name: str, title: str, columns: Sequence[Histogram], series: tuple[str, str] = ("kept", "dropped")
) -> Markup:
    """Small multiples: kept documents filled, dropped ones as a line over them. Counts on a logarithmic axis."""
    across = min(3, len(columns))
    down = math.ceil(len(columns) / across)
    noted = any(column.note for column in columns)
    with _figure(WIDTH, 0.3 + (1.7 if noted else 1.45) * down) as (figure, done):
        grid = figure.subplots(down, across, squeeze=False)
        for axes, column in zip(grid.flat, columns, strict=False):
            axes.stairs(column.kept, column.edges, fill=True, color=KEPT, alpha=0.75, label=series[0])
            if any(column.dropped):
                axes.stairs(column.dropped, column.edges, color="#b86e00", linewidth=1.4, label=series[1])
            for threshold in column.thresholds:
                axes.axvline(threshold, color=FAILED, linewidth=1.1, linestyle=(0, (3, 2)), label="threshold")
            axes.set_title(printable(column.title))
            axes.set_xlabel(printable(column.note), fontsize=7, labelpad=2)
            axes.set_yscale("log")
            axes.set_ylim(0.7, max([2, *column.kept, *column.dropped]) * 2)
            axes.yaxis.set_major_formatter(_SHORT)
            axes.xaxis.set_major_formatter(_POWER if column.logarithmic else _SHORT)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=column.logarithmic))
            axes.grid(axis="y")
        for axes in list(grid.flat)[len(columns) :]:
            axes.set_visible(False)
        figure.subplots_adjust(
            left=0.055,
            right=0.985,
            bottom=(0.4 if noted else 0.22) / figure.get_figheight(),
            top=1 - 0.5 / figure.get_figheight(),
            hspace=0.75 if noted else 0.5,
            wspace=0.2,
        )
        _legend(figure, *grid.flat)
    return done(name, title)


def curves(
    name: str,
    title: str,
    x: Sequence[float],
    lines: Sequence[Curve],
    stages: Sequence[tuple[str, float, float]],
    unit: str,
) -> Markup:
    """Lines over tokens, the training stages (name, first token, last token) shaded behind them."""
    with _figure(WIDTH, 2.9) as (figure, done):
        axes = figure.add_axes((0.06, 0.15, 0.92, 0.73))
        axes.margins(y=0.09)
        _shade(axes, stages, named=True)
        for line, colour in zip(lines, (KEPT, "#D55E00"), strict=False):
            axes.plot(x, line.values, color=colour, label=line.label)
        _token_axis(axes, x)
        axes.set_ylabel(unit)
        axes.set_xlabel("tokens seen", labelpad=3)
        _legend(figure, axes)
    return done(name, title)


def small_curves(
    name: str,
    title: str,
    x: Sequence[float],
    lines: Sequence[Curve],
    stages: Sequence[tuple[str, float, float]],
) -> Markup:
    """One small picture for each curve, side by side, over the same tokens."""
    return panels(name, title, x, [(line.label, [line]) for line in lines], stages)


def panels(
    name: str,
    title: str,
    x: Sequence[float],
    pictures: Sequence[tuple[str, Sequence[Curve]]],
    stages: Sequence[tuple[str, float, float]] = (),
) -> Markup:
    """Small pictures side by side, (title, lines), over the same x; several lines in one are named in it."""
    across = min(3, len(pictures))
    down = math.ceil(len(pictures) / across)
    with _figure(WIDTH, 0.15 + 1.35 * down) as (figure, done):
        grid = figure.subplots(down, across, squeeze=False)
        for axes, (label, lines) in zip(grid.flat, pictures, strict=False):
            _shade(axes, stages, named=False)
            for line, colour in zip(lines, (KEPT, "#D55E00", "#8a8f98"), strict=False):
                # a single value is a point: a line through it cannot be seen
                axes.plot(x, line.values, color=colour, label=line.label, marker="." if len(x) == 1 else "")
            axes.set_title(label)
            _token_axis(axes, x)
            finite = [v for line in lines for v in line.values if math.isfinite(v)]
            axes.set_ylim(min([0.0, *finite]) * 1.12, max(finite, default=1) * 1.12 or 1)
            if len(lines) > 1:
                axes.legend(fontsize=7, handlelength=1.1, borderpad=0.1, labelspacing=0.2)
        for axes in list(grid.flat)[len(pictures) :]:
            axes.set_visible(False)
        figure.subplots_adjust(
            left=0.055,
            right=0.985,
            bottom=0.22 / figure.get_figheight(),
            top=1 - 0.25 / figure.get_figheight(),
            hspace=0.55,
            wspace=0.22,
        )
    return done(name, title)


def intervals(
    name: str, title: str, labels: Sequence[str], series: Mapping[str, Sequence[Sequence[float] | None]]
) -> Markup:
    """Bars side by side for each label, one a series: shares from 0 to 1 as (value, low, high), the interval as a
    whisker, the value above it in per cent. None: no bar."""
    with _figure(WIDTH, 2.6) as (figure, done):
        axes = figure.add_axes((0.05, 0.11, 0.93, 0.76))
        wide = 0.8 / max(1, len(series))
        for index, (label, estimates) in enumerate(series.items()):
            there = [(n, estimate) for n, estimate in enumerate(estimates) if estimate is not None]
            places = [n - 0.4 + wide * (index + 0.5) for n, _ in there]
            values = [estimate[0] for _, estimate in there]
            whiskers = [
                [value - low for _, (value, low, _) in there],
                [high - value for _, (value, _, high) in there],
            ]
            axes.bar(places, values, wide * 0.92, color=SERIES[index % len(SERIES)], label=label)
            axes.errorbar(places, values, whiskers, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
            for place, (_, (value, _, high)) in zip(places, there, strict=True):
                axes.text(place, high + 0.015, f"{100 * value:.1f}", ha="center", fontsize=7.5)
        axes.set_xticks(range(len(labels)), [printable(label) for label in labels])
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_ylim(0, 1.1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
        axes.grid(axis="y")
        axes.spines[["left", "bottom"]].set_visible(False)
        _legend(figure, axes)
    return done(name, title)


def short(value: float) -> str:
    """A number for an axis.

    >>> [short(v) for v in (0, 0.00025, 0.25, 12, 1500, 2_000_000, 2.4e13)]
    ['0', '2.5e-4', '0.25', '12', '1.5K', '2M', '24T']
    """
    size = abs(value)
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if size >= limit:
            return f"{value / limit:.3g}{letter}"
    if 0 < size < 0.01:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3g}"


_FAMILY = "font-family: 'DejaVu Sans', sans-serif; "
_SHORT = FuncFormatter(lambda value, _: short(value))
_POWER = FuncFormatter(lambda value, _: short(10**value))


def _shade(axes: Axes, stages: Sequence[tuple[str, float, float]], named: bool) -> None:
    for index, (stage, first, last) in enumerate(stages):
        if index % 2 == 0:
            axes.axvspan(first, last, color="#eef2f6", linewidth=0, zorder=0)
        if named:
            axes.text(
                (first + last) / 2,
                0.97,
                printable(stage),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                color="#69727d",
            )


def _token_axis(axes: Axes, x: Sequence[float]) -> None:
    if len(x) > 1:
        axes.set_xlim(x[0], x[-1])
    axes.xaxis.set_major_formatter(_SHORT)
    axes.yaxis.set_major_formatter(_SHORT)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y")


def _legend(figure: Figure, *several: Axes) -> None:
    """One legend for all axes, at the top left of the picture."""
    entries: dict[str, Artist] = {}
    for axes in several:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(zip((str(label) for label in labels), handles, strict=True))
    if entries:
        figure.legend(
            list(entries.values()),
            [printable(label) for label in entries],
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=len(entries),
            handlelength=1.1,
            handleheight=0.8,
            columnspacing=1.4,
            borderpad=0.1,
        )


def _on(colour: str) -> str:
    """White or dark: what can be read on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else INK


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Callable[[str, str], Markup]]]:
    """A figure in our style without pyplot's global state, and what makes it an SVG once it is drawn."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        figure = Figure(figsize=(width, height))
        # Characters that matplotlib's font lacks are drawn by the browser's; only their width is guessed.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

        def done(name: str, title: str) -> Markup:
            with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                return _svg(figure, name, title)

        yield figure, done


def _svg(figure: Figure, name: str, title: str) -> Markup:
    """The drawn figure as an element to stand inside a page.

    Its own `<style>` (valid for the whole page), metadata and size go; identifiers that something refers to get the
    picture's name in front, so that two pictures do not share them.
    """
    sink = io.BytesIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(sink, metadata=empty)
    root = etree.fromstring(sink.getvalue(), etree.XMLParser(huge_tree=True))
    xlink = "{http://www.w3.org/1999/xlink}href"
    for element in list(root.iter("{*}style", "{*}metadata", etree.Comment)):
        element.getparent().remove(element)
    text = etree.tostring(root, encoding="unicode")
    for element in list(root.iter()):
        identifier = element.get("id")
        if identifier and (f'"#{identifier}"' in text or f"url(#{identifier})" in text):
            element.set("id", f"{name}-{identifier}")
        elif identifier:
            del element.attrib["id"]
        if element.get(xlink):
            element.set("href", f"#{name}-{element.attrib.pop(xlink)[1:]}")
        if element.get("clip-path"):
            element.set("clip-path", element.get("clip-path").replace("url(#", f"url(#{name}-"))
        if "font-family" in (element.get("style") or ""):  # the page says which font
            element.set("style", element.get("style").replace(_FAMILY, ""))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", title)
    etree.cleanup_namespaces(root, top_nsmap={None: "http://www.w3.org/2000/svg"})
    return Markup(etree.tostring(root, encoding="unicode").strip())  # matplotlib escapes its labels
