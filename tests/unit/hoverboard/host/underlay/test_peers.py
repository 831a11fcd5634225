"""The other hosts: who takes whole segments, probes and their answers, ARP and announcements on the fabric."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from scapy.contrib.geneve import GENEVE

from hoverboard.contract.encapsulation import OPTION_CLASS, PROBE_REPLY_TYPE, PROBE_REQUEST_TYPE
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import entries, packets, ports, rings
from hoverboard.host.listeners import NoListener
from hoverboard.host.underlay.datagrams import EngineDatagrams, datagram, read_datagram
from hoverboard.host.underlay.peers import Announcements, Peers, announcement, arp_reply, probe, read_probe
from hoverboard.testing.memory_host import take
from tests.unit.hoverboard.packets import ARP, IP, UDP, Ether, Raw

LOCAL, REMOTE, OTHER = (IPv4Address(f"172.16.0.{last}") for last in (1, 2, 3))
NO_VNET = bytes(packets.VNET_BYTES)


class Here(NoListener):
    """The peers of one host, and what they have sent."""

    def __init__(self) -> None:
        self.datapath = Datapath()
        self.changed: list[IPv4Address] = []
        self.arrived: list[tuple[IPv4Address, bytes]] = []
        self.peers = Peers(self.datapath, LOCAL, peers=self, routes=self)

    def peer_changed(self, address: IPv4Address) -> None:
        self.changed.append(address)

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        self.arrived.append((sender, payload))

    def sent(self) -> list[bytes]:
        """Frames that leave by the uplink, since the last time."""
        m = self.datapath.egress
        found = take(m.inject_index, m.inject_meta, m.inject_data)
        assert all((one.port, one.kind, one.vnet) == (ports.UPLINK, rings.INJECT_RAW, NO_VNET) for one in found)
        return [one.frame for one in found]

    def probes(self) -> list[tuple[str, int]]:
        """(to, kind) of each probe among them."""
        frames = self.sent()
        return [(Ether(frame)[IP].dst, found[1]) for frame in frames if (found := read_probe(frame)) is not None]

    def hear(self, frame: bytes) -> None:
        self.peers.handle(NO_VNET + frame)


@pytest.fixture
def here() -> Iterator[Here]:
    made = Here()
    yield made
    made.datapath.stop()


ASKED, ANSWERED = PROBE_REQUEST_TYPE, PROBE_REPLY_TYPE


def test_a_new_peer_has_a_row_and_is_probed(here: Here) -> None:
    assert [here.peers.index(address) for address in (REMOTE, OTHER, REMOTE)] == [1, 2, 1]
    assert here.probes() == [(str(REMOTE), ASKED), (str(OTHER), ASKED)]
    assert here.peers.known() == {REMOTE: False, OTHER: False}
    assert here.changed == [REMOTE, OTHER]


def test_a_peer_that_answers_takes_whole_segments_from_now_on(here: Here) -> None:
    here.peers.index(REMOTE)
    here.peers.index(OTHER)
    here.sent()
    here.changed.clear()
    here.hear(probe(OTHER, LOCAL, ANSWERED))
    assert here.peers.known() == {REMOTE: False, OTHER: True}
    assert here.datapath.egress.peers[:3].tolist() == [0, 0, 1]
    here.hear(probe(OTHER, LOCAL, ANSWERED))
    assert here.changed == [OTHER], "once"
    assert here.sent() == [], "an answer is not answered"
    here.peers.every_second()
    assert here.probes() == [(str(REMOTE), ASKED)], "a peer that has answered is not asked again"


def test_a_peer_that_asks_is_answered_and_takes_segments_too(here: Here) -> None:
    here.hear(probe(REMOTE, LOCAL, ASKED))
    assert here.peers.known() == {REMOTE: True}
    assert here.probes()[-1] == (str(REMOTE), ANSWERED)
    here.peers.every_second()
    assert here.probes() == []


def test_a_peer_that_never_answers_is_an_open_vswitch_after_five_probes(here: Here) -> None:
    here.peers.index(REMOTE)
    counts = []
    for _ in range(8):
        counts.append(len(here.probes()))
        here.peers.every_second()
    assert sum(counts) == 5
    assert counts == [1, 1, 1, 1, 1, 0, 0, 0]
    assert here.peers.known() == {REMOTE: False}


def test_there_are_so_many_peers_and_no_more(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_PEERS", 3)
    assert [here.peers.index(LOCAL + number) for number in range(1, 5)] == [1, 2, 0, 0]
    here.changed.clear()
    here.hear(probe(LOCAL + 9, LOCAL, ASKED))
    assert here.probes()[-1] == (str(LOCAL + 9), ANSWERED)
    assert here.datapath.egress.peers[0] == 0, "row 0 stands for no host"
    assert (here.changed, len(here.peers.known())) == ([], 2)
    other = Here()
    other.peers.restore(dict.fromkeys((LOCAL + number for number in range(1, 5)), True))
    assert len(other.peers.known()) == 2
    other.datapath.stop()


def test_restored_peers_are_as_they_were_and_those_without_an_answer_are_asked_again(here: Here) -> None:
    here.peers.restore({REMOTE: True, OTHER: False})
    assert here.peers.known() == {REMOTE: True, OTHER: False}
    assert [here.peers.index(address) for address in (REMOTE, OTHER)] == [1, 2]
    assert here.datapath.egress.peers[:4].tolist() == [0, 1, 0, 0]
    assert (here.sent(), here.changed) == ([], [])
    here.peers.every_second()
    assert here.probes() == [(str(OTHER), ASKED)]
    for _ in range(8):
        here.peers.every_second()
    assert len(here.probes()) == 4


def test_frames_that_are_no_probe_do_nothing(here: Here) -> None:
    for frame in (b"", bytes(60), announcement(REMOTE)):
        here.hear(frame)
    assert (here.sent(), here.peers.known()) == ([], {})


def test_arp_for_this_host_is_answered(here: Here) -> None:
    ask = Ether(src="02:fa:ac:10:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc="02:fa:ac:10:00:02", psrc=str(REMOTE))
    ask[ARP].pdst = str(LOCAL)
    here.hear(bytes(ask) + bytes(18))  # padded to the least length of Ethernet
    (frame,) = here.sent()
    assert len(frame) == 42
    answer = Ether(frame)
    assert (answer.src, answer.dst, answer[ARP].op) == ("02:fa:ac:10:00:01", "02:fa:ac:10:00:02", 2)
    assert (answer[ARP].hwsrc, answer[ARP].psrc) == ("02:fa:ac:10:00:01", str(LOCAL))
    assert (answer[ARP].hwdst, answer[ARP].pdst) == ("02:fa:ac:10:00:02", str(REMOTE))
    assert here.peers.known() == {}


@pytest.mark.parametrize("at", range(12, 22))
def test_other_arp_is_not_answered(at: int) -> None:
    ask = Ether(src="02:fa:ac:10:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=str(REMOTE), pdst=str(LOCAL))
    whole = bytes(ask)
    assert arp_reply(whole, LOCAL) is not None
    assert arp_reply(whole[:41], LOCAL) is None
    assert arp_reply(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :], LOCAL) is None


def test_an_announcement_says_where_a_host_is(here: Here) -> None:
    here.peers.announce()
    (frame,) = here.sent()
    assert frame == announcement(LOCAL)
    packet = Ether(frame)
    own = "02:fa:ac:10:00:01"
    assert (packet.src, packet.dst, packet[ARP].op) == (own, "ff:ff:ff:ff:ff:ff", 2)
    assert (packet[ARP].hwtype, packet[ARP].ptype, packet[ARP].hwlen, packet[ARP].plen) == (1, 0x0800, 6, 4)
    assert (packet[ARP].hwsrc, packet[ARP].psrc, packet[ARP].hwdst, packet[ARP].pdst) == (
        own, str(LOCAL), own, str(LOCAL),
    )  # fmt: skip


def test_announcements_come_each_second_at_first_and_then_now_and_then(here: Here) -> None:
    due = Announcements()
    assert [second for second in range(1, 1_000) if due.due()] == [1, 2, 3, 4, 5, 300, 600, 900]
    for _ in range(8):
        here.peers.every_second()
    assert here.sent() == [announcement(LOCAL)] * 5


def test_datagrams_of_the_route_exchange_go_and_come_by_the_fast_path(here: Here) -> None:
    here.hear(datagram(REMOTE, LOCAL, b"hello"))
    assert here.arrived == [(REMOTE, b"hello")]
    assert here.sent() == []
    EngineDatagrams(here.datapath, LOCAL).send(REMOTE, b"back")
    assert here.sent() == [datagram(LOCAL, REMOTE, b"back")]


# --- on the wire ------------------------------------------------------------------------------------------


def test_a_probe_is_geneve_as_others_read_it() -> None:
    packet = Ether(probe(LOCAL, REMOTE, ASKED))
    assert (packet.src, packet.dst) == ("02:fa:ac:10:00:01", "02:fa:ac:10:00:02")
    assert (packet[IP].src, packet[IP].dst, packet[IP].ttl, packet[IP].flags) == (str(LOCAL), str(REMOTE), 64, "DF")
    assert (packet[IP].tos, packet[IP].id, packet[IP].frag) == (0, 0, 0)
    assert (packet[IP].len, packet[UDP].len, packet[UDP].dport) == (len(packet) - 14, len(packet) - 34, 6081)
    assert packet[UDP].sport == 0xC000, "of the ports that encapsulated flows use"
    assert (packet[GENEVE].vni, packet[GENEVE].oam, packet[GENEVE].optionlen) == (0, 1, 1)
    geneve = b"\x01\x80\x65\x58\0\0\0\0" + OPTION_CLASS.to_bytes(2, "big") + bytes([ASKED, 0])
    assert bytes(packet)[40:] == b"\0\0" + geneve, "no UDP checksum, and an option without data"
    assert entries.MAX_PEERS > 1_000


PROBE = probe(REMOTE, LOCAL, ASKED)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (12, 0x86), (14, 0x46), (23, 6), (43, 0), (42, 0), (50, 0), (51, 0), (52, 0x7F),
    ],
    ids=["type", "options", "protocol", "no oam", "no option", "class", "class low", "kind"],
)  # fmt: skip
def test_what_is_no_probe_is_not_read(at: int, value: int) -> None:
    assert read_probe(PROBE) == (REMOTE, ASKED)
    assert read_probe(PROBE[:at] + bytes([value]) + PROBE[at + 1 :]) is None


def test_a_probe_that_was_cut_short_is_not_read() -> None:
    assert len(PROBE) == 54
    assert [read_probe(PROBE[:size]) for size in range(54)] == [None] * 54
    longer = PROBE[:42] + b"\x02" + PROBE[43:]
    assert read_probe(longer) is None
    assert read_probe(longer + bytes(3)) is None
    assert read_probe(longer + bytes(4)) == (REMOTE, ASKED), "what follows the option is passed over"
    assert read_probe(PROBE[:42] + b"\xc1" + PROBE[43:]) == (REMOTE, ASKED), "the version is not looked at"


def test_a_datagram_is_udp_as_others_read_it() -> None:
    packet = Ether(datagram(LOCAL, REMOTE, b"payload"))
    assert (packet.src, packet.dst) == ("02:fa:ac:10:00:01", "02:fa:ac:10:00:02")
    assert (packet[IP].src, packet[IP].dst, packet[IP].ttl, packet[IP].flags) == (str(LOCAL), str(REMOTE), 64, "DF")
    assert (packet[IP].tos, packet[IP].id, packet[IP].frag) == (0, 0, 0)
    assert (packet[IP].len, packet[UDP].len, packet[UDP].chksum) == (35, 15, 0)
    assert packet[UDP].sport == packet[UDP].dport == 6082
    assert packet[Raw].load == b"payload"
    checksum = packet[IP].chksum
    del packet[IP].chksum
    assert Ether(bytes(packet))[IP].chksum == checksum


DATAGRAM = datagram(REMOTE, LOCAL, b"hello")


@pytest.mark.parametrize(
    ("at", "value"),
    [(12, 0x86), (14, 0x46), (23, 6), (36, 0), (37, 0), (39, 7), (39, 14)],
    ids=["type", "options", "protocol", "port", "port low", "no header", "longer than the frame"],
)
def test_what_is_no_datagram_is_not_read(at: int, value: int) -> None:
    assert read_datagram(DATAGRAM) == (REMOTE, b"hello")
    assert read_datagram(DATAGRAM[:at] + bytes([value]) + DATAGRAM[at + 1 :]) is None


def test_padding_behind_a_datagram_is_not_of_it() -> None:
    assert read_datagram(DATAGRAM + bytes(20)) == (REMOTE, b"hello")
    assert [read_datagram(DATAGRAM[:size]) for size in range(len(DATAGRAM))] == [None] * len(DATAGRAM)
    empty = datagram(REMOTE, LOCAL, b"")
    assert read_datagram(empty) == (REMOTE, b"")
    assert read_datagram(empty[:-1]) is None
