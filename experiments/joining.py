"""A VM joins a running network: how long until it answers a VM on another host.

Most VMs of a large network are intent only: the fabric manager knows them, and no namespace exists.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address

from hoverboard.contract.entities import VM
from hoverboard.contract.errors import MeasurementError
from topologies import placement
from topologies.reachability import wait_answers
from topologies.testbed import Testbed
from topologies.topology import NetworkSpec, VMSpec
from topologies.waiting import wait_for

PING_INTERVAL = 0.005  # seconds; finer than what is measured
_ANSWER_TIMEOUT = 10.0
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


def load(testbed: Testbed, vms: list[VM]) -> float:
    """Tell the fabric manager of VMs that are intent only; seconds until all switches are programmed."""
    cluster = testbed.parts.cluster
    servers = {server.name for server in testbed.topology.servers}
    begun = time.monotonic()
    cluster.client.diff(upsert=vms)
    wait_for(
        lambda: cluster.program_state().programmed >= servers, _SETTLED_TIMEOUT, lambda: "switches are not programmed"
    )
    return time.monotonic() - begun


def timed(testbed: Testbed, request: Callable[[], object], spec: VMSpec | None = None) -> Answer:
    """Time a request that makes the VM `spec` reachable (default: the one that `add_vm` would plan next).

    A VM on another host pings it all along, from before it exists: the harder way, because every
    switch on the way has already learnt that there is nobody.
    """
    if spec is None:
        spec = placement.plan_vm(testbed.topology, testbed.topology.networks[0].name)
    source = next(vm for vm in testbed.topology.vms if vm.host != spec.host)
    target = {spec.name: (testbed.pid_of(source.name), spec.ip)}
    answered = math.inf
    begun = 0.0
    asking = threading.Event()

    def told(_name: str) -> None:
        nonlocal answered
        answered = time.monotonic()

    def ask() -> None:
        asking.set()
        wait_answers(target, _ANSWER_TIMEOUT, told, PING_INTERVAL)

    with ThreadPoolExecutor(1, thread_name_prefix="ping") as pool:
        pings = pool.submit(ask)
        asking.wait()
        begun = time.monotonic()
        request()
        done = time.monotonic()
        pings.result()
    if answered == math.inf:
        raise MeasurementError(
            f"{spec.name} does not answer {source.name} after {_ANSWER_TIMEOUT:g} s",
            where=spec.host,
            next_step="see the control plane's log of such a run",
        )
    return Answer((answered - begun) * 1e3, (done - begun) * 1e3)


def by_diff(testbed: Testbed, network: str) -> Answer:
    """Add a VM whose namespace and NIC exist already, so that only the control plane is timed."""
    parts = testbed.parts
    spec = placement.plan_vm(testbed.topology, network)
    parts.plant.make_node(spec)
    parts.plug(parts.plant.make_nic(spec))
    answer = timed(testbed, lambda: parts.cluster.upsert(spec.entity()), spec)
    testbed.topology = testbed.topology.with_vm(spec)
    return answer
