"""The VM controller's core: intent, physical facts and usage in, flow programs out (paper 3.1, 3.3).

Pure: no sockets, clocks or threads; times come in as arguments, in seconds of any one clock. Every
input only marks what it touches; `take` computes the marked part and hands out the work. Rooms beside it: `offload`,
`lookups` (questions of hosts), `model_change`, `flows`, `view`; what belongs to one switch is in `switch_programs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

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
from controllers.vmc.unconfirmed import UnconfirmedPrograms
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
        share: which flows of its switches it programs.
        active: whether it programs its switches; a standby only learns (see `activate`).
        gate: asked at the end of a stage of a change of the model whether the next may begin: other partitions
            may not have come as far. Default: it may.
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
        self.policy = policy
        self.agents = Agents()
        self.liveness = Liveness()
        counters = (*offloads.COUNTERS, *host_questions.COUNTERS, *switch_programs.COUNTERS, *_COUNTERS)
        self.counters = dict.fromkeys(counters, 0)
        self._owns = owns
        self._share = share
        self._complete = False  # a full update was seen
        expected = ExpectedFlows(model, self.view, share)
        self._programs = programs = switch_programs.SwitchPrograms(
            expected, self._can_reconcile, self.counters, active=active
        )
        self._marks = FlowMarks(self.view, programs)
        self._joins = Joins(self.view, self.agents, programs)
        self._nodes = Nodes(self.view, programs, self._marks, self.agents, self.liveness, self._ours)
        self._change = ModelChange(self.view, lambda node: programs.switch_of(node) if programs.active else None, gate)
        self.offloading = offloads.Offloading(self.view, policy, self._grant, self._marks.scope, self.counters)
        self.questions = host_questions.HostQuestions(
            self.view, self._grant, self._marks.scope, self._answer, self.counters
        )

    @property
    def active(self) -> bool:
        """Whether it programs its switches."""
        return self._programs.active

    @property
    def expected(self) -> ExpectedFlows | Switchover:
        """What every switch should hold."""
        return self._programs.expected

    @property
    def switches(self) -> Mapping[int, Switch]:
        """What is known of switches, by datapath id."""
        return self._programs.switches

    @property
    def names(self) -> Mapping[int, str]:
        """Datapath id -> node name, of all nodes that there should be."""
        return self._programs.names

    @property
    def unconfirmed(self) -> UnconfirmedPrograms:
        """What a standby would have sent lately."""
        return self._programs.unconfirmed

    def _can_reconcile(self, node: str) -> bool:
        return self._complete and node in self.agents.known

    def external(self) -> list[str]:
        """Hosts of its share whose switches others program."""
        return sorted(name for name in self.view.external if self._share.programs(self.view, name))

    def _ours(self, dpid: int, node: str) -> bool:
        """Whether a node of the view is ours to program."""
        ours = node not in self.view.external and self._share.programs(self.view, node)
        return ours and (self._owns is None or self._owns(dpid))

    def _grant(self, scope: OffloadScope | LookupScope, given: bool) -> None:
        self.expected.grant(scope, given)

    def _answer(self, lookup: Lookup) -> Flows:
        network = self.view.networks[lookup.network]
        # With another model to come, the answer is that one's.
        return Flows(self.model.lookup_flows(self.view, lookup.host, network, lookup.address))

    # --- mastership -------------------------------------------------------------------------------

    def activate(self, now: float) -> None:
        """Elected: from now on switches are programmed (see `SwitchPrograms.activate`)."""
        self._programs.activate(now)

    def deactivate(self) -> None:
        """Not the master any more: nothing is sent; intent and facts are still taken in."""
        self._programs.deactivate()

    # --- intent -----------------------------------------------------------------------------------

    def fabric_changed(self, changes: Changes, *, complete: bool, now: float, number: int = 0) -> None:
        """The fabric manager's state changed.

        Args:
            complete: it has had a full update.
            number: of the update, where masters report theirs as done (see `unconfirmed`). The first complete one is
                no change: what a young standby learns by it, the switches of its master have long held.
        """
        self._programs.begin_update(number if self._complete else 0, now)
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
        self._mark(new)
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
        if complete and not self._complete:
            self._complete = True
            self._programs.read_all_ready()

    def _mark(self, entities: Iterable[AnyEntity]) -> None:
        for vm in self._marks.entities(entities):
            self.offloading.mark_pairs_of(vm)

    def packet_in(self, dpid: int, generation: int, in_port: int, cookie: int, frame: bytes, now: float) -> None:
        """A flow sent a packet to the controller."""
        switch, name = self._programs.current(dpid, generation), self.names.get(dpid)
        if switch is None or switch.sync is not Sync.SYNCED or name is None or not self.model.answers:
            return
        if self.questions.packet_in(name, dpid, in_port, cookie, frame, now):
            self._programs.settle()
            if switch.outstanding == 0:  # the answer was there already
                self._release(switch)

    # --- switches ---------------------------------------------------------------------------------

    def switch_connected(self, dpid: int, ports: Mapping[str, int], now: float) -> int:
        """A switch is there, with these ports (name -> number); returns the connection's generation."""
        switch, former = self._programs.connected(dpid, ports)
        for name in {**former, **ports}:
            self._port_touched(dpid, name)
        self.liveness.connection_up(self.names.get(dpid, ""), "switch", now)
        self._programs.read_if_ready(switch)
        return switch.generation

    def switch_disconnected(self, dpid: int, generation: int, now: float, *, reported: bool = True) -> None:
        """A connection ended; an old one's end is ignored. What the switch holds stays as it is.

        Args:
            told: False: not the switch went away but our line to its front end, which says nothing about it.
        """
        if self._programs.disconnected(dpid, generation):
            self.questions.held.release(dpid)
            self.questions.limit.forget(dpid)
            self.liveness.connection_down(self.names.get(dpid, ""), "switch", now, reported=reported)

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
        switch, name = self._programs.answering(dpid, generation), self.names.get(dpid)
        if switch is not None and name not in self.expected.tables:
            self._programs.empty(switch, flows)
        if switch is None or name not in self.expected.tables:
            return
        learns = any(model.learns for model in self.expected.models)
        # What a host has learned itself is not ours to judge, as long as it may learn.
        actual = [flow for flow in flows if not (learns and kind_of(flow.cookie) is Kind.LEARNED)]
        if self.model.offloads:
            self.offloading.adopt(name, actual, now)
        if self.model.answers:
            self.questions.adopt(name, actual, now)
        self._programs.reconcile(switch, actual)

    def program_done(self, dpid: int, generation: int) -> None:
        """A program is in the switch's tables."""
        switch = self._programs.done(dpid, generation)
        if switch is not None:
            self._release(switch)

    def program_rejected(self, dpid: int, generation: int, reason: str, now: float) -> None:
        """A switch refused a program, whole; it is read again after a pause that grows."""
        self._programs.rejected(dpid, generation, reason, now)

    def _release(self, switch: Switch) -> None:
        """The answers are there: what asked goes its way."""
        for port, frame in self.questions.held.release(switch.dpid):
            self._programs.packet(switch, port, frame)

    def take(self) -> switch_programs.Work:
        """Everything that the inputs since the last call call for."""
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
        """An agent opened its stream and told all its bindings, VM -> vport."""
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
        """A VM's NIC was plugged into a vport."""
        for touched in self.agents.bind(node, vm, vport):
            self._rejoin(touched)

    def agent_unbound(self, node: str, vm: str) -> None:
        """A VM's NIC was unplugged."""
        self.agents.unbind(node, vm)
        self._rejoin(vm)

    def agent_gone(self, node: str, now: float, *, reported: bool = True) -> None:
        """An agent's stream ended (`told`: as in `switch_disconnected`): its bindings stay (fail static)."""
        self.agents.online.discard(node)
        self.liveness.connection_down(node, "agent", now, reported=reported)

    # --- usage ------------------------------------------------------------------------------------

    def usage(self, report: UsageReport, now: float) -> None:
        """One usage report; those from whom the policy does not want any are counted and ignored."""
        if report.host in self.view.external:
            return
        report = self._share.usage(self.view, report)
        accepted = self.offloading.accepts(report)
        if report.host in self.view.hoverboards:  # every partition hears of what it relays
            report = self._of_own_hosts(report)
        # A standby adopts what it finds on the switches when its time comes.
        if accepted and self.model.offloads and self.active and not self._programs.awaits_adoption(report.host):
            self.offloading.report(report, now)
        if report.host in self.view.hosts:
            self.questions.usage(report, now)

    def _of_own_hosts(self, report: UsageReport) -> UsageReport:
        senders = ((flow, self.view.vm_at(flow.vni, flow.src)) for flow in report.flows)
        own = tuple(
            flow
            for flow, src in senders
            if src is None or (src.host in self.expected.tables and not self._programs.awaits_adoption(src.host))
        )
        return replace(report, flows=own)

    # --- another model ----------------------------------------------------------------------------

    def set_model(self, model: ProgrammingModel, now: float) -> None:
        """Go over to another programming model, without a hole; `take` and `tick` carry it through.

        Raises:
            RunError: the last change is still under way.
        """
        if model is self.model:
            return
        if isinstance(self.expected, Switchover):
            raise RunError(
                f"the change to model {self.model.name} is still under way",
                where="SetModel",
                next_step="try again in a few seconds; `hoverboard status` shows what it waits for",
            )
        self.model = model
        self.counters["model_switches"] += 1
        self._programs.expected, programs = self._change.begin(self.expected, model, now)
        self._programs.distribute(programs)
        if model.answers:
            self.questions.prepare(now)

    @property
    def switching(self) -> str | None:
        """What a change of the model waits for; None when there is none."""
        if not isinstance(self.expected, Switchover):
            return None
        return f"{self.expected.stage}: {', '.join(self._change.waiting(self.expected)) or 'settling'}"

    def _continue_model_change(self, now: float) -> None:
        """The next step of a change of the model, when the last one is done and has settled."""
        switchover = self.expected
        if isinstance(switchover, Switchover) and self._change.ready(switchover, now):
            programs, last = self._change.step(switchover, now)
            self._programs.distribute(programs)
            if last:
                self._programs.expected = switchover.new
                self.questions.preparing = False
                self._end_old_model(switchover.old.model)

    def _end_old_model(self, old: ProgrammingModel) -> None:
        """What only the model of before had use for."""
        if not self.model.offloads:
            self.offloading.end_all()
        if not self.model.answers:
            self.questions.end_all()
        if old.learns:
            self._programs.reread_all()  # what hosts have learned is to go; they alone know what that is

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time passed: take idle offloads and answers back, leave dead Hoverboards out, try switches again."""
        self.offloading.tick(now)
        self.questions.tick(now)
        if self.liveness.tick(now):
            self.counters["hoverboards_lost"] += len(self.liveness.down - self.view.down)
            self.view.down = set(self.liveness.down)
            self._marks.liveness()
        self._continue_model_change(now)
        self._programs.tick(now)

    def deadline(self) -> float | None:
        """When `tick` is due next, or None."""
        times = (
            self.policy.deadline(), self.questions.lookups.deadline(), self.liveness.deadline(), self._change.due,
            self._programs.deadline(),
        )  # fmt: skip
        return min((at for at in times if at is not None), default=None)
