"""A VM's own process (generation "pre"): takes its NIC and its socket from the host process, and carries packets.

Forked from the nursery like a host process. It decides nothing: flow misses go to the host process over
rings in shared memory, and it ends when the host process closes the connection, or dies.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import RunError
from hoverboard.fastpath import pre
from hoverboard.fastpath.memory import control as control_words
from hoverboard.fastpath.memory import host, ports
from hoverboard.fastpath.memory.arrays import I64, Memory, lay_out, mapping_bytes

PORT = ports.FIRST_TAP  # the only one of its kind
_JOIN_SECONDS = 10.0
_LEAVE_SECONDS = 5.0
_CPUCLOCK_SCHED = 2  # linux/posix-timers_types.h: a process's CPU clock has the number ~pid << 3 | 2
_FDS = 5


def main(path: Path, vm: str) -> None:
    """Carry the packets of `vm` for the host process that listens on `path`; returns when that has had enough."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder, which ends us in order
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.connect(str(path))
    control.sendall(json.dumps({"vm": vm, "pid": os.getpid()}).encode() + b"\n")
    data, fds, _flags, _address = socket.recv_fds(control, 4096, _FDS)
    if not data or len(fds) != _FDS:
        return  # the host process did not want us
    memory_fd, news_fd, wake_fd, tap, udp = fds
    memories = lay_out(mmap.mmap(memory_fd, mapping_bytes(), mmap.MAP_SHARED))
    os.set_blocking(tap, False)
    memories[control_words.EGRESS].host[host.NEWS_FD] = news_fd
    for memory in memories:
        memory.ctl[control_words.BATCH] = 1
    with select.epoll() as epoll:
        process = pre.new(epoll, wake_fd, tap, udp, control.fileno(), PORT)
        control.sendall(json.dumps({"fd": tap}).encode() + b"\n")
        pre.run(process, *memories)


class Lobby:
    """Where the VMs' processes report to the host process."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)  # of a host process that was killed
        self._listener.bind(str(path))
        os.chmod(path, 0o600)
        self._listener.listen(64)
        self._here: dict[str, tuple[socket.socket, int]] = {}

    def welcome(self, vm: str) -> tuple[socket.socket, int]:
        """The connection to a VM's process, and its pid; RunError when it does not come."""
        deadline = time.monotonic() + _JOIN_SECONDS
        while vm not in self._here:
            self._listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = self._listener.accept()
                connection.settimeout(_JOIN_SECONDS)
                message: dict[str, Any] = json.loads(connection.recv(4096))
            except TimeoutError as error:
                raise RunError(f"no process of VM {vm} after {_JOIN_SECONDS:g} s", next_step="see the logs") from error
            self._here[str(message["vm"])] = (connection, int(message["pid"]))
        return self._here.pop(vm)

    def close(self) -> None:
        """Nobody else may come; whoever waits is sent away."""
        self._listener.close()
        for connection, _ in self._here.values():
            connection.close()


class VmmProcess:
    """A VM's process as the home of its engines (fastpath.datapath.Home), for the host process.

    Attributes:
        wake_fd: has the process look at its rings.
    """

    def __init__(self, connection: socket.socket, pid: int, memory_fd: int, udp: int) -> None:
        self.pid = pid
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connection = connection
        self._memory_fd = memory_fd
        self._udp = udp
        self._news_fd = -1

    def fileno(self) -> int:
        """Readable when the process has ended."""
        return self._connection.fileno()

    def start(self, memories: tuple[Memory, Memory], news_fd: int) -> None:
        """See Home; it starts with plug()."""
        self._news_fd = news_fd

    def plug(self, port: int, fd: int, row: I64) -> None:
        """Have the process carry the packets of the VM's tap: it is given the descriptor, and needs no row."""
        fds = [self._memory_fd, self._news_fd, self.wake_fd, fd, self._udp]
        socket.send_fds(self._connection, [b"go\n"], fds)
        reply = self._connection.recv(4096)
        if not reply:
            raise ConnectionError(f"the VM's process (pid {self.pid}) ended at once")
        os.close(self._memory_fd)
        self._memory_fd = -1
        row[ports.FD] = int(json.loads(reply)["fd"])

    def unplug(self, port: int) -> None:
        """See Home: the descriptor goes with the process."""

    def lend(self, fd: int) -> int:
        """See Home; nobody stands beside this engine."""
        raise ValueError("a VM's process has no rings beside its port")

    def give_back(self, number: int) -> None:
        """See Home; nothing is lent."""

    def wake(self) -> None:
        """See Home."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self.wake_fd, 1)

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """See Home; a chain of one packet has no debug elements."""
        raise ValueError("a VM's process has no debug elements")

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; 0 when it has gone."""
        try:
            return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            return 0.0

    def close(self) -> None:
        """End the process and wait for it; whatever it held is closed then."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(_LEAVE_SECONDS)
            try:
                while self._connection.recv(64):
                    pass
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)  # its connection is open: the pid is still its own
        self._connection.close()
        os.close(self.wake_fd)
        if self._memory_fd >= 0:
            os.close(self._memory_fd)
