"""Mininet link classes: a VM's virtual NIC and a node's uplink to the fabric.

A virtual NIC has the shape of virtio (paper section 4): the VM has a netdev, and the dataplane has the ring, a
descriptor that it receives by RPC. Where Open vSwitch forwards, the NIC is a veth pair.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

from hoverboard.contract.encapsulation import underlay_mac
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import HostClient
from topologies.emulation import devices, link_state, offloads
from topologies.emulation.mininet_classes import Intf, Link
from topologies.emulation.nodes import Fabric, Server, VirtualMachine, VMHost

_port_numbers = itertools.count(1)


class Device(Intf):
    """An interface that its link configures. Mininet would use a shell and `ifconfig`, which may be missing."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Do nothing: the link has configured the device."""
        return {}

    def status(self) -> str:
        """ "OK", "DOWN", or "MISSING" when there is no such device."""
        return link_state.word(self.node.pid, self.name)

    def isUp(self, setUp: bool = False) -> bool:
        """Whether the device is up.

        Args:
            setUp: set it up first.
        """
        if setUp:
            link_state.set_up(self.node.pid, self.name, True)
        return self.status() == link_state.UP

    def updateIP(self) -> str | None:
        """The address as it is now; the machine needs no `ifconfig`, which Mininet would use."""
        known: str | None = self.IP()
        self.ip = link_state.address(self.node.pid, self.name) or known
        return self.ip

    def updateMAC(self) -> str | None:
        """The MAC address that the run gave the device."""
        return self.mac

    def updateAddr(self) -> tuple[str | None, str | None]:
        """Both addresses."""
        return self.updateIP(), self.updateMAC()


class Ring(Device):
    """The dataplane's end of a tap: a descriptor in the host process, without a netdev."""

    def delete(self) -> None:
        """Remove the interface from its node; there is no device to remove."""
        self.node.delIntf(self)

    def status(self) -> str:
        """ "OK": the ring always works."""
        return link_state.UP

    def isUp(self, setUp: bool = False) -> bool:
        """True: the ring always works."""
        return True

    def updateIP(self) -> str | None:
        """The address that the run gave the end."""
        return self.ip


class _PlainLink(Link):
    """A link that makes its devices itself."""

    def _register(self, intf1: Intf, intf2: Intf) -> None:
        self.intf1, self.intf2 = intf1, intf2


def _ignore_move(*_args: Any) -> None:
    """Do nothing: devices are made in their namespaces, and need no move."""


class VirtualNIC(_PlainLink):
    """The NIC of `node1`, a VM, for `node2`, its host.

    The constructor makes the devices. `plug` sends the NIC to the host process, which must run by then.
    """

    def __init__(self, node1: VirtualMachine, node2: VMHost, datapath_type: str = "netdev", **_params: Any) -> None:
        self.vm, self.host = node1, node2
        self.vport: str | None = None
        self.fd: int | None = None
        self.port = f"nic{next(_port_numbers)}"
        spec = node1.spec
        generation = facts(node2.spec.dataplane)
        if generation.nic == "tap":
            self.fd = devices.make_guest_tap(
                node1.pid, spec.mac, spec.ip, spec.gateway, spec.ip6, offloads=generation.guest_offloads
            )
            end: type[Device] = Ring
        else:
            devices.make_guest_veth(node1.pid, node2.pid, self.port, spec.mac, spec.ip, spec.gateway, spec.ip6)
            devices.set_up(node2.pid, self.port)
            # A user-space switch forwards frames without completing them.
            if datapath_type == "netdev" or not generation.guest_offloads:
                offloads.disable_offloads(node1.pid, devices.GUEST_DEVICE)
            end = Device
        if spec.shared:
            devices.share_addresses(node1.pid, add=spec.shared)
        guest = Device(devices.GUEST_DEVICE, node=node1, link=self, mac=spec.mac, moveIntfFn=_ignore_move)
        guest.ip, guest.prefixLen = str(spec.ip), 32
        self._register(guest, end(self.port, node=node2, link=self, moveIntfFn=_ignore_move))

    def plug(self, client: HostClient | None = None) -> str:
        """Send the NIC to the host process; return the name of the vport.

        We keep a copy of the descriptor, for a host process that restarts.

        Args:
            client: the caller's own connection to the host process; default: the node's.
        """
        spec = self.vm.spec
        device = None if self.fd is not None else self.port
        ip6 = None if spec.ip6 is None else str(spec.ip6)
        self.vport = (client or self.host.client).attach(
            spec.name, spec.mac, str(spec.ip), fd=self.fd, device=device, network=spec.network, rate=spec.rate,
            vni=spec.vni, ip6=ip6, vport=self.vport,
        )  # fmt: skip
        return self.vport

    def unplug(self) -> None:
        """Take the NIC back from the host process, which closes its descriptor."""
        if self.vport is not None:
            self.host.client.detach(self.vm.name)
            self.vport = None

    def close(self) -> None:
        """Close our copy of the descriptor."""
        if self.fd is not None:
            fd, self.fd = self.fd, None  # first: a signal between the two would close another file of this number
            os.close(fd)

    def delete(self) -> None:
        """Unplug and remove the devices.

        They are removed even if the host process does not answer; that error is raised afterwards.
        """
        try:
            self.unplug()
        finally:
            self.close()
            devices.delete(self.vm.pid, devices.GUEST_DEVICE)
            for intf in (self.intf1, self.intf2):
                intf.node.delIntf(intf)


class Uplink(_PlainLink):
    """The link of `node1`, a host or a Hoverboard, to `node2`, the fabric.

    Args:
        bridge: the bridge of the fabric that it joins.
    """

    def __init__(
        self,
        node1: Server,
        node2: Fabric,
        bridge: str = devices.BRIDGE_NAME,
        **_params: Any,
    ) -> None:
        self.server, self.fabric, self.bridge = node1, node2, bridge
        self.fd: int | None = None
        # A device name has at most 15 characters; longer node names get a number.
        number = next(_port_numbers)
        self.port = f"to-{node1.name}" if len(node1.name) <= 12 else f"to-{number}"
        address = node1.spec.underlay_ip
        if node1.uplink_device is None:
            self.fd = devices.make_uplink_tap(node2.pid, self.port, address, bridge)
            end: Intf = Ring("uplink", node=node1, link=self, moveIntfFn=_ignore_move)
        else:
            own = address if facts(node1.spec.dataplane).addressed else None
            devices.make_uplink_veth(node2.pid, self.port, node1.pid, node1.uplink_device, address, own, bridge)
            end = Device(node1.uplink_device, node=node1, link=self, moveIntfFn=_ignore_move)
        end.mac, end.ip = underlay_mac(address), str(address)
        self._register(end, Device(self.port, node=node2, link=self, moveIntfFn=_ignore_move))

    def plug(self, client: HostClient | None = None) -> None:
        """Send the descriptor of the uplink to the host process, and keep a copy; do nothing if it is a device.

        Args:
            client: the caller's own connection to the host process; default: the node's.
        """
        if self.fd is not None:
            (client or self.server.client).set_uplink(self.fd)

    def close(self) -> None:
        """Close our copy of the descriptor."""
        if self.fd is not None:
            fd, self.fd = self.fd, None  # first: a signal between the two would close another file of this number
            os.close(fd)

    def delete(self) -> None:
        """Remove the devices."""
        self.close()
        devices.delete(self.fabric.pid, self.port)
        for intf in (self.intf1, self.intf2):
            intf.node.delIntf(intf)
