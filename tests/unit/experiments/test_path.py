"""The path of a flow from switch counters: entries that are replaced, other pairs, the moment of offload."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from experiments.path import PathCounter, PathPoint, PathSampler, Timeline

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
    assert (line.first_packet_at, line.offloaded_at, line.direct_at) == (0.5, 0.9, 1.0)
    assert (line.hoverboard_bytes, line.direct_bytes) == (200, 450)
    assert [round(rate.direct_bps) for rate in line.rates()] == [0, 800, 6400]


def test_sampler_takes_earlier_traffic_as_zero_and_keeps_failures() -> None:
    sampler = PathSampler(7, "10.0.0.2", "10.0.0.3", [HV], lambda: [row(HV, 1000)], lambda: None, interval=0.01)
    with sampler:
        pass
    assert sampler.timeline().points[0].hoverboard_bytes == 0
