"""A cluster of any size for the measurements: one virtual network of n VMs, placed on h hosts in turn.

It gives the intent as the FullUpdate request that cluster management would send. It also gives the
physical facts: the vport of each VM. Pure, except that it writes the request to a file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from controllers.fm.codec import encode_entity
from hoverboard.contract.encapsulation import guest_mac
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Subnetwork
from hoverboard.contract.openflow.pipeline import FIRST_VPORT
from hoverboard.contract.wire import fabric_pb2 as pb

VNI = 7
_FIRST_HOST = IPv4Address("172.16.0.1")
_FIRST_HOVERBOARD = IPv4Address("172.20.0.1")
_FIRST_VM = IPv4Address("10.0.1.0")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The size of the cluster. Names and addresses follow from numbers."""

    vms: int
    hosts: int
    hoverboards: int = 1

    def host(self, number: int) -> Host:
        """The VM host with this number."""
        return Host(name=f"h{number}", underlay_ip=_FIRST_HOST + number)

    def hoverboard(self, number: int) -> Hoverboard:
        """The Hoverboard with this number."""
        return Hoverboard(name=f"hv{number}", underlay_ip=_FIRST_HOVERBOARD + number)

    def vm(self, number: int) -> VM:
        """The VM with this number. VMs are on the hosts in turn."""
        address = _FIRST_VM + number
        return VM(
            name=f"vm-{number}", network="n", ip=address, mac=guest_mac(VNI, address), host=f"h{number % self.hosts}"
        )

    def entities(self) -> list[AnyEntity]:
        """All entities of the intent."""
        return [
            Network(name="n", vni=VNI),
            Subnetwork(name="n", network="n", prefix=IPv4Network("10.0.0.0/8")),
            *map(self.host, range(self.hosts)),
            *map(self.hoverboard, range(self.hoverboards)),
            *map(self.vm, range(self.vms)),
        ]

    def bindings(self, host: int) -> dict[str, str]:
        """VM -> vport, on a host."""
        return {f"vm-{number}": f"vp{number}" for number in range(host, self.vms, self.hosts)}

    def ports(self, host: int) -> dict[str, int]:
        """vport -> OpenFlow port, on a host."""
        return {vport: FIRST_VPORT + at for at, vport in enumerate(self.bindings(host).values())}

    def write_request(self, path: Path) -> int:
        """Write the serialized FullUpdate request. Returns its size in bytes."""
        entities = [encode_entity(entity) for entity in self.entities()]
        return path.write_bytes(pb.FullUpdateRequest(entities=entities).SerializeToString())

    def as_dict(self) -> dict[str, Any]:
        """The cluster for a results file."""
        return asdict(self)
