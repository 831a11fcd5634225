"""Sends a schedule of datagrams between VMs with real sockets inside their namespaces, and records what arrived.

One process sends and receives for all VMs (a socket belongs to the namespace it was made in): a hundred VMs cost
two threads; sender and receiver read the same clock, and every datagram tells its one-way latency. It carries some ten
thousand datagrams a second; what was late or could not be sent is part of the result.
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
_DRAIN_SECONDS = 0.5  # for what is still on its way at the end
_MOST = 2048


@dataclass(slots=True)
class Carried:
    """What became of one flow: datagrams and bytes offered and arrived, latencies in seconds, arrivals by second.

    Attributes:
        arrivals: (seconds from the start, one-way latency) of each datagram that came.
        by_second: bytes that came in each second.
    """

    offered: int = 0
    offered_bytes: int = 0
    arrived: int = 0
    arrived_bytes: int = 0
    arrivals: list[tuple[float, float]] = field(default_factory=list)
    by_second: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """Of a whole exchange.

    Attributes:
        late: seconds by which the most delayed datagram was sent later than it was due.
        refused: datagrams that a sending socket did not take.
    """

    flows: list[Carried]
    seconds: float
    late: float
    refused: int

    @property
    def arrived(self) -> float:
        """Share of the offered datagrams that arrived; 0: none was offered."""
        offered = sum(one.offered for one in self.flows)
        return sum(one.arrived for one in self.flows) / offered if offered else 0.0

    def record(self, flows: Sequence[TrafficFlow]) -> list[dict[str, Any]]:
        """For the raw data: a row a flow."""
        return [
            {
                "src": flow.src, "dst": flow.dst, "rate_bps": flow.rate_bps, "offered": one.offered,
                "offered_bytes": one.offered_bytes, "arrived": one.arrived, "arrived_bytes": one.arrived_bytes,
                "bytes_by_second": [one.by_second.get(second, 0) for second in range(int(self.seconds) + 1)],
            }
            for flow, one in zip(flows, self.flows, strict=True)
        ]  # fmt: skip


class Exchange:
    """Sockets for these flows on a testbed; a context manager. One `run` at a time.

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
        """Send beside the block; ends early when the block does."""
        running = Running(self._flows, self._senders, self._receivers, datagrams, seconds)
        try:
            yield running
        finally:
            running.stop()

    def run(self, datagrams: Iterable[Datagram], seconds: float) -> Result:
        """Send them all; returns when the last has had its time to arrive."""
        with self.running(datagrams, seconds) as running:
            return running.result()


class Running:
    """An exchange on its way."""

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
        """Return when so much of the exchange has passed."""
        self._over.wait(max(0.0, self.began + seconds - time.monotonic()))

    def result(self) -> Result:
        """Wait for the end of the schedule, and for what is on its way."""
        self._sender.join()
        self._over.wait(_DRAIN_SECONDS)
        self.stop()
        return Result(self.carried, self._seconds, self._late, self._refused)

    def stop(self) -> None:
        """End it now."""
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
            except OSError:  # nothing more
                return
            now = time.monotonic()
            flow, sent = _HEADER.unpack_from(data)
            one = self.carried[flow]
            one.arrived += 1
            one.arrived_bytes += len(data)
            at = now - self.began
            one.arrivals.append((at, now - sent))
            one.by_second[int(at)] = one.by_second.get(int(at), 0) + len(data)
