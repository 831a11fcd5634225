"""Compares two sources of usage reports under overload: sending hosts and the Hoverboard (paper section 3.3.1).

A Hoverboard with a limited capacity gets a flood that cannot be offloaded, and pairs that can. If the Hoverboard
reports usage itself, its reports miss all dropped packets, and reports can be dropped too.
"""

from __future__ import annotations

from collections.abc import Iterable

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, numbers, whole, words
from experiments.observe import hoverboard_counters
from experiments.workload import traffic
from experiments.workload.flood import flooding
from experiments.workload.udp_exchange import Exchange
from topologies.processes.deadlines import wait_for
from topologies.spec import schema

HOSTS, HOVERBOARDS = "hosts", "hoverboards"
_PAIR_BPS = 150_000.0
_FLOODED_SECONDS = 1.0  # the pairs start when this much of the flood is sent
_FLOOD_LIMIT = 30.0  # seconds to wait for it
_UNUSED_ADDRESS = "10.0.0.250"


class GatewayOverload(Experiment):
    """The relief of a Hoverboard, by source of usage reports."""

    name = "gateway-overload"
    order = 90
    title = "Usage from hosts or from Hoverboards, under overload"
    source = "section 3.3.1"
    measures = (
        "Offloaded pairs, the seconds until they are offloaded, and their loss, while a Hoverboard gets several times "
        "its capacity. Usage is reported by sending hosts, or by Hoverboards."
    )
    minutes = 1.5
    repeat = 2
    parameters = (
        Parameter("reports", (HOSTS, HOVERBOARDS), "", "who reports usage", choices=(HOSTS, HOVERBOARDS)),
        Parameter(
            "overload", (0.0, 2.0, 10.0, 40.0), "times the capacity", "rate of the flood",
            quick=(40.0,), least=0, most=100,
        ),
        Parameter("capacity", 100, "packets/s", "of the Hoverboard", least=10, most=100_000),
        Parameter("pairs", 3, "pairs", "that can be offloaded", least=1, most=10),
        Parameter("seconds", 4.0, "s", "to wait for the relief", quick=3.0, least=1, most=60),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        """One point for each overload and source."""
        return [
            {"reports": reports, "overload": overload}
            for overload in numbers(values, "overload")
            for reports in words(values, "reports")
        ]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure on a fresh testbed, which has no offloads of an earlier point."""
        capacity, seconds = whole(values, "capacity"), number(values, "seconds")
        testbed = bench.fresh(_topology(point["reports"], capacity, 2 * whole(values, "pairs") + 2))
        here, there = ([vm.name for vm in testbed.topology.vms if vm.host == name] for name in ("h1", "h2"))
        chosen = list(zip(here[1:], there[1:], strict=False))[: whole(values, "pairs")]
        flows = traffic.burst(chosen, _PAIR_BPS)
        rate = point["overload"] * capacity
        with Exchange(testbed, flows) as exchange, flooding(testbed, here[:1], [_UNUSED_ADDRESS], rate) as flood:
            wait_for(
                lambda: flood.sent >= _FLOODED_SECONDS * rate,
                _FLOOD_LIMIT,
                lambda: f"only {flood.sent} packets of the flood are sent",
            )
            dropped = hoverboard_counters.over_capacity(testbed)
            due = traffic.schedule(bench.random(across=("reports",)), flows, seconds, 600)
            with exchange.running(due, seconds) as running:
                relieved: dict[tuple[str, str], float] = {}
                while (now := running.now()) < seconds and len(relieved) < len(chosen):
                    standing = {(row["src"], row["dst"]) for row in testbed.offloads()}
                    relieved |= {pair: now for pair in chosen if pair in standing and pair not in relieved}
                    running.wait(now + 0.02)
                result = running.result()
        bench.raw("flows", result.record(flows))
        for pair in chosen:
            if pair in relieved:
                yield Sample("time to relief", relieved[pair], "s", point)
        yield Sample("relieved", len(relieved) / len(chosen), "share of pairs", point)
        yield Sample("lost", 1 - result.arrived, "share of the pairs' datagrams", point)
        yield Sample(
            "dropped by the Hoverboard", float(hoverboard_counters.over_capacity(testbed) - dropped), "packets", point
        )

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The relieved pairs, their loss and their time to relief, by overload."""
        names, x = table.seen("reports"), "flood, times the Hoverboard's capacity"
        drawn = [
            Chart(metric, title, x, y, [_line(table, metric, name) for name in names])
            for metric, title, y in (
                ("relieved", "Pairs that left the Hoverboard", "share of pairs"),
                ("lost", "Loss of those pairs", "share of their datagrams"),
            )
        ]
        times = [(name, _line(table, "time to relief", name)) for name in names]
        if any(line.x for _, line in times):
            limit = number(values, "seconds")
            never = [name for name, line in times if len(line.x) < len(table.seen("overload"))]
            note = f"Of the pairs that were relieved within {limit:g} s, counted from the start of their traffic."
            if never:
                note += f" Where a mark of reports from {' and '.join(never)} is missing, no pair was relieved."
            title, y = "Time until a pair left the Hoverboard", "seconds"
            drawn.append(Chart("time-to-relief", title, x, y, [line for _, line in times if line.x], note=note))
        return drawn

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdict at the largest flood."""
        floods = [one for one in table.seen("overload") if one]
        if not floods:
            return []
        most = max(floods)
        share = {name: table.median("relieved", reports=name, overload=most) for name in (HOSTS, HOVERBOARDS)}
        lost = {name: table.median("lost", reports=name, overload=most) for name in (HOSTS, HOVERBOARDS)}
        ours, theirs = share[HOSTS], share[HOVERBOARDS]
        if ours is None or theirs is None:
            return []
        times = {name: table.median("time to relief", reports=name, overload=most) for name in (HOSTS, HOVERBOARDS)}
        return [
            ClaimVerdict(
                "an overloaded Hoverboard is relieved by hosts' reports, and not by its own",
                "why usage comes from sending hosts",
                f"{ours:.0%} of the pairs against {theirs:.0%}; "
                f"lost {lost[HOSTS]:.0%} against {lost[HOVERBOARDS]:.0%}; "
                f"relief after {_seconds(times[HOSTS])} against {_seconds(times[HOVERBOARDS])}",
                "reproduced" if ours > 0.9 and theirs < 0.5 else "partly" if ours > theirs else "not",
                f"The Hoverboard's capacity is {whole(values, 'capacity')} packets/s; the flood is {most:g} times it.",
            )
        ]


def _seconds(time_to_relief: float | None) -> str:
    return "never" if time_to_relief is None else f"{time_to_relief:.2f} s"


def _line(table: SampleTable, metric: str, name: str) -> Series:
    return table.line(metric, "overload", f"reports from {name}", reports=name)


def _topology(reports: str, capacity: int, vms: int) -> object:
    network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": vms}
    return schema.from_keys(
        {
            "hosts": 2, "hoverboards": [{"capacity": {"pps": capacity}}], "model": "hoverboard",
            "report_interval": 0.2, "offload_policy": {"reports": reports}, "networks": [network],
        },
        name="gateway-overload",
    )  # fmt: skip
