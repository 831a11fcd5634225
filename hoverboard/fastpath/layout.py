"""Where things lie in the engine's memory: constants shared by its elements, with their reasons.

All state is preallocated NumPy arrays: the engine allocates nothing, locks nothing and raises
nothing (paper section 4.1). Python threads see the same arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.contract.pipeline import Kind, drop_reason

VNET_BYTES = 12  # struct virtio_net_hdr_v1, TUNSETVNETHDRSZ
# Room before a frame for the encapsulation: 12 vnet + 50 outer + 16 segment option = 78, rounded up.
HEADROOM = 128
FRAME_MAX = 65_600  # a 64,000-byte segment with headers, or a 65,521-byte fabric frame
SLOT_BYTES = 65_792  # HEADROOM + FRAME_MAX, rounded up to 64
BATCH_EGRESS, BATCH_INGRESS = 32, 128  # paper section 4.2
# A batch also ends after this many bytes: 32 segments of 64 KB would push each other out of the cache.
BATCH_BYTES = 1 << 16

# Indices in the port arrays; poll() looks at the first ctl[CTL_PORTS] of them.
WAKE, UPLINK, FIRST_TAP = 0, 1, 2
PORTS = 128

RING_SLOTS = 512  # miss and inject rings
MISSES_PER_PORT = 64  # of them, at most this many from one VM, so that one cannot take them all
MISSES_OF_UPLINK = 384  # a busy stream that changes its path misses until its new entry is there

MAX_ENTRIES = 16_384
HASH_SLOTS = 65_536  # load factor 1/4 at most: short probes
KEY_WORDS = 6
MAX_PEERS = 4_096  # index 0 stands for all peers beyond, which get segments cut in software
TEMPLATE_BYTES = 66

# ctl[]: words shared between the engine and its control thread, a cache line apart where it matters.
CTL_EPOCH, CTL_ACK, CTL_STOP, CTL_TABLE, CTL_FIVE, CTL_PORTS = 0, 8, 16, 17, 18, 19
CTL_WORDS = 32

# batch[]: one row a packet. START is where the received frame begins (its vnet header is 12 bytes
# before), FRAME and LENGTH the inner frame, VNET whether a vnet header stands right before FRAME.
B_START, B_FRAME, B_LENGTH, B_VNET, B_INDEX, B_HASH, B_TOTAL = 0, 1, 2, 3, 4, 5, 6
BATCH_WORDS = 8

# Entry actions.
ACT_DROP, ACT_VPORT, ACT_TUNNEL = 0, 1, 2

# meta[] of a ring slot.
META_PORT, META_OFFSET, META_LENGTH, META_KIND = 0, 1, 2, 3
INJECT_PROCESS, INJECT_RAW = 0, 1  # go through the flow table again, or straight out of META_PORT
MISS_FLOW, MISS_CONTROL = 0, 1  # a flow-table miss, or a packet for the host itself (ARP, probe)

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
) = range(14)


class Memory(NamedTuple):
    """All of one engine's arrays (N = MAX_ENTRIES, P = PORTS, S = RING_SLOTS).

    Written by the engine: buf, scratch, drops, port_stats, entry_packets, entry_bytes, entry_used,
    pending_misses (also by the control thread, which only counts down under the ring's protocol).
    """

    ctl: NDArray[np.int64]  # (CTL_WORDS,)
    pollfds: NDArray[np.int64]  # (P,) struct pollfd {int fd; short events, revents} packed in one word
    ofports: NDArray[np.int64]  # (P,) OpenFlow number of each vport
    local_ip: NDArray[np.int64]  # (1,) this host's underlay address
    buf: NDArray[np.uint8]  # (BATCH_INGRESS * SLOT_BYTES,)
    scratch: NDArray[np.uint8]  # (SLOT_BYTES,) one segment cut in software
    batch: NDArray[np.int64]  # (BATCH_INGRESS, BATCH_WORDS)
    batch_keys: NDArray[np.int64]  # (BATCH_INGRESS, KEY_WORDS)
    drops: NDArray[np.int64]  # (len(REASONS),)
    port_stats: NDArray[np.int64]  # (P, 4) rx packets, rx bytes, tx packets, tx bytes
    # flow table
    slots: NDArray[np.int32]  # (2, HASH_SLOTS) entry index + 1; 0 is empty
    keys: NDArray[np.int64]  # (N, KEY_WORDS)
    entry_action: NDArray[np.uint8]  # (N,)
    entry_port: NDArray[np.int64]  # (N,) vport index, or drop reason
    entry_rewrite: NDArray[np.uint8]  # (N, 13) 1 = yes, then destination and source MAC
    entry_template: NDArray[np.uint8]  # (N, TEMPLATE_BYTES) outer headers and segment option
    entry_sum: NDArray[np.int64]  # (N,) one's-complement sum of the outer IPv4 header, lengths 0
    entry_peer: NDArray[np.int64]  # (N,) index into peers
    entry_packets: NDArray[np.int64]  # (N,)
    entry_bytes: NDArray[np.int64]  # (N,)
    peers: NDArray[np.int64]  # (MAX_PEERS,) 1: the peer understands the segment option
    # rings: head (consumer) at [0], tail (producer) at [8]
    miss_index: NDArray[np.int64]  # (16,)
    miss_meta: NDArray[np.int64]  # (S, 4)
    miss_data: NDArray[np.uint8]  # (S * SLOT_BYTES,)
    inject_index: NDArray[np.int64]
    inject_meta: NDArray[np.int64]
    inject_data: NDArray[np.uint8]
    pending: NDArray[np.int64]  # (P * 2,) misses pushed per port [p], and taken per port [P + p]
    wake_fd: NDArray[np.int64]  # (1,) eventfd of the control thread


def allocate() -> Memory:
    """Fresh memory of one engine; untouched pages cost nothing, so the sizes are generous."""
    i64, u8 = np.int64, np.uint8
    entries = MAX_ENTRIES
    memory = Memory(
        ctl=np.zeros(CTL_WORDS, i64),
        pollfds=np.zeros(PORTS, i64),
        ofports=np.zeros(PORTS, i64),
        local_ip=np.zeros(1, i64),
        buf=np.zeros(BATCH_INGRESS * SLOT_BYTES, u8),
        scratch=np.zeros(SLOT_BYTES, u8),
        batch=np.zeros((BATCH_INGRESS, BATCH_WORDS), i64),
        batch_keys=np.zeros((BATCH_INGRESS, KEY_WORDS), i64),
        drops=np.zeros(len(REASONS), i64),
        port_stats=np.zeros((PORTS, 4), i64),
        slots=np.zeros((2, HASH_SLOTS), np.int32),
        keys=np.zeros((entries, KEY_WORDS), i64),
        entry_action=np.zeros(entries, u8),
        entry_port=np.zeros(entries, i64),
        entry_rewrite=np.zeros((entries, 13), u8),
        entry_template=np.zeros((entries, TEMPLATE_BYTES), u8),
        entry_sum=np.zeros(entries, i64),
        entry_peer=np.zeros(entries, i64),
        entry_packets=np.zeros(entries, i64),
        entry_bytes=np.zeros(entries, i64),
        peers=np.zeros(MAX_PEERS, i64),
        miss_index=np.zeros(16, i64),
        miss_meta=np.zeros((RING_SLOTS, 4), i64),
        miss_data=np.zeros(RING_SLOTS * SLOT_BYTES, u8),
        inject_index=np.zeros(16, i64),
        inject_meta=np.zeros((RING_SLOTS, 4), i64),
        inject_data=np.zeros(RING_SLOTS * SLOT_BYTES, u8),
        pending=np.zeros(PORTS * 2, i64),
        wake_fd=np.zeros(1, i64),
    )
    memory.pollfds[:] = 0xFFFFFFFF  # fd -1: poll() passes over it
    return memory
