"""Ways out of the engine: to a VM's tap, through the tunnel, or to the control thread (paper figures 6, 7).

Everything here works on one packet whose inner frame and virtio-net header stand in `data`; the
flow-table entry `row` says what to do.
"""

from __future__ import annotations

import numpy as np

from hoverboard.contract.encapsulation import OUTER_BYTES
from hoverboard.fastpath import ring, segment, syscalls
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.geneve import encapsulate
from hoverboard.fastpath.layout import (
    HEADROOM,
    MISSES_OF_UPLINK,
    MISSES_PER_PORT,
    PORTS,
    R_MISS_FULL,
    R_SEGMENT,
    R_UPLINK_DOWN,
    R_VPORT_DOWN,
    UPLINK,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import Bytes
from hoverboard.fastpath.segment import V_CSUM_OFFSET, V_CSUM_START, V_FLAGS, V_GSO_SIZE, V_GSO_TYPE


@compiled
def port_fd(m: Memory, port: int) -> int:
    """The file descriptor of a port, or -1."""
    value = m.pollfds[port] & 0xFFFFFFFF
    return value if value < 0x80000000 else -1


@compiled
def transmit(m: Memory, port: int, data: Bytes, at: int, length: int, reason: int) -> None:
    """Write the frame at data[at:at+length], preceded by its virtio-net header, to a tap."""
    base = np.uintp(data.ctypes.data) + np.uintp(at - VNET_BYTES)
    if syscalls.write(np.int32(port_fd(m, port)), base, np.uintp(length + VNET_BYTES)) < 0:
        m.drops[reason] += 1
        return
    m.port_stats[port, 2] += 1
    m.port_stats[port, 3] += length


@compiled
def clear_vnet(data: Bytes, frame: int) -> None:
    """An all-zero virtio-net header: a complete, checksummed packet."""
    for i in range(VNET_BYTES):
        data[frame - VNET_BYTES + i] = 0


@compiled
def to_vport(m: Memory, data: Bytes, frame: int, length: int, row: int) -> None:
    """Deliver to a local VM."""
    transmit(m, m.entry_port[row], data, frame, length, R_VPORT_DOWN)


@compiled
def to_tunnel(m: Memory, data: Bytes, frame: int, length: int, row: int, entropy: int) -> None:
    """Encapsulate and send to the entry's peer, as one segment if the peer can take it."""
    tos = np.int64(data[frame + 15] & 3)
    vnet = frame - VNET_BYTES
    unfinished = data[vnet + V_FLAGS] & segment.NEEDS_CSUM or data[vnet + V_GSO_TYPE]
    if not unfinished:
        outer = encapsulate(m, data, frame, length, row, False, entropy, tos)
        transmit(m, UPLINK, data, outer, length + frame - outer, R_UPLINK_DOWN)
    elif m.peers[m.entry_peer[row]]:
        outer = encapsulate(m, data, frame, length, row, True, entropy, tos)
        transmit(m, UPLINK, data, outer, length + frame - outer, R_UPLINK_DOWN)
    elif data[vnet + V_GSO_TYPE] == 0:
        if segment.complete_checksum(data, frame, length):
            outer = encapsulate(m, data, frame, length, row, False, entropy, tos)
            transmit(m, UPLINK, data, outer, length + frame - outer, R_UPLINK_DOWN)
        else:
            m.drops[R_SEGMENT] += 1
    else:
        to_tunnel_cut(m, data, frame, length, row, entropy, tos)


@compiled
def to_tunnel_cut(m: Memory, data: Bytes, frame: int, length: int, row: int, entropy: int, tos: int) -> None:
    """Cut a segment into MTU-sized packets in software and send each."""
    headers = segment.headers_length(data, frame, length)
    if headers < 0:
        m.drops[R_SEGMENT] += 1
        return
    size = segment.le16(data, frame - VNET_BYTES + V_GSO_SIZE)
    payload = length - headers
    done = 0
    while done < payload:
        take = min(size, payload - done)
        n = segment.cut(data, frame, headers, done, take, done + take == payload, m.scratch, HEADROOM)
        outer = encapsulate(m, m.scratch, HEADROOM, n, row, False, entropy, tos)
        transmit(m, UPLINK, m.scratch, outer, n + OUTER_BYTES, R_UPLINK_DOWN)
        done += take


@compiled
def to_control(m: Memory, port: int, data: Bytes, start: int, length: int, kind: int) -> bool:
    """Queue a whole received frame (with its virtio-net header) for the control thread.

    At most MISSES_PER_PORT of one VM may wait, so that one VM's flood of new flows cannot starve
    the others of the ring (paper section 6.1).
    """
    allowed = MISSES_OF_UPLINK if port == UPLINK else MISSES_PER_PORT
    if m.pending[port] - m.pending[PORTS + port] >= allowed or not ring.push(
        m.miss_index, m.miss_meta, m.miss_data, port, HEADROOM - VNET_BYTES, kind,
        data, start - VNET_BYTES, length + VNET_BYTES,
    ):  # fmt: skip
        m.drops[R_MISS_FULL] += 1
        return False
    m.pending[port] += 1
    return True


__all__ = ["V_CSUM_OFFSET", "V_CSUM_START", "clear_vnet", "port_fd", "to_control", "to_tunnel", "to_vport", "transmit"]
