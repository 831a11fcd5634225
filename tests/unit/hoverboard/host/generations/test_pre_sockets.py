"""The program that sorts Geneve datagrams, run by a small interpreter of classic BPF."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from hoverboard.host.generations.pre_sockets import Instruction, selector

FOUR, SIX = IPv4Address("10.0.0.2"), IPv6Address("fd00:7::2")


def run(program: list[Instruction], data: bytes) -> int:
    """The program's return value; 0 when it loads what is not there, as in the kernel."""
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, true, false, k = program[at]
        at += 1
        if code in (0x20, 0x30, 0x40, 0x48):  # ld [k], ldb [k], ld [x+k], ldh [x+k]
            offset = k + (x if code >= 0x40 else 0)
            size = {0x20: 4, 0x30: 1, 0x40: 4, 0x48: 2}[code]
            if offset + size > len(data):
                return 0
            a = int.from_bytes(data[offset : offset + size], "big")
        elif code == 0x60:
            a = memory[k]
        elif code == 0x02:
            memory[k] = a
        elif code == 0x74:
            a >>= k
        elif code == 0x54:
            a &= k
        elif code == 0x64:
            a <<= k
        elif code == 0x07:
            x = a
        elif code == 0x15:
            at += true if a == k else false
        elif code == 0x05:
            at += k
        else:
            assert code == 0x06
            return k


def datagram(vni: int, target: IPv4Address | IPv6Address, options: int = 0) -> bytes:
    geneve = struct.pack("!BBHI", options // 4, 0, 0x6558, vni << 8) + bytes(options)
    if target.version == 4:
        return geneve + bytes(12) + b"\x08\x00" + bytes(16) + target.packed
    return geneve + bytes(12) + b"\x86\xdd" + bytes(24) + target.packed


RULES = [(7, FOUR, 1), (7, SIX, 1), (8, FOUR, 2), (8, IPv6Address("fd00:7::3"), 2)]


def test_network_and_address_choose() -> None:
    program = selector(RULES)
    assert run(program, datagram(7, FOUR)) == 1
    assert run(program, datagram(8, FOUR)) == 2
    assert run(program, datagram(7, SIX)) == 1
    assert run(program, datagram(8, IPv6Address("fd00:7::3"))) == 2


def test_options_are_skipped() -> None:
    assert run(selector(RULES), datagram(8, FOUR, options=16)) == 2


def test_nobodys_goes_to_the_host() -> None:
    program = selector(RULES)
    assert run(program, datagram(9, FOUR)) == 0
    assert run(program, datagram(7, IPv4Address("10.0.0.3"))) == 0
    assert run(program, datagram(8, SIX)) == 0
    assert run(program, datagram(7, FOUR)[:-1]) == 0
    assert run(program, b"") == 0
    assert run(program, struct.pack("!BBHI", 0, 0, 0x6558, 7 << 8) + bytes(12) + b"\x08\x06" + bytes(28)) == 0


def test_no_vm_at_all() -> None:
    assert run(selector([]), datagram(7, FOUR)) == 0


def test_a_full_host() -> None:
    rules = [(1, FOUR + n, n + 1) for n in range(126)] + [(1, SIX + n, n + 1) for n in range(126)]
    program = selector(rules)
    assert len(program) < 4096  # BPF_MAXINSNS
    assert all(max(true, false) < 256 for _, true, false, _ in program)
    assert run(program, datagram(1, FOUR + 125)) == 126
    assert run(program, datagram(1, SIX + 125)) == 126
