"""The fabric in parts: one bridge for all nodes, or with a WAN one for each region and a link between the two.

Paper section 2.2: a cluster is one uniform network. `topologies.emulation.emulated_links` makes the link.
"""

from __future__ import annotations

from dataclasses import dataclass

from topologies.emulation import devices
from topologies.emulation.link_devices import End
from topologies.spec.topology import Topology

_LONGEST_DEVICE = 15


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of the fabric for one region.

    Attributes:
        bridge: its bridge.
        wan: its end of the WAN link, a port of this bridge; None: there is no WAN.
    """

    bridge: str
    wan: str | None = None


def segments(topology: Topology) -> dict[str | None, Segment]:
    """The segments of the fabric by region; without a WAN all regions share one bridge."""
    if topology.wan is None:
        return {region: Segment(devices.BRIDGE_NAME) for region in {server.region for server in topology.servers}}
    return {
        region: Segment(_device("fab", region, number), _device("wan", region, number))
        for number, region in enumerate(topology.regions)
    }


def wan_ends(topology: Topology) -> tuple[End, End]:
    """The ends of the WAN link of a topology that has one, in the order of its regions."""
    ends = [
        End(
            segment.wan or "", segment.bridge,
            tuple(server.underlay_ip for server in topology.servers if server.region != region),
        )
        for region, segment in segments(topology).items()
    ]  # fmt: skip
    return ends[0], ends[1]


def _device(kind: str, region: str, number: int) -> str:
    name = f"{kind}-{region}"
    return name if len(name) <= _LONGEST_DEVICE else f"{kind}-{number}"
