"""For mutants that need a fresh process: what stands outside functions, and what Numba compiles.

The mutant is written into the checkout, which is a copy. A new pytest runs there, with its own cache of compiled code.
Its process is forked from one that has only other people's packages loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import struct
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutation import forking
from tests.mutation.session import PYTEST

# Slow to import, and used by most tests.
PACKAGES = (
    "cryptography.hazmat.primitives.ciphers.aead",
    "google.protobuf",
    "grpc",
    "hypothesis.stateful",
    "matplotlib.figure",
    "matplotlib.font_manager",
    "numba",
    "numpy",
    "os_ken.base.app_manager",
    "ovs.flow.ofp",
    "pydantic",
    "rich.console",
    "scapy.all",
    "typer",
    "yaml",
)

# In place of an exit code.
_TIME_UP = -1000


class Apart:
    """A process that waits for lists of tests, and runs each list in a child of its own. If it dies, another begins."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._begin()

    def _begin(self) -> None:
        to_child, self._requests = os.pipe()
        self._answers, from_child = os.pipe()
        forking.flush()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._requests)
            os.close(self._answers)
            try:
                _serve(to_child, from_child, self._checkout)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(to_child)
        os.close(from_child)

    def run(self, file: Path, text: str, tests: Sequence[str], seconds: float) -> int | None:
        """Run tests, in this order and until one fails, with another text of a file; as `Session.run`.

        Raises:
            EOFError: the process died twice.
        """
        before, times = file.read_text(), file.stat()
        file.write_text(text)
        try:
            try:
                return self._ask(tests, seconds)
            except (EOFError, BrokenPipeError):
                self.end()
                self._begin()
                return self._ask(tests, seconds)
        finally:
            file.write_text(before)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    def end(self) -> None:
        """End the process that waits."""
        os.close(self._requests)
        os.close(self._answers)
        os.waitpid(self._process, 0)

    def _ask(self, tests: Sequence[str], seconds: float) -> int | None:
        request = json.dumps([list(tests), seconds]).encode()
        view = memoryview(struct.pack("=I", len(request)) + request)
        while view:
            view = view[os.write(self._requests, view) :]
        (code,) = struct.unpack("=i", _read(self._answers, 4))
        return None if code == _TIME_UP else code


def _serve(requests: int, answers: int, checkout: Path) -> None:
    for package in PACKAGES:
        importlib.import_module(package)
    while head := _head(requests):
        (size,) = struct.unpack("=I", head)
        tests, seconds = json.loads(_read(requests, size))
        code = forking.in_child(lambda tests=tests: _pytest(tests), seconds, checkout)  # type: ignore[misc]
        os.write(answers, struct.pack("=i", _TIME_UP if code is None else code))


def _head(requests: int) -> bytes:
    """The length of the next request; empty: there is none to come."""
    try:
        return _read(requests, 4)
    except EOFError:
        return b""


def _pytest(tests: Sequence[str]) -> int:
    cache = tempfile.mkdtemp(prefix="numba-")
    os.environ["NUMBA_CACHE_DIR"] = cache
    try:
        return int(pytest.main([*PYTEST, "-x", *tests]))
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(descriptor, size - len(data))
        if not piece:
            raise EOFError("the other process has ended")
        data += piece
    return data
