"""Every key of a topology file that refers to something: to what, and what happens when it is not there.

`error`: nothing starts. `notice`: it starts, and everyone is told. Each row has a wrong file and words of its message.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Reference(NamedTuple):
    """A key that refers to something.

    Attributes:
        key: its path, without numbers.
        to: what it refers to.
        told: what happens when that is not there.
        text: a file in which it is not there.
        what: a part of the message.
    """

    key: str
    to: str
    told: Literal["error", "notice"]
    text: str
    what: str


def net(more: str, vms: str = "[{name: web-1, tags: [web]}, {name: web-2, tags: [db]}]") -> str:
    """A file with one network, with more keys for that."""
    return f"hosts: 2\nnetworks:\n  - {{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: {vms}, {more}}}\n"


def rule(more: str) -> str:
    """A file with one firewall rule, with more keys for that."""
    return net(f"firewall: {{rules: [{{name: r, direction: ingress, action: deny, {more}}}]}}")


def stage(when: str, hosts: str = "2") -> str:
    """A file with one stage."""
    return (
        f"hosts: {hosts}\nstages: [{{stage: internet-acl, when: {{{when}}}}}]\n"
        "networks: [{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2}]\n"
    )


REFERENCES = (
    Reference("networks.vms.host", "VM host", "error", net("rate: 1mbit", "[{host: h3}]"), "there is no host 'h3'"),
    Reference(
        "networks.routes.next_hop", "VM of the network", "error",
        net("routes: [{prefix: 192.168.0.0/24, next_hop: web1}]"), "VM 'web1' does not exist",
    ),
    Reference(
        "networks.load_balancers.backends", "VM of the network", "error",
        net("load_balancers: [{name: front, ip: 10.0.0.9, backends: [web1]}]"), "VM 'web1' does not exist",
    ),
    Reference(
        "networks.load_balancers.ip", "free address of a subnet", "error",
        net("load_balancers: [{name: front, ip: 10.9.0.9, backends: [web-1]}]"), "10.9.0.9 is in no subnetwork",
    ),
    Reference("networks.vms.ip", "address of a subnet", "error", net("", "[{ip: 10.9.0.9}]"), "not a VM's address"),
    Reference("networks.vms.ip6", "free address of subnet6", "error", net("", "[{ip6: 'fd00::9'}]"), "no IPv6 range"),
    Reference("networks.gateway", "address of the subnet", "error", net("gateway: 10.9.0.1"), "not a usable address"),
    Reference(
        "networks.firewall.rules.targets", "tag of a VM of the network", "notice", rule("targets: [web-1]"),
        "no VM of 'blue' has the tag 'web-1', and the rule matches no packet",
    ),
    Reference(
        "networks.firewall.rules.tags", "tag of a VM of the network", "notice", rule("tags: [wbe]"),
        "no VM of 'blue' has the tag 'wbe', and the rule matches no packet",
    ),
    Reference(
        "networks.firewall.rules.prefixes", "address of the network", "notice", rule("prefixes: [192.168.0.0/16]"),
        "no address of 'blue' is in 192.168.0.0/16, and the rule matches no packet",
    ),
    Reference(
        "networks.firewall.rules.protocol", "address family of the network", "notice", rule("protocol: icmpv6"),
        "network 'blue' has no IPv6 addresses, and the rule matches no packet",
    ),
    Reference("stages.stage", "stage", "error", "hosts: 1\nstages: [{stage: acl}]\n", "there is no stage 'acl'"),
    Reference("stages.when.vms", "VM", "error", stage("vms: [blue-3]"), "there is no VM 'blue-3'"),
    Reference("stages.when.networks", "network", "error", stage("networks: [blu]"), "there is no network 'blu'"),
    Reference(
        "stages.when.to", "other end", "notice", stage("to: other-region"), "all hosts are in one region",
    ),
    Reference("offload_policy", "class in a file", "error", "hosts: 1\noffload_policy: no.py:Mine\n", "no Python file"),
    Reference(
        "offload_policy.policy", "class in a file", "error", "hosts: 1\noffload_policy: {policy: no.py}\n",
        "no Python file",
    ),
    Reference(
        "offload_policy.keep", "rate below offload_threshold", "error", "hosts: 1\noffload_policy: {keep: 20kbit}\n",
        "20kbit is not lower than the offload_threshold",
    ),
    Reference("model", "programming model", "error", "hosts: 1\nmodel: gatewy\n", "'gatewy' is not a possible value"),
    Reference(
        "offload_threshold", "offloads of the model", "notice", "hosts: 1\nmodel: gateway\noffload_threshold: 1kbit\n",
        "has no effect: model gateway offloads no VM pairs",
    ),
    Reference(
        "hoverboards.region", "region of a host", "error", "hosts: 1\nhoverboards: [{region: east}]\n",
        "there is no host in region 'east'",
    ),
    Reference(
        "hosts.region", "one of two regions", "error",
        "hosts: [{region: a}, {region: b}, {region: c}]\nhoverboards: 0\nmodel: preprogrammed\nwan: {}\n",
        "needs hosts in two regions",
    ),
)  # fmt: skip

# Keys that refer to nothing in the file: values, or names that the file itself gives.
_VALUES = """
    name hosts hosts.name hosts.dataplane hosts.batch hosts.batch.egress hosts.batch.ingress hosts.program
    hosts.controller hoverboards hoverboards.name hoverboards.dataplane hoverboards.batch hoverboards.batch.egress
    hoverboards.batch.ingress hoverboards.capacity hoverboards.capacity.pps hoverboards.capacity.bps
    dataplane scheduling batch batch.egress batch.ingress vm_priority report_interval offload_policy.min_lifetime
    offload_policy.idle_expiry offload_policy.budget offload_policy.reports stages stages.config stages.when
    stages.when.direction networks networks.name networks.vni networks.subnet networks.subnets networks.subnet6
    networks.rate networks.firewall networks.firewall.ingress networks.firewall.egress networks.firewall.rules
    networks.firewall.rules.name networks.firewall.rules.direction networks.firewall.rules.action
    networks.firewall.rules.priority networks.firewall.rules.ports networks.load_balancers networks.load_balancers.name
    networks.load_balancers.protocol networks.load_balancers.ports networks.routes networks.routes.name
    networks.routes.prefix networks.routes.priority networks.vms networks.vms.name networks.vms.tags networks.vms.rate
    networks.vms.external_ip wan hosts.uplink hoverboards.uplink
"""
_LINK_WORDS = "rate delay jitter loss reorder duplicate seed"
VALUES = frozenset(_VALUES.split()) | {
    f"{link}.{word}" for link in ("wan", "hosts.uplink", "hoverboards.uplink") for word in _LINK_WORDS.split()
}
