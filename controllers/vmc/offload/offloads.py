"""Handles usage: reports in, offloads and their flows out (paper section 3.3.1). Pure.

The policy decides. This module finds the VMs of a report, and keeps offloads valid while VMs are added, moved
and removed. It takes over the offloads of an earlier controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from controllers.vmc.offload.policy import OffloadPolicy, Pair, Sent
from controllers.vmc.view.flow_scopes import OffloadScope, Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, kind_of, vni_of
from hoverboard.contract.reports import UsageReport

COUNTERS = (
    "usage_reports", "usage_reports_from_hoverboards", "usage_reports_from_strangers",
    "usage_flows_not_sent_by_reporter", "offloads_started", "offloads_adopted", "offloads_ended",
)  # fmt: skip
Grant = Callable[[OffloadScope, bool], None]


class Offloading:
    """The offloads and their VMs.

    Args:
        grant: gives an offload scope its flows, or withdraws them.
        mark: marks a scope, so that its flows are computed again.
        counters: the counters to increment; has COUNTERS.
    """

    def __init__(
        self, view: View, policy: OffloadPolicy, grant: Grant, mark: Callable[[Scope], None], counters: dict[str, int]
    ) -> None:
        self.policy = policy
        self._view = view
        self._grant = grant
        self._mark = mark
        self._counters = counters
        self._pairs_of: dict[str, set[Pair]] = {}

    def accepts(self, report: UsageReport) -> bool:
        """Count a report; return whether the policy uses reports of this node."""
        counters = self._counters
        if report.host in self._view.hoverboards:
            counters["usage_reports_from_hoverboards"] += 1
            return self.policy.settings.reports == "hoverboards" and report.seconds > 0
        if report.host not in self._view.hosts or report.seconds <= 0:
            counters["usage_reports_from_strangers"] += 1
            return False
        counters["usage_reports"] += 1
        return self.policy.settings.reports == "hosts"

    def report(self, report: UsageReport, now: float) -> None:
        """Process an accepted report."""
        view = self._view
        used: dict[Pair, int] = {}  # IPv4 and IPv6 together: an offload covers both
        relayed = report.host in view.hoverboards
        for flow in report.flows:
            src = view.vm_at(flow.vni, flow.src)
            dst = view.vm_at(flow.vni, flow.dst)
            if src is None and (relayed or view.routed_to_host(flow.vni, flow.src, report.host)):
                continue  # sent by a next hop or backend with a routed address; only pairs of VMs are offloaded
            if src is None or (src.host != report.host and not relayed):
                self._counters["usage_flows_not_sent_by_reporter"] += 1
            elif dst is not None and dst.host != src.host:
                pair = Pair(src.name, dst.name)
                used[pair] = used.get(pair, 0) + flow.bytes
        sent = [Sent(pair, view.vms[pair.src].host, octets) for pair, octets in used.items()]
        decision = self.policy.report(sent, report.seconds, now)  # tour: report 5
        for pair in decision.stop:
            self._ended(pair)
        for pair in decision.start:
            self._counters["offloads_started"] += 1
            self._offload(pair)

    def tick(self, now: float) -> None:
        """Remove idle offloads."""
        for pair in self.policy.expire(now):
            self._ended(pair)

    def mark_pairs_of(self, vm: str) -> None:
        """Mark the offloads of a VM: something that they depend on has changed."""
        for pair in self._pairs_of.get(vm, ()):
            self._mark(OffloadScope(*pair))

    def recheck(self, vm: str) -> None:
        """Update the offloads of a VM that was added, changed or removed; remove those that are not valid."""
        for pair in list(self._pairs_of.get(vm, ())):
            if self._legal(pair):
                self._mark(OffloadScope(*pair))
            else:
                self._end(pair)

    def end_all(self) -> None:
        """Withdraw all offloads: the new programming model does not use them."""
        for pair in list(self.policy.active):
            self._end(pair)

    def adopt(self, host: str, flows: Iterable[Flow], now: float) -> None:
        """Take over valid offloads of an earlier controller that a switch still holds."""
        for flow in flows:
            if kind_of(flow.cookie) is not Kind.OFFLOAD:
                continue
            src, dst = self._end_of(flow, "src"), self._end_of(flow, "dst")
            if src is None or dst is None or src.host != host or src.host == dst.host:
                continue
            pair = Pair(src.name, dst.name)
            if pair not in self.policy.active:
                self.policy.adopt(pair, host, now)
                self._counters["offloads_adopted"] += 1
                self._offload(pair)

    def _end_of(self, flow: Flow, end: str) -> VM | None:
        """The VM that a flow matches as its "src" or "dst"."""
        vni = vni_of(flow.cookie)
        for match in flow.match:
            if match.field == f"ipv4_{end}":
                return self._view.vm_at(vni, IPv4Address(match.value))
            if match.field == f"ipv6_{end}":
                return self._view.vm_at(vni, IPv6Address(match.value))
        return None

    def _legal(self, pair: Pair) -> bool:
        """Whether the pair may use the direct path from the host that holds the flow. A VM that moved starts again."""
        src, dst = self._view.vms.get(pair.src), self._view.vms.get(pair.dst)
        return (
            src is not None and dst is not None and src.network == dst.network
            and self.policy.active[pair].host == src.host != dst.host
        )  # fmt: skip

    def _offload(self, pair: Pair) -> None:
        for vm in pair:
            self._pairs_of.setdefault(vm, set()).add(pair)
        self._grant(OffloadScope(*pair), True)

    def _end(self, pair: Pair) -> None:
        self.policy.drop(pair)
        self._ended(pair)

    def _ended(self, pair: Pair) -> None:
        self._counters["offloads_ended"] += 1
        for vm in set(pair):
            self._pairs_of[vm].discard(pair)
            if not self._pairs_of[vm]:
                del self._pairs_of[vm]
        self._grant(OffloadScope(*pair), False)
