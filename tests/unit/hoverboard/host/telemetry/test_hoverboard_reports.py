"""Reports of a Hoverboard that is over its capacity: lost as often as other packets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.reports import FlowUsage
from hoverboard.host.telemetry.hoverboard_reports import HoverboardReports

FLOW = FlowUsage(7, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 1, 1)


class Plane:
    def __init__(self) -> None:
        self.come = self.dropped = 0

    def counters(self) -> dict[str, object]:
        drops = {"over-capacity": self.dropped, "no-route": 50_000} if self.dropped else {"no-route": 50_000}
        return {"rx_packets": self.come, "drops": drops}


class Dice:
    """Numbers in [0, 1) that the test gives; `thrown` counts."""

    def __init__(self, *numbers: float) -> None:
        self._numbers: Iterator[float] = iter(numbers)
        self.thrown = 0

    def __call__(self) -> float:
        self.thrown += 1
        return next(self._numbers)


def test_reports_are_lost_as_often_as_packets() -> None:
    plane, dice = Plane(), Dice(0.5, 0.5, 0.95)
    reports = HoverboardReports(plane, dice)
    plane.come, plane.dropped = 1_000, 900
    assert not reports.passes([FLOW], True)
    plane.come += 1_000  # nothing was dropped in this one
    assert reports.passes([FLOW], True)
    plane.come, plane.dropped = plane.come + 1_000, plane.dropped + 900
    assert reports.passes([FLOW], True)
    assert reports.counters == {"sent": 2, "lost": 1}


@pytest.mark.parametrize(("chance", "passes"), [(0.249, False), (0.25, True)])
def test_the_loss_is_the_share_of_the_interval(chance: float, passes: bool) -> None:
    plane = Plane()
    reports = HoverboardReports(plane, Dice(0.0, chance))
    plane.come, plane.dropped = 1_000_003, 1_000
    reports.passes([FLOW], True)
    plane.come, plane.dropped = plane.come + 400, plane.dropped + 100
    assert reports.passes([FLOW], True) is passes


@pytest.mark.parametrize(
    ("come", "dropped", "chance", "passes"),
    [(4, 1, 0.249, False), (4, 1, 0.25, True), (1, 1, 0.999, False), (0, 0, 0.0, True)],
)
def test_the_first_interval_counts_from_nothing(come: int, dropped: int, chance: float, passes: bool) -> None:
    plane = Plane()
    plane.come, plane.dropped = come, dropped
    assert HoverboardReports(plane, Dice(chance)).passes([FLOW], True) is passes


@pytest.mark.parametrize(("flows", "packets"), [(1, 1), (30, 1), (31, 2), (90, 3), (91, 4)])
def test_a_report_passes_with_all_its_packets_or_not_at_all(flows: int, packets: int) -> None:
    plane, dice = Plane(), Dice(*[0.9] * 4)
    reports = HoverboardReports(plane, dice)
    plane.come, plane.dropped = 100, 50
    assert reports.passes([FLOW] * flows, True)
    assert dice.thrown == packets
    unlucky = HoverboardReports(plane, Dice(*[0.9] * (packets - 1), 0.4))
    assert not unlucky.passes([FLOW] * flows, True)
    assert unlucky.counters == {"sent": 0, "lost": 1}


def test_where_more_is_dropped_than_was_counted_all_is_lost() -> None:
    plane = Plane()
    plane.come, plane.dropped = 10, 40  # read a moment later
    assert not HoverboardReports(plane, Dice(0.999)).passes([FLOW], True)


def test_where_nothing_came_nothing_is_lost() -> None:
    assert HoverboardReports(Plane(), Dice(0.0)).passes([FLOW], True)


def test_a_hosts_reports_always_pass() -> None:
    plane = Plane()
    plane.come, plane.dropped = 10, 10
    assert HoverboardReports(plane, Dice(0.0)).passes([FLOW], False)
