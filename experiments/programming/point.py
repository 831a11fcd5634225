"""Programs n VMs on h hosts once, in a separate process, so that the peak memory is that of this point alone.

`python -m experiments.programming.point REQUEST POINT` reads the serialized FullUpdate request from the file
REQUEST, programs the switches as the control plane does, and prints the cost as JSON. It runs the fabric
manager's store, one VM controller that owns all hosts, and the front end's encoder. With real switches it
runs the whole front end. It does not use gRPC's transport.
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
from experiments.programming.ovs_bridges import Bridges
from experiments.programming.recording_switch import RecordingSwitch, total
from experiments.programming.scaled_cluster import Cluster
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Host, Hoverboard
from hoverboard.contract.wire import fabric_pb2 as pb

_CONNECT_TIMEOUT = 120.0
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Point:
    """The settings of a measurement.

    Attributes:
        model: the programming model.
        switches: "sink" (recording switches) or "ovs".
        more: the number of VMs to add one by one afterwards.
    """

    model: str
    vms: int
    hosts: int
    hoverboards: int = 1
    switches: str = "sink"
    more: int = 0

    @property
    def cluster(self) -> Cluster:
        """The cluster of this point."""
        return Cluster(self.vms, self.hosts, self.hoverboards)


class _Events:
    """Passes the events of switches to the controller, and counts the connected switches."""

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
        """Do nothing: no packets flow here."""


class _ControlPlane:
    """A fabric manager and a VM controller without their endpoints."""

    def __init__(self, point: Point) -> None:
        self.cluster = point.cluster
        self.fabric = IntentStore()
        self.core = ControllerCore(model_named(point.model), OffloadPolicy())
        self.controller = Controller(self.core)
        self.recording: dict[str, RecordingSwitch] = {}
        self.bytes = 0

    def nodes(self) -> list[Host | Hoverboard]:
        """The nodes of all switches."""
        return [
            *map(self.cluster.host, range(self.cluster.hosts)),
            *map(self.cluster.hoverboard, range(self.cluster.hoverboards)),
        ]

    def hoverboards(self) -> frozenset[str]:
        """The names of the Hoverboards."""
        return frozenset(node.name for node in self.nodes() if isinstance(node, Hoverboard))

    def connect_recording_switches(self) -> None:
        """Connect a recording switch with its vports for every node."""
        encoder = FlowModEncoder(openflow.serialize_flow_mod)
        for number, node in enumerate(self.nodes()):
            switch = self.recording[node.name] = RecordingSwitch(datapath_id(node.underlay_ip), encoder)
            on_host = isinstance(node, Host)
            self.controller.switch_connected(switch, self.cluster.ports(number) if on_host else {})

    def connect_agents(self) -> None:
        """Connect the agent of every node."""
        for number in range(self.cluster.hosts):
            self.controller.agent_hello(f"h{number}", self.cluster.bindings(number))
        for name in sorted(self.hoverboards()):
            self.controller.agent_hello(name, {})

    async def full_update(self, raw: bytes) -> dict[str, float]:
        """Run a full update from the bytes of the request to programmed switches. Returns the seconds of each phase."""
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
        """Wait until every switch has its program."""
        while True:
            switches = self.core.switches.values()
            if all(switch.sync is Sync.SYNCED and not switch.outstanding for switch in switches):
                return
            await asyncio.sleep(0.002)

    async def add_vms(self, count: int) -> list[float]:
        """Add `count` VMs. Returns the processor seconds of each, from the request's bytes to its host's switch."""
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
    """The memory that this process uses now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20


def peak_mib() -> float:
    """The largest amount of memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(point: Point, request: Path) -> dict[str, Any]:
    """Program the switches of a point, and give the figures. `request`: the file with the FullUpdate request."""
    plane = _ControlPlane(point)
    if point.switches == "sink":
        plane.connect_recording_switches()
        plane.connect_agents()
        figures = await _programmed(plane, request)
        held = {name: switch.flows for name, switch in plane.recording.items()}
        figures |= total(plane.recording.values())
        figures["flows_by_class"] = _by_class(held, plane.hoverboards())
        if point.more:
            costs = await plane.add_vms(point.more)
            figures["one_more"] = {"median": statistics.median(costs), "samples": costs}
        return figures
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as directory:
        return await _on_bridges(plane, request, Path(directory))


async def _programmed(plane: _ControlPlane, request: Path) -> dict[str, Any]:
    raw = request.read_bytes()
    await asyncio.sleep(0)
    gc.collect()
    before, cpu = resident_mib(), time.process_time()
    seconds = await plane.full_update(raw)
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


async def _on_bridges(plane: _ControlPlane, request: Path, directory: Path) -> dict[str, Any]:
    events = _Events(plane.controller)
    front_end = FrontEnd(directory / "control.sock", events)
    await front_end.start()
    bridges = Bridges(directory, directory / "control.sock")
    try:
        ports = {f"h{number}": plane.cluster.ports(number) for number in range(plane.cluster.hosts)}
        nodes = plane.nodes()
        await asyncio.to_thread(
            bridges.make, {node.name: (datapath_id(node.underlay_ip), ports.get(node.name, {})) for node in nodes}
        )
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            while events.connected < len(nodes):
                await asyncio.sleep(0.01)
        plane.connect_agents()
        switch_cpu = bridges.cpu_seconds()
        figures = await _programmed(plane, request)
        figures["switch_cpu_seconds"] = bridges.cpu_seconds() - switch_cpu
        held = {node.name: await asyncio.to_thread(bridges.flow_count, node.name) for node in nodes}
        figures["flows"] = sum(held.values())
        figures["flows_by_class"] = _by_class(held, plane.hoverboards())
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
    """Measure one point, and print it as JSON."""
    gc.set_threshold(100_000, 20, 100)  # as in the control plane's process
    point = Point(**json.loads(sys.argv[2]))
    print(json.dumps(asyncio.run(measure(point, Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
