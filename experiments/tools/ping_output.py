"""Reads the output of ping (iputils) into a typed result. Pure: text in, `PingResult` out, no processes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median

from hoverboard.contract.errors import MeasurementError

_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_TIMES = re.compile(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms")
_ONE = re.compile(r"icmp_seq=(\d+) .*time=([\d.]+) ms( \(DUP!\))?")


@dataclass(frozen=True, slots=True)
class PingResult:
    """The result of one ping run. Times are round trips in milliseconds, or None without a reply.

    Attributes:
        samples: the round trip of each reply, in order; empty after `ping -q`.
        text: the output of ping.
    """

    sent: int
    received: int
    min_ms: float | None
    avg_ms: float | None
    max_ms: float | None
    mdev_ms: float | None
    samples: tuple[float, ...]
    text: str

    @property
    def median_ms(self) -> float | None:
        """The median of the samples. A single long pause of the scheduler does not change it."""
        return median(self.samples) if self.samples else None

    @property
    def loss_percent(self) -> float:
        """The share of requests without a reply, in percent."""
        return 100.0 * (self.sent - self.received) / self.sent if self.sent else 100.0


def parse(text: str) -> PingResult:
    """Read the output of ping. MeasurementError: it has no statistics, because ping did not start."""
    counts = _COUNTS.search(text)
    if counts is None:
        words = " ".join(text.split())[:200] or "nothing"
        raise MeasurementError(f"ping reports: {words}", next_step="check the address, and the VM's route to it")
    times = _TIMES.search(text)
    low, mean, high, mdev = (float(value) for value in times.groups()) if times else (None,) * 4
    return PingResult(
        sent=int(counts[1]),
        received=int(counts[2]),
        min_ms=low,
        avg_ms=mean,
        max_ms=high,
        mdev_ms=mdev,
        samples=tuple(float(match[2]) for match in _ONE.finditer(text) if not match[3]),
        text=text,
    )
