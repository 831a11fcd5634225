"""`iperf` and `iperfudp`: iperf3 between two VMs of one virtual network, for a look at the rate.

Each measurement has a server of its own that ends after one test, and a time limit, so that nothing hangs and nothing
stays. Experiments measure with `experiments.tools.iperf`, which has more to set; this layer cannot import it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hoverboard.contract.errors import InputError, MachineError, MeasurementError
from topologies.mininet_verbs.reachability import check_vms
from topologies.namespaces.entering import entering

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import WiredNode

SECONDS = 5
UDP_RATE = "10M"
_PORTS = range(5201, 5301)
_READY_SECONDS = 5.0
_GRACE_SECONDS = 15.0  # for connecting, which may take 5 s, and for exchanging results
_RATE = re.compile(r"\d+(\.\d+)?[KMGkmg]?")
_SIZES = {"G": 1e9, "M": 1e6, "K": 1e3}
_LISTENS = "Server listening on"


@dataclass(frozen=True, slots=True)
class Throughput:
    """One measurement: bit/s that the server received and that the client sent, and for UDP the loss."""

    received_bps: float
    sent_bps: float
    lost_percent: float | None = None


def measure(
    client: WiredNode,
    server: WiredNode,
    *,
    udp_rate: str | None = None,
    seconds: int = SECONDS,
    port: int | None = None,
) -> Throughput:
    """Measure once from `client` to `server`.

    Args:
        client: a VM.
        server: another VM of its network.
        udp_rate: bit/s to offer over UDP, such as 10M; None: TCP.
        seconds: how long the client sends.
        port: the server's; None: the first free one.

    Raises:
        InputError: these are no two VMs of one network, or the rate is none.
        MeasurementError: iperf3 fails or hangs; the error has its message.
        MachineError: a tool is not installed.
    """
    check_vms([client, server])
    if client["name"] == server["name"]:
        raise InputError("iperf needs two VMs", where=client["name"], next_step="give another VM as the server")
    if udp_rate is not None and not _RATE.fullmatch(udp_rate):
        raise InputError(f"{udp_rate!r} is no rate", next_step="give bit/s, such as 10M")
    with _server(server, (port,) if port is not None else _PORTS) as chosen:
        argv = ["iperf3", "-J", "-c", server["ip"], "-p", str(chosen), "-t", str(seconds), "--connect-timeout", "5000"]
        argv += [] if udp_rate is None else ["-u", "-b", udp_rate]
        with _running(client, argv) as process:
            try:
                output, errors = process.communicate(timeout=seconds + _GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                raise MeasurementError(
                    f"iperf3 was still running after {seconds + _GRACE_SECONDS:g} s and was ended",
                    where=client["name"],
                    next_step=f"check that {client['name']} can ping {server['name']}",
                ) from None
    return parse(output, errors, where=client["name"])


def parse(output: str, errors: str = "", *, where: str = "") -> Throughput:
    """The figures in a document of `iperf3 -J`; MeasurementError: it has none."""
    try:
        document: dict[str, Any] = json.loads(output)
        if "error" in document:
            raise MeasurementError(
                f"iperf3 reports: {document['error']}", where=where, next_step="check that the VMs can ping each other"
            )
        end = document["end"]
        received, sent = end.get("sum_received") or end["sum"], end.get("sum_sent") or end["sum"]
        lost = float(end["sum"]["lost_percent"]) if "lost_percent" in end.get("sum", {}) else None
        return Throughput(float(received["bits_per_second"]), float(sent["bits_per_second"]), lost)
    except (KeyError, TypeError, ValueError):
        words = " ".join((errors or output).split())[-200:] or "nothing"
        raise MeasurementError(
            f"iperf3 printed no figures but: {words}", where=where, next_step="try it by hand: NODE iperf3 ..."
        ) from None


def rate(bps: float, unit: str | None = None) -> str:
    """A rate as iperf prints it: '9.41 Gbits/sec'.

    Args:
        bps: bit/s.
        unit: k, m or g for bits, K, M or G for bytes; None: what reads best.
    """
    if unit is not None:
        if unit.upper() not in _SIZES:
            raise InputError(f"{unit!r} is no unit", where="fmt", next_step="give k, m, g, K, M or G")
        value, word = (bps, "bits") if unit.islower() else (bps / 8, "Bytes")
        return f"{value / _SIZES[unit.upper()]:.3g} {unit.upper()}{word}/sec"
    for prefix, size in _SIZES.items():
        if bps >= size:
            return f"{bps / size:.3g} {prefix}bits/sec"
    return f"{bps:.3g} bits/sec"


def report(
    pair: Sequence[WiredNode], write: Callable[[str], object], *, udp_rate: str | None = None, seconds: int = SECONDS,
    port: int | None = None, unit: str | None = None,
) -> list[str]:  # fmt: skip
    """Measure between two VMs, print what Mininet prints, and return it: [rate of the server, rate of the client].

    With UDP the offered rate comes first, and the loss is printed. Errors and arguments are those of `measure` and
    `rate`.
    """
    if len(pair) != 2:
        raise InputError(f"iperf measures between two VMs, not {len(pair)}", next_step="give client and server")
    rate(0.0, unit)
    client, server = pair
    kind = "TCP" if udp_rate is None else "UDP"
    write(f"*** Iperf: testing {kind} bandwidth between {client['name']} and {server['name']}\n")
    found = measure(client, server, udp_rate=udp_rate, seconds=seconds, port=port)
    result = [*([] if udp_rate is None else [udp_rate]), rate(found.received_bps, unit), rate(found.sent_bps, unit)]
    lost = "" if found.lost_percent is None else f", {found.lost_percent:.2g}% lost"
    write(f"*** Results: {result}{lost}\n")
    return result


@contextlib.contextmanager
def _server(place: WiredNode, ports: Sequence[int]) -> Iterator[int]:
    """Start a server on the first port that is free, and yield the port when it listens."""
    said = ""
    for port in ports:
        # The line that says "listening" has to come at once, although the output is a pipe.
        with _running(place, ["iperf3", "-s", "-1", "--forceflush", "-p", str(port)]) as process:
            said = _read_until(process, _LISTENS)
            if _LISTENS in said:
                yield port
                return
            if "in use" not in said:
                break
    words = " ".join(said.split())[-200:] or "it printed nothing"
    raise MeasurementError(
        f"the iperf3 server did not start: {words}", where=place["name"], next_step="try it by hand: NODE iperf3 -s -1"
    )


def _read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """The output of a process until it has said `wanted`, ended, or taken too long."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + _READY_SECONDS
    while wanted not in said:
        # Read from the descriptor: a line that a buffer holds already would never become readable.
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not piece:
            break
        said += piece.decode(errors="replace")
    return said


@contextlib.contextmanager
def _running(place: WiredNode, argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a tool in a node beside the block; it ends with the block."""
    try:
        process = subprocess.Popen(
            [*entering(place["pid"]), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "-s" in argv else subprocess.PIPE, text=True, errors="replace",
            start_new_session=True,  # Ctrl-C is for the prompt, which ends this process
        )  # fmt: skip
    except FileNotFoundError:
        raise MachineError("mnexec is not installed", next_step="install it: sudo ./bootstrap.sh demo") from None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
