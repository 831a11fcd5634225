"""The host agents' door: one stream for each host process, what it says, and what its end means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from ipaddress import IPv4Address, IPv6Address

import pytest

from controllers.vmc.agents import HostsServicer, deliver
from hoverboard.contract.reports import FlowUsage, UsageReport
from hoverboard.contract.wire import fabric_pb2 as pb
from tests.unit.controllers.event_loop import run, turns


class Listener:
    """Remembers what agents say."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def agent_hello(self, node: str, bindings: Mapping[str, str]) -> None:
        self.said.append(("hello", node, dict(bindings)))

    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        self.said.append(("bound", node, vm, vport))

    def agent_unbound(self, node: str, vm: str) -> None:
        self.said.append(("unbound", node, vm))

    def agent_gone(self, node: str) -> None:
        self.said.append(("gone", node))

    def usage(self, report: UsageReport) -> None:
        self.said.append(("usage", report))


def hello(node: str = "h1", **bindings: str) -> pb.HostEvent:
    return pb.HostEvent(hello=pb.Hello(node=node, bindings=[pb.Binding(vm=v, vport=p) for v, p in bindings.items()]))


def bound(vm: str, vport: str, *, gone: bool = False) -> pb.HostEvent:
    return pb.HostEvent(bound=pb.Bound(binding=pb.Binding(vm=vm, vport=vport), gone=gone))


def usage() -> pb.HostEvent:
    flows = [
        pb.FlowUsage(vni=7, src=bytes([10, 0, 0, 2]), dst=bytes([10, 0, 0, 3]), bytes=5, packets=2),
        pb.FlowUsage(vni=9, src=bytes(15) + b"\1", dst=bytes(15) + b"\2", bytes=6, packets=1),
    ]
    return pb.HostEvent(usage=pb.Usage(seconds=2.0, flows=flows))


USED = UsageReport(
    "h1", 2.0,
    (
        FlowUsage(7, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 5, 2),
        FlowUsage(9, IPv6Address("::1"), IPv6Address("::2"), 6, 1),
    ),
)  # fmt: skip


class Agent:
    """One stream of a host process."""

    def __init__(self, door: HostsServicer) -> None:
        self._events: asyncio.Queue[pb.HostEvent | None] = asyncio.Queue()
        self.commands: list[pb.HostCommand] = []
        self._stream = door.Session(self._requests(), None)
        self.task = asyncio.create_task(self._listen())

    async def _requests(self) -> AsyncIterator[pb.HostEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def _listen(self) -> None:
        async for command in self._stream:
            self.commands.append(command)

    async def say(self, *events: pb.HostEvent | None) -> None:
        """Events, and what they bring about; None ends the stream."""
        for event in events:
            self._events.put_nowait(event)
        await turns()


@pytest.mark.parametrize("relayed", [True, False])
def test_an_agents_events_are_passed_on_and_it_receives_the_report_interval(relayed: bool) -> None:
    async def story() -> None:
        listener = Listener()
        agent = Agent(HostsServicer(listener, 2.5, report_relayed=relayed))
        await agent.say(hello(b1="vp1", b2="vp2"), bound("b3", "vp3"), bound("b1", "vp1", gone=True), usage())
        assert listener.said == [
            ("hello", "h1", {"b1": "vp1", "b2": "vp2"}), ("bound", "h1", "b3", "vp3"), ("unbound", "h1", "b1"),
            ("usage", USED),
        ]  # fmt: skip
        assert [(one.report_interval, one.report_relayed) for one in agent.commands] == [(2.5, relayed)]
        await agent.say(None)
        assert listener.said[4:] == [("gone", "h1")]
        assert agent.task.done()

    run(story())


def test_hoverboards_report_what_they_relay_only_where_it_is_asked_for() -> None:
    async def story() -> None:
        agent = Agent(HostsServicer(Listener(), 1.0))
        await agent.say(hello("hv1"), None)
        assert [one.report_relayed for one in agent.commands] == [False]

    run(story())


def test_what_comes_before_the_hello_is_ignored() -> None:
    async def story() -> None:
        listener = Listener()
        agent = Agent(HostsServicer(listener, 1.0))
        await agent.say(bound("b1", "vp1"), usage())
        assert (listener.said, agent.commands) == ([], [])
        await agent.say(None)
        assert listener.said == []
        other = Agent(HostsServicer(listener, 1.0))
        await other.say(bound("b1", "vp1"), hello())
        assert listener.said == [("hello", "h1", {})]
        await other.say(None)

    run(story())


def test_usage_of_what_is_no_address_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    heard = Listener()
    wrong = pb.HostEvent(usage=pb.Usage(seconds=1.0, flows=[pb.FlowUsage(vni=7, src=b"?", dst=b"?", bytes=1)]))
    deliver(heard, "h1", wrong)
    assert heard.said == []
    assert "h1 sent an invalid usage report" in caplog.text


def test_the_newest_stream_of_an_agent_counts() -> None:
    async def story() -> None:
        listener = Listener()
        door = HostsServicer(listener, 1.0)
        old, new, other = Agent(door), Agent(door), Agent(door)
        await old.say(hello())
        await other.say(hello("h2"))
        await new.say(hello())
        listener.said.clear()
        await old.say(bound("b1", "vp1"))
        assert (listener.said, old.task.done()) == ([], True)
        await new.say(bound("b1", "vp1"))
        await other.say(bound("b2", "vp2"))
        assert listener.said == [("bound", "h1", "b1", "vp1"), ("bound", "h2", "b2", "vp2")]
        listener.said.clear()
        await new.say(None)
        await other.say(None)
        assert listener.said == [("gone", "h1"), ("gone", "h2")]
        again = Agent(door)
        await again.say(hello(), None)
        assert listener.said[2:] == [("hello", "h1", {}), ("gone", "h1")]

    run(story())


def test_an_old_stream_that_ends_late_takes_nothing_along() -> None:
    async def story() -> None:
        listener = Listener()
        door = HostsServicer(listener, 1.0)
        old, new = Agent(door), Agent(door)
        await old.say(hello())
        await new.say(hello())
        await old.say(None)
        assert ("gone", "h1") not in listener.said
        await new.say(bound("b1", "vp1"))
        assert listener.said[-1] == ("bound", "h1", "b1", "vp1")
        await new.say(None)

    run(story())


def test_an_agent_may_say_hello_again_on_its_stream() -> None:
    async def story() -> None:
        listener = Listener()
        agent = Agent(HostsServicer(listener, 1.0))
        await agent.say(hello(b1="vp1"), hello(b2="vp2"), None)
        assert listener.said == [("hello", "h1", {"b1": "vp1"}), ("hello", "h1", {"b2": "vp2"}), ("gone", "h1")]
        assert len(agent.commands) == 2

    run(story())
