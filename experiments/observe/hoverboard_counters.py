"""Reads the counters of a testbed's Hoverboards: packets received and packets dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from hoverboard.vswitch.meters import OVER_CAPACITY
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from hoverboard.contract.documents import Counters


def received(testbed: Testbed) -> int:
    """The number of packets that all Hoverboards have received."""
    return sum(int(counters["rx_packets"]) for counters in _counters(testbed))


def over_capacity(testbed: Testbed) -> int:
    """The number of packets that all Hoverboards have dropped because they were over their capacity."""
    return sum(int(counters["drops"].get(OVER_CAPACITY, 0)) for counters in _counters(testbed))


def _counters(testbed: Testbed) -> Iterator[Counters]:
    for server in testbed.topology.hoverboards:
        with closing(testbed.host_client(server.name)) as client:
            yield client.status()["counters"]
