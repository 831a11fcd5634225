"""The question about a missed packet: a flow as `ofproto/trace` reads it (paper 3.2).

A flow key holds most fields. The others (TTL, the content of ARP and neighbour discovery) are read from the packet's
own headers. Pure.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from hoverboard.contract.packets import Address, mac_text
from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.fastpath.packets.parse import ETH_ARP, ETH_IPV4, ETH_IPV6

_PORT_FIELDS = {6: "tcp", 17: "udp"}
_MASK32, _MASK64 = 0xFFFFFFFF, (1 << 64) - 1


@lru_cache(maxsize=1024)  # asked three times for each miss; the entries of a pair of VMs share the two objects
def addresses(key: Key) -> tuple[Address, Address] | None:
    """(source, destination) in a flow key; None if it is not IP."""
    kind = key[0] >> 32 & 0xFFFF
    if kind == ETH_IPV4:
        return IPv4Address(key[4] >> 32 & _MASK32), IPv4Address(key[4] & _MASK32)
    if kind == ETH_IPV6:
        words = [word & _MASK64 for word in key[4:8]]
        return IPv6Address(words[0] << 64 | words[1]), IPv6Address(words[2] << 64 | words[3])
    return None


def question_for(key: Key, ports: int, inner: bytes, local_ip: IPv4Address) -> str:
    """The flow for `ofproto/trace`: a packet with 3-tuple `key`, transport `ports` and headers `inner`."""
    kind = key[0] >> 32 & 0xFFFF
    fields = [f"in_port={key[0] >> 48 & 0xFFFF}"]
    if key[1]:
        fields += [
            f"tun_id={key[1] & 0xFFFFFF:#x}",
            f"tun_src={IPv4Address(key[1] >> 32 & _MASK32)}",
            f"tun_dst={local_ip}",
        ]
    fields += [f"dl_src={mac_text(key[2])}", f"dl_dst={mac_text(key[3])}"]
    found = addresses(key)
    if kind == ETH_ARP and len(inner) >= 42:
        op, sha, spa, tha, tpa = struct.unpack("!H6s4s6s4s", inner[20:42])
        fields += [
            "arp", f"arp_op={op}", f"arp_sha={mac_text(sha)}", f"arp_tha={mac_text(tha)}",
            f"arp_spa={IPv4Address(spa)}", f"arp_tpa={IPv4Address(tpa)}",
        ]  # fmt: skip
    elif found is None:
        fields.append(f"dl_type={kind:#06x}" if kind >= 0x0600 else "dl_type=0x05ff")
    else:
        proto, frag = key[0] >> 24 & 0xFF, key[0] >> 2 & 3
        names, hops = (("ip", "nw_src", "nw_dst"), 22) if kind == ETH_IPV4 else (("ipv6", "ipv6_src", "ipv6_dst"), 21)
        fields += [
            names[0], f"nw_proto={proto}", f"{names[1]}={found[0]}", f"{names[2]}={found[1]}",
            f"nw_ecn={key[0] >> 4 & 3}", f"nw_ttl={inner[hops]}",
        ]  # fmt: skip
        if frag:
            fields.append("nw_frag=" + ("first" if frag == 1 else "later"))
        else:
            fields += _transport_fields(proto, ports, inner)
    return ",".join(fields)


def _transport_fields(proto: int, ports: int, inner: bytes) -> list[str]:
    first, second = ports >> 16 & 0xFFFF, ports & 0xFFFF
    if proto in _PORT_FIELDS:
        # vswitchd names TCP's port alone "tp_src"
        return [f"{_PORT_FIELDS[proto]}_src={first}", f"{_PORT_FIELDS[proto]}_dst={second}"]
    if proto == 1:
        return [f"icmp_type={first}", f"icmp_code={second}"]
    if proto == 58:
        return [f"icmpv6_type={first}", f"icmpv6_code={second}", *_discovery_fields(first, inner)]
    return []


def _discovery_fields(kind: int, inner: bytes) -> list[str]:
    """Target and first option of a neighbour solicitation or advertisement (RFC 4861) without extension headers."""
    if kind not in (135, 136) or len(inner) < 78 or inner[20] != 58:
        return []
    fields = [f"nd_target={IPv6Address(inner[62:78])}"]
    if len(inner) >= 86 and inner[79:80] == b"\x01" and inner[78] == kind - 134:
        fields.append(f"nd_{'sll' if kind == 135 else 'tll'}={mac_text(inner[80:86])}")
    return fields
