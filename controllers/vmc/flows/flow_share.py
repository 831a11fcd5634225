"""Which of all flows a controller programs: the port that a region stands behind (paper section 3.5). Pure."""

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
        """Whether it has flows on the switch of a node that is in the view."""
        ...

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """Of a scope's flows on a switch those of the share, marked as such."""
        ...

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """Of a usage report what can have consequences in the share."""
        ...


class WholeShare:
    """All there is, or all of a region that is told of nothing else."""

    def programs(self, view: View, node: str) -> bool:
        """Every switch."""
        return True

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """All flows, as the model gives them."""
        return flows.parts(switch, scope)

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """All usage."""
        return report


WHOLE = WholeShare()
