"""Results of a demonstration as plain data, its checks, its summary and its CSV rows. No I/O.

`hoverboard demo --json` prints the summary, and the report is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from experiments.observe.flow_path import Timeline
from experiments.observe.tenant_isolation import Isolation
from experiments.tools.iperf_output import IperfResult
from experiments.tools.ping_output import PingResult
from hoverboard.contract.errors import counted
from topologies.spec.topology import Topology

if TYPE_CHECKING:
    from hoverboard.contract import experiment_documents as documents
    from hoverboard.contract.node_documents import HostStatus


_ALIKE = 1.25  # two rates of one pair that differ by less than this factor need no word


@dataclass(frozen=True, slots=True)
class PingCell:
    """One cell of the ping matrix."""

    network: str
    src: str
    dst: str
    sent: int
    received: int
    min_ms: float | None

    @property
    def ok(self) -> bool:
        """Whether an answer came. Lost packets are counted, and do not make a cell fail."""
        return self.received > 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """One iperf3 measurement; `relayed_bytes` is what Hoverboards received during it (outer frames)."""

    streams: int
    result: IperfResult
    relayed_bytes: int

    @property
    def relayed_share(self) -> float:
        """Share of the traffic that went over Hoverboards (0 to 1)."""
        sent = sum(interval.bps * (interval.end - interval.start) for interval in self.result.intervals) / 8
        return min(1.0, self.relayed_bytes / sent) if sent else 1.0


@dataclass(frozen=True, slots=True)
class Generation:
    """Results of one generation of the dataplane; `experiment_documents.DemoGeneration` explains the names."""

    dataplane: str
    run: str
    up_seconds: float
    phases: dict[str, float]
    servers: dict[str, HostStatus]
    matrix: tuple[PingCell, ...]
    isolation: Isolation
    latency_hoverboard: PingResult
    latency_hoverboard_stayed: bool
    latency_direct: PingResult
    timeline: Timeline
    throughput: tuple[Throughput, ...]

    def checks(self) -> Iterator[Check]:
        """The checks of this generation. The demonstration has passed if all hold."""
        silent = [f"{cell.src} -> {cell.dst}" for cell in self.matrix if not cell.ok]
        yield Check(
            f"{self.dataplane}: every pair within a tenant pings",
            bool(self.matrix) and not silent,
            f"no answer: {', '.join(silent)}" if silent else self._answers(),
        )
        yield Check(
            f"{self.dataplane}: no packet crosses tenants",
            self.isolation.ok,
            f"{len(self.isolation.same)} shared and {len(self.isolation.foreign)} unshared addresses tried"
            + self._crossed()
            + _lost([(row.source, row.target, row.sent, row.target_echo_requests) for row in self.isolation.same]),
        )
        timeline = self.timeline
        seen = timeline.hoverboard_bytes > 0 and timeline.offloaded_at is not None and timeline.direct_bytes > 0
        yield Check(
            f"{self.dataplane}: the flow starts on the Hoverboard and is offloaded",
            seen,
            f"offloaded {timeline.offload_delay:.2f} s after its first packet"
            if seen
            else f"{timeline.hoverboard_bytes} bytes over the Hoverboard, {timeline.direct_bytes} direct, "
            f"{'listed' if timeline.offloaded_at is not None else 'never listed'} as offloaded",
        )

    def _crossed(self) -> str:
        """The packets that arrived where none should, for the end of a detail; "" if there are none."""
        found = [(row.bystander, row.bystander_packets, row.source, row.address) for row in self.isolation.same]
        found += [(row.owner, row.owner_packets, row.source, row.address) for row in self.isolation.foreign]
        return "".join(
            f"; {vm} received {counted(packets, 'packet')} while {source} pinged {address}"
            for vm, packets, source, address in found
            if packets
        )

    def _answers(self) -> str:
        """The answers of the ping matrix, and the pairs that lost some."""
        sent, received = (sum(getattr(cell, name) for cell in self.matrix) for name in ("sent", "received"))
        lost = _lost([(cell.src, cell.dst, cell.sent, cell.received) for cell in self.matrix])
        return f"{counted(len(self.matrix), 'pair')}, {received} of {sent} answers{lost}"

    def pings(self) -> documents.Pings:
        """All pings that should arrive: those of the matrix, at the own tenant's VMs, and of the latencies."""
        counts = [(cell.sent, cell.received) for cell in self.matrix]
        counts += [(row.sent, row.target_echo_requests) for row in self.isolation.same]
        counts += [(one.sent, one.received) for one in (self.latency_hoverboard, self.latency_direct)]
        return {
            "sent": sum(sent for sent, _ in counts),
            "lost": sum(sent - received for sent, received in counts),
        }

    def note(self) -> str | None:
        """Why two figures of one pair differ, if they do: the followed flow, and the throughput of one stream."""
        followed = self.timeline.direct_bps
        alone = next((item.result.bps for item in self.throughput if item.streams == 1), None)
        if not followed or not alone or max(followed, alone) < _ALIKE * min(followed, alone):
            return None
        return (
            f"{self.dataplane}: one stream of this pair had {followed / 1e9:.2f} Gbit/s while it was followed, and "
            f"{alone / 1e9:.2f} Gbit/s in the measurement of throughput, some seconds later. The two measure the same, "
            "so the machine was not equally free: repeat the demo while nothing else runs."
        )

    def record(self) -> documents.DemoGeneration:
        """The document of this generation in the summary."""
        return {
            "dataplane": self.dataplane,
            "run": self.run,
            "up_seconds": round(self.up_seconds, 2),
            "phases": self.phases,
            "datapath_types": sorted({str(server.get("datapath_type")) for server in self.servers.values()}),
            "ping_matrix": cast("list[documents.Pinged]", [{**asdict(cell), "ok": cell.ok} for cell in self.matrix]),
            "isolation": self.isolation.record(),
            "latency_ms": {
                "hoverboard": {
                    **_round_trips(self.latency_hoverboard),
                    "stayed_on_hoverboard": self.latency_hoverboard_stayed,
                },
                "direct": _round_trips(self.latency_direct),
            },
            "path": _path(self.timeline),
            "throughput": [
                {
                    "streams": item.streams,
                    "bps": item.result.bps,
                    "seconds": item.result.seconds,
                    "retransmits": item.result.retransmits,
                    "cpu_client_percent": item.result.cpu_client,
                    "cpu_server_percent": item.result.cpu_server,
                    "relayed_bytes": item.relayed_bytes,
                    "relayed_share": item.relayed_share,
                }
                for item in self.throughput
            ],
            "pings": self.pings(),
            "servers": self.servers,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A condition of the demonstration, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Results of a whole demonstration; `seconds` includes bringing testbeds up and taking them down."""

    parameters: dict[str, Any]
    topology: Topology
    generations: tuple[Generation, ...]
    seconds: float

    def checks(self) -> list[Check]:
        """The checks of all generations."""
        return [check for generation in self.generations for check in generation.checks()]

    def summary(self, record: documents.Record) -> documents.Demo:
        """The document of `summary.json`; `record` describes machine, code and parameters."""
        checks = self.checks()
        return {
            "experiment": "demo",
            "ok": bool(checks) and all(check.ok for check in checks),
            "seconds": round(self.seconds, 1),
            "checks": cast("list[documents.Check]", [asdict(check) for check in checks]),
            "ratios": self.ratios(),
            "notes": [note for generation in self.generations if (note := generation.note()) is not None],
            "generations": [generation.record() for generation in self.generations],
            "record": record,
        }

    def ratios(self) -> documents.Ratios:
        """How many times better `fastpath` is than `ovs`: throughput by streams, and median round trips."""
        by_name = {generation.dataplane: generation for generation in self.generations}
        fast, slow = by_name.get("fastpath"), by_name.get("ovs")
        if fast is None or slow is None:
            return {}
        before = {item.streams: item.result.bps for item in slow.throughput}
        return {
            "throughput": {
                str(item.streams): item.result.bps / before[item.streams]
                for item in fast.throughput
                if before.get(item.streams)
            },
            "latency_direct": _ratio(slow.latency_direct.median_ms, fast.latency_direct.median_ms),
            "latency_hoverboard": _ratio(slow.latency_hoverboard.median_ms, fast.latency_hoverboard.median_ms),
        }

    def csv_rows(self) -> Iterator[tuple[str, str, str, str, float]]:
        """Rows of demo.csv: generation, quantity, condition, unit, value."""
        for item in self.generations:
            name = item.dataplane
            yield name, "start-up", "", "s", item.up_seconds
            for through in item.throughput:
                yield name, "throughput", counted(through.streams, "stream"), "bit/s", through.result.bps
                if through.result.retransmits is not None:
                    yield (
                        name,
                        "retransmits",
                        counted(through.streams, "stream"),
                        "segments",
                        through.result.retransmits,
                    )
            for path, result in (("hoverboard", item.latency_hoverboard), ("direct", item.latency_direct)):
                for sample in result.samples:
                    yield name, "round trip", path, "ms", sample
            for rate in item.timeline.rates():
                yield name, "path rate", f"hoverboard {rate.start:.2f}-{rate.end:.2f} s", "bit/s", rate.hoverboard_bps
                yield name, "path rate", f"direct {rate.start:.2f}-{rate.end:.2f} s", "bit/s", rate.direct_bps


def _lost(counts: Iterable[tuple[str, str, int, int]]) -> str:
    """The pairs that lost pings, for the end of a detail; "" if none did. `counts`: source, target, sent, received."""
    pairs = [f"{src} -> {dst} {sent - got} of {sent}" for src, dst, sent, got in counts if got < sent]
    return f"; lost: {', '.join(pairs)}" if pairs else ""


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _round_trips(result: PingResult) -> documents.RoundTrips:
    return {
        "sent": result.sent,
        "received": result.received,
        "min": result.min_ms,
        "median": result.median_ms,
        "avg": result.avg_ms,
        "max": result.max_ms,
        "mdev": result.mdev_ms,
    }


def _path(timeline: Timeline) -> documents.Path:
    return {
        "src": timeline.src,
        "dst": timeline.dst,
        "offloaded_at": timeline.offloaded_at,
        "direct_at": timeline.direct_at,
        "hoverboard_bytes": timeline.hoverboard_bytes,
        "direct_bytes": timeline.direct_bytes,
        "points": cast("list[documents.PathPoint]", [asdict(point) for point in timeline.points]),
        "failures": list(timeline.failures),
    }
