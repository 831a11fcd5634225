"""Mininet's face of the testbed: `HoverboardNet` builds, starts and stops a `Testbed`.

    net = HoverboardNet(topo=TwoHosts())
    net.start()
    print(net.get("blue-1").cmd("ping -c1 10.0.0.3"))
    net.stop()

There is one code path: `topologies.run.testbed` does the work, ledger and clean-up included. `mininet.cli.CLI` works on
it: its verbs print an error as Mininet's do, and go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import Unpack

from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import HoverboardError, InputError
from hoverboard.contract.openflow.tables import TUNNEL_PORT_NAME
from topologies.changes.placement import VMValues
from topologies.emulation import switch_commands
from topologies.emulation.mininet_classes import Mininet, mininet_error, mininet_output
from topologies.emulation.nodes import Server, VirtualMachine
from topologies.emulation.topo import ClusterTopo
from topologies.mininet_verbs import links, listing, reachability, switches, throughput
from topologies.processes.phases import Progress
from topologies.run.testbed import Testbed
from topologies.spec.topology import Model, Topology

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import WiredNode


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
        state_dir: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.topo = topo if isinstance(topo, ClusterTopo) else ClusterTopo(topo)
        testbed = Testbed(self.topo.topology(), run=run, model=model, dataplane=dataplane, state_dir=state_dir)
        self._begin(testbed, progress)
        if build:
            self.build()

    @classmethod
    def of(cls, testbed: Testbed) -> HoverboardNet:
        """The net of a testbed that is up; the testbed stays the caller's to take down."""
        net = cls.__new__(cls)
        net.topo = ClusterTopo(testbed.topology)
        net._begin(testbed, None)
        net.refresh()
        net._number_ports()
        return net

    def _begin(self, testbed: Testbed, progress: Progress | None) -> None:
        # Do not call Mininet's constructor: it raises limits and sysctls of the whole machine.
        self.testbed = testbed
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

    def build(self) -> None:
        """Make namespaces, links and devices."""
        self.testbed.build(self.progress)
        self.refresh()

    def refresh(self) -> None:
        """Read nodes and links again: VMs may have come and gone by another way."""
        self.nameToNode = self.testbed.nodes()
        self.hosts = [node for node in self.nameToNode.values() if isinstance(node, VirtualMachine)]
        self.switches = [node for node in self.nameToNode.values() if not isinstance(node, VirtualMachine)]
        self.links = list(self.testbed.links())
        self.built = True

    def start(self) -> None:
        """Start everything; return when every VM reaches its gateway, and hosts reach each other."""
        if not self.built:
            self.build()
        self.testbed.start()
        self._number_ports()

    def _number_ports(self) -> None:
        """Give the interfaces of switches the numbers of their OpenFlow ports; Mininet's `ports` prints them.

        The uplink has the number of the tunnel's port.
        """
        for server in (one for one in self.switches if isinstance(one, Server)):
            ports = switch_commands.ports(server.directory, where=server.name)
            numbers = {
                port.vm or server.name: port.number for port in ports if port.vm or port.name == TUNNEL_PORT_NAME
            }
            for intf in server.intfList():
                server.ports[intf] = numbers.get(intf.link.intf1.node.name, server.ports[intf])
            # Mininet keeps both directions, and removes an interface by its number.
            server.intfs = {number: intf for intf, number in server.ports.items()}

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

    def addVM(
        self, network: str, name: str | None = None, host: str | None = None, **values: Unpack[VMValues]
    ) -> VirtualMachine:
        """Add a VM to the running network; return when its gateway answers.

        Args:
            network: name of the network.
            name: default: the network's name with the next number.
            host: default: the host with the fewest VMs.
            values: ip, ip6, tags and rate, as in a topology file.
        """
        spec = self.testbed.add_vm(network, name, host, **values)
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

    # -- verbs of Mininet's command line ------------------------------------------------------------

    def ping(self, hosts: Sequence[Any] | None = None, timeout: float | str | None = None) -> float:
        """Ping between VMs of the same virtual network, and print who answers.

        Args:
            hosts: VMs; default: all.
            timeout: seconds for each ping.

        Returns:
            Percent of the pings without an answer.
        """
        try:
            seconds = reachability.timeout_of(str(timeout or ""))
            return reachability.ping_all(self._vms(hosts), mininet_output, seconds).lost_percent
        except HoverboardError as error:
            mininet_error(f"{error}\n")
            return 100.0

    def pingFull(
        self, hosts: Sequence[Any] | None = None, timeout: float | str | None = None
    ) -> list[tuple[Any, Any, tuple[float, ...]]]:
        """Ping as `ping` does, and print the times.

        Returns:
            (source, target, (sent, received, min, avg, max, mdev)) for each pair; times in milliseconds.
        """
        try:
            seconds = reachability.timeout_of(str(timeout or ""))
            found = reachability.ping_all_full(self._vms(hosts), mininet_output, seconds)
        except HoverboardError as error:
            mininet_error(f"{error}\n")
            return []
        return [(self[one.source], self[one.target], (1, int(one.answered), *one.times)) for one in found]

    def pingPair(self) -> float:
        """Ping between the first two VMs of a virtual network; return the percentage without an answer."""
        return self.ping(self._first_pair())

    def pingPairFull(self) -> list[tuple[Any, Any, tuple[float, ...]]]:
        """Ping as `pingPair` does, and return what `pingFull` returns."""
        return self.pingFull(self._first_pair())

    def iperf(
        self,
        hosts: Sequence[Any] | None = None,
        l4Type: str = "TCP",
        udpBw: str = throughput.UDP_RATE,
        fmt: str | None = None,
        seconds: int = throughput.SECONDS,
        port: int | None = None,
    ) -> list[str]:
        """Measure between two VMs by iperf3, and print the rates.

        Args:
            hosts: client and server, VMs of one virtual network; default: the first and the last of the first network.
            l4Type: "TCP" or "UDP".
            udpBw: rate to offer over UDP.
            fmt: "k", "m" or "g" for bits, "K", "M" or "G" for bytes a second; default: what reads best.
            seconds: how long to send.
            port: the server's; default: the first free one.

        Returns:
            [rate of the server, rate of the client], with UDP [udpBw, ..]; empty when nothing could be measured.
        """
        try:
            if l4Type not in ("TCP", "UDP"):
                raise InputError(f"{l4Type!r} is no protocol", where="l4Type", next_step="give TCP or UDP")
            pair = self._vms(hosts) if hosts else reachability.first_and_last(self.testbed.wiring())
            rate = udpBw if l4Type == "UDP" else None
            return throughput.report(pair, mininet_output, udp_rate=rate, seconds=seconds, port=port, unit=fmt)
        except HoverboardError as error:
            mininet_error(f"{error}\n")
            return []

    def configLinkStatus(self, src: str, dst: str, status: str) -> None:
        """Set a link "up" or "down": that of a VM and its host, or of a host or a Hoverboard and the fabric."""
        try:
            links.set_link(self.testbed.wiring(), src, dst, links.up_of(status))
        except HoverboardError as error:
            mininet_error(f"{error}\n")

    def waitConnected(self, timeout: float | None = None, delay: float = 0.5) -> bool:
        """Wait until all switches have their whole program; return whether they have.

        Args:
            timeout: seconds; None: a minute.
            delay: of no use here.
        """
        seconds = switches.WAIT_SECONDS if timeout is None or timeout is True else float(timeout)
        try:
            switches.wait_connected(self.testbed.status, seconds)
        except HoverboardError as error:
            mininet_error(f"{error}\n")
            return False
        return True

    def _vms(self, hosts: Sequence[Any] | None) -> list[WiredNode]:
        """VMs as the wiring has them; InputError when one is no VM."""
        wiring = self.testbed.wiring()
        if hosts is None:
            return [one for one in wiring["nodes"] if one["kind"] == "vm"]
        found = [listing.node(wiring, one if isinstance(one, str) else one.name) for one in hosts]
        reachability.check_vms(found)
        return found

    def _first_pair(self) -> list[str]:
        try:
            return [one["name"] for one in reachability.first_pair(self.testbed.wiring())]
        except HoverboardError as error:
            mininet_error(f"{error}\n")
            return []

    def addHost(self, name: str, cls: Any = None, **params: Any) -> NoReturn:
        """Raise InputError: the ledger does not know Mininet's own hosts, and could not clean them up."""
        raise InputError(f"cannot add {name!r} with addHost", next_step="use addVM, or add it to the Topo")

    def addSwitch(self, name: str, cls: Any = None, **params: Any) -> NoReturn:
        """Raise InputError: the ledger does not know Mininet's own switches, and could not clean them up."""
        raise InputError(
            f"cannot add {name!r} with addSwitch", next_step="add it to the Topo with addVMHost or addHoverboard"
        )
