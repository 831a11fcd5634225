"""What the controller makes of usage: reports in, offloads and their flows out (paper section 3.3.1).

The policy decides; this names the VMs in reports, keeps offloads legal while VMs come, move and go, and
takes over those that an earlier controller made. Pure.
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
    """Offloads and the VMs they are about.

    Args:
        grant: gives an offload scope its flows, or takes them back.
        mark: has a scope's flows computed again.
        counters: where to count; has COUNTERS.
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
        """Whether a report comes from whom usage is taken from; else it is counted and of no use."""
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
        """Take in an accepted report."""
        view = self._view
        used: dict[Pair, int] = {}  # over both families: a pair goes host to host whole
        relayed = report.host in view.hoverboards
        for flow in report.flows:
            src = view.vm_at(flow.vni, flow.src)
            dst = view.vm_at(flow.vni, flow.dst)
            if src is None and (relayed or view.routed_to_host(flow.vni, flow.src, report.host)):
                continue  # a next hop's answer; only pairs of VMs are offloaded
            if src is None or (src.host != report.host and not relayed):
                self._counters["usage_flows_not_sent_by_reporter"] += 1
            elif dst is not None and dst.host != src.host:
                pair = Pair(src.name, dst.name)
                used[pair] = used.get(pair, 0) + flow.bytes
        sent = [Sent(pair, view.vms[pair.src].host, octets) for pair, octets in used.items()]
        decision = self.policy.report(sent, report.seconds, now)
        for pair in decision.stop:
            self._ended(pair)
        for pair in decision.start:
            self._counters["offloads_started"] += 1
            self._offload(pair)

    def tick(self, now: float) -> None:
        """Take idle offloads back."""
        for pair in self.policy.expire(now):
            self._ended(pair)

    def mark_pairs_of(self, vm: str) -> None:
        """Something that offloads of a VM rest on has changed."""
        for pair in self._pairs_of.get(vm, ()):
            self._mark(OffloadScope(*pair))

    def recheck(self, vm: str) -> None:
        """A VM came, changed or went: its offloads are pointed at where it is now where legal, taken back where not."""
        for pair in list(self._pairs_of.get(vm, ())):
            if self._legal(pair):
                self._mark(OffloadScope(*pair))
            else:
                self._end(pair)

    def end_all(self) -> None:
        """The programming model has no use for offloads any more."""
        for pair in list(self.policy.active):
            self._end(pair)

    def adopt(self, host: str, flows: Iterable[Flow], now: float) -> None:
        """Offloads outlive the controller that made them: those still legal are taken over as they are."""
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
        """The VM that a flow's "src" or "dst" names."""
        vni = vni_of(flow.cookie)
        for match in flow.match:
            if match.field == f"ipv4_{end}":
                return self._view.vm_at(vni, IPv4Address(match.value))
            if match.field == f"ipv6_{end}":
                return self._view.vm_at(vni, IPv6Address(match.value))
        return None

    def _legal(self, pair: Pair) -> bool:
        """Whether the pair may go host to host from the host that holds the flow: a sender that moved starts again."""
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
