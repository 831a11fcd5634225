"""Routes that a host learns: requests and answers on the wire, the cache and its end; packets that ask."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

from hoverboard.contract.reports import FlowUsage
from hoverboard.host import learning, punts
from hoverboard.host.datagrams import datagram, read_datagram
from hoverboard.host.exchange import learned_flow, no_flow
from hoverboard.host.learning import Destination, Learner
from hoverboard.host.reporting import Reports
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.packetout import packet_out

HERE, GATEWAY, THERE, ELSEWHERE = (IPv4Address(f"172.16.{last}") for last in ("0.1", "255.1", "0.2", "0.3"))
D = Destination(7, IPv4Address("10.0.0.3"))


class Host:
    """A learner, its switch and what it sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[IPv4Address, bytes]] = []
        self.flows: dict[Destination, IPv4Address] = {}
        self.learner = Learner(
            HERE, lambda to, data: self.sent.append((to, data)), self.install, self.flows.__contains__
        )

    def install(self, wanted: Destination, underlay: IPv4Address | None) -> None:
        if underlay is None:
            self.flows.pop(wanted, None)
        else:
            self.flows[wanted] = underlay

    def learned(self, now: float = 0.0) -> Host:
        self.learner.wanted(D, GATEWAY, now)
        self.learner.heard(GATEWAY, D, THERE, now)
        return self

    def use(self, now: float) -> None:
        self.learner.used([FlowUsage(7, IPv4Address("10.0.0.2"), D.address, 100, 1)], now)


def test_messages_say_the_same_on_the_other_side() -> None:
    for wanted in (D, Destination(0xFFFFFF, IPv6Address("fd00::3"))):
        assert learning.read(learning.request(wanted)) == (True, wanted, None)
        assert learning.read(learning.answer(wanted, THERE)) == (False, wanted, THERE)
        assert learning.read(learning.answer(wanted, None)) == (False, wanted, None)
    whole = learning.request(D)
    for bad in (b"", whole[:-1], b"X" + whole[1:], whole[:4] + b"\x09" + whole[5:], whole[:5] + b"\x05" + whole[6:]):
        assert learning.read(bad) is None
    assert read_datagram(datagram(HERE, GATEWAY, whole)) == (HERE, whole)
    assert read_datagram(datagram(HERE, GATEWAY, whole)[:40]) is None
    assert "tun_dst" in learned_flow(D, THERE)
    assert no_flow(D) in learned_flow(D, THERE).replace(",cookie=0xd000007000000", "")


def test_one_request_one_answer_one_flow() -> None:
    host = Host()
    for _ in range(5):
        host.learner.wanted(D, GATEWAY, 0.0)
    assert host.sent == [(GATEWAY, learning.request(D))]
    host.learner.heard(ELSEWHERE, D, ELSEWHERE, 0.1)  # not who was asked
    assert host.flows == {}
    host.learner.heard(GATEWAY, D, THERE, 0.1)
    assert host.flows == {D: THERE}
    host.learner.heard(GATEWAY, D, ELSEWHERE, 0.2)  # not asked for
    assert host.flows == {D: THERE}


def test_lost_requests_are_sent_again_and_given_up() -> None:
    host = Host()
    host.learner.wanted(D, GATEWAY, 0.0)
    for tenth in range(1, 40):
        host.learner.tick(tenth / 10)
    assert len(host.sent) == learning.TRIES
    assert not host.learner.busy


def test_what_the_gateway_does_not_know_is_not_asked_again_at_once() -> None:
    host = Host()
    host.learner.wanted(D, GATEWAY, 0.0)
    host.learner.heard(GATEWAY, D, None, 0.0)
    host.learner.wanted(D, GATEWAY, learning.NEGATIVE - 0.1)
    assert len(host.sent) == 1
    assert host.flows == {}
    host.learner.tick(learning.NEGATIVE)
    host.learner.wanted(D, GATEWAY, learning.NEGATIVE)
    assert len(host.sent) == 2


def test_a_used_route_is_revalidated_and_follows_a_move() -> None:
    host = Host().learned()
    host.use(4.0)
    host.learner.tick(learning.REVALIDATE)
    assert len(host.sent) == 2
    host.learner.heard(GATEWAY, D, ELSEWHERE, learning.REVALIDATE)
    assert host.flows == {D: ELSEWHERE}
    host.learner.tick(2 * learning.REVALIDATE)
    host.learner.heard(GATEWAY, D, None, 2 * learning.REVALIDATE)
    assert host.flows == {}


def test_routes_go_unused_or_unconfirmed() -> None:
    host = Host().learned()
    host.learner.tick(learning.UNCONFIRMED)
    assert host.flows == {}
    idle = Host().learned()
    for second in range(1, int(learning.IDLE) + 1):
        idle.learner.tick(float(second))
        idle.learner.heard(GATEWAY, D, THERE, float(second))
    assert idle.flows == {}
    assert not idle.learner.routes


def test_a_flow_that_was_taken_out_is_not_put_back_by_revalidation_but_by_need() -> None:
    host = Host().learned()
    host.flows.clear()  # another programming model
    host.learner.tick(learning.REVALIDATE)
    host.learner.heard(GATEWAY, D, THERE, learning.REVALIDATE)
    assert host.flows == {}
    assert D not in host.learner.routes
    host.learned(10.0)
    host.flows.clear()
    host.learner.wanted(D, GATEWAY, 11.0)  # packets go through the gateway again, so it may
    host.learner.heard(GATEWAY, D, THERE, 11.0)
    assert host.flows == {D: THERE}


# --- packets that ask the controller --------------------------------------------------------------------


class Asker:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[int, bytes]] = []
        self.again: list[str] = []
        self.lost: list[str] = []
        self.punts = punts.Punts(self.ask, self.again.append, self.lost.append, lambda: self.now)

    def ask(self, port: int, frame: bytes) -> bool:
        self.asked.append((port, frame))
        return True


TO = IPv4Address("10.0.0.3")


def test_one_question_for_many_packets_which_then_go_their_way() -> None:
    asker = Asker()
    for number in range(punts.WAITING_EACH + 2):
        asker.punts.punt(7, TO, 100, b"frame", f"p{number}")
    assert len(asker.asked) == 1
    assert asker.lost == ["waits-for-answer"] * 2
    asker.punts.answered([Change(vni=7, dst=IPv4Network("10.0.0.4/32")), Change(vni=8, dst=IPv4Network("10.0.0.3/32"))])
    assert asker.again == []
    asker.punts.answered([Change(vni=7, dst=IPv4Network("10.0.0.3/32"))])
    assert asker.again == [f"p{number}" for number in range(punts.WAITING_EACH)]
    assert len(asker.punts) == 0


def test_no_answer_in_time() -> None:
    asker = Asker()
    asker.punts.punt(7, TO, 100, b"frame", "p")
    asker.now = punts.PATIENCE + 0.1
    asker.punts.expire()
    assert asker.lost == ["no-answer"]
    asker.punts.punt(7, TO, 100, b"frame", "p")
    assert len(asker.asked) == 2


def test_a_vport_may_ask_so_often() -> None:
    asker = Asker()
    for last in range(int(punts.ASK_BURST) + 5):
        asker.punts.punt(7, IPv4Address(0x0A000100 + last), 100, b"frame", "p")
    assert asker.lost == ["too-many-questions"] * 5
    asker.punts.punt(7, TO, 101, b"frame", "p")
    assert asker.asked[-1][0] == 101
    asker.now += 1 / punts.ASK_RATE + 0.001
    asker.punts.punt(7, TO + 1, 100, b"frame", "p")
    assert asker.asked[-1][0] == 100


def test_whole_segments_are_shown_cut_with_true_lengths() -> None:
    header = bytes(12) + b"\x08\x00\x45\x00" + (60_000).to_bytes(2, "big") + bytes(16)
    cut = punts.shown(header + bytes(60_000))
    assert len(cut) == int.from_bytes(cut[16:18], "big") + 14
    six = bytes(12) + b"\x86\xdd\x60\x00\x00\x00" + (60_000).to_bytes(2, "big") + bytes(34)
    cut = punts.shown(six + bytes(60_000))
    assert len(cut) == int.from_bytes(cut[18:20], "big") + 54
    message = packet_out(9, 100, b"frame")
    assert len(message) == int.from_bytes(message[2:4], "big") == 45
    assert message.endswith(b"frame")


# --- reports of a Hoverboard that is over its capacity ----------------------------------------------------


class Plane:
    def __init__(self) -> None:
        self.come = self.dropped = 0

    def counters(self) -> dict[str, object]:
        return {"rx_packets": self.come, "drops": {"over-capacity": self.dropped}}


def test_reports_are_lost_as_often_as_packets() -> None:
    plane = Plane()
    chances = iter([0.5, 0.5, 0.95])
    reports = Reports(plane, lambda: next(chances))
    flow = FlowUsage(7, IPv4Address("10.0.0.2"), TO, 1, 1)
    plane.come, plane.dropped = 1_000, 900
    assert not reports.passes([flow], True)
    plane.come += 1_000  # nothing was dropped in this one
    assert reports.passes([flow], True)
    plane.come, plane.dropped = plane.come + 1_000, plane.dropped + 900
    assert reports.passes([flow], True)
    assert reports.counters == {"sent": 2, "lost": 1}


def test_a_hosts_reports_always_pass() -> None:
    plane = Plane()
    plane.come, plane.dropped = 10, 10
    assert Reports(plane, lambda: 0.0).passes([FlowUsage(7, IPv4Address("10.0.0.2"), TO, 1, 1)], False)
