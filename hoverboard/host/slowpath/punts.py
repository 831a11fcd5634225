"""Packets whose flow sends them to the controller, on hosts where Open vSwitch carries none (paper 3.3, on demand).

The first packet to an address goes through the real switch's tables, whose flow makes a packet-in of it. It and later
packets wait here until a flow for that address arrives, and then go on. Packets are bounded in number and time, and
questions in number a second for each vport; the paper gives no figures.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hoverboard.contract.packets import Address, internet_checksum
from hoverboard.contract.token_bucket import ASK_BURST, ASK_RATE, TokenBucket
from hoverboard.vswitch.monitor import Change

PATIENCE = 1.0  # seconds that packets wait; after that another packet may ask for the same address
WAITING, WAITING_EACH = 256, 16  # most packets that wait, in all and for one address
_MOST = 1_000  # bytes of a packet that the switch gets: its tables match headers only


def shown(frame: bytes) -> bytes:
    """A frame for the switch's tables: a large segment is cut to _MOST bytes, with correct lengths and checksum."""
    if len(frame) <= _MOST:
        return frame
    cut = bytearray(frame[:_MOST])
    if cut[12:14] == b"\x08\x00":
        size = (cut[14] & 0xF) * 4
        cut[16:18] = struct.pack("!H", _MOST - 14)
        cut[24:26] = b"\0\0"
        cut[24:26] = struct.pack("!H", internet_checksum(bytes(cut[14 : 14 + size])))
    elif cut[12:14] == b"\x86\xdd":
        cut[18:20] = struct.pack("!H", _MOST - 54)
    return bytes(cut)


@dataclass(slots=True)
class _Question:
    asked: float
    packets: list[Any] = field(default_factory=list)


class Punts:
    """Open questions, and the packets that wait for their answers.

    Args:
        ask: sends a frame through the switch's tables: (OpenFlow port, frame) -> whether the switch took it.
        reinject: reinjects a packet into the fast path.
        drop: drops a packet that is given up: (reason, packet).
    """

    def __init__(
        self,
        ask: Callable[[int, bytes], bool],
        reinject: Callable[[Any], None],
        drop: Callable[[str, Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._reinject, self._drop, self._clock = ask, reinject, drop, clock
        self._questions: dict[tuple[int, Address], _Question] = {}
        self._buckets: dict[int, TokenBucket] = {}  # by vport

    def __len__(self) -> int:
        return sum(len(question.packets) for question in self._questions.values())

    def punt(self, vni: int, dst: Address, in_port: int, frame: bytes, packet: object) -> None:
        """Let a packet wait for a flow, and ask the controller, unless the question is open already."""
        now = self._clock()
        question = self._questions.get((vni, dst))
        if question is None or now - question.asked > PATIENCE:
            if not self._may_ask(in_port, now):
                self._drop("too-many-questions", packet)
                return
            if not self._ask(in_port, shown(frame)):
                self._drop("switch-not-programmed", packet)
                return
            question = self._questions.setdefault((vni, dst), _Question(now))
            question.asked = now
        if len(question.packets) < WAITING_EACH and len(self) < WAITING:
            question.packets.append(packet)
        else:
            self._drop("waits-for-answer", packet)

    def answered(self, changes: Iterable[Change]) -> None:
        """Send the packets on that wait for an address which a changed flow matches."""
        if not self._questions:
            return
        for change in changes:
            if change.dst is None:
                continue
            for vni, dst in [key for key in self._questions if key[1] in change.dst and change.vni in (None, key[0])]:
                for packet in self._questions.pop((vni, dst)).packets:
                    self._reinject(packet)

    def expire(self) -> None:
        """Drop the packets whose question was not answered in time."""
        now = self._clock()
        for key in [key for key, question in self._questions.items() if now - question.asked > PATIENCE]:
            for packet in self._questions.pop(key).packets:
                self._drop("no-answer", packet)
        self._buckets = {port: one for port, one in self._buckets.items() if not one.full(now)}

    def _may_ask(self, in_port: int, now: float) -> bool:
        bucket = self._buckets.get(in_port)
        if bucket is None:
            bucket = self._buckets[in_port] = TokenBucket(ASK_RATE, ASK_BURST, now)
        return bucket.take(now)
