"""Switches and what they should hold: reading, programs, refusals, and the joins of intent and facts (paper 3.1).

What `core.ControllerCore` is built on; pure as that is. A switch gets nothing before it was read, and is not
read before this controller knows enough to judge it: a young controller never wipes a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controllers.program import Flows, Program
from controllers.vmc import asking, offloading
from controllers.vmc.change import ModelChange
from controllers.vmc.expected import ExpectedFlows
from controllers.vmc.facts import Agents, Switch, Sync
from controllers.vmc.liveness import Liveness
from controllers.vmc.lookups import Lookup
from controllers.vmc.missed import Missed
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.offload import OffloadPolicy
from controllers.vmc.switchover import Switchover
from controllers.vmc.view import Scope, View
from hoverboard.contract.flow import Flow
from hoverboard.contract.pipeline import Kind, kind_of

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before a switch that refused a program is tried again
_COUNTERS = (
    "reconciliations", "reconciled_flows_kept", "reconciled_flows_changed", "programs_refused",
    "hoverboards_lost", "model_switches",
)  # fmt: skip


@dataclass(slots=True)
class Work:
    """What is to be done with the switches, each named by datapath id and generation.

    Attributes:
        reads: whose flows to read.
        programs: what to send, in this order.
        packets: (datapath id, generation, port, frame) to send through the tables, after that.
        changed: names of switches whose program changed, connected or not.
    """

    reads: list[tuple[int, int]] = field(default_factory=list)
    programs: list[tuple[int, int, Program]] = field(default_factory=list)
    packets: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


class SwitchKeeper:
    """The switches of a controller, and its joins.

    Args:
        model: the programming model.
        policy: which pairs to offload.
        owns: whether a switch, by datapath id, is in its partition; default: all are.
        active: whether it programs its switches; a standby only learns (see `activate`).
    """

    def __init__(
        self,
        model: ProgrammingModel,
        policy: OffloadPolicy,
        owns: Callable[[int], bool] | None = None,
        *,
        active: bool = True,
    ) -> None:
        self.active = active
        self._owns = owns if owns is not None else lambda dpid: True
        self.view = View()
        self.model = model
        self.expected: ExpectedFlows | Switchover = ExpectedFlows(model, self.view)
        self.policy = policy
        self.agents = Agents()
        self.liveness = Liveness()
        self.switches: dict[int, Switch] = {}
        self.names: dict[int, str] = {}  # datapath id -> node name
        self.counters = dict.fromkeys((*offloading.COUNTERS, *asking.COUNTERS, *_COUNTERS), 0)
        self.offloading = offloading.Offloading(self.view, policy, self._grant, self._mark, self.counters)
        self.asking = asking.Asking(self.view, self._grant, self._mark, self._answer, self.counters)
        self._complete = False  # a full update was seen
        self._dpids: dict[str, int] = {}  # node name -> datapath id
        self.change = ModelChange(self.view, lambda node: self._switch_of(node) if self.active else None)
        self._failed: set[int] = set()
        self.missed = Missed()
        self._cause = (0, 0.0)  # number and time of the update that is being worked out
        self._work = Work()

    def _models(self) -> tuple[ProgrammingModel, ...]:
        """The programming model; with another to come, both."""
        if isinstance(self.expected, Switchover):
            return (self.expected.old.model, self.expected.new.model)
        return (self.model,)

    def _grant(self, scope: Scope, given: bool) -> None:
        self.expected.grant(scope, given)

    def _mark(self, scope: Scope) -> None:
        self.expected.mark(scope)

    def _answer(self, lookup: Lookup) -> Flows:
        network = self.view.networks[lookup.network]
        # With another model to come, the answer is that one's.
        return Flows(self.model.lookup_flows(self.view, lookup.host, network, lookup.address))

    # --- mastership -------------------------------------------------------------------------------

    def activate(self, now: float) -> None:
        """Elected: every switch is read, and what differs from the expected is sent.

        Changes go out at once, those first that came while nobody was master. They may find a switch in any state; what
        they leave wrong there, the answer to the read shows.
        """
        self._settle()
        self.active = True
        for switch in self.switches.values():
            switch.inherited = switch.connected
            self._consider_reading(switch)
        self._hand_out(dict(self.missed.take(now)))

    def deactivate(self) -> None:
        """Not the master any more: nothing is sent; intent and facts are still taken in."""
        self.active = False
        self._failed.clear()
        self._work = Work(changed=self._work.changed)
        for switch in self.switches.values():
            switch.generation += 1  # answers to what was asked before mean nothing any more
            if switch.connected:
                switch.sync, switch.outstanding = Sync.WAITING, 0

    # --- switches ---------------------------------------------------------------------------------

    def switch_connected(self, dpid: int, ports: Mapping[str, int], now: float) -> int:
        """A switch is there, with these ports (name -> number); returns the connection's generation."""
        switch = self.switches.setdefault(dpid, Switch(dpid))
        switch.generation += 1
        switch.sync, switch.outstanding, switch.inherited = Sync.WAITING, 0, False
        former, switch.ports = switch.ports, dict(ports)
        for name in {**former, **ports}:
            self._port_touched(dpid, name)
        self.liveness.stands(self.names.get(dpid, ""), "switch", now)
        self._consider_reading(switch)
        return switch.generation

    def switch_disconnected(self, dpid: int, generation: int, now: float, *, told: bool = True) -> None:
        """A connection ended; an old one's end is ignored. What the switch holds stays as it is.

        Args:
            told: False: not the switch went away but our line to its front end, which says nothing about it.
        """
        switch = self._present(dpid, generation)
        if switch is not None:
            switch.sync, switch.outstanding = Sync.AWAY, 0
            self.asking.held.release(dpid)
            self.asking.limit.forget(dpid)
            self._broke(self.names.get(dpid, ""), "switch", now, told)

    def _broke(self, node: str, part: str, now: float, told: bool) -> None:
        if told:
            self.liveness.broke(node, part, now)
        else:
            self.liveness.unsure(node, now)

    def port_changed(self, dpid: int, name: str, port: int | None) -> None:
        """A port of a connected switch came (its number) or went (None)."""
        ports = self.switches[dpid].ports
        if port is None:
            ports.pop(name, None)
        else:
            ports[name] = port
        self._port_touched(dpid, name)

    def switch_flows(self, dpid: int, generation: int, flows: Iterable[Flow], now: float) -> None:
        """The answer to a read: all flows of the switch. What differs from the expected is sent."""
        switch = self._present(dpid, generation)
        if switch is None or switch.sync is not Sync.READING:
            return
        name = self.names[dpid]
        switch.inherited = False  # from here on what is to be sent follows from what was read
        learns = any(model.learns for model in self._models())
        # What a host has learned itself is not ours to judge, as long as it may learn.
        actual = {flow.key: flow for flow in flows if not (learns and kind_of(flow.cookie) is Kind.LEARNED)}
        if self.model.offloads:
            self.offloading.adopt(name, actual.values(), now)
        if self.model.answers:
            self.asking.adopt(name, actual.values(), now)
        self._settle()
        table = self.expected.tables[name]
        program = table.program_from(actual)
        switch.sync = Sync.SYNCED
        self.counters["reconciliations"] += 1
        self.counters["reconciled_flows_kept"] += len(table) - len(program.adds) if actual else 0
        self.counters["reconciled_flows_changed"] += len(program)
        if program:
            self._send(switch, program)

    def program_done(self, dpid: int, generation: int) -> None:
        """A program is in the switch's tables."""
        switch = self._present(dpid, generation)
        if switch is not None:
            switch.outstanding -= 1
            if switch.outstanding == 0 and switch.sync is Sync.SYNCED:
                switch.pause = 0.0
                self._release(switch)

    def program_refused(self, dpid: int, generation: int, reason: str, now: float) -> None:
        """A switch refused a program, whole; it is read again after a pause that grows."""
        switch = self._present(dpid, generation)
        if switch is None:
            return  # it went away instead, and is read when it returns
        self.counters["programs_refused"] += 1
        switch.outstanding -= 1
        switch.errors += 1
        switch.last_error = reason
        if switch.sync is Sync.SYNCED:
            switch.pause = min(switch.pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            switch.retry_at = now + switch.pause
            switch.sync = Sync.FAILED
            self._failed.add(dpid)

    def _switch_of(self, node: str) -> Switch | None:
        """What is known of a node's switch."""
        dpid = self._dpids.get(node)
        return self.switches.get(dpid) if dpid is not None else None

    def _present(self, dpid: int, generation: int) -> Switch | None:
        """The switch, if that connection is the one that it has now."""
        switch = self.switches.get(dpid)
        return switch if switch is not None and switch.generation == generation and switch.connected else None

    def _release(self, switch: Switch) -> None:
        """The answers are there: what asked goes its way."""
        for port, frame in self.asking.held.release(switch.dpid):
            self._work.packets.append((switch.dpid, switch.generation, port, frame))

    # --- output -----------------------------------------------------------------------------------

    def take(self) -> Work:
        """Everything that the inputs since the last call call for."""
        self._settle()
        self._cause = (0, self._cause[1])
        work, self._work = self._work, Work()
        return work

    def _settle(self) -> None:
        self._spread(self.expected.settle())

    def _spread(self, programs: Mapping[str, Program]) -> None:
        self._work.changed.update(programs)
        if self.active:
            self._hand_out(programs)
        else:
            for name, program in programs.items():
                self.missed.keep(name, program, *self._cause)

    def _hand_out(self, programs: Mapping[str, Program]) -> None:
        for name, program in programs.items():
            switch = self._switch_of(name)
            if switch is None:
                continue
            if switch.sync is Sync.SYNCED or (switch.sync is Sync.READING and switch.inherited):
                self._send(switch, program)

    def _send(self, switch: Switch, program: Program) -> None:
        switch.outstanding += 1
        self._work.programs.append((switch.dpid, switch.generation, program))

    # --- joins ------------------------------------------------------------------------------------

    def _rejoin(self, vm_name: str) -> None:
        """Join intent, binding and port of one VM again."""
        vm = self.view.vms.get(vm_name)
        port = None
        if vm is not None:
            switch = self._switch_of(vm.host)
            if switch is not None:
                port = switch.ports.get(self.agents.vport(vm.host, vm.name))
        if self.view.ports.get(vm_name) == port:
            return
        if port is None:
            del self.view.ports[vm_name]
        else:
            self.view.ports[vm_name] = port
        if vm is not None:
            self.expected.mark(Scope("vm", vm_name), vm.host)
            for network, prefix in self.view.prefixes_via(vm_name):
                self.expected.mark(Scope("route", network, str(prefix)), vm.host)
            for name in self.view.balancers_via(vm_name):
                self.expected.mark(Scope("balancer", name), vm.host)
            self.asking.touched(vm)

    def _port_touched(self, dpid: int, port_name: str) -> None:
        node = self.names.get(dpid)
        vm = self.agents.vm(node, port_name) if node is not None else None
        if vm is not None:
            self._rejoin(vm)

    def _consider_reading(self, switch: Switch) -> None:
        name = self.names.get(switch.dpid)
        if not self.active or name not in self.expected.tables:
            return
        if switch.sync is Sync.WAITING and self._complete and name in self.agents.heard:
            switch.sync = Sync.READING
            self._work.reads.append((switch.dpid, switch.generation))
