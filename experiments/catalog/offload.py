"""Traffic left on Hoverboards against offloaded flows (paper figure 11c), live and by replay.

The replay passes usage reports of the paper's population through the real offload policy. The live part sends real
datagrams between the VMs of a testbed, with rates of the same shape. The threshold sets how many pairs are offloaded.
The Hoverboard's counters show the traffic that it still carries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, numbers, whole
from experiments.observe import hoverboard_counters
from experiments.workload import traffic, traffic_population
from experiments.workload.udp_exchange import Exchange
from topologies.spec import schema

LIVE, REPLAY = "live", "replay"
_HEADERS = 42  # Ethernet, IPv4 and UDP: the policy counts them, the size of a datagram does not
_LIVE_BYTES = 600
_LEAVES = 0.05  # the share of traffic at which the curves are scaled to meet
_SETTLED_SHARE = 0.5  # of the time passes before the Hoverboard's traffic counts


class Offload(Experiment):
    """The share of the traffic on Hoverboards, by number of offloaded pairs."""

    name = "offload"
    order = 60
    title = "Traffic left on Hoverboards against offloaded flows"
    source = "figure 11c, section 5.3"
    measures = "Share of the traffic on Hoverboards when the busiest pairs are offloaded, by replay and live."
    minutes = 3.0
    repeat = 1
    parameters = (
        Parameter(
            "thresholds",
            (50_000.0, 14_000.0, 12_500.0, 11_000.0, 9_500.0, 8_000.0, 5_000.0, 2_000.0, 500.0, 100.0, 35.0, 20.0),
            "kbit/s", "of the policy in the replay", quick=(50_000.0, 11_000.0, 20.0), least=1,
        ),
        Parameter("live", (0, 4, 8, 14, 20, 28, 40), "pairs", "offloaded live", quick=(0, 12), least=0, most=200),
        Parameter("pairs", 48, "pairs", "that talk live", least=4, most=200),
        Parameter("rate", 8.0, "Mbit/s", "of all live pairs together", least=0.1, most=100),
        Parameter("seconds", 8, "s", "of live traffic", quick=4, least=3, most=120),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        """The thresholds of the replay, then the live points."""
        replays: list[Point] = [{"part": REPLAY, "threshold_kbps": one} for one in numbers(values, "thresholds")]
        return replays + [{"part": LIVE, "wanted": int(one)} for one in numbers(values, "live")]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure one threshold of the replay, or one live point."""
        if point["part"] == REPLAY:
            found = traffic_population.replay(
                bench.random("population", across=("threshold_kbps",)), point["threshold_kbps"] * 1e3
            )
            yield Sample("offloaded", found.offloaded, "pairs", point)
            yield Sample("on Hoverboards", found.share, "share of bytes", point)
        else:
            yield from self._live(point, values, bench)

    def _live(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        total, seconds = number(values, "rate") * 1e6, whole(values, "seconds")
        rates = [share * total for share in traffic_population.representative_shares(whole(values, "pairs"))]
        testbed = bench.fresh(_topology(threshold_between(rates, point["wanted"])))
        by_name = {vm.name: vm.host for vm in testbed.topology.vms}
        apart = [pair for pair in traffic.pairs(list(by_name)) if by_name[pair[0]] != by_name[pair[1]]]
        draw = bench.random()
        chosen = draw.sample(apart, len(rates))
        flows = [traffic.TrafficFlow(src, dst, rate) for (src, dst), rate in zip(chosen, rates, strict=True)]
        with Exchange(testbed, flows) as exchange:
            due = traffic.schedule(draw, flows, seconds, _LIVE_BYTES)
            with exchange.running(due, seconds) as running:
                bench.say(f"offload: {point['wanted']} pairs, waiting until reports have come")
                running.wait(seconds * _SETTLED_SHARE)
                before, sent_before = hoverboard_counters.received(testbed), sum(one.offered for one in running.carried)
                result = running.result()
        sent = sum(one.offered for one in result.flows) - sent_before
        standing = {(row["src"], row["dst"]) for row in testbed.offloads()}
        bench.raw("flows", result.record(flows))
        yield Sample("offloaded", len(standing & set(chosen)), "pairs", point)
        yield Sample(
            "on Hoverboards",
            (hoverboard_counters.received(testbed) - before) / max(1, sent),
            "share of datagrams",
            point,
        )
        yield Sample("arrived", result.arrived, "share of datagrams", point)

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The replay at the paper's size, and all three curves on one scale."""
        curves = {REPLAY: curve(table, REPLAY), LIVE: curve(table, LIVE)}
        theirs = traffic_population.papers_curve()
        whole_size = Chart(
            "offload-replay", "Traffic on Hoverboards, the paper's size", "offloaded flows, thousands",
            "% of all bytes",
            [
                _scaled("replay through the offload policy", curves[REPLAY], 1e3),
                _scaled("figure 11c", theirs, 1e3, paper=True),
            ],
            note="The population is calibrated on the figure. The replay tests the policy, with reports that scatter.",
        )  # fmt: skip
        laid = [
            _scaled(name, line, unit, paper=name == "figure 11c")
            for name, line in (*curves.items(), ("figure 11c", theirs))
            if (unit := reaches(line, _LEAVES))
        ]
        return [
            whole_size,
            Chart(
                "offload-shape", "Traffic on Hoverboards, live and replayed",
                f"offloaded flows, in units of those that leave {_LEAVES:.0%}",
                "% of all traffic", laid, note="Live: the share of sent datagrams that the Hoverboard carried.",
            ),
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on the traffic that remains after few offloads, and on the shape of the live curve."""
        found = []
        most = traffic_population.POSSIBLE_PAIRS / 1000
        few = [(x, y) for x, y in curve(table, REPLAY) if x < most]
        if few:
            count, share = few[-1]
            found.append(
                ClaimVerdict(
                    "offloading under 0.1 % of the pairs leaves under 1 % of the traffic", "some 50k flows, < 1 %",
                    f"{count:.0f} flows leave {share:.2%}",
                    "reproduced" if share < 0.01 else "partly" if share < 0.05 else "not",
                    "A replay through the real policy; the population is calibrated on the figure itself.",
                    share / 0.008,
                )
            )  # fmt: skip
        live = curve(table, LIVE)
        if (unit := reaches(live, _LEAVES)) and (theirs := reaches(traffic_population.papers_curve(), _LEAVES)):
            apart = max(abs(y - at(traffic_population.papers_curve(), x / unit * theirs)) for x, y in live)
            found.append(
                ClaimVerdict(
                    "live, the curve has the same shape", "figure 11c", f"at most {apart:.0%} of the traffic apart",
                    "reproduced" if apart < 0.1 else "partly" if apart < 0.25 else "not",
                    "Some fifty pairs represent 57,000, so the curve has steps.",
                )
            )  # fmt: skip
        return found


def threshold_between(rates: list[float], wanted: int) -> int:
    """The threshold in bit/s of frames that only the `wanted` largest rates exceed; `rates` descend."""

    def frames(rate: float) -> float:
        size = traffic.datagram_bytes(rate, _LIVE_BYTES)
        return rate * (size + _HEADERS) / size

    above = frames(rates[wanted - 1]) if wanted else frames(rates[0]) * 100
    below = frames(rates[wanted]) if wanted < len(rates) else above / 100
    return max(1, round(math.sqrt(above * below)))


def curve(table: SampleTable, part: str) -> list[tuple[float, float]]:
    """The points of a part as (offloaded pairs, share on Hoverboards), the fewest offloaded first."""
    key = "threshold_kbps" if part == REPLAY else "wanted"
    found = []
    for value in table.seen(key):
        x = table.median("offloaded", part=part, **{key: value})
        y = table.median("on Hoverboards", part=part, **{key: value})
        if x is not None and y is not None:
            found.append((x, min(1.0, y)))
    return sorted(found)


def reaches(line: list[tuple[float, float]], share: float) -> float | None:
    """The x at which a falling line reaches `share`; None: it does not."""
    for (x0, y0), (x1, y1) in zip(line, line[1:], strict=False):
        if y0 > share >= y1:
            return x0 + (x1 - x0) * (y0 - share) / (y0 - y1)
    return None


def at(line: list[tuple[float, float]], x: float) -> float:
    """The line's y at `x`; beyond its end, its last y."""
    for (x0, y0), (x1, y1) in zip(line, line[1:], strict=False):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return line[-1][1]


def _scaled(name: str, line: list[tuple[float, float]], unit: float, *, paper: bool = False) -> Series:
    return Series(name, [x / unit for x, _ in line], [y * 100 for _, y in line], paper=paper)


def _topology(threshold: int) -> object:
    network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 12}
    keys = {
        "hosts": 3, "hoverboards": 1, "model": "hoverboard", "networks": [network],
        "offload_threshold": f"{threshold}bit", "report_interval": 0.5,
    }  # fmt: skip
    return schema.from_keys(keys, name="offload")
