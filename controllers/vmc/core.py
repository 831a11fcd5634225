"""The VM controller's core: intent, physical facts and usage in, flow programs out (paper 3.1, 3.3).

Pure: no sockets, clocks or threads; times are arguments, in seconds of any one clock. An input only marks the flows
that it affects; `take` computes the marked flows and returns the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from controllers.fm.intent_store import Changes
from controllers.program import Flows
from controllers.vmc import switch_programs
from controllers.vmc.affected_scopes import FlowMarks
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.flows.flow_share import WHOLE, FlowShare
from controllers.vmc.joins import Joins
from controllers.vmc.lookups import host_questions
from controllers.vmc.lookups.lookups import Lookup
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.model_change.switchover import Stage, Switchover
from controllers.vmc.model_change.transition import ModelChange
from controllers.vmc.nodes import Nodes
from controllers.vmc.offload import offloads
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.ownership import Ownership
from controllers.vmc.unconfirmed import UnconfirmedPrograms
from controllers.vmc.usage_reports import UsageReports
from controllers.vmc.view.facts import Agents, Switch, Sync
from controllers.vmc.view.flow_scopes import LookupScope, OffloadScope
from controllers.vmc.view.intent import View
from controllers.vmc.view.liveness import Liveness
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Network
from hoverboard.contract.errors import RunError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, kind_of
from hoverboard.contract.reports import UsageReport

_COUNTERS = ("hoverboards_lost", "model_switches")


class ControllerCore:
    """One VM controller; it owns all switches, or those of its partition.

    Args:
        model: the programming model.
        policy: which pairs to offload.
        owns: whether a switch, by datapath id, is in its partition; default: all are.
        share: the flows of its switches that it programs.
        active: whether it programs its switches; a standby only learns (see `activate`).
        gate: whether the next stage of a model change may begin (other partitions may be behind); default: always.
    """

    def __init__(
        self,
        model: ProgrammingModel,
        policy: OffloadPolicy,
        owns: Callable[[int], bool] | None = None,
        *,
        share: FlowShare = WHOLE,
        active: bool = True,
        gate: Callable[[Stage], bool] | None = None,
    ) -> None:
        self.view = View()
        self.model = model
        self.agents = Agents()
        self.liveness = Liveness()
        counters = (*offloads.COUNTERS, *host_questions.COUNTERS, *switch_programs.COUNTERS, *_COUNTERS)
        self.counters = dict.fromkeys(counters, 0)
        self._share = share
        self._ownership = owned = Ownership(self.view, self.agents, share, owns)
        expected = ExpectedFlows(model, self.view, share)
        self._programs = programs = switch_programs.SwitchPrograms(
            expected, owned.can_reconcile, owned.abandoned, self.counters, active=active
        )
        grant = self._grant
        self._marks = FlowMarks(self.view, programs)
        mark = self._marks.scope
        self._joins = Joins(self.view, self.agents, programs)
        self._nodes = Nodes(self.view, programs, self._marks, self.agents, self.liveness, owned.ours)
        self._change = ModelChange(self.view, lambda node: programs.switch_of(node) if programs.active else None, gate)
        self.offloading = offloads.Offloading(self.view, policy, grant, mark, self.counters)
        self.questions = host_questions.HostQuestions(self.view, grant, mark, self._answer, self.counters)
        self._usage_reports = UsageReports(self.view, share, programs, self.offloading, self.questions)

    @property
    def policy(self) -> OffloadPolicy:
        """Which pairs to offload."""
        return self.offloading.policy

    @property
    def active(self) -> bool:
        """Whether it programs its switches."""
        return self._programs.active

    @property
    def expected(self) -> ExpectedFlows | Switchover:
        """The flows that every switch should hold."""
        return self._programs.expected

    @property
    def switches(self) -> Mapping[int, Switch]:
        """The known state of each switch, by datapath id."""
        return self._programs.switches

    @property
    def names(self) -> Mapping[int, str]:
        """Datapath id -> node name, of all nodes of the intent."""
        return self._programs.names

    @property
    def unconfirmed(self) -> UnconfirmedPrograms:
        """The programs of a standby that its master has not confirmed."""
        return self._programs.unconfirmed

    def external(self) -> list[str]:
        """Hosts of its share whose switches other programs control."""
        return self._ownership.external()

    def _grant(self, scope: OffloadScope | LookupScope, given: bool) -> None:
        self.expected.grant(scope, given)

    def _answer(self, lookup: Lookup) -> Flows:
        network = self.view.networks[lookup.network]
        # During a model change, the new model answers.
        return Flows(self.model.lookup_flows(self.view, lookup.host, network, lookup.address))

    # --- mastership -------------------------------------------------------------------------------

    def activate(self, now: float) -> None:
        """Become master: from now on program the switches (see `SwitchPrograms.activate`)."""
        self._programs.activate(now)

    def deactivate(self) -> None:
        """Become a standby: send nothing, and continue to receive intent and facts."""
        self._programs.deactivate()

    # --- intent -----------------------------------------------------------------------------------

    def fabric_changed(self, changes: Changes, *, complete: bool, now: float, number: int = 0) -> None:
        """Apply a change of the fabric manager's intent.

        Args:
            changes: the entities that are added, changed and removed.
            complete: the fabric manager has had a full update.
            now: seconds of a monotonic clock, the same clock for all methods.
            number: number of the update; the master confirms updates by it (see `unconfirmed`). The first complete
                update counts as 0: what it brings a new standby, the master has programmed long before.
        """
        self._programs.begin_update(number if self._ownership.complete else 0, now)
        old = [*changes.removed, *(before for before, _ in changes.changed)]
        new = [*changes.added, *(after for _, after in changes.changed)]
        places = {(vm.host, vm.network) for vm in (*old, *new) if isinstance(vm, VM)}
        present_before = {place for place in places if self.view.present(*place)}
        networks = {one.network if isinstance(one, FirewallRule) else one.name
                    for one in (*old, *new) if isinstance(one, FirewallRule | Network)}  # fmt: skip
        guarded_before = {network for network in networks if self.view.guarded(network)}
        self._mark(old)
        for entity in old:
            self.view.remove(entity)
        for entity in new:
            self.view.add(entity)
        self._mark(new)  # tour: vm 5
        for network in networks & self.view.networks.keys():
            if self.view.guarded(network) != (network in guarded_before):
                self._mark([self.view.networks[network]])
        self._nodes.changed(old, new, now)
        for host, network in places:
            if self.view.present(host, network) != ((host, network) in present_before):
                self._marks.presence(host, network)
                if not self.view.present(host, network):
                    self.questions.network_left(host, network)
        for vm in self.view.vms_among([*old, *new]):
            self._rejoin(vm)
        for entity in (*old, *new):
            self.questions.entity_changed(entity)
            if isinstance(entity, VM):
                self.offloading.recheck(entity.name)
        if complete and not self._ownership.complete:
            self._ownership.complete = True
            self._programs.read_all_ready()

    def _mark(self, entities: Iterable[AnyEntity]) -> None:
        for vm in self._marks.entities(entities):
            self.offloading.mark_pairs_of(vm)

    def packet_in(self, dpid: int, generation: int, in_port: int, cookie: int, frame: bytes, now: float) -> None:
        """Handle a packet that a flow sent to the controller."""
        switch, name = self._programs.current(dpid, generation), self.names.get(dpid)
        if switch is None or switch.sync is not Sync.SYNCED or name is None or not self.model.answers:
            return
        if self.questions.packet_in(name, dpid, in_port, cookie, frame, now):
            self._programs.settle()
            if switch.outstanding == 0:  # the switch already has the answer
                self._release(switch)

    # --- switches ---------------------------------------------------------------------------------

    def switch_connected(self, dpid: int, ports: Mapping[str, int], now: float) -> int:
        """Record a new connection of a switch with its ports (name -> number); return the connection's generation."""
        switch, former = self._programs.connected(dpid, ports)
        for name in {**former, **ports}:
            self._port_touched(dpid, name)
        self.liveness.connection_up(self.names.get(dpid, ""), "switch", now)
        self._programs.read_if_ready(switch)
        return switch.generation

    def switch_disconnected(self, dpid: int, generation: int, now: float, *, reported: bool = True) -> None:
        """Record the end of a connection, unless a newer one exists. The switch's flows stay as they are.

        Args:
            dpid: datapath id of the switch.
            generation: generation of the connection, from `switch_connected`.
            now: seconds of the core's monotonic clock.
            reported: False: the link to the front end broke, and the state of the switch is unknown.
        """
        if self._programs.disconnected(dpid, generation):
            self.questions.held.release(dpid)
            self.questions.limit.forget(dpid)
            self.liveness.connection_down(self.names.get(dpid, ""), "switch", now, reported=reported)

    def port_changed(self, dpid: int, name: str, port: int | None) -> None:
        """Record a new port or port number of a connected switch, or the removal of a port (None)."""
        ports = self.switches[dpid].ports
        if port is None:
            ports.pop(name, None)
        else:
            ports[name] = port
        self._port_touched(dpid, name)

    def switch_flows(self, dpid: int, generation: int, flows: Iterable[Flow], now: float) -> None:
        """Process the answer to a read, all flows of the switch; send what differs from the expected flows."""
        switch, name = self._programs.answering(dpid, generation), self.names.get(dpid)
        if switch is not None and name not in self.expected.tables:
            self._programs.empty(switch, flows)
        if switch is None or name not in self.expected.tables:
            return
        learns = any(model.learns for model in self.expected.models)
        # As long as hosts may learn, their learned flows are left alone.
        actual = [flow for flow in flows if not (learns and kind_of(flow.cookie) is Kind.LEARNED)]
        if self.model.offloads:
            self.offloading.adopt(name, actual, now)
        if self.model.answers:
            self.questions.adopt(name, actual, now)
        self._programs.reconcile(switch, actual)

    def program_done(self, dpid: int, generation: int) -> None:
        """Record that a program is in the switch's tables."""
        switch = self._programs.done(dpid, generation)
        if switch is not None:
            self._release(switch)

    def program_rejected(self, dpid: int, generation: int, reason: str, now: float) -> None:
        """Record that a switch rejected a whole program; it is read again after a pause that grows."""
        self._programs.rejected(dpid, generation, reason, now)

    def _release(self, switch: Switch) -> None:
        """Send the held packets on: the switch has the answers."""
        for port, frame in self.questions.held.release(switch.dpid):
            self._programs.packet(switch, port, frame)

    def take(self) -> switch_programs.Work:
        """The work that the inputs since the last call require."""
        return self._programs.take()

    # --- joins ------------------------------------------------------------------------------------

    def _rejoin(self, vm_name: str) -> None:
        """Join intent, binding and port of one VM again."""
        vm = self.view.vms.get(vm_name)
        if self._joins.update(vm_name) and vm is not None:
            self._marks.join(vm)
            self.questions.entity_changed(vm)

    def _port_touched(self, dpid: int, port_name: str) -> None:
        node = self.names.get(dpid)
        vm = self.agents.vm(node, port_name) if node is not None else None
        if vm is not None:
            self._rejoin(vm)

    # --- host agents ------------------------------------------------------------------------------

    def agent_hello(self, node: str, bindings: Mapping[str, str], now: float) -> None:
        """Record all bindings, VM -> vport, of an agent that opened its stream."""
        touched = self.agents.replace(node, bindings)
        self.agents.known.add(node)
        self.agents.online.add(node)
        self.liveness.connection_up(node, "agent", now)
        for vm in touched:
            self._rejoin(vm)
        switch = self._programs.switch_of(node)
        if switch is not None:
            self._programs.read_if_ready(switch)

    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        """Plug a VM's NIC into a vport."""
        for touched in self.agents.bind(node, vm, vport):
            self._rejoin(touched)

    def agent_unbound(self, node: str, vm: str) -> None:
        """Unplug a VM's NIC."""
        self.agents.unbind(node, vm)
        self._rejoin(vm)

    def agent_gone(self, node: str, now: float, *, reported: bool = True) -> None:
        """Record the end of an agent's stream; its bindings stay (`reported`: see `switch_disconnected`)."""
        self.agents.online.discard(node)
        self.liveness.connection_down(node, "agent", now, reported=reported)

    # --- usage ------------------------------------------------------------------------------------

    def usage(self, report: UsageReport, now: float) -> None:
        """Process a usage report (see `UsageReports`)."""
        self._usage_reports.receive(report, now, offloads=self.model.offloads)

    def set_policy(self, policy: OffloadPolicy) -> None:
        """Use another offload policy from the next report on; it takes over the active offloads."""
        policy.take_over(self.policy)
        self.offloading.policy = policy

    # --- another model ----------------------------------------------------------------------------

    def set_model(self, model: ProgrammingModel, now: float) -> None:
        """Begin a change to another programming model without loss; `take` and `tick` complete it.

        Raises:
            RunError: the last change is still in progress.
        """
        if model is self.model:
            return
        if isinstance(self.expected, Switchover):
            raise RunError(
                f"the change to model {self.model.name} is still in progress",
                where="SetModel",
                next_step="retry in a few seconds; `hoverboard status` shows what it waits for",
            )
        self.model = model
        self.counters["model_switches"] += 1
        self._programs.expected, programs = self._change.begin(self.expected, model, now)
        self._programs.distribute(programs)
        if model.answers:
            self.questions.prepare(now)

    @property
    def switching(self) -> str | None:
        """Stage of a model change and the switches that it waits for; None when no change is in progress."""
        if not isinstance(self.expected, Switchover):
            return None
        return f"{self.expected.stage}: {', '.join(self._change.waiting(self.expected)) or 'settling'}"

    def _continue_model_change(self, now: float) -> None:
        """Take the next step of a model change, when the last one is done and has settled."""
        switchover = self.expected
        if isinstance(switchover, Switchover) and self._change.ready(switchover, now):
            programs, last = self._change.step(switchover, now)
            self._programs.distribute(programs)
            if last:
                self._programs.expected = switchover.new
                self.questions.preparing = False
                self._end_old_model(switchover.old.model)

    def _end_old_model(self, old: ProgrammingModel) -> None:
        """End what only the old model used."""
        if not self.model.offloads:
            self.offloading.end_all()
        if not self.model.answers:
            self.questions.end_all()
        if old.learns:
            self._programs.reread_all()  # finds the learned flows, which only the switches know

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass: remove idle offloads and answers, leave out dead Hoverboards, retry switches."""
        self.offloading.tick(now)
        self.questions.tick(now)
        if self.liveness.tick(now):
            self.counters["hoverboards_lost"] += len(self.liveness.down - self.view.down)
            self.view.down = set(self.liveness.down)
            self._marks.liveness()
        self._continue_model_change(now)
        self._programs.tick(now)

    def deadline(self) -> float | None:
        """The time at which `tick` is due next, or None."""
        times = (
            self.policy.deadline(), self.questions.lookups.deadline(), self.liveness.deadline(), self._change.due,
            self._programs.deadline(),
        )  # fmt: skip
        return min((at for at in times if at is not None), default=None)
