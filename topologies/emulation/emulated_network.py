"""The nodes and links of a run, made in parallel and found by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from hoverboard.contract.errors import HoverboardError, InputError
from topologies.emulation import devices, wan
from topologies.emulation.emulated_links import EmulatedLinks
from topologies.emulation.links import Uplink, VirtualNIC
from topologies.emulation.nodes import (
    Fabric,
    HoverboardNode,
    NamespaceNode,
    Server,
    VirtualMachine,
    VMHost,
    end_nodes,
)
from topologies.guests.guest_agent import Guest, GuestAgent
from topologies.guests.guest_files import GuestFiles
from topologies.guests.guest_requests import GuestRequests
from topologies.guests.link_events import LinkEvents, send_prepared
from topologies.processes.launcher import Launcher
from topologies.processes.phases import PhaseClock
from topologies.processes.run_directory import RunDirectory
from topologies.processes.thread_pool import ThreadPool
from topologies.spec.topology import FABRIC, ServerSpec, Topology, VMSpec

_log = logging.getLogger(__name__)


class EmulatedNetwork:
    """The nodes and links of a run.

    Attributes:
        nodes: by name, with the fabric.
        nics: by name of the VM.
        uplinks: by name of the node.
        files: the names that nodes know.
        agent: gives VMs their addresses again when their links come back; None before there is a fabric.
        links: the links that can have properties; None before there is a fabric.
    """

    def __init__(self, directory: RunDirectory, launcher: Launcher, datapath_type: str) -> None:
        self._directory = directory
        self._launcher = launcher
        self._datapath_type = datapath_type
        self.nodes: dict[str, NamespaceNode] = {}
        self.nics: dict[str, VirtualNIC] = {}
        self.uplinks: dict[str, Uplink] = {}
        self.files = GuestFiles(directory.guests)
        self.agent: GuestAgent | None = None
        self.links: EmulatedLinks | None = None
        self._segments: dict[str | None, wan.Segment] = {}

    def make_nodes(self, topology: Topology, workers: ThreadPool, clock: PhaseClock) -> None:
        """Make the namespaces of all nodes, and the bridges of the fabric."""
        self.files.make(topology)
        specs: list[ServerSpec | VMSpec | None] = [None, *topology.servers, *topology.vms]
        with clock.phase("nodes", len(specs)) as step:

            def make(spec: ServerSpec | VMSpec | None) -> None:
                if spec is None:
                    fabric = Fabric(self._launcher)
                    bridges = {segment.bridge for segment in wan.segments(topology).values()}
                    devices.make_fabric(fabric.pid, sorted(bridges))
                    self.links = EmulatedLinks(fabric.pid, topology)
                    self.nodes[FABRIC] = fabric
                    self.files.give(fabric.pid, FABRIC, None)
                else:
                    self.make_node(spec)
                step()

            workers.each(make, specs)

    def make_node(self, spec: ServerSpec | VMSpec) -> None:
        """Make the namespace of one host, Hoverboard or VM."""
        if isinstance(spec, VMSpec):
            self.nodes[spec.name] = VirtualMachine(spec, self._launcher)
        elif spec.role == "host":
            self.nodes[spec.name] = VMHost(spec, self._launcher, self._directory.node(spec.name))
        else:
            self.nodes[spec.name] = HoverboardNode(spec, self._launcher, self._directory.node(spec.name))
        network = spec.network if isinstance(spec, VMSpec) else None
        self.files.give(self.nodes[spec.name].pid, spec.name, network)

    def make_links(self, topology: Topology, workers: ThreadPool, clock: PhaseClock) -> None:
        """Make all uplinks and virtual NICs; they are not plugged into host processes yet."""
        items: list[ServerSpec | VMSpec] = [*topology.servers, *topology.vms]
        self.agent = GuestAgent(LinkEvents(self.nodes[FABRIC].pid), send_prepared)
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
        assert self.links is not None
        uplink = Uplink(server, fabric, bridge=self._segments[spec.region].bridge)
        self.uplinks[spec.name] = uplink
        self.links.add(uplink)

    def make_nic(self, spec: VMSpec) -> VirtualNIC:
        """Make the NIC of one VM; it is not plugged into its host process yet."""
        vm, host = self.nodes[spec.name], self.nodes[spec.host]
        assert isinstance(vm, VirtualMachine)
        assert isinstance(host, VMHost)
        nic = VirtualNIC(vm, host, datapath_type=self._datapath_type)
        self.nics[spec.name] = nic
        if self.agent is not None:
            index = devices.guest_index(vm.pid)
            requests = GuestRequests.of(index, spec.mac, spec.ip, spec.gateway, spec.ip6)
            self.agent.attend(Guest(spec.name, vm.pid, index, *requests))
        return nic

    def alter_vm(self, before: VMSpec, after: VMSpec) -> None:
        """Change rate and load balancer addresses of a running VM; a host process that restarts gets them, too."""
        node = self.nodes[after.name]
        assert isinstance(node, VirtualMachine)
        node.spec = after
        if before.rate != after.rate:
            self.server(after.host).client.set_rate(after.name, after.rate)
        old, new = set(before.shared), set(after.shared)
        if old != new:
            devices.share_addresses(node.pid, add=new - old, remove=old - new)

    def drop_vm(self, name: str) -> None:
        """Unplug and remove a VM; harmless when parts of it do not exist, or its host process does not answer.

        Raises:
            RunError: the VM is removed, but some of its processes still run.
        """
        try:
            self.unplug_vm(name)
        finally:
            self.end_vms([name])

    def unplug_vm(self, name: str) -> None:
        """Unplug a VM and remove its NIC, before `end_vms`."""
        if self.agent is not None:
            self.agent.leave(name)
        nic = self.nics.pop(name, None)
        try:
            if nic is not None:
                nic.delete()
        except HoverboardError as error:
            # When the host process restarts, it does not get this VM.
            _log.warning("VM %s is removed without its host process: %s", name, error)

    def end_vms(self, names: Iterable[str]) -> None:
        """End the namespaces of VMs, with all processes in them; the kernel removes the devices that are left there.

        Raises:
            RunError: the VMs are removed, but some of their processes still run.
        """
        nodes = [node for name in names if (node := self.nodes.pop(name, None)) is not None]
        end_nodes(nodes)

    def nics_of(self, server: Server) -> list[VirtualNIC]:
        """The NICs of the VMs on a node."""
        return [nic for nic in list(self.nics.values()) if nic.host is server]

    def node(self, name: str) -> NamespaceNode:
        """The node of this name.

        Raises:
            InputError: there is no such node.
        """
        if name not in self.nodes:
            names = sorted(self.nodes)
            more = ", ..." if len(names) > 30 else ""
            raise InputError(
                f"there is no node {name!r} in run {self._directory.run!r}",
                next_step=f"use one of: {', '.join(names[:30])}{more}",
            )
        return self.nodes[name]

    def server(self, name: str) -> Server:
        """The VM host or Hoverboard of this name.

        Raises:
            InputError: there is no such node.
        """
        node = self.node(name)
        if not isinstance(node, Server):
            servers = [one.name for one in self.nodes.values() if isinstance(one, Server)]
            raise InputError(f"{name!r} has no switch", next_step=f"use one of: {', '.join(sorted(servers)[:30])}")
        return node

    def servers(self) -> list[Server]:
        """All VM hosts and Hoverboards."""
        return [node for node in self.nodes.values() if isinstance(node, Server)]

    def close(self) -> None:
        """Close our descriptors and connections; the processes end with the ledger."""
        if self.agent is not None:
            self.agent.close()
            self.agent = None
        if self.links is not None:
            self.links.close()
        for server in self.servers():
            server.client.close()
        for link in (*self.nics.values(), *self.uplinks.values()):
            link.close()
        for node in self.nodes.values():
            node.close()
        self.nodes.clear()
        self.nics.clear()
        self.uplinks.clear()
