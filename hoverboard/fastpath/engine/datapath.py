"""One host's two engines, as its control thread sees them: ports, packets in and out, the way to the flow table.

Where the engines run is the home's business: a thread of this process, or one that several hosts share.
"""

from __future__ import annotations

import os
import select
import time
from ipaddress import IPv4Address
from typing import Protocol

import numpy as np
from typing_extensions import override

from hoverboard.contract.entities import Scheduling
from hoverboard.fastpath.engine.threads import EngineThread
from hoverboard.fastpath.memory import control, host, packets, ports, rings
from hoverboard.fastpath.memory.arrays import I64, Memory, allocate
from hoverboard.fastpath.packets import ring


class EngineHome(Protocol):
    """Where a host's engines run.

    Attributes:
        wake_fd: eventfd that has the engines look at their rings.
    """

    @property
    def wake_fd(self) -> int: ...

    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None:
        """Run the engines; they write to `control_eventfd` when the control thread has something to do."""

    def plug(self, port: int, fd: int, row: I64) -> None:
        """Serve a descriptor as `port`.

        Its number in the process of the engines, which own that copy, is in row[ports.FD] before an engine hears of the
        port: one that cannot read it then is not told again, if the port was full already.

        Args:
            row: of the port, in ports[].
        """

    def unplug(self, port: int) -> None:
        """Close that copy; the engines no longer use it."""

    def share_fd(self, fd: int) -> int:
        """An eventfd that the engines are to write to; returns its number in their process."""

    def unshare_fd(self, number: int) -> None:
        """The engines no longer use that one."""

    def wake(self) -> None:
        """Have the engines look at their rings."""

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """Go on with these debug elements."""

    def close(self) -> None:
        """Stop."""


class AnswerListener(Protocol):
    """Hears of frames that the control thread sends by itself: no element of the engines sees them."""

    def answered(self, port: int, frame: bytes) -> None:
        """A frame, without its virtio-net header, leaves by `port`."""


class OwnEngineThread(EngineHome):
    """A thread of this process, for this host alone."""

    def __init__(self, scheduling: Scheduling = "adaptive", debug: tuple[str, ...] = ()) -> None:
        self._thread = EngineThread(scheduling, debug)
        self._fds: dict[int, int] = {}

    @property
    @override
    def wake_fd(self) -> int:
        return self._thread.wake_fd

    @override
    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None:
        memories[control.EGRESS].host[host.CONTROL_EVENTFD] = control_eventfd
        self._thread.add_host(memories)
        self._thread.start()

    @override
    def plug(self, port: int, fd: int, row: I64) -> None:
        copy = os.dup(fd)
        os.set_blocking(copy, False)
        self._fds[port] = row[ports.FD] = copy
        self._thread.watch(0, port, copy)

    @override
    def unplug(self, port: int) -> None:
        fd = self._fds.pop(port)
        self._thread.unwatch(fd)
        os.close(fd)

    @override
    def share_fd(self, fd: int) -> int:
        """The process is the same, and so is the number."""
        return fd

    @override
    def unshare_fd(self, number: int) -> None:
        """There is no copy to be closed."""

    @override
    def wake(self) -> None:
        self._thread.wake()

    @override
    def set_debug(self, debug: tuple[str, ...]) -> None:
        self._thread.set_debug(0, debug)

    @override
    def close(self) -> None:
        self._thread.close()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


class Datapath:
    """Memory and control of one host's engines; all methods are for the control thread.

    Args:
        home: where the engines run; default: a thread of their own.
        memory_fd: memfd to share the memory by, or -1.
        local_ip: underlay address of the host; None: it has none.
        answers: told of frames that are sent here.

    Attributes:
        control_eventfd: readable when misses wait or a command has been carried out.
    """

    def __init__(
        self,
        home: EngineHome | None = None,
        memory_fd: int = -1,
        *,
        local_ip: IPv4Address | None = None,
        answers: AnswerListener | None = None,
    ) -> None:
        self.memories = allocate(memory_fd)
        self.egress, self.ingress = self.memories
        self.control_eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._home = home or OwnEngineThread()
        self._running = False
        self._answers = answers
        self.egress.host[host.IP] = int(local_ip or 0)

    def start(self) -> None:
        """Start the engines; the first call in a process without a warm cache compiles for a while."""
        self._running = True
        self._home.start(self.memories, self.control_eventfd)

    def stop(self) -> None:
        """Stop the engines and close their descriptors."""
        self._home.close()
        self._running = False
        os.close(self.control_eventfd)

    @property
    def wake_fd(self) -> int:
        """Eventfd that has the engines look at their rings, for whoever fills one."""
        return self._home.wake_fd

    def wake(self) -> None:
        """Have the engines look at their rings."""
        self._home.wake()

    # -- commands ---------------------------------------------------------------------------------

    def command(self, operation: int, first: int = 0, second: int = 0, timeout: float = 5.0) -> None:
        """Have both engines carry out a command, and return once they have.

        Raises:
            TimeoutError: they do not answer.
        """
        if not self._running:
            self._do(operation, first, second)
            return
        deadline = time.monotonic() + timeout
        for m in self.memories:
            while not ring.command(m.command_index, m.commands, operation, first, second):
                self._await(m, deadline, timeout)
        self.wake()
        for m in self.memories:
            self._await(m, deadline, timeout)

    def _await(self, m: Memory, deadline: float, timeout: float) -> None:
        while int(m.command_index[ring.PRODUCED]) != int(m.command_index[ring.CONSUMED]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the engine did not answer within {timeout:g} s")
            select.select([self.control_eventfd], [], [], 0.001)
            self.reset_control_eventfd(keep=True)

    def _do(self, operation: int, first: int, second: int) -> None:
        from hoverboard.fastpath.engine.commands import run_commands

        for m in self.memories:
            ring.command(m.command_index, m.commands, operation, first, second)
            run_commands(m)

    def switch_table(self, table: int, five: int) -> None:
        """Have the engines use hash table `table`, with `five` 5-tuple entries in it."""
        self.command(control.CMD_TABLE, table, five)

    def set_batch(self, egress: int, ingress: int) -> None:
        """The most packets of a batch (paper: 32 and 128); 1 is no batching at all."""
        for m, size in zip(self.memories, (egress, ingress), strict=True):
            ring.command(m.command_index, m.commands, control.CMD_BATCH, size, 0)
        self.command(control.CMD_PORT)

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """Have the engines go on with these elements of compose.DEBUG_ELEMENTS composed in, and no others.

        Raises:
            InputError: there is no such element.
        """
        self._home.set_debug(debug)

    # -- events ---------------------------------------------------------------------------------------

    def misses_waiting(self) -> bool:
        """Whether a packet waits for the control thread."""
        return any(ring.waiting(m.miss_index) for m in self.memories)

    def reset_control_eventfd(self, keep: bool = False) -> None:
        """Reset control_eventfd; with `keep`, have it fire again if misses wait."""
        try:
            os.eventfd_read(self.control_eventfd)
        except BlockingIOError:
            return
        if keep and self.misses_waiting():
            os.eventfd_write(self.control_eventfd, 1)
            os.sched_yield()

    # -- ports ------------------------------------------------------------------------------------

    def set_port(self, port: int, fd: int, ofport: int = 0) -> None:
        """Plug a duplicate of `fd` (a tap with virtio-net headers) in as `port`."""
        words, row = self.egress.host, self.egress.ports[port]
        row[ports.OFPORT] = ofport
        row[ports.KIND] = ports.KIND_TAP
        words[host.PORTS] = max(int(words[host.PORTS]), port + 1)
        self._home.plug(port, fd, row)
        self.wake()

    def set_ring(self, port: int, wake_fd: int, ofport: int = 0) -> None:
        """Have `port` be rings in memory (FROM_VMM, TO_VMM), whose other end sleeps on eventfd `wake_fd`."""
        words, row = self.egress.host, self.egress.ports[port]
        number = self._home.share_fd(wake_fd)
        for m in self.memories:
            m.side_wake[port, rings.VMM_FD] = number
        row[ports.FD], row[ports.OFPORT] = -1, ofport
        row[ports.KIND] = ports.KIND_RING
        words[host.PORTS] = max(int(words[host.PORTS]), port + 1)
        words[host.SIDES] += 1
        self.wake()

    def _clear_ring(self, port: int) -> None:
        number = int(self.egress.side_wake[port, rings.VMM_FD])
        self.egress.ports[port, ports.KIND] = ports.KIND_NONE  # of which ports.FD is -1
        for m in self.memories:
            m.side_wake[port, rings.VMM_FD] = -1
        self.command(control.CMD_PORT)
        self._home.unshare_fd(number)
        self.egress.host[host.SIDES] -= 1
        row = self.egress.ports[port]
        row[ports.OFPORT] = row[ports.RATE] = row[ports.BURST] = 0
        for m in self.memories:
            for side in (rings.FROM_VMM, rings.TO_VMM):
                m.side_index[port, side] = 0

    def clear_port(self, port: int) -> None:
        """Unplug a port; its descriptor is closed once no engine can be using it."""
        row = self.egress.ports[port]
        if row[ports.KIND] == ports.KIND_RING:
            self._clear_ring(port)
            return
        if row[ports.KIND] != ports.KIND_TAP:
            return
        row[ports.FD] = -1
        self.command(control.CMD_PORT)
        self._home.unplug(port)
        row[: ports.WORDS] = 0
        row[ports.FD], row[ports.KIND] = -1, ports.KIND_NONE

    def share_fd(self, fd: int) -> int:
        """The number by which the engines write to eventfd `fd`, for side_wake[]."""
        return self._home.share_fd(fd)

    def unshare_fd(self, number: int) -> None:
        """The engines no longer use a lent eventfd; first make sure of that by a command."""
        self._home.unshare_fd(number)

    def inject(self, port: int, frame: bytes, kind: int, tunnel: int = 0, timeout: float = 1.0) -> bool:
        """Give an engine a frame with its virtio-net header; False if its ring stays full.

        With INJECT_RAW it leaves by `port`; else it is treated as if it had come in there.
        """
        outwards = kind == rings.INJECT_RAW
        if outwards and self._answers is not None:
            self._answers.answered(port, frame[packets.VNET_BYTES :])
        m = self.memories[control.INGRESS if (port == ports.UPLINK) != outwards else control.EGRESS]
        data = np.frombuffer(bytearray(frame), np.uint8)  # writable: the type push() is compiled for
        deadline = time.monotonic() + timeout
        while not ring.push(
            m.inject_index, m.inject_meta, m.inject_data, port, packets.HEADROOM - packets.VNET_BYTES, kind, tunnel,
            data, 0, len(frame),
        ):  # fmt: skip
            if time.monotonic() > deadline:
                return False
            self.wake()
            os.sched_yield()
        self.wake()
        return True
