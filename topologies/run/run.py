"""One run: its processes, its emulated network and its control plane (paper figure 1).

`Run` is made once the directory of the run is locked. It holds the lock for changes, restarts processes that die, and
takes everything down. `up`, `vm_changes` and `apply` decide what is changed, and in which order a run comes up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.generations import facts
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.host.control.host_client import HostClient
from hoverboard.safe_files import write_own_file
from topologies.cluster import regional
from topologies.cluster.control_processes import ControlLayout
from topologies.emulation.emulated_network import EmulatedNetwork
from topologies.emulation.nodes import Server
from topologies.emulation.ovs_daemons import DATABASE, SWITCH, start_daemon, wait_daemon
from topologies.processes import failed_logs, ledger, marks
from topologies.processes.launcher import Launcher, end_of
from topologies.processes.phases import PhaseClock, Progress
from topologies.processes.process_table import LinuxProcesses, Process, identified, start_time
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.processes.supervisor import Supervisor, WatchedProcess
from topologies.processes.thread_pool import ThreadPool
from topologies.run.holder_server import HolderServer
from topologies.run.host_processes import HostProcesses
from topologies.spec.topology import Topology, VMSpec

State = Literal["starting", "up", "stopping", "down"]
HOST_PROCESS, NURSERY, ENGINES, LINK_ELEMENT = "host process", "nursery", "engines", "link element"
_DAEMON_TIMEOUT = 30.0
_REAP_TIMEOUT = 10.0
_log = logging.getLogger(__name__)


class Run:
    """All parts of a run, from the moment its directory is locked until it is down.

    Args:
        lock: of the run's directory; released when the run is down.
        layout: the processes of the control plane.
        datapath_type: of Open vSwitch: in user space ("netdev") or in the kernel ("system").
        progress: called as phases of the start advance, from any thread.

    Attributes:
        state: "starting", "up", "stopping" or "down".
        phases: measures the phases of the start.
        network: its nodes and links.
        cluster: cluster management, which sends the intent to the control plane.
        hosts: its host processes and their nursery.
        closing, ended: events, set when the run begins to go down, and when it is down.
        kept_logs: where `take_down(keep_logs=True)` has left the logs.

    Raises:
        InputError: this topology cannot have a control plane of this layout.
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
        self._state_lock = threading.Lock()  # for changes of `state`
        self._kill_lock, self._removing = threading.RLock(), False
        self._keep_logs = False
        self._forked: list[WatchedProcess] = []  # what the nursery forks needs it
        self.kept_logs: Path | None = None

    def begin(self, server: HolderServer) -> None:
        """Create the ledger and the first files, serve requests, and start what needs most time."""
        run_ledger = self.launcher.ledger
        run_ledger.create(LinuxProcesses())
        pid = os.getpid()
        run_ledger.record_process(Process(pid, start_time(pid) or 0), "holder", "holder")
        self.directory.logs.mkdir(mode=0o700)
        write_own_file(self.directory.path, self.directory.topology.name, self._topology.text)
        self._server = server
        server.start()
        # Both need seconds for their imports, while we make devices.
        self.cluster.start()
        self.hosts.start_nursery()

    def finish_start(self) -> None:
        """Set the state to "up".

        Raises:
            RunError: the run is being taken down already.
        """
        with self._state_lock:
            if self.closing.is_set():
                raise RunError(
                    f"run {self.name!r} is being taken down", next_step="wait until it is down, then bring it up"
                )
            self.state = "up"

    # -- changes ----------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """The topology as it is now; `replace_topology` changes it."""
        return self._topology

    @contextlib.contextmanager
    def changing(self) -> Iterator[Run]:
        """Hold the lock for changes inside the block.

        Raises:
            RunError: the run is not up.
        """
        with self._change_lock:
            if self.state != "up":
                raise RunError(f"run {self.name!r} is {self.state}", next_step="wait until it is up, or start it")
            yield self

    def replace_topology(self, change: Callable[[Topology], Topology]) -> None:
        """Replace the topology with `change(topology)`, under the lock for changes; nodes know its names at once."""
        with self._change_lock:
            self._topology = change(self._topology)
            try:
                self.network.files.follow(self._topology)
            except OSError as error:
                _log.warning("nodes do not see all names: %s: %s", self.directory.guests, error)

    def build_vm(self, spec: VMSpec) -> None:
        """Build a VM: its namespace, and its NIC, plugged into its host. On failure, all of it is removed.

        The caller holds the lock for changes, and replaces the topology.
        """
        try:
            self.network.make_node(spec)
            self.network.make_nic(spec)  # tour: vm 6
            self.plug_vm(spec.name)
        except BaseException:
            self.network.drop_vm(spec.name)
            raise

    def plug_vm(self, name: str, client: HostClient | None = None) -> None:
        """Send a VM's NIC to its host process.

        Args:
            name: name of the VM.
            client: the caller's own connection to the host process; default: the node's.
        """
        nic = self.network.nics[name]
        self.hosts.start_vmm(nic.host, name)
        nic.plug(client)

    def drop_vm(self, name: str) -> None:
        """Unplug and remove a VM with all its processes; harmless when parts of it do not exist.

        The caller holds the lock for changes, and replaces the topology.

        Raises:
            RunError: the VM is removed, but some of its processes still run.
        """
        self.network.drop_vm(name)

    def drop_vms(self, specs: Sequence[VMSpec]) -> None:
        """Remove several VMs as `drop_vm` does, with one look for their processes.

        Raises:
            RunError: the VMs are removed, but some of their processes still run.
        """
        try:
            self.each_host(lambda spec: self.network.unplug_vm(spec.name), specs)
        finally:
            self.network.end_vms(spec.name for spec in specs)

    def each_host(self, work: Callable[[VMSpec], object], specs: Iterable[VMSpec]) -> None:
        """Do `work` for VMs. Hosts work in parallel; the VMs of one host follow each other.

        A host process takes one request at a time. The first failure is raised.
        """
        by_host: dict[str, list[VMSpec]] = {}
        for spec in specs:
            by_host.setdefault(spec.host, []).append(spec)

        def of_host(mine: list[VMSpec]) -> None:
            for spec in mine:
                work(spec)

        self.workers.each(of_host, by_host.values())

    # -- restarts ---------------------------------------------------------------------------------

    def supervise(self) -> None:
        """Restart from now on what dies: control plane, switches, nursery, engines, link element, host processes."""
        watch = self.supervisor.watch
        self.cluster.supervise(self.supervisor)
        nursery = partial(watch, NURSERY, None, lambda: identified(self.hosts.nursery_pid), self.hosts.restart_nursery)
        forked = [nursery(why=self.hosts.why_nursery_ended)]
        self._forked = forked
        if self.hosts.links is not None:
            self._watch_links()
        with_engines = list(forked)
        if self.hosts.engines is not None:
            with_engines.append(watch(ENGINES, None, lambda: self.hosts.engines, self._restart_engines, forked))
        for server in self.network.servers():
            needs: list[WatchedProcess] = []
            for name in (DATABASE, SWITCH):  # the switch needs its database
                restart = partial(self._restart_daemon, server, name)
                why = partial(_why_ended, server, name)
                needs = [watch(name, server.name, partial(_daemon, server, name), restart, needs, why)]
            needs = with_engines if facts(server.spec.dataplane).carrier == "engines" else forked
            watch(HOST_PROCESS, server.name, partial(_host_process, server), partial(self._restart_host, server), needs)

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
                _log.info("%s was not notified that its switch is back, and finds it by itself: %s", server.name, error)
            finally:
                client.close()

    def _restart_host(self, server: Server) -> None:
        def plug(client: HostClient) -> None:
            for nic in self.network.nics_of(server):
                self.plug_vm(nic.vm.name, client)
            self.network.uplinks[server.name].plug(client)

        self.hosts.resume(server, plug)

    def _restart_engines(self) -> None:
        """Restart the engines of all hosts, and kill the host processes that used them: these restart, too."""
        self.hosts.start_engines()
        table = LinuxProcesses()
        for server in self.network.servers():
            if facts(server.spec.dataplane).carrier == "engines" and server.host_process is not None:
                table.send(server.host_process, signal.SIGKILL)

    # -- links ------------------------------------------------------------------------------------

    def start_links(self) -> None:
        """Start the link element, which carries the packets of links that this kernel cannot make."""
        assert self.network.links is not None
        self.hosts.start_links()
        self.network.links.serve(self.hosts.link_client)

    def _watch_links(self) -> None:
        self.supervisor.watch(LINK_ELEMENT, None, lambda: self.hosts.links, self.start_links, self._forked)

    def set_link(self, name: str, properties: LinkProperties) -> None:
        """Set the properties of a link: `emulated_links.WAN`, or the uplink of a node of this name.

        The caller holds the lock for changes, and replaces the topology.
        """
        links = self.network.links
        assert links is not None
        if links.needs_element(properties) and self.hosts.links is None:
            self.start_links()
            self._watch_links()
        links.set(name, properties)

    # -- down -------------------------------------------------------------------------------------

    def take_down(self, *, keep_logs: bool = False) -> None:
        """End and remove everything; harmless when repeated, and from several threads at once.

        Args:
            keep_logs: keep the logs of this run, whose start has failed (`topologies.processes.failed_logs`).
        """
        if self.ended.is_set():
            return
        self._keep_logs = self._keep_logs or keep_logs
        self._stop_everything()
        # A change that is under way fails at once: the processes that it waits for are dead.
        with self._change_lock:
            if not self.ended.is_set():
                self._remove_everything()

    def _stop_everything(self) -> None:
        """Kill all processes; no other thread can start one after this."""
        with self._state_lock:
            if self.state != "down":
                self.state = "stopping"
            self.closing.set()
        self.cluster.close()
        self.supervisor.stop()
        with self._kill_lock, contextlib.suppress(FileNotFoundError):  # the directory may be deleted
            if not self._removing:
                self._kill()

    def _remove_everything(self) -> None:
        if self._server is not None:
            self._server.stop()
        self.workers.stop()
        with self._kill_lock:
            self._removing = True  # another thread must not write to files that are being removed
            self._kill()
            if (mark := self.launcher.ledger.mark) is not None:
                marks.end(mark)  # a namespace of the run whose holder is dead may have processes
        self.supervisor.join()
        self._remove_directory()
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
        if not run_ledger.is_intact() and run_ledger.mark is not None:
            # The directory is not intact, and may belong to another run now.
            marks.end(run_ledger.mark)

    def _remove_directory(self) -> None:
        mark = self.launcher.ledger.mark
        if self._directory_lock.is_of(self.directory):
            if self._keep_logs:
                self.kept_logs = failed_logs.keep(self.directory)
            ledger.remove_tree(self.directory)
        elif mark is not None:
            ledger.remove_remains(self.directory, mark)

    def _end_lost_run(self) -> None:
        """Take down a run whose directory is not intact: without lock and ledger no process can be restarted."""
        what = ledger.missing(self.directory, self.launcher.ledger.mark)
        _log.error("run %s has lost its %s in %s: it is taken down", self.name, what, self.directory.path)
        threading.Thread(target=self.take_down, name="lost").start()


def _daemon(server: Server, name: str) -> Process | None:
    return identified(server.daemons[name].pid)


def _why_ended(server: Server, name: str) -> str | None:
    return end_of(server.daemons[name])


def _host_process(server: Server) -> Process | None:
    return server.host_process
