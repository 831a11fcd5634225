"""Datagrams of generation "pre" for which the kernel finds no VM's socket: the OpenFlow tables decide about them.

The kernel's program knows the addresses of the host's VMs (`pre_sockets`). A packet to a load balancer, or to a prefix
that a route leads to a VM, has another destination. The real switch says which VM gets it, and this VM's process gets
it as if its own socket had received it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from hoverboard.contract.encapsulation import GENEVE_PORT
from hoverboard.contract.errors import SwitchError
from hoverboard.fastpath.memory import packets, ports, reasons, rings
from hoverboard.host.slowpath.entry_writer import drop_index
from hoverboard.host.slowpath.missed_packet import MissedPacket, parsed
from hoverboard.host.slowpath.trace_request import question_for
from hoverboard.vswitch.switch_questions import SwitchQuestions

NO_SUCH_VM = "no-such-vm"
SOCKET_FULL = "socket-queue-full"
_TURN = 64  # datagrams handled in one turn of the loop
_TRACES = 16  # ... and questions asked, some 10 ms
_KNOWN_MAX = 4_096  # answers that are kept
_GENEVE_BYTES, _ETHERNET_BYTES = 8, 14
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58


class Engine(Protocol):
    """The engines of a VM's process; `Datapath` is one."""

    def inject(self, port: int, frame: bytes, kind: int, tunnel: int = 0, timeout: float = 1.0) -> bool:
        """Send the engine a frame with its virtio-net header; False if its ring stays full."""


def flow_bytes(datagram: bytes) -> bytes | None:
    """The bytes of a Geneve datagram that the tables may decide by; None if they are not all in known places.

    Packets of one flow have the same bytes here. TTL, lengths, checksums and the like are left out.
    """
    at = _GENEVE_BYTES + (datagram[0] & 0x3F) * 4 if datagram else 0
    inner = datagram[at:]
    kind, ip = inner[12:14], inner[_ETHERNET_BYTES:]
    if kind == b"\x08\x00" and len(ip) >= 20 and ip[0] == 0x45:
        parts, proto, rest = ip[1:2] + ip[6:8] + ip[9:10] + ip[12:20], ip[9], ip[20:]
    elif kind == b"\x86\xdd" and len(ip) >= 40:
        parts, proto, rest = ip[0:2] + ip[6:7] + ip[8:40], ip[6], ip[40:]
    else:
        return None
    if proto not in (_TCP, _UDP, _ICMP, _ICMPV6):
        return None if kind == b"\x86\xdd" else datagram[:7] + inner[:14] + parts
    return datagram[:7] + inner[:14] + parts + rest[: 4 if proto in (_TCP, _UDP) else 2]


class Strays:
    """Reads the host's own socket, and gives each packet to the VM that the tables name.

    Args:
        own: the host's own socket, not blocking.
        questions: the switch.
        local_ip: underlay address of the host.
        engine_of: OpenFlow port -> the engines of the VM's process; None if there is none.

    Attributes:
        drops: packets that no VM gets, by reason.
        received: packets and bytes that a VM gets.
    """

    def __init__(
        self,
        own: socket.socket,
        questions: SwitchQuestions,
        local_ip: IPv4Address,
        engine_of: Callable[[int], Engine | None],
    ) -> None:
        self._own, self._questions, self._local_ip, self._engine_of = own, questions, local_ip, engine_of
        self._known: dict[tuple[str, bytes], int | str] = {}  # sender and flow -> OpenFlow port, or drop reason
        self.drops: dict[str, int] = {}
        self.received = [0, 0]

    def forget(self) -> None:
        """Forget all answers: the tables have changed."""
        self._known.clear()

    def read(self) -> None:
        """Handle waiting datagrams; what one turn leaves is left in the socket."""
        questions = 0
        for _ in range(_TURN):
            try:
                datagram, (sender, port) = self._own.recvfrom(1 << 16)
            except BlockingIOError:
                return
            if len(datagram) >= 2 and datagram[1] & 0x80:
                continue  # a probe, which this generation does not answer
            frame = self._frame(sender, port, datagram)
            flow = flow_bytes(datagram)
            answer = self._known.get((sender, flow)) if flow is not None else None
            if answer is None:
                questions += 1
                answer, lasting = self._ask(frame)
                if lasting and flow is not None:
                    if len(self._known) >= _KNOWN_MAX:
                        self._known.clear()
                    self._known[sender, flow] = answer
            self._hand_on(answer, frame)
            if questions >= _TRACES:
                return

    def _hand_on(self, answer: int | str, frame: bytes) -> None:
        if isinstance(answer, str):
            self._drop(answer)
        elif (engine := self._engine_of(answer)) is None:
            self._drop(NO_SUCH_VM)
        elif engine.inject(ports.UPLINK, frame, rings.INJECT_PROCESS, timeout=0):
            self.received[0] += 1
            self.received[1] += len(frame) - packets.VNET_BYTES
        else:
            self._drop(SOCKET_FULL)

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def _ask(self, frame: bytes) -> tuple[int | str, bool]:
        """(OpenFlow port of the VM or drop reason, whether it holds until the tables change)."""
        packet = parsed(MissedPacket(ports.UPLINK, rings.MISS_FLOW, 0, frame), self._local_ip, 0)
        if isinstance(packet, str):
            return packet, False
        three, transport, inner = packet
        try:
            verdict = self._questions.trace(question_for(three, transport, inner, self._local_ip))
        except (SwitchError, ValueError):
            return reasons.NAMES[reasons.UNPROGRAMMED], False
        if not verdict.matched:
            return reasons.NAMES[reasons.UNPROGRAMMED], False
        if verdict.out_port is None:
            return reasons.NAMES[drop_index(verdict)], verdict.cacheable
        # A VM host relays nothing: what the tables send back into the fabric is for no VM here.
        return (verdict.out_port if verdict.tun_dst is None else NO_SUCH_VM), verdict.cacheable

    def _frame(self, sender: str, port: int, datagram: bytes) -> bytes:
        """The frame in which a datagram came, with an empty virtio-net header, as engines expect it."""
        size = len(datagram)
        ethernet = bytes(12) + b"\x08\x00"
        addresses = IPv4Address(sender).packed + self._local_ip.packed
        ip = struct.pack("!BBHHHBBH", 0x45, 0, size + 28, 0, 0, 0, 17, 0) + addresses
        udp = struct.pack("!HHHH", port, GENEVE_PORT, size + 8, 0)
        return bytes(packets.VNET_BYTES) + ethernet + ip + udp + datagram
