"""VMs' processes join and get their descriptors; hostile ones delay no other."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.fastpath.memory import ports
from hoverboard.host.generations import pre_vm_process
from hoverboard.host.generations.pre_vm_process import PORT, VmmListener, VmmProcess
from hoverboard.rpc.answering import TakesDescriptors, answer_one
from hoverboard.rpc.channel import Channel
from hoverboard.rpc.descriptors import Descriptors
from tests.unit.hoverboard.rpc.conftest import DEADLINE, more_than, open_descriptors


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[VmmListener]:
    before = open_descriptors()
    made = VmmListener(tmp_path / "vmms.sock")
    yield made
    made.close()
    assert more_than(before) == []


@contextlib.contextmanager
def vm_process(path: Path, vm: str, carry: Callable[[Descriptors], int]) -> Iterator[threading.Thread]:
    """In place of a VM's process: joins, answers one request, and ends when the host has had enough."""

    def live() -> None:
        channel = Channel.connect(path, DEADLINE)
        channel.send({"method": "join", "params": {"vm": vm}})
        if answer_one(channel, {"carry": TakesDescriptors(carry, 5, 5)}, vm):
            channel.receive_line()
        channel.close()

    thread = threading.Thread(target=live)
    thread.start()
    yield thread
    thread.join()


def process(listener: VmmListener, vm: str) -> VmmProcess:
    channel, pid = listener.wait_for(vm)
    assert pid == os.getpid()  # from the kernel, not from the peer
    made = VmmProcess(channel, pid, os.open(os.devnull, os.O_RDONLY), 0)
    made.start((), 0)  # type: ignore[arg-type]
    return made


def plug(made: VmmProcess, tap: int) -> int:
    """Hand the tap over; its number in the VM's process, as the port's row has it."""
    row = np.full(ports.WORDS, -1, np.int64)
    made.plug(PORT, tap, row)
    return int(row[ports.FD])


def test_a_process_gets_its_five_descriptors_and_says_how_it_calls_the_tap(
    listener: VmmListener, tmp_path: Path
) -> None:
    got: list[str] = []

    def carry(fds: Descriptors) -> int:
        got.extend(os.readlink(f"/proc/self/fd/{fd}") for fd in fds.numbers)
        return 42

    reader, tap = os.pipe()
    with vm_process(tmp_path / "vmms.sock", "blue-1", carry):
        made = process(listener, "blue-1")
        assert plug(made, tap) == 42
        assert got[0] == os.devnull
        assert got[2] == os.readlink(f"/proc/self/fd/{made.wake_fd}")
        assert got[3] == os.readlink(f"/proc/self/fd/{tap}")
        made.close()
    os.close(tap)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_the_error_of_a_process_that_cannot_carry_keeps_its_kind(listener: VmmListener, tmp_path: Path) -> None:
    def carry(_fds: Descriptors) -> int:
        raise InputError("no room", where="blue-1")

    with vm_process(tmp_path / "vmms.sock", "blue-1", carry):
        made = process(listener, "blue-1")
        with pytest.raises(InputError, match="blue-1: no room"):
            plug(made, 0)
        made.close()


def test_a_process_that_ended_before_it_was_asked(listener: VmmListener, tmp_path: Path) -> None:
    channel = Channel.connect(tmp_path / "vmms.sock", DEADLINE)
    channel.send({"method": "join", "params": {"vm": "blue-1"}})
    made = process(listener, "blue-1")
    channel.close()
    with pytest.raises(RunError, match="carry: "):
        plug(made, 0)
    made.close()


def test_processes_may_come_in_any_order_and_the_last_of_a_vm_counts(listener: VmmListener, tmp_path: Path) -> None:
    path, channels = tmp_path / "vmms.sock", []
    for vm in ("blue-2", "blue-1", "blue-2", "blue-3"):
        channels.append(Channel.connect(path, DEADLINE))
        channels[-1].send({"method": "join", "params": {"vm": vm}})
    third, _ = listener.wait_for("blue-3")
    assert channels[0].receive_line() is None  # sent away
    second, _ = listener.wait_for("blue-2")
    second.send({"method": "x"})
    assert channels[2].receive_line() is not None
    second.close()
    third.close()
    listener.close()
    assert channels[1].receive_line() is None  # no caller waited for blue-1
    for channel in channels:
        channel.close()


def test_hostile_processes_delay_no_other(listener: VmmListener, tmp_path: Path) -> None:
    path = tmp_path / "vmms.sock"
    with contextlib.ExitStack() as ends:
        for words in (b"", b"{", b"rubbish\n", b'{"method": "join"}\n', b'{"method": "join", "params": {"vm": []}}\n'):
            hostile = ends.enter_context(socket.socket(socket.AF_UNIX))
            hostile.connect(str(path))
            hostile.sendall(words)
        with vm_process(path, "blue-1", lambda _fds: 1):
            made = process(listener, "blue-1")
            assert plug(made, 0) == 1
            made.close()


def test_a_process_that_does_not_come(listener: VmmListener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pre_vm_process, "_JOIN_SECONDS", 0.02)
    with pytest.raises(RunError, match=r"no process of VM blue-1 after 0.02 s"):
        listener.wait_for("blue-1")
