"""IPsec ESP in tunnel mode with AES-GCM (RFC 4303, RFC 4106): bytes and keys, no policy, no I/O.

The inner IP packet becomes the payload of ESP, behind a copy of its own IP header. So the fast path still sees the two
addresses, while each byte of the original packet, header included, is encrypted and authenticated. Paper section 4.4:
"encryption (transparent, VM-VM across clusters)".

    14 Ethernet | 20 IPv4 or 40 IPv6, protocol 50 | 4 SPI | 4 sequence number | 8 IV | ciphertext | 16 tag
    ciphertext: the IP packet | 12 virtio-net header | 0-3 padding | padding's length | next header 4 or 41

The virtio-net header travels as traffic flow confidentiality padding (RFC 4303 section 2.7: bytes after the IP packet,
whose own length marks its end). So it is protected as well, and the encrypted frame needs no virtio-net header.
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hoverboard.contract.packets import checksum_of_sum, internet_checksum
from hoverboard.coprocessor.stage import PLAIN_VNET

ETHERNET, ESP_PROTOCOL = 14, 50
TAG, SALT, IV = 16, 4, 8
# With all that seal() adds (IPv6, most padding) the length still fits into the 16 bits of an IP header.
FRAME_MAX = 0xFFFF - 40 - 16 - 12 - 5 - 16
IPV4, IPV6 = 0x0800, 0x86DD
NEXT_IPV4, NEXT_IPV6 = 4, 41  # next header: IP in ESP, that is tunnel mode
_DONT_FRAGMENT = 0x4000
_CE = 3  # congestion experienced, RFC 3168
# The IP packet | what follows it; padding brings the whole to 4 bytes (RFC 4303 section 2.4).
_TRAILERS = [bytes(range(1, n + 1)) + bytes((n,)) for n in range(4)]

_ESP = struct.Struct("!IIQ")  # SPI, low half of the sequence number, IV
_AAD = struct.Struct("!IQ")  # SPI, the whole sequence number (RFC 4106 section 5, with ESN)
_IPV4_HEADER = struct.Struct("!BBHHHBBH8s")


class Cipher:
    """AES-GCM under one key: the key bytes, and the 4 bytes of salt that begin each nonce."""

    __slots__ = ("_aead", "_salt")

    def __init__(self, material: bytes) -> None:
        self._aead, self._salt = AESGCM(material[:-SALT]), material[-SALT:]

    def seal(self, spi: int, sequence: int, plain: bytearray, out: memoryview) -> None:
        """Encrypt and tag `plain`, from byte ETHERNET on, into `out`."""
        nonce = self._salt + sequence.to_bytes(IV, "big")
        self._aead.encrypt_into(nonce, memoryview(plain)[ETHERNET:], _AAD.pack(spi, sequence), out)

    def open(self, spi: int, sequence: int, sealed: memoryview, out: memoryview) -> None:
        """Decrypt `sealed` into `out`; raises cryptography.exceptions.InvalidTag if the key or the data differ."""
        nonce = self._salt + sequence.to_bytes(IV, "big")
        self._aead.decrypt_into(nonce, sealed, _AAD.pack(spi, sequence), out)


def key_material(secret: bytes, ends: bytes, spi: int, vni: int, bits: int, name: str) -> bytes:
    """The key and salt for packets from one host to another, under an SPI in a virtual network (HKDF-SHA256).

    Args:
        secret: the secret of the cluster.
        ends: addresses of sender and receiver, packed.
        spi: the SPI of the packets.
        vni: the VNI of the virtual network.
        bits: length of the AES key, 128 or 256.
        name: name of the stage. Other users of the secret have other names, so they get other keys.

    Returns:
        bits / 8 + 4 bytes, in the order of RFC 4106 section 8.1.
    """
    info = ends + struct.pack("!IIH", spi, vni, bits) + name.encode()
    return HKDF(SHA256(), bits // 8 + SALT, salt=None, info=b"hoverboard esp" + info).derive(secret)


def addresses(frame: bytearray) -> bytes:
    """Source and destination of the IP packet in an Ethernet frame, packed; b"" if it has no IP packet."""
    kind = frame[12] << 8 | frame[13] if len(frame) >= ETHERNET + 20 else 0
    if kind == IPV6:
        return bytes(frame[ETHERNET + 8 : ETHERNET + 40])
    return bytes(frame[ETHERNET + 12 : ETHERNET + 20]) if kind == IPV4 else b""


def ip_length(frame: bytearray | memoryview, at: int, available: int) -> int | None:
    """Length of the IP packet at frame[at:] if it fits into `available` bytes; None if it is not complete."""
    if available < 20:
        return None
    version = frame[at] >> 4
    if version == 4:
        length = frame[at + 2] << 8 | frame[at + 3]
        least = (frame[at] & 0xF) << 2
        return length if 20 <= least <= length <= available else None
    if version == 6 and available >= 40:
        length = 40 + (frame[at + 4] << 8 | frame[at + 5])
        return length if length <= available else None
    return None


def room(size: int, spare: bytearray | None) -> bytearray:
    """`size` bytes to be overwritten; reuses `spare` if that is about as large.

    The memory of the previous packet is still in the cache and need not be cleared.
    """
    if spare is None or len(spare) < size // 2:
        return bytearray(size)
    if len(spare) < size:
        spare += bytes(size - len(spare))
    else:
        del spare[size:]
    return spare


def seal(
    frame: bytearray, vnet: bytes, cipher: Cipher, spi: int, sequence: int, spare: bytearray | None = None
) -> bytearray | None:
    """The ESP frame of an Ethernet frame of at most FRAME_MAX bytes; None when it contains no complete IP packet.

    This changes `frame`: the trailer is written behind its IP packet. The cipher reads the bytes once and writes them
    once, into the memory of `spare`.
    """
    kind = frame[12] << 8 | frame[13] if len(frame) > ETHERNET else 0
    length = ip_length(frame, ETHERNET, len(frame) - ETHERNET)
    if length is None or kind != (IPV4 if frame[ETHERNET] >> 4 == 4 else IPV6):
        return None
    del frame[ETHERNET + length :]  # Ethernet's own padding of short frames
    if vnet != PLAIN_VNET:
        frame += vnet
    frame += _TRAILERS[-(len(frame) - ETHERNET + 2) % 4]
    v4 = kind == IPV4
    frame.append(NEXT_IPV4 if v4 else NEXT_IPV6)
    header = 20 if v4 else 40
    begin = ETHERNET + header + _ESP.size
    sealed = len(frame) - ETHERNET + TAG
    payload = _ESP.size + sealed
    out = room(begin + sealed, spare)
    out[:ETHERNET] = frame[:ETHERNET]
    if v4:
        # An atomic packet, RFC 6864: never fragmented, so its identification has no meaning.
        tos, ttl, length = frame[ETHERNET + 1], frame[ETHERNET + 8], header + payload
        addresses = bytes(frame[ETHERNET + 12 : ETHERNET + 20])
        words = (0x4500 | tos) + length + _DONT_FRAGMENT + (ttl << 8 | ESP_PROTOCOL) + int.from_bytes(addresses, "big")
        fields = (0x45, tos, length, 0, _DONT_FRAGMENT, ttl, ESP_PROTOCOL, checksum_of_sum(words), addresses)
        _IPV4_HEADER.pack_into(out, ETHERNET, *fields)
    else:
        out[ETHERNET : ETHERNET + 40] = frame[ETHERNET : ETHERNET + 40]
        out[ETHERNET + 4 : ETHERNET + 7] = payload.to_bytes(2, "big") + bytes((ESP_PROTOCOL,))
    _ESP.pack_into(out, ETHERNET + header, spi, sequence & 0xFFFFFFFF, sequence)
    cipher.seal(spi, sequence, frame, memoryview(out)[begin:])
    return out


def header_of(frame: bytearray) -> tuple[int, int, int, int] | None:
    """(SPI, sequence number, begin and end of the ciphertext) of an ESP frame.

    None for a frame of another protocol. The IV repeats the 64-bit sequence number. If its low half differs from the
    number in the header, or the frame is too short, the SPI is 0, which no host uses.
    """
    if len(frame) < ETHERNET + 20:
        return None
    kind = frame[12] << 8 | frame[13]
    if kind == IPV4:
        header, protocol = (frame[ETHERNET] & 0xF) << 2, frame[ETHERNET + 9]
    elif kind == IPV6:
        header, protocol = 40, frame[ETHERNET + 6]
    else:
        return None
    if protocol != ESP_PROTOCOL:
        return None
    length = ip_length(frame, ETHERNET, len(frame) - ETHERNET)
    if length is None or length < header + _ESP.size + 20 + TAG:
        return 0, 0, 0, 0
    spi, low, sequence = _ESP.unpack_from(frame, ETHERNET + header)
    if sequence & 0xFFFFFFFF != low:
        return 0, 0, 0, 0
    return spi, sequence, ETHERNET + header + _ESP.size, ETHERNET + length


def open_frame(
    frame: bytearray, begin: int, end: int, cipher: Cipher, spi: int, sequence: int, spare: bytearray | None = None
) -> tuple[bytearray, bytes] | None:
    """The Ethernet frame (in the memory of `spare`) and the virtio-net header that were sealed.

    Returns:
        None if the content is not in the format of seal(), or if its addresses differ from the IP header in front. Then
            the sender uses another format, or the header was changed on the way.

    Raises:
        cryptography.exceptions.InvalidTag: not sealed with this key, or changed since.
    """
    plain = end - begin - TAG
    out = room(ETHERNET + plain, spare)
    out[:ETHERNET] = frame[:ETHERNET]
    with memoryview(out) as target, memoryview(frame) as source:
        cipher.open(spi, sequence, source[begin:end], target[ETHERNET:])
    padding, next_header = out[-2], out[-1]
    v4 = next_header == NEXT_IPV4
    kind = frame[12] << 8 | frame[13]
    if kind != (IPV4 if v4 else IPV6) or not (v4 or next_header == NEXT_IPV6):
        return None
    length = ip_length(out, ETHERNET, plain - 2 - padding)
    where = slice(ETHERNET + 12, ETHERNET + 20) if v4 else slice(ETHERNET + 8, ETHERNET + 40)
    if length is None or out[ETHERNET] >> 4 != (4 if v4 else 6) or out[where] != frame[where]:
        return None
    extra = plain - 2 - padding - length
    if extra not in (0, len(PLAIN_VNET)):
        return None
    vnet = bytes(out[ETHERNET + length : ETHERNET + length + extra]) if extra else PLAIN_VNET
    del out[ETHERNET + length :]
    return (out, vnet) if _merge_congestion(out, frame, v4) else None


def _merge_congestion(inner: bytearray, outer: bytearray, v4: bool) -> bool:
    """Copy congestion marks into the inner header (RFC 6040 section 4.2); False: the packet must be dropped instead."""
    at, shift = (ETHERNET + 1, 0) if v4 else (ETHERNET + 1, 4)
    mark, own = outer[at] >> shift & 3, inner[at] >> shift & 3
    if mark != _CE or own == _CE:
        return True
    if own == 0:
        return False  # the sender does not understand marks: the loss signals the congestion
    inner[at] |= _CE << shift
    if v4:
        header = (inner[ETHERNET] & 0xF) << 2
        inner[ETHERNET + 10 : ETHERNET + 12] = bytes(2)
        value = internet_checksum(memoryview(inner)[ETHERNET : ETHERNET + header])
        inner[ETHERNET + 10 : ETHERNET + 12] = value.to_bytes(2, "big")
    return True


class ReplayWindow:
    """The received sequence numbers (RFC 4303 section 3.4.3): the highest, and a bit for each number below it."""

    __slots__ = ("_mask", "_seen", "_size", "top")

    def __init__(self, size: int, first: int) -> None:
        """Begin with `first`, the first number that was received."""
        self._size = size
        self._mask = (1 << size) - 1
        self._seen = 1
        self.top = first

    def fresh(self, sequence: int) -> bool:
        """Whether the number is new and inside the window."""
        behind = self.top - sequence
        return behind < 0 or (behind < self._size and not self._seen >> behind & 1)

    def mark(self, sequence: int) -> None:
        """Mark the number as received: call it only for packets that proved genuine."""
        behind = self.top - sequence
        if behind >= 0:
            self._seen |= 1 << behind
        elif -behind >= self._size:
            self._seen, self.top = 1, sequence
        else:
            self._seen = (self._seen << -behind | 1) & self._mask
            self.top = sequence
