"""Packets per second: what is asked of both ends, and both ends of the tool over the loopback with a made-up clock."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.tools import packet_rate, packet_rate_tool, tool_pair
from experiments.tools.packet_rate import PacketRateResult, PacketRateSpec
from hoverboard.contract.errors import InputError, MeasurementError
from tests.unit.experiments.tools.no_namespace import HERE, installed

LOCAL = "127.0.0.1"


def test_a_64_byte_frame_has_18_bytes_of_payload() -> None:
    assert packet_rate.PAYLOAD_OF_64 == 18
    assert PacketRateSpec().payload == 18


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0}, {"seconds": -1}, {"omit": -0.1}, {"payload": 0}, {"payload": 1401}, {"flows": 0},
        {"rate_pps": 0}, {"rate_pps": -5},
    ],
)  # fmt: skip
def test_impossible_measurements_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        PacketRateSpec(**wrong)  # type: ignore[arg-type]


def test_the_least_and_the_most_there_is() -> None:
    assert PacketRateSpec(payload=1400, omit=0, seconds=0.5).limit == 12.5
    assert PacketRateSpec(payload=1, omit=0.25, seconds=2, rate_pps=1).limit == 14.25


class Pair:
    """Both ends' command lines, and what they are made to find."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delivered: int = 8) -> None:
        self.commands: list[list[str]] = []
        self.limits: list[float] = []
        self._delivered = delivered
        monkeypatch.setattr(tool_pair, "serving", self._serving)
        monkeypatch.setattr(tool_pair, "run", self._run)

    @contextlib.contextmanager
    def _serving(self, place: object, argv: list[str]) -> Iterator[Any]:
        self.commands.append(argv[3:])
        found = {"delivered": self._delivered, "delivered_pps": 4.0, "dropped_at_socket": 2, "seconds": 2.0}
        yield SimpleNamespace(port=4711, result=lambda limit: (self.limits.append(limit), found)[1])

    def _run(self, place: object, argv: list[str], timeout: float) -> dict[str, float]:
        self.commands.append(argv[3:])
        self.limits.append(timeout)
        return {"offered": 10, "offered_pps": 5.0}


def test_both_ends_are_asked_for_the_same_and_the_sender_goes_on_a_little_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair(monkeypatch)
    found = packet_rate.measure(
        HERE, HERE, LOCAL, PacketRateSpec(seconds=2, omit=0.25, payload=100, flows=3, rate_pps=9)
    )
    assert found == PacketRateResult(offered_pps=5.0, delivered_pps=4.0, delivered=8, dropped_at_socket=2)
    common = ["--address", LOCAL, "--limit", "16", "--omit", "0.25"]
    assert pair.commands == [
        ["receive", "--seconds", "2", *common],
        ["send", "--port", "4711", "--seconds", "2.3", "--size", "100", "--flows", "3", "--rate", "9", *common],
    ]
    assert pair.limits == [14.25, 14.25]
    pair.commands.clear()
    packet_rate.measure(HERE, HERE, LOCAL, PacketRateSpec())
    assert "--rate" not in pair.commands[1]


def test_no_packet_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Pair(monkeypatch, delivered=0)
    with pytest.raises(MeasurementError, match="no packet arrived") as caught:
        packet_rate.measure(HERE, HERE, LOCAL, PacketRateSpec())
    assert caught.value.where == "here"


def test_drops_are_those_of_the_socket() -> None:
    table = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
        "drops\n"
        "   12: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000 3\n"
        "   13: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000 99\n"
    )
    assert packet_rate_tool.dropped(table, 0x1F91) == 99
    assert packet_rate_tool.dropped(table, 1) == 0


class Kernel:
    """A clock that goes on by a step at each look, and calls that take as many messages as is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, took: Iterator[int], code: int = 0) -> None:
        self.at, self.step, self.took = 1_000_003.0, step, took
        self.waits: list[float] = []
        self.sent: list[int] = []
        libc = SimpleNamespace(sendmmsg=self._call, recvmmsg=self._call)
        monkeypatch.setattr(packet_rate_tool, "_libc", libc)
        monkeypatch.setattr(packet_rate_tool, "time", SimpleNamespace(monotonic=self._now))
        monkeypatch.setattr(packet_rate_tool.ctypes, "get_errno", lambda: code)
        monkeypatch.setattr(packet_rate_tool, "select", SimpleNamespace(select=self._select))

    def _now(self) -> float:
        self.at += self.step
        return self.at

    def _call(self, fd: int, messages: Any, count: int, flags: int, *timeout: None) -> int:
        assert (len(messages), count, flags) == (packet_rate_tool.BATCH, packet_rate_tool.BATCH, 0)
        self.sent.append(fd)
        return next(self.took)

    def _select(self, *given: Any) -> None:
        self.waits.append(given[3])
        self.at += given[3]


def always(count: int) -> Iterator[int]:
    while True:
        yield count


def test_what_is_offered_counts_after_the_omitted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 0.125, always(60))
    found = packet_rate_tool.send(LOCAL, 9, 1.0, 0.5, 18, 3, 0.0)
    # Looks at 1/8 s: 3 calls end before 0.5 s, the one that ends then counts, and all until 1.5 s: 9 of them.
    assert found == {"offered": 540, "seconds": 1.125, "offered_pps": 480.0, "refused_calls": 0}
    assert len(kernel.sent) == 12
    assert kernel.sent[:3] == kernel.sent[3:6] == kernel.sent[6:9]  # sockets take turns
    assert len(set(kernel.sent)) == 3


def test_a_rate_is_kept_by_waiting_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 2**-20, always(64))
    found = packet_rate_tool.send(LOCAL, 9, 1.0, 0.0, 18, 1, 640.0)
    # A batch every 0.1 s, each waited for in two steps of 0.05 s at most.
    assert found["offered"] == 9 * 64
    assert kernel.waits[0] == 0.05
    assert kernel.waits[1] == pytest.approx(0.05, abs=1e-4)
    assert max(kernel.waits) == 0.05
    assert sum(kernel.waits) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.EAGAIN, errno.ECONNREFUSED])
def test_what_the_kernel_does_not_take_was_not_offered(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    Kernel(monkeypatch, 0.25, iter([64, -1, 0, 64, 64, 64, 64, 64]), code)
    found = packet_rate_tool.send(LOCAL, 9, 1.0, 0.0, 18, 1, 0.0)
    assert (found["offered"], found["refused_calls"]) == (128, 2)


def test_another_error_of_the_kernel_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, 0.25, always(-1), errno.EPERM)
    with pytest.raises(PermissionError):
        packet_rate_tool.send(LOCAL, 9, 1.0, 0.0, 18, 1, 0.0)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    found: list[dict[str, int]] = []
    monkeypatch.setattr(packet_rate_tool, "print", lambda text, flush: found.append(json.loads(text)), raising=False)
    return found


def test_what_is_delivered_counts_after_the_omitted_time(
    monkeypatch: pytest.MonkeyPatch, printed: list[dict[str, int]]
) -> None:
    buffers: list[tuple[int, int, Any]] = []
    real = socket.socket.setsockopt
    monkeypatch.setattr(
        socket.socket,
        "setsockopt",
        lambda self, *given: buffers.append(given) if given[1] == 33 else real(self, *given),
    )
    Kernel(monkeypatch, 0.25, iter([-1, 5, 10, -1, 20, 40, 80, 0, 160, 320]))
    found = packet_rate_tool.receive(LOCAL, 1.0, 0.5)
    # The first came; then looks at 1/4 s: 10 before 0.5 s, nothing at it, and 20, 40, 80, 0 until 1.5 s.
    assert found["delivered"] == 140
    assert found["seconds"] == 1.25
    assert found["delivered_pps"] == 112.0
    assert found["dropped_at_socket"] == 0
    assert printed[0]["port"] > 0
    assert buffers == [(socket.SOL_SOCKET, 33, 16 << 20)]


def test_a_receiver_gives_up_when_nothing_comes(monkeypatch: pytest.MonkeyPatch, printed: list[dict[str, int]]) -> None:
    monkeypatch.setattr(packet_rate_tool, "_SO_RCVBUFFORCE", socket.SO_RCVBUF)
    kernel = Kernel(monkeypatch, 1.0, always(-1))
    with pytest.raises(TimeoutError, match="no datagram came for 10 s"):
        packet_rate_tool.receive(LOCAL, 1.0, 0.0)
    assert len(kernel.sent) == 11


def test_messages_are_structs_that_share_one_buffer() -> None:
    batch = packet_rate_tool._Batch(18)
    assert ctypes.sizeof(packet_rate_tool._Message) == 64  # struct mmsghdr of a 64-bit machine
    assert {message.header.iov.contents.length for message in batch.messages} == {18}
    assert {message.header.iov.contents.base for message in batch.messages} == {ctypes.addressof(batch.buffer)}
    assert {message.header.iov_length for message in batch.messages} == {1}


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("receive", "--seconds", "2"), ("receive", LOCAL, 2.0, 0.0)),
        (("receive",), ("receive", LOCAL, 1.0, 0.0)),
        (("send", "--port", "9"), ("send", LOCAL, 9, 1.0, 0.0, 18, 1, 0.0)),
        (
            ("send", "--port", "9", "--omit", "0.5", "--size", "7", "--flows", "2", "--rate", "5"),
            ("send", LOCAL, 9, 1.0, 0.5, 7, 2, 5.0),
        ),
    ],
)
def test_the_command_line_of_the_tool(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], call: tuple[Any, ...]
) -> None:
    calls: list[tuple[Any, ...]] = []
    for name in ("receive", "send"):
        monkeypatch.setattr(
            packet_rate_tool, name, lambda *given, name=name: (calls.append((name, *given)), {"found": 1})[1]
        )
    monkeypatch.setattr(packet_rate_tool.signal, "alarm", lambda seconds: calls.append(("alarm", seconds)))
    monkeypatch.setattr(packet_rate_tool.gc, "disable", lambda: calls.append(("gc",)))
    monkeypatch.setattr(sys, "argv", ["tool", *words, "--address", LOCAL, "--limit", "9"])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert packet_rate_tool.main() == 0
    assert json.loads(out.getvalue()) == {"found": 1}
    assert calls == [("alarm", 9), ("gc",), call]

    def fail(*given: object) -> None:
        raise TimeoutError("nothing came")

    monkeypatch.setattr(packet_rate_tool, call[0], fail)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert packet_rate_tool.main() == 1
    assert json.loads(out.getvalue()) == {"error": "nothing came"}


def test_both_ends_measure_over_the_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_RCVBUFFORCE needs a privilege that the machine of the test may not have."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, 33, 1 << 16)
        except PermissionError:
            pytest.skip("needs CAP_NET_ADMIN")
    installed(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(packet_rate, "_TRAILING_SECONDS", 0.05)
    found = packet_rate.measure(HERE, HERE, LOCAL, PacketRateSpec(seconds=0.05, omit=0.0, rate_pps=20_000))
    assert found.delivered > 0
    assert found.offered_pps > 0
