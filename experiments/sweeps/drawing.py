"""Draws charts with matplotlib: medians with quartiles as error bars, n in the legend, the paper's values in grey.

The colours are Okabe and Ito's. Every series also has another marker, dash pattern or hatch, so that a reader does not
need the colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.figures import BLUE, GREEN, ORANGE, SKY, VERMILION
from experiments.frame.experiment import Chart, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, "#CC79A7", "#000000")
_PAPER = "#777777"
_MARKERS = "osD^vPX"
_STEPS = ("-", (0, (5, 1)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))  # lines without markers
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")


def draw(chart: Chart) -> Figure:
    """The figure of a chart. Call it inside `experiments.figures.style()`."""
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    if chart.kind == "bars":
        _bars(axes, chart)
    else:
        for number, series in enumerate(one for one in chart.series if one.y):
            _line(axes, series, number, chart.kind)
    if chart.log_x:
        axes.set_xscale("log")
        _plain(axes.xaxis)
    if chart.log_y:
        axes.set_yscale("log")
        _plain(axes.yaxis)
    elif chart.kind != "steps":
        axes.set_ylim(bottom=0)
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    if any(one.y for one in chart.series):
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _plain(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def label(series: Series) -> str:
    """The legend of a series: its name, and n."""
    if series.paper:
        return f"{series.label} (paper)"
    counts = sorted({one.n for one in series.spreads})
    if not counts:
        return series.label
    several = f" to {counts[-1]}" if len(counts) > 1 else ""
    return f"{series.label} (n = {counts[0]}{several})"


def _errors(series: Series) -> Any:
    if not series.spreads:
        return None
    return [[one.median - one.low for one in series.spreads], [one.high - one.median for one in series.spreads]]


def _line(axes: Any, series: Series, number: int, kind: str) -> None:
    colour = _PAPER if series.paper else _COLOURS[number % len(_COLOURS)]
    style: dict[str, Any] = {
        "color": colour,
        "linestyle": "--" if series.paper else "-",
        "label": label(series),
        "linewidth": 1.5,
    }
    if kind == "steps":
        style["linestyle"] = "--" if series.paper else _STEPS[number % len(_STEPS)]
        axes.step(series.x, series.y, where="post", **style)
        return
    axes.errorbar(
        series.x, series.y, yerr=_errors(series), marker=None if series.paper else _MARKERS[number % len(_MARKERS)],
        markersize=5, capsize=3, **style,
    )  # fmt: skip


def _bars(axes: Any, chart: Chart) -> None:
    names = list(dict.fromkeys(x for one in chart.series for x in one.x))
    width = 0.8 / max(1, len(chart.series))
    for number, series in enumerate(chart.series):
        at = [names.index(x) + (number - (len(chart.series) - 1) / 2) * width for x in series.x]
        bars = axes.bar(
            at, series.y, width * 0.92, yerr=_errors(series), capsize=3, label=label(series),
            color="white" if series.paper else _COLOURS[number % len(_COLOURS)],
            edgecolor=_PAPER if series.paper else "white", linestyle="--" if series.paper else "-",
            hatch="" if series.paper else _HATCHES[number % len(_HATCHES)],
        )  # fmt: skip
        axes.bar_label(bars, labels=[f"{value:.3g}" for value in series.y], padding=3, fontsize=8)
    axes.set_xticks(range(len(names)), [str(name) for name in names])
    axes.margins(y=0.12)
