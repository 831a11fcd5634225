"""The flows that every switch should hold, updated group by group. Pure.

A scope is a network, a VM, a routed prefix, an offloaded pair or an answer. A group is the flows of one scope on one
switch. Changes mark groups; `settle` asks the model for the marked groups only, and returns the differences. A group is
stored as the model's parts: flows, or blocks of flows. Flows are made from blocks only to compare old and new.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from controllers.program import Flows, Part, Program
from controllers.vmc.flows.flow_share import WHOLE, FlowShare
from controllers.vmc.flows.scope_flows import ScopeFlows
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.flow_scopes import BASE, LookupScope, OffloadScope, Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.openflow.flow import Flow, FlowKey

Group = tuple[Part, ...]


class SwitchFlows(ABC):
    """The flows that one switch should hold."""

    @property
    @abstractmethod
    def flows(self) -> Flows:
        """All flows, in the form that is sent fastest."""

    def by_key(self) -> dict[FlowKey, Flow]:
        """All flows by key."""
        return {flow.key: flow for flow in self.flows}

    def program_from(self, actual: Mapping[FlowKey, Flow]) -> Program:
        """The program that changes a switch from the flows `actual` to these."""
        if not actual:
            return Program(self.flows)
        expected = self.by_key()
        adds = tuple([flow for key, flow in expected.items() if actual.get(key) != flow])
        return Program(adds, tuple([key for key in actual if key not in expected]))

    def __len__(self) -> int:
        return len(self.flows)


class _Groups(SwitchFlows):
    """The groups of one switch; their flows are made when they are read."""

    def __init__(self, groups: Mapping[Scope, Group]) -> None:
        self._groups = groups

    @property
    def flows(self) -> Flows:
        return Flows([part for group in self._groups.values() for part in group])


class ExpectedFlows:
    """The flows of all switches under one programming model.

    Args:
        share: which of all flows they are.

    Attributes:
        tables: the flows that each switch should hold, by name; not to be modified.
    """

    def __init__(self, model: ProgrammingModel, view: View, share: FlowShare = WHOLE) -> None:
        self.model = model
        self._view = view
        self._share = share
        self._flows = ScopeFlows(model, view)
        self._held: dict[str, dict[Scope, Group]] = {}  # by switch
        self._holders: dict[Scope, set[str]] = {}  # by scope: the switches on which it has a group
        self._marked: dict[tuple[str, Scope], None] = {}
        self._marked_everywhere: dict[Scope, None] = {}
        self.tables: dict[str, SwitchFlows] = {}

    @property
    def models(self) -> tuple[ProgrammingModel, ...]:
        """The models whose flows these are: a tuple of one model."""
        return (self.model,)

    def under(self, model: ProgrammingModel) -> ExpectedFlows:
        """The same share under another model; it has no switches yet."""
        return ExpectedFlows(model, self._view, self._share)

    def add_switch(self, switch: str) -> None:
        """Add a switch."""
        self._held[switch] = {}
        self.tables[switch] = _Groups(self._held[switch])
        self.mark(BASE, switch)

    def remove_switch(self, switch: str) -> None:
        """Remove a switch that is no longer ours: forget its expected flows, and send nothing."""
        del self.tables[switch]
        for scope in self._held.pop(switch):
            self._left(switch, scope)

    def mark(self, scope: Scope, switch: str | None = None) -> None:
        """Mark a scope, on one switch or on all switches where it was or now belongs."""
        if switch is None:
            self._marked_everywhere[scope] = None
        else:
            self._marked[switch, scope] = None

    @property
    def granted(self) -> set[OffloadScope | LookupScope]:
        """Scopes that have flows because of an event, not of the intent: offloaded pairs, and answers to hosts."""
        return self._flows.granted

    def grant(self, scope: OffloadScope | LookupScope, given: bool) -> None:
        """Give an offload or a lookup its flows, or withdraw them; a model without them ignores this."""
        if self.model.offloads if isinstance(scope, OffloadScope) else self.model.answers:
            (self.granted.add if given else self.granted.discard)(scope)
            self.mark(scope)

    def settle(self) -> dict[str, Program]:
        """Bring `tables` up to date; return the program that each switch needs."""
        marked = self._marked
        for scope in self._marked_everywhere:
            for switch in self._holders.get(scope, ()):
                marked[switch, scope] = None
            for switch in self._flows.switches(scope):
                marked[switch, scope] = None
        self._marked, self._marked_everywhere = {}, {}
        held, holders = self._held, self._holders
        parts, flows = self._share.parts, self._flows
        changes: dict[str, list[tuple[Group, Group]]] = {}
        for switch, scope in marked:
            groups = held.get(switch)
            if groups is None:
                continue
            old = groups.get(scope, ())
            new = tuple(parts(flows, switch, scope))
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
                programs[switch] = program  # tour: vm 9
        return programs

    def _left(self, switch: str, scope: Scope) -> None:
        holders = self._holders[scope]
        holders.discard(switch)
        if not holders:
            del self._holders[scope]


def _program(changes: Iterable[tuple[Group, Group]]) -> Program:
    """The program that changes a switch from the old groups to the new ones."""
    old_parts = [part for old, _ in changes for part in old]
    new_parts = [part for _, new in changes for part in new]
    if not old_parts:
        return Program(Flows(new_parts))  # each key belongs to one group: nothing to compare
    # Over all groups at once: two VMs may swap addresses in one request.
    staying = set(old_parts) & set(new_parts)
    old = {flow.key: flow for flow in Flows([part for part in old_parts if part not in staying])}
    new = {flow.key: flow for flow in Flows([part for part in new_parts if part not in staying])}
    adds = tuple([flow for key, flow in new.items() if old.get(key) != flow])
    deletes = tuple([key for key in old if key not in new])
    return Program(adds, deletes)
