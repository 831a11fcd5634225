"""Makes the network devices of a run inside their namespaces, so that none is ever visible outside.

There are taps (the ring of a virtual NIC, or the uplink of a fast-path node), veth pairs, and the bridge of the
fabric. They are made by ioctl and rtnetlink: a subprocess per device would need more time than all other parts of a
start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoverboard.contract.encapsulation import (
    FABRIC_MTU,
    GUEST_GSO_MAX,
    GUEST_MTU,
    OUTER_BYTES,
    underlay_mac,
)
from hoverboard.contract.errors import MachineError
from topologies.guests.guest_requests import GuestRequests
from topologies.guests.link_events import send
from topologies.namespaces.netns import entered as entered  # for users of this module

if TYPE_CHECKING:
    from pyroute2 import IPRoute

# linux/if_tun.h
# Packets in the queue of a tap. TCP keeps two or more segments of each connection there. With the kernel's default of
# 1000, 200 connections lose thousands of segments per second before these leave their VM.
TAP_RING = 4096
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454CB, 0x400454D0, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
VNET_HEADER_BYTES = 12  # struct virtio_net_hdr_mrg_rxbuf
GUEST_OFFLOADS = (_CSUM | _TSO4 | _TSO6 | _USO4 | _USO6, _CSUM | _TSO4 | _TSO6)  # USO: Linux 6.2

# linux/neighbour.h: an entry of the bridge that a port belongs to, which stays and does not age ("static")
_NTF_MASTER, _NUD_NOARP = 0x04, 0x40

BRIDGE_NAME = "fabric"
GUEST_DEVICE = "eth0"
UNDERLAY_PREFIX = 16  # prefix length of topology.UNDERLAY: all nodes are neighbours
# MTU of an uplink that is a device: it carries frames of VMs, and no segments.
PLAIN_MTU = GUEST_MTU + OUTER_BYTES


@contextlib.contextmanager
def netlink(pid: int) -> Iterator[IPRoute]:
    """Open rtnetlink in the network namespace of `pid`."""
    from pyroute2 import IPRoute  # its import takes 0.3 s, which every command would pay

    with entered(pid), IPRoute() as route:
        yield route


def index(route: IPRoute, name: str) -> int:
    """The index of a device; MachineError: it is gone."""
    found = route.link_lookup(ifname=name)
    if not found:
        raise MachineError(f"device {name} is gone", next_step="take the run down, then start it with `hoverboard up`")
    return int(found[0])


def open_tap(name: str, offloads: tuple[int, ...]) -> int:
    """Make a tap in the namespace of the calling thread; return its non-blocking descriptor.

    Each frame follows a virtio-net header of VNET_HEADER_BYTES.

    Args:
        name: name of the tap.
        offloads: sets of TUN_F_* flags that the reader of the descriptor supports, best first; the first one that
            the kernel supports is set.

    Raises:
        MachineError: the kernel has no taps, or rejects this one.
    """
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(
            f"cannot open /dev/net/tun: {error.strerror}", next_step="load the module: modprobe tun"
        ) from error
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_BYTES))
        # The device lives as long as its namespace: a VM keeps its NIC when a host process dies. And the kernel
        # removes the devices of a run together: one by one they take 25 ms each.
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)
        for flags in offloads:
            try:
                fcntl.ioctl(fd, _TUNSETOFFLOAD, flags)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                break
    except OSError as error:
        os.close(fd)
        raise MachineError(
            f"cannot make the tap {name}: {error.strerror}", where=name,
            next_step="run as root, outside of a restricted container",
        ) from error  # fmt: skip
    return fd


# Turns off the autoconfiguration of a VM's NIC. We add its link-local address, made from its MAC: the switch drops
# packets from other ones, and the kernel would add it only once it sees a carrier.
_GUEST_IPV6 = {
    "accept_ra": "0",
    "router_solicitations": "0",
    "autoconf": "0",
    "use_tempaddr": "0",
    "addr_gen_mode": "1",
}


def disable_ipv6() -> None:
    """Turn off IPv6 in the namespace of the calling thread: for the underlay, and for VMs without an IPv6 address."""
    for scope in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if path.exists():
            path.write_text("1")


def _prepare_guest_ipv6(ip6: IPv6Address | None) -> None:
    """Turn off IPv6, or its autoconfiguration, for the NIC that a VM gets, in the namespace of the calling thread.

    The values are for each link that gets IPv6 from now on. The NIC gets it again after its MTU was too small for it.
    """
    if ip6 is None:
        disable_ipv6()
        return
    for key, value in _GUEST_IPV6.items():
        Path(f"/proc/sys/net/ipv6/conf/default/{key}").write_text(value)


def loopback_up(pid: int) -> None:
    """Set `lo` of the namespace of `pid` up, and turn off IPv6."""
    with netlink(pid) as route:
        disable_ipv6()
        route.link("set", index=1, state="up")


def deepen(route: IPRoute, tap: str) -> None:
    """Set the queue length of a tap: unlike a real NIC, it drops packets when its queue is full."""
    route.link("set", index=index(route, tap), txqlen=TAP_RING)


def make_guest_tap(
    vm_pid: int,
    mac: str,
    ip: IPv4Address,
    gateway: IPv4Address,
    ip6: IPv6Address | None = None,
    *,
    offloads: bool = True,
) -> int:
    """Make a VM's NIC that is a tap: the VM has the netdev; return the descriptor, which is its ring.

    Args:
        vm_pid: a process in the VM's namespace.
        mac: MAC address of the NIC.
        ip: address of the VM.
        gateway: address of the VM's gateway.
        ip6: IPv6 address of the VM; None: the VM has no IPv6.
        offloads: the VM leaves checksums and segmentation to the reader of the descriptor.
    """
    with netlink(vm_pid) as route:
        _prepare_guest_ipv6(ip6)
        fd = open_tap(GUEST_DEVICE, GUEST_OFFLOADS if offloads else (0,))
        try:
            deepen(route, GUEST_DEVICE)
            _configure_guest(route, mac, ip, gateway, ip6)
        except BaseException:
            os.close(fd)
            raise
    return fd


def make_guest_veth(
    vm_pid: int,
    host_pid: int,
    port: str,
    mac: str,
    ip: IPv4Address,
    gateway: IPv4Address,
    ip6: IPv6Address | None = None,
) -> None:
    """Make a VM's NIC that is a veth pair, for Open vSwitch; the end `port` is in the host's namespace."""
    with netlink(vm_pid) as route:
        _prepare_guest_ipv6(ip6)
        _veth(route, GUEST_DEVICE, host_pid, port, PLAIN_MTU)
        _configure_guest(route, mac, ip, gateway, ip6)


def _veth(route: IPRoute, name: str, peer_pid: int, peer: str, peer_mtu: int) -> None:
    namespace = os.open(f"/proc/{peer_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        route.link("add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": namespace, "mtu": peer_mtu})
    finally:
        os.close(namespace)


def _configure_guest(route: IPRoute, mac: str, ip: IPv4Address, gateway: IPv4Address, ip6: IPv6Address | None) -> None:
    nic = index(route, GUEST_DEVICE)
    # On a current kernel gso_max_size up to 64 KiB sets gso_ipv4_max_size as well.
    route.link("set", index=1, state="up")
    route.link("set", index=nic, address=mac, mtu=GUEST_MTU, gso_max_size=GUEST_GSO_MAX, state="up")
    requests = GuestRequests.of(nic, mac, ip, gateway, ip6)
    for code in send([one for one in requests if one]):
        if code:
            raise MachineError(
                f"cannot set the addresses and routes of a VM: {os.strerror(code)}", where=str(ip),
                next_step="run as root, outside of a restricted container",
            )  # fmt: skip


def guest_index(pid: int) -> int:
    """Index of the NIC of a VM, given a process in its namespace."""
    with entered(pid):
        return socket.if_nametoindex(GUEST_DEVICE)


def share_addresses(vm_pid: int, *, add: Iterable[IPv4Address] = (), remove: Iterable[IPv4Address] = ()) -> None:
    """Add or remove addresses on `lo` of a VM: those of load balancers, which it uses but does not announce.

    An address that is there already, or is gone, is no error: users may change the VM, too.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with netlink(vm_pid) as route:
        for verb, addresses, harmless in (("add", add, errno.EEXIST), ("del", remove, errno.EADDRNOTAVAIL)):
            for address in sorted(addresses):
                try:
                    route.addr(verb, index=1, address=str(address), prefixlen=32)
                except NetlinkError as error:
                    if error.code != harmless:
                        raise MachineError(
                            f"cannot {verb} {address}: {error}", where="lo of a VM", next_step="see `hoverboard status`"
                        ) from error


def make_fabric(fabric_pid: int, bridges: Sequence[str] = (BRIDGE_NAME,)) -> None:
    """Make the fabric in its namespace: one Linux bridge, or with a WAN one per region."""
    with netlink(fabric_pid) as route:
        disable_ipv6()
        route.link("set", index=1, state="up")
        for bridge in bridges:
            route.link("add", ifname=bridge, kind="bridge", br_mcast_snooping=0)
            route.link("set", index=index(route, bridge), mtu=FABRIC_MTU, state="up")
        filtering = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if filtering.exists():
            filtering.write_text("0")


def make_uplink_tap(fabric_pid: int, port: str, address: IPv4Address, bridge: str = BRIDGE_NAME) -> int:
    """Make the uplink of a fast-path node: a tap on the fabric; return its descriptor, the node's NIC.

    Args:
        fabric_pid: a process in the fabric's namespace.
        port: name of the tap.
        address: underlay address of the node.
        bridge: the fabric's bridge that gets the tap.
    """
    with netlink(fabric_pid) as route:
        # No offloads: the kernel segments and checksums what this descriptor reads.
        fd = open_tap(port, (0,))
        try:
            deepen(route, port)
            _plug(route, port, FABRIC_MTU, address, bridge)
        except BaseException:
            os.close(fd)
            raise
    return fd


def make_uplink_veth(
    fabric_pid: int,
    port: str,
    server_pid: int,
    device: str,
    address: IPv4Address,
    own: IPv4Address | None = None,
    bridge: str = BRIDGE_NAME,
) -> None:
    """Make an uplink that is a veth pair between the fabric and `device` in the node's namespace.

    Args:
        fabric_pid: a process in the fabric's namespace.
        port: name of the end on the fabric.
        server_pid: a process in the node's namespace.
        device: name of the end in the node.
        address: underlay address of the node.
        own: underlay address for `device`; None: the bridge that `device` joins has the address.
        bridge: the fabric's bridge that gets `port`.
    """
    with netlink(fabric_pid) as route:
        _veth(route, port, server_pid, device, PLAIN_MTU)
        _plug(route, port, PLAIN_MTU, address, bridge)
    with netlink(server_pid) as route:
        uplink = index(route, device)
        if own is None:
            # The address belongs to the bridge: only the bridge may answer ARP for it, with its own MAC.
            Path(f"/proc/sys/net/ipv4/conf/{device}/arp_ignore").write_text("1")
        else:
            route.link("set", index=uplink, address=underlay_mac(own))
            route.addr("add", index=uplink, address=str(own), prefixlen=UNDERLAY_PREFIX)
        route.link("set", index=uplink, state="up")


def _plug(route: IPRoute, port: str, mtu: int, address: IPv4Address, bridge: str) -> None:
    own = index(route, port)
    route.link("set", index=own, mtu=mtu, master=index(route, bridge), state="up")
    announce(route, own, [address])


def announce(route: IPRoute, toward: int, addresses: Iterable[IPv4Address]) -> None:
    """Tell a bridge that nodes with these underlay addresses are behind its port `toward`.

    The addressing plan gives the port of each MAC: nothing is flooded, and no entry ages.
    """
    for address in addresses:
        route.fdb("append", ifindex=toward, lladdr=underlay_mac(address), flags=_NTF_MASTER, state=_NUD_NOARP)


def set_up(pid: int, name: str) -> None:
    """Set device `name` in the namespace of `pid` up."""
    with netlink(pid) as route:
        route.link("set", index=index(route, name), state="up")


def delete(pid: int, name: str) -> None:
    """Remove device `name` from the namespace of `pid`; harmless when one of them is gone."""
    with contextlib.suppress(FileNotFoundError), netlink(pid) as route:  # a killed keeper of a namespace has no /proc
        found: list[Any] = route.link_lookup(ifname=name)
        if found:
            route.link("del", index=found[0])
