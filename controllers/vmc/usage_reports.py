"""Usage reports of hosts and Hoverboards: each goes to the offload policy and to the lookups (paper 3.3, 4.3). Pure."""

from __future__ import annotations

from dataclasses import replace

from controllers.vmc.flows.flow_share import FlowShare
from controllers.vmc.lookups.host_questions import HostQuestions
from controllers.vmc.offload.offloads import Offloading
from controllers.vmc.switch_programs import SwitchPrograms
from controllers.vmc.view.intent import View
from hoverboard.contract.reports import UsageReport


class UsageReports:
    """Reduces each report to the flows that this controller programs, and passes it on."""

    def __init__(
        self, view: View, share: FlowShare, programs: SwitchPrograms, offloading: Offloading, questions: HostQuestions
    ) -> None:
        self._view = view
        self._share = share
        self._programs = programs
        self._offloading = offloading
        self._questions = questions

    def receive(self, report: UsageReport, now: float, *, offloads: bool) -> None:
        """Process a report; if the policy does not use reports of this node, only count it.

        Args:
            report: of a node; reports of external hosts are ignored.
            now: seconds of the core's monotonic clock.
            offloads: whether the programming model offloads pairs.
        """
        view, programs = self._view, self._programs
        if report.host in view.external:
            return
        report = self._share.usage(view, report)
        accepted = self._offloading.accepts(report)
        if report.host in view.hoverboards:  # every partition receives these reports
            report = self._of_own_hosts(report)
        # A standby adopts the offloads that it finds on the switches when it becomes master.
        if accepted and offloads and programs.active and not programs.awaits_adoption(report.host):
            self._offloading.report(report, now)
        if report.host in view.hosts:
            self._questions.usage(report, now)

    def _of_own_hosts(self, report: UsageReport) -> UsageReport:
        programs = self._programs
        senders = ((flow, self._view.vm_at(flow.vni, flow.src)) for flow in report.flows)
        own = tuple(
            flow
            for flow, src in senders
            if src is None or (src.host in programs.expected.tables and not programs.awaits_adoption(src.host))
        )
        return replace(report, flows=own)
