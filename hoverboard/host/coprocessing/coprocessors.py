"""The coprocessors of one host: which flows use them, a thread for each VM that needs one, and what they cost.

A VM gets its thread when the first flow that has a stage misses (paper section 4.4), and loses it when it
is unplugged. Everything here is called by the host's control thread.
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
from hoverboard.host.coprocessing.blocked_sources import Blocks
from hoverboard.host.coprocessing.flow_stages import MOST_CHAINS, MOST_EVERY, NOTHING, Treatment
from hoverboard.host.coprocessing.rings import EngineBell, RingSink, RingSource, Way

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import Coprocessor


_STOP_TIMEOUT = 1.0  # a stage that does not return keeps its thread, not the host
_NO_CHAIN = -1  # what cannot be made: the worker drops by reason, for no packet may pass a stage that is not there
_log = logging.getLogger("hoverboard.coprocessor")


@dataclass(frozen=True)
class CoprocessorConfig:
    """What a run tells its hosts.

    Attributes:
        policy: which flows use which stages.
        regions: of hosts, by underlay address; static for the life of a host process.
        relays: underlay addresses of Hoverboards.
        secret: at least 16 bytes, the same on all hosts.
        run, node: names.
        announce: called with the path of a cgroup that is about to be made.
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
        """From HostConfig.coprocessors: {rules, regions: {address: region}, relays: [address], secret: file}."""
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
    """The coprocessor of a VM, with what it shares with the engines.

    Attributes:
        lent: the engines' number of the bell.
    """

    worker: Worker
    source: RingSource
    sink: RingSink
    bell: EngineBell
    lent: int


@dataclass
class _ServedVm:
    """A VM, and its coprocessor once it has one."""

    vm: str
    network: str
    port: int
    ofport: int
    running: _Running | None = None
    ways: list[Way] = field(default_factory=list)
    numbers: dict[Way, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)


class Coprocessors:
    """All coprocessors of one host.

    Args:
        datapath: whose rings they use.
        local: underlay address of the host.
    """

    def __init__(self, datapath: Datapath, local: IPv4Address, config: CoprocessorConfig) -> None:
        self._datapath, self._local, self._config = datapath, local, config
        self._registry = Registry()
        for spec in config.policy.stages:
            self._registry.check(spec.stage, spec.settings)
        self._guests: dict[int, _ServedVm] = {}  # by OpenFlow port
        self.blocks = Blocks()

    def attach(self, vm: str, network: str, port: int, ofport: int) -> None:
        """A VM is there; it costs nothing until a flow of it has a stage."""
        self._guests[ofport] = _ServedVm(vm, network, port, ofport)

    def treatment(
        self, direction: Direction, ofport: int, remote: Address, vni: int, peer: IPv4Address | None
    ) -> Treatment:
        """What the flow-table entry of a flow of the VM on `ofport` says of that VM's part.

        Args:
            remote: inner address of the other end.
            peer: underlay address of the other host; None when the other end is on this one.
        """
        guest = self._guests.get(ofport)
        if guest is None:
            return NOTHING
        if direction == "ingress" and (ofport, remote) in self.blocks:
            return Treatment(drop=reasons.NAMES[reasons.BLOCKED])
        regions = self._config.regions
        facts = FlowFacts(
            guest.vm, guest.network, direction, remote, peer,
            regions.get(self._local), regions.get(peer) if peer is not None else None,
        )  # fmt: skip
        specs, looking, every = self._sorted(self._config.policy.chain(facts), direction)
        if not specs and not looking:
            return NOTHING
        if guest.running is None:
            guest.running = self._start(guest)
        worker = guest.running.worker
        chain = self._chain(guest, worker, specs)
        sampled = self._chain(guest, worker, looking)
        way = Way(chain, direction, vni, peer, peer in self._config.relays, sampled, every)
        if way not in guest.numbers:
            if len(guest.ways) > MOST_CHAINS:
                self._tell(guest, f"there are more than {MOST_CHAINS} combinations of stages and hosts")
                return Treatment(drop=reasons.NAMES[reasons.UNCACHEABLE])
            guest.ways.append(way)  # before anybody is told its number
            guest.numbers[way] = len(guest.ways) - 1
        return Treatment(guest.numbers[way], bool(specs), every)

    def _sorted(
        self, chain: tuple[StageSpec, ...], direction: Direction
    ) -> tuple[tuple[StageSpec, ...], tuple[StageSpec, ...], int]:
        """(stages that packets pass, stages that look at samples, one packet in how many: the finest)."""
        asked = {spec: self._registry.sampling(spec.stage, spec.settings, direction) for spec in chain}
        looking = tuple(spec for spec in chain if asked[spec])
        every = min((asked[spec] or MOST_EVERY for spec in looking), default=0)
        return tuple(spec for spec in chain if asked[spec] is None), looking, min(every, MOST_EVERY)

    def _chain(self, guest: _ServedVm, worker: Worker, specs: tuple[StageSpec, ...]) -> int:
        try:
            return worker.chains.add(specs)
        except InputError as error:
            self._tell(guest, str(error))
            return _NO_CHAIN

    def _tell(self, guest: _ServedVm, what: str) -> None:
        if what not in guest.told:
            guest.told.add(what)
            _log.error("VM %s: packets that need this stage are dropped: %s", guest.vm, what)

    def _start(self, guest: _ServedVm) -> _Running:
        memories, lock = self._datapath.memories, threading.Lock()
        config = self._config
        name = f"hoverboard-{config.run}-{config.node}-{guest.vm}"
        planned = cpu_account.planned_cgroup(name)
        if planned is not None:
            config.announce(planned)
        bell = EngineBell(memories, guest.port)
        sink = RingSink(memories, guest.port, self._datapath.wake, lock)
        source = RingSource(memories, guest.port, guest.ways, sink.flush, lock)
        context = StageContext(
            vm=guest.vm,
            host=config.node,
            local=self._local,
            number=guest.ofport,
            secret=config.secret,
            region_of=config.regions.get,
            block=partial(self.blocks.ask, guest.ofport),
        )
        worker = Worker(context, source, sink, bell, registry=self._registry, account=cpu_account.choose_account(name))
        lent = self._datapath.share_fd(bell.fd)
        memories[0].host[host.SIDES] += 1
        worker.start()
        for memory in memories:
            memory.side_wake[guest.port, rings.COPROCESSOR_FD] = lent
        return _Running(worker, source, sink, bell, lent)

    def detach(self, ofport: int) -> None:
        """A VM goes, and its entries have gone: end its thread, and leave its rings empty."""
        guest = self._guests.pop(ofport, None)
        self.blocks.forget(ofport)
        if guest is None or guest.running is None:
            return
        running = guest.running
        memories = self._datapath.memories
        for memory in memories:
            memory.side_wake[guest.port, rings.COPROCESSOR_FD] = -1
        self._datapath.command(control.CMD_PORT)  # past it, no engine pushes or rings
        ended = running.worker.stop(_STOP_TIMEOUT)
        # Also of a thread that hangs in a stage: whenever it comes back, it touches nothing.
        running.source.close()
        running.sink.close()
        running.source.drain()
        # An engine carries out a command, then takes what was given back; the second answer is behind the first taking.
        self._datapath.command(control.CMD_PORT)
        self._datapath.command(control.CMD_PORT)
        memories[0].host[host.SIDES] -= 1
        self._datapath.unshare_fd(running.lent)
        for memory in memories:
            memory.samples[guest.port] = 0
        if ended:
            running.bell.close()
        else:
            _log.error("VM %s: a stage does not return; its thread is left behind", guest.vm)

    def close(self) -> None:
        """The host ends: end all threads."""
        for ofport in list(self._guests):
            self.detach(ofport)
        self.blocks.close()

    def status(self) -> dict[str, Coprocessor]:
        """By VM: worker.Worker.status(), drops of the way back among its drops; samples_lost: copies that the fast path
        had no room for; blocked: sources.
        """
        found: dict[str, Coprocessor] = {}
        for guest in self._guests.values():
            if guest.running is not None:
                said = guest.running.worker.status()
                said["drops"] = {**said["drops"], **guest.running.sink.drops}
                said["samples_lost"] = sum(
                    int(m.samples[guest.port, rings.SAMPLES_LOST]) for m in self._datapath.memories
                )
                said["blocked"] = self.blocks.of(guest.ofport)
                found[guest.vm] = cast("Coprocessor", said)
        return found

    def drops(self) -> dict[str, int]:
        """By reason, over all VMs."""
        total: dict[str, int] = {}
        for said in self.status().values():
            for reason, count in said["drops"].items():
                total[reason] = total.get(reason, 0) + count
        return total
