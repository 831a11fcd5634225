"""Usage by VM pair, entries and counters, from a flow table (paper 3.3.1, 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.fastpath.memory import reasons
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.flow_table import FlowTable, Key
from hoverboard.host.slowpath.flow_misses import FlowMisses
from hoverboard.host.slowpath.known_entries import KnownEntry
from hoverboard.host.telemetry import entry_keys
from hoverboard.vswitch.trace import TraceResult

if TYPE_CHECKING:
    from hoverboard.contract.documents import Counters
    from hoverboard.contract.node_documents import Entry, Flow


def usage(tables: Iterable[tuple[FlowTable, FlowMisses]]) -> tuple[FlowUsage, ...]:
    """Packets and bytes that each VM pair sent into the fabric since the last call."""
    pairs: dict[tuple[int, Address, Address], list[int]] = {}
    for table, misses in tables:
        entries = [(cached, *table.counted(key)) for key, cached in misses.cached.items()]
        entries += misses.forgotten
        misses.forgotten.clear()
        for cached, packets, octets in entries:
            verdict, before = cached.verdict, cached.reported
            if (packets, octets) == before or not cached.is_usage(misses.reports_relayed):
                continue
            cached.reported = (packets, octets)
            if cached.src is None or cached.dst is None:
                continue
            pair = pairs.setdefault((verdict.vni, cached.src, cached.dst), [0, 0])
            pair[0] += octets - before[1]  # tour: report 2
            pair[1] += packets - before[0]
    return tuple(FlowUsage(vni, src, dst, octets, packets) for (vni, src, dst), (octets, packets) in pairs.items())


def describe(key: Key, cached: KnownEntry, vm: str | None, sender: str | None) -> Flow:
    """An entry without its counts.

    `vm` is the VM that gets the entry's packets, `sender` the VM that they come from; None for one that is not here.
    """
    return _row(key, cached, cached.verdict, cached.dropped, vm, sender)


def _row(
    key: Key, cached: KnownEntry, verdict: TraceResult, dropped: str | None, vm: str | None, sender: str | None
) -> Flow:
    kind = f"drop-{dropped}" if dropped else verdict.kind.name.lower().replace("_", "-") if verdict.kind else None
    via = str(verdict.tun_dst) if verdict.tun_dst else vm if verdict.out_port else None
    return {
        "vni": verdict.tun_id or verdict.vni,
        "src": str(cached.src) if cached.src else None,
        "dst": str(cached.dst) if cached.dst else None,
        "proto": cached.proto if cached.src else None,
        "ports": entry_keys.ports(key),
        "sender": entry_keys.tunnel_sender(key) or sender,
        "more": entry_keys.more(key),
        "cookie": f"{verdict.cookie:#x}" if verdict.cookie and not dropped else None,
        "kind": kind,
        "via": None if dropped else via,
        "from": "tunnel" if cached.in_port == TUNNEL_PORT else "vm",
    }


def flows(
    table: FlowTable, misses: FlowMisses, vm_of: Callable[[int], str | None], sender_of: Callable[[int], str | None]
) -> list[Entry]:
    """A flow table, one row per entry, and one more per earlier answer of the entry.

    `vm_of` gives the VM of an engine port, `sender_of` that of an OpenFlow port.
    """
    rows: list[Entry] = []
    keys: list[Key] = []
    for key, (_action, target, packets, octets) in table.statistics().items():
        cached = misses.cached[key]
        sender = sender_of(cached.in_port)
        for earlier in cached.earlier:
            packets, octets = packets - earlier.packets, octets - earlier.bytes
            vm = vm_of(earlier.target)
            row = _row(key, cached, earlier.verdict, earlier.dropped, vm, sender)  # tour: report 10
            rows.append({**row, "now": False, "packets": earlier.packets, "bytes": earlier.bytes})
        row = describe(key, cached, vm_of(target), sender)
        rows.append({**row, "now": True, "packets": packets, "bytes": octets})
        keys += [key] * (len(rows) - len(keys))
    entry_keys.tell_apart(zip(keys, rows, strict=True))
    return rows


def by_flow(drops: Mapping[int, int]) -> dict[str, int]:
    """Packets by cookie of the flow that dropped them, as `Counters` has them."""
    return {f"{cookie:#x}": packets for cookie, packets in sorted(drops.items())}


def counters(memories: tuple[Memory, Memory], misses: FlowMisses) -> Counters:
    """Sums over all ports of a host's engines, and drops by reason and by flow."""
    rx_packets, rx_bytes, tx_packets, tx_bytes = (
        int(value) for value in sum(memory.port_stats.sum(axis=0) for memory in memories)
    )
    counts = memories[0].drops + memories[1].drops
    drops = {reason: int(count) for reason, count in zip(reasons.NAMES, counts, strict=True) if count}
    for reason, count in misses.drops.by_reason.items():
        drops[reason] = drops.get(reason, 0) + count
    return {
        "rx_packets": rx_packets,
        "rx_bytes": rx_bytes,
        "tx_packets": tx_packets,
        "tx_bytes": tx_bytes,
        "misses": misses.misses,
        "drops": drops,
        "drops_by_flow": by_flow(misses.dropped_by_flow()),
    }


def table(table: FlowTable, misses: FlowMisses) -> dict[str, int]:
    """State of a flow table: entries, capacity, evicted, aged, traces, revalidations."""
    return {
        "entries": len(table),
        "capacity": table.capacity,
        "evicted": table.evicted,
        "aged": table.aged,
        "traces": misses.traces,
        "revalidations": misses.revalidations,
    }


def merge(one: dict[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    """Add the numbers of `two` to those of `one`, at every depth; return `one`."""
    for name, value in two.items():
        one[name] = merge(one.get(name, {}), value) if isinstance(value, Mapping) else one.get(name, 0) + value
    return one
