"""Worlds whose nodes come, change and go: whether every switch holds what it should."""

from __future__ import annotations

from ipaddress import IPv4Address

from controllers.fm.intent_store import IntentStore
from controllers.testing.world import World, host, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import FirewallRule, Host, Hoverboard, LoadBalancer

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
RULE = FirewallRule(name="f", network="blue", direction="ingress", action="deny", priority=5, ports=(), protocol="icmp")
LB = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))


def dpid_of(node: Host | Hoverboard) -> int:
    return datapath_id(node.underlay_ip)


def moved(node: Host | Hoverboard, last: int) -> Host | Hoverboard:
    """The same node at another underlay address, that of h`last`."""
    return node.model_copy(update={"underlay_ip": host(last).underlay_ip})


def from_nothing(world: World) -> World:
    """The same intent and facts, computed by another controller."""
    other = World(world.core.model.name)
    other.full_update(list(world.fabric.entities.values()))
    joined = {name: world.core.view.vms[name].host for name in world.core.view.ports}
    for node in world.fabric.entities.values():
        if isinstance(node, Host | Hoverboard):
            other.connect(node, dict(world.core.switches[dpid_of(node)].ports))
            other.hello(node.name, {name: f"vp-{name}" for name, home in joined.items() if home == node.name})
    return other


def restart(world: World) -> None:
    """Put another control plane in place of the world's: it knows nothing yet, and switches hold what they held."""
    world.fabric, world.policy = IntentStore(), OffloadPolicy(world.policy.settings)
    world.core = ControllerCore(model_named(world.core.model.name), world.policy)


def check(world: World) -> None:
    """Switches hold what is expected, and that is what another controller computes from nothing."""
    names = {name for kind, name in world.fabric.entities if kind in ("Host", "Hoverboard")}
    assert set(world.expected()) == names
    assert {name: world.tables()[name] for name in names} == world.expected()
    assert from_nothing(world).expected() == world.expected()
