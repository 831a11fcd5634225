"""A running VM controller with sessions of fake switches, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from controllers.fm.intent_store import IntentStore
from controllers.ofe.messages import PacketIn
from controllers.program import Program
from controllers.testing.fake_switch import FakeSwitch, ipv4_packet
from controllers.testing.world import cluster, ethernet, host, hoverboard, vm
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Host, Hoverboard
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, cookie
from tests.unit.controllers.event_loop import StillClock, run, turns

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
NODES = (host(1), host(2), hoverboard(1))
EPOCH = 2_000_000_000.123456


class Session:
    """One connection of a switch; a test may hold its answers back, or let it fail."""

    def __init__(self, node: Host | Hoverboard) -> None:
        self.dpid = datapath_id(node.underlay_ip)
        self.switch = FakeSwitch()
        self.sent: list[Program] = []
        self.out: list[tuple[int, bytes]] = []
        self.reads = 0
        self.closed = False
        self.held: asyncio.Event | None = None
        self.fault: Exception | None = None

    async def _answer(self) -> None:
        if self.held is not None:
            await self.held.wait()
        if self.fault is not None:
            raise self.fault

    async def send(self, program: Program) -> None:
        self.sent.append(program)
        await self._answer()
        self.switch.apply(program)

    async def dump(self) -> list[Flow]:
        self.reads += 1
        await self._answer()
        return self.switch.dump()

    def packet_out(self, in_port: int, frame: bytes) -> None:
        self.out.append((in_port, frame))

    def close(self) -> None:
        self.closed = True


class Rig:
    """A controller whose nodes are connected, or are not yet."""

    def __init__(self, model: str = "hoverboard", *, active: bool = True) -> None:
        self.fabric, self.policy, self.deposed = IntentStore(), OffloadPolicy(), 0
        self.core = ControllerCore(model_named(model), self.policy, active=active)
        self.controller = Controller(self.core, self._count, lambda: EPOCH)
        self.sessions = {node.name: Session(node) for node in NODES}

    def _count(self) -> None:
        self.deposed += 1

    async def start(self) -> Rig:
        await self.controller.changed(self.fabric.full_update([*cluster(), B1, B2]), complete=True)
        for node in NODES:
            bound = {one.name: f"vp-{one.name}" for one in (B1, B2) if one.host == node.name}
            ports = {vport: 100 for vport in bound.values()}
            self.controller.switch_connected(self.sessions[node.name], ports)
            self.controller.agent_hello(node.name, bound)
        await turns()
        for session in self.sessions.values():
            session.sent.clear()
        return self

    async def diff(self, *upsert: Any) -> list[str]:
        return await self.controller.changed(self.fabric.diff(upsert, []), complete=True)

    def right(self) -> bool:
        """Whether the switches hold what they should."""
        tables = self.core.expected.tables
        return all(session.switch.flows == tables[name].by_key() for name, session in self.sessions.items())

    def of(self, name: str) -> Any:
        return self.core.switches[self.sessions[name].dpid]


def story(
    model: str = "hoverboard", **options: bool
) -> Callable[[Callable[[Rig], Awaitable[None]]], Callable[[], None]]:
    """A test that gets a rig which has started, on a clock that stands still."""

    def decorate(tell: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
        async def whole() -> None:
            rig = await Rig(model, **options).start()
            await tell(rig)
            rig.controller.stop()

        def test() -> None:
            run(whole(), StillClock)

        test.__name__, test.__doc__ = tell.__name__, tell.__doc__
        return test

    return decorate


def asks(rig: Rig, session: Session) -> bytes:
    frame = ethernet(ipv4_packet(B1.mac, int(B1.ip), int(B2.ip)))
    rig.controller.packet_in(session, PacketIn(100, cookie(Kind.PUNT, 7), frame))
    return frame
