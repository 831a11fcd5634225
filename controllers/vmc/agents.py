"""The gRPC service for host agents: one stream for each host process (paper sections 3.1 and 3.2).

Bindings and usage come in, the report interval goes out. Decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address
from typing import Any, Protocol

from hoverboard.contract.reports import FlowUsage, UsageReport
from hoverboard.contract.wire import fabric_pb2 as pb

_log = logging.getLogger(__name__)


class AgentEvents(Protocol):
    """The receiver of host agents' events; called from the event loop, must not block."""

    def agent_hello(self, node: str, bindings: Mapping[str, str]) -> None:
        """Record all bindings, VM -> vport, of an agent that opened its stream."""
        ...

    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        """Record that a VM was plugged in."""
        ...

    def agent_unbound(self, node: str, vm: str) -> None:
        """Record that a VM was unplugged."""
        ...

    def agent_gone(self, node: str) -> None:
        """Record the end of the agent's stream."""
        ...

    def usage(self, report: UsageReport) -> None:
        """Process a usage report."""
        ...


class HostsServicer:
    """The Hosts service of fabric.proto.

    Args:
        events: receives the agents' events.
        report_interval: seconds between usage reports, sent to every agent.
        report_relayed: whether Hoverboards also report the traffic that they relay.
    """

    def __init__(self, events: AgentEvents, report_interval: float, *, report_relayed: bool = False) -> None:
        self._events = events
        self._report_interval = report_interval
        self._report_relayed = report_relayed
        self._newest: dict[str, object] = {}

    async def Session(self, requests: AsyncIterator[pb.HostEvent], context: Any) -> AsyncIterator[pb.HostCommand]:
        """Serve one agent's stream; messages before its Hello are ignored."""
        node, token = "", object()
        try:
            async for event in requests:
                if event.WhichOneof("event") == "hello":
                    node = event.hello.node
                    self._newest[node] = token
                    deliver(self._events, node, event)
                    yield pb.HostCommand(report_interval=self._report_interval, report_relayed=self._report_relayed)
                elif not node:
                    _log.warning("an agent sent %s before its Hello; ignored", event.WhichOneof("event"))
                elif self._newest.get(node) is not token:
                    return  # the agent has opened a newer stream
                else:
                    deliver(self._events, node, event)
        finally:
            if self._newest.get(node) is token:
                self._events.agent_gone(node)


def deliver(events: AgentEvents, node: str, event: pb.HostEvent) -> None:
    """Pass an agent's event to `events`."""
    match event.WhichOneof("event"):
        case "hello":
            events.agent_hello(node, {binding.vm: binding.vport for binding in event.hello.bindings})
        case "bound" if event.bound.gone:
            events.agent_unbound(node, event.bound.binding.vm)
        case "bound":
            events.agent_bound(node, event.bound.binding.vm, event.bound.binding.vport)
        case "usage":
            try:
                report = _report(node, event.usage)
            except ValueError as fault:
                _log.warning("%s sent an invalid usage report: %s; ignored", node, fault)
            else:
                events.usage(report)


def _report(node: str, usage: pb.Usage) -> UsageReport:
    flows = tuple(
        FlowUsage(flow.vni, ip_address(flow.src), ip_address(flow.dst), flow.bytes, flow.packets)
        for flow in usage.flows
    )
    return UsageReport(node, usage.seconds, flows)  # tour: report 4
