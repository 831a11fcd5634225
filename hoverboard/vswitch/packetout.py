"""Sends a packet through a switch's tables, as if it had come in by a port (OFPT_PACKET_OUT to OFPP_TABLE).

So a packet that only the fast path has seen reaches the controller: the real switch's own flow makes a real packet-in
of it. Uses one connection to the bridge's management socket, which stays open. No call blocks for longer than
_PATIENCE.
"""

from __future__ import annotations

import contextlib
import socket
import struct

_VERSION = 5  # OpenFlow 1.4 on the wire
_HEADER = struct.Struct("!BBHI")
_HELLO, _ECHO_REQUEST, _ECHO_REPLY, _PACKET_OUT = 0, 2, 3, 13
_NO_BUFFER, _TO_TABLE = 0xFFFFFFFF, 0xFFFFFFF9
_PATIENCE = 0.05  # seconds; the buffer holds hundreds of packets, so that only a stopped switch costs this time
_OUTPUT = struct.Struct("!HHIH6x")  # OFPAT_OUTPUT, length, port, max_len


def packet_out(xid: int, in_port: int, frame: bytes) -> bytes:
    """The message that looks `frame` up as if it came from `in_port`."""
    action = _OUTPUT.pack(0, _OUTPUT.size, _TO_TABLE, 0)
    body = struct.pack("!IIH6x", _NO_BUFFER, in_port, len(action)) + action + frame
    return _HEADER.pack(_VERSION, _PACKET_OUT, _HEADER.size + len(body), xid) + body


class PacketOut:
    """A connection to one bridge.

    Args:
        path: of the bridge's management socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._pending = bytearray()
        self._xid = 0

    def send(self, in_port: int, frame: bytes) -> bool:
        """Send a packet through the tables; False if the switch does not take it now."""
        for _ in range(2):
            if self._socket is None and not self._connect():
                return False
            self._xid = (self._xid + 1) & 0xFFFFFFFF
            try:
                self._drain()
                assert self._socket is not None
                self._socket.sendall(packet_out(self._xid, in_port, frame))
                return True
            except TimeoutError:
                self.close()  # the switch does not read; half a message must not stay before the next one
                return False
            except OSError:
                self.close()  # the switch has restarted: one more try, on a new connection
        return False

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
        self._pending.clear()

    def _connect(self) -> bool:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(self._path)
            made.sendall(_HEADER.pack(_VERSION, _HELLO, _HEADER.size, 0))
        except OSError:
            made.close()
            return False
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket = made
        return True

    def _drain(self) -> None:
        """Read what the switch sent, and answer its echo requests. Leaves the socket with a timeout of _PATIENCE."""
        assert self._socket is not None
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise ConnectionError("the switch closed the connection")
                self._pending += data
        self._socket.settimeout(_PATIENCE)
        while len(self._pending) >= _HEADER.size:
            _, kind, length, xid = _HEADER.unpack_from(self._pending)
            if length < _HEADER.size or len(self._pending) < length:
                return
            body = bytes(self._pending[_HEADER.size : length])
            del self._pending[:length]
            if kind == _ECHO_REQUEST:
                self._socket.sendall(_HEADER.pack(_VERSION, _ECHO_REPLY, length, xid) + body)
