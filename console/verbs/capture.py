"""`hoverboard capture`: captures packets inside the data plane of a node."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from console import guard, runs
from console.show.json_output import print_json
from console.show.progress import print_progress
from console.verbs.options import Json, Node, Run
from hoverboard.contract.errors import InputError, MachineError, RunError, counted
from hoverboard.contract.generations import facts

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import CaptureSummary
    from topologies.client.inspect import InspectedNode
    from topologies.client.run_client import RunClient

_NO_TCPDUMP = "apt-get install tcpdump"


def capture(
    node: Node,
    port: Annotated[
        str | None, typer.Argument(metavar="[VM|uplink]", help="The port of a VM, or the uplink. Default: all ports.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.0, help="Stop after this many seconds.")] = None,
    count: Annotated[int, typer.Option("--count", "-c", min=0, help="Stop after this many packets; 0: no limit.")] = 0,
    file: Annotated[
        Path | None,
        typer.Option("-w", "--write", metavar="FILE", help="Write a pcapng file instead of showing packets."),
    ] = None,
    snap: Annotated[
        int, typer.Option("--snap", min=14, max=65_535, metavar="BYTES", help="Keep this many bytes of each packet.")
    ] = 256,
    run: Run = None,
    as_json: Json = False,
) -> None:
    """Capture packets as the data plane of a node receives and sends them.

    Where engines carry the packets, it says why some are dropped. A line on stderr says when the capture begins.
    Ctrl-C ends it.
    """
    if as_json and file is None:
        raise InputError("--json needs -w", where="capture", next_step="add -w FILE, or leave --json out")
    from topologies.client import inspect
    from topologies.client.run_client import RunClient

    with RunClient(runs.entered(run)) as client:
        place = inspect.find(client, node, port)
        if facts(place.dataplane).carrier != "engines":
            raise typer.Exit(_tcpdump(client, place, seconds, count, file, snap))
        names = client.flow_names()
    from hoverboard.host.control.host_client import HostClient

    host = HostClient(place.socket)
    with contextlib.closing(host), guard.ended_by_signals():
        inspect.compile_debug_engine(host, print_progress)
        with _output(file) as output:
            running = inspect.RunningCapture(host, place, output.fd, names=names, snap=snap, count=count)
            print_progress(f"capturing begins now: {', '.join(running.ports)} of {place.node}; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                running.wait(seconds, lambda elapsed, packets: print_progress(waiting_line(elapsed, packets, count)))
            try:
                summary = running.finish()
            except RunError:
                if output.unread():  # such as a pipe to `head`, which has what it wants
                    return
                raise
    if as_json:
        print_json({"file": str(file), "node": place.node, "ports": running.ports, **summary})
    else:
        print_progress(summary_line(summary, file))


def waiting_line(elapsed: float, packets: int | None, count: int) -> str:
    """The line while no packet comes; `packets` so far, None: not known."""
    so_far = "still waiting" if packets is None else f"{counted(packets, 'packet')}{f' of {count}' if count else ''}"
    return f"{so_far} after {elapsed:.0f} s; Ctrl-C ends the capture, --seconds S bounds it"


def summary_line(summary: CaptureSummary, file: Path | None) -> str:
    """The last line of a capture: packets, the file, and losses with their reason, if there are any."""
    line = counted(summary["packets"], "packet") + (f" in {file}" if file else "")
    return f"{line}; {summary['lost']} lost: the ring was full" if summary["lost"] else line


@dataclass
class _Output:
    """A descriptor to write pcapng to, and whether what is written has no reader any more."""

    fd: int
    unread: Callable[[], bool] = lambda: False


@contextlib.contextmanager
def _output(file: Path | None) -> Iterator[_Output]:
    """Where pcapng is written: into the file, or into a pipe to a tcpdump that shows it."""
    if file is not None:
        output = open_output(file)
        try:
            yield _Output(output)
        finally:
            os.close(output)
        return
    from console.show.captured import ShownCapture

    try:
        shown = ShownCapture(lambda line: print(line, flush=True))
    except FileNotFoundError:
        raise MachineError("tcpdump is not installed", next_step=f"{_NO_TCPDUMP}, or write a file with -w") from None
    reader, writer = os.pipe()
    threads = [
        threading.Thread(target=shown.feed, args=(os.fdopen(reader, "rb"),), daemon=True),
        threading.Thread(target=shown.print_lines, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield _Output(writer, lambda: shown.unread)
    finally:
        os.close(writer)
        for thread in threads:
            thread.join()
        words = shown.end()
    if words:
        raise MachineError(f"tcpdump failed: {words}", where="capture", next_step="write a file with -w")


def open_output(file: Path) -> int:
    """A descriptor of the file that -w names: new, for its owner alone. A pipe or a device is opened as it is.

    Raises:
        InputError: it cannot be written.
    """
    from hoverboard.safe_files import open_private

    try:
        if _is_stream(file):
            return os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        return open_private(file)
    except OSError as error:
        raise InputError(
            f"cannot write {file}: {error.strerror}", where="-w", next_step="give a file that can be written"
        ) from error


def _is_stream(file: Path) -> bool:
    """Whether a path is a pipe, or the system's name of an open file, such as /dev/stdout and `>(cat)`."""
    if str(file).startswith(("/dev/fd/", "/proc/self/fd/")) or str(file) in ("/dev/stdout", "/dev/null"):
        return True
    return file.is_fifo() and not file.is_symlink()


def _tcpdump(
    client: RunClient, place: InspectedNode, seconds: float | None, count: int, file: Path | None, snap: int
) -> int:
    """Capture on Open vSwitch, which has no engine: run tcpdump on the device, and return its exit code."""
    from topologies.client import inspect

    argv = inspect.tcpdump(client, place, as_file=file is not None, snap=snap, count=count)
    shown = " ".join(argv[argv.index("tcpdump") :])
    print_progress(f"{place.node} has dataplane {place.dataplane}, which has no engine; running {shown}")
    with contextlib.ExitStack() as stack:
        output = None if file is None else open_output(file)
        if output is not None:
            stack.callback(os.close, output)
        stack.enter_context(guard.ended_by_signals())
        try:
            running = subprocess.Popen(argv, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace")
        except FileNotFoundError:
            raise MachineError("mnexec is not installed", next_step="install it: sudo ./bootstrap.sh demo") from None
        words = threading.Thread(target=_pass_on, args=(running.stderr, place.node), daemon=True)
        words.start()
        with contextlib.suppress(KeyboardInterrupt):
            inspect.wait_with_word(
                lambda timeout: _ended(running, timeout), seconds,
                lambda elapsed: print_progress(waiting_line(elapsed, None, count)),
            )  # fmt: skip
        if (code := running.poll()) is None:
            running.terminate()
            running.wait()
            code = 0
        words.join()
        return code


def _ended(process: subprocess.Popen[str], timeout: float) -> bool:
    """Wait for the end of a process; False when `timeout` seconds have passed."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _pass_on(words: IO[str], node: str) -> None:
    """Pass tcpdump's words on, and say when it captures: it says so itself, once it does. It sees no drops."""
    for line in words:
        print_progress(line.rstrip("\n"))
        if "listening on" in line:
            print_progress(
                f"capturing begins now on {node}; drops are not seen here: "
                f"`hoverboard status {node}` counts them by rule; Ctrl-C ends it"
            )
