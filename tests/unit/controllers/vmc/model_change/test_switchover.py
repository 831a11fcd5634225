"""A change of the model, stage by stage: what each switch holds and is sent, and when the next step is due."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import get_args

import pytest

from controllers.program import Program
from controllers.testing.world import START, cluster, hoverboard, route, vm
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.model_change.switchover import Stage, Switchover, difference
from controllers.vmc.model_change.transition import ModelChange
from controllers.vmc.view.facts import Switch, Sync
from controllers.vmc.view.flow_scopes import (
    BalancerScope,
    BaseScope,
    FirewallScope,
    NetworkScope,
    OffloadScope,
    RouteScope,
    VmScope,
)
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import FirewallRule, LoadBalancer
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import base_flows
from tests.unit.controllers.vmc.written_model import WrittenModel, flow

B1 = vm("b1", "blue", "h1", 2)
OF_B1, PAIR = VmScope("b1"), OffloadScope("b1", "b1")
SETTLE, DRAIN, HELD = 0.5, 1.0, 0.05  # literal on purpose: seconds
GONE, STAYS, OTHER, COMES = flow(1), flow(2), flow(3), flow(4)


class Two:
    """Two written models on h1 and hv1: flow 1 goes, 2 stays, 3 becomes another one, 4 comes."""

    def __init__(self) -> None:
        self.view = View()
        for entity in (*cluster(1), B1):
            self.view.add(entity)
        self.models = WrittenModel(), WrittenModel()
        self.old = ExpectedFlows(self.models[0], self.view)
        for switch in ("h1", "hv1"):
            self.old.add_switch(switch)
            self.models[0].flows[switch, OF_B1] = (GONE, STAYS, OTHER)
            self.models[1].flows[switch, OF_B1] = (STAYS, flow(3, 9), COMES)
        self.old.mark(OF_B1)
        self.old.settle()
        new = self.old.under(self.models[1])
        for switch in ("h1", "hv1"):
            new.add_switch(switch)
        new.mark(OF_B1)
        new.settle()
        self.change = Switchover(self.old, new, self.view)

    def write(self, which: int, **flows: tuple[Flow, ...]) -> dict[str, Program]:
        """Change the answer of the old (0) or the new (1) model; return the programs for that."""
        for switch, one in flows.items():
            self.models[which].flows[switch, OF_B1] = one
        self.change.mark(OF_B1)
        return self.change.settle()

    def held(self, switch: str) -> set[Flow]:
        return held(self.change, switch)


def held(change: Switchover, switch: str) -> set[Flow]:
    """The expected flows of a switch now, without those that every switch has."""
    table = change.tables[switch]
    assert set(table.flows) == set(table.by_key().values())
    assert len(table) == len(table.by_key())
    return set(table.flows) - set(base_flows())


def test_what_makes_one_table_another() -> None:
    old, new = ({one.key: one for one in flows} for flows in ((GONE, STAYS, OTHER), (STAYS, flow(3, 9), COMES)))
    assert difference(old, new) == Program((flow(3, 9), COMES), (GONE.key,))


def test_hoverboards_gain_then_hosts_go_over_then_hoverboards_lose() -> None:
    two = Two()
    assert two.change.stage == "gain"
    assert two.change.begin() == {"hv1": Program((flow(3, 9), COMES))}
    assert (two.held("h1"), two.held("hv1")) == ({GONE, STAYS, OTHER}, {GONE, STAYS, flow(3, 9), COMES})
    assert two.change.advance() == {"h1": Program((flow(3, 9), COMES), (GONE.key,))}
    assert two.change.stage == "hosts"
    assert (two.held("h1"), two.held("hv1")) == ({STAYS, flow(3, 9), COMES}, {GONE, STAYS, flow(3, 9), COMES})
    assert two.change.finish() == {"hv1": Program((), (GONE.key,))}


def test_where_two_models_agree_nothing_is_sent() -> None:
    two = Two()
    for switch in ("h1", "hv1"):
        two.models[1].flows[switch, OF_B1] = (GONE, STAYS, OTHER)
    two.change.mark(OF_B1)
    two.change.settle()
    assert (two.change.begin(), two.change.advance(), two.change.finish()) == ({}, {}, {})


def test_a_change_of_intent_reaches_a_host_by_the_model_of_the_stage() -> None:
    two = Two()
    assert two.write(0, h1=(STAYS, OTHER, flow(5))) == {"h1": Program((flow(5),), (GONE.key,))}
    assert two.write(1, h1=(STAYS,)) == {}
    two.change.advance()
    assert two.write(0, h1=(STAYS,)) == {}
    assert two.write(1, h1=(STAYS, flow(6))) == {"h1": Program((flow(6),))}
    assert two.held("h1") == {STAYS, flow(6)}


@pytest.mark.parametrize("stage", get_args(Stage))
@pytest.mark.parametrize(
    ("of_old", "of_new", "program"),
    [
        ((GONE, STAYS, OTHER, flow(5)), (STAYS, flow(3, 9), COMES), Program((flow(5),))),
        ((STAYS, OTHER), (STAYS, flow(3, 9), COMES), Program((), (GONE.key,))),
        ((GONE, OTHER), (STAYS, flow(3, 9), COMES), Program()),  # the new model has it still
        ((GONE, OTHER), (flow(3, 9), COMES), Program((), (STAYS.key,))),
        ((GONE, STAYS, flow(3, 7)), (STAYS, flow(3, 9), COMES), Program()),  # the new one's counts
        ((GONE, STAYS, flow(3, 7)), (STAYS, flow(3, 8), COMES), Program((flow(3, 8),))),
        ((GONE, STAYS, OTHER), (STAYS, COMES), Program((OTHER,))),  # the old one's counts again
        ((GONE, STAYS, OTHER), (GONE, STAYS, flow(3, 9), COMES), Program()),
        ((GONE, STAYS, OTHER), (flow(1, 9), STAYS, flow(3, 9), COMES), Program((flow(1, 9),))),
    ],
)
def test_a_change_of_intent_reaches_a_hoverboard_by_both_models(
    of_old: tuple[Flow, ...], of_new: tuple[Flow, ...], program: Program, stage: Stage
) -> None:
    two = Two()
    if stage == "hosts":
        two.change.advance()
    two.models[0].flows["hv1", OF_B1] = of_old
    found = two.write(1, hv1=of_new)
    assert found == ({"hv1": program} if program else {})
    kept = {one for one in of_old if one.key not in {new.key for new in of_new}}
    assert two.held("hv1") == kept | set(of_new)
    last = two.change.finish()
    assert {key for one in last.values() for key in one.deletes} == {one.key for one in kept}
    assert not any(one.adds for one in last.values())


def test_switches_may_come_and_go_meanwhile() -> None:
    two = Two()
    two.view.add(hoverboard(2))
    two.change.add_switch("hv2")
    two.change.add_switch("h2")
    assert two.change.settle() == {name: Program(tuple(base_flows())) for name in ("hv2", "h2")}
    assert set(two.change.tables) == {"h1", "hv1", "h2", "hv2"}
    assert two.write(0, hv2=(GONE,), h2=(GONE,)) == {"hv2": Program((GONE,)), "h2": Program((GONE,))}
    assert two.write(1, hv2=(COMES,), h2=(COMES,)) == {"hv2": Program((COMES,))}
    assert (two.held("hv2"), two.held("h2")) == ({GONE, COMES}, {GONE})
    two.change.advance()
    assert (two.held("hv2"), two.held("h2")) == ({GONE, COMES}, {COMES})
    for name in ("hv2", "h2", "hv1"):
        two.change.remove_switch(name)
    assert set(two.change.tables) == {"h1"}
    assert two.change.settle() == {}
    assert two.change.finish() == {}
    two.change.add_switch("hv1")
    assert two.change.settle() == {"hv1": Program(tuple(base_flows()))}
    assert held(two.change, "hv1") == set()


def test_a_switch_that_goes_before_the_hosts_go_over_is_forgotten_by_both_models() -> None:
    two = Two()
    two.change.remove_switch("h1")
    assert set(two.change.tables) == {"hv1"}
    assert two.change.old.tables.keys() == two.change.new.tables.keys() == {"hv1"}
    assert two.change.advance() == {}


def test_both_models_hear_of_offloads_and_answers() -> None:
    two = Two()
    for model in two.models:
        model.flows["h1", PAIR] = (flow(8),)
    two.change.grant(PAIR, True)
    assert two.change.settle() == {"h1": Program((flow(8),))}
    assert two.change.old.granted == two.change.new.granted == {PAIR}
    two.change.grant(PAIR, False)
    assert two.change.old.granted == two.change.new.granted == set()
    two.change.mark(BaseScope(), "h1")
    assert two.change.settle() == {"h1": Program((), (flow(8).key,))}


# --- when the next step is due --------------------------------------------------------------------------


class Watch:
    """A change that has begun, and switches that a test sets; stages of `held` may not end."""

    def __init__(self) -> None:
        self.held: list[Stage] = []
        self.asked: list[Stage] = []
        self.two = Two()
        self.switches: dict[str, Switch] = {}
        self.change = ModelChange(self.two.view, self.switches.get, self._gate)
        self.switchover, self.programs = self.change.begin(self.two.old, self.two.models[1], START)
        self.switches.update({name: Switch(number, sync=Sync.SYNCED) for number, name in enumerate(("h1", "hv1"))})

    def _gate(self, stage: Stage) -> bool:
        self.asked.append(stage)
        return stage not in self.held


def test_a_change_begins_with_both_models_on_hoverboards_and_half_a_second_for_their_caches() -> None:
    watch = Watch()
    assert watch.programs == {"hv1": Program((flow(3, 9), COMES))}
    assert watch.switchover.settle() == {}
    assert watch.change.due == START + SETTLE
    assert watch.change.ready(watch.switchover, START + 0.4) is False
    assert watch.change.ready(watch.switchover, START + 0.5) is True


def test_the_new_model_is_asked_about_all_that_intent_has() -> None:
    view, model = View(), WrittenModel()
    prefix = "192.168.7.0/24"
    scopes = [NetworkScope("blue"), NetworkScope("green"), OF_B1, RouteScope("blue", IPv4Network(prefix))]
    model.where = {scope: ("h1", "hv1") for scope in scopes}
    rule = FirewallRule(name="f", network="blue", direction="ingress", action="deny")
    shared = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.100"), backends=("b1",))
    for entity in (*cluster(1), B1, route("r", "blue", prefix, "b1"), rule, shared):
        view.add(entity)
    old = ExpectedFlows(WrittenModel(), view)
    old.add_switch("h1")
    switchover, _ = ModelChange(view, {}.get).begin(old, model, START)
    assert set(model.asked) == {("h1", scope) for scope in scopes}
    alone = ExpectedFlows(model, view)
    alone.add_switch("h1")
    for policy in (FirewallScope("blue"), BalancerScope("lb")):
        before = len(alone.tables["h1"])
        alone.mark(policy)
        alone.settle()
        assert len(alone.tables["h1"]) > before
    assert switchover.new.tables["h1"].by_key() == alone.tables["h1"].by_key()


def test_the_steps_are_the_hosts_then_the_new_model_alone() -> None:
    watch = Watch()
    programs, last = watch.change.step(watch.switchover, START + 0.5)
    assert (programs, last) == ({"h1": Program((flow(3, 9), COMES), (GONE.key,))}, False)
    assert watch.change.due == START + 0.5 + DRAIN
    assert not watch.change.ready(watch.switchover, START + 1.4)
    assert watch.change.ready(watch.switchover, START + 1.5)
    programs, last = watch.change.step(watch.switchover, START + 1.5)
    assert (programs, last, watch.change.due) == ({"hv1": Program((), (GONE.key,))}, True, None)
    assert watch.change.ready(watch.switchover, START + 99.0) is False


@pytest.mark.parametrize(("stage", "name", "pause"), [("gain", "hv1", SETTLE), ("hosts", "h1", DRAIN)])
@pytest.mark.parametrize(
    ("sync", "outstanding", "waits"),
    [
        (Sync.SYNCED, 0, False),
        (Sync.SYNCED, 1, True),  # a program is under way
        (Sync.READING, 0, True),
        (Sync.WAITING, 0, True),
        (Sync.FAILED, 0, True),
        (Sync.AWAY, 0, False),  # a dead switch holds nothing up
        (Sync.AWAY, 1, False),
    ],
)
def test_a_step_waits_for_connected_switches_of_its_stage(
    stage: Stage, name: str, pause: float, sync: Sync, outstanding: int, waits: bool
) -> None:
    watch = Watch()
    if stage == "hosts":
        watch.change.step(watch.switchover, START)
    other = {"hv1": "h1", "h1": "hv1"}[name]
    watch.switches[other].sync = Sync.FAILED  # of the other stage: of no interest
    watch.switches[name].sync, watch.switches[name].outstanding = sync, outstanding
    assert watch.change.waiting(watch.switchover) == ([name] if waits else [])
    assert watch.change.ready(watch.switchover, START + 5.0) is (not waits)
    if waits:
        assert watch.change.due == START + 5.0 + pause
    del watch.switches[name]  # nothing is known of it
    assert watch.change.waiting(watch.switchover) == []


def test_those_who_are_waited_for_are_named_in_order() -> None:
    watch = Watch()
    for number in (3, 2):
        watch.two.view.add(hoverboard(number))
        watch.switchover.add_switch(f"hv{number}")
        watch.switches[f"hv{number}"] = Switch(number, sync=Sync.READING)
    assert watch.change.waiting(watch.switchover) == ["hv2", "hv3"]


def test_the_other_partitions_may_hold_a_step() -> None:
    watch = Watch()
    watch.held.append("gain")
    assert watch.change.ready(watch.switchover, START + 0.4) is False
    assert watch.asked == []
    assert watch.change.ready(watch.switchover, START + 0.5) is False
    assert (watch.asked, watch.change.due) == (["gain"], START + 0.5 + HELD)
    watch.held.clear()
    assert watch.change.ready(watch.switchover, START + 0.5 + HELD)
