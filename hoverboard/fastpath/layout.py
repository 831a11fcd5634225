"""Where things lie in the memory of one host's engines: constants shared by the elements, with their reasons.

All state is preallocated NumPy arrays over one mapping: an engine allocates nothing, locks nothing
and raises nothing (paper section 4.1). Python threads see the same arrays, and with a shared mapping
so does the process that runs several hosts' engines in one thread.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.contract.pipeline import Kind, drop_reason

VNET_BYTES = 12  # struct virtio_net_hdr_v1, TUNSETVNETHDRSZ
# Room before a frame for the encapsulation: 12 vnet + 50 outer + 16 segment option = 78, rounded up.
HEADROOM = 128
FRAME_MAX = 65_600  # a 64,000-byte segment with headers, or a 65,521-byte fabric frame
SLOT_BYTES = 65_792  # HEADROOM + FRAME_MAX, rounded up to 64

EGRESS, INGRESS = 0, 1  # the two engines of a host (paper section 4.2)
BATCH_EGRESS, BATCH_INGRESS = 32, 128  # paper section 4.2; the most, see CTL_BATCH
# A batch also ends after this many bytes: 32 segments of 64 KB would push each other out of the cache.
BATCH_BYTES = 1 << 16
POOL_SLOTS = 512  # packets an engine holds at once: a batch, and on ingress what waits for its VM
VM_QUEUE_SLOTS = 256  # of them, at most this many for one VM

# Indices in the port arrays.
UPLINK, FIRST_TAP = 1, 2
PORTS = 128

RING_SLOTS = 512  # miss and inject rings
MISSES_PER_PORT = 64  # of them, at most this many from one VM, so that one cannot take them all
MISSES_OF_UPLINK = 384  # a busy stream that changes its path misses until its new entry is there
SIDE_SLOTS = 32  # rings beside a port: to and from a coprocessor, or a VMM's virtual NIC

MAX_ENTRIES = 131_072
HASH_SLOTS = 262_144  # load factor 1/2 at most, and no larger: it is read in random order
KEY_WORDS = 8  # one cache line
# A row of the flow table: the key, then in the next cache line the entry and the statistics of both engines (each
# packet belongs to one of them). Rows are read in random order: one page, and two lines that are fetched together.
ROW_WORDS, ROW_ENTRY, ROW_STATS = 16, 8, (12, 14)
MAX_PEERS = 4_096  # index 0 stands for all peers beyond, which get segments cut in software
TEMPLATE_BYTES = 64

# ctl[]: an engine's own words. MORE: the port just served may have more; FREE: length of the free list;
# DUE: ns when a rate-limited port may be served again; TOLD: misses that the control thread was told of;
# DICE: state of the random numbers that pick samples, never 0; NOW: monotonic ns as the engines' thread last read
# it, set before each batch (it reads the clock every LOOK_EVERY passes).
CTL_TABLE, CTL_FIVE, CTL_BATCH, CTL_PRIORITY, CTL_KIND, CTL_ARRIVED, CTL_QUEUED, CTL_MORE, CTL_PASSES = range(9)
CTL_FREE, CTL_DUE, CTL_TOLD, CTL_DICE, CTL_NOW = 9, 10, 11, 12, 13
# The capacity of a Hoverboard, in its ingress engine (elements.police): what a packet and 1,024 bytes cost, ns
# (0: nothing); the engine's: when what has been taken will be worked off.
CTL_PACKET_NS, CTL_KILOBYTE_NS, CTL_PACKETS_DUE, CTL_BYTES_DUE = 16, 17, 18, 19
CTL_WORDS = 24

# host[]: words that all engines of a host read.
# NEWS_FD: eventfd of the control thread, as numbered in the engines' process. ASLEEP: the engines' thread
# waits in epoll_wait(), and whoever gives it work through a ring has to wake it. PORTS: one past the last
# port in use. SIDES: ports with a coprocessor or a VMM.
HOST_IP, HOST_NEWS_FD, HOST_WAKE_FD, HOST_ASLEEP, HOST_PORTS, HOST_SIDES = range(6)
HOST_WORDS = 16

# ports[]: a row a port. RATE bytes/s (0: none), BURST bytes; TOKENS in bytes and FILLED in ns belong to
# the egress engine.
# QUEUES: how many rows from this one on are queues of the same virtual NIC (0: this row is a further one).
PORT_FD, PORT_KIND, PORT_OFPORT, PORT_RATE, PORT_BURST, PORT_TOKENS, PORT_FILLED, PORT_QUEUES = range(8)
PORT_WORDS = 8
KIND_NONE, KIND_TAP, KIND_RING = 0, 1, 2

# packets[]: a row a pool slot. START is where the received frame begins (its virtio-net header is 12
# bytes before), FRAME and LENGTH the inner frame, VNET whether a virtio-net header stands before FRAME.
# STAGED: the coprocessor stages that are done: none, those of the first VM (FIRST_DONE), all.
P_START, P_TOTAL, P_FRAME, P_LENGTH, P_VNET, P_INDEX, P_HASH, P_PORT = range(8)
P_PORTS, P_TUNNEL, P_OUT, P_OUT_START, P_OUT_LENGTH, P_ARRIVED, P_STAGED, P_PARSED = range(8, 16)
PACKET_WORDS = 16
FIRST_DONE, ALL_DONE = 1, 2

# entries[]: 32 bits each, half a cache line. HEADER and MACS are rows of headers[] and macs[]:
# entries with the same outer headers, or MACs to set, share one, which then is in the cache; row 0 is none.
E_ACTION, E_TARGET, E_SUM, E_STAGES, E_CHAIN, E_HEADER, E_MACS, E_SAMPLE = range(8)
ENTRY_WORDS = 8
ACT_DROP, ACT_VPORT, ACT_TUNNEL = 0, 1, 2
# Bits of E_STAGES: one packet in so many (E_SAMPLE) is copied to the VM's coprocessor; all packets go there (E_CHAIN
# says what it does with them). A flow between two VMs of this host has stages of both: the receiver's are the
# same bits, NEXT bits higher, and the upper 16 bits of E_SAMPLE and E_CHAIN.
STAGE_SAMPLE, STAGE_COPROCESSOR = 1, 2
STAGE_NEXT, HALF_BITS, HALF = 2, 16, 0xFFFF

# meta[] of a ring slot.
META_PORT, META_OFFSET, META_LENGTH, META_KIND, META_TUNNEL = 0, 1, 2, 3, 4
META_WORDS = 5
# Of an injected packet: look it up, send it as it is out of META_PORT, or look it up and skip its first VM's stages
# (STAGED + 1: all stages).
INJECT_PROCESS, INJECT_RAW, INJECT_STAGED = 0, 1, 2
# Of a missed packet: no entry, for the host itself (ARP, probe), no entry and its first VM's stages are done (STAGED
# + 1: all stages).
MISS_FLOW, MISS_CONTROL, MISS_STAGED = 0, 1, 2

# Rings beside a port, in each engine's memory: to and from its VM's coprocessor, to and from its VMM.
TO_COPROCESSOR, FROM_COPROCESSOR, TO_VMM, FROM_VMM = range(4)
SIDES = 4
# side_wake[]: eventfd, whether its owner sleeps; of the coprocessor, then of the VMM.
COPROCESSOR_FD, COPROCESSOR_ASLEEP, VMM_FD, VMM_ASLEEP = range(4)
# META_KIND of what goes to a coprocessor: the chain of its flow-table entry, or CHAIN_SAMPLE - chain of a sampled copy;
# of what comes back from there: FIRST_DONE or ALL_DONE.
CHAIN_SAMPLE = -1
# Slots of the ring to a coprocessor that samples leave to packets.
SAMPLE_ROOM = SIDE_SLOTS // 2
# samples[]: of the VM of a port: samples taken, those that found no room.
SAMPLED, SAMPLES_LOST = 0, 1

# Debug elements; control words belong to the control thread but for those of the engine's that are named.
# capture_control[]: how many ports are captured (0: none), bytes kept of a frame, bytes a slot, slots (a power
# of two); the engine's: packets that found the ring full.
CAP_PORTS, CAP_SNAP, CAP_STRIDE, CAP_SLOTS, CAP_LOST = range(5)
# capture_meta[] of a packet: port, event, monotonic ns, length on the wire, bytes kept, where it came in, detail:
# the drop reason, or the flow-table entry it goes out by.
CAPTURED_PORT, CAPTURED_EVENT, CAPTURED_TIME, CAPTURED_LENGTH, CAPTURED_KEPT, CAPTURED_FROM, CAPTURED_DETAIL = range(7)
CAPTURE_WORDS = 8
# Received from the port, sent out of it, sent out of it once cut into frames, dropped by its entry.
EVENT_IN, EVENT_OUT, EVENT_CUT, EVENT_DROP = range(4)
CAPTURE_SLOTS = 8_192  # at most; fewer with a snap length above 512
CAPTURE_BYTES = 1 << 22  # of frames in the capture ring
# sample[]: one packet in EVERY (0: none); the engine's: packets LEFT until then, pool SLOT + 1 of the sampled packet
# (0: none under way), when it was received, whether it found its way out.
SAMPLE_EVERY, SAMPLE_LEFT, SAMPLE_SLOT, SAMPLE_TIME, SAMPLE_ROUTED = range(5)
LATENCY_BUCKETS = 320  # eight to each power of two of ns; the last begins at 69 minutes

# Commands to an engine.
CMD_TABLE, CMD_PORT, CMD_BATCH, CMD_PRIORITY = range(4)

ENGINE_REASONS = (
    "short-frame",
    "malformed-ipv4",
    "vlan",
    "malformed-outer",
    "not-for-this-host",
    "not-geneve",
    "geneve-critical-option",
    "miss-queue-full",
    "vport-down",
    "uplink-down",
    "uncacheable",
    "bad-segment",
    "switch-not-programmed",
    "unnamed-flow",  # by an OpenFlow flow that is not the pipeline's
    "malformed-ipv6",
    "vm-queue-full",
    "coprocessor-queue-full",
    "dos-blocked",  # by a source that a stage had blocked
    "over-capacity",
)
REASONS: tuple[str, ...] = tuple(
    dict.fromkeys(ENGINE_REASONS + tuple(reason for kind in Kind if (reason := drop_reason(kind)) is not None))
)
(
    R_SHORT,
    R_IPV4,
    R_VLAN,
    R_OUTER,
    R_NOT_US,
    R_NOT_GENEVE,
    R_CRITICAL,
    R_MISS_FULL,
    R_VPORT_DOWN,
    R_UPLINK_DOWN,
    R_UNCACHEABLE,
    R_SEGMENT,
    R_UNPROGRAMMED,
    R_UNNAMED,
    R_IPV6,
    R_VM_QUEUE,
    R_COPROCESSOR,
    R_BLOCKED,
    R_CAPACITY,
) = range(len(ENGINE_REASONS))

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


class Tables(NamedTuple):
    """What both engines of a host share: written by the control thread, read by the engines (N = MAX_ENTRIES)."""

    host: I64  # (HOST_WORDS,)
    ports: I64  # (PORTS, PORT_WORDS)
    slots: NDArray[np.int32]  # (2, HASH_SLOTS) entry index + 1; 0 is empty
    keys: I64  # (N, KEY_WORDS), a part of the rows, as are entries and the engines' stats
    entries: NDArray[np.int32]  # (N, ENTRY_WORDS)
    headers: U8  # (N, TEMPLATE_BYTES) outer headers up to the segment option's data, by E_HEADER
    macs: I64  # (N, 2) destination and source MAC to set, by E_MACS
    peers: I64  # (MAX_PEERS,) 1: the peer understands the segment option


class Memory(NamedTuple):
    """All arrays of one engine: the host's tables, then its own (P = PORTS, S = RING_SLOTS)."""

    host: I64
    ports: I64
    slots: NDArray[np.int32]
    keys: I64
    entries: NDArray[np.int32]
    headers: U8
    macs: I64
    peers: I64
    # its own
    ctl: I64  # (CTL_WORDS,)
    pool: U8  # (POOL_SLOTS * SLOT_BYTES,)
    scratch: U8  # (SLOT_BYTES,) one segment cut in software
    free: I64  # (POOL_SLOTS,) pool slots nobody uses; the last one freed is taken first, it is in the cache
    batch: I64  # (POOL_SLOTS,) pool slots of the batch at hand
    packets: I64  # (POOL_SLOTS, PACKET_WORDS)
    packet_keys: I64  # (POOL_SLOTS, KEY_WORDS)
    queues: I64  # (P, VM_QUEUE_SLOTS) pool slots that wait for a VM
    queue_state: I64  # (P, 4) taken, made, ns of recent back-half work, when that was last aged
    stats: I64  # (N, 2) packets and bytes by entry
    drops: I64  # (len(REASONS),)
    port_stats: I64  # (P, 4) rx packets, rx bytes, tx packets, tx bytes
    cpu: I64  # (P, 2) ns of engine time spent for a VM [p, 0]; row 0 is scratch space of the clock
    command_index: I64  # (16,) SPSC: control thread -> engine
    commands: I64  # (COMMAND_SLOTS, 4)
    miss_index: I64  # (16,) SPSC: engine -> control thread
    miss_meta: I64  # (S, META_WORDS)
    miss_data: U8  # (S * SLOT_BYTES,)
    inject_index: I64  # SPSC: control thread -> engine
    inject_meta: I64
    inject_data: U8
    pending: I64  # (P * 2,) misses pushed per port [p], and taken per port [P + p]
    side_index: I64  # (P, SIDES, 16) SPSC: to and from what stands beside a port
    side_meta: I64  # (P, SIDES, SIDE_SLOTS, META_WORDS)
    side_data: U8  # (P, SIDES, SIDE_SLOTS * SLOT_BYTES)
    side_wake: I64  # (P, 4)
    samples: I64  # (P, 2)
    # debug elements
    capture_control: I64  # (16,)
    capture_ports: I64  # (P,) 1: packets of this port are captured
    capture_index: I64  # (16,) SPSC: engine -> writer
    capture_meta: I64  # (CAPTURE_SLOTS, CAPTURE_WORDS)
    capture_data: U8  # (CAPTURE_BYTES,)
    sample: I64  # (16,)
    latency: I64  # (LATENCY_BUCKETS,) sampled packets by time from receive to transmit


COMMAND_SLOTS = 64
_ALIGN = 128  # cache lines that are fetched in pairs
_MAP_NORESERVE = 0x4000  # Linux; most of the memory is room for the worst case and never touched


class Arena:
    """Arrays one after the other in one mapping; untouched pages cost nothing, so sizes are generous.

    Args:
        mapping: where; None only measures. Both sides of a shared mapping lay out alike.
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
    """What the engines of a host share, and the `stats` of each, which stand beside the entries."""
    rows = arena.take((MAX_ENTRIES, ROW_WORDS), np.int64)
    words = 2 * ROW_ENTRY
    tables = Tables(
        host=arena.take(HOST_WORDS, np.int64),
        ports=arena.take((PORTS, PORT_WORDS), np.int64),
        slots=arena.take((2, HASH_SLOTS), np.int32),
        keys=rows[:, :KEY_WORDS],
        entries=rows.view(np.int32)[:, words : words + ENTRY_WORDS],
        headers=arena.take((MAX_ENTRIES, TEMPLATE_BYTES), np.uint8),
        macs=arena.take((MAX_ENTRIES, 2), np.int64),
        peers=arena.take(MAX_PEERS, np.int64),
    )
    return tables, [rows[:, begin : begin + 2] for begin in ROW_STATS]


def _table_bytes() -> int:
    arena = Arena(None)
    _tables(arena)
    return arena.used // mmap.PAGESIZE * mmap.PAGESIZE


def _memory(arena: Arena, tables: Tables, stats: NDArray[Any]) -> Memory:
    i64, u8 = np.int64, np.uint8
    take = arena.take
    return Memory(
        *tables,
        ctl=take(CTL_WORDS, i64),
        pool=take(POOL_SLOTS * SLOT_BYTES, u8),
        scratch=take(SLOT_BYTES, u8),
        free=take(POOL_SLOTS, i64),
        batch=take(POOL_SLOTS, i64),
        packets=take((POOL_SLOTS, PACKET_WORDS), i64),
        packet_keys=take((POOL_SLOTS, KEY_WORDS), i64),
        queues=take((PORTS, VM_QUEUE_SLOTS), i64),
        queue_state=take((PORTS, 4), i64),
        stats=stats,
        drops=take(len(REASONS), i64),
        port_stats=take((PORTS, 4), i64),
        cpu=take((PORTS, 2), i64),
        command_index=take(16, i64),
        commands=take((COMMAND_SLOTS, 4), i64),
        miss_index=take(16, i64),
        miss_meta=take((RING_SLOTS, META_WORDS), i64),
        miss_data=take(RING_SLOTS * SLOT_BYTES, u8),
        inject_index=take(16, i64),
        inject_meta=take((RING_SLOTS, META_WORDS), i64),
        inject_data=take(RING_SLOTS * SLOT_BYTES, u8),
        pending=take(PORTS * 2, i64),
        side_index=take((PORTS, SIDES, 16), i64),
        side_meta=take((PORTS, SIDES, SIDE_SLOTS, META_WORDS), i64),
        side_data=take((PORTS, SIDES, SIDE_SLOTS * SLOT_BYTES), u8),
        side_wake=take((PORTS, 4), i64),
        samples=take((PORTS, 2), i64),
        capture_control=take(16, i64),
        capture_ports=take(PORTS, i64),
        capture_index=take(16, i64),
        capture_meta=take((CAPTURE_SLOTS, CAPTURE_WORDS), i64),
        capture_data=take(CAPTURE_BYTES, u8),
        sample=take(16, i64),
        latency=take(LATENCY_BUCKETS, i64),
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
    """Fresh (egress, ingress) memories of one host.

    Args:
        fd: a memfd of mapping_bytes() to share them with another process; -1: they are this process's own.
    """
    flags = mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mapping = mmap.mmap(fd, mapping_bytes(), flags | _MAP_NORESERVE)
    if fd < 0:
        # Entries are read in random order: with pages of 4 KB each would miss in the TLB, too (paper 4.1).
        with contextlib.suppress(OSError):  # a kernel without them
            mapping.madvise(mmap.MADV_HUGEPAGE, 0, _table_bytes())
    memories = lay_out(mapping)
    for kind, memory in enumerate(memories):
        memory.ctl[CTL_KIND] = kind
        memory.ctl[CTL_BATCH] = BATCH_EGRESS if kind == EGRESS else BATCH_INGRESS
        memory.ctl[CTL_PRIORITY] = 1
        memory.ctl[CTL_DICE] = int.from_bytes(os.urandom(7), "big") | 1
        memory.ctl[CTL_FREE] = POOL_SLOTS
        memory.free[:] = np.arange(POOL_SLOTS)[::-1]
    memories[0].ports[:, PORT_FD] = -1
    memories[0].ports[:, PORT_QUEUES] = 1
    memories[0].host[HOST_NEWS_FD] = memories[0].host[HOST_WAKE_FD] = -1
    memories[0].host[HOST_PORTS] = FIRST_TAP
    for memory in memories:
        memory.side_wake[:, COPROCESSOR_FD] = -1
        memory.side_wake[:, VMM_FD] = -1
    return memories
