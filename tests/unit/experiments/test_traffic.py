"""Traffic from a seed: the same sample for sample, at the rates and shares that were asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import traffic
from hoverboard.contract.errors import InputError

VMS = [f"vm-{number}" for number in range(30)]
CDF = ((0.0, 0.84), (2_000.0, 0.90), (20_000.0, 0.98), (1_000_000.0, 1.0))


@given(st.integers())
def test_the_same_seed_gives_the_same_traffic(seed: int) -> None:
    def made() -> list[traffic.Datagram]:
        draw = random.Random(seed)
        flows = traffic.power_law(draw, traffic.pairs(VMS[:5]), 1e6)
        return list(traffic.schedule(draw, flows, 0.5))

    assert made() == made()


def test_as_many_pairs_talk_as_the_cdf_says() -> None:
    among = traffic.pairs(VMS) * 20
    flows = traffic.from_cdf(random.Random(1), among, CDF)
    assert len(flows) / len(among) == pytest.approx(0.16, rel=0.1)
    assert sum(one.rate_bps > 20_000 for one in flows) / len(among) == pytest.approx(0.02, rel=0.2)
    assert max(one.rate_bps for one in flows) <= 1_000_000


def test_a_power_law_shares_out_the_total() -> None:
    flows = traffic.power_law(random.Random(1), traffic.pairs(VMS), 5e6, 1.5)
    assert sum(one.rate_bps for one in flows) == pytest.approx(5e6)
    ordered = sorted((one.rate_bps for one in flows), reverse=True)
    assert ordered[0] / ordered[3] == pytest.approx(8)


def test_nothing_to_share_out() -> None:
    with pytest.raises(InputError, match="nothing to share out"):
        traffic.power_law(random.Random(1), [], 5e6)


@given(st.floats(1e3, 1e7), st.integers())
def test_a_flow_keeps_its_rate(rate: float, seed: int) -> None:
    seconds = 3.0
    sent = list(traffic.schedule(random.Random(seed), [traffic.Flow("a", "b", rate)], seconds))
    size = traffic.datagram_bytes(rate)
    assert sum(one.size for one in sent) * 8 == pytest.approx(rate * seconds, abs=size * 8)
    assert [one.at for one in sent] == sorted(one.at for one in sent)
    assert all(traffic.LEAST_BYTES <= one.size <= traffic.MOST_BYTES for one in sent)
