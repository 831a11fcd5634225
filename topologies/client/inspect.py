"""Captures packets and samples latency of a node of a run, for the command line.

Where a host has engines, its host process captures inside them. Where Open vSwitch forwards, tcpdump captures on the
devices.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import HostClient
from hoverboard.rpc.channel import Channel, Deadline
from topologies.client.run_client import RunClient
from topologies.namespaces.entering import entering
from topologies.processes.launcher import python

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import CaptureSummary, EngineLatencies
    from hoverboard.contract.openflow.flow_names import NamesDocument


UPLINK = "uplink"
_SUMMARY_TIMEOUT = 10.0
_FIRST_WORD = 10.0  # seconds without a packet until a person is told


@dataclass(frozen=True)
class InspectedNode:
    """The node and ports to inspect.

    Attributes:
        node: name of a VM host or Hoverboard.
        ports: names of its VMs, or UPLINK; empty: all.
        dataplane: of the node.
        socket: of its host process.
    """

    node: str
    ports: tuple[str, ...]
    dataplane: Dataplane
    socket: Path


def find(client: RunClient, name: str, port: str | None) -> InspectedNode:
    """The node and port that NODE [VM|uplink] means; for a VM alone, its port on its host.

    Raises:
        InputError: there is no such node, or it has no such port.
        RunError: its host process does not answer.
    """
    document = client.node_status(name)
    if document["role"] == "vm":
        if port is not None:
            raise InputError(
                f"{name} is a VM, and has no port {port!r}", where="capture",
                next_step=f"leave {port} out, or name its host: {document['host']}",
            )  # fmt: skip
        name, port = str(document["host"]), name
        document = client.node_status(name)
    if document["role"] == "vm" or document["role"] == "fabric":
        raise InputError(f"{name} has no data plane", where=name, next_step="give a VM, a VM host or a Hoverboard")
    if document["state"] != "up":
        raise RunError(f"{name} is {document['state']}", where=name, next_step="see `hoverboard status`")
    known = [UPLINK, *(vport["vm"] for vport in document["vports"])]
    if port is not None and port not in known:
        raise InputError(f"{name} has no port {port!r}", where=name, next_step=f"use one of: {', '.join(known)}")
    socket_path = client.directory.node(name) / "host.sock"
    return InspectedNode(name, () if port is None else (port,), cast(Dataplane, document["dataplane"]), socket_path)


def check_has_engines(place: InspectedNode) -> None:
    """Check that the node has engines.

    Raises:
        InputError: it has no engines.
    """
    if facts(place.dataplane).carrier != "engines":
        raise InputError(
            f"{place.node} has no engines: on dataplane {place.dataplane}, Open vSwitch or the kernel forwards",
            where=place.node, next_step="choose a host or a Hoverboard with `dataplane: fastpath`",
        )  # fmt: skip


def tcpdump(client: RunClient, place: InspectedNode, *, as_file: bool, snap: int, count: int) -> list[str]:
    """The command that runs tcpdump on a port of a node with Open vSwitch, in the namespace of its device.

    Args:
        client: the client of the run.
        place: the node, and the port.
        as_file: whether it writes a file of the packets to its standard output, instead of printing them.
        snap: bytes to keep of each packet.
        count: of packets; 0: no limit.
    """
    port = place.ports[0] if place.ports else UPLINK
    # The uplink is a device of that name in the node's namespace (topologies.emulation.nodes.Server.uplink_device).
    pid, device = (client.pid_of(place.node), UPLINK) if port == UPLINK else (client.pid_of(port), "eth0")
    argv = [*entering(pid), "tcpdump", "-n", "-i", device, "-s", str(snap)]
    argv += ["-Z", "root", "-U", "-w", "-"] if as_file else ["-l"]
    return argv + (["-c", str(count)] if count else [])


def compile_debug_engine(host: HostClient, notify: Callable[[str], None]) -> None:
    """Compile the engines with debug elements, in another process, so that the host works on meanwhile.

    Raises:
        RunError: they do not compile.
    """
    if host.inspection_ready():
        return
    notify("compiling the engines with their debug elements: once, about half a minute; nothing is captured meanwhile")
    done = subprocess.run(
        python("hoverboard.fastpath.engine.warm", "--debug"), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RunError(f"the engine does not compile: {last[0]}", next_step="repeat `sudo ./bootstrap.sh demo`")


class RunningCapture:
    """A capture that runs on a host; it ends with `finish`, or with this process.

    Args:
        output: descriptor of the file for the packets.
        names, count, snap: see `HostClient.capture`.

    Attributes:
        ports: that are captured.
    """

    def __init__(
        self, host: HostClient, place: InspectedNode, output: int, *, names: NamesDocument, snap: int, count: int
    ) -> None:
        self._host = host
        self._leash, theirs = socket.socketpair()
        try:
            self.ports = host.capture(place.ports, output, theirs, names=names, snap=snap, count=count)
        except BaseException:
            self._leash.close()
            raise
        finally:
            theirs.close()

    def wait(self, seconds: float | None, waiting: Callable[[float, int], None]) -> None:
        """Wait until the capture has ended by itself, or `seconds` have passed; None: without a limit.

        `waiting` is called now and then while no packet comes: (seconds since the begin, packets so far).
        """
        seen = 0

        def still(elapsed: float) -> None:
            nonlocal seen
            now = self._host.captured()
            if now == seen:
                waiting(elapsed, now)
            seen = now

        wait_with_word(lambda timeout: bool(select.select([self._leash], [], [], timeout)[0]), seconds, still)

    def finish(self) -> CaptureSummary:
        """End the capture; return {"packets", "lost"} when the file is written.

        Raises:
            RunError: the file could not be written, or the host process ended.
        """
        with self._leash:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._leash.shutdown(socket.SHUT_WR)
            try:
                line = Channel(self._leash).receive_line(Deadline(_SUMMARY_TIMEOUT))
            except OSError as error:
                raise RunError(f"the capture does not end: {error}", next_step="read host.log of the node") from error
        if not line:
            raise RunError("the host process ended before the capture did", next_step="read host.log of the node")
        summary = dict(json.loads(line))
        if fault := summary.pop("error"):
            raise RunError(fault, where="capture", next_step="check that there is space for the file")
        return cast("CaptureSummary", summary)


def wait_with_word(ended: Callable[[float], bool], seconds: float | None, still: Callable[[float], None]) -> None:
    """Wait for an end, or for `seconds` (None: without a limit); call `still` with the seconds so far, now and then.

    `ended` waits for the end for a number of seconds, and returns whether it has come.
    """
    begun = time.monotonic()
    limit = float("inf") if seconds is None else seconds
    word = _FIRST_WORD
    while not ended(max(0.0, min(limit, word) - (time.monotonic() - begun))):
        elapsed = time.monotonic() - begun
        if elapsed >= limit:
            return
        if elapsed >= word:
            still(elapsed)
            word = max(2 * word, elapsed)


def latency(host: HostClient, seconds: float, every: int) -> EngineLatencies:
    """Follow one packet in `every` through the engines for some seconds; {"egress", "ingress"}.

    Ctrl-C ends it early; the latencies so far are returned.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            host.sample_latency(every, theirs)
        deadline = time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while (left := deadline - time.monotonic()) > 0:
                select.select([], [], [], left)
        return host.latency()
