"""Chooses name, address and host of a VM that is added to a run that is up. Pure."""

from __future__ import annotations

from collections import Counter

from hoverboard.contract.errors import InputError
from topologies.spec.topology import FABRIC, Topology, VMSpec
from topologies.spec.values import check_name


def plan_vm(topology: Topology, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
    """A new VM of `network`.

    Args:
        topology: the topology that gets the VM.
        network: name of the network.
        name: default: the network's name with the next number.
        host: default: the host with the fewest VMs.

    Raises:
        InputError: network or host do not exist, the name is taken or invalid, or the network is full.
    """
    spec = next((one for one in topology.networks if one.name == network), None)
    if spec is None:
        known = ", ".join(one.name for one in topology.networks) or "none"
        raise InputError(f"there is no network {network!r}", next_step=f"use one of: {known}")
    taken = {FABRIC, *(server.name for server in topology.servers), *(vm.name for vm in topology.vms)}
    if name is None:
        number = len(spec.vms) + 1
        while f"{network}-{number}" in taken:
            number += 1
        name = f"{network}-{number}"
    elif check_name(name) in taken:
        raise InputError(f"there already is a node {name!r}", next_step="choose another name")
    hosts = [server.name for server in topology.hosts]
    if host is None:
        load = Counter(vm.host for vm in topology.vms)
        host = min(hosts, key=lambda server: load[server])
    elif host not in hosts:
        more = ", ..." if len(hosts) > 30 else ""
        raise InputError(f"there is no host {host!r}", next_step=f"use one of: {', '.join(hosts[:30])}{more}")
    ip = spec.free_address({vm.ip for vm in spec.vms})
    if ip is None:
        raise InputError(f"network {network!r} has no free address", next_step="remove a VM of it first")
    ip6 = spec.free_address6(ip, {vm.ip6 for vm in spec.vms if vm.ip6 is not None})
    if ip6 is None and any(subnet.prefix6 is not None for subnet in spec.subnets):
        raise InputError(f"network {network!r} has no free IPv6 address", next_step="remove a VM of it first")
    return spec.vm(name, host, ip, ip6=ip6)
