"""Generation "pre" (before Andromeda): one process per VM carries its packets, by UDP sockets (paper 5.2).

The host process does the rest: it handles flow misses, revalidates entries, and chooses which socket gets which
datagram. Two VMs of one host talk over the host's own underlay address.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import entries
from hoverboard.fastpath.packets import geneve
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable, Key
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, SavedState
from hoverboard.host.coprocessing.flow_stages import no_stages
from hoverboard.host.generations.pre_sockets import SocketGroup
from hoverboard.host.generations.pre_strays import SOCKET_FULL, Strays
from hoverboard.host.generations.pre_vm_process import PORT, VmmListener, VmmProcess
from hoverboard.host.generations.shared_engines import shared_memory
from hoverboard.host.generations.taps import check_tap
from hoverboard.host.listeners import RouteListener
from hoverboard.host.slowpath.entry_writer import EntryWriter
from hoverboard.host.slowpath.flow_misses import FlowMisses
from hoverboard.host.telemetry import usage
from hoverboard.host.underlay.datagrams import KernelDatagrams
from hoverboard.host.underlay.peers import Announcements, announcement
from hoverboard.vswitch.monitor import FlowMonitor
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.switch_questions import SwitchQuestions
from hoverboard.vswitch.trace import TraceResult

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes
    from hoverboard.contract.documents import Counters


IDLE_SECONDS = 30  # the same as on the fast path
VMM_SOCKET = "vmms.sock"


class _Underlay:
    """The other hosts, which the kernel finds: no peer is probed, and no peer gets segments."""

    def index(self, address: IPv4Address) -> int:
        """0: one row of peers[] stands for all hosts."""
        return 0

    def handle(self, frame: bytes) -> None:
        """Do nothing: the kernel answers ARP, and this generation does not answer probes."""


class VmEntryWriter(EntryWriter):
    """Writes entries for one VM's process, which reaches other VMs of the same host through the tunnel, too."""

    @override
    def entry(self, verdict: TraceResult, key: Key) -> Entry:
        neighbour = verdict.out_port is not None and verdict.tun_dst is None
        if neighbour and self.vport_of(verdict.out_port or 0) is None:
            # Another VM of this host: its process has a socket like the process of any remote VM.
            template, checksum = geneve.template(self.local_ip, self.local_ip, verdict.vni)
            return Entry(entries.ACT_TUNNEL, 0, b"", template, checksum)
        return super().entry(verdict, key)


@dataclass
class _Vm:
    """State that the host process keeps for one VM."""

    ofport: int
    process: VmmProcess
    datapath: Datapath
    table: FlowTable
    misses: FlowMisses
    ended: bool = False


class PrePlane:
    """The VMs' processes of one host, their flow tables and sockets.

    Args:
        switch, questions: the node's switch, and the port by which it answers for single packets.
        uplink: the device that leads to the fabric.
        datagrams: the socket of the route exchange; closed with the plane. Datagrams go to `routes`.
        routes: notified of packets that match a route of kind LEARN, and of datagrams.
    """

    checkpoint_source = CheckpointSource()  # nothing to save: the VMs' processes end with the host process

    def __init__(
        self,
        switch: Ovs,
        questions: SwitchQuestions,
        local_ip: IPv4Address,
        directory: Path,
        uplink: str,
        datagrams: KernelDatagrams,
        routes: RouteListener,
    ) -> None:
        self._switch = switch
        self._questions = questions
        self._local_ip = local_ip
        self._directory = directory
        self._listener = VmmListener(directory / VMM_SOCKET)
        self._sockets = SocketGroup(local_ip)
        self._vms: dict[str, _Vm] = {}
        self._datagrams = datagrams
        self._routes = routes
        self._ended_counters: dict[str, Any] = {}  # counters of VMs that were detached
        self._strays = Strays(self._sockets.own, questions, local_ip, self._engine_of)
        self._fabric = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._fabric.bind((uplink, 0))
        self._announcements = Announcements()
        self._monitor: FlowMonitor | None = FlowMonitor(switch.management, directory)
        self._next_expiry = 0.0

    def report_relayed(self, relayed: bool) -> None:
        """Do nothing: no Hoverboard runs this generation."""

    def limit(self, pps: int | None, bps: int | None) -> None:
        """Do nothing: no Hoverboard runs this generation."""

    def readers(self) -> dict[int, Callable[[], None]]:
        """The misses and the end of each VM's process, the host's own socket, and the flow monitor's output."""
        readers: dict[int, Callable[[], None]] = {
            self._sockets.own.fileno(): self._strays.read,
            **self._datagrams.readers(self._routes.datagram_received),
        }
        for name, vm in self._vms.items():
            readers[vm.datapath.control_eventfd] = _of(self._on_engine_event, name)
            if not vm.ended:
                readers[vm.process.fileno()] = _of(self._on_end, name)
        if self._monitor is not None:
            readers[self._monitor.fileno()] = self._on_change
        return readers

    def _on_engine_event(self, name: str) -> None:
        if (vm := self._vms.get(name)) is not None:
            vm.datapath.reset_control_eventfd()
            vm.misses.handle()
            if vm.misses.stale:
                vm.misses.revalidate_some()

    def _on_end(self, name: str) -> None:
        if (vm := self._vms.get(name)) is not None:
            vm.ended = True
            print(f"the process of VM {name} (pid {vm.process.pid}) has ended: the VM is cut off", file=sys.stderr)

    def _engine_of(self, ofport: int) -> Datapath | None:
        return next((vm.datapath for vm in self._vms.values() if vm.ofport == ofport and not vm.ended), None)

    def _on_change(self) -> None:
        assert self._monitor is not None
        changes, begun = self._monitor.read(), self._monitor.begun()
        if changes or begun:
            self._strays.forget()
        for vm in self._vms.values():
            if vm.ended:
                continue
            if begun:
                vm.misses.mark_all_stale()
                vm.misses.revalidate_some()
            vm.misses.revalidate(changes)
        if self._monitor.ended:
            self._monitor.close()
            self._monitor = None  # every_second() starts another once the switch is back

    def set_uplink(self, fd: int) -> None:
        """Raise InputError: the kernel has the uplink."""
        raise InputError("dataplane pre has its uplink as a device in the node's namespace, not as a descriptor")

    def check_attach(self, vm: str, fd: int | None, rate: int | None) -> None:
        """Raise InputError for a descriptor that cannot be used, RunError for a rate: nothing would enforce it."""
        self.set_rate(vm, rate)
        check_tap(f"VM {vm}", fd)

    def attach(
        self,
        vm: str,
        vport: str,
        ofport: int,
        fd: int | None,
        *,
        network: str = "",
        rate: int | None = None,
        vni: int = 0,
        addresses: tuple[Address, ...] = (),
    ) -> None:
        """Have the VM's process, which has joined, carry its packets."""
        assert fd is not None  # see check_attach()
        process, datapath = self._connect(vm, vni, addresses)
        try:
            table = FlowTable(datapath.memories, datapath.switch_table)
            underlay = _Underlay()
            entry_writer = VmEntryWriter(self._local_ip, underlay, {ofport: PORT}.get, no_stages)
            misses = FlowMisses(datapath, table, self._questions, entry_writer, underlay, routes=self._routes)
            datapath.start()
            datapath.set_port(PORT, fd, ofport)
        except BaseException:
            datapath.stop()
            self._sockets.remove(vm)
            raise
        self._vms[vm] = _Vm(ofport, process, datapath, table, misses)

    def _connect(self, vm: str, vni: int, addresses: tuple[Address, ...]) -> tuple[VmmProcess, Datapath]:
        """Wait for the VM's process, and make its memory and socket; after an error nothing of them is left."""
        with contextlib.ExitStack() as undo:
            connection, pid = self._listener.wait_for(vm)
            undo.callback(connection.close)
            memory_fd = shared_memory(vm)
            undo.callback(os.close, memory_fd)
            udp = self._sockets.add(vm, vni, addresses)
            undo.callback(self._sockets.remove, vm)
            process = VmmProcess(connection, pid, memory_fd, udp)
            undo.callback(os.close, process.wake_fd)
            datapath = Datapath(process, memory_fd, local_ip=self._local_ip)
            undo.pop_all()  # from here on datapath.stop() closes them
        return process, datapath

    def resume(self, saved: SavedState) -> None:
        """Do nothing: the VMs' processes ended with the host process, and learn their flows by new misses."""

    def switch_back(self) -> None:
        """Watch the tables of a switch that has restarted."""
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = FlowMonitor(self._switch.management, self._directory)

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Raise RunError, except for None (no limit)."""
        if rate:
            raise RunError(
                "dataplane pre has no rate limits", where=vm, next_step="use dataplane fastpath, or remove the rate"
            )

    def detach(self, vm: str) -> None:
        """End the VM's process, and remove entries of other VMs that lead to it."""
        usage.merge(self._ended_counters, self._counters(vm))
        gone = self._vms.pop(vm)
        gone.datapath.stop()
        self._sockets.remove(vm)
        for other in self._vms.values():
            if not other.ended:
                other.misses.forget_port(gone.ofport)
        del gone
        gc.collect()  # the mapping of the VM's tables holds a descriptor; a reference cycle may keep it alive

    def usage(self) -> tuple[FlowUsage, ...]:
        """Packets and bytes that each VM pair sent into the fabric since the last call."""
        return usage.usage((vm.table, vm.misses) for vm in self._vms.values())

    def flows(self) -> list[nodes.Entry]:
        """The flow tables of all processes, one row per entry and earlier answer."""
        return [
            flow
            for name, vm in self._vms.items()
            for flow in usage.flows(vm.table, vm.misses, {PORT: name}.get, {vm.ofport: name}.get)
        ]

    def counters(self) -> Counters:
        """Sums over all processes, and drops by reason."""
        zero = {name: 0 for name in ("tx_packets", "tx_bytes", "misses")}
        packets, octets = self._strays.received
        total = usage.merge(
            {"rx_packets": packets, "rx_bytes": octets, **zero, "drops": dict(self._strays.drops)}, self._ended_counters
        )
        if full := self._sockets.overflows(None):
            usage.merge(total["drops"], {SOCKET_FULL: full})
        for name in self._vms:
            usage.merge(total, self._counters(name))
        return cast("Counters", total)

    def _counters(self, name: str) -> Counters:
        vm = self._vms[name]
        counters = usage.counters(vm.datapath.memories, vm.misses)
        if full := self._sockets.overflows(name):
            counters["drops"][SOCKET_FULL] = full
        return counters

    def table(self) -> dict[str, int]:
        """State of all flow tables, added up."""
        total: dict[str, int] = {"entries": 0}
        for vm in self._vms.values():
            usage.merge(total, usage.table(vm.table, vm.misses))
        return total

    def vms(self) -> dict[str, nodes.NodeVM]:
        """By VM: vmm_seconds (CPU time of its process); there is no fast path and no coprocessor."""
        return {
            name: {
                "fastpath_seconds": None,
                "vmm_seconds": vm.process.cpu_seconds(),
                "rate_bps": None,
                "coprocessor": None,
            }
            for name, vm in self._vms.items()
        }

    inspection = None  # debug elements exist for batch engines only: tcpdump shows the same on the node's uplink

    def rates(self) -> None:
        """None: this generation does not measure rates."""

    def every_second(self, now: float) -> None:
        """Announce the host, expire idle entries, and watch a switch that has restarted."""
        if self._announcements.due():
            with contextlib.suppress(OSError):
                self._fabric.send(announcement(self._local_ip))
        if now >= self._next_expiry:
            self._next_expiry = now + IDLE_SECONDS
            for vm in self._vms.values():
                if not vm.ended:
                    vm.misses.expire()
        for vm in self._vms.values():
            vm.misses.punts.expire()
        if self._monitor is None and os.path.exists(self._switch.management.removeprefix("unix:")):
            self._monitor = FlowMonitor(self._switch.management, self._directory)

    def close(self) -> None:
        """End all processes and close the sockets."""
        if self._monitor is not None:
            self._monitor.close()
        for vm in self._vms.values():
            vm.datapath.stop()
        self._listener.close()
        self._sockets.close()
        self._fabric.close()
        self._datagrams.close()


def _of(callback: Callable[[str], None], name: str) -> Callable[[], None]:
    return lambda: callback(name)
