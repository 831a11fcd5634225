"""Packets that ask the controller: one question, many packets that wait, and bounds on both."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from hoverboard.contract.packets import internet_checksum
from hoverboard.host.slowpath import punts
from hoverboard.vswitch.monitor import Change

START = 1_000_003.0
PATIENCE = 1.0
TO = IPv4Address("10.0.0.3")


class Asker:
    def __init__(self) -> None:
        self.now = START
        self.taken = True
        self.asked: list[tuple[int, bytes]] = []
        self.again: list[str] = []
        self.lost: list[str] = []
        self.gone: list[object] = []
        self.punts = punts.Punts(self.ask, self.again.append, self.drop, lambda: self.now)  # type: ignore[arg-type]

    def drop(self, reason: str, packet: object) -> None:
        self.lost.append(reason)
        self.gone.append(packet)

    def ask(self, port: int, frame: bytes) -> bool:
        self.asked.append((port, frame))
        return self.taken

    def punt(self, packet: str, to: IPv4Address | IPv6Address = TO, port: int = 100, vni: int = 7) -> None:
        self.punts.punt(vni, to, port, b"frame", packet)

    def answer(self, network: str | None, vni: int | None = 7) -> None:
        self.punts.answered([Change(vni=vni, dst=None if network is None else IPv4Network(network))])


@pytest.fixture
def asker() -> Asker:
    return Asker()


def test_one_question_for_many_packets_which_then_go_their_way(asker: Asker) -> None:
    for number in range(punts.WAITING_EACH + 2):
        asker.punt(f"p{number}")
    assert asker.asked == [(100, b"frame")]
    assert asker.lost == ["waits-for-answer"] * 2
    assert len(asker.punts) == punts.WAITING_EACH == 16
    asker.punts.answered([Change(vni=7, dst=IPv4Network("10.0.0.4/32")), Change(vni=8, dst=IPv4Network("10.0.0.3/32"))])
    asker.answer(None)
    assert asker.again == []
    asker.answer("10.0.0.3/32")
    assert asker.again == [f"p{number}" for number in range(punts.WAITING_EACH)]
    assert len(asker.punts) == 0
    asker.punt("late")
    assert len(asker.asked) == 2, "the question does not stand any more"


@pytest.mark.parametrize(("network", "vni"), [("10.0.0.0/24", 7), ("10.0.0.3/32", None)])
def test_a_prefix_and_a_flow_of_all_networks_answer_too(asker: Asker, network: str, vni: int | None) -> None:
    asker.punt("p")
    asker.punt("q", TO + 256)
    asker.answer(network, vni)
    assert asker.again == ["p"]
    assert len(asker.punts) == 1


def test_one_change_answers_all_that_it_is_about(asker: Asker) -> None:
    for last in range(3):
        asker.punt(f"p{last}", TO + last)
    asker.punt("other network", vni=8)
    asker.punt("six", IPv6Address("fd00::3"))
    asker.answer("10.0.0.0/24")
    assert asker.again == ["p0", "p1", "p2"]


def test_no_answer_in_time(asker: Asker) -> None:
    asker.punt("p")
    asker.now += PATIENCE
    asker.punts.expire()
    assert asker.lost == []
    asker.punt("q")
    assert len(asker.asked) == 1
    asker.now += 0.1
    asker.punts.expire()
    assert asker.lost == ["no-answer"] * 2
    assert asker.gone == ["p", "q"]
    assert len(asker.punts) == 0
    asker.punt("p")
    assert len(asker.asked) == 2


def test_an_old_question_is_asked_again_with_those_that_wait(asker: Asker) -> None:
    asker.punt("p")
    asker.now += PATIENCE + 0.1
    asker.punt("q")
    assert len(asker.asked) == 2
    asker.now += PATIENCE - 0.1
    asker.punts.expire()
    assert asker.lost == [], "the time counts from the last question"
    asker.answer("10.0.0.3/32")
    assert asker.again == ["p", "q"]


def test_a_switch_that_takes_no_question_leaves_none_that_stands(asker: Asker) -> None:
    asker.taken = False
    for _ in range(2):
        asker.punt("p")
    assert asker.lost == ["switch-not-programmed"] * 2
    assert (len(asker.asked), len(asker.punts)) == (2, 0)


def test_a_vport_may_ask_so_often(asker: Asker) -> None:
    for last in range(30):
        asker.punt("p", IPv4Address(0x0A000100 + last))
    assert len(asker.asked) == 25
    assert asker.lost == ["too-many-questions"] * 5
    asker.punt("p", TO, port=101)
    assert asker.asked[-1][0] == 101, "each has its own share"
    asker.now += 1 / 50 - 0.001
    asker.punt("p", TO + 1)
    assert asker.asked[-1][0] == 101
    asker.now += 0.002
    asker.punt("p", TO + 1)
    assert asker.asked[-1][0] == 100
    asker.punt("p", TO + 2)
    assert asker.lost == ["too-many-questions"] * 7
    asker.now += 0.5
    for last in range(30):
        asker.punt("p", IPv4Address(0x0A000200 + last))
    assert len(asker.asked) == 25 + 1 + 1 + 25, "50 a second, and 25 at once"


def test_a_vport_that_was_quiet_may_ask_no_more_than_a_new_one(asker: Asker) -> None:
    for last in range(25):
        asker.punt("p", IPv4Address(0x0A000200 + last))
    asker.punts.expire()
    asker.punt("p")
    assert asker.lost == ["too-many-questions"], "one that was not quiet is not forgotten"
    asker.lost.clear()
    asker.now = START + 60
    asker.punts.expire()
    assert not asker.punts._buckets
    asker.lost.clear()
    asker.now += 3600
    for last in range(30):
        asker.punt("p", IPv4Address(0x0A000100 + last))
    assert asker.lost.count("too-many-questions") == 5


def test_what_waits_in_all_is_bounded(asker: Asker) -> None:
    for last in range(17):
        for _ in range(16):
            asker.punt("p", IPv4Address(0x0A000100 + last), port=last)
    assert len(asker.punts) == punts.WAITING == 256
    assert asker.lost == ["waits-for-answer"] * 16


def test_an_answer_without_questions_is_nothing(asker: Asker) -> None:
    asker.answer("10.0.0.3/32")
    assert asker.again == []


def test_whole_segments_are_shown_cut_with_true_lengths() -> None:
    header = bytes(12) + b"\x08\x00\x46\x00" + (60_000).to_bytes(2, "big") + bytes(range(20))
    cut = punts.shown(header + b"Z" * 60_000)
    assert len(cut) == int.from_bytes(cut[16:18], "big") + 14 == 1_000
    assert internet_checksum(cut[14:38]) == 0, "with its options"
    assert cut[:16] + cut[18:24] + cut[26:36] == header[:16] + header[18:24] + header[26:36]
    six = bytes(12) + b"\x86\xdd\x60\x00\x00\x00" + (60_000).to_bytes(2, "big") + bytes(34)
    cut = punts.shown(six + b"Z" * 60_000)
    assert len(cut) == int.from_bytes(cut[18:20], "big") + 54 == 1_000
    assert cut[:18] + cut[20:] == (six + b"Z" * 1_000)[:18] + (six + b"Z" * 1_000)[20:1_000]
    other = bytes(12) + b"\x08\x06" + bytes(2_000)
    assert punts.shown(other) == other[:1_000]


@pytest.mark.parametrize("size", [14, 999, 1_000])
def test_what_fits_is_shown_as_it_is(size: int) -> None:
    whole = (bytes(12) + b"\x08\x00\x45\x00\xea\x60").ljust(size, b"x")[:size]
    assert punts.shown(whole) == whole
