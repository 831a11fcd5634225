"""The ring under two real threads: every packet once, whole, in order."""

from __future__ import annotations

import threading

import numpy as np

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control, packets, rings
from hoverboard.fastpath.packets import ring


def make():
    return (
        np.zeros(16, np.int64),
        np.zeros((rings.RING_SLOTS, rings.WORDS), np.int64),
        np.zeros(rings.RING_SLOTS * packets.SLOT_BYTES, np.uint8),
    )


@compiled
def produce(index, meta, store, data, count):
    sent = 0
    full = 0
    while sent < count:
        for i in range(64):
            data[i] = (sent + i) & 0xFF
        if ring.push(index, meta, store, sent, 128, 0, ~sent, data, 0, 64):
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
        slot = ring.slot_at(index, meta)
        if meta[slot, 0] != expected or meta[slot, 2] != 64 or meta[slot, 4] != ~expected:
            wrong += 1
        for i in range(64):
            if store[slot * packets.SLOT_BYTES + 128 + i] != (expected + i) & 0xFF:
                wrong += 1
        ring.release(index)
    return wrong


def test_two_threads():
    index, meta, store = make()
    data = np.zeros(64, np.uint8)
    produce(index, meta, store, data, 1)
    assert consume(index, meta, store, 1) == 0  # compiled
    index[:] = 0
    producer = threading.Thread(target=produce, args=(index, meta, store, data, 200_000))
    producer.start()
    assert consume(index, meta, store, 200_000) == 0
    producer.join(10)


def test_full_ring_refuses_and_keeps_what_it_has():
    index, meta, store = make()
    data = np.ones(10, np.uint8)
    for number in range(rings.RING_SLOTS):
        assert ring.push(index, meta, store, number, 0, 0, 0, data, 0, 10)
    assert not ring.push(index, meta, store, 999, 0, 0, 0, data, 0, 10)
    assert ring.waiting(index) == rings.RING_SLOTS
    assert meta[ring.slot_at(index, meta), 0] == 0


@compiled
def command_all(index, commands, count):
    sent = 0
    while sent < count:
        if ring.command(index, commands, sent, sent * 3, ~sent):
            sent += 1


@compiled
def obey_all(index, commands, count):
    wrong = 0
    for expected in range(count):
        while ring.waiting(index) == 0:
            pass
        slot = index[ring.CONSUMED] % control.COMMAND_SLOTS
        if commands[slot, 0] != expected or commands[slot, 1] != expected * 3 or commands[slot, 2] != ~expected:
            wrong += 1
        ring.release(index)
    return wrong


def test_commands_between_two_threads():
    index, commands = np.zeros(16, np.int64), np.zeros((control.COMMAND_SLOTS, 4), np.int64)
    command_all(index, commands, 1)
    assert obey_all(index, commands, 1) == 0  # compiled
    index[:] = 0
    sender = threading.Thread(target=command_all, args=(index, commands, 200_000))
    sender.start()
    assert obey_all(index, commands, 200_000) == 0
    sender.join(10)


def test_a_full_command_channel_refuses():
    index, commands = np.zeros(16, np.int64), np.zeros((control.COMMAND_SLOTS, 4), np.int64)
    for number in range(control.COMMAND_SLOTS):
        assert ring.command(index, commands, number, 0, 0)
    assert not ring.command(index, commands, 999, 0, 0)
    assert list(commands[:, 0]) == list(range(control.COMMAND_SLOTS))
