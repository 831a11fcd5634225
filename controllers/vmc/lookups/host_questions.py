"""Handles the packets that hosts send to the controller: lookups in, answers as flows out (paper 3.3).

For models whose hosts look addresses up (`ProgrammingModel.answers`). A packet waits until the answer is in the switch.
Then it is reinjected into the switch's tables. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address

from controllers.vmc.lookups.lookups import HeldPackets, Lookup, Lookups, QuestionLimit, destination
from controllers.vmc.view.flow_scopes import LookupScope, Scope
from controllers.vmc.view.intent import View, addresses
from hoverboard.contract.entities import VM, AnyEntity, Host, Network, Route
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, kind_of, vni_of
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import UsageReport

_RECENT = 3.0  # seconds for which a flow that was used counts as established
COUNTERS = ("packets_in", "packets_in_limited", "packets_in_unknown", "lookups_expired")


class HostQuestions:
    """The lookups of hosts, and the active answers.

    Args:
        grant: gives a lookup scope its flows, or withdraws them.
        mark: marks a scope, so that its flows are computed again.
        answer: the flows with which a model answers a lookup.
        counters: the counters to increment; has COUNTERS.

    Attributes:
        recent: destinations that hosts used lately, and when; the oldest first.
    """

    def __init__(
        self,
        view: View,
        grant: Callable[[LookupScope, bool], None],
        mark: Callable[[Scope], None],
        answer: Callable[[Lookup], Iterable[Flow]],
        counters: dict[str, int],
    ) -> None:
        self.lookups = Lookups()
        self.limit = QuestionLimit()
        self.preparing = False  # during a change to a model with lookups: used destinations get answers in advance
        self.recent: dict[Lookup, float] = {}
        self.held = HeldPackets()
        self._view = view
        self._grant = grant
        self._mark = mark
        self._answer = answer
        self._counters = counters

    def packet_in(self, host: str, dpid: int, in_port: int, cookie: int, frame: bytes, now: float) -> bool:
        """Answer the lookup that a host's packet makes; return whether the packet waits for the answer."""
        self._counters["packets_in"] += 1
        if kind_of(cookie) is not Kind.PUNT or (address := destination(frame)) is None:
            self._counters["packets_in_unknown"] += 1
            return False
        if not self.limit.take(dpid, in_port, now):
            self._counters["packets_in_limited"] += 1
            return False
        network = self._view.network_by_vni.get(vni_of(cookie), "")
        if not self._view.present(host, network):
            self._counters["packets_in_unknown"] += 1
            return False
        lookup = Lookup(host, network, address)
        negative = self._negative(lookup)
        if lookup not in self.lookups:
            self._grant(_scope(lookup), True)
        self.lookups.add(lookup, negative=negative, now=now)
        return not negative and self.held.keep(dpid, in_port, frame)

    def usage(self, report: UsageReport, now: float) -> None:
        """Renew the answers that a host uses; prepare answers during a change to a model with lookups."""
        for flow in report.flows:
            network = self._view.network_by_vni.get(flow.vni)
            if network is not None:
                lookup = Lookup(report.host, network, flow.dst)
                self.recent.pop(lookup, None)
                self.recent[lookup] = now
                if self.preparing:
                    self._prepare(lookup, now)
                self.lookups.used(lookup, now)
        while self.recent and now - self.recent[first := next(iter(self.recent))] > _RECENT:
            del self.recent[first]

    def prepare(self, now: float) -> None:
        """Install answers for established flows before the change to a model whose hosts ask."""
        self.preparing = True
        for lookup, last in list(self.recent.items()):
            if now - last <= _RECENT:
                self._prepare(lookup, now)

    def _prepare(self, lookup: Lookup, now: float) -> None:
        if lookup in self.lookups or not self._view.present(lookup.host, lookup.network):
            return
        if not self._negative(lookup):
            self._grant(_scope(lookup), True)
            self.lookups.add(lookup, negative=False, now=now)

    def tick(self, now: float) -> None:
        """Withdraw the expired answers."""
        for lookup in self.lookups.expire(now):
            self._counters["lookups_expired"] += 1
            self._grant(_scope(lookup), False)

    def entity_changed(self, entity: AnyEntity) -> None:
        """Renew the answers about an entity that is added, changed or removed."""
        if not self.lookups:  # most models have none, and a full update may be 100,000 entities
            return
        match entity:
            case VM():
                for address in addresses(entity):
                    self._refresh(self.lookups.about(entity.network, address))
                for network, prefix in self._view.prefixes_via(entity.name):
                    self._refresh(self.lookups.about(network, prefix))
            case Route():
                self._refresh(self.lookups.about(entity.network, entity.prefix))
            case Network():
                self._refresh(self.lookups.about(entity.name))
            case Host():
                self._refresh(self.lookups.all())
            case _:
                pass

    def network_left(self, host: str, network: str) -> None:
        """Withdraw the answers of a host that has lost its last VM of a network."""
        for lookup in self.lookups.of_host(host, network):
            self._drop(lookup)

    def end_all(self) -> None:
        """Withdraw all answers: the new programming model has no lookups."""
        for lookup in self.lookups.all():
            self._drop(lookup)

    def adopt(self, host: str, flows: Iterable[Flow], now: float) -> None:
        """Take over the answers of an earlier controller that a switch still holds; they age from now on."""
        for flow in flows:
            kind, network = kind_of(flow.cookie), self._view.network_by_vni.get(vni_of(flow.cookie), "")
            if kind not in (Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION):
                continue
            address = _destination_of(flow)
            if address is None or not self._view.present(host, network):
                continue
            lookup = Lookup(host, network, address)
            if lookup not in self.lookups:
                self._grant(_scope(lookup), True)
                self.lookups.add(lookup, negative=self._negative(lookup), now=now)

    def _refresh(self, lookups: Iterable[Lookup]) -> None:
        for lookup in list(lookups):
            self.lookups.set_negative(lookup, negative=self._negative(lookup))
            self._mark(_scope(lookup))

    def _drop(self, lookup: Lookup) -> None:
        self.lookups.drop(lookup)
        self._grant(_scope(lookup), False)

    def _negative(self, lookup: Lookup) -> bool:
        return any(kind_of(flow.cookie) is Kind.DROP_UNKNOWN_DESTINATION for flow in self._answer(lookup))


def _scope(lookup: Lookup) -> LookupScope:
    return LookupScope(*lookup)


def _destination_of(flow: Flow) -> Address | None:
    """The single address that a flow matches; None for a prefix, or anything else."""
    for match in flow.match:
        if match.field == "ipv4_dst" and match.mask is None:
            return IPv4Network(match.value).network_address
        if match.field == "ipv6_dst" and match.mask is None:
            return IPv6Address(match.value)
    return None
