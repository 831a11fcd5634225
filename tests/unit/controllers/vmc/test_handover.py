"""Masters die at any moment, with changes sent, not sent and under way: the switches end with what the intent asks."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers.fm.intent_store import Changes, IntentStore
from controllers.testing.fake_switch import FakeSwitch
from controllers.testing.world import START, cluster, host, hoverboard, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.reports import FlowUsage, UsageReport

NODES = (host(1), host(2), hoverboard(1))
NAMES = {datapath_id(node.underlay_ip): node.name for node in NODES}
VMS = [vm(f"v{number}", "blue", f"h{number % 2 + 1}", number + 2) for number in range(4)]
PORTS = {f"vp-{one.name}": 100 + number for number, one in enumerate(VMS)}


class Partition:
    """Two replicas that hear the same, and switches that answer reads in the order of what they were sent."""

    def __init__(self) -> None:
        self.fabric = IntentStore()
        self.switches = {name: FakeSwitch() for name in NAMES.values()}
        self.number, self.now = 0, START
        self.reads: list[tuple[int, int, list[Flow]]] = []
        self.master, self.standby = self.replica(), self.replica()
        self.master.activate(self.now)
        self.intend(self.fabric.full_update([*cluster(2), *VMS]))
        self.settle()

    def replica(self) -> ControllerCore:
        core = ControllerCore(model_named("hoverboard"), OffloadPolicy(), active=False)
        if self.fabric.synced:
            core.fabric_changed(Changes(0, tuple(self.fabric.entities.values())), complete=True, now=self.now)
        for node in NODES:
            bound = {one.name: f"vp-{one.name}" for one in VMS if one.host == node.name}
            ports = {name: PORTS[name] for name in bound.values()}
            core.switch_connected(datapath_id(node.underlay_ip), ports, self.now)
            core.agent_hello(node.name, bound, self.now)
        return core

    def intend(self, changes: Changes, *, sent: bool = True, told: bool = True) -> None:
        """A change; the master may die before it sends what it calls for, or before it says that it has."""
        self.number += 1
        self.now += 0.1
        self.standby.fabric_changed(changes, complete=True, now=self.now, number=self.number)
        self.standby.take()
        if sent:
            self.master.fabric_changed(changes, complete=True, now=self.now, number=self.number)
            self.work()
            if told:
                self.standby.unconfirmed.applied(self.number)

    def work(self) -> None:
        work = self.master.take()
        for dpid, generation in work.reads:
            self.reads.append((dpid, generation, self.switches[NAMES[dpid]].dump()))
        for dpid, generation, program in work.programs:
            self.switches[NAMES[dpid]].apply(program)
            self.master.program_done(dpid, generation)

    def answer(self) -> None:
        """The oldest read is answered: with what was there when it was asked for."""
        if self.reads:
            self.master.switch_flows(*self.reads.pop(0), self.now)
            self.work()

    def settle(self) -> None:
        while self.reads:
            self.answer()

    def die(self) -> None:
        self.reads.clear()
        self.master, self.standby = self.standby, self.replica()
        self.now += 0.1
        self.master.activate(self.now)
        self.work()

    def use(self, sender: VM, receiver: VM) -> None:
        flow = FlowUsage(7, sender.ip, receiver.ip, 10_000_000, 1)
        for core in (self.master, self.standby):
            core.usage(UsageReport(sender.host, 1.0, (flow,)), self.now)
        self.work()
        self.standby.take()


STEPS = st.one_of(
    st.tuples(st.just("toggle"), st.integers(0, 3), st.sampled_from(["sent", "told", "lost"])),
    st.tuples(st.sampled_from(["die", "answer", "wait"])),
    st.tuples(st.just("use"), st.integers(0, 3), st.integers(0, 3)),
)


LOST, SENT = ("toggle", 0, "lost"), ("toggle", 1, "sent")


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, max_size=25))
@example([LOST])
@example([SENT, ("die",), LOST, ("answer",)])
@example([("use", 0, 1), ("die",), ("use", 0, 1), LOST, ("answer",), ("use", 2, 3)])
@example([("die",), ("toggle", 0, "told"), LOST, ("wait",), SENT, ("die",)])
def test_the_switches_end_as_intended_after_any_deaths(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    world = Partition()
    for step in steps:
        match step:
            case ("toggle", which, how):
                one = VMS[which]
                there = ("VM", one.name) in world.fabric.entities
                changes = world.fabric.diff([] if there else [one], [("VM", one.name)] if there else [])
                world.intend(changes, sent=how != "lost", told=how == "told")
                if how == "lost":
                    world.die()
            case ("use", sender, receiver):
                if {("VM", VMS[one].name) for one in (sender, receiver)} <= world.fabric.entities.keys():
                    world.use(VMS[sender], VMS[receiver])
            case ("die",):
                world.die()
            case ("wait",):
                world.now += 5.0
            case ("answer",):
                world.answer()
    world.settle()
    tables = {name: dict(switch.flows) for name, switch in world.switches.items()}
    assert tables == {name: table.by_key() for name, table in world.master.expected.tables.items()}
    world.die()
    world.settle()
    assert {name: dict(switch.flows) for name, switch in world.switches.items()} == tables
