"""A VM joins a running network of many: how long until it answers, and what it costs every host.

Most VMs of the network are intent only: the fabric manager knows them, no namespace exists. Bars: a
VM that is added answers its first ping in under 100 ms (median), as the paper's control plane promises
new VMs a network at once (section 3.3); flows on a VM host do not grow with the network.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import command, report
from benchmarks.bars import Bar
from benchmarks.statistics import distribution
from console import tables
from console.runs import need_root
from experiments.joining import PING_INTERVAL, Answer, by_diff, entities, load, timed
from topologies.testbed import Testbed

TOPOLOGY = Path(__file__).with_name("wide.yaml")
ANSWER_BAR = 100.0  # ms
SMALL = 100  # VMs: where the count of flows begins


def measure(base: int, add: int, progress: command.Progress) -> dict[str, Any]:
    """Grow the network to `base` VMs, then add `add` VMs in either of two ways.

    Raises:
        HoverboardError: the testbed does not come up, or a VM never answers.
    """
    with Testbed(TOPOLOGY, run=command.run_name("wide")) as testbed:
        network = testbed.topology.networks[0]
        hosts = [server.name for server in testbed.topology.hosts]
        intent = entities(network, hosts)
        flows: dict[str, dict[str, int]] = {}
        load_seconds = {}
        held = len(network.vms)
        for size in sorted({min(SMALL, base), base}):
            progress(f"network of {size} VMs", 0.1)
            load_seconds[str(size)] = load(testbed, list(itertools.islice(intent, size - held)))
            held = size
            flows[str(size)] = {server.name: _flow_count(testbed, server.name) for server in testbed.topology.servers}
        requested, by_hand = [], []
        for number in range(add):
            progress(f"adding a VM, {number + 1} of {add}", 0.2 + 0.8 * number / add)
            requested.append(timed(testbed, lambda: testbed.add_vm(network.name)))
            by_hand.append(by_diff(testbed, network.name))
        progress("taking everything down", 1.0)
    return {
        "vms": base,
        "hosts": hosts,
        "flows": flows,
        "load_seconds": load_seconds,
        "request": _summary(requested),
        "diff": _summary(by_hand),
    }


def _flow_count(testbed: Testbed, server: str) -> int:
    """Flows that `ovs-ofctl dump-flows` lists on a server."""
    return len(testbed.flows(server)["openflow"])


def _summary(answers: list[Answer]) -> dict[str, Any]:
    """Milliseconds to the first answered ping and to the request's return."""
    columns = {"answered": [one.answered for one in answers], "done": [one.done for one in answers]}
    return {
        name: {"samples": [round(value, 3) for value in values], **distribution(values).as_dict()}
        for name, values in columns.items()
    }


def growth(flows: dict[str, dict[str, int]], hosts: list[str]) -> int:
    """By how many flows the fullest host grew from the smallest network to the largest."""
    sizes = sorted(flows, key=int)
    return max(flows[sizes[-1]][host] - flows[sizes[0]][host] for host in hosts)


def bars(figures: dict[str, Any]) -> list[Bar]:
    """Both bars; a Hoverboard may grow, a VM host may not."""
    median = figures["request"]["answered"]["median"]
    grown = growth(figures["flows"], figures["hosts"])
    return [
        Bar(f"a VM added to {figures['vms']} answers (median)", median, ANSWER_BAR, "<", "ms"),
        Bar(f"growth of flows on a VM host, {SMALL} to {figures['vms']} VMs", grown, 0, "<=", "flows"),
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Times and flows."""
    rows = []
    for key, name in (("request", "Testbed.add_vm: namespace, NIC, network"), ("diff", "fabric manager's diff alone")):
        for column, what in (("answered", "first answered ping"), ("done", "request returned")):
            one = figures[key][column]
            numbers = (f"{one[field]:.1f}" for field in ("minimum", "median", "p90", "maximum"))
            rows.append((name, what, one["count"], *numbers))
    flows = figures["flows"]
    servers = list(next(iter(flows.values())))
    return [
        tables.table(
            f"a VM joins a network of {figures['vms']} VMs, ms since the request",
            ("request", "until", "#times", "#least", "#median", "#p90", "#most"),
            rows,
        ),
        tables.table(
            "flows of each switch by size of the network",
            ("VMs", *(f"#{name}" for name in servers), "#seconds to program"),
            (
                (size, *(flows[size][name] for name in servers), f"{figures['load_seconds'][size]:.3f}")
                for size in sorted(flows, key=int)
            ),
        ),
    ]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--base", type=int, default=1000, metavar="N", help="VMs in the network (%(default)s)")
    parser.add_argument("--add", type=int, default=20, metavar="N", help="VMs to add in either way (%(default)s)")
    given = parser.parse_args(argv)
    if given.base <= SMALL or given.add < 1:
        parser.error(f"--base must be above {SMALL}, --add above 0")
    return given


def main() -> int:
    """`python -m benchmarks.reachability`"""
    given = options()

    def run(progress: command.Progress) -> int:
        need_root("benchmark")
        figures = measure(given.base, given.add, progress)
        parameters = {"base": given.base, "add": given.add, "ping_interval_s": PING_INTERVAL}
        return report.finish(
            "reachability", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
