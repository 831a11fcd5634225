"""IPv6 in the control plane: the same reach as IPv4, and flows only where there is such an address."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from controllers.fm.codec import decode_entity, encode_entity
from controllers.fm.intent_store import IntentStore
from controllers.testing.fake_switch import ipv6_packet
from controllers.testing.world import VNIS, World, cluster, host, place, ready, vm
from controllers.vmc.agents import _report
from controllers.vmc.models import MODELS as ALL_MODELS
from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, link_local
from hoverboard.contract.entities import VM, AnyEntity, Subnetwork
from hoverboard.contract.errors import EntityError
from hoverboard.contract.openflow.pipeline import ETH_IPV6, Kind, kind_of
from hoverboard.contract.wire import fabric_pb2 as pb

MODELS = sorted(ALL_MODELS)


def both(one: VM, last: int | None = None) -> VM:
    ip6 = IPv6Address(f"fd00:7::{last or one.ip.packed[3]:x}")
    return one.model_copy(update={"ip6": ip6})


def subnetwork(name: str, prefix6: str | None = "fd00:7::/64") -> Subnetwork:
    prefix = IPv6Network(prefix6) if prefix6 is not None else None
    return Subnetwork(name=f"{name}-sub", network=name, prefix=IPv4Network("10.0.0.0/24"), prefix6=prefix)


def dual(model: str = "hoverboard", hosts: int = 2, networks: Sequence[str] = ("blue", "green")) -> World:
    world = ready(model, hosts)
    world.diff([subnetwork(name) for name in networks])
    return world


def send6(world: World, src: VM, dst: IPv6Address, source: IPv6Address | None = None, **fields: int):  # type: ignore[no-untyped-def]
    packet = ipv6_packet(src.mac, int(source or src.ip6 or 0), int(dst)) | fields
    journey = world.net.send(src.host, world.core.view.ports[src.name], packet)
    return world.punt(journey, packet) if journey.punted else journey


def v6_flows(world: World, switch: str) -> list[Kind | None]:
    return [
        kind_of(flow.cookie)
        for flow in world.net.switches[switch].flows.values()
        if any(match.field == "eth_type" and match.value == ETH_IPV6 for match in flow.match)
    ]


B1, B2, B3 = (both(vm(f"b{n}", "blue", f"h{h}", n + 1)) for n, h in ((1, 1), (2, 2), (3, 1)))
G1, G2 = (both(vm(f"g{n}", "green", f"h{h}", n + 1)) for n, h in ((1, 1), (2, 2)))
OLD = vm("old", "blue", "h1", 9)


@pytest.mark.parametrize("model", MODELS)
def test_packets_go_to_their_vm_and_never_to_another_tenants(model: str) -> None:
    world = dual(model)
    place(world, B1, B2, B3, G1, G2, OLD)
    for src, dst in ((B1, B2), (B2, B1), (B1, B3), (G1, G2), (G2, G1)):
        assert dst.ip6 is not None
        assert send6(world, src, dst.ip6).delivered == ((dst.host, world.core.view.ports[dst.name]),)
        assert world.reaches(src, dst)
    assert send6(world, G1, IPv6Address("fd00:7::4")).delivered == ()


@pytest.mark.parametrize(
    ("source", "destination", "fields", "reason"),
    [
        ("fd00:7::99", "fd00:7::3", {}, "spoofed"),
        ("fd00:7::99", "ff02::2", {}, "multicast"),
        ("::", "ff02::2", {}, "multicast"),
        ("fd00:7::2", "ff02::2", {}, "multicast"),
        ("fd00:7::2", "fe80::9", {}, "link-local"),
        (str(link_local(B1.mac)), "fd00:7::3", {}, "link-local"),
        (
            "fd00:7::2",
            "ff02::1:ff00:3",
            {"ip_proto": 58, "icmpv6_type": 135, "icmpv6_code": 0, "ipv6_nd_target": int(IPv6Address("fd00:7::3"))},
            "nd-not-gateway",
        ),
    ],
)
def test_what_may_not_leave_is_dropped_by_name(
    source: str, destination: str, fields: dict[str, int], reason: str
) -> None:
    world = dual()
    place(world, B1, B2)
    assert send6(world, B1, IPv6Address(destination), IPv6Address(source), **fields).dropped == (reason,)


@pytest.mark.parametrize("source", [B1.ip6, link_local(B1.mac)])
def test_the_gateway_answers_discovery_and_ping(source: IPv6Address) -> None:
    world = dual()
    place(world, B1)
    port, gateway = world.core.view.ports["b1"], int(GATEWAY_LINK_LOCAL)
    switch = world.net.switches["h1"]
    ask = {"ip_proto": 58, "icmpv6_type": 135, "icmpv6_code": 0, "ipv6_nd_target": gateway}
    base = ipv6_packet(B1.mac, int(source), int(IPv6Address("ff02::1:ff00:1")))
    ((out, answer),) = switch.process(base | ask, port).outputs
    assert (out, answer["icmpv6_type"], answer["ipv6_dst"], answer["ipv6_src"]) == (port, 136, int(source), gateway)
    assert answer["eth_dst"] == base["eth_src"]
    assert answer["ipv6_nd_tll"] == answer["eth_src"]
    echo = {"ip_proto": 58, "icmpv6_type": 128, "icmpv6_code": 0, "ipv6_dst": gateway}
    ((out, answer),) = switch.process(base | echo, port).outputs
    assert (out, answer["icmpv6_type"], answer["ipv6_dst"]) == (port, 129, int(source))


def test_a_network_without_ipv6_has_one_such_flow_for_each_vm_and_drops_by_name() -> None:
    world = ready()
    place(world, OLD, vm("b2", "blue", "h2", 3))
    assert v6_flows(world, "h1") == [Kind.DROP_NO_IPV6]
    assert v6_flows(world, "hv1") == []
    assert send6(world, OLD, IPv6Address("fd00:7::3"), IPv6Address("fd00:7::2")).dropped == ("no-ipv6",)


def test_flows_of_a_host_do_not_grow_with_the_network() -> None:
    world = dual()
    place(world, B1)
    before = len(v6_flows(world, "h1")), len(v6_flows(world, "hv1"))
    world.diff([both(vm(f"m{n}", "blue", "h2", n)) for n in range(10, 60)])
    assert (len(v6_flows(world, "h1")), len(v6_flows(world, "hv1"))) == (before[0], before[1] + 50)


def test_taking_the_range_back_takes_every_flow_back() -> None:
    world = ready()
    place(world, OLD)
    before = world.tables()
    world.diff([subnetwork("blue")])
    world.diff([both(OLD)])
    assert world.tables() != before
    world.diff([OLD])
    world.diff([subnetwork("blue", None)])
    assert world.tables() == before


@pytest.mark.parametrize("addresses", [("10.0.0.2", "10.0.0.3"), ("fd00:7::2", "fd00:7::3")])
def test_a_busy_pair_is_offloaded_in_both_families(addresses: tuple[str, str]) -> None:
    world = dual()
    place(world, B1, B2)
    assert B2.ip6 is not None
    assert send6(world, B1, B2.ip6).hops == ("h1", "hv1", "h2")
    world.usage("h1", VNIS["blue"], *addresses, 10_000)
    assert world.travel(B1, B2).hops == ("h1", "h2")
    assert send6(world, B1, B2.ip6).hops == ("h1", "h2")
    assert [kind for kind in v6_flows(world, "h1") if kind is Kind.OFFLOAD] == [Kind.OFFLOAD]
    world.pass_time(100)
    assert send6(world, B1, B2.ip6).hops == ("h1", "hv1", "h2")


@pytest.mark.parametrize(("src", "dst"), [(B1, B2.model_copy(update={"ip6": None})), (OLD, B2)])
def test_a_pair_of_which_one_speaks_ipv4_only_is_offloaded_in_that(src: VM, dst: VM) -> None:
    world = dual()
    place(world, src, dst)
    world.usage("h1", VNIS["blue"], str(src.ip), str(dst.ip), 10_000)
    assert world.travel(src, dst).hops == ("h1", "h2")
    assert Kind.OFFLOAD not in v6_flows(world, "h1")


def test_what_a_pair_sends_in_both_families_counts_together() -> None:
    world = dual()
    place(world, B1, B2)
    message = pb.Usage(
        seconds=1.0,
        flows=[
            pb.FlowUsage(vni=VNIS["blue"], src=src.packed, dst=dst.packed, bytes=2000, packets=2)
            for src, dst in ((B1.ip, B2.ip), (B1.ip6, B2.ip6))
            if src is not None and dst is not None
        ],
    )
    world.core.usage(_report("h1", message), world.now + 1.0)
    world.work()
    assert world.travel(B1, B2).hops == ("h1", "h2")


def test_an_offload_of_ipv6_is_adopted_by_a_new_controller() -> None:
    world = dual()
    place(world, B1, B2)
    world.usage("h1", VNIS["blue"], "fd00:7::2", "fd00:7::3", 10_000)
    flows = [
        flow
        for flow in world.net.switches["h1"].dump()
        if kind_of(flow.cookie) is not Kind.OFFLOAD or any(match.field == "ipv6_src" for match in flow.match)
    ]
    other = dual()
    other.diff([B1, B2])
    other.core.agents.bind("h1", "b1", "vp-b1")
    other.net.switches["h1"].flows = {flow.key: flow for flow in flows}
    other.connect(host(1), {"vp-b1": 100})
    assert other.core.counters["offloads_adopted"] == 1


REFUSED: list[tuple[list[AnyEntity], str, str]] = [
    ([both(vm("x", "blue", "h1", 5), 2)], "VM/x.ip6", "fd00:7::2 in network 'blue' is taken by VM 'b1'"),
    ([vm("x", "blue", "h1", 5).model_copy(update={"ip6": IPv6Address("fd00:8::2")})], "VM/x.ip6", "has fd00:7::/64"),
    ([vm("x", "blue", "h1", 5).model_copy(update={"ip6": IPv6Address("fd00:7::")})], "VM/x.ip6", "anycast address"),
    ([both(vm("x", "green", "h1", 5))], "VM/x.ip6", "has no IPv6 range"),
    ([subnetwork("blue", None)], "VM/b1.ip6", "has no IPv6 range"),
    (
        [
            Subnetwork(
                name="more", network="blue", prefix=IPv4Network("10.1.0.0/24"), prefix6=IPv6Network("fd00:7::/48")
            )
        ],
        "Subnetwork/more.prefix6",
        "fd00:7::/48 overlaps fd00:7::/64 of Subnetwork 'blue-sub'",
    ),
]


@pytest.mark.parametrize(("upsert", "where", "what"), REFUSED, ids=[case[2][:25] for case in REFUSED])
def test_what_the_fabric_manager_refuses(upsert: list[AnyEntity], where: str, what: str) -> None:
    fabric = IntentStore()
    fabric.full_update([*cluster(), B1.model_copy(update={"ip6": None})])
    fabric.diff([subnetwork("blue"), B1], [])
    with pytest.raises(EntityError) as refused:
        fabric.diff(upsert, [])
    assert refused.value.where == where
    assert what in refused.value.what


def test_entities_travel_with_both_families() -> None:
    for entity in (B1, OLD, subnetwork("blue"), subnetwork("blue", None)):
        assert decode_entity(encode_entity(entity)) == entity
