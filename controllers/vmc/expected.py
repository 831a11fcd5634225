"""Which flows every switch should hold, kept up to date group by group.

A group is what one scope (a network, a VM, a routed prefix, an offloaded pair, an answer) puts on one
switch. Changes mark groups; `settle` asks the model again for marked groups only and returns what became different.
Groups are held as the parts that the model gave, flows or blocks of flows; flows are made from them
only where an old one and a new one have to be compared. Pure; knows neither switches' state nor
where the marks come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, ip_address

from controllers.program import Flows, Part, Program, block
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models.firewall import firewall_flows
from controllers.vmc.models.loadbalancer import balancer_flows, balancer_switches
from controllers.vmc.view import BASE, Scope, View
from hoverboard.contract.flow import Flow, FlowKey
from hoverboard.contract.pipeline import base_flows

Group = tuple[Part, ...]
_BASE_GROUP: Group = (block(base_flows),)


class Table(ABC):
    """The flows that one switch should hold."""

    @property
    @abstractmethod
    def flows(self) -> Flows:
        """All flows, in the form that is sent fastest."""

    def whole(self) -> dict[FlowKey, Flow]:
        """All flows by key."""
        return {flow.key: flow for flow in self.flows}

    def program_from(self, actual: Mapping[FlowKey, Flow]) -> Program:
        """What brings a switch that holds `actual` here."""
        if not actual:
            return Program(self.flows)
        expected = self.whole()
        adds = tuple([flow for key, flow in expected.items() if actual.get(key) != flow])
        return Program(adds, tuple([key for key in actual if key not in expected]))

    def __len__(self) -> int:
        return len(self.flows)


class _Groups(Table):
    """The groups of one switch; their flows are made when they are asked for."""

    def __init__(self, groups: Mapping[Scope, Group]) -> None:
        self._groups = groups

    @property
    def flows(self) -> Flows:
        return Flows([part for group in self._groups.values() for part in group])


class ExpectedFlows:
    """The flows of all switches under one programming model.

    Attributes:
        tables: what each switch should hold, by name; not to be modified.
        granted: what has flows for what happened, not by intent: offloaded pairs, and answers to hosts.
    """

    def __init__(self, model: ProgrammingModel, view: View) -> None:
        self.model = model
        self.granted: set[Scope] = set()
        self._view = view
        self._held: dict[str, dict[Scope, Group]] = {}  # by switch
        self._holders: dict[Scope, set[str]] = {}  # by scope: where it has a group
        self._marked: dict[tuple[str, Scope], None] = {}
        self._marked_everywhere: dict[Scope, None] = {}
        self.tables: dict[str, Table] = {}

    def under(self, model: ProgrammingModel) -> ExpectedFlows:
        """The same share under another model; it has no switches yet."""
        return ExpectedFlows(model, self._view)

    def add_switch(self, switch: str) -> None:
        """A switch exists from now on."""
        self._held[switch] = {}
        self.tables[switch] = _Groups(self._held[switch])
        self.mark(BASE, switch)

    def remove_switch(self, switch: str) -> None:
        """A switch is not ours any more: forget what it should hold, without touching it."""
        del self.tables[switch]
        for scope in self._held.pop(switch):
            self._left(switch, scope)

    def mark(self, scope: Scope, switch: str | None = None) -> None:
        """Look at a scope again, on one switch or wherever it was or now belongs."""
        if switch is None:
            self._marked_everywhere[scope] = None
        else:
            self._marked[switch, scope] = None

    def grant(self, scope: Scope, given: bool) -> None:
        """Give an "offload" or "lookup" scope its flows, or take them back; ignored by a model without such."""
        if self.model.offloads if scope.kind == "offload" else self.model.answers:
            (self.granted.add if given else self.granted.discard)(scope)
            self.mark(scope)

    def settle(self) -> dict[str, Program]:
        """Bring `tables` up to date; what each switch needs for that."""
        marked = self._marked
        for scope in self._marked_everywhere:
            for switch in self._holders.get(scope, ()):
                marked[switch, scope] = None
            for switch in self._switches(scope):
                marked[switch, scope] = None
        self._marked, self._marked_everywhere = {}, {}
        held, holders = self._held, self._holders
        changes: dict[str, list[tuple[Group, Group]]] = {}
        for switch, scope in marked:
            groups = held.get(switch)
            if groups is None:
                continue
            old = groups.get(scope, ())
            new = tuple(self._parts(switch, scope))
            if new == old:
                continue
            if new:
                groups[scope] = new
                if not old:
                    there = holders.get(scope)
                    if there is None:
                        holders[scope] = {switch}
                    else:
                        there.add(switch)
            else:
                del groups[scope]
                self._left(switch, scope)
            of_switch = changes.get(switch)
            if of_switch is None:
                changes[switch] = [(old, new)]
            else:
                of_switch.append((old, new))
        programs = {}
        for switch, pairs in changes.items():
            program = _program(pairs)
            if program:
                programs[switch] = program
        return programs

    def _left(self, switch: str, scope: Scope) -> None:
        holders = self._holders[scope]
        holders.discard(switch)
        if not holders:
            del self._holders[scope]

    def _switches(self, scope: Scope) -> Iterable[str]:
        view = self._view
        match scope.kind:
            case "network" if scope.name in view.networks:
                return self.model.network_switches(view, scope.name)
            case "vm" if scope.name in view.vms:
                return self.model.vm_switches(view, view.vms[scope.name])
            case "route" if (prefix := IPv4Network(scope.other)) in view.routes.get(scope.name, ()):
                return self.model.route_switches(view, scope.name, prefix)
            case "offload" if scope.name in view.vms:
                return (view.vms[scope.name].host,)
            case "lookup" if scope in self.granted:
                return (scope.name,)
            case "firewall":
                return view.hosts_of(scope.name)
            case "balancer" if scope.name in view.balancers:
                return balancer_switches(view, self.model, view.balancers[scope.name])
            case _:
                return ()

    def _parts(self, switch: str, scope: Scope) -> Iterable[Part]:
        view = self._view
        match scope.kind:
            case "base":
                return _BASE_GROUP
            case "network" if scope.name in view.networks:
                return self.model.network_flows(view, switch, view.networks[scope.name])
            case "vm" if scope.name in view.vms:
                return self.model.vm_flows(view, switch, view.vms[scope.name])
            case "route" if (prefix := IPv4Network(scope.other)) in view.routes.get(scope.name, ()):
                return self.model.route_flows(view, switch, view.networks[scope.name], prefix)
            case "offload" if scope in self.granted and switch == view.vms[scope.name].host:
                return self.model.offload_flows(view, view.vms[scope.name], view.vms[scope.other])
            case "lookup" if scope in self.granted:
                network, _, address = scope.other.partition(" ")
                return self.model.lookup_flows(view, switch, view.networks[network], ip_address(address))
            case "firewall" if scope.name in view.networks:
                return firewall_flows(view, switch, view.networks[scope.name])
            case "balancer" if scope.name in view.balancers:
                return balancer_flows(view, self.model, switch, view.balancers[scope.name])
            case _:
                return ()


def _program(changes: Iterable[tuple[Group, Group]]) -> Program:
    """What takes a switch from the old groups to the new ones."""
    old_parts = [part for old, _ in changes for part in old]
    new_parts = [part for _, new in changes for part in new]
    if not old_parts:
        return Program(Flows(new_parts))  # keys belong to one group each: nothing to compare
    # Over all groups at once: two VMs may swap addresses in one request.
    staying = set(old_parts) & set(new_parts)
    old = {flow.key: flow for flow in Flows([part for part in old_parts if part not in staying])}
    new = {flow.key: flow for flow in Flows([part for part in new_parts if part not in staying])}
    adds = tuple([flow for key, flow in new.items() if old.get(key) != flow])
    deletes = tuple([key for key in old if key not in new])
    return Program(adds, deletes)
