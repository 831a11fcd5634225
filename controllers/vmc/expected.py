"""Which flows every switch should hold, kept up to date group by group.

A group is what one scope (a network, a VM, a routed prefix, an offloaded pair) puts on one switch. Changes mark
groups; `settle` asks the model again for marked groups only and returns what became different.
Pure; knows neither switches' state nor where the marks come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from controllers.program import Program
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view import BASE, Scope, View
from hoverboard.contract.flow import Flow, FlowKey
from hoverboard.contract.pipeline import base_flows


class ExpectedFlows:
    """The flows of all switches under one programming model.

    Attributes:
        tables: switch name -> flows by key; not to be modified.
        offloads: the pairs, as Scope("offload", src, dst), that have a direct flow.
    """

    def __init__(self, model: ProgrammingModel, view: View) -> None:
        self.model = model
        self.tables: dict[str, dict[FlowKey, Flow]] = {}
        self.offloads: set[Scope] = set()
        self._view = view
        self._groups: dict[Scope, dict[str, tuple[Flow, ...]]] = {}
        self._marked: dict[tuple[str, Scope], None] = {}
        self._marked_everywhere: dict[Scope, None] = {}

    def add_switch(self, switch: str) -> None:
        """A switch exists from now on."""
        self.tables[switch] = {}
        self.mark(BASE, switch)

    def remove_switch(self, switch: str) -> None:
        """A switch is not ours any more: forget what it should hold, without touching it."""
        del self.tables[switch]
        for scope in [scope for scope, groups in self._groups.items() if switch in groups]:
            self._store(switch, scope, ())

    def mark(self, scope: Scope, switch: str | None = None) -> None:
        """Look at a scope again, on one switch or wherever it was or now belongs."""
        if switch is None:
            self._marked_everywhere[scope] = None
        else:
            self._marked[switch, scope] = None

    def settle(self) -> dict[str, Program]:
        """Bring `tables` up to date; what each switch needs for that."""
        marked = self._marked
        for scope in self._marked_everywhere:
            for switch in {*self._groups.get(scope, ()), *self._switches(scope)}:
                marked[switch, scope] = None
        self._marked, self._marked_everywhere = {}, {}
        changes: list[tuple[str, tuple[Flow, ...], tuple[Flow, ...]]] = []
        for switch, scope in marked:
            if switch in self.tables:
                old = self._groups.get(scope, {}).get(switch, ())
                new = tuple(self._flows(switch, scope))
                if new != old:
                    self._store(switch, scope, new)
                    changes.append((switch, old, new))
        return self._apply(changes)

    def _apply(self, changes: Iterable[tuple[str, tuple[Flow, ...], tuple[Flow, ...]]]) -> dict[str, Program]:
        # All old flows leave before any new one comes: two VMs may swap addresses in one request.
        before: dict[str, dict[FlowKey, Flow | None]] = {}
        for switch, old, _ in changes:
            table, seen = self.tables[switch], before.setdefault(switch, {})
            for flow in old:
                key = flow.key
                seen[key] = table.pop(key)
        for switch, _, new in changes:
            table, seen = self.tables[switch], before[switch]
            for flow in new:
                key = flow.key
                seen.setdefault(key, None)
                table[key] = flow
        programs = {}
        for switch, seen in before.items():
            table = self.tables[switch]
            adds = tuple(table[key] for key, old_flow in seen.items() if key in table and table[key] != old_flow)
            deletes = tuple(key for key, old_flow in seen.items() if old_flow is not None and key not in table)
            if adds or deletes:
                programs[switch] = Program(adds, deletes)
        return programs

    def _store(self, switch: str, scope: Scope, flows: tuple[Flow, ...]) -> None:
        groups = self._groups.setdefault(scope, {})
        if flows:
            groups[switch] = flows
        else:
            groups.pop(switch, None)
            if not groups:
                del self._groups[scope]

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
            case _:
                return ()

    def _flows(self, switch: str, scope: Scope) -> Iterable[Flow]:
        view = self._view
        match scope.kind:
            case "base":
                return base_flows()
            case "network" if scope.name in view.networks:
                return self.model.network_flows(view, switch, view.networks[scope.name])
            case "vm" if scope.name in view.vms:
                return self.model.vm_flows(view, switch, view.vms[scope.name])
            case "route" if (prefix := IPv4Network(scope.other)) in view.routes.get(scope.name, ()):
                return self.model.route_flows(view, switch, view.networks[scope.name], prefix)
            case "offload" if scope in self.offloads and switch == view.vms[scope.name].host:
                return self.model.offload_flows(view, view.vms[scope.name], view.vms[scope.other])
            case _:
                return ()
