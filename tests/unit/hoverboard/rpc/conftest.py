"""What tests of remote calls are given: a server in a thread, raw peers of it, and a count of open descriptors."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoverboard.rpc.server import Server
from tests.waiting import until

DEADLINE = 30.0  # seconds; nothing here waits for it


class Peer:
    """A client without manners: sends bytes, reads lines."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(path))  # waits for room, as it would not with a timeout
            self.socket.settimeout(DEADLINE)
        except BaseException:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> Any:
        """The next answer; None when the server has closed."""
        try:
            line = self._file.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def ask(self, data: bytes) -> Any:
        self.send(data + b"\n")
        return self.line()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Rig:
    """Makes servers and peers, and closes them at the end."""

    def __init__(self, path: Path, ends: contextlib.ExitStack) -> None:
        self.path = path
        self._ends = ends

    def serve(self, methods: Any, **options: Any) -> Server:
        """A server in a thread of its own."""
        server = Server(self.path, methods, **options)
        self._ends.callback(server.close)
        server.start("server of a test")
        return server

    def peer(self) -> Peer:
        made = Peer(self.path)
        self._ends.callback(made.close)
        return made


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with contextlib.ExitStack() as ends:
        yield Rig(tmp_path / "test.sock", ends)


def open_descriptors() -> list[str]:
    """What this process has open, by name: files, sockets and eventfds."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the directory itself
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(found)


def more_than(before: list[str]) -> list[str]:
    """What this process has open now and had not. Not the other way: the collector closes what earlier tests left."""
    return sorted((Counter(open_descriptors()) - Counter(before)).elements())


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails the test when something stays open that was not at its beginning; a thread may still be closing its own."""
    before = open_descriptors()
    yield
    with contextlib.suppress(AssertionError):
        until(lambda: not more_than(before), 5.0)
    assert more_than(before) == []
