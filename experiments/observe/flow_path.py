"""Follows the path of one flow over time: first over the Hoverboard, then direct.

The sampler reads the counters of the sending host's switch, by tunnel, and the control plane's list
of offloads. It sends no packets. Section 3.3.1 of the paper describes this path: traffic starts on
the default route, and moves to a direct path when its rate passes the threshold.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from experiments.tools.iperf_output import IperfResult
from hoverboard.contract.errors import HoverboardError

_STOP_TIMEOUT = 10.0
_FIRST_LOOK = 0.02  # seconds between two looks before the first packet: the error of all times

FlowRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PathPoint:
    """One reading of the flow.

    Attributes:
        at: seconds since the flow's first packet.
        hoverboard_bytes, direct_bytes: bytes of inner frames sent on each path since the start.
    """

    at: float
    hoverboard_bytes: int
    direct_bytes: int


@dataclass(frozen=True, slots=True)
class PathRate:
    """The rate on each path between two readings; `start` and `end` in seconds since the flow's first packet."""

    start: float
    end: float
    hoverboard_bps: float
    direct_bps: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The path of one flow. All its times are in seconds since the flow's first packet.

    Attributes:
        offloaded_at: when the control plane decided the offload; None: it did not.
        failures: the messages of failed readings.
        iperf: the result of the tool that made the traffic.
    """

    src: str
    dst: str
    points: tuple[PathPoint, ...]
    offloaded_at: float | None = None
    failures: tuple[str, ...] = ()
    iperf: IperfResult | None = None

    @property
    def offload_delay(self) -> float | None:
        """Seconds from the flow's first packet to its offload; None if it sent nothing or was not offloaded."""
        sent = self.hoverboard_bytes + self.direct_bytes
        return max(0.0, self.offloaded_at) if sent and self.offloaded_at is not None else None

    @property
    def direct_at(self) -> float | None:
        """The time of the first reading with a byte on the direct path; None if there is no such reading."""
        return next((point.at for point in self.points if point.direct_bytes), None)

    @property
    def hoverboard_bytes(self) -> int:
        """The bytes sent over the Hoverboard."""
        return self.points[-1].hoverboard_bytes if self.points else 0

    @property
    def direct_bytes(self) -> int:
        """The bytes sent on the direct path."""
        return self.points[-1].direct_bytes if self.points else 0

    @property
    def direct_bps(self) -> float | None:
        """The median rate on the direct path, of the readings after the first one on it; None if there are none."""
        begun = self.direct_at
        found = [rate.direct_bps for rate in self.rates() if begun is not None and rate.start >= begun]
        return median(found) if found else None

    def rates(self) -> tuple[PathRate, ...]:
        """The rates between neighbouring points."""
        return tuple(
            PathRate(
                before.at,
                after.at,
                8 * (after.hoverboard_bytes - before.hoverboard_bytes) / (after.at - before.at),
                8 * (after.direct_bytes - before.direct_bytes) / (after.at - before.at),
            )
            for before, after in zip(self.points, self.points[1:], strict=False)
            if after.at > before.at
        )


class PathCounter:
    """Adds up the counters of a switch's flow entries for one VM pair, while entries come and go.

    The destination of an entry gives its path: the tunnel end of a Hoverboard, or any other destination
    that is not a drop.

    A replaced entry starts at zero, and the counter keeps the bytes of the old one. Open vSwitch may change
    an entry in place instead, which keeps its counts. So a new entry that appears when another goes, and
    has no lower count, is taken for the same entry. Bytes between the last reading and the change are then
    counted on the new path or not at all. They are never counted twice.
    """

    def __init__(self, vni: int, src: str, dst: str, hoverboards: Iterable[str]) -> None:
        self._pair = (vni, src, dst)
        self._hoverboards = frozenset(hoverboards)
        self._seen: dict[tuple[Any, ...], int] = {}
        self.hoverboard_bytes = 0
        self.direct_bytes = 0

    def look(self, rows: Iterable[FlowRow]) -> None:
        """Add one reading of the flow table."""
        now: dict[tuple[Any, ...], int] = {}
        for row in rows:
            if (row["vni"], row["src"], row["dst"]) == self._pair:
                key = (row["via"], row["kind"], row["proto"])
                now[key] = now.get(key, 0) + int(row["bytes"])
        gone: dict[Any, int] = {}
        for key, count in self._seen.items():
            if key not in now:
                gone[key[2]] = gone.get(key[2], 0) + count
        for key, count in now.items():
            before = self._seen.get(key, gone.get(key[2], 0))
            grown = count - before if count >= before else count
            if key[0] in self._hoverboards:
                self.hoverboard_bytes += grown
            elif key[0] is not None:
                self.direct_bytes += grown
        self._seen = now


class PathSampler:
    """Reads the counters of one flow every `interval` seconds, in a thread, while the `with` block runs.

    Before the flow's first packet it looks every _FIRST_LOOK seconds. So times count from that packet, and not from the
    first reading behind it, which may be an interval later.

    Args:
        vni, src, dst: the VM pair, inner addresses as text.
        hoverboards: underlay addresses of the Hoverboards.
        flows: reads the sending host's flow table.
        offloaded: gives the Unix time of the pair's offload, or None if the pair was not offloaded.
        interval: seconds between readings.
    """

    def __init__(
        self,
        vni: int,
        src: str,
        dst: str,
        hoverboards: Iterable[str],
        flows: Callable[[], Iterable[FlowRow]],
        offloaded: Callable[[], float | None],
        interval: float = 0.25,
    ) -> None:
        self._src, self._dst = src, dst
        self._counter = PathCounter(vni, src, dst, hoverboards)
        self._flows, self._offloaded, self._interval = flows, offloaded, interval
        self._points: list[PathPoint] = []
        self._offloaded_at: float | None = None
        self._failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="path-sampler", daemon=True)
        self._start = 0.0

    def __enter__(self) -> PathSampler:
        # The counts of earlier traffic are not part of this timeline.
        self._counter.look(self._flows())
        self._counter.hoverboard_bytes = self._counter.direct_bytes = 0
        self._start = time.monotonic()
        self._points.append(PathPoint(0.0, 0, 0))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_TIMEOUT)

    def _run(self) -> None:
        if not self._await_first_packet():
            return
        due = self._start
        while not self._stop.is_set():
            # Times of readings are fixed from the start, so a slow reading does not delay all others.
            # After a slow reading the next one is skipped if it would follow too soon for a useful rate.
            due += self._interval
            while due - time.monotonic() < self._interval / 2:
                due += self._interval
            if self._stop.wait(due - time.monotonic()):
                break
            with self._failure_noted():
                self._look()

    def _await_first_packet(self) -> bool:
        """Look until the flow has sent a byte; time counts from the last look without one. False: none came."""
        while not self._stop.is_set():
            now = time.monotonic(), time.time()
            with self._failure_noted():
                self._counter.look(self._flows())
                if self._counter.hoverboard_bytes + self._counter.direct_bytes:
                    self._note_reading()
                    return True
                self._start, self._epoch = now
            if self._stop.wait(_FIRST_LOOK):
                break
        return False

    @contextlib.contextmanager
    def _failure_noted(self) -> Iterator[None]:
        try:
            yield
        except (HoverboardError, OSError) as error:  # a gap in the figure, with its message in the timeline
            self._failures.append(f"{time.monotonic() - self._start:.2f} s: {error}")

    def _look(self) -> None:
        self._counter.look(self._flows())
        self._note_reading()

    def _note_reading(self) -> None:
        at = time.monotonic() - self._start
        self._points.append(PathPoint(at, self._counter.hoverboard_bytes, self._counter.direct_bytes))
        if self._offloaded_at is None and (since := self._offloaded()) is not None:
            # Both times of the wall clock are of now, so that a clock that is set meanwhile makes no difference.
            self._offloaded_at = time.monotonic() - self._start - (time.time() - since)

    def timeline(self) -> Timeline:
        """All points so far."""
        return Timeline(self._src, self._dst, tuple(self._points), self._offloaded_at, tuple(self._failures))
