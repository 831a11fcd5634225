"""Between a VM's coprocessor thread and the engines: what is taken from their rings, and what is given back."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from hoverboard.coprocessor.stage import Packet
from hoverboard.fastpath.memory import control, packets, rings
from hoverboard.fastpath.memory.arrays import Memory, allocate
from hoverboard.fastpath.packets import ring
from hoverboard.host.coprocessing import rings as coprocessor_rings
from hoverboard.host.coprocessing.rings import DivertedFlow, EngineBell, RingSink, RingSource, Ticket
from hoverboard.testing.memory_host import VM, Taken, take, vnet
from tests.unit.hoverboard.packets import array

PEER = IPv4Address("172.16.0.2")
FLOWS = [DivertedFlow(5, "egress", 7, PEER, False, sampled=6, every=16), DivertedFlow(9, "ingress", 8, None, True)]


@dataclass
class Rig:
    """The rings of one port of both engines."""

    memories: tuple[Memory, Memory] = field(default_factory=allocate)
    lock: threading.Lock = field(default_factory=threading.Lock)
    looks: int = 0
    wakes: int = 0

    def source(self, flows: Sequence[DivertedFlow] = FLOWS) -> RingSource:
        return RingSource(self.memories, VM, flows, self._look, self.lock)

    def sink(self) -> RingSink:
        return RingSink(self.memories, VM, self._wake, self.lock)

    def _look(self) -> None:
        self.looks += 1

    def _wake(self) -> None:
        self.wakes += 1

    def divert(self, frame: bytes, kind: int = 0, engine: int = 0, port: int = VM, tunnel: int = 0) -> None:
        """An engine diverts a packet, or a copy of one."""
        m = self.memories[engine]
        whole = array(vnet(offset=3) + frame)
        assert ring.push(
            m.side_index[VM, rings.TO_COPROCESSOR],
            m.side_meta[VM, rings.TO_COPROCESSOR],
            m.side_data[VM, rings.TO_COPROCESSOR],
            port,
            packets.HEADROOM - packets.VNET_BYTES,
            kind,
            tunnel,
            whole,
            0,
            len(whole),
        )

    def waiting(self, engine: int = 0) -> int:
        return int(ring.waiting(self.memories[engine].side_index[VM, rings.TO_COPROCESSOR]))

    def returned(self, engine: int = 0) -> list[Taken]:
        """What an engine is given back."""
        m = self.memories[engine]
        return take(
            m.side_index[VM, rings.FROM_COPROCESSOR],
            m.side_meta[VM, rings.FROM_COPROCESSOR],
            m.side_data[VM, rings.FROM_COPROCESSOR],
        )


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_diverted_packet_comes_with_all_that_its_entry_says(rig: Rig) -> None:
    rig.divert(b"frame", 0, port=3, tunnel=99)
    (packet,) = rig.source().take(10)
    assert (bytes(packet.frame), packet.vnet) == (b"frame", vnet(offset=3))
    assert (packet.direction, packet.vni, packet.peer, packet.chain) == ("egress", 7, PEER, 5)
    assert packet.ticket == Ticket(0, 3, 99, packets.FIRST_DONE)
    assert (packet.relayed, packet.sample) == (False, 0)
    assert (rig.waiting(), rig.looks) == (0, 1)


def test_what_a_receiving_vm_pays_for_is_the_last_of_its_stages(rig: Rig) -> None:
    rig.divert(b"frame", 1, engine=1)
    (packet,) = rig.source().take(10)
    assert (packet.direction, packet.vni, packet.peer, packet.chain, packet.relayed) == ("ingress", 8, None, 9, True)
    assert packet.ticket == Ticket(1, VM, 0, packets.ALL_DONE)


def test_a_sample_is_a_copy_that_goes_nowhere(rig: Rig) -> None:
    rig.divert(b"frame", rings.CHAIN_SAMPLE - 0)
    (packet,) = rig.source().take(10)
    assert (packet.chain, packet.sample, packet.ticket) == (6, 16, None)
    rig.divert(b"frame", rings.CHAIN_SAMPLE - 1)
    (packet,) = rig.source().take(10)
    assert (packet.direction, packet.chain, packet.sample, packet.ticket) == ("ingress", 0, 0, None)


def test_a_frame_has_room_behind_it_for_a_trailer(rig: Rig) -> None:
    rig.divert(b"x" * 200)
    (packet,) = rig.source().take(10)
    frame = packet.frame
    held = frame.__sizeof__()
    frame += bytes(100)
    assert frame.__sizeof__() == held, "nothing was allocated"


def test_no_more_is_taken_than_asked_for_and_both_engines_have_their_turn(rig: Rig) -> None:
    for engine in (0, 1):
        for number in range(4):
            rig.divert(b"%d %d" % (engine, number), engine=engine)
    source = rig.source()
    taken = [[bytes(packet.frame) for packet in source.take(3)] for _ in range(4)]
    assert taken == [
        [b"1 0", b"1 1", b"1 2"], [b"0 0", b"0 1", b"0 2"], [b"1 3", b"0 3"], [],
    ]  # fmt: skip


def test_a_batch_ends_by_its_bytes(rig: Rig) -> None:
    for _ in range(4):
        rig.divert(bytes(40_000))
    rig.divert(b"small", engine=1)
    source = rig.source()
    assert [len(packet.frame) for packet in source.take(32)] == [5, 40_000, 40_000]
    assert [len(packet.frame) for packet in source.take(32)] == [40_000, 40_000]
    exactly = control.BATCH_BYTES - packets.VNET_BYTES
    rig.divert(bytes(exactly))
    rig.divert(b"small", engine=1)
    source.take(0)
    assert [len(packet.frame) for packet in source.take(32)] == [exactly], "and the other engine waits for its turn"
    assert [len(packet.frame) for packet in source.take(32)] == [5]
    rig.divert(bytes(exactly - 1))
    rig.divert(b"small", engine=1)
    assert [len(packet.frame) for packet in source.take(32)] == [exactly - 1, 5], "a byte of room is room"


def test_a_closed_source_gives_nothing_and_touches_nothing(rig: Rig) -> None:
    source = rig.source()
    rig.divert(b"frame")
    source.close()
    assert source.closed
    assert source.take(10) == []
    assert rig.waiting() == 1
    rig.divert(b"frame", engine=1)
    rig.divert(b"frame", engine=1)
    assert source.drain() == 3
    assert (rig.waiting(), rig.waiting(1), source.drain()) == (0, 0, 0)


def packet_for(engine: int = 0, frame: bytes = b"frame", done: int = packets.FIRST_DONE) -> Packet:
    return Packet(
        bytearray(frame), vnet=vnet(offset=4), direction="egress", vni=7, peer=PEER, chain=5,
        ticket=Ticket(engine, 3, 99, done),
    )  # fmt: skip


def test_a_packet_goes_back_to_the_engine_that_it_came_from(rig: Rig) -> None:
    sink = rig.sink()
    sink.give(packet_for(0))
    sink.give(packet_for(1, b"other", packets.ALL_DONE))
    offsets = [int(m.side_meta[VM, rings.FROM_COPROCESSOR, 0, rings.OFFSET]) for m in rig.memories]
    assert offsets == [packets.HEADROOM - packets.VNET_BYTES] * 2, "there is room for outer headers"
    assert rig.returned(0) == [Taken(3, packets.FIRST_DONE, 99, vnet(offset=4), b"frame")]
    assert rig.returned(1) == [Taken(3, packets.ALL_DONE, 99, vnet(offset=4), b"other")]
    assert sink.drops == {}


def test_the_engines_are_woken_once_for_all_that_was_given(rig: Rig) -> None:
    sink = rig.sink()
    sink.flush()
    assert rig.wakes == 0
    sink.give(packet_for())
    sink.give(packet_for())
    assert rig.wakes == 0
    sink.flush()
    sink.flush()
    assert rig.wakes == 1


def test_the_longest_frame_fits_and_a_longer_one_is_dropped(rig: Rig) -> None:
    sink = rig.sink()
    sink.give(packet_for(frame=bytes(packets.FRAME_MAX)))
    assert [len(one.frame) for one in rig.returned()] == [packets.FRAME_MAX]
    for _ in range(2):
        sink.give(packet_for(frame=bytes(packets.FRAME_MAX + 1)))
    assert sink.drops == {"coprocessor-frame-too-long": 2}
    assert rig.returned() == []


def test_a_full_way_back_wakes_the_engines_waits_and_drops(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(select, "select", lambda _r, _w, _x, seconds: pauses.append(seconds))
    sink = rig.sink()
    for _ in range(rings.SIDE_SLOTS):
        sink.give(packet_for())
    sink.give(packet_for(frame=b"late"))
    assert sink.drops == {"coprocessor-return-full": 1}
    assert rig.wakes == 19, "before each try but the first"
    assert pauses == [0.00025] * 19
    sink.flush()
    assert rig.wakes == 20, "what stands there is still to be fetched"
    assert [one.frame for one in rig.returned()] == [b"frame"] * rings.SIDE_SLOTS


def test_room_that_comes_while_it_waits_is_used(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coprocessor_rings, "_PAUSE", 0.0)
    sink = rig.sink()
    for _ in range(rings.SIDE_SLOTS):
        sink.give(packet_for())
    monkeypatch.setattr(sink, "_wake", rig.returned)
    sink.give(packet_for(frame=b"late"))
    assert sink.drops == {}
    assert [one.frame for one in rig.returned()] == [b"late"]


def test_a_closed_sink_ends_packets_without_a_drop(rig: Rig) -> None:
    sink = rig.sink()
    sink.close()
    assert sink.closed
    sink.give(packet_for())
    assert (rig.returned(), sink.drops) == ([], {})


@pytest.fixture
def bell(rig: Rig) -> Iterator[EngineBell]:
    made = EngineBell(rig.memories, VM)
    yield made
    made.close()


def test_each_engine_reads_in_its_own_memory_whether_the_thread_sleeps(rig: Rig, bell: EngineBell) -> None:
    def asleep() -> list[int]:
        return [int(m.side_wake[VM, rings.COPROCESSOR_ASLEEP]) for m in rig.memories] + [int(bell.sleeping[0])]

    assert asleep() == [0, 0, 0]
    bell.arm()
    assert asleep() == [1, 1, 1]
    bell.disarm()
    assert asleep() == [0, 0, 0]
    assert all(int(m.side_wake.sum()) == sum(m.side_wake[:, [0, 2]].sum(axis=0)) for m in rig.memories)


def test_the_thread_is_woken_asleep_or_not(bell: EngineBell) -> None:
    bell.ring()
    bell.wait(None)
    bell.arm()
    bell.ring()
    bell.wait(None)
    bell.disarm()
    assert not bell._poll.poll(0), "each ring has ended one wait"
