"""Traffic from a seed: the same sample for sample, at the rates and shares that were asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.workload import traffic

VMS = [f"vm-{number}" for number in range(30)]
CDF = ((0.0, 0.84), (2_000.0, 0.90), (20_000.0, 0.98), (1_000_000.0, 1.0))


@given(st.integers())
def test_the_same_seed_gives_the_same_traffic(seed: int) -> None:
    def made() -> list[traffic.Datagram]:
        draw = random.Random(seed)
        flows = traffic.from_cdf(draw, traffic.pairs(VMS), CDF)
        return list(traffic.schedule(draw, flows, 0.5))

    assert made() == made()


def test_pairs_are_ordered_and_of_different_vms() -> None:
    assert traffic.pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]


class Dice(random.Random):
    """Draws what it should."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self._values = list(values)

    def random(self) -> float:
        return self._values.pop(0)


@pytest.mark.parametrize(
    ("share", "rate"),
    [
        (0.0, 0.0), (0.84, 0.0), (0.87, 1_000.0), (0.9, 2_000.0), (0.94, 11_000.0), (0.98, 20_000.0),
        (0.99, 510_000.0), (1.0, 1_000_000.0),
    ],
)  # fmt: skip
def test_a_rate_is_the_inverse_of_the_cdf_between_its_points(share: float, rate: float) -> None:
    found = traffic.from_cdf(Dice(share), [("a", "b")], CDF)
    assert [one.rate_bps for one in found] == ([pytest.approx(rate)] if rate else [])
    scaled = traffic.from_cdf(Dice(share), [("a", "b")], CDF, 0.1)
    assert scaled == ([traffic.TrafficFlow("a", "b", pytest.approx(rate / 10))] if rate else [])


def test_beyond_the_end_of_a_cdf_the_rate_is_its_last() -> None:
    assert traffic.from_cdf(Dice(0.999), [("a", "b")], CDF[:3]) == [traffic.TrafficFlow("a", "b", 20_000.0)]


def test_a_burst_is_every_pair_at_the_same_rate() -> None:
    assert traffic.burst([("a", "b"), ("b", "c")], 5.0) == [
        traffic.TrafficFlow("a", "b", 5.0),
        traffic.TrafficFlow("b", "c", 5.0),
    ]


@pytest.mark.parametrize(
    ("rate", "most", "size"),
    [
        (1.0, 1200, 64), (5_119.0, 1200, 64), (5_200.0, 1200, 65), (80_000.0, 1200, 1000), (1e6, 1200, 1200),
        (1e6, 600, 600),
    ],
)  # fmt: skip
def test_a_datagram_is_so_large_that_ten_go_in_a_second(rate: float, most: int, size: int) -> None:
    assert traffic.datagram_bytes(rate, most) == size
    assert traffic.MOST_BYTES == 1200


def test_datagrams_of_a_flow_are_evenly_spaced_from_a_first_one_within_its_gap() -> None:
    # 1000 bytes at 80 kbit/s: one in 0.1 s; 64 at 5120 bit/s: the same.
    flows = [traffic.TrafficFlow("a", "b", 80_000.0), traffic.TrafficFlow("b", "a", 5_120.0)]
    found = list(traffic.schedule(Dice(0.5, 0.25), flows, 0.25))
    assert [(one.at, one.flow, one.size) for one in found] == [
        (pytest.approx(0.025), 1, 64), (pytest.approx(0.05), 0, 1000), (pytest.approx(0.125), 1, 64),
        (pytest.approx(0.15), 0, 1000), (pytest.approx(0.225), 1, 64),
    ]  # fmt: skip
    assert [one.at for one in traffic.schedule(Dice(0.0), flows[:1], 0.1)] == [0.0]  # not at the end itself
    assert {one.size for one in traffic.schedule(Dice(0.0), flows[:1], 1.0, 600)} == {600}


def test_as_many_pairs_talk_as_the_cdf_says() -> None:
    among = traffic.pairs(VMS) * 20
    flows = traffic.from_cdf(random.Random(1), among, CDF)
    assert len(flows) / len(among) == pytest.approx(0.16, rel=0.1)
    assert sum(one.rate_bps > 20_000 for one in flows) / len(among) == pytest.approx(0.02, rel=0.2)
    assert max(one.rate_bps for one in flows) <= 1_000_000


@given(st.floats(1e3, 1e7), st.integers())
def test_a_flow_keeps_its_rate(rate: float, seed: int) -> None:
    seconds = 3.0
    sent = list(traffic.schedule(random.Random(seed), [traffic.TrafficFlow("a", "b", rate)], seconds))
    size = traffic.datagram_bytes(rate)
    assert sum(one.size for one in sent) * 8 == pytest.approx(rate * seconds, abs=size * 8)
    assert [one.at for one in sent] == sorted(one.at for one in sent)
    assert all(traffic.LEAST_BYTES <= one.size <= traffic.MOST_BYTES for one in sent)
