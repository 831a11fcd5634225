"""The testbed: brings a run of a topology up, changes it while it is there, takes it down.

One code path for all: the command line's holder, experiments, tests and `HoverboardNet` use this class. It is a face:
the work is done by `topologies.run.run` and by what stands on that.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.fm.fabric_client import FabricClient
from controllers.vmc.offload.policy_file import find_policy
from hoverboard.contract.entities import AnyEntity, Dataplane, Scheduling
from hoverboard.contract.errors import RunError
from hoverboard.host.control.host_client import HostClient
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.manager import ProgramState
from topologies.emulation import ovs_daemons
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.nodes import NamespaceNode, Server
from topologies.processes import ledger
from topologies.processes.phases import Progress
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.processes.signals import defer_signals
from topologies.run import apply, status, up, vm_changes
from topologies.run.holder_server import HolderServer
from topologies.run.run import Run, State
from topologies.spec import schema
from topologies.spec.topology import FABRIC, Model, Topology, VMSpec, check_enforced, check_model

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import AddedVM, Applied, ModelChange
    from hoverboard.contract.node_documents import Flows, Node
    from hoverboard.rpc.answering import Methods


_MODEL_TIMEOUT = 60.0  # seconds


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
        resolved = self._original = topology if isinstance(topology, Topology) else schema.load(topology)
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
        self._resolved = resolved
        self._layout = control if control is not None else ControlLayout()
        self.directory = RunDirectory.of(run or resolved.name, state_dir)
        self.run = self.directory.run
        self.datapath_type = ovs_daemons.datapath_type()
        self._run: Run | None = None  # the last one, also when it is down

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
        up.check_machine()
        for server in self.topology.servers:
            ovs_daemons.check_generation(server.dataplane, self.datapath_type, where=server.name)
        self.directory.check_socket_paths([server.name for server in self.topology.servers])
        with self._undone_on_failure(before=self._run):
            self._make_run(progress)
            run = self._current_run()
            run.begin(HolderServer(self.directory.socket, self._methods()))
            if prepared is not None:
                prepared()
            up.build(run)

    def start(self) -> None:
        """Switches, host processes, the control plane; returns when every VM reaches its gateway."""
        with self._undone_on_failure():
            up.start(self._current_run())

    @contextlib.contextmanager
    def _undone_on_failure(self, before: Run | None = None) -> Iterator[None]:
        """A run that is not the one `before` is taken down when the block fails."""
        try:
            yield
        except BaseException as error:
            run = self._run
            if run is None or run is before:
                raise
            ended_elsewhere = run.closing.is_set()
            self.down()
            if ended_elsewhere and isinstance(error, Exception):
                raise RunError(f"run {self.run!r} was taken down while it was starting") from error
            raise

    def _make_run(self, progress: Progress | None) -> None:
        if self.state != "down":
            raise RunError(f"this testbed is {self.state} already", where=self.run, next_step="take it down first")
        lock = self._take_lock()
        try:
            self._run = Run(self.directory, lock, self.topology, self._layout, self.datapath_type, progress)
        except BaseException:
            ledger.remove_tree(self.directory)
            lock.release()
            raise

    def _take_lock(self) -> RunLock:
        lock = RunLock.try_take(self.directory, create=True)
        step = f"use another name with --run, or end it: hoverboard down --run {self.run}"
        if lock is None:
            raise RunError(f"run {self.run!r} is already up, or being started or ended", next_step=step)
        if self.directory.ledger.exists():
            lock.release()
            raise RunError(f"run {self.run!r} died and left things behind", next_step=step)
        return lock

    # -- down -------------------------------------------------------------------------------------

    def down(self) -> None:
        """Undo everything; harmless when there is nothing to undo."""
        with defer_signals():
            if self._run is not None:
                self._run.take_down()

    @property
    def state(self) -> State:
        """ "starting", "up", "stopping" or "down"."""
        return "down" if self._run is None else self._run.state

    @property
    def going_down(self) -> bool:
        """Whether somebody has begun to take it down, or has done so."""
        return self._run is not None and self._run.closing.is_set()

    def wait_going_down(self) -> None:
        """Wait until somebody begins to take it down."""
        if self._run is not None:
            self._run.closing.wait()

    def wait_down(self) -> None:
        """Wait until it is down."""
        if self._run is not None:
            self._run.ended.wait()

    # -- what there is ----------------------------------------------------------------------------

    def _current_run(self) -> Run:
        if self._run is None or self._run.state == "down":
            raise RunError(f"run {self.run!r} is not up", next_step="start it first")
        return self._run

    @property
    def topology(self) -> Topology:
        """What there should be now, VMs that came and went included; read-only."""
        return self._resolved if self._run is None else self._run.topology

    @property
    def phases(self) -> dict[str, float]:
        """Seconds that each phase of the start took."""
        return {} if self._run is None else dict(self._run.phases.seconds)

    @property
    def seconds_since_begun(self) -> float:
        """Seconds since the start began."""
        return self._current_run().phases.total()

    @property
    def fabric_name(self) -> str:
        """Name of the fabric's node."""
        return FABRIC

    def nodes(self) -> dict[str, NamespaceNode]:
        """All nodes by name, the fabric included."""
        return dict(self._current_run().network.nodes)

    def node(self, name: str) -> NamespaceNode:
        """A node by name; InputError when there is none."""
        return self._current_run().network.node(name)

    def server(self, name: str) -> Server:
        """A VM host or Hoverboard by name; InputError otherwise."""
        return self._current_run().network.server(name)

    def links(self) -> list[Uplink | VirtualNIC]:
        """All uplinks, and the NICs of all VMs."""
        network = self._current_run().network
        return [*network.uplinks.values(), *network.nics.values()]

    def nic(self, name: str) -> VirtualNIC | None:
        """The NIC of a VM; None when there is none."""
        return self._current_run().network.nics.get(name)

    def pid_of(self, name: str) -> int:
        """Pid of the process that holds the namespaces of a node."""
        return int(self.node(name).pid)

    def host_client(self, name: str) -> HostClient:
        """RPC to the host process of a server; a connection of the caller's own, to be closed."""
        return HostClient(self.server(name).directory / "host.sock")

    @property
    def intent(self) -> FabricClient:
        """The line to the fabric manager (with regions: of the first region's); what is told here, the run forgets."""
        return self._current_run().cluster.client

    @property
    def intent_address(self) -> str:
        """gRPC address of the fabric manager, for a `FabricClient` of the caller's own."""
        return self._current_run().cluster.address

    # -- how it is --------------------------------------------------------------------------------

    def status(self) -> documents.Status:
        """The run, as `hoverboard status --json` shows it."""
        return status.status(self._last())

    def node_status(self, name: str) -> Node:
        """One node, as `hoverboard status NODE --json` shows it."""
        return status.node_status(self._current_run(), name)

    def control_status(self) -> documents.Control:
        """The control plane: its status, pid and restarts; `state` is "unreachable" when it does not answer."""
        return {"state": "down"} if self._run is None else status.control(self._run)

    def supervision(self) -> documents.Supervision:
        """What died of the run and what became of it (`Supervisor.status`)."""
        return self._current_run().supervisor.status()

    def program_state(self) -> ProgramState:
        """What the control plane has brought to the switches so far."""
        return self._current_run().cluster.program_state()

    def flows(self, name: str) -> Flows:
        """{"node", "openflow": [line], "entries": [..]} of a server."""
        return status.flows(self._current_run(), name)

    def offloads(self) -> list[documents.Offload]:
        """VM pairs that go host to host now, as the control plane knows them."""
        return self._current_run().cluster.offloads()

    def _last(self) -> Run:
        return self._current_run() if self._run is None else self._run

    # -- changes ----------------------------------------------------------------------------------

    def set_model(self, model: str, timeout: float = _MODEL_TIMEOUT) -> ModelChange:
        """Go over to another programming model while packets flow; {"model", "from", "seconds"} once that is done."""
        with self._current_run().changing() as run:
            wanted = check_model(run.topology, model)
            begin = time.monotonic()
            before = run.cluster.set_model(wanted, timeout)
            run.replace_topology(lambda running: replace(running, model=wanted))
            return {"model": wanted, "from": before, "seconds": round(time.monotonic() - begin, 3)}

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
        """Add a VM and wait until its gateway answers; see `topologies.run.vm_changes`."""
        return vm_changes.add_vm(self._current_run(), network, name, host)

    def remove_vm(self, name: str) -> None:
        """Remove a VM; InputError when there is none with that name."""
        vm_changes.remove_vm(self._current_run(), name)

    def prebuild_vms(self, network: str, count: int) -> list[VMSpec]:
        """Build VMs that the fabric manager has not heard of; see `topologies.run.vm_changes`."""
        return vm_changes.prebuild_vms(self._current_run(), network, count)

    def discard_vms(self, specs: Sequence[VMSpec]) -> None:
        """Remove VMs of `prebuild_vms`, and take them out of the intent."""
        vm_changes.discard_vms(self._current_run(), specs)

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity of the intent, for good: a fabric manager that comes back is told it again."""
        self._current_run().cluster.upsert(entity)

    def remove(self, entity: AnyEntity) -> None:
        """Take back one entity of `upsert`; harmless when it is not there."""
        self._current_run().cluster.remove(entity)

    def full_update(self) -> None:
        """Tell the control plane everything there should be once more."""
        self._current_run().cluster.full_update()

    def suppress_restarts(self, name: str) -> None:
        """What dies on a server from now on stays dead, as when the machine fails; InputError when there is none."""
        self._current_run().supervisor.suppress_restarts(self.server(name).name)

    def apply(self, file: str | Path | schema.TopologyText, *, dry_run: bool = False) -> Applied:
        """Have the run be what a topology file says, or only tell what that would change; see `topologies.run.apply`.

        Raises:
            InputError: the file is wrong, or asks for what a run cannot change; EntityError, RunError: as there.
        """
        with self._current_run().changing() as run:
            given = schema.read(file) if isinstance(file, str | Path) else file
            wanted = schema.parse(**given, running=run.topology)
            return apply.apply(run, self._original, wanted, given["source"], dry_run=dry_run)

    # -- for the command line ---------------------------------------------------------------------

    def _methods(self) -> Methods:
        """What other processes can ask of the run, on its holder.sock (`topologies.client.run_client.RunClient`)."""

        def add_vm(network: str, name: str | None = None, host: str | None = None) -> AddedVM:
            return status.vm_document(self.add_vm(network, name, host))

        def apply(text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
            return self.apply({"text": text, "source": source, "name": name, "base": Path(base)}, dry_run=dry_run)

        def shutdown() -> bool:
            """Done behind the reply; the caller waits for the run's lock."""
            threading.Thread(target=self.down, name="shutdown").start()
            return True

        return {
            "ping": lambda: {"pid": os.getpid(), "state": self.state},
            "status": self.status,
            "node_status": lambda node: self.node_status(node),
            "flows": lambda node: self.flows(node),
            "offloads": self.offloads,
            "pid_of": self.pid_of,
            "add_vm": add_vm,
            "remove_vm": self.remove_vm,
            "set_model": self.set_model,
            "apply": apply,
            "shutdown": shutdown,
        }
