"""Every generation of the dataplane that this machine can have: alone, and all of them in one cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.errors import MachineError
from hoverboard.contract.generations import available, facts
from hoverboard.host.control.host_client import HostClient
from topologies.emulation.ovs_daemons import datapath_type
from topologies.processes.deadlines import wait_for
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import VMSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.conftest import Traces

pytestmark = pytest.mark.timeout(150)

HAD = available(datapath_type())
OFFLOAD_SECONDS = 20


def answered(bed: Testbed, source: VMSpec, address: object, count: int = 5) -> int:
    """How many of some pings are answered."""
    process = bed.node(source.name).popen(
        ["ping", "-q", f"-c{count}", "-i0.1", "-W2", str(address)], stdout=subprocess.PIPE, text=True
    )
    text, _ = process.communicate(timeout=30)
    line = next(line for line in text.splitlines() if "received" in line)
    return int(line.split(",")[1].split()[0])


def drops(bed: Testbed, node: str, reason: str) -> int:
    with contextlib.closing(bed.host_client(node)) as client:
        return int(client.status()["counters"]["drops"].get(reason, 0))


def settled(relay: HostClient) -> int:
    """What a node has received, once that stands still: Open vSwitch adds what its cache carried a second later."""
    seen, since = -1, 0.0

    def still() -> bool:
        nonlocal seen, since
        now = int(relay.status()["counters"]["rx_packets"])
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > 1.5

    wait_for(still, 15, lambda: f"the node still receives: {seen} packets by now")
    return seen


def processes_of(bed: Testbed, kind: str) -> list[int]:
    ledger = Ledger(bed.directory)
    return [record.process.pid for record in live_processes(ledger, LinuxProcesses()) if record.kind == kind]


@pytest.fixture(scope="module", params=HAD)
def cluster(request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed]) -> Iterator[Testbed]:
    """Two hosts of one generation and a Hoverboard; blue-1 and blue-3 on h1, blue-2 and blue-4 on h2."""
    bed = module_testbed("two-hosts", dataplane=request.param)
    yield bed
    bed.down()


def test_over_the_hoverboard_then_offloaded(cluster: Testbed) -> None:
    one, two, neighbour = cluster.topology.vms[:3]
    ends = cluster.node(one.name), cluster.node(two.name), str(two.ip)
    assert answered(cluster, one, two.ip), "nothing reaches the other host over the Hoverboard"
    assert iperf.measure(*ends, IperfSpec(seconds=1)).bps > 1e6

    def offloaded() -> bool:
        found = {(row["src"], row["dst"]) for row in cluster.offloads()}
        return {(one.name, two.name), (two.name, one.name)} <= found

    with iperf.started(*ends, IperfSpec(seconds=OFFLOAD_SECONDS, rate_bps=20e6)):
        wait_for(offloaded, OFFLOAD_SECONDS, lambda: "the pair is not offloaded")
    with contextlib.closing(cluster.host_client("hv1")) as relay:
        before = settled(relay)
        result = iperf.measure(*ends, IperfSpec(seconds=1))
        assert settled(relay) - before < 1000, "it still goes over the Hoverboard"
    assert result.bps > 1e7
    assert answered(cluster, one, two.ip) == 5
    assert answered(cluster, one, neighbour.ip) == 5
    assert iperf.measure(ends[0], cluster.node(neighbour.name), str(neighbour.ip), IperfSpec(seconds=1)).bps > 1e7


def test_who_sends_as_somebody_else_is_dropped(cluster: Testbed) -> None:
    one, two = cluster.topology.vms[:2]
    before = drops(cluster, one.host, "spoofed")
    subprocess.run(
        ["nsenter", "-t", str(cluster.pid_of(one.name)), "-n", "sh", "-c",
         f"ip address add 10.0.0.99/32 dev eth0; ping -q -c3 -i0.1 -W1 -I 10.0.0.99 {two.ip}"],
        timeout=20, capture_output=True, check=False,
    )  # fmt: skip
    wait_for(
        lambda: drops(cluster, one.host, "spoofed") >= before + 3, 10,
        lambda: f"{drops(cluster, one.host, 'spoofed') - before} of 3 counted",
    )  # fmt: skip


@pytest.mark.rootless
def test_a_vm_comes_and_goes(cluster: Testbed) -> None:
    one, two = cluster.topology.vms[:2]
    dataplane = cluster.topology.hosts[0].dataplane
    of_their_own = facts(dataplane).carrier == "processes"
    with contextlib.closing(cluster.host_client(two.host)) as client:
        pid = client.status()["pid"]
        known = len(processes_of(cluster, "vmm"))
        assert known == (4 if of_their_own else 0)
        for turn in range(3):
            fds, threads = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task"))
            vm = cluster.add_vm(one.network, host=two.host)
            assert answered(cluster, one, vm.ip)
            assert len(processes_of(cluster, "vmm")) == known + of_their_own
            cluster.remove_vm(vm.name)
            wait_for(lambda: len(processes_of(cluster, "vmm")) == known, 5, lambda: "its process lives")
            if turn:
                assert len(os.listdir(f"/proc/{pid}/fd")) == fds
                assert len(os.listdir(f"/proc/{pid}/task")) == threads
        if facts(dataplane).vmm:
            assert client.status()["vms"][two.name]["vmm_seconds"] > 0
    assert answered(cluster, one, two.ip) == 5


@pytest.mark.long
def test_all_of_them_in_one_cluster(testbed: Callable[..., Testbed]) -> None:
    keys = {
        "name": "all",
        "hosts": [{"name": f"h{at}", "dataplane": name} for at, name in enumerate(HAD, 1)],
        "hoverboards": 1,
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": len(HAD)}],
    }
    bed = testbed(schema.from_keys(keys))
    vms = bed.topology.vms
    silent = [
        f"{one.name} on {one.host} -> {two.name} on {two.host}"
        for one in vms
        for two in vms
        if one is not two and answered(bed, one, two.ip) < 3  # Open vSwitch drops what makes it ask for a neighbour
    ]
    assert not silent
    # Segments between those that take them, packets between all others.
    for one, two in ((vms[0], vms[-1]), (vms[-1], vms[0]), (vms[1], vms[0]), (vms[-2], vms[-1])):
        ends = bed.node(one.name), bed.node(two.name), str(two.ip)
        assert iperf.measure(*ends, IperfSpec(seconds=1)).bps > 1e6, f"{one.name} -> {two.name}"


def test_pre_dies_with_its_host_process_and_leaves_nothing(
    testbed: Callable[..., Testbed], traces: Callable[[str], Traces]
) -> None:
    bed = testbed("two-hosts", dataplane="pre")
    seen = traces(bed.run)
    seen.look()
    with contextlib.closing(bed.host_client("h1")) as client:
        pid = client.status()["pid"]
    assert len(processes_of(bed, "vmm")) == 4
    bed.suppress_restarts("h1")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(processes_of(bed, "vmm")) == 2, 10, lambda: "processes of h1's VMs outlive it")
    bed.down()
    assert seen.left() == []


@pytest.mark.skipif(datapath_type() == "system", reason="this kernel has the openvswitch module")
def test_ovs_offload_is_refused_without_the_module(state: Path) -> None:
    bed = Testbed("two-hosts", run="refused", dataplane="ovs-offload", state_dir=state)
    with pytest.raises(MachineError, match="openvswitch module") as failure:
        bed.up()
    assert "fastpath" in str(failure.value)
    assert not bed.directory.path.exists()
