"""An exception in a role that is a process: each of its streams and tasks ends the process by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controllers.fm.codec import encode_entity
from controllers.roles.front_end import FrontEndRole, _AgentsServicer, _Controller, _FrontEndsServicer
from controllers.roles.intent_stream import FabricLink
from controllers.roles.remote_switches import FrontEndLink
from controllers.roles.replicas import ReplicasServicer, Roster
from controllers.testing.world import vm
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire import fabric_pb2
from tests.unit.controllers.event_loop import run, turns
from tests.unit.controllers.process_end import ProcessEnd
from tests.unit.controllers.vmc.controller_rig import NODES, Session

OFFLOAD = fabric_pb2.OffloadSettings(threshold_bps=20_000)


async def stream(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


class Call:
    """One call to a server that sends these messages, and then nothing."""

    def __init__(self, *messages: Any) -> None:
        self._messages = list(messages)

    def Session(self, *, wait_for_ready: bool) -> Call:
        assert wait_for_ready
        return self

    async def write(self, message: Any) -> None:
        """Take a message."""

    def cancel(self) -> None:
        """End the call."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        while self._messages:
            yield self._messages.pop(0)
        await asyncio.Event().wait()


class Events:
    """In place of a VM controller: fails at the events of these names."""

    def __init__(self, *fail_at: str) -> None:
        self._fail_at = fail_at

    def __getattr__(self, name: str) -> Any:
        def event(*_: object) -> None:
            if name in self._fail_at:
                raise ZeroDivisionError(name)

        return event


class Writer:
    """The server's end of a stream."""

    async def write(self, message: Any) -> None:
        """Take a message."""

    def cancel(self) -> None:
        """End the stream."""


# --- a VM controller ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "event"),
    [
        (pb.FabricUpdate(ask=pb.Ask(id=1, what="status")), "document"),
        (
            pb.FabricUpdate(part=pb.FabricPart(last=True, upsert=[encode_entity(vm("b", "blue", "h1", 2))])),
            "changed",
        ),
    ],
)
def test_a_controller_that_fails_at_a_message_of_the_fabric_manager_ends(
    tmp_path: Path, update: pb.FabricUpdate, event: str
) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        link = FabricLink(f"unix:{tmp_path}/fabric.sock", pb.ControllerHello(), Events(event))
        link._stub = Call(update)
        await turns()
        assert (ended.times, str(ended.crash.error)) == (1, event)
        await link.close()

    run(tell())


def test_a_controller_that_fails_at_an_event_of_a_front_end_ends(tmp_path: Path) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        link = FrontEndLink(
            f"unix:{tmp_path}/front-end.sock",
            pb.Candidate(),
            Events("switch_connected"),
            lambda _: True,
            lambda: (1, 1),
        )
        link._stub = Call(pb.FrontEndEvent(subscribed=pb.SwitchPorts(switch=pb.SwitchRef(dpid=1, session=1))))
        await turns()
        assert (ended.times, str(ended.crash.error)) == (1, "switch_connected")
        await link.close()

    run(tell())


# --- the fabric manager ---------------------------------------------------------------------------------


def breaks(where: object, method: str, patch: pytest.MonkeyPatch) -> None:
    """Have a method fail."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError(method)

    patch.setattr(where, method, fail)


@pytest.mark.parametrize("method", ["join", "received", "leave"])
def test_a_fabric_manager_that_fails_in_a_controllers_stream_ends(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell() -> None:
        ended, roster = ProcessEnd(), Roster(1, "hoverboard", OFFLOAD)
        breaks(roster, method, monkeypatch)
        reports = stream(
            pb.ControllerReport(hello=pb.ControllerHello(partition=0, replica=0, pid=1)),
            pb.ControllerReport(standing=pb.Standing(master=True, term=1)),
        )
        with pytest.raises(ZeroDivisionError, match=method):
            await ReplicasServicer(roster).Session(reports, Writer())
        assert ended.times == 1

    run(tell())


# --- a front end ----------------------------------------------------------------------------------------

TERM = pb.Term(partition=0, term=1)


class Faulty(Session):
    """A switch's session at which every send fails."""

    def packet_out(self, in_port: int, frame: bytes) -> None:
        raise ZeroDivisionError("packet out")


def front_end(directory: Path) -> tuple[FrontEndRole, pb.SwitchRef]:
    """A front end with one switch."""
    role = FrontEndRole(directory / "front-end.sock", None, 1.0)  # type: ignore[arg-type]
    session = Faulty(NODES[0])
    session.fault = ZeroDivisionError("program")
    role.switch_connected(session, {})  # type: ignore[arg-type]
    return role, pb.SwitchRef(dpid=session.dpid, session=1)


def test_a_front_end_that_fails_at_a_program_ends(tmp_path: Path) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        role, switch = front_end(tmp_path)
        program = pb.ProgramRequest(id=1, switch=switch, term=TERM, deletes="", adds="[]")
        role.handle(_Controller("partition 0 replica 0"), pb.FrontEndRequest(program=program))
        await turns()
        assert (ended.times, str(ended.crash.error)) == (1, "program")

    run(tell())


def test_a_front_end_that_fails_at_a_request_of_a_controller_ends(tmp_path: Path) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        role, switch = front_end(tmp_path)
        requests = stream(
            pb.FrontEndRequest(hello=pb.Candidate(partition=0, replica=0)),
            pb.FrontEndRequest(packet_out=pb.PacketOutRequest(switch=switch, term=TERM, in_port=1, frame=b"frame")),
        )
        with pytest.raises(ZeroDivisionError, match="packet out"):
            await _FrontEndsServicer(role).Session(requests, Writer())
        assert ended.times == 1

    run(tell())


@pytest.mark.parametrize("method", ["join", "leave"])
def test_a_front_end_that_fails_when_a_controller_comes_or_goes_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        role, _ = front_end(tmp_path)
        breaks(role, method, monkeypatch)
        requests = stream(pb.FrontEndRequest(hello=pb.Candidate(partition=0, replica=0)))
        with pytest.raises(ZeroDivisionError, match=method):
            await _FrontEndsServicer(role).Session(requests, Writer())
        assert ended.times == 1

    run(tell())


@pytest.mark.parametrize("kind", ["hello", "usage", "gone"])
def test_a_front_end_that_fails_at_an_event_of_an_agent_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        role, _ = front_end(tmp_path)
        record = role.agent_event

        def agent_event(node: str, event: fabric_pb2.HostEvent) -> None:
            if event.WhichOneof("event") == kind:
                raise ZeroDivisionError(kind)
            record(node, event)

        monkeypatch.setattr(role, "agent_event", agent_event)
        monkeypatch.setattr(role, "agent_gone", lambda _: None)
        if kind == "gone":
            breaks(role, "agent_gone", monkeypatch)
        events = stream(
            fabric_pb2.HostEvent(hello=fabric_pb2.Hello(node="h1", dpid=1)),
            fabric_pb2.HostEvent(usage=fabric_pb2.Usage(seconds=1.0)),
        )
        with pytest.raises(ZeroDivisionError, match=kind):
            async for _command in _AgentsServicer(role, fabric_pb2.HostCommand()).Session(events, None):
                pass
        assert ended.times == 1

    run(tell())
