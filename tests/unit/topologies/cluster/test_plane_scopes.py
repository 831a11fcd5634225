"""Shares of regional and global control planes: disjoint, and together what one control plane would have programmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.fm.intent_store import IntentStore
from controllers.ofe.openflow import serialize_flow_mod
from controllers.ofe.templates import FlowModEncoder
from controllers.program import Flows, Program
from controllers.vmc.core import ControllerCore
from controllers.vmc.flows.flow_share import WHOLE as EVERYTHING
from controllers.vmc.inter_region import InterRegionShare
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import AnyEntity, Host, Hoverboard
from hoverboard.contract.errors import InputError
from hoverboard.contract.openflow.flow import Flow, FlowKey
from hoverboard.contract.openflow.pipeline import Kind, kind_of
from hoverboard.contract.openflow.shares import GLOBAL, REGIONAL, global_flow
from hoverboard.contract.reports import FlowUsage, UsageReport
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.plane_change import split_change
from topologies.cluster.regional import RegionalClusterManager
from topologies.processes.launcher import Launcher
from topologies.processes.ledger import Ledger
from topologies.processes.run_directory import RunDirectory
from topologies.spec import schema
from topologies.spec.region_scopes import WHOLE, PlaneScope, check_same_region
from topologies.spec.topology import to_entities

TEXT = """
hosts:
  - {name: h1, region: east}
  - {name: h2, region: east}
  - {name: h3, region: west}
hoverboards: [{name: hv1, region: east}, {name: hv2, region: west}]
wan: {}
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    firewall:
      ingress: deny
      rules: [{name: web, direction: ingress, action: allow, tags: [client], protocol: tcp, ports: [80]}]
    load_balancers:
      - {name: near, ip: 10.0.0.100, backends: [a, b], protocol: tcp, ports: [80]}
      - {name: far, ip: 10.0.0.101, backends: [c], protocol: tcp, ports: [80]}
    routes:
      - {name: to-a, prefix: 10.9.0.0/16, next_hop: a}
      - {name: to-c, prefix: 10.9.1.0/24, next_hop: c}
    vms:
      - {name: a, host: h1, tags: [client]}
      - {name: b, host: h2}
      - {name: c, host: h3, tags: [client]}
"""


def _entities(text: str = TEXT) -> list[AnyEntity]:
    return to_entities(schema.parse(text))


def _core(model: str, scope: PlaneScope) -> ControllerCore:
    policy = OffloadPolicy(OffloadSettings())
    made = model_named(model)
    core = ControllerCore(made, policy, share=InterRegionShare(scope.region) if scope.kind == "global" else EVERYTHING)
    entities = scope.share(_entities())
    core.fabric_changed(IntentStore().full_update(entities), complete=True, now=1.0)
    for node in entities:
        if isinstance(node, Host | Hoverboard):
            core.switch_connected(datapath_id(node.underlay_ip), {"vp100": 100}, 1.0)
            here = {"h1": "a", "h2": "b", "h3": "c"}.get(node.name)
            core.agent_hello(node.name, {here: "vp100"} if here else {}, 1.0)
    core.take()
    return core


def _tables(core: ControllerCore) -> dict[str, dict[FlowKey, Flow]]:
    return {switch: table.by_key() for switch, table in core.expected.tables.items()}


@pytest.mark.parametrize("model", ["hoverboard", "gateway", "preprogrammed"])
def test_the_shares_of_two_planes_never_meet_and_are_the_whole_together(model: str) -> None:
    whole = _tables(_core(model, WHOLE))
    crossing = 0
    for region, switches in {"east": {"h1", "h2", "hv1"}, "west": {"h3", "hv2"}}.items():
        regional = _tables(_core(model, PlaneScope("regional", region)))
        beyond = _tables(_core(model, PlaneScope("global", region)))
        assert regional.keys() == beyond.keys() == switches
        for switch in switches:
            mine, theirs = regional[switch], beyond[switch]
            assert not mine.keys() & theirs.keys()
            assert all(REGIONAL.holds(flow) for flow in mine.values())
            assert all(GLOBAL.holds(flow) for flow in theirs.values())
            rest = {key: flow for key, flow in whole[switch].items() if mine.get(key) != flow}
            assert {flow.key: flow for flow in map(global_flow, rest.values())} == theirs
            assert len(mine) + len(rest) == len(whole[switch])
            crossing += len(rest)
    assert crossing > 10


def test_only_pairs_that_cross_are_offloaded_by_a_global_plane() -> None:
    core = _core("hoverboard", PlaneScope("global", "east"))
    vms = core.view.vms
    flows = tuple(FlowUsage(7, vms["a"].ip, vms[other].ip, 10_000_000, 10_000) for other in ("b", "c"))
    core.usage(UsageReport("h1", 1.0, flows), 1.0)
    core.take()
    assert {pair.dst for pair in core.policy.active} == {"c"}
    offloads = [flow for flow in _tables(core)["h1"].values() if kind_of(flow.cookie) is Kind.OFFLOAD]
    assert offloads
    assert all(GLOBAL.holds(flow) and flow.priority == 199 for flow in offloads)


def test_a_plane_deletes_nothing_of_the_others_share() -> None:
    flow = next(iter(_tables(_core("gateway", PlaneScope("global", "east")))["hv1"].values()))
    encoder = FlowModEncoder(lambda delete, one: serialize_flow_mod(delete, one, GLOBAL.mask), cookie=GLOBAL.cookie)
    raw = encoder.delete(flow.key)
    cookie, mask = (int.from_bytes(raw[at : at + 8], "big") for at in (8, 16))  # ofp_flow_mod, after the header
    assert (cookie, mask) == GLOBAL
    assert int.from_bytes(encoder.add(flow)[16:24], "big") == 0


def test_blocks_of_the_global_share_are_sent_as_their_flows_are() -> None:
    parts = [part for table in _core("gateway", PlaneScope("global", "east")).expected.tables.values()
             for part in table.flows.parts]  # fmt: skip
    encoder = FlowModEncoder(serialize_flow_mod)
    for part in parts:
        blocks = b"".join(raw for raw, _ in encoder.bundle(Program(Flows([part])), 5, 1))
        singly = b"".join(raw for raw, _ in encoder.bundle(Program(tuple(Flows([part]))), 5, 1))
        assert blocks == singly


def test_what_rests_on_vms_of_two_regions_is_refused() -> None:
    divided = TEXT.replace("backends: [c]", "backends: [b, c]")
    with pytest.raises(InputError, match="load balancer far: the VMs are in east and west"):
        check_same_region(_entities(divided))
    both = TEXT.replace("prefix: 10.9.1.0/24", "priority: 5, prefix: 10.9.0.0/16")
    with pytest.raises(InputError, match=r"routes of 10\.9\.0\.0/16 in network blue: the VMs are in east and west"):
        check_same_region(_entities(both))
    check_same_region(_entities())


def test_each_plane_that_has_a_part_of_a_change_gets_it_and_can_undo_it(tmp_path: Path) -> None:
    """A route goes from one region to the other: one plane loses it, one gets it, the global ones see it change."""
    launcher = Launcher(Ledger(RunDirectory.of("parts", tmp_path)))
    cluster = RegionalClusterManager(schema.parse(TEXT), ControlLayout(), tmp_path, tmp_path, launcher)
    before = cluster.entities
    assert before.keys() == {(one.TYPE, one.name) for one in _entities()}
    old = before["Route", "to-a"]
    new = old.model_copy(update={"next_hop": "c"})
    every = [*cluster.regional.values(), *cluster.globals.values()]
    parts = {(part.plane.scope.kind, part.plane.scope.region): part for part in split_change(every, before, [new], [])}
    found = {key: (part.upsert, part.remove, part.undo) for key, part in parts.items()}
    assert found == {
        ("regional", "east"): ((), (old,), ((old,), ())),
        ("regional", "west"): ((new,), (), ((), (new,))),
        ("global", "east"): ((new,), (), ((old,), ())),
        ("global", "west"): ((new,), (), ((old,), ())),
    }
    vm = before["VM", "a"].model_copy(update={"tags": ()})
    assert {part.plane.scope.region for part in split_change(every[:2], before, [vm], [])} == {"east"}
    with pytest.raises(InputError, match="load balancer near: the VMs are in east and west"):
        split_change(every, before, [before["LoadBalancer", "near"].model_copy(update={"backends": ("a", "c")})], [])


def test_only_vms_of_a_known_host_come_and_go_in_a_run_with_regions(tmp_path: Path) -> None:
    launcher = Launcher(Ledger(RunDirectory.of("parts", tmp_path)))
    cluster = RegionalClusterManager(schema.parse(TEXT), ControlLayout(), tmp_path, tmp_path, launcher)
    network, vm = cluster.entities["Network", "blue"], cluster.entities["VM", "a"]
    for stray in (network, vm.model_copy(update={"host": "h99"})):
        for change in (cluster.upsert, cluster.remove, cluster.withdraw):
            with pytest.raises(InputError, match=f"a {stray.TYPE} is in no region"):
                change(stray)
    assert [plane.refused for plane in (*cluster.regional.values(), *cluster.globals.values())] == [None] * 4
