"""The host agent's session with the control plane: bindings and usage up, settings down (paper 3.1, 3.2).

One gRPC stream. When it breaks, the session opens a new one, which starts with a complete Hello. Until then the host
goes on forwarding with the flows it has (fail static, paper 3.5). No call here blocks the host's control thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from hoverboard.contract.reports import UsageReport
from hoverboard.contract.wire import fabric_pb2, fabric_pb2_grpc

_MOST_WAITING = 16  # events; a report behind so many events is lost, because the control plane does not read
_FIRST_RETRY, _LAST_RETRY = 0.02, 0.5  # seconds; a control plane that restarts has its session within half a second
# A separate channel for each attempt, so that gRPC's own, longer back-off does not add to ours.
_CHANNEL = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


class ControlSession:
    """Holds the stream open, in a thread of its own.

    Args:
        address: gRPC address, "unix:/path".
        node: this host's name.
        on_interval: called from the session's thread with the report interval in seconds, and whether a Hoverboard
            reports, too.
        dpid: datapath id of this host's switch.
    """

    def __init__(self, address: str, node: str, on_interval: Callable[[float, bool], None], dpid: int = 0) -> None:
        self._address = address
        self._node = node
        self._dpid = dpid
        self._on_interval = on_interval
        self._bindings: dict[str, str] = {}
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[fabric_pb2.HostEvent | None] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control-session", daemon=True)
        self.connected = False

    def start(self) -> None:
        """Start connecting."""
        self._thread.start()

    def stop(self) -> None:
        """End the stream and the thread."""
        self._stopped.set()
        self._close_outbox()

    def bind(self, vm: str, vport: str) -> None:
        """Send that a VM's NIC is plugged into `vport`."""
        with self._lock:
            self._bindings[vm] = vport
            self._send(fabric_pb2.HostEvent(bound=fabric_pb2.Bound(binding=_binding(vm, vport))))

    def unbind(self, vm: str) -> None:
        """Send that a VM's NIC was unplugged."""
        with self._lock:
            vport = self._bindings.pop(vm, "")
            self._send(fabric_pb2.HostEvent(bound=fabric_pb2.Bound(binding=_binding(vm, vport), gone=True)))

    def report(self, report: UsageReport) -> None:
        """Send a usage report. It is lost if the control plane is down or hangs; later reports replace it."""
        usage = fabric_pb2.Usage(
            seconds=report.seconds,
            flows=[
                fabric_pb2.FlowUsage(
                    vni=flow.vni, src=flow.src.packed, dst=flow.dst.packed, bytes=flow.bytes, packets=flow.packets
                )
                for flow in report.flows
            ],
        )
        with self._lock:
            if self._outbox is not None and self._outbox.qsize() < _MOST_WAITING:
                self._send(fabric_pb2.HostEvent(usage=usage))  # tour: report 3

    def _send(self, event: fabric_pb2.HostEvent) -> None:
        if self._outbox is not None:
            self._outbox.put(event)

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while not self._stopped.is_set():
            with grpc.insecure_channel(self._address, options=_CHANNEL) as channel:
                try:
                    retry = self._hold(fabric_pb2_grpc.HostsStub(channel).Session(self._events()), retry)
                except grpc.RpcError:
                    pass  # down, or restarting: the next turn of the loop sends Hello
                finally:
                    self.connected = False
                    self._close_outbox()
            self._stopped.wait(retry)
            retry = min(retry * 2, _LAST_RETRY)

    def _hold(self, call: Any, retry: float) -> float:
        """Stay until the stream `call` ends; return the next pause in seconds.

        The control plane answers Hello with one command. Reading on for a second command would wake this thread ten
        times a second, in each host of a rack. Waiting for the end costs nothing.
        """
        ended = threading.Event()
        if not call.add_callback(ended.set):
            return retry
        command = next(call, None)
        if command is None:
            return retry
        self.connected = True
        if command.report_interval > 0:
            self._on_interval(command.report_interval, command.report_relayed)
        ended.wait()
        return _FIRST_RETRY

    def _close_outbox(self) -> None:
        with self._lock:
            if self._outbox is not None:
                self._outbox.put(None)  # ends the iterator that gRPC may still be reading
                self._outbox = None

    def _events(self) -> Iterator[fabric_pb2.HostEvent]:
        with self._lock:
            outbox: queue.SimpleQueue[fabric_pb2.HostEvent | None] = queue.SimpleQueue()
            bindings = [_binding(vm, vport) for vm, vport in self._bindings.items()]
            self._outbox = outbox
        yield fabric_pb2.HostEvent(hello=fabric_pb2.Hello(node=self._node, bindings=bindings, dpid=self._dpid))
        while (event := outbox.get()) is not None:
            yield event


class ControlSessions:
    """The sessions with all control planes of this host; a control plane that is down or hangs delays no other.

    Args:
        addresses: of the control planes; all run with the same report interval.
        node, on_interval, dpid: as `ControlSession`'s.
    """

    def __init__(
        self, addresses: Sequence[str], node: str, on_interval: Callable[[float, bool], None], dpid: int = 0
    ) -> None:
        self._all = [ControlSession(address, node, on_interval, dpid) for address in addresses]

    @property
    def connected(self) -> bool:
        """Whether all sessions are connected."""
        return all(session.connected for session in self._all)

    def start(self) -> None:
        """Start connecting."""
        for session in self._all:
            session.start()

    def stop(self) -> None:
        """End the streams and their threads."""
        for session in self._all:
            session.stop()

    def bind(self, vm: str, vport: str) -> None:
        """Send that a VM's NIC is plugged into `vport`."""
        for session in self._all:
            session.bind(vm, vport)

    def unbind(self, vm: str) -> None:
        """Send that a VM's NIC was unplugged."""
        for session in self._all:
            session.unbind(vm)

    def report(self, report: UsageReport) -> None:
        """Send a usage report to all control planes."""
        for session in self._all:
            session.report(report)


def _binding(vm: str, vport: str) -> fabric_pb2.Binding:
    return fabric_pb2.Binding(vm=vm, vport=vport)
