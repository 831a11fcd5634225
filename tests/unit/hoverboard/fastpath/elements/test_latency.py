"""The latency sampler: which packets it follows, what it forgets, and what its buckets mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.elements.latency import begin_sample, bucket_of, end_sample, least_of, mark_routed
from hoverboard.fastpath.elements.vmqueue import deliver, enqueue
from hoverboard.fastpath.memory import debug, packets, ports
from hoverboard.host.telemetry.latency import summary
from hoverboard.testing.memory_host import VM
from tests.unit.hoverboard.packets import frame


@pytest.fixture
def sampling(host):
    for m in host.datapath.memories:
        m.sample[:] = 0
        m.latency[:] = 0
        m.sample[debug.SAMPLE_EVERY] = 4
    yield host
    for m in host.datapath.memories:
        m.sample[:] = 0


def batch(host, m, count, port=VM):
    return host.batch(m, *(host.place(m, frame(), port) for _ in range(count)))


class TestSampler:
    def test_one_in_four(self, sampling):
        m = sampling.egress
        for _ in range(64):
            n = batch(sampling, m, 1)
            end_sample(m, mark_routed(m, begin_sample(m, n)))
            sampling.reset_rings()
        assert m.latency.sum() == 16

    def test_the_packet_whose_turn_it_is(self, sampling):
        m = sampling.egress
        m.sample[1] = 3
        begin_sample(m, batch(sampling, m, 8))
        assert m.sample[debug.SAMPLE_SLOT] == m.batch[2] + 1

    def test_one_that_is_dropped_is_forgotten(self, sampling):
        m = sampling.egress
        n = begin_sample(m, batch(sampling, m, 1))
        assert m.sample[debug.SAMPLE_SLOT]
        end_sample(m, mark_routed(m, n - 1))
        assert m.latency.sum() == 0
        assert not m.sample[debug.SAMPLE_SLOT]

    def test_one_that_waits_for_its_vm_counts_once_it_has_gone(self, sampling):
        m = sampling.ingress
        n = begin_sample(m, batch(sampling, m, 1, ports.UPLINK))
        packet = m.packets[m.batch[0]]
        packet[packets.OUT], packet[packets.OUT_START], packet[packets.OUT_LENGTH] = (
            VM,
            packet[packets.FRAME],
            packet[packets.LENGTH],
        )
        end_sample(m, mark_routed(m, enqueue(m, n)))
        assert m.latency.sum() == 0
        assert m.sample[debug.SAMPLE_SLOT]
        end_sample(m, deliver(m, 0))
        assert m.latency.sum() == 1
        assert [one.frame for one in sampling.sent(VM)] == [frame()]

    def test_off(self, sampling):
        m = sampling.egress
        m.sample[debug.SAMPLE_EVERY] = 0
        end_sample(m, mark_routed(m, begin_sample(m, batch(sampling, m, 8))))
        assert m.latency.sum() == 0


class TestBuckets:
    @given(st.integers(0, 1 << 41))
    def test_a_bucket_is_an_eighth_of_a_power_of_two(self, ns):
        bucket = bucket_of(ns)
        assert least_of(bucket) <= ns < least_of(bucket + 1)
        assert ns < 16 or ns - least_of(bucket) < ns / 8

    def test_what_is_too_long_goes_into_the_last(self):
        assert bucket_of(1 << 60) == debug.LATENCY_BUCKETS - 1

    def test_percentiles(self):
        counts = [0] * debug.LATENCY_BUCKETS
        counts[bucket_of(1000)] = 98
        counts[bucket_of(50_000)] = 2
        found = summary(counts)
        assert found["samples"] == 100
        assert found["p50_us"] == pytest.approx(1.0, rel=0.07)
        assert found["p99_us"] == pytest.approx(50, rel=0.07)

    def test_no_samples(self):
        assert summary([0] * debug.LATENCY_BUCKETS) == {"samples": 0}
