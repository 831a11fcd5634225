"""The benchmark of the link element: its frames, its bars on figures that are made up."""

from __future__ import annotations

from typing import Any

from benchmarks.link_element.frame_generator import frame, number_of
from benchmarks.link_element.link_bars import bars, within_chance


def figures(**more: Any) -> dict[str, Any]:
    load = [{"cores": 0.3, "gbps": 1.0, "arrived": 1.0}, {"cores": 0.4, "gbps": 1.0, "arrived": 1.0}]
    chance = {"packets": 100_000, "lost": 1010, "same": True, "disordered": 0}
    return {"delayed": [0.0101] * 99 + [0.0105], "load": {"frames": load}, "chance": chance, **more}


def missed(**more: Any) -> list[str]:
    return [bar.what for bar in bars(figures(**more)) if not bar.passed]


def test_a_frame_has_its_number() -> None:
    assert number_of(frame(77, 60)) == 77
    assert len(frame(1, 1450)) == 1450


def test_figures_as_they_should_be_pass() -> None:
    assert missed() == []


def test_each_bar_can_be_missed() -> None:
    slow = [{"cores": 0.5, "gbps": 0.5, "arrived": 0.9}]
    late = [0.0101] * 50 + [0.02] * 50
    chance = {"packets": 100_000, "lost": 2000, "same": False, "disordered": 3}
    found = bars(figures(delayed=late, load={"frames": slow}, chance=chance))
    assert [bar.passed for bar in found] == [False] * len(found)


def test_the_99_percent_interval_of_the_binomial() -> None:
    # Standard deviation: sqrt(100,000 x 0.01 x 0.99) = 31.5
    assert within_chance(1000, 100_000, 0.01) == 0
    assert within_chance(1000 + 81, 100_000, 0.01) < 1 < within_chance(1000 - 82, 100_000, 0.01)
