"""Turns off offloads of devices, by ioctl as `ethtool -K` does."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct

from hoverboard.contract.errors import MachineError
from topologies.namespaces.netns import entered

# linux/ethtool.h, linux/sockios.h
_SIOCETHTOOL = 0x8946
_ETHTOOL_SETTERS = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}


def disable_offloads(pid: int, name: str, features: tuple[str, ...] = ("tx", "sg", "tso", "gso")) -> None:
    """Turn off offloads of a device, as `ethtool -K` does.

    A user-space switch forwards frames without completing them: with offloads left on, ping works and TCP hangs.
    """
    with entered(pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for feature in features:
            value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_SETTERS[feature], 0))
            request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(sock, _SIOCETHTOOL, request)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise MachineError(
                        f"cannot turn off {feature}: {error.strerror}", where=name,
                        next_step="run as root, outside of a restricted container",
                    ) from error  # fmt: skip
