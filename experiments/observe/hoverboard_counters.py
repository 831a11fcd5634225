"""What a testbed's Hoverboards have carried and dropped so far, by their own counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from hoverboard.vswitch.meters import OVER_CAPACITY
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from hoverboard.contract.documents import Counters


def received(testbed: Testbed) -> int:
    """Packets that came to Hoverboards."""
    return sum(int(counters["rx_packets"]) for counters in _counters(testbed))


def over_capacity(testbed: Testbed) -> int:
    """Packets that they dropped because their capacity did not suffice."""
    return sum(int(counters["drops"].get(OVER_CAPACITY, 0)) for counters in _counters(testbed))


def _counters(testbed: Testbed) -> Iterator[Counters]:
    for server in testbed.topology.hoverboards:
        with closing(testbed.host_client(server.name)) as client:
            yield client.status()["counters"]
