"""A demonstration's results, made up: two generations with round numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.demo.demo import DemoSpec
from experiments.demo.demo_results import DemoResult, Generation, PingCell, Throughput
from experiments.observe.flow_path import PathPoint, Timeline
from experiments.observe.tenant_isolation import ForeignAddress, Isolation, SameAddress
from experiments.tools.iperf_output import Interval, IperfResult
from experiments.tools.ping_output import PingResult
from topologies.spec import schema

SAME = SameAddress("blue", "10.0.0.3", "blue-1", "blue-2", "red-2", 10, 9, 0)
FOREIGN = ForeignAddress("blue", "blue-1", "10.0.0.5", "red-only", "red", 10, 0, 0, 3)


def tcp(streams: int, bps: float) -> IperfResult:
    """Two seconds, of which the first carried half of the rate: 1.5 seconds' worth was sent."""
    intervals = (Interval(0.0, 1.0, bps / 2), Interval(1.0, 2.0, bps))
    return IperfResult("tcp", streams, False, bps, bps, 2.0, 7, None, None, 91.2, 84.6, intervals, {"bps": bps})


def pings(*milliseconds: float, sent: int | None = None) -> PingResult:
    low, mean, high = min(milliseconds), sum(milliseconds) / len(milliseconds), max(milliseconds)
    count = len(milliseconds)
    return PingResult(sent or count, count, low, mean, high, 0.01, milliseconds, f"{count} pings\n")


def generation(dataplane: str, scale: float) -> Generation:
    """Eight MB a second over the Hoverboard until 1 s, then 80 direct; rates and round trips go by `scale`."""
    points = tuple(
        PathPoint(at / 4, 2_000_000 * min(at, 4), 20_000_000 * max(0, at - 4)) for at in (0, 1, 2, 3, 4, 5, 6, 7, 8)
    )
    return Generation(
        dataplane=dataplane,
        run=f"demo-{dataplane}",
        up_seconds=2.5678,
        phases={"nodes": 0.4, "hosts": 1.2},
        servers={"h1": {"datapath_type": "netdev"}, "h2": {"datapath_type": "netdev"}},
        matrix=(PingCell("blue", "blue-1", "blue-2", 3, 3, 0.2), PingCell("blue", "blue-2", "blue-1", 3, 2, 0.3)),
        isolation=Isolation((SAME,), (FOREIGN,)),
        latency_hoverboard=pings(4.0 / scale, 8.0 / scale, sent=3),
        latency_hoverboard_stayed=True,
        latency_direct=pings(1.0 / scale, 2.0 / scale, 6.0 / scale),
        timeline=Timeline("10.0.0.2", "10.0.0.3", points, 1.2, (), tcp(1, 8e6)),
        throughput=(Throughput(1, tcp(1, 1e9 * scale), 0), Throughput(16, tcp(16, 2e9 * scale), 30_000_000)),
    )


def result() -> DemoResult:
    """`fastpath` is ten times as good as `ovs`."""
    topology = schema.load("demo")
    return DemoResult(
        DemoSpec().parameters(topology), topology, (generation("fastpath", 10), generation("ovs", 1)), 61.26
    )


def broken(**changes: Any) -> DemoResult:
    """The first generation is changed."""
    whole = result()
    return replace(whole, generations=(replace(whole.generations[0], **changes), whole.generations[1]))
