"""The host process: host agent and dataplane of one VM host or Hoverboard (paper sections 3.2 and 4).

One control loop serves requests from above, the dataplane's events and timers, all in one thread:
what it decides is decided in order. The engine has a thread of its own and never waits for it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.errors import HoverboardError, InputError, SwitchError
from hoverboard.contract.reports import UsageReport
from hoverboard.host.checkpoint import Keeper
from hoverboard.host.client import HostConfig
from hoverboard.host.generations import make
from hoverboard.host.looking import Looking
from hoverboard.host.reporting import Reports
from hoverboard.host.resumption import Resumption
from hoverboard.host.session import ControlSessions
from hoverboard.vswitch.ovs import Ovs

_HOUSEKEEPING = 1.0  # seconds
_EXCHANGE = 0.1  # seconds between two looks at routes that are learned, while there are any
_NUDGES = 3  # one a housekeeping


class _Connection:
    """A client of host.sock: requests in, with descriptors; replies out."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.pending = bytearray()
        self.fds: list[int] = []

    def requests(self) -> list[dict[str, Any]] | None:
        """Complete requests that have arrived; None when the client has closed."""
        data, fds, _flags, _address = socket.recv_fds(self.socket, 1 << 16, 4)
        self.fds += fds
        if not data:
            return None
        self.pending += data
        *lines, rest = bytes(self.pending).split(b"\n")
        self.pending[:] = rest
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self.close_fds()
        self.socket.close()

    def close_fds(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def _outlive(work: Callable[[], object]) -> None:
    """Do `work`; what goes wrong in it is written to host.log, and the host goes on forwarding."""
    try:
        work()
    except Exception:  # an answer nobody foresaw must cost one packet or one report, not a host's VMs
        traceback.print_exc(file=sys.stderr)


class HostProcess:
    """The parts of one host, wired together."""

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
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._keeper = Keeper()
        self._resumption = Resumption(config, self._switch, self._keeper)
        self._next_ofport = self._resumption.saved.free_ofport()
        self._complete = not config.resume  # all that the process before this one had is plugged in
        if not config.resume:
            self._resumption.configure()
        made = make(config, self._switch, self._keeper)
        self._plane, self._exchange = made.plane, made.routes
        try:
            self._plane.limit(*config.capacity)
        except SwitchError:
            if self._complete:
                raise  # else the switch may be away: it is told when it is back
        self._relayed = False  # a Hoverboard reports, too
        self._reports = Reports(self._plane)
        self._session = ControlSessions(
            [config.control_address, *(address for address, _ in config.more_doors)],
            config.node, self._set_interval, datapath_id(config.underlay_ip),
        )  # fmt: skip
        self._methods: dict[str, Callable[[dict[str, Any], list[int]], Any]] = {
            "ready": lambda _request, _fds: True,
            "set_uplink": lambda _request, fds: self._plane.set_uplink(fds[0]),
            "attach": self._attach,
            "detach": self._detach,
            "resume": lambda _request, _fds: self._resume(),
            "switch_back": lambda _request, _fds: self._settle(),
            "set_rate": self._set_rate,
            "status": lambda _request, _fds: self._status(),
            "flows": lambda _request, _fds: self._plane.flows(),
            "looking_ready": lambda _request, _fds: self._looking().ready(),
            "capture": self._capture,
            "sample_latency": lambda request, fds: self._looking().sample(int(request["every"]), fds[0]),
            "latency": lambda _request, _fds: self._looking().latency(),
        }

    def run(self) -> None:
        """Serve until SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder, which ends us in order
        signal.set_wakeup_fd(self._wake_writer)
        path = Path(self._config.node_dir) / "host.sock"
        path.unlink(missing_ok=True)  # of a host process that was killed
        self._listener.bind(str(path))
        os.chmod(path, 0o600)
        self._listener.listen(16)
        self._register(self._listener.fileno(), self._accept)
        self._register(self._wake_reader, self._drain)
        if self._complete:
            self._begin()
        next_second = time.monotonic() + _HOUSEKEEPING
        while not self._stopping:
            self._sync_readers()
            now = time.monotonic()
            due = min(next_second, self._reported + self._interval)
            if self._keeper.due is not None:
                due = min(due, self._keeper.due)
            if self._exchange.busy:
                due = min(due, now + _EXCHANGE)
            for key, _events in self._selector.select(max(0.0, due - now)):
                _outlive(key.data)
            now = time.monotonic()
            if self._exchange.busy:
                _outlive(self._exchange.tick)
            if now >= self._reported + self._interval:
                _outlive(partial(self._report, now))
            if self._keeper.due is not None and now >= self._keeper.due:
                _outlive(partial(self._keeper.flush, now))
            if now >= next_second:
                next_second = now + _HOUSEKEEPING
                self._nudge()
                if not self._resumption.settled:
                    _outlive(self._settle)
                _outlive(partial(self._plane.every_second, now))
        self._session.stop()
        self._plane.close()
        self._keeper.close()

    def _begin(self) -> None:
        """Everything is as it is to be: keep it, and tell the control plane."""
        self._resumption.keep(lambda: self._vports, self._plane.kept)
        self._session.start()

    def _resume(self) -> None:
        """All ports are plugged in. The control plane hears of this host only now: it takes a Hello for the whole."""
        if self._complete:
            return
        self._plane.resume(self._resumption.saved)
        self._complete = True
        self._begin()

    def _settle(self) -> None:
        """Have the switch agree with what is plugged in here; later, if it is away or not everything is."""
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
        """The control plane is back: have the switch look for it too, until its back-off has surely passed."""
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

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        connection = _Connection(sock)
        self._register(sock.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: _Connection) -> None:
        try:
            requests = connection.requests()
        except (OSError, ValueError):
            requests = None
        if requests is None:
            self._selector.unregister(connection.socket.fileno())
            connection.close()
            return
        for request in requests:
            reply = self._answer(request, connection.fds)
            connection.close_fds()
            try:
                connection.socket.sendall(json.dumps(reply).encode() + b"\n")
            except OSError:
                return  # the client is gone; the selector tells next

    def _answer(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        method = self._methods.get(str(request.get("method")))
        if method is None:
            return {"error": f"unknown method {request.get('method')!r}"}
        try:
            return {"result": method(request, fds)}
        except HoverboardError as error:
            return {"error": str(error)}
        except Exception as error:  # the loop must outlive any one request
            traceback.print_exc(file=sys.stderr)
            return {"error": f"{request['method']}: {error!r} (see host.log of {self._config.node})"}

    def _attach(self, request: dict[str, Any], fds: list[int]) -> str:
        vm, device = str(request["vm"]), request.get("device")
        if vm in self._vports:
            return self._vports[vm][0]
        known = self._resumption.vport(vm, request.get("vport"))
        if known is None:
            self._switch.check_reachable()
            ofport = self._next_ofport
            vport = str(device or f"vp{ofport}")
            ofport = self._switch.add_vport(vport, ofport, vm=vm, device=device is not None)
        else:
            vport, ofport = known
        self._next_ofport = max(self._next_ofport, ofport + 1)
        self._plane.attach(
            vm, vport, ofport, fds[0] if fds else None,
            network=str(request.get("network") or ""), rate=request.get("rate"), vni=int(request.get("vni") or 0),
            addresses=tuple(ip_address(request[key]) for key in ("ip", "ip6") if request.get(key)),
        )  # fmt: skip
        self._vports[vm] = (vport, ofport)
        found = tuple(ip_address(request[key]) for key in ("ip", "ip6") if request.get(key))
        self._exchange.attached(ofport, int(request.get("vni") or 0), str(request["mac"]), found)
        self._keeper.vport_changed(vm)
        self._session.bind(vm, vport)
        return vport

    def _set_rate(self, request: dict[str, Any], _fds: list[int]) -> bool:
        vm, rate = str(request["vm"]), request.get("rate")
        if vm not in self._vports:
            raise InputError(f"VM {vm} is not plugged in", where=self._config.node, next_step="attach it first")
        self._plane.set_rate(vm, None if rate is None else int(rate))
        return True

    def _detach(self, request: dict[str, Any], _fds: list[int]) -> bool:
        vm = str(request["vm"])
        if vm not in self._vports:
            return False
        # Forgotten last, so that a detach which failed half way can be asked for again.
        self._resumption.remove_vport(self._vports[vm][0])
        self._plane.detach(vm)
        self._exchange.detached(self._vports[vm][1])
        self._session.unbind(vm)
        del self._vports[vm]
        self._keeper.vport_changed(vm)
        return True

    def _looking(self) -> Looking:
        looking = self._plane.looking
        if looking is None:
            node = self._config.node
            raise InputError(
                f"{node} has dataplane {self._config.dataplane}, which has no engine to look into",
                where=node, next_step=f"use tcpdump: hoverboard exec {node} -- tcpdump -i DEVICE",
            )  # fmt: skip
        return looking

    def _capture(self, request: dict[str, Any], fds: list[int]) -> list[str]:
        names = [str(name) for name in request["ports"]]
        return self._looking().capture(names, int(request["snap"]), int(request["count"]), *fds)

    def _status(self) -> dict[str, Any]:
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
            "checkpoint": {**(self._keeper.status() or {}), **self._resumption.status()},
            "next_report_seconds": max(0.0, self._reported + self._interval - time.monotonic()),
        }

    def _report(self, now: float) -> None:
        seconds, self._reported = now - self._reported, now
        # A Hoverboard does not report: the paper takes usage from sending hosts only (section 3.3.1), and an offload
        # policy that asks for the other is there to compare.
        relays = self._config.role == "hoverboard"
        if relays and not self._relayed:
            return
        self._plane.tell_relayed(relays)
        flows = self._plane.usage()
        if not relays:
            self._exchange.used(flows)
        if flows and self._reports.passes(flows, relays):
            self._session.report(UsageReport(self._config.node, seconds, flows))


class _PlaneReader:
    """Marks a callback as the dataplane's, so that it is unregistered when the dataplane drops it."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def __call__(self) -> None:
        self._callback()


def main(config: HostConfig) -> None:
    """Run one host process until SIGTERM."""
    HostProcess(config).run()
