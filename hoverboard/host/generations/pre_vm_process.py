"""A VM's own process (generation "pre"): gets its NIC and its socket from the host process, and carries packets.

The nursery forks it like a host process. It decides nothing: flow misses go to the host process over rings in shared
memory. It ends when the host process closes the connection or dies.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from typing_extensions import override

from hoverboard.contract.errors import RunError
from hoverboard.fastpath.engine import pre
from hoverboard.fastpath.engine.datapath import EngineHome
from hoverboard.fastpath.memory import control as control_words
from hoverboard.fastpath.memory import host, ports
from hoverboard.fastpath.memory.arrays import I64, Memory, lay_out, mapping_bytes
from hoverboard.rpc.answering import TakesDescriptors, answer_one
from hoverboard.rpc.channel import Channel, Deadline
from hoverboard.rpc.client import exchange
from hoverboard.rpc.connection import Connection, Service
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import Server

PORT = ports.FIRST_TAP  # the only port of the process
_JOIN_SECONDS = 10.0
_LEAVE_SECONDS = 5.0
_CPUCLOCK_SCHED = 2  # linux/posix-timers_types.h: a process's CPU clock has the number ~pid << 3 | 2
_FDS = 5
_UCRED = struct.Struct("iII")  # unix(7): pid, uid, gid


def main(path: Path, vm: str) -> None:
    """Carry the packets of `vm` for the host process that listens on `path`, until it closes the connection."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder, which ends us in order
    control = Channel.connect(path, _JOIN_SECONDS)
    control.send({"method": "join", "params": {"vm": vm}})
    with select.epoll() as epoll:
        carried: list[Callable[[], None]] = []

        def carry(fds: Descriptors) -> int:
            memory_fd, control_eventfd, wake_fd, tap, udp = fds.take()
            memories = lay_out(mmap.mmap(memory_fd, mapping_bytes(), mmap.MAP_SHARED))
            os.set_blocking(tap, False)
            memories[control_words.EGRESS].host[host.CONTROL_EVENTFD] = control_eventfd
            for memory in memories:
                memory.ctl[control_words.BATCH] = 1
            process = pre.new(epoll, wake_fd, tap, udp, control.socket.fileno(), PORT)
            carried.append(lambda: pre.run(process, *memories))
            return tap

        # From here on the host process asks; if it did not want this process, it has closed the connection.
        if answer_one(control, {"carry": TakesDescriptors(carry, _FDS, _FDS)}, vm) and carried:
            carried[0]()


class VmmListener:
    """Accepts the VMs' processes. A process sends "join"; from then on the host process sends the requests."""

    def __init__(self, path: Path) -> None:
        self._server = Server(path, self._service)
        self._joined: dict[str, Channel] = {}

    def _service(self, connection: Connection) -> Service:
        def join(vm: str) -> None:
            self._disconnect(vm)  # an earlier process of this VM has died
            self._joined[vm] = connection.take()

        return Service({"join": join})

    def _disconnect(self, vm: str) -> None:
        if vm in self._joined:
            self._joined.pop(vm).close()

    def wait_for(self, vm: str) -> tuple[Channel, int]:
        """Wait for a VM's process and return its connection and pid; RunError when it does not join in time."""
        deadline = Deadline(_JOIN_SECONDS)
        while vm not in self._joined:
            left = deadline.left()
            if not left:
                raise RunError(f"no process of VM {vm} after {_JOIN_SECONDS:g} s", next_step="see the logs")
            self._server.serve(left)
        channel = self._joined.pop(vm)
        credentials = channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return channel, int(_UCRED.unpack(credentials)[0])

    def close(self) -> None:
        """Accept no more processes, and close the connections of those that still wait."""
        self._server.close()
        for vm in list(self._joined):
            self._disconnect(vm)


class VmmProcess(EngineHome):
    """A VM's process as the home of its engines, seen from the host process.

    Attributes:
        wake_fd: eventfd that makes the process serve its rings.
    """

    def __init__(self, connection: Channel, pid: int, memory_fd: int, udp: int) -> None:
        self.pid = pid
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connection = connection
        self._memory_fd = memory_fd
        self._udp = udp
        self._control_eventfd = -1

    def fileno(self) -> int:
        """The connection: readable when the process has ended."""
        return self._connection.socket.fileno()

    @property
    @override
    def wake_fd(self) -> int:
        return self._wake_fd

    @override
    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None:
        """Keep the eventfd; the process starts to carry packets with plug()."""
        self._control_eventfd = control_eventfd

    @override
    def plug(self, port: int, fd: int, row: I64) -> None:
        """Send the VM's tap to the process, which starts to carry packets; write its descriptor number into `row`."""
        fds = [self._memory_fd, self._control_eventfd, self._wake_fd, fd, self._udp]
        who = f"the process of the VM (pid {self.pid})"
        answer = exchange(self._connection, "carry", {}, fds=fds, deadline=Deadline(_JOIN_SECONDS), peer=who)
        number, _ = answer.get()
        os.close(self._memory_fd)
        self._memory_fd = -1
        row[ports.FD] = int(number)

    @override
    def unplug(self, port: int) -> None:
        """Do nothing: the descriptor goes with the process."""

    @override
    def share_fd(self, fd: int) -> int:
        """Raise ValueError: nothing stands beside this engine."""
        raise ValueError("a VM's process has no rings beside its port")

    @override
    def unshare_fd(self, number: int) -> None:
        """Do nothing: no descriptor is shared."""

    @override
    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake_fd, 1)

    @override
    def set_debug(self, debug: tuple[str, ...]) -> None:
        """Raise ValueError: an engine without batches has no debug elements."""
        raise ValueError("a VM's process has no debug elements")

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; 0 when it has ended."""
        try:
            return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            return 0.0

    def close(self) -> None:
        """End the process and wait until it has closed all it held."""
        sock = self._connection.socket
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(_LEAVE_SECONDS)
            try:
                while sock.recv(64):
                    pass
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)  # its connection is open, so the pid is still its own
        self._connection.close()
        os.close(self._wake_fd)
        if self._memory_fd >= 0:
            os.close(self._memory_fd)
