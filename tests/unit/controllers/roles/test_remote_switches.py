"""A slow switch delays only its own programs, and they wait at the sender."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from controllers.program import Program
from controllers.roles.remote_switches import _MAX_UNCONFIRMED, RemoteSwitch
from hoverboard.contract.openflow.pipeline import base_flows
from hoverboard.contract.wire import control_pb2 as pb
from tests.unit.controllers import event_loop


class Link:
    """A stream to a front end whose switches answer when the test says so."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[asyncio.Future[None]]] = {}
        self.said: list[pb.FrontEndRequest] = []

    def term(self) -> pb.Term:
        return pb.Term(partition=1, term=4)

    def send(self, message: pb.FrontEndRequest) -> None:
        self.said.append(message)

    async def request(self, make: Callable[[int, pb.Term], pb.FrontEndRequest]) -> list[Any]:
        message = make(len(self.said) + 1, self.term())
        self.said.append(message)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(message.program.switch.dpid, []).append(answer)
        await answer
        return []


def test_only_so_many_programs_of_a_switch_are_under_way() -> None:
    async def run() -> None:
        link = Link()
        slow, other = (RemoteSwitch(link, pb.SwitchRef(dpid=dpid, session=1)) for dpid in (1, 2))  # type: ignore[arg-type]
        program = Program(tuple(base_flows()))
        sending = [asyncio.ensure_future(slow.send(program)) for _ in range(3 * _MAX_UNCONFIRMED)]
        await asyncio.sleep(0)
        assert len(link.waiting[1]) == _MAX_UNCONFIRMED
        quick = asyncio.ensure_future(other.send(program))
        await asyncio.sleep(0)
        link.waiting[2][0].set_result(None)
        await quick
        link.waiting[1][0].set_result(None)  # one is done: one more may go
        await sending[0]
        await asyncio.sleep(0)
        assert len(link.waiting[1]) == _MAX_UNCONFIRMED + 1
        assert [message.program.term.term for message in link.said] == [4] * len(link.said)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    event_loop.run(run())


def test_a_packet_carries_the_term_too() -> None:
    link = Link()

    async def run() -> None:
        RemoteSwitch(link, pb.SwitchRef(dpid=1, session=3)).packet_out(7, b"frame")  # type: ignore[arg-type]

    event_loop.run(run())
    (message,) = link.said
    out = message.packet_out
    assert (out.term.partition, out.term.term, out.switch.session, out.in_port, out.frame) == (1, 4, 3, 7, b"frame")
