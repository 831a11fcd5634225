"""A VM's VMM thread (Andromeda 2.0, paper 5.2): it owns the virtual NIC and exchanges packets with the engines.

VM to engine: the thread reads the tap directly into the ring FROM_VMM of the egress engine. Engine to VM: both
engines have a ring TO_VMM. Each transfer wakes a sleeping thread; generation 2.1 avoids that.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.atomics import fence, load_acquire, store_release
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.threads import PRIORITY
from hoverboard.fastpath.memory import control, packets, rings
from hoverboard.fastpath.memory.arrays import I64, U8
from hoverboard.fastpath.packets.parse import Bytes, Words
from hoverboard.fastpath.packets.ring import CONSUMED, PRODUCED, release, slot_at, waiting

# state[]: READY: the tap may have more packets. FULL: the last read found no room in the ring.
# TAKEN, GIVEN: packets from and to the VM. LOST: packets that the tap did not accept.
V_STOP, V_TAP, V_EPOLL, V_WAKE, V_ENGINE, V_PORT, V_READY, V_FULL = range(8)
V_TAKEN, V_GIVEN, V_LOST, V_SLEEPS = 8, 9, 10, 11
STATE_WORDS = 16
TURN = 32  # packets from the VM before the thread wakes the engine and serves the other direction
_FULL_MS = 1  # how long to wait for room in the engine's ring: the engine does not announce it
_EVENTS = 4


class Vmm(NamedTuple):
    """The words of a VMM thread, and its VM's rings in the engines' memories."""

    state: I64  # (STATE_WORDS,)
    words: I64  # (2,) what is read from and written to eventfds
    events: NDArray[np.int32]
    out_index: I64  # FROM_VMM of the egress engine
    out_meta: I64
    out_data: U8
    egress_index: I64  # TO_VMM of the egress engine: from VMs of the same host
    egress_meta: I64
    egress_data: U8
    egress_wake: I64  # (4,) side_wake[] of the port
    ingress_index: I64  # TO_VMM of the ingress engine
    ingress_meta: I64
    ingress_data: U8
    ingress_wake: I64


@compiled
def from_guest(v: Vmm) -> int:
    """Read the tap into the egress engine's ring, at most a turn; returns how many packets."""
    state = v.state
    made = v.out_index[PRODUCED]
    room = rings.SIDE_SLOTS - (made - load_acquire(v.out_index, CONSUMED))
    base = np.uintp(v.out_data.ctypes.data) + np.uintp(packets.HEADROOM - packets.VNET_BYTES)
    count = 0
    total = 0
    state[V_FULL] = room == 0
    while count < room and count < TURN and total < control.BATCH_BYTES:
        at = made & (rings.SIDE_SLOTS - 1)
        n = syscalls.read(
            np.int32(state[V_TAP]),
            base + np.uintp(at * packets.SLOT_BYTES),
            np.uintp(packets.FRAME_MAX + packets.VNET_BYTES),
        )
        if n <= packets.VNET_BYTES:
            state[V_READY] = 0
            break
        meta = v.out_meta[at]
        meta[rings.PORT] = state[V_PORT]
        meta[rings.OFFSET] = packets.HEADROOM - packets.VNET_BYTES
        meta[rings.LENGTH] = n
        meta[rings.KIND] = 0
        meta[rings.TUNNEL] = 0
        made += 1
        store_release(v.out_index, PRODUCED, made)
        count += 1
        total += n
    state[V_TAKEN] += count
    return count


@compiled
def to_guest(v: Vmm, index: Words, meta: Words, data: Bytes) -> int:
    """Write the packets of an engine's ring to the tap; returns how many."""
    count = 0
    there = waiting(index)
    while count < there:
        at = slot_at(index, meta)
        begin = np.uintp(data.ctypes.data) + np.uintp(at * packets.SLOT_BYTES + meta[at, rings.OFFSET])
        if syscalls.write(np.int32(v.state[V_TAP]), begin, np.uintp(meta[at, rings.LENGTH])) < 0:
            v.state[V_LOST] += 1
        release(index)
        count += 1
    v.state[V_GIVEN] += count
    return count


@compiled
def announce_sleep(v: Vmm) -> bool:
    """Announce to both engines that this thread goes to sleep; False if a ring has packets after all."""
    v.egress_wake[rings.VMM_ASLEEP] = 1
    v.ingress_wake[rings.VMM_ASLEEP] = 1
    fence()
    return waiting(v.egress_index) == 0 and waiting(v.ingress_index) == 0


@compiled
def wait_for_events(v: Vmm, timeout: int) -> None:
    """Wait until the tap or an engine has packets, for at most `timeout` ms (-1: without a limit)."""
    n = syscalls.epoll_wait(
        np.int32(v.state[V_EPOLL]), np.uintp(v.events.ctypes.data), np.int32(_EVENTS), np.int32(timeout)
    )  # fmt: skip
    for i in range(n):
        if v.events[i * syscalls.EVENT_WORDS + syscalls.EVENT_DATA_WORD] == v.state[V_TAP]:
            v.state[V_READY] = 1
        else:
            syscalls.read(np.int32(v.state[V_WAKE]), np.uintp(v.words.ctypes.data), np.uintp(8))


@compiled
def run(v: Vmm) -> None:
    """Carry packets until V_STOP is set and the thread is woken."""
    state = v.state
    while not load_acquire(state, V_STOP):
        work = to_guest(v, v.ingress_index, v.ingress_meta, v.ingress_data)
        work += to_guest(v, v.egress_index, v.egress_meta, v.egress_data)
        if state[V_READY]:
            taken = from_guest(v)
            if taken:
                v.words[0] = 1
                syscalls.write(np.int32(state[V_ENGINE]), np.uintp(v.words.ctypes.data), np.uintp(8))
            work += taken
        if work:
            wait_for_events(v, 0)
            continue
        if announce_sleep(v):
            state[V_SLEEPS] += 1
            wait_for_events(v, _FULL_MS if state[V_READY] and state[V_FULL] else -1)
        v.egress_wake[rings.VMM_ASLEEP] = 0
        v.ingress_wake[rings.VMM_ASLEEP] = 0


class VmmThread:
    """The VMM of one VM. It runs until close(); methods are for the control thread.

    Args:
        datapath: the host's engines; the VM's port becomes a ring.
        port, ofport: the port's number in the engines and in the switch.
        tap: the virtual NIC, with virtio-net headers; the thread uses a duplicate.
    """

    def __init__(self, datapath: Datapath, port: int, ofport: int, tap: int) -> None:
        self._datapath = datapath
        self._port = port
        self._tap = os.dup(tap)
        os.set_blocking(self._tap, False)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        egress, ingress = datapath.memories
        self._vmm = Vmm(
            state=np.zeros(STATE_WORDS, np.int64),
            words=np.zeros(2, np.int64),
            events=np.zeros(_EVENTS * syscalls.EVENT_WORDS, np.int32),
            out_index=egress.side_index[port, rings.FROM_VMM],
            out_meta=egress.side_meta[port, rings.FROM_VMM],
            out_data=egress.side_data[port, rings.FROM_VMM],
            egress_index=egress.side_index[port, rings.TO_VMM],
            egress_meta=egress.side_meta[port, rings.TO_VMM],
            egress_data=egress.side_data[port, rings.TO_VMM],
            egress_wake=egress.side_wake[port],
            ingress_index=ingress.side_index[port, rings.TO_VMM],
            ingress_meta=ingress.side_meta[port, rings.TO_VMM],
            ingress_data=ingress.side_data[port, rings.TO_VMM],
            ingress_wake=ingress.side_wake[port],
        )
        state = self._vmm.state
        state[V_TAP], state[V_EPOLL], state[V_WAKE] = self._tap, self._epoll.fileno(), self._wake_fd
        state[V_ENGINE], state[V_PORT], state[V_READY] = datapath.wake_fd, port, 1
        try:
            for fd in (self._tap, self._wake_fd):
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)  # events name the descriptor
            datapath.set_ring(port, self._wake_fd, ofport)
        except BaseException:
            self._close_descriptors()
            raise
        self._thread = threading.Thread(target=self._run, name=f"vmm-{port}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(PermissionError):  # not root: the thread runs at normal priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        run(self._vmm)

    @property
    def lost(self) -> int:
        """Packets that the tap did not accept."""
        return int(self._vmm.state[V_LOST])

    def cpu_seconds(self) -> float:
        """CPU time of this thread so far: the cost of the VMM, charged to the VM."""
        if self._thread.ident is None or not self._thread.is_alive():
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def close(self) -> None:
        """Stop the thread, remove the port from the engines, and close all descriptors."""
        self._vmm.state[V_STOP] = 1
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        self._datapath.clear_port(self._port)
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        self._epoll.close()
        os.close(self._wake_fd)
        os.close(self._tap)


def load() -> None:
    """Compile or load run(), without a NIC, in a thread that ends at once."""
    datapath = Datapath()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    VmmThread(datapath, 2, 100, reader).close()
    datapath.stop()
    for fd in (reader, writer):
        os.close(fd)


__all__ = ["TURN", "Vmm", "VmmThread", "load", "run"]
