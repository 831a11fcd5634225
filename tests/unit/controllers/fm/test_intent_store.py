"""The fabric manager's store: what it accepts, what it refuses in which words, and that it is atomic."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.fm.codec import decode_entity, encode_entity
from controllers.fm.intent_store import IntentStore
from controllers.testing.world import cluster, route, vm
from hoverboard.contract.entities import (
    VM,
    AnyEntity,
    FirewallRule,
    Host,
    Hoverboard,
    LoadBalancer,
    Network,
    Subnetwork,
)
from hoverboard.contract.errors import EntityError, RunError
from hoverboard.contract.wire import fabric_pb2 as pb

B1 = vm("b1", "blue", "h1", 2)


def started(*more: AnyEntity) -> IntentStore:
    fabric = IntentStore()
    fabric.full_update([*cluster(), B1, *more])
    return fabric


def changed(entity: VM, **fields: object) -> VM:
    return VM.model_validate(entity.model_dump() | fields)


def test_diff_before_full_update_is_refused() -> None:
    with pytest.raises(RunError, match="a diff came before the first full update"):
        IntentStore().diff([B1], [])


def test_version_grows_only_with_changes() -> None:
    fabric = started()
    assert fabric.version == 1
    again = fabric.diff([B1], [("VM", "nobody")])
    assert not again
    assert fabric.version == 1
    assert fabric.diff([vm("b2", "blue", "h2", 3)], []).version == 2
    assert fabric.full_update([*cluster(), B1]).removed == (vm("b2", "blue", "h2", 3),)
    assert fabric.version == 3


def test_what_stands_behind_a_load_balancer_stays() -> None:
    fabric = started(balancer())
    with pytest.raises(EntityError, match="still needed by LoadBalancer/lb"):
        fabric.diff([], [("VM", "b1")])
    with pytest.raises(EntityError, match=r"10.0.0.77 in network 'blue' is taken by LoadBalancer 'lb'"):
        fabric.diff([vm("x", "blue", "h1", 77)], [])
    with pytest.raises(EntityError, match="still needed by"):
        fabric.diff([], [("Network", "blue")])
    fabric.diff([], [("LoadBalancer", "lb"), ("VM", "b1")])
    assert fabric.diff([vm("x", "blue", "h1", 77)], []).added


def test_a_changed_backend_or_subnetwork_may_not_leave_its_load_balancer_behind() -> None:
    fabric = started(balancer())
    before = dict(fabric.entities)
    for upsert, where, what in (
        ([changed(B1, network="green")], "LoadBalancer/lb.backends", "'b1' is a VM of network 'green', not of 'blue'"),
        ([Subnetwork(name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.0/26"))], "LoadBalancer/lb.ip",
         "10.0.0.77 is in no subnetwork of network 'blue'"),
    ):  # fmt: skip
        with pytest.raises(EntityError) as refused:
            fabric.diff(upsert, [])
        assert (refused.value.where, refused.value.what) == (where, what)
        assert fabric.entities == before


def test_a_host_without_vms_may_go_and_one_with_vms_may_change() -> None:
    fabric = started()
    assert len(fabric.diff([], [("Host", "h2")]).removed) == 1
    assert len(fabric.diff([cluster()[4].model_copy(update={"region": "west"})], []).changed) == 1


def test_ranges_of_a_network_lie_side_by_side_in_both_families() -> None:
    fabric = started()
    for number, six in enumerate(["fd00:1::/64", None, "fd00:2::/64"]):
        given = {"name": f"s{number}", "network": "blue", "prefix": f"10.{number + 1}.0.0/24", "prefix6": six}
        assert fabric.diff([Subnetwork.model_validate(given)], []).added


def test_a_request_for_another_version_is_refused() -> None:
    fabric = started()
    before = dict(fabric.entities)
    with pytest.raises(RunError, match="at version 1, but the request expects version 0"):
        fabric.diff([vm("x", "blue", "h1", 9)], [], expected=0)
    with pytest.raises(RunError, match="at version 1"):
        fabric.full_update([], expected=7)
    assert fabric.entities == before
    assert fabric.diff([vm("x", "blue", "h1", 9)], [], expected=1).version == 2


@pytest.mark.parametrize(
    ("kind", "document", "where", "what"),
    [
        ("FirewallRule", '{"name": "f", "network": "n", "direction": "up", "action": "deny"}',
         "FirewallRule/f.direction", "Input should be 'ingress' or 'egress'"),
        ("FirewallRule",
         '{"name": "f", "network": "n", "direction": "ingress", "action": "deny", "protocol": "tcp", "ports": ["9-1"]}',
         "FirewallRule/f.ports.0", "9-1 is not a range of ports: 0 to 65535, the lower one first"),
        ("FirewallRule", '{"name": "f", "network": "n", "direction": "ingress", "action": "deny", "ports": ["80"]}',
         "FirewallRule/f", "ports mean nothing with protocol 'any'; give tcp or udp"),
        ("FirewallRule",
         '{"name": "f", "network": "n", "direction": "ingress", "action": "deny", "protocol": "icmp",'
         ' "prefixes": ["fd00::/64"]}',
         "FirewallRule/f", "fd00::/64 is not an IPv4 prefix, and icmp has no other"),
        ("LoadBalancer", '{"name": "l", "network": "n", "ip": "10.0.0.9", "backends": []}',
         "LoadBalancer/l.backends", "Tuple should have at least 1 item after validation, not 0"),
        ("LoadBalancer", '{"name": "l", "network": "n", "ip": "10.0.0.9", "backends": ["a", "a"]}',
         "LoadBalancer/l", "backend 'a' is given twice"),
        ("Network", '{"name": "n", "vni": 1, "ingress": "maybe"}',
         "Network/n.ingress", "Input should be 'allow' or 'deny'"),
    ],
)  # fmt: skip
def test_policy_entities_name_their_faults(kind: str, document: str, where: str, what: str) -> None:
    with pytest.raises(EntityError) as refused:
        decode_entity(pb.Entity(type=kind, json=document))
    assert (refused.value.where, refused.value.what) == (where, what)


def test_addresses_may_be_swapped_in_one_request() -> None:
    b2 = vm("b2", "blue", "h2", 3)
    fabric = started(b2)
    swapped = [changed(B1, ip="10.0.0.3", mac=b2.mac), changed(b2, ip="10.0.0.2", mac=B1.mac)]
    assert len(fabric.diff(swapped, []).changed) == 2


def test_two_networks_may_use_the_same_addresses() -> None:
    assert started().diff([vm("g1", "green", "h1", 2)], []).added


def rule(**fields: object) -> FirewallRule:
    given: dict[str, object] = {"name": "f", "network": "blue", "direction": "ingress", "action": "deny"}
    return FirewallRule.model_validate(given | fields)


def balancer(**fields: object) -> LoadBalancer:
    given: dict[str, object] = {"name": "lb", "network": "blue", "ip": "10.0.0.77", "backends": ["b1"]}
    return LoadBalancer.model_validate(given | fields)


REFUSED: list[tuple[str, list[AnyEntity], list[tuple[str, str]], str, str]] = [
    ("network unknown", [vm("x", "blue", "h1", 9).model_copy(update={"network": "red"})], [],
     "VM/x.network", "network 'red' does not exist"),
    ("host unknown", [vm("x", "blue", "h9", 9)], [], "VM/x.host", "host 'h9' does not exist"),
    ("host is a Hoverboard", [vm("x", "blue", "hv1", 9)], [], "VM/x.host", "'hv1' is a Hoverboard, not a VM host"),
    ("address taken", [changed(B1, name="x", mac="06:00:00:00:00:01")], [],
     "VM/x.ip", "10.0.0.2 in network 'blue' is taken by VM 'b1'"),
    ("MAC taken", [changed(B1, name="x", ip="10.0.0.9")], [],
     "VM/x.mac", "06:07:0a:00:00:02 in network 'blue' is taken by VM 'b1'"),
    ("gateway's MAC", [changed(B1, mac="02:00:5e:00:00:01")], [],
     "VM/b1.mac", "02:00:5e:00:00:01 is the MAC of every network's gateway"),
    ("outside", [vm("x", "blue", "h1", 9, "10.0.1")], [], "VM/x.ip", "10.0.1.9 is in no subnetwork of network 'blue'"),
    ("gateway's address", [vm("x", "blue", "h1", 1)], [],
     "VM/x.ip", "10.0.0.1 is the gateway of Subnetwork 'blue-sub'"),
    ("broadcast", [vm("x", "blue", "h1", 255)], [],
     "VM/x.ip", "10.0.0.255 is the network or broadcast address of 10.0.0.0/24"),
    ("VNI taken", [Network(name="red", vni=7)], [], "Network/red.vni", "7 is taken by Network 'blue'"),
    ("underlay taken", [Host(name="h9", underlay_ip=IPv4Address("172.16.255.1"))], [],
     "Host/h9.underlay_ip", "172.16.255.1 is taken by Hoverboard 'hv1'"),
    ("node name taken", [Hoverboard(name="h1", underlay_ip=IPv4Address("172.16.9.9"))], [],
     "Hoverboard/h1.name", "'h1' is taken by Host 'h1'"),
    ("overlap", [Subnetwork(name="x", network="blue", prefix=IPv4Network("10.0.0.128/25"))], [],
     "Subnetwork/x.prefix", "10.0.0.128/25 overlaps 10.0.0.0/24 of Subnetwork 'blue-sub' in network 'blue'"),
    ("gateway on a VM", [Subnetwork(name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.0/24"),
                                    gateway=IPv4Address("10.0.0.2"))], [],
     "VM/b1.ip", "10.0.0.2 is the gateway of Subnetwork 'blue-sub'"),
    ("gateway is broadcast", [Subnetwork(name="x", network="blue", prefix=IPv4Network("10.0.1.0/24"),
                                         gateway=IPv4Address("10.0.1.255"))], [],
     "Subnetwork/x.gateway", "gateway 10.0.1.255 is the network or broadcast address of 10.0.1.0/24"),
    ("subnetwork shrinks", [Subnetwork(name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.128/25"))], [],
     "VM/b1.ip", "10.0.0.2 is in no subnetwork of network 'blue'"),
    ("subnetwork goes", [], [("Subnetwork", "blue-sub")], "VM/b1.ip", "10.0.0.2 is in no subnetwork of network 'blue'"),
    ("network goes", [], [("Network", "blue")],
     "Network/blue.name", "it is still needed by Subnetwork/blue-sub, VM/b1"),
    ("host goes", [], [("Host", "h1")], "Host/h1.name", "it is still needed by VM/b1"),
    ("subnetwork of no network", [Subnetwork(name="x", network="red", prefix=IPv4Network("10.0.0.0/24"))], [],
     "Subnetwork/x.network", "network 'red' does not exist"),
    ("balancer of no network", [balancer(network="red")], [],
     "LoadBalancer/lb.network", "network 'red' does not exist"),
    ("firewall of no network", [rule(network="red")], [], "FirewallRule/f.network", "network 'red' does not exist"),
    ("shared address taken", [balancer(ip="10.0.0.2")], [],
     "LoadBalancer/lb.ip", "10.0.0.2 in network 'blue' is taken by VM 'b1'"),
    ("shared address outside", [balancer(ip="10.9.0.2")], [],
     "LoadBalancer/lb.ip", "10.9.0.2 is in no subnetwork of network 'blue'"),
    ("shared gateway", [balancer(ip="10.0.0.1")], [],
     "LoadBalancer/lb.ip", "10.0.0.1 is the gateway of Subnetwork 'blue-sub'"),
    ("backend unknown", [balancer(backends=["nobody"])], [], "LoadBalancer/lb.backends", "VM 'nobody' does not exist"),
    ("backend of another network", [vm("g1", "green", "h1", 2), balancer(backends=["g1"])], [],
     "LoadBalancer/lb.backends", "'g1' is a VM of network 'green', not of 'blue'"),
    ("backend removed", [balancer()], [("VM", "b1")], "LoadBalancer/lb.backends", "VM 'b1' does not exist"),
    ("external address taken",
     [changed(B1, external_ips=["198.51.100.1"]),
      vm("b2", "blue", "h1", 3).model_copy(update={"external_ips": (IPv4Address("198.51.100.1"),)})], [],
     "VM/b1.external_ips", "198.51.100.1 is taken by VM 'b2'"),
    ("route, network unknown", [route("r", "red", "192.168.7.0/24", "b1")], [],
     "Route/r.network", "network 'red' does not exist"),
    ("route, VM unknown", [route("r", "blue", "192.168.7.0/24", "b9")], [],
     "Route/r.next_hop", "VM 'b9' does not exist"),
    ("route, VM of another", [route("r", "green", "192.168.7.0/24", "b1")], [],
     "Route/r.next_hop", "'b1' is a VM of network 'blue', not of 'green'"),
    ("route in a subnetwork", [route("r", "blue", "10.0.0.128/25", "b1")], [],
     "Route/r.prefix", "10.0.0.128/25 overlaps 10.0.0.0/24 of Subnetwork 'blue-sub' in network 'blue'"),
    ("route around a subnetwork", [route("r", "blue", "0.0.0.0/0", "b1")], [],
     "Route/r.prefix", "0.0.0.0/0 overlaps 10.0.0.0/24 of Subnetwork 'blue-sub' in network 'blue'"),
    ("two alike", [route("r", "blue", "192.168.7.0/24", "b1"), route("s", "blue", "192.168.7.0/24", "b1")], [],
     "Route/s.priority", "1000 for 192.168.7.0/24 in network 'blue' is taken by Route 'r'"),
    ("subnetwork on a route", [route("r", "blue", "192.168.7.0/24", "b1"),
                               Subnetwork(name="x", network="blue", prefix=IPv4Network("192.168.0.0/16"))], [],
     "Route/r.prefix", "192.168.7.0/24 overlaps 192.168.0.0/16 of Subnetwork 'x' in network 'blue'"),
    ("twice", [vm("x", "blue", "h1", 9), vm("x", "blue", "h1", 10)], [], "VM/x.name", "the request names VM 'x' twice"),
    ("set and removed", [B1], [("VM", "b1")], "VM/b1.name", "the request both sets and removes it"),
    ("unknown type", [], [("Volcano", "v")], "Volcano/v", "unknown entity type 'Volcano'"),
]  # fmt: skip


@pytest.mark.parametrize(("upsert", "remove", "where", "what"), [case[1:] for case in REFUSED],
                         ids=[case[0] for case in REFUSED])  # fmt: skip
def test_refused_and_nothing_half_applied(
    upsert: list[AnyEntity], remove: list[tuple[str, str]], where: str, what: str
) -> None:
    fabric = started()
    before = dict(fabric.entities)
    good = vm("good", "green", "h2", 200)
    with pytest.raises(EntityError) as refused:
        fabric.diff([good, *upsert], remove)
    assert (refused.value.where, refused.value.what) == (where, what)
    assert refused.value.next_step
    assert fabric.entities == before
    assert fabric.version == 1
    # The indices were put back too: what the refused request would have taken is free.
    assert fabric.diff([good], []).added == (good,)


ROUTED = [route("r", "blue", "192.168.7.0/24", "b1"), route("s", "blue", "192.168.7.0/24", "b1", 10)]
REFUSED_BESIDE_ROUTES: list[tuple[str, list[AnyEntity], list[tuple[str, str]], str, str]] = [
    ("next hop goes", [], [("VM", "b1")], "VM/b1.name", "it is still needed by Route/r, Route/s"),
    ("next hop leaves", [changed(B1, network="green")], [],
     "Route/r.next_hop", "'b1' is a VM of network 'green', not of 'blue'"),
    ("network goes", [], [("VM", "b1"), ("Subnetwork", "blue-sub"), ("Network", "blue")],
     "VM/b1.name", "it is still needed by Route/r, Route/s"),
    ("subnetwork comes", [Subnetwork(name="x", network="blue", prefix=IPv4Network("192.168.7.128/25"))], [],
     "Subnetwork/x.prefix", "192.168.7.128/25 overlaps 192.168.7.0/24 of Route 'r' in network 'blue'"),
    ("priority taken", [route("s", "blue", "192.168.7.0/24", "b1")], [],
     "Route/s.priority", "1000 for 192.168.7.0/24 in network 'blue' is taken by Route 'r'"),
]  # fmt: skip


@pytest.mark.parametrize(("upsert", "remove", "where", "what"), [case[1:] for case in REFUSED_BESIDE_ROUTES],
                         ids=[case[0] for case in REFUSED_BESIDE_ROUTES])  # fmt: skip
def test_refused_because_of_routes(
    upsert: list[AnyEntity], remove: list[tuple[str, str]], where: str, what: str
) -> None:
    fabric = started(*ROUTED)
    before = dict(fabric.entities)
    with pytest.raises(EntityError) as refused:
        fabric.diff(upsert, remove)
    assert (refused.value.where, refused.value.what) == (where, what)
    assert refused.value.next_step
    assert fabric.entities == before
    assert fabric.diff([], [("VM", "b1"), ("Route", "r"), ("Route", "s")]).removed == (B1, *ROUTED)


def test_the_same_prefix_again_by_priority_or_in_another_network() -> None:
    fabric = started(*ROUTED)
    g1 = vm("g1", "green", "h1", 2)
    assert len(fabric.diff([g1, route("g", "green", "192.168.7.0/24", "g1")], []).added) == 2
    swapped = [route("r", "blue", "192.168.7.0/24", "b1", 10), route("s", "blue", "192.168.7.0/24", "b1")]
    assert len(fabric.diff(swapped, []).changed) == 2


def test_full_update_refused_leaves_a_fresh_store_unsynced() -> None:
    fabric = IntentStore()
    with pytest.raises(EntityError):
        fabric.full_update([B1])
    assert not fabric.synced
    assert not fabric.entities


@pytest.mark.parametrize(
    ("kind", "document", "where", "what"),
    [
        ("VM", '{"name": "x", "speed": 3}', "VM/x.network", "Field required"),
        ("Network", '{"name": "x", "vni": 0}', "Network/x.vni", "Input should be greater than or equal to 1"),
        ("Network", '{"name": "x", "vni": 1, "colour": 2}', "Network/x.colour", "Extra inputs are not permitted"),
        ("Network", "{", "Network/?", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("Volcano", '{"name": "x"}', "Volcano/x", "unknown entity type 'Volcano'"),
    ],
)
def test_documents_that_are_no_entity(kind: str, document: str, where: str, what: str) -> None:
    with pytest.raises(EntityError) as refused:
        decode_entity(pb.Entity(type=kind, json=document))
    assert (refused.value.where, refused.value.what) == (where, what)


def test_entities_travel_unchanged() -> None:
    for entity in [*cluster(), changed(B1, tags=["web"], external_ips=["192.0.2.1"], rate_bps=1000)]:
        assert decode_entity(encode_entity(entity)) == entity


_SOME = [*cluster(3, 2)] + [vm(f"b{i}", "blue", f"h{i % 3 + 1}", i + 2) for i in range(4)]
_SOME += [route(f"r{i}", "blue", "192.168.0.0/16", f"b{i}", i // 2) for i in range(4)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(range(len(_SOME)))), max_size=6))
def test_a_sequence_of_diffs_equals_one_full_update(steps: list[set[int]]) -> None:
    fabric = IntentStore()
    fabric.full_update([])
    for step in steps:
        upsert = [_SOME[index] for index in step]
        remove = [(entity.TYPE, entity.name) for entity in _SOME if entity not in upsert]
        before = dict(fabric.entities)
        try:
            fabric.diff(upsert, remove)
        except EntityError:
            assert fabric.entities == before
            with pytest.raises(EntityError):
                IntentStore().full_update(upsert)
        else:
            whole = IntentStore()
            whole.full_update(upsert)
            assert whole.entities == fabric.entities


@pytest.mark.parametrize("entity", [one.model_copy(update={"rate_bps": 1000}) for one in (B1, cluster()[0])])
def test_a_rate_that_nothing_would_enforce_is_refused(entity: AnyEntity) -> None:
    fabric = IntentStore()
    fabric.full_update([*cluster(), B1])
    with pytest.raises(EntityError, match="would not be enforced") as refused:
        fabric.diff([entity], [])
    assert refused.value.where == f"{entity.TYPE}/{entity.name}.rate_bps"
    assert "hoverboard apply" in (refused.value.next_step or "")
