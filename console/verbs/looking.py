"""The verbs that look inside a node while it runs: `capture` and `latency`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import guard, runs
from hoverboard.contract.errors import InputError, MachineError
from hoverboard.contract.generations import facts

if TYPE_CHECKING:
    from topologies.client.inspect import InspectedNode
    from topologies.client.run_client import RunClient

Node = Annotated[str, typer.Argument(metavar="NODE", help="A host, Hoverboard or VM.")]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Which run; not needed when one is up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NO_TCPDUMP = "apt-get install tcpdump"


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def capture(
    node: Node,
    port: Annotated[str | None, typer.Argument(metavar="[VM|uplink]", help="Default: all ports of the node.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.0, help="End after so long.")] = None,
    count: Annotated[int, typer.Option("--count", "-c", min=0, help="End after so many packets.")] = 0,
    file: Annotated[Path | None, typer.Option("-w", "--write", metavar="FILE", help="Write pcapng here.")] = None,
    snap: Annotated[
        int, typer.Option("--snap", min=14, max=65_535, metavar="BYTES", help="Keep so much of a packet.")
    ] = 256,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Capture packets inside the data plane, as it gets and sends them; without -w they are shown. Ctrl-C ends it."""
    runs.need_root("capture")
    if as_json and file is None:
        raise InputError("--json needs -w", where="capture", next_step="add -w FILE, or leave --json out")
    from topologies.client import inspect
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        place = inspect.find(client, node, port)
        if facts(place.dataplane).carrier != "engines":
            raise typer.Exit(_tcpdump(client, place, seconds, count, file, snap))
    from hoverboard.host.control.host_client import HostClient

    host = HostClient(place.socket)
    with contextlib.closing(host), guard.ended_by_signals():
        inspect.compile_debug_engine(host, _tell)
        with _output(file) as output:
            running = inspect.RunningCapture(host, place, output, snap=snap, count=count)
            if file is not None:
                _tell(f"capturing {', '.join(running.ports)} of {place.node}; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                running.wait(seconds)
            summary = running.finish()
    if as_json:
        print(json.dumps({"file": str(file), "node": place.node, "ports": running.ports, **summary}, indent=2))
    else:
        _tell(f"{summary['packets']} packets{f' in {file}' if file else ''}; {summary['lost']} found the ring full")


@contextlib.contextmanager
def _output(file: Path | None) -> Iterator[int]:
    """A descriptor to write pcapng to: the file, or a tcpdump that shows it."""
    if file is not None:
        try:
            output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise InputError(
                f"cannot write {file}: {error.strerror}", where="-w", next_step="give a file that can be written"
            ) from error
        try:
            yield output
        finally:
            os.close(output)
        return
    reader, writer = os.pipe()
    try:
        # In a session of its own: Ctrl-C is for us, and it ends when there is nothing more to show.
        shown = subprocess.Popen(["tcpdump", "-n", "-l", "-r", "-"], stdin=reader, start_new_session=True)
    except FileNotFoundError:
        os.close(writer)
        raise MachineError("tcpdump is not installed", next_step=f"{_NO_TCPDUMP}, or write a file with -w") from None
    finally:
        os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)
        shown.wait()


def _tcpdump(
    client: RunClient, place: InspectedNode, seconds: float | None, count: int, file: Path | None, snap: int
) -> int:
    """What capture is on Open vSwitch: tcpdump on the device, in its namespaces; its exit code."""
    from topologies.client import inspect

    target = None if file is None else str(file.absolute())
    argv = inspect.tcpdump(client, place, file=target, snap=snap, count=count)
    _tell(f"{place.node} has dataplane {place.dataplane}: no engine to inspect; running {' '.join(argv[3:])}")
    with guard.ended_by_signals():
        try:
            running = subprocess.Popen(argv)
        except FileNotFoundError:
            raise MachineError("mnexec is not installed", next_step="run `sudo ./bootstrap.sh demo`") from None
        try:
            return running.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            running.terminate()
            running.wait()
            return 0


def latency(
    node: Node,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Sample for so long.")] = 5.0,
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Follow one packet in N.")] = 64,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """How long packets are inside a node's engines, from receive to transmit; one is followed at a time."""
    runs.need_root("latency")
    from hoverboard.host.control.host_client import HostClient
    from topologies.client import inspect
    from topologies.client.run_client import RunClient

    with RunClient(runs.live(run)) as client:
        place = inspect.find(client, node, None)
    inspect.check_has_engines(place)
    host = HostClient(place.socket)
    with contextlib.closing(host), guard.ended_by_signals():
        inspect.compile_debug_engine(host, _tell)
        found = inspect.latency(host, seconds, every)
    if as_json:
        print(json.dumps({"node": place.node, **found}, indent=2))
        return
    from console.show import tables

    tables.show([tables.latency({"node": place.node, **found})])
