"""The host process: agent and dataplane of one VM host or Hoverboard (paper sections 3.2 and 4).

The control thread serves requests, dataplane events and timers, one after the other. The engines run in
threads of their own and never wait for the control thread.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import cast

from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Count, Mac, Name, Vni
from hoverboard.contract.errors import InputError, SwitchError
from hoverboard.contract.node_documents import Checkpoint, HostStatus
from hoverboard.contract.openflow.flow_names import FlowNames, NamesDocument
from hoverboard.contract.openflow.pipeline import TUNNEL_PORT_NAME
from hoverboard.contract.reports import UsageReport
from hoverboard.host.checkpointing.checkpoint import CheckpointWriter
from hoverboard.host.checkpointing.resumption import Resumption
from hoverboard.host.control.agent_session import ControlSessions
from hoverboard.host.control.host_client import HostConfig
from hoverboard.host.generations import make
from hoverboard.host.telemetry.hoverboard_reports import HoverboardReports
from hoverboard.host.telemetry.inspection import Inspection
from hoverboard.rpc.answering import Methods, TakesDescriptors
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import Server
from hoverboard.vswitch.ovs import Ovs

_HOUSEKEEPING = 1.0  # seconds
_EXCHANGE = 0.1  # seconds between two calls of RouteExchange.tick(), while there are routes or questions
_NUDGES = 3  # times that vswitchd is woken after the control plane is back, one a second


def _log_exceptions(work: Callable[[], object]) -> None:
    """Do `work`. Write an exception to host.log instead of raising it, so that the host goes on forwarding."""
    try:
        work()
    except Exception:  # an unexpected answer must cost one packet or one report, not the VMs of the host
        traceback.print_exc(file=sys.stderr)


class HostProcess:
    """The parts of one host, wired together; `run` serves until SIGTERM."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        directory = Path(config.node_dir)
        self._switch = Ovs(directory)
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._vports: dict[str, tuple[str, int]] = {}  # VM -> vport, OpenFlow port
        self._interval = 1.0
        self._nudges = 0
        self._reported = time.monotonic()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._checkpoint_writer = CheckpointWriter()
        self._resumption = Resumption(config, self._switch, self._checkpoint_writer)
        self._next_ofport = self._resumption.saved.free_ofport()
        self._complete = not config.resume  # every port of the process before this one is plugged in
        if not config.resume:
            self._resumption.configure()
        made = make(config, self._switch, self._checkpoint_writer)
        self._plane, self._exchange = made.plane, made.routes
        try:
            self._plane.limit(*config.capacity)
        except SwitchError:
            if self._complete:
                raise  # if the switch is down, switch_back() sets the limits later
        self._relayed = False  # the control plane asked for reports of Hoverboards, too
        self._reports = HoverboardReports(self._plane)
        self._session = ControlSessions(
            [config.control_address, *(address for address, _ in config.more_endpoints)],
            config.node, self._set_interval, datapath_id(config.underlay_ip),
        )  # fmt: skip
        # The planes copy the descriptors that they keep. Each parameter is checked against the type that it declares.
        self._methods: Methods = {
            "ready": lambda: True,
            "set_uplink": TakesDescriptors(lambda fds: self._plane.set_uplink(*fds.numbers)),
            "attach": TakesDescriptors(self._attach, 0, 1),
            "detach": self._detach,
            "resume": self._resume,
            "switch_back": self._settle,
            "set_rate": self._set_rate,
            "status": self._status,
            "flows": lambda: self._plane.flows(),
            "inspection_ready": lambda: self._inspection().ready(),
            "capture": TakesDescriptors(self._capture, 2, 2),
            "captured": lambda: self._inspection().captured(),
            "sample_latency": TakesDescriptors(self._sample_latency),
            "latency": lambda: self._inspection().latency(),
        }

    def run(self) -> None:
        """Serve until SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder, which ends us in order
        signal.set_wakeup_fd(self._wake_writer)
        node = self._config.node
        server = Server(Path(self._config.node_dir) / "host.sock", self._methods, where=node, log=f"host.log of {node}")
        self._register(server.fileno(), server.serve)
        self._register(self._wake_reader, self._drain)
        if self._complete:
            self._begin()
        next_second = time.monotonic() + _HOUSEKEEPING
        while not self._stopping:
            self._sync_readers()
            now = time.monotonic()
            due = min(next_second, self._reported + self._interval)
            if self._checkpoint_writer.due is not None:
                due = min(due, self._checkpoint_writer.due)
            if self._exchange.busy:
                due = min(due, now + _EXCHANGE)
            for key, _events in self._selector.select(max(0.0, due - now)):
                _log_exceptions(key.data)
            now = time.monotonic()
            if self._exchange.busy:
                _log_exceptions(self._exchange.tick)
            if now >= self._reported + self._interval:
                _log_exceptions(partial(self._report, now))
            if self._checkpoint_writer.due is not None and now >= self._checkpoint_writer.due:
                _log_exceptions(partial(self._checkpoint_writer.flush, now))
            if now >= next_second:
                next_second = now + _HOUSEKEEPING
                self._nudge()
                if not self._resumption.settled:
                    _log_exceptions(self._settle)
                _log_exceptions(partial(self._plane.every_second, now))
        self._session.stop()
        self._plane.close()
        self._checkpoint_writer.close()

    def _begin(self) -> None:
        """Start the checkpoint and the control sessions: all ports are plugged in."""
        self._resumption.keep(lambda: self._vports, self._plane.checkpoint_source)
        self._session.start()

    def _resume(self) -> None:
        """Start to forward: all ports are plugged in. Send Hello to the control plane only now, with all bindings."""
        if self._complete:
            return
        self._plane.resume(self._resumption.saved)
        self._complete = True
        self._begin()

    def _settle(self) -> None:
        """Make the ports of the switch agree with what is plugged in here. Retry later if the switch is down."""
        if self._complete and self._resumption.settle(self._vports):
            self._plane.switch_back()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _set_interval(self, seconds: float, relayed: bool) -> None:
        self._interval, self._relayed = seconds, relayed
        self._nudges = _NUDGES
        os.write(self._wake_writer, b"\0")  # the loop may be asleep for the old interval

    def _drain(self) -> None:
        os.read(self._wake_reader, 4096)
        self._nudge()

    def _nudge(self) -> None:
        """Wake vswitchd, so that it connects to its controller now. Repeat until its back-off has passed."""
        if self._nudges:
            self._nudges -= 1
            self._switch.nudge()

    def _register(self, fd: int, callback: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def _sync_readers(self) -> None:
        wanted = self._plane.readers()
        known = {fd for fd, key in self._selector.get_map().items() if isinstance(key.data, _PlaneReader)}
        for fd in known - wanted.keys():
            self._selector.unregister(fd)
        for fd in wanted.keys() - known:
            self._register(fd, _PlaneReader(wanted[fd]))

    def _attach(
        self,
        fds: Descriptors,
        vm: Name,
        mac: Mac,
        ip: IPv4Address,
        device: Name | None = None,
        network: str = "",
        rate: Count | None = None,
        vni: Vni | None = None,
        ip6: IPv6Address | None = None,
        vport: Name | None = None,
    ) -> str:
        if vm in self._vports:
            return self._vports[vm][0]
        fd = fds.numbers[0] if fds else None
        self._plane.check_attach(vm, fd, rate)
        if device in (TUNNEL_PORT_NAME, *(taken for taken, _ofport in self._vports.values())):
            raise InputError(
                f"device {device} is a port of the switch already", next_step="give each VM its own device"
            )
        known = self._resumption.vport(vm, vport)
        name, ofport = known or (device or f"vp{self._next_ofport}", self._next_ofport)
        addresses = (ip,) if ip6 is None else (ip, ip6)
        try:
            if known is None:
                self._switch.check_reachable()
                ofport = self._switch.add_vport(name, ofport, vm=vm, device=device is not None)
            self._next_ofport = max(self._next_ofport, ofport + 1)
            self._plane.attach(
                vm, name, ofport, fd, network=network, rate=rate, vni=vni or 0, addresses=addresses
            )  # fmt: skip
        except BaseException:
            if known is None:
                self._resumption.remove_vport(name)
            raise
        self._vports[vm] = (name, ofport)
        self._exchange.attached(ofport, vni or 0, mac, addresses)
        self._checkpoint_writer.vport_changed(vm)
        self._session.bind(vm, name)  # tour: vm 7
        return name

    def _set_rate(self, vm: str, rate: Count | None) -> bool:
        if vm not in self._vports:
            raise InputError(f"VM {vm} is not plugged in", where=self._config.node, next_step="attach it first")
        self._plane.set_rate(vm, rate)
        return True

    def _detach(self, vm: str) -> bool:
        if vm not in self._vports:
            return False
        # Removed last, so that a detach that failed half way can be retried.
        self._resumption.remove_vport(self._vports[vm][0])
        self._plane.detach(vm)
        self._exchange.detached(self._vports[vm][1])
        self._session.unbind(vm)
        del self._vports[vm]
        self._checkpoint_writer.vport_changed(vm)
        return True

    def _inspection(self) -> Inspection:
        inspection = self._plane.inspection
        if inspection is None:
            node = self._config.node
            raise InputError(
                f"{node} has dataplane {self._config.dataplane}, which has no engine to inspect",
                where=node, next_step=f"use tcpdump: hoverboard exec {node} -- tcpdump -i DEVICE",
            )  # fmt: skip
        return inspection

    def _capture(
        self, fds: Descriptors, ports: list[str], snap: Count, count: Count, names: NamesDocument
    ) -> list[str]:
        output, stop_socket = fds.numbers
        return self._inspection().capture(ports, snap, count, output, stop_socket, FlowNames.read(names))

    def _sample_latency(self, fds: Descriptors, every: Count) -> None:
        self._inspection().sample(every, *fds.numbers)

    def _status(self) -> HostStatus:
        config = self._config
        return {
            "node": config.node,
            "role": config.role,
            "dataplane": config.dataplane,
            "datapath_type": config.datapath_type,
            "pid": os.getpid(),
            "control_plane": "connected" if self._session.connected else "away",
            "vports": [
                {"vm": vm, "vport": vport, "ofport": ofport} for vm, (vport, ofport) in sorted(self._vports.items())
            ],
            "vms": self._plane.vms(),
            "counters": self._plane.counters(),
            "flow_table": self._plane.table(),
            "rates": self._plane.rates(),
            "learning": self._exchange.status(),
            "reports": self._reports.counters,
            "checkpoint": cast("Checkpoint", {**(self._checkpoint_writer.status() or {}), **self._resumption.status()}),
            "next_report_seconds": max(0.0, self._reported + self._interval - time.monotonic()),
        }

    def _report(self, now: float) -> None:
        seconds, self._reported = now - self._reported, now
        # A Hoverboard does not report by default: the paper takes usage from sending hosts only (section 3.3.1). An
        # offload policy that asks for reports of Hoverboards exists for comparison.
        relays = self._config.role == "hoverboard"
        if relays and not self._relayed:
            return
        self._plane.report_relayed(relays)
        flows = self._plane.usage()
        if not relays:
            self._exchange.used(flows)
        if flows and self._reports.passes(flows, relays):
            self._session.report(UsageReport(self._config.node, seconds, flows))


class _PlaneReader:
    """Mark a callback as the dataplane's, so that it is unregistered when the dataplane drops it."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def __call__(self) -> None:
        self._callback()


def main(config: HostConfig) -> None:
    """Run one host process until SIGTERM."""
    HostProcess(config).run()
