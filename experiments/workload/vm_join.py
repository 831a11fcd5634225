"""VMs join a running network. Measures the time until each VM answers a VM on another host.

Most VMs of a large network are intent only: the fabric manager has them, but they have no namespace. The timed VMs are
real. To time the control plane alone, their namespace and NIC are made before (`prebuilt_vms`).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from hoverboard.contract.entities import VM
from hoverboard.contract.errors import MeasurementError
from topologies.changes import placement
from topologies.emulation.ping import wait_answers
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed
from topologies.spec.topology import NetworkSpec, VMSpec

PING_INTERVAL = 0.005  # seconds; shorter than the measured times
BURST_INTERVAL = 0.02  # seconds, to each of many VMs; more pings would be a load themselves
ANSWER_TIMEOUT = 20.0
_SETTLED_TIMEOUT = 60.0
# Entities without a namespace take addresses from here. Real VMs take the first free ones below.
_FIRST_ENTITY = 1 << 12


@dataclass(frozen=True, slots=True)
class Answer:
    """The times of one added VM, in milliseconds from the start of the request.

    Attributes:
        answered: the first ping from a VM on another host was answered.
        done: the request returned.
    """

    answered: float
    done: float


def entities(network: NetworkSpec, hosts: list[str]) -> Iterator[VM]:
    """An endless sequence of VMs that are intent only, placed on the hosts in turn."""
    base = int(network.subnets[0].prefix.network_address) + _FIRST_ENTITY
    for number, host in zip(itertools.count(), itertools.cycle(hosts), strict=False):
        yield network.vm(f"{network.name}-intent-{number}", host, IPv4Address(base + number)).entity()


def load_intent(testbed: Testbed, vms: Sequence[VM], gone: Sequence[VM] = ()) -> float:
    """Add and remove VMs of the intent; `gone` are removed. Returns the seconds until all switches are programmed."""
    servers = {server.name for server in testbed.topology.servers}
    begun = time.monotonic()
    testbed.intent.diff(upsert=vms, remove=gone)
    wait_for(
        lambda: testbed.program_state().programmed >= servers, _SETTLED_TIMEOUT, lambda: "switches are not programmed"
    )
    return time.monotonic() - begun


def time_join(testbed: Testbed, request: Callable[[], object], spec: VMSpec | None = None) -> Answer:
    """Time a request that makes the VM `spec` reachable (default: the next VM that `add_vm` would plan).

    A VM on another host pings it from the start, before it exists. This is the harder case: every
    switch on the way has already cached that the address is unknown.
    """
    if spec is None:
        spec = placement.plan_vm(testbed.topology, testbed.topology.networks[0].name)
    return time_joins(testbed, request, [spec])[0]


def time_joins(
    testbed: Testbed, request: Callable[[], object], specs: Sequence[VMSpec], interval: float = PING_INTERVAL
) -> list[Answer]:
    """Time a request that makes several VMs reachable. The answers are in the order of `specs`.

    `interval`: seconds between pings.

    Raises:
        MeasurementError: a VM does not answer.
    """
    targets = {spec.name: (testbed.pid_of(_source(testbed, spec).name), spec.ip) for spec in specs}
    answered: dict[str, float] = {}
    asking = threading.Event()

    def note_answer(name: str) -> None:
        answered[name] = time.monotonic()

    def ask() -> None:
        asking.set()
        wait_answers(targets, ANSWER_TIMEOUT, note_answer, interval)

    with ThreadPoolExecutor(1, thread_name_prefix="ping") as pool:
        pings = pool.submit(ask)
        asking.wait()
        begun = time.monotonic()
        request()
        done = time.monotonic()
        pings.result()
    for spec in specs:
        if spec.name not in answered:
            raise MeasurementError(
                f"{spec.name} does not answer {_source(testbed, spec).name} after {ANSWER_TIMEOUT:g} s",
                where=spec.host,
                next_step="read the control plane's log of the run",
            )
    return [Answer((answered[spec.name] - begun) * 1e3, (done - begun) * 1e3) for spec in specs]


def _source(testbed: Testbed, spec: VMSpec) -> VMSpec:
    """The VM that pings: one of the same network on another host."""
    return next(vm for vm in testbed.topology.vms if vm.network == spec.network and vm.host != spec.host)


@contextlib.contextmanager
def prebuilt_vms(testbed: Testbed, network: str, count: int) -> Iterator[list[VMSpec]]:
    """Make real VMs, with namespace and NIC, that are not in the intent. Remove them after the block."""
    specs = testbed.prebuild_vms(network, count)
    try:
        yield specs
    finally:
        testbed.discard_vms(specs)


def join_in_turn(testbed: Testbed, specs: Sequence[VMSpec]) -> Iterator[Answer]:
    """Add VMs of `prebuilt_vms` to the intent, each after the previous one has answered."""
    for spec in specs:
        yield time_join(testbed, partial(testbed.intent.diff, upsert=[spec.entity()]), spec)


def join_together(testbed: Testbed, specs: Sequence[VMSpec]) -> list[Answer]:
    """Add all VMs of `prebuilt_vms` to the intent in one request."""
    entities = [spec.entity() for spec in specs]
    return time_joins(testbed, lambda: testbed.intent.diff(upsert=entities), specs, BURST_INTERVAL)


def join_one(testbed: Testbed, network: str) -> Answer:
    """Add a VM whose namespace and NIC exist before, so that only the control plane is timed. The VM stays."""
    (spec,) = testbed.prebuild_vms(network, 1)
    return time_join(testbed, lambda: testbed.upsert(spec.entity()), spec)
