"""VMs that reach for new destinations: which, how fast, and that it ends with its block; over the loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.workload import flood
from experiments.workload.flood import flooding
from topologies.run.testbed import Testbed

BED = cast(Testbed, SimpleNamespace(pid_of=lambda name: {"a": 1, "b": 2}[name]))


class Sockets:
    """Sockets that note where they send, on a clock that is only waited for; it ends after so many packets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, *, refuse: bool = False) -> None:
        self.sent: list[tuple[int, str, int, int]] = []
        self.waits: list[float] = []
        self.at, self.pid, self.open = 1_000_003.0, 0, 0
        self._most, self._refuse = most, refuse
        self.over = threading.Event()
        monkeypatch.setattr(flood, "entered", self._entered)
        monkeypatch.setattr(
            flood, "socket", SimpleNamespace(socket=self._socket, AF_INET=socket.AF_INET, SOCK_DGRAM=socket.SOCK_DGRAM)
        )
        monkeypatch.setattr(flood, "time", SimpleNamespace(monotonic=lambda: self.at))
        event = SimpleNamespace(wait=self._wait, is_set=lambda: self.over.is_set(), set=self.over.set)
        monkeypatch.setattr(flood, "threading", SimpleNamespace(Event=lambda: event, Thread=threading.Thread))

    @contextlib.contextmanager
    def _entered(self, pid: int) -> Iterator[None]:
        self.pid = pid
        yield

    @contextlib.contextmanager
    def _socket(self, family: int, kind: int) -> Iterator[Any]:
        assert (family, kind) == (socket.AF_INET, socket.SOCK_DGRAM)
        pid = self.pid
        self.open += 1

        def sendto(payload: bytes, where: tuple[str, int]) -> None:
            self.sent.append((pid, where[0], where[1], len(payload)))
            if len(self.sent) == self._most:
                self.over.set()
            if self._refuse and len(self.sent) % 2:
                raise BlockingIOError

        yield SimpleNamespace(setblocking=lambda blocking: self._blocks(blocking), sendto=sendto)
        self.open -= 1

    def _blocks(self, blocking: bool) -> None:
        assert not blocking

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.at += seconds
        return False

    def until_over(self) -> None:
        assert self.over.wait(20)


def test_destinations_are_shared_out_and_used_again_when_all_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, most=8)
    with flooding(BED, ["a", "b"], ["d0", "d1", "d2", "d3", "d4"], 10.0) as found:
        sockets.until_over()
    assert [(pid, where) for pid, where, _, _ in sockets.sent] == [
        (1, "d0"), (2, "d1"), (1, "d2"), (2, "d3"), (1, "d4"), (2, "d1"), (1, "d0"), (2, "d3"),
    ]  # fmt: skip
    assert {(port, size) for _, _, port, size in sockets.sent} == {(9, 100)}
    assert found.sent == 8
    assert sockets.waits == pytest.approx([1 / 20] * 9)  # two VMs, ten a second each
    assert sockets.open == 0
    assert "flood" not in {thread.name for thread in threading.enumerate()}


def test_a_full_queue_does_not_count_and_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, most=6, refuse=True)
    with flooding(BED, ["a"], ["d0"], 10.0) as found:
        sockets.until_over()
    assert found.sent == 3


def test_a_late_sender_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, most=4)
    begun = iter([0.0, 0.5])  # the clock has gone on by five packets before the first is due
    monkeypatch.setattr(
        flood, "time", SimpleNamespace(monotonic=lambda: sockets.at + next(begun, 0.5))
    )  # fmt: skip
    with flooding(BED, ["a"], ["d0"], 10.0):
        sockets.until_over()
    assert sockets.waits == []


@pytest.mark.parametrize(("vms", "rate"), [([], 10.0), (["a"], 0.0)])
def test_no_vm_or_no_rate_is_no_flood(monkeypatch: pytest.MonkeyPatch, vms: list[str], rate: float) -> None:
    Sockets(monkeypatch, most=1)
    with flooding(BED, vms, ["d0"], rate) as found:
        pass
    assert found.sent == 0


def test_it_ends_with_its_block_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, most=10**9)
    waiting = threading.Event()

    def wait(seconds: float) -> bool:
        waiting.set()
        return sockets.over.wait(20)

    event = SimpleNamespace(wait=wait, is_set=lambda: False, set=sockets.over.set)
    monkeypatch.setattr(flood, "threading", SimpleNamespace(Event=lambda: event, Thread=threading.Thread))
    with flooding(BED, ["a"], ["d0"], 0.001) as found:
        assert waiting.wait(20)
    assert found.sent == 0
