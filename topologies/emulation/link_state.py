"""The state of network devices in the namespaces of a run: up or down, seen and set by ioctl."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from pathlib import Path

from hoverboard.contract.errors import HoverboardError, RunError
from topologies.namespaces.netns import entered
from topologies.processes.deadlines import wait_for

# linux/sockios.h, linux/if.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8914, 0x8915
_IFF_UP = 0x1
UP, DOWN, MISSING = "OK", "DOWN", "MISSING"
_REQUEST = struct.Struct("16sH14x")


def word(pid: int, device: str) -> str:
    """The state of a device in Mininet's words: OK, DOWN or MISSING."""
    try:
        return UP if is_up(pid, device) else DOWN
    except (HoverboardError, OSError):
        return MISSING


def is_up(pid: int, device: str) -> bool:
    """Whether a device in the network namespace of `pid` is up; RunError: there is no such device."""
    with entered(pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return bool(_flags(sock, device) & _IFF_UP)


def set_up(pid: int, device: str, up: bool) -> None:
    """Set a device in the network namespace of `pid` up or down; RunError: there is no such device."""
    with entered(pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = _flags(sock, device)
        wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, _REQUEST.pack(device.encode(), wanted))


def address(pid: int, device: str) -> str | None:
    """The first IPv4 address of a device in the network namespace of `pid`; None: it has none."""
    with entered(pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("16s24x", device.encode()))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def wait_route(pid: int, seconds: float = 2.0) -> None:
    """Wait until a VM whose NIC was set up has its default route again, which its run gives it (`guest_agent`)."""
    routes = Path(f"/proc/{pid}/net/route")
    with contextlib.suppress(RunError):  # a user may have removed the route on purpose
        wait_for(lambda: "\t00000000\t" in routes.read_text(), seconds, lambda: "no default route")


def _flags(sock: socket.socket, device: str) -> int:
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _REQUEST.pack(device.encode(), 0))
    except OSError as error:
        raise RunError(
            f"there is no device {device}: {error.strerror}", next_step="see `ip link` in the node"
        ) from None
    return int(_REQUEST.unpack(answer)[1])
