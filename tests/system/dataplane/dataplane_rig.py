"""What the data plane's system tests share: real sockets inside VMs, transfers, streams, frames, counters.

A socket belongs to the network namespace it was made in, so the test itself is every guest: no
process is started inside a VM unless a test is about one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from hoverboard.contract.document_schemas import check
from hoverboard.contract.node_documents import HostStatus
from hoverboard.contract.openflow.pipeline import BRIDGE
from tests.waiting import until
from topologies.emulation.devices import BRIDGE_NAME, GUEST_DEVICE, entered
from topologies.run.testbed import Testbed
from topologies.spec.topology import VMSpec

ETH_P_ALL = 3
PACKET_OUTGOING = 4
TIMEOUT = 15.0


def vm_of(bed: Testbed, name: str) -> VMSpec:
    """The VM of that name."""
    return next(vm for vm in bed.topology.vms if vm.name == name)


def socket_in(bed: Testbed, node: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of a node's network namespace."""
    with entered(bed.pid_of(node)):
        made = socket.socket(family, kind, protocol)
    made.settimeout(TIMEOUT)
    return made


def udp(bed: Testbed, vm: str) -> socket.socket:
    """A UDP socket of a VM on a port of its own, with room for bursts."""
    made = socket_in(bed, vm, socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made.bind((str(vm_of(bed, vm).ip), 0))
    return made


def node_status(bed: Testbed, node: str) -> dict[str, Any]:
    """Status of a server's host process."""
    client = bed.host_client(node)
    try:
        found = client.status()
        check(HostStatus, found)
        return found
    finally:
        client.close()


def node_flows(bed: Testbed, node: str) -> list[dict[str, Any]]:
    """Flow table of a server."""
    client = bed.host_client(node)
    try:
        return client.flows()
    finally:
        client.close()


def drops(bed: Testbed, node: str) -> dict[str, int]:
    """Drops by reason of a server."""
    return dict(node_status(bed, node)["counters"]["drops"])


def relayed(bed: Testbed, hoverboard: str, src: str, dst: str) -> int:
    """Packets of a VM pair that a Hoverboard has relayed."""
    one, two = str(vm_of(bed, src).ip), str(vm_of(bed, dst).ip)
    vni = next(net.vni for net in bed.topology.networks if net.name == vm_of(bed, src).network)
    return sum(
        flow["packets"]
        for flow in node_flows(bed, hoverboard)
        if (flow["src"], flow["dst"], flow["vni"]) == (one, two, vni)
    )


def offloaded(bed: Testbed, src: str, dst: str) -> bool:
    """Whether the control plane has offloaded a VM pair."""
    return any((entry["src"], entry["dst"]) == (src, dst) for entry in bed.offloads())


def ofctl(bed: Testbed, node: str, *words: str) -> str:
    """One ovs-ofctl command against a node's integration bridge; the socket goes behind the command's name."""
    command, *rest = words
    management = f"unix:{bed.server(node).directory}/{BRIDGE}.mgmt"
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow14", command, management, *rest],
        capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    return done.stdout


def program(bed: Testbed, node: str) -> list[str]:
    """The flows of a node without their statistics."""
    return sorted(
        re.sub(r"(duration|n_packets|n_bytes)=[^,]*, ", "", line)
        for line in ofctl(bed, node, "dump-flows").splitlines()
    )


@contextlib.contextmanager
def flow_events(bed: Testbed, node: str) -> Iterator[Callable[[], list[str]]]:
    """Changes of a node's flows inside the block."""
    directory = bed.server(node).directory
    monitor = subprocess.Popen(
        # Its own control socket would be in /var/run/openvswitch, which not every machine has: it would end.
        ["ovs-ofctl", "--unixctl=none", "-O", "OpenFlow14", "monitor", f"unix:{directory}/{BRIDGE}.mgmt", "watch:"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert monitor.stdout is not None
    output = monitor.stdout
    os.set_blocking(output.fileno(), False)
    seen: list[str] = []

    def events() -> list[str]:
        while chunk := output.read():
            seen.extend(line for line in chunk.decode().splitlines() if "event=" in line)
        return seen

    try:
        until(lambda: len(events()) > 0, 5, "the monitor's first words")
        yield events
        assert monitor.poll() is None, "the monitor has ended"
    finally:
        monitor.terminate()
        monitor.wait(timeout=5)
        output.close()


@dataclass
class Ping:
    """Result of a ping."""

    sent: int
    received: int
    text: str


def ping(bed: Testbed, vm: str, address: str | IPv4Address, *options: str, count: int = 3) -> Ping:
    """Real ping from a VM, 20 ms apart, until `count` answers came or 4 s have passed.

    Without -w, ping would wait for its last answer no longer than two round trips.
    """
    process = bed.node(vm).popen(["ping", f"-c{count}", "-i0.02", "-w4", "-n", *options, str(address)], text=True)
    text = process.communicate(timeout=30)[0]
    line = next((line for line in text.splitlines() if "packets transmitted" in line), "0 packets transmitted, 0 rec")
    words = line.split()
    return Ping(int(words[0]), int(words[3]), text)


# -- TCP ------------------------------------------------------------------------------------------


def transfer(bed: Testbed, src: str, dst: str, size: int) -> None:
    """`size` random bytes there, as many others back, over one TCP connection; compares digests."""
    there, back = os.urandom(size), os.urandom(size)
    got: dict[str, bytes] = {}
    with socket_in(bed, dst, socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((str(vm_of(bed, dst).ip), 0))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT)
                got["there"] = _digest(connection)
                connection.sendall(back)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with socket_in(bed, src, socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect(listener.getsockname())
            client.sendall(there)
            client.shutdown(socket.SHUT_WR)
            got["back"] = _digest(client)
        server.join(TIMEOUT)
    assert got["there"] == hashlib.sha256(there).digest(), f"{src} -> {dst}: {size} bytes differ"
    assert got["back"] == hashlib.sha256(back).digest(), f"{dst} -> {src}: {size} bytes differ"


def _digest(connection: socket.socket) -> bytes:
    digest = hashlib.sha256()
    while chunk := connection.recv(1 << 16):
        digest.update(chunk)
    return digest.digest()


# -- UDP ------------------------------------------------------------------------------------------


class Stream:
    """Numbered datagrams from one VM to an address at a steady rate, until the block ends.

    Args:
        rate: datagrams a second. size: bytes of each.
        at: the VM that listens; default: whoever has the address in the sender's network.
    """

    def __init__(self, bed: Testbed, src: str, dst: str, *, rate: float, size: int = 64) -> None:
        self.received: list[tuple[int, float]] = []
        self.sent = 0
        self.refused = 0
        self._rate, self._size = rate, size
        self._sender, self._receiver = udp(bed, src), udp(bed, dst)
        self._target = self._receiver.getsockname()
        self._ends = threading.Event()
        self._stop_read, self._stop_write = os.pipe()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]

    def __enter__(self) -> Stream:
        for thread in reversed(self._threads):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the sender, take in what is still on its way, close."""
        if self._sender.fileno() < 0:
            return
        self._ends.set()
        self._threads[0].join(TIMEOUT)
        with contextlib.suppress(Exception):
            until(lambda: len(self.received) >= self.sent, 1.5, "all datagrams")
        os.write(self._stop_write, b"\0")
        self._threads[1].join(TIMEOUT)
        for one in (self._sender, self._receiver):
            one.close()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def _send(self) -> None:
        begin = time.monotonic()
        while not self._ends.is_set():
            wait = begin + self.sent / self._rate - time.monotonic()
            if wait > 0:
                select.select([], [], [], wait)
            try:
                self._sender.sendto(struct.pack("!Q", self.sent).ljust(self._size, b"."), self._target)
            except OSError:
                self.refused += 1  # the VM is being removed
                return
            self.sent += 1

    def _receive(self) -> None:
        while True:
            ready, _, _ = select.select([self._receiver, self._stop_read], [], [])
            if self._receiver in ready:
                data = self._receiver.recv(65536)
                self.received.append((struct.unpack("!Q", data[:8])[0], time.monotonic()))
            elif ready:
                return

    def flows(self) -> None:
        """Wait until datagrams arrive, counted from now."""
        before = len(self.received)
        until(lambda: len(self.received) > before + 2, TIMEOUT, "datagrams of the stream")

    @property
    def last(self) -> float:
        """When the last datagram came."""
        return self.received[-1][1]

    @property
    def lost(self) -> int:
        """Datagrams that did not come."""
        return self.sent - len({number for number, _ in self.received})

    @property
    def reordered(self) -> int:
        """Datagrams that came after one with a higher number."""
        highest, late = -1, 0
        for number, _ in self.received:
            late += number < highest
            highest = max(highest, number)
        return late


class Wire:
    """A raw socket on one device of a node: a VM's NIC, or the fabric's bridge; on all devices, to listen, if None."""

    def __init__(self, bed: Testbed, node: str, device: str | None = GUEST_DEVICE) -> None:
        self._socket = socket_in(bed, node, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        if device is not None:
            self._socket.bind((device, ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        """Send one frame as it is."""
        self._socket.send(frame)

    def heard(self, marker: bytes) -> int:
        """Frames that came in, not those sent here, with `marker` in them since the last call."""
        return self.heard_of(marker)[marker]

    def heard_of(self, *markers: bytes) -> dict[bytes, int]:
        """The same for several markers at once."""
        counts = dict.fromkeys(markers, 0)
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                return counts
            for marker in markers:
                counts[marker] += address[2] != PACKET_OUTGOING and marker in data

    def frames(self) -> list[bytes]:
        """All frames that came in since the last call, not those sent here."""
        found = []
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                return found
            if address[2] != PACKET_OUTGOING:
                found.append(data)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@contextlib.contextmanager
def wires(bed: Testbed, *nodes: str) -> Iterator[dict[str, Wire]]:
    """Wires of VMs, and of the fabric by its name."""
    made: dict[str, Wire] = {}
    try:
        for node in nodes:
            made[node] = Wire(bed, node, BRIDGE_NAME if node == bed.fabric_name else GUEST_DEVICE)
        yield made
    finally:
        for wire in made.values():
            wire.close()


@dataclass
class Figures:
    """Measured figures, printed at the end of a module (`pytest -s` shows them); never asserted on."""

    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Remember a figure."""
        self.lines.append(text)
        print(f"measured: {text}")
