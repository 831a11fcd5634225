"""What should become of a packet, by a second parser in plain Python that shares no code with the fast path.

Slow and simple on purpose: bytes, slices, dictionaries.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hoverboard.contract.encapsulation import OPTION_CLASS, SEGMENT_OPTION_TYPE
from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.memory import entries, ports, reasons
from tests.fuzz.mutation import LOCAL, WIDTH, guarded, mutate

Key = tuple[Hashable, ...]
_SEGMENT = OPTION_CLASS.to_bytes(2, "big") + bytes([SEGMENT_OPTION_TYPE])
_NEEDS = {6: 20, 17: 8, 1: 4, 58: 4}


@dataclass(frozen=True)
class Inner:
    """What a frame says of itself."""

    macs: bytes
    kind: int
    addresses: tuple[bytes, bytes] | None
    proto: int
    ecn: int
    fragment: str
    ports: bytes

    def key(self, in_port: int, tunnel: tuple[int, int] | None, five: bool) -> Key:
        """Key of an entry for packets like this one."""
        return (in_port, tunnel, self.macs, self.kind, self.addresses, self.proto, self.ecn, self.fragment,
                self.ports if five else None)  # fmt: skip


def read_inner(frame: bytes) -> Inner | str:
    """The frame understood, or why it is dropped."""
    if len(frame) < 14:
        return "short-frame"
    kind = int.from_bytes(frame[12:14], "big")
    rest = frame[14:]
    if kind in (0x8100, 0x88A8):
        return "vlan"
    if kind == 0x0800:
        return _read_ipv4(frame[:12], rest)
    if kind == 0x86DD:
        return _read_ipv6(frame[:12], rest)
    return Inner(frame[:12], kind, None, 0, 0, "", b"")


def _ports(proto: int, transport: bytes) -> bytes | None:
    if len(transport) < _NEEDS.get(proto, 0):
        return None
    if proto in (6, 17):
        return transport[:4]
    return bytes([0, transport[0], 0, transport[1]]) if proto in (1, 58) else b""


def _read_ipv4(macs: bytes, ip: bytes) -> Inner | str:
    if len(ip) < 20 or ip[0] >> 4 != 4:
        return "malformed-ipv4"
    header, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
    if header < 20 or total < header or total > len(ip):
        return "malformed-ipv4"
    more, offset = ip[6] & 0x20, int.from_bytes(ip[6:8], "big") & 0x1FFF
    fragment = "later" if offset else "first" if more else ""
    ports = b"" if offset else _ports(ip[9], ip[header:total])
    if ports is None:
        return "malformed-ipv4"
    return Inner(macs, 0x0800, (ip[12:16], ip[16:20]), ip[9], ip[1] & 3, fragment, ports)


def _read_ipv6(macs: bytes, ip: bytes) -> Inner | str:
    size = int.from_bytes(ip[4:6], "big")
    if len(ip) < 40 or ip[0] >> 4 != 6 or 40 + size > len(ip):
        return "malformed-ipv6"
    proto, rest, fragment = ip[6], ip[40 : 40 + size], ""
    while fragment != "later" and proto in (0, 43, 44, 60):
        if len(rest) < 8:
            return "malformed-ipv6"
        length = 8 if proto == 44 else 8 + rest[1] * 8
        if length > len(rest):
            return "malformed-ipv6"
        if proto == 44 and (rest[2] or rest[3] & 0xF9):
            fragment = "later" if rest[2] or rest[3] & 0xF8 else "first"
        proto, rest = rest[0], rest[length:]
    ports = b"" if fragment == "later" else _ports(proto, rest)
    if ports is None:
        return "malformed-ipv6"
    return Inner(macs, 0x86DD, (ip[8:24], ip[24:40]), proto, (ip[1] >> 4) & 3, fragment, ports)


def read_outer(frame: bytes) -> tuple[tuple[int, int], bytes] | str:
    """((sender, VNI), inner frame), "control", or why it is dropped."""
    if len(frame) < 14:
        return "short-frame"
    kind = frame[12:14]
    if kind == b"\x08\x06":
        return "control"
    if kind != b"\x08\x00":
        return "not-geneve"
    ip = frame[14:]
    if len(ip) < 20 or ip[0] >> 4 != 4:
        return "malformed-outer"
    header, total = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big")
    if header < 20 or total < header or total > len(ip):
        return "malformed-outer"
    if ip[16:20] != LOCAL.packed:
        return "not-for-this-host"
    if ip[9] != 17 or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return "not-geneve"
    udp = ip[header:total]
    if len(udp) < 16:
        return "malformed-outer"
    if udp[2:4] != b"\x17\xc1":
        return "control" if udp[2:4] == b"\x17\xc2" else "not-geneve"
    if int.from_bytes(udp[4:6], "big") != len(udp):
        return "malformed-outer"
    geneve = udp[8:]
    options = (geneve[0] & 63) * 4
    if geneve[0] >> 6 or geneve[2:4] != b"\x65\x58" or len(geneve) < 8 + options:
        return "malformed-outer"
    if geneve[1] & 0x80:
        return "control"
    why = _options(geneve[8 : 8 + options])
    if why:
        return why
    return (int.from_bytes(ip[12:16], "big"), int.from_bytes(geneve[4:7], "big")), geneve[8 + options :]


def _options(options: bytes) -> str:
    while options:
        size = 4 + (options[3] & 31) * 4
        if size > len(options):
            return "malformed-outer"
        segment = size == 16 and size == len(options) and options[:3] == _SEGMENT
        if options[2] & 0x80 and not segment:
            return "geneve-critical-option"
        options = options[size:]
    return ""


def expected(model, port: int, ofport: int, frame: bytes):
    """(what, which): ("drop", reason), ("miss", frame), ("vm", (port, frame)) or ("tunnel", frame)."""
    tunnel, inner, in_port = None, frame, ofport
    if port == ports.UPLINK:
        found = read_outer(frame)
        if isinstance(found, str):
            return ("miss", frame) if found == "control" else ("drop", found)
        (tunnel, inner), in_port = found, TUNNEL_PORT
    read = read_inner(inner)
    if isinstance(read, str):
        return "drop", read
    entry = model.get(read.key(in_port, tunnel, False)) or model.get(read.key(in_port, tunnel, True))
    if entry is None:
        return "miss", frame
    if entry.action == entries.ACT_DROP:
        return "drop", reasons.NAMES[entry.target]
    return ("vm", (entry.target, inner)) if entry.action == entries.ACT_VPORT else ("tunnel", inner)


def outcome(world, port: int, frame: bytes):
    """What the engines did with it."""
    before = world.drops()
    world.push(port, frame)
    world.serve(port)
    seen = [("vm", (vm, out.frame)) for vm in range(ports.FIRST_TAP, ports.FIRST_TAP + 4) for out in world.sent(vm)]
    for out in world.sent(ports.UPLINK):
        skip = 50 + 4 * (out.frame[42] & 63)
        seen.append(("tunnel", out.frame[skip:]))
    seen += [("miss", one.frame) for one in world.missed(world.memory(port))]
    seen += [("drop", reason) for reason, count in world.drops().items() for _ in range(count - before.get(reason, 0))]
    return seen


def disagreements(world, state, inner, outer, count: int, most: int = 10) -> list[str]:
    """Send `count` mutated packets one by one; where engines and oracle differ, in words.

    Packets with a virtio-net header that asks for work are the functions' and the other engine part's matter:
    here a carried header that was bent may cost the packet its way out ("bad-segment"), nothing else.
    """
    world.reset_rings()
    frame = guarded(WIDTH + 24)
    found: list[str] = []
    for number in range(count):
        port = ports.UPLINK if number % 2 else ports.FIRST_TAP + number // 2 % 4
        length = int(mutate(state, *(outer if port == ports.UPLINK else inner), frame))
        data = frame[len(frame) - length :].tobytes()
        want = expected(world.model, port, world.ofports.get(port, 0), data)
        got = outcome(world, port, data)
        if got != [want] and not _excused(want, got):
            found.append(f"port {port}, {data.hex()}: engines {got}, oracle {want}")
            if len(found) == most:
                break
    return found


def _excused(want, got) -> bool:
    """A bent virtio-net header in the segment option: the packet is cut, has its checksum written, or cannot be."""
    if want[0] != "tunnel":
        return False
    return got == [("drop", "bad-segment")] or (bool(got) and all(what in ("tunnel", "drop") for what, _ in got))
