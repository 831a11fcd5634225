"""Figures of the demonstration, read back from what was drawn: bars, steps, boxes, axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from experiments import figures
from experiments.observe.flow_path import PathPoint, Timeline

GB = 125_000_000  # bytes of a gigabit


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with figures.style():
        yield


def timeline(offloaded_at: float | None = 1.25) -> Timeline:
    """Two Gbit/s over the Hoverboard, then one and three more direct, then four direct."""
    points = (
        PathPoint(0.0, 0, 0), PathPoint(1.0, 2 * GB, 0), PathPoint(1.5, 2 * GB + GB // 2, 3 * GB // 2),
        PathPoint(2.5, 2 * GB + GB // 2, 3 * GB // 2 + 4 * GB),
    )  # fmt: skip
    return Timeline("10.0.0.2", "10.0.0.3", points, offloaded_at)


def stairs(axes: Any) -> list[tuple[list[float], list[float], Any]]:
    """(heights, edges, baseline) of each row of steps."""
    found = [one.get_data() for one in axes.patches]
    return [(list(one.values), list(one.edges), one.baseline) for one in found]


def test_a_path_is_drawn_in_gbits_with_the_direct_part_on_top_of_the_hoverboard_s() -> None:
    (axes,) = figures.flow_path(timeline(), title="a to b").axes
    (below, edges, baseline), (above, also, on) = stairs(axes)
    # In the second step, of 1.0 to 1.5 s, the flow is offloaded at 1.25 s: nothing is direct before.
    # No step is faster than 4 Gbit/s, so the 1.5 Gbit of the direct path take 0.375 s of that step.
    assert (below, above) == ([2.0, 4.0, 0.0, 0.0], [2.0, 4.0, 4.0, 4.0])
    assert edges == also == [0.0, 1.0, 1.125, 1.5, 2.5]
    assert (baseline, list(on)) == (0, below)
    assert [to_hex(one.get_facecolor()) for one in axes.patches] == [
        figures.HOVERBOARD_COLOUR.lower(), figures.DIRECT_COLOUR.lower(),
    ]  # fmt: skip
    assert [one.get_text() for one in axes.get_legend().get_texts()] == ["over the Hoverboard", "direct, host to host"]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 2.5), (0, 5.0))
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == (
        "seconds since the first packet",
        "Gbit/s sent",
        "a to b",
    )


@pytest.mark.parametrize(
    ("offloaded_at", "steps"),
    [
        (None, [(0.0, 1.0, 60, 40)]),
        (0.2, [(0.0, 0.6, 100, 0), (0.6, 1.0, 0, 100)]),  # evenly sent, so 60 of 100 bytes are over after 0.6 s
        (0.75, [(0.0, 0.75, 80, 0), (0.75, 1.0, 0, 160)]),  # the offload was later than that
        (0.99, [(0.0, 0.8, 75, 0), (0.8, 1.0, 0, 200)]),  # never faster than in any step
        (0.0, [(0.0, 0.6, 100, 0), (0.6, 1.0, 0, 100)]),
        (1.0, [(0.0, 1.0, 60, 40)]),  # of the next step
    ],
)
def test_nothing_is_drawn_direct_before_the_offload(offloaded_at: float | None, steps: list[tuple[float, ...]]) -> None:
    line = Timeline("a", "b", (PathPoint(0.0, 0, 0), PathPoint(1.0, 60, 40), PathPoint(2.0, 60, 240)), offloaded_at)
    (axes,) = figures.flow_path(line, title="").axes
    (below, edges, _), (above, _, _) = stairs(axes)
    scale = 1e9 / 8
    found = [
        (start, end, relayed * scale, (total - relayed) * scale)
        for start, end, relayed, total in zip(edges, edges[1:], below, above, strict=False)
        if end <= 1
    ]
    assert found == [pytest.approx(step) for step in steps]


def large() -> dict[str, Any]:
    """Figures with long labels and large numbers, as on a fast machine."""
    points = (PathPoint(0.0, 0, 0), PathPoint(1.0, 1234 * GB, 0), PathPoint(2.0, 1234 * GB, 2345 * GB))
    names = {f"fastpath-vmm, over the Hoverboard {number}": [1234.5, 98_765.4] for number in range(2)}
    return {
        "path": figures.flow_path(Timeline("a", "b", points, 1.0), title="fastpath-vmm-1 to fastpath-vmm-2 " * 2),
        "throughput": figures.throughput({"fastpath-vmm": {1: 123_456.78e9, 200: 234_567.89e9}}),
        "latency": figures.latency(names),
    }


@pytest.mark.parametrize("name", ["path", "throughput", "latency"])
def test_nothing_is_cut_at_an_edge(tmp_path: Path, name: str) -> None:
    """A figure with a cut label has ink on its border."""
    figures.write(large()[name], tmp_path / name)
    image = imread(tmp_path / f"{name}.png")[:, :, :3]
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.min() == 1.0, "white all along"


def test_a_path_is_as_wide_as_the_report_and_has_no_frame_at_the_top_and_right() -> None:
    drawn = figures.flow_path(timeline(), title="")
    assert list(drawn.get_size_inches()) == [7.2, 3.3]
    (axes,) = drawn.axes
    assert [axes.spines[side].get_visible() for side in ("top", "right", "left", "bottom")] == [
        False, False, True, True,
    ]  # fmt: skip


def test_the_moment_of_the_offload_is_marked_where_there_is_one() -> None:
    (axes,) = figures.flow_path(timeline(), title="").axes
    (mark,) = axes.lines
    assert list(mark.get_xdata()) == [1.25, 1.25]
    assert [one.get_text() for one in axes.texts] == ["offloaded, 1.25 s"]
    (text,) = axes.texts
    assert (text.xy, text.xyann) == ((1.25, 1.0), (6, -2))  # beside the line, right below the top
    (never,) = figures.flow_path(timeline(None), title="").axes
    assert (list(never.lines), list(never.texts)) == ([], [])


@pytest.mark.parametrize("points", [(), (PathPoint(0.0, 0, 0),)])
def test_a_flow_that_was_never_seen_has_empty_axes(points: tuple[PathPoint, ...]) -> None:
    (axes,) = figures.flow_path(Timeline("a", "b", points), title="").axes
    assert (list(axes.patches), axes.get_legend()) == ([], None)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1.25))


def test_throughput_is_a_bar_for_each_generation_and_number_of_streams_from_the_top() -> None:
    (axes,) = figures.throughput({"fastpath": {1: 6.5e9, 16: 12e9}, "ovs": {1: 0.25e9}, "else": {16: 1e9}}).axes
    bars = list(axes.patches)
    assert [one.get_width() for one in bars] == [6.5, 12.0, 0.25, 1.0]
    assert [one.get_y() + one.get_height() / 2 for one in bars] == pytest.approx([0, 1, 2, 3])
    assert axes.yaxis_inverted()
    assert [one.get_text() for one in axes.get_yticklabels()] == [
        "fastpath, 1 stream", "fastpath, 16 streams", "ovs, 1 stream", "else, 16 streams",
    ]  # fmt: skip
    assert list(axes.get_yticks()) == [0, 1, 2, 3]
    assert [one.get_text() for one in axes.texts] == ["6.50", "12.00", "0.25", "1.00"]
    colours = [figures.GENERATION_COLOURS["fastpath"]] * 2 + [figures.GENERATION_COLOURS["ovs"], figures.GREEN]
    assert [to_hex(one.get_facecolor()) for one in bars] == [one.lower() for one in colours]
    assert "Gbit/s received" in axes.get_xlabel()
    assert "n = 1 run each" in axes.get_xlabel()


def test_a_longer_list_of_throughputs_is_a_taller_figure() -> None:
    one, three = (figures.throughput({"ovs": dict.fromkeys(range(1, count + 1), 1e9)}) for count in (1, 3))
    assert (one.get_figheight(), three.get_figheight()) == pytest.approx((1.35, 2.25))


def test_latency_is_a_box_of_microseconds_for_each_label_from_the_top() -> None:
    milliseconds = [number / 1000 for number in range(101, 0, -1)]
    (axes,) = figures.latency({"fastpath, direct": milliseconds, "nothing came": [], "else": [1.0]}).axes
    first, second = [one.get_path().get_extents() for one in axes.patches]
    assert (first.x0, first.x1, first.y0, first.y1) == pytest.approx((26, 76, -0.3, 0.3))  # quartiles
    assert (second.x0, second.x1, second.y0, second.y1) == pytest.approx((1000, 1000, 0.7, 1.3))
    assert [to_hex(one.get_facecolor()) for one in axes.patches] == [
        figures.GENERATION_COLOURS["fastpath"].lower(), figures.GREEN.lower(),
    ]  # fmt: skip
    drawn = [pytest.approx(sorted(line.get_xdata())) for line in axes.lines]
    assert [6, 26] in drawn  # whiskers end at the 5th and 95th percentile, ...
    assert [76, 96] in drawn
    assert [51, 51] in drawn  # ... and this is the median
    assert [*range(1, 6), *range(97, 102)] in drawn
    assert axes.yaxis_inverted()
    assert [one.get_text() for one in axes.get_yticklabels()] == ["fastpath, direct (n=101)", "else (n=1)"]
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_major_formatter()(2000.0) == "2000"  # and not 2 x 10 to the third
    assert axes.get_xlabel().startswith("microseconds, ping round trip")


def test_latency_without_any_sample_is_an_empty_figure() -> None:
    drawn = figures.latency({"ovs": []})
    (axes,) = drawn.axes
    assert (list(axes.patches), drawn.get_figheight()) == ([], pytest.approx(1.4))
    two = figures.latency({"ovs": [1.0], "pre": [1.0]})
    assert two.get_figheight() == pytest.approx(1.9)


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: figures.flow_path(timeline(), title="blue-1 to blue-2, dataplane fastpath-vmm"),
        lambda: figures.throughput({"fastpath-vmm": {1: 6.5e9, 16: 12e9}}),
        lambda: figures.latency({"fastpath-vmm, over the Hoverboard": [0.1, 0.2], "ovs, direct": [1.0, 3.0]}),
    ],
)  # fmt: skip
def test_all_of_a_figure_lies_within_it(drawn: Callable[[], Any]) -> None:
    figure = drawn()
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()


def test_a_figure_is_written_as_png_and_svg_without_a_date(tmp_path: Path) -> None:
    drawn = figures.throughput({"ovs": {1: 1e9}})
    figures.write(drawn, tmp_path / "new" / "name")
    assert (tmp_path / "new" / "name.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "new" / "name.svg").read_text()
    ElementTree.fromstring(text)
    assert "<dc:date>" not in text
    assert "fill: #ffffff" in text  # on white, for slides
    assert ">ovs, 1 stream<" in text  # letters stay letters


def test_an_inline_figure_takes_black_from_the_page_and_has_names_of_its_own() -> None:
    one, other = (figures.inline_svg(figures.throughput({"pre": {1: 1e9}}), name) for name in ("one", "other"))
    assert one.startswith("<svg")
    ElementTree.fromstring(one.replace("xlink:", ""))
    assert "#000000" not in one
    assert "currentColor" in one
    assert "<dc:date>" not in one
    assert one == figures.inline_svg(figures.throughput({"pre": {1: 1e9}}), "one")
    assert one != other
