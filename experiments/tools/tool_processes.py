"""Processes that measure: start a tool inside a node's network namespace, bound it, reap it by pid.

Every tool an experiment runs is started here, so that none can outlive its measurement: leaving the
`with` block kills and reaps exactly the process that was started.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hoverboard.contract.errors import MachineError, MeasurementError

_TERM_SECONDS = 2.0


class ToolPlace(Protocol):
    """Where a tool runs: a Mininet node, or anything with a name and a pid in its namespace."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Node:
    """A place known by name and pid only, e.g. from another process's run."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a tool ended."""

    code: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def running(place: ToolPlace, argv: list[str], *, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run `argv` in the network namespace of `place`; it is gone when the block ends.

    mnexec enters the namespace and then becomes the tool, so the pid is the tool's own. `quiet`
    throws its standard output away: what nobody reads would fill the pipe and stop it.

    Raises:
        MachineError: mnexec is not installed.
    """
    try:
        process = subprocess.Popen(
            ["mnexec", "-a", str(place.pid), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C belongs to whoever runs the experiment; the tool is ended by this block.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise MachineError("mnexec is not installed", next_step="run `sudo ./bootstrap.sh demo`") from None
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
    """Wait for the end and collect the output; MeasurementError when `timeout` seconds pass first."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        stdout, stderr = process.communicate()
        words = " ".join((stderr or stdout or "").split())[-200:]
        raise MeasurementError(
            f"{what} was still running after {timeout:g} s and was ended" + (f"; it said: {words}" if words else ""),
            next_step="ping between the two VMs; a hung test usually means that no packet gets through",
        ) from None
    return Outcome(process.returncode, stdout or "", stderr)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def run(place: ToolPlace, argv: list[str], *, timeout: float) -> Outcome:
    """Run `argv` in the namespace of `place` to its end, at most `timeout` seconds."""
    with running(place, argv) as process:
        return finish(process, timeout, f"{argv[0]} on {place.name}")


def namespace_of(pid: int) -> int | None:
    """Inode of the network namespace of a process; None when the process is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except (FileNotFoundError, ProcessLookupError):
        return None
