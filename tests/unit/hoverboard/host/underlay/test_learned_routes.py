"""Routes that a host learns: requests and answers on the wire, the cache and its end."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.contract.reports import FlowUsage
from hoverboard.host.underlay import learned_routes
from hoverboard.host.underlay.learned_routes import Destination, Learner

START = 1_000_003.0
RETRY, REVALIDATE, UNCONFIRMED, IDLE, NEGATIVE = 0.2, 5.0, 15.0, 30.0, 5.0  # seconds
HERE, GATEWAY, THERE, ELSEWHERE = (IPv4Address(f"172.16.{last}") for last in ("0.1", "255.1", "0.2", "0.3"))
D = Destination(7, IPv4Address("10.0.0.3"))


class Host:
    """A learner, its switch and what it sent; times are seconds after START."""

    def __init__(self) -> None:
        self.sent: list[tuple[IPv4Address, bytes]] = []
        self.flows: dict[Destination, IPv4Address] = {}
        self.installed: list[IPv4Address | None] = []
        self.looks = 0
        self.learner = Learner(HERE, lambda to, data: self.sent.append((to, data)), self.install, self.stands)

    def stands(self, wanted: Destination) -> bool:
        self.looks += 1
        return wanted in self.flows

    def install(self, wanted: Destination, underlay: IPv4Address | None) -> None:
        self.installed.append(underlay)
        if underlay is None:
            self.flows.pop(wanted, None)
        else:
            self.flows[wanted] = underlay

    def wanted(self, now: float, wanted: Destination = D, gateway: IPv4Address = GATEWAY) -> None:
        self.learner.wanted(wanted, gateway, START + now)

    def answer(self, underlay: IPv4Address | None, now: float, sender: IPv4Address = GATEWAY) -> None:
        self.learner.received(sender, D, underlay, START + now)

    def learned(self, now: float = 0.0, underlay: IPv4Address | None = THERE) -> Host:
        self.wanted(now)
        self.answer(underlay, now)
        return self

    def use(self, now: float) -> None:
        self.learner.used([FlowUsage(7, IPv4Address("10.0.0.2"), D.address, 100, 1)], START + now)

    def tick(self, now: float) -> None:
        self.learner.tick(START + now)


def test_messages_say_the_same_on_the_other_side() -> None:
    for wanted in (D, Destination(0xFFFFFF, IPv6Address("fd00::3")), Destination(1, IPv6Address("::"))):
        assert learned_routes.read(learned_routes.request(wanted)) == (True, wanted, None)
        assert learned_routes.read(learned_routes.answer(wanted, THERE)) == (False, wanted, THERE)
        assert learned_routes.read(learned_routes.answer(wanted, None)) == (False, wanted, None)
    whole = learned_routes.request(D)
    assert whole == b"HBR1\x01\x04\0\0\0\0\0\x07\x0a\0\0\x03" + bytes(16)
    assert learned_routes.answer(D, THERE) == b"HBR1\x02\x04" + whole[6:28] + THERE.packed


@pytest.mark.parametrize(
    "bad",
    [
        b"", learned_routes.request(D)[:-1], learned_routes.request(D) + b"\0", b"X" + learned_routes.request(D)[1:],
        b"HBR1\x00" + learned_routes.request(D)[5:], b"HBR1\x03" + learned_routes.request(D)[5:],
        b"HBR1\x01\x05" + learned_routes.request(D)[6:],
        learned_routes.request(Destination(0, D.address)), learned_routes.request(Destination(1 << 24, D.address)),
    ],
    ids=["empty", "short", "long", "magic", "kind 0", "kind 3", "version", "no network", "network out of range"],
)  # fmt: skip
def test_what_is_no_message_is_not_read(bad: bytes) -> None:
    assert learned_routes.read(bad) is None


def test_one_request_one_answer_one_flow() -> None:
    host = Host()
    for _ in range(5):
        host.wanted(0.0)
    assert host.sent == [(GATEWAY, learned_routes.request(D))]
    assert host.learner.busy
    host.answer(ELSEWHERE, 0.1, sender=ELSEWHERE)  # not who was asked
    assert host.flows == {}
    host.answer(THERE, 0.1)
    assert host.flows == {D: THERE}
    host.answer(ELSEWHERE, 0.2)  # not asked for
    assert host.flows == {D: THERE}
    assert host.learner.counters == {"requests": 1, "answers": 1, "learned": 1, "changed": 0, "expired": 0}


def test_lost_requests_are_sent_again_and_given_up() -> None:
    host = Host()
    host.wanted(0.0)
    host.tick(0.19)
    assert len(host.sent) == 1
    host.tick(0.21)
    assert host.sent == [(GATEWAY, learned_routes.request(D))] * 2
    host.tick(0.4)
    assert len(host.sent) == 2, "a try each 0.2 s, from the last one"
    for tenth in range(5, 40):
        host.tick(tenth / 10)
    assert len(host.sent) == 5
    assert host.learner.counters["requests"] == 5
    assert not host.learner.busy
    host.answer(THERE, 4.0)
    assert host.flows == {}, "an answer that comes too late is not believed"


def test_a_request_that_is_repeated_is_still_about_packets_that_wait() -> None:
    host = Host()
    host.wanted(0.0)
    host.tick(0.3)
    host.answer(THERE, 0.3)
    assert host.flows == {D: THERE}


def test_an_answer_that_is_on_its_way_into_the_switch_is_not_asked_for() -> None:
    host = Host().learned()
    host.wanted(RETRY - 0.01)
    assert len(host.sent) == 1
    host.wanted(RETRY + 0.01)
    assert len(host.sent) == 2, "packets go through the gateway still: its flow is not there"


def test_what_the_gateway_does_not_know_is_not_asked_again_at_once() -> None:
    host = Host().learned(underlay=None)
    host.wanted(NEGATIVE - 0.1)
    host.tick(NEGATIVE - 0.1)
    assert len(host.sent) == 1
    assert (host.flows, host.installed) == ({}, [])
    assert host.learner.busy
    host.tick(NEGATIVE)
    assert not host.learner.busy
    assert (host.installed, host.looks) == ([], 0), "there is no flow to take out"
    host.wanted(NEGATIVE)
    assert len(host.sent) == 2


def test_what_the_gateway_did_not_know_is_asked_again_in_time_even_before_it_is_forgotten() -> None:
    host = Host().learned(underlay=None)
    host.wanted(NEGATIVE)
    assert len(host.sent) == 2
    host.answer(None, NEGATIVE)
    assert host.installed == [], "nothing was there before, and nothing is now"


def test_an_answer_about_a_route_that_was_given_up_meanwhile_puts_it_back() -> None:
    host = Host().learned()
    host.use(14.0)
    host.tick(14.9)
    host.install = lambda *_what: None  # type: ignore[method-assign]
    host.learner._install = host.install  # the switch is slow: its flow is still there
    host.tick(UNCONFIRMED)
    assert not host.learner.routes
    host.answer(THERE, UNCONFIRMED)
    assert host.learner.routes[D].underlay == THERE
    assert host.learner.routes[D].used == START + UNCONFIRMED
    assert host.learner.counters["changed"] == 1


def test_a_way_to_this_host_itself_is_none() -> None:
    host = Host().learned(underlay=HERE)
    assert host.flows == {}
    assert host.learner.routes[D].underlay is None


def test_a_used_route_is_revalidated_and_follows_a_move() -> None:
    host = Host().learned()
    host.use(4.0)
    host.tick(REVALIDATE - 0.1)
    assert len(host.sent) == 1
    host.tick(REVALIDATE)
    host.tick(REVALIDATE)
    assert len(host.sent) == 2, "one question at a time"
    host.answer(ELSEWHERE, REVALIDATE)
    assert host.flows == {D: ELSEWHERE}
    assert host.learner.routes[D].used == START + 4.0
    assert host.learner.counters["changed"] == 1
    host.tick(2 * REVALIDATE)
    host.answer(None, 2 * REVALIDATE)
    assert host.flows == {}
    assert host.installed == [THERE, ELSEWHERE, None]


def test_a_route_that_is_confirmed_is_left_as_it_is() -> None:
    host = Host().learned()
    host.tick(REVALIDATE)
    host.answer(THERE, REVALIDATE)
    assert host.installed == [THERE]
    assert host.learner.counters == {"requests": 2, "answers": 2, "learned": 1, "changed": 0, "expired": 0}
    host.tick(UNCONFIRMED)
    assert host.flows == {D: THERE}, "its age is that of the last answer"


def test_a_route_that_was_in_use_lately_stays_however_old() -> None:
    host = Host().learned()
    for second in range(1, 100):
        host.use(float(second))
        host.tick(float(second))
        host.answer(THERE, float(second))
    assert host.flows == {D: THERE}
    assert host.learner.counters["expired"] == 0


def test_a_route_that_is_not_confirmed_goes() -> None:
    host = Host().learned()
    host.use(14.0)
    host.tick(UNCONFIRMED - 0.1)
    assert host.flows == {D: THERE}
    host.tick(UNCONFIRMED)
    assert host.flows == {}
    assert host.learner.counters["expired"] == 1


def test_a_route_that_is_not_used_goes() -> None:
    host = Host().learned()
    for second in range(1, int(IDLE)):
        host.tick(float(second))
        host.answer(THERE, float(second))
    assert host.flows == {D: THERE}
    host.tick(IDLE)
    assert host.flows == {}
    assert not host.learner.routes


def test_only_what_goes_there_is_use() -> None:
    host = Host().learned()
    here = IPv4Address("10.0.0.2")
    host.learner.used([FlowUsage(8, here, D.address, 9, 1), FlowUsage(7, D.address, here, 9, 1)], START + 9)
    assert host.learner.routes[D].used == START
    host.use(9.0)
    assert host.learner.routes[D].used == START + 9


def test_a_flow_that_was_taken_out_is_not_put_back_by_revalidation_but_by_need() -> None:
    host = Host().learned()
    host.flows.clear()  # another programming model
    host.tick(REVALIDATE)
    host.answer(THERE, REVALIDATE)
    assert host.flows == {}
    assert D not in host.learner.routes
    host.learned(10.0)
    host.flows.clear()
    host.wanted(11.0)  # packets go through the gateway again, so it may
    host.answer(THERE, 11.0)
    assert host.flows == {D: THERE}


def test_a_revalidation_that_becomes_a_need_puts_the_flow_back() -> None:
    host = Host().learned()
    host.tick(REVALIDATE)
    host.flows.clear()
    host.wanted(REVALIDATE + 0.1)
    assert len(host.sent) == 2
    host.answer(THERE, REVALIDATE + 0.1)
    assert host.flows == {D: THERE}


def test_a_flow_that_is_not_there_any_more_is_not_taken_out() -> None:
    host = Host().learned()
    host.flows.clear()
    host.tick(UNCONFIRMED)
    assert host.installed == [THERE]
    assert not host.learner.routes


def test_the_cache_is_bounded_and_what_it_holds_is_asked_about_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned_routes.MOST == 10_000
    monkeypatch.setattr(learned_routes, "MOST", 2)
    host = Host().learned()
    other, third = (Destination(7, IPv4Address(f"10.0.0.{last}")) for last in (4, 5))
    host.wanted(1.0, other)
    host.learner.received(GATEWAY, other, THERE, START + 1)
    host.wanted(1.0, third)
    assert len(host.sent) == 2, "it stays with the gateway"
    host.wanted(1.0)
    assert len(host.sent) == 3


def test_a_question_to_another_gateway_is_answered_by_that_one() -> None:
    host = Host().learned()
    host.wanted(1.0, gateway=ELSEWHERE)
    assert host.sent[-1] == (ELSEWHERE, learned_routes.request(D))
    host.answer(THERE, 1.0, sender=ELSEWHERE)
    host.tick(1.0 + REVALIDATE)
    assert host.sent[-1] == (ELSEWHERE, learned_routes.request(D))
