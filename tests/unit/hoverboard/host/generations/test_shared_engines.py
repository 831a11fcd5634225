"""Hosts and the process of their shared engines: what is plugged in, lent and left, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.fastpath.memory import control, host, ports
from hoverboard.fastpath.memory.arrays import allocate
from hoverboard.host.generations import shared_engines
from hoverboard.rpc.client import Client
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors


class Thread:
    """In place of EngineThread: records its calls."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.calls: list[tuple[Any, ...]] = []
        self.hosts: list[Any] = []

    def add_host(self, memories: Any) -> int:
        self.hosts.append(memories)
        return len(self.hosts) - 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def thread() -> Iterator[Thread]:
    made = Thread()
    yield made
    os.close(made.wake_fd)


@pytest.fixture
def path(tmp_path: Path, thread: Thread) -> Iterator[Path]:
    server = shared_engines.server(tmp_path / "engines.sock", thread)  # type: ignore[arg-type]
    server.start("engines of a test")
    yield tmp_path / "engines.sock"
    server.close()


def shared(path: Path) -> tuple[shared_engines.SharedEngineProcess, Any, int]:
    """A host that has joined: its home, its memory and the eventfd for its news."""
    memory_fd = shared_engines.shared_memory("h1")
    home = shared_engines.SharedEngineProcess(path, memory_fd)
    memories = allocate(memory_fd)
    control_eventfd = os.eventfd(0, os.EFD_NONBLOCK)
    home.start(memories, control_eventfd)
    return home, memories, control_eventfd


def plug(home: shared_engines.SharedEngineProcess, port: int, fd: int) -> int:
    """Plug a descriptor in; its number in the process of the engines, as the host's own row has it."""
    row = np.full(ports.WORDS, -1, np.int64)
    home.plug(port, fd, row)
    return int(row[ports.FD])


def same(one: int, other: int) -> bool:
    return os.path.sameopenfile(one, other)


def test_a_host_joins_plugs_in_and_leaves(path: Path, thread: Thread) -> None:
    home, memories, control_eventfd = shared(path)
    before = open_descriptors()
    assert home.wake_fd not in (-1, thread.wake_fd)
    home.wake()
    assert os.eventfd_read(thread.wake_fd) == 1
    os.eventfd_write(int(memories[control.EGRESS].host[host.CONTROL_EVENTFD]), 7)
    assert os.eventfd_read(control_eventfd) == 7

    reader, writer = os.pipe()
    number = plug(home, 3, writer)
    assert same(number, writer)
    assert not os.get_blocking(number)
    assert int(memories[control.EGRESS].ports[3, ports.FD]) == number
    assert thread.calls == [("admit", number), ("watch", 0, 3, number)]
    lent = home.share_fd(control_eventfd)
    os.eventfd_write(lent, 5)
    assert os.eventfd_read(control_eventfd) == 5
    home.set_debug(("capture",))
    home.unshare_fd(lent)
    home.unplug(3)
    assert thread.calls[2:] == [("set_debug", 0, ("capture",)), ("unwatch", number)]
    os.close(writer)
    assert os.read(reader, 1) == b""  # no copy is left
    os.close(reader)
    assert more_than(before) == []

    plug(home, 4, control_eventfd)
    home.share_fd(control_eventfd)
    home.close()
    os.close(control_eventfd)


def test_what_a_host_leaves_behind_is_closed(path: Path, thread: Thread) -> None:
    home, _memories, control_eventfd = shared(path)
    reader, writer = os.pipe()
    number = plug(home, 4, writer)
    home.share_fd(writer)
    os.close(writer)
    home.close()
    assert os.read(reader, 1) == b""  # waits for the end of both
    assert thread.calls[2:] == [("set_debug", 0, ()), ("remove_host", 0), ("unwatch", number)]
    os.close(reader)
    os.close(control_eventfd)


def test_what_cannot_be_is_refused_and_the_host_stays(path: Path, thread: Thread) -> None:
    home, _memories, control_eventfd = shared(path)
    reader, writer = os.pipe()
    number = plug(home, 3, writer)
    for wrong in (-1, ports.COUNT):
        with pytest.raises(InputError, match=f"there is no port {wrong}"):
            plug(home, wrong, writer)
    with pytest.raises(InputError, match="nothing is plugged into port 4"):
        home.unplug(4)
    with pytest.raises(InputError, match=f"descriptor {number} was not shared"):
        home.unshare_fd(number)
    os.close(writer)
    os.write(number, b"x")
    assert os.read(reader, 1) == b"x"
    home.unplug(3)
    assert os.read(reader, 1) == b""  # refused copies were closed
    home.close()
    os.close(reader)
    os.close(control_eventfd)


def test_a_descriptor_takes_the_place_of_an_earlier_one(path: Path, thread: Thread) -> None:
    home, memories, control_eventfd = shared(path)
    (old_reader, old_writer), (reader, writer) = os.pipe(), os.pipe()
    old = plug(home, 0, old_writer)
    number = plug(home, 0, writer)
    assert int(memories[control.EGRESS].ports[0, ports.FD]) == number
    assert thread.calls[-3:] == [("admit", number), ("watch", 0, 0, number), ("retire", old)]
    os.close(old_writer)
    assert os.read(old_reader, 1) == b""  # no copy is left
    os.write(number, b"x")
    assert os.read(reader, 1) == b"x"
    home.close()
    for fd in (old_reader, reader, writer, control_eventfd):
        os.close(fd)


def test_a_descriptor_that_cannot_be_polled_changes_nothing(path: Path, thread: Thread) -> None:
    home, memories, control_eventfd = shared(path)
    reader, writer = os.pipe()
    number = plug(home, 0, writer)

    def reject(_fd: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    thread.admit = reject  # type: ignore[attr-defined]
    before = open_descriptors()
    with open("/dev/null", "rb") as null, pytest.raises(RunError, match="Operation not permitted"):
        plug(home, 0, null.fileno())
    assert int(memories[control.EGRESS].ports[0, ports.FD]) == number
    assert more_than(before) == []
    home.close()
    for fd in (reader, writer, control_eventfd):
        os.close(fd)


def test_who_has_not_joined_is_refused(path: Path, thread: Thread, tmp_path: Path) -> None:
    before = open_descriptors()
    with Client(path) as client, open(tmp_path / "small", "wb+") as small:
        for method, params in (("plug", {"port": 1}), ("debug", {"elements": []})):
            with pytest.raises(InputError):
                client.call(method, fds=(small.fileno(),) if method == "plug" else (), **params)
        with pytest.raises(InputError, match="join: takes 2 descriptors, not 1"):
            client.call("join", fds=(small.fileno(),))
        with pytest.raises(Exception, match="mmap length is greater than file size"):
            client.call("join", fds=(small.fileno(), small.fileno()))
    assert thread.calls == []
    assert thread.hosts == []
    assert len(more_than(before)) <= 1  # the server may still be at the end of the connection


def test_a_host_joins_once(path: Path) -> None:
    home, _memories, control_eventfd = shared(path)
    with pytest.raises(InputError, match="has joined already"):
        home._client.call("join", fds=(control_eventfd, control_eventfd))
    home.close()
    os.close(control_eventfd)
