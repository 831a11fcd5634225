"""Joins what a capture saw of one packet: it came in, and later it was dropped. Pure.

A packet is shown once. So a packet that came in waits for a moment, and longer while the control thread has packets in
hand: a drop may still come. Everything behind it waits too, so that the packets stay in the order of time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from hoverboard.fastpath.memory import debug

# A drop by an entry follows within one pass of the engine. A drop by the control thread follows while it is busy.
HOLD_NS = 50_000_000
LONGEST_NS = 2_000_000_000  # no packet waits longer, whatever the control thread does


@dataclass(frozen=True)
class Captured:
    """One packet, as read from a ring.

    Attributes:
        time: monotonic ns.
        came: for an outgoing packet, the port by which it came in; -1: the host's own answer. For a drop by an entry,
            that entry's row.
        detail: for an outgoing packet the row of its entry; for a drop by an entry the drop reason's index.
        dropped: why it was dropped, in words; "": it was not.
    """

    time: int
    port: int
    event: int
    came: int
    detail: int
    length: int
    data: bytes
    dropped: str = ""


class Fates:
    """The packets of a capture on their way to the file, in the order of time."""

    def __init__(self) -> None:
        self._waiting: deque[Captured] = deque()
        self._number = 0  # of the first packet that waits, counted from the begin of the capture
        # Numbers of the packets that came in and still wait: a flood of drops must not search all of them.
        self._came: dict[tuple[int, int, bytes], deque[int]] = {}
        self._busy_until = 0

    def add(self, one: Captured) -> None:
        """Take a packet. A drop (EVENT_DROP) is joined with the packet that came in, if that still waits."""
        key = (one.port, one.length, one.data)
        if one.event == debug.EVENT_IN:
            self._came.setdefault(key, deque()).append(self._number + len(self._waiting))
        elif one.event == debug.EVENT_DROP and key in self._came:
            at = self._forget_first(key) - self._number
            self._waiting[at] = replace(self._waiting[at], dropped=one.dropped)
            return
        self._waiting.append(one)

    def ready(self, now: int, *, unsettled: bool, over: bool = False) -> list[Captured]:
        """Take the packets whose fate is known, the oldest first.

        Args:
            now: monotonic ns.
            unsettled: the control thread has packets in hand, which it may drop.
            over: the capture is over: take all.
        """
        if unsettled:
            self._busy_until = now
        taken: list[Captured] = []
        while self._waiting and (over or self._is_settled(self._waiting[0], now)):
            one = self._waiting.popleft()
            if one.event == debug.EVENT_IN and not one.dropped:
                self._forget_first((one.port, one.length, one.data))
            self._number += 1
            taken.append(one)
        return taken

    def _forget_first(self, key: tuple[int, int, bytes]) -> int:
        """Forget the oldest packet with these bytes that came in and still waits; return its number."""
        numbers = self._came[key]
        number = numbers.popleft()
        if not numbers:
            del self._came[key]
        return number

    def _is_settled(self, one: Captured, now: int) -> bool:
        if one.event != debug.EVENT_IN or one.dropped or now - one.time > LONGEST_NS:
            return True
        return now - max(one.time, self._busy_until) > HOLD_NS
