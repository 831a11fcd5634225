"""Chooses the VM pairs whose pings show that the hosts of a new run reach each other.

One pair of VMs for each pair of hosts, among those whose firewall lets a ping and its answer pass. The rules are those
of `hoverboard.contract.openflow.policy` (paper section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

from hoverboard.contract.entities import FirewallRule
from hoverboard.contract.models import MODELS
from topologies.spec.topology import NetworkSpec, Topology, VMSpec

MOST_HOSTS = 32  # up to here, all pairs of hosts; above, each host with this many others
_PING = ("any", "icmp")  # protocols of the rules that a ping matches

Pair = tuple[VMSpec, VMSpec]


def pairs(topology: Topology) -> list[Pair]:
    """One VM pair for each pair of hosts; a pair of hosts without VMs that may ping each other is left out.

    Hosts with `program: external` are left out. A programming model from a file, a coprocessor stage and a Hoverboard
    with a capacity decide by themselves what passes. So a topology with one of them has no pairs.
    """
    limited = any(limit is not None for one in topology.hoverboards for limit in one.capacity)
    if topology.model not in MODELS or topology.stages or limited:
        return []
    external = {host.name for host in topology.external}
    hosts = [host.name for host in topology.hosts if host.name not in external]
    there: dict[str, list[tuple[NetworkSpec, list[VMSpec]]]] = {host: [] for host in hosts}
    for network in topology.networks:
        here: dict[str, list[VMSpec]] = {}
        for vm in network.vms:
            here.setdefault(vm.host, []).append(vm)
        for host in hosts:
            there[host].append((network, here.get(host, [])))
    pings: dict[str, int] = {}  # by VM: each shall have about as many as the others of its host
    found = []
    for one, other in _host_pairs(hosts):
        pair = next(_allowed(there[one], there[other], pings), None)
        if pair is not None:
            found.append(pair)
            for vm in pair:
                pings[vm.name] = pings.get(vm.name, 0) + 1
    return found


def pinged(topology: Topology) -> set[str]:
    """Names of the VMs of `pairs`: these have sent and received packets when the run is up."""
    return {vm.name for pair in pairs(topology) for vm in pair}


def _host_pairs(hosts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs of hosts; if there are many hosts, each with the MOST_HOSTS hosts that are nearest to it in order."""
    if len(hosts) <= MOST_HOSTS:
        yield from combinations(hosts, 2)
        return
    for at, one in enumerate(hosts):
        for distance in range(1, MOST_HOSTS // 2 + 1):
            yield one, hosts[(at + distance) % len(hosts)]


def _allowed(
    ones: list[tuple[NetworkSpec, list[VMSpec]]], others: list[tuple[NetworkSpec, list[VMSpec]]], pings: dict[str, int]
) -> Iterator[Pair]:
    """The pairs of VMs of one network that may ping each other; first those that have the fewest pings."""
    for (network, here), (_, there) in zip(ones, others, strict=True):
        mine, theirs = (_fewest(network, vms, pings) for vms in (here, there))
        for one, other in product(mine, theirs):
            if may_ping(network, one, other):
                yield one, other


def _fewest(network: NetworkSpec, vms: list[VMSpec], pings: dict[str, int]) -> list[VMSpec]:
    """The VMs with the fewest pings first; of those that the firewall treats alike, the first one only."""
    ordered = sorted(vms, key=lambda vm: pings.get(vm.name, 0))
    alike: dict[object, VMSpec] = {}
    prefixes = [prefix for rule in _rules(network) for prefix in rule.prefixes]
    for vm in ordered:
        alike.setdefault((vm.tags, tuple(vm.ip in prefix for prefix in prefixes)), vm)
    return list(alike.values())


def _rules(network: NetworkSpec) -> list[FirewallRule]:
    return [rule for rule in network.policies if isinstance(rule, FirewallRule) and rule.protocol in _PING]


def may_ping(network: NetworkSpec, one: VMSpec, other: VMSpec) -> bool:
    """Whether the firewall of a network lets a ping from `one` to `other` and its answer pass, at both hosts."""
    return all(
        _passes(network, vm, end, direction, answer=answer)
        for vm, end, direction, answer in (
            (one, other, "egress", False),
            (other, one, "ingress", False),
            (other, one, "egress", True),
            (one, other, "ingress", True),
        )
    )


def _passes(network: NetworkSpec, vm: VMSpec, end: VMSpec, direction: str, *, answer: bool) -> bool:
    """Whether a packet passes the firewall of `vm`.

    Args:
        network: of both VMs.
        vm: the VM whose firewall it is.
        end: the other end.
        direction: "egress": from `vm`; "ingress": to it.
        answer: it is the answer to a ping. A rule of the other direction that allows a packet allows its answer, too.
    """
    ranks = []
    for rule in _rules(network):
        if not _is_about(rule, vm, end):
            continue
        if rule.direction == direction:
            ranks.append((rule.priority, rule.action != "deny", rule.action))
        elif answer and rule.action == "allow":
            ranks.append((rule.priority, True, "allow"))
    if ranks:
        return min(ranks)[2] == "allow"
    own, opposite = network.egress, network.ingress
    if direction == "ingress":
        own, opposite = opposite, own
    return own == "allow" or (answer and opposite == "allow")


def _is_about(rule: FirewallRule, vm: VMSpec, end: VMSpec) -> bool:
    if rule.targets and not set(rule.targets) & set(vm.tags):
        return False
    if not rule.prefixes and not rule.tags:
        return True
    return any(end.ip in prefix for prefix in rule.prefixes) or bool(set(rule.tags) & set(end.tags))
