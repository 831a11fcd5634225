"""The engine without I/O: nanoseconds a packet of the composed egress engine over in-memory ports.

64-byte packets of 100,000 flows in random order: received from a ring, parsed, looked up by 3-tuple,
counted, encapsulated in Geneve, sent into a ring. Bars: 100 ns a packet (the paper's budget is 300), and
batched at least twice as fast as one by one (the paper's 2.4).
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks import command, report
from benchmarks.bars import Bar
from benchmarks.statistics import distribution, paired_ratio, turns
from console import tables
from hoverboard.fastpath import geneve, ring
from hoverboard.fastpath.compiler import compiled_loop
from hoverboard.fastpath.compose import compose
from hoverboard.fastpath.datapath import Datapath
from hoverboard.fastpath.flowtable import ACT_TUNNEL, Entry, FlowTable
from hoverboard.fastpath.layout import (
    BATCH_EGRESS,
    FIRST_TAP,
    FROM_VMM,
    HEADROOM,
    HOST_PORTS,
    KEY_WORDS,
    KIND_RING,
    PACKET_WORDS,
    PORT_KIND,
    PORT_OFPORT,
    SIDE_SLOTS,
    TO_VMM,
    UPLINK,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import parse, put32
from hoverboard.fastpath.syscalls import now_ns

NS_BAR = 100.0
BATCH_BAR = 2.0
PAPER_NS = 300.0
FRAME_BYTES = 64
BATCHES = (1, 2, 4, 8, 16, BATCH_EGRESS)
_OFPORT = 5
_VNI = 7
DESTINATION = VNET_BYTES + 30  # of the IPv4 address in a frame
FIRST = int(IPv4Address("10.16.0.0"))
_LOCAL = IPv4Address("172.16.0.1")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: flows in the table, rounds, packets a round."""

    flows: int
    rounds: int
    packets: int


def frame() -> NDArray[np.uint8]:
    """(VNET_BYTES + FRAME_BYTES,) a UDP frame of one VM, virtio-net header first; its destination is set later."""
    header = bytes(VNET_BYTES) + bytes.fromhex("0200000000010200000000020800")
    ip = bytes.fromhex("4500003200004000401100000a000002") + bytes(4)
    udp = bytes.fromhex("30390035001e0000")
    return np.frombuffer(bytearray((header + ip + udp).ljust(VNET_BYTES + FRAME_BYTES, b"\0")), np.uint8)


def prepare(flows: int) -> Datapath:
    """A host whose ports are rings, with an entry for each of as many destinations."""
    datapath = Datapath()
    m = datapath.egress
    for port in (UPLINK, FIRST_TAP):
        m.ports[port, PORT_KIND] = KIND_RING
    m.ports[FIRST_TAP, PORT_OFPORT] = _OFPORT
    m.host[HOST_PORTS] = FIRST_TAP + 1
    one = frame()
    table = FlowTable(datapath.memories, datapath.switch_table)
    key, row = np.zeros(KEY_WORDS, np.int64), np.zeros(PACKET_WORDS, np.int64)
    entries = []
    for number in range(flows):
        put32(one, DESTINATION, FIRST + number)
        parse(one, VNET_BYTES, FRAME_BYTES, _OFPORT, 0, key, row)
        outer, checksum = geneve.template(_LOCAL, _LOCAL + 1 + number % 1000, _VNI)
        entries.append((tuple(int(word) for word in key), Entry(ACT_TUNNEL, 1, b"", outer, checksum)))
    table.update(add=entries)
    return datapath


def driver(engines: ModuleType) -> Any:
    """The compiled loop that feeds an engine and takes the time of its passes alone."""
    serve = engines.serve

    @compiled_loop
    def drive(m: Memory, one: NDArray[np.uint8], order: NDArray[np.int64], clock: NDArray[np.int64]) -> int:
        index = m.side_index[FIRST_TAP, FROM_VMM]
        meta = m.side_meta[FIRST_TAP, FROM_VMM]
        data = m.side_data[FIRST_TAP, FROM_VMM]
        out = m.side_index[UPLINK, TO_VMM]
        spent = 0
        at = 0
        while at + SIDE_SLOTS <= order.shape[0]:
            for i in range(SIDE_SLOTS):
                # Made on the spot: frames kept for all flows would take the cache from the tables.
                put32(one, DESTINATION, FIRST + order[at + i])
                ring.push(index, meta, data, 0, HEADROOM - VNET_BYTES, 0, 0, one, 0, VNET_BYTES + FRAME_BYTES)
            at += SIDE_SLOTS
            begin = now_ns(clock)
            while ring.waiting(index):
                serve(m, FIRST_TAP)
            spent += now_ns(clock) - begin
            out[ring.TAKEN] = out[ring.MADE]
        return spent

    return drive


def measure(plan: Plan, progress: command.Progress) -> dict[str, Any]:
    """ns a packet by batch size, in the order of rounds."""
    progress(f"{plan.flows} flows into the table", 0.0)
    datapath, one = prepare(plan.flows), frame()
    drive = driver(compose())
    m = datapath.egress
    clock = np.zeros(2, np.int64)
    order = np.random.default_rng(1).integers(0, plan.flows, plan.packets)
    progress("compiling", 0.1)
    drive(m, one, order[: 32 * SIDE_SLOTS], clock)
    samples: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    begin = time.perf_counter()
    for number, sizes in enumerate(turns(BATCHES, plan.rounds)):
        progress(f"round {number + 1} of {plan.rounds}", 0.2 + 0.8 * number / plan.rounds)
        for batch in sizes:
            datapath.set_batch(batch, batch)
            before = int(m.port_stats[UPLINK, 2])
            spent = int(drive(m, one, order, clock))
            forwarded = int(m.port_stats[UPLINK, 2]) - before
            samples[batch].append(spent / forwarded)
    return {
        "seconds": time.perf_counter() - begin,
        "drops": int(m.drops.sum()),
        "samples_ns": {str(batch): values for batch, values in samples.items()},
        "summary_ns": {str(batch): distribution(values).as_dict() for batch, values in samples.items()},
        "batched_better_by": paired_ratio(samples[1], samples[BATCH_EGRESS]),
        "batched_better_by_least": paired_ratio([min(samples[1])], [min(samples[BATCH_EGRESS])]),
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The two bars."""
    full = figures["summary_ns"][str(BATCH_EGRESS)]["median"]
    return [
        Bar(f"a packet, batches of {BATCH_EGRESS} (paper's budget: {PAPER_NS:g} ns)", full, NS_BAR, "<=", "ns"),
        Bar("batched over one by one (paper: 2.4 x)", figures["batched_better_by"], BATCH_BAR, ">=", "x"),
    ]


def table(figures: dict[str, Any]) -> Table:
    """ns a packet by batch size."""
    return tables.table(
        "egress engine over memory ports, 64-byte packets: ns a packet",
        ("#batch", "#least", "#median", "#most"),
        (
            (batch, f"{one['minimum']:.1f}", f"{one['median']:.1f}", f"{one['maximum']:.1f}")
            for batch, one in figures["summary_ns"].items()
        ),
    )


def main() -> int:
    """`python -m benchmarks.engine`"""
    parser = command.parser(__doc__)
    parser.add_argument("--flows", type=int, default=100_000, metavar="N", help="flows in the table (100,000)")
    parser.add_argument("--quick", action="store_true", help="3 rounds, for a first look")
    given = parser.parse_args()
    plan = Plan(flows=given.flows, rounds=3 if given.quick else 9, packets=1 << 19)

    def run(progress: command.Progress) -> int:
        figures = measure(plan, progress)
        return report.finish(
            "engine", asdict(plan), figures, bars(figures), [table(figures)], as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
