"""Rings between a VM's coprocessor thread and the two engines, as the worker's source, sink and doorbell.

The engines push packets that a flow-table entry diverts, and look returned packets up without their stages (paper
section 4.4). Each ring has one producer and one consumer; after close() the thread touches none of them.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np

from hoverboard.coprocessor.doorbell import Doorbell
from hoverboard.coprocessor.stage import Direction, Packet
from hoverboard.fastpath.memory import control, packets, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring

RING_FULL, TOO_LONG = "coprocessor-return-full", "coprocessor-frame-too-long"
_SPARE = 128  # bytes behind a frame, so that encryption finds room for its trailer
# How long a thread waits for room on the way back before it drops a packet of its VM: 20 x 0.25 ms.
_TRIES, _PAUSE = 20, 0.00025


class DivertedFlow(NamedTuple):
    """Facts about packets that a flow-table entry diverts, by the number in that entry."""

    chain: int
    direction: Direction
    vni: int
    peer: IPv4Address | None
    relayed: bool  # the peer is a Hoverboard: the host behind it is not known
    sampled: int = 0  # the chain that gets samples
    every: int = 0  # a sample is one packet in so many


class Ticket(NamedTuple):
    """The engine and port to which a packet has to return."""

    engine: int
    port: int
    tunnel: int
    done: int  # FIRST_DONE or ALL_DONE


class RingSource:
    """Packets that the engines diverted for the VM of one port; the worker's Source.

    Args:
        flows: by number; grows, and items never change.
        before: called at the start of each take(), in the worker's thread.
    """

    def __init__(
        self,
        memories: Sequence[Memory],
        port: int,
        flows: Sequence[DivertedFlow],
        before: Callable[[], None],
        lock: threading.Lock,
    ) -> None:
        side = rings.TO_COPROCESSOR
        self._rings = [(m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side]) for m in memories]
        self._bytes = [memoryview(data) for _index, _meta, data in self._rings]
        self._flows = flows
        self._before = before
        self._lock = lock
        self._first = 0
        self.closed = False

    def take(self, limit: int) -> list[Packet]:
        """Take at most `limit` packets, or some 64 KB of them, from both engines in turn (worker.Source)."""
        self._before()
        taken: list[Packet] = []
        with self._lock:
            if self.closed:
                return taken
            self._first ^= 1
            room = control.BATCH_BYTES
            for engine in (self._first, 1 - self._first):
                room = self._take(engine, limit, room, taken)
        return taken

    def _take(self, engine: int, limit: int, room: int, taken: list[Packet]) -> int:
        index, meta, _data = self._rings[engine]
        store = self._bytes[engine]
        for _ in range(min(int(ring.waiting(index)), limit - len(taken))):
            if room <= 0:
                break
            at = int(ring.slot_at(index, meta))
            words = meta[at].tolist()
            kind, length = words[rings.KIND], words[rings.LENGTH]
            begin = at * packets.SLOT_BYTES + words[rings.OFFSET]
            end = begin + length
            # Bytes behind the frame are copied, too, and cut off: their room stays in the buffer.
            frame = bytearray(store[begin + packets.VNET_BYTES : end + _SPARE])
            del frame[length - packets.VNET_BYTES :]
            copied = kind <= rings.CHAIN_SAMPLE
            flow = self._flows[rings.CHAIN_SAMPLE - kind if copied else kind]
            # A sending VM's stages come first; a receiving VM's are always the last.
            done = packets.FIRST_DONE if flow.direction == "egress" else packets.ALL_DONE
            packet = Packet(
                frame,
                vnet=bytes(store[begin : begin + packets.VNET_BYTES]),
                direction=flow.direction,
                vni=flow.vni,
                peer=flow.peer,
                chain=flow.sampled if copied else flow.chain,
                ticket=None if copied else Ticket(engine, words[rings.PORT], words[rings.TUNNEL], done),
            )
            packet.relayed = flow.relayed
            packet.sample = flow.every if copied else 0
            taken.append(packet)
            ring.release(index)
            room -= length
        return room

    def close(self) -> None:
        """Give the worker no more packets."""
        with self._lock:
            self.closed = True

    def drain(self) -> int:
        """Drop waiting packets, after the engines stopped pushing and the worker has ended; return how many."""
        thrown = 0
        for index, _meta, _data in self._rings:
            for _ in range(int(ring.waiting(index))):
                ring.release(index)
                thrown += 1
        return thrown


class RingSink:
    """Returns packets to the engine from which they came; the worker's Sink.

    Args:
        wake: makes the engines look at their rings.

    Attributes:
        drops: {reason: packets} that found no room.
    """

    def __init__(self, memories: Sequence[Memory], port: int, wake: Callable[[], None], lock: threading.Lock) -> None:
        side = rings.FROM_COPROCESSOR
        self._rings = [(m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side]) for m in memories]
        self._wake = wake
        self._lock = lock
        self._scratch = np.zeros(packets.FRAME_MAX + packets.VNET_BYTES, np.uint8)
        self._bytes = self._scratch.data
        self._given = False
        self.closed = False
        self.drops: dict[str, int] = {}

    def give(self, packet: Packet) -> None:
        """Return a packet (worker.Sink); wait a few milliseconds for room, then drop it."""
        ticket: Ticket = packet.ticket
        length = len(packet.frame) + packets.VNET_BYTES
        if length > len(self._bytes):
            self._drop(TOO_LONG)
            return
        self._bytes[: packets.VNET_BYTES] = packet.vnet
        self._bytes[packets.VNET_BYTES : length] = packet.frame
        for tried in range(_TRIES):
            if tried:
                self.flush()
                select.select([], [], [], _PAUSE)
            if self._push(ticket, length):
                self._given = True
                return
            self._given = True  # the ring is full: the next flush() wakes the engines, which empty it
        self._drop(RING_FULL)

    def _push(self, ticket: Ticket, length: int) -> bool:
        index, meta, data = self._rings[ticket.engine]
        with self._lock:
            return self.closed or bool(
                ring.push(
                    index,
                    meta,
                    data,
                    ticket.port,
                    packets.HEADROOM - packets.VNET_BYTES,
                    ticket.done,
                    ticket.tunnel,
                    self._scratch,
                    0,
                    length,
                )
            )

    def flush(self) -> None:
        """Wake the engines if any packet was returned since the last call."""
        if self._given:
            self._given = False
            self._wake()

    def close(self) -> None:
        """Drop packets silently from now on."""
        with self._lock:
            self.closed = True

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


class EngineBell(Doorbell):
    """A doorbell whose word lies in the engines' memories: each engine reads its own copy."""

    def __init__(self, memories: Sequence[Memory], port: int) -> None:
        super().__init__()
        self._asleep = [m.side_wake[port, rings.COPROCESSOR_ASLEEP : rings.COPROCESSOR_ASLEEP + 1] for m in memories]

    def arm(self) -> None:
        """Ask the engines for a wake-up (see Waiter)."""
        for word in self._asleep:
            word[0] = 1
        super().arm()  # with its fence behind all of the words

    def disarm(self) -> None:
        """Ask for no wake-up (see Waiter)."""
        for word in self._asleep:
            word[0] = 0
        super().disarm()

    def ring(self) -> None:
        """Wake the thread, whether it sleeps or not."""
        os.eventfd_write(self.fd, 1)
