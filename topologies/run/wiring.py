"""The nodes of a run and the links between them, as a document for Mininet's verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topologies.emulation.links import Ring, Uplink, VirtualNIC
from topologies.emulation.mininet_classes import Intf
from topologies.emulation.nodes import HoverboardNode, NamespaceNode, Server, VirtualMachine
from topologies.run.run import Run

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import LinkEnd, WiredNode, Wiring


def wiring(run: Run) -> Wiring:
    """The nodes and links of a run: VMs first, then hosts, Hoverboards and the fabric."""
    return {
        "run": run.name,
        "nodes": [_node(node) for node in ordered_nodes(run).values()],
        "links": [{"one": _end(link.intf1), "other": _end(link.intf2)} for link in ordered_links(run)],
    }


def ordered_nodes(run: Run) -> dict[str, NamespaceNode]:
    """All nodes by name, in the order of the topology: VMs, hosts, Hoverboards, then the fabric.

    They are made in parallel, so the order in which the network has them says nothing.
    """
    nodes = dict(run.network.nodes)
    names = [*(vm.name for vm in run.topology.vms), *(server.name for server in run.topology.servers)]
    order = {name: number for number, name in enumerate(names)}
    return dict(sorted(nodes.items(), key=lambda item: order.get(item[0], len(order))))


def ordered_links(run: Run) -> list[Uplink | VirtualNIC]:
    """The uplinks of all nodes, then the NICs of all VMs, in the order of the topology."""
    names = list(ordered_nodes(run))
    uplinks, nics = dict(run.network.uplinks), dict(run.network.nics)
    return [found[name] for found in (uplinks, nics) for name in names if name in found]


def _node(node: NamespaceNode) -> WiredNode:
    found: WiredNode = {"name": node.name, "kind": "fabric", "pid": int(node.pid)}
    if isinstance(node, VirtualMachine):
        spec = node.spec
        found |= {
            "kind": "vm", "ip": str(spec.ip), "network": spec.network, "gateway": str(spec.gateway), "mac": spec.mac,
            "host": spec.host,
        }  # fmt: skip
        if spec.ip6 is not None:
            found["ip6"] = str(spec.ip6)
    elif isinstance(node, Server):
        found |= {
            "kind": "hoverboard" if isinstance(node, HoverboardNode) else "host", "ip": str(node.spec.underlay_ip),
            "dataplane": node.spec.dataplane, "directory": str(node.directory),
        }  # fmt: skip
        if node.spec.controller is not None:
            found["controller"] = node.spec.controller
    return found


def _end(intf: Intf) -> LinkEnd:
    return {"node": intf.node.name, "name": intf.name, "device": not isinstance(intf, Ring)}
