"""Addresses and encapsulation of the overlay: the frame on the wire between two hosts.

The paper encapsulates in GRE (figures 6 and 7). Hoverboard uses Geneve (RFC 8926), which Open vSwitch supports, so
that every generation of the dataplane interoperates. Two options are Hoverboard's own:

- The *segment option* carries a frame's virtio-net header. So a 64 KB TCP segment crosses the fabric whole
  and without a checksum, as it would cross a NIC with segmentation offload.
- The *probe option*, in a Geneve OAM packet of VNI 0, asks a peer whether it understands the segment option. Open
  vSwitch does not answer. A peer that never answers gets MTU-sized packets with checksums.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hoverboard.contract.packets import mac_bytes, mac_text

GENEVE_PORT = 6081
ROUTES_PORT = 6082  # UDP: hosts ask Hoverboards for routes here (hoverboard.host.underlay.learned_routes); ours
GENEVE_PROTOCOL = 0x6558  # Ethernet payload ("transparent Ethernet bridging")

# Outer Ethernet 14 + IPv4 20 + UDP 8 + Geneve 8; the segment option adds 4 + 12.
OUTER_BYTES = 50
SEGMENT_OPTION_BYTES = 16

# Geneve option classes 0x0100-0xFEFF are assigned by IANA; 0xFF00-0xFFFF are for experiments.
OPTION_CLASS = 0xFF48
SEGMENT_OPTION_TYPE = 0x01  # not critical: the top bit is clear; data is a 12-byte virtio-net header
PROBE_REQUEST_TYPE = 0x02  # data: none
PROBE_REPLY_TYPE = 0x03  # data: none

# The VM's MTU, so that a plain encapsulated frame fits a 1500-byte underlay (GCP uses 1460).
GUEST_MTU = 1450
# A tap's MTU ends at 65521, and a 64,000-byte segment with its encapsulation must fit below it.
FABRIC_MTU = 65521
GUEST_GSO_MAX = 64000

# Every virtual network's gateway has this MAC; it exists only in the virtual switch's replies.
GATEWAY_MAC = "02:00:5e:00:00:01"
# For VMs with an IPv6 address, the gateway also has this link-local address (as in GCP, a VM's route goes over it).
GATEWAY_LINK_LOCAL = IPv6Address("fe80::1")


def underlay_mac(address: str | IPv4Address) -> str:
    """MAC of the NIC that has an underlay IPv4 `address` (the fabric's addressing plan).

    Locally administered, 02:fa then the four bytes of the address, so that a host can write an
    outer Ethernet header without ARP. Hosts answer ARP for it all the same, because Open vSwitch asks.
    """
    return mac_text(b"\x02\xfa" + IPv4Address(address).packed)


def datapath_id(address: str | IPv4Address) -> int:
    """OpenFlow datapath id of the switch on the node with this underlay address."""
    return int(IPv4Address(address))


def guest_mac(vni: int, address: str | IPv4Address) -> str:
    """Default MAC of a VM: 06, the low byte of the VNI, then its IPv4 address.

    Two networks may share the low byte. This is harmless, because MACs never leave a virtual network.
    """
    return mac_text(bytes((0x06, vni & 0xFF)) + IPv4Address(address).packed)


def link_local(mac: str) -> IPv6Address:
    """The link-local address of a NIC with this MAC (RFC 4291, appendix A: modified EUI-64)."""
    raw = mac_bytes(mac)
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 0x02]) + raw[1:3] + b"\xff\xfe" + raw[3:])
