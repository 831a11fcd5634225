"""Many pairs start at once at a high rate (paper section 6.3). Measures the Hoverboard's load until the offloads."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, numbers, whole
from experiments.frame.sample_statistics import spread
from experiments.workload import traffic
from experiments.workload.udp_exchange import Exchange
from hoverboard.contract.errors import counted
from topologies.run.testbed import Testbed
from topologies.spec import schema

_TICK = 0.1  # seconds between two readings of the Hoverboard's counters
_RELIEVED = 0.1  # share of the highest load below which the Hoverboard is relieved
_BYTES = 1_000
_COMPARED = ("interval", "threshold")


class Burst(Experiment):
    """A Hoverboard's load after a burst, by report interval and threshold."""

    name = "burst"
    order = 80
    title = "A burst of new pairs"
    source = "section 6.3"
    measures = (
        "Packets a second at the Hoverboard after many pairs start at once. The time until it carries a tenth of its "
        "highest load, by report interval and threshold."
    )
    minutes = 1.5
    repeat = 2
    parameters = (
        Parameter(
            "interval", (0.1, 0.5, 1.0, 2.0), "s", "between usage reports", quick=(0.2, 1.0), least=0.05, most=10
        ),
        Parameter("threshold", (20.0, 1000.0), "kbit/s", "of the offload policy", quick=(20.0,), least=1, most=1e6),
        Parameter("pairs", 30, "pairs", "that start at once", quick=12, least=1, most=100),
        Parameter("rate", 300.0, "kbit/s", "of each", least=1, most=10_000),
        Parameter("seconds", 6.0, "s", "after the start", quick=3.0, least=1, most=60),
    )

    def points(self, values: Values) -> list[Point]:
        """One point for each interval and threshold."""
        return [
            {"interval": interval, "threshold": threshold}
            for threshold in numbers(values, "threshold")
            for interval in numbers(values, "interval")
        ]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure on a fresh testbed. Read the Hoverboard's counter ten times a second."""
        seconds = number(values, "seconds")
        testbed = bench.fresh(_topology(point))
        here, there = ([vm.name for vm in testbed.topology.vms if vm.host == name] for name in ("h1", "h2"))
        among = [(src, dst) for src in here for dst in there] + [(src, dst) for src in there for dst in here]
        draw = bench.random("pairs", across=_COMPARED)
        chosen = draw.sample(among, min(whole(values, "pairs"), len(among)))
        flows = traffic.burst(chosen, number(values, "rate") * 1e3)
        loads: list[tuple[float, float]] = []
        with (
            Exchange(testbed, flows) as exchange,
            closing(testbed.host_client(testbed.topology.hoverboards[0].name)) as hoverboard,
        ):
            due = traffic.schedule(bench.random("traffic", across=_COMPARED), flows, seconds, _BYTES)
            with exchange.running(due, seconds) as running:
                at, before = 0.0, int(hoverboard.status()["counters"]["rx_packets"])
                while at < seconds:
                    running.wait(at + _TICK)
                    now, count = running.now(), int(hoverboard.status()["counters"]["rx_packets"])
                    loads.append((now, (count - before) / (now - at)))
                    at, before = now, count
                result = running.result()
        bench.raw("load", loads)
        bench.raw("flows", result.record(flows))
        peak = max(load for _, load in loads)
        relief = relieved_at(loads)
        yield Sample("highest load", peak, "packets/s", point)
        if relief is None:
            yield Sample("not relieved", 1.0, "times", point)
        else:
            yield Sample("time to relief", relief, "s", point)
        for when, load in loads:
            yield Sample("load", load, "packets/s", {**point, "at": round(when / _TICK) * _TICK})
        yield Sample("offloaded", float(_offloaded(testbed)), "pairs", point)
        yield Sample("lost", 1 - result.arrived, "share of datagrams", point)

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The load over time, and the time to relief by interval."""
        least = min(numbers(values, "threshold"))
        over_time = []
        for interval in table.seen("interval", "load"):
            found = sorted(
                {
                    at
                    for at in table.seen("at", "load")
                    if table.values("load", at=at, interval=interval, threshold=least)
                }
            )
            several = [spread(table.values("load", at=at, interval=interval, threshold=least)) for at in found]
            over_time.append(Series(f"report interval {interval:g} s", found, [one.median for one in several], several))
        return [
            Chart(
                "load", "What the Hoverboard receives after the burst", "seconds since the start", "packets/s",
                over_time,
                note=f"Medians of {_TICK:g} s windows, threshold {least:g} kbit/s.",
            ),
            Chart(
                "relief", "Time until the Hoverboard is relieved", "seconds between usage reports", "seconds",
                [
                    table.line("time to relief", "interval", f"threshold {threshold:g} kbit/s", threshold=threshold)
                    for threshold in table.seen("threshold", "time to relief")
                ],
            ),
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdict on relief after a burst, at the lowest threshold."""
        least = min(numbers(values, "threshold"))
        intervals = sorted(table.seen("interval", "highest load"))
        if not intervals:
            return []
        times = {one: table.median("time to relief", interval=one, threshold=least) for one in intervals}
        never = sum(len(table.values("not relieved", interval=one, threshold=least)) for one in intervals)
        found = [(interval, time) for interval, time in times.items() if time is not None]
        measured = ", ".join(f"{time:.1f} s at {interval:g} s" for interval, time in found) or "never"
        measured += f"; {counted(never, 'time')} not at all" if never else ""
        within = not never and all(time is not None and time < 2 * one + 0.6 for one, time in times.items())
        return [
            ClaimVerdict(
                "a burst loads the Hoverboards until the next usage reports, then leaves them",
                "sudden bursts remain a risk",
                measured, "reproduced" if within else "partly" if found else "not",
                "The paper gives no times; the limit here is two report intervals and 0.6 s.",
            )
        ]  # fmt: skip


def relieved_at(loads: list[tuple[float, float]]) -> float | None:
    """The second from which the load stays at or below a tenth of its highest value; None: it never does.

    The end of the traffic does not count. So the load must be low in at least two windows before the last one.

    Args:
        loads: (seconds, load) of each window, in order.
    """
    peak = max(load for _, load in loads)
    since, low = None, 0
    for at, load in loads[:-1]:
        if load > _RELIEVED * peak:
            since, low = None, 0
        else:
            since, low = (at if since is None else since), low + 1
    return since if low > 1 else None


def _offloaded(testbed: Testbed) -> int:
    return len(testbed.offloads())


def _topology(point: Point) -> object:
    network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 16}
    return schema.from_keys(
        {
            "hosts": 2, "hoverboards": 1, "model": "hoverboard", "report_interval": point["interval"],
            "offload_threshold": f"{round(point['threshold'] * 1000)}bit", "networks": [network],
        },
        name="burst",
    )  # fmt: skip
