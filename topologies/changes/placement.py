"""Chooses name, address and host of a VM that is added to a run that is up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from pydantic import ValidationError
from typing_extensions import TypedDict

from hoverboard.contract.checks.similar_names import name_step
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import facts
from topologies.spec.faults import explain
from topologies.spec.keys import VMKeys
from topologies.spec.topology import FABRIC, NetworkSpec, ServerSpec, Topology, VMSpec
from topologies.spec.values import check_name


class VMValues(TypedDict, total=False):
    """Values of a new VM, as a topology file gives them (`plan_vm`)."""

    ip: str | None
    ip6: str | Literal[False] | None
    tags: Sequence[str]
    rate: str | None


def plan_vm(
    topology: Topology,
    network: str,
    name: str | None = None,
    host: str | None = None,
    *,
    ip: str | None = None,
    ip6: str | Literal[False] | None = None,
    tags: Sequence[str] = (),
    rate: str | None = None,
) -> VMSpec:
    """A new VM of `network`; its values have the form of a topology file's.

    Args:
        topology: the topology that gets the VM.
        network: name of the network.
        name: default: the network's name with the next number.
        host: default: the host with the fewest VMs, of those that can enforce its rate and firewall.
        ip: default: the first free address.
        ip6: default: the first free IPv6 address, if the network has IPv6; False: none.
        tags: for firewall rules.
        rate: most bits per second that it sends, such as "100mbit"; default: the network's rate.

    Raises:
        InputError: network or host do not exist, a value is wrong or taken, or the network is full. Or the host cannot
            enforce the rate or the firewall.
    """
    spec = next((one for one in topology.networks if one.name == network), None)
    if spec is None:
        step = name_step(network, [one.name for one in topology.networks])
        raise InputError(f"there is no network {network!r}", next_step=step)
    keys = _keys(ip=ip, ip6=ip6, tags=list(tags), rate=rate)
    name = _name(topology, spec, name)
    limit = keys.rate if keys.rate is not None else spec.rate
    place = _host(topology, spec, host, limit)
    address = _address(spec, keys.ip)
    vm = spec.vm(name, place, address, tuple(keys.tags), _address6(spec, address, keys.ip6))
    return replace(vm, rate=limit)


def _keys(**given: object) -> VMKeys:
    """The values, checked as those of a topology file are."""
    try:
        return VMKeys.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        what, step = explain(item)
        raise InputError(what, where=str(item["loc"][0]), next_step=step) from error


def _name(topology: Topology, network: NetworkSpec, name: str | None) -> str:
    taken = {FABRIC, *(server.name for server in topology.servers), *(vm.name for vm in topology.vms)}
    if name is None:
        number = len(network.vms) + 1
        while f"{network.name}-{number}" in taken:
            number += 1
        return f"{network.name}-{number}"
    if check_name(name) in taken:
        raise InputError(f"there already is a node {name!r}", next_step="choose another name")
    return name


# --- host -----------------------------------------------------------------------------------------


def _host(topology: Topology, network: NetworkSpec, host: str | None, rate: int | None) -> str:
    """The given host, or the one with the fewest VMs; it can enforce the VM's rate and its network's firewall."""
    unfit = _unfit(network, rate)
    if host is not None:
        server = next((one for one in topology.hosts if one.name == host), None)
        if server is None:
            step = name_step(host, [one.name for one in topology.hosts])
            raise InputError(f"there is no host {host!r}", next_step=step)
        reason = unfit(server)
        if reason is not None:
            raise InputError(reason, where=host, next_step="choose another host, or leave the host out")
        return host
    reasons = {server.name: unfit(server) for server in topology.hosts}
    fit = [name for name, reason in reasons.items() if reason is None]
    if not fit:
        name, reason = next(iter(reasons.items()))
        raise InputError(
            str(reason), where=name, next_step="no other host can either; leave the rate out, or use another"
        )
    load = Counter(vm.host for vm in topology.vms)
    return min(fit, key=lambda name: load[name])


def _unfit(network: NetworkSpec, rate: int | None) -> Callable[[ServerSpec], str | None]:
    """A function that says why a host cannot have the VM; None: it can."""

    def reason(server: ServerSpec) -> str | None:
        if rate is not None and facts(server.dataplane).carrier != "engines":
            return f"dataplane {server.dataplane} has no rate limits, and the VM would have one"
        if server.controller is not None and network.guarded:
            return f"it has `program: external`, and does not enforce the firewall of {network.name}"
        return None

    return reason


# --- addresses ------------------------------------------------------------------------------------


def _address(network: NetworkSpec, wanted: IPv4Address | None) -> IPv4Address:
    if wanted is None:
        free = network.free_address({vm.ip for vm in network.vms})
        if free is None:
            raise InputError(f"network {network.name!r} has no free address", next_step="remove a VM of it first")
        return free
    owners = {vm.ip: f"VM {vm.name!r}" for vm in network.vms}
    owners |= {balancer.ip: f"load balancer {balancer.name!r}" for balancer in network.balancers}
    owners |= dict.fromkeys((subnet.gateway for subnet in network.subnets), "the gateway")
    if wanted in owners:
        step = "choose another address, or leave it out"
        raise InputError(f"{wanted} is the address of {owners[wanted]}", where="ip", next_step=step)
    if network.subnet_of(wanted) is None:
        ranges = ", ".join(str(subnet.prefix) for subnet in network.subnets)
        what = f"{wanted} is not a VM's address in {ranges}"
        raise InputError(what, where="ip", next_step="choose one inside, or leave it out")
    return wanted


def _address6(network: NetworkSpec, ip: IPv4Address, wanted: IPv6Address | Literal[False] | None) -> IPv6Address | None:
    if wanted is False:
        return None
    owners = {vm.ip6: vm.name for vm in network.vms if vm.ip6 is not None}
    subnet = network.subnet_of(ip)
    prefix6 = subnet.prefix6 if subnet is not None else None
    if wanted is None:
        free = network.free_address6(ip, set(owners))
        if free is None and prefix6 is not None:
            raise InputError(f"network {network.name!r} has no free IPv6 address", next_step="remove a VM of it first")
        return free
    if subnet is None or prefix6 is None:
        step = "leave it out, or give the network a `subnet6` in its topology file"
        raise InputError("the network has no IPv6 range", where="ip6", next_step=step)
    if not subnet.holds6(wanted):
        what = f"{wanted} is not a VM's address in {prefix6}"
        raise InputError(what, where="ip6", next_step="choose one inside, or leave it out")
    if wanted in owners:
        step = "choose another address, or leave it out"
        raise InputError(f"{wanted} is the address of VM {owners[wanted]!r}", where="ip6", next_step=step)
    return wanted
