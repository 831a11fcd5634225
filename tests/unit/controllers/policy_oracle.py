"""The meaning of a network's firewall and load balancers, without any flow: compared with programmed switches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controllers.testing.fake_switch import Packet, ipv4_packet, ipv6_packet
from controllers.vmc.view.intent import addresses
from hoverboard.contract.entities import VM, FirewallRule, Network
from hoverboard.contract.packets import Address

NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
TYPES = {"icmp": "icmpv4_type", "icmpv6": "icmpv6_type"}
ANSWERS = {"icmp": (0, 3, 11, 12), "icmpv6": (1, 2, 3, 4, 129)}


@dataclass(frozen=True)
class Talk:
    """A packet's protocol and ports; "" is a protocol that no rule names. `port` pair or ICMP type."""

    protocol: str = ""
    source: int = 0
    destination: int = 0

    def packet(self, sender: VM, src: Address, dst: Address) -> Packet:
        """As a VM sends it."""
        packet = (ipv4_packet if dst.version == 4 else ipv6_packet)(sender.mac, int(src), int(dst))
        if self.protocol in ("tcp", "udp"):
            more = {f"{self.protocol}_src": self.source, f"{self.protocol}_dst": self.destination}
        else:
            more = {TYPES[self.protocol]: self.source} if self.protocol in TYPES else {}
        return packet | {"ip_proto": NUMBERS.get(self.protocol, 200)} | more

    def answers(self, protocol: str, ports: Iterable[tuple[int, int]]) -> bool:
        """Whether it looks like an answer to packets of `protocol` to `ports`."""
        if protocol not in ("any", self.protocol):
            return False
        if self.protocol in ANSWERS:
            return self.source in ANSWERS[self.protocol]
        ranges = list(ports) or [(0, 32767)]
        served = any(first <= self.source <= last for first, last in ranges)
        return self.protocol in ("tcp", "udp") and served and self.destination >= 32768


TALKS = (
    Talk(), Talk("tcp", 40000, 80), Talk("tcp", 80, 40000), Talk("tcp", 443, 443), Talk("tcp", 40001, 40002),
    Talk("tcp", 40000, 8085), Talk("tcp", 8085, 50000), Talk("udp", 40000, 53), Talk("udp", 53, 40000),
    Talk("icmp", 8), Talk("icmp", 0),
)  # fmt: skip
TALKS6 = (*(talk for talk in TALKS if talk.protocol != "icmp"), Talk("icmpv6", 128), Talk("icmpv6", 129))


def allows(
    direction: str, network: Network, rules: Iterable[FirewallRule], vms: Iterable[VM],
    vm: VM, other: Address, talk: Talk,
) -> bool:  # fmt: skip
    """Whether the firewall at `vm` lets a packet to or from `other` through."""
    by_tag = [one for one in vms if one.network == network.name]
    found = []
    for rule in rules:
        if rule.network != network.name or (rule.targets and not set(rule.targets) & set(vm.tags)):
            continue
        named = [address for one in by_tag if set(one.tags) & set(rule.tags) for address in addresses(one)]
        if (rule.prefixes or rule.tags) and other not in named and not any(other in one for one in rule.prefixes):
            continue
        if rule.direction == direction:
            ports = rule.ports or ((0, 65535),)
            meant = rule.protocol in ("any", talk.protocol)
            meant = meant and (not rule.ports or any(a <= talk.destination <= b for a, b in ports))
        else:
            meant = rule.action == "allow" and talk.answers(rule.protocol, rule.ports)
        if meant:
            found.append((rule.priority, rule.action != "deny", rule.action))
    if found:
        return min(found)[2] == "allow"
    here, there = (
        (network.ingress, network.egress) if direction == "ingress" else (network.egress, network.ingress)
    )  # fmt: skip
    return here == "allow" or (there == "allow" and talk.answers("any", ()))


def passes(
    network: Network, rules: Iterable[FirewallRule], vms: Iterable[VM],
    src: VM, source: Address, dst: VM, destination: Address, talk: Talk,
) -> bool:  # fmt: skip
    """Whether both ends' firewalls let a packet through."""
    rules, vms = list(rules), list(vms)
    return allows("egress", network, rules, vms, src, destination, talk) and allows(
        "ingress", network, rules, vms, dst, source, talk
    )
