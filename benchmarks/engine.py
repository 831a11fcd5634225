"""The engine without I/O: nanoseconds a packet of the composed egress engine over in-memory ports.

The load is 64-byte packets of 100,000 flows in random order. Each is received from a ring, parsed, looked up by
3-tuple, counted, encapsulated in Geneve and sent into a ring. Bars: 100 ns a packet (the paper's budget is 300), and
batched at least twice as fast as one by one (the paper's 2.4).
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio, turns
from console.show import tables
from experiments.frame.progress import Progress
from experiments.tools.engine_loop import driver, frame, prepare
from hoverboard.fastpath.engine.compose import compose
from hoverboard.fastpath.memory import control, ports, rings

NS_BAR = 100.0
BATCH_BAR = 2.0
PAPER_NS = 300.0
BATCHES = (1, 2, 4, 8, 16, control.BATCH_EGRESS)


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement: flows in the table, rounds, packets a round."""

    flows: int
    rounds: int
    packets: int


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Nanoseconds a packet by batch size, in the order of rounds."""
    progress(f"{plan.flows} flows into the table", 0.0)
    datapath, one = prepare(plan.flows), frame()
    drive = driver(compose())
    m = datapath.egress
    clock = np.zeros(2, np.int64)
    order = np.random.default_rng(1).integers(0, plan.flows, plan.packets)
    progress("compiling", 0.1)
    drive(m, one, order[: 32 * rings.SIDE_SLOTS], clock)
    samples: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    begin = time.perf_counter()
    for number, sizes in enumerate(turns(BATCHES, plan.rounds)):
        progress(f"round {number + 1} of {plan.rounds}", 0.2 + 0.8 * number / plan.rounds)
        for batch in sizes:
            datapath.set_batch(batch, batch)
            before = int(m.port_stats[ports.UPLINK, 2])
            spent = int(drive(m, one, order, clock))
            forwarded = int(m.port_stats[ports.UPLINK, 2]) - before
            samples[batch].append(spent / forwarded)
    return {
        "seconds": time.perf_counter() - begin,
        "drops": int(m.drops.sum()),
        "samples_ns": {str(batch): values for batch, values in samples.items()},
        "summary_ns": {str(batch): distribution(values).as_dict() for batch, values in samples.items()},
        "batched_better_by": paired_ratio(samples[1], samples[control.BATCH_EGRESS]),
        "batched_better_by_least": paired_ratio([min(samples[1])], [min(samples[control.BATCH_EGRESS])]),
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The two bars."""
    full = figures["summary_ns"][str(control.BATCH_EGRESS)]["median"]
    return [
        Bar(f"a packet, batches of {control.BATCH_EGRESS} (paper's budget: {PAPER_NS:g} ns)", full, NS_BAR, "<=", "ns"),
        Bar("batched over one by one (paper: 2.4 x)", figures["batched_better_by"], BATCH_BAR, ">=", "x"),
    ]


def table(figures: dict[str, Any]) -> Table:
    """Nanoseconds a packet by batch size."""
    return tables.table(
        "egress engine over memory ports, 64-byte packets: ns a packet",
        ("#batch", "#least", "#median", "#most"),
        (
            (batch, f"{one['minimum']:.1f}", f"{one['median']:.1f}", f"{one['maximum']:.1f}")
            for batch, one in figures["summary_ns"].items()
        ),
    )


def main() -> int:
    """Run `python -m benchmarks.engine`."""
    parser = command.parser(__doc__)
    parser.add_argument("--flows", type=int, default=100_000, metavar="N", help="flows in the table (100,000)")
    parser.add_argument("--quick", action="store_true", help="3 rounds, for a first look")
    given = parser.parse_args()
    command.above_zero(parser, given, "flows")
    plan = Plan(flows=given.flows, rounds=3 if given.quick else 9, packets=1 << 19)

    def run(progress: Progress) -> int:
        figures = measure(plan, progress)
        return report.finish(
            "engine", asdict(plan), figures, bars(figures), [table(figures)], as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
