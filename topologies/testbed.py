"""The testbed: brings a topology up in parallel phases, changes it while it runs, takes it down.

One code path for all: the command line's holder, experiments, tests and `HoverboardNet` use this
class. It owns the Mininet objects, the ledger and, as cluster management, the fabric manager's client.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from hoverboard.contract.entities import Dataplane, Scheduling
from hoverboard.contract.errors import HoverboardError, InputError, MachineError, RunError
from hoverboard.contract.generations import facts
from hoverboard.host.client import HostClient
from topologies import ledger, placement, schema, status, switches
from topologies.clock import PhaseClock, Progress
from topologies.cluster import ClusterManager
from topologies.hostprocesses import HostProcesses
from topologies.launcher import Launcher
from topologies.links import VirtualNIC
from topologies.nodes import NamespaceNode, Server
from topologies.plant import Plant
from topologies.processes import LinuxProcesses, Process, start_time
from topologies.reachability import Address, wait_answers
from topologies.rundir import RunDirectory, RunLock
from topologies.server import HolderServer
from topologies.topology import FABRIC, Model, Topology, VMSpec, check_enforced
from topologies.waiting import wait_for
from topologies.workers import Workers

_SWITCH_TIMEOUT = 60.0
_PROGRAM_TIMEOUT = 60.0
_READY_TIMEOUT = 30.0
_JOIN_TIMEOUT = 2.0
_REAP_TIMEOUT = 10.0
_TOOLS = ("mnexec", "ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-ofctl")


class _Parts:
    """What a run consists of from the moment its directory is ours."""

    def __init__(self, testbed: Testbed) -> None:
        directory = testbed.directory
        self.launcher = Launcher(ledger.Ledger(directory))
        self.workers = Workers()
        self.plant = Plant(directory, self.launcher, testbed.datapath_type)
        self.cluster = ClusterManager(testbed.topology, directory.control, directory.logs, self.launcher)
        self.hosts = HostProcesses(directory, self.launcher, testbed.datapath_type, testbed.topology)
        self.server = HolderServer(testbed)

    def plug(self, nic: VirtualNIC) -> None:
        """Hand a VM's NIC to its host."""
        self.hosts.start_vmm(nic.host, nic.vm.name)
        nic.plug()


def gateway_targets(vm: VMSpec, pid: int) -> dict[str, tuple[int, Address]]:
    """For `wait_answers`: the gateways of a VM whose namespace `pid` is in, by what people read."""
    return {vm.name if gateway.version == 4 else f"{vm.name} (IPv6)": (pid, gateway) for gateway in vm.gateways}


class Testbed:
    """One run of a topology; a context manager that is up inside the `with`.

    Args:
        topology: a resolved topology, the path of a topology file, or the name of a shipped one.
        run: name of the run; default: the topology's name.
        model, dataplane, scheduling: instead of what the topology says.
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
        state_dir: Path | None = None,
    ) -> None:
        resolved = topology if isinstance(topology, Topology) else schema.load(topology)
        if model is not None:
            if model == "hoverboard" and not resolved.hoverboards:
                raise InputError("the topology has no Hoverboard", next_step="use --model preprogrammed")
            resolved = replace(resolved, model=model)
        if dataplane is not None:
            resolved = resolved.with_dataplane(dataplane)
        if scheduling is not None:
            resolved = replace(resolved, scheduling=scheduling)
        check_enforced(resolved)
        self.topology = resolved
        self.directory = RunDirectory.of(run or resolved.name, state_dir)
        self.run = self.directory.run
        self.state = "down"
        self.datapath_type = switches.datapath_type()
        self.clock = PhaseClock()
        self.closed = threading.Event()  # it is being taken down
        self.ended = threading.Event()  # it has been
        self._progress: Progress | None = None
        self._lock: RunLock | None = None
        self._parts: _Parts | None = None
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
        _check_machine()
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
            self._start_switches()
            self._start_hosts()
            self._start_control_plane()
            self._wait_programmed()
            self._wait_ready(self.topology.vms)
            self.parts.cluster.keep()
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

    def _begin(self) -> _Parts:
        self.state = "starting"
        self.clock = PhaseClock(self._progress)
        book = ledger.Ledger(self.directory)
        book.create(LinuxProcesses())
        pid = os.getpid()
        book.record_process(Process(pid, start_time(pid) or 0), "holder", "holder")
        self.directory.logs.mkdir(mode=0o700)
        self.directory.topology.write_text(self.topology.text, encoding="utf-8")
        parts = self._parts = _Parts(self)
        parts.server.start()
        # Both take a while to import what they need: they do it while devices are made.
        parts.cluster.start()
        parts.hosts.start_nursery()
        return parts

    def _start_switches(self) -> None:
        parts = self.parts
        servers = parts.plant.servers()
        with self.clock.phase("switches", len(servers)) as step:
            (self.directory.path / "nodes").mkdir(mode=0o700)
            template = self.directory.path / "conf.db"
            switches.make_template(template)

            def bring_up(server: Server) -> None:
                switches.start(server, template, parts.launcher)
                switches.wait_ready(server, _SWITCH_TIMEOUT)
                step()

            parts.workers.each(bring_up, servers)

    def _start_hosts(self) -> None:
        parts = self.parts
        servers = parts.plant.servers()
        with self.clock.phase("hosts", len(servers) + len(parts.plant.nics)) as step:
            parts.hosts.wait_nursery()
            if self.topology.stages:
                parts.hosts.make_secret()
            if any(facts(server.spec.dataplane).carrier == "engines" for server in servers):
                parts.hosts.start_engines()

            def bring_up(server: Server) -> None:
                parts.hosts.start(server, parts.cluster.address, parts.cluster.openflow_socket)
                parts.plant.uplinks[server.name].plug()
                step()
                for nic in parts.plant.nics_of(server):
                    parts.plug(nic)
                    step()

            parts.workers.each(bring_up, servers)

    def _start_control_plane(self) -> None:
        with self.clock.phase("control plane", 1):
            self.parts.cluster.wait_ready()
            self.parts.cluster.full_update()

    def _wait_programmed(self) -> None:
        with self.clock.phase("program", len(self.topology.servers)) as step:
            waiting = [server.name for server in self.topology.servers]

            def programmed() -> bool:
                state = self.parts.cluster.program_state()
                for name in state.programmed.intersection(waiting):
                    waiting.remove(name)
                    step()
                return not waiting and state.joined >= state.intended

            def missing() -> str:
                more = ", ..." if len(waiting) > 5 else ""
                return f"not programmed: {', '.join(waiting[:5]) or 'a vport of a VM'}{more}"

            wait_for(programmed, _PROGRAM_TIMEOUT, missing, where=str(self.directory.logs))

    def _wait_ready(self, vms: Iterable[VMSpec]) -> None:
        targets = {target: place for vm in vms for target, place in gateway_targets(vm, self.pid_of(vm.name)).items()}
        with self.clock.phase("ready", len(targets)) as step:
            silent = wait_answers(targets, _READY_TIMEOUT, lambda name: step())
        if silent:
            raise RunError(
                f"no answer from the gateway after {_READY_TIMEOUT:g} s: {', '.join(sorted(silent)[:5])}",
                where=str(self.directory.logs),
                next_step="see the logs of the control plane and of the VMs' hosts",
            )

    # -- down -------------------------------------------------------------------------------------

    def down(self) -> None:
        """Undo everything; harmless when there is nothing to undo."""
        with _signals_wait():
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
    def parts(self) -> _Parts:
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

    @property
    def fabric_name(self) -> str:
        """Name of the fabric's node."""
        return FABRIC

    def status(self) -> dict[str, Any]:
        """The run, as `hoverboard status --json` shows it."""
        return status.status(self)

    def flows(self, name: str) -> dict[str, Any]:
        """{"node", "openflow": [line], "entries": [..]} of a server."""
        return status.flows(self, name)

    def control_status(self) -> dict[str, Any]:
        """The control plane: its status, pid and restarts; `state` is "unreachable" when it does not answer."""
        parts = self._parts
        if parts is None or self.state != "up":
            return {"state": self.state}
        facts = {"pid": parts.cluster.pid, "restarts": parts.cluster.restarts}
        try:
            return {"state": "up", **facts, **parts.cluster.status()}
        except HoverboardError as error:
            return {"state": "unreachable", **facts, "error": str(error)}

    def offloads(self) -> list[dict[str, Any]]:
        """VM pairs that go host to host now, as the control plane knows them."""
        return self.parts.cluster.offloads()

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
        """Add a VM and wait until its gateway answers.

        Args:
            name, host: default: the next number, and the host with the fewest VMs.
        """
        with self._change_lock:
            parts = self._parts_when_up()
            spec = placement.plan_vm(self.topology, network, name, host)
            joined = parts.cluster.program_state().joined
            told = parts.workers.submit(lambda: parts.cluster.upsert(spec.entity()))
            try:
                parts.plant.make_node(spec)
                parts.plug(parts.plant.make_nic(spec))
                told.result()
                # A guest that asks for its gateway too early asks again only a second later.
                parts.cluster.wait_joined(joined + 1, spec.host, _JOIN_TIMEOUT)
                targets = gateway_targets(spec, self.pid_of(spec.name))
                if wait_answers(targets, _READY_TIMEOUT, interval=0.02):
                    raise RunError(f"the gateway does not answer {spec.name}", where=spec.host)
            except BaseException:
                wait([told])
                self._drop_vm(spec)
                raise
            self.topology = self.topology.with_vm(spec)
            return spec

    def remove_vm(self, name: str) -> None:
        """Remove a VM; InputError when there is none with that name."""
        with self._change_lock:
            self._parts_when_up()
            spec = next((vm for vm in self.topology.vms if vm.name == name), None)
            if spec is None:
                raise InputError(f"there is no VM {name!r} in run {self.run!r}", next_step="see `hoverboard vm list`")
            self._drop_vm(spec)
            self.topology = self.topology.without_vm(spec)

    def _parts_when_up(self) -> _Parts:
        if self.state != "up":
            raise RunError(f"run {self.run!r} is {self.state}", next_step="wait until it is up")
        return self.parts

    def _drop_vm(self, spec: VMSpec) -> None:
        self.parts.cluster.remove(spec.entity())
        self.parts.plant.drop_vm(spec.name)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until what is inside is done: half a clean-up helps nobody.

    Not by a signal mask: the kernel gives the signal to any other thread, and Python then interrupts the
    main thread all the same. Other threads are never interrupted, so there is nothing to do for them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in dict.fromkeys(came):
            signal.raise_signal(late)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise MachineError("the testbed makes network namespaces, which needs root", next_step="use sudo")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise MachineError(
            f"not installed: {', '.join(missing)}", next_step="apt-get install mininet openvswitch-switch"
        )
