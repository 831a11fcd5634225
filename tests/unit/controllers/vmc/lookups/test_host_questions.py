"""Questions of hosts: which are answered, which packets wait, and what ends, turns or outlives an answer."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest

from controllers.testing.fake_switch import ipv4_packet
from controllers.testing.world import START, VNIS, ethernet, host, network, route, vm
from controllers.vmc.lookups.host_questions import COUNTERS, HostQuestions
from controllers.vmc.lookups.lookups import Lookup
from controllers.vmc.view.flow_scopes import LookupScope, Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.openflow.flow import Flow, Match
from hoverboard.contract.openflow.pipeline import Kind, cookie
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage, UsageReport

B1, B2, G1 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("g1", "green", "h1", 2)
NOWHERE = IPv4Address("10.0.0.99")
ASKS, DPID, PORT = cookie(Kind.PUNT, VNIS["blue"]), 5, 100


class Desk:
    """Questions, with a model that answers with a route for what is there and a drop for what is not."""

    def __init__(self, *more: AnyEntity) -> None:
        self.view = View()
        for entity in (host(1), host(2), *network("blue"), *network("green"), B1, B2, G1, *more):
            self.view.add(entity)
        self.unknown: set[Address] = {NOWHERE}
        self.silent: set[Address] = set()
        self.granted: list[tuple[Scope, bool]] = []
        self.marked: list[Scope] = []
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.questions = HostQuestions(
            self.view, lambda scope, given: self.granted.append((scope, given)), self.marked.append, self._answer,
            self.counters,
        )  # fmt: skip

    def _answer(self, lookup: Lookup) -> list[Flow]:
        if lookup.address in self.silent:
            return []
        kind = Kind.DROP_UNKNOWN_DESTINATION if lookup.address in self.unknown else Kind.ROUTE
        return [Flow(30, 1, (), (), cookie(kind, VNIS[lookup.network]))]

    def ask(
        self, address: Address = B2.ip, *, port: int = PORT, what: int = ASKS, now: float = START, host: str = "h1"
    ) -> bool:
        """Whether the packet now waits."""
        return self.questions.packet_in(host, DPID, port, what, frame(address), now)

    def sends(self, address: Address, now: float, *, host: str = "h1", vni: int = VNIS["blue"]) -> None:
        usage = FlowUsage(vni, B1.ip, address, 1_000, 1)
        self.questions.usage(UsageReport(host, 1.0, (usage,)), now)

    def grants(self) -> list[tuple[Scope, bool]]:
        """The scopes granted and withdrawn since the last call."""
        told, self.granted[:] = list(self.granted), []
        return told


def frame(address: Address) -> bytes:
    return ethernet(ipv4_packet(B1.mac, int(B1.ip), int(address)))


def of(address: Address | str, net: str = "blue", on: str = "h1") -> Scope:
    return LookupScope(on, net, ip_address(address))


def test_a_question_is_answered_once_and_its_packets_wait_in_order() -> None:
    desk = Desk()
    assert desk.ask() is True
    assert desk.ask(port=101) is True
    assert desk.grants() == [(of(B2.ip), True)]
    assert desk.questions.held.release(DPID) == [(PORT, frame(B2.ip)), (101, frame(B2.ip))]
    assert desk.counters == {
        "packets_in": 2, "packets_in_limited": 0, "packets_in_unknown": 0, "lookups_expired": 0,
    }  # fmt: skip


def test_a_packet_to_an_unused_address_gets_an_answer_and_does_not_wait() -> None:
    desk = Desk()
    assert desk.ask(NOWHERE) is False
    assert desk.grants() == [(of(NOWHERE), True)]
    assert desk.questions.held.release(DPID) == []
    assert desk.questions.lookups.deadline() == START + 5.0


def test_a_packet_to_a_vm_of_the_same_host_waits_for_no_flow() -> None:
    desk = Desk()
    desk.silent = {B2.ip}
    assert desk.ask() is True
    assert desk.questions.lookups.deadline() == START + 30.0


@pytest.mark.parametrize(
    ("what", "data", "on"),
    [
        (cookie(Kind.ROUTE, 7), frame(B2.ip), "h1"),  # another flow's packet
        (ASKS, frame(B2.ip)[:33], "h1"),  # not a whole header
        (cookie(Kind.PUNT, 999), frame(B2.ip), "h1"),  # no network
        (cookie(Kind.PUNT, VNIS["green"]), frame(B2.ip), "h2"),  # a network that the host has no VM of
    ],
)
def test_what_is_no_question_is_counted(what: int, data: bytes, on: str) -> None:
    desk = Desk()
    assert desk.questions.packet_in(on, DPID, PORT, what, data, START) is False
    assert (desk.counters["packets_in"], desk.counters["packets_in_unknown"]) == (1, 1)
    assert desk.grants() == []


def test_the_limit_is_of_the_vport_that_asks() -> None:
    desk = Desk()
    asked = [desk.ask(now=START + number / 1000) for number in range(30)]
    assert asked == [True] * 26 + [False] * 4  # 25 at once, and one more in 30 ms
    assert desk.counters["packets_in_limited"] == 4
    assert desk.ask(port=101, now=START)
    desk.questions.limit.forget(DPID)
    assert desk.ask(now=START + 0.03)


# --- use ----------------------------------------------------------------------------------------------


def test_usage_keeps_the_answer_of_the_host_that_sends() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(host="h2")
    desk.grants()
    desk.sends(B2.ip, START + 20.0)
    desk.sends(B2.ip, START + 20.0, vni=999)
    desk.questions.tick(START + 30.0)
    assert desk.grants() == [(of(B2.ip, on="h2"), False)]
    assert desk.counters["lookups_expired"] == 1
    desk.questions.tick(START + 50.0)
    assert desk.grants() == [(of(B2.ip), False)]
    assert desk.counters["lookups_expired"] == 2


def test_only_the_last_three_seconds_of_use_are_remembered() -> None:
    desk = Desk()
    desk.sends(B2.ip, START, vni=999)
    assert desk.questions.recent == {}
    desk.sends(B2.ip, START)
    desk.sends(NOWHERE, START + 1.0)
    desk.sends(B2.ip, START + 3.0)
    assert list(desk.questions.recent) == [Lookup("h1", "blue", NOWHERE), Lookup("h1", "blue", B2.ip)]
    desk.sends(B2.ip, START + 4.0)
    assert list(desk.questions.recent) == [Lookup("h1", "blue", NOWHERE), Lookup("h1", "blue", B2.ip)]
    desk.sends(B2.ip, START + 4.5)
    assert list(desk.questions.recent) == [Lookup("h1", "blue", B2.ip)]


# --- another model comes ------------------------------------------------------------------------------


def test_what_is_in_use_is_answered_before_hosts_ask() -> None:
    desk = Desk()
    desk.ask()
    desk.grants()
    other = IPv4Address("10.0.0.4")
    for address in (B2.ip, other, NOWHERE):
        desk.sends(address, START)
    desk.sends(B1.ip, START - 1.0, host="h2")
    desk.sends(other, START, host="h9")  # a host without a VM of the network
    desk.questions.prepare(START + 3.0)
    assert desk.grants() == [(of(other), True)]  # one is answered already, one is nowhere, one was too long ago
    assert desk.questions.lookups.all() == [Lookup("h1", "blue", B2.ip), Lookup("h1", "blue", other)]
    desk.sends(B1.ip, START + 4.0, host="h2")  # from now on also what is used first
    assert desk.grants() == [(of(B1.ip, on="h2"), True)]
    assert desk.questions.lookups.expire(START + 33.0) == [Lookup("h1", "blue", B2.ip), Lookup("h1", "blue", other)]
    assert desk.questions.lookups.expire(START + 34.0) == [Lookup("h2", "blue", B1.ip)]


def test_nothing_is_answered_before_it_is_asked_under_a_model_that_stays() -> None:
    desk = Desk()
    desk.sends(B2.ip, START)
    assert desk.grants() == []


def test_a_model_that_does_not_answer_takes_all_answers_back() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(what=cookie(Kind.PUNT, VNIS["green"]))
    desk.grants()
    desk.questions.end_all()
    assert desk.grants() == [(of(B2.ip), False), (of(B2.ip, "green"), False)]
    assert desk.questions.lookups.all() == []
    assert desk.ask() is True  # a later model answers again
    assert desk.grants() == [(of(B2.ip), True)]


# --- intent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "again"),
    [
        (B2, {of(B2.ip)}),
        (B2.model_copy(update={"ip6": IPv6Address("fd00:7::3")}), {of(B2.ip), of("fd00:7::3")}),
        (B1, {of("192.168.7.9")}),  # the next hop of a route
        (route("r", "blue", "192.168.0.0/16", "b1"), {of("192.168.7.9")}),
        (G1, {of(B1.ip, "green")}),
        (network("green")[0], {of(B1.ip, "green")}),
        (host(2), {of(B2.ip), of("fd00:7::3"), of("192.168.7.9"), of(B1.ip, "green")}),
        (network("blue")[1], set()),
    ],
)
def test_an_entity_touches_the_answers_that_are_about_it(entity: AnyEntity, again: set[Scope]) -> None:
    desk = Desk(route("r", "blue", "192.168.0.0/16", "b1"))
    for address in (B2.ip, IPv4Address("192.168.7.9"), IPv6Address("fd00:7::3")):
        desk.questions.lookups.add(Lookup("h1", "blue", address), negative=False, now=START)
    desk.questions.lookups.add(Lookup("h1", "green", B1.ip), negative=False, now=START)
    desk.questions.entity_changed(entity)
    assert set(desk.marked) == again


def test_an_answer_that_intent_turns_around_lives_as_long_as_the_new_one() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(NOWHERE)
    desk.unknown = {B2.ip}
    desk.questions.entity_changed(host(1))
    assert desk.questions.lookups.expire(START + 5.0) == [Lookup("h1", "blue", B2.ip)]


def test_a_host_that_loses_its_last_vm_of_a_network_loses_the_answers_about_it() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(host="h2")
    desk.ask(what=cookie(Kind.PUNT, VNIS["green"]))
    desk.grants()
    desk.questions.network_left("h1", "blue")
    assert desk.grants() == [(of(B2.ip), False)]
    assert desk.questions.lookups.all() == [Lookup("h2", "blue", B2.ip), Lookup("h1", "green", B2.ip)]


# --- a successor --------------------------------------------------------------------------------------


def answer(kind: Kind, *match: Match, vni: int = VNIS["blue"]) -> Flow:
    return Flow(30, 1, match, (), cookie(kind, vni))


def test_a_successor_takes_answers_over_as_they_stand_on_the_switch() -> None:
    desk = Desk()
    six = IPv6Address("fd00:7::3")
    desk.ask()
    desk.grants()
    flows = [
        answer(Kind.ROUTE, Match("eth_type", 0x800), Match("ipv4_dst", int(B2.ip))),  # stands already
        answer(Kind.ROUTE, Match("eth_type", 0x86DD), Match("ipv6_dst", int(six))),
        answer(Kind.DROP_UNKNOWN_DESTINATION, Match("ipv4_dst", int(NOWHERE))),
        answer(Kind.ROUTE, Match("ipv4_dst", int(B1.ip)), vni=VNIS["green"]),
        answer(Kind.ROUTE, Match("ipv4_dst", int(IPv4Network("10.1.0.0/16")[0]), 0xFFFF0000)),  # a routed prefix
        answer(Kind.ROUTE, Match("ipv6_dst", int(six) + 1, 2**128 - 2)),
        answer(Kind.ROUTE, Match("eth_dst", 5)),
        answer(Kind.OFFLOAD, Match("ipv4_dst", int(B1.ip))),  # no answer
        answer(Kind.ROUTE, Match("ipv4_dst", int(B1.ip)), vni=999),  # no network
    ]
    desk.questions.adopt("h1", flows, START + 1.0)
    assert desk.grants() == [(of(six), True), (of(NOWHERE), True), (of(B1.ip, "green"), True)]
    assert desk.questions.lookups.expire(START + 6.0) == [Lookup("h1", "blue", NOWHERE)]
    assert desk.questions.lookups.expire(START + 30.0) == [Lookup("h1", "blue", B2.ip)]
    assert len(desk.questions.lookups.expire(START + 31.0)) == 2
    desk.questions.adopt("h2", [answer(Kind.ROUTE, Match("ipv4_dst", int(B1.ip)), vni=VNIS["green"])], START)
    assert desk.grants() == []  # the host has no VM of that network
