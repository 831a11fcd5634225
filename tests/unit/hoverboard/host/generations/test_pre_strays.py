"""Datagrams that no VM's socket gets: the tables name the VM, once for each flow until they change."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.packet import Packet

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.fastpath.memory import ports, rings
from hoverboard.host.generations import pre_strays
from hoverboard.host.generations.pre_strays import Strays, flow_bytes
from tests.unit.hoverboard.fake_questions import FakeQuestions
from tests.unit.hoverboard.flow_miss_oracle import EMPTY, LOCAL, LOCAL_FLOW, ROUTED
from tests.unit.hoverboard.packets import ARP, ICMP, IP, TCP, UDP, Ether, Raw, frame

NO_SUCH = replace(LOCAL_FLOW, kind=Kind.DROP_NO_SUCH_VM, out_port=None)
HEADER = b"\0\0\x65\x58" + (7 << 8).to_bytes(4, "big")


class Engine:
    """In place of a VM's process; `full`: its ring takes nothing."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.full = False

    def inject(self, port: int, frame: bytes, kind: int, tunnel: int = 0, timeout: float = 1.0) -> bool:
        assert (port, kind, tunnel, timeout) == (ports.UPLINK, rings.INJECT_PROCESS, 0, 0)
        if not self.full:
            self.frames.append(frame)
        return not self.full


class Rig:
    """A host's own socket on the loopback device, its switch, and the process of the VM at port 101."""

    def __init__(self) -> None:
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own.bind(("127.0.0.1", 0))
        self.own.setblocking(False)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.switch, self.engine = FakeQuestions(LOCAL_FLOW), Engine()
        self.strays = Strays(self.own, self.switch, LOCAL, {101: self.engine}.get)

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.sender.sendto(datagram, self.own.getsockname())
        self.strays.read()

    def close(self) -> None:
        self.own.close()
        self.sender.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_the_vm_that_the_tables_name_gets_the_frame_as_it_came(rig: Rig) -> None:
    inner = frame(TCP(sport=1000, dport=80))
    rig.send(HEADER + inner)
    (question,) = rig.switch.asked
    assert question.startswith("in_port=1,tun_id=0x7,tun_src=127.0.0.1,tun_dst=172.16.0.1,")
    assert question.endswith("tcp_src=1000,tcp_dst=80")
    (got,) = rig.engine.frames
    outer = Ether(got[12:])
    assert (outer[IP].src, outer[IP].dst, outer[UDP].sport, outer[UDP].dport) == (
        "127.0.0.1", str(LOCAL), rig.sender.getsockname()[1], 6081,
    )  # fmt: skip
    assert got[12 + 42 :] == HEADER + inner
    assert (len(got) - 12, rig.strays.received) == (outer[IP].len + 14, [1, len(got) - 12])


def test_packets_of_one_flow_are_one_question_until_the_tables_change(rig: Rig) -> None:
    data = [HEADER + frame(TCP(sport=1000, dport=80, seq=n), ttl=60 + n, id=n) for n in range(3)]
    rig.send(*data)
    assert (len(rig.switch.asked), len(rig.engine.frames)) == (1, 3)
    rig.send(HEADER + frame(TCP(sport=1001, dport=80)))
    assert len(rig.switch.asked) == 2
    rig.strays.forget()
    rig.send(data[0])
    assert (len(rig.switch.asked), len(rig.engine.frames)) == (3, 5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NO_SUCH, "no-such-vm"),
        (replace(LOCAL_FLOW, out_port=102), "no-such-vm"),
        (ROUTED, "no-such-vm"),
        (replace(NO_SUCH, kind=Kind.DROP_FIREWALL_INGRESS), "firewall-ingress"),
        (EMPTY, "switch-not-programmed"),
        (SwitchError("away"), "switch-not-programmed"),
        (ValueError("makes no sense"), "switch-not-programmed"),
    ],
    ids=["no flow", "no process", "back into the fabric", "firewall", "empty", "away", "other words"],
)
def test_what_no_vm_gets_is_counted_by_reason(rig: Rig, answer: object, reason: str) -> None:
    rig.switch.answer = answer  # type: ignore[assignment]
    rig.send(HEADER + frame(), HEADER + frame())
    assert (rig.strays.drops, rig.engine.frames) == ({reason: 2}, [])
    lasting = reason != "switch-not-programmed"
    assert len(rig.switch.asked) == (1 if lasting else 2), "an answer that may be another soon is not kept"


def test_an_answer_that_rests_on_more_than_the_flow_is_not_kept(rig: Rig) -> None:
    rig.switch.answer = replace(LOCAL_FLOW, cacheable=False)
    rig.send(HEADER + frame(), HEADER + frame())
    assert (len(rig.switch.asked), len(rig.engine.frames)) == (2, 2)


def test_malformed_packets_and_probes(rig: Rig) -> None:
    rig.send(b"", b"\0", HEADER + frame()[:20], b"\0\x80" + HEADER[2:] + frame())
    assert (rig.strays.drops, rig.switch.asked) == ({"malformed-outer": 2, "malformed-ipv4": 1}, [])


def test_a_ring_that_is_full_delays_nobody(rig: Rig) -> None:
    rig.engine.full = True
    rig.send(HEADER + frame())
    assert (rig.strays.drops, rig.strays.received) == ({"socket-queue-full": 1}, [0, 0])


def test_a_turn_has_an_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pre_strays, "_TURN", 4)
    monkeypatch.setattr(pre_strays, "_TRACES", 2)
    monkeypatch.setattr(pre_strays, "_KNOWN_MAX", 2)
    rig.send(*(HEADER + frame(TCP(sport=1000 + n)) for n in range(3)))
    assert len(rig.engine.frames) == 2
    rig.strays.read()
    assert len(rig.engine.frames) == 3
    rig.send(*[HEADER + frame(TCP(sport=1002))] * 6)
    assert (len(rig.engine.frames), len(rig.switch.asked)) == (7, 3)


def six(payload: Packet, **ip: object) -> bytes:
    return bytes(Ether() / IPv6(**{"src": "fd00::2", "dst": "fd00::9", **ip}) / payload)


def test_bytes_that_tell_flows_apart() -> None:
    tcp = TCP(sport=1000, dport=80)
    frames = [
        frame(tcp), frame(TCP(sport=1001, dport=80)), frame(TCP(sport=1000, dport=81)),
        frame(UDP(sport=1000, dport=80)),
        frame(ICMP(type=8)), frame(ICMP(type=0)), frame(Raw(b"abc"), proto=253), frame(Raw(b"abc"), proto=252),
        frame(tcp, tos=1), frame(tcp, frag=3), frame(tcp, flags=1),
        bytes(Ether(src="06:07:0a:00:00:09") / IP(dst="10.0.0.3") / tcp), bytes(Ether() / IP(dst="10.0.0.9") / tcp),
        bytes(Ether() / IP(src="10.0.0.9") / tcp),
        six(tcp), six(UDP(sport=1000, dport=80)), six(tcp, src="fd00::3"), six(tcp, dst="fd00::3"), six(tcp, tc=1),
    ]  # fmt: skip
    found = [flow_bytes(HEADER + one) for one in frames]
    found.append(flow_bytes(b"\0\0\x65\x58" + (8 << 8).to_bytes(4, "big") + frames[0]))
    assert None not in found
    assert len(set(found)) == len(found)


def test_bytes_that_make_no_difference() -> None:
    assert flow_bytes(HEADER + frame(ICMP(type=8, id=1, seq=1), ttl=9, id=7)) == flow_bytes(
        HEADER + frame(ICMP(type=8))
    )
    assert flow_bytes(HEADER + six(TCP(sport=5, seq=1), hlim=9)) == flow_bytes(HEADER + six(TCP(sport=5) / Raw(b"abc")))
    option = b"\1\0" + HEADER[2:] + bytes(4)
    assert (flow_bytes(option + frame()) or b"")[7:] == (flow_bytes(HEADER + frame()) or b"")[7:]


@pytest.mark.parametrize(
    "data",
    [b"", HEADER, HEADER + frame()[:30], HEADER + frame(UDP(), options=b"\1\1\1\1"), HEADER + bytes(Ether() / ARP()),
     HEADER + six(IPv6ExtHdrHopByHop() / TCP())],
    ids=["nothing", "no frame", "cut", "IP options", "ARP", "extension headers"],
)  # fmt: skip
def test_packets_that_are_asked_about_each_time(data: bytes) -> None:
    assert flow_bytes(data) is None
