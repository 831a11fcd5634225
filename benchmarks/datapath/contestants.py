"""The contestants: a generation of the dataplane in its own testbed, or the kernel's overlay.

Each offers the same two pairs of VMs, on one host and on two, and prepares itself before a turn. On the testbed a pair
is ready when the control plane has offloaded both of its directions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmarks.datapath import kernel_overlay
from benchmarks.harness import command
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.entities import Dataplane, Scheduling
from hoverboard.contract.generations import NAMES
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed
from topologies.spec.topology import VMSpec

Where = Literal["two hosts", "same host"]

_OFFLOAD_TIMEOUT = 20
# Both directions have to pass the offload threshold (20 kbit/s). Acknowledgements are 0.1 % of the data: 66 bytes for
# each segment of 64 KB. The rate is low enough to leave queues empty.
_WARM_UP_BPS = 50e6


@dataclass(frozen=True, slots=True)
class Pair:
    """Two VMs; traffic goes from `source` to `target` at `address`."""

    source: ToolPlace
    target: ToolPlace
    address: str


@dataclass(frozen=True, slots=True)
class Contestant:
    """One contestant.

    Attributes:
        pairs: VMs by their place.
        prepare: function called before each turn, with the place that is measured.
        relayed: function that gives the packets that Hoverboards have received so far; they did not take the direct
            path.
        run: the testbed's run, by which its processes' CPU time is found; None: it has no processes.
        facts: its properties, for the results file.
    """

    name: str
    pairs: dict[Where, Pair]
    prepare: Callable[[Where], None]
    relayed: Callable[[], int]
    run: str | None
    facts: dict[str, Any]


@contextlib.contextmanager
def generation(dataplane: Dataplane, scheduling: Scheduling = "adaptive") -> Iterator[Contestant]:
    """A generation of the dataplane: two hosts and a Hoverboard, up inside the block."""
    run = command.run_name(dataplane)
    with Testbed("two-hosts", run=run, dataplane=dataplane, scheduling=scheduling) as testbed:
        first, remote, neighbour = (testbed.topology.vms[index] for index in range(3))
        assert first.host == neighbour.host != remote.host

        def pair(target: VMSpec) -> Pair:
            return Pair(testbed.node(first.name), testbed.node(target.name), str(target.ip))

        pairs: dict[Where, Pair] = {"two hosts": pair(remote), "same host": pair(neighbour)}

        def offloaded() -> bool:
            found = {(row["src"], row["dst"]) for row in testbed.offloads()}
            return {(first.name, remote.name), (remote.name, first.name)} <= found

        def prepare(where: Where) -> None:
            if where == "same host":
                return  # never passes a Hoverboard
            spec = IperfSpec(seconds=_OFFLOAD_TIMEOUT + 1, rate_bps=_WARM_UP_BPS)
            two = pairs[where]
            with iperf.started(two.source, two.target, two.address, spec):
                wait_for(offloaded, _OFFLOAD_TIMEOUT, lambda: f"{first.name} <-> {remote.name} is not offloaded")

        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(contextlib.closing(testbed.host_client(server.name)))
                for server in testbed.topology.hoverboards
            ]

            def relayed() -> int:
                return sum(int(client.status()["counters"]["rx_packets"]) for client in clients)

            facts = {
                "datapath_type": testbed.datapath_type,
                "scheduling": scheduling,
                "phases": testbed.phases,
            }
            yield Contestant(dataplane, pairs, prepare, relayed, testbed.run, facts)


@contextlib.contextmanager
def kernel() -> Iterator[Contestant]:
    """The kernel's overlay (VXLAN, bridges, veth), up inside the block."""
    with kernel_overlay.built() as overlay:
        source, _ = overlay.vms[0][0]
        remote, neighbour = overlay.vms[1][0], overlay.vms[0][1]
        pairs: dict[Where, Pair] = {"two hosts": Pair(source, *remote), "same host": Pair(source, *neighbour)}
        facts = {"overlay": "VXLAN, bridges and veth, offloads on"}
        yield Contestant("kernel", pairs, lambda where: None, lambda: 0, None, facts)


def all_contestants(
    scheduling: Scheduling = "adaptive",
) -> dict[str, Callable[[], contextlib.AbstractContextManager[Contestant]]]:
    """All contestants by name; each comes up when entered. `scheduling` is the fast path's."""
    return {
        **{name: partial(generation, name, scheduling) for name in reversed(NAMES)},
        "kernel": kernel,
    }
