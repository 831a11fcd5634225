"""The offload policy: which VM pairs are worth a flow of their own (paper section 3.3.1).

Pure: pairs, bytes and times in, decisions out. The threshold of 20 kb/s is the paper's evaluation
value; the paper gives no rule for taking an offload back, so idle expiry (30 s) is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

DEFAULT_THRESHOLD_BPS = 20_000.0
DEFAULT_IDLE_EXPIRY = 30.0  # seconds; ours


class Pair(NamedTuple):
    """A sending and a receiving VM, by name."""

    src: str
    dst: str


@dataclass(slots=True)
class Offload:
    """An offload that stands.

    Attributes:
        since: when it was decided or adopted.
        last_used: end of the last report in which the pair sent anything.
        rate_bps: rate in that report, bits a second of inner frames.
        interval: length of that report, seconds.
    """

    since: float
    last_used: float
    rate_bps: float
    interval: float


class OffloadPolicy:
    """Offload above the threshold, keep while anything is sent, take back after `idle_expiry` seconds.

    That keeping costs less than starting is the hysteresis: a pair near the threshold does not flap.
    """

    def __init__(self, threshold_bps: float = DEFAULT_THRESHOLD_BPS, idle_expiry: float = DEFAULT_IDLE_EXPIRY) -> None:
        self.threshold_bps = threshold_bps
        self.idle_expiry = idle_expiry
        self.active: dict[Pair, Offload] = {}
        self._next_expiry: float | None = None

    def report(self, usage: Iterable[tuple[Pair, int]], seconds: float, now: float) -> list[Pair]:
        """Take in one host's report, (pair, bytes sent in `seconds`), and return the pairs to offload."""
        started = []
        for pair, sent in usage:
            rate = sent * 8 / seconds
            standing = self.active.get(pair)
            if standing is not None:
                if sent > 0:
                    standing.last_used, standing.rate_bps, standing.interval = now, rate, seconds
            elif rate > self.threshold_bps:
                self._start(pair, Offload(now, now, rate, seconds))
                started.append(pair)
        return started

    def adopt(self, pair: Pair, now: float) -> None:
        """Take over an offload found on a switch; it ages from now on like any other."""
        if pair not in self.active:
            self._start(pair, Offload(now, now, 0.0, 0.0))

    def drop(self, pair: Pair) -> None:
        """Forget an offload whose VMs are gone or moved."""
        self.active.pop(pair, None)

    def expire(self, now: float) -> list[Pair]:
        """Forget and return the offloads that were idle too long."""
        if self._next_expiry is None or now < self._next_expiry:
            return []
        idle = [pair for pair, offload in self.active.items() if now - offload.last_used >= self.idle_expiry]
        for pair in idle:
            del self.active[pair]
        oldest = min((offload.last_used for offload in self.active.values()), default=None)
        self._next_expiry = None if oldest is None else oldest + self.idle_expiry
        return idle

    def deadline(self) -> float | None:
        """When `expire` has to be called next, at the earliest; None: nothing can expire."""
        return self._next_expiry

    def rates(self, now: float) -> Iterator[tuple[Pair, Offload, float]]:
        """Standing offloads with their present rate: a pair missing from the reports sends nothing."""
        for pair, offload in self.active.items():
            fresh = now - offload.last_used <= 2 * offload.interval + 0.5
            yield pair, offload, offload.rate_bps if fresh else 0.0

    def _start(self, pair: Pair, offload: Offload) -> None:
        self.active[pair] = offload
        expiry = offload.last_used + self.idle_expiry
        # An earlier bound stays: last_used only grows, so it is never too late, and expire() tightens it.
        self._next_expiry = expiry if self._next_expiry is None else min(self._next_expiry, expiry)
