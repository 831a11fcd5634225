"""Compares cached flow-table entries with what the switch would answer now, packet by packet."""

from __future__ import annotations

from collections.abc import Iterable

from hoverboard.contract.errors import SwitchError
from hoverboard.fastpath.memory import packets as rows
from hoverboard.fastpath.memory import ports, rings
from hoverboard.fastpath.packets.parse import with_ports
from hoverboard.host.slowpath.missed_packet import MissedPacket, parsed
from hoverboard.host.slowpath.trace_request import question_for
from hoverboard.testing.memory_host import take
from hoverboard.vswitch.trace import TraceResult
from tests.random_programs import RandomPacket
from tests.unit.hoverboard.flow_miss_oracle import LOCAL, OFPORT, PORT, Oracle, from_fabric, missed


def learn(handler: Oracle, found: Iterable[RandomPacket]) -> None:
    """Let each packet come in: it misses, unless there is an entry, and may become one."""
    for packet in found:
        port, frame = _arrival(packet)
        missed(handler, frame, port)
        handler.handle()
        for m in handler.datapath.memories:
            take(m.inject_index, m.inject_meta, m.inject_data)  # the engines stand still: nobody else empties it


def wrong_answers(handler: Oracle, found: Iterable[RandomPacket]) -> list[str]:
    """The packets whose entry does something else than the switch would; each with both answers."""
    wrong = []
    for packet in found:
        port, frame = _arrival(packet)
        taken = MissedPacket(port, rings.MISS_FLOW, 0, bytes(rows.VNET_BYTES) + frame)
        read = parsed(taken, LOCAL, packet.port)
        assert not isinstance(read, str), read
        three, transport, inner = read
        # The engine looks for the 3-tuple first.
        known = handler.known(three) or handler.known(with_ports(three, transport))
        if known is None:
            continue
        question = question_for(three, transport, inner, LOCAL)
        try:
            now = effect(handler.switch.trace(question))
        except (SwitchError, ValueError) as error:
            now = (str(error),)
        if effect(known[1]) != now:
            wrong.append(f"{question}: cached {effect(known[1])}, the switch says {now}")
    return wrong


def effect(answer: TraceResult) -> tuple[object, ...]:
    """The part of an answer that an entry acts by."""
    changed = tuple(sorted((name, answer.headers[name]) for name in answer.changed))
    return answer.kind, answer.vni, answer.out_port, answer.tun_dst, answer.tun_id, changed, answer.matched


def _arrival(packet: RandomPacket) -> tuple[int, bytes]:
    """The engine's port, and the frame as it comes in there."""
    if packet.port == 1:
        return ports.UPLINK, from_fabric(packet.frame, packet.vni)
    return PORT + packet.port - OFPORT, packet.frame
