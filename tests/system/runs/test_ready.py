"""Right after "up", the first packet between any two VMs arrives, on every generation; what stays silent is named."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.contract.generations import NAMES, available
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs
from tests.waiting import until
from topologies.emulation.ovs_daemons import datapath_type
from topologies.run import up
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)
RUNS = 3


def lost(bed: Testbed) -> list[str]:
    """Send one ping from each VM to each VM on another host, all at once; the pairs whose ping is lost."""
    pairs = [(one, two) for one, two in permutations(bed.topology.vms, 2) if one.host != two.host]
    pings = [
        (f"{one.name} -> {two.name}", bed.node(one.name).popen(["ping", "-c1", "-W2", str(two.ip)]))
        for one, two in pairs
        if one.network == two.network
    ]
    return [name for name, process in pings if b" 1 received" not in process.communicate(timeout=20)[0]]


@pytest.mark.parametrize("generation", NAMES)
def test_no_first_ping_is_lost(testbed: Callable[..., Testbed], generation: str) -> None:
    if generation not in available(datapath_type()):
        pytest.skip("this kernel has no module openvswitch")
    for _ in range(RUNS):
        bed = testbed("two-hosts", dataplane=generation)
        assert lost(bed) == []
        bed.down()


@pytest.mark.parametrize(("topology", "options"), [("mixed", {}), ("demo", {"dataplane": "ovs"})])
def test_no_first_ping_is_lost_with_more_hosts(
    testbed: Callable[..., Testbed], topology: str, options: dict[str, str]
) -> None:
    assert lost(testbed(topology, **options)) == []


def neighbours(directory: Path) -> set[str]:
    """Addresses whose MAC a switch knows."""
    return {line.split()[0] for line in Ovs(directory).appctl("tnl/neigh/show").splitlines() if PHYSICAL_BRIDGE in line}


def test_a_switch_that_restarts_knows_its_neighbours_again(testbed: Callable[..., Testbed]) -> None:
    bed = testbed("two-hosts", dataplane="ovs")
    server = bed.server("h1")
    others = {str(one.underlay_ip) for one in bed.topology.servers if one.name != "h1"}
    assert neighbours(server.directory) == others
    before = server.daemons["ovs-vswitchd"].pid
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        rows = bed.supervision()["processes"]
        return server.daemons["ovs-vswitchd"].pid != before and all(row["state"] == "up" for row in rows)

    until(back, 30, "the switch is back")
    until(lambda: neighbours(server.directory) == others, 5, "it knows its neighbours")
    # Flows come back with the controller; from then on nothing is lost.
    until(lambda: lost(bed) == [], 20, "it forwards")
    assert lost(bed) == []


@pytest.mark.rootless
def test_two_hosts_that_do_not_reach_each_other_are_named(
    state: Path, run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "READY_TIMEOUT", 1.0)
    bed = Testbed("two-hosts", run=run_name, dataplane="ovs")
    bed.build()
    cut = ["mnexec", "-a", str(bed.pid_of("fab")), "ip", "link", "set", "to-h2", "down"]
    subprocess.run(cut, check=True)
    with pytest.raises(RunError, match="hosts do not reach each other after 1 s: VM blue-1 on h1 gets no answer from"):
        bed.start()
    assert bed.state == "down"
