"""Transmit: sends packets to the fabric or to a VM (figures 6, 7: NIC Tx queues, VM Rx queues, their Hash Demux)."""

from __future__ import annotations

import numpy as np

from hoverboard.contract.encapsulation import OUTER_BYTES
from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.atomics import fence
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import write_eventfd
from hoverboard.fastpath.elements.encapsulate import CUT, ecn_of, entropy_of
from hoverboard.fastpath.elements.pool import free_slot
from hoverboard.fastpath.memory import packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring, segment
from hoverboard.fastpath.packets.geneve import encapsulate
from hoverboard.fastpath.packets.parse import Bytes
from hoverboard.fastpath.packets.segment import V_GSO_SIZE


@compiled
def send_ring(m: Memory, port: int, data: Bytes, at: int, length: int) -> bool:
    """Put a frame into the ring of a port without a descriptor; False when the ring is full."""
    if not ring.push(
        m.side_index[port, rings.TO_VMM], m.side_meta[port, rings.TO_VMM], m.side_data[port, rings.TO_VMM],
        port, packets.HEADROOM - packets.VNET_BYTES, 0, 0, data, at - packets.VNET_BYTES, length + packets.VNET_BYTES,
    ):  # fmt: skip
        return False
    wake = m.side_wake[port]
    if wake[rings.VMM_FD] >= 0:
        fence()
        if wake[rings.VMM_ASLEEP]:
            wake[rings.VMM_ASLEEP] = 0
            write_eventfd(m, wake[rings.VMM_FD])
    return True


@compiled
def send(m: Memory, port: int, data: Bytes, at: int, length: int) -> None:
    """Send the frame data[at:at+length], with the virtio-net header before it, out of `port`."""
    if m.ports[port, ports.KIND] == ports.KIND_RING:
        sent = send_ring(m, port, data, at, length)
    else:
        base = np.uintp(data.ctypes.data) + np.uintp(at - packets.VNET_BYTES)
        sent = syscalls.write(np.int32(m.ports[port, ports.FD]), base, np.uintp(length + packets.VNET_BYTES)) >= 0
    if sent:
        m.port_stats[port, 2] += 1
        m.port_stats[port, 3] += length
    else:
        m.drops[reasons.UPLINK_DOWN if port == ports.UPLINK else reasons.VPORT_DOWN] += 1


@compiled
def send_cut(m: Memory, slot: int) -> None:
    """Cut a segment into MTU-sized packets in software, and send each through the tunnel."""
    packet = m.packets[slot]
    frame = packet[packets.FRAME]
    length = packet[packets.LENGTH]
    headers = segment.headers_length(m.pool, frame, length)
    if headers < 0:
        m.drops[reasons.SEGMENT] += 1
        return
    size = segment.le16(m.pool, frame - packets.VNET_BYTES + V_GSO_SIZE)
    payload = length - headers
    tos = ecn_of(m, frame)
    done = 0
    while done < payload:
        take = min(size, payload - done)
        n = segment.cut(m.pool, frame, headers, done, take, done + take == payload, m.scratch, packets.HEADROOM)
        outer = encapsulate(m, m.scratch, packets.HEADROOM, n, packet[packets.INDEX], False, entropy_of(packet), tos)
        send(m, ports.UPLINK, m.scratch, outer, n + OUTER_BYTES)
        done += take


@compiled
def send_packet(m: Memory, slot: int) -> None:
    """Send the packet in `slot` as its OUT words describe, and free the slot."""
    packet = m.packets[slot]
    if packet[packets.OUT_LENGTH] == CUT:
        send_cut(m, slot)
    else:
        port = packet[packets.OUT]
        queues = m.ports[port, ports.QUEUES]
        if queues > 1:  # all packets of a flow use one queue of a multi-queue NIC
            port += (packet[packets.HASH] >> 8 & 0xFFFF) % queues
        send(m, port, m.pool, packet[packets.OUT_START], packet[packets.OUT_LENGTH])
    free_slot(m, slot)


@compiled
def transmit(m: Memory, n: int) -> int:
    """Send the whole batch."""
    for i in range(n):
        send_packet(m, m.batch[i])
    return 0
