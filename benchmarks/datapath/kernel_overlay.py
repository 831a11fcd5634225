"""The peer: the kernel's own overlay, VXLAN and bridges with all offloads on, in namespaces of this process.

Two hosts have two VMs each; a bridge joins the hosts, as in the testbed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from pyroute2 import IPRoute

from experiments.tools.bare_namespaces import Namespace
from hoverboard.contract.encapsulation import GUEST_MTU
from topologies.emulation.devices import disable_ipv6, netlink

_VNI, _VXLAN_PORT = 7, 4789
_UNDERLAY_MTU = GUEST_MTU + 50  # outer Ethernet, IPv4, UDP and VXLAN headers
_VMS_PER_HOST = 2


@dataclass(frozen=True, slots=True)
class KernelOverlay:
    """The VMs of two hosts: `vms[host][number]`, each with its address."""

    vms: tuple[tuple[tuple[Namespace, str], ...], ...]


@contextlib.contextmanager
def built() -> Iterator[KernelOverlay]:
    """The overlay, up inside the block.

    Raises:
        MachineError: not root, or the kernel has no namespaces.
    """
    with contextlib.ExitStack() as stack:

        def namespace(name: str) -> Namespace:
            made = Namespace(name)
            stack.callback(made.close)
            with netlink(made.pid) as route:
                disable_ipv6()
                route.link("set", index=1, state="up")
            return made

        fabric = namespace("kernel-fabric")
        with netlink(fabric.pid) as route:
            route.link("add", ifname="fabric", kind="bridge", br_mcast_snooping=0)
            _set(route, "fabric", state="up")
        hosts = []
        for number in (1, 2):
            host = namespace(f"kernel-h{number}")
            _connect(fabric, f"to-h{number}", "fabric", host, "uplink", _UNDERLAY_MTU)
            _configure_host(host, f"192.0.2.{number}", f"192.0.2.{3 - number}")
            vms = []
            for index in range(_VMS_PER_HOST):
                vm, address = namespace(f"kernel-vm{number}-{index + 1}"), f"10.0.{number}.{index + 1}"
                _connect(host, f"nic{index + 1}", "br0", vm, "eth0", GUEST_MTU)
                with netlink(vm.pid) as route:
                    route.addr("add", index=_index(route, "eth0"), address=address, prefixlen=16)
                vms.append((vm, address))
            hosts.append(tuple(vms))
        yield KernelOverlay(tuple(hosts))


def _index(route: IPRoute, name: str) -> int:
    return int(route.link_lookup(ifname=name)[0])


def _set(route: IPRoute, name: str, **attributes: object) -> None:
    route.link("set", index=_index(route, name), **attributes)


def _connect(outer: Namespace, port: str, bridge: str, inner: Namespace, device: str, mtu: int) -> None:
    """Make a veth pair, both ends up: `port` in a bridge of `outer`, `device` in `inner`."""
    with netlink(outer.pid) as route:
        if not route.link_lookup(ifname=bridge):
            route.link("add", ifname=bridge, kind="bridge", br_mcast_snooping=0)
            _set(route, bridge, state="up")
        target = os.open(f"/proc/{inner.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": device, "net_ns_fd": target, "mtu": mtu}
            route.link("add", ifname=port, kind="veth", mtu=mtu, peer=peer)
        finally:
            os.close(target)
        _set(route, port, master=_index(route, bridge), state="up")
    with netlink(inner.pid) as route:
        _set(route, device, state="up")


def _configure_host(host: Namespace, local: str, remote: str) -> None:
    with netlink(host.pid) as route:
        uplink = _index(route, "uplink")
        route.addr("add", index=uplink, address=local, prefixlen=24)
        route.link("add", ifname="br0", kind="bridge", br_mcast_snooping=0)
        route.link(
            "add", ifname="vxlan0", kind="vxlan", vxlan_id=_VNI, vxlan_port=_VXLAN_PORT, vxlan_local=local,
            vxlan_group=remote, vxlan_link=uplink, vxlan_learning=1,
        )  # fmt: skip
        _set(route, "vxlan0", mtu=GUEST_MTU, master=_index(route, "br0"), state="up")
        _set(route, "br0", state="up")
