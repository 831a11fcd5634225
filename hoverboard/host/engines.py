"""Compacting: the engines of several hosts in one thread of one process (paper 4.2's scheduling, for small machines).

Each host process keeps its control thread and shares its engines' memory with this process by a memfd; the
descriptors of its ports come here by SCM_RIGHTS. One thread that serves all hosts needs no wake-up between
two of them, and is alone in looking for work before it sleeps.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import selectors
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from hoverboard.contract.entities import Scheduling
from hoverboard.fastpath.memory import control, host, ports
from hoverboard.fastpath.memory.arrays import I64, Memory, allocate, lay_out, mapping_bytes
from hoverboard.fastpath.threads import EngineThread
from hoverboard.host.client import receive_line


class _Guest:
    """A host whose engines run here."""

    def __init__(self, connection: socket.socket, thread: EngineThread) -> None:
        self.connection = connection
        self.pending = bytearray()
        self._thread = thread
        self._number = -1
        self._engine_ports = np.empty((0, 0), np.int64)
        self._ports: dict[int, int] = {}
        self._lent: set[int] = set()

    def answer(self, request: dict[str, Any], fds: list[int]) -> Any:
        """Carry out a request; takes over its descriptors."""
        method = request["method"]
        if method == "join":
            memory_fd, news_fd = fds
            memories = lay_out(mmap.mmap(memory_fd, mapping_bytes(), mmap.MAP_SHARED))
            os.close(memory_fd)
            self._lent.add(news_fd)
            memories[control.EGRESS].host[host.NEWS_FD] = news_fd
            self._engine_ports = memories[control.EGRESS].ports
            self._number = self._thread.add_host(memories)
            return self._number
        if method == "plug":
            (fd,) = fds
            os.set_blocking(fd, False)
            self._ports[request["port"]] = fd
            # Before the thread hears of it: it hears of a port that is full only once.
            self._engine_ports[request["port"], ports.FD] = fd
            self._thread.watch(self._number, request["port"], fd)
            return fd
        if method == "unplug":
            fd = self._ports.pop(request["port"])
            self._thread.unwatch(fd)
            os.close(fd)
            return True
        if method == "lend":
            (fd,) = fds
            self._lent.add(fd)
            return fd
        if method == "give_back":
            self._lent.remove(request["fd"])
            os.close(request["fd"])
            return True
        if method == "debug":
            self._thread.set_debug(self._number, tuple(request["elements"]))
            return True
        raise ValueError(f"unknown method {method!r}")

    def leave(self) -> None:
        """The host process has gone: its ports are served no more."""
        if self._number >= 0:
            self._thread.set_debug(self._number, ())
            self._thread.remove_host(self._number)
        for fd in self._ports.values():
            self._thread.unwatch(fd)
        for fd in (*self._ports.values(), *self._lent):
            os.close(fd)
        self.connection.close()


def serve(path: Path, scheduling: Scheduling) -> None:
    """Run the shared thread and serve hosts on a Unix socket until SIGTERM."""
    thread = EngineThread(scheduling)
    thread.start()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)  # of a process that was killed
    listener.bind(str(path))
    os.chmod(path, 0o600)
    listener.listen(64)
    threading.Thread(target=_learn_to_part, args=(scheduling,), name="warm", daemon=True).start()
    stop_reader, stop_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder, which ends us in order
    signal.set_wakeup_fd(stop_writer)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(stop_reader, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            if key.fileobj == stop_reader:
                thread.close()
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                selector.register(connection, selectors.EVENT_READ, _Guest(connection, thread))
            elif not _serve(key.data, thread):
                selector.unregister(key.fileobj)
                key.data.leave()


def _learn_to_part(scheduling: Scheduling) -> None:
    """Compile what a host's leaving takes, which no cache keeps: else the first to die would hold up all others."""
    spare = EngineThread(scheduling)
    spare.add_host(allocate())
    spare.remove_host(0)
    spare.close()


def _serve(guest: _Guest, thread: EngineThread) -> bool:
    """One request of a host; False when it has closed."""
    try:
        data, fds, _flags, _address = socket.recv_fds(guest.connection, 1 << 16, 4)
        if not data:
            return False
        guest.pending += data
        while b"\n" in guest.pending:
            line, _, rest = bytes(guest.pending).partition(b"\n")
            guest.pending[:] = rest
            result = guest.answer(json.loads(line), fds)
            reply = json.dumps({"result": result}).encode() + b"\n"
            # The wake-up descriptor goes with every reply; whoever has it already closes the copy.
            socket.send_fds(guest.connection, [reply], [thread.wake_fd])
    except (OSError, ValueError, KeyError) as error:
        print(f"engines: {error!r}", file=sys.stderr, flush=True)
        return False
    return True


class SharedThread:
    """The home of a host's engines in that process: what Datapath asks of it."""

    def __init__(self, path: Path, memory_fd: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._memory_fd = memory_fd
        self._wake_fd = -1
        self._lock = threading.Lock()
        self._pending = bytearray()

    def _ask(self, request: dict[str, Any], fds: list[int]) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], fds)
            data, given, _flags, _address = socket.recv_fds(self._socket, 1 << 16, 4)
            if self._wake_fd < 0 and given:
                self._wake_fd = given.pop()
            for fd in given:
                os.close(fd)
            self._pending += data
            line = bytes(self._pending) if b"\n" in self._pending else receive_line(self._socket, self._pending)
            self._pending.clear()
        if not line:
            raise ConnectionError("the process of the shared engines has gone")
        return json.loads(line)["result"]

    @property
    def wake_fd(self) -> int:
        """See Home; known once start() has returned."""
        return self._wake_fd

    def start(self, memories: tuple[Memory, Memory], news_fd: int) -> None:
        """See Home; `memories` are over the memfd that this was made with."""
        self._ask({"method": "join"}, [self._memory_fd, news_fd])
        os.close(self._memory_fd)

    def plug(self, port: int, fd: int, row: I64) -> None:
        """See Home; that process writes the number, too, before its thread hears of the port."""
        row[ports.FD] = int(self._ask({"method": "plug", "port": port}, [fd]))

    def unplug(self, port: int) -> None:
        """See Home."""
        self._ask({"method": "unplug", "port": port}, [])

    def lend(self, fd: int) -> int:
        """See Home."""
        return int(self._ask({"method": "lend"}, [fd]))

    def give_back(self, number: int) -> None:
        """See Home."""
        self._ask({"method": "give_back", "fd": number}, [])

    def wake(self) -> None:
        """See Home."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake_fd, 1)

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """See Home."""
        self._ask({"method": "debug", "elements": list(debug)}, [])

    def close(self) -> None:
        """See Home."""
        self._socket.close()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1


def shared_memory(node: str) -> int:
    """A memfd for the engines' memory of a host."""
    fd = os.memfd_create(f"engines-{node}", os.MFD_CLOEXEC)
    os.ftruncate(fd, mapping_bytes())
    return fd
