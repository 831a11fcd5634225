"""Sources that a stage had blocked: what they send to a VM is dropped by the flow table until their time is over.

Asked for by coprocessor threads, decided and forgotten by the host's control thread, which alone touches
flow-table entries.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import ip_address

from hoverboard.contract.packets import Address

BlockedSource = tuple[int, Address]  # OpenFlow port of the VM, the source
MOST = 1_024  # of one VM; the oldest gives way, so that nobody can fill a host's memory with addresses


class BlockedSources:
    """All blocked sources of one host.

    Args:
        clock: seconds, the same as `now` of `update`.

    Attributes:
        control_eventfd: readable when a stage has asked for something.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.control_eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False
        self._requests: deque[tuple[int, bytes, float]] = deque(maxlen=4 * MOST)
        self._until: dict[int, OrderedDict[Address, float]] = {}

    def block(self, ofport: int, source: bytes, seconds: float) -> None:
        """From any thread: block `source` (4 or 16 bytes) for the VM on `ofport`."""
        self._requests.append((ofport, source, self._clock() + seconds))
        with self._lock:  # a thread that was left behind must not write to whatever has the number next
            if not self._closed:
                os.eventfd_write(self.control_eventfd, 1)

    def __contains__(self, flow: BlockedSource) -> bool:
        sources = self._until.get(flow[0])
        return sources is not None and flow[1] in sources

    def update(self, now: float) -> set[BlockedSource]:
        """Take up what was asked for, forget whose time is over; the flows that this changes."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.control_eventfd)
        changed: set[BlockedSource] = set()
        while self._requests:
            ofport, source, until = self._requests.popleft()
            sources = self._until.setdefault(ofport, OrderedDict())
            address: Address = ip_address(source)
            sources[address] = until
            sources.move_to_end(address)
            changed.add((ofport, address))
            if len(sources) > MOST:
                changed.add((ofport, sources.popitem(last=False)[0]))
        for ofport, sources in self._until.items():
            over = [address for address, until in sources.items() if until <= now]
            for address in over:
                del sources[address]
                changed.add((ofport, address))
        return changed

    def sources(self, ofport: int) -> list[str]:
        """Who is blocked for a VM."""
        return [str(address) for address in self._until.get(ofport, ())]

    def forget(self, ofport: int) -> None:
        """The VM has gone."""
        self._until.pop(ofport, None)

    def close(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            self._closed = True
            os.close(self.control_eventfd)
