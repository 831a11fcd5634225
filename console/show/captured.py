"""Shows a capture on a terminal: tcpdump's line of each packet, with its port, its direction, and why it was dropped.

tcpdump prints neither ports nor comments of a pcapng file. So this reads the same bytes, hands them on to tcpdump, and
adds them to the line with the packet's number.
"""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import BinaryIO

_TCPDUMP = ["tcpdump", "-n", "-l", "--number", "-r", "-"]
_INTERFACE, _PACKET = 1, 6  # block types of pcapng
_COMMENT, _NAME, _FLAGS = 1, 2, 2  # option codes: of any block, of an interface, of a packet
_DIRECTIONS = {1: "in", 2: "out"}
_NUMBERED = re.compile(r"\s*(\d+)\s+(\S+) (.*)")
_SHOWN_COMMENTS = ("dropped: ", "answered by ")


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


class PacketNotes:
    """The port, direction and comment of each packet, by its number: tcpdump leaves them out."""

    def __init__(self) -> None:
        self._ports: list[str] = []
        self._notes: dict[int, tuple[str, str]] = {}
        self.packets = 0

    def read(self, block: bytes) -> None:
        """Take a whole block of a pcapng file."""
        kind = struct.unpack_from("<I", block)[0]
        body = block[8:-4]
        if kind == _INTERFACE:
            self._ports.append(dict(_options(body[8:])).get(_NAME, b"?").decode(errors="replace"))
        elif kind == _PACKET:
            interface, _high, _low, kept = struct.unpack_from("<IIII", body)
            options = dict(_options(body[20 + kept + -kept % 4 :]))
            direction = _DIRECTIONS.get(int.from_bytes(options.get(_FLAGS, b""), "little") & 3, "?")
            comment = options.get(_COMMENT, b"").decode(errors="replace")
            self.packets += 1
            self._notes[self.packets] = f"{self._ports[interface]} {direction}", comment

    def line(self, shown: str) -> str:
        """A line of `tcpdump --number`, with the notes of its packet in place of the number."""
        found = _NUMBERED.fullmatch(shown)
        note = self._notes.pop(int(found[1]), None) if found is not None else None
        if found is None or note is None:
            return shown  # a further line of the packet before
        where, comment = note
        end = f"  [{comment}]" if comment.startswith(_SHOWN_COMMENTS) else ""
        return f"{found[2]} {where} {found[3]}{end}"


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The blocks of a pcapng stream, each as soon as it is there whole."""
    while len(head := stream.read(8)) == 8:
        rest = stream.read(struct.unpack_from("<I", head, 4)[0] - 8)
        yield head + rest


class ShownCapture:
    """A tcpdump that shows a capture while it is written.

    Args:
        show: prints a line; OSError if it has no reader any more.

    Raises:
        FileNotFoundError: tcpdump is not installed.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        # Its own session keeps Ctrl-C away from it: it shows all that was captured, and then ends.
        self._tcpdump = subprocess.Popen(
            _TCPDUMP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._notes = PacketNotes()
        self._show = show
        self.unread = False  # the lines have no reader any more

    def feed(self, stream: BinaryIO) -> None:
        """Hand a pcapng stream on to tcpdump, until it ends or the lines have no reader any more."""
        assert self._tcpdump.stdin is not None
        with stream, contextlib.suppress(BrokenPipeError):
            for block in blocks(stream):
                self._notes.read(block)
                self._tcpdump.stdin.write(block)
                self._tcpdump.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._tcpdump.stdin.close()

    def print_lines(self) -> None:
        """Print the lines, until tcpdump ends."""
        assert self._tcpdump.stdout is not None
        try:
            for line in self._tcpdump.stdout:
                self._show(self._notes.line(line.decode(errors="replace").rstrip("\n")))
        except OSError:
            self.unread = True
            self._tcpdump.terminate()

    def end(self) -> str:
        """Wait for the end of tcpdump; return its last words if it failed."""
        with self._tcpdump as tcpdump:
            assert tcpdump.stderr is not None
            words = tcpdump.stderr.read().decode(errors="replace").strip().splitlines()
        return words[-1] if tcpdump.returncode and words and not self.unread else ""
