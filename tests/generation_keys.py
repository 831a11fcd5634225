"""Every key of a topology file, and what each generation of the dataplane does with it.

A key whose packets a generation cannot serve is refused by name; one that has nothing to act on there is noted. The
unit ring holds that the table has all keys, and both words; the system ring sends the packets.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from hoverboard.contract.generations import NAMES, Dataplane, facts
from topologies.spec.keys import LinkKeys, TopologyKeys, models_in

ENGINES: tuple[Dataplane, ...] = tuple(name for name in NAMES if facts(name).carrier == "engines")

# Served by every generation: the key, and the test in `tests/system/dataplane/test_generation_keys.py` that sends a
# packet for it, without "test_".
SERVED = {
    "hosts.dataplane": "hosts",
    "hoverboards.dataplane": "hosts",
    "dataplane": "hosts",
    "networks.vni": "networks",
    "networks.subnet": "networks",
    "networks.subnets": "networks",
    "networks.gateway": "gateway",
    "networks.subnet6": "ipv6",
    "networks.vms.ip6": "ipv6",
    "networks.vms.ip": "networks",
    "networks.vms.host": "networks",
    "networks.vms.tags": "firewall",
    "networks.firewall.ingress": "firewall",
    "networks.firewall.egress": "firewall",
    **{
        f"networks.firewall.rules.{key}": "firewall"
        for key in ("direction", "action", "priority", "targets", "prefixes", "tags", "protocol", "ports")
    },
    **{f"networks.load_balancers.{key}": "load_balancers" for key in ("ip", "backends", "protocol", "ports")},
    **{f"networks.routes.{key}": "routes" for key in ("prefix", "next_hop", "priority")},
}
# Served by the engines, refused elsewhere: what a file has, and what the refusal says.
REFUSED = {
    "networks.rate": ("rate: 1mbit", "has no rate limits"),
    "networks.vms.rate": ("rate: 1mbit", "has no rate limits"),
    "stages.stage": ("stages: [{stage: internet-acl}]", "has no coprocessor stages"),
    "stages.config": ("stages: [{stage: internet-acl}]", "has no coprocessor stages"),
    "stages.when": ("stages: [{stage: internet-acl}]", "has no coprocessor stages"),
}
# About how engines work: without engines there is a note.
NOTED = {
    "batch.egress": "batch: {egress: 1}",
    "batch.ingress": "batch: {ingress: 1}",
    "hosts.batch.egress": "batch: {egress: 1}",
    "hosts.batch.ingress": "batch: {ingress: 1}",
    "hoverboards.batch.egress": "batch: {egress: 1}",
    "hoverboards.batch.ingress": "batch: {ingress: 1}",
    "vm_priority": "vm_priority: false",
    "scheduling": "scheduling: compacting",
}
# Not about the dataplane of VM hosts, or with a test of its own.
ELSEWHERE = {
    "name", "hosts.name", "hoverboards.name", "networks.name", "networks.vms.name", "networks.firewall.rules.name",
    "networks.load_balancers.name", "networks.routes.name",  # names
    "networks.vms.external_ip",  # reserved: refused on every generation
    "hosts.program", "hosts.controller",  # tests/system/control_plane/test_external_controller.py
    "hosts.region", "hoverboards.region",  # tests/system/runs/test_regions.py
    *(f"{link}.{word}" for link in ("wan", "hosts.uplink", "hoverboards.uplink") for word in LinkKeys.model_fields),
    # tests/system/runs/test_links.py
    "hoverboards.capacity.pps", "hoverboards.capacity.bps",  # test_hoverboard_capacity.py
    "model", "offload_threshold", "report_interval", "offload_policy.policy", "offload_policy.keep",
    "offload_policy.min_lifetime", "offload_policy.idle_expiry", "offload_policy.budget", "offload_policy.reports",
}  # fmt: skip


def all_keys(keys: type[BaseModel] = TopologyKeys, above: str = "") -> Iterator[str]:
    """The keys of a topology file that have a value, such as "networks.vms.rate"."""
    for name, field in keys.model_fields.items():
        below = list(models_in(field.annotation))
        if below and name != "when":
            for model in below:
                yield from all_keys(model, f"{above}{name}.")
        else:
            yield above + name
