"""A running VM controller: the core, the sessions of its switches, and the clock (paper sections 3.1 and 3.3).

Inputs go to the pure core in the order in which they arrive; the core's work goes to the switches' sessions. Nothing
is computed here. The same controller runs in one process with the front end, or in a separate process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from controllers.crash import crash_on_error, critical_task
from controllers.fm.intent_store import Changes
from controllers.ofe.messages import PacketIn
from controllers.ofe.switch_interface import Deposed, SwitchSession
from controllers.program import Program
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Sync
from hoverboard.contract.errors import HoverboardError, RunError, SwitchError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.reports import UsageReport

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelBegun
    from hoverboard.contract.documents import ModelStatus, Offload, Switch


_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

# Seconds that an update waits for the switches to confirm it. A live switch takes a few ms; a dead one must not
# delay cluster management.
_CONFIRM_TIMEOUT = 0.1


def _core_call(method: Callable[Concatenate[Controller, _P], _T]) -> Callable[Concatenate[Controller, _P], _T]:
    """Make a method an input of the core: after an unexpected exception, the controller sends nothing more."""

    @wraps(method)
    def call(self: Controller, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            with crash_on_error():
                return method(self, *args, **kwargs)
        except HoverboardError:
            raise
        except Exception:
            self.broken = True
            raise

    return call


class Controller:
    """One VM controller on one event loop; receives intent, and events of switches and host agents.

    Args:
        core: the controller's state and decisions.
        deposed: called when a front end rejects a program because another controller has been elected.
        epoch: returns the seconds of the Unix epoch now.

    Attributes:
        broken: the core has raised an unexpected exception: the process ends (see `controllers.crash`).
    """

    def __init__(
        self,
        core: ControllerCore,
        deposed: Callable[[], None] | None = None,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self.core = core
        self.broken = False
        self._deposed = deposed
        self._epoch = epoch
        self._sessions: dict[int, tuple[int, SwitchSession]] = {}  # datapath id -> generation, session
        self._loop = asyncio.get_running_loop()
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Stop working; switches keep their flows."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()

    # --- intent ---------------------------------------------------------------------------------------

    async def changed(self, changes: Changes, *, complete: bool, number: int = 0) -> list[str]:
        """Apply a change of the intent; return the names of the switches whose program changed.

        Returns when these switches have confirmed their program, or after a short timeout.
        """
        switches, sending = self._changed(changes, complete, number)
        if sending:
            await asyncio.wait(sending, timeout=_CONFIRM_TIMEOUT)
        return sorted(switches)

    @_core_call
    def _changed(self, changes: Changes, complete: bool, number: int) -> tuple[set[str], list[asyncio.Task[None]]]:
        if self.broken:
            raise RunError(
                "the VM controller ends after an unexpected exception", where="fabric manager",
                next_step="read its log file, and retry after its restart",
            )  # fmt: skip
        self.core.fabric_changed(changes, complete=complete, now=self._loop.time(), number=number)
        return self.flush()

    # --- mastership -----------------------------------------------------------------------------------

    @_core_call
    def activate(self) -> None:
        """Become master: program the switches from now on; each is read and reconciled first."""
        self.core.activate(self._loop.time())
        self.schedule()

    @_core_call
    def deactivate(self) -> None:
        """Become a standby, because another controller is the master: send nothing, continue to learn."""
        self.core.deactivate()
        self._sessions = {
            dpid: (self.core.switches[dpid].generation, session) for dpid, (_, session) in self._sessions.items()
        }

    # --- programming model ----------------------------------------------------------------------------

    @_core_call
    def set_model(self, name: str) -> ModelBegun:
        """Begin a change to another programming model, and return its document at once.

        Raises:
            InputError: the model does not exist.
            RunError: another change is still in progress.
        """
        model, before = model_named(name, where="SetModel"), self.core.model.name
        self.core.set_model(model, self._loop.time())
        self.flush()
        return {"from": before, **self.model_document()}

    @_core_call
    def set_policy(self, policy: OffloadPolicy) -> None:
        """Use another offload policy; it takes over the active offloads."""
        self.core.set_policy(policy)
        self.flush()

    def model_document(self) -> ModelStatus:
        """The programming model, what a change to it waits for (None: complete), and the state of the models."""
        core = self.core
        return {
            "model": core.model.name,
            "switching": core.switching,
            "lookups": len(core.questions.lookups),
            "hoverboards_down": sorted(core.view.down),
        }

    # --- documents ------------------------------------------------------------------------------------

    def switches(self) -> dict[str, Switch]:
        """The switches of this controller, as `status` shows them; externally programmed ones have fixed values."""
        core = self.core
        found: dict[str, Switch] = {}
        dpids = {name: dpid for dpid, name in core.names.items()}
        for name, table in sorted(core.expected.tables.items()):
            switch = core.switches.get(dpids[name])
            found[name] = {
                "connected": switch is not None and switch.connected,
                "agent": name in core.agents.online,
                "sync": switch.sync.value if switch is not None else Sync.AWAY.value,
                "flows": len(table),
                "programmed": switch is not None and switch.sync is Sync.SYNCED and switch.outstanding == 0,
                "errors": switch.errors if switch is not None else 0,
                "last_error": switch.last_error if switch is not None else "",
            }
        for name in core.external():
            found[name] = {
                "connected": False, "agent": name in core.agents.online, "sync": Sync.EXTERNAL.value, "flows": 0,
                "programmed": True, "errors": 0, "last_error": "",
            }  # fmt: skip
        return dict(sorted(found.items()))

    def offloads(self) -> list[Offload]:
        """The active offloads; `since` in seconds of the Unix epoch."""
        now, epoch, vms = self._loop.time(), self._epoch(), self.core.view.vms
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
            for pair, offload, rate in self.core.policy.rates(now)
        ]

    # --- ofe.switch_interface.SwitchEvents --------------------------------------------------------------------

    @_core_call
    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        """Record a new session; it replaces an older session of the same switch."""
        former = self._sessions.get(session.dpid)
        generation = self.core.switch_connected(session.dpid, ports, self._loop.time())
        self._sessions[session.dpid] = (generation, session)
        if former is not None:
            former[1].close()
        self.schedule()

    @_core_call
    def switch_disconnected(self, session: SwitchSession) -> None:
        """Record the end of a session."""
        generation = self._generation_of(session)
        if generation is not None:
            del self._sessions[session.dpid]
            self.core.switch_disconnected(session.dpid, generation, self._loop.time())
            self.schedule()

    @_core_call
    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        """Record a new or removed port."""
        if self._generation_of(session) is not None:
            self.core.port_changed(session.dpid, name, port)
            self.schedule()

    @_core_call
    def packet_in(self, session: SwitchSession, packet: PacketIn) -> None:
        """Handle a packet that a flow sent to the controller."""
        generation = self._generation_of(session)
        if generation is not None:
            now = self._loop.time()
            self.core.packet_in(session.dpid, generation, packet.in_port, packet.cookie, packet.frame, now)
            self.schedule()

    @_core_call
    def front_end_lost(self, sessions: Iterable[SwitchSession], nodes: Iterable[str]) -> None:
        """Record that the link to a front end broke: the state of its switches and agents is unknown."""
        now = self._loop.time()
        for session in sessions:
            generation = self._generation_of(session)
            if generation is not None:
                del self._sessions[session.dpid]
                self.core.switch_disconnected(session.dpid, generation, now, reported=False)
        for node in nodes:
            self.core.agent_gone(node, now, reported=False)
        self.schedule()

    # --- vmc.agents.AgentEvents -----------------------------------------------------------------------

    @_core_call
    def agent_hello(self, node: str, bindings: Mapping[str, str]) -> None:
        """Record all bindings of an agent that opened its stream."""
        self.core.agent_hello(node, bindings, self._loop.time())
        self.schedule()

    @_core_call
    def agent_bound(self, node: str, vm: str, vport: str) -> None:
        """Record that a VM was plugged in."""
        self.core.agent_bound(node, vm, vport)
        self.schedule()

    @_core_call
    def agent_unbound(self, node: str, vm: str) -> None:
        """Record that a VM was unplugged."""
        self.core.agent_unbound(node, vm)
        self.schedule()

    @_core_call
    def agent_gone(self, node: str) -> None:
        """Record the end of an agent's stream."""
        self.core.agent_gone(node, self._loop.time())
        self.schedule()

    @_core_call
    def usage(self, report: UsageReport) -> None:
        """Process a usage report."""
        self.core.usage(report, self._loop.time())
        for error in self.core.policy.errors.take():
            exception = error if isinstance(error, BaseException) else None
            _log.error("the offload policy is wrong: %s", error, exc_info=exception)
        self.schedule()

    # --- sessions -------------------------------------------------------------------------------------

    def _generation_of(self, session: SwitchSession) -> int | None:
        """The generation of the connection that a session holds; None if the session is over or replaced."""
        known = self._sessions.get(session.dpid)
        return known[0] if known is not None and known[1] is session else None

    def _session_of(self, dpid: int, generation: int) -> SwitchSession | None:
        """The session of a connection; None if that connection is over."""
        known = self._sessions.get(dpid)
        return known[1] if known is not None and known[0] == generation else None

    # --- work -----------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Let the core work after all events that have already arrived."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    @_core_call
    def flush(self) -> tuple[set[str], list[asyncio.Task[None]]]:
        """Do the core's work; return the switches whose program changed, and the sends in progress."""
        self._flush_due = False
        if self.broken:
            return set(), []
        work = self.core.take()
        for dpid, generation in work.reads:
            self._spawn(dpid, generation, None)
        sending = [
            task
            for dpid, generation, program in work.programs
            if (task := self._spawn(dpid, generation, program)) is not None
        ]
        for dpid, generation, port, frame in work.packets:
            session = self._session_of(dpid, generation)
            if session is not None:
                session.packet_out(port, frame)
        self._set_timer()
        return work.changed, sending

    def _spawn(self, dpid: int, generation: int, program: Program | None) -> asyncio.Task[None] | None:
        session = self._session_of(dpid, generation)
        if session is None:
            return None
        doing = self._read(session, generation) if program is None else self._send(session, generation, program)
        task = critical_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read(self, session: SwitchSession, generation: int) -> None:
        try:
            flows = await session.dump()
        except Deposed as error:
            self._not_master(error)
            return
        except SwitchError as error:
            _log.warning("%s", error)
            session.close()
            return
        self._flows_read(session.dpid, generation, flows)

    async def _send(self, session: SwitchSession, generation: int, program: Program) -> None:
        try:
            await session.send(program)
        except Deposed as error:
            self._not_master(error)
        except SwitchError as error:
            _log.warning("%s", error)
            self._program_rejected(session.dpid, generation, str(error))
        else:
            self._program_done(session.dpid, generation)

    @_core_call
    def _flows_read(self, dpid: int, generation: int, flows: list[Flow]) -> None:
        self.core.switch_flows(dpid, generation, flows, self._loop.time())
        self.schedule()

    @_core_call
    def _program_rejected(self, dpid: int, generation: int, reason: str) -> None:
        self.core.program_rejected(dpid, generation, reason, self._loop.time())
        self.schedule()

    @_core_call
    def _program_done(self, dpid: int, generation: int) -> None:
        self.core.program_done(dpid, generation)
        self.schedule()

    def _not_master(self, error: Deposed) -> None:
        _log.warning("%s", error)
        if self._deposed is not None:
            self._deposed()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.deadline()
        self._timer = self._loop.call_at(due, self._tick) if due is not None else None

    @_core_call
    def _tick(self) -> None:
        self.core.tick(self._loop.time())
        self.flush()
