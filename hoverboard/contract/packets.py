"""Bytes of packets, and values in them: addresses and their ranges, MACs, the Internet checksum. Pure.

Compiled code computes checksums itself (`hoverboard/fastpath/packets/segment.py`, `geneve.py`), because Numba cannot
call this module.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

# The ranges that no VM can have.
_RESERVED: dict[Prefix, str] = {
    IPv4Network("0.0.0.0/8"): "this network",  # RFC 1122, 3.2.1.3
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",  # RFC 3927
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved, and the broadcast address",  # RFC 1112, 4
    IPv6Network("::/64"): "unspecified, loopback and IPv4-mapped",  # RFC 4291, 2.5
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("ff00::/8"): "multicast",
}
# Neighbours of one kind as one range: 224.0.0.0/3 is not for VMs either.
_UNROUTABLE: tuple[Prefix, ...] = tuple(collapse_addresses(one for one in _RESERVED if one.version == 4)) + tuple(
    collapse_addresses(one for one in _RESERVED if one.version == 6)
)


def internet_checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum of RFC 1071 of `data`; an odd last byte counts as if a zero followed.

    Returns:
        16 bits. 0 over data that contain their own correct checksum.
    """
    # 1 << 16 is 1 in ones' complement arithmetic: the data as one number have the checksum of its words' sum.
    return checksum_of_sum(int.from_bytes(data, "big") << 8 * (len(data) & 1))


def checksum_of_sum(words: int) -> int:
    """The checksum of RFC 1071 of 16-bit words, from their sum (not folded).

    Addition modulo 0xffff is ones' complement addition. There, a sum of words that are not all zero is 0xffff, never 0.
    """
    return 0xFFFF - (words % 0xFFFF or 0xFFFF) if words else 0xFFFF


def mac_bytes(text: str) -> bytes:
    """The 6 bytes of a MAC address such as "02:00:5e:00:00:01".

    Raises:
        ValueError: it is not hexadecimal, or does not have 6 bytes.
    """
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"{text!r} is not a MAC address: 6 bytes, as in 02:00:5e:00:00:01")
    return raw


def mac_number(text: str) -> int:
    """A MAC address as the 48-bit number that OpenFlow matches and sets.

    Raises:
        ValueError: it is not hexadecimal.
    """
    return int(text.replace(":", ""), 16)


def mac_text(mac: bytes | int) -> str:
    """The text of a MAC address (6 bytes or a 48-bit number): lower case with colons."""
    return (mac.to_bytes(6, "big") if isinstance(mac, int) else mac).hex(":")


def unusable(found: Address | Prefix) -> str | None:
    """The reason why VMs cannot have an address, or addresses of a prefix; None if they can."""
    prefix = _as_prefix(found)
    for reserved, meaning in _RESERVED.items():
        if reserved.version == prefix.version and prefix.overlaps(reserved):
            return f"{found} reaches into {reserved} ({meaning}), which is not for VMs"
    return None


def unroutable(prefix: Prefix) -> str | None:
    """The reason why no route can lead to a prefix: all its addresses are unusable; None if one can.

    So 0.0.0.0/0 is a prefix for a route, and 224.0.0.0/4 is none.
    """
    for reserved in _UNROUTABLE:
        if reserved.version == prefix.version and prefix.subnet_of(reserved):  # type: ignore[arg-type]
            return f"{prefix} has no address that a packet can be routed to"
    return None


def _as_prefix(found: Address | Prefix) -> Prefix:
    if isinstance(found, IPv4Address):
        return IPv4Network(found)
    return IPv6Network(found) if isinstance(found, IPv6Address) else found
