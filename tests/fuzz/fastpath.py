"""Fuzz the fast path: `python -m tests.fuzz.fastpath --packets 10000000`.

Three parts, each with as many packets as asked for. Functions: parser, flow table, decapsulation, cutting
and checksums on frames that end at a page without access rights. Engines: composed egress and ingress
engines over ports in memory; each packet is counted exactly once, and no packet comes out at a VM that is
not its own. Oracle (a fiftieth of the packets): what an independent parser in plain Python says.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.engine.commands import run_commands
from hoverboard.fastpath.engine.compose import compose
from hoverboard.fastpath.memory import control, entries, ports, rings
from hoverboard.fastpath.memory import host as host_words
from hoverboard.fastpath.memory import packets as packet_words
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.flow_table import find
from hoverboard.fastpath.packets.geneve import DECAPSULATED, decapsulate
from hoverboard.fastpath.packets.parse import FIVE_TUPLE, PARSED, be32, mix, parse
from hoverboard.fastpath.packets.segment import V_FLAGS, V_GSO_SIZE, complete_checksum, cut, headers_length, le16
from tests.fuzz.mutation import REMOTE, VNET, VNIS, WIDTH, chance, guarded, header, inner_frames, mutate, outer_frames
from tests.fuzz.mutation import stacked as stack
from tests.fuzz.oracle import disagreements
from tests.fuzz.world import TAKES_NONE, VMS, prepare, vm_of

# A global, not an argument: with a function among its arguments, Numba compiles `engines` in each process again.
serve = compose().serve
_REMOTE = int(REMOTE)
_FIRST_VNI, _SECOND_VNI = VNIS
# Outcomes of the parts, by name.
FUNCTION_COUNTS = ("parsed", "found", "decapsulated", "outside", "cut pieces", "completed", "unlike")
ENGINE_COUNTS = ("received", "delivered", "sent", "dropped", "missed", "uncounted", "wrong vm", "lost slots")


@compiled
def functions(state, inner, inner_lengths, outer, outer_lengths, frame, out, m, local, key, packet, count, counts):
    """Parser, look-up, decapsulation, cutting: `frame` and `out` end at a guard page."""
    end = frame.shape[0]
    for _ in range(count):
        n = mutate(state, inner, inner_lengths, frame)
        header(state, frame, end - n - VNET)
        if parse(frame, end - n, n, 100, 0, key, packet) < 0:
            counts[0] += 1
            ports = packet[packet_words.PORTS]
            counts[1] += find(m.slots, 0, m.keys, key, 0, 0, mix(key, 0, 0)) >= 0
            counts[1] += find(m.slots, 0, m.keys, key, ports, FIVE_TUPLE, mix(key, ports, FIVE_TUPLE)) >= 0
            vnet = end - n - VNET
            headers = headers_length(frame, end - n, n)
            if headers >= 0:
                size = le16(frame, vnet + V_GSO_SIZE)
                done = 0
                while done < n - headers:
                    take = min(size, n - headers - done)
                    at = out.shape[0] - headers - take
                    made = cut(frame, end - n, headers, done, take, done + take == n - headers, out, at)
                    counts[6] += made != headers + take
                    counts[4] += 1
                    done += take
            if frame[vnet + V_FLAGS]:
                counts[5] += complete_checksum(frame, end - n, n)
        n = mutate(state, outer, outer_lengths, frame)
        verdict, tunnel = decapsulate(frame, end - n, n, local, packet)
        if verdict == DECAPSULATED:
            counts[2] += 1
            begin, length = packet[packet_words.FRAME], packet[packet_words.LENGTH]
            if begin < end - n + 50 or length < 0 or begin + length > end:
                counts[3] += 1
            if packet[packet_words.VNET] and begin < end - n + 66:
                counts[3] += 1
            if parse(frame, begin, length, 1, tunnel, key, packet) == PARSED:
                counts[1] += find(m.slots, 0, m.keys, key, 0, 0, mix(key, 0, 0)) >= 0


@compiled
def total(counters):
    """Sum of an array."""
    value = np.int64(0)
    for i in range(counters.shape[0]):
        value += counters[i]
    return value


@compiled
def drain(m, port, expected, counts):
    """Empty the ring out of a port; each frame must be for VM `expected(last byte of its destination)`."""
    index = m.side_index[port, rings.TO_VMM]
    meta = m.side_meta[port, rings.TO_VMM]
    data = m.side_data[port, rings.TO_VMM]
    taken = 0
    while ring.waiting(index):
        at = ring.slot_at(index, meta)
        frame = at * packet_words.SLOT_BYTES + meta[at, rings.OFFSET] + packet_words.VNET_BYTES
        length = meta[at, rings.LENGTH] - packet_words.VNET_BYTES
        if port != ports.UPLINK:
            six = data[frame + 12] == 0x86
            last = np.int64(data[frame + (53 if six else 33)])
            if length < (54 if six else 34) or expected < 0 or vm_of(last, expected) != port:
                counts[6] += 1
        ring.release(index)
        taken += 1
    return taken


@compiled
def engines(state, inner, inner_lengths, outer, outer_lengths, frame, egress, ingress, one, count, counts):
    """Composed engines: with `one`, a packet a turn and its outcome checked alone; else full batches and sums."""
    end = frame.shape[0]
    left = count
    while left > 0:
        port = ports.UPLINK if chance(state, 2) else ports.FIRST_TAP + chance(state, VMS)
        m = ingress if port == ports.UPLINK else egress
        index = m.side_index[port, rings.FROM_VMM]
        burst = 1 if one else 1 + chance(state, rings.SIDE_SLOTS)
        vni = np.int64(_FIRST_VNI if port & 1 else _SECOND_VNI)
        for _ in range(burst):
            frames, lengths = (outer, outer_lengths) if port == ports.UPLINK else (inner, inner_lengths)
            n = mutate(state, frames, lengths, frame)
            for i in range(VNET):
                frame[end - n - VNET + i] = 0
            if one and port != ports.UPLINK:
                header(state, frame, end - n - VNET)
            if port == ports.UPLINK:
                # What the outer headers say, if anything is delivered at all: then they are whole.
                vni = np.int64(-1)
                if n >= 34:
                    geneve = end - n + 14 + ((frame[end - n + 14] & 15) << 2) + 8
                    if geneve + 8 <= end and be32(frame, end - n + 26) == _REMOTE:
                        vni = be32(frame, geneve + 4) >> 8
            ring.push(
                index,
                m.side_meta[port, rings.FROM_VMM],
                m.side_data[port, rings.FROM_VMM],
                port,
                packet_words.HEADROOM - VNET,
                0,
                0,
                frame,
                end - n - VNET,
                n + VNET,
            )
        delivered = 0
        sent = 0
        drops = total(m.drops)
        missed = m.miss_index[ring.PRODUCED]
        received = m.port_stats[port, 0]
        while ring.waiting(index) or m.ctl[control.QUEUED]:
            serve(m, port)
            if one:
                for vm in range(ports.FIRST_TAP, ports.FIRST_TAP + VMS):
                    delivered += drain(m, vm, vni, counts)
            else:
                for vm in range(ports.FIRST_TAP, ports.FIRST_TAP + VMS):
                    out = m.side_index[vm, rings.TO_VMM]
                    delivered += ring.waiting(out)
                    out[ring.CONSUMED] = out[ring.PRODUCED]
            sent += drain(m, ports.UPLINK, vni, counts)
        drops = total(m.drops) - drops
        missed = m.miss_index[ring.PRODUCED] - missed
        received = m.port_stats[port, 0] - received
        counts[0] += received
        counts[1] += delivered
        counts[2] += sent
        counts[3] += drops
        counts[4] += missed
        if one:
            # A segment that was cut leaves as several packets, and counts as one even if the last find no room.
            if received != 1 or delivered + min(sent, 1) + (0 if sent else drops) + missed != 1:
                counts[5] += 1
        elif received != burst or delivered + sent + drops + missed != burst:
            counts[5] += 1
        # Sometimes the misses are not taken for a while: their ring fills.
        if chance(state, 16) == 0:
            m.miss_index[ring.CONSUMED] = m.miss_index[ring.PRODUCED]
            for p in range(ports.COUNT):
                m.pending[ports.COUNT + p] = m.pending[p]
        left -= burst


@dataclass
class Report:
    """What a run came to."""

    packets: int
    functions: dict[str, int] = field(default_factory=dict)
    one_by_one: dict[str, int] = field(default_factory=dict)
    in_batches: dict[str, int] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    oracle_packets: int = 0
    disagreements: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What must not be; empty when all is well."""
        bad = [f"{name}: {self.functions[name]}" for name in ("outside", "unlike") if self.functions[name]]
        for part in (self.one_by_one, self.in_batches):
            bad += [f"{name}: {part[name]}" for name in ("uncounted", "wrong vm", "lost slots") if part[name]]
        return bad + self.disagreements


def fuzz(packets: int, seed: int = 1) -> Report:
    """Run all parts."""
    report = Report(packets)
    state = np.array([seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1], np.uint64)
    inner = stack(inner_frames())
    outer = stack(outer_frames(inner_frames()))
    frame, out = guarded(WIDTH + 2 * VNET), guarded(WIDTH + 2 * VNET)
    host = prepare()
    egress, ingress = host.datapath.memories
    begin = time.perf_counter()

    def took(name: str) -> None:
        nonlocal begin
        report.seconds[name] = round(time.perf_counter() - begin, 2)
        begin = time.perf_counter()

    try:
        counts = np.zeros(len(FUNCTION_COUNTS), np.int64)
        words = (
            int(host.egress.host[host_words.IP]),
            np.zeros(entries.KEY_WORDS, np.int64),
            np.zeros(packet_words.WORDS, np.int64),
        )
        functions(state, *inner, *outer, frame, out, egress, *words, 0, counts)
        arguments = (state, *inner, *outer, frame, egress, ingress)
        engines(*arguments, True, 0, np.zeros(len(ENGINE_COUNTS), np.int64))
        run_commands(egress)
        took("compile")
        functions(state, *inner, *outer, frame, out, egress, *words, packets, counts)
        report.functions = dict(zip(FUNCTION_COUNTS, counts.tolist(), strict=True))
        took("functions")
        for one in (True, False):
            counts = np.zeros(len(ENGINE_COUNTS), np.int64)
            for m, size in zip(host.datapath.memories, (32, 128), strict=True):
                m.ctl[control.BATCH] = size
            # In batches nothing is cut, so that the sums are of packets.
            egress.peers[TAKES_NONE] = 0 if one else 1
            engines(*arguments, one, packets // 2, counts)
            counts[-1] = sum(not host.all_free(m) for m in host.datapath.memories)
            figures = dict(zip(ENGINE_COUNTS, counts.tolist(), strict=True))
            if one:
                report.one_by_one = figures
            else:
                report.in_batches = figures
            took("engines one by one" if one else "engines in batches")
        report.drops = host.drops()
        egress.peers[TAKES_NONE] = 0
        report.oracle_packets = packets // 50
        report.disagreements = disagreements(host, state, inner, outer, report.oracle_packets)
        took("oracle")
    finally:
        host.close()
    return report


def main() -> int:
    """`python -m tests.fuzz.fastpath`"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000, metavar="N", help="of each part (200,000)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    faulthandler.enable()
    report = fuzz(given.packets, given.seed)
    print(json.dumps({**report.__dict__, "faults": report.faults}, indent=2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
