"""Hosts whose switch an OpenFlow controller of one's own programs: what such a host cannot be asked for.

What our flows enforce elsewhere, nobody would enforce there. That is refused, so that no file means less than it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hoverboard.contract.generations import facts
from topologies.spec.topology import ServerSpec, Topology
from topologies.spec.yaml_reader import Path

if TYPE_CHECKING:
    from topologies.spec.keys import TopologyKeys

Fault = Callable[[Path, str, str], None]


def check_external(keys: TopologyKeys, hosts: Sequence[ServerSpec], fault: Fault) -> None:
    """Tell `fault` what is wrong about hosts with `program: external`, by path, what it is and what to do."""
    external: list[str] = []
    for index, given in enumerate(keys.hosts if isinstance(keys.hosts, list) else ()):
        path: Path = ("hosts", index)
        if given.program == "external" and given.controller is None:
            what = "is missing beside `program: external`"
            fault((*path, "controller"), what, "add `controller: tcp:127.0.0.1:6653`, or unix:/PATH")
        elif given.program == "external":
            external.append(hosts[index].name)
        elif given.controller is not None:
            step = "add `program: external`, or remove it"
            fault((*path, "controller"), "means nothing where the control plane programs the host", step)
    if not external:
        return
    names = ", ".join(external)
    if keys.stages:
        fault(
            ("stages",), f"host {names} is programmed by others, and follows no stages", "remove the one or the other"
        )
    for index, network in enumerate(keys.networks):
        guarded = network.firewall.rules or "deny" in (network.firewall.ingress, network.firewall.egress)
        if guarded and _may_use(network.vms, external):
            what = f"host {names} is programmed by others, and would not enforce the firewall of {network.name}"
            fault(("networks", index, "firewall"), what, "place the network's VMs on other hosts, by `host:`")


def _may_use(vms: object, external: Sequence[str]) -> bool:
    """Whether VMs of a network may be on one of these hosts: those that are not told a host are put anywhere."""
    if isinstance(vms, int):
        return vms > 0
    assert isinstance(vms, list)
    return any(vm.host is None or vm.host in external for vm in vms)


def notes(topology: Topology) -> list[str]:
    """What `up` says of such hosts: behind a slow path, less than a whole switch is theirs."""
    engines = [host for host in topology.external if facts(host.dataplane).carrier != "switch"]
    return [
        f"host {host.name} is programmed by {host.controller}, on dataplane {host.dataplane}: only what can be turned "
        "into a flow-table entry works there, the rest is dropped as `uncacheable` (docs/external.md)"
        for host in engines
    ]
