"""Keeps hosts and addresses of VMs that run, where a changed topology file does not give them. Pure.

Without this, a VM inserted before others in a file would change the default addresses and hosts of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from topologies.spec.topology import NetworkSpec, Topology, VMSpec


class RunningVMs:
    """The VMs of the run that a file is applied to; none when there is no run."""

    def __init__(self, topology: Topology | None) -> None:
        self._vms = {(vm.network, vm.name): vm for vm in topology.vms} if topology is not None else {}

    def vm(self, network: str, name: str) -> VMSpec | None:
        """The running VM of this name in a network; None when there is no such VM."""
        return self._vms.get((network, name))

    def keep_addresses(self, network: NetworkSpec, names: Iterable[str], taken: dict[int, IPv4Address]) -> None:
        """Add to `taken` the addresses of running VMs that the file gives no address, if they are still free.

        Args:
            network: the network, with the subnets of the file.
            names: the network's VMs in the order of the file.
            taken: address by position in the file; changed.
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
        """IPv6 addresses that running VMs keep, by name; those in `used` are not free."""
        of_it = (vm for name in names if (vm := self.vm(network.name, name)) is not None)
        return {
            vm.name: vm.ip6
            for vm in of_it
            if vm.ip6 is not None and vm.ip6 not in used and any(subnet.holds6(vm.ip6) for subnet in network.subnets)
        }
