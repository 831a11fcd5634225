"""Checks of VM hosts with `program: external`: an OpenFlow controller of the user programs their switch.

Firewalls and stages are enforced by our own flows and processes. A file that asks for them on such a host is rejected.
The notes for `up` are here as well: keys that mean less on some hosts than people may expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hoverboard.contract.generations import facts
from topologies.spec.topology import MOST_EGRESS, MOST_INGRESS, ServerSpec, Topology
from topologies.spec.yaml_reader import Path

if TYPE_CHECKING:
    from topologies.spec.keys import TopologyKeys

Fault = Callable[[Path, str, str], None]


def check_external(keys: TopologyKeys, hosts: Sequence[ServerSpec], fault: Fault) -> None:
    """Report the faults of hosts with `program: external`.

    Args:
        keys: the keys of the file.
        hosts: the resolved hosts, in the order of the file.
        fault: called with the path of the key, what is wrong, and what to do.
    """
    external: list[str] = []
    for index, given in enumerate(keys.hosts if isinstance(keys.hosts, list) else ()):
        path: Path = ("hosts", index)
        if given.program == "external" and given.controller is None:
            what = "is missing beside `program: external`"
            fault((*path, "controller"), what, "add `controller: tcp:127.0.0.1:6653`, or `controller: unix:/PATH`")
        elif given.program == "external":
            external.append(hosts[index].name)
        elif given.controller is not None:
            step = "add `program: external`, or remove `controller`"
            fault((*path, "controller"), "works only beside `program: external`", step)
    if not external:
        return
    names = ", ".join(external)
    if keys.stages:
        what = f"host {names} has `program: external`, and runs no coprocessor stages"
        fault(("stages",), what, "remove `stages`, or `program: external`")
    for index, network in enumerate(keys.networks):
        guarded = network.firewall.rules or "deny" in (network.firewall.ingress, network.firewall.egress)
        if guarded and _may_use(network.vms, external):
            what = f"host {names} has `program: external`, and does not enforce the firewall of {network.name}"
            fault(("networks", index, "firewall"), what, "place the VMs of this network on other hosts with `host:`")


def _may_use(vms: object, external: Sequence[str]) -> bool:
    """Whether VMs of a network may be on one of these hosts: a VM without `host:` may be placed on any host."""
    if isinstance(vms, int):
        return vms > 0
    assert isinstance(vms, list)
    return any(vm.host is None or vm.host in external for vm in vms)


def notes(topology: Topology) -> list[str]:
    """Messages for `up`: external hosts with a slow path, and keys of engines where no node has engines.

    On an external host with a slow path, the program cannot use every kind of flow.
    """
    engines = [host for host in topology.external if facts(host.dataplane).carrier != "switch"]
    return [*_without_engines(topology)] + [
        f"host {host.name} is programmed by {host.controller}, on dataplane {host.dataplane}. A packet passes only if "
        "its flow can become a flow-table entry; others are dropped as `uncacheable` (docs/external.md)"
        for host in engines
    ]


def _without_engines(topology: Topology) -> Iterator[str]:
    """A note for each key that is about the engines, if no host and no Hoverboard has engines."""
    if any(facts(server.dataplane).carrier == "engines" for server in topology.servers):
        return
    usual = (MOST_EGRESS, MOST_INGRESS)
    given = {
        "batch": any(server.batch != usual for server in topology.servers),
        "vm_priority": not topology.vm_priority,
        "scheduling": topology.scheduling != "adaptive",
    }
    for key in (key for key, is_given in given.items() if is_given):
        yield f"`{key}` is about the engines of fastpath and fastpath-vmm. No node has engines, so it changes nothing."
