"""Files that people name: what is read, and what is rejected before it can hang or fill a command."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoverboard import text_files
from hoverboard.contract.errors import InputError
from hoverboard.text_files import MOST_BYTES, read_text

pytestmark = pytest.mark.timeout(30)


def read(path: Path, *, pipe: bool = True, seconds: float = 10.0) -> str:
    return read_text(path, "list", next_step="give one", pipe=pipe, seconds=seconds)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.fixture
def writing(fifo: Path) -> Callable[..., threading.Thread]:
    """writing(part, ..): writes these parts into the pipe from another thread, then ends it."""

    def begin(*parts: bytes) -> threading.Thread:
        def write() -> None:
            with open(fifo, "wb", buffering=0) as file:
                for part in parts:
                    file.write(part)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        return thread

    return begin


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    for text in ("", "name: ä\n", "x" * MOST_BYTES):
        (tmp_path / "file").write_text(text, encoding="utf-8")
        assert read(tmp_path / "file", pipe=False) == text
    (tmp_path / "link").symlink_to("file")
    assert read(tmp_path / "link", pipe=False) == "x" * MOST_BYTES


def test_a_pipe_is_read_to_its_end(fifo: Path, writing: Callable[..., threading.Thread]) -> None:
    writing(b"hosts", b": 2\n", b"x" * 200_000)
    assert read(fifo) == "hosts: 2\n" + "x" * 200_000


def test_an_open_pipe_of_a_shell_is_read_too() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"hosts: 2\n")
    os.close(writer)  # the command has ended before we look
    try:
        assert read(Path(f"/dev/fd/{reader}")) == "hosts: 2\n"
    finally:
        os.close(reader)


def test_a_pipe_that_nobody_writes_or_ends_is_given_up(fifo: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    wanted = r"cannot read the list: the pipe did not end within 0.2 s\n  -> end the command"
    with pytest.raises(InputError, match=wanted):
        read(fifo, seconds=0.2)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"hosts: 2\n")
        with pytest.raises(InputError, match=wanted):
            read(Path(f"/dev/fd/{reader}"), seconds=0.2)
    finally:
        os.close(reader)
        os.close(writer)
    assert time.monotonic() - begun < 20


def test_without_a_limit_of_its_own_a_caller_waits_five_seconds_for_a_pipe(
    fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    class Poller:
        """Waits on a clock of its own, as long as it is told to."""

        def register(self, fd: int, events: int) -> None:
            pass

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waited.append(milliseconds)
            return []

    fixed = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(text_files, "time", fixed)
    monkeypatch.setattr(text_files, "select", SimpleNamespace(poll=Poller, POLLIN=1))
    with pytest.raises(InputError, match="the pipe did not end within 5 s"):
        read_text(fifo, "list", next_step="", pipe=True)
    assert waited == [5000.0]


def test_a_pipe_that_always_has_more_is_given_up(fifo: Path) -> None:
    stop = threading.Event()

    def drip() -> None:
        with open(fifo, "wb", buffering=0) as file:
            while not stop.is_set():
                try:
                    file.write(b"#")
                except BrokenPipeError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with pytest.raises(InputError, match=r"did not end|more than"):
        read(fifo, seconds=0.3)
    stop.set()
    thread.join(10)


@pytest.mark.parametrize("kind", ["file", "pipe", "endless"])
def test_more_than_a_mebibyte_is_rejected(
    kind: str, tmp_path: Path, fifo: Path, writing: Callable[..., threading.Thread]
) -> None:
    path = fifo
    if kind == "file":
        path = tmp_path / "file"
        path.write_bytes(b"x" * (MOST_BYTES + 1))
    elif kind == "pipe":
        writing(b"x" * (MOST_BYTES + 1))
    else:
        path = Path("/dev/zero")
    with pytest.raises(InputError, match=r"more than 1,024 KiB" if kind != "endless" else "it is a device"):
        read(path)


def test_other_kinds_of_files_are_rejected(tmp_path: Path, fifo: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "sock"))
        for path, what in (
            (tmp_path, "it is a directory"),
            (Path("/dev/null"), "it is a device"),
            (tmp_path / "sock", "No such device or address"),
        ):
            with pytest.raises(InputError, match=what):
                read(path)
    with pytest.raises(InputError, match=r"it is a pipe\n  -> give a regular file$"):
        read(fifo, pipe=False)
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"latin: cannot read the list: it is not UTF-8 text\n  -> save it in UTF-8"):
        read(tmp_path / "latin")
    for missing in (tmp_path / "none", tmp_path / "latin" / "none"):
        with pytest.raises(InputError, match=r"none: there is no such list\n  -> give one"):
            read(missing)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="Too many levels"):
        read(tmp_path / "loop")
