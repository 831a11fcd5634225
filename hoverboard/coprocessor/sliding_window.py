"""Counts packets over a sliding window in bounded memory, for the stages that detect attacks. Pure.

Time is an argument; this module does not know packets.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Count:
    """Packets and bytes of one key in one window. The `unsure` part may belong to other keys."""

    packets: int = 0
    bytes: int = 0
    unsure_packets: int = 0
    unsure_bytes: int = 0


class SlidingCounts(Generic[K]):
    """Packets and bytes by key over the last `window` seconds, for at most `capacity` keys a window.

    The previous window counts by the share of it that is still inside (as in a rate limiter). When all places are in
    use, a new key replaces the key with the lowest count. The new key takes over that count (Space-Saving, Metwally
    et al. 2005). So a key with more than 1 / capacity of all packets is always counted. The rates leave the taken-over
    count out, so that a key is not blamed for the packets of another key.
    """

    def __init__(self, window: float, capacity: int) -> None:
        self._window, self._capacity = window, capacity
        self._begin: float | None = None
        self._now: dict[K, Count] = {}
        self._before: dict[K, Count] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def add(self, key: K, packets: int, size: int, now: float) -> tuple[float, float]:
        """Count packets of `key`; returns its (packets, bytes) a second over the window that ends now."""
        self._turn(now)
        count = self._now.get(key)
        if count is None:
            count = self._now[key] = self._place()
        count.packets += packets
        count.bytes += size
        return self.rates(key, now)

    def rates(self, key: K, now: float) -> tuple[float, float]:
        """(packets, bytes) a second of `key` over the window that ends now."""
        self._turn(now)
        assert self._begin is not None
        weight = 1.0 - (now - self._begin) / self._window
        packets = size = 0.0
        for counts, share in ((self._now, 1.0), (self._before, weight)):
            count = counts.get(key)
            if count is not None:
                packets += share * (count.packets - count.unsure_packets)
                size += share * (count.bytes - count.unsure_bytes)
        return packets / self._window, size / self._window

    def _turn(self, now: float) -> None:
        if self._begin is None:
            self._begin = now
        passed = now - self._begin
        if passed >= self._window:
            self._before = self._now if passed < 2 * self._window else {}
            self._now = {}
            self._begin += passed // self._window * self._window

    def _place(self) -> Count:
        if len(self._now) < self._capacity:
            return Count()
        least = min(self._now, key=lambda key: self._now[key].packets)
        count = self._now.pop(least)
        return Count(count.packets, count.bytes, count.packets, count.bytes)
