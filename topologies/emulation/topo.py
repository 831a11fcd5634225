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
from topologies.changes.file_keys import file_keys
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.mininet_classes import Topo
from topologies.emulation.nodes import Fabric, HoverboardNode, VirtualMachine, VMHost
from topologies.spec import schema
from topologies.spec.topology import FABRIC, Topology


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
        keys = file_keys(given)
        hosts, hoverboards, networks = (keys.pop(key) for key in ("hosts", "hoverboards", "networks"))
        self.settings = keys
        for server in hosts:
            self.addVMHost(**server)
        for server in hoverboards:
            self.addHoverboard(**server)
        for network in networks:
            vms = network.pop("vms")
            self.addNetwork(**network)
            for vm in vms:
                self.addVM(network=network["name"], **vm)
        self._given = given

    def addVMHost(
        self,
        name: str,
        dataplane: Dataplane = "fastpath",
        program: Program = "ours",
        controller: str | None = None,
        **keys: Any,
    ) -> str:
        """Add a VM host and its uplink.

        Args:
            name: of the node.
            dataplane: its generation.
            program: "external" for a host that an OpenFlow controller of your own programs (docs/external.md).
            controller: address of that controller: tcp:HOST:PORT or unix:/PATH.
            keys: other keys of a host in a topology file: region, batch, uplink.
        """
        return self._server(name, VMHost, dataplane=dataplane, program=program, controller=controller, **keys)

    def addHoverboard(self, name: str, dataplane: Dataplane = "fastpath", **keys: Any) -> str:
        """Add a Hoverboard and its uplink.

        Args:
            name: of the node.
            dataplane: its generation.
            keys: other keys of a Hoverboard in a topology file: region, batch, capacity, uplink.
        """
        return self._server(name, HoverboardNode, dataplane=dataplane, **keys)

    def _server(self, name: str, cls: type, **keys: Any) -> str:
        """Add a node and its uplink; `keys` are those of a topology file, None for one that is not given."""
        self._given = None
        if FABRIC not in self.g.nodes():
            self.addSwitch(FABRIC, cls=Fabric)
        self.addSwitch(name, cls=cls, file_keys={key: value for key, value in keys.items() if value is not None})
        self.addLink(name, FABRIC, cls=Uplink)
        return name

    def addNetwork(self, name: str, vni: int, subnet: str | None = None, **keys: Any) -> str:
        """Add a virtual network.

        Args:
            name: of the network.
            vni: its VNI.
            subnet: its IPv4 addresses.
            keys: other keys of a network in a topology file: subnets, gateway, subnet6, rate, firewall, load_balancers,
                routes.
        """
        self._given = None
        given = {"vni": vni, "subnet": subnet, **keys}
        self.networks[name] = {key: value for key, value in given.items() if value is not None}
        return name

    def addVM(
        self,
        name: str,
        network: str,
        host: str,
        ip: str | None = None,
        tags: list[str] | None = None,
        ip6: str | Literal[False] | None = None,
        rate: str | None = None,
    ) -> str:
        """Add a VM of `network` on `host`, with its NIC.

        Args:
            name: name of the VM.
            network: name of its network.
            host: name of its host.
            ip: default: the first free address.
            tags: for firewall rules.
            ip6: default: the first free IPv6 address, if the network has IPv6; False: none.
            rate: most bits per second that it sends, such as "100mbit"; default: its network's rate.

        Raises:
            InputError: the host was not added.
        """
        hosts = [one for one in self.g.nodes() if self.nodeInfo(one).get("cls") is VMHost]
        if host not in hosts:
            known = f"use one of: {', '.join(hosts)}" if hosts else "add it with addVMHost first"
            raise InputError(f"there is no host {host!r}", where=f"VM {name}", next_step=known)
        self._given = None
        self.addHost(name, cls=VirtualMachine, network=network, ip=ip, ip6=ip6, tags=list(tags or []), rate=rate)
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
                servers[info["cls"]].append({"name": name, **info["file_keys"]})
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
                    given = {key: info[key] for key in ("ip", "ip6", "rate") if info[key] is not None}
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
