"""Sends a schedule of datagrams between VMs with real sockets in their namespaces, and records the arrivals.

One process sends and receives for all VMs, with two threads: a socket stays in the namespace in which it was made.
Sender and receiver read the same clock, so every datagram gives its one-way latency. The exchange can carry about
10,000 datagrams a second. The result says how late datagrams were sent, and how many could not be sent.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.workload.traffic import Datagram, TrafficFlow
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed

_HEADER = struct.Struct("!Id")  # flow, when it was sent
_DRAIN_SECONDS = 0.5  # to wait for datagrams that are still in flight at the end
_MOST = 2048


@dataclass(slots=True)
class Carried:
    """The counts of one flow: datagrams and bytes, offered and arrived.

    Attributes:
        arrivals: (seconds from the start, one-way latency in seconds) of each datagram that arrived.
        by_second: the bytes that arrived in each second.
    """

    offered: int = 0
    offered_bytes: int = 0
    arrived: int = 0
    arrived_bytes: int = 0
    arrivals: list[tuple[float, float]] = field(default_factory=list)
    by_second: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an exchange.

    Attributes:
        late: the largest delay of a datagram behind its schedule, in seconds.
        refused: the number of datagrams that a sending socket did not accept.
    """

    flows: list[Carried]
    seconds: float
    late: float
    refused: int

    @property
    def arrived(self) -> float:
        """The share of the offered datagrams that arrived; 0 if none was offered."""
        offered = sum(one.offered for one in self.flows)
        return sum(one.arrived for one in self.flows) / offered if offered else 0.0

    def record(self, flows: Sequence[TrafficFlow]) -> list[dict[str, Any]]:
        """The rows for the raw data, one a flow."""
        return [
            {
                "src": flow.src, "dst": flow.dst, "rate_bps": flow.rate_bps, "offered": one.offered,
                "offered_bytes": one.offered_bytes, "arrived": one.arrived, "arrived_bytes": one.arrived_bytes,
                "bytes_by_second": [one.by_second.get(second, 0) for second in range(int(self.seconds) + 1)],
            }
            for flow, one in zip(flows, self.flows, strict=True)
        ]  # fmt: skip


class Exchange:
    """A context manager that holds the sockets for these flows on a testbed. One `run` at a time.

    Raises (when entered):
        OSError: a namespace is gone, or there are too many sockets.
    """

    def __init__(self, testbed: Testbed, flows: Sequence[TrafficFlow]) -> None:
        self._flows = list(flows)
        self._addresses = {vm.name: str(vm.ip) for vm in testbed.topology.vms}
        self._pids = {name: testbed.pid_of(name) for flow in flows for name in (flow.src, flow.dst)}
        self._open = contextlib.ExitStack()
        self._senders: list[socket.socket] = []
        self._receivers: dict[str, socket.socket] = {}

    def __enter__(self) -> Exchange:
        try:
            ports: dict[str, int] = {}
            for name in dict.fromkeys(flow.dst for flow in self._flows):
                made = self._socket(name)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                made.bind((self._addresses[name], 0))
                made.setblocking(False)
                self._receivers[name], ports[name] = made, made.getsockname()[1]
            for flow in self._flows:
                made = self._socket(flow.src)
                made.setblocking(False)
                made.connect((self._addresses[flow.dst], ports[flow.dst]))
                self._senders.append(made)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _socket(self, name: str) -> socket.socket:
        with entered(self._pids[name]):
            return self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    @contextlib.contextmanager
    def running(self, datagrams: Iterable[Datagram], seconds: float) -> Iterator[Running]:
        """Send the datagrams beside the block. The end of the block ends the exchange too."""
        running = Running(self._flows, self._senders, self._receivers, datagrams, seconds)
        try:
            yield running
        finally:
            running.stop()

    def run(self, datagrams: Iterable[Datagram], seconds: float) -> Result:
        """Send all datagrams, and return when the last one has had time to arrive."""
        with self.running(datagrams, seconds) as running:
            return running.result()


class Running:
    """A running exchange."""

    def __init__(
        self, flows: Sequence[TrafficFlow], senders: Sequence[socket.socket], receivers: Mapping[str, socket.socket],
        datagrams: Iterable[Datagram], seconds: float,
    ) -> None:  # fmt: skip
        self.carried = [Carried() for _ in flows]
        self._senders, self._receivers = senders, receivers
        self._datagrams, self._seconds = datagrams, seconds
        self._late, self._refused = 0.0, 0
        self._ended, self._over = threading.Event(), threading.Event()
        self.began = time.monotonic()
        self._sender = threading.Thread(target=self._send, name="exchange-send")
        self._receiver = threading.Thread(target=self._receive, name="exchange-receive")
        self._receiver.start()
        self._sender.start()

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def wait(self, seconds: float) -> None:
        """Wait until `seconds` have passed since the start."""
        self._over.wait(max(0.0, self.began + seconds - time.monotonic()))

    def result(self) -> Result:
        """Wait for the end of the schedule and for datagrams in flight, then give the result."""
        self._sender.join()
        self._over.wait(_DRAIN_SECONDS)
        self.stop()
        return Result(self.carried, self._seconds, self._late, self._refused)

    def stop(self) -> None:
        """End the exchange now."""
        self._ended.set()
        self._over.set()
        self._sender.join()
        self._receiver.join()

    def _send(self) -> None:
        for one in self._datagrams:
            due = self.began + one.at
            while (wait := due - time.monotonic()) > 0:
                if self._ended.wait(wait):
                    return
            if self._ended.is_set():
                return
            now = time.monotonic()
            self._late = max(self._late, now - due)
            carried = self.carried[one.flow]
            carried.offered += 1
            carried.offered_bytes += one.size
            payload = _HEADER.pack(one.flow, now) + bytes(one.size - _HEADER.size)
            try:
                self._senders[one.flow].send(payload)
            except OSError:
                self._refused += 1
        self._ended.wait(max(0.0, self.began + self._seconds - time.monotonic()))

    def _receive(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self._receivers.values():
                selector.register(one, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    assert isinstance(key.fileobj, socket.socket)
                    self._take(key.fileobj)

    def _take(self, receiver: socket.socket) -> None:
        while True:
            try:
                data = receiver.recv(_MOST)
            except OSError:  # no more datagrams
                return
            now = time.monotonic()
            flow, sent = _HEADER.unpack_from(data)
            one = self.carried[flow]
            one.arrived += 1
            one.arrived_bytes += len(data)
            at = now - self.began
            one.arrivals.append((at, now - sent))
            one.by_second[int(at)] = one.by_second.get(int(at), 0) + len(data)
