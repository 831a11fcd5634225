"""The coprocessors of one host: the stages of each flow, a thread for each VM that needs one, and their cost.

A VM gets its thread when the first flow with a stage misses (paper section 4.4), and loses it when it is unplugged.
The host's control thread makes all calls.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hoverboard.contract.errors import InputError
from hoverboard.contract.packets import Address
from hoverboard.coprocessor import cpu_account
from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage import Direction, StageContext
from hoverboard.coprocessor.stage_policy import FlowFacts, StagePolicy, StageSpec
from hoverboard.coprocessor.worker import Worker
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import control, host, reasons, rings
from hoverboard.host.coprocessing.blocked_sources import BlockedSources
from hoverboard.host.coprocessing.flow_stages import MOST_CHAINS, MOST_EVERY, NO_STAGES, FlowStages
from hoverboard.host.coprocessing.rings import DivertedFlow, EngineBell, RingSink, RingSource

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import Coprocessor


_STOP_TIMEOUT = 1.0  # a stage that does not return keeps its thread, not the host
_NO_CHAIN = -1  # the chain cannot be made: the worker drops by reason, because no packet may skip a stage
_log = logging.getLogger("hoverboard.coprocessor")


@dataclass(frozen=True)
class CoprocessorConfig:
    """The coprocessor settings of a run, for one host.

    Attributes:
        policy: the stages of each flow.
        regions: region of each host, by underlay address; fixed for the life of a host process.
        relays: underlay addresses of Hoverboards.
        secret: at least 16 bytes, the same on all hosts.
        run, node: names.
        announce: called with the path of a cgroup just before it is made.
    """

    policy: StagePolicy
    regions: Mapping[IPv4Address, str | None] = field(default_factory=dict)
    relays: frozenset[IPv4Address] = frozenset()
    secret: bytes = field(default=b"", repr=False)
    run: str = "run"
    node: str = "node"
    announce: Callable[[Path], None] = lambda _path: None

    @classmethod
    def read(cls, given: Mapping[str, Any], run: str, node: str, announce: Callable[[Path], None]) -> CoprocessorConfig:
        """Read HostConfig.coprocessors: {rules, regions: {address: region}, relays: [address], secret: file}."""
        return cls(
            policy=StagePolicy.read(given["rules"], where="stages"),
            regions={IPv4Address(address): region for address, region in given["regions"].items()},
            relays=frozenset(IPv4Address(address) for address in given["relays"]),
            secret=Path(given["secret"]).read_bytes(),
            run=run,
            node=node,
            announce=announce,
        )


@dataclass(frozen=True)
class _Running:
    """The coprocessor of a VM, with its rings and bell.

    Attributes:
        engine_bell_fd: the bell's descriptor number in the engines' process.
    """

    worker: Worker
    source: RingSource
    sink: RingSink
    bell: EngineBell
    engine_bell_fd: int


@dataclass
class _ServedVm:
    """A VM, with its coprocessor once it has one."""

    name: str
    network: str
    port: int
    ofport: int
    running: _Running | None = None
    flows: list[DivertedFlow] = field(default_factory=list)
    numbers: dict[DivertedFlow, int] = field(default_factory=dict)
    logged: set[str] = field(default_factory=set)


class Coprocessors:
    """All coprocessors of one host.

    Args:
        datapath: the engines whose rings they use.
        local: underlay address of the host.
    """

    def __init__(self, datapath: Datapath, local: IPv4Address, config: CoprocessorConfig) -> None:
        self._datapath, self._local, self._config = datapath, local, config
        self._registry = Registry()
        for spec in config.policy.stages:
            self._registry.check(spec.stage, spec.settings)
        self._vms: dict[int, _ServedVm] = {}  # by OpenFlow port
        self.blocked_sources = BlockedSources()

    def attach(self, vm: str, network: str, port: int, ofport: int) -> None:
        """Add a VM; it gets a thread only when a flow of it has a stage."""
        self._vms[ofport] = _ServedVm(vm, network, port, ofport)

    def stages_of(
        self, direction: Direction, ofport: int, remote: Address, vni: int, peer: IPv4Address | None
    ) -> FlowStages:
        """One VM's part of the stages of a flow, for the flow-table entry.

        Args:
            direction: "egress" if the VM sends the flow's packets, "ingress" if it receives them.
            ofport: OpenFlow port of the VM.
            remote: inner address of the other end.
            vni: VNI of the packets, 24 bits.
            peer: underlay address of the other host or of a Hoverboard; None when the other end is on this host.
        """
        vm = self._vms.get(ofport)
        if vm is None:
            return NO_STAGES
        if direction == "ingress" and (ofport, remote) in self.blocked_sources:
            return FlowStages(drop=reasons.NAMES[reasons.BLOCKED])
        regions = self._config.regions
        facts = FlowFacts(
            vm.name, vm.network, direction, remote, peer,
            regions.get(self._local), regions.get(peer) if peer is not None else None,
        )  # fmt: skip
        specs, sampling, every = self._sorted(self._config.policy.chain(facts), direction)
        if not specs and not sampling:
            return NO_STAGES
        if vm.running is None:
            vm.running = self._start(vm)
        worker = vm.running.worker
        chain = self._chain(vm, worker, specs)
        sampled = self._chain(vm, worker, sampling)
        flow = DivertedFlow(chain, direction, vni, peer, peer in self._config.relays, sampled, every)
        if flow not in vm.numbers:
            if len(vm.flows) > MOST_CHAINS:
                self._log_once(vm, f"there are more than {MOST_CHAINS} combinations of stages and hosts")
                return FlowStages(drop=reasons.NAMES[reasons.UNCACHEABLE])
            vm.flows.append(flow)  # before its number is in an entry
            vm.numbers[flow] = len(vm.flows) - 1
        return FlowStages(vm.numbers[flow], bool(specs), every)

    def _sorted(
        self, chain: tuple[StageSpec, ...], direction: Direction
    ) -> tuple[tuple[StageSpec, ...], tuple[StageSpec, ...], int]:
        """(stages that packets pass, stages that get samples, sampling interval in packets: the smallest)."""
        asked = {spec: self._registry.sampling(spec.stage, spec.settings, direction) for spec in chain}
        sampling = tuple(spec for spec in chain if asked[spec])
        every = min((asked[spec] or MOST_EVERY for spec in sampling), default=0)
        return tuple(spec for spec in chain if asked[spec] is None), sampling, min(every, MOST_EVERY)

    def _chain(self, vm: _ServedVm, worker: Worker, specs: tuple[StageSpec, ...]) -> int:
        try:
            return worker.chains.add(specs)
        except InputError as error:
            self._log_once(vm, str(error))
            return _NO_CHAIN

    def _log_once(self, vm: _ServedVm, what: str) -> None:
        if what not in vm.logged:
            vm.logged.add(what)
            _log.error("VM %s: packets that need this stage are dropped: %s", vm.name, what)

    def _start(self, vm: _ServedVm) -> _Running:
        memories, lock = self._datapath.memories, threading.Lock()
        config = self._config
        name = f"hoverboard-{config.run}-{config.node}-{vm.name}"
        planned = cpu_account.planned_cgroup(name)
        if planned is not None:
            config.announce(planned)
        bell = EngineBell(memories, vm.port)
        sink = RingSink(memories, vm.port, self._datapath.wake, lock)
        source = RingSource(memories, vm.port, vm.flows, sink.flush, lock)
        context = StageContext(
            vm=vm.name,
            host=config.node,
            local=self._local,
            number=vm.ofport,
            secret=config.secret,
            region_of=config.regions.get,
            block=partial(self.blocked_sources.block, vm.ofport),
        )
        worker = Worker(context, source, sink, bell, registry=self._registry, account=cpu_account.choose_account(name))
        engine_bell_fd = self._datapath.share_fd(bell.fd)
        memories[0].host[host.SIDES] += 1
        worker.start()
        for memory in memories:
            memory.side_wake[vm.port, rings.COPROCESSOR_FD] = engine_bell_fd
        return _Running(worker, source, sink, bell, engine_bell_fd)

    def detach(self, ofport: int) -> None:
        """End a VM's thread and empty its rings; its entries are removed already."""
        vm = self._vms.pop(ofport, None)
        self.blocked_sources.forget(ofport)
        if vm is None or vm.running is None:
            return
        running = vm.running
        memories = self._datapath.memories
        for memory in memories:
            memory.side_wake[vm.port, rings.COPROCESSOR_FD] = -1
        self._datapath.command(control.CMD_PORT)  # after it, no engine pushes to the rings or rings the bell
        ended = running.worker.stop(_STOP_TIMEOUT)
        # Even if the thread hangs in a stage and returns later, it touches no ring then.
        running.source.close()
        running.sink.close()
        running.source.drain()
        # An engine carries out a command, then takes returned packets; the second answer comes after the first taking.
        self._datapath.command(control.CMD_PORT)
        self._datapath.command(control.CMD_PORT)
        memories[0].host[host.SIDES] -= 1
        self._datapath.unshare_fd(running.engine_bell_fd)
        for memory in memories:
            memory.samples[vm.port] = 0
        if ended:
            running.bell.close()
        else:
            _log.error("VM %s: a stage does not return; its thread stays, without packets", vm.name)

    def close(self) -> None:
        """End all threads: the host process ends."""
        for ofport in list(self._vms):
            self.detach(ofport)
        self.blocked_sources.close()

    def status(self) -> dict[str, Coprocessor]:
        """Status by VM: worker.Worker.status() plus three keys.

        Its drops include those on the way back to the engines. samples_lost: copies that found no room in the ring.
        blocked: sources.
        """
        found: dict[str, Coprocessor] = {}
        for vm in self._vms.values():
            if vm.running is not None:
                status = vm.running.worker.status()
                status["drops"] = {**status["drops"], **vm.running.sink.drops}
                status["samples_lost"] = sum(
                    int(m.samples[vm.port, rings.SAMPLES_LOST]) for m in self._datapath.memories
                )
                status["blocked"] = self.blocked_sources.sources(vm.ofport)
                found[vm.name] = cast("Coprocessor", status)
        return found

    def drops(self) -> dict[str, int]:
        """Drops by reason, over all VMs."""
        total: dict[str, int] = {}
        for status in self.status().values():
            for reason, count in status["drops"].items():
                total[reason] = total.get(reason, 0) + count
        return total
