"""The ring under two real threads: every packet once, whole, in order."""

from __future__ import annotations

import threading

import numpy as np

from hoverboard.fastpath import ring
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.layout import RING_SLOTS, SLOT_BYTES


def make():
    return np.zeros(16, np.int64), np.zeros((RING_SLOTS, 4), np.int64), np.zeros(RING_SLOTS * SLOT_BYTES, np.uint8)


@compiled
def produce(index, meta, store, count):
    data = np.zeros(64, np.uint8)
    sent = 0
    full = 0
    while sent < count:
        for i in range(64):
            data[i] = (sent + i) & 0xFF
        if ring.push(index, meta, store, sent, 128, 0, data, 0, 64):
            sent += 1
        else:
            full += 1
    return full


@compiled
def consume(index, meta, store, count):
    wrong = 0
    for expected in range(count):
        while ring.waiting(index) == 0:
            pass
        slot = ring.slot_at(index)
        if meta[slot, 0] != expected or meta[slot, 2] != 64:
            wrong += 1
        for i in range(64):
            if store[slot * SLOT_BYTES + 128 + i] != (expected + i) & 0xFF:
                wrong += 1
        ring.release(index)
    return wrong


def test_two_threads():
    index, meta, store = make()
    produce(index, meta, store, 1)
    assert consume(index, meta, store, 1) == 0  # compiled
    index[:] = 0
    producer = threading.Thread(target=produce, args=(index, meta, store, 200_000))
    producer.start()
    assert consume(index, meta, store, 200_000) == 0
    producer.join(10)


def test_full_ring_refuses_and_keeps_what_it_has():
    index, meta, store = make()
    data = np.ones(10, np.uint8)
    for number in range(RING_SLOTS):
        assert ring.push(index, meta, store, number, 0, 0, data, 0, 10)
    assert not ring.push(index, meta, store, 999, 0, 0, data, 0, 10)
    assert ring.waiting(index) == RING_SLOTS
    assert meta[ring.slot_at(index), 0] == 0
