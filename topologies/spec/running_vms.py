"""What a file leaves open stays as it runs: where VMs of a running testbed are, and their addresses (pure).

Without it a VM that is put in front of others in a file would give all of them other default addresses and hosts.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from topologies.spec.topology import NetworkSpec, Topology, VMSpec


class RunningVMs:
    """The VMs of a running testbed, if there is one."""

    def __init__(self, topology: Topology | None) -> None:
        self._vms = {(vm.network, vm.name): vm for vm in topology.vms} if topology is not None else {}

    def vm(self, network: str, name: str) -> VMSpec | None:
        """A VM that runs in a network."""
        return self._vms.get((network, name))

    def keep_addresses(self, network: NetworkSpec, names: Iterable[str], taken: dict[int, IPv4Address]) -> None:
        """Put addresses of VMs that run into `taken`, where the file gives none and nothing else has them.

        Args:
            names: the network's VMs in the order of the file.
            taken: address by position.
        """
        used = set(taken.values()) | {balancer.ip for balancer in network.balancers}
        for index, name in enumerate(names):
            vm = self.vm(network.name, name)
            if vm is not None and index not in taken and vm.ip not in used and network.subnet_of(vm.ip) is not None:
                taken[index] = vm.ip
                used.add(vm.ip)

    def kept_addresses6(
        self, network: NetworkSpec, names: Iterable[str], used: set[IPv6Address]
    ) -> dict[str, IPv6Address]:
        """The same for IPv6, by VM."""
        of_it = (vm for name in names if (vm := self.vm(network.name, name)) is not None)
        return {
            vm.name: vm.ip6
            for vm in of_it
            if vm.ip6 is not None and vm.ip6 not in used and any(subnet.holds6(vm.ip6) for subnet in network.subnets)
        }
