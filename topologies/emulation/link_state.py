"""The state of network devices in the namespaces of a run: up or down, seen and set by ioctl.

A VM whose NIC goes down loses its routes and its IPv6 addresses in the kernel. `restore_guest` gives them back.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, link_local
from hoverboard.contract.errors import HoverboardError, RunError
from topologies.emulation.devices import GUEST_DEVICE, netlink
from topologies.processes.netns import entered

# linux/sockios.h, linux/if.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8914, 0x8915
_IFF_UP = 0x1
UP, DOWN, MISSING = "OK", "DOWN", "MISSING"
_NO_DAD = 0x02  # IFA_F_NODAD: no other VM can have the address
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


def restore_guest(pid: int, mac: str, ip: IPv4Address, gateway: IPv4Address, ip6: IPv6Address | None = None) -> None:
    """Give a VM whose NIC came up again the addresses and routes that it had at first; harmless when it has them."""
    with netlink(pid) as route:
        index = route.link_lookup(ifname=GUEST_DEVICE)[0]
        route.addr("replace", index=index, address=str(ip), prefixlen=32)
        route.route("replace", dst=f"{gateway}/32", oif=index, scope=253)  # RT_SCOPE_LINK
        route.route("replace", dst="0.0.0.0/0", gateway=str(gateway), oif=index)
        if ip6 is not None:
            for address, length in ((link_local(mac), 64), (ip6, 128)):
                route.addr(
                    "replace",
                    index=index,
                    family=socket.AF_INET6,
                    address=str(address),
                    prefixlen=length,
                    flags=_NO_DAD,
                )
            route.route("replace", family=socket.AF_INET6, dst="::/0", gateway=str(GATEWAY_LINK_LOCAL), oif=index)


def _flags(sock: socket.socket, device: str) -> int:
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _REQUEST.pack(device.encode(), 0))
    except OSError as error:
        raise RunError(
            f"there is no device {device}: {error.strerror}", next_step="see `ip link` in the node"
        ) from None
    return int(_REQUEST.unpack(answer)[1])
