"""The interface of a controller's share of all flows; regional and global planes each have one (paper 3.5). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from controllers.program import Part
from controllers.vmc.flows.scope_flows import ScopeFlows
from controllers.vmc.view.flow_scopes import Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.reports import UsageReport


class FlowShare(Protocol):
    """One controller's share of switches, flows and usage."""

    def programs(self, view: View, node: str) -> bool:
        """Whether the share has flows on the switch of a node of the view."""
        ...

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """The flows of a scope on a switch that belong to the share, marked as its own."""
        ...

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """The part of a usage report that can cause offloads in the share."""
        ...


class WholeShare:
    """All flows: of a cluster, or of a region whose control plane knows only that region."""

    def programs(self, view: View, node: str) -> bool:
        """Always true."""
        return True

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """All flows, as the model gives them."""
        return flows.parts(switch, scope)

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """The whole report."""
        return report


WHOLE = WholeShare()
