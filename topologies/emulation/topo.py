"""Topologies as Mininet `Topo` classes, for Python programs: pure data; nothing starts here.

    class Mine(ClusterTopo):
        def build(self):
            self.addVMHost("h1")
            self.addVMHost("h2", dataplane="ovs")
            self.addHoverboard("hv1")

            self.addNetwork("blue", vni=7, subnet="10.0.0.0/24")
            self.addVM("blue-1", network="blue", host="h1")
            self.addVM("blue-2", network="blue", host="h2")

`topologies.net.HoverboardNet` runs them. `topology()` gives the resolved `Topology`, checked like a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hoverboard.contract.entities import Dataplane, Program
from hoverboard.contract.errors import InputError
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.mininet_classes import Topo
from topologies.emulation.nodes import Fabric, HoverboardNode, VirtualMachine, VMHost
from topologies.spec import schema
from topologies.spec.topology import FABRIC, Topology

SERVER_KEYS = (
    "dataplane",
    "program",
    "controller",
)  # of a node in a topology file, as `addVMHost` takes them


class ClusterTopo(Topo):
    """A cluster of VM hosts, Hoverboards, networks and VMs.

    Args:
        topology: a resolved topology, the path of a file, or the name of a shipped topology. Without it, a subclass
            overrides `build`.

    Attributes:
        settings: the file's top-level keys, such as model and offload_threshold.
        networks: virtual networks by name, with their keys.
    """

    def __init__(self, *args: Any, **params: Any) -> None:
        self.settings: dict[str, Any] = {"name": type(self).__name__}
        self.networks: dict[str, dict[str, Any]] = {}
        self._given: Topology | None = None
        super().__init__(*args, **params)

    def build(self, topology: Topology | str | Path | None = None, **_params: Any) -> None:
        """Add the nodes and links of `topology`; override this to build your own."""
        if topology is None:
            return
        given = topology if isinstance(topology, Topology) else schema.load(topology)
        self.settings = {
            "name": given.name, "model": given.model, "offload_threshold": f"{given.offload_threshold}bit",
            "report_interval": given.report_interval,
        }  # fmt: skip
        for server in given.hosts:
            program: Program = "ours" if server.controller is None else "external"
            self.addVMHost(server.name, dataplane=server.dataplane, program=program, controller=server.controller)
        for server in given.hoverboards:
            self.addHoverboard(server.name, dataplane=server.dataplane)
        for network in given.networks:
            first = network.subnets[0]
            ranges: dict[str, Any] = {"subnet": str(first.prefix), "gateway": str(first.gateway)}
            if len(network.subnets) > 1:
                ranges = {"subnets": [str(subnet.prefix) for subnet in network.subnets]}
            if first.prefix6 is not None:
                ranges["subnet6"] = str(first.prefix6)
            self.networks[network.name] = {"vni": network.vni, **ranges}
            for vm in network.vms:
                self.addVM(
                    vm.name, network=network.name, host=vm.host, ip=str(vm.ip), tags=list(vm.tags),
                    ip6=False if vm.ip6 is None else str(vm.ip6),
                )  # fmt: skip
        self._given = given

    def addVMHost(
        self,
        name: str,
        dataplane: Dataplane = "fastpath",
        program: Program = "ours",
        controller: str | None = None,
    ) -> str:
        """Add a VM host and its uplink.

        Args:
            name: of the node.
            dataplane: its generation.
            program: "external" for a host that an OpenFlow controller of your own programs (docs/external.md).
            controller: address of that controller: tcp:HOST:PORT or unix:/PATH.
        """
        return self._server(name, VMHost, dataplane, program=program, controller=controller)

    def addHoverboard(self, name: str, dataplane: Dataplane = "fastpath") -> str:
        """Add a Hoverboard and its uplink."""
        return self._server(name, HoverboardNode, dataplane)

    def _server(self, name: str, cls: type, dataplane: Dataplane, **keys: str | None) -> str:
        """Add a node and its uplink; `keys` are those of a topology file, None for one that is not given."""
        self._given = None
        if FABRIC not in self.g.nodes():
            self.addSwitch(FABRIC, cls=Fabric)
        self.addSwitch(name, cls=cls, dataplane=dataplane, **keys)
        self.addLink(name, FABRIC, cls=Uplink)
        return name

    def addNetwork(
        self, name: str, vni: int, subnet: str, gateway: str | None = None, subnet6: str | None = None
    ) -> str:
        """Add a virtual network; with `subnet6` its VMs have IPv6 addresses, too."""
        self._given = None
        self.networks[name] = {"vni": vni, "subnet": subnet}
        if gateway is not None:
            self.networks[name]["gateway"] = gateway
        if subnet6 is not None:
            self.networks[name]["subnet6"] = subnet6
        return name

    def addVM(
        self,
        name: str,
        network: str,
        host: str,
        ip: str | None = None,
        tags: list[str] | None = None,
        ip6: str | Literal[False] | None = None,
    ) -> str:
        """Add a VM of `network` on `host`, with its NIC.

        Args:
            name: name of the VM.
            network: name of its network.
            host: name of its host.
            ip: default: the first free address.
            tags: for firewall rules.
            ip6: default: the first free IPv6 address, if the network has IPv6; False: none.

        Raises:
            InputError: the host was not added.
        """
        hosts = [one for one in self.g.nodes() if self.nodeInfo(one).get("cls") is VMHost]
        if host not in hosts:
            known = f"use one of: {', '.join(hosts)}" if hosts else "add it with addVMHost first"
            raise InputError(f"there is no host {host!r}", where=f"VM {name}", next_step=known)
        self._given = None
        self.addHost(name, cls=VirtualMachine, network=network, ip=ip, ip6=ip6, tags=list(tags or []))
        self.addLink(name, host, cls=VirtualNIC)
        return name

    def topology(self) -> Topology:
        """The resolved topology.

        Raises:
            InputError: it has faults, as a file could have.
        """
        if self._given is not None:
            return self._given
        servers: dict[type, list[dict[str, Any]]] = {VMHost: [], HoverboardNode: []}
        for name in self.g.nodes():
            info = self.nodeInfo(name)
            if info.get("cls") in servers:
                keys = {key: info[key] for key in SERVER_KEYS if info.get(key) is not None}
                servers[info["cls"]].append({"name": name, **keys})
        host_of = {
            info["node1"]: info["node2"] for _, _, info in self.links(withInfo=True) if info["cls"] is VirtualNIC
        }
        for name in self.g.nodes():
            given = self.nodeInfo(name).get("network")
            if given is not None and given not in self.networks:
                raise InputError(
                    f"there is no network {given!r}", where=f"VM {name}", next_step="add it with addNetwork"
                )
        networks = []
        for network, keys in self.networks.items():
            vms = []
            for name in self.g.nodes():
                info = self.nodeInfo(name)
                if info.get("cls") is VirtualMachine and info["network"] == network:
                    vm = {"name": name, "host": host_of[name], "tags": info["tags"]}
                    given = {key: info[key] for key in ("ip", "ip6") if info[key] is not None}
                    vms.append({**vm, **given})
            networks.append({"name": network, **keys, "vms": vms})
        data = {
            **self.settings, "hosts": servers[VMHost], "hoverboards": servers[HoverboardNode], "networks": networks,
        }  # fmt: skip
        return schema.from_keys(data, source=type(self).__name__)


class TwoHosts(ClusterTopo):
    """Two VM hosts, one Hoverboard, one tenant."""

    def build(self, topology: Topology | str | Path | None = "two-hosts", **_params: Any) -> None:
        """Add the nodes and links of the shipped topology `two-hosts`."""
        super().build(topology)


class Demo(ClusterTopo):
    """Three VM hosts, one Hoverboard, two tenants with the same addresses."""

    def build(self, topology: Topology | str | Path | None = "demo", **_params: Any) -> None:
        """Add the nodes and links of the shipped topology `demo`."""
        super().build(topology)


class Rack(ClusterTopo):
    """20 VM hosts, 100 VMs, 2 Hoverboards."""

    def build(self, topology: Topology | str | Path | None = "rack", **_params: Any) -> None:
        """Add the nodes and links of the shipped topology `rack`."""
        super().build(topology)
