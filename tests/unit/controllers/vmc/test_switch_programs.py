"""Switches and their programs alone, under a model that a test writes: nothing but what `expected` says is sent."""

from __future__ import annotations

import pytest

from controllers.program import Program
from controllers.testing.world import START, cluster, vm
from controllers.vmc import switch_programs
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.switch_programs import SwitchPrograms
from controllers.vmc.view.facts import Sync
from controllers.vmc.view.flow_scopes import VmScope
from controllers.vmc.view.intent import View
from hoverboard.contract.openflow.pipeline import base_flows
from tests.unit.controllers.vmc.written_model import WrittenModel, flow

B1, DPID = VmScope("b1"), 17


class Bench:
    """Node h1, whose switch is DPID; what is judged, and whether programs are sent, is up to a test."""

    def __init__(self, *, active: bool = True, judged: bool = True) -> None:
        view = View()
        for entity in (*cluster(1), vm("b1", "blue", "h1", 2)):
            view.add(entity)
        self.model = WrittenModel()
        self.judged = judged
        self.counters = dict.fromkeys(switch_programs.COUNTERS, 0)
        expected = ExpectedFlows(self.model, view)
        self.programs = SwitchPrograms(
            expected, lambda node: self.judged, lambda dpid: self.judged, self.counters, active=active
        )
        self.programs.add_node(DPID, "h1")
        expected.add_switch("h1")

    def connect(self) -> int:
        switch, _ = self.programs.connected(DPID, {})
        self.programs.read_if_ready(switch)
        return switch.generation

    def in_step(self) -> int:
        generation = self.connect()
        switch = self.programs.answering(DPID, generation)
        assert switch is not None
        self.programs.reconcile(switch, base_flows())
        self.programs.take()
        return generation

    def write(self, *numbers: int) -> None:
        self.model.flows["h1", B1] = tuple(flow(number) for number in numbers)
        self.programs.expected.mark(B1)


def test_a_switch_whose_node_comes_while_it_is_read_to_be_emptied_is_judged_as_that_node() -> None:
    bench = Bench()
    bench.programs.remove_node(DPID)
    generation = bench.connect()
    assert bench.programs.take().reads == [(DPID, generation)]
    bench.judged = False
    bench.programs.add_node(DPID, "h1")
    assert bench.programs.answering(DPID, generation) is None  # the answer to the read: too early to judge it
    bench.judged = True
    bench.programs.read_all_ready()
    assert bench.programs.take().reads == [(DPID, generation)]
    assert bench.programs.answering(DPID, generation) is not None


def test_a_switch_is_read_once_its_node_can_be_judged_and_then_sent_what_differs() -> None:
    bench = Bench(judged=False)
    generation = bench.connect()
    assert bench.programs.take().reads == []
    bench.judged = True
    bench.programs.read_all_ready()
    bench.programs.read_all_ready()
    assert bench.programs.take().reads == [(DPID, generation)]
    switch = bench.programs.answering(DPID, generation)
    assert switch is not None
    bench.write(1)
    bench.programs.reconcile(switch, [*base_flows(), flow(2)])
    work = bench.programs.take()
    assert work.programs == [(DPID, generation, Program((flow(1),), (flow(2).key,)))]
    assert work.changed == {"h1"}
    assert bench.programs.answering(DPID, generation) is None
    assert bench.counters["reconciled_flows_changed"] == 2


def test_a_standby_sends_nothing_until_it_is_elected() -> None:
    bench = Bench(active=False)
    generation = bench.connect()
    bench.programs.begin_update(1, START)
    bench.write(1)
    work = bench.programs.take()
    assert (work.reads, work.programs, work.changed) == ([], [], {"h1"})
    bench.programs.activate(START)
    work = bench.programs.take()
    assert work.reads == [(DPID, generation)]
    assert [flow(1) in program.adds for _, _, program in work.programs] == [True]


def test_a_refused_program_is_tried_again_after_a_pause_that_grows() -> None:
    bench = Bench()
    generation, now = bench.in_step(), START
    for pause in (1.0, 2.0, 4.0):
        bench.write(int(pause))
        assert len(bench.programs.take().programs) == 1
        bench.programs.rejected(DPID, generation, "full", now)
        assert bench.programs.deadline() == now + pause
        bench.programs.tick(now + pause - 0.1)
        assert bench.programs.take().reads == []
        now += pause
        bench.programs.tick(now)
        assert bench.programs.take().reads == [(DPID, generation)]
        assert bench.programs.deadline() is None
        switch = bench.programs.answering(DPID, generation)
        assert switch is not None
        bench.programs.reconcile(switch, bench.programs.expected.tables["h1"].flows)
        bench.programs.take()
    assert bench.counters["programs_refused"] == 3


@pytest.mark.parametrize("outstanding", [1, 2])
def test_a_switch_is_done_when_its_last_program_is(outstanding: int) -> None:
    bench = Bench()
    generation = bench.in_step()
    for number in range(outstanding):
        bench.write(number)
        bench.programs.take()
    found = [bench.programs.done(DPID, generation) is not None for _ in range(outstanding)]
    assert found == [False] * (outstanding - 1) + [True]
    assert bench.programs.done(DPID, generation - 1) is None


def test_a_connection_of_before_says_nothing_any_more() -> None:
    bench = Bench()
    old = bench.in_step()
    new = bench.connect()
    assert bench.programs.current(DPID, old) is None
    assert not bench.programs.disconnected(DPID, old)
    assert bench.programs.disconnected(DPID, new)
    assert bench.programs.switches[DPID].sync is Sync.AWAY
