"""Generations "fastpath" (Andromeda 2.1) and "fastpath-vmm" (2.0): the engines of the host process forward packets.

In 2.1 the engines read and write the virtual NICs themselves. In 2.0 a VMM thread per VM does that, and exchanges
packets with the engines over rings in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hoverboard.contract.errors import RunError
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.vmm import VmmThread
from hoverboard.fastpath.memory import control, entries, ports
from hoverboard.fastpath.packets.flow_table import FlowTable, Key
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, CheckpointWriter, SavedState
from hoverboard.host.coprocessing.coprocessors import CoprocessorConfig, Coprocessors
from hoverboard.host.coprocessing.flow_stages import no_stages
from hoverboard.host.generations.taps import check_tap
from hoverboard.host.listeners import RouteListener
from hoverboard.host.slowpath.entry_writer import EntryWriter
from hoverboard.host.slowpath.flow_misses import FlowMisses
from hoverboard.host.telemetry import usage
from hoverboard.host.telemetry.capture import Answers
from hoverboard.host.telemetry.inspection import UPLINK_NAME, Inspection
from hoverboard.host.underlay.peers import Peers
from hoverboard.vswitch.monitor import FlowMonitor
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.switch_questions import SwitchQuestions

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes
    from hoverboard.contract.documents import Counters


# A bucket holds the tokens of 4 ms (the engine thread may sleep 2 ms too long), and at least two segments of 64 KB,
# because one batch may take it below zero.
BURST_SECONDS, BURST_LEAST = 0.004, 2 * 65_536
IDLE_SECONDS = 30  # an entry without packets for so long is removed (our figure: the paper gives none)


class FastpathPlane:
    """Engines, flow table, flow-miss handling and flow monitor of one host.

    Args:
        switch, questions: the node's switch, and the port by which it answers for single packets.
        directory: the node's directory; its base name is the node's name.
        datapath: the engines; they report the frames that this process sends by itself to `answers`. It receives the
            packets that this process drops, too.
        routes: notified of packets that match a route of kind LEARN, and of datagrams of the route exchange.
        checkpoint_writer: notified of what the next process of this host needs.
        vmm: a VMM thread runs between each VM's NIC and the engines.
        resuming: ports and engines start in resume(), when the flow table is restored.
        shared: the engines run in another process, which has to know the host before its ports.
    """

    def __init__(
        self,
        switch: Ovs,
        questions: SwitchQuestions,
        local_ip: IPv4Address,
        directory: Path,
        datapath: Datapath,
        answers: Answers,
        routes: RouteListener,
        checkpoint_writer: CheckpointWriter,
        coprocessors: CoprocessorConfig | None = None,
        *,
        vmm: bool = False,
        resuming: bool = False,
        shared: bool = False,
    ) -> None:
        self._switch = switch
        self._shared = shared
        self._vmms: dict[str, VmmThread] | None = {} if vmm else None
        self._directory = directory
        self._datapath = datapath
        self._table = FlowTable(self._datapath.memories, self._datapath.switch_table)
        self._peers = Peers(self._datapath, local_ip, peers=checkpoint_writer, routes=routes)
        self._ports: dict[str, int] = {}  # VM -> engine port
        self._by_ofport: dict[int, int] = {}
        self._coprocessors = Coprocessors(datapath, local_ip, coprocessors) if coprocessors is not None else None
        stages_of = self._coprocessors.stages_of if self._coprocessors is not None else no_stages
        entry_writer = EntryWriter(local_ip, self._peers, self._by_ofport.get, stages_of)
        self._misses = FlowMisses(
            self._datapath, self._table, questions, entry_writer, self._peers, drops=answers,
            entries=checkpoint_writer, routes=routes,
        )  # fmt: skip
        self.checkpoint_source = CheckpointSource(self._peers.known, self._misses.known, self._misses.cached.keys)
        self.inspection = Inspection(datapath, answers, directory.name, self._names, self._misses)
        self._waiting: dict[int, int] | None = {} if resuming else None  # port -> our copy of its descriptor
        self._monitor: FlowMonitor | None = None
        self._next_expiry = 0.0
        if not resuming:
            self._datapath.start()
            self._monitor = FlowMonitor(switch.management, directory)

    def report_relayed(self, relayed: bool) -> None:
        """Set whether usage() includes relayed packets, too."""
        self._misses.report_relayed(relayed)

    def limit(self, pps: int | None, bps: int | None) -> None:
        """Set the capacity of a Hoverboard, kept by the ingress engine's element `police`."""
        ctl = self._datapath.ingress.ctl
        ctl[control.PACKET_NS] = max(1, 1_000_000_000 // pps) if pps else 0
        ctl[control.KILOBYTE_NS] = max(1, 8 * 1_024 * 1_000_000_000 // bps) if bps else 0

    def readers(self) -> dict[int, Callable[[], None]]:
        """The engines' eventfd, the inspection's, and the flow monitor's output while there is one."""
        readers: dict[int, Callable[[], None]] = {
            self._datapath.control_eventfd: self._on_wake,
            **self.inspection.readers(),
        }
        if self._monitor is not None:
            readers[self._monitor.fileno()] = self._on_change
        if self._coprocessors is not None:
            readers[self._coprocessors.blocked_sources.control_eventfd] = self._on_blocked_sources
        return readers

    def _names(self) -> dict[str, tuple[int, ...]]:
        names = {UPLINK_NAME: (ports.UPLINK,), **{vm: (port,) for vm, port in self._ports.items()}}
        queues = self._datapath.egress.ports[:, ports.QUEUES]
        return {name: tuple(range(rows[0], rows[0] + max(int(queues[rows[0]]), 1))) for name, rows in names.items()}

    def _on_wake(self) -> None:
        self._datapath.reset_control_eventfd()
        self._misses.handle()
        if self._misses.stale:
            self._misses.revalidate_some()

    def _on_blocked_sources(self) -> None:
        assert self._coprocessors is not None
        if changed := self._coprocessors.blocked_sources.update(time.monotonic()):
            self._misses.reapply_stages(changed)

    def _on_change(self) -> None:
        assert self._monitor is not None
        changes = self._monitor.read()
        if self._monitor.begun():
            self._misses.mark_all_stale()
            self._misses.revalidate_some()
        self._misses.revalidate(changes)
        if self._monitor.ended:
            self._monitor.close()
            self._monitor = None  # every_second() starts another once the switch is back

    def set_uplink(self, fd: int) -> None:
        """Take the fabric's tap, in place of an earlier one, and announce the host on the fabric."""
        check_tap("the uplink", fd)
        if self._waiting is not None:
            earlier = self._waiting.get(ports.UPLINK)
            self._waiting[ports.UPLINK] = os.dup(fd)
            if earlier is not None:
                os.close(earlier)
            return
        self._datapath.set_port(ports.UPLINK, fd)
        self._peers.announce()

    def check_attach(self, vm: str, fd: int | None, rate: int | None) -> None:
        """Raise InputError for a descriptor that cannot be used, RunError when there is no room for the VM."""
        check_tap(f"VM {vm}", fd)
        self._free_port(vm)

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
        """Carry the packets of a VM's tap; limit what the VM sends to `rate` bit/s."""
        assert fd is not None  # see check_attach()
        port = self._free_port(vm)
        self._ports[vm] = port
        self._by_ofport[ofport] = port
        if self._coprocessors is not None:
            self._coprocessors.attach(vm, network, port, ofport)
        try:
            self.set_rate(vm, rate)
            if self._waiting is not None:
                self._waiting[port] = os.dup(fd)
            else:
                self._plug(vm, port, ofport, fd)
        except BaseException:
            self.set_rate(vm, None)
            if self._coprocessors is not None:
                self._coprocessors.detach(ofport)
            del self._ports[vm], self._by_ofport[ofport]
            raise

    def _free_port(self, vm: str) -> int:
        used = set(self._ports.values())
        port = next((port for port in range(ports.FIRST_TAP, ports.COUNT) if port not in used), None)
        if port is None:
            raise RunError(
                f"VM {vm}: a host has room for {ports.COUNT - ports.FIRST_TAP} VMs", next_step="use another host"
            )
        return port

    def _plug(self, vm: str, port: int, ofport: int, fd: int) -> None:
        if self._vmms is None:
            self._datapath.set_port(port, fd, ofport)
        else:
            self._vmms[vm] = VmmThread(self._datapath, port, ofport, fd)

    def resume(self, saved: SavedState) -> None:
        """Restore the entries of the process before this one, and start ports and engines."""
        waiting, self._waiting = self._waiting or {}, None
        self._peers.restore(saved.peers)
        self._misses.restore(saved.flows)
        ofports = {port: ofport for ofport, port in self._by_ofport.items()}
        if self._shared:
            self._datapath.start()
        try:
            # Before a thread of ours starts: a port that is full signals only once, and an engine that cannot read the
            # port yet would miss that signal.
            if ports.UPLINK in waiting:
                self._datapath.set_port(ports.UPLINK, waiting[ports.UPLINK])
            if not self._shared and self._vmms is not None:
                self._datapath.start()
            for vm, port in self._ports.items():
                self._plug(vm, port, ofports[port], waiting[port])
            if not self._shared and self._vmms is None:
                self._datapath.start()
        finally:
            for fd in waiting.values():
                os.close(fd)

    def switch_back(self) -> None:
        """Watch the tables of a switch that has restarted; the monitor begins by listing all flows."""
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = FlowMonitor(self._switch.management, self._directory)

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Limit what the VM sends to `rate` bit/s from now on; None: no limit."""
        row = self._datapath.egress.ports[self._ports[vm]]
        if not rate:
            row[ports.RATE] = 0
            return
        # The rate is written last: until then an engine uses the old one.
        row[ports.BURST] = row[ports.TOKENS] = max(BURST_LEAST, int(rate / 8 * BURST_SECONDS))
        row[ports.FILLED] = time.monotonic_ns()
        row[ports.RATE] = max(1, rate // 8)

    def detach(self, vm: str) -> None:
        """Remove a VM's tap and its entries."""
        port = self._ports.pop(vm)
        ofport = next(number for number, index in self._by_ofport.items() if index == port)
        del self._by_ofport[ofport]
        self._misses.forget_port(ofport)
        if self._coprocessors is not None:
            self._coprocessors.detach(ofport)
        if self._vmms is None:
            self._datapath.clear_port(port)
        else:
            vmm = self._vmms.pop(vm)
            vmm.close()
            if vmm.lost:
                self._misses.drops.count("vport-down", vmm.lost)

    def usage(self) -> tuple[FlowUsage, ...]:
        """Packets and bytes that each VM pair sent into the fabric since the last call."""
        return usage.usage([(self._table, self._misses)])

    def flows(self) -> list[nodes.Entry]:
        """The flow table, one row per entry and earlier answer."""
        return usage.flows(self._table, self._misses, self._vm_of, self._sender)

    def _vm_of(self, target: int) -> str | None:
        return next((vm for vm, port in self._ports.items() if port == target), None)

    def _sender(self, ofport: int) -> str | None:
        return self._vm_of(self._by_ofport.get(ofport, -1))

    def _describe(self, key: Key, target: int) -> nodes.Flow:
        cached = self._misses.cached[key]
        return usage.describe(key, cached, self._vm_of(target), self._sender(cached.in_port))

    def rates(self) -> nodes.Rates | None:
        """{"seconds", "ports": {name: rates}, "flows": the busiest}, of the last second; None before there is one."""
        interval = self.inspection.rates.interval
        if interval is None:
            return None
        top = interval.top_rows()
        keys = self._table.keys_of(row for row, _rates in top)
        targets = self._datapath.egress.entries[:, entries.TARGET]
        return {
            "seconds": round(interval.seconds, 3),
            "ports": cast(
                "dict[str, nodes.PortRate]",
                interval.port_rates({port: name for name, (port, *_queues) in self._names().items()}),
            ),
            "flows": [
                cast("nodes.BusyFlow", {**self._describe(keys[row], int(targets[row])), **rates})
                for row, rates in top
                if row in keys
            ],
        }

    def counters(self) -> Counters:
        """Sums over all ports, and drops by reason."""
        counters = usage.counters(self._datapath.memories, self._misses)
        if self._coprocessors is not None:
            usage.merge(counters["drops"], self._coprocessors.drops())
        if lost := sum(vmm.lost for vmm in (self._vmms or {}).values()):
            usage.merge(counters["drops"], {"vport-down": lost})
        return counters

    def table(self) -> dict[str, int]:
        """State of the flow table: entries, capacity, evictions."""
        return usage.table(self._table, self._misses)

    def vms(self) -> dict[str, nodes.NodeVM]:
        """By VM: fastpath_seconds (engine time of delivery), vmm_seconds, rate_bps (limit), coprocessor (status)."""
        coprocessors = self._coprocessors.status() if self._coprocessors is not None else {}
        rows = self._datapath.egress.ports
        return {
            vm: {
                "fastpath_seconds": sum(int(m.cpu[port, 0]) for m in self._datapath.memories) / 1e9,
                "vmm_seconds": self._vmms[vm].cpu_seconds() if self._vmms and vm in self._vmms else None,
                "rate_bps": int(rows[port, ports.RATE]) * 8 or None,
                "coprocessor": coprocessors.get(vm),
            }
            for vm, port in self._ports.items()
        }

    def every_second(self, now: float) -> None:
        """Probe peers, expire idle entries, and watch a switch that has restarted."""
        self._peers.every_second()
        self._misses.punts.expire()
        self.inspection.rates.look(now, self._table.used)
        if self._coprocessors is not None:
            self._on_blocked_sources()
        if now >= self._next_expiry:
            self._next_expiry = now + IDLE_SECONDS
            self._misses.expire()
        if self._monitor is None and os.path.exists(self._switch.management.removeprefix("unix:")):
            self._monitor = FlowMonitor(self._switch.management, self._directory)

    def close(self) -> None:
        """Stop the engines, the threads and the monitor."""
        if self._monitor is not None:
            self._monitor.close()
        if self._coprocessors is not None:
            self._coprocessors.close()
        self.inspection.close()
        for vmm in (self._vmms or {}).values():
            vmm.close()
        self._datapath.stop()
