"""The rtnetlink requests for addresses and routes of a VM's NIC: sent when it is made, and when its link comes back.

They are bytes, because a VM that has lost its route should have it again before the user's next command runs. pyroute2
needs a socket for each request that it only encodes.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, link_local
from hoverboard.contract.packets import Address
from topologies.namespaces import rtnetlink
from topologies.namespaces.rtnetlink import attribute, message, number

_FLAGS = rtnetlink.REQUEST | rtnetlink.ACK | rtnetlink.EXCL | rtnetlink.CREATE
# linux/if_addr.h, linux/rtnetlink.h
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_NO_DAD = 0x02  # IFA_F_NODAD: no other VM can have the address
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN, _STATIC, _UNICAST = 254, 4, 1
_UNIVERSE, _ON_LINK = 0, 253
_ADDRESS, _ROUTE = struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")


class GuestRequests(NamedTuple):
    """The requests of one VM.

    Attributes:
        ipv4: for its IPv4 address and routes.
        ipv6: the same for IPv6; empty for a VM without it.
    """

    ipv4: bytes
    ipv6: bytes

    @classmethod
    def of(cls, index: int, mac: str, ip: IPv4Address, gateway: IPv4Address, ip6: IPv6Address | None) -> GuestRequests:
        """The requests for the NIC with this index.

        As on GCP, an address is a /32 or a /128, and the gateway is the only neighbour.
        """
        ipv4 = _address(index, ip, 32) + _route(index, gateway, via=None) + _route(index, None, via=gateway)
        if ip6 is None:
            return cls(ipv4, b"")
        addresses = _address(index, link_local(mac), 64) + _address(index, ip6, 128)
        return cls(ipv4, addresses + _route(index, None, via=GATEWAY_LINK_LOCAL))


def _address(index: int, address: Address, length: int) -> bytes:
    body = _ADDRESS.pack(_family(address), length, 0, _UNIVERSE, index)
    body += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    if address.version == 6:
        body += attribute(_IFA_FLAGS, number(_NO_DAD))
    return message(rtnetlink.NEWADDR, body, _FLAGS)


def _route(index: int, to: Address | None, via: Address | None) -> bytes:
    """A route to one neighbour on the link, or the default route by a gateway."""
    known = to or via
    assert known is not None
    length, scope = (0, _UNIVERSE) if to is None else (to.max_prefixlen, _ON_LINK)
    body = _ROUTE.pack(_family(known), length, 0, 0, _MAIN, _STATIC, scope, _UNICAST, 0)
    if to is not None:
        body += attribute(_RTA_DST, to.packed)
    body += attribute(_RTA_OIF, number(index))
    if via is not None:
        body += attribute(_RTA_GATEWAY, via.packed)
    return message(rtnetlink.NEWROUTE, body, _FLAGS)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
