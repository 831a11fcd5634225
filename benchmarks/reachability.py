"""A VM joins a running network of many VMs: the time until it answers, and the cost for each host.

Most VMs of the network are intent only: the fabric manager knows them, but they have no namespace. The VMs that join
are real, and are pinged from another host all the time. The measured time is that of the control plane: from the fabric
manager's request to the first answered ping. Namespace and NIC exist before.

VMs join one by one and in a burst, in networks of several sizes. They also join while thousands of VMs join and leave
another network at full speed. This case has a queue for each network (paper section 3.1) and, to compare, one queue for
all. A second table measures `add_vm`, which makes namespace and NIC as well.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, turns
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from experiments.workload import vm_join
from experiments.workload.vm_churn import churning
from experiments.workload.vm_join import Answer
from hoverboard.contract.errors import MeasurementError
from topologies.cluster.control_processes import ControlLayout
from topologies.run.testbed import Testbed

TOPOLOGY = Path(__file__).with_name("wide.yaml")
MEDIAN_BAR, P99_BAR = 60.0, 200.0  # ms, at the middle size
GROWTH_BAR = 1.2  # median at the largest size / at the smallest
CHURN_BAR = 2.0  # p99 beside the other network / without
SHARED_BAR = 5.0  # p99 with one queue for all / with a queue for each network: "far worse"
LEAST, MOST = 10, 50_000  # VMs: room for the real VMs; size of the network's address range
REQUEST_BAR = 100.0  # ms, median of `add_vm`
ALONE, BURST, BESIDE, BURST_BESIDE, SHARED = "one by one", "burst", "beside churn", "burst beside churn", "one queue"


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement.

    Attributes:
        sizes: VMs of the network; the other sizes are compared with the middle one.
        rounds: rounds over all sizes, in turns.
        alone: VMs that join one by one, in each round at each size.
        burst: VMs that join in one request, once at each size.
        churn: VMs that join and leave the other network.
        beside: VMs that join one by one during the churn.
        shared: the same, with one queue for all networks; 0: not measured.
        add: VMs added by `add_vm`.
    """

    sizes: tuple[int, ...] = (100, 4_000, 10_000)
    rounds: int = 3
    alone: int = 40
    burst: int = 100
    churn: int = 10_000
    beside: int = 120
    shared: int = 40
    add: int = 40

    @property
    def base(self) -> int:
        """The middle size."""
        return self.sizes[len(self.sizes) // 2]


QUICK = Plan(sizes=(20, 100, 300), rounds=1, alone=6, burst=10, churn=500, beside=6, shared=3, add=3)


class _WideNetwork:
    """A testbed whose first network gets any number of VMs that are intent only."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.network, self.other = testbed.topology.networks
        self.hosts = [server.name for server in testbed.topology.hosts]
        self._intent = vm_join.entities(self.network, self.hosts)
        self._real = len(self.network.vms)
        self._held: list[Any] = []

    def resize(self, size: int) -> float:
        """Change the network to `size` VMs; returns the seconds until all switches are programmed."""
        more = size - self._real - len(self._held)
        if more < 0:
            gone, self._held = self._held[more:], self._held[:more]
            return vm_join.load_intent(self.testbed, (), gone)
        new = list(itertools.islice(self._intent, more))
        self._held += new
        return vm_join.load_intent(self.testbed, new)

    def alone(self, count: int) -> list[Answer]:
        """Join VMs one by one; returns their answers."""
        with vm_join.prebuilt_vms(self.testbed, self.network.name, count) as specs:
            return list(vm_join.join_in_turn(self.testbed, specs))

    def burst(self, count: int) -> list[Answer]:
        """Join VMs in one request; returns their answers."""
        with vm_join.prebuilt_vms(self.testbed, self.network.name, count) as specs:
            return vm_join.join_together(self.testbed, specs)

    def beside(self, churn: int, count: int, burst: int) -> tuple[list[Answer], list[Answer], int]:
        """Join VMs one by one and in a burst, during churn; returns their answers and the rounds of the churn.

        Raises:
            MeasurementError: the churn ended early.
        """
        vms = list(itertools.islice(vm_join.entities(self.other, self.hosts), churn))
        with (
            vm_join.prebuilt_vms(self.testbed, self.network.name, count + burst) as specs,
            churning(self.testbed, vms) as rounds,
        ):
            alone = list(vm_join.join_in_turn(self.testbed, specs[:count]))
            together = vm_join.join_together(self.testbed, specs[count:]) if burst else []
        if rounds.error:
            raise MeasurementError(rounds.error, where=self.other.name, next_step="see the control plane's log")
        return alone, together, rounds.done


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Measure all parts of the plan.

    Raises:
        HoverboardError: the testbed does not come up, or a VM never answers.
    """
    answers: dict[str, list[Answer]] = {}
    with Testbed(TOPOLOGY, run=command.run_name("wide")) as testbed:
        wide = _WideNetwork(testbed)
        names = [server.name for server in testbed.topology.servers]
        flows: dict[str, dict[str, int]] = {}
        load_seconds: dict[str, list[float]] = {}
        for number, order in enumerate(turns(plan.sizes, plan.rounds)):
            for at, size in enumerate(order):
                part = (number + at / len(order)) / plan.rounds
                progress(f"a network of {size} VMs, round {number + 1} of {plan.rounds}", 0.5 * part)
                load_seconds.setdefault(str(size), []).append(wide.resize(size))
                flows.setdefault(str(size), {name: _flow_count(testbed, name) for name in names})
                answers.setdefault(key(ALONE, size), []).extend(wide.alone(plan.alone))
                if number == 0:
                    answers[key(BURST, size)] = wide.burst(plan.burst)
        wide.resize(plan.base)
        progress(f"adding {plan.add} VMs, namespace and NIC too", 0.5)
        requested = [vm_join.time_join(testbed, lambda: testbed.add_vm(wide.network.name)) for _ in range(plan.add)]
        progress(f"beside {plan.churn} VMs that join and leave another network", 0.6)
        alone, burst, churned = wide.beside(plan.churn, plan.beside, plan.burst)
        answers |= {key(BESIDE, plan.base): alone, key(BURST_BESIDE, plan.base): burst}
        hosts = wide.hosts
        progress("taking everything down", 0.7)
    rounds = {BESIDE: churned}
    if plan.shared:
        progress("the same with one queue for all networks", 0.75)
        with Testbed(TOPOLOGY, run=command.run_name("wide"), control=ControlLayout(shared_queue=True)) as testbed:
            wide = _WideNetwork(testbed)
            wide.resize(plan.base)
            answers[key(SHARED, plan.base)], _, rounds[SHARED] = wide.beside(plan.churn, plan.shared, 0)
            progress("taking everything down", 1.0)
    return {
        "hosts": hosts,
        "flows": flows,
        "load_seconds": load_seconds,
        "joined": {name: summary(found) for name, found in answers.items()},
        "request": summary(requested),
        "churned": rounds,
    }


def key(what: str, size: int) -> str:
    """The name of a row in the results."""
    return f"{what}, {size} VMs"


def _flow_count(testbed: Testbed, server: str) -> int:
    """The number of flows that `ovs-ofctl dump-flows` lists on a node."""
    return len(testbed.flows(server)["openflow"])


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """Milliseconds to the first answered ping and to the return of the request."""
    columns = {"answered": [one.answered for one in answers], "done": [one.done for one in answers]}
    return {
        name: {"samples": [round(value, 3) for value in values], **distribution(values).as_dict()}
        for name, values in columns.items()
    }


def growth(flows: dict[str, dict[str, int]], hosts: list[str]) -> int:
    """The flows by which the fullest host grew from the smallest network to the largest."""
    sizes = sorted(flows, key=int)
    return max(flows[sizes[-1]][host] - flows[sizes[0]][host] for host in hosts)


def bars(figures: dict[str, Any], plan: Plan) -> list[Bar]:
    """Bars on join times, and on flows: a Hoverboard's flows may grow, a VM host's may not."""
    least, most, base = plan.sizes[0], plan.sizes[-1], plan.base

    def of(what: str, size: int, column: str) -> float:
        return float(figures["joined"][key(what, size)]["answered"][column])

    joins = f"a VM joins a network of {base}"
    churn = f"{joins} while {plan.churn} join and leave another"
    found = [
        Bar(f"{joins}: median", of(ALONE, base, "median"), MEDIAN_BAR, "<", "ms"),
        Bar(f"{joins}: p99", of(ALONE, base, "p99"), P99_BAR, "<", "ms"),
        Bar(
            f"a VM joins a network of {most} / of {least}: median",
            of(ALONE, most, "median") / of(ALONE, least, "median"), GROWTH_BAR, "<=", "x",
        ),
        Bar(f"{churn} / none: p99", of(BESIDE, base, "p99") / of(ALONE, base, "p99"), CHURN_BAR, "<=", "x"),
    ]  # fmt: skip
    if key(SHARED, base) in figures["joined"]:
        worse = of(SHARED, base, "p99") / of(BESIDE, base, "p99")
        found.append(Bar(f"{churn}: p99 with one queue for all / one for each", worse, SHARED_BAR, ">=", "x"))
    whole = figures["request"]["answered"]["median"]
    return [
        *found,
        Bar(f"{joins}, namespace and NIC made too: median", whole, REQUEST_BAR, "<", "ms"),
        Bar(
            f"growth of flows on a VM host, {least} to {most} VMs",
            growth(figures["flows"], figures["hosts"]), 0, "<=", "flows",
        ),
    ]  # fmt: skip


def shown(figures: dict[str, Any]) -> list[Table]:
    """Times and flows."""
    columns = ("#times", "#least", "#median", "#p90", "#p99", "#most")
    flows = figures["flows"]
    servers = list(next(iter(flows.values())))
    return [
        tables.table(
            "a VM joins: ms from the request to the fabric manager to the first answered ping",
            ("newcomers, network", *columns, "#request returned, median"),
            (
                (name, *_numbers(one["answered"]), f"{one['done']['median']:.1f}")
                for name, one in sorted(figures["joined"].items(), key=_order)
            ),
        ),
        tables.table(
            "`Testbed.add_vm`: namespace, NIC, network; ms since the call",
            ("until", *columns),
            (
                (what, *_numbers(figures["request"][column]))
                for column, what in (("answered", "first answered ping"), ("done", "call returned"))
            ),
        ),
        tables.table(
            "flows of each switch by size of the network",
            ("VMs", *(f"#{name}" for name in servers), "#seconds to come to that size"),
            (
                (size, *(flows[size][name] for name in servers), f"{max(figures['load_seconds'][size]):.2f}")
                for size in sorted(flows, key=int)
            ),
        ),
    ]


def _numbers(one: dict[str, Any]) -> tuple[object, ...]:
    return (one["count"], *(f"{one[field]:.1f}" for field in ("minimum", "median", "p90", "p99", "maximum")))


def _order(row: tuple[str, Any]) -> tuple[int, int]:
    what, _, size = row[0].rpartition(", ")
    return (ALONE, BURST, BESIDE, BURST_BESIDE, SHARED).index(what), int(size.split()[0])


def options(argv: list[str] | None = None) -> tuple[argparse.Namespace, Plan]:
    """The command line, and the plan that it asks for."""
    full = Plan()
    parser = command.parser(__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a first look, without bars: small networks, few VMs that join"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=3,
        metavar="N",
        help=f"VMs in the network, growing ({' '.join(map(str, full.sizes))})",
    )
    for name, what in (
        ("rounds", "rounds over all sizes"),
        ("alone", "VMs that join one by one, in each round at each size"),
        ("burst", "VMs that join in one request"),
        ("churn", "VMs that join and leave another network"),
        ("beside", "VMs that join during the churn"),
        ("add", "VMs to add, with namespace and NIC"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{what} ({getattr(full, name)})")
    parser.add_argument(
        "--shared-queue", action=argparse.BooleanOptionalAction, default=True,
        help="compare with one queue of changes for all networks (default: yes)",
    )  # fmt: skip
    given = parser.parse_args(argv)
    asked = {field.name: getattr(given, field.name, None) for field in fields(Plan)}
    plan = replace(QUICK if given.quick else full, **{name: one for name, one in asked.items() if one is not None})
    plan = replace(plan, sizes=tuple(plan.sizes), shared=plan.shared if given.shared_queue else 0)
    if list(plan.sizes) != sorted(set(plan.sizes)) or plan.sizes[0] < LEAST:
        parser.error(f"--sizes must grow, from {LEAST} on")
    if plan.sizes[-1] > MOST or plan.churn > MOST:
        parser.error(f"a network has room for {MOST} VMs")
    if min(plan.rounds, plan.alone, plan.burst, plan.churn, plan.beside, plan.add) < 1:
        parser.error("numbers must be above 0")
    return given, plan


def main() -> int:
    """Run `python -m benchmarks.reachability`."""
    given, plan = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        figures = measure(plan, progress)
        parameters = {**asdict(plan), "ping_interval_s": vm_join.PING_INTERVAL}
        return report.finish(
            "reachability", parameters, figures, [] if given.quick else bars(figures, plan), shown(figures),
            as_json=given.json, out=given.out,
        )  # fmt: skip

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
