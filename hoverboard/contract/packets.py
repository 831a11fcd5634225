"""Bytes of packets, and values in them: addresses, MACs, the Internet checksum. Pure.

Compiled code computes checksums itself (`hoverboard/fastpath/packets/segment.py`, `geneve.py`), because Numba cannot
call this module.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


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
