"""Generation "fastpath" (Andromeda 2.1): the host process owns the virtual NICs' rings and forwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from hoverboard.contract.pipeline import TUNNEL_PORT
from hoverboard.contract.reports import FlowUsage
from hoverboard.fastpath.datapath import Datapath, OwnThread
from hoverboard.fastpath.flowtable import FlowTable, Key
from hoverboard.fastpath.layout import (
    CTL_BATCH,
    CTL_PRIORITY,
    E_TARGET,
    FIRST_TAP,
    PORT_BURST,
    PORT_FILLED,
    PORT_QUEUES,
    PORT_RATE,
    PORT_TOKENS,
    PORTS,
    REASONS,
    UPLINK,
)
from hoverboard.host.client import HostConfig
from hoverboard.host.coprocessors import CoprocessorConfig, Coprocessors
from hoverboard.host.engines import SharedThread, shared_memory
from hoverboard.host.looking import UPLINK_NAME, Looking
from hoverboard.host.misses import FlowMisses, no_stages
from hoverboard.host.peers import Peers
from hoverboard.vswitch.monitor import FlowMonitor
from hoverboard.vswitch.ovs import Ovs

# A bucket holds what the rate gives in 4 ms (the engines' thread may sleep 2 ms past its time), and no less than two
# segments of 64 KB, for it may go below zero by a batch.
BURST_SECONDS, BURST_LEAST = 0.004, 2 * 65_536
IDLE_SECONDS = 30  # a flow-table entry that carried nothing for so long is removed (ours: the paper gives none)


def datapath_of(config: HostConfig) -> Datapath:
    """The engines of a host, where its configuration has them run."""
    if config.engines is None:
        datapath = Datapath(OwnThread(config.scheduling))
    else:
        memory_fd = shared_memory(config.node)
        datapath = Datapath(SharedThread(Path(config.engines), memory_fd), memory_fd)
    for memory, size in zip(datapath.memories, config.batch, strict=True):
        memory.ctl[CTL_BATCH] = size  # the engines do not run yet
        memory.ctl[CTL_PRIORITY] = config.vm_priority
    return datapath


class FastpathPlane:
    """Engine, flow table, flow-miss handling and the watch on the switch's tables, for one host."""

    def __init__(
        self,
        switch: Ovs,
        local_ip: IPv4Address,
        directory: Path,
        datapath: Datapath,
        coprocessors: CoprocessorConfig | None = None,
    ) -> None:
        self._switch = switch
        self._directory = directory
        self._datapath = datapath
        self._datapath.local_ip = int(local_ip)
        self._table = FlowTable(self._datapath.memories, self._datapath.switch_table)
        self._peers = Peers(self._datapath, local_ip)
        self._ports: dict[str, int] = {}  # VM -> engine port
        self._by_ofport: dict[int, int] = {}
        self._coprocessors = Coprocessors(datapath, local_ip, coprocessors) if coprocessors is not None else None
        self._misses = FlowMisses(
            self._datapath, self._table, switch, local_ip, self._peers, lambda ofport: self._by_ofport.get(ofport),
            self._coprocessors.way if self._coprocessors is not None else no_stages,
        )  # fmt: skip
        self.looking = Looking(datapath, directory.name, self._names)
        self._datapath.start()
        self._monitor: FlowMonitor | None = FlowMonitor(switch.management, directory)
        self._next_expiry = 0.0

    def readers(self) -> dict[int, Callable[[], None]]:
        """The engines' eventfd, and the flow monitor while there is one."""
        readers: dict[int, Callable[[], None]] = {self._datapath.news_fd: self._on_wake, **self.looking.readers()}
        if self._monitor is not None:
            readers[self._monitor.fileno()] = self._on_change
        return readers

    def _names(self) -> dict[str, tuple[int, ...]]:
        names = {UPLINK_NAME: (UPLINK,), **{vm: (port,) for vm, port in self._ports.items()}}
        queues = self._datapath.egress.ports[:, PORT_QUEUES]
        return {name: tuple(range(ports[0], ports[0] + max(int(queues[ports[0]]), 1))) for name, ports in names.items()}

    def _on_wake(self) -> None:
        self._datapath.clear_news()
        self._misses.handle()

    def _on_change(self) -> None:
        assert self._monitor is not None
        self._misses.revalidate(self._monitor.read())
        if self._monitor.ended:
            self._monitor.close()
            self._monitor = None  # every_second() starts another once the switch is back

    def set_uplink(self, fd: int) -> None:
        """The fabric's tap."""
        self._datapath.set_port(UPLINK, fd)
        self._peers.announce()

    def attach(
        self, vm: str, vport: str, ofport: int, fd: int | None, *, network: str = "", rate: int | None = None
    ) -> None:
        """Carry the packets of a VM's tap, at most `rate` bit/s of what it sends."""
        if fd is None:
            raise ValueError(f"VM {vm}: the fast path needs the tap's descriptor")
        used = set(self._ports.values())
        port = next((port for port in range(FIRST_TAP, PORTS) if port not in used), None)
        if port is None:
            raise ValueError(f"VM {vm}: a host has room for {PORTS - FIRST_TAP} VMs")
        self._ports[vm] = port
        self._by_ofport[ofport] = port
        if self._coprocessors is not None:
            self._coprocessors.attach(vm, network, port, ofport)
        if rate:
            row = self._datapath.egress.ports[port]
            row[PORT_BURST] = row[PORT_TOKENS] = max(BURST_LEAST, int(rate / 8 * BURST_SECONDS))
            row[PORT_FILLED] = time.monotonic_ns()
            row[PORT_RATE] = max(1, rate // 8)
        self._datapath.set_port(port, fd, ofport)

    def detach(self, vm: str) -> None:
        """Forget a VM's tap."""
        port = self._ports.pop(vm)
        ofport = next(number for number, index in self._by_ofport.items() if index == port)
        del self._by_ofport[ofport]
        self._misses.forget_port(ofport)
        if self._coprocessors is not None:
            self._coprocessors.detach(ofport)
        self._datapath.clear_port(port)

    def usage(self) -> tuple[FlowUsage, ...]:
        """What each VM pair sent into the fabric since the last call."""
        pairs: dict[tuple[int, IPv4Address | IPv6Address, IPv4Address | IPv6Address], list[int]] = {}
        entries = [(cached, *self._table.counted(key)) for key, cached in self._misses.cached.items()]
        entries += self._misses.forgotten
        self._misses.forgotten.clear()
        for cached, packets, octets in entries:
            verdict, before = cached.verdict, cached.reported
            if (packets, octets) == before or not cached.reportable:
                continue
            cached.reported = (packets, octets)
            if cached.src is None or cached.dst is None:
                continue
            pair = pairs.setdefault((verdict.vni, cached.src, cached.dst), [0, 0])
            pair[0] += octets - before[1]
            pair[1] += packets - before[0]
        return tuple(FlowUsage(vni, src, dst, octets, packets) for (vni, src, dst), (octets, packets) in pairs.items())

    def flows(self) -> list[dict[str, Any]]:
        """The flow table, entry by entry."""
        return [
            {**self._describe(key, target), "packets": packets, "bytes": octets}
            for key, (_action, target, packets, octets) in self._table.statistics().items()
        ]

    def _describe(self, key: Key, target: int) -> dict[str, Any]:
        cached = self._misses.cached[key]
        verdict = cached.verdict
        vm = next((vm for vm, port in self._ports.items() if port == target), None)
        return {
            "vni": verdict.tun_id or verdict.vni,
            "src": str(cached.src) if cached.src else None,
            "dst": str(cached.dst) if cached.dst else None,
            "proto": cached.proto,
            "kind": verdict.kind.name.lower().replace("_", "-") if verdict.kind else None,
            "via": str(verdict.tun_dst) if verdict.tun_dst else vm if verdict.out_port else None,
            "from": "tunnel" if cached.in_port == TUNNEL_PORT else "vm",
        }

    def rates(self) -> dict[str, Any] | None:
        """{"seconds", "ports": {name: rates}, "flows": the busiest}, of the last second; None before there is one."""
        interval = self.looking.rates.interval
        if interval is None:
            return None
        top = interval.top_rows()
        keys = self._table.keys_of(row for row, _rates in top)
        targets = self._datapath.egress.entries[:, E_TARGET]
        return {
            "seconds": round(interval.seconds, 3),
            "ports": interval.port_rates({port: name for name, (port, *_queues) in self._names().items()}),
            "flows": [{**self._describe(keys[row], int(targets[row])), **rates} for row, rates in top if row in keys],
        }

    def counters(self) -> dict[str, Any]:
        """Sums over all ports, and drops by reason."""
        memories = self._datapath.memories
        rx_packets, rx_bytes, tx_packets, tx_bytes = (
            int(value) for value in sum(memory.port_stats.sum(axis=0) for memory in memories)
        )
        counts = memories[0].drops + memories[1].drops
        drops = {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if count}
        own = [self._misses.drops, self._coprocessors.drops() if self._coprocessors is not None else {}]
        for reason, count in (item for group in own for item in group.items()):
            drops[reason] = drops.get(reason, 0) + count
        return {
            "rx_packets": rx_packets,
            "rx_bytes": rx_bytes,
            "tx_packets": tx_packets,
            "tx_bytes": tx_bytes,
            "misses": self._misses.misses,
            "drops": drops,
        }

    def table(self) -> dict[str, int]:
        """State of the flow table."""
        return {
            "entries": len(self._table),
            "capacity": self._table.capacity,
            "evicted": self._table.evicted,
            "aged": self._table.aged,
            "traces": self._misses.traces,
            "revalidations": self._misses.revalidations,
        }

    def vms(self) -> dict[str, dict[str, Any]]:
        """By VM: {fastpath_seconds: engine time of delivery to it, rate_bps: its limit, coprocessor: its status}."""
        coprocessors = self._coprocessors.status() if self._coprocessors is not None else {}
        ports = self._datapath.egress.ports
        return {
            vm: {
                "fastpath_seconds": sum(int(m.cpu[port, 0]) for m in self._datapath.memories) / 1e9,
                "rate_bps": int(ports[port, PORT_RATE]) * 8 or None,
                "coprocessor": coprocessors.get(vm),
            }
            for vm, port in self._ports.items()
        }

    def every_second(self, now: float) -> None:
        """Probe peers, expire idle entries, watch a switch that has come back."""
        self._peers.every_second()
        self.looking.rates.look(now, self._table.used)
        if now >= self._next_expiry:
            self._next_expiry = now + IDLE_SECONDS
            self._misses.expire()
        if self._monitor is None and os.path.exists(self._switch.management.removeprefix("unix:")):
            self._monitor = FlowMonitor(self._switch.management, self._directory)

    def close(self) -> None:
        """Stop the engine and the monitor."""
        if self._monitor is not None:
            self._monitor.close()
        if self._coprocessors is not None:
            self._coprocessors.close()
        self.looking.close()
        self._datapath.stop()
