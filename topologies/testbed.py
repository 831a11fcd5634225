"""The testbed: brings a topology up in parallel phases, changes it while it runs, takes it down.

One code path for all: the command line's holder, experiments, tests and `HoverboardNet` use this
class. It owns the Mininet objects, the ledger and, as cluster management, the fabric manager's client.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.vmc.policies import find_policy
from hoverboard.contract.entities import Dataplane, Scheduling
from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.host.client import HostClient
from topologies import applying, bringup, changes, ledger, schema, status, switches
from topologies.clock import PhaseClock, Progress
from topologies.interrupts import signals_wait
from topologies.nodes import NamespaceNode, Server
from topologies.parts import Parts
from topologies.processes import LinuxProcesses, Process, start_time
from topologies.roles import ControlLayout
from topologies.rundir import RunDirectory, RunLock
from topologies.topology import FABRIC, Model, Topology, VMSpec, check_enforced, check_model

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import Applied, ModelChange
    from hoverboard.contract.node_documents import Flows


_MODEL_TIMEOUT = 60.0  # seconds
_REAP_TIMEOUT = 10.0


class Testbed:
    """One run of a topology; a context manager that is up inside the `with`.

    Args:
        topology: a resolved topology, the path of a topology file, or the name of a shipped one.
        run: name of the run; default: the topology's name.
        model, dataplane, scheduling, offload_policy: instead of what the topology says.
        control: the processes of the control plane; default: all roles in one.
        state_dir: instead of HOVERBOARD_STATE_DIR.

    Raises (up):
        InputError, RunError (already up, racing, or a part did not come up), MachineError.
    """

    __test__ = False  # not a pytest class

    def __init__(
        self,
        topology: Topology | str | Path,
        *,
        run: str | None = None,
        model: Model | None = None,
        dataplane: Dataplane | None = None,
        scheduling: Scheduling | None = None,
        offload_policy: str | None = None,
        control: ControlLayout | None = None,
        state_dir: Path | None = None,
    ) -> None:
        resolved = self._given = topology if isinstance(topology, Topology) else schema.load(topology)
        if model is not None:
            resolved = replace(resolved, model=check_model(resolved, model))
        if offload_policy is not None:
            find_policy(offload_policy)
            resolved = replace(resolved, offload=replace(resolved.offload, policy=os.path.abspath(offload_policy)))
        if dataplane is not None:
            resolved = resolved.with_dataplane(dataplane)
        if scheduling is not None:
            resolved = replace(resolved, scheduling=scheduling)
        check_enforced(resolved)
        self.topology = resolved
        self.control_layout = control if control is not None else ControlLayout()
        self.directory = RunDirectory.of(run or resolved.name, state_dir)
        self.run = self.directory.run
        self.state = "down"
        self.datapath_type = switches.datapath_type()
        self.clock = PhaseClock()
        self.closed = threading.Event()  # it is being taken down
        self.ended = threading.Event()  # it has been
        self._progress: Progress | None = None
        self._lock: RunLock | None = None
        self._parts: Parts | None = None
        self._change_lock = threading.RLock()

    # -- up ---------------------------------------------------------------------------------------

    def up(self, progress: Progress | None = None, prepared: Callable[[], None] | None = None) -> None:
        """Bring everything up; on any failure, Ctrl-C included, everything is undone before it raises.

        Args:
            progress: called, from any thread, as phases advance.
            prepared: called once the run's directory is ours.
        """
        self.build(progress, prepared)
        self.start()

    def __enter__(self) -> Testbed:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def build(self, progress: Progress | None = None, prepared: Callable[[], None] | None = None) -> None:
        """Namespaces, links and devices: what Mininet calls build."""
        bringup.check_machine()
        for server in self.topology.servers:
            switches.check_generation(server.dataplane, self.datapath_type, where=server.name)
        self._progress = progress
        self.directory.check_socket_paths([server.name for server in self.topology.servers])
        with self._undone_on_failure():
            self._take_lock()
            parts = self._begin()
            if prepared is not None:
                prepared()
            parts.plant.make_nodes(self.topology, parts.workers, self.clock)
            parts.plant.make_links(self.topology, parts.workers, self.clock)

    def start(self) -> None:
        """Switches, host processes, the control plane; returns when every VM reaches its gateway."""
        with self._undone_on_failure():
            bringup.start_switches(self)
            bringup.start_hosts(self)
            bringup.start_control_plane(self)
            bringup.wait_programmed(self)
            bringup.wait_ready(self, self.topology.vms)
            self.parts.cluster.keep()
            self.parts.supervise()
            self.state = "up"

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            by_another_hand = self.closed.is_set()
            self.down()
            if by_another_hand and isinstance(error, Exception):
                raise RunError(f"run {self.run!r} was taken down while it was starting") from error
            raise

    def _take_lock(self) -> None:
        lock = RunLock.try_take(self.directory, create=True)
        step = f"use another name with --run, or end it: hoverboard down --run {self.run}"
        if lock is None:
            raise RunError(f"run {self.run!r} is already up, or being started or ended", next_step=step)
        if self.directory.ledger.exists():
            lock.release()
            raise RunError(f"run {self.run!r} died and left things behind", next_step=step)
        self._lock = lock

    def _begin(self) -> Parts:
        self.state = "starting"
        self.clock = PhaseClock(self._progress)
        book = ledger.Ledger(self.directory)
        book.create(LinuxProcesses())
        pid = os.getpid()
        book.record_process(Process(pid, start_time(pid) or 0), "holder", "holder")
        self.directory.logs.mkdir(mode=0o700)
        self.directory.topology.write_text(self.topology.text, encoding="utf-8")
        parts = self._parts = Parts(self)
        parts.server.start()
        # Both take a while to import what they need: they do it while devices are made.
        parts.cluster.start()
        parts.hosts.start_nursery()
        return parts

    # -- down -------------------------------------------------------------------------------------

    def down(self) -> None:
        """Undo everything; harmless when there is nothing to undo."""
        with signals_wait():
            if self._lock is None:
                return
            self._stop_everything()
            # Whoever changes the run right now fails at once: what it waits for is dead.
            with self._change_lock:
                self._remove_everything()

    def _stop_everything(self) -> None:
        """From here on no process of the run can start, whatever other threads are doing."""
        self.state = "stopping"
        self.closed.set()
        if self._parts is not None:
            self._parts.cluster.close()  # it would bring the control plane back
            self._parts.supervisor.stop()
        with contextlib.suppress(FileNotFoundError):  # another thread may be faster
            if self.directory.ledger.exists():
                ledger.kill_all(self.directory)

    def _remove_everything(self) -> None:
        if self._lock is None:
            return
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.server.stop()
            parts.workers.stop()
        if self.directory.ledger.exists():
            ledger.kill_all(self.directory)
        if parts is not None:
            parts.supervisor.join()
        ledger.remove_tree(self.directory)
        if parts is not None:
            parts.hosts.close()
            parts.launcher.reap(_REAP_TIMEOUT)
            parts.plant.close()
        self._lock.release()
        self._lock = None
        self.state = "down"
        self.ended.set()

    # -- while it runs ----------------------------------------------------------------------------

    @property
    def parts(self) -> Parts:
        """What the run consists of; RunError when it is not up."""
        if self._parts is None:
            raise RunError(f"run {self.run!r} is not up", next_step="start it first")
        return self._parts

    def node(self, name: str) -> NamespaceNode:
        """A node by name; InputError when there is none."""
        return self.parts.plant.node(name)

    def server(self, name: str) -> Server:
        """A VM host or Hoverboard by name; InputError otherwise."""
        return self.parts.plant.server(name)

    def host_client(self, name: str) -> HostClient:
        """RPC to the host process of a server; a connection of the caller's own, to be closed."""
        return HostClient(self.server(name).directory / "host.sock")

    def pid_of(self, name: str) -> int:
        """Pid of the process that holds the namespaces of a node."""
        return int(self.node(name).pid)

    def let_die(self, name: str) -> None:
        """What dies on a server from now on stays dead, as when the machine fails; InputError when there is none."""
        self.parts.supervisor.let_die(self.server(name).name)

    @property
    def fabric_name(self) -> str:
        """Name of the fabric's node."""
        return FABRIC

    def status(self) -> documents.Status:
        """The run, as `hoverboard status --json` shows it."""
        return status.status(self)

    def flows(self, name: str) -> Flows:
        """{"node", "openflow": [line], "entries": [..]} of a server."""
        return status.flows(self, name)

    def control_status(self) -> documents.Control:
        """The control plane: its status, pid and restarts; `state` is "unreachable" when it does not answer."""
        parts = self._parts
        if parts is None or self.state != "up":
            return {"state": self.state}
        facts: documents.ControlFacts = {"pid": parts.cluster.pid, "restarts": parts.cluster.restarts}
        if self.control_layout.processes:
            facts["processes"] = parts.cluster.processes.documents()
        try:
            return {"state": "up", **facts, **parts.cluster.status()}
        except HoverboardError as error:
            return {"state": "unreachable", **facts, "error": str(error)}

    def wan_status(self) -> documents.WanStatus:
        """{"wan": the link between two regions, and what of it this kernel cannot do}; empty where there is none."""
        wan = self._parts.plant.wan if self._parts is not None else None
        return {} if wan is None else {"wan": wan.document()}

    def offloads(self) -> list[documents.Offload]:
        """VM pairs that go host to host now, as the control plane knows them."""
        return self.parts.cluster.offloads()

    def set_model(self, model: str, timeout: float = _MODEL_TIMEOUT) -> ModelChange:
        """Go over to another programming model while packets flow; {"model", "from", "seconds"} once that is done."""
        with self._change_lock:
            self._check_up()
            parts = self.parts
            wanted = check_model(self.topology, model)
            begin = time.monotonic()
            before = parts.cluster.set_model(wanted, timeout)
            self.topology = replace(self.topology, model=wanted)
            return {"model": wanted, "from": before, "seconds": round(time.monotonic() - begin, 3)}

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
        """Add a VM and wait until its gateway answers; see `topologies.changes`."""
        with self._change_lock:
            self._check_up()
            return changes.add_vm(self, network, name, host)

    def remove_vm(self, name: str) -> None:
        """Remove a VM; InputError when there is none with that name."""
        with self._change_lock:
            self._check_up()
            changes.remove_vm(self, name)

    def apply(self, file: str | Path | schema.Given, *, dry_run: bool = False) -> Applied:
        """Have the run be what a topology file says, or only tell what that would change; see `topologies.applying`.

        Raises:
            InputError: the file is wrong, or asks for what a run cannot change; EntityError, RunError: as there.
        """
        with self._change_lock:
            self._check_up()
            given = schema.read(file) if isinstance(file, str | Path) else file
            wanted = schema.parse(**given, present=self.topology)
            return applying.apply(self, self._given, wanted, given["source"], dry_run=dry_run)

    def _check_up(self) -> None:
        if self.state != "up":
            raise RunError(f"run {self.run!r} is {self.state}", next_step="wait until it is up")
