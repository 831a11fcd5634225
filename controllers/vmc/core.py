"""The VM controller's core: intent, physical facts and usage in, flow programs out (paper 3.1, 3.3).

Pure: no sockets, clocks or threads; times come in as arguments, in seconds of any one clock. Every
input only marks what it touches; `take` computes the marked part and hands out the work. A switch
gets nothing before it was read, and is not read before this controller knows enough to judge it:
a young controller never wipes a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from controllers.fm.fabric import Changes
from controllers.program import Program
from controllers.vmc.expected import ExpectedFlows
from controllers.vmc.facts import Agents, Switch, Sync
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.offload import OffloadPolicy, Pair
from controllers.vmc.view import Scope, View
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Route, Subnetwork
from hoverboard.contract.flow import Flow
from hoverboard.contract.pipeline import Kind, kind_of, vni_of
from hoverboard.contract.reports import UsageReport

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before a switch that refused a program is tried again


@dataclass(slots=True)
class Work:
    """What is to be done with the switches, each named by datapath id and generation.

    Attributes:
        reads: whose flows to read.
        programs: what to send, in this order.
        changed: names of switches whose program changed, connected or not.
    """

    reads: list[tuple[int, int]] = field(default_factory=list)
    programs: list[tuple[int, int, Program]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


class ControllerCore:
    """One VM controller; it owns all switches, or those of its partition.

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
        self.expected = ExpectedFlows(model, self.view)
        self.policy = policy
        self.agents = Agents()
        self.switches: dict[int, Switch] = {}
        self.names: dict[int, str] = {}  # datapath id -> node name
        self.counters = dict.fromkeys(
            (
                "usage_reports", "usage_reports_from_hoverboards", "usage_reports_from_strangers",
                "usage_flows_not_sent_by_reporter", "offloads_started", "offloads_adopted", "offloads_ended",
                "reconciliations", "reconciled_flows_kept", "reconciled_flows_changed", "programs_refused",
            ),
            0,
        )  # fmt: skip
        self._model = model
        self._complete = False  # a full update was seen
        self._pairs_of: dict[str, set[Pair]] = {}
        self._dpids: dict[str, int] = {}  # node name -> datapath id
        self._failed: set[int] = set()
        self._work = Work()

    # --- intent -----------------------------------------------------------------------------------

    def fabric_changed(self, changes: Changes, *, complete: bool) -> None:
        """The fabric manager's state changed; `complete`: it has had a full update."""
        old = [*changes.removed, *(before for before, _ in changes.changed)]
        new = [*changes.added, *(after for _, after in changes.changed)]
        places = {(vm.host, vm.network) for vm in (*old, *new) if isinstance(vm, VM)}
        present_before = {place for place in places if self.view.present(*place)}
        self._mark_entities(old)
        for entity in old:
            self.view.remove(entity)
        for entity in new:
            self.view.add(entity)
        self._mark_entities(new)
        self._nodes_changed(old, new)
        for host, network in places:
            if self.view.present(host, network) != ((host, network) in present_before):
                self.expected.mark(Scope("network", network), host)
                for scope in self._model.arrival(self.view, host, network):
                    self.expected.mark(scope, host)
        for entity in (*old, *new):
            if isinstance(entity, VM):
                self._rejoin(entity.name)
                self._recheck_offloads(entity.name)
        for before, after in changes.changed:
            if isinstance(before, VM) and isinstance(after, VM):
                self._forget_moved_sender(before, after)
        if complete and not self._complete:
            self._complete = True
            for switch in self.switches.values():
                self._consider_reading(switch)

    def _mark_entities(self, entities: Iterable[AnyEntity]) -> None:
        mark = self.expected.mark
        for entity in entities:
            match entity:
                case VM():
                    mark(Scope("vm", entity.name))
                    self._mark_routes_via(entity.name)
                case Route():
                    self._mark_prefix(entity.network, entity.prefix)
                case Network():
                    # The VNI stands in every flow of the network.
                    mark(Scope("network", entity.name))
                    for vm in self.view.vms_of_network.get(entity.name, ()):
                        mark(Scope("vm", vm))
                        self._mark_offloads(vm)
                    for prefix in self.view.routes.get(entity.name, ()):
                        mark(Scope("route", entity.name, str(prefix)))
                case Subnetwork():
                    mark(Scope("network", entity.network))
                case Host():
                    for vm in self.view.vms_on(entity.name):
                        mark(Scope("vm", vm))
                        self._mark_offloads(vm)
                        self._mark_routes_via(vm)
                case _:
                    pass

    def _mark_prefix(self, network: str, prefix: IPv4Network) -> None:
        """Routes of a prefix changed: so do the exceptions to them that a longer prefix makes."""
        self.expected.mark(Scope("route", network, str(prefix)))
        for inside in self.view.longer(network, prefix):
            self.expected.mark(Scope("route", network, str(inside)))

    def _mark_routes_via(self, vm: str) -> None:
        for network, prefix in self.view.prefixes_via(vm):
            self._mark_prefix(network, prefix)

    def _nodes_changed(self, old: Sequence[AnyEntity], new: Sequence[AnyEntity]) -> None:
        gone = [node for node in old if isinstance(node, Host | Hoverboard)]
        come = [node for node in new if isinstance(node, Host | Hoverboard)]
        stays = {node.name for node in come}
        for node in gone:
            dpid = datapath_id(node.underlay_ip)
            del self.names[dpid], self._dpids[node.name]
            if node.name not in stays and node.name in self.expected.tables:
                self.expected.remove_switch(node.name)
            if dpid in self.switches and self.switches[dpid].sync is not Sync.AWAY:
                self.switches[dpid].sync = Sync.WAITING
        for node in come:
            dpid = datapath_id(node.underlay_ip)
            self.names[dpid], self._dpids[node.name] = node.name, dpid
            if node.name not in self.expected.tables and self._owns(dpid):
                self.expected.add_switch(node.name)
                for network in self.view.networks_on(node.name):
                    self.expected.mark(Scope("network", network), node.name)
            for vm in self.view.vms_on(node.name):
                self._rejoin(vm)
            if dpid in self.switches:
                self._consider_reading(self.switches[dpid])
        if any(isinstance(node, Hoverboard) for node in (*gone, *come)):
            for scope in self._model.gateway_change(self.view):
                self.expected.mark(scope)

    # --- mastership -------------------------------------------------------------------------------

    def activate(self) -> None:
        """Elected: every switch is read, and what differs from the expected is sent."""
        self.active = True
        for switch in self.switches.values():
            self._consider_reading(switch)

    def deactivate(self) -> None:
        """Not the master any more: nothing is sent; intent and facts are still taken in."""
        self.active = False
        self._failed.clear()
        self._work.reads.clear()
        self._work.programs.clear()
        for switch in self.switches.values():
            switch.generation += 1  # answers to what was asked before mean nothing any more
            if switch.connected:
                switch.sync, switch.outstanding = Sync.WAITING, 0

    # --- switches ---------------------------------------------------------------------------------

    def switch_connected(self, dpid: int, ports: Mapping[str, int]) -> int:
        """A switch is there, with these ports (name -> number); returns the connection's generation."""
        switch = self.switches.setdefault(dpid, Switch(dpid))
        switch.generation += 1
        switch.sync, switch.outstanding = Sync.WAITING, 0
        touched = {name for name, port in (*switch.ports.items(), *ports.items()) if ports.get(name) != port}
        touched |= {name for name, port in ports.items() if switch.ports.get(name) != port}
        switch.ports = dict(ports)
        for name in touched:
            self._port_touched(dpid, name)
        self._consider_reading(switch)
        return switch.generation

    def switch_disconnected(self, dpid: int, generation: int) -> None:
        """A connection ended; an old one's end is ignored. What the switch holds stays as it is."""
        switch = self._present(dpid, generation)
        if switch is not None:
            switch.sync, switch.outstanding = Sync.AWAY, 0

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
        switch, name = self._present(dpid, generation), self.names.get(dpid)
        if switch is None or switch.sync is not Sync.READING or name is None:
            return
        actual = {flow.key: flow for flow in flows}
        self._adopt_offloads(name, actual.values(), now)
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

    def _present(self, dpid: int, generation: int) -> Switch | None:
        """The switch, if that connection is the one that it has now."""
        switch = self.switches.get(dpid)
        return switch if switch is not None and switch.generation == generation and switch.connected else None

    # --- host agents ------------------------------------------------------------------------------

    def agent_hello(self, node: str, bindings: Mapping[str, str]) -> None:
        """An agent opened its stream and told all its bindings, VM -> vport."""
        touched = self.agents.replace(node, bindings)
        self.agents.heard.add(node)
        self.agents.online.add(node)
        for vm in touched:
            self._rejoin(vm)
        switch = self.switches.get(self._dpids.get(node, -1))
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

    def agent_gone(self, node: str) -> None:
        """An agent's stream ended: its bindings stay (fail static)."""
        self.agents.online.discard(node)

    # --- usage ------------------------------------------------------------------------------------

    def usage(self, report: UsageReport, now: float) -> None:
        """One VM host's usage report; a Hoverboard's is counted and ignored."""
        if report.host in self.view.hoverboards:
            self.counters["usage_reports_from_hoverboards"] += 1
            return
        if report.host not in self.view.hosts or report.seconds <= 0:
            self.counters["usage_reports_from_strangers"] += 1
            return
        self.counters["usage_reports"] += 1
        if not self._model.offloads or not self.active:
            return  # a standby adopts what it finds on the switches when its time comes
        used: dict[Pair, int] = {}  # over both families: a pair goes host to host whole
        for flow in report.flows:
            src = self.view.vm_at(flow.vni, flow.src)
            dst = self.view.vm_at(flow.vni, flow.dst)
            if src is None and self.view.routed_to_host(flow.vni, flow.src, report.host):
                continue  # a next hop's answer; only pairs of VMs are offloaded
            if src is None or src.host != report.host:
                self.counters["usage_flows_not_sent_by_reporter"] += 1
            elif dst is not None and dst.host != src.host:
                pair = Pair(src.name, dst.name)
                used[pair] = used.get(pair, 0) + flow.bytes
        for pair in self.policy.report(used.items(), report.seconds, now):
            self.counters["offloads_started"] += 1
            self._offload(pair)

    def tick(self, now: float) -> None:
        """Time passed: take idle offloads back, try switches again."""
        for pair in self.policy.expire(now):
            self._end_offload(pair)
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
        expiry = self.policy.deadline()
        return min((*times, *(() if expiry is None else (expiry,))), default=None)

    # --- output -----------------------------------------------------------------------------------

    def take(self) -> Work:
        """Everything that the inputs since the last call call for."""
        self._settle()
        work, self._work = self._work, Work()
        return work

    def _settle(self) -> None:
        for name, program in self.expected.settle().items():
            self._work.changed.add(name)
            switch = self.switches.get(self._dpids.get(name, -1))
            if switch is not None and switch.sync is Sync.SYNCED:
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
            vport = self.agents.vport(vm.host, vm.name)
            switch = self.switches.get(self._dpids[vm.host])
            if vport is not None and switch is not None:
                port = switch.ports.get(vport)
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

    # --- offloads ---------------------------------------------------------------------------------

    def _legal(self, pair: Pair) -> bool:
        src, dst = self.view.vms.get(pair.src), self.view.vms.get(pair.dst)
        return src is not None and dst is not None and src.network == dst.network and src.host != dst.host

    def _offload(self, pair: Pair) -> None:
        for vm in pair:
            self._pairs_of.setdefault(vm, set()).add(pair)
        scope = Scope("offload", *pair)
        self.expected.offloads.add(scope)
        self.expected.mark(scope)

    def _end_offload(self, pair: Pair) -> None:
        self.counters["offloads_ended"] += 1
        self.policy.drop(pair)
        for vm in set(pair):
            self._pairs_of[vm].discard(pair)
            if not self._pairs_of[vm]:
                del self._pairs_of[vm]
        scope = Scope("offload", *pair)
        self.expected.offloads.discard(scope)
        self.expected.mark(scope)

    def _mark_offloads(self, vm: str) -> None:
        for pair in self._pairs_of.get(vm, ()):
            self.expected.mark(Scope("offload", *pair))

    def _recheck_offloads(self, vm: str) -> None:
        """A VM came, changed or went: its offloads are pointed anew where legal, taken back where not."""
        for pair in list(self._pairs_of.get(vm, ())):
            if self._legal(pair):
                self.expected.mark(Scope("offload", *pair))
            else:
                self._end_offload(pair)

    def _forget_moved_sender(self, before: VM, after: VM) -> None:
        if before.host != after.host:
            for pair in list(self._pairs_of.get(after.name, ())):
                if pair.src == after.name:
                    self._end_offload(pair)

    def _adopt_offloads(self, host: str, flows: Iterable[Flow], now: float) -> None:
        """Offloads outlive the controller that made them: those still legal are taken over as they are."""
        if not self._model.offloads:
            return
        for flow in flows:
            if kind_of(flow.cookie) is not Kind.OFFLOAD:
                continue
            address = {match.field: match.value for match in flow.match}
            vni = vni_of(flow.cookie)
            if "ipv6_src" in address:
                src = self.view.vm_at(vni, IPv6Address(address["ipv6_src"]))
                dst = self.view.vm_at(vni, IPv6Address(address.get("ipv6_dst", 0)))
            else:
                src = self.view.vm_at(vni, IPv4Address(address.get("ipv4_src", 0)))
                dst = self.view.vm_at(vni, IPv4Address(address.get("ipv4_dst", 0)))
            if src is None or dst is None or src.host != host or src.host == dst.host:
                continue
            pair = Pair(src.name, dst.name)
            if pair not in self.policy.active:
                self.policy.adopt(pair, now)
                self.counters["offloads_adopted"] += 1
                self._offload(pair)
