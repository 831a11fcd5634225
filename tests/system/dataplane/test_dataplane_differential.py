"""The same random packets through real Open vSwitch and through the fast path, on the same OpenFlow program.

Two runs of one topology, one a generation: addresses, MACs and flows are the same, so the same bytes go in, and
what comes out is compared byte for byte: at each VM's NIC, and on the fabric where h1 speaks. A packet that is
seen nowhere was dropped by both.

Differences that are meant, each with its reason, are in `meant()`.
"""

from __future__ import annotations

import random
import select
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ipaddress import IPv6Address

import pytest

from hoverboard.contract.encapsulation import GATEWAY_MAC, underlay_mac
from hoverboard.contract.packets import internet_checksum, mac_bytes
from tests.system.dataplane.dataplane_rig import ETH_P_ALL, PACKET_OUTGOING, ping, socket_in, vm_of, wires
from tests.system.dataplane.frames import datagram, ethernet, geneve, ipv4, outer
from tests.waiting import until
from topologies.emulation.devices import BRIDGE_NAME
from topologies.run.testbed import Testbed
from topologies.spec import schema

pytestmark = pytest.mark.timeout(200)

BLUE = 7
MARKER = 16  # bytes at the end of each packet that tell it from all others
BURST = 16  # sent together; then it is awaited that they are through
OWN, LOCAL_NEIGHBOUR, REMOTE_NEIGHBOUR, NOBODY = "10.0.0.2", "10.0.0.4", "10.0.0.3", "10.0.0.99"
OWN6, LOCAL_NEIGHBOUR6, REMOTE_NEIGHBOUR6, NOBODY6 = "fd00:7::2", "fd00:7::4", "fd00:7::3", "fd00:7::99"
TOPOLOGY = {
    "name": "dual",
    "hosts": 2,
    "hoverboards": 1,
    "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "subnet6": "fd00:7::/64", "vms": 4}],
}
HEADERS, HEADERS6 = 42, 62  # bytes of an inner frame that are bent
QUIET = 0.12  # seconds without a packet after the last one
SIXES, PACKETS = 240, 480  # the first are IPv6, the others IPv4
# An unknown critical option (RFC 8926 3.5) comes last: Open vSwitch 3.1 drops such a packet by a megaflow that
# matches any other packet of the tunnel's sender and VNI, options or none. The fast path drops that packet alone.
CRITICAL = struct.pack("!HBB", 0x0101, 0x81, 0)
CRITICAL_FROM = 464
TRANSPORT = {6: 20, 17: 8, 1: 4, 58: 4}  # the least that these protocols' headers have
ABOUT = 15  # bytes that tell of the outer headers
Seen = dict[int, set[tuple[str, bytes]]]


def marker(number: int) -> bytes:
    return b"differential" + number.to_bytes(4, "big")


def transport(dice: random.Random, data: bytes) -> tuple[int, bytes]:
    """A random protocol and its packet, which ends with `data`."""
    kind = dice.choice(("udp", "udp", "tcp", "icmp", "gre", "short udp", "short tcp"))
    port = dice.choice((9, 80, 6081, 40_000))
    if kind == "udp":
        return 17, datagram(port, data)
    if kind == "tcp":
        words = dice.choice((5, 5, 8, 15, 3))
        return 6, struct.pack("!HHIIBBHHH", 5, port, 1, 1, words << 4, 2, 100, 0, 0) + b"\x01" * 12 + data
    if kind == "icmp":
        body = struct.pack("!BBHHH", dice.choice((8, 0, 3, 11)), 0, 0, 1, 1) + data
        return 1, body[:2] + struct.pack("!H", internet_checksum(body)) + body[4:]
    if kind == "short udp":
        return 17, data[:7]  # and the marker in the padding
    return (6, data) if kind == "short tcp" else (47, data)


def padding(body: bytes, number: int) -> bytes:
    """Behind the IP packet, if the marker found no room in it."""
    return b"" if body.endswith(marker(number)) else bytes(4) + marker(number)


def from_blue_1(dice: random.Random, own: str, number: int) -> bytes:
    """A packet of blue-1: well-formed three times in five, else bent in its headers."""
    protocol, body = transport(dice, bytes(dice.randrange(7, 40)) + marker(number))
    src = OWN if dice.random() < 0.85 else NOBODY
    packet = bytearray(ipv4(src, dice.choice((LOCAL_NEIGHBOUR, REMOTE_NEIGHBOUR, REMOTE_NEIGHBOUR, NOBODY)),
                            protocol, body))  # fmt: skip
    packet[1] = dice.choice((0, 0, 1, 2, 3, 0xB8))
    packet[8] = dice.choice((64, 64, 1, 0, 255))
    packet[6:8] = struct.pack("!H", dice.choice((0, 0x4000, 0x4000, 0, 0x2000, 0x2001, 3, 0x8000)))
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", internet_checksum(bytes(packet[:20])))
    frame = bytearray(ethernet(GATEWAY_MAC, own, 0x0800, bytes(packet) + padding(body, number)))
    if dice.random() < 0.1:
        frame[:6] = bytes.fromhex(dice.choice(("ffffffffffff", "0200000000ff", "06070a000003")))
    if dice.random() < 0.4:
        frame[dice.randrange(HEADERS)] = dice.randrange(256)
    return bytes(frame)


def from_the_fabric(dice: random.Random, bed: Testbed, number: int) -> bytes:
    """A packet to h1 that says it comes from h2."""
    one, two = (server.underlay_ip for server in bed.topology.hosts)
    protocol, body = transport(dice, bytes(dice.randrange(7, 40)) + marker(number))
    packet = ipv4(REMOTE_NEIGHBOUR, dice.choice((OWN, OWN, LOCAL_NEIGHBOUR, NOBODY, REMOTE_NEIGHBOUR)), protocol, body)
    inner = bytearray(ethernet(GATEWAY_MAC, vm_of(bed, "blue-2").mac, 0x0800, packet + padding(body, number)))
    if dice.random() < 0.4:
        inner[dice.randrange(HEADERS)] = dice.randrange(256)
    strange = struct.pack("!HBB", 0x0101, 1, 1) + bytes(4)
    options = CRITICAL if number >= CRITICAL_FROM else dice.choice((b"", b"", strange, strange + strange))
    vni = dice.choice((BLUE, BLUE, BLUE, BLUE, 8, 999, 0))
    return outer(two, one, geneve(vni, bytes(inner), version=dice.choice((0,) * 9 + (1,)), options=options),
                 port=dice.choice((6081,) * 9 + (4789,)))  # fmt: skip


def extended(dice: random.Random, protocol: int, body: bytes) -> tuple[int, bytes]:
    """The packet behind none, one or two extension headers of IPv6 (RFC 8200)."""
    for _ in range(dice.choice((0, 0, 0, 1, 2))):
        kind = dice.choice((0, 43, 60, 44, 44))
        if kind == 44:
            body = struct.pack("!BBHI", protocol, 0, dice.choice((0, 0, 1, 8, 9)), 7) + body
        else:
            body = struct.pack("!BBBB", protocol, dice.choice((0, 0, 0, 1, 200)), 1, 4) + bytes(4) + body
        protocol = kind
    return protocol, body


def ipv6(dice: random.Random, src: str, dst: str, number: int) -> bytes:
    """An IPv6 packet with a random transport, and what stands behind it."""
    protocol, body = transport(dice, bytes(dice.randrange(7, 40)) + marker(number))
    if protocol == 1:
        protocol, body = 58, bytes([dice.choice((128, 129, 1, 3))]) + body[1:]
    behind = padding(body, number)
    protocol, body = extended(dice, protocol, body)
    first = 6 << 28 | dice.choice((0, 0, 1, 2, 3, 0xB8)) << 20 | dice.choice((0, 0, 0xBEEF))
    size = len(body) if dice.random() < 0.9 else dice.choice((0, len(body) // 2, len(body) + 9))
    head = struct.pack("!IHBB", first, size, protocol, dice.choice((64, 64, 1, 0, 255)))
    return head + IPv6Address(src).packed + IPv6Address(dst).packed + body + behind


def bent(dice: random.Random, frame: bytes) -> bytes:
    """Two frames in five have another byte somewhere in their headers."""
    if dice.random() >= 0.4:
        return frame
    at = dice.randrange(HEADERS6)
    return frame[:at] + bytes([dice.randrange(256)]) + frame[at + 1 :]


def six_from_blue_1(dice: random.Random, own: str, number: int) -> bytes:
    """As from_blue_1, with IPv6."""
    src = OWN6 if dice.random() < 0.85 else NOBODY6
    target = dice.choice((LOCAL_NEIGHBOUR6, REMOTE_NEIGHBOUR6, REMOTE_NEIGHBOUR6, NOBODY6))
    return bent(dice, ethernet(GATEWAY_MAC, own, 0x86DD, ipv6(dice, src, target, number)))


def six_from_the_fabric(dice: random.Random, bed: Testbed, number: int) -> bytes:
    """As from_the_fabric, with IPv6 inside."""
    one, two = (server.underlay_ip for server in bed.topology.hosts)
    target = dice.choice((OWN6, OWN6, LOCAL_NEIGHBOUR6, NOBODY6, REMOTE_NEIGHBOUR6))
    inner = ethernet(GATEWAY_MAC, vm_of(bed, "blue-2").mac, 0x86DD, ipv6(dice, REMOTE_NEIGHBOUR6, target, number))
    return outer(two, one, geneve(dice.choice((BLUE,) * 6 + (8,)), bent(dice, inner)))


class Observers:
    """Who hears what: each VM's NIC, and the fabric where it hears h1."""

    def __init__(self, bed: Testbed, stack: ExitStack) -> None:
        self._h1 = mac_bytes(underlay_mac(bed.topology.hosts[0].underlay_ip))
        self._sockets: dict[socket.socket, str] = {}
        for name in (*(vm.name for vm in bed.topology.vms), bed.fabric_name):
            made = socket_in(bed, name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            made.setblocking(False)
            stack.enter_context(made)
            self._sockets[made] = "fabric" if name == bed.fabric_name else name

    def listen(self, seen: Seen, timeout: float) -> bool:
        """Take in what comes; False when nothing did."""
        ready, _, _ = select.select(list(self._sockets), [], [], timeout)
        for one in ready:
            data, address = one.recvfrom(1 << 16)
            if address[2] == PACKET_OUTGOING or address[0] == BRIDGE_NAME:
                continue
            who = self._sockets[one]
            inner, about = (data, b"") if who != "fabric" else self._unwrapped(data)
            if inner[-MARKER:-4] == marker(0)[:-4]:
                seen.setdefault(int.from_bytes(inner[-4:], "big"), set()).add((who, about + inner))
        return bool(ready)

    def _unwrapped(self, data: bytes) -> tuple[bytes, bytes]:
        """Inner frame of what h1 sends, and what its outer headers say: TOS, fragment flags, TTL, peers, VNI."""
        if data[6:12] != self._h1 or data[12:14] != b"\x08\x00" or data[23] != 17:
            return b"", b""
        begin = 50 + 4 * (data[42] & 63)
        return data[begin:], data[15:16] + data[20:23] + data[26:34] + data[46:49]


def sent_and_seen(bed: Testbed, packets: list[tuple[str, bytes]], also: Seen) -> Seen:
    """Send (who, frame) in bursts; what was seen, by number. What `also` saw and may come is waited for."""
    seen: Seen = {}
    awaited = {
        number: comparable(*packets[number], places) for number, places in also.items() if not meant(*packets[number])
    }
    with ExitStack() as stack, wires(bed, bed.fabric_name, "blue-1") as ways:
        observers = Observers(bed, stack)
        for begin in range(0, len(packets), BURST):
            for who, frame in packets[begin : begin + BURST]:
                ways[who if who == "blue-1" else bed.fabric_name].send(frame)
            while observers.listen(seen, QUIET):
                pass
            wanted = [number for number in range(begin, min(begin + BURST, len(packets))) if number in awaited]

            def come(wanted: list[int] = wanted) -> bool:
                observers.listen(seen, 0.02)
                return all(
                    awaited[number] <= comparable(*packets[number], seen.get(number, set())) for number in wanted
                )

            if not come():
                with suppress(AssertionError):  # the comparison says which did not come
                    until(come, 1.0, "packets that the other generation let through")
    return seen


@pytest.fixture(scope="module")
def both(module_testbed: Callable[..., Testbed]) -> tuple[list[tuple[str, bytes]], Seen, Seen]:
    dice, dice6 = random.Random(20180409), random.Random(8200)
    packets: list[tuple[str, bytes]] = []
    results: list[Seen] = []
    for dataplane in ("ovs", "fastpath"):
        bed = module_testbed(schema.from_keys({**TOPOLOGY, "dataplane": dataplane}))
        own = vm_of(bed, "blue-1").mac
        assert [str(vm_of(bed, f"blue-{n}").ip6) for n in (1, 2, 3)] == [OWN6, REMOTE_NEIGHBOUR6, LOCAL_NEIGHBOUR6]
        if not packets:
            for number in range(PACKETS):
                if number < SIXES:
                    from_vm = number % 2 == 0
                    frame = (six_from_blue_1(dice6, own, number) if from_vm
                             else six_from_the_fabric(dice6, bed, number))  # fmt: skip
                    packets.append(("blue-1" if from_vm else "fabric", frame))
                elif number % 2:
                    packets.append(("fabric", from_the_fabric(dice, bed, number)))
                else:
                    packets.append(("blue-1", from_blue_1(dice, own, number)))
        for src, dst in (("blue-1", "blue-2"), ("blue-1", "blue-3"), ("blue-3", "blue-1")):
            assert ping(bed, src, vm_of(bed, dst).ip).received
            assert ping(bed, src, str(vm_of(bed, dst).ip6)).received
        results.append(sent_and_seen(bed, packets, results[0] if results else {}))
        bed.down()
    return packets, results[0], results[1]


def inner_of(who: str, frame: bytes) -> bytes:
    """The inner frame of a packet that was sent."""
    return frame if who == "blue-1" else frame[50 + 4 * (frame[42] & 63) :]


def meant(who: str, frame: bytes) -> str | None:
    """Why the fast path drops a packet that Open vSwitch forwards; None if it must not.

    It drops by name ("malformed-ipv4", "malformed-ipv6") what no guest's kernel would take, and what Open vSwitch's
    parser, which looks at neither, passes on.
    """
    inner = inner_of(who, frame)
    if inner[12:14] == b"\x86\xdd" and len(inner) >= 54:
        return meant6(inner)
    if len(inner) < 34 or inner[12:14] != b"\x08\x00":
        return None
    if inner[14] >> 4 != 4:
        return "another IP version under IPv4's Ethernet type"
    begin, total = 14 + 4 * (inner[14] & 15), 14 + int.from_bytes(inner[16:18], "big")
    first = not int.from_bytes(inner[20:22], "big") & 0x1FFF
    needed = TRANSPORT.get(inner[23], 0)
    return "a transport header cut short" if first and total - begin < needed else None


def meant6(inner: bytes) -> str | None:
    """meant() for IPv6."""
    protocol, at, room = inner[20], 54, int.from_bytes(inner[18:20], "big")
    while protocol in (0, 43, 44, 60):
        size = 8 if protocol == 44 or room < 8 else 8 * (inner[at + 1] + 1)
        if size > room:
            return "an extension header cut short"
        if protocol == 44 and int.from_bytes(inner[at + 2 : at + 4], "big") & 0xFFF8:
            return None
        protocol, at, room = inner[at], at + size, room - size
    return "a transport header cut short" if room < TRANSPORT.get(protocol, 0) else None


def comparable(who: str, frame: bytes, seen: set[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """What was seen of a packet itself, with the one difference taken out that both may have.

    An ICMP error of the guest that got it quotes the packet, and is longer. A packet with ECN "congestion
    experienced" gets an outer header that says so on the fast path (RFC 6040, normal mode), and one that says
    ECT(0) by Open vSwitch (RFC 3168, full functionality): at the tunnel's end both are the same packet.
    """
    size = len(inner_of(who, frame))
    kept = set()
    for place, data in seen:
        about = ABOUT if place == "fabric" else 0
        if len(data) == size + about:
            ce = about and data[0] & 3 == 3
            kept.add((place, bytes([data[0] ^ 1]) + data[1:] if ce else data))
    return kept


def told(seen: set[tuple[str, bytes]]) -> str:
    return ", ".join(f"{who} {data.hex()}" for who, data in sorted(seen)) or "nobody"


def test_both_generations_do_the_same_with_every_packet(
    both: tuple[list[tuple[str, bytes]], Seen, Seen],
) -> None:
    packets, ovs, fastpath = both
    different = []
    excused = 0
    for number, (who, frame) in enumerate(packets):
        one, two = (comparable(who, frame, seen.get(number, set())) for seen in (ovs, fastpath))
        if one == two:
            continue
        if not two and meant(who, frame):
            excused += 1
            continue
        different.append(f"{number}, {who} sent {frame.hex()}:\n  ovs: {told(one)}\n  fastpath: {told(two)}")
    assert not different, "\n".join(different)
    # The comparison says nothing unless packets went both ways, to every place, and some nowhere.
    places = {who for seen in ovs.values() for who, _ in seen}
    assert {"blue-1", "blue-3", "fabric"} <= places
    for begin, end in ((0, SIXES), (SIXES, PACKETS)):
        passed = sum(begin <= number < end for number in ovs)
        assert 40 < passed < end - begin - 40
    assert excused < 90
