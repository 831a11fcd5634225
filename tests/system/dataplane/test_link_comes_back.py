"""A VM whose link goes down and up, or is too small for a while, is reached again on every generation.

The commands are those of a first lab. Programs in the VM see addresses and routes as they were before.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.tools import tool_processes
from hoverboard.contract.generations import available
from topologies.emulation.ovs_daemons import datapath_type
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

FILE = """
name: links
hosts: 2
hoverboards: 1
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, subnet6: "fd00:7::/64", vms: 2}
"""
_DEADLINE = 10.0


@pytest.fixture(scope="module", params=available(datapath_type()))
def bed(
    request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Testbed]:
    """Two VMs with IPv6 on two hosts of one generation."""
    file = tmp_path_factory.mktemp("links") / "links.yaml"
    file.write_text(FILE)
    found = module_testbed(file, dataplane=request.param)
    yield found
    found.down()


def sh(bed: Testbed, script: str) -> str:
    """The output of a shell in blue-1, which must succeed."""
    done = tool_processes.run(tool_processes.Node("blue-1", bed.pid_of("blue-1")), ["sh", "-ec", script], timeout=30)
    assert done.code == 0, done.stderr
    return done.stdout


def addressed(bed: Testbed) -> list[str]:
    """The addresses and routes of blue-1."""
    lines = sh(bed, "ip -o addr show dev eth0; ip -4 route; ip -6 route").splitlines()
    return sorted(" ".join(line.split()) for line in lines)


def reaches_both(bed: Testbed) -> None:
    for family in ("-4", "-6"):
        node = tool_processes.Node("blue-1", bed.pid_of("blue-1"))
        tool_processes.run(node, ["ping", family, "-c", "3", "-i", "0.2", "-W", "2", "blue-2"], timeout=30)
        assert ", 0% packet loss" in sh(bed, f"ping {family} -q -c 1 -W 5 blue-2")


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("ip link set eth0 down", "ip link set eth0 up"),
        ("ip link set eth0 mtu 576", "ip link set eth0 mtu 1460"),
        ("ip link set eth0 down; ip link set eth0 mtu 576; ip link set eth0 up", "ip link set eth0 mtu 1460"),
        ("ip addr flush dev eth0; ip link set eth0 down", "ip link set eth0 up"),
    ],
    ids=["down", "small", "down and small", "flushed"],
)
def test_addresses_and_routes_come_back_with_the_link(bed: Testbed, away: str, back: str) -> None:
    before = addressed(bed)
    sh(bed, away)
    assert addressed(bed) != before
    sh(bed, back)
    wait_for(lambda: addressed(bed) == before, _DEADLINE, lambda: f"{addressed(bed)} is not {before}")
    reaches_both(bed)


def test_a_vm_that_comes_later_has_an_agent_too(bed: Testbed) -> None:
    bed.add_vm("blue", "late", host="h2")
    node = tool_processes.Node("late", bed.pid_of("late"))
    tool_processes.run(node, ["sh", "-c", "ip link set eth0 down; ip link set eth0 up"], timeout=30)
    routes = ["ip", "route", "show", "default"]
    wait_for(
        lambda: "10.0.0.1" in tool_processes.run(node, routes, timeout=30).stdout,
        _DEADLINE,
        lambda: "there is no route",
    )
    assert "10.0.0.1" in tool_processes.run(node, routes, timeout=30).stdout
    bed.remove_vm("late")


def test_what_a_user_takes_away_stays_away(bed: Testbed) -> None:
    sh(bed, "ip route del default; ip link set eth0 mtu 1400; ip link set eth0 mtu 1460")
    # The agent answers events in order: once the other VM has its route, that of this one would be there as well.
    other = tool_processes.Node("blue-2", bed.pid_of("blue-2"))
    tool_processes.run(other, ["sh", "-c", "ip link set eth0 down; ip link set eth0 up"], timeout=30)
    routes = ["ip", "route", "show", "default"]
    wait_for(lambda: tool_processes.run(other, routes, timeout=30).stdout != "", _DEADLINE, lambda: "there is no route")
    assert sh(bed, "ip route show default") == ""
    sh(bed, "ip link set eth0 down; ip link set eth0 up")
    wait_for(lambda: "default" in sh(bed, "ip route"), _DEADLINE, lambda: "there is no route")


def test_the_machine_has_no_numbers_of_the_runs_namespaces(bed: Testbed) -> None:
    assert Path(f"/proc/{bed.pid_of('blue-1')}").exists()
    shown = subprocess.run(["ip", "netns", "list-id"], capture_output=True, text=True, check=True).stdout
    assert "10485" not in shown
