"""Charts as figures, read back from what was drawn: values, error bars, labels, scales, marks of series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.colors import to_hex

from experiments import figures
from experiments.frame.experiment import Chart, Series
from experiments.frame.sample_statistics import Spread
from experiments.sweeps.drawing import draw, label

SPREADS = (Spread(3, 1.0, 2.0, 4.0), Spread(5, 2.5, 3.0, 3.5))
HERE = Series("here", [1, 10], [2.0, 3.0], SPREADS)
PAPER = Series("figure 9", [1, 10], [4.0, 5.0], paper=True)


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with figures.style():
        yield


def chart(*series: Series, **settings: Any) -> Chart:
    return Chart("name", "Title", "streams", "Gbit/s", series, **settings)


def axes_of(made: Chart) -> Any:
    (axes,) = draw(made).axes
    return axes


def error_bars(container: Any) -> list[tuple[float, float, float]]:
    """(x, low, high) of each."""
    (drawn,) = container.lines[2] if hasattr(container, "lines") else container.errorbar.lines[2]
    return [(float(low[0]), float(low[1]), float(high[1])) for low, high in drawn.get_segments()]


@pytest.mark.parametrize(
    ("spreads", "paper", "text"),
    [
        (SPREADS, False, "here (n = 3 to 5)"),
        (SPREADS[:1] * 2, False, "here (n = 3)"),
        ((*SPREADS, Spread(4, 1, 1, 1)), False, "here (n = 3 to 5)"),
        ((), False, "here"),
        (SPREADS, True, "here (paper)"),
    ],
)
def test_a_label_tells_the_n_of_the_values_or_that_they_are_the_paper_s(
    spreads: Sequence[Spread], paper: bool, text: str
) -> None:
    assert label(replace(HERE, spreads=spreads, paper=paper)) == text


def test_a_line_has_its_values_and_its_quartiles_and_the_papers_is_grey_and_dashed() -> None:
    figure = draw(chart(HERE, PAPER))
    (axes,) = figure.axes
    here, paper = axes.containers
    assert list(here.lines[0].get_xydata().flatten()) == [1, 2, 10, 3]
    assert list(paper.lines[0].get_xydata().flatten()) == [1, 4, 10, 5]
    assert error_bars(here) == [(1, 1.0, 4.0), (10, 2.5, 3.5)]
    assert not paper.lines[2]
    assert [one.lines[0].get_linestyle() for one in (here, paper)] == ["-", "--"]
    assert [one.lines[0].get_marker() for one in (here, paper)] == ["o", "None"]
    assert [to_hex(one.lines[0].get_color()) for one in (here, paper)] == [figures.BLUE.lower(), "#777777"]
    assert [one.get_text() for one in figure.legends[0].get_texts()] == ["here (n = 3 to 5)", "figure 9 (paper)"]
    assert (axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()) == ("Title", "streams", "Gbit/s")
    assert axes.get_ylim()[0] == 0
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")


def test_series_without_values_are_left_out_and_take_no_colour() -> None:
    empty = Series("empty", [], [])
    figure = draw(chart(empty, HERE))
    (drawn,) = figure.axes[0].containers
    assert to_hex(drawn.lines[0].get_color()) == figures.BLUE.lower()
    assert [one.get_text() for one in figure.legends[0].get_texts()] == ["here (n = 3 to 5)"]
    assert draw(chart(empty)).legends == []


@pytest.mark.parametrize(("axis", "settings"), [("x", {"log_x": True}), ("y", {"log_y": True})])
def test_a_logarithmic_axis_has_numbers_as_people_write_them(axis: str, settings: dict[str, bool]) -> None:
    figure = draw(chart(Series("s", [2, 300], [2.0, 300.0]), **settings))
    (axes,) = figure.axes
    scales = {"x": axes.get_xscale(), "y": axes.get_yscale()}
    assert scales == {"x": "linear", "y": "linear"} | {axis: "log"}
    one = getattr(axes, f"{axis}axis")
    assert one.get_major_formatter()(200, 0) == "200"
    assert one.get_minor_formatter()(300, 0) == ""
    assert {2, 5, 10, 20, 50, 100, 200} <= set(one.get_major_locator()().tolist())


@pytest.mark.parametrize(("most", "marks"), [(530.0, [2, 5, 10, 20, 50]), (540.0, [10])])
def test_an_axis_of_three_decades_has_marks_at_powers_of_ten_only(most: float, marks: list[float]) -> None:
    # A twentieth of the axis is free on either side: 530 and 540 make it 992 and 1013 times as long as its least.
    axes = axes_of(chart(Series("s", [1, 2], [1.0, most]), log_y=True))
    assert [one for one in axes.yaxis.get_major_locator()().tolist() if 1 < one < 100] == marks


def test_steps_go_on_from_each_value_and_differ_in_their_dashes() -> None:
    several = [Series(name, [0, 1], [1.0, 2.0]) for name in "abcd"]
    axes = axes_of(chart(*several, replace(PAPER, label="p"), kind="steps"))
    assert {line.get_drawstyle() for line in axes.lines} == {"steps-post"}
    dashes = [line.get_linestyle() + str(line._unscaled_dash_pattern) for line in axes.lines]
    assert len(set(dashes[:4])) == 4
    assert axes.lines[4].get_linestyle() == "--"
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 2]] * 4 + [[4, 5]]
    assert not axes.containers
    assert axes.get_ylim()[0] > 0  # of a CDF the part below the first value says nothing


def test_bars_stand_side_by_side_by_name_with_their_values_on_top() -> None:
    here = Series("here", ["ovs", "fastpath"], [2.0, 3.0], SPREADS)
    paper = Series("paper", ["pre", "ovs"], [0.12345, 5.0], paper=True)
    axes = axes_of(chart(here, paper, kind="bars"))
    bars, theirs = (one for one in axes.containers if hasattr(one, "patches"))
    assert [one.get_height() for one in bars] == [2.0, 3.0]
    assert [one.get_x() + one.get_width() / 2 for one in bars] == pytest.approx([-0.2, 0.8])
    assert [one.get_x() + one.get_width() / 2 for one in theirs] == pytest.approx([2.2, 0.2])
    assert [one.get_width() for one in bars] == pytest.approx([0.368, 0.368])
    assert sum(error_bars(bars), ()) == pytest.approx((-0.2, 1.0, 4.0, 0.8, 2.5, 3.5))
    assert list(axes.get_xticks()) == [0, 1, 2]
    assert [one.get_text() for one in axes.get_xticklabels()] == ["ovs", "fastpath", "pre"]
    assert [one.get_text() for one in axes.texts] == ["2", "3", "0.123", "5"]
    assert [to_hex(one.get_facecolor()) for one in (bars[0], theirs[0])] == [figures.BLUE.lower(), "#ffffff"]
    assert [to_hex(one.get_edgecolor()) for one in (bars[0], theirs[0])] == ["#ffffff", "#777777"]
    assert [one.get_linestyle() for one in (bars[0], theirs[0])] == ["-", "--"]
    assert axes.get_ylim()[0] == 0


def test_bars_differ_in_colour_and_hatch() -> None:
    several = [Series(name, ["x"], [1.0]) for name in "abc"]
    axes = axes_of(chart(*several, kind="bars"))
    assert [one[0].get_hatch() or "" for one in axes.containers] == ["", "///", "..."]
    assert [to_hex(one[0].get_facecolor()) for one in axes.containers] == [
        figures.BLUE.lower(), figures.VERMILION.lower(), figures.GREEN.lower(),
    ]  # fmt: skip
    at = [one[0].get_x() + one[0].get_width() / 2 for one in axes.containers]
    assert at == pytest.approx([-0.8 / 3, 0, 0.8 / 3])


def test_there_are_colours_for_more_series_than_there_are_colours() -> None:
    several = [Series(str(number), [1, 2], [1.0, 2.0]) for number in range(8)]
    for kind in ("line", "bars", "steps"):
        axes = axes_of(chart(*several, kind=kind))
        drawn = axes.lines if kind == "steps" else axes.containers
        assert len(drawn) == 8
    markers = [one.lines[0].get_marker() for one in axes_of(chart(*several)).containers]
    assert len(set(markers[:7])) == 7
    assert markers[7] == markers[0]
