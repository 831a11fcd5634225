"""The core of a global control plane, beside what its shares are (see the tests of plane scopes): usage, and models."""

from __future__ import annotations

from ipaddress import IPv4Address

from controllers.fm.intent_store import IntentStore
from controllers.testing.world import START, cluster, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.inter_region import InterRegionShare
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import AnyEntity, Host, Hoverboard
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, kind_of
from hoverboard.contract.openflow.shares import GLOBAL
from hoverboard.contract.reports import FlowUsage, UsageReport

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
EAST = {"h1", "h2", "hv1"}


def entities() -> list[AnyEntity]:
    """h1, h2 and hv1 are in the east, the rest in the west."""
    nodes = [
        one.model_copy(update={"region": "east" if one.name in EAST else "west"})
        if isinstance(one, Host | Hoverboard)
        else one
        for one in cluster(3, 2)
    ]
    return [*nodes, B1, B2, B3]


def started(model: str) -> ControllerCore:
    core = ControllerCore(model_named(model), OffloadPolicy(), share=InterRegionShare("east"))
    core.fabric_changed(IntentStore().full_update(entities()), complete=True, now=START)
    core.take()
    return core


def tables(core: ControllerCore) -> dict[str, set[Flow]]:
    return {name: set(table.by_key().values()) for name, table in core.expected.tables.items()}


def test_only_what_crosses_to_another_region_counts_and_unknown_addresses_do_not() -> None:
    core = started("hoverboard")
    to = (B2.ip, B3.ip, IPv4Address("10.0.0.99"))
    core.usage(UsageReport("h1", 1.0, tuple(FlowUsage(7, B1.ip, address, 1_000_000, 1) for address in to)), START)
    assert {pair.dst for pair in core.policy.active} == {"b3"}
    assert core.counters["usage_reports"] == 1


def test_a_node_of_another_region_is_not_programmed() -> None:
    core = started("gateway")
    assert set(core.expected.tables) == EAST
    for name, address in (("h3", "172.16.0.3"), ("hv2", "172.16.255.2"), ("h1", "172.16.0.1")):
        core.switch_connected(datapath_id(address), {}, START)
        core.agent_hello(name, {}, START)
    assert core.take().reads == [(datapath_id("172.16.0.1"), 1)]


def test_a_global_plane_keeps_to_its_share_under_another_model() -> None:
    core = started("gateway")
    core.set_model(model_named("preprogrammed"), START)
    core.take()
    for seconds in (0.5, 2.0):
        core.tick(START + seconds)
        core.take()
    assert core.switching is None
    assert tables(core) == tables(started("preprogrammed"))
    flows = set().union(*tables(core).values())
    assert {kind_of(flow.cookie) for flow in flows} == {Kind.ROUTE}
    assert all(GLOBAL.holds(flow) for flow in flows)
