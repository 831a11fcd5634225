"""Runs a pair of this project's measuring tools: a server that prints its port, and a client that prints JSON.

Each tool is one file that uses the standard library only. It runs in Python's isolated mode, so it starts
in a few hundredths of a second and does not import from the current directory. The kernel chooses the
server's port, so two measurements never need the same port.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.tools import tool_processes
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import MeasurementError

_READY_TIMEOUT = 10.0
_LONGEST_LINE = 1 << 12


def command(tool: str, role: str, **options: object) -> list[str]:
    """The command line of a tool in this directory. Options that are None are left out."""
    argv = [sys.executable, "-I", str(Path(__file__).with_name(f"{tool}.py")), role]
    for name, value in options.items():
        if value is not None:
            argv += [f"--{name}", str(value)]
    return argv


class Server:
    """A tool that serves at `port`, and is ready."""

    def __init__(self, process: subprocess.Popen[str], place: ToolPlace, port: int) -> None:
        self.port = port
        self._process, self._place = process, place

    def result(self, timeout: float) -> dict[str, Any]:
        """Wait for the end of the tool, and read its result. MeasurementError: it fails or hangs."""
        return _document(self._process, self._place, timeout)


@contextlib.contextmanager
def serving(place: ToolPlace, argv: list[str]) -> Iterator[Server]:
    """Run a serving tool beside the block. The block begins when the tool's socket is bound.

    Raises:
        MeasurementError: the tool ends, or does not print its port.
    """
    with tool_processes.running(place, argv) as process:
        yield Server(process, place, _port(process, place))


def _port(process: subprocess.Popen[str], place: ToolPlace) -> int:
    assert process.stdout is not None
    line = _first_line(process.stdout.fileno())
    document = json.loads(line) if line.endswith(b"\n") else {}
    if "port" in document:
        return int(document["port"])
    process.kill()
    message = document.get("error") or words(tool_processes.finish(process, 1.0, "the tool").stderr)
    raise MeasurementError(
        f"the measuring server did not start: {message}",
        where=place.name,
        next_step="check the load of the machine; `hoverboard exec NODE -- ip address` shows the node's address",
    )


def _first_line(fd: int) -> bytes:
    """The first line of output. It has no newline at its end if the tool ended or took too long."""
    line, deadline = bytearray(), time.monotonic() + _READY_TIMEOUT
    # Read byte by byte: the text after the line belongs to the result, which is read later.
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        byte = os.read(fd, 1) if ready else b""
        if not byte:
            break
        line += byte
    return bytes(line)


def run(place: ToolPlace, argv: list[str], timeout: float) -> dict[str, Any]:
    """Run a measuring tool to its end, and give its result. MeasurementError: it fails or hangs."""
    with tool_processes.running(place, argv) as process:
        return _document(process, place, timeout)


def _document(process: subprocess.Popen[str], place: ToolPlace, timeout: float) -> dict[str, Any]:
    outcome = tool_processes.finish(process, timeout, f"the measuring tool on {place.name}")
    return parse(outcome.stdout, outcome.stderr, outcome.code, place.name)


def parse(stdout: str, stderr: str, code: int, where: str) -> dict[str, Any]:
    """The last document that a tool printed. MeasurementError: it printed no document; the error has its message."""
    try:
        document = json.loads(stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        document = None
    if not isinstance(document, dict) or "error" in document or code:
        message = document["error"] if isinstance(document, dict) and "error" in document else words(stderr or stdout)
        raise MeasurementError(
            f"the measuring tool ended with code {code} and printed: {message}",
            where=where,
            next_step="ping between the two VMs",
        )
    return document


def words(text: str) -> str:
    """The end of a tool's output on one line, or "nothing"."""
    return " ".join(text.split())[-200:] or "nothing"
