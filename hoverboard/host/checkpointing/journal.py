"""A table that survives its process: an append-only file of records, each with a checksum (paper 3.5).

A flush writes only records that changed since the last one, with their current values, and a bounded number of them.
When most of the file is out of date, a new file is written in slices. The caller decides what records mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import RunError

VERSION = 2
FLUSH_SECONDS = 0.05  # bounds the loss: entries learned since the last flush come back as misses
FLUSH_RECORDS = 200  # some 50 us each, and 460 us for tracing each; flow misses wait 10 ms for a flush
_SLACK = 2_000  # out-of-date records that never cause a new file
Ident = tuple[str, Any]  # kind of record, and which; hashable, and the same after JSON


def _line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


def read(path: Path, head: dict[str, Any]) -> dict[Ident, Any]:
    """The table in a file that was written with the same `head`; an incomplete last line is left out.

    Raises:
        RunError: there is no file, it has another version or owner, or it is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"no checkpoint ({error.strerror})", where=str(path)) from error
    lines.pop()  # b"" after the last newline, or a line that its writer did not complete
    if not lines:
        raise RunError("the checkpoint is empty", where=str(path))
    table: dict[Ident, Any] = {}
    for number, line in enumerate(lines, 1):
        try:
            if int(line[:8], 16) != zlib.crc32(line[9:]):
                raise ValueError("wrong checksum")
            record = json.loads(line[9:])
        except ValueError as error:
            raise RunError(f"the checkpoint is damaged: line {number}: {error}", where=str(path)) from error
        if number == 1:
            if record != {"version": VERSION, **head}:
                raise RunError(f"the checkpoint has another owner or version: {record}", where=str(path))
            continue
        kind, ident, value = record
        table.pop((kind, _frozen(ident)), None)  # the last written comes last
        if value is not None:
            table[kind, _frozen(ident)] = value
    return table


class Journal:
    """Writes the file; for one thread.

    Args:
        head: the owner; read() needs the same.
        value: a record's current value, JSON; None: the record is gone.
        everything: the names of all current records.

    Attributes:
        failure: why nothing is written any more; None: writing works.
        written: records written so far.
    """

    def __init__(
        self,
        path: Path,
        head: dict[str, Any],
        value: Callable[[Ident], Any],
        everything: Callable[[], Iterable[Ident]],
    ) -> None:
        self._path = path
        self._head = head
        self._value = value
        self._everything = everything
        self._changed: dict[Ident, None] = {}
        self._due: float | None
        self._lines: int  # records in the file
        self._live: int  # records in the file when it was new
        self._fd = -1
        self._next_fd = -1
        self._rest: Iterator[Ident] | None  # records to be written into the next file
        self._next_lines: int
        self.failure: str | None = None
        self.written = 0
        try:
            self._begin()
            self._due = None if self._rest is None else 0.0
        except OSError as error:
            self._fail(f"not written: {error.strerror}")

    @property
    def _next_path(self) -> Path:
        return self._path.with_suffix(".next")

    def note(self, now: float, idents: Iterable[Ident]) -> None:
        """Note that these records were added, changed or removed."""
        if self.failure is None:
            self._changed.update(dict.fromkeys(idents))
            if self._due is None and self._changed:
                self._due = now + FLUSH_SECONDS

    @property
    def due(self) -> float | None:
        """When flush() has something to do; None: nothing."""
        return self._due

    def flush(self, now: float) -> None:
        """Write changes that are due; a full disk stops the journal, not its owner."""
        if self.failure is not None:
            return
        try:
            self._flush()
        except OSError as error:
            self._fail(f"not written any more: {error.strerror}")
        self._due = now + FLUSH_SECONDS if self._changed or self._rest is not None else None

    def _fail(self, why: str) -> None:
        """Stop writing, and delete the file."""
        self.failure = why
        self._changed.clear()
        self._rest = self._due = None
        self.close()
        with contextlib.suppress(OSError):  # no checkpoint is better than an outdated one
            self._path.unlink()

    def _flush(self) -> None:
        idents = list(islice(self._changed, FLUSH_RECORDS))
        for ident in idents:
            del self._changed[ident]
        data = self._records(idents)
        if self._fd >= 0:  # not before the first file is complete; until then the last process's is there
            _write(self._fd, data)
            self._lines += len(idents)
        self.written += len(idents)
        if self._rest is not None:
            _write(self._next_fd, data)
            self._next_lines += len(idents)
            self._go_on()
        elif self._lines > 2 * self._live + _SLACK:
            self._begin()

    def _records(self, idents: Iterable[Ident]) -> bytes:
        return b"".join(_line([kind, ident, self._value((kind, ident))]) for kind, ident in idents)

    def _begin(self) -> None:
        """Start to write the next file."""
        self._next_fd = os.open(self._next_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write(self._next_fd, _line({"version": VERSION, **self._head}))
        idents = list(self._everything())
        self._live, self._next_lines = len(idents), 0
        self._rest = iter(idents)
        self._go_on()

    def _go_on(self) -> None:
        """Write the next slice; after the last one, replace the file."""
        assert self._rest is not None
        idents = list(islice(self._rest, FLUSH_RECORDS))
        _write(self._next_fd, self._records(idents))
        self._next_lines += len(idents)
        if len(idents) == FLUSH_RECORDS:
            return
        os.replace(self._next_path, self._path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._next_fd, self._rest = self._next_fd, -1, None
        self._lines = self._next_lines

    def close(self) -> None:
        """Stop writing, and close the files."""
        for fd in (self._fd, self._next_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._next_fd = -1


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
