"""The physical plant of a run: its Mininet nodes and links, made in parallel and found by name."""

from __future__ import annotations

import logging

from hoverboard.contract.errors import HoverboardError, InputError
from topologies.emulation import devices, wan
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.nodes import Fabric, HoverboardNode, NamespaceNode, Server, VirtualMachine, VMHost
from topologies.processes.launcher import Launcher
from topologies.processes.phases import PhaseClock
from topologies.processes.run_directory import RunDirectory
from topologies.processes.thread_pool import ThreadPool
from topologies.spec.topology import FABRIC, ServerSpec, Topology, VMSpec

_log = logging.getLogger(__name__)


class EmulatedNetwork:
    """Nodes and links of a run.

    Attributes:
        nodes: by name, the fabric included.
        nics, uplinks: by VM and by server.
        wan: the link between two regions' fabrics; None: one fabric.
    """

    def __init__(self, directory: RunDirectory, launcher: Launcher, datapath_type: str) -> None:
        self._directory = directory
        self._launcher = launcher
        self._datapath_type = datapath_type
        self.nodes: dict[str, NamespaceNode] = {}
        self.nics: dict[str, VirtualNIC] = {}
        self.uplinks: dict[str, Uplink] = {}
        self.wan: wan.Wan | None = None
        self._segments: dict[str | None, wan.Segment] = {}

    def make_nodes(self, topology: Topology, workers: ThreadPool, clock: PhaseClock) -> None:
        """All namespaces, and the fabric's bridge."""
        specs: list[ServerSpec | VMSpec | None] = [None, *topology.servers, *topology.vms]
        with clock.phase("nodes", len(specs)) as step:

            def make(spec: ServerSpec | VMSpec | None) -> None:
                if spec is None:
                    fabric = Fabric(self._launcher)
                    self.wan = wan.make(fabric.pid, topology)
                    self.nodes[FABRIC] = fabric
                else:
                    self.make_node(spec)
                step()

            workers.each(make, specs)

    def make_node(self, spec: ServerSpec | VMSpec) -> None:
        """The namespace of one server or VM."""
        if isinstance(spec, VMSpec):
            self.nodes[spec.name] = VirtualMachine(spec, self._launcher)
        elif spec.role == "host":
            self.nodes[spec.name] = VMHost(spec, self._launcher, self._directory.node(spec.name))
        else:
            self.nodes[spec.name] = HoverboardNode(spec, self._launcher, self._directory.node(spec.name))

    def make_links(self, topology: Topology, workers: ThreadPool, clock: PhaseClock) -> None:
        """All uplinks and virtual NICs, not yet plugged into host processes."""
        items: list[ServerSpec | VMSpec] = [*topology.servers, *topology.vms]
        self._segments = wan.segments(topology)
        with clock.phase("links", len(items)) as step:

            def make(spec: ServerSpec | VMSpec) -> None:
                if isinstance(spec, VMSpec):
                    self.make_nic(spec)
                else:
                    self._make_uplink(spec)
                step()

            workers.each(make, items)

    def _make_uplink(self, spec: ServerSpec) -> None:
        server, fabric = self.server(spec.name), self.nodes[FABRIC]
        assert isinstance(fabric, Fabric)
        devices.loopback_up(server.pid)
        own = self._segments[spec.region]
        wan_ports = [other.wan for other in self._segments.values() if other.wan is not None and other is not own]
        self.uplinks[spec.name] = Uplink(server, fabric, bridge=own.bridge, wan_ports=wan_ports)

    def make_nic(self, spec: VMSpec) -> VirtualNIC:
        """The NIC of one VM."""
        vm, host = self.nodes[spec.name], self.nodes[spec.host]
        assert isinstance(vm, VirtualMachine)
        assert isinstance(host, VMHost)
        nic = VirtualNIC(vm, host, datapath_type=self._datapath_type)
        self.nics[spec.name] = nic
        return nic

    def alter_vm(self, before: VMSpec, after: VMSpec) -> None:
        """Another rate, other shared addresses, for a VM that runs; its NIC is given them again with the host."""
        node = self.nodes[after.name]
        assert isinstance(node, VirtualMachine)
        node.spec = after
        if before.rate != after.rate:
            self.server(after.host).client.set_rate(after.name, after.rate)
        old, new = set(before.shared), set(after.shared)
        if old != new:
            devices.share_addresses(node.pid, add=new - old, remove=old - new)

    def drop_vm(self, name: str) -> None:
        """Unplug and remove a VM; harmless when parts of it are not there, or its host is away."""
        nic = self.nics.pop(name, None)
        node = self.nodes.pop(name, None)
        try:
            if nic is not None:
                nic.delete()
        except HoverboardError as error:
            # A host process that is away is not given this VM again when it is back.
            _log.warning("VM %s is removed all the same: %s", name, error)
        finally:
            if node is not None:
                node.terminate()  # and with its namespace goes every device in it

    def nics_of(self, server: Server) -> list[VirtualNIC]:
        """The NICs of the VMs on a server."""
        return [nic for nic in list(self.nics.values()) if nic.host is server]

    def node(self, name: str) -> NamespaceNode:
        """A node by name; InputError when there is none."""
        if name not in self.nodes:
            names = sorted(self.nodes)
            more = ", ..." if len(names) > 30 else ""
            raise InputError(
                f"there is no node {name!r} in run {self._directory.run!r}",
                next_step=f"use one of: {', '.join(names[:30])}{more}",
            )
        return self.nodes[name]

    def server(self, name: str) -> Server:
        """A VM host or Hoverboard by name; InputError otherwise."""
        node = self.node(name)
        if not isinstance(node, Server):
            servers = [one.name for one in self.nodes.values() if isinstance(one, Server)]
            raise InputError(f"{name!r} has no switch", next_step=f"use one of: {', '.join(sorted(servers)[:30])}")
        return node

    def servers(self) -> list[Server]:
        """All VM hosts and Hoverboards."""
        return [node for node in self.nodes.values() if isinstance(node, Server)]

    def close(self) -> None:
        """Give back our own descriptors; the processes are the ledger's to end."""
        for server in self.servers():
            server.client.close()
        for link in (*self.nics.values(), *self.uplinks.values()):
            link.close()
        for node in self.nodes.values():
            node.close()
        self.nodes.clear()
        self.nics.clear()
        self.uplinks.clear()
