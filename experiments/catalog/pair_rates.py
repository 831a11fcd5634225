"""Peak rates over VM pairs (paper figure 11b): offers traffic drawn from the paper's CDF, and measures its arrival."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments import paper
from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, whole
from experiments.workload import traffic
from experiments.workload.udp_exchange import Exchange
from topologies.spec import schema

_CURVE = ("11b", "CDF of VM-pair peak throughput")
OFFERED, MEASURED = "offered", "measured"
THRESHOLD_BPS = 20_000.0


def papers_cdf() -> list[tuple[float, float]]:
    """Figure 11b as (rate in bit/s, share of pairs at or below it)."""
    curve = paper.curve(*_CURVE)
    return sorted((x * 1e6, y) for x, y in zip(curve.numbers(), curve.y, strict=True))


class PairRates(Experiment):
    """The offered and the measured CDF of the peak rate of VM pairs."""

    name = "pair-rates"
    order = 50
    title = "Peak rates over VM pairs"
    source = "figure 11b, section 5.3"
    measures = "Each pair's highest rate over a second: as offered, from the paper's CDF, and as it arrived."
    minutes = 1.0
    repeat = 2
    parameters = (
        Parameter("vms", 40, "VMs", "in one network on four hosts", quick=16, least=2, most=200),
        Parameter("seconds", 8, "s", "of traffic", quick=3, least=2, most=120),
        Parameter("scale", 0.1, "times the paper's rates", "so that two cores can carry it", least=0.001, most=1.0),
    )

    def points(self, values: Values) -> list[Point]:
        """One point."""
        return [{"vms": whole(values, "vms"), "scale": number(values, "scale")}]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Send real datagrams between the VMs of a testbed in the Hoverboard model."""
        network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/16", "vms": point["vms"]}
        keys = {"hosts": 4, "hoverboards": 1, "model": "hoverboard", "networks": [network]}
        testbed = bench.testbed(schema.from_keys(keys, name="pair-rates"))
        draw, seconds = bench.random(), whole(values, "seconds")
        among = traffic.pairs([vm.name for vm in testbed.topology.vms])
        flows = traffic.from_cdf(draw, among, papers_cdf(), point["scale"])
        with Exchange(testbed, flows) as exchange:
            result = exchange.run(traffic.schedule(draw, flows, seconds), seconds)
        bench.raw("flows", result.record(flows))
        talking = {(flow.src, flow.dst): flow for flow in flows}
        carried = dict(zip(talking, result.flows, strict=True))
        for pair in among:
            yield Sample(OFFERED, talking[pair].rate_bps if pair in talking else 0.0, "bit/s")
            peak = max(carried[pair].by_second.values(), default=0) * 8 if pair in talking else 0
            yield Sample(MEASURED, peak, "bit/s")
        if any(one.offered for one in result.flows):
            yield Sample("arrived", result.arrived, "share of datagrams")
        yield Sample("latest", result.late * 1e3, "ms behind the schedule")

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """Both CDFs and the paper's CDF, at the same scale."""
        scale = number(values, "scale")
        series = [_cdf(name, table.values(name)) for name in (OFFERED, MEASURED)]
        theirs = [(rate * scale / 1e3, share) for rate, share in papers_cdf()]
        series.append(Series("figure 11b", [x for x, _ in theirs], [y for _, y in theirs], paper=True))
        note = (
            f"The paper's rates times {scale:g}. Pairs that never talk are left of the axis. n is the number of pairs."
        )
        return [
            Chart(
                "pair-rates", "CDF of the peak rate of VM pairs", "peak rate over a second, kbit/s", "share of pairs",
                series, kind="steps", log_x=True, note=note,
            )
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on silent pairs, on pairs below the threshold, and on the share that arrives."""
        offered, measured = table.values(OFFERED), table.values(MEASURED)
        arrived = table.median("arrived")
        if not offered or not measured or arrived is None:
            return []
        why = "The offered traffic is drawn from the paper's CDF; the result shows that the testbed carries it."
        silent = _share(measured, 0.0)
        below = _share(measured, THRESHOLD_BPS * number(values, "scale"))
        return [
            ClaimVerdict(
                "most VM pairs never talk", "84 %", f"{silent:.1%} of {len(measured)}",
                "reproduced" if abs(silent - 0.84) < 0.04 else "partly", why, silent / 0.84,
            ),
            ClaimVerdict(
                "98 % of pairs stay below the threshold of 20 kb/s", "98 %", f"{below:.1%}",
                "reproduced" if abs(below - 0.98) < 0.015 else "partly", why, below / 0.98,
            ),
            ClaimVerdict(
                "what is offered arrives", "not stated", f"{arrived:.1%} of the datagrams",
                "reproduced" if arrived > 0.99 else "partly" if arrived > 0.9 else "not",
                "Two cores send, carry and receive everything here.",
            ),
        ]  # fmt: skip


def _share(rates: Sequence[float], most: float) -> float:
    return sum(one <= most for one in rates) / len(rates)


def _cdf(name: str, rates: Sequence[float]) -> Series:
    talking = sorted(one for one in rates if one > 0)
    silent = len(rates) - len(talking)
    return Series(
        f"{name}, n = {len(rates)}", [one / 1e3 for one in talking],
        [(silent + rank + 1) / len(rates) for rank in range(len(talking))],
    )  # fmt: skip
