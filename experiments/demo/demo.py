"""Runs the demonstration: three hosts, one Hoverboard, two tenants with the same addresses, two dataplane generations.

For each generation it brings a testbed up and checks that no packet crosses tenants. It follows one flow from the
Hoverboard to its direct path (paper section 3.3.1), and measures round trips and throughput. Figures and the report are
made elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from experiments.demo.demo_results import DemoResult, Generation, PingCell, Throughput
from experiments.frame.progress import Progress
from experiments.observe import tenant_isolation
from experiments.observe.flow_path import PathSampler, Timeline
from experiments.tools import iperf, ping
from experiments.tools.iperf import IperfSpec
from experiments.tools.ping_output import PingResult
from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import InputError, MeasurementError
from hoverboard.contract.generations import NAMES, available
from hoverboard.host.control.host_client import HostClient
from topologies.emulation.ovs_daemons import check_generation, datapath_type
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import Topology

_REPORT_GRACE = 10.0  # seconds that a usage report may be late
_PINGS_AT_ONCE = 4  # more would measure the scheduler of two cores


@dataclass(frozen=True, slots=True)
class DemoSpec:
    """Parameters of a demonstration. Times are in seconds; those of iperf3 are whole seconds.

    Attributes:
        run: first part of the names of its runs; the generation is the second.
        generations: dataplane generations, in the order in which they are measured.
        pair: names of the VMs between which it measures.
        slow_pings: number of pings over the Hoverboard.
        slow_interval: time between them, long enough to stay below the offload threshold.
        pings: number of pings on the direct path.
        ping_interval: time between them.
    """

    topology: str = "demo"
    run: str = "demo"
    generations: tuple[Dataplane, ...] = ("fastpath", "ovs")
    pair: tuple[str, str] = ("blue-1", "blue-2")
    streams: tuple[int, ...] = (1, 16)
    seconds: int = 4
    omit: int = 1
    follow_seconds: int = 7
    sample_interval: float = 0.25
    slow_pings: int = 20
    slow_interval: float = 0.1
    pings: int = 200
    ping_interval: float = 0.005

    def parameters(self, topology: Topology) -> dict[str, Any]:
        """The parameters as the result records them."""
        return {
            "topology": self.topology,
            "model": topology.model,
            "offload_threshold_bps": topology.offload_threshold,
            "report_interval_s": topology.report_interval,
            "generations": list(self.generations),
            "pair": list(self.pair),
            "iperf3_streams": list(self.streams),
            "iperf3_seconds": self.seconds,
            "iperf3_omit_s": self.omit,
            "followed_seconds": self.follow_seconds,
            "path_sample_interval_s": self.sample_interval,
            "pings_hoverboard": self.slow_pings,
            "pings_hoverboard_interval_s": self.slow_interval,
            "pings_direct": self.pings,
            "pings_direct_interval_s": self.ping_interval,
        }


def demo_spec(run: str, generations: str) -> DemoSpec:
    """The default demonstration with these generations: names separated by commas, or "all" that this machine supports.

    Raises:
        InputError: there is no such generation.
        MachineError: this machine does not support it.
    """
    kind = datapath_type()
    if generations == "all":
        return DemoSpec(run=run, generations=tuple(reversed(available(kind))))
    named = dict.fromkeys(name.strip() for name in generations.split(","))
    for name in named:
        if name not in NAMES:
            raise InputError(
                f"there is no dataplane generation {name!r}", where="demo",
                next_step=f"use one or more of: {', '.join(NAMES)}; or all",
            )  # fmt: skip
    chosen = tuple(name for name in NAMES if name in named)
    for name in chosen:
        check_generation(name, kind, where="demo")
    return DemoSpec(run=run, generations=tuple(reversed(chosen)))


class _Steps:
    """Reports the running step and the share of the whole that is done, by the expected seconds of the steps."""

    def __init__(self, spec: DemoSpec, progress: Progress) -> None:
        self._expected = {
            "starting": 5.0,
            "isolation": 4.0,
            "pings": 1.5,
            "latency over the Hoverboard": spec.slow_pings * spec.slow_interval + 0.5,
            "following one flow": spec.follow_seconds + 1,
            "latency, direct": spec.pings * spec.ping_interval + 0.5,
            "throughput": len(spec.streams) * (spec.seconds + spec.omit + 0.5),
            "stopping": 1.5,
        }
        self._total = sum(self._expected.values()) * len(spec.generations)
        self._done = 0.0
        self._running = 0.0
        self._name = ""
        self._progress = progress

    def begin(self, dataplane: str, name: str) -> None:
        """Begin a step, which ends the step before it."""
        self._done += self._running
        self._running = self._expected[name]
        self._name = f"{dataplane}: {name}"
        self._progress(self._name, self._done / self._total)

    def detail(self, text: str) -> None:
        """Show a detail of the running step."""
        self._progress(f"{self._name}, {text}", self._done / self._total)


def run(spec: DemoSpec, progress: Progress, measured: Callable[[Generation], None] = lambda _: None) -> DemoResult:
    """Run the whole demonstration.

    Args:
        spec: its parameters.
        progress: called as steps begin.
        measured: called with each generation when it is measured.

    Raises:
        HoverboardError: a testbed does not come up, or a measurement gives no figure. All that was started has ended
            when this returns or raises.
    """
    topology = schema.load(spec.topology)
    steps = _Steps(spec, progress)
    started = time.monotonic()
    generations = []
    for dataplane in spec.generations:
        generations.append(_measure_generation(spec, topology, dataplane, steps))
        measured(generations[-1])
    return DemoResult(spec.parameters(topology), topology, tuple(generations), time.monotonic() - started)


def _measure_generation(spec: DemoSpec, topology: Topology, dataplane: Dataplane, steps: _Steps) -> Generation:
    name = f"{spec.run}-{dataplane}"
    topology = topology.with_dataplane(dataplane)
    with contextlib.ExitStack() as stack:
        steps.begin(dataplane, "starting")
        begun = time.monotonic()
        testbed = Testbed(topology, run=name)
        stack.callback(testbed.down)
        testbed.up(lambda event: steps.detail(event.note or f"{event.phase} {event.done}/{event.total}"))
        up_seconds = time.monotonic() - begun
        # Called before the testbed goes down.
        stack.callback(steps.begin, dataplane, "stopping")
        clients = {
            server.name: stack.enter_context(contextlib.closing(testbed.host_client(server.name)))
            for server in topology.servers
        }
        flow = _Flow(testbed, clients, *spec.pair)
        steps.begin(dataplane, "isolation")
        isolation = _prove_isolation(testbed)
        steps.begin(dataplane, "pings")
        matrix = _ping_matrix(testbed)
        steps.begin(dataplane, "latency over the Hoverboard")
        slow = flow.ping(spec.slow_pings, spec.slow_interval, ping.SMALL)
        slow_stayed = flow.offloaded() is None
        steps.begin(dataplane, "following one flow")
        timeline = _follow_flow(flow, spec)
        steps.begin(dataplane, "latency, direct")
        direct = flow.ping(spec.pings, spec.ping_interval)
        steps.begin(dataplane, "throughput")
        throughput = tuple(_measure_throughput(flow, spec, streams) for streams in spec.streams)
        servers = {server: client.status() for server, client in clients.items()}
    return Generation(
        dataplane=dataplane,
        run=name,
        up_seconds=up_seconds,
        phases=testbed.phases,
        servers=servers,
        matrix=matrix,
        isolation=isolation,
        latency_hoverboard=slow,
        latency_hoverboard_stayed=slow_stayed,
        latency_direct=direct,
        timeline=timeline,
        throughput=throughput,
    )


class _Flow:
    """The VM pair between which the demonstration measures."""

    def __init__(self, testbed: Testbed, clients: Mapping[str, HostClient], src: str, dst: str) -> None:
        vms = {vm.name: vm for vm in testbed.topology.vms}
        self.src, self.dst = vms[src], vms[dst]
        self.testbed, self.clients = testbed, clients
        self.vni = next(network.vni for network in testbed.topology.networks if network.name == self.src.network)
        self.source, self.target = testbed.node(src), testbed.node(dst)

    def ping(self, count: int, interval: float, size: int = 56) -> PingResult:
        result = ping.measure(self.source, str(self.dst.ip), count=count, interval=interval, size=size)
        if not result.received:
            raise MeasurementError(
                f"{self.src.name} gets no answer from {self.dst.name} ({self.dst.ip})",
                next_step="look at the flows of both hosts: hoverboard up demo, then hoverboard flows HOST",
            )
        return result

    def offloaded(self) -> float | None:
        """When the control plane offloaded the pair (Unix epoch, seconds); None if it is not offloaded."""
        src, dst = self.src, self.dst
        return next(
            (
                float(entry["since"])
                for entry in self.testbed.offloads()
                if entry["network"] == src.network
                and entry["src"] in (src.name, str(src.ip))
                and entry["dst"] in (dst.name, str(dst.ip))
            ),
            None,
        )

    def relayed(self) -> int:
        """Bytes that all Hoverboards have received so far."""
        names = [server.name for server in self.testbed.topology.hoverboards]
        return sum(int(self.clients[name].status()["counters"]["rx_bytes"]) for name in names)


def _ping_briefly(testbed: Testbed, source: str, address: str) -> PingResult:
    """Send three small pings, which keep the pair far below the offload threshold."""
    return ping.measure(testbed.node(source), address, count=3, size=ping.SMALL)


def _ping_matrix(testbed: Testbed) -> tuple[PingCell, ...]:
    """Ping from each VM to each other VM of its tenant."""
    pairs = [
        (network.name, src, dst)
        for network in testbed.topology.networks
        for src in network.vms
        for dst in network.vms
        if src.name != dst.name
    ]
    with ThreadPoolExecutor(_PINGS_AT_ONCE) as pool:
        results = pool.map(lambda pair: _ping_briefly(testbed, pair[1].name, str(pair[2].ip)), pairs)
        return tuple(
            PingCell(network, src.name, dst.name, result.sent, result.received, result.min_ms)
            for (network, src, dst), result in zip(pairs, results, strict=True)
        )


def _prove_isolation(testbed: Testbed) -> tenant_isolation.Isolation:
    """Ping a shared and a foreign address, from each of the first two networks to the other."""
    one, two = testbed.topology.networks[:2]
    same = []
    for mine, other in ((one, two), (two, one)):
        owners = {vm.ip: vm for vm in other.vms}
        source = mine.vms[0]
        targets = [
            (str(vm.ip), vm.name, testbed.node(vm.name), owners[vm.ip].name, testbed.node(owners[vm.ip].name))
            for vm in mine.vms[1:]
            if vm.ip in owners
        ]
        same += tenant_isolation.same_address(mine.name, (source.name, testbed.node(source.name)), targets)
    foreign = [_ping_foreign_address(testbed, mine.name, other.name) for mine, other in ((one, two), (two, one))]
    return tenant_isolation.Isolation(tuple(same), tuple(foreign))


def _ping_foreign_address(testbed: Testbed, tenant: str, owner_tenant: str) -> tenant_isolation.ForeignAddress:
    """Add a VM to `owner_tenant` at an address that no other VM has, ping it from `tenant`, and remove it."""
    networks = {network.name: network for network in testbed.topology.networks}
    source, inside = networks[tenant].vms[0], networks[owner_tenant].vms[0]
    owner = testbed.add_vm(owner_tenant, f"{owner_tenant}-only", networks[owner_tenant].vms[-1].host)
    try:
        return tenant_isolation.foreign_address(
            tenant,
            (source.name, testbed.node(source.name)),
            (owner.name, owner_tenant, testbed.node(owner.name)),
            testbed.node(inside.name),
            str(owner.ip),
        )
    finally:
        testbed.remove_vm(owner.name)


def _await_report(client: HostClient) -> None:
    """Wait until the host begins a new report interval, which shows when the time left of it grows."""
    first = left = client.status()["next_report_seconds"]

    def reported() -> bool:
        nonlocal left
        before, left = left, client.status()["next_report_seconds"]
        return bool(left > before)

    wait_for(reported, first + _REPORT_GRACE, lambda: "a usage report of the sending host")


def _follow_flow(flow: _Flow, spec: DemoSpec) -> Timeline:
    """Follow one TCP stream from before its first packet until after its last.

    It starts right after a usage report of the sending host, so that the flow stays on the Hoverboard for a full report
    interval.
    """
    client = flow.clients[flow.src.host]
    _await_report(client)
    measured = IperfSpec(seconds=spec.follow_seconds, interval=spec.sample_interval)
    hoverboards = [str(server.underlay_ip) for server in flow.testbed.topology.hoverboards]
    sampler = PathSampler(
        flow.vni, str(flow.src.ip), str(flow.dst.ip), hoverboards, client.flows, flow.offloaded, spec.sample_interval
    )
    with sampler, iperf.started(flow.source, flow.target, str(flow.dst.ip), measured) as running:
        result = running.wait()
    return replace(sampler.timeline(), iperf=result)


def _measure_throughput(flow: _Flow, spec: DemoSpec, streams: int) -> Throughput:
    measured = IperfSpec(seconds=spec.seconds, streams=streams, omit=spec.omit)
    before = flow.relayed()
    result = iperf.measure(flow.source, flow.target, str(flow.dst.ip), measured)
    return Throughput(streams, result, flow.relayed() - before)
