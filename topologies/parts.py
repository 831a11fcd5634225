"""What a run consists of while it is there: processes, plant and the line to the control plane (paper figure 1).

Made when the run's directory is ours, dropped when it is taken down; decides nothing.
"""

from __future__ import annotations

import logging
import signal
from functools import partial
from typing import TYPE_CHECKING

from hoverboard.contract.errors import HoverboardError
from hoverboard.contract.generations import facts
from hoverboard.host.client import HostClient
from topologies import ledger, regions
from topologies.holder_methods import holder_methods
from topologies.hostprocesses import HostProcesses
from topologies.launcher import Launcher
from topologies.links import VirtualNIC
from topologies.nodes import Server
from topologies.plant import Plant
from topologies.processes import LinuxProcesses, Process, identified
from topologies.server import HolderServer
from topologies.supervision import Supervisor
from topologies.switches import DATABASE, SWITCH, start_daemon, wait_daemon
from topologies.workers import Workers

if TYPE_CHECKING:
    from topologies.testbed import Testbed

HOST_PROCESS, NURSERY, ENGINES = "host process", "nursery", "engines"
_DAEMON_TIMEOUT = 30.0
_log = logging.getLogger(__name__)


class Parts:
    """What a run consists of from the moment its directory is ours."""

    def __init__(self, testbed: Testbed) -> None:
        directory = testbed.directory
        self.launcher = Launcher(ledger.Ledger(directory))
        self.workers = Workers()
        self.plant = Plant(directory, self.launcher, testbed.datapath_type)
        self.cluster = regions.cluster_manager(
            testbed.topology, testbed.control_layout, directory.control, directory.logs, self.launcher
        )
        self.hosts = HostProcesses(directory, self.launcher, testbed.datapath_type, testbed.topology)
        self.server = HolderServer(directory.socket, holder_methods(testbed))
        self.supervisor = Supervisor(self.launcher.ledger)

    def plug(self, nic: VirtualNIC) -> None:
        """Hand a VM's NIC to its host."""
        self.hosts.start_vmm(nic.host, nic.vm.name)
        nic.plug()

    def supervise(self) -> None:
        """From now on, start again what dies: the switches, the host processes, and what those come from."""
        self.supervisor.watch(NURSERY, None, self._nursery, self.hosts.restart_nursery)
        if self.hosts.engines is not None:
            self.supervisor.watch(ENGINES, None, lambda: self.hosts.engines, self._restart_engines)
        for server in self.plant.servers():
            for name in (DATABASE, SWITCH):
                again = partial(self._restart_daemon, server, name)
                self.supervisor.watch(name, server.name, partial(_daemon, server, name), again)
            self.supervisor.watch(
                HOST_PROCESS, server.name, partial(_host_process, server), partial(self._restart_host, server)
            )

    def _nursery(self) -> Process | None:
        return identified(self.hosts.nursery_pid)

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
            for nic in self.plant.nics_of(server):
                self.hosts.start_vmm(server, nic.vm.name)
                nic.plug(client)
            self.plant.uplinks[server.name].plug(client)

        self.hosts.resume(server, plug)

    def _restart_engines(self) -> None:
        """Host processes whose engines have died have nothing to talk to: theirs go on in the new process."""
        self.hosts.start_engines()
        table = LinuxProcesses()
        for server in self.plant.servers():
            if facts(server.spec.dataplane).carrier == "engines" and server.host_process is not None:
                table.send(server.host_process, signal.SIGKILL)


def _daemon(server: Server, name: str) -> Process | None:
    return identified(server.daemons[name].pid)


def _host_process(server: Server) -> Process | None:
    return server.host_process
