"""The engine: one thread that moves packets between taps and the uplink, a batch at a time (paper 4.2).

A pass is: receive a batch, parse and look up all of it, then act on all of it. The loop runs in
compiled code without the interpreter lock, never blocks on Python, and sleeps in poll() soon after
a pass that found nothing: on machines where engines share cores with their guests, polling without
sleep made round trips ten times longer.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time

import numpy as np

from hoverboard.contract.pipeline import TUNNEL_PORT
from hoverboard.fastpath import ring, syscalls
from hoverboard.fastpath.atomics import load_acquire, store_release
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.egress import clear_vnet, port_fd, to_control, to_tunnel, to_vport, transmit
from hoverboard.fastpath.flowtable import find
from hoverboard.fastpath.geneve import FOR_HOST, decapsulate
from hoverboard.fastpath.layout import (
    ACT_DROP,
    ACT_VPORT,
    B_FRAME,
    B_HASH,
    B_INDEX,
    B_LENGTH,
    B_START,
    B_TOTAL,
    B_VNET,
    BATCH_BYTES,
    BATCH_EGRESS,
    BATCH_INGRESS,
    CTL_ACK,
    CTL_EPOCH,
    CTL_FIVE,
    CTL_PORTS,
    CTL_STOP,
    CTL_TABLE,
    FIRST_TAP,
    FRAME_MAX,
    HEADROOM,
    INJECT_RAW,
    META_KIND,
    META_LENGTH,
    META_PORT,
    MISS_CONTROL,
    MISS_FLOW,
    PORTS,
    R_VPORT_DOWN,
    SLOT_BYTES,
    UPLINK,
    VNET_BYTES,
    WAKE,
    Memory,
    allocate,
)
from hoverboard.fastpath.packet import FIVE, PARSED, Bytes, mix, parse

_MISS = -1  # B_INDEX of a packet that no entry covers
_DONE = -2  # ... that needs nothing more
POLLIN = 1
# Before it sleeps the engine looks this often for more, some 10 us in all: the next segment of a stream
# comes within that. It does not yield in between: a thread that yields is served late afterwards.
LOOKS = 12
# Nice level of the engine's thread: what the paper gets from a reserved CPU, prompt service, as far as
# two shared cores have it. The same that distributions give ovs-vswitchd.
PRIORITY = -10


@compiled
def receive(m: Memory, port: int, batch: int) -> int:
    """Read frames from a tap until it is empty or the batch is full; fill rows 0..n of m.batch."""
    fd = np.int32(port_fd(m, port))
    base = np.uintp(m.buf.ctypes.data)
    count = 0
    total = 0
    while count < batch and total < BATCH_BYTES:
        start = count * SLOT_BYTES + HEADROOM
        n = syscalls.read(fd, base + np.uintp(start - VNET_BYTES), np.uintp(FRAME_MAX + VNET_BYTES))
        if n <= VNET_BYTES:
            break
        m.batch[count, B_START] = start
        m.batch[count, B_TOTAL] = n - VNET_BYTES
        total += n
        count += 1
    m.port_stats[port, 0] += count
    m.port_stats[port, 1] += total - count * VNET_BYTES
    return count


@compiled
def classify(m: Memory, data: Bytes, port: int, row: int) -> None:
    """Decapsulate (uplink), parse and look up one packet; sets B_INDEX of m.batch[row]."""
    packet = m.batch[row]
    key = m.batch_keys[row]
    start = packet[B_START]
    packet[B_INDEX] = _DONE
    if port == UPLINK:
        verdict, tunnel = decapsulate(data, start, packet[B_TOTAL], m.local_ip[0], packet)
        if verdict >= 0:
            m.drops[verdict] += 1
            return
        if verdict == FOR_HOST:
            to_control(m, port, data, start, packet[B_TOTAL], MISS_CONTROL)
            return
        in_port = TUNNEL_PORT
    else:
        packet[B_FRAME] = start
        packet[B_LENGTH] = packet[B_TOTAL]
        packet[B_VNET] = 1
        tunnel = 0
        in_port = m.ofports[port]
    parsed = parse(data, packet[B_FRAME], packet[B_LENGTH], in_port, tunnel, key)
    if parsed >= 0:
        m.drops[parsed] += 1
        return
    table = m.ctl[CTL_TABLE]
    hashed = mix(key, 0, 0)
    packet[B_HASH] = hashed ^ key[5] ^ key[5] >> 16
    index = find(m.slots, table, m.keys, key, 0, 0, hashed)
    if index < 0 and m.ctl[CTL_FIVE] and parsed == PARSED:
        index = find(m.slots, table, m.keys, key, key[5], FIVE, mix(key, key[5], FIVE))
    packet[B_INDEX] = index  # -1, as find() says it, is _MISS


@compiled
def act(m: Memory, data: Bytes, port: int, row: int) -> bool:
    """Do what the entry of m.batch[row] says; True if the packet went to the control thread."""
    packet = m.batch[row]
    index = packet[B_INDEX]
    if index == _DONE:
        return False
    if index == _MISS:
        return to_control(m, port, data, packet[B_START], packet[B_TOTAL], MISS_FLOW)
    frame = packet[B_FRAME]
    length = packet[B_LENGTH]
    m.entry_packets[index] += 1
    m.entry_bytes[index] += length
    action = m.entry_action[index]
    if action == ACT_DROP:
        m.drops[m.entry_port[index]] += 1
        return False
    if not packet[B_VNET]:
        clear_vnet(data, frame)
    if m.entry_rewrite[index, 0]:
        for i in range(12):
            data[frame + i] = m.entry_rewrite[index, 1 + i]
    if action == ACT_VPORT:
        to_vport(m, data, frame, length, index)
    else:
        to_tunnel(m, data, frame, length, index, packet[B_HASH])
    return False


@compiled
def wake_control(m: Memory) -> None:
    """Write 1 to the control thread's eventfd (the start of scratch is borrowed as its source)."""
    for i in range(8):
        m.scratch[i] = 0
    m.scratch[0] = 1
    syscalls.write(np.int32(m.wake_fd[0]), np.uintp(m.scratch.ctypes.data), np.uintp(8))


@compiled
def injected(m: Memory) -> bool:
    """Take what the control thread put in the inject ring; True if a packet missed again."""
    missed = False
    for _ in range(ring.waiting(m.inject_index)):
        slot = ring.slot_at(m.inject_index)
        port = m.inject_meta[slot, META_PORT]
        start = slot * SLOT_BYTES + HEADROOM
        length = m.inject_meta[slot, META_LENGTH] - VNET_BYTES
        if m.inject_meta[slot, META_KIND] == INJECT_RAW:
            transmit(m, port, m.inject_data, start, length, R_VPORT_DOWN)
        else:
            m.batch[0, B_START] = start
            m.batch[0, B_TOTAL] = length
            classify(m, m.inject_data, port, 0)
            if act(m, m.inject_data, port, 0):
                missed = True
        ring.release(m.inject_index)
    return missed


@compiled
def drain_eventfd(m: Memory) -> None:
    """Reset the engine's eventfd."""
    syscalls.read(np.int32(port_fd(m, WAKE)), np.uintp(m.scratch.ctypes.data), np.uintp(8))


@compiled
def serve(m: Memory, port: int, batch: int) -> bool:
    """One batch from one port; True if the control thread has something to do."""
    before = m.miss_index[ring.MADE]
    count = receive(m, port, batch)
    for row in range(count):
        classify(m, m.buf, port, row)
    for row in range(count):
        act(m, m.buf, port, row)
    return m.miss_index[ring.MADE] != before


@compiled
def run(m: Memory, timeout_ms: int) -> int:
    """The engine's loop, until ctl[CTL_STOP]; sleeps at most `timeout_ms` (-1: until woken).

    Returns the number of passes.
    """
    passes = 0
    looks = 0
    fds = np.uintp(m.pollfds.ctypes.data)
    epoch = np.int64(0)
    while True:
        asked = load_acquire(m.ctl, CTL_EPOCH)
        if asked != epoch:
            # Past this store the engine looks only at the table that ctl[CTL_TABLE] names.
            epoch = asked
            store_release(m.ctl, CTL_ACK, epoch)
            wake_control(m)
        if m.ctl[CTL_STOP]:
            return passes
        ready = syscalls.poll(fds, np.uintp(m.ctl[CTL_PORTS]), np.int32(0 if looks else timeout_ms))
        if ready <= 0:
            if looks:
                looks -= 1
            continue
        looks = LOOKS
        passes += 1
        news = False
        if m.pollfds[WAKE] >> 48 & POLLIN:
            drain_eventfd(m)
        if ring.waiting(m.inject_index):
            news |= injected(m)
        if m.pollfds[UPLINK] >> 48 & POLLIN:
            news |= serve(m, UPLINK, BATCH_INGRESS)
        for port in range(FIRST_TAP, m.ctl[CTL_PORTS]):
            if m.pollfds[port] >> 48 & POLLIN:
                news |= serve(m, port, BATCH_EGRESS)
        if news:
            wake_control(m)


class Engine:
    """Owns the memory and the thread of one engine; all methods are for the control thread.

    The engine's own descriptors are duplicates: closing the caller's copy is harmless.
    """

    def __init__(self) -> None:
        self.memory = allocate()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # the control thread polls this one
        self._engine_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.memory.wake_fd[0] = self.wake_fd
        self.memory.ctl[CTL_PORTS] = FIRST_TAP
        self._poll(WAKE, self._engine_fd)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread; the first call in a process without a warm cache compiles for a while."""
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(PermissionError):  # not root: the engine runs like anybody else
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        run(self.memory, -1)

    def stop(self) -> None:
        """Stop the thread and close the engine's descriptors."""
        self.memory.ctl[CTL_STOP] = 1
        self.wake()
        self._thread.join()
        for port in range(PORTS):
            fd = int(self.memory.pollfds[port] & 0xFFFFFFFF)
            if fd < 0x80000000:
                self.memory.pollfds[port] = 0xFFFFFFFF
                os.close(fd)
        os.close(self.wake_fd)

    def wake(self) -> None:
        """Make the engine start a pass."""
        os.eventfd_write(self._engine_fd, 1)

    def synchronise(self, timeout: float = 5.0) -> None:
        """Return once the engine has begun a pass that sees all writes made before this call."""
        ctl = self.memory.ctl
        if not self._thread.is_alive():
            return
        asked = int(ctl[CTL_EPOCH]) + 1
        ctl[CTL_EPOCH] = asked
        self.wake()
        deadline = time.monotonic() + timeout
        while int(ctl[CTL_ACK]) < asked:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the engine did not answer within {timeout:g} s")
            select.select([self.wake_fd], [], [], 0.001)
            self.clear_wake(keep=True)

    def clear_wake(self, keep: bool = False) -> None:
        """Reset the control thread's eventfd; with `keep`, have it fire again if misses wait."""
        try:
            os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            return
        if keep and ring.waiting(self.memory.miss_index):
            os.eventfd_write(self.wake_fd, 1)
            os.sched_yield()

    def _poll(self, port: int, fd: int) -> None:
        self.memory.pollfds[port] = fd & 0xFFFFFFFF | POLLIN << 32

    def set_port(self, port: int, fd: int, ofport: int = 0) -> None:
        """Plug a duplicate of `fd` (a non-blocking tap with virtio-net headers) in as `port`."""
        copy = os.dup(fd)
        os.set_blocking(copy, False)
        self.memory.ofports[port] = ofport
        self._poll(port, copy)
        self.memory.ctl[CTL_PORTS] = max(int(self.memory.ctl[CTL_PORTS]), port + 1)
        self.wake()

    def clear_port(self, port: int) -> None:
        """Unplug a port; its descriptor is closed once the engine cannot be using it."""
        fd = int(self.memory.pollfds[port] & 0xFFFFFFFF)
        self.memory.pollfds[port] = 0xFFFFFFFF
        self.synchronise()
        if fd < 0x80000000:
            os.close(fd)

    def inject(self, port: int, frame: bytes, kind: int, timeout: float = 1.0) -> bool:
        """Give the engine a frame with its virtio-net header; False if the ring stays full."""
        data = np.frombuffer(bytearray(frame), np.uint8)  # writable: the type push() is compiled for
        m = self.memory
        deadline = time.monotonic() + timeout
        while not ring.push(
            m.inject_index, m.inject_meta, m.inject_data, port, HEADROOM - VNET_BYTES, kind, data, 0, len(frame)
        ):
            if time.monotonic() > deadline:
                return False
            self.wake()
            os.sched_yield()
        self.wake()
        return True
