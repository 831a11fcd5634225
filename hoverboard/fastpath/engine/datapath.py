"""The two engines of one host, as its control thread sees them: ports, injected packets, commands, the flow table.

The home decides where the engines run: in a thread of this process, or in a thread that several hosts share.
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
    """The place where a host's engines run.

    Attributes:
        wake_fd: eventfd that wakes the engines, so that they read their rings.
    """

    @property
    def wake_fd(self) -> int:
        """Eventfd that wakes the engines."""

    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None:
        """Run the engines; they write to `control_eventfd` when the control thread has work."""

    def plug(self, port: int, fd: int, row: I64) -> None:
        """Serve a descriptor as `port`.

        The engines use a copy of the descriptor. The copy's number in their process is in row[ports.FD] before an
        engine is notified of the port. An engine that finds no number there gets no second notification if
        the port is already full. The copy takes the place of an earlier one, which is closed.

        Args:
            port: number of the port.
            fd: the descriptor, in this process.
            row: row of the port in ports[].

        Raises:
            OSError, HoverboardError: the descriptor cannot be served. Nothing changed, and the copy is closed.
        """

    def unplug(self, port: int) -> None:
        """Close the copy of a port's descriptor; the engines must no longer use it."""

    def share_fd(self, fd: int) -> int:
        """The number, in the engines' process, of an eventfd to which the engines may now write."""

    def unshare_fd(self, number: int) -> None:
        """Close the copy of an eventfd; the engines must no longer use it."""

    def wake(self) -> None:
        """Wake the engines, so that they read their rings."""

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """Continue with these debug elements."""

    def close(self) -> None:
        """Stop the engines."""


class AnswerListener(Protocol):
    """Receives the frames that the control thread sends itself; no element of the engines sees them."""

    def answered(self, port: int, frame: bytes) -> None:
        """Handle a frame, without its virtio-net header, that leaves by `port`."""


class OwnEngineThread(EngineHome):
    """An engine thread of this process, for this host alone."""

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
        try:
            self._thread.admit(copy)
        except OSError:
            os.close(copy)
            raise
        os.set_blocking(copy, False)
        earlier = self._fds.get(port)
        self._fds[port] = row[ports.FD] = copy
        self._thread.watch(0, port, copy)
        if earlier is not None:
            self._thread.retire(earlier)
            os.close(earlier)

    @override
    def unplug(self, port: int) -> None:
        fd = self._fds.pop(port)
        self._thread.unwatch(fd)
        os.close(fd)

    @override
    def share_fd(self, fd: int) -> int:
        """The same number: the engines run in this process."""
        return fd

    @override
    def unshare_fd(self, number: int) -> None:
        """Do nothing: there is no copy to close."""

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
        memory_fd: memfd that shares the memory, or -1.
        local_ip: underlay address of the host; None if it has no such address.
        answers: receives the frames that the control thread sends.

    Attributes:
        control_eventfd: readable when misses wait or a command is complete.
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
        """Eventfd that wakes the engines; a thread that fills one of their rings writes to it."""
        return self._home.wake_fd

    def wake(self) -> None:
        """Wake the engines, so that they read their rings."""
        self._home.wake()

    # -- commands ---------------------------------------------------------------------------------

    def command(self, operation: int, first: int = 0, second: int = 0, timeout: float = 5.0) -> None:
        """Send a command to both engines, and return when both have completed it.

        Raises:
            TimeoutError: an engine does not answer.
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
        """Have the engines use hash table `table`, which contains `five` 5-tuple entries."""
        self.command(control.CMD_TABLE, table, five)

    def set_batch(self, egress: int, ingress: int) -> None:
        """Set the maximum packets of a batch (paper: 32 and 128); 1 means no batching."""
        for m, size in zip(self.memories, (egress, ingress), strict=True):
            ring.command(m.command_index, m.commands, control.CMD_BATCH, size, 0)
        self.command(control.CMD_PORT)

    def set_debug(self, debug: tuple[str, ...]) -> None:
        """Continue with engines that contain these elements of compose.DEBUG_ELEMENTS, and no others.

        Raises:
            InputError: there is no such element.
        """
        self._home.set_debug(debug)

    # -- events ---------------------------------------------------------------------------------------

    def misses_waiting(self) -> bool:
        """Whether a packet waits for the control thread."""
        return any(ring.waiting(m.miss_index) for m in self.memories)

    def reset_control_eventfd(self, keep: bool = False) -> None:
        """Reset control_eventfd; with `keep`, make it readable again if misses wait."""
        try:
            os.eventfd_read(self.control_eventfd)
        except BlockingIOError:
            return
        if keep and self.misses_waiting():
            os.eventfd_write(self.control_eventfd, 1)
            os.sched_yield()

    # -- ports ------------------------------------------------------------------------------------

    def set_port(self, port: int, fd: int, ofport: int = 0) -> None:
        """Plug in a duplicate of `fd` (a tap with virtio-net headers) as `port`, in place of an earlier descriptor.

        Raises:
            OSError, HoverboardError: the descriptor cannot be served; the port is as before.
        """
        words, row = self.egress.host, self.egress.ports[port]
        before = int(row[ports.OFPORT]), int(row[ports.KIND])
        row[ports.OFPORT], row[ports.KIND] = ofport, ports.KIND_TAP
        words[host.PORTS] = max(int(words[host.PORTS]), port + 1)
        try:
            self._home.plug(port, fd, row)
        except BaseException:
            row[ports.OFPORT], row[ports.KIND] = before
            raise
        self.wake()

    def set_ring(self, port: int, wake_fd: int, ofport: int = 0) -> None:
        """Make `port` a pair of rings in memory (FROM_VMM, TO_VMM). Eventfd `wake_fd` wakes the other end."""
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
        self.egress.ports[port, ports.KIND] = ports.KIND_NONE  # its ports.FD is -1
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
        """Unplug a port; its descriptor is closed when no engine can be using it any more."""
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
        """The number of eventfd `fd` in the engines' process, for side_wake[]."""
        return self._home.share_fd(fd)

    def unshare_fd(self, number: int) -> None:
        """Close the engines' copy of an eventfd. First make sure, by a command, that they no longer use it."""
        self._home.unshare_fd(number)

    def inject(self, port: int, frame: bytes, kind: int, tunnel: int = 0, timeout: float = 1.0) -> bool:
        """Send an engine a frame with its virtio-net header; False if its ring stays full.

        With INJECT_RAW the frame leaves by `port`. Otherwise the engine treats it as a frame received there.
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
