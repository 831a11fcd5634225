"""What a run consists of while it is there: processes, plant and the line to the control plane (paper figure 1).

Made when the run's directory is ours, dropped when it is taken down; decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topologies import ledger
from topologies.cluster import ClusterManager
from topologies.hostprocesses import HostProcesses
from topologies.launcher import Launcher
from topologies.links import VirtualNIC
from topologies.plant import Plant
from topologies.server import HolderServer
from topologies.workers import Workers

if TYPE_CHECKING:
    from topologies.testbed import Testbed


class Parts:
    """What a run consists of from the moment its directory is ours."""

    def __init__(self, testbed: Testbed) -> None:
        directory = testbed.directory
        self.launcher = Launcher(ledger.Ledger(directory))
        self.workers = Workers()
        self.plant = Plant(directory, self.launcher, testbed.datapath_type)
        self.cluster = ClusterManager(
            testbed.topology, testbed.control_layout, directory.control, directory.logs, self.launcher
        )
        self.hosts = HostProcesses(directory, self.launcher, testbed.datapath_type, testbed.topology)
        self.server = HolderServer(testbed)

    def plug(self, nic: VirtualNIC) -> None:
        """Hand a VM's NIC to its host."""
        self.hosts.start_vmm(nic.host, nic.vm.name)
        nic.plug()
