"""Compacting: one thread of one process runs the engines of several hosts (paper 4.2's scheduling).

For small machines. Each host process keeps its control thread and shares its engines' memory by a memfd. The
descriptors of its ports come here by SCM_RIGHTS. One thread for all hosts needs no wake-up between two of them, and
only that thread looks for work before it sleeps.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from pathlib import Path

import numpy as np
from typing_extensions import override

from hoverboard.contract.entities import Scheduling
from hoverboard.contract.errors import InputError
from hoverboard.fastpath.engine.datapath import EngineHome
from hoverboard.fastpath.engine.threads import EngineThread
from hoverboard.fastpath.memory import control, host, ports
from hoverboard.fastpath.memory.arrays import I64, Memory, allocate, lay_out, mapping_bytes
from hoverboard.rpc.answering import TakesDescriptors, WithDescriptors
from hoverboard.rpc.client import Client
from hoverboard.rpc.connection import Service
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import Server, serve_until_sigterm

_CONNECT_TIMEOUT = 10.0  # seconds; the process may be restarting
_TIMEOUT = 300.0  # seconds; the engines may be compiled with debug elements for another host
_MOST_HOSTS = 4096


class _SharedHost:
    """A host whose engines run here, and the methods of its connection."""

    def __init__(self, thread: EngineThread) -> None:
        self._thread = thread
        self._number = -1
        self._engine_ports = np.empty((0, 0), np.int64)
        self._ports: dict[int, int] = {}
        self._shared_fds: set[int] = set()
        self.service = Service(
            {
                "join": TakesDescriptors(self._join, 2, 2),
                "plug": TakesDescriptors(self._plug),
                "unplug": self._unplug,
                "share_fd": TakesDescriptors(self._share_fd),
                "unshare_fd": self._unshare_fd,
                "debug": self._debug,
            },
            self._leave,
        )

    def _join(self, fds: Descriptors) -> WithDescriptors:
        """Add a host, by its memory and control eventfd; return its number, and the eventfd that wakes its engines."""
        if self._number >= 0:
            raise InputError("this host has joined already")
        memories = lay_out(mmap.mmap(fds.numbers[0], mapping_bytes(), mmap.MAP_SHARED))
        _, control_eventfd = fds.numbers
        self._shared_fds.add(control_eventfd)
        fds.numbers.remove(control_eventfd)
        memories[control.EGRESS].host[host.CONTROL_EVENTFD] = control_eventfd
        self._engine_ports = memories[control.EGRESS].ports
        self._number = self._thread.add_host(memories)
        return WithDescriptors(self._number, (self._thread.wake_fd,))

    def _plug(self, fds: Descriptors, port: int) -> int:
        if not 0 <= port < len(self._engine_ports):
            raise InputError(f"there is no port {port}")
        self._thread.admit(fds.numbers[0])
        (fd,) = fds.take()
        os.set_blocking(fd, False)
        earlier = self._ports.get(port)
        self._ports[port] = fd
        # Written before the thread watches the port: a port that is full signals only once.
        self._engine_ports[port, ports.FD] = fd
        self._thread.watch(self._number, port, fd)
        if earlier is not None:
            self._thread.retire(earlier)
            os.close(earlier)
        return fd

    def _unplug(self, port: int) -> None:
        if port not in self._ports:
            raise InputError(f"nothing is plugged into port {port}")
        fd = self._ports.pop(port)
        self._thread.unwatch(fd)
        os.close(fd)

    def _share_fd(self, fds: Descriptors) -> int:
        (fd,) = fds.take()
        self._shared_fds.add(fd)
        return fd

    def _unshare_fd(self, fd: int) -> None:
        if fd not in self._shared_fds:
            raise InputError(f"descriptor {fd} was not shared")
        self._shared_fds.remove(fd)
        os.close(fd)

    def _debug(self, elements: list[str]) -> None:
        if self._number < 0:
            raise InputError("this host has not joined")
        self._thread.set_debug(self._number, tuple(elements))

    def _leave(self) -> None:
        """Stop serving the ports of a host whose process has gone."""
        if self._number >= 0:
            self._thread.set_debug(self._number, ())
            self._thread.remove_host(self._number)
        for fd in self._ports.values():
            self._thread.unwatch(fd)
        for fd in (*self._ports.values(), *self._shared_fds):
            os.close(fd)


def server(path: Path, thread: EngineThread) -> Server:
    """The server for hosts whose engines run in `thread`; SharedEngineProcess is its client."""
    return Server(path, lambda _: _SharedHost(thread).service, log="engines.log", connections=_MOST_HOSTS)


def serve(path: Path, scheduling: Scheduling) -> None:
    """Run the shared engine thread and serve hosts on a Unix socket until SIGTERM."""
    thread = EngineThread(scheduling)
    thread.start()
    hosts = server(path, thread)
    threading.Thread(target=_compile_removal, args=(scheduling,), name="warm", daemon=True).start()
    serve_until_sigterm(hosts)
    thread.close()


def _compile_removal(scheduling: Scheduling) -> None:
    """Compile the code for removing a host, which no cache keeps. Else the first host to go delays all others."""
    spare = EngineThread(scheduling)
    spare.add_host(allocate())
    spare.remove_host(0)
    spare.close()


class SharedEngineProcess(EngineHome):
    """The home of a host's engines in the shared process, seen from Datapath."""

    def __init__(self, path: Path, memory_fd: int) -> None:
        self._client = Client(path)
        self._client.connect(_CONNECT_TIMEOUT)
        self._memory_fd = memory_fd
        self._wake_fd = -1

    @property
    @override
    def wake_fd(self) -> int:
        """The eventfd that wakes the engines; known once start() has returned."""
        return self._wake_fd

    @override
    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None:
        """Join the shared process; `memories` lie in the memfd of the constructor."""
        _, given = self._client.call_for_descriptors("join", fds=(self._memory_fd, control_eventfd), timeout=_TIMEOUT)
        (self._wake_fd,) = given.take()
        os.close(self._memory_fd)

    @override
    def plug(self, port: int, fd: int, row: I64) -> None:
        """Send a port's descriptor; the process also writes its number to `row` before its thread watches the port."""
        row[ports.FD] = int(self._client.call("plug", fds=(fd,), timeout=_TIMEOUT, port=port))

    @override
    def unplug(self, port: int) -> None:
        self._client.call("unplug", timeout=_TIMEOUT, port=port)

    @override
    def share_fd(self, fd: int) -> int:
        return int(self._client.call("share_fd", fds=(fd,), timeout=_TIMEOUT))

    @override
    def unshare_fd(self, number: int) -> None:
        self._client.call("unshare_fd", timeout=_TIMEOUT, fd=number)

    @override
    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake_fd, 1)

    @override
    def set_debug(self, debug: tuple[str, ...]) -> None:
        self._client.call("debug", timeout=_TIMEOUT, elements=list(debug))

    @override
    def close(self) -> None:
        self._client.close()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1


def shared_memory(node: str) -> int:
    """Make a memfd for the memory of a host's engines."""
    fd = os.memfd_create(f"engines-{node}", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, mapping_bytes())
    except OSError:
        os.close(fd)
        raise
    return fd
