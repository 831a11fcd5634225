"""The testbed: brings a run of a topology up, changes it while it is up, and takes it down.

The holder of the command line, experiments, tests and `HoverboardNet` all use `Testbed`. It is a facade:
`topologies.run.run` and the modules above it do the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import Unpack

from controllers.fm.fabric_client import FabricClient
from hoverboard import programs
from hoverboard.contract.entities import AnyEntity, Dataplane, Scheduling
from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.plugins import without_running_files
from hoverboard.host.control.host_client import HostClient
from topologies.changes.link_change import LinkValues, original_after, parse_link
from topologies.changes.offload_change import OffloadValues
from topologies.changes.placement import VMValues
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.manager import ProgramState
from topologies.emulation import ovs_daemons
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.nodes import NamespaceNode, Server
from topologies.processes import failed_logs, ledger, state_space
from topologies.processes.phases import Progress
from topologies.processes.run_directory import RunDirectory
from topologies.processes.signals import defer_signals
from topologies.references.names import Notice
from topologies.run import apply, notices, plane_changes, status, up, vm_changes, wiring
from topologies.run.holder_requests import MODEL_TIMEOUT, requests
from topologies.run.holder_server import HolderServer
from topologies.run.run import Run, State
from topologies.run.run_options import check_start, with_options
from topologies.spec import schema
from topologies.spec.topology import FABRIC, Model, Topology, VMSpec

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import Applied, ModelChange, OffloadChange
    from hoverboard.contract.node_documents import Flows, Node, Wiring


class Testbed:
    """One run of a topology; a context manager: the run is up inside the `with`.

    Args:
        topology: a resolved topology, the path of a topology file, or the name of a shipped one.
        run: name of the run; default: the topology's name.
        model, dataplane, scheduling, offload_policy, offload_threshold: instead of the values of the topology.
        control: the processes of the control plane; default: one process.
        state_dir: directory for the files of runs; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.

    Raises:
        InputError: an argument is wrong, or does not fit the topology, or a path is too long.
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
        offload_threshold: str | None = None,
        control: ControlLayout | None = None,
        state_dir: str | Path | None = None,
    ) -> None:
        resolved = self._original = topology if isinstance(topology, Topology) else schema.load(topology)
        resolved = with_options(
            resolved, model=model, dataplane=dataplane, scheduling=scheduling, offload_policy=offload_policy,
            offload_threshold=offload_threshold,
        )  # fmt: skip
        self._resolved = resolved
        notices.warn(resolved.notices)
        self._layout = control if control is not None else ControlLayout()
        self.directory = RunDirectory.of(run or resolved.name, None if state_dir is None else Path(state_dir))
        check_start(resolved, self._layout, self.directory)
        self.run = self.directory.run
        programs.complete_path()  # for all that this process starts
        self.datapath_type = ovs_daemons.datapath_type()
        self._run: Run | None = None  # the latest run, even when it is down

    # -- up ---------------------------------------------------------------------------------------

    def up(self, progress: Progress | None = None, prepared: Callable[[], None] | None = None) -> None:
        """Bring everything up; return when every VM reaches its gateway, and hosts reach each other.

        On any failure, Ctrl-C included, everything is undone before the exception is raised.

        Args:
            progress: called as phases advance, from any thread.
            prepared: called once the run has its directory and serves requests.

        Raises:
            RunError: the run is up already, or a part of it did not come up.
            MachineError: the machine lacks a privilege, a kernel feature or a tool.
        """
        self.build(progress, prepared)
        self.start()

    def __enter__(self) -> Testbed:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def build(self, progress: Progress | None = None, prepared: Callable[[], None] | None = None) -> None:
        """Make namespaces, links and devices, as `build` of Mininet does; arguments as for `up`."""
        up.check_machine()
        for server in self.topology.servers:
            ovs_daemons.check_generation(server.dataplane, self.datapath_type, where=server.name)
        state_space.check(self.directory, len(self.topology.servers))
        with self._undone_on_failure(before=self._run):
            self._make_run(progress)
            run = self.current_run()
            run.begin(HolderServer(self.directory.socket, requests(self)))
            if prepared is not None:
                prepared()
            up.build(run)

    def start(self) -> None:
        """Start switches, host processes and the control plane; return when all of it works together (`up`)."""
        with self._undone_on_failure():
            up.start(self.current_run())

    @contextlib.contextmanager
    def _undone_on_failure(self, before: Run | None = None) -> Iterator[None]:
        """Take the run down when the block fails, unless it is the run `before`; an error keeps its logs."""
        try:
            yield
        except BaseException as error:
            no_space = state_space.reason(error, self.directory) if isinstance(error, Exception) else None
            run = self._run
            if run is None or run is before:
                if no_space is not None:
                    raise no_space from error
                raise
            ended_elsewhere = run.closing.is_set()
            with defer_signals():
                run.take_down(keep_logs=isinstance(error, Exception) and not ended_elsewhere)
            if ended_elsewhere and isinstance(error, Exception):
                what = f"run {self.run!r} was taken down while it was starting, by another process"
                raise RunError(what, next_step="bring it up again") from error
            if no_space is not None:
                raise no_space from error
            if isinstance(error, HoverboardError):
                failed_logs.explain(error, self.directory, run.kept_logs)
            raise

    def _make_run(self, progress: Progress | None) -> None:
        if self.state != "down":
            raise RunError(f"this testbed is {self.state} already", where=self.run, next_step="take it down first")
        with defer_signals():  # a lock without a run would stay behind
            lock = up.take_lock(self.directory)
            try:
                failed_logs.forget(self.directory)
                self._run = Run(self.directory, lock, self.topology, self._layout, self.datapath_type, progress)
            except BaseException:
                ledger.remove_tree(self.directory)
                lock.release()
                raise

    def down(self) -> None:
        """Take everything down; harmless when nothing is up."""
        with defer_signals():
            if self._run is not None:
                self._run.take_down()

    @property
    def state(self) -> State:
        """ "starting", "up", "stopping" or "down"."""
        return "down" if self._run is None else self._run.state

    @property
    def going_down(self) -> bool:
        """Whether the run is being taken down, or is down after it was up."""
        return self._run is not None and self._run.closing.is_set()

    def wait_going_down(self) -> None:
        """Wait until the run begins to go down."""
        if self._run is not None:
            self._run.closing.wait()

    def wait_down(self) -> None:
        """Wait until the run is down."""
        if self._run is not None:
            self._run.ended.wait()

    # -- parts of the run -------------------------------------------------------------------------

    def current_run(self) -> Run:
        """The run; RunError when it is down."""
        if self._run is None or self._run.state == "down":
            raise RunError(f"run {self.run!r} is not up", next_step="bring it up first, with `up()` or `with`")
        return self._run

    @property
    def topology(self) -> Topology:
        """The topology as it is now, with all VMs that were added and without those removed; read-only."""
        return self._resolved if self._run is None else self._run.topology

    @property
    def phases(self) -> dict[str, float]:
        """Duration of each phase of the start, in seconds."""
        return {} if self._run is None else dict(self._run.phases.seconds)

    @property
    def seconds_since_begun(self) -> float:
        """Seconds since the run was made."""
        return self.current_run().phases.total()

    @property
    def fabric_name(self) -> str:
        """Name of the fabric's node."""
        return FABRIC

    def nodes(self) -> dict[str, NamespaceNode]:
        """All nodes by name: VMs, hosts, Hoverboards, and the fabric."""
        return wiring.ordered_nodes(self.current_run())

    def node(self, name: str) -> NamespaceNode:
        """The node of this name; InputError when there is no such node."""
        return self.current_run().network.node(name)

    def server(self, name: str) -> Server:
        """The host or Hoverboard of this name; InputError when there is no such node."""
        return self.current_run().network.server(name)

    def links(self) -> list[Uplink | VirtualNIC]:
        """The uplinks of all nodes, then the NICs of all VMs."""
        return wiring.ordered_links(self.current_run())

    def nic(self, name: str) -> VirtualNIC | None:
        """The NIC of a VM; None when there is no such VM."""
        return self.current_run().network.nics.get(name)

    def pid_of(self, name: str) -> int:
        """Pid of the process that keeps the namespaces of a node."""
        return int(self.node(name).pid)

    def host_client(self, name: str) -> HostClient:
        """A new client for the host process of a node; the caller closes it."""
        return HostClient(self.server(name).directory / "host.sock")

    @property
    def intent(self) -> FabricClient:
        """Client of the fabric manager (with regions, of the first); the run forgets its changes, unlike `upsert`."""
        return self.current_run().cluster.client

    @property
    def intent_address(self) -> str:
        """gRPC address of the fabric manager, for the caller's own `FabricClient`."""
        return self.current_run().cluster.address

    def wiring(self) -> Wiring:
        """The nodes and the links between them, as Mininet's verbs need them."""
        return wiring.wiring(self.current_run())

    # -- status -----------------------------------------------------------------------------------

    def status(self) -> documents.Status:
        """The run, as `hoverboard status --json` shows it."""
        return status.status(self._run or self.current_run())

    def node_status(self, name: str) -> Node:
        """One node, as `hoverboard status NODE --json` shows it."""
        return status.node_status(self.current_run(), name)

    def control_status(self) -> documents.Control:
        """Status, pid and restarts of the control plane; `state` is "unreachable" when it does not answer."""
        return {"state": "down"} if self._run is None else status.control(self._run)

    def supervision(self) -> documents.Supervision:
        """The processes of the run that died, and their restarts (`Supervisor.status`)."""
        return self.current_run().supervisor.status()

    def program_state(self) -> ProgramState:
        """The progress of the control plane in programming the switches."""
        return self.current_run().cluster.program_state()

    def flows(self, name: str) -> Flows:
        """The flows of a node, as `hoverboard flows NODE --json` shows them."""
        return status.flows(self.current_run(), name)

    def offloads(self) -> list[documents.Offload]:
        """VM pairs that are offloaded now: their packets take the direct path between hosts."""
        return self.current_run().cluster.offloads()

    # -- changes ----------------------------------------------------------------------------------

    def set_model(self, model: str, timeout: float = MODEL_TIMEOUT) -> ModelChange:
        """Change to another programming model while packets flow; return when it is done.

        Returns:
            {"model", "from": the model before, "seconds"}.

        Raises:
            InputError: there is no such model, or the topology cannot run it.
            RunError: the change did not complete in time.
        """
        return plane_changes.set_model(self.current_run(), model, timeout)

    def set_offload(self, **values: Unpack[OffloadValues]) -> OffloadChange:
        """Change the offload policy and its settings while packets flow (`topologies.run.plane_changes.set_offload`).

        Args:
            values: threshold, policy, keep, min_lifetime, idle_expiry, budget, as in a topology file.
        """
        return plane_changes.set_offload(self.current_run(), values)

    def set_link(self, name: str, **values: Unpack[LinkValues]) -> None:
        """Set the properties of a link while packets flow; those that are not given are off then.

        Args:
            name: "wan", or the name of a host or Hoverboard, for its uplink.
            values: delay, jitter, loss, reorder, duplicate, rate, seed, as in a topology file.
        """
        apply.set_link(self.current_run(), name, parse_link(values))

    def add_vm(
        self, network: str, name: str | None = None, host: str | None = None, **values: Unpack[VMValues]
    ) -> VMSpec:
        """Add a VM; return when its gateway answers (`topologies.run.vm_changes.add_vm`)."""
        return vm_changes.add_vm(self.current_run(), network, name, host, **values)

    def remove_vm(self, name: str) -> None:
        """Remove a VM; InputError when there is no such VM. Warns of names that match nothing then."""
        notices.warn(vm_changes.remove_vm(self.current_run(), name))

    def prebuild_vms(self, network: str, count: int) -> list[VMSpec]:
        """Build VMs without adding them to the intent (`topologies.run.vm_changes.prebuild_vms`)."""
        return vm_changes.prebuild_vms(self.current_run(), network, count)

    def discard_vms(self, specs: Sequence[VMSpec]) -> None:
        """Remove VMs of `prebuild_vms`, from the run and from the intent."""
        vm_changes.discard_vms(self.current_run(), specs)

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity of the intent; the run sends it again to a fabric manager that restarts."""
        run = self.current_run()
        before = notices.notices(run)
        run.cluster.upsert(entity)
        notices.warn(notices.since(run, before))

    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity of `upsert` from the intent; harmless when it is not there."""
        run = self.current_run()
        before = notices.notices(run)
        run.cluster.remove(entity)
        notices.warn(notices.since(run, before))

    def full_update(self) -> None:
        """Send the whole intent to the control plane."""
        self.current_run().cluster.full_update()

    def suppress_restarts(self, name: str) -> None:
        """Do not restart what dies on this node from now on, as if the machine failed; InputError: no such node."""
        self.current_run().supervisor.suppress_restarts(self.server(name).name)

    def apply(self, file: str | Path | schema.TopologyText, *, dry_run: bool = False) -> Applied:
        """Change the run to a topology file, or only plan the change (`topologies.run.apply.apply`).

        Args:
            file: path of the file, name of a shipped topology, or the text of a file.
            dry_run: only plan.

        Raises:
            InputError: the file has faults, or asks for a change that is not possible while the run is up.
            EntityError: the fabric manager rejects the change.
            RunError: the control plane does not answer, or a VM did not come up.
        """
        done = self.change_to(schema.read(file) if isinstance(file, str | Path) else file, dry_run=dry_run)
        notices.warn(Notice(**one) for one in done["warnings"])
        return done

    def change_to(self, given: schema.TopologyText, *, dry_run: bool) -> Applied:
        """As `apply`, with the text of a file, and without Python warnings."""
        with self.current_run().changing() as run:
            with without_running_files():  # a file of stages that the run rejects must not have run here before
                wanted = schema.parse(**given, running=run.topology)
            done = apply.apply(run, self._original, wanted, given["source"], dry_run=dry_run)
            if not dry_run:
                self._original = original_after(self._original, wanted)
            return done
