"""The control side of packet capture: arms the engines' capture element, and writes its rings to a pcapng file.

A separate thread drains the rings, so that a slow or closed output stops neither the engines nor the host's control
thread. The capture ends after a count of packets, when the other end of its stop socket is closed, or when writing
fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from hoverboard.contract.openflow import flow_names
from hoverboard.contract.openflow.flow_names import NO_NAMES, FlowNames
from hoverboard.fastpath.memory import debug, packets, reasons
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.host.telemetry.fates import Captured, Fates
from hoverboard.host.telemetry.pcapng import INBOUND, OUTBOUND, Writer

# Packets may stay in the ring for so long: 8,192 slots in 5 ms are 1.6 million packets a second.
_DRAIN_SECONDS = 0.005
_ANSWERS = 1_024  # most frames of the control thread that wait for the writer
DEFAULT_SNAP = 256


def arm(memories: tuple[Memory, Memory], ports: Mapping[int, str], snap: int) -> None:
    """Have both engines capture these ports from now on; no effect while the capture element is not composed in."""
    stride = -(-snap // 64) * 64
    slots = min(debug.CAPTURE_SLOTS, 1 << (debug.CAPTURE_BYTES // stride).bit_length() - 1)
    for m in memories:
        m.capture_control[:] = 0
        m.capture_index[:] = 0
        m.capture_ports[:] = 0
        m.capture_ports[list(ports)] = 1
        m.capture_control[debug.CAP_SNAP] = snap
        m.capture_control[debug.CAP_STRIDE] = stride
        m.capture_control[debug.CAP_SLOTS] = slots
        m.capture_control[debug.CAP_PORTS] = len(ports)


def disarm(memories: tuple[Memory, Memory]) -> None:
    """Capture no more packets; packets in the rings stay."""
    for m in memories:
        m.capture_control[debug.CAP_PORTS] = 0


def take(m: Memory) -> list[Captured]:
    """Take all packets that wait in an engine's capture ring, and free their slots."""
    taken = []
    stride, slots = int(m.capture_control[debug.CAP_STRIDE]), int(m.capture_control[debug.CAP_SLOTS])
    for _ in range(ring.waiting(m.capture_index)):
        at = int(m.capture_index[ring.CONSUMED]) & (slots - 1)
        row = m.capture_meta[at].tolist()
        data = m.capture_data[at * stride : at * stride + row[debug.CAPTURED_KEPT]].tobytes()
        ring.release(m.capture_index)
        taken.append(
            Captured(
                row[debug.CAPTURED_TIME], row[debug.CAPTURED_PORT], row[debug.CAPTURED_EVENT], row[debug.CAPTURED_FROM],
                row[debug.CAPTURED_DETAIL], row[debug.CAPTURED_LENGTH], data,
            )
        )  # fmt: skip
    return taken


def lost(memories: tuple[Memory, Memory]) -> int:
    """Number of packets that found a ring full since arm()."""
    return sum(int(m.capture_control[debug.CAP_LOST]) for m in memories)


class Drops(Protocol):
    """The part of the control thread that knows of drops."""

    @property
    def unsettled(self) -> bool:
        """Whether it has packets in hand, which it may drop."""

    def cookie_of(self, row: int) -> int:
        """The cookie of the OpenFlow flow behind the entry in a row of the flow table; 0 if it is not known."""


class Answers:
    """Collects what the control thread itself sends and drops during a capture (AnswerListener, DropListener)."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Captured] = queue.Queue(_ANSWERS)
        self._ports: frozenset[int] = frozenset()
        self._snap = 0
        self._names = NO_NAMES
        self.lost = 0

    def begin(self, ports: Iterable[int], snap: int, names: FlowNames = NO_NAMES) -> None:
        """Keep the first `snap` bytes of frames of these ports; remove what was kept before."""
        self._queue = queue.Queue(_ANSWERS)
        self._ports, self._snap, self._names, self.lost = frozenset(ports), snap, names, 0

    def end(self) -> None:
        """Keep no more frames."""
        self._ports = frozenset()

    def answered(self, port: int, frame: bytes) -> None:
        """Keep a frame that leaves by a port, if the port is captured (AnswerListener)."""
        self._keep(port, frame, debug.EVENT_OUT)

    def dropped(self, port: int, frame: bytes, reason: str, cookie: int) -> None:
        """Keep a frame that came in by a port and is dropped, if the port is captured (DropListener)."""
        if port in self._ports:
            self._keep(port, frame, debug.EVENT_DROP, flow_names.dropped(reason, cookie, self._names))

    def _keep(self, port: int, frame: bytes, event: int, dropped: str = "") -> None:
        if port in self._ports:
            data = bytes(frame[: self._snap])
            try:
                self._queue.put_nowait(Captured(time.monotonic_ns(), port, event, -1, 0, len(frame), data, dropped))
            except queue.Full:
                self.lost += 1

    def take(self) -> list[Captured]:
        """Take all frames kept since the last call."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class Capture:
    """One capture on one host, from arm() to the summary.

    Args:
        answers: collects the control thread's own frames, which no engine sees.
        node: the host's name, for descriptions.
        ports: engine port -> name of its interface.
        count: end after so many packets; 0: no limit.
        output: descriptor of the file; closed at the end.
        stop_socket: the capture ends when the other end is shut down or closed. The summary goes there as a line
            of JSON.
        drops: what the control thread knows of drops.
        names: names for the words about drops.
        on_end: called in the writer's thread once the file is written and before the summary is sent, so that the
            control thread cleans up. A client that has the summary may start the next capture.
    """

    def __init__(
        self, memories: tuple[Memory, Memory], answers: Answers, node: str, ports: Mapping[int, str], *,
        drops: Drops, names: FlowNames, snap: int, count: int, output: int, stop_socket: socket.socket,
        on_end: Callable[[], None],
    ) -> None:  # fmt: skip
        self._memories = memories
        self._answers = answers
        self._drops = drops
        self._names = names
        self._fates = Fates()
        self._node = node
        self._ports = dict(ports)
        self._snap = min(max(snap, 14), packets.FRAME_MAX)
        self._count = count
        self._file = os.fdopen(output, "wb", buffering=1 << 20)
        self._stop_socket = stop_socket
        self._on_end = on_end
        self._per_port = dict.fromkeys(self._ports, 0)
        self.packets = 0
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Arm the engines and start the writer."""
        arm(self._memories, self._ports, self._snap)
        self._answers.begin(self._ports, self._snap, self._names)
        self._thread.start()

    def stop(self) -> None:
        """End the capture, if it still runs, and wait until the file is written."""
        self.ended = True
        self._thread.join()

    def _run(self) -> None:
        fault = ""
        try:
            self._write()
        except OSError as error:
            fault = f"cannot write the capture: {error.strerror or error}"
        self.ended = True
        disarm(self._memories)
        self._answers.end()
        try:
            self._file.close()
        except OSError as error:
            fault = fault or f"cannot write the capture: {error.strerror or error}"
        summary = {"packets": self.packets, "lost": lost(self._memories) + self._answers.lost, "error": fault}
        self._on_end()
        with contextlib.suppress(OSError):  # the other end is closed
            self._stop_socket.sendall(json.dumps(summary).encode() + b"\n")
        self._stop_socket.close()

    def _write(self) -> None:
        writer = Writer(self._file, snap=self._snap, application="hoverboard capture")
        for port, name in self._ports.items():
            self._interface(writer, port, name)
        self._file.flush()
        offset = time.time_ns() - time.monotonic_ns()
        while not self.ended:
            readable, _, _ = select.select([self._stop_socket], [], [], _DRAIN_SECONDS)
            over = bool(readable) or self.ended
            if over:
                disarm(self._memories)  # then the rings hold all that is left
            self._drain(writer, offset, over=over)
            if over or (self._count and self.packets >= self._count):
                break
        now = time.time_ns()
        missing = lost(self._memories) + self._answers.lost
        for port, name in self._ports.items():
            # The rings count missing packets, but not by port: the first port reports them all.
            self._per_port[port] += missing
            writer.statistics(self._interface(writer, port, name), now, self._per_port[port], missing)
            missing = 0

    def _interface(self, writer: Writer, port: int, name: str) -> int:
        return writer.interface(name, f"{self._node}: inbound is what the engine received from {name}")

    def _drain(self, writer: Writer, offset: int, *, over: bool) -> None:
        unsettled = self._drops.unsettled  # asked first: what is dropped until now is in the rings
        found = [self._with_reason(one) for m in self._memories for one in take(m)]
        found += self._answers.take()
        found.sort(key=lambda one: one.time)  # stable: packets of one engine stay in the order of its ring
        for one in found:
            self._fates.add(one)
        ready = self._fates.ready(time.monotonic_ns(), unsettled=unsettled, over=over)
        for one in ready:
            if self._count and self.packets >= self._count:
                return
            self._per_port[one.port] += 1
            self.packets += 1
            number = self._interface(writer, one.port, self._ports[one.port])
            direction = INBOUND if one.event in (debug.EVENT_IN, debug.EVENT_DROP) else OUTBOUND
            writer.packet(number, one.time + offset, one.data, one.length, direction, self._comment(one))
        if ready:
            self._file.flush()

    def _with_reason(self, one: Captured) -> Captured:
        """A packet of a ring; for a drop, with the reason and the rule that drops it, in words."""
        if one.event != debug.EVENT_DROP:
            return one
        words = flow_names.dropped(reasons.NAMES[one.detail], self._drops.cookie_of(one.came), self._names)
        return replace(one, dropped=words)

    def _comment(self, one: Captured) -> str:
        if one.dropped:
            return f"dropped: {one.dropped}"
        if one.event == debug.EVENT_IN:
            return ""
        if one.came < 0:
            return "answered by the host"
        comment = f"from {self._ports.get(one.came, f'port {one.came}')}, flow-table entry {one.detail}"
        if one.event == debug.EVENT_CUT:
            comment += "; a segment, which is cut and encapsulated on its way out"
        return comment
