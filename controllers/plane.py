"""All roles of the control plane in one process: fabric manager, VM controller, front end (paper section 3).

One event loop, no threads of its own: inputs go to the pure core in the order they come, the core's
work goes to the switches' sessions. Nothing is computed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from controllers.fm.fabric import Changes, Fabric
from controllers.fm.index import EntityKey
from controllers.fm.server import FabricManagerServicer
from controllers.fm.wire import MAX_MESSAGE
from controllers.ofe.frontend import SwitchSession
from controllers.ofe.server import FrontEnd
from controllers.program import Program
from controllers.vmc.core import ControllerCore
from controllers.vmc.facts import Sync
from controllers.vmc.hosts import HostsServicer
from controllers.vmc.models import model_named
from controllers.vmc.offload import DEFAULT_IDLE_EXPIRY, DEFAULT_THRESHOLD_BPS, OffloadPolicy
from hoverboard.contract import fabric_pb2_grpc
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.reports import UsageReport

_log = logging.getLogger(__name__)

# How long an update waits for the switches to confirm before it answers all the same: a live switch
# takes a few ms, and a dead one must not hold up cluster management.
_CONFIRM_TIMEOUT = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run a control plane.

    Attributes:
        directory: where control.sock (gRPC) and of.sock (OpenFlow) are made.
        threshold_bps: usage above which a pair is offloaded, bits a second.
        idle_expiry: seconds without traffic after which an offload is taken back.
        report_interval: seconds between usage reports.
    """

    directory: Path
    model: str = "hoverboard"
    threshold_bps: float = DEFAULT_THRESHOLD_BPS
    idle_expiry: float = DEFAULT_IDLE_EXPIRY
    report_interval: float = 1.0


class ControlPlane:
    """The running control plane; listens to cluster management, host agents and switches."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._fabric = Fabric()
        self._policy = OffloadPolicy(settings.threshold_bps, settings.idle_expiry)
        self._core = ControllerCore(model_named(settings.model), self._policy)
        self._sessions: dict[int, tuple[int, SwitchSession]] = {}  # datapath id -> generation, session
        self._front_end = FrontEnd(settings.directory / "of.sock", self)
        self._loop = asyncio.get_running_loop()
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serve OpenFlow, then gRPC: once Status answers, everything is there."""
        await self._front_end.start()
        path = self.settings.directory / "control.sock"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        unlimited = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = server = grpc.aio.server(options=unlimited)
        fabric_pb2_grpc.add_FabricManagerServicer_to_server(FabricManagerServicer(self), server)  # type: ignore[no-untyped-call]
        fabric_pb2_grpc.add_HostsServicer_to_server(  # type: ignore[no-untyped-call]
            HostsServicer(self, self.settings.report_interval), server
        )
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        os.chmod(path, 0o600)

    async def stop(self) -> None:
        """Stop serving; switches and hosts go on with what they have."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            await self._server.stop(grace=0)
        await self._front_end.stop()
        for task in list(self._tasks):
            task.cancel()

    # --- fm.server.ControlPlanePort -----------------------------------------------------------------

    async def full_update(self, entities: Sequence[AnyEntity]) -> tuple[Changes, Sequence[str]]:
        """Apply a full update; returns when live switches have it (or after a moment)."""
        self._flush()
        return await self._changed(self._fabric.full_update(entities))

    async def diff(self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey]) -> tuple[Changes, Sequence[str]]:
        """Apply a diff; returns when live switches have it (or after a moment)."""
        self._flush()
        return await self._changed(self._fabric.diff(upsert, remove))

    async def _changed(self, changes: Changes) -> tuple[Changes, Sequence[str]]:
        self._core.fabric_changed(changes, complete=self._fabric.synced)
        switches, sending = self._flush()
        if sending:
            await asyncio.wait(sending, timeout=_CONFIRM_TIMEOUT)
        return changes, sorted(switches)

    def status(self) -> dict[str, Any]:
        """The status document."""
        core = self._core
        switches: dict[str, dict[str, Any]] = {}
        dpids = {name: dpid for dpid, name in core.names.items()}
        for name, table in sorted(core.expected.tables.items()):
            switch = core.switches.get(dpids[name])
            switches[name] = {
                "connected": switch is not None and switch.connected,
                "agent": name in core.agents.online,
                "sync": switch.sync.value if switch is not None else Sync.AWAY.value,
                "flows": len(table),
                "programmed": switch is not None and switch.sync is Sync.SYNCED and switch.outstanding == 0,
                "errors": switch.errors if switch is not None else 0,
                "last_error": switch.last_error if switch is not None else "",
            }
        return {
            "model": self.settings.model,
            "version": self._fabric.version,
            "synced": self._fabric.synced,
            "switches": switches,
            "vms": {"intended": len(core.view.vms), "joined": len(core.view.ports)},
            "offloads": len(self._policy.active),
            "offload_threshold_bps": self.settings.threshold_bps,
            "offload_idle_expiry_s": self.settings.idle_expiry,
            "report_interval_s": self.settings.report_interval,
            "counters": dict(core.counters),
        }

    def offloads(self) -> list[dict[str, Any]]:
        """The offloads that stand; `since` in seconds of the Unix epoch."""
        now, epoch, vms = self._loop.time(), time.time(), self._core.view.vms
        return [
            {
                "network": vms[pair.src].network,
                "src": pair.src,
                "dst": pair.dst,
                "src_host": vms[pair.src].host,
                "dst_host": vms[pair.dst].host,
                "since": round(epoch - (now - offload.since), 3),
                "rate_bps": round(rate),
            }
            for pair, offload, rate in self._policy.rates(now)
        ]

    # --- ofe.frontend.SwitchEvents --------------------------------------------------------------------

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        """A switch is there; a newer session of the same switch replaces the older."""
        former = self._sessions.get(session.dpid)
        generation = self._core.switch_connected(session.dpid, ports)
        self._sessions[session.dpid] = (generation, session)
        if former is not None:
            former[1].close()
        self._schedule()

    def switch_disconnected(self, session: SwitchSession) -> None:
        """A session is over."""
        generation, current = self._sessions.get(session.dpid, (0, None))
        if current is session:
            del self._sessions[session.dpid]
            self._core.switch_disconnected(session.dpid, generation)

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        """A port came or went."""
        if self._sessions.get(session.dpid, (0, None))[1] is session:
            self._core.port_changed(session.dpid, name, port)
            self._schedule()

    # --- vmc.hosts.AgentEvents ------------------------------------------------------------------------

    def agent_hello(self, node: str, bindings: Mapping[str, str]) -> None:
        """An agent is there."""
        self._core.agent_hello(node, bindings)
        self._schedule()

    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        """A VM was plugged in."""
        self._core.agent_bound(node, vm, vport)
        self._schedule()

    def agent_unbound(self, node: str, vm: str) -> None:
        """A VM was unplugged."""
        self._core.agent_unbound(node, vm)
        self._schedule()

    def agent_gone(self, node: str) -> None:
        """An agent's stream ended."""
        self._core.agent_gone(node)

    def usage(self, report: UsageReport) -> None:
        """A usage report came."""
        self._core.usage(report, self._loop.time())
        self._schedule()

    # --- work -----------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Let the core work once all events that are here already have been taken in."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> tuple[set[str], list[asyncio.Task[None]]]:
        """Do what the core asks for; the switches changed, and the sends under way."""
        self._flush_due = False
        work = self._core.take()
        for dpid, generation in work.reads:
            self._spawn(dpid, generation, None)
        sending = [
            task
            for dpid, generation, program in work.programs
            if (task := self._spawn(dpid, generation, program)) is not None
        ]
        self._set_timer()
        return work.changed, sending

    def _spawn(self, dpid: int, generation: int, program: Program | None) -> asyncio.Task[None] | None:
        current, session = self._sessions.get(dpid, (0, None))
        if session is None or current != generation:
            return None
        doing = self._read(session, generation) if program is None else self._send(session, generation, program)
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read(self, session: SwitchSession, generation: int) -> None:
        try:
            flows = await session.dump()
        except SwitchError as error:
            _log.warning("%s", error)
            session.close()
            return
        self._core.switch_flows(session.dpid, generation, flows, self._loop.time())
        self._schedule()

    async def _send(self, session: SwitchSession, generation: int, program: Program) -> None:
        try:
            await session.send(program)
        except SwitchError as error:
            _log.warning("%s", error)
            self._core.program_refused(session.dpid, generation, str(error), self._loop.time())
            self._schedule()
        else:
            self._core.program_done(session.dpid, generation)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.deadline()
        if due is not None:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._core.tick(self._loop.time())
        self._flush()
