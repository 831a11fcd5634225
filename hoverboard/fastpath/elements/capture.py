"""Packet capture, a debug element (the paper's tcpdump, figures 6 and 7): copies of chosen ports' packets into a ring.

Packets are seen as they are received, as they are sent, and where their entry drops them. The engine waits for
nobody: when the ring is full a packet is counted and goes its way uncopied.
"""

from __future__ import annotations

from hoverboard.fastpath import ring
from hoverboard.fastpath.atomics import load_acquire, store_release
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.encapsulate import CUT
from hoverboard.fastpath.layout import (
    ACT_DROP,
    CAP_LOST,
    CAP_PORTS,
    CAP_SLOTS,
    CAP_SNAP,
    CAP_STRIDE,
    CAPTURED_DETAIL,
    CAPTURED_EVENT,
    CAPTURED_FROM,
    CAPTURED_KEPT,
    CAPTURED_LENGTH,
    CAPTURED_PORT,
    CAPTURED_TIME,
    E_ACTION,
    E_TARGET,
    EVENT_CUT,
    EVENT_DROP,
    EVENT_IN,
    EVENT_OUT,
    P_FRAME,
    P_INDEX,
    P_LENGTH,
    P_OUT,
    P_OUT_LENGTH,
    P_OUT_START,
    P_PORT,
    P_START,
    P_TOTAL,
    Memory,
)
from hoverboard.fastpath.packet import copy
from hoverboard.fastpath.syscalls import now_ns


@compiled
def record(m: Memory, port: int, event: int, now: int, start: int, length: int, came: int, detail: int) -> None:
    """Copy the first bytes of pool[start:start+length] into the capture ring, or count that it is full."""
    control = m.capture_control
    index = m.capture_index
    made = index[ring.MADE]
    if made - load_acquire(index, ring.TAKEN) >= control[CAP_SLOTS]:
        control[CAP_LOST] += 1
        return
    at = made & (control[CAP_SLOTS] - 1)
    kept = min(length, control[CAP_SNAP])
    copy(m.capture_data, at * control[CAP_STRIDE], m.pool, start, kept)
    row = m.capture_meta[at]
    row[CAPTURED_PORT] = port
    row[CAPTURED_EVENT] = event
    row[CAPTURED_TIME] = now
    row[CAPTURED_LENGTH] = length
    row[CAPTURED_KEPT] = kept
    row[CAPTURED_FROM] = came
    row[CAPTURED_DETAIL] = detail
    store_release(index, ring.MADE, made + 1)


@compiled
def capture_received(m: Memory, n: int) -> int:
    """Packets of captured ports as they came in, whatever becomes of them."""
    if m.capture_control[CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[P_PORT]
            if m.capture_ports[port]:
                record(m, port, EVENT_IN, now, packet[P_START], packet[P_TOTAL], port, 0)
    return n


@compiled
def capture_dropped(m: Memory, n: int) -> int:
    """Packets from captured ports whose entry says drop, as they came in, with the reason."""
    if m.capture_control[CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[P_PORT]
            entry = m.entries[packet[P_INDEX]]
            if m.capture_ports[port] and entry[E_ACTION] == ACT_DROP:
                record(m, port, EVENT_DROP, now, packet[P_START], packet[P_TOTAL], port, entry[E_TARGET])
    return n


@compiled
def capture_sent(m: Memory, n: int) -> int:
    """Packets that go out of captured ports: to the fabric with outer headers, into a VM's queue without."""
    if m.capture_control[CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[P_OUT]
            if m.capture_ports[port]:
                start, length, event = packet[P_OUT_START], packet[P_OUT_LENGTH], EVENT_OUT
                if length == CUT:
                    start, length, event = packet[P_FRAME], packet[P_LENGTH], EVENT_CUT
                record(m, port, event, now, start, length, packet[P_PORT], packet[P_INDEX])
    return n
