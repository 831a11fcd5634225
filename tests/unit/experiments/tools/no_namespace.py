"""Tools run where the test runs: `mnexec` and `nsenter` that enter no namespace, and other programs by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from experiments.tools.tool_processes import Node

HERE = Node("here", os.getpid())


def program(folder: Path, name: str, text: str) -> None:
    """Write a program of this name, first on the PATH of `installed`."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> Path:
    """`nsenter` and `mnexec` just run the command after their options; `programs` are Python texts by name."""
    folder.mkdir(exist_ok=True)
    program(folder, "nsenter", '#!/bin/sh\nshift 3\nexec "$@"\n')
    program(folder, "mnexec", '#!/bin/sh\nshift 2\nexec "$@"\n')
    for name, text in programs.items():
        program(folder, name, f"#!{sys.executable} -IS\n{text}")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder
