"""The control side of the latency sampler: switches it on, and computes percentiles of the engines' histograms.

The engines keep no samples, only counts in buckets (`hoverboard.fastpath.elements.latency`): memory and the time for a
packet stay the same, however many packets are followed. So a percentile is the middle of the bucket that holds it, at
most 6 % off. `experiments.statistics` interpolates between samples, which a histogram does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hoverboard.fastpath.elements.latency import least_of
from hoverboard.fastpath.memory import control, debug
from hoverboard.fastpath.memory.arrays import I64, Memory

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import EngineLatencies, EngineLatency


_PERCENTILES = (50, 90, 99, 99.9)


def set_sampling(memories: tuple[Memory, Memory], every: int) -> None:
    """Follow one packet in `every` from now on (0: none), with all counts at 0."""
    for m in memories:
        m.sample[debug.SAMPLE_EVERY] = 0
        m.latency[:] = 0
        m.sample[debug.SAMPLE_EVERY] = every


def summary(counts: Sequence[int] | I64) -> EngineLatency:
    """{"samples", "p50_us", .., "histogram": [[least ns, packets], ..]}; {"samples": 0} if no packet was followed.

    A percentile is the middle of the bucket in which that share of the packets is reached.
    """
    counted = np.asarray(counts, np.int64)
    total = int(counted.sum())
    if not total:
        return {"samples": 0}
    up_to = np.cumsum(counted)
    found: dict[str, Any] = {"samples": total}
    for percent in _PERCENTILES:
        bucket = int(np.searchsorted(up_to, np.ceil(total * percent / 100)))
        # the middle of a bucket: at most 6 % off
        found[f"p{percent:g}_us"] = round((least_of(bucket) + least_of(bucket + 1)) / 2000, 3)
    found["histogram"] = [[least_of(int(bucket)), int(counted[bucket])] for bucket in np.flatnonzero(counted)]
    return cast("EngineLatency", found)


def report(memories: tuple[Memory, Memory]) -> EngineLatencies:
    """{"egress", "ingress"}: summaries of both engines since set_sampling()."""
    return {"egress": summary(memories[control.EGRESS].latency), "ingress": summary(memories[control.INGRESS].latency)}
