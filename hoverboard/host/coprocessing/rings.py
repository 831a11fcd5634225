"""Between a VM's coprocessor thread and the two engines: rings of a port as source and sink, and its doorbell.

The engines push what a flow-table entry diverts, and look up what comes back without its stages (paper
section 4.4). All rings have one producer and one consumer; after close() the thread touches none of them.
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
# How long a thread waits for room on the way back, at its own VM's expense, before it drops: 20 x 0.25 ms.
_TRIES, _PAUSE = 20, 0.00025


class DivertedFlow(NamedTuple):
    """What the flow-table entry of a diverted packet says, by the number that the entry carries."""

    chain: int
    direction: Direction
    vni: int
    peer: IPv4Address | None
    relayed: bool  # the peer is a Hoverboard: who is behind it is not known
    sampled: int = 0  # the chain that looks at samples
    every: int = 0  # a sample is one packet in so many


class Ticket(NamedTuple):
    """Where a packet came from, and so has to go back to."""

    engine: int
    port: int
    tunnel: int
    done: int  # FIRST_DONE or ALL_DONE


class RingSource:
    """Packets that the engines diverted for the VM of one port; the worker's Source.

    Args:
        flows: by number; grows, and never changes.
        before: called before each look, from the worker's thread.
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
        """See worker.Source: at most `limit` packets, or some 64 KB of them, from both engines in turn."""
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
            # Whatever stands behind the frame is copied along and cut off: its room stays.
            frame = bytearray(store[begin + packets.VNET_BYTES : end + _SPARE])
            del frame[length - packets.VNET_BYTES :]
            copied = kind <= rings.CHAIN_SAMPLE
            flow = self._flows[rings.CHAIN_SAMPLE - kind if copied else kind]
            # The stages of a sending VM are the first; those of the one that receives are always the last.
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
        """The worker gets nothing any more."""
        with self._lock:
            self.closed = True

    def drain(self) -> int:
        """Throw away what waits, once the engines push no more and the worker has ended; how many packets."""
        thrown = 0
        for index, _meta, _data in self._rings:
            for _ in range(int(ring.waiting(index))):
                ring.release(index)
                thrown += 1
        return thrown


class RingSink:
    """Back to the engine that a packet came from; the worker's Sink.

    Args:
        wake: has the engines look at their rings.

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
        """See worker.Sink; waits a few milliseconds for room, then drops."""
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
            self._given = True  # there is something to be fetched, by whomever
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
        """Wake the engines if anything was given since the last time."""
        if self._given:
            self._given = False
            self._wake()

    def close(self) -> None:
        """What is given from now on ends here."""
        with self._lock:
            self.closed = True

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


class EngineBell(Doorbell):
    """A doorbell whose word is in the engines' memories: each engine reads its own."""

    def __init__(self, memories: Sequence[Memory], port: int) -> None:
        super().__init__()
        self._asleep = [m.side_wake[port, rings.COPROCESSOR_ASLEEP : rings.COPROCESSOR_ASLEEP + 1] for m in memories]

    def arm(self) -> None:
        """See Waiter."""
        for word in self._asleep:
            word[0] = 1
        super().arm()  # with the fence behind all of them

    def disarm(self) -> None:
        """See Waiter."""
        for word in self._asleep:
            word[0] = 0
        super().disarm()

    def ring(self) -> None:
        """Wake the thread, asleep or not."""
        os.eventfd_write(self.fd, 1)
