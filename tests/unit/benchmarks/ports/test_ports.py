"""Ports: what is laid out in memory for the kernel, and what is made of samples; no port is opened."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.ports import __main__ as ports
from benchmarks.ports import kinds, libc, tap, uring, xdp
from benchmarks.ports.libc import message_vector
from benchmarks.ports.rig import Rig
from hoverboard.contract.errors import MachineError, MeasurementError


def test_pollfd_is_the_struct() -> None:
    word = np.array([tap.pollfd(7)], np.int64).tobytes()
    assert struct.unpack("<ihh", word) == (7, libc.POLLIN, 0)


def test_message_vector_points_at_every_buffer() -> None:
    buffers = np.zeros(4 * 64, np.uint8)
    headers, vectors = message_vector(buffers, 4, 64, 22, offset=2)
    assert vectors[:, 0].tolist() == [buffers.ctypes.data + 2 + 64 * i for i in range(4)]
    assert vectors[:, 1].tolist() == [22] * 4
    assert headers[:, 2].tolist() == [vectors.ctypes.data + 16 * i for i in range(4)]
    assert headers[:, 3].tolist() == [1] * 4
    assert headers.shape[1] * 8 == struct.calcsize("PIxxxxPQPQixxxxIxxxx")  # struct mmsghdr


def test_shim_carries_addresses_and_the_virtio_header() -> None:
    data = np.zeros(512, np.uint8)
    at = 256
    vnet = np.arange(1, tap.VNET + 1, dtype=np.uint8)
    frame = np.arange(100, 160, dtype=np.uint8)
    data[at - tap.VNET : at] = vnet
    data[at : at + 60] = frame
    outer = tap.wrap(data, at, 60)
    assert at - outer == tap.SHIM
    assert data[outer - tap.VNET : outer].tolist() == [0, 0, 60, *[0] * 9]  # hdr_len alone
    assert data[outer : outer + 12].tolist() == frame[:12].tolist()
    assert data[outer + 12 : outer + 14].tobytes() == b"\x88\xb5"
    # The far side finds the header where a tap wants it: right before the frame.
    assert data[at - tap.VNET : at].tolist() == vnet.tolist()
    assert data[at : at + 60].tolist() == frame.tolist()


def test_a_slot_holds_the_largest_frame_with_its_shim() -> None:
    assert tap.HEADROOM >= tap.SHIM + tap.VNET
    assert tap.SLOT - tap.HEADROOM >= tap.VNET + 65_521
    assert kinds.HEADER_LENGTH < 256  # wrap() writes one byte


def test_xdp_program_is_six_slots_with_the_map_in_the_second() -> None:
    code = xdp.program(0x1234)
    assert len(code) == 6 * 8
    operation, registers, offset, value = struct.unpack_from("<BBhi", code, 8)
    assert (operation, registers >> 4, offset, value) == (0x18, 1, 0, 0x1234)  # ld_imm64, BPF_PSEUDO_MAP_FD
    assert code[-8] == 0x95


def test_xdp_ring_of_frames() -> None:
    def ring(words: int) -> xdp.Ring:
        return xdp.Ring(np.zeros(1, np.uint32), np.zeros(1, np.uint32), np.zeros(xdp.RING * words, np.uint64))

    side = xdp.Side(ring(2), ring(2), ring(1), ring(1))
    xdp.stock(side, 5)
    assert side.fill.made[0] == xdp.RING - 1
    assert side.fill.slots[:2].tolist() == [5 * xdp.FRAME, 6 * xdp.FRAME]


def _queue() -> uring.Queue:
    tail, head, made = (np.zeros(1, np.uint32) for _ in range(3))
    cqes, sqes = np.zeros(uring.CQ * 2, np.int64), np.zeros(uring.SQ * 8, np.int64)
    rings, frames = np.zeros(2 * 4096, np.uint8), np.zeros(2 * uring.BUFFERS, np.uint8)
    return uring.Queue(tail, head, made, cqes, sqes, rings, frames)


def test_io_uring_submission_is_the_struct() -> None:
    queue = _queue()
    uring.ask(queue, 23, 0, 1, 9, 0x7000, 1500, 77)
    assert queue.sq_tail[0] == 1
    entry = struct.unpack("<BBHiQQIIQHHIQQ", queue.sqes[:8].tobytes())
    assert entry[:9] == (23, 0, 0, 9, 0, 0x7000, 1500, 0, 77)
    assert entry[9] == 1  # buf_group


def test_io_uring_buffers_go_round_their_own_ring() -> None:
    queue = _queue()
    for turn in range(uring.BUFFERS + 1):
        uring.give(queue, 1, turn % uring.BUFFERS)
    page = queue.rings[4096:]
    address, length, number, tail = struct.unpack("<QIHH", page[:16].tobytes())
    assert (length, number, tail) == (tap.SLOT, 0, uring.BUFFERS + 1)
    assert address == queue.frames.ctypes.data + uring.BUFFERS * tap.SLOT
    assert struct.unpack("<QIHH", page[16:32].tobytes())[2] == 1
    assert not queue.rings[:4096].any()


def test_meter_takes_the_difference() -> None:
    stats = np.zeros(8, np.int64)
    meter = ports.Meter(Rig(0, 0, "", stats=[stats]))
    meter()
    stats[tap.FRAMES] = 40
    meter()
    assert (meter.frames, meter.cpu) == (40, 0)


def test_meter_counts_from_its_first_call_to_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = [np.zeros(8, np.int64), np.zeros(8, np.int64)]
    rig = Rig(0, 0, "", stats=stats)
    spent = iter([1.5, 2.0, 4.0])
    monkeypatch.setattr(Rig, "cpu_seconds", lambda self: next(spent))
    meter = ports.Meter(rig)
    for frames in (3, 10, 40):
        stats[0][tap.FRAMES] = frames
        stats[1][tap.FRAMES] = 1
        meter()
    assert (meter.frames, meter.cpu) == (37, 2.5)


def test_the_clock_of_a_forwarder_is_its_thread_s() -> None:
    ended = threading.Event()
    threads = [threading.Thread(target=ended.wait) for _ in range(2)]
    rig = Rig(0, 0, "", threads=[*threads, threading.Thread()])
    for one in threads:
        one.start()
    assert 0 <= rig.cpu_seconds() < 60
    ended.set()
    for one in threads:
        one.join()


class Traffic:
    """What each kind of traffic finds; forwarders spend a second and move 1000 frames while it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, frames: int = 1_000) -> None:
        self.stats = np.zeros(8, np.int64)
        self.asked: list[tuple[object, ...]] = []
        self.spent = 0.0
        self.frames = frames
        monkeypatch.setattr(Rig, "cpu_seconds", lambda rig: self.spent)
        for name, found in (("trips", (20.0, 30.0)), ("udp", (5_000.0, 9)), ("tcp", 7.5)):
            monkeypatch.setattr(ports.traffic, name, self._kind(name, found))

    def _kind(self, name: str, found: object) -> Callable[..., object]:
        def run(*given: Any) -> object:
            self.asked.append((name, *given[:-1]))
            given[-1]()
            self.stats[tap.FRAMES] += self.frames
            self.spent += 1.0
            given[-1]()
            return found

        return run

    def rig(self, *, awake: bool = False) -> Rig:
        return Rig(1, 2, "10.0.0.2", awake=awake, stats=[self.stats])


def test_a_turn_has_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(monkeypatch)
    assert ports.turn(traffic.rig(), ports.Plan(1, 0.5)) == {
        "tcp_gbps": 7.5, "tcp_cpu": 2.0, "udp_kpps": 5.0, "udp_frame_ns": 1e6, "trip_us": 20.0, "trip_p90_us": 30.0,
    }  # fmt: skip
    assert traffic.asked == [(name, 1, 2, "10.0.0.2", 0.5) for name in ("trips", "udp", "tcp")]
    assert ports.turn(Traffic(monkeypatch, frames=0).rig(), ports.Plan(1, 0.5))["udp_frame_ns"] == 0.0


@pytest.mark.parametrize("awake", [True, False])
def test_cores_are_kept_awake_for_those_that_ask_for_it(monkeypatch: pytest.MonkeyPatch, awake: bool) -> None:
    kept: list[str] = []

    @contextlib.contextmanager
    def cores_awake() -> Iterator[None]:
        kept.append("awake")
        yield

    monkeypatch.setattr(ports, "cores_awake", cores_awake)
    ports.turn(Traffic(monkeypatch).rig(awake=awake), ports.Plan(1, 0.5))
    assert kept == ["awake"] * awake


def test_kinds_take_turns_and_those_that_cannot_be_had_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[str, float]] = []
    closed: list[str] = []

    @contextlib.contextmanager
    def up(name: str) -> Iterator[Any]:
        if name == "absent":
            raise MachineError("no such kind of port")
        yield name
        closed.append(name)

    def turn(rig: Any, plan: ports.Plan) -> dict[str, float]:
        turns.append((rig, plan.seconds))
        if len(turns) == 1:
            raise MeasurementError("too short")
        return dict.fromkeys(ports.COLUMNS, float(len(turns)))

    section = {name: lambda name=name: up(name) for name in ("peer", "absent", "one")}
    monkeypatch.setattr(kinds, "SECTIONS", {"made up": section})
    monkeypatch.setattr(ports, "turn", turn)
    said: list[tuple[str, float]] = []
    found = ports.measure("made up", ports.Plan(2, 0.5), lambda what, share: said.append((what, share)))
    assert turns == [("peer", 0.2), ("one", 0.2), ("peer", 0.5), ("one", 0.5), ("one", 0.5), ("peer", 0.5)]
    assert found["absent"] == {"absent": "no such kind of port"}
    assert found["kinds"]["one"]["samples"]["trip_us"] == [4.0, 5.0]
    assert found["peer"] == "peer"
    assert closed == ["one", "peer"]
    assert [share for _, share in said[-4:]] == [0.0, 0.25, 0.5, 0.75]
    assert said[-1][0] == "made up: peer, round 2 of 2"


def _round(factor: float) -> ports.Figures:
    return {key: factor for key in ports.COLUMNS}


def test_ratios_are_of_rounds_not_of_medians() -> None:
    figures = ports.summary({"peer": [_round(1), _round(10), _round(100)], "one": [_round(2), _round(20), _round(50)]})
    assert figures["peer"] == "peer"
    assert figures["kinds"]["one"]["to_peer"]["tcp_gbps"] == pytest.approx(2)
    assert figures["kinds"]["one"]["summary"]["trip_us"]["median"] == 20
    shown = ports.table("uplink", figures)
    assert [list(column.cells)[1] for column in shown.columns] == [
        "one", "20.00 (2.00)", "20.00", "20 (2.00)", "20", "20.0 (2.00)", "20.0",
    ]  # fmt: skip
    calls = ports.calls_table({"read": 123.4, "write": 56.7})
    assert [list(column.cells) for column in calls.columns] == [["read", "write"], ["123", "57"]]


def test_every_section_begins_with_a_peer_and_can_be_asked_for() -> None:
    given = ports.options(["--section", "uplink", "--section", ports.CALLS])
    assert given.section == ["uplink", ports.CALLS]
    assert all(len(section) > 1 for section in kinds.SECTIONS.values())
    assert next(iter(kinds.SECTIONS["virtual NIC"])).startswith("kernel")
