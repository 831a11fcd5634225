"""Each function of the policy makes the flows that `golden/policy.flows` lists, which reads like a dump."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest

from hoverboard.contract.openflow.flow import Flow, SetField
from hoverboard.contract.openflow.policy import (
    ADDRESS_ONLY_BUCKETS,
    BUCKETS,
    Prefix,
    backend_flows,
    balanced_flows,
    bucket_of,
    firewall_policy_flows,
    firewall_rule_flows,
    port_masks,
)
from tests.unit.hoverboard.flow_text import golden, lines

GATEWAYS = [IPv4Address("10.0.0.1"), IPv4Address("10.0.1.1")]
MACS = ["06:07:0a:00:00:02", "06:07:0a:00:00:03"]
NEAR, NEAR6 = IPv4Network("10.0.0.0/24"), IPv6Network("fd00:7::/64")
VIP = IPv4Address("10.0.0.99")
UNDERLAYS = {"a": IPv4Address("172.16.0.1"), "b": IPv4Address("172.16.0.2")}
# Backend a has the even buckets, backend b the odd ones.
FLOWS, OTHERS = ("a", "b") * (BUCKETS // 2), ("a", "b") * (ADDRESS_ONLY_BUCKETS // 2)
CHOSEN = (FLOWS, OTHERS)


def rule(
    direction: str, action: Any, priority: int = 1000, *, targets: Iterable[str] | None = None,
    prefixes: Iterable[Prefix] | None = None, protocol: str = "any", ports: Sequence[tuple[int, int]] = (),
    ipv6: bool = False,
) -> list[Flow]:  # fmt: skip
    """The flows of a rule; what is not given says nothing."""
    return list(firewall_rule_flows(
        "web", 7, direction, action, priority,
        targets=targets, prefixes=prefixes, protocol=protocol, ports=ports, ipv6=ipv6,
    ))  # fmt: skip


def balanced(protocol: str, *, local: list[str] | None, ports: Sequence[tuple[int, int]] = ()) -> list[Flow]:
    """The flows of a switch that chooses backends."""
    return list(balanced_flows(7, VIP, protocol, ports, CHOSEN, UNDERLAYS, local=local))


def delivered(protocol: str, here: dict[str, tuple[int, str] | None], guarded: bool = False) -> list[Flow]:
    """The flows of a host of backends."""
    return list(backend_flows(7, VIP, protocol, CHOSEN, here, guarded=guarded))


def ends(flows: list[Flow], first: int = 3) -> list[Flow]:
    """The first flows and the last one."""
    return [*flows[:first], flows[-1]]


MADE: dict[str, Callable[[], list[Flow]]] = {
    "a network that denies ingress": lambda: firewall_policy_flows(7, "deny", "allow", GATEWAYS, ipv6=False),
    "a network that denies ingress, with IPv6": lambda: firewall_policy_flows(7, "deny", "allow", [], ipv6=True),
    "a network that denies egress": lambda: firewall_policy_flows(7, "allow", "deny", [], ipv6=False),
    "a network that denies nothing": lambda: firewall_policy_flows(7, "allow", "allow", [], ipv6=True),
    "a network that denies both": lambda: firewall_policy_flows(7, "deny", "deny", GATEWAYS[:1], ipv6=True),
    "deny ingress": lambda: rule("ingress", "deny"),
    "deny ingress, with IPv6": lambda: rule("ingress", "deny", ipv6=True),
    "deny egress, most important": lambda: rule("egress", "deny", 0),
    "allow ingress, least important": lambda: rule("ingress", "allow", 30_000, protocol="icmp"),
    "allow ingress of tcp 80 to two VMs from a prefix": lambda: rule(
        "ingress", "allow", targets=MACS, prefixes=[NEAR], protocol="tcp", ports=[(80, 80)]
    ),
    "allow egress of udp, both families, with IPv6": lambda: rule(
        "egress", "allow", prefixes=[NEAR, NEAR6], protocol="udp", ipv6=True
    ),
    "allow egress of udp, both families, without IPv6": lambda: rule(
        "egress", "allow", prefixes=[NEAR, NEAR6], protocol="udp"
    ),
    "deny egress of tcp 80, 8080 to 8099": lambda: rule(
        "egress", "deny", protocol="tcp", ports=[(80, 80), (8080, 8099)]
    ),
    "allow ingress of anything, with IPv6": lambda: rule("ingress", "allow", ipv6=True),
    "allow egress of icmp, with IPv6": lambda: rule("egress", "allow", protocol="icmp", ipv6=True),
    "allow egress of icmpv6, with IPv6": lambda: rule("egress", "allow", protocol="icmpv6", ipv6=True),
    "a shared address, tcp 80, on a VM host with backend a": lambda: ends(
        balanced("tcp", local=["a"], ports=[(80, 80)]), 6
    ),
    "a shared address, udp, on a VM host without backends": lambda: ends(balanced("udp", local=[])),
    "a shared address, tcp 80 to 83, on a Hoverboard": lambda: ends(balanced("tcp", local=None, ports=[(80, 83)])),
    "a shared address, any protocol, on a Hoverboard: the other protocols": lambda: (
        balanced("any", local=None)[:1] + ends(balanced("any", local=None)[1 + 2 * BUCKETS :])
    ),
    "a backend's host, tcp": lambda: ends(delivered("tcp", {"a": (100, MACS[0])})),
    "a backend's host, tcp, with a firewall": lambda: ends(delivered("tcp", {"a": (100, MACS[0])}, guarded=True), 1),
    "a host of two backends, one not plugged in, any protocol: udp": lambda: delivered(
        "any", {"a": (100, MACS[0]), "b": None}
    )[BUCKETS : BUCKETS + 3],
    "a host of two backends, one not plugged in, any protocol: the others": lambda: ends(
        delivered("any", {"a": (100, MACS[0]), "b": None})[2 * BUCKETS :]
    ),
}
GOLDEN = golden("policy.flows")


@pytest.mark.parametrize("title", MADE)
def test_the_switch_is_given_these_flows(title: str) -> None:
    assert lines(MADE[title]()) == GOLDEN[title]


def test_every_golden_flow_has_its_maker() -> None:
    assert GOLDEN.keys() == MADE.keys()


def test_rules_that_are_about_nothing_have_no_flow() -> None:
    assert rule("ingress", "deny", targets=[], ipv6=True) == []
    assert rule("ingress", "deny", prefixes=[], ipv6=True) == []
    assert rule("ingress", "deny", prefixes=[NEAR6]) == []
    assert rule("ingress", "allow", protocol="icmpv6") == []
    assert rule("ingress", "allow", protocol="icmp", prefixes=[NEAR6], ipv6=True) == []


@pytest.mark.parametrize(
    ("ports", "masks"),
    [
        ([], [None]),
        ([(0, 65535)], [None]),
        ([(80, 80)], [80]),
        ([(0, 0)], [0]),
        ([(65535, 65535)], [65535]),
        ([(80, 81)], [(80, 0xFFFE)]),
        ([(0, 32767)], [(0, 0x8000)]),
        ([(32768, 65535)], [(32768, 0x8000)]),
        ([(1, 6)], [1, (2, 0xFFFE), (4, 0xFFFE), 6]),
        ([(7, 8), (22, 22)], [7, 8, 22]),
        ([(0, 65534)], [((1 << 16) - (1 << 16 - n) & 0xFFFF, 0x10000 - (1 << 15 - n)) for n in range(15)] + [65534]),
    ],
)
def test_port_ranges_become_masks(ports: list[tuple[int, int]], masks: list[int | tuple[int, int] | None]) -> None:
    assert port_masks(ports) == masks


def test_a_packet_has_one_bucket() -> None:
    """Source port without its lowest bit, then the source address; without ports the address alone."""
    assert [bucket_of(address, 40000) for address in (0, 1, 3, 4)] == [0, 1, 3, 0]
    assert [bucket_of(0, port) for port in (0, 1, 2, 30, 32)] == [0, 0, 4, 60, 0]
    assert [bucket_of(address, None) for address in (0, 1, 15, 16)] == [0, 1, 15, 0]


def test_the_flows_of_each_bucket_match_its_packets() -> None:
    chosen = (tuple(map(str, range(BUCKETS))), tuple(map(str, range(ADDRESS_ONLY_BUCKETS))))
    underlays = {str(number): IPv4Address(number) for number in range(BUCKETS)}
    flows = list(balanced_flows(7, VIP, "any", (), chosen, underlays, local=None))[1:]
    for source in range(0x0A000000, 0x0A000010):
        for name, port in [("tcp", port) for port in range(40000, 40032)] + [("udp", 53), ("", None)]:
            number = {"tcp": 6, "udp": 17}.get(name, 200)
            packet = {"metadata": 7, "eth_type": 0x0800, "ipv4_dst": int(VIP), "ipv4_src": source, "ip_proto": number}
            packet |= {f"{name}_src": port} if port is not None else {}
            meant = [
                flow for flow in flows
                if all(one.field in packet
                       and packet[one.field] & (one.mask if one.mask is not None else -1) == one.value
                       for one in flow.match)
            ]  # fmt: skip
            best = max(meant, key=lambda flow: flow.priority)
            (underlay,) = [
                one.value for one in best.actions if isinstance(one, SetField) and one.field == "tun_ipv4_dst"
            ]
            assert underlay == bucket_of(source, port)
            assert [flow.priority for flow in meant].count(best.priority) == 1
