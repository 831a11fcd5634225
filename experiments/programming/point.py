"""One point of programming n VMs on h hosts, in a process of its own so that its peak memory is its own.

`python -m experiments.programming.point REQUEST POINT`: reads the serialized FullUpdate request from the
file REQUEST, programs the switches as the control plane does, prints what it cost as JSON. What runs
is the fabric manager's store, one VM controller that owns all hosts, and the front end's encoder or,
with real switches, the whole front end; gRPC's own transport is left out.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.fm.codec import decode_entity, encode_entity
from controllers.fm.intent_store import IntentStore
from controllers.gc_pause import gc_paused
from controllers.ofe import openflow
from controllers.ofe.switch_interface import SwitchSession
from controllers.ofe.switch_server import FrontEnd
from controllers.ofe.templates import FlowModEncoder
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Sync
from experiments.programming.sink import Sink, total
from experiments.programming.switches import Bridges
from experiments.programming.world import Cluster
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Host, Hoverboard
from hoverboard.contract.wire import fabric_pb2 as pb

_CONNECT_TIMEOUT = 120.0
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Point:
    """What is measured.

    Attributes:
        switches: "sink" or "ovs".
        more: how many VMs to add one by one afterwards.
    """

    model: str
    vms: int
    hosts: int
    hoverboards: int = 1
    switches: str = "sink"
    more: int = 0

    @property
    def cluster(self) -> Cluster:
        """Its cluster."""
        return Cluster(self.vms, self.hosts, self.hoverboards)


class _Events:
    """Passes on what switches say, and counts those that are there."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.connected = 0

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        self.connected += 1
        self._controller.switch_connected(session, ports)

    def switch_disconnected(self, session: SwitchSession) -> None:
        self.connected -= 1
        self._controller.switch_disconnected(session)

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        self._controller.port_changed(session, name, port)

    def packet_in(self, session: SwitchSession, packet: object) -> None:
        """No packets flow here."""


class _Run:
    """A fabric manager and a VM controller without their doors."""

    def __init__(self, point: Point) -> None:
        self.cluster = point.cluster
        self.fabric = IntentStore()
        self.core = ControllerCore(model_named(point.model), policy := OffloadPolicy())
        self.controller = Controller(self.core, policy)
        self.sinks: dict[str, Sink] = {}
        self.bytes = 0

    def nodes(self) -> list[Host | Hoverboard]:
        """All switches' nodes."""
        return [
            *map(self.cluster.host, range(self.cluster.hosts)),
            *map(self.cluster.hoverboard, range(self.cluster.hoverboards)),
        ]

    def hoverboards(self) -> frozenset[str]:
        """Names of the nodes that relay for others."""
        return frozenset(node.name for node in self.nodes() if isinstance(node, Hoverboard))

    def connect_sinks(self) -> None:
        """Every switch is there, with its vports."""
        encoder = FlowModEncoder(openflow.serialize_flow_mod)
        for number, node in enumerate(self.nodes()):
            sink = self.sinks[node.name] = Sink(datapath_id(node.underlay_ip), encoder)
            on_host = isinstance(node, Host)
            self.controller.switch_connected(sink, self.cluster.ports(number) if on_host else {})

    def hello(self) -> None:
        """Every agent is there."""
        for number in range(self.cluster.hosts):
            self.controller.agent_hello(f"h{number}", self.cluster.bindings(number))
        for name in sorted(self.hoverboards()):
            self.controller.agent_hello(name, {})

    async def full_update(self, raw: bytes) -> dict[str, float]:
        """From the request's bytes to programmed switches; seconds of each phase."""
        clock = time.perf_counter
        times = [clock()]
        with gc_paused():
            entities = [decode_entity(message) for message in pb.FullUpdateRequest.FromString(raw).entities]
            times.append(clock())
            changes = self.fabric.full_update(entities)
            times.append(clock())
            await self.controller.changed(changes, complete=True)
            await self.programmed()
        times.append(clock())
        phases = [after - before for before, after in zip(times, times[1:], strict=False)]
        return {
            "decode": phases[0], "validate": phases[1], "program": phases[2], "all": times[-1] - times[0],
        }  # fmt: skip

    async def programmed(self) -> None:
        """Return when every switch holds what it should."""
        while True:
            switches = self.core.switches.values()
            if all(switch.sync is Sync.SYNCED and not switch.outstanding for switch in switches):
                return
            await asyncio.sleep(0.002)

    async def add_vms(self, count: int) -> list[float]:
        """Processor seconds that each of `count` VMs more costs, from its request's bytes to its host's switch."""
        costs = []
        for number in range(self.cluster.vms, self.cluster.vms + count):
            vm = self.cluster.vm(number)
            raw = pb.DiffRequest(upsert=[encode_entity(vm)]).SerializeToString()
            dpid = self.core.switches[datapath_id(self.cluster.host(number % self.cluster.hosts).underlay_ip)].dpid
            begun = time.process_time()
            entities = [decode_entity(message) for message in pb.DiffRequest.FromString(raw).upsert]
            await self.controller.changed(self.fabric.diff(entities, []), complete=True)
            self.controller.agent_bound(vm.host, vm.name, f"vp{number}")
            self.core.port_changed(dpid, f"vp{number}", 10_000 + number)
            _, sending = self.controller.flush()
            await asyncio.gather(*sending)
            costs.append(time.process_time() - begun)
        return costs


def resident_mib() -> float:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20


def peak_mib() -> float:
    """The most it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(point: Point, request: Path) -> dict[str, Any]:
    """Program the switches of a point."""
    run = _Run(point)
    if point.switches == "sink":
        run.connect_sinks()
        run.hello()
        figures = await _programmed(run, request)
        held = {name: sink.flows for name, sink in run.sinks.items()}
        figures |= total(run.sinks.values())
        figures["flows_by_class"] = _by_class(held, run.hoverboards())
        if point.more:
            costs = await run.add_vms(point.more)
            figures["one_more"] = {"median": statistics.median(costs), "samples": costs}
        return figures
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as directory:
        return await _on_bridges(run, request, Path(directory))


async def _programmed(run: _Run, request: Path) -> dict[str, Any]:
    raw = request.read_bytes()
    await asyncio.sleep(0)
    gc.collect()
    before, cpu = resident_mib(), time.process_time()
    seconds = await run.full_update(raw)
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


async def _on_bridges(run: _Run, request: Path, directory: Path) -> dict[str, Any]:
    events = _Events(run.controller)
    front_end = FrontEnd(directory / "control.sock", events)
    await front_end.start()
    bridges = Bridges(directory, directory / "control.sock")
    try:
        ports = {f"h{number}": run.cluster.ports(number) for number in range(run.cluster.hosts)}
        nodes = run.nodes()
        await asyncio.to_thread(
            bridges.make, {node.name: (datapath_id(node.underlay_ip), ports.get(node.name, {})) for node in nodes}
        )
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            while events.connected < len(nodes):
                await asyncio.sleep(0.01)
        run.hello()
        switch_cpu = bridges.cpu_seconds()
        figures = await _programmed(run, request)
        figures["switch_cpu_seconds"] = bridges.cpu_seconds() - switch_cpu
        held = {node.name: await asyncio.to_thread(bridges.flow_count, node.name) for node in nodes}
        figures["flows"] = sum(held.values())
        figures["flows_by_class"] = _by_class(held, run.hoverboards())
        return figures
    finally:
        await front_end.stop()
        await asyncio.to_thread(bridges.close)


def _by_class(held: Mapping[str, int], hoverboards: frozenset[str]) -> dict[str, dict[str, int]]:
    hosts = [count for name, count in held.items() if name not in hoverboards]
    relays = [count for name, count in held.items() if name in hoverboards]
    return {
        kind: {"switches": len(counts), "flows": sum(counts), "largest": max(counts, default=0)}
        for kind, counts in (("host", hosts), ("hoverboard", relays))
    }


def main() -> None:
    """One point, as JSON."""
    gc.set_threshold(100_000, 20, 100)  # as the control plane's process does
    point = Point(**json.loads(sys.argv[2]))
    print(json.dumps(asyncio.run(measure(point, Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
