"""Starts measuring tools inside a node's network namespace, limits their time, and reaps them by pid.

Every tool of an experiment starts here, so no tool lives longer than its measurement. The end of the
`with` block ends exactly the process that the block started.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hoverboard.contract.errors import MeasurementError
from topologies.namespaces.entering import entering

_TERM_SECONDS = 2.0


class ToolPlace(Protocol):
    """The place where a tool runs: a Mininet node, or an object with a name and a pid in its namespace."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Node:
    """A place with a name and a pid only, e.g. of a run that another process holds."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code and the output of a tool."""

    code: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def running(place: ToolPlace, argv: list[str], *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run `argv` in the namespaces of `place`, beside the block. The process ends with the block.

    The command that enters them becomes the tool in the end, so the pid is the tool's own. `quiet`
    discards its standard output: output that is never read would fill the pipe and block the tool.

    Raises:
        MachineError: mnexec is not installed.
    """
    process = subprocess.Popen(
        [*entering(place.pid), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Ctrl-C is for the experiment only. This block ends the tool.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _reap(process)


def _reap(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_TERM_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def finish(process: subprocess.Popen[str], timeout: float, what: str) -> Outcome:
    """Wait for the end, and collect the output. MeasurementError: the tool runs longer than `timeout` seconds."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        stdout, stderr = process.communicate()
        words = " ".join((stderr or stdout or "").split())[-200:]
        raise MeasurementError(
            f"{what} was still running after {timeout:g} s and was ended" + (f"; it printed: {words}" if words else ""),
            next_step="ping between the two VMs; a hung test usually means that no packet gets through",
        ) from None
    return Outcome(process.returncode, stdout or "", stderr)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def run(place: ToolPlace, argv: list[str], *, timeout: float) -> Outcome:
    """Run `argv` in the namespace of `place` to its end, for at most `timeout` seconds."""
    with running(place, argv) as process:
        return finish(process, timeout, f"{argv[0]} on {place.name}")


def namespace_of(pid: int) -> int | None:
    """The inode of the network namespace of a process; None if the process has ended."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except (FileNotFoundError, ProcessLookupError):
        return None
