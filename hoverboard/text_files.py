"""Reads text files that people name on the command line, within limits: no such file makes a command hang or grow.

A regular file is read whole. A pipe, such as `<(command)` or `/dev/stdin`, has to end in time. Directories, devices and
sockets are rejected.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hoverboard.contract.errors import InputError

MOST_BYTES = 1 << 20
PIPE_SECONDS = 5.0
_CHUNK = 1 << 16
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read_text(
    path: Path, noun: str, *, next_step: str, pipe: bool = False, most: int | None = MOST_BYTES,
    seconds: float = PIPE_SECONDS, errors: str = "strict",
) -> str:  # fmt: skip
    """The text of a file in UTF-8.

    Args:
        path: the file.
        noun: the name of the kind of file, for errors: "topology file".
        next_step: for the error when there is no such file.
        pipe: whether a pipe will do.
        most: bytes that the file may have; None: any number.
        seconds: in which a pipe has to end.
        errors: what is done with bytes that are no UTF-8, as for `bytes.decode`.

    Raises:
        InputError: there is no such file, it cannot be read, or it is of a wrong kind, too large or too slow.
    """

    def fault(what: str, step: str) -> InputError:
        return InputError(f"cannot read the {noun}: {what}", where=str(path), next_step=step)

    try:
        # Opening a pipe that nobody writes would wait without an end.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no such {noun}", where=str(path), next_step=next_step) from None
    except OSError as error:
        raise fault(error.strerror or str(error), "give a file that can be read") from None
    try:
        mode = stat.S_IFMT(os.fstat(fd).st_mode)
        if mode != stat.S_IFREG and not (pipe and mode == stat.S_IFIFO):
            step = "give a regular file, or a pipe such as <(command)" if pipe else "give a regular file"
            raise fault(f"it is {_KINDS.get(mode, 'no file')}", step)
        content = bytearray()
        for chunk in _chunks(fd) if mode == stat.S_IFREG else _chunks_of_pipe(fd, time.monotonic() + seconds):
            content += chunk
            if most is not None and len(content) > most:
                raise fault(f"it has more than {most // 1024:,} KiB", f"check that this is the {noun}")
    except TimeoutError:
        raise fault(
            f"the pipe did not end within {seconds:g} s", "end the command that writes it, or give a file"
        ) from None
    except OSError as error:
        raise fault(error.strerror or str(error), "give a file that can be read") from None
    finally:
        os.close(fd)
    try:
        return content.decode(errors=errors)
    except UnicodeDecodeError:
        raise fault("it is not UTF-8 text", "save it in UTF-8") from None


def _chunks(fd: int) -> Iterator[bytes]:
    """The content of a file in parts."""
    while chunk := os.read(fd, _CHUNK):
        yield chunk


def _chunks_of_pipe(fd: int, deadline: float) -> Iterator[bytes]:
    """The content of a pipe in parts; TimeoutError when it does not end before the deadline."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000):
        if not (chunk := os.read(fd, _CHUNK)):
            return
        yield chunk
    raise TimeoutError
