"""A run while it is there: its processes, its emulated network and its control plane (paper figure 1).

Made when the run's directory is ours. Holds the lock under which a run changes, starts again what dies, and ends all of
it; what is changed, and in which order a run comes up, is decided above (`bringup`, `changes`, `applying`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal

from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import HostClient
from topologies.cluster import regional
from topologies.cluster.control_processes import ControlLayout
from topologies.emulation.emulated_network import EmulatedNetwork
from topologies.emulation.nodes import Server
from topologies.emulation.ovs_daemons import DATABASE, SWITCH, start_daemon, wait_daemon
from topologies.processes import ledger, marks
from topologies.processes.launcher import Launcher
from topologies.processes.phases import PhaseClock, Progress
from topologies.processes.process_table import LinuxProcesses, Process, identified, start_time
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.processes.supervisor import Supervisor
from topologies.processes.thread_pool import ThreadPool
from topologies.run.holder_server import HolderServer
from topologies.run.host_processes import HostProcesses
from topologies.spec.topology import Topology, VMSpec

State = Literal["starting", "up", "stopping", "down"]
HOST_PROCESS, NURSERY, ENGINES = "host process", "nursery", "engines"
_DAEMON_TIMEOUT = 30.0
_REAP_TIMEOUT = 10.0
_log = logging.getLogger(__name__)


class Run:
    """What a run consists of, from the moment its directory is ours until it is down.

    Args:
        lock: that of the run's directory; given back when the run is down.

    Attributes:
        state: "starting", "up", "stopping" or "down".
        phases: how long each phase of the start took.
        network: its nodes and links.
        cluster: cluster management, which tells the control plane what there should be.
        hosts: its host processes, and what those come from.
        closing, ended: set when it begins to go down, and when it is down.

    Raises:
        InputError: the control plane cannot be laid out as asked for, for this topology.
    """

    def __init__(
        self,
        directory: RunDirectory,
        lock: RunLock,
        topology: Topology,
        layout: ControlLayout,
        datapath_type: Literal["netdev", "system"],
        progress: Progress | None = None,
    ) -> None:
        self.name = directory.run
        self.directory = directory
        self.datapath_type = datapath_type
        self.state: State = "starting"
        self.closing, self.ended = threading.Event(), threading.Event()
        self.phases = PhaseClock(progress)
        self.launcher = Launcher(ledger.Ledger(directory))
        self.workers = ThreadPool()
        self.network = EmulatedNetwork(directory, self.launcher, datapath_type)
        self.cluster = regional.cluster_manager(topology, layout, directory.control, directory.logs, self.launcher)
        self.hosts = HostProcesses(directory, self.launcher, datapath_type, topology)
        self.supervisor = Supervisor(self.launcher.ledger, lost=self._end_lost_run)
        self._topology = topology
        self._directory_lock = lock
        self._server: HolderServer | None = None
        self._change_lock = threading.RLock()
        self._state_lock = threading.Lock()  # of a state into another
        self._kill_lock, self._removing = threading.RLock(), False

    def begin(self, server: HolderServer) -> None:
        """Its ledger and its first files; it can be asked from now on, and what takes long to start is started."""
        run_ledger = self.launcher.ledger
        run_ledger.create(LinuxProcesses())
        pid = os.getpid()
        run_ledger.record_process(Process(pid, start_time(pid) or 0), "holder", "holder")
        self.directory.logs.mkdir(mode=0o700)
        self.directory.topology.write_text(self._topology.text, encoding="utf-8")
        self._server = server
        server.start()
        # Both take a while to import what they need: they do it while devices are made.
        self.cluster.start()
        self.hosts.start_nursery()

    def finish_start(self) -> None:
        """Everything is there; RunError when somebody takes it down already."""
        with self._state_lock:
            if self.closing.is_set():
                raise RunError(f"run {self.name!r} is being taken down")
            self.state = "up"

    # -- changes ----------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """What there is now; `replace_topology` changes it."""
        return self._topology

    @contextlib.contextmanager
    def changing(self) -> Iterator[Run]:
        """Nobody else changes the run inside the block; RunError when it is not up."""
        with self._change_lock:
            if self.state != "up":
                raise RunError(f"run {self.name!r} is {self.state}", next_step="wait until it is up")
            yield self

    def replace_topology(self, change: Callable[[Topology], Topology]) -> None:
        """Note what there is from now on, made by `change` of what there was; under the run's lock."""
        with self._change_lock:
            self._topology = change(self._topology)

    def build_vm(self, spec: VMSpec) -> None:
        """Namespace and NIC of a VM, plugged into its host; the caller changes the run. Nothing stays of a failure."""
        try:
            self.network.make_node(spec)
            self.network.make_nic(spec)
            self.plug_vm(spec.name)
        except BaseException:
            self.network.drop_vm(spec.name)
            raise

    def plug_vm(self, name: str, client: HostClient | None = None) -> None:
        """Hand a VM's NIC to its host, on a line of the caller's own if given."""
        nic = self.network.nics[name]
        self.hosts.start_vmm(nic.host, name)
        nic.plug(client)

    def drop_vm(self, name: str) -> None:
        """Unplug and remove a VM; harmless when parts of it are not there. The caller changes the run."""
        self.network.drop_vm(name)

    def each_host(self, work: Callable[[VMSpec], object], specs: Iterable[VMSpec]) -> None:
        """Do `work` for VMs, in parallel but for those of one host, whose process takes one request at a time.

        The first failure is raised.
        """
        by_host: dict[str, list[VMSpec]] = {}
        for spec in specs:
            by_host.setdefault(spec.host, []).append(spec)

        def of_host(mine: list[VMSpec]) -> None:
            for spec in mine:
                work(spec)

        self.workers.each(of_host, by_host.values())

    # -- what dies --------------------------------------------------------------------------------

    def supervise(self) -> None:
        """From now on, start again what dies: control plane, switches, host processes, and what those come from."""
        self.cluster.supervise(self.supervisor)
        self.supervisor.watch(NURSERY, None, lambda: identified(self.hosts.nursery_pid), self.hosts.restart_nursery)
        if self.hosts.engines is not None:
            self.supervisor.watch(ENGINES, None, lambda: self.hosts.engines, self._restart_engines)
        for server in self.network.servers():
            for name in (DATABASE, SWITCH):
                restart = partial(self._restart_daemon, server, name)
                self.supervisor.watch(name, server.name, partial(_daemon, server, name), restart)
            restart = partial(self._restart_host, server)
            self.supervisor.watch(HOST_PROCESS, server.name, partial(_host_process, server), restart)

    def _restart_daemon(self, server: Server, name: str) -> None:
        self.launcher.forget(server.daemons[name])
        start_daemon(server, name, self.launcher)
        wait_daemon(server, name, _DAEMON_TIMEOUT)
        if name == SWITCH:
            client = HostClient(server.directory / "host.sock")
            try:
                client.connect(0.0)
                client.switch_back()
            except HoverboardError as error:
                _log.info("%s looks at its switch by itself: %s", server.name, error)
            finally:
                client.close()

    def _restart_host(self, server: Server) -> None:
        def plug(client: HostClient) -> None:
            for nic in self.network.nics_of(server):
                self.plug_vm(nic.vm.name, client)
            self.network.uplinks[server.name].plug(client)

        self.hosts.resume(server, plug)

    def _restart_engines(self) -> None:
        """Host processes whose engines have died have nothing to talk to: theirs go on in the new process."""
        self.hosts.start_engines()
        table = LinuxProcesses()
        for server in self.network.servers():
            if facts(server.spec.dataplane).carrier == "engines" and server.host_process is not None:
                table.send(server.host_process, signal.SIGKILL)

    # -- down -------------------------------------------------------------------------------------

    def take_down(self) -> None:
        """End and remove everything; harmless when repeated, and from several threads at once."""
        if self.ended.is_set():
            return
        self._stop_everything()
        # Whoever changes the run right now fails at once: what it waits for is dead.
        with self._change_lock:
            if not self.ended.is_set():
                self._remove_everything()

    def _stop_everything(self) -> None:
        """From here on no process of the run can start, whatever other threads are doing."""
        with self._state_lock:
            if self.state != "down":
                self.state = "stopping"
            self.closing.set()
        self.cluster.close()
        self.supervisor.stop()
        with self._kill_lock, contextlib.suppress(FileNotFoundError):  # somebody may delete the directory
            if not self._removing:
                self._kill()

    def _remove_everything(self) -> None:
        if self._server is not None:
            self._server.stop()
        self.workers.stop()
        with self._kill_lock:
            self._removing = True  # a thread that comes late must not write into what is being removed
            self._kill()
        self.supervisor.join()
        if self._directory_lock.is_of(self.directory):
            ledger.remove_tree(self.directory)
        self.hosts.close()
        self.launcher.reap(_REAP_TIMEOUT)
        self.network.close()
        self._directory_lock.release()
        with self._state_lock:
            self.state = "down"
        self.ended.set()

    def _kill(self) -> None:
        run_ledger = self.launcher.ledger
        if run_ledger.is_intact():
            ledger.kill_all(self.directory)
        elif run_ledger.mark is not None:
            # The directory was deleted under us, and may be another run's by now.
            marks.end(run_ledger.mark)

    def _end_lost_run(self) -> None:
        """Nothing can be started again where nothing can be recorded: the run ends."""
        _log.error("run %s has lost its directory %s: it is taken down", self.name, self.directory.path)
        threading.Thread(target=self.take_down, name="lost").start()


def _daemon(server: Server, name: str) -> Process | None:
    return identified(server.daemons[name].pid)


def _host_process(server: Server) -> Process | None:
    return server.host_process
