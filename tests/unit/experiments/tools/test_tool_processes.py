"""Processes that measure: their output, their end, and that none outlives its block."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import tool_processes
from hoverboard.contract.errors import MachineError, MeasurementError
from tests.unit.experiments.tools.no_namespace import HERE, installed

# Says that it is there, then waits for a signal, which it may ignore.
WAITS = "echo ready; exec sleep 60"
STUBBORN = f"trap '' TERM; {WAITS}"


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "bin", monkeypatch)


def gone(process: subprocess.Popen[str]) -> bool:
    return process.returncode is not None and not Path(f"/proc/{process.pid}").exists()


def test_a_tool_runs_to_its_end() -> None:
    found = tool_processes.run(HERE, ["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20)
    assert (found.code, found.stdout, found.stderr) == (3, "out\n", "err\n")


def test_a_tool_enters_the_namespace_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin" / "nsenter").write_text('#!/bin/sh\necho "$@"\n')
    assert (
        tool_processes.run(tool_processes.Node("vm", 4711), ["ping", "-c", "1"], timeout=20).stdout
        == "--target 4711 --uts mnexec -a 4711 ping -c 1\n"
    )


def test_a_tool_has_no_input_and_no_terminal() -> None:
    found = tool_processes.run(HERE, ["sh", "-c", "cat; ps -o sid= -p $$ | tr -d ' '; echo $$"], timeout=20)
    session, pid = found.stdout.split()
    assert session == pid  # Ctrl-C is for the experiment alone


@pytest.mark.parametrize(("script", "patience", "code"), [(WAITS, 20.0, -15), (STUBBORN, 0.05, -9)])
def test_what_still_runs_ends_with_its_block(
    script: str, patience: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_processes, "_TERM_SECONDS", patience)
    with contextlib.suppress(ZeroDivisionError), tool_processes.running(HERE, ["sh", "-c", script]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        raise ZeroDivisionError
    assert gone(process)
    assert process.returncode == code
    assert process.stdout.closed
    assert process.stderr is not None
    assert process.stderr.closed


def test_output_that_is_not_read_does_not_stop_a_quiet_tool() -> None:
    with tool_processes.running(HERE, ["sh", "-c", "head -c 200000 /dev/zero; echo done >&2"], quiet=True) as process:
        found = tool_processes.finish(process, 20, "it")
    assert (found.stdout, found.stderr, found.code) == ("", "done\n", 0)


class Hung:
    """A process that ends when it is killed, unless it has just gone; then it has said something."""

    returncode = -9

    def __init__(self, stdout: str | None, stderr: str, gone: bool = False) -> None:
        self.said, self.gone, self.killed = (stdout, stderr), gone, False

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str]:
        if timeout is not None:
            raise subprocess.TimeoutExpired("it", timeout)
        assert self.killed
        return self.said

    def kill(self) -> None:
        self.killed = True
        if self.gone:
            raise ProcessLookupError


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (Hung("half\n of it\n", ""), "it was still running after 0.3 s and was ended; it printed: half of it\n"),
        (Hung("half\n", "why\n"), "; it printed: why\n"),
        (Hung("", "x" * 300), f"; it printed: {'x' * 200}\n"),
        (Hung(None, "", gone=True), "after 0.3 s and was ended\n"),
    ],
)
def test_a_tool_that_hangs_is_ended_and_keeps_its_words(process: Any, words: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        tool_processes.finish(process, 0.3, "it")
    assert words in str(caught.value)


def test_without_mnexec_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="mnexec is not installed"):
        tool_processes.run(HERE, ["true"], timeout=1)


def test_a_hung_tool_is_named_with_its_place() -> None:
    with pytest.raises(MeasurementError, match="sleep on here was still running"):
        tool_processes.run(HERE, ["sleep", "60"], timeout=0.05)


def test_the_namespace_of_a_process() -> None:
    assert tool_processes.namespace_of(os.getpid()) == os.stat("/proc/self/ns/net").st_ino
    assert tool_processes.namespace_of(2**22 + 1) is None
