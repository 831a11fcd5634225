"""Output that cannot be written: a full disk is no fault of the testbed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from console import guard
from console.show import tables
from hoverboard.contract.errors import InputError, MachineError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("line", ["--version", "--help", "up --help", "up two-hosts --check", "up demo --check --json"])
def test_a_full_disk_is_one_clear_message(line: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "console.cli", *line.split()], env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        MachineError.exit_code,
        "hoverboard: the output or a file cannot be written: no space left on device\n"
        "  -> make room on the disk, or send the output to another place\n",
    )


QUIET = ["--version", "--help", "status --help", "vm --help", "up two-hosts --check", "experiment list", "doctor"]


@pytest.mark.parametrize("line", QUIET)
def test_a_reader_that_has_gone_is_no_fault(line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = typed(line, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_whose_reader_has_gone_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich ends the process itself, with code 1; all verbs print their tables by `tables.show`."""
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(1)
    try:
        with os.fdopen(writer, "w") as gone:
            monkeypatch.setattr(sys, "stdout", gone)
            with pytest.raises(typer.Exit) as ended, guard.report_errors():
                tables.show([tables.table("t", ("a",), [["b"]])])
            assert ended.value.exit_code == 0
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize("line", ["--version", "--help", "up two-hosts --check", "up two-hosts --check --json"])
def test_a_closed_output_is_no_fault(line: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-P", "-m", "console.cli", *line.split()],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_an_error_that_cannot_be_printed_keeps_its_exit_code(where: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-P", "-m", "console.cli", "up", "nosuch", "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (InputError.exit_code, "")


def typed(line: str, stdout: int) -> subprocess.CompletedProcess[str]:
    """The command, as a person types it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "console.cli", *line.split()], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_on_a_full_disk_is_named(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, guard.report_errors():
        raise OSError(number, os.strerror(number), "/run/hoverboard/a/ledger.jsonl")
    assert ended.value.exit_code == MachineError.exit_code
    assert capsys.readouterr().err == (
        f"hoverboard: /run/hoverboard/a/ledger.jsonl: it cannot be written: {os.strerror(number).lower()}\n"
        "  -> make room on that disk\n"
    )


def test_another_error_of_the_system_is_a_fault_of_the_testbed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, guard.report_errors():
        raise OSError(errno.EINVAL, "Invalid argument")
    assert ended.value.exit_code == 70
    assert "a fault of the testbed" in capsys.readouterr().err
