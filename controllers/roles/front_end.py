"""A front end as a process: it keeps sessions with switches and host agents while controllers restart (paper 3.1).

It sends the list of connected switches to every VM controller, and a switch's events to its subscribers. It stores what
a new controller needs: the ports of each switch, and the bindings of each agent. It also stores the highest term of
each partition, to reject programs of a deposed master. Decides nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from controllers.crash import crash_on_error, critical_task
from controllers.election import election_keys
from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.ofe.messages import PacketIn
from controllers.ofe.switch_interface import SwitchSession
from controllers.ofe.switch_server import FrontEnd
from controllers.roles import openflow_socket
from controllers.roles.flow_codec import decode_program, encode_flows
from controllers.roles.stream import Outbox
from controllers.store.port import Store, StoreError
from hoverboard.contract.errors import HoverboardError
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire import fabric_pb2, fabric_pb2_grpc
from hoverboard.contract.wire.control_pb2_grpc import add_FrontEndsServicer_to_server

_log = logging.getLogger(__name__)

_FLOWS_AT_ONCE = 2000
_PAUSE = 0.2  # seconds between two tries with a store that does not answer
_TERMS_TIMEOUT = 1.0  # seconds that a store without an answer may delay the switches


@dataclass(slots=True)
class _Switch:
    session: SwitchSession
    number: int
    ports: dict[str, int]

    @property
    def ref(self) -> pb.SwitchRef:
        return pb.SwitchRef(dpid=self.session.dpid, session=self.number)

    def as_event(self) -> pb.FrontEndEvent:
        """The event that tells a controller everything about the switch."""
        return pb.FrontEndEvent(subscribed=pb.SwitchPorts(switch=self.ref, ports=self.ports))


@dataclass(slots=True)
class _Agent:
    node: str
    dpid: int
    bindings: dict[str, str]

    def as_event(self) -> pb.FrontEndEvent:
        """The event with the Hello that the agent would send now."""
        bindings = [fabric_pb2.Binding(vm=vm, vport=vport) for vm, vport in self.bindings.items()]
        hello = fabric_pb2.HostEvent(hello=fabric_pb2.Hello(node=self.node, bindings=bindings, dpid=self.dpid))
        return pb.FrontEndEvent(agent=pb.AgentEvent(node=self.node, event=hello))


@dataclass(slots=True, eq=False)
class _Controller:
    name: str
    outbox: Outbox = field(default_factory=Outbox)
    subscribed: set[int] = field(default_factory=set)


class FrontEndRole:
    """One front end.

    Args:
        path: its gRPC socket; the OpenFlow socket is beside it, with the suffix `.of`.
        store: the store that announces terms. Without its answer, the terms of the controllers' requests count.
        report_interval, report_relayed: sent to every host agent.
    """

    def __init__(self, path: Path, store: Store, report_interval: float, *, report_relayed: bool = False) -> None:
        self._path = path
        self._store = store
        self._command = fabric_pb2.HostCommand(report_interval=report_interval, report_relayed=report_relayed)
        self._terms_known = asyncio.Event()
        self._front_end = FrontEnd(openflow_socket(path), self)
        self._switches: dict[int, _Switch] = {}
        self._agents: dict[str, _Agent] = {}
        self._controllers: set[_Controller] = set()
        self._terms: dict[int, int] = {}
        self._numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serve controllers and agents, then switches."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        unlimited = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = server = grpc.aio.server(options=unlimited)
        add_FrontEndsServicer_to_server(_FrontEndsServicer(self), server)  # type: ignore[no-untyped-call]
        fabric_pb2_grpc.add_HostsServicer_to_server(_AgentsServicer(self, self._command), server)  # type: ignore[no-untyped-call]
        server.add_insecure_port(f"unix:{self._path}")
        await server.start()
        os.chmod(self._path, 0o600)
        self._spawn(self._follow_terms())
        # A master that was deposed while this front end was down must not program switches through it.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._terms_known.wait(), _TERMS_TIMEOUT)
        await self._front_end.start()

    async def answered(self) -> None:
        """Return at once: it answers no requests."""

    async def stop(self) -> None:
        """Stop serving; switches and hosts keep their state."""
        for task in list(self._tasks):
            task.cancel()
        await self._front_end.stop()
        if self._server is not None:
            await self._server.stop(grace=0)
        await self._store.close()

    def _spawn(self, doing: Any) -> None:
        task = critical_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_terms(self) -> None:
        while True:
            try:
                async for entries in self._store.watch("partition/"):
                    for entry in entries:
                        found, term = election_keys.partition_and_kind(entry), election_keys.term(entry)
                        if found is not None and found[1] == "term" and term is not None:
                            self.record_term(found[0], term)
                    self._terms_known.set()
            except StoreError as error:
                _log.info("%s", error)
            await asyncio.sleep(_PAUSE)

    def record_term(self, partition: int, term: int) -> None:
        """Record a term of a partition, if it is the highest so far."""
        if term > self._terms.get(partition, 0):
            self._terms[partition] = term

    # --- ofe.switch_interface.SwitchEvents --------------------------------------------------------------------

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        """Record a new session; it replaces an older session of the same switch."""
        former = self._switches.get(session.dpid)
        self._numbers += 1
        switch = self._switches[session.dpid] = _Switch(session, self._numbers, dict(ports))
        if former is not None:
            former.session.close()
        for controller in self._controllers:
            known = session.dpid in controller.subscribed
            controller.outbox.put(switch.as_event() if known else pb.FrontEndEvent(connected=switch.ref))

    def switch_disconnected(self, session: SwitchSession) -> None:
        """Record the end of a session."""
        switch = self._switches.get(session.dpid)
        if switch is not None and switch.session is session:
            del self._switches[session.dpid]
            self._publish(session.dpid, pb.FrontEndEvent(gone=switch.ref))

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        """Record a new or removed port."""
        switch = self._switches.get(session.dpid)
        if switch is None or switch.session is not session:
            return
        if port is None:
            switch.ports.pop(name, None)
        else:
            switch.ports[name] = port
        change = pb.PortChange(switch=switch.ref, name=name, port=port or 0, gone=port is None)
        self._publish(session.dpid, pb.FrontEndEvent(port=change))

    def packet_in(self, session: SwitchSession, packet: PacketIn) -> None:
        """Pass on a packet that a flow sent to the controller."""
        switch = self._switches.get(session.dpid)
        if switch is not None and switch.session is session:
            event = pb.PacketInEvent(
                switch=switch.ref, in_port=packet.in_port, cookie=packet.cookie, frame=packet.frame
            )
            self._publish(session.dpid, pb.FrontEndEvent(packet_in=event))

    def _publish(self, dpid: int, event: pb.FrontEndEvent) -> None:
        """Send an event to the subscribers of a switch; to all controllers if `dpid` is 0."""
        for controller in self._controllers:
            if not dpid or dpid in controller.subscribed:
                controller.outbox.put(event)

    # --- host agents ----------------------------------------------------------------------------------

    def agent_event(self, node: str, event: fabric_pb2.HostEvent) -> None:
        """Record an event of an agent; its Hello comes first."""
        match event.WhichOneof("event"):
            case "hello":
                bindings = {binding.vm: binding.vport for binding in event.hello.bindings}
                self._agents[node] = _Agent(node, event.hello.dpid, bindings)
            case "bound":
                binding = event.bound.binding
                if event.bound.gone:
                    self._agents[node].bindings.pop(binding.vm, None)
                else:
                    self._agents[node].bindings[binding.vm] = binding.vport
        self._publish(self._agents[node].dpid, pb.FrontEndEvent(agent=pb.AgentEvent(node=node, event=event)))

    def agent_gone(self, node: str) -> None:
        """Record the end of an agent's stream."""
        agent = self._agents.pop(node)
        self._publish(agent.dpid, pb.FrontEndEvent(agent=pb.AgentEvent(node=node, gone=True)))

    # --- VM controllers -------------------------------------------------------------------------------

    def join(self, controller: _Controller) -> None:
        """Add a controller, and send it the list of connected switches."""
        self._controllers.add(controller)
        for switch in self._switches.values():
            controller.outbox.put(pb.FrontEndEvent(connected=switch.ref))
        for agent in self._agents.values():
            if not agent.dpid:
                controller.outbox.put(agent.as_event())

    def leave(self, controller: _Controller) -> None:
        """Remove a controller whose stream ended."""
        self._controllers.discard(controller)

    def handle(self, controller: _Controller, request: pb.FrontEndRequest) -> None:
        """Handle a controller's request."""
        match request.WhichOneof("request"):
            case "term":
                self.record_term(request.term.partition, request.term.term)
            case "subscribe":
                self._subscribe(controller, request.subscribe.dpid)
            case "program":
                self._spawn(self._answer(controller, request.program, self._program(request.program)))
            case "dump":
                self._spawn(self._answer(controller, request.dump, self._dump(controller, request.dump)))
            case "packet_out":
                out = request.packet_out
                asked = self._switches.get(out.switch.dpid)
                if asked is not None and asked.number == out.switch.session and not self._term_is_over(out.term):
                    asked.session.packet_out(out.in_port, out.frame)
            case "close":
                switch = self._switches.get(request.close.dpid)
                if switch is not None and switch.number == request.close.session:
                    switch.session.close()

    def _subscribe(self, controller: _Controller, dpid: int) -> None:
        controller.subscribed.add(dpid)
        if dpid in self._switches:
            controller.outbox.put(self._switches[dpid].as_event())
        for agent in self._agents.values():
            if agent.dpid == dpid:
                controller.outbox.put(agent.as_event())

    def _term_is_over(self, term: pb.Term) -> bool:
        """Record the term of a request; return whether a higher one has begun."""
        self.record_term(term.partition, term.term)
        return not term.term or term.term < self._terms.get(term.partition, 0)

    async def _answer(self, controller: _Controller, request: pb.ProgramRequest | pb.DumpRequest, doing: Any) -> None:
        partition, term = request.term.partition, request.term.term
        done = pb.Done(id=request.id)
        if self._term_is_over(request.term):
            doing.close()
            known = self._terms.get(partition, 0)
            done.refused = f"the sender's term {term} of partition {partition} is over: term {known} has begun"
            done.where, done.deposed = f"front end, {controller.name}", True
            done.next_step = "the master of the newer term programs the switch"
        else:
            try:
                await doing
            except HoverboardError as error:
                done.refused, done.where, done.next_step = error.what, error.where, error.next_step
        controller.outbox.put(pb.FrontEndEvent(done=done))

    async def _program(self, request: pb.ProgramRequest) -> None:
        # A session sends programs in the order of these calls: do not await anything before.
        await self._session(request.switch).send(decode_program(request.deletes, request.adds))

    async def _dump(self, controller: _Controller, request: pb.DumpRequest) -> None:
        flows = await self._session(request.switch).dump()
        for begin in range(0, len(flows), _FLOWS_AT_ONCE):
            piece = pb.Done(id=request.id, flows=encode_flows(flows[begin : begin + _FLOWS_AT_ONCE]), more=True)
            controller.outbox.put(pb.FrontEndEvent(done=piece))
            await asyncio.sleep(0)  # lets other sessions run

    def _session(self, ref: pb.SwitchRef) -> SwitchSession:
        switch = self._switches.get(ref.dpid)
        if switch is None or switch.number != ref.session:
            raise HoverboardError(
                "the switch disconnected",
                where=f"switch {ref.dpid:#x}",
                next_step="it is programmed when it reconnects",
            )
        return switch.session


class _FrontEndsServicer:
    """The FrontEnds service of control.proto."""

    def __init__(self, role: FrontEndRole) -> None:
        self._role = role

    async def Session(self, requests: AsyncIterator[pb.FrontEndRequest], context: Any) -> None:
        """Serve one controller's stream; its hello comes first."""
        controller: _Controller | None = None
        writing: asyncio.Task[None] | None = None
        try:
            async for request in requests:
                if controller is not None:
                    with crash_on_error():
                        self._role.handle(controller, request)
                elif request.WhichOneof("request") == "hello":
                    hello = request.hello
                    controller = _Controller(f"partition {hello.partition} replica {hello.replica}")
                    writing = asyncio.ensure_future(self._write(controller, context))
                    with crash_on_error():
                        self._role.join(controller)
        finally:
            if controller is not None:
                with crash_on_error():
                    self._role.leave(controller)
            if writing is not None:
                writing.cancel()

    async def _write(self, controller: _Controller, context: Any) -> None:
        await controller.outbox.write_to(context)
        _log.warning("%s does not read its stream; the stream is closed", controller.name)
        context.cancel()


class _AgentsServicer:
    """The Hosts service of fabric.proto; passes agents' events on unchanged."""

    def __init__(self, role: FrontEndRole, command: fabric_pb2.HostCommand) -> None:
        self._role = role
        self._command = command
        self._newest: dict[str, object] = {}

    async def Session(
        self, requests: AsyncIterator[fabric_pb2.HostEvent], context: Any
    ) -> AsyncIterator[fabric_pb2.HostCommand]:
        """Serve one agent's stream; messages before its Hello are ignored."""
        node, token = "", object()
        try:
            async for event in requests:
                if event.WhichOneof("event") == "hello":
                    node = event.hello.node
                    self._newest[node] = token
                    with crash_on_error():
                        self._role.agent_event(node, event)
                    yield self._command
                elif node and self._newest.get(node) is token:
                    with crash_on_error():
                        self._role.agent_event(node, event)
                elif node:
                    return  # the agent has opened a newer stream
        finally:
            if node and self._newest.get(node) is token:
                del self._newest[node]
                with crash_on_error():
                    self._role.agent_gone(node)
