"""The path of a flow from switch counters: entries that are replaced, other pairs, the moment of offload."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.observe import flow_path
from experiments.observe.flow_path import PathCounter, PathPoint, PathRate, PathSampler, Timeline
from hoverboard.contract.errors import MeasurementError

HV = "172.16.255.1"
HOST = "172.16.0.2"


def row(via: str | None, size: int, dst: str = "10.0.0.3", vni: int = 7) -> dict[str, Any]:
    return {
        "vni": vni, "src": "10.0.0.2", "dst": dst, "proto": 6, "kind": None, "via": via, "packets": 1, "bytes": size,
    }  # fmt: skip


def counter() -> PathCounter:
    return PathCounter(7, "10.0.0.2", "10.0.0.3", [HV])


def test_moves_from_the_hoverboard_to_the_direct_path() -> None:
    count = counter()
    count.look([row(HV, 100)])
    count.look([row(HV, 150)])
    count.look([row(HOST, 40)])  # the entry was replaced, its successor counts from zero
    count.look([row(HOST, 90)])
    assert (count.hoverboard_bytes, count.direct_bytes) == (150, 90)


def test_an_entry_that_is_turned_round_in_place_keeps_its_counts_apart() -> None:
    count = counter()
    count.look([row(HV, 100)])
    count.look([row(HOST, 140)])  # the same entry: 100 of it went by the Hoverboard
    count.look([row(HOST, 150)])
    assert (count.hoverboard_bytes, count.direct_bytes) == (100, 50)


def test_an_entry_that_starts_again_is_not_counted_backwards() -> None:
    count = counter()
    count.look([row(HV, 100)])
    count.look([row(HV, 30)])
    assert count.hoverboard_bytes == 130


def test_other_pairs_networks_and_drops_do_not_count() -> None:
    count = counter()
    count.look([row(HV, 5, dst="10.0.0.4"), row(HV, 5, vni=8), row(None, 5)])
    assert (count.hoverboard_bytes, count.direct_bytes) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from([HV, HOST]), st.integers(0, 1000)), max_size=30))
def test_sums_never_shrink(looks: list[tuple[str, int]]) -> None:
    count = counter()
    before = (0, 0)
    for via, size in looks:
        count.look([row(via, size)])
        after = (count.hoverboard_bytes, count.direct_bytes)
        assert after[0] >= before[0]
        assert after[1] >= before[1]
        before = after


def test_timeline() -> None:
    line = Timeline(
        "10.0.0.2", "10.0.0.3",
        (
            PathPoint(0.0, 0, 0), PathPoint(0.5, 100, 0), PathPoint(1.0, 200, 50),
            PathPoint(1.5, 200, 450),
        ),
        offloaded_at=0.9,
    )  # fmt: skip
    assert (line.offload_delay, line.offloaded_at, line.direct_at) == (0.9, 0.9, 1.0)
    assert (line.hoverboard_bytes, line.direct_bytes) == (200, 450)
    assert [round(rate.direct_bps) for rate in line.rates()] == [0, 800, 6400]


def test_an_entry_that_goes_and_one_that_stays_do_not_count_for_each_other() -> None:
    count = counter()
    count.look([row(HV, 100) | {"proto": 6}, row(HOST, 10) | {"proto": 17}])
    count.look([row(HOST, 60) | {"proto": 17}])  # the entry of proto 6 is gone
    assert (count.hoverboard_bytes, count.direct_bytes) == (100, 60)
    count.look([row(HOST, 60) | {"proto": 17}, row(HV, 30) | {"proto": 6}])
    assert (count.hoverboard_bytes, count.direct_bytes) == (130, 60)


def test_entries_of_one_path_and_protocol_count_together() -> None:
    count = counter()
    count.look([row(HV, 100), row(HV, 30), row(HV, 7) | {"kind": "icmp"}])
    assert count.hoverboard_bytes == 137


def test_an_entry_that_is_turned_round_with_the_same_count_has_sent_nothing_more() -> None:
    count = counter()
    count.look([row(HV, 100), row(HV, 50) | {"kind": "other"}])
    count.look([row(HOST, 150)])
    assert (count.hoverboard_bytes, count.direct_bytes) == (150, 0)


def test_a_timeline_without_a_packet() -> None:
    assert Timeline("a", "b", ()).rates() == ()
    for line in (Timeline("a", "b", ()), Timeline("a", "b", (PathPoint(0.0, 0, 0),))):
        assert (line.offload_delay, line.direct_at, line.hoverboard_bytes, line.direct_bytes) == (None, None, 0, 0)
        assert line.direct_bps is None


def test_rates_are_between_neighbours_that_time_tells_apart() -> None:
    points = (PathPoint(0.0, 0, 0), PathPoint(2.0, 100, 50), PathPoint(2.0, 100, 50), PathPoint(3.0, 100, 60))
    assert Timeline("a", "b", points).rates() == (PathRate(0.0, 2.0, 400.0, 200.0), PathRate(2.0, 3.0, 0.0, 80.0))


class Machine:
    """A clock, a thread that runs at once when it is started, and looks that take their time."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, looks: list[list[dict[str, Any]] | Exception], slow: float
    ) -> None:
        self.at, self.waits, self.joined = 1_000_003.0, [], []
        self.looks, self.slow = looks, slow
        clock = SimpleNamespace(monotonic=lambda: self.at, time=lambda: self.at + 500.0)
        monkeypatch.setattr(flow_path, "time", clock)
        monkeypatch.setattr(flow_path, "threading", SimpleNamespace(Event=lambda: self, Thread=self._thread))

    def _thread(self, target: Any, name: str, daemon: bool) -> Any:
        assert daemon
        return SimpleNamespace(start=target, join=self.joined.append)

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        """Of the event."""

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.at += seconds
        return not self.looks

    def flows(self) -> list[dict[str, Any]]:
        self.at += self.slow
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def sampled(machine: Machine, offloaded: Any = lambda: None) -> Timeline:
    sampler = PathSampler(7, "10.0.0.2", "10.0.0.3", [HV], machine.flows, offloaded, interval=0.25)
    with sampler:
        pass
    return sampler.timeline()


FIRST_LOOK = 0.02


def test_times_count_from_the_first_packet_and_not_from_the_first_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow begins 0.05 s after the sampler. With looks every 0.25 s that would have been seen 0.2 s late."""
    looks: list[Any] = [[row(HV, 1000)]] * 3 + [[row(HV, 1010)], [row(HV, 1300)], [row(HOST, 1350)]]
    machine = Machine(monkeypatch, looks, slow=0.0)
    offloaded = 1_000_503.0 + 0.32  # Unix time, of a clock that is 500 s ahead
    line = sampled(machine, lambda: offloaded)
    first = FIRST_LOOK  # between the last look without a byte and the first one with some
    assert [(round(point.at, 6), point.hoverboard_bytes, point.direct_bytes) for point in line.points] == [
        (0.0, 0, 0), (first, 10, 0), (0.25, 300, 0), (0.5, 300, 50),
    ]  # fmt: skip
    assert line.offload_delay == line.offloaded_at == pytest.approx(0.32 - FIRST_LOOK, abs=1e-6)
    assert (line.src, line.dst, line.failures) == ("10.0.0.2", "10.0.0.3", ())
    assert machine.joined == [10.0]


def test_slow_looks_do_not_stretch_the_clock_and_none_follows_too_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    # Earlier traffic, the first byte, and more.
    looks = [[row(HV, size)] for size in (0, 1, 2, 3, 4)]
    line = sampled(Machine(monkeypatch, list(looks), slow=0.125))
    # Half a step is just enough between two looks: each is at an even step and an eighth of a second long.
    assert [point.at for point in line.points] == [0.0, 0.125, 0.375, 0.625, 0.875]
    line = sampled(Machine(monkeypatch, list(looks), slow=0.1875))
    assert [point.at for point in line.points] == [0.0, 0.1875, 0.6875, 1.1875, 1.6875]  # every second step


def test_the_moment_of_the_offload_is_the_control_plane_s_and_asked_for_until_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[float | None] = [None, 1_000_503.4, 1.0]
    machine = Machine(monkeypatch, [[row(HV, size)] for size in range(5)], slow=0.0)
    line = sampled(machine, lambda: answers.pop(0))
    assert line.offloaded_at == pytest.approx(0.4)  # Unix time, of a clock that is 500 s ahead
    assert answers == [1.0]


def test_a_flow_that_never_begins_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [[row(HV, 7)] for _ in range(4)], slow=0.0)
    line = sampled(machine)
    assert (line.points, line.offload_delay) == ((PathPoint(0.0, 0, 0),), None)
    assert machine.waits == [FIRST_LOOK] * 3


def test_looks_that_fail_are_gaps_that_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = [[row(HV, 0)], [row(HV, 1)], MeasurementError("gone"), OSError("closed"), [row(HV, 80)]]
    line = sampled(Machine(monkeypatch, looks, slow=0.0))
    assert line.failures == ("0.25 s: gone", "0.50 s: closed")
    assert [point.at for point in line.points] == [0.0, 0.0, 0.75]
    line = sampled(Machine(monkeypatch, [[row(HV, 0)], MeasurementError("gone"), [row(HV, 80)]], slow=0.0))
    assert line.failures == ("0.00 s: gone",)
    assert line.hoverboard_bytes == 80


def test_the_direct_rate_is_that_of_whole_steps_on_the_direct_path() -> None:
    points = (
        PathPoint(0.0, 0, 0), PathPoint(1.0, 50, 10), PathPoint(2.0, 50, 110), PathPoint(3.0, 50, 230),
        PathPoint(4.0, 50, 320),
    )  # fmt: skip
    assert Timeline("a", "b", points).direct_bps == 8 * 100
    assert Timeline("a", "b", points[:2]).direct_bps is None


def test_a_fault_of_our_own_is_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        sampled(Machine(monkeypatch, [[row(HV, 0)], [row(HV, 1)], KeyError("via")], slow=0.0))


def test_the_sampler_looks_beside_its_block() -> None:
    looked = threading.Event()

    sizes = itertools.count(1000)

    def counted_up() -> list[dict[str, Any]]:
        return [row(HV, next(sizes))]

    def offloaded() -> None:
        looked.set()

    sampler = PathSampler(7, "10.0.0.2", "10.0.0.3", [HV], counted_up, offloaded, interval=0.001)
    with sampler:
        assert looked.wait(20)
    assert len(sampler.timeline().points) >= 2
    assert "path-sampler" not in {one.name for one in threading.enumerate()}
