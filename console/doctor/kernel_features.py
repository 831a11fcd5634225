"""Tries out kernel features, and prints as JSON {name: "" if it works, else the reason}.

It runs as a program in a temporary network namespace: `unshare --net python kernel_features.py`. So the machine sees
nothing of what it makes, and all of it is gone when it ends. It uses the standard library only: it has to work on a
machine where nothing else does. The paper has no counterpart.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
_AF_XDP, _SOL_XDP = 44, 283
_XDP_RX_RING, _XDP_UMEM_REG, _XDP_UMEM_FILL_RING, _XDP_UMEM_COMPLETION_RING = 2, 4, 5, 6
_FRAMES, _FRAME_SIZE = 64, 2048


def _run(*argv: str) -> None:
    """Run a tool; raise OSError with its last line of output when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(lines[-1] if lines else f"{argv[0]} ended with {done.returncode}")


def _tap(name: str, offloads: int) -> None:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, array.array("i", [12]))
        fcntl.ioctl(fd, _TUNSETOFFLOAD, offloads)
    finally:
        os.close(fd)


def tun() -> None:
    """Make a tap with the segment header and TCP segmentation, as the fast path's virtual NIC."""
    _tap("p-tap", _CSUM | _TSO4 | _TSO6)


def tun_uso() -> None:
    """Make such a tap with UDP segmentation too (Linux 6.2)."""
    _tap("p-uso", _CSUM | _TSO4 | _TSO6 | _USO4 | _USO6)


def veth() -> None:
    """Make a pair of virtual Ethernet devices."""
    _run("ip", "link", "add", "p-veth", "type", "veth", "peer", "name", "p-peer")
    _run("ip", "link", "del", "p-veth")


def bridge() -> None:
    """Make a Linux bridge, as the fabric is."""
    _run("ip", "link", "add", "p-bridge", "type", "bridge")


def vxlan() -> None:
    """Make a VXLAN device."""
    _run("ip", "link", "add", "p-vxlan", "type", "vxlan", "id", "7", "dstport", "4789", "local", "127.0.0.1")


def netem() -> None:
    """Add the qdisc for delay and loss."""
    _run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    _run("tc", "qdisc", "del", "dev", "lo", "root")


def htb() -> None:
    """Add the qdisc that limits rates, with a class."""
    _run("tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb")
    _run("tc", "class", "add", "dev", "lo", "parent", "1:", "classid", "1:1", "htb", "rate", "10mbit")
    _run("tc", "qdisc", "del", "dev", "lo", "root")


def af_xdp() -> None:
    """Bind an AF_XDP socket to a veth device."""
    _run("ip", "link", "add", "p-xdp", "type", "veth", "peer", "name", "p-xdp-peer")
    _run("ip", "link", "set", "p-xdp", "up")
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(_AF_XDP, socket.SOCK_RAW, 0) as xsk, mmap.mmap(-1, _FRAMES * _FRAME_SIZE) as memory:
        view = ctypes.c_char.from_buffer(memory)
        register = struct.pack("=QQIII4x", ctypes.addressof(view), len(memory), _FRAME_SIZE, 0, 0)
        try:
            xsk.setsockopt(_SOL_XDP, _XDP_UMEM_REG, register)
            for ring in (_XDP_UMEM_FILL_RING, _XDP_UMEM_COMPLETION_RING, _XDP_RX_RING):
                xsk.setsockopt(_SOL_XDP, ring, _FRAMES)
            # Python has no sockaddr_xdp: family, flags (0: the kernel picks the mode), ifindex, queue, shared fd.
            address = struct.pack("=HHIII", _AF_XDP, 0, socket.if_nametoindex("p-xdp"), 0, 0)
            if libc.bind(xsk.fileno(), address, len(address)) != 0:
                raise OSError(os.strerror(ctypes.get_errno()))
        finally:
            del view


FEATURES: dict[str, Callable[[], None]] = {
    "tun": tun,
    "tun-uso": tun_uso,
    "veth": veth,
    "bridge": bridge,
    "vxlan": vxlan,
    "netem": netem,
    "htb": htb,
    "af-xdp": af_xdp,
}


def try_all() -> dict[str, str]:
    """Name of each feature -> "" if it works, else the reason."""
    found = {}
    for name, attempt in FEATURES.items():
        try:
            attempt()
            found[name] = ""
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            found[name] = reason.removeprefix("RTNETLINK answers: ").removeprefix("Error: ")
    return found


if __name__ == "__main__":
    json.dump(try_all(), sys.stdout)
