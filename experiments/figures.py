"""Draws figures with matplotlib, and writes them as PNG, as SVG, and as SVG inside a page.

The colours are Okabe and Ito's, so that colour-blind readers can tell them apart. Labels or hatches repeat
what a colour means. Every figure names its units and its number of values, n.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.observe.flow_path import PathRate, Timeline
from hoverboard.contract.errors import counted
from hoverboard.safe_files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILION, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#56B4E9"
HOVERBOARD_COLOUR, DIRECT_COLOUR = ORANGE, BLUE
GENERATION_COLOURS = {
    "fastpath": BLUE, "fastpath-vmm": SKY, "ovs-offload": ORANGE, "ovs": VERMILION, "pre": "#999999",
}  # fmt: skip

_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "svg.fonttype": "none",
}
_DPI = 160
# A figure is as large as all that is on it: the layout has no room for long labels beside the axes.
_WHOLE: Any = {"bbox_inches": "tight", "pad_inches": 0.1}


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    # The object interface only: no display, no global state of pyplot.
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def style() -> Any:
    """A context manager with the style of all figures: make and write figures inside it."""
    import matplotlib

    # Matplotlib's own defaults first: it has read a matplotlibrc, maybe that of the current directory.
    settings: Any = _own_defaults() | _STYLE
    return matplotlib.rc_context(settings)


def _own_defaults() -> dict[str, Any]:
    """Matplotlib's defaults, but for the backend, which cannot be set twice."""
    import matplotlib

    return {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}


def write(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png, on white, for slides and papers."""
    bitmap, vector = io.BytesIO(), io.BytesIO()
    figure.savefig(bitmap, format="png", dpi=_DPI, facecolor="white", **_WHOLE)
    figure.savefig(vector, format="svg", facecolor="white", metadata={"Date": None}, **_WHOLE)
    for suffix, drawn in ((".png", bitmap), (".svg", vector)):
        write_file(stem.parent, stem.with_suffix(suffix).name, drawn.getvalue())


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element. The page's text colour replaces black.

    `name` makes the identifiers inside unique, so that several figures fit on one page.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, **_WHOLE)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for black in ("#000000", "#262626"):
        text = text.replace(black, "currentColor")
    return text


def flow_path(line: Timeline, *, title: str) -> Figure:
    """The rate of one flow over the Hoverboard and on the direct path. A line marks the offload."""
    figure, axes = _axes(7.2, 3.3)
    edges, hoverboard, direct = [0.0], [], []
    for rate in _split_at_offload(line):
        edges.append(rate.end)
        hoverboard.append(rate.hoverboard_bps / 1e9)
        direct.append(rate.direct_bps / 1e9)
    if hoverboard:
        axes.stairs(
            hoverboard, edges, fill=True, color=HOVERBOARD_COLOUR, hatch="///", edgecolor="white",
            label="over the Hoverboard",
        )  # fmt: skip
        total = [one + other for one, other in zip(hoverboard, direct, strict=True)]
        axes.stairs(total, edges, baseline=hoverboard, fill=True, color=DIRECT_COLOUR, label="direct, host to host")
    if line.offloaded_at is not None:
        axes.axvline(line.offloaded_at, color="#000000", linestyle="--", linewidth=1.2)
        axes.annotate(
            f"offloaded, {line.offloaded_at:.2f} s", (line.offloaded_at, 1.0), xycoords=("data", "axes fraction"),
            xytext=(6, -2), textcoords="offset points", va="top", ha="left", fontsize=9,
        )  # fmt: skip
    axes.set(xlabel="seconds since the first packet", ylabel="Gbit/s sent", title=title)
    axes.set_xlim(0, edges[-1] or 1)
    axes.set_ylim(0, 1.25 * max((one + other for one, other in zip(hoverboard, direct, strict=True)), default=1.0))
    if hoverboard:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def _split_at_offload(line: Timeline) -> Iterator[PathRate]:
    """The rates of a flow; the step of the offload is two, so that nothing is drawn direct before the flow could be.

    Within that step the flow is taken to have sent evenly, first over the Hoverboard and then direct. No rate is drawn
    that is above all rates that were measured: times have an error of some hundredths of a second.
    """
    rates = line.rates()
    peak = max((rate.hoverboard_bps + rate.direct_bps for rate in rates), default=0.0)
    for rate in rates:
        total = rate.hoverboard_bps + rate.direct_bps
        if line.offloaded_at is None or not rate.start <= line.offloaded_at < rate.end or not rate.direct_bps:
            yield rate
            continue
        width = rate.end - rate.start
        change = max(line.offloaded_at, rate.start + width * rate.hoverboard_bps / total)
        change = min(change, rate.end - width * rate.direct_bps / peak)
        before, after = change - rate.start, rate.end - change
        if before > 0:
            yield PathRate(rate.start, change, rate.hoverboard_bps * width / before, 0.0)
        yield PathRate(change, rate.end, 0.0, rate.direct_bps * width / after)


def throughput(bars: Mapping[str, Mapping[int, float]]) -> Figure:
    """Throughput in Gbit/s, by generation and number of streams. `bars`: generation -> streams -> bit/s."""
    labels = [(name, streams) for name, by_streams in bars.items() for streams in by_streams]
    figure, axes = _axes(7.2, 0.9 + 0.45 * len(labels))
    values = [bars[name][streams] / 1e9 for name, streams in labels]
    colours = [GENERATION_COLOURS.get(name, GREEN) for name, _ in labels]
    rows = axes.barh(range(len(labels)), values, color=colours, height=0.7)
    axes.bar_label(rows, labels=[f"{value:.2f}" for value in values], padding=4)
    axes.set_yticks(range(len(labels)), [f"{name}, {counted(n, 'stream')}" for name, n in labels])
    axes.invert_yaxis()
    axes.set(xlabel="Gbit/s received, TCP, VM to VM on two hosts (n = 1 run each)", title="Throughput")
    axes.margins(x=0.12)
    return figure


def latency(samples: Mapping[str, Sequence[float]]) -> Figure:
    """The distribution of ping round trips. `samples`: label -> milliseconds; a label begins with the generation."""
    from matplotlib.ticker import LogLocator, NullFormatter

    kept = {label: values for label, values in samples.items() if values}
    figure, axes = _axes(7.2, 0.9 + 0.5 * max(1, len(kept)))
    for row, (label, values) in enumerate(kept.items()):
        colour = GENERATION_COLOURS.get(label.partition(",")[0], GREEN)
        axes.boxplot(
            [value * 1000 for value in values], positions=[row], orientation="horizontal", widths=0.6,
            whis=(5, 95), flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
            patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.7}, medianprops={"color": "#000000"},
        )  # fmt: skip
    axes.set_yticks(range(len(kept)), [f"{label} (n={len(values)})" for label, values in kept.items()])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="microseconds, ping round trip:\nmedian, quartiles, 5th to 95th percentile", title="Latency")
    return figure
