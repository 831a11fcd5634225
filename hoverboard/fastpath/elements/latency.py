"""Latency sampler, a debug element (figures 6 and 7): measures how long one packet in so many stays in the engine.

The time runs from the read that received the packet to the write that sent it, and is counted in a histogram in memory.
One packet is followed at a time. The sampler ends a sample without a result when the packet is dropped, or leaves for
the control thread or a coprocessor.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.compiled.syscalls import now_ns
from hoverboard.fastpath.elements.vmqueue import CONSUMED, PRODUCED
from hoverboard.fastpath.memory import debug, packets
from hoverboard.fastpath.memory.arrays import Memory

_STEPS = 8  # buckets for each power of two


@compiled
def bucket_of(ns: int) -> int:
    """The bucket of the histogram that counts `ns`."""
    doublings = 0
    while ns >= 2 * _STEPS:
        ns >>= 1
        doublings += 1
    return min(doublings * _STEPS + ns, debug.LATENCY_BUCKETS - 1)


def least_of(bucket: int) -> int:
    """The lowest ns that a bucket counts."""
    doublings = max(bucket // _STEPS - 1, 0)
    return (bucket - doublings * _STEPS) << doublings


@compiled
def waits(m: Memory, slot: int) -> bool:
    """Whether the packet in `slot` is in the queue of its destination VM."""
    port = m.packets[slot, packets.OUT]
    state = m.queue_state[port]
    at = state[CONSUMED]
    while at < state[PRODUCED] and m.queues[port, at & (packets.VM_QUEUE_SLOTS - 1)] != slot:
        at += 1
    return at < state[PRODUCED]


@compiled
def begin_sample(m: Memory, n: int) -> int:
    """After receive: start to follow a packet of this batch, if its turn has come."""
    sample = m.sample
    if sample[debug.SAMPLE_EVERY]:
        left = sample[debug.SAMPLE_LEFT]
        sample[debug.SAMPLE_LEFT] = left - n
        if left <= n and n > 0 and sample[debug.SAMPLE_SLOT] == 0:
            sample[debug.SAMPLE_LEFT] = sample[debug.SAMPLE_EVERY]
            sample[debug.SAMPLE_SLOT] = m.batch[max(left - 1, 0)] + 1
            sample[debug.SAMPLE_ROUTED] = 0
            sample[debug.SAMPLE_TIME] = now_ns(m.cpu[0])
    return n


@compiled
def mark_routed(m: Memory, n: int) -> int:
    """Before transmit: mark the packet if it came this far, in this batch or in a VM's queue."""
    sample = m.sample
    if sample[debug.SAMPLE_SLOT] and not sample[debug.SAMPLE_ROUTED]:
        slot = sample[debug.SAMPLE_SLOT] - 1
        for i in range(n):
            if m.batch[i] == slot:
                sample[debug.SAMPLE_ROUTED] = 1
        if not sample[debug.SAMPLE_ROUTED]:
            sample[debug.SAMPLE_ROUTED] = waits(m, slot)
    return n


@compiled
def end_sample(m: Memory, n: int) -> int:
    """After transmit and delivery: count the packet's time if it was sent."""
    sample = m.sample
    if sample[debug.SAMPLE_SLOT]:
        if not sample[debug.SAMPLE_ROUTED]:
            sample[debug.SAMPLE_SLOT] = 0
        elif not waits(m, sample[debug.SAMPLE_SLOT] - 1):
            m.latency[bucket_of(now_ns(m.cpu[0]) - sample[debug.SAMPLE_TIME])] += 1
            sample[debug.SAMPLE_SLOT] = 0
    return n
