"""A token bucket: limits a burst and a rate. Pure: the caller passes the time."""

from __future__ import annotations

# Questions per second and per burst that one vport may ask about addresses (paper 3.3, on demand). The host process
# limits them where Open vSwitch carries no packets, the controller everywhere; the paper gives no figures.
ASK_RATE, ASK_BURST = 50.0, 25.0


class TokenBucket:
    """Holds at most `burst` tokens, starts full, and gains `rate` tokens a second.

    Args:
        rate: tokens a second.
        burst: most tokens that it holds, at least 1.
        now: seconds of any clock, the same at each call. A time before that of the last call adds no tokens.
    """

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._filled = burst, now

    def take(self, now: float, size: float = 1.0) -> bool:
        """Take `size` tokens; False, without taking any, if fewer are left."""
        self._fill(now)
        if self._tokens < size:
            return False
        self._tokens -= size
        return True

    def ready_at(self, size: float) -> float:
        """The time at which it has `size` tokens, if none are taken before; rounding may make it a little early."""
        return self._filled + max(0.0, size - self._tokens) / self._rate

    def full(self, now: float) -> bool:
        """Whether it is full, as a new one is, so that its owner may delete it."""
        self._fill(now)
        return self._tokens == self._burst

    def _fill(self, now: float) -> None:
        if now > self._filled:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
