"""Packet capture, a debug element (the paper's tcpdump, figures 6 and 7): copies packets of chosen ports into a ring.

It copies packets as they are received, as they are sent, and where their entry drops them. The engine never waits: when
the ring is full, it counts the packet and continues without a copy.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.atomics import load_acquire, store_release
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.compiled.syscalls import now_ns
from hoverboard.fastpath.elements.encapsulate import CUT
from hoverboard.fastpath.memory import debug, entries, packets
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.parse import copy


@compiled
def record(m: Memory, port: int, event: int, now: int, start: int, length: int, came: int, detail: int) -> None:
    """Copy the first bytes of pool[start:start+length] into the capture ring, or count that it is full."""
    control = m.capture_control
    index = m.capture_index
    made = index[ring.PRODUCED]
    if made - load_acquire(index, ring.CONSUMED) >= control[debug.CAP_SLOTS]:
        control[debug.CAP_LOST] += 1
        return
    at = made & (control[debug.CAP_SLOTS] - 1)
    kept = min(length, control[debug.CAP_SNAP])
    copy(m.capture_data, at * control[debug.CAP_STRIDE], m.pool, start, kept)
    row = m.capture_meta[at]
    row[debug.CAPTURED_PORT] = port
    row[debug.CAPTURED_EVENT] = event
    row[debug.CAPTURED_TIME] = now
    row[debug.CAPTURED_LENGTH] = length
    row[debug.CAPTURED_KEPT] = kept
    row[debug.CAPTURED_FROM] = came
    row[debug.CAPTURED_DETAIL] = detail
    store_release(index, ring.PRODUCED, made + 1)


@compiled
def capture_received(m: Memory, n: int) -> int:
    """Record packets of captured ports as they came in."""
    if m.capture_control[debug.CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[packets.PORT]
            if m.capture_ports[port]:
                record(m, port, debug.EVENT_IN, now, packet[packets.START], packet[packets.TOTAL], port, 0)
    return n


@compiled
def capture_dropped(m: Memory, n: int) -> int:
    """Record packets of captured ports whose entry has ACT_DROP, as they came in, with entry and reason."""
    if m.capture_control[debug.CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[packets.PORT]
            index = packet[packets.INDEX]
            entry = m.entries[index]
            if m.capture_ports[port] and entry[entries.ACTION] == entries.ACT_DROP:
                record(
                    m,
                    port,
                    debug.EVENT_DROP,
                    now,
                    packet[packets.START],
                    packet[packets.TOTAL],
                    index,
                    entry[entries.TARGET],
                )
    return n


@compiled
def capture_sent(m: Memory, n: int) -> int:
    """Record packets that leave by captured ports: to the fabric with outer headers, into a VM's queue without."""
    if m.capture_control[debug.CAP_PORTS] and n:
        now = now_ns(m.cpu[0])
        for i in range(n):
            packet = m.packets[m.batch[i]]
            port = packet[packets.OUT]
            if m.capture_ports[port]:
                start, length, event = packet[packets.OUT_START], packet[packets.OUT_LENGTH], debug.EVENT_OUT
                if length == CUT:
                    start, length, event = packet[packets.FRAME], packet[packets.LENGTH], debug.EVENT_CUT
                record(m, port, event, now, start, length, packet[packets.PORT], packet[packets.INDEX])
    return n
