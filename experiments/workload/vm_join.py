"""VMs join a running network: how long until each answers a VM on another host.

Most VMs of a large network are intent only: the fabric manager knows them, and no namespace exists. Those that are
timed are real; where only the control plane is to be timed, namespace and NIC are there before (`prebuilt_vms`).
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
from topologies.emulation.ping import wait_answers
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed
from topologies.spec import placement
from topologies.spec.topology import NetworkSpec, VMSpec

PING_INTERVAL = 0.005  # seconds; finer than what is measured
BURST_INTERVAL = 0.02  # of pings of each of many VMs: more would be a load of its own
ANSWER_TIMEOUT = 20.0
_SETTLED_TIMEOUT = 60.0
# Entities without a namespace take addresses from here on; real VMs take the first free ones below.
_FIRST_ENTITY = 1 << 12


@dataclass(frozen=True, slots=True)
class Answer:
    """One VM that was added; milliseconds from the start of the request.

    Attributes:
        answered: first answered ping from a VM on another host.
        done: the request returned.
    """

    answered: float
    done: float


def entities(network: NetworkSpec, hosts: list[str]) -> Iterator[VM]:
    """VMs that are intent only, without end, in turn on all hosts."""
    base = int(network.subnets[0].prefix.network_address) + _FIRST_ENTITY
    for number, host in zip(itertools.count(), itertools.cycle(hosts), strict=False):
        yield network.vm(f"{network.name}-intent-{number}", host, IPv4Address(base + number)).entity()


def load_intent(testbed: Testbed, vms: Sequence[VM], gone: Sequence[VM] = ()) -> float:
    """Tell the fabric manager of VMs that are intent only, or are gone; seconds until all switches are programmed."""
    servers = {server.name for server in testbed.topology.servers}
    begun = time.monotonic()
    testbed.intent.diff(upsert=vms, remove=gone)
    wait_for(
        lambda: testbed.program_state().programmed >= servers, _SETTLED_TIMEOUT, lambda: "switches are not programmed"
    )
    return time.monotonic() - begun


def time_join(testbed: Testbed, request: Callable[[], object], spec: VMSpec | None = None) -> Answer:
    """Time a request that makes the VM `spec` reachable (default: the one that `add_vm` would plan next).

    A VM on another host pings it all along, from before it exists: the harder way, because every
    switch on the way has already learnt that there is nobody.
    """
    if spec is None:
        spec = placement.plan_vm(testbed.topology, testbed.topology.networks[0].name)
    return time_joins(testbed, request, [spec])[0]


def time_joins(
    testbed: Testbed, request: Callable[[], object], specs: Sequence[VMSpec], interval: float = PING_INTERVAL
) -> list[Answer]:
    """As `time_join`, of a request that makes several VMs reachable, in their order; `interval` of pings in seconds.

    Raises:
        MeasurementError: one does not answer.
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
                next_step="see the control plane's log of such a run",
            )
    return [Answer((answered[spec.name] - begun) * 1e3, (done - begun) * 1e3) for spec in specs]


def _source(testbed: Testbed, spec: VMSpec) -> VMSpec:
    """Who pings a VM: one of its network on another host."""
    return next(vm for vm in testbed.topology.vms if vm.network == spec.network and vm.host != spec.host)


@contextlib.contextmanager
def prebuilt_vms(testbed: Testbed, network: str, count: int) -> Iterator[list[VMSpec]]:
    """Real VMs with namespace and NIC that the fabric manager has not heard of; in the end they are removed."""
    specs = testbed.prebuild_vms(network, count)
    try:
        yield specs
    finally:
        testbed.discard_vms(specs)


def join_in_turn(testbed: Testbed, specs: Sequence[VMSpec]) -> Iterator[Answer]:
    """Tell the fabric manager of one VM of `prebuilt_vms` after the other, each when the one before has answered."""
    for spec in specs:
        yield time_join(testbed, partial(testbed.intent.diff, upsert=[spec.entity()]), spec)


def join_together(testbed: Testbed, specs: Sequence[VMSpec]) -> list[Answer]:
    """Tell the fabric manager of all VMs of `prebuilt_vms` in one request."""
    entities = [spec.entity() for spec in specs]
    return time_joins(testbed, lambda: testbed.intent.diff(upsert=entities), specs, BURST_INTERVAL)


def join_one(testbed: Testbed, network: str) -> Answer:
    """Add a VM whose namespace and NIC exist already, so that only the control plane is timed; it stays."""
    (spec,) = testbed.prebuild_vms(network, 1)
    return time_join(testbed, lambda: testbed.upsert(spec.entity()), spec)
