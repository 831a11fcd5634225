"""Drops of a host that no element of the engines counts alone: those of the control thread, and those by OpenFlow flow.

The engines count drops by reason. The OpenFlow flow that decided a drop is known here only, from the answer of the
switch that an entry was made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hoverboard.fastpath.memory import packets
from hoverboard.host.listeners import DropListener
from hoverboard.host.slowpath.known_entries import KnownEntry
from hoverboard.host.slowpath.missed_packet import MissedPacket


class MissedDrops:
    """Counts the drops of one host's control thread, and remembers those of entries that are removed.

    Args:
        listener: notified of packets that are dropped here.

    Attributes:
        by_reason: packets that were dropped here.
    """

    def __init__(self, listener: DropListener) -> None:
        self._listener = listener
        self.by_reason: dict[str, int] = {}
        self._by_flow: Counter[int] = Counter()  # by cookie: drops here, and those of removed entries

    def count(self, reason: str, number: int = 1) -> None:
        """Count packets."""
        self.by_reason[reason] = self.by_reason.get(reason, 0) + number

    def drop(self, reason: str, missed: MissedPacket, cookie: int = 0) -> None:
        """Drop a missed packet; `cookie` is that of the OpenFlow flow that dropped it, or 0."""
        self.count(reason)
        if cookie:
            self._by_flow[cookie] += 1
        self._listener.dropped(missed.port, missed.frame[packets.VNET_BYTES :], reason, cookie)

    def remember(self, entry: KnownEntry, number: int) -> None:
        """Remember what a flow-table entry that is removed has dropped, of the `number` of packets that it counted."""
        _add(self._by_flow, entry, number)

    def by_flow(self, entries: Iterable[tuple[KnownEntry, int]]) -> dict[int, int]:
        """Packets by cookie of the OpenFlow flow that dropped them; `entries` with the packets that each counted."""
        total = Counter(self._by_flow)
        for entry, number in entries:
            _add(total, entry, number)
        return {cookie: count for cookie, count in total.items() if cookie and count}


def _add(total: Counter[int], entry: KnownEntry, number: int) -> None:
    for cookie, dropped in entry.packets_dropped(number):
        total[cookie] += dropped
