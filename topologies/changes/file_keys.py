"""The keys of a topology file for a `Topology`: what `resolve` makes of them is this topology again. Pure.

Names, hosts and addresses that a file leaves open are written out. A `ClusterTopo` that is made from a file and changed
afterwards gets all keys of the file from here.
"""

from __future__ import annotations

from typing import Any

from hoverboard.contract.entities import FirewallRule, LoadBalancer, Route
from hoverboard.contract.links.link_properties import LinkProperties
from topologies.spec.topology import NetworkSpec, ServerSpec, Topology, VMSpec
from topologies.spec.values import share_text

_KINDS = (("load_balancers", LoadBalancer), ("routes", Route))


def file_keys(topology: Topology) -> dict[str, Any]:
    """The content of a topology file as plain data."""
    offload, wan = topology.offload, topology.wan
    keys: dict[str, Any] = {
        "name": topology.name,
        "hosts": [_server(server) for server in topology.hosts],
        "hoverboards": [_server(server) for server in topology.hoverboards],
        "model": topology.model,
        "scheduling": topology.scheduling,
        "vm_priority": topology.vm_priority,
        "offload_threshold": _rate(topology.offload_threshold),
        "report_interval": topology.report_interval,
        "offload_policy": _without_none(
            keep=_rate(offload.keep), min_lifetime=offload.min_lifetime, idle_expiry=offload.idle_expiry,
            budget=offload.budget, reports=offload.reports, policy=offload.policy,
        ),
        "stages": [
            {**stage, "when": {key: value for key, value in stage["when"].items() if value}}
            for stage in topology.stages
        ],
        "networks": [_network(network) for network in topology.networks],
    }  # fmt: skip
    if wan is not None:
        keys["wan"] = link_keys(wan)
    return keys


def _server(server: ServerSpec) -> dict[str, Any]:
    keys = _without_none(
        name=server.name, dataplane=server.dataplane, region=server.region,
        batch={"egress": server.batch[0], "ingress": server.batch[1]},
    )  # fmt: skip
    if server.uplink != LinkProperties():
        keys["uplink"] = link_keys(server.uplink)
    if server.controller is not None:
        keys |= {"program": "external", "controller": server.controller}
    pps, bps = server.capacity
    if pps is not None or bps is not None:
        keys["capacity"] = _without_none(pps=pps, bps=_rate(bps))
    return keys


def link_keys(link: LinkProperties) -> dict[str, Any]:
    """The keys of a link."""
    keys = _without_none(rate=_rate(link.rate), delay=link.delay, jitter=link.jitter, seed=link.seed)
    return keys | {name: share_text(getattr(link, name)) for name in ("loss", "reorder", "duplicate")}


def _network(network: NetworkSpec) -> dict[str, Any]:
    first = network.subnets[0]
    keys: dict[str, Any] = {"name": network.name, "vni": network.vni}
    if len(network.subnets) > 1:
        keys["subnets"] = [str(subnet.prefix) for subnet in network.subnets]
    else:
        keys |= {"subnet": str(first.prefix), "gateway": str(first.gateway)}
    if first.prefix6 is not None:
        keys["subnet6"] = str(first.prefix6)
    if network.rate is not None:
        keys["rate"] = _rate(network.rate)
    keys["firewall"] = {
        "ingress": network.ingress,
        "egress": network.egress,
        "rules": [_policy(one) for one in network.policies if isinstance(one, FirewallRule)],
    }
    for key, kind in _KINDS:
        keys[key] = [_policy(one) for one in network.policies if isinstance(one, kind)]
    keys["vms"] = [_vm(vm) for vm in network.vms]
    return keys


def _policy(entity: FirewallRule | LoadBalancer | Route) -> dict[str, Any]:
    return entity.model_dump(mode="json", exclude_defaults=True, exclude={"network"})


def _vm(vm: VMSpec) -> dict[str, Any]:
    ip6 = False if vm.ip6 is None else str(vm.ip6)
    return _without_none(name=vm.name, host=vm.host, ip=str(vm.ip), ip6=ip6, tags=list(vm.tags), rate=_rate(vm.rate))


def _rate(rate: int | None) -> str | None:
    return None if rate is None else f"{rate}bit"


def _without_none(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
