"""A VM controller's stream to one front end: its switches look like local sessions.

Programs carry the partition and the term. The number of unconfirmed programs per switch is limited: a slow switch
delays only its own programs, and they wait here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import grpc
from typing_extensions import override

from controllers.crash import critical_task
from controllers.ofe.messages import PacketIn
from controllers.ofe.switch_interface import Deposed, SwitchEvents, SwitchSession
from controllers.program import Program
from controllers.roles.flow_codec import decode_flows, encode_adds, encode_deletes
from controllers.roles.stream import Outbox, Questions
from controllers.store.channels import aio_channel
from controllers.vmc.agents import AgentEvents, deliver
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire.control_pb2_grpc import FrontEndsStub

_log = logging.getLogger(__name__)

_MAX_UNCONFIRMED = 8  # programs of one switch that its front end has not confirmed
_PAUSE = 0.05


class Events(SwitchEvents, AgentEvents, Protocol):
    """The receiver of the events of switches and agents."""

    def front_end_lost(self, sessions: Iterable[SwitchSession], nodes: Iterable[str]) -> None:
        """Record that the link to a front end broke: the state of its switches and agents is unknown."""
        ...


class RemoteSwitch(SwitchSession):
    """A session with a switch, held by a front end (see `switch_interface.SwitchSession`)."""

    def __init__(self, link: FrontEndLink, ref: pb.SwitchRef) -> None:
        self.dpid = int(ref.dpid)
        self.ref = ref
        self._link = link
        self._turns = asyncio.Semaphore(_MAX_UNCONFIRMED)

    @override
    async def send(self, program: Program) -> None:
        async with self._turns:
            await self._link.request(
                lambda number, term: pb.FrontEndRequest(
                    program=pb.ProgramRequest(
                        id=number, switch=self.ref, term=term,
                        deletes=encode_deletes(program), adds=encode_adds(program),
                    )
                )
            )  # fmt: skip

    @override
    async def dump(self) -> list[Flow]:
        return await self._link.request(
            lambda number, term: pb.FrontEndRequest(dump=pb.DumpRequest(id=number, switch=self.ref, term=term))
        )

    @override
    def packet_out(self, in_port: int, frame: bytes) -> None:
        out = pb.PacketOutRequest(switch=self.ref, term=self._link.term(), in_port=in_port, frame=frame)
        self._link.send(pb.FrontEndRequest(packet_out=out))

    @override
    def close(self) -> None:
        self._link.send(pb.FrontEndRequest(close=self.ref))


class FrontEndLink:
    """The stream to the front end at `address`; it reconnects without a limit.

    Args:
        wants: whether to subscribe to a switch, by datapath id.
        term: the highest term known, and the term that this controller is master of (0: none).
    """

    def __init__(
        self,
        address: str,
        candidate: pb.Candidate,
        events: Events,
        wants: Callable[[int], bool],
        term: Callable[[], tuple[int, int]],
    ) -> None:
        self.address = address
        self.connected = False
        self._candidate = candidate
        self._events = events
        self._wants = wants
        self._term = term
        self._channel = aio_channel(address)
        self._stub: Any = FrontEndsStub(self._channel)  # type: ignore[no-untyped-call]
        self._outbox = Outbox()
        self._questions = Questions()
        self._available: set[int] = set()  # switches at the front end
        self._subscribed: set[int] = set()
        self._flows: dict[int, list[Flow]] = {}
        self._switches: dict[int, RemoteSwitch] = {}
        self._agents: set[str] = set()
        self._task = critical_task(self._run())

    async def close(self) -> None:
        """End the stream; the switches keep their flows."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close(None)

    def send(self, message: pb.FrontEndRequest) -> None:
        """Send a message, if the front end is connected."""
        if self.connected:
            self._outbox.put(message)

    def send_term(self) -> None:
        """Send the highest term known."""
        known, _ = self._term()
        self.send(pb.FrontEndRequest(term=pb.Term(partition=self._candidate.partition, term=known)))

    def term(self) -> pb.Term:
        """The term that this controller is master of; 0: none."""
        return pb.Term(partition=self._candidate.partition, term=self._term()[1])

    def update_subscriptions(self) -> None:
        """Subscribe to the switches that are wanted by now."""
        for dpid in self._available - self._subscribed:
            self._subscribe_if_wanted(dpid)

    def _subscribe_if_wanted(self, dpid: int) -> None:
        if dpid not in self._subscribed and self._wants(dpid):
            self._subscribed.add(dpid)
            self._outbox.put(pb.FrontEndRequest(subscribe=pb.Subscribe(dpid=dpid)))

    async def request(self, make: Callable[[int, pb.Term], pb.FrontEndRequest]) -> list[Flow]:
        """Send a request, and return the flows of the answer.

        Raises:
            Deposed: another controller has been elected.
            SwitchError: the switch rejected the program, or the front end disconnected.
        """
        term = self.term()
        if not term.term:
            raise Deposed(
                "this controller is not the master of its partition", where=self.address,
                next_step="the master programs the switch",
            )  # fmt: skip
        if not self.connected:
            raise self._away()
        number, answer = self._questions.ask()
        self._outbox.put(make(number, term))
        try:
            done: pb.Done = await answer
        finally:
            flows = self._flows.pop(number, [])
        if done.refused:
            kind = Deposed if done.deposed else SwitchError
            raise kind(done.refused, where=done.where, next_step=done.next_step)
        return flows

    # --- the stream -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except grpc.aio.AioRpcError as error:
                _log.info("front end %s: %s", self.address, error.details())
            except asyncio.InvalidStateError as error:  # a write after the call had failed
                _log.info("front end %s: %s", self.address, error)
            finally:
                self._gone()
            await asyncio.sleep(_PAUSE)

    async def _session(self) -> None:
        call = self._stub.Session(wait_for_ready=True)
        self._outbox = outbox = Outbox()
        await call.write(pb.FrontEndRequest(hello=self._candidate))
        self.connected = True
        self.send_term()
        writing = asyncio.ensure_future(outbox.write_to(call))
        try:
            async for event in call:
                self._handle(event)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            call.cancel()

    def _away(self) -> SwitchError:
        return SwitchError(
            "the front end is not connected",
            where=self.address,
            next_step="its switches are read again when it reconnects",
        )

    def _gone(self) -> None:
        self.connected = False
        switches, self._switches = self._switches, {}
        agents, self._agents = self._agents, set()
        self._available.clear()
        self._subscribed.clear()
        self._questions.fail(self._away())
        self._events.front_end_lost(switches.values(), agents)

    def _handle(self, event: pb.FrontEndEvent) -> None:
        match event.WhichOneof("event"):
            case "connected":
                self._available.add(event.connected.dpid)
                self._subscribe_if_wanted(event.connected.dpid)
            case "subscribed":
                switch = RemoteSwitch(self, event.subscribed.switch)
                self._switches[switch.dpid] = switch
                self._events.switch_connected(switch, dict(event.subscribed.ports))
            case "gone":
                gone = self._switches.get(event.gone.dpid)
                if gone is not None and gone.ref == event.gone:
                    del self._switches[gone.dpid]
                    self._events.switch_disconnected(gone)
            case "port":
                known = self._switches.get(event.port.switch.dpid)
                if known is not None and known.ref == event.port.switch:
                    port = None if event.port.gone else event.port.port
                    self._events.port_changed(known, event.port.name, port)
            case "packet_in":
                asking = self._switches.get(event.packet_in.switch.dpid)
                if asking is not None and asking.ref == event.packet_in.switch:
                    packet = event.packet_in
                    self._events.packet_in(asking, PacketIn(packet.in_port, packet.cookie, packet.frame))
            case "agent":
                self._handle_agent(event.agent)
            case "done":
                self._handle_answer(event.done)

    def _handle_agent(self, agent: pb.AgentEvent) -> None:
        if agent.gone:
            self._agents.discard(agent.node)
            self._events.agent_gone(agent.node)
        else:
            self._agents.add(agent.node)
            deliver(self._events, agent.node, agent.event)

    def _handle_answer(self, done: pb.Done) -> None:
        if done.flows:
            self._flows.setdefault(done.id, []).extend(decode_flows(done.flows))
        if not done.more:
            self._questions.answer(done.id, done)
