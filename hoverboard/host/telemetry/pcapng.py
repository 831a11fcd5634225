"""Writes pcapng (draft-ietf-opsawg-pcapng): packets with interface, direction, time in ns and a comment.

Only what a capture needs: one section, interfaces as they appear, enhanced packets, interface statistics.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_ETHERNET = 1
_COMMENT, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _EPB_FLAGS, _ISB_RECEIVED, _ISB_DROPPED = 1, 2, 3, 9, 2, 4, 5
_APPLICATION = 4
_NANOSECONDS = 9  # if_tsresol: 10^-9
INBOUND, OUTBOUND = 1, 2  # epb_flags


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes, *options: bytes) -> bytes:
    if options:
        body += b"".join(options) + _option(0, b"")
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _time(ns: int) -> bytes:
    return struct.pack("<II", ns >> 32, ns & 0xFFFFFFFF)


class Writer:
    """Writes one capture into one open file, which the caller closes.

    Args:
        snap: most bytes kept of a packet.
        application: name of the program that writes it.
    """

    def __init__(self, file: BinaryIO, *, snap: int, application: str) -> None:
        self._file = file
        self._snap = snap
        self._interfaces: dict[str, int] = {}
        body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        file.write(_block(_SECTION, body, _option(_APPLICATION, application.encode())))

    def interface(self, name: str, description: str) -> int:
        """The number of the interface with that name; writes its description at the first call."""
        if name not in self._interfaces:
            self._interfaces[name] = len(self._interfaces)
            options = [_option(_IF_NAME, name.encode()), _option(_IF_DESCRIPTION, description.encode())]
            options.append(_option(_IF_TSRESOL, bytes([_NANOSECONDS])))
            self._file.write(_block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, self._snap), *options))
        return self._interfaces[name]

    def packet(self, interface: int, ns: int, data: bytes, length: int, direction: int, comment: str = "") -> None:
        """Write one packet.

        Args:
            interface: its number, from `interface`.
            ns: nanoseconds since 1970.
            data: the frame, or its first bytes.
            length: bytes of the frame on the wire.
            direction: INBOUND or OUTBOUND.
            comment: shown with the packet; "": none.
        """
        body = struct.pack("<I", interface) + _time(ns) + struct.pack("<II", len(data), length)
        options = [_option(_EPB_FLAGS, struct.pack("<I", direction))]
        if comment:
            options.append(_option(_COMMENT, comment.encode()))
        self._file.write(_block(_PACKET, body + data + bytes(-len(data) % 4), *options))

    def statistics(self, interface: int, ns: int, received: int, dropped: int) -> None:
        """Write how many packets an interface had, and how many of them are not in the file."""
        options = [
            _option(_ISB_RECEIVED, struct.pack("<Q", received)),
            _option(_ISB_DROPPED, struct.pack("<Q", dropped)),
        ]
        self._file.write(_block(_STATISTICS, struct.pack("<I", interface) + _time(ns), *options))
