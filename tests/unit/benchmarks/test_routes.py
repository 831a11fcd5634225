"""The routes benchmark's figures, its bar and its check, without a switch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from benchmarks import routes
from benchmarks.routes import FRONT_END, OFCTL, bars, check_same, figures_of, options, shown
from experiments.programming.scaled_cluster import Cluster
from hoverboard.contract.errors import MeasurementError

FLOWS = "table=0 actions=drop\ntable=1 actions=drop\n"


def test_the_ratio_is_that_of_rounds() -> None:
    figures = figures_of(100, 108, {FRONT_END: [2.0, 9.0, 4.0], OFCTL: [1.0, 3.0, 1.0]})
    (bar,) = bars(figures)
    assert (bar.value, bar.limit, bar.passed) == (3.0, 3.0, False)
    assert figures["ratio_of_medians"] == 4.0
    assert [list(column.cells) for column in shown(figures)[0].columns] == [
        [FRONT_END, OFCTL], ["3", "3"], ["2.00", "1.00"], ["4.00", "1.00"], ["9.00", "3.00"], ["27", "108"],
    ]  # fmt: skip
    assert bar.what.startswith("100 routes into one Hoverboard's Open vSwitch")
    assert figures["rounds"][OFCTL]["samples_s"] == [1.0, 3.0, 1.0]
    faster = figures_of(100, 108, {FRONT_END: [2.99], OFCTL: [1.0]})
    assert bars(faster)[0].passed


def test_switches_that_differ_are_no_measurement() -> None:
    check_same(FLOWS, FLOWS, OFCTL)
    with pytest.raises(MeasurementError, match="holds 1 flow where 2 should be; 1 differ, the first: table=1"):
        check_same(FLOWS, FLOWS.splitlines(keepends=True)[0], OFCTL)


def test_flows_that_are_there_twice_are_reported() -> None:
    with pytest.raises(
        MeasurementError, match="holds 2 flows where 2 should be; 0 differ, the first: one is there twice"
    ):
        check_same(FLOWS, FLOWS + "table=1 actions=drop\n", OFCTL)


class Switch:
    """A switch that holds what it is given; adding takes 2 s."""

    def __init__(self, directory: Path, controller: Path) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.closed = False
        self.flows = ""
        Switch.made.append(self)

    made: ClassVar[list[Switch]] = []

    def make(self, nodes: object, controller: bool = True) -> None:
        self.asked.append(("make", nodes, controller))

    def ofctl(self, verb: str, name: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        self.asked.append((verb, name, options))
        if verb == "add-flows":
            self.flows = Path(arguments[0]).read_text()
        return f"NXST_FLOW reply:\n  {'  '.join(reversed(self.flows.splitlines(keepends=True)))}"

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[Switch]:
    def timed(do: Callable[[], object]) -> float:
        do()
        return 2.0

    monkeypatch.setattr(Switch, "made", [])
    monkeypatch.setattr(routes, "Bridges", Switch)
    monkeypatch.setattr(routes, "timed", timed)
    plain = SimpleNamespace(TemporaryDirectory=lambda prefix, dir: tempfile.TemporaryDirectory())
    monkeypatch.setattr(routes, "tempfile", plain)
    return Switch.made


def test_the_same_flows_as_text_go_into_a_fresh_switch(switches: list[Switch], tmp_path: Path) -> None:
    assert routes.by_ofctl(FLOWS, tmp_path) == (2.0, FLOWS)
    (one,) = switches
    assert one.asked == [
        ("make", {"hv0": (1, {})}, False), ("del-flows", "hv0", ()), ("add-flows", "hv0", ("--bundle",)),
        ("dump-flows", "hv0", ("--no-stats", "--no-names")),
    ]  # fmt: skip
    assert one.closed


def test_contestants_take_turns_and_hold_the_same_after_each(
    switches: list[Switch], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def through(cluster: Cluster, directory: Path) -> tuple[float, str]:
        assert (cluster.vms, cluster.hosts) == (7, 7)
        return 6.0, FLOWS

    monkeypatch.setattr(routes, "through_front_end", through)
    said: list[tuple[str, float]] = []
    found = routes.measure(7, 2, lambda what, share: said.append((what, share)))
    assert (found["routes"], found["flows"], found["ratio"]) == (7, 2, 3.0)
    assert [found["rounds"][who]["samples_s"] for who in (FRONT_END, OFCTL)] == [[6.0, 6.0], [2.0, 2.0]]
    assert [what for what, _ in said] == [
        "the flows", "front end, round 1 of 2", "ovs-ofctl --bundle, round 1 of 2", "ovs-ofctl --bundle, round 2 of 2",
        "front end, round 2 of 2",
    ]  # fmt: skip
    assert [share for _, share in said] == [0.0, 0.25, 0.25, 0.75, 0.75]
    monkeypatch.setattr(Switch, "ofctl", lambda self, *given, **settings: "")
    with pytest.raises(MeasurementError, match="holds 0 flows where 2 should be"):
        routes.measure(7, 1, lambda what, share: None)


def test_options() -> None:
    given = options([])
    assert (given.routes, given.rounds) == (100_000, 5)
    assert options(["--quick"]).routes < 10_000
    assert options(["--quick", "--rounds", "3"]).rounds == 3
    with pytest.raises(SystemExit):
        options(["--routes", "0"])
