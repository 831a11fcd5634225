"""A VM joins a running network of many: how long until it answers, and what it costs every host.

Most VMs of the network are intent only: the fabric manager knows them, no namespace exists. Bars: a
VM that is added answers its first ping in under 100 ms (median), as the paper's control plane promises
new VMs a network at once (section 3.3); flows on a VM host do not grow with the network.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import command, report
from benchmarks.bars import Bar
from benchmarks.statistics import distribution
from console import tables
from console.runs import need_root
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import MeasurementError
from topologies import placement
from topologies.reachability import wait_answers
from topologies.testbed import Testbed
from topologies.topology import NetworkSpec, VMSpec
from topologies.waiting import wait_for

TOPOLOGY = Path(__file__).with_name("wide.yaml")
ANSWER_BAR = 100.0  # ms
SMALL = 100  # VMs: where the count of flows begins

_PING_INTERVAL = 0.005  # seconds; finer than what is measured
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


def measure(base: int, add: int, progress: command.Progress) -> dict[str, Any]:
    """Grow the network to `base` VMs, then add `add` VMs in either of two ways.

    Raises:
        HoverboardError: the testbed does not come up, or a VM never answers.
    """
    with Testbed(TOPOLOGY, run=command.run_name("wide")) as testbed:
        network = testbed.topology.networks[0]
        hosts = [server.name for server in testbed.topology.hosts]
        intent = entities(network, hosts)
        flows: dict[str, dict[str, int]] = {}
        load_seconds = {}
        held = len(network.vms)
        for size in sorted({min(SMALL, base), base}):
            progress(f"network of {size} VMs", 0.1)
            load_seconds[str(size)] = _load(testbed, list(itertools.islice(intent, size - held)))
            held = size
            flows[str(size)] = {server.name: _flow_count(testbed, server.name) for server in testbed.topology.servers}
        by_request, by_diff = [], []
        for number in range(add):
            progress(f"adding a VM, {number + 1} of {add}", 0.2 + 0.8 * number / add)
            by_request.append(_timed(testbed, lambda: testbed.add_vm(network.name)))
            by_diff.append(_by_diff(testbed, network.name))
        progress("taking everything down", 1.0)
    return {
        "vms": base,
        "hosts": hosts,
        "flows": flows,
        "load_seconds": load_seconds,
        "request": _summary(by_request),
        "diff": _summary(by_diff),
    }


def _load(testbed: Testbed, vms: list[VM]) -> float:
    """Tell the fabric manager of VMs that are intent only; seconds until all switches are programmed."""
    cluster = testbed.parts.cluster
    servers = {server.name for server in testbed.topology.servers}
    begun = time.monotonic()
    cluster.client.diff(upsert=vms)
    wait_for(
        lambda: cluster.program_state().programmed >= servers, _SETTLED_TIMEOUT, lambda: "switches are not programmed"
    )
    return time.monotonic() - begun


def _flow_count(testbed: Testbed, server: str) -> int:
    """Flows that `ovs-ofctl dump-flows` lists on a server."""
    return len(testbed.flows(server)["openflow"])


def _timed(testbed: Testbed, request: Callable[[], object], spec: VMSpec | None = None) -> Answer:
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
        wait_answers(target, _ANSWER_TIMEOUT, told, _PING_INTERVAL)

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


def _by_diff(testbed: Testbed, network: str) -> Answer:
    """Add a VM whose namespace and NIC exist already, so that only the control plane is timed."""
    parts = testbed.parts
    spec = placement.plan_vm(testbed.topology, network)
    parts.plant.make_node(spec)
    parts.plug(parts.plant.make_nic(spec))
    answer = _timed(testbed, lambda: parts.cluster.upsert(spec.entity()), spec)
    testbed.topology = testbed.topology.with_vm(spec)
    return answer


def _summary(answers: list[Answer]) -> dict[str, Any]:
    """Milliseconds to the first answered ping and to the request's return."""
    columns = {"answered": [one.answered for one in answers], "done": [one.done for one in answers]}
    return {
        name: {"samples": [round(value, 3) for value in values], **distribution(values).as_dict()}
        for name, values in columns.items()
    }


def growth(flows: dict[str, dict[str, int]], hosts: list[str]) -> int:
    """By how many flows the fullest host grew from the smallest network to the largest."""
    sizes = sorted(flows, key=int)
    return max(flows[sizes[-1]][host] - flows[sizes[0]][host] for host in hosts)


def bars(figures: dict[str, Any]) -> list[Bar]:
    """Both bars; a Hoverboard may grow, a VM host may not."""
    median = figures["request"]["answered"]["median"]
    grown = growth(figures["flows"], figures["hosts"])
    return [
        Bar(f"a VM added to {figures['vms']} answers (median)", median, ANSWER_BAR, "<", "ms"),
        Bar(f"growth of flows on a VM host, {SMALL} to {figures['vms']} VMs", grown, 0, "<=", "flows"),
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Times and flows."""
    rows = []
    for key, name in (("request", "Testbed.add_vm: namespace, NIC, network"), ("diff", "fabric manager's diff alone")):
        for column, what in (("answered", "first answered ping"), ("done", "request returned")):
            one = figures[key][column]
            numbers = (f"{one[field]:.1f}" for field in ("minimum", "median", "p90", "maximum"))
            rows.append((name, what, one["count"], *numbers))
    flows = figures["flows"]
    servers = list(next(iter(flows.values())))
    return [
        tables.table(
            f"a VM joins a network of {figures['vms']} VMs, ms since the request",
            ("request", "until", "#times", "#least", "#median", "#p90", "#most"),
            rows,
        ),
        tables.table(
            "flows of each switch by size of the network",
            ("VMs", *(f"#{name}" for name in servers), "#seconds to program"),
            (
                (size, *(flows[size][name] for name in servers), f"{figures['load_seconds'][size]:.3f}")
                for size in sorted(flows, key=int)
            ),
        ),
    ]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--base", type=int, default=1000, metavar="N", help="VMs in the network (%(default)s)")
    parser.add_argument("--add", type=int, default=20, metavar="N", help="VMs to add in either way (%(default)s)")
    given = parser.parse_args(argv)
    if given.base <= SMALL or given.add < 1:
        parser.error(f"--base must be above {SMALL}, --add above 0")
    return given


def main() -> int:
    """`python -m benchmarks.reachability`"""
    given = options()

    def run(progress: command.Progress) -> int:
        need_root("benchmark")
        figures = measure(given.base, given.add, progress)
        parameters = {"base": given.base, "add": given.add, "ping_interval_s": _PING_INTERVAL}
        return report.finish(
            "reachability", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
