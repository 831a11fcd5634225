"""Packets that a host sends to other hosts for itself: ARP on the fabric, and probes for the segment option.

A peer that answers a probe runs a fast path and takes whole segments. Open vSwitch does not answer, and gets packets
of MTU size (contract.encapsulation).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address

from hoverboard.contract.encapsulation import (
    GENEVE_PORT,
    GENEVE_PROTOCOL,
    OPTION_CLASS,
    PROBE_REPLY_TYPE,
    PROBE_REQUEST_TYPE,
    underlay_mac,
)
from hoverboard.contract.packets import internet_checksum, mac_bytes
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import entries, packets, ports, rings
from hoverboard.host.listeners import NO_LISTENER, PeerListener, RouteListener
from hoverboard.host.underlay.datagrams import read_datagram

_PROBES = 5  # unanswered probes, one a second, after which a peer counts as Open vSwitch
_OAM = 0x80


def probe(source: IPv4Address, target: IPv4Address, kind: int) -> bytes:
    """An Ethernet frame with a Geneve OAM packet of VNI 0 and one empty option of type `kind`."""
    geneve = struct.pack("!BBHIHBB", 1, _OAM, GENEVE_PROTOCOL, 0, OPTION_CLASS, kind, 0)
    udp = struct.pack("!HHHH", 0xC000, GENEVE_PORT, 8 + len(geneve), 0)
    length = 20 + len(udp) + len(geneve)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, source.packed, target.packed)
    ip = ip[:10] + struct.pack("!H", internet_checksum(ip)) + ip[12:]
    return mac_bytes(underlay_mac(target)) + mac_bytes(underlay_mac(source)) + b"\x08\x00" + ip + udp + geneve


def read_probe(frame: bytes) -> tuple[IPv4Address, int] | None:
    """(sender, probe type) of a Geneve OAM frame from the fabric; None for any other frame."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[14] != 0x45 or frame[23] != 17:
        return None
    options = (frame[42] & 0x3F) * 4
    if not frame[43] & _OAM or options < 4 or len(frame) < 50 + options:
        return None
    option_class, kind = struct.unpack("!HB", frame[50:53])
    if option_class != OPTION_CLASS or kind not in (PROBE_REQUEST_TYPE, PROBE_REPLY_TYPE):
        return None
    return IPv4Address(frame[26:30]), kind


def arp_reply(frame: bytes, address: IPv4Address) -> bytes | None:
    """The answer to an ARP request for our `address`; None for any other frame (RFC 826)."""
    if frame[12:22] != b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" or frame[38:42] != address.packed:
        return None
    own = mac_bytes(underlay_mac(address))
    return frame[6:12] + own + frame[12:21] + b"\x02" + own + address.packed + frame[22:32]


def announcement(address: IPv4Address) -> bytes:
    """A gratuitous ARP reply, from which a switch learns our MAC before its first packet needs it.

    Open vSwitch drops packets for which it has to ask; RFC 5227 section 3 calls this reply an announcement.
    """
    own = mac_bytes(underlay_mac(address))
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, own, address.packed, own, address.packed)
    return b"\xff" * 6 + own + b"\x08\x06" + body


class Announcements:
    """The times of announcements: each second while neighbours may still start, then every 300 seconds.

    Open vSwitch forgets a neighbour after 15 minutes.
    """

    FIRST, EVERY = 5, 300  # seconds

    def __init__(self) -> None:
        self._second = 0

    def due(self) -> bool:
        """Whether to announce now; call it once a second."""
        self._second += 1
        return self._second <= self.FIRST or self._second % self.EVERY == 0


class Peers:
    """The other hosts that this host sends to, and whether they take whole segments.

    Args:
        peers: notified of peers that are new or take segments now.
        routes: notified of datagrams of the route exchange.
    """

    def __init__(
        self,
        datapath: Datapath,
        local_ip: IPv4Address,
        *,
        peers: PeerListener = NO_LISTENER,
        routes: RouteListener = NO_LISTENER,
    ) -> None:
        self._datapath = datapath
        self._listener = peers
        self._routes = routes
        self._local_ip = local_ip
        self._index: dict[IPv4Address, int] = {}
        self._unanswered: dict[IPv4Address, int] = {}
        self._announcements = Announcements()

    def known(self) -> dict[IPv4Address, bool]:
        """All peers, and whether each takes whole segments as far as is known."""
        takes = self._datapath.egress.peers
        return {address: bool(takes[number]) for address, number in self._index.items()}

    def restore(self, peers: Mapping[IPv4Address, bool]) -> None:
        """Restore the peers of an earlier process; probe those that did not answer it, from the next second on."""
        for address, segments in peers.items():
            number = len(self._index) + 1
            if number >= entries.MAX_PEERS:
                return
            self._index[address] = number
            if segments:
                self._datapath.egress.peers[number] = 1
            else:
                self._unanswered[address] = 0

    def announce(self) -> None:
        """Announce this host's MAC on the fabric."""
        self._datapath.inject(ports.UPLINK, bytes(packets.VNET_BYTES) + announcement(self._local_ip), rings.INJECT_RAW)

    def index(self, address: IPv4Address) -> int:
        """Index of a peer in the engines' `peers` array; a new peer is probed. 0 when the array is full."""
        known = self._index.get(address)
        if known is not None:
            return known
        number = len(self._index) + 1
        if number >= entries.MAX_PEERS:
            return 0
        self._index[address] = number
        self._unanswered[address] = 0
        self._ask(address)
        self._listener.peer_changed(address)
        return number

    def every_second(self) -> None:
        """Retry the probes of peers that have not answered; announce this host when it is time."""
        if self._announcements.due():
            self.announce()
        for address, tries in list(self._unanswered.items()):
            if tries < _PROBES:
                self._ask(address)

    def handle(self, frame: bytes) -> None:
        """Handle a frame from the fabric for the host itself, with its virtio-net header."""
        ethernet = frame[packets.VNET_BYTES :]
        if (reply := arp_reply(ethernet, self._local_ip)) is not None:
            self._datapath.inject(ports.UPLINK, bytes(packets.VNET_BYTES) + reply, rings.INJECT_RAW)
        elif (datagram := read_datagram(ethernet)) is not None:
            self._routes.datagram_received(*datagram)
        elif (found := read_probe(ethernet)) is not None:
            sender, kind = found
            # A host that sends probes takes segments, too.
            number = self.index(sender)
            if number and not self._datapath.egress.peers[number]:
                self._datapath.egress.peers[number] = 1
                self._listener.peer_changed(sender)
            self._unanswered.pop(sender, None)
            if kind == PROBE_REQUEST_TYPE:
                self._send(sender, PROBE_REPLY_TYPE)

    def _ask(self, address: IPv4Address) -> None:
        self._unanswered[address] += 1
        self._send(address, PROBE_REQUEST_TYPE)

    def _send(self, address: IPv4Address, kind: int) -> None:
        self._datapath.inject(
            ports.UPLINK, bytes(packets.VNET_BYTES) + probe(self._local_ip, address, kind), rings.INJECT_RAW
        )
