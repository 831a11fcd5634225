"""The control side of packet capture: arms the engines' capture element, and writes its rings to a pcapng file.

A thread of its own drains the rings, so that a reader of the file that is slow, or gone, stops neither the
engines nor the host's control loop. The capture ends by count, when its stop_socket is let go, or when writing fails.
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
from dataclasses import dataclass

from hoverboard.fastpath.memory import debug, packets, reasons
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.host.telemetry.pcapng import INBOUND, OUTBOUND, Writer

# How long packets may lie in the ring: 8,192 slots in 5 ms are 1.6 million packets a second.
_DRAIN_SECONDS = 0.005
_ANSWERS = 1_024  # of the control thread's own frames, at most this many wait for the writer
DEFAULT_SNAP = 256


@dataclass(frozen=True)
class Captured:
    """One packet: as it came out of a ring.

    Attributes:
        time: monotonic ns.
        came: port by which it came in, for one that goes out; -1: the host's own answer.
    """

    time: int
    port: int
    event: int
    came: int
    detail: int
    length: int
    data: bytes


def arm(memories: tuple[Memory, Memory], ports: Mapping[int, str], snap: int) -> None:
    """Have both engines capture these ports from now on; while the element is not composed in, nothing happens."""
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
    """Capture no further packets; what is in the rings stays."""
    for m in memories:
        m.capture_control[debug.CAP_PORTS] = 0


def take(m: Memory) -> list[Captured]:
    """All that waits in an engine's capture ring; its slots are free again."""
    taken = []
    stride, slots = int(m.capture_control[debug.CAP_STRIDE]), int(m.capture_control[debug.CAP_SLOTS])
    for _ in range(ring.waiting(m.capture_index)):
        at = int(m.capture_index[ring.TAKEN]) & (slots - 1)
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
    """Packets that found a ring full since arm()."""
    return sum(int(m.capture_control[debug.CAP_LOST]) for m in memories)


class Answers:
    """The frames that the control thread sends by itself, while a capture takes them (datapath.AnswerListener)."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Captured] = queue.Queue(_ANSWERS)
        self._ports: frozenset[int] = frozenset()
        self._snap = 0
        self.lost = 0

    def begin(self, ports: Iterable[int], snap: int) -> None:
        """Keep the first `snap` bytes of what leaves by these ports; what was kept before is dropped."""
        self._queue = queue.Queue(_ANSWERS)
        self._ports, self._snap, self.lost = frozenset(ports), snap, 0

    def end(self) -> None:
        """Keep no more."""
        self._ports = frozenset()

    def answered(self, port: int, frame: bytes) -> None:
        """See AnswerListener."""
        if port in self._ports:
            one = Captured(time.monotonic_ns(), port, debug.EVENT_OUT, -1, 0, len(frame), bytes(frame[: self._snap]))
            try:
                self._queue.put_nowait(one)
            except queue.Full:
                self.lost += 1

    def take(self) -> list[Captured]:
        """All that was kept since the last call."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class Capture:
    """One capture of one host, from arm() to the summary.

    Args:
        answers: the control thread's own frames, which no engine sees.
        node: the host's name, for descriptions.
        ports: engine port -> name of its interface.
        count: end after so many packets; 0: do not.
        output: descriptor of the file; closed at the end.
        stop_socket: the other end is whoever asked for the capture: it ends when that end is shut down or closed, and
            the summary goes there as a line of JSON.
        on_end: called in the writer's thread once the file is written, to have the control thread clean up.
    """

    def __init__(
        self, memories: tuple[Memory, Memory], answers: Answers, node: str, ports: Mapping[int, str], *,
        snap: int, count: int, output: int, stop_socket: socket.socket, on_end: Callable[[], None],
    ) -> None:  # fmt: skip
        self._memories = memories
        self._answers = answers
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
        """Arm the engines and begin to write."""
        arm(self._memories, self._ports, self._snap)
        self._answers.begin(self._ports, self._snap)
        self._thread.start()

    def stop(self) -> None:
        """End it, if it has not ended, and wait until the file is written."""
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
        with contextlib.suppress(OSError):  # whoever asked has gone
            self._stop_socket.sendall(json.dumps(summary).encode() + b"\n")
        self._stop_socket.close()
        self._on_end()

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
                disarm(self._memories)  # then what is in the rings is all there is
            self._drain(writer, offset)
            if over or (self._count and self.packets >= self._count):
                break
        now = time.time_ns()
        missing = lost(self._memories) + self._answers.lost
        for port, name in self._ports.items():
            # The rings count what they had no room for, not whose it was: told once, of the first port.
            self._per_port[port] += missing
            writer.statistics(self._interface(writer, port, name), now, self._per_port[port], missing)
            missing = 0

    def _interface(self, writer: Writer, port: int, name: str) -> int:
        return writer.interface(name, f"{self._node}: inbound is what the engine received from {name}")

    def _drain(self, writer: Writer, offset: int) -> None:
        found = [one for m in self._memories for one in take(m)]
        found += self._answers.take()
        found.sort(key=lambda one: one.time)  # stable: within an engine the order is that of the ring
        for one in found:
            if self._count and self.packets >= self._count:
                return
            name = self._ports[one.port]
            self._per_port[one.port] += 1
            self.packets += 1
            if one.event == debug.EVENT_DROP:
                # As it came in, again: beside the packets, so that nobody takes it for a second one.
                number = writer.interface(f"{name} dropped", f"{self._node}: what an entry of the flow table drops")
            else:
                number = self._interface(writer, one.port, name)
            direction = INBOUND if one.event in (debug.EVENT_IN, debug.EVENT_DROP) else OUTBOUND
            writer.packet(number, one.time + offset, one.data, one.length, direction, self._comment(one))
        if found:
            self._file.flush()

    def _comment(self, one: Captured) -> str:
        if one.event == debug.EVENT_IN:
            return ""
        if one.event == debug.EVENT_DROP:
            return f"dropped: {reasons.NAMES[one.detail]}"
        if one.came < 0:
            return "answered by the host"
        comment = f"from {self._ports.get(one.came, f'port {one.came}')}, flow-table entry {one.detail}"
        if one.event == debug.EVENT_CUT:
            comment += "; a segment, which is cut and encapsulated on its way out"
        return comment
