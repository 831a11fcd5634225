"""Drives iperf3 between two network namespaces: JSON output, one-shot server, hard time-out, reaped by pid.

`measure` gives a result or raises. `sample` records a failed measurement, with iperf3's own message,
and does not raise. `started` runs a client beside a block. The module does not know VMs or Hoverboards.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from experiments.tools import iperf_output, listening_ports, tcp_congestion_control, tool_processes
from experiments.tools.iperf_output import IperfResult
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import InputError, MeasurementError, RunError
from topologies.processes.deadlines import wait_for

FIRST_PORT = 5201
MOST_STREAMS = 128  # of one iperf3
_LISTEN_TIMEOUT = 5.0
_GRACE_SECONDS = 10.0  # for connecting, ending and exchanging results
_ATTEMPTS = 3  # another process may bind the port first

# Ports that this process has reserved, so that parallel threads do not use the same one.
_reserved: set[tuple[int | None, int]] = set()
_reserving = threading.Lock()


@dataclass(frozen=True, slots=True)
class IperfSpec:
    """The settings of a measurement.

    Attributes:
        seconds: duration. iperf3 accepts whole seconds only: it cuts 0.5 to 0, which means no limit.
        streams: parallel TCP or UDP streams, at most MOST_STREAMS; `together` takes more.
        reverse: the server sends.
        udp: UDP instead of TCP; needs `rate_bps`.
        rate_bps: bit/s to offer per stream; None: as fast as TCP can.
        omit: seconds at the start that do not count (slow start, flow misses).
        interval: seconds between the client's periodic figures.
        length: bytes per write or datagram; None: iperf3's default.
        grace: seconds after the duration; then the run counts as hung.
        congestion: TCP's congestion control of both ends; None: the default (tcp_congestion_control).
    """

    seconds: int = 5
    streams: int = 1
    reverse: bool = False
    udp: bool = False
    rate_bps: float | None = None
    omit: int = 0
    interval: float = 1.0
    length: int | None = None
    grace: float = _GRACE_SECONDS
    congestion: str | None = None

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.seconds != int(self.seconds) or self.omit != int(self.omit):
            raise InputError(
                f"iperf3 measures whole seconds, not {self.seconds:g} after {self.omit:g}",
                where="seconds",
                next_step="give whole seconds, 1 or more",
            )
        if not 1 <= self.streams <= MOST_STREAMS:
            raise InputError(
                f"one iperf3 cannot have {self.streams} streams",
                where="streams",
                next_step=f"give 1 to {MOST_STREAMS}; iperf.together takes more",
            )
        if self.udp and self.rate_bps is None:
            raise InputError("UDP needs a rate", where="rate_bps", next_step="give bit/s per stream")

    def client_arguments(self, address: str, port: int) -> list[str]:
        """The client's command line."""
        arguments = ["iperf3", _family(address), "-J", "-c", address, "-p", str(port), "-t", str(self.seconds)]
        arguments += ["-P", str(self.streams), "-i", f"{self.interval:g}", "--connect-timeout", "5000"]
        if self.reverse:
            arguments.append("-R")
        if self.udp:
            arguments.append("-u")
        elif name := tcp_congestion_control.control() if self.congestion is None else self.congestion:
            arguments += ["-C", name]
        if self.rate_bps is not None:
            arguments += ["-b", f"{self.rate_bps:.0f}"]
        if self.omit:
            arguments += ["-O", str(self.omit)]
        if self.length is not None:
            arguments += ["-l", str(self.length)]
        return arguments


@dataclass(frozen=True, slots=True)
class IperfSample:
    """One measurement: a result, or the error."""

    spec: IperfSpec
    client: str
    server: str
    result: IperfResult | None
    error: str | None

    def record(self) -> dict[str, Any]:
        """The sample for the raw data: client, server, and iperf3's document or the error."""
        raw = self.result.raw if self.result is not None else None
        return {"client": self.client, "server": self.server, "error": self.error, "iperf3": raw}


class Running:
    """A running client. `wait()` gives its result."""

    def __init__(self, spec: IperfSpec, process: subprocess.Popen[str], place: ToolPlace) -> None:
        self.spec, self.pid = spec, process.pid
        self._process, self._place = process, place

    def running(self) -> bool:
        """Whether the client still runs."""
        return self._process.poll() is None

    def wait(self) -> IperfResult:
        """Wait for the end, and give the result. MeasurementError: the client fails or hangs."""
        limit = self.spec.omit + self.spec.seconds + self.spec.grace
        outcome = tool_processes.finish(self._process, limit, f"iperf3 on {self._place.name}")
        if not outcome.stdout.strip():
            words = " ".join(outcome.stderr.split())[-200:] or "nothing"
            raise MeasurementError(
                f"iperf3 ended with code {outcome.code} and printed {words}",
                where=self._place.name,
                next_step="run iperf3 by hand with `hoverboard exec`",
            )
        try:
            return iperf_output.parse(outcome.stdout)
        except MeasurementError as error:
            raise MeasurementError(error.what, where=self._place.name, next_step=error.next_step) from None


def _family(address: str) -> str:
    """The option of iperf3 for the family of an address: -4 or -6."""
    return f"-{ip_address(address).version}"


@contextlib.contextmanager
def _server(place: ToolPlace, family: str) -> Iterator[int]:
    """Start a one-shot server, and yield its port when it listens."""
    for attempt in range(1, _ATTEMPTS + 1):
        argv = ["iperf3", family, "-s", "-1", "-p"]
        with _port(place) as port, tool_processes.running(place, [*argv, str(port)], quiet=True) as server:
            if not _listens(place, server, port):
                outcome = tool_processes.finish(server, 1.0, f"iperf3 server on {place.name}")
                if attempt < _ATTEMPTS and "in use" in outcome.stdout + outcome.stderr:
                    continue
                words = " ".join((outcome.stderr or outcome.stdout).split())[-200:]
                raise MeasurementError(
                    f"the iperf3 server did not start: {words}",
                    where=place.name,
                    next_step="run `hoverboard exec NODE -- iperf3 -s -1`",
                )
            yield port
            return


def _listens(place: ToolPlace, server: subprocess.Popen[str], port: int) -> bool:
    """Wait until the server listens. False: it ended instead."""
    wanted = tool_processes.namespace_of(place.pid)

    def ready() -> bool:
        # Before mnexec has entered the namespace, /proc shows the tables of another one.
        if server.poll() is not None or tool_processes.namespace_of(server.pid) != wanted:
            return server.poll() is not None
        inode = listening_ports.listening(server.pid).get(port)
        return inode is not None and inode in listening_ports.owned(server.pid)

    try:
        wait_for(ready, _LISTEN_TIMEOUT, lambda: f"iperf3 does not listen on port {port}", where=place.name)
    except RunError as error:
        raise MeasurementError(error.what, where=error.where, next_step="check the load of the machine") from None
    return server.poll() is None


@contextlib.contextmanager
def _port(place: ToolPlace) -> Iterator[int]:
    namespace = tool_processes.namespace_of(place.pid)
    with _reserving:
        taken = set(listening_ports.listening(place.pid)) | {port for where, port in _reserved if where == namespace}
        port = listening_ports.first_free(taken, FIRST_PORT)
        _reserved.add((namespace, port))
    try:
        yield port
    finally:
        with _reserving:
            _reserved.discard((namespace, port))


@contextlib.contextmanager
def started(client: ToolPlace, server: ToolPlace, address: str, spec: IperfSpec) -> Iterator[Running]:
    """Run a client on `client` against a server on `server` at `address`, beside the block.

    Both processes end with the block, even if it raises.
    """
    with (
        _server(server, _family(address)) as port,
        tool_processes.running(client, spec.client_arguments(address, port)) as process,
    ):
        yield Running(spec, process, client)


def measure(client: ToolPlace, server: ToolPlace, address: str, spec: IperfSpec) -> IperfResult:
    """Measure once. MeasurementError, with iperf3's message: the measurement fails or hangs."""
    with started(client, server, address, spec) as run:
        return run.wait()


def sample(client: ToolPlace, server: ToolPlace, address: str, spec: IperfSpec) -> IperfSample:
    """Measure once. A failed measurement is recorded in the sample, not raised."""
    try:
        result = measure(client, server, address, spec)
    except MeasurementError as error:
        return IperfSample(spec, client.name, server.name, None, str(error))
    return IperfSample(spec, client.name, server.name, result, None)


def together(client: ToolPlace, server: ToolPlace, address: str, spec: IperfSpec, streams: int) -> list[IperfSample]:
    """Measure any number of streams with parallel iperf3 processes, and give one sample for each process.

    The windows of the processes differ by their start time, some hundredths of a second each.
    """
    parts, rest = divmod(streams, MOST_STREAMS)
    specs = [replace(spec, streams=number) for number in [MOST_STREAMS] * parts + [rest] * bool(rest)]
    found = []
    with contextlib.ExitStack() as stack:
        try:
            runs = [stack.enter_context(started(client, server, address, one)) for one in specs]
        except MeasurementError as error:
            return [IperfSample(one, client.name, server.name, None, str(error)) for one in specs]
        for run in runs:
            try:
                found.append(IperfSample(run.spec, client.name, server.name, run.wait(), None))
            except MeasurementError as error:
                found.append(IperfSample(run.spec, client.name, server.name, None, str(error)))
    return found
