"""Sources that a stage has blocked: the flow table drops their packets to a VM until the block ends.

Coprocessor threads request blocks. The host's control thread adds and removes them, because only it writes flow-table
entries.
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
MOST = 1_024  # of one VM; the oldest is removed, so that a flood of addresses cannot fill the host's memory


class BlockedSources:
    """All blocked sources of one host.

    Args:
        clock: seconds; `now` of `update` is of the same clock.

    Attributes:
        control_eventfd: readable when a stage has requested a block.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.control_eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False
        self._requests: deque[tuple[int, bytes, float]] = deque(maxlen=4 * MOST)
        self._until: dict[int, OrderedDict[Address, float]] = {}

    def block(self, ofport: int, source: bytes, seconds: float) -> None:
        """Request that `source` (4 or 16 bytes) is blocked for the VM on `ofport`; from any thread."""
        self._requests.append((ofport, source, self._clock() + seconds))
        with self._lock:  # after close() the number may belong to another file: a late thread must not write to it
            if not self._closed:
                os.eventfd_write(self.control_eventfd, 1)

    def __contains__(self, flow: BlockedSource) -> bool:
        sources = self._until.get(flow[0])
        return sources is not None and flow[1] in sources

    def update(self, now: float) -> set[BlockedSource]:
        """Add requested blocks and remove those that are over; return the flows whose entries this changes."""
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
        """Sources that are blocked for a VM."""
        return [str(address) for address in self._until.get(ofport, ())]

    def forget(self, ofport: int) -> None:
        """Forget the blocks of a VM that has gone."""
        self._until.pop(ofport, None)

    def close(self) -> None:
        """Close the eventfd; later requests have no effect."""
        with self._lock:
            self._closed = True
            os.close(self.control_eventfd)
