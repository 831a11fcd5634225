"""Chooses which VM's process gets a Geneve datagram: UDP sockets on one port, and a classic BPF program.

Generation "pre" has one socket per VM. The kernel runs the program for each datagram (SO_ATTACH_REUSEPORT_CBPF,
socket(7)). The program finds the VM by VNI and inner destination. Every other datagram goes to the host's own socket,
which `pre_strays` reads.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from hoverboard.contract.encapsulation import GENEVE_PORT
from hoverboard.contract.packets import Address

_SO_NO_CHECK, _SO_ATTACH_REUSEPORT_CBPF, _SO_MEMINFO = 11, 51, 55  # asm-generic/socket.h
# linux/bpf_common.h
_LD, _ST, _ALU, _JMP, _RET, _MISC = 0x00, 0x02, 0x04, 0x05, 0x06, 0x07
_W, _H, _B, _ABS, _IND, _MEM = 0x00, 0x08, 0x10, 0x20, 0x40, 0x60
_AND, _LSH, _RSH, _JA, _JEQ, _TAX = 0x50, 0x60, 0x70, 0x00, 0x10, 0x00
_INNER = 8  # bytes of the Geneve header before its options; register X holds the length of the options
_ETHERTYPE, _IPV4_DST, _IPV6_DST = _INNER + 12, _INNER + 14 + 16, _INNER + 14 + 24
_VNI_CELL, _DST_CELL = 0, 1  # scratch memory of the program

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def _words(address: Address) -> list[int]:
    return [int(word) for word in struct.unpack(f"!{len(address.packed) // 4}I", address.packed)]


def _rule(vni: int, address: Address, index: int) -> list[Instruction]:
    """Instructions that return `index` for datagrams to this address of this network, and else fall through."""
    words = _words(address)
    tests: list[Instruction] = []
    for number, word in enumerate(words):
        tests += [(_LD | _MEM, 0, 0, _DST_CELL + number), (_JMP | _JEQ, 0, -1, word)]
    tests += [(_LD | _MEM, 0, 0, _VNI_CELL), (_JMP | _JEQ, 0, -1, vni), (_RET, 0, 0, index)]
    return [
        (code, true, len(tests) - at - 1 if false < 0 else false, k) for at, (code, true, false, k) in enumerate(tests)
    ]


def _rules(address_bytes: int, offset: int, rules: list[tuple[int, Address, int]]) -> list[Instruction]:
    program: list[Instruction] = []
    for word in range(address_bytes // 4):
        program += [(_LD | _W | _IND, 0, 0, offset + 4 * word), (_ST, 0, 0, _DST_CELL + word)]
    for rule in rules:
        program += _rule(*rule)
    return [*program, (_RET, 0, 0, 0)]


def selector(rules: Iterable[tuple[int, Address, int]]) -> list[Instruction]:
    """The BPF program: for a datagram that holds a Geneve packet, the index of the socket, or 0.

    A load beyond the end of a short datagram ends the program with 0.

    Args:
        rules: (VNI, inner destination, index of the socket).
    """
    rules = list(rules)
    four = _rules(4, _IPV4_DST, [rule for rule in rules if rule[1].version == 4])
    six = _rules(16, _IPV6_DST, [rule for rule in rules if rule[1].version == 6])
    return [
        (_LD | _W | _ABS, 0, 0, 4),
        (_ALU | _RSH, 0, 0, 8),
        (_ST, 0, 0, _VNI_CELL),
        (_LD | _B | _ABS, 0, 0, 0),
        (_ALU | _AND, 0, 0, 0x3F),
        (_ALU | _LSH, 0, 0, 2),
        (_MISC | _TAX, 0, 0, 0),
        (_LD | _H | _IND, 0, 0, _ETHERTYPE),
        (_JMP | _JEQ, 2, 0, 0x0800),
        (_JMP | _JEQ, 0, 2, 0x86DD),  # else to the last instruction
        (_JMP | _JA, 0, 0, 2 + len(four)),
        (_JMP | _JA, 0, 0, 1),
        (_RET, 0, 0, 0),
        *four,
        *six,
    ]


class SocketGroup:
    """The sockets of a host, in the kernel's order: a new socket is last, and the last one fills a gap.

    Args:
        address: the host's underlay address.

    Attributes:
        own: the host's own socket, index 0.
    """

    def __init__(self, address: IPv4Address) -> None:
        self._address = str(address)
        self.own = self._open()
        self.own.setblocking(False)
        self._order: list[str] = [""]
        self._sockets: dict[str, tuple[socket.socket, int, tuple[Address, ...]]] = {}
        self._program()

    def _open(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # No UDP checksum, as Open vSwitch and the fast path send Geneve. With checksum offload, which a veth pair does
        # not have, the checksum would be wrong for a raw socket at the other end.
        made.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
        made.bind((self._address, GENEVE_PORT))
        return made

    def _program(self) -> None:
        rules = [
            (vni, address, self._order.index(vm))
            for vm, (_, vni, addresses) in self._sockets.items()
            for address in addresses
        ]
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in selector(rules))
        buffer = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
        self.own.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)

    def add(self, vm: str, vni: int, addresses: Iterable[Address]) -> int:
        """Open a socket for a VM's datagrams and return its descriptor, which this object owns."""
        made = self._open()
        self._order.append(vm)
        self._sockets[vm] = (made, vni, tuple(addresses))
        try:
            self._program()
        except OSError:
            self.remove(vm)
            raise
        return made.fileno()

    def remove(self, vm: str) -> None:
        """Close a VM's socket; no other process may still have a copy."""
        made, _, _ = self._sockets.pop(vm)
        index = self._order.index(vm)
        made.close()
        last = self._order.pop()
        if index < len(self._order):
            self._order[index] = last
        self._program()

    def overflows(self, vm: str | None) -> int:
        """Datagrams that found the VM's socket full, since it was opened; None: the host's own socket."""
        found = self.own if vm is None else self._sockets[vm][0]
        return int(struct.unpack("=9I", found.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[8])

    def close(self) -> None:
        """Close all sockets."""
        for made, _, _ in self._sockets.values():
            made.close()
        self._sockets.clear()
        self.own.close()


__all__ = ["Instruction", "SocketGroup", "selector"]
