"""The arrays of one host's engines, and their places in a mapping."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.memory import control, debug, entries, host, packets, ports, reasons, rings

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


class Tables(NamedTuple):
    """The arrays that both engines of a host share (N = entries.MAX_ENTRIES).

    The control thread writes them, engines read them.
    """

    host: I64  # (host.WORDS,)
    ports: I64  # (ports.COUNT, ports.WORDS)
    slots: NDArray[np.int32]  # (2, entries.HASH_SLOTS) entry index + 1; 0 is empty
    keys: I64  # (N, entries.KEY_WORDS), a part of the rows, as are entries and the engines' stats
    entries: NDArray[np.int32]  # (N, entries.WORDS)
    headers: U8  # (N, entries.TEMPLATE_BYTES) outer headers up to the segment option's data, by entries.HEADER
    macs: I64  # (N, 2) destination and source MAC to set, by entries.MACS
    peers: I64  # (entries.MAX_PEERS,) 1: the peer understands the segment option


class Memory(NamedTuple):
    """All arrays of one engine: the host's tables, then its own (P = ports.COUNT, S = rings.RING_SLOTS)."""

    host: I64
    ports: I64
    slots: NDArray[np.int32]
    keys: I64
    entries: NDArray[np.int32]
    headers: U8
    macs: I64
    peers: I64
    # its own
    ctl: I64  # (control.WORDS,)
    pool: U8  # (packets.POOL_SLOTS * packets.SLOT_BYTES,)
    scratch: U8  # (packets.SLOT_BYTES,) one segment cut in software
    free: I64  # (packets.POOL_SLOTS,) unused pool slots; the last one freed is taken first: it is in the cache
    batch: I64  # (packets.POOL_SLOTS,) pool slots of the batch at hand
    packets: I64  # (packets.POOL_SLOTS, packets.WORDS)
    packet_keys: I64  # (packets.POOL_SLOTS, entries.KEY_WORDS)
    queues: I64  # (P, packets.VM_QUEUE_SLOTS) pool slots that wait for a VM
    queue_state: I64  # (P, 4) consumed, produced, ns of recent back-half work, when that was last aged
    stats: I64  # (N, 2) packets and bytes by entry
    drops: I64  # (len(reasons.NAMES),)
    port_stats: I64  # (P, 4) rx packets, rx bytes, tx packets, tx bytes
    cpu: I64  # (P, 2) ns of engine time spent for a VM [p, 0]; row 0 is scratch space of the clock
    command_index: I64  # (16,) SPSC: control thread -> engine
    commands: I64  # (control.COMMAND_SLOTS, 4)
    miss_index: I64  # (16,) SPSC: engine -> control thread
    miss_meta: I64  # (S, rings.WORDS)
    miss_data: U8  # (S * packets.SLOT_BYTES,)
    inject_index: I64  # SPSC: control thread -> engine
    inject_meta: I64
    inject_data: U8
    pending: I64  # (P * 2,) misses pushed per port [p], and taken per port [P + p]
    side_index: I64  # (P, rings.SIDES, 16) SPSC: to and from the coprocessor and the VMM of a port
    side_meta: I64  # (P, rings.SIDES, rings.SIDE_SLOTS, rings.WORDS)
    side_data: U8  # (P, rings.SIDES, rings.SIDE_SLOTS * packets.SLOT_BYTES)
    side_wake: I64  # (P, 4)
    samples: I64  # (P, 2)
    # debug elements
    capture_control: I64  # (16,)
    capture_ports: I64  # (P,) 1: packets of this port are captured
    capture_index: I64  # (16,) SPSC: engine -> writer
    capture_meta: I64  # (debug.CAPTURE_SLOTS, debug.CAPTURE_WORDS)
    capture_data: U8  # (debug.CAPTURE_BYTES,)
    sample: I64  # (16,)
    latency: I64  # (debug.LATENCY_BUCKETS,) sampled packets by time from receive to transmit


_ALIGN = 128  # processors fetch cache lines in pairs
_MAP_NORESERVE = 0x4000  # Linux; most of the memory is reserved for the worst case and never touched


class Arena:
    """Arrays one after the other in one mapping. Untouched pages cost nothing, so sizes are generous.

    Args:
        mapping: the mapping; None only measures. Both sides of a shared mapping have the same layout.
    """

    def __init__(self, mapping: mmap.mmap | None) -> None:
        self._mapping = mapping
        self.used = 0

    def take(self, shape: int | tuple[int, ...], dtype: type) -> NDArray[Any]:
        """The next array, zeroed, on cache lines of its own."""
        size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
        at = -(-self.used // _ALIGN) * _ALIGN
        self.used = at + size
        if self._mapping is None:
            return np.empty((0, *shape[1:]) if isinstance(shape, tuple) else 0, dtype)
        return np.frombuffer(self._mapping, dtype, size // np.dtype(dtype).itemsize, at).reshape(shape)


def _tables(arena: Arena) -> tuple[Tables, list[NDArray[Any]]]:
    """The arrays that a host's engines share, and the `stats` of each engine, which are beside the entries."""
    rows = arena.take((entries.MAX_ENTRIES, entries.ROW_WORDS), np.int64)
    words = 2 * entries.ROW_ENTRY
    tables = Tables(
        host=arena.take(host.WORDS, np.int64),
        ports=arena.take((ports.COUNT, ports.WORDS), np.int64),
        slots=arena.take((2, entries.HASH_SLOTS), np.int32),
        keys=rows[:, : entries.KEY_WORDS],
        entries=rows.view(np.int32)[:, words : words + entries.WORDS],
        headers=arena.take((entries.MAX_ENTRIES, entries.TEMPLATE_BYTES), np.uint8),
        macs=arena.take((entries.MAX_ENTRIES, 2), np.int64),
        peers=arena.take(entries.MAX_PEERS, np.int64),
    )
    return tables, [rows[:, begin : begin + 2] for begin in entries.ROW_STATS]


def _table_bytes() -> int:
    arena = Arena(None)
    _tables(arena)
    return arena.used // mmap.PAGESIZE * mmap.PAGESIZE


def _memory(arena: Arena, tables: Tables, stats: NDArray[Any]) -> Memory:
    i64, u8 = np.int64, np.uint8
    take = arena.take
    return Memory(
        *tables,
        ctl=take(control.WORDS, i64),
        pool=take(packets.POOL_SLOTS * packets.SLOT_BYTES, u8),
        scratch=take(packets.SLOT_BYTES, u8),
        free=take(packets.POOL_SLOTS, i64),
        batch=take(packets.POOL_SLOTS, i64),
        packets=take((packets.POOL_SLOTS, packets.WORDS), i64),
        packet_keys=take((packets.POOL_SLOTS, entries.KEY_WORDS), i64),
        queues=take((ports.COUNT, packets.VM_QUEUE_SLOTS), i64),
        queue_state=take((ports.COUNT, 4), i64),
        stats=stats,
        drops=take(len(reasons.NAMES), i64),
        port_stats=take((ports.COUNT, 4), i64),
        cpu=take((ports.COUNT, 2), i64),
        command_index=take(16, i64),
        commands=take((control.COMMAND_SLOTS, 4), i64),
        miss_index=take(16, i64),
        miss_meta=take((rings.RING_SLOTS, rings.WORDS), i64),
        miss_data=take(rings.RING_SLOTS * packets.SLOT_BYTES, u8),
        inject_index=take(16, i64),
        inject_meta=take((rings.RING_SLOTS, rings.WORDS), i64),
        inject_data=take(rings.RING_SLOTS * packets.SLOT_BYTES, u8),
        pending=take(ports.COUNT * 2, i64),
        side_index=take((ports.COUNT, rings.SIDES, 16), i64),
        side_meta=take((ports.COUNT, rings.SIDES, rings.SIDE_SLOTS, rings.WORDS), i64),
        side_data=take((ports.COUNT, rings.SIDES, rings.SIDE_SLOTS * packets.SLOT_BYTES), u8),
        side_wake=take((ports.COUNT, 4), i64),
        samples=take((ports.COUNT, 2), i64),
        capture_control=take(16, i64),
        capture_ports=take(ports.COUNT, i64),
        capture_index=take(16, i64),
        capture_meta=take((debug.CAPTURE_SLOTS, debug.CAPTURE_WORDS), i64),
        capture_data=take(debug.CAPTURE_BYTES, u8),
        sample=take(16, i64),
        latency=take(debug.LATENCY_BUCKETS, i64),
    )


def mapping_bytes() -> int:
    """Size of the mapping that holds one host's engines."""
    arena = Arena(None)
    tables, statistics = _tables(arena)
    for stats in statistics:
        _memory(arena, tables, stats)
    return -(-arena.used // mmap.PAGESIZE) * mmap.PAGESIZE


def lay_out(mapping: mmap.mmap) -> tuple[Memory, Memory]:
    """The (egress, ingress) engines' memories over a mapping of mapping_bytes()."""
    arena = Arena(mapping)
    tables, (egress, ingress) = _tables(arena)
    return _memory(arena, tables, egress), _memory(arena, tables, ingress)


def allocate(fd: int = -1) -> tuple[Memory, Memory]:
    """New (egress, ingress) memories of one host.

    Args:
        fd: a memfd of mapping_bytes() that shares them with another process; -1: only this process has them.
    """
    flags = mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mapping = mmap.mmap(fd, mapping_bytes(), flags | _MAP_NORESERVE)
    if fd < 0:
        # Entries are read in random order: with pages of 4 KB each read would also miss in the TLB (paper 4.1).
        with contextlib.suppress(OSError):  # a kernel without huge pages
            mapping.madvise(mmap.MADV_HUGEPAGE, 0, _table_bytes())
    memories = lay_out(mapping)
    for kind, memory in enumerate(memories):
        memory.ctl[control.KIND] = kind
        memory.ctl[control.BATCH] = control.BATCH_EGRESS if kind == control.EGRESS else control.BATCH_INGRESS
        memory.ctl[control.PRIORITY] = 1
        memory.ctl[control.DICE] = int.from_bytes(os.urandom(7), "big") | 1
        memory.ctl[control.FREE] = packets.POOL_SLOTS
        memory.free[:] = np.arange(packets.POOL_SLOTS)[::-1]
    memories[0].ports[:, ports.FD] = -1
    memories[0].ports[:, ports.QUEUES] = 1
    memories[0].host[host.CONTROL_EVENTFD] = memories[0].host[host.WAKE_FD] = -1
    memories[0].host[host.PORTS] = ports.FIRST_TAP
    for memory in memories:
        memory.side_wake[:, rings.COPROCESSOR_FD] = -1
        memory.side_wake[:, rings.VMM_FD] = -1
    return memories
