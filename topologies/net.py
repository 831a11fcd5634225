"""Mininet's face of the testbed: `HoverboardNet` builds, starts and stops a `Testbed`.

    net = HoverboardNet(topo=TwoHosts())
    net.start()
    print(net.get("blue-1").cmd("ping -c1 10.0.0.3"))
    net.stop()

There is one code path: `topologies.run.testbed` does the work, ledger and clean-up included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import InputError
from topologies.emulation.mininet_classes import Mininet
from topologies.emulation.nodes import VirtualMachine
from topologies.emulation.topo import ClusterTopo
from topologies.processes.phases import Progress
from topologies.run.testbed import Testbed
from topologies.spec.topology import Model, Topology


class HoverboardNet(Mininet):
    """A Mininet with VMs as its hosts, and with VM hosts, Hoverboards and the fabric as its switches.

    Args:
        topo: a ClusterTopo, a resolved topology, the path of a topology file, or a shipped topology's name.
        build: build in the constructor, as Mininet does.
        run, model, dataplane, state_dir: see `Testbed`.
        progress: called as phases of the start advance, from any thread.
    """

    def __init__(
        self,
        topo: ClusterTopo | Topology | str | Path,
        *,
        build: bool = True,
        run: str | None = None,
        model: Model | None = None,
        dataplane: Dataplane | None = None,
        state_dir: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        # Do not call Mininet's constructor: it raises limits and sysctls of the whole machine.
        self.topo = topo if isinstance(topo, ClusterTopo) else ClusterTopo(topo)
        self.testbed = Testbed(self.topo.topology(), run=run, model=model, dataplane=dataplane, state_dir=state_dir)
        self.progress = progress
        self.hosts: list[Any] = []
        self.switches: list[Any] = []
        self.controllers: list[Any] = []
        self.links: list[Any] = []
        self.nameToNode: dict[str, Any] = {}
        self.terms: list[Any] = []
        self.inNamespace = True
        self.waitConn = False
        self.built = False
        if build:
            self.build()

    def build(self) -> None:
        """Make namespaces, links and devices."""
        self.testbed.build(self.progress)
        self.nameToNode = dict(self.testbed.nodes())
        self.hosts = [node for node in self.nameToNode.values() if isinstance(node, VirtualMachine)]
        self.switches = [node for node in self.nameToNode.values() if not isinstance(node, VirtualMachine)]
        self.links = list(self.testbed.links())
        self.built = True

    def start(self) -> None:
        """Start everything; return when every VM reaches its gateway, and hosts reach each other."""
        if not self.built:
            self.build()
        self.testbed.start()

    def stop(self) -> None:
        """Take everything down."""
        self.testbed.down()
        self.built = False
        for found in (self.hosts, self.switches, self.links):
            found.clear()
        self.nameToNode = {}

    def __enter__(self) -> HoverboardNet:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def addVM(self, network: str, name: str | None = None, host: str | None = None) -> VirtualMachine:
        """Add a VM to the running network; return when its gateway answers.

        Args:
            network: name of the network.
            name: default: the network's name with the next number.
            host: default: the host with the fewest VMs.
        """
        spec = self.testbed.add_vm(network, name, host)
        node = self.testbed.node(spec.name)
        assert isinstance(node, VirtualMachine)
        self.nameToNode[spec.name] = node
        self.hosts.append(node)
        self.links.append(self.testbed.nic(spec.name))
        return node

    def delVM(self, name: str) -> None:
        """Remove a VM from the running network."""
        link = self.testbed.nic(name)
        self.testbed.remove_vm(name)
        self.hosts.remove(self.nameToNode.pop(name))
        self.links.remove(link)

    def addHost(self, name: str, cls: Any = None, **params: Any) -> NoReturn:
        """Raise InputError: the ledger does not know Mininet's own hosts, and could not clean them up."""
        raise InputError(f"cannot add {name!r} with addHost", next_step="use addVM, or add it to the Topo")

    def addSwitch(self, name: str, cls: Any = None, **params: Any) -> NoReturn:
        """Raise InputError: the ledger does not know Mininet's own switches, and could not clean them up."""
        raise InputError(
            f"cannot add {name!r} with addSwitch", next_step="add it to the Topo with addVMHost or addHoverboard"
        )
