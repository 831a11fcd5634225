"""Histories of a cluster: random changes, the world that they lead to, and what has to hold in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import strategies as st

from controllers.testing.world import VNIS, World, cluster, host, hoverboard, route, vm
from controllers.vmc.flow_groups.load_balancer import buckets
from controllers.vmc.models import MODELS as ALL_MODELS
from hoverboard.contract.entities import VM, FirewallRule, Host, Hoverboard, LoadBalancer, Network, Route, Subnetwork
from hoverboard.contract.errors import EntityError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, kind_of
from hoverboard.contract.openflow.policy import bucket_of
from hoverboard.contract.packets import Address
from tests.unit.controllers.policy_oracle import TALKS, TALKS6, Talk, passes

MODELS = sorted(ALL_MODELS)
HOSTS = [host(1), host(2), host(3)]
HOVERBOARDS = [hoverboard(1), hoverboard(2)]


@dataclass
class History:
    """All that was done to a world; enough to build another one from nothing."""

    world: World
    vms: dict[str, VM] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    networks: dict[str, Network] = field(
        default_factory=lambda: {name: Network(name=name, vni=vni) for name, vni in VNIS.items()}
    )
    rules: dict[str, FirewallRule] = field(default_factory=dict)
    balancers: dict[str, LoadBalancer] = field(default_factory=dict)
    hoverboards: dict[str, Hoverboard] = field(default_factory=lambda: {"hv1": HOVERBOARDS[0]})
    bindings: dict[str, dict[str, str]] = field(default_factory=lambda: {h.name: {} for h in HOSTS})
    ports: dict[str, dict[str, int]] = field(default_factory=lambda: {h.name: {} for h in HOSTS})
    ipv6: bool = False  # VMs of blue have IPv6 addresses too


# An address slot: two networks share the same ten addresses.
_SLOTS = st.tuples(st.sampled_from(["blue", "green"]), st.integers(2, 5))
# Prefixes that nest, and addresses that tell them apart.
PREFIXES = ["192.168.0.0/16", "192.168.7.0/24", "192.168.7.7/32"]
_ROUTED = ["192.168.7.7", "192.168.7.9", "192.168.9.9", "172.20.0.1"]
_NETWORKS, _ACTIONS = st.sampled_from(["blue", "green"]), st.sampled_from(["allow", "deny"])
_OTHER_ENDS: list[dict[str, Any]] = [
    {}, {"prefixes": ("10.0.0.0/30", "fd00:7::/126")}, {"tags": ("db",)},
    {"prefixes": ("192.168.7.0/24",), "tags": ("web",)},
]  # fmt: skip
_SERVICES: list[tuple[str, tuple[str, ...]]] = [
    ("any", ()), ("tcp", ()), ("tcp", ("80", "8080-8099")), ("udp", ("53",)), ("icmp", ()), ("icmpv6", ()),
]  # fmt: skip
VIP = IPv4Address("10.0.0.100")
RANGE6 = Subnetwork(
    name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.0/24"), prefix6=IPv6Network("fd00:7::/64")
)
POLICY_STEPS = st.one_of(
    st.tuples(st.just("policy"), _NETWORKS, _ACTIONS, _ACTIONS),
    st.tuples(st.just("tag"), _SLOTS, st.sampled_from([(), ("web",), ("web", "db")])),
    st.tuples(
        st.just("rule"),
        _NETWORKS,
        st.sampled_from(["r1", "r2"]),
        st.sampled_from(["ingress", "egress"]),
        _ACTIONS,
        st.sampled_from([1, 2]),
        st.sampled_from([(), ("web",)]),
        st.sampled_from(_OTHER_ENDS),
        st.sampled_from(_SERVICES),
    ),
    st.tuples(st.just("unrule"), _NETWORKS, st.sampled_from(["r1", "r2"])),
    st.tuples(
        st.just("balance"),
        _NETWORKS,
        st.sets(st.integers(2, 5), min_size=1),
        st.sampled_from([("any", ()), ("tcp", ()), ("tcp", ("80", "8080-8099"))]),
    ),
    st.tuples(st.just("unbalance"), _NETWORKS),
)
STEPS = st.one_of(
    POLICY_STEPS,
    st.tuples(st.just("route"), _SLOTS, st.sampled_from(PREFIXES), st.sampled_from([1, 2])),
    st.tuples(
        st.just("unroute"), st.sampled_from(["blue", "green"]), st.sampled_from(PREFIXES), st.sampled_from([1, 2])
    ),
    st.tuples(st.just("vm"), _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("remove"), _SLOTS),
    st.tuples(st.just("bind"), _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("unbind"), _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("port"), _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("unport"), _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("hoverboard"), st.sampled_from(HOVERBOARDS), st.booleans()),
    st.tuples(st.just("reconnect"), st.sampled_from(HOSTS)),
    st.tuples(st.just("usage"), _SLOTS, _SLOTS, st.sampled_from(HOSTS)),
    st.tuples(st.just("time"), st.sampled_from([1.0, 20.0, 40.0])),
)


def begin(model: str, ipv6: bool = False) -> History:
    world = World(model)
    world.full_update(cluster(len(HOSTS), 1))
    if ipv6:
        world.diff([RANGE6])
    for node in (*HOSTS, *HOVERBOARDS):
        world.connect(node)
        world.hello(node.name)
    return History(world, ipv6=ipv6)


def name_of(slot: tuple[str, int]) -> str:
    return f"{slot[0]}-{slot[1]}"


def step(history: History, action: tuple[Any, ...]) -> None:
    world, kind = history.world, action[0]
    if kind in ("vm", "remove", "bind", "unbind", "port", "unport"):
        name, slot = name_of(action[1]), action[1]
        where: Host | None = action[2] if len(action) > 2 else None
    if kind == "vm":
        before = history.vms.get(name)
        history.vms[name] = vm(name, slot[0], where.name, slot[1])
        if history.ipv6 and slot[0] == "blue":
            history.vms[name] = history.vms[name].model_copy(update={"ip6": RANGE6.prefix6[slot[1]]})
        if before is not None:
            history.vms[name] = history.vms[name].model_copy(update={"tags": before.tags})
        world.diff([history.vms[name]])
    elif kind == "remove":
        if any(one.next_hop == name for one in history.routes.values()) or any(
            name in one.backends for one in history.balancers.values()
        ):
            with pytest.raises(EntityError, match="still needed by (Route|LoadBalancer)"):
                world.diff(remove=[("VM", name)])
            return
        history.vms.pop(name, None)
        world.diff(remove=[("VM", name)])
    elif kind == "route":
        (net, _), prefix, priority = action[1:]
        name = f"{net}-{PREFIXES.index(prefix)}-{priority}"
        one = route(name, net, prefix, name_of(action[1]), priority)
        if one.next_hop in history.vms:
            history.routes[name] = one
            world.diff([one])
    elif kind == "unroute":
        name = f"{action[1]}-{PREFIXES.index(action[2])}-{action[3]}"
        history.routes.pop(name, None)
        world.diff(remove=[("Route", name)])
    elif kind == "policy":
        name, ingress, egress = action[1:]
        history.networks[name] = Network(name=name, vni=VNIS[name], ingress=ingress, egress=egress)
        world.diff([history.networks[name]])
    elif kind == "tag":
        name = name_of(action[1])
        if name in history.vms:
            history.vms[name] = history.vms[name].model_copy(update={"tags": action[2]})
            world.diff([history.vms[name]])
    elif kind == "rule":
        net, name, direction, decision, priority, targets, ends, (protocol, ports) = action[1:]
        if family := {"icmp": ".", "icmpv6": ":"}.get(protocol):  # it has no prefixes of the other
            ends = {what: tuple(one for one in ends[what] if what == "tags" or family in one) for what in ends}
        rule = FirewallRule.model_validate(
            {"name": f"{net}-{name}", "network": net, "direction": direction, "action": decision,
             "priority": priority, "targets": targets, "protocol": protocol, "ports": ports, **ends}
        )  # fmt: skip
        history.rules[rule.name] = rule
        world.diff([rule])
    elif kind == "unrule":
        history.rules.pop(f"{action[1]}-{action[2]}", None)
        world.diff(remove=[("FirewallRule", f"{action[1]}-{action[2]}")])
    elif kind == "balance":
        net, members, (protocol, ports) = action[1:]
        backends = tuple(f"{net}-{n}" for n in sorted(members) if f"{net}-{n}" in history.vms)
        if backends:
            history.balancers[net] = LoadBalancer.model_validate(
                {"name": f"{net}-lb", "network": net, "ip": VIP, "backends": backends, "protocol": protocol,
                 "ports": ports}
            )  # fmt: skip
            world.diff([history.balancers[net]])
    elif kind == "unbalance":
        history.balancers.pop(action[1], None)
        world.diff(remove=[("LoadBalancer", f"{action[1]}-lb")])
    elif kind == "bind":
        history.bindings[where.name][name] = f"vp-{name}"
        world.bind(where.name, name, f"vp-{name}")
    elif kind == "unbind":
        history.bindings[where.name].pop(name, None)
        world.unbind(where.name, name)
    elif kind == "port":
        number = 100 + 10 * (slot[0] == "green") + slot[1]
        history.ports[where.name][f"vp-{name}"] = number
        world.port(where, f"vp-{name}", number)
    elif kind == "unport":
        history.ports[where.name].pop(f"vp-{name}", None)
        world.port(where, f"vp-{name}", None)
    elif kind == "hoverboard":
        node, present = action[1], action[2]
        if present:
            history.hoverboards[node.name] = node
            world.diff([node])
        else:
            history.hoverboards.pop(node.name, None)
            world.diff(remove=[("Hoverboard", node.name)])
    elif kind == "model":
        settle(world)
        world.core.set_model(ALL_MODELS[action[1]], world.now)
        world.work()
        if action[2]:  # else it is still under way when the next step comes
            settle(world)
    elif kind == "reconnect":
        world.connect(action[1], history.ports[action[1].name])
    elif kind == "usage":
        src, dst = history.vms.get(name_of(action[1])), history.vms.get(name_of(action[2]))
        if src is not None and dst is not None:
            vni = world.core.view.networks[src.network].vni
            world.usage(action[3].name, vni, str(src.ip), str(dst.ip), 1_000_000)
    else:
        world.pass_time(action[1])


def joined(history: History, one: VM) -> bool:
    vport = history.bindings[one.host].get(one.name)
    return vport is not None and vport in history.ports[one.host]


def rebuilt(history: History) -> World:
    """The same cluster, computed from nothing."""
    world = World(history.world.core.model.name)
    nodes = [*cluster(len(HOSTS), 0), *history.hoverboards.values()]
    nodes = [node for node in nodes if not isinstance(node, Network) and (node.name != RANGE6.name or not history.ipv6)]
    nodes += [RANGE6] if history.ipv6 else []
    policy = [*history.networks.values(), *history.rules.values(), *history.balancers.values()]
    world.full_update([*nodes, *policy, *history.vms.values(), *history.routes.values()])
    for node in (*HOSTS, *history.hoverboards.values()):
        world.connect(node, history.ports.get(node.name))
        world.hello(node.name, history.bindings.get(node.name))
    return world


def let_through(
    history: History, src: VM, source: Address, dst: VM, destination: Address, talk: Talk = TALKS[0]
) -> bool:
    """Whether the firewalls of both ends pass a packet."""
    network = history.networks[src.network]
    return passes(network, history.rules.values(), history.vms.values(), src, source, dst, destination, talk)


def check_talks(history: History, src: VM, dst: VM) -> None:
    """Packets between two VMs that reach each other pass or drop as the firewall's rules say."""
    for talk in TALKS:
        check_talk(history, src, src.ip, dst, dst.ip, talk)
    if src.ip6 is not None and dst.ip6 is not None:
        for talk in TALKS6:
            check_talk(history, src, src.ip6, dst, dst.ip6, talk)


def check_talk(history: History, src: VM, source: Address, dst: VM, destination: Address, talk: Talk) -> None:
    """One packet between two VMs that reach each other, of either family."""
    journey = history.world.speak(src, destination, talk)
    if let_through(history, src, source, dst, destination, talk):
        assert journey.delivered == ((dst.host, history.ports[dst.host][f"vp-{dst.name}"]),), (talk, journey)
    else:
        assert journey.delivered == (), (talk, journey)
        assert journey.dropped[0].startswith("firewall"), (talk, journey)


def check_balancer(history: History, src: VM) -> None:
    """A packet to a shared address reaches the backend of its bucket, if that is served and plugged in."""
    world, balancer = history.world, history.balancers.get(src.network)
    for talk in TALKS:
        journey = world.speak(src, VIP, talk)
        if balancer is None:
            assert journey.delivered == (), (talk, journey)
            continue
        served = balancer.protocol in ("any", talk.protocol)
        served = served and (not balancer.ports or any(a <= talk.destination <= b for a, b in balancer.ports))
        flows, others = buckets(balancer.name, frozenset(balancer.backends))
        if talk.protocol in ("tcp", "udp"):
            dst = history.vms[flows[bucket_of(int(src.ip), talk.source)]]
        else:
            dst = history.vms[others[bucket_of(int(src.ip), None)]]
        if dst is src:
            continue  # its own system answers it, for it owns the address
        arrives = served and joined(history, dst) and let_through(history, src, src.ip, dst, VIP, talk)
        needs_gateway = world.core.model.relays
        if arrives and not (needs_gateway and not history.hoverboards):
            assert journey.delivered == ((dst.host, history.ports[dst.host][f"vp-{dst.name}"]),), (talk, journey)
        else:
            assert journey.delivered == (), (talk, journey)
    if balancer is not None and src.name in balancer.backends:
        for dst in history.vms.values():
            if dst.network == src.network and joined(history, dst) and dst is not src:
                talk = Talk("tcp", 80, 40000)
                answer = world.speak(src, dst.ip, talk, VIP)
                reached = not world.core.model.relays or history.hoverboards or dst.host == src.host
                if reached and let_through(history, src, VIP, dst, dst.ip, talk):
                    assert answer.delivered == ((dst.host, history.ports[dst.host][f"vp-{dst.name}"]),), answer
                elif not let_through(history, src, VIP, dst, dst.ip, talk):
                    assert answer.delivered == (), answer


def check_routes(history: History, src: VM) -> None:
    """Packets to routed addresses, and from them, arrive where the intent says or nowhere."""
    world = history.world
    needs_gateway = world.core.model.relays
    for text in _ROUTED:
        address = IPv4Address(text)
        covering = [one for one in history.routes.values() if one.network == src.network and address in one.prefix]
        ranked = sorted(covering, key=lambda one: (-one.prefix.prefixlen, one.priority))
        hops = [history.vms[one.next_hop] for one in ranked]
        journey = world.send(src, text)
        arrives = bool(hops) and joined(history, hops[0]) and hops[0] is not src
        arrives = arrives and let_through(history, src, src.ip, hops[0], address)
        # Without any Hoverboard only the sender's own host, and what it must set apart there, is reached.
        sure = not needs_gateway or bool(history.hoverboards) or not hops or hops[0].host == src.host
        if arrives and (sure or journey.delivered):
            port = history.ports[hops[0].host][f"vp-{hops[0].name}"]
            assert journey.delivered == ((hops[0].host, port),), (text, journey)
        else:
            assert journey.delivered == (), (text, journey)
        for dst in history.vms.values():
            if dst.network == src.network and dst is not src and joined(history, dst):
                answer = world.send(src, int(dst.ip), text)
                if src not in hops:
                    assert answer.dropped == ("spoofed",), (text, answer)
                elif not let_through(history, src, address, dst, dst.ip):
                    assert answer.delivered == (), (text, answer)
                elif not needs_gateway or history.hoverboards or dst.host == src.host:
                    assert answer.delivered == ((dst.host, history.ports[dst.host][f"vp-{dst.name}"]),)


def settle(world: World) -> None:
    """Let a change of the model come to its end."""
    for _ in range(8):
        if world.core.switching is None:
            return
        world.pass_time(0.5)
    raise AssertionError(world.core.switching)


def check(history: History) -> None:
    """Checks what has to hold after any history."""
    world = history.world
    # The switches hold what the core expects.
    tables, expected = world.tables(), world.expected()
    assert {name: tables[name] for name in expected} == expected

    # Incremental equals from nothing; only offloads and answers have a history of their own.
    own = {Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION} if world.core.model.answers else {Kind.OFFLOAD}

    def without_offloads(of: World) -> dict[str, set[Flow]]:
        return {
            name: {flow for flow in table.values() if kind_of(flow.cookie) not in own}
            for name, table in of.expected().items()
        }

    assert without_offloads(rebuilt(history)) == without_offloads(world)

    # Exactly the pairs that the intent allows.
    needs_gateway = world.core.model.relays
    for src in history.vms.values():
        if not joined(history, src):
            continue
        check_routes(history, src)
        check_balancer(history, src)
        for dst in history.vms.values():
            journey = world.travel(src, dst)
            # A packet to an address can only mean the sender's own tenant's VM with that address.
            target = next((v for v in history.vms.values() if v.network == src.network and v.ip == dst.ip), None)
            path_exists = target is not None and (
                target.host == src.host or not needs_gateway or bool(history.hoverboards)
                or any(o.src == src.name and o.dst == target.name for o in world.policy.active)
            )  # fmt: skip
            sound = target is not None and joined(history, target) and path_exists and target is not src
            if sound:
                check_talks(history, src, target)
            if sound and let_through(history, src, src.ip, target, target.ip):
                port = history.ports[target.host][f"vp-{target.name}"]
                assert journey.delivered == ((target.host, port),), journey
            else:
                assert journey.delivered == (), journey
