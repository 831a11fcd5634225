"""The testbed: brings a topology up in parallel phases, changes it while it runs, takes it down.

One code path for all: the command line's holder, experiments, tests and `HoverboardNet` use this
class. It owns the Mininet objects, the ledger and, as cluster management, the fabric manager's client.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import HoverboardError, InputError, MachineError, RunError
from hoverboard.host.client import HostClient, HostConfig, NurseryClient
from topologies import devices, ledger, schema, status, switches
from topologies.clock import PhaseClock, Progress
from topologies.cluster import ClusterManager
from topologies.launcher import Launcher
from topologies.links import Uplink, VirtualNIC
from topologies.nodes import Fabric, HoverboardNode, NamespaceNode, Server, VirtualMachine, VMHost
from topologies.processes import LinuxProcesses, Process, start_time
from topologies.reachability import wait_answers
from topologies.rundir import RunDirectory, RunLock
from topologies.server import HolderServer
from topologies.topology import FABRIC, UNDERLAY, Model, ServerSpec, Topology, VMSpec

_log = logging.getLogger(__name__)
_WORKERS = 8
_HOST_TIMEOUT = 60.0
_PROGRAM_TIMEOUT = 60.0
_READY_TIMEOUT = 30.0

T = TypeVar("T")


class Testbed:
    """One run of a topology; a context manager that is up inside the `with`.

    Args:
        topology: a resolved topology, the path of a topology file, or the name of a shipped one.
        run: name of the run; default: the topology's name.
        model, dataplane: instead of what the topology says.
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
        state_dir: Path | None = None,
    ) -> None:
        resolved = topology if isinstance(topology, Topology) else schema.load(topology)
        if model is not None:
            if model == "hoverboard" and not resolved.hoverboards:
                raise InputError("the topology has no Hoverboard", next_step="use --model preprogrammed")
            resolved = replace(resolved, model=model)
        if dataplane is not None:
            resolved = resolved.with_dataplane(dataplane)
        self.topology = resolved
        self.directory = RunDirectory.of(run or resolved.name, state_dir)
        self.run = self.directory.run
        self.state = "down"
        self.datapath_type = switches.datapath_type()
        self.clock = PhaseClock()
        self.nodes: dict[str, NamespaceNode] = {}
        self.nics: dict[str, VirtualNIC] = {}
        self.uplinks: dict[str, Uplink] = {}
        self.closed = threading.Event()
        self._progress: Progress | None = None
        self._lock: RunLock | None = None
        self._launcher: Launcher | None = None
        self._cluster: ClusterManager | None = None
        self._nursery: NurseryClient | None = None
        self._nursery_lock = threading.Lock()
        self._change_lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._server: HolderServer | None = None

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
        self._progress = progress
        self.directory.check_socket_paths([server.name for server in self.topology.servers])
        self._take_lock()
        with self._undone_on_failure():
            self._begin()
            if prepared is not None:
                prepared()
            self._make_nodes()
            self._make_links()

    def start(self) -> None:
        """Switches, host processes, the control plane; returns when every VM reaches its gateway."""
        with self._undone_on_failure():
            self._start_switches()
            self._start_hosts()
            self._start_control_plane()
            self._wait_programmed()
            self._wait_ready(self.topology.vms)
            self.cluster.keep()
            self.state = "up"

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.down()
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

    def _begin(self) -> None:
        self.state = "starting"
        self.clock = PhaseClock(self._progress)
        processes = LinuxProcesses()
        book = ledger.Ledger(self.directory)
        book.create(processes)
        pid = os.getpid()
        book.record_process(Process(pid, start_time(pid) or 0), "holder", "holder")
        self.directory.logs.mkdir(mode=0o700)
        self.directory.topology.write_text(self.topology.text, encoding="utf-8")
        self._launcher = Launcher(book)
        self._server = HolderServer(self)
        self._server.start()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="testbed")
        # Both take a while to import what they need: they do it while devices are made.
        self._cluster = ClusterManager(self.topology, self.directory.control, self.directory.logs, self._launcher)
        self._cluster.start()
        self._launcher.start(
            [sys.executable, "-m", "hoverboard.host.nursery", "--socket", str(self.directory.nursery)],
            "nursery", "nursery", log=self.directory.logs / "nursery.log",
        )  # fmt: skip

    def _each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> None:
        """Do `work` for all items in parallel; the first failure ends it."""
        assert self._pool is not None
        futures: list[Future[Any]] = [self._pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            for future in futures:
                future.cancel()

    def _make_nodes(self) -> None:
        specs: list[ServerSpec | VMSpec | None] = [None, *self.topology.servers, *self.topology.vms]
        with self.clock.phase("nodes", len(specs)) as step:

            def make(spec: ServerSpec | VMSpec | None) -> None:
                if spec is None:
                    self.nodes[FABRIC] = Fabric(self.launcher)
                    devices.make_fabric(self.nodes[FABRIC].pid)
                else:
                    self.nodes[spec.name] = self._make_node(spec)
                step()

            self._each(make, specs)

    def _make_node(self, spec: ServerSpec | VMSpec) -> NamespaceNode:
        if isinstance(spec, VMSpec):
            return VirtualMachine(spec, self.launcher)
        kind = VMHost if spec.role == "host" else HoverboardNode
        return kind(spec, self.launcher, self.directory.node(spec.name))

    def _make_links(self) -> None:
        items: list[ServerSpec | VMSpec] = [*self.topology.servers, *self.topology.vms]
        fabric = self.nodes[FABRIC]
        assert isinstance(fabric, Fabric)
        with self.clock.phase("links", len(items)) as step:

            def make(spec: ServerSpec | VMSpec) -> None:
                if isinstance(spec, VMSpec):
                    self.nics[spec.name] = self._make_nic(spec)
                else:
                    devices.loopback_up(self.nodes[spec.name].pid)
                    self.uplinks[spec.name] = Uplink(self.server(spec.name), fabric)
                step()

            self._each(make, items)

    def _make_nic(self, spec: VMSpec) -> VirtualNIC:
        vm, host = self.nodes[spec.name], self.nodes[spec.host]
        assert isinstance(vm, VirtualMachine)
        assert isinstance(host, VMHost)
        return VirtualNIC(vm, host, datapath_type=self.datapath_type)

    def _start_switches(self) -> None:
        servers = [self.server(spec.name) for spec in self.topology.servers]
        with self.clock.phase("switches", len(servers)) as step:
            (self.directory.path / "nodes").mkdir(mode=0o700)
            template = self.directory.path / "conf.db"
            switches.make_template(template)

            def bring_up(server: Server) -> None:
                switches.start(server, template, self.launcher)
                switches.wait_ready(server, _HOST_TIMEOUT)
                step()

            self._each(bring_up, servers)

    def _start_hosts(self) -> None:
        servers = [self.server(spec.name) for spec in self.topology.servers]
        with self.clock.phase("hosts", len(servers) + len(self.nics)) as step:
            self._nursery = NurseryClient(self.directory.nursery)
            self._nursery.connect(_HOST_TIMEOUT)

            def bring_up(server: Server) -> None:
                self._start_host(server)
                self.uplinks[server.name].plug()
                step()
                for nic in [nic for nic in self.nics.values() if nic.host is server]:
                    nic.plug()
                    step()

            self._each(bring_up, servers)

    def _start_host(self, server: Server) -> None:
        spec = server.spec
        config = HostConfig(
            run=self.run,
            node=spec.name,
            role=spec.role,
            dataplane=spec.dataplane,
            datapath_type=self.datapath_type,
            underlay_ip=str(spec.underlay_ip),
            underlay_prefixlen=UNDERLAY.prefixlen,
            node_dir=str(server.directory),
            control_address=self.cluster.address,
            openflow_address=self.cluster.openflow_address,
            uplink_device=server.uplink_device,
        )
        assert self._nursery is not None
        with self._nursery_lock:
            pid = self._nursery.spawn(config, server.pid)
            process = Process(pid, start_time(pid) or 0)
            self.launcher.ledger.record_process(process, f"host process of {spec.name}", "host")
            self._nursery.release(pid)
        server.host_pid = pid
        server.client.wait_ready(_HOST_TIMEOUT)

    def _start_control_plane(self) -> None:
        with self.clock.phase("control plane", 1):
            self.cluster.wait_ready()
            self.cluster.full_update()

    def _wait_programmed(self) -> None:
        total = len(self.topology.servers)
        with self.clock.phase("program", total):
            waiting: list[str] = []

            def programmed() -> bool:
                known = self.cluster.status().get("switches", {})
                waiting[:] = [
                    s.name for s in self.topology.servers if not known.get(s.name, {}).get("programmed", False)
                ]
                return not waiting

            try:
                switches.wait_for(programmed, _PROGRAM_TIMEOUT, "the switches are not programmed")
            except RunError as error:
                names = ", ".join(waiting[:5]) + (", ..." if len(waiting) > 5 else "")
                raise RunError(
                    f"{error.what}: {names}", where=str(self.directory.logs), next_step=error.next_step
                ) from error

    def _wait_ready(self, vms: Iterable[VMSpec]) -> None:
        targets: dict[str, tuple[int, IPv4Address]] = {vm.name: (self.nodes[vm.name].pid, vm.gateway) for vm in vms}
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
        with self._change_lock, _signals_wait():
            if self._lock is None:
                return
            self.state = "stopping"
            if self._server is not None:
                self._server.stop()
            # From here on no process of the run can start, whatever other threads are doing.
            if self.directory.ledger.exists():
                self.directory.closing.touch()
            if self._cluster is not None:
                self._cluster.close()
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            if self.directory.ledger.exists():
                ledger.sweep(self.directory)
            else:
                ledger.remove_tree(self.directory)
            if self._pool is not None:
                self._pool.shutdown(wait=True)
            if self._launcher is not None:
                self._launcher.reap(10.0)
            for node in self.nodes.values():
                if isinstance(node, Server):
                    node.client.close()
            if self._nursery is not None:
                self._nursery.close()
            for link in (*self.nics.values(), *self.uplinks.values()):
                link.close()
            self.nodes.clear()
            self.nics.clear()
            self.uplinks.clear()
            self._lock.release()
            self._lock = None
            self.state = "down"
            self.closed.set()

    # -- while it runs ----------------------------------------------------------------------------

    @property
    def launcher(self) -> Launcher:
        """Starts recorded processes of this run."""
        if self._launcher is None:
            raise RunError(f"run {self.run!r} is not up")
        return self._launcher

    @property
    def cluster(self) -> ClusterManager:
        """Cluster management of this run."""
        if self._cluster is None:
            raise RunError(f"run {self.run!r} is not up")
        return self._cluster

    def node(self, name: str) -> NamespaceNode:
        """A node by name; InputError when there is none."""
        if name not in self.nodes:
            raise InputError(
                f"there is no node {name!r} in run {self.run!r}", where=name,
                next_step=f"nodes: {', '.join(sorted(self.nodes)[:20])}",
            )  # fmt: skip
        return self.nodes[name]

    def server(self, name: str) -> Server:
        """A VM host or Hoverboard by name; InputError otherwise."""
        node = self.node(name)
        if not isinstance(node, Server):
            raise InputError(
                f"{name!r} has no switch", where=name,
                next_step=f"use one of: {', '.join(s.name for s in self.topology.servers[:20])}",
            )  # fmt: skip
        return node

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
        """The control plane: its own status, pid and restarts; {"state": "unreachable", ..} when it does not answer."""
        if self._cluster is None or self.state != "up":
            return {"state": self.state}
        facts = {"pid": self.cluster.pid, "restarts": self.cluster.restarts}
        try:
            return {"state": "up", **facts, **self.cluster.status()}
        except HoverboardError as error:
            return {"state": "unreachable", **facts, "error": str(error)}

    def offloads(self) -> list[dict[str, Any]]:
        """VM pairs that go host to host now, as the control plane knows them."""
        return list(self.cluster.client.offloads())

    def add_vm(self, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
        """Add a VM and wait until its gateway answers."""
        with self._change_lock:
            spec = self._plan_vm(network, name, host)
            assert self._pool is not None
            told = self._pool.submit(self.cluster.upsert, spec.entity())
            try:
                self.nodes[spec.name] = self._make_node(spec)
                self.nics[spec.name] = self._make_nic(spec)
                self.nics[spec.name].plug()
                told.result()
                silent = wait_answers(
                    {spec.name: (self.nodes[spec.name].pid, spec.gateway)}, _READY_TIMEOUT, interval=0.005
                )
                if silent:
                    raise RunError(f"the gateway does not answer {spec.name}", where=spec.host)
            except BaseException:
                wait([told])
                self._drop_vm(spec)
                raise
            self._replace_network(network, lambda vms: (*vms, spec))
            return spec

    def _plan_vm(self, network: str, name: str | None, host: str | None) -> VMSpec:
        spec = next((n for n in self.topology.networks if n.name == network), None)
        if spec is None:
            known = ", ".join(n.name for n in self.topology.networks) or "none"
            raise InputError(f"there is no network {network!r}", where="network", next_step=f"networks: {known}")
        if name is None:
            number = len(spec.vms) + 1
            while f"{network}-{number}" in self.nodes:
                number += 1
            name = f"{network}-{number}"
        schema.check_name(name)
        if name in self.nodes:
            raise InputError(f"there already is a node {name!r}", where="name", next_step="choose another name")
        hosts = [server.name for server in self.topology.hosts]
        if host is None:
            load = {server: 0 for server in hosts}
            for vm in self.topology.vms:
                load[vm.host] += 1
            host = min(hosts, key=lambda server: load[server])
        elif host not in hosts:
            raise InputError(f"there is no host {host!r}", where="host", next_step=f"hosts: {', '.join(hosts[:20])}")
        ip = spec.free_address({vm.ip for vm in spec.vms})
        if ip is None:
            raise InputError(f"network {network!r} has no free address", where="network", next_step="remove a VM first")
        return spec.vm(name, host, ip)

    def remove_vm(self, name: str) -> None:
        """Remove a VM; InputError when there is none with that name."""
        with self._change_lock:
            spec = next((vm for vm in self.topology.vms if vm.name == name), None)
            if spec is None:
                raise InputError(f"there is no VM {name!r}", where="name", next_step="see `hoverboard vm list`")
            self._drop_vm(spec)
            self._replace_network(spec.network, lambda vms: tuple(vm for vm in vms if vm.name != name))

    def _drop_vm(self, spec: VMSpec) -> None:
        self.cluster.remove(spec.entity())
        nic = self.nics.pop(spec.name, None)
        if nic is not None:
            nic.delete()
        node = self.nodes.pop(spec.name, None)
        if node is not None:
            node.terminate()

    def _replace_network(self, name: str, change: Callable[[tuple[VMSpec, ...]], tuple[VMSpec, ...]]) -> None:
        networks = tuple(
            replace(network, vms=change(network.vms)) if network.name == name else network
            for network in self.topology.networks
        )
        self.topology = replace(self.topology, networks=networks)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until what is inside is done: half a clean-up helps nobody."""
    waiting = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise MachineError("the testbed makes network namespaces, which needs root", next_step="use sudo")
    missing = [tool for tool in ("mnexec", "ovsdb-server", "ovs-vswitchd", "ovsdb-tool") if not _found(tool)]
    if missing:
        raise MachineError(
            f"not installed: {', '.join(missing)}", next_step="apt-get install mininet openvswitch-switch"
        )


def _found(tool: str) -> bool:
    from shutil import which

    return which(tool) is not None
