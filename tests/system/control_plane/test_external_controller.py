"""A host that an OpenFlow controller of one's own programs: the example of docs/external.md, as it is printed there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.system.control_plane.external_rig import ADDRESS, DOCS, TOPOLOGY, reaches, start
from tests.system.control_plane.external_rig import controller as running
from topologies.run.testbed import Testbed

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed(TOPOLOGY)


@pytest.fixture(scope="module")
def before(bed: Testbed) -> list[str]:
    """The flows of a switch that no controller has programmed yet."""
    return bed.flows("h2")["openflow"]


@pytest.fixture(scope="module")
def controller(bed: Testbed, before: list[str]) -> Iterator[None]:
    """The example, in the namespace of h2."""
    with running(bed, bed.directory.logs / "external.log", str(DOCS / "external_controller.py")):
        yield


def _connects(bed: Testbed, one: str, other: str, port: int) -> str:
    """How an attempt to connect to a port without a listener ends."""
    command = [sys.executable, "-c", CONNECT, ADDRESS[other], str(port)]
    with start(bed, one, *command, stdout=subprocess.PIPE, text=True) as attempt:
        return str(attempt.communicate(timeout=20)[0]).strip()


def test_the_host_gets_no_flows_of_ours_and_the_run_comes_up_without_it(bed: Testbed, before: list[str]) -> None:
    assert before == []
    control = bed.control_status()
    row = control["switches"]["h2"]
    assert (row["sync"], row["flows"], row["programmed"]) == ("external", 0, True)
    assert control["vms"] == {"intended": 1, "joined": 1}
    assert control["switches"]["h1"]["programmed"]
    relayed = bed.flows("hv1")["openflow"]
    assert sum("nw_dst=10.0.0" in line for line in relayed) >= 3  # the way to its VMs, as to all others
    host = next(row for row in bed.status()["hosts"] if row["name"] == "h2")
    assert (host["program"], host["controller"], host["vms"]) == ("external", "tcp:127.0.0.1:6653", ["one", "two"])


def test_its_controller_lets_its_vms_reach_each_other_and_the_rest(bed: Testbed, controller: None) -> None:
    reaches(bed, "far", "one")  # which has not said anything yet
    reaches(bed, "one", "two")
    reaches(bed, "two", "far")


def test_its_firewall_is_its_own(bed: Testbed, controller: None) -> None:
    reaches(bed, "far", "two")
    assert _connects(bed, "far", "two", 80) == "ConnectionRefusedError"
    assert _connects(bed, "far", "two", 23) == "TimeoutError"


def test_vms_come_and_go_there_without_our_flows(bed: Testbed, controller: None) -> None:
    vm = bed.add_vm("blue", host="h2")
    reaches(bed, vm.name, "far")
    bed.remove_vm(vm.name)
    assert bed.control_status()["vms"] == {"intended": 1, "joined": 1}
    assert all("cookie=0x0," in line for line in bed.flows("h2")["openflow"])
