"""The cost of debug elements: ns a packet of the egress engine without them, with them idle, with them at work.

The set-up is that of benchmarks.engine: memory ports, 64-byte packets, batches of 32. "absent" is the engine that runs
while no debug element is in use. Its text is the same as that of an engine without debug elements (tests/unit,
test_capture).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import engine
from benchmarks.harness import command, report
from benchmarks.harness.statistics import distribution, turns
from console.show import tables
from experiments.frame.progress import Progress
from experiments.tools import engine_loop
from hoverboard.fastpath.engine.compose import DEBUG_ELEMENTS, compose
from hoverboard.fastpath.memory import ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.host.telemetry.capture import arm, disarm
from hoverboard.host.telemetry.latency import set_sampling

Memories = tuple[Memory, Memory]
# name -> (composed in, function that starts its work)
CASES: dict[str, tuple[bool, Callable[[Memories], None]]] = {
    "absent": (False, lambda memories: None),
    "composed in, idle": (True, lambda memories: None),
    "latency, one in 64": (True, lambda memories: set_sampling(memories, 64)),
    "capture, VM and uplink": (
        True,
        lambda memories: arm(memories, {ports.FIRST_TAP: "vm", ports.UPLINK: "uplink"}, 256),
    ),
}


def measure(plan: engine.Plan, progress: Progress) -> dict[str, Any]:
    """Nanoseconds a packet by case; the cases take turns."""
    progress(f"{plan.flows} flows into the table", 0.0)
    datapath, one = engine_loop.prepare(plan.flows), engine_loop.frame()
    m = datapath.egress
    clock = np.zeros(2, np.int64)
    order = np.random.default_rng(1).integers(0, plan.flows, plan.packets)
    progress("compiling", 0.1)
    drives = {False: engine_loop.driver(compose()), True: engine_loop.driver(compose(tuple(DEBUG_ELEMENTS)))}
    for drive in drives.values():
        drive(m, one, order[: 32 * rings.SIDE_SLOTS], clock)
    samples: dict[str, list[float]] = {case: [] for case in CASES}
    begin = time.perf_counter()
    for number, names in enumerate(turns(tuple(CASES), plan.rounds)):
        progress(f"round {number + 1} of {plan.rounds}", 0.2 + 0.8 * number / plan.rounds)
        for name in names:
            composed, start = CASES[name]
            start(datapath.memories)
            before = int(m.port_stats[ports.UPLINK, 2])
            spent = int(drives[composed](m, one, order, clock))
            samples[name].append(spent / (int(m.port_stats[ports.UPLINK, 2]) - before))
            disarm(datapath.memories)
            set_sampling(datapath.memories, 0)
    return {
        "seconds": time.perf_counter() - begin,
        "samples_ns": samples,
        "summary_ns": {case: distribution(values).as_dict() for case, values in samples.items()},
    }


def main() -> int:
    """Run `python -m benchmarks.elements`."""
    parser = command.parser(__doc__)
    parser.add_argument("--flows", type=int, default=100_000, metavar="N", help="flows in the table (100,000)")
    given = parser.parse_args()
    command.above_zero(parser, given, "flows")
    plan = engine.Plan(flows=given.flows, rounds=9, packets=1 << 18)

    def run(progress: Progress) -> int:
        figures = measure(plan, progress)
        shown = tables.table(
            "egress engine with debug elements: ns a packet",
            ("debug elements", "#least", "#median", "#most"),
            (
                (case, f"{one['minimum']:.1f}", f"{one['median']:.1f}", f"{one['maximum']:.1f}")
                for case, one in figures["summary_ns"].items()
            ),
        )
        return report.finish("elements", asdict(plan), figures, [], [shown], as_json=given.json, out=given.out)

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
