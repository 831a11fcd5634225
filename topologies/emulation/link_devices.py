"""Makes the two devices of an emulated link in the namespace of the fabric, and puts an uplink behind such a link.

The devices are a veth pair, or two taps whose packets the link element carries. A tap takes whole what the fabric
carries, up to 64 KB. A packet socket would cut what the kernel has encapsulated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from hoverboard.contract.encapsulation import FABRIC_MTU
from topologies.emulation import devices

if TYPE_CHECKING:
    from pyroute2 import IPRoute


class End(NamedTuple):
    """One end of a link: a device, the bridge that it is a port of, and the nodes that are reached through it."""

    device: str
    bridge: str
    nodes: tuple[IPv4Address, ...] = ()


def make_pair(fabric_pid: int, near: End, far: End, *, taps: bool) -> tuple[int, int] | None:
    """Make the devices of a link; return the descriptors of the taps, None of a veth pair.

    Args:
        fabric_pid: a process in the fabric's namespace.
        near: one end; its bridge exists.
        far: the other end.
        taps: make two taps, whose packets the link element carries; else a veth pair.
    """
    fds: list[int] = []
    with devices.netlink(fabric_pid) as route:
        try:
            if taps:
                # No offloads: the kernel segments and checksums what the element reads.
                fds = [devices.open_tap(end.device, (0,)) for end in (near, far)]
            else:
                route.link("add", ifname=near.device, kind="veth", peer={"ifname": far.device})
            for end in (near, far):
                if taps:
                    devices.deepen(route, end.device)
                _join(route, end.device, end.bridge, end.nodes)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
    return (fds[0], fds[1]) if fds else None


def remove_pair(fabric_pid: int, near: End, far: End) -> None:
    """Remove the devices of a link; harmless when they are gone."""
    for end in (near, far):
        devices.delete(fabric_pid, end.device)


def make_bridge(fabric_pid: int, bridge: str) -> None:
    """Make the bridge that joins an uplink with its link, unless it is there."""
    with devices.netlink(fabric_pid) as route:
        if not route.link_lookup(ifname=bridge):
            route.link("add", ifname=bridge, kind="bridge", br_mcast_snooping=0)
            route.link("set", index=devices.index(route, bridge), mtu=FABRIC_MTU, state="up")


def move(fabric_pid: int, port: str, bridge: str, nodes: Iterable[IPv4Address] = ()) -> None:
    """Make a device a port of another bridge, on which `nodes` are reached through it; the old one forgets it."""
    with devices.netlink(fabric_pid) as route:
        index = devices.index(route, port)
        route.link("set", index=index, master=devices.index(route, bridge))
        devices.announce(route, index, nodes)


def _join(route: IPRoute, device: str, bridge: str, nodes: Iterable[IPv4Address]) -> None:
    index = devices.index(route, device)
    route.link("set", index=index, mtu=FABRIC_MTU, master=devices.index(route, bridge), state="up")
    devices.announce(route, index, nodes)
