"""The VM controller's core: intent, physical facts and usage in, flow programs out (paper 3.1, 3.3).

Pure: no sockets, clocks or threads; times come in as arguments, in seconds of any one clock. Every
input only marks what it touches; `take` computes the marked part and hands out the work. What belongs
to switches is in `keeper`, to offloads in `offloading`, to questions of hosts in `asking`, to dead
Hoverboards in `liveness`, to another model in `change`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from controllers.fm.fabric import Changes
from controllers.vmc.facts import Sync
from controllers.vmc.keeper import SwitchKeeper, Work
from controllers.vmc.marking import touched_scopes
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.switchover import Switchover
from controllers.vmc.view import Scope
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host, Hoverboard, Network
from hoverboard.contract.errors import RunError
from hoverboard.contract.reports import UsageReport

__all__ = ["ControllerCore", "Work"]


class ControllerCore(SwitchKeeper):
    """One VM controller; it owns all switches, or those of its partition.

    Args:
        model: the programming model.
        policy: which pairs to offload.
    """

    # --- intent -----------------------------------------------------------------------------------

    def fabric_changed(self, changes: Changes, *, complete: bool, now: float, number: int = 0) -> None:
        """The fabric manager's state changed.

        Args:
            complete: it has had a full update.
            number: of the update, where masters report theirs as done (see `missed`). The first complete one is
                no change: what a young standby learns by it, the switches of its master have long held.
        """
        if not self.active:
            self._settle()  # for what came before
        self._cause = (number if self._complete else 0, now)
        old = [*changes.removed, *(before for before, _ in changes.changed)]
        new = [*changes.added, *(after for _, after in changes.changed)]
        places = {(vm.host, vm.network) for vm in (*old, *new) if isinstance(vm, VM)}
        present_before = {place for place in places if self.view.present(*place)}
        networks = {one.network if isinstance(one, FirewallRule) else one.name
                    for one in (*old, *new) if isinstance(one, FirewallRule | Network)}  # fmt: skip
        guarded_before = {network for network in networks if self.view.guarded(network)}
        self._mark_entities(old)
        for entity in old:
            self.view.remove(entity)
        for entity in new:
            self.view.add(entity)
        self._mark_entities(new)
        for network in networks & self.view.networks.keys():
            if self.view.guarded(network) != (network in guarded_before):
                self._mark_entities([self.view.networks[network]])
        self._nodes_changed(old, new, now)
        for host, network in places:
            if self.view.present(host, network) != ((host, network) in present_before):
                self._presence_changed(host, network)
        for vm in self._vms_of([*old, *new]):
            self._rejoin(vm)
        for entity in (*old, *new):
            self.asking.touched(entity)
            if isinstance(entity, VM):
                self.offloading.recheck(entity.name)
        if complete and not self._complete:
            self._complete = True
            for switch in self.switches.values():
                self._consider_reading(switch)

    def _presence_changed(self, host: str, network: str) -> None:
        self.expected.mark(Scope("network", network), host)
        self.expected.mark(Scope("firewall", network), host)
        for name in self.view.balancers_of.get(network, ()):
            self.expected.mark(Scope("balancer", name), host)
        for model in self._models():
            for scope in model.arrival(self.view, host, network):
                self.expected.mark(scope, host)
        if not self.view.present(host, network):
            self.asking.gone(host, network)

    def _mark_entities(self, entities: Iterable[AnyEntity]) -> None:
        for entity in entities:
            scopes, vms = touched_scopes(self.view, entity)
            for scope in scopes:
                self.expected.mark(scope)
            for vm in vms:
                self.offloading.marked_with(vm)

    def _nodes_changed(self, old: Sequence[AnyEntity], new: Sequence[AnyEntity], now: float) -> None:
        gone = [node for node in old if isinstance(node, Host | Hoverboard)]
        come = [node for node in new if isinstance(node, Host | Hoverboard)]
        for node in gone:
            dpid = datapath_id(node.underlay_ip)
            del self.names[dpid], self._dpids[node.name]
            if dpid in self.switches and self.switches[dpid].connected:
                self.switches[dpid].sync = Sync.WAITING
        for node in come:
            dpid = datapath_id(node.underlay_ip)
            self.names[dpid], self._dpids[node.name] = node.name, dpid
        owned = {node.name for node in come if self._owns(self._dpids[node.name])}
        for node in gone:
            if node.name in self.expected.tables and node.name not in owned:
                self.expected.remove_switch(node.name)
            if node.name not in self._dpids:
                self.liveness.forget(node.name)
        for node in come:
            if node.name in owned and node.name not in self.expected.tables:
                self._switch_comes(node.name)
            switch = self._switch_of(node.name)
            if switch is not None:
                self._consider_reading(switch)
            if isinstance(node, Hoverboard):
                self.liveness.watch(node.name, now)
                if node.name in self.agents.online:
                    self.liveness.stands(node.name, "agent", now)
                if switch is not None and switch.connected:
                    self.liveness.stands(node.name, "switch", now)
        if any(isinstance(node, Hoverboard) for node in (*gone, *come)):
            self.view.down = self.view.down & self.view.hoverboards.keys()
            for model in self._models():
                for scope in model.gateway_change(self.view):
                    self.expected.mark(scope)
            for name in self.view.balancers:
                self.expected.mark(Scope("balancer", name))

    def _switch_comes(self, name: str) -> None:
        """A node's switch is ours from now on; its host may have VMs already."""
        self.expected.add_switch(name)
        for network in self.view.networks_on(name):
            self._presence_changed(name, network)

    def _vms_of(self, entities: Iterable[AnyEntity]) -> Iterable[str]:
        """The VMs among entities, and those on hosts among them; each once."""
        found: dict[str, None] = {}
        for entity in entities:
            if isinstance(entity, VM):
                found[entity.name] = None
            elif isinstance(entity, Host):
                found.update(dict.fromkeys(self.view.vms_on(entity.name)))
        return found

    def packet_in(self, dpid: int, generation: int, in_port: int, cookie: int, frame: bytes, now: float) -> None:
        """A flow sent a packet to the controller."""
        switch, name = self._present(dpid, generation), self.names.get(dpid)
        if switch is None or switch.sync is not Sync.SYNCED or name is None or not self.model.answers:
            return
        if self.asking.packet_in(name, dpid, in_port, cookie, frame, now):
            self._settle()
            if switch.outstanding == 0:  # the answer was there already
                self._release(switch)

    # --- host agents ------------------------------------------------------------------------------

    def agent_hello(self, node: str, bindings: Mapping[str, str], now: float) -> None:
        """An agent opened its stream and told all its bindings, VM -> vport."""
        touched = self.agents.replace(node, bindings)
        self.agents.heard.add(node)
        self.agents.online.add(node)
        self.liveness.stands(node, "agent", now)
        for vm in touched:
            self._rejoin(vm)
        switch = self._switch_of(node)
        if switch is not None:
            self._consider_reading(switch)

    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        """A VM's NIC was plugged into a vport."""
        for touched in self.agents.bind(node, vm, vport):
            self._rejoin(touched)

    def agent_unbound(self, node: str, vm: str) -> None:
        """A VM's NIC was unplugged."""
        self.agents.unbind(node, vm)
        self._rejoin(vm)

    def agent_gone(self, node: str, now: float, *, told: bool = True) -> None:
        """An agent's stream ended (`told`: as in `switch_disconnected`): its bindings stay (fail static)."""
        self.agents.online.discard(node)
        self._broke(node, "agent", now, told)

    # --- usage ------------------------------------------------------------------------------------

    def usage(self, report: UsageReport, now: float) -> None:
        """One usage report; those from whom the policy does not want any are counted and ignored."""
        accepted = self.offloading.accepts(report)
        if report.host in self.view.hoverboards:  # every partition hears of what it relays
            report = self._of_own_hosts(report)
        # A standby adopts what it finds on the switches when its time comes.
        if accepted and self.model.offloads and self.active and not self._to_be_adopted(report.host):
            self.offloading.report(report, now)
        if report.host in self.view.hosts:
            self.asking.usage(report, now)

    def _of_own_hosts(self, report: UsageReport) -> UsageReport:
        senders = ((flow, self.view.vm_at(flow.vni, flow.src)) for flow in report.flows)
        own = tuple(
            flow
            for flow, src in senders
            if src is None or (src.host in self.expected.tables and not self._to_be_adopted(src.host))
        )
        return replace(report, flows=own)

    def _to_be_adopted(self, host: str) -> bool:
        """Whether offloads of a former master may stand at a host that this controller has not read yet."""
        switch = self._switch_of(host)
        return switch is not None and switch.inherited

    # --- another model ----------------------------------------------------------------------------

    def set_model(self, model: ProgrammingModel, now: float) -> None:
        """Go over to another programming model, without a hole; `take` and `tick` carry it through.

        Raises:
            RunError: the last change is still under way.
        """
        if isinstance(self.expected, Switchover):
            if model is self.model:
                return
            raise RunError(
                f"the change to model {self.model.name} is still under way",
                where="SetModel",
                next_step="try again in a few seconds; `hoverboard status` shows what it waits for",
            )
        if model is self.model:
            return
        self.model = model
        self.counters["model_switches"] += 1
        self.expected, programs = self.change.begin(self.expected, model, now)
        self._spread(programs)
        if model.answers:
            self.asking.foresee(now)

    @property
    def switching(self) -> str | None:
        """What a change of the model waits for; None when there is none."""
        if not isinstance(self.expected, Switchover):
            return None
        return f"{self.expected.stage}: {', '.join(self.change.waiting(self.expected)) or 'settling'}"

    def _go_on(self, now: float) -> None:
        """The next step of a change of the model, when the last one is done and has settled."""
        switchover = self.expected
        if isinstance(switchover, Switchover) and self.change.ready(switchover, now):
            programs, last = self.change.step(switchover, now)
            self._spread(programs)
            if last:
                self.expected = switchover.new
                self.asking.foreseen = False
                self._cast_off(switchover.old.model)

    def _cast_off(self, old: ProgrammingModel) -> None:
        """What only the model of before had use for."""
        if not self.model.offloads:
            self.offloading.end_all()
        if not self.model.answers:
            self.asking.end_all()
        if old.learns:
            for switch in self.switches.values():
                if switch.sync is Sync.SYNCED:  # what it has learned is to go; it alone knows what that is
                    switch.sync = Sync.WAITING
                    self._consider_reading(switch)

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time passed: take idle offloads and answers back, leave dead Hoverboards out, try switches again."""
        self.offloading.tick(now)
        self.asking.tick(now)
        if self.liveness.turn(now):
            self.counters["hoverboards_lost"] += len(self.liveness.down - self.view.down)
            self.view.down = set(self.liveness.down)
            for model in self._models():
                for scope in model.liveness_change(self.view):
                    self.expected.mark(scope)
        self._go_on(now)
        for dpid in list(self._failed):
            switch = self.switches[dpid]
            if switch.sync is not Sync.FAILED:  # it has connected anew, or gone, since
                self._failed.discard(dpid)
            elif switch.retry_at <= now:
                self._failed.discard(dpid)
                switch.sync = Sync.WAITING
                self._consider_reading(switch)

    def deadline(self) -> float | None:
        """When `tick` is due next, or None."""
        times = [self.switches[dpid].retry_at for dpid in self._failed]
        of_parts = (self.policy.deadline(), self.asking.lookups.deadline(), self.liveness.deadline(), self.change.due)
        return min((*times, *(at for at in of_parts if at is not None)), default=None)
