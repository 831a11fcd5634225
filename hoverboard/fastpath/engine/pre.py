"""Generation "pre": one process carries all packets of a VM, one at a time, over a UDP socket (paper 5.2).

The process reads its VM's tap and the VM's share of the host's Geneve datagrams, looks flows up and encapsulates in
user space. The kernel handles UDP, IP and Ethernet below. The chains consist of the fast path's elements, with batches
of one packet and without segments. The process serves one queue and sleeps when that is empty.
"""

from __future__ import annotations

import os
import select
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.contract.encapsulation import GENEVE_PORT
from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.account import account
from hoverboard.fastpath.elements.decapsulate import decapsulate_packets
from hoverboard.fastpath.elements.encapsulate import CUT, encapsulate_packets
from hoverboard.fastpath.elements.ethernet import set_ethernet
from hoverboard.fastpath.elements.lookup import look_up
from hoverboard.fastpath.elements.parser import parse_packets
from hoverboard.fastpath.elements.pool import drop, free_slot
from hoverboard.fastpath.elements.receive import describe, vnic_receive
from hoverboard.fastpath.elements.stages import run_stages
from hoverboard.fastpath.elements.transmit import send_packet
from hoverboard.fastpath.elements.vmqueue import deliver, enqueue
from hoverboard.fastpath.engine.commands import notify, run_commands, take_injected
from hoverboard.fastpath.memory import control, host, packets, ports, reasons
from hoverboard.fastpath.memory.arrays import I64, U8, Memory, allocate
from hoverboard.fastpath.packets.parse import put16

# Bytes of Ethernet, IPv4 and UDP headers, which the kernel adds and removes. They are written before a received
# datagram, because decapsulation and flow misses expect a whole frame.
BELOW_BYTES = 42
TURN = 64  # packets of each side between two calls of epoll_wait()
_MSG_DONTWAIT, _AF_INET, _ADDRESS_BYTES = 0x40, 2, 16
# state[]: descriptors, which events carry as their data; CONTROL is readable when the process must end.
S_EPOLL, S_WAKE, S_TAP, S_UDP, S_CONTROL, S_PORT = range(6)
_EVENTS = 8


class Pre(NamedTuple):
    """The words of the process, in addition to its engines' memories."""

    state: I64  # (8,)
    words: I64  # (2,) what is read from the eventfd
    events: NDArray[np.int32]
    address: U8  # struct sockaddr_in of the datagram at hand
    length: NDArray[np.int32]  # (1,) its length


def new(epoll: select.epoll, wake_fd: int, tap: int, udp: int, control: int, port: int) -> Pre:
    """The words of a process; `epoll` is set to watch all the descriptors."""
    for fd in (wake_fd, tap, udp, control):
        epoll.register(fd, select.EPOLLIN)  # events name the descriptor
    made = Pre(
        state=np.zeros(8, np.int64),
        words=np.zeros(2, np.int64),
        events=np.zeros(_EVENTS * syscalls.EVENT_WORDS, np.int32),
        address=np.zeros(_ADDRESS_BYTES, np.uint8),
        length=np.zeros(1, np.int32),
    )
    made.state[:6] = epoll.fileno(), wake_fd, tap, udp, control, port
    return made


@compiled
def receive_datagram(v: Pre, m: Memory) -> int:
    """Receive one Geneve datagram as the frame it came in, without its IPv4 checksum; 0 if there is no datagram."""
    if m.ctl[control.FREE] == 0:
        return 0
    slot = m.free[m.ctl[control.FREE] - 1]
    data = m.pool
    start = slot * packets.SLOT_BYTES + packets.HEADROOM
    v.length[0] = _ADDRESS_BYTES
    n = syscalls.recvfrom(
        np.int32(v.state[S_UDP]), np.uintp(data.ctypes.data) + np.uintp(start + BELOW_BYTES),
        np.uintp(packets.FRAME_MAX - BELOW_BYTES), np.int32(_MSG_DONTWAIT),
        np.uintp(v.address.ctypes.data), np.uintp(v.length.ctypes.data),
    )  # fmt: skip
    if n < 0:
        return 0
    m.ctl[control.FREE] -= 1
    for i in range(12):
        data[start + i] = 0
    put16(data, start + 12, 0x0800)
    data[start + 14] = 0x45
    data[start + 15] = 0
    put16(data, start + 16, n + 28)
    for i in range(18, 26):
        data[start + i] = 0
    data[start + 23] = 17
    local = m.host[host.IP]
    for i in range(4):
        data[start + 26 + i] = v.address[4 + i]
        data[start + 30 + i] = local >> (24 - 8 * i) & 0xFF
    data[start + 34] = v.address[2]
    data[start + 35] = v.address[3]
    put16(data, start + 36, GENEVE_PORT)
    put16(data, start + 38, n + 8)
    put16(data, start + 40, 0)
    describe(m, slot, ports.UPLINK, n + BELOW_BYTES, 0, 0)
    m.port_stats[ports.UPLINK, 0] += 1
    m.port_stats[ports.UPLINK, 1] += n + BELOW_BYTES
    m.batch[0] = slot
    return 1


@compiled
def send_datagram(v: Pre, m: Memory, slot: int) -> None:
    """Send the payload of UDP of the outer frame in `slot` to its IPv4 destination, and free the slot."""
    packet = m.packets[slot]
    outer = packet[packets.OUT_START]
    length = packet[packets.OUT_LENGTH]
    if length == CUT:  # the VM sent a segment, although its NIC does not offer segmentation
        drop(m, slot, reasons.SEGMENT)
        return
    address = v.address
    address[0] = _AF_INET
    address[1] = 0
    put16(address, 2, GENEVE_PORT)
    for i in range(4):
        address[4 + i] = m.pool[outer + 30 + i]
        address[8 + i] = 0
        address[12 + i] = 0
    sent = syscalls.sendto(
        np.int32(v.state[S_UDP]), np.uintp(m.pool.ctypes.data) + np.uintp(outer + BELOW_BYTES),
        np.uintp(length - BELOW_BYTES), np.int32(0), np.uintp(address.ctypes.data), np.uint32(_ADDRESS_BYTES),
    )  # fmt: skip
    if sent < 0:
        drop(m, slot, reasons.UPLINK_DOWN)
        return
    m.port_stats[ports.UPLINK, 2] += 1
    m.port_stats[ports.UPLINK, 3] += length
    free_slot(m, slot)


@compiled
def send_all(v: Pre, m: Memory, n: int) -> None:
    """Send the batch: to the fabric by the socket, to the VM by its tap."""
    for i in range(n):
        slot = m.batch[i]
        if m.packets[slot, packets.OUT] == ports.UPLINK:
            send_datagram(v, m, slot)
        else:
            send_packet(m, slot)


@compiled
def egress(v: Pre, m: Memory, take: bool) -> int:
    """Carry one packet from the VM, or one injected packet, into the fabric; returns how many there were."""
    there = take_injected(m)
    if there == 0 and take:
        there = vnic_receive(m, v.state[S_PORT])
    if there:
        n = parse_packets(m, there)
        n = look_up(m, n)
        n = account(m, n)
        n = run_stages(m, n)
        n = set_ethernet(m, n)
        n = encapsulate_packets(m, n)
        send_all(v, m, n)
        notify(m)
    return there


@compiled
def ingress(v: Pre, m: Memory, take: bool) -> int:
    """Carry one datagram, or one injected packet, to the VM; returns how many there were."""
    there = take_injected(m)
    if there == 0 and take:
        there = receive_datagram(v, m)
    if there:
        n = decapsulate_packets(m, there)
        n = parse_packets(m, n)
        n = look_up(m, n)
        n = account(m, n)
        n = run_stages(m, n)
        n = set_ethernet(m, n)
        n = encapsulate_packets(m, n)
        n = enqueue(m, n)
        send_all(v, m, n)
        notify(m)
    if m.ctl[control.QUEUED]:
        deliver(m, 0)
    return there


def load() -> None:
    """Compile or load run(), for a process that ends at once."""
    memories = allocate()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.write(writer, b"0")
    wake, other, third = (os.eventfd(0, os.EFD_CLOEXEC) for _ in range(3))
    with select.epoll() as epoll:
        run(new(epoll, wake, other, third, reader, 2), *memories)
    for fd in (reader, writer, wake, other, third):
        os.close(fd)


@compiled
def run(v: Pre, out: Memory, into: Memory) -> None:
    """Carry packets until the control socket is readable or closed."""
    state = v.state
    tap = True  # whether tap and socket may have more packets
    udp = True
    while True:
        timeout = 0 if tap or udp else -1
        n = syscalls.epoll_wait(
            np.int32(state[S_EPOLL]), np.uintp(v.events.ctypes.data), np.int32(_EVENTS), np.int32(timeout)
        )  # fmt: skip
        for i in range(n):
            fd = v.events[i * syscalls.EVENT_WORDS + syscalls.EVENT_DATA_WORD]
            if fd == state[S_CONTROL]:
                return
            if fd == state[S_TAP]:
                tap = True
            elif fd == state[S_UDP]:
                udp = True
            else:
                syscalls.read(np.int32(state[S_WAKE]), np.uintp(v.words.ctypes.data), np.uintp(8))
                run_commands(out)
                run_commands(into)
        done = 0
        got = 1
        while got and done < TURN:
            sent = egress(v, out, tap)
            if sent == 0:
                tap = False
            received = ingress(v, into, udp)
            if received == 0:
                udp = False
            got = sent + received
            done += 1
        if got:
            tap = True  # the turn ended before the work: no descriptor announces injected packets
