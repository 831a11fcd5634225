"""Children of a test: real processes, each ended by its pid when the test is over."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Children:
    """Starts processes, and ends those that still run."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._all:
            child.kill()
            child.wait()

    def start(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        """A process that sleeps unless another command is given."""
        child = subprocess.Popen(argv or ("/bin/sleep", "60"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._all.append(child)
        return child


def open_files() -> set[str]:
    """What this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:  # the listing's own
            continue
    return found
