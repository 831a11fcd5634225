"""Inspection of a host's engines while they run: captures, latency samples and rates (the paper's debug elements).

Composes the debug elements in while a capture or a sampler runs, and removes them afterwards: an engine that is not
inspected runs without them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.openflow.flow_names import NO_NAMES, FlowNames
from hoverboard.fastpath.engine.compose import DEBUG_ELEMENTS, is_compiled
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.host.telemetry.capture import Answers, Capture, Drops
from hoverboard.host.telemetry.latency import report, set_sampling
from hoverboard.host.telemetry.rates import Rates

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import EngineLatencies


UPLINK_NAME = "uplink"
# All in one composition: only one to compile, and an element that is off costs a look at one word.
_DEBUG = tuple(sorted(DEBUG_ELEMENTS))


class Inspection:
    """The captures, samplers and rates of one host; for the control thread.

    Args:
        answers: collects the frames that this process sends by itself.
        node: the host's name.
        ports: current ports by name, all rows of a multi-queue port.
        drops: what the control thread knows of drops.
    """

    def __init__(
        self,
        datapath: Datapath,
        answers: Answers,
        node: str,
        ports: Callable[[], dict[str, tuple[int, ...]]],
        drops: Drops,
    ) -> None:
        self._datapath = datapath
        self._answers = answers
        self._node = node
        self._ports = ports
        self._drops = drops
        self._capture: Capture | None = None
        self._ended = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._samplers: dict[int, socket.socket] = {}
        self.rates = Rates(datapath.memories)

    def readers(self) -> dict[int, Callable[[], None]]:
        """Descriptors to poll: the end of the capture, and of each sampler."""
        found: dict[int, Callable[[], None]] = {self._ended: self._on_end}
        found.update({fd: partial(self._stop_sampling, fd) for fd in self._samplers})
        return found

    def ready(self) -> bool:
        """Whether the engines with debug elements are compiled; else the first inspection takes half a minute."""
        return is_compiled(_DEBUG)

    def capture(
        self, names: list[str], snap: int, count: int, output: int, stop_socket: int, flow_names: FlowNames = NO_NAMES
    ) -> list[str]:
        """Write packets of some ports to `output`, until `count` or until the other end of `stop_socket` is closed.

        Args:
            names: of VMs, or UPLINK_NAME; empty: all ports.
            snap: bytes kept of a packet.
            count: packets after which the capture ends; 0: no limit.
            output: descriptor of the file; duplicated.
            stop_socket: descriptor of one end of a socket pair (see Capture); duplicated.
            flow_names: names for the words about drops.

        Returns:
            The names of the ports.

        Raises:
            InputError: no such port. RunError: a capture runs already.
        """
        known = self._ports()
        for name in names:
            if name not in known:
                raise InputError(
                    f"{self._node} has no port {name!r}", where="capture", next_step=f"use one of: {', '.join(known)}"
                )
        self._on_end()  # a client that has the summary of a capture need not wait for this thread
        if self._capture is not None:
            raise RunError(f"a capture on {self._node} runs already", next_step="wait until it has ended, or end it")
        chosen = names or list(known)
        ports = {port: name for name in chosen for port in known[name]}
        self._capture = Capture(
            self._datapath.memories, self._answers, self._node, ports, drops=self._drops, names=flow_names,
            snap=snap, count=count, output=os.dup(output),
            stop_socket=socket.socket(fileno=os.dup(stop_socket)), on_end=lambda: os.eventfd_write(self._ended, 1),
        )  # fmt: skip
        try:
            self._compose()
            self._capture.start()
        except BaseException:
            self._capture = None
            raise
        return chosen

    def captured(self) -> int:
        """The number of packets that the present capture has written; 0 if there is none."""
        return self._capture.packets if self._capture is not None else 0

    def _on_end(self) -> None:
        """Remove a capture that has ended; no effect if there is none."""
        try:
            os.eventfd_read(self._ended)
        except BlockingIOError:
            return
        if self._capture is not None and self._capture.ended:
            self._capture.stop()
            self._capture = None
            self._compose()

    def sample(self, every: int, stop_socket: int) -> None:
        """Follow one packet in `every` until the other end of `stop_socket` is closed; all counts start at 0."""
        if every < 1:
            raise InputError(f"one packet in {every} cannot be sampled", where="latency", next_step="give 1 or more")
        copy = socket.socket(fileno=os.dup(stop_socket))
        self._samplers[copy.fileno()] = copy
        set_sampling(self._datapath.memories, every)
        self._compose()

    def _stop_sampling(self, fd: int) -> None:
        self._samplers.pop(fd).close()
        if not self._samplers:
            set_sampling(self._datapath.memories, 0)
            self._compose()

    def latency(self) -> EngineLatencies:
        """{"egress", "ingress"}: see hoverboard.host.telemetry.latency.summary."""
        return report(self._datapath.memories)

    def _compose(self) -> None:
        looked_at = self._capture is not None or self._samplers
        self._datapath.set_debug(_DEBUG if looked_at else ())

    def close(self) -> None:
        """End the capture and the samplers, before the engines stop."""
        if self._capture is not None:
            self._capture.stop()
        for sampler in self._samplers.values():
            sampler.close()
        os.close(self._ended)
