"""The control plane with a process for each role, and what happens when one of them dies.

Packets do not notice the death of a master, a standby, a front end or the fabric manager.
The next change is programmed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from controllers.partitions import Owners
from controllers.roles import front_end_socket
from hoverboard.contract.document_schemas import check
from hoverboard.contract.documents import Control
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire.control_pb2_grpc import FrontEndsStub
from topologies.cluster import etcd_members
from topologies.cluster.control_processes import ControlLayout, StoreKind
from topologies.processes.deadlines import wait_for
from topologies.run import status
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

CLUSTER = """
hosts: 2
hoverboards: 1
report_interval: 0.2
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 4}
"""
_AGE = re.compile(r"duration=([\d.]+)s")
_VARIES = re.compile(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^,]*, ?")


def ages(bed: Testbed) -> dict[tuple[str, str], float]:
    """By switch and flow: seconds since it was put there."""
    found = {}
    for name in ("h1", "h2", "hv1"):
        for line in status.openflow(bed.server(name)):
            age = _AGE.search(line)
            assert age is not None
            found[name, _VARIES.sub("", line)] = float(age.group(1))
    return found


def untouched(bed: Testbed, before: dict[tuple[str, str], float], since: float) -> None:
    """Check that every earlier flow is there, and has been all the time."""
    now = ages(bed)
    lasted = time.monotonic() - since
    assert [flow for flow in before if flow not in now] == []
    assert [flow for flow in before if now[flow] < before[flow] + 0.5 * lasted] == []


def control(bed: Testbed) -> dict[str, Any]:
    found = bed.control_status()
    check(Control, found)
    return found


def master_of(bed: Testbed, partition: int) -> dict[str, Any]:
    """The master's row in the status document."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        rows = control(bed).get("controllers", ())
        found[:] = [row for row in rows if row["partition"] == partition and row["master"] and row["state"] == "up"]
        return bool(found)

    wait_for(there, 15, lambda: f"partition {partition} has no master")
    return found[0]


def partition_of(bed: Testbed, server: str) -> int:
    return Owners(2).of(datapath_id(bed.server(server).spec.underlay_ip))


def pid_of(bed: Testbed, name: str) -> int:
    return next(int(one["pid"]) for one in control(bed)["processes"] if one["name"] == name)


def pings(bed: Testbed, source: str, target: str) -> None:
    address = next(str(vm.ip) for vm in bed.topology.vms if vm.name == target)
    done = bed.node(source).popen(
        ["ping", "-c", "3", "-i", "0.1", "-W", "2", address], stdout=subprocess.PIPE, text=True
    )
    words, _ = done.communicate(timeout=20)
    assert done.returncode == 0, words


class Stream:
    """A ping that runs until it is asked how many answers were missing."""

    def __init__(self, bed: Testbed, source: str, target: str) -> None:
        address = next(str(vm.ip) for vm in bed.topology.vms if vm.name == target)
        self._ping = bed.node(source).popen(
            ["ping", "-q", "-i", "0.02", address], stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def missing(self) -> int:
        self._ping.send_signal(signal.SIGINT)
        words, _ = self._ping.communicate(timeout=20)
        counts = re.search(r"(\d+) packets transmitted, (\d+) received", words)
        assert counts is not None, words
        # The last one may still be under way.
        return int(counts.group(1)) - int(counts.group(2)) - 1


@pytest.mark.parametrize("store", ["embedded", pytest.param("etcd", marks=pytest.mark.long)])
def test_a_standby_goes_on_where_its_master_died(
    store: StoreKind, testbed: Callable[..., Testbed], tmp_path: Path
) -> None:
    if store == "etcd" and shutil.which(etcd_members.PROGRAM) is None:
        pytest.skip("etcd is not installed: bootstrap.sh --ha brings it")
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, control=ControlLayout(True, partitions=2, replicas=2, front_ends=1, store=store))
    document = control(bed)
    assert (document["partitions"], document["store"], len(document["controllers"])) == (2, store, 4)
    assert {partition_of(bed, name) for name in ("h1", "h2", "hv1")} == {0, 1}
    pings(bed, "blue-1", "blue-2")
    stream = Stream(bed, "blue-1", "blue-2")
    first = partition_of(bed, "h1")
    wait_for(lambda: control(bed)["offloads"] == 2, 15, lambda: "the ping's pair is not offloaded")

    # The master of h1's partition dies; the next VM comes to h1.
    master, term = master_of(bed, first)["pid"], master_of(bed, first)["term"]
    before, since = ages(bed), time.monotonic()
    os.kill(master, signal.SIGKILL)
    added = bed.add_vm("blue", host="h1")
    after = master_of(bed, first)
    assert after["pid"] != master
    assert after["term"] > term
    pings(bed, added.name, "blue-2")
    untouched(bed, before, since)
    refuses_the_deposed(bed, "h1", first, term)

    # The dead one comes back, as a standby; the other partition's master dies.
    def complete() -> bool:
        rows = control(bed).get("controllers", ())
        return len(rows) == 4 and all(row["state"] == "up" and row["version"] for row in rows)

    wait_for(complete, 20, lambda: "the dead controller does not come back")
    before, since = ages(bed), time.monotonic()
    os.kill(master_of(bed, 1 - first)["pid"], signal.SIGKILL)
    pings(bed, "blue-1", bed.add_vm("blue", host="h2").name)
    untouched(bed, before, since)

    # Front end and fabric manager, and a member of etcd, die at once.
    wait_for(complete, 20, lambda: "the dead controller does not come back")
    before, since = ages(bed), time.monotonic()
    for name in ("front-end-0", "fabric-manager", *(["etcd-0"] if store == "etcd" else [])):
        os.kill(pid_of(bed, name), signal.SIGKILL)

    def healed() -> bool:
        found = control(bed)
        return (
            found["state"] == "up"
            and len(found["switches"]) == 3
            and all(switch["programmed"] and switch["agent"] for switch in found["switches"].values())
            and all(one["state"] == "up" for one in found["processes"])
        )

    wait_for(healed, 30, lambda: f"the control plane does not come back: {control(bed)}")
    pings(bed, bed.add_vm("blue", host="h1").name, "blue-2")
    untouched(bed, before, since)
    assert stream.missing() <= 1  # of some hundreds


def test_a_master_that_hung_wakes_as_a_standby(testbed: Callable[..., Testbed], tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, control=ControlLayout(True, partitions=1, replicas=2))
    hung = master_of(bed, 0)
    os.kill(hung["pid"], signal.SIGSTOP)
    try:
        wait_for(
            lambda: master_of(bed, 0)["pid"] != hung["pid"], 15, lambda: "nobody takes over from a master that hangs"
        )
        added = bed.add_vm("blue", host="h1")
        before, since = ages(bed), time.monotonic()
    finally:
        os.kill(hung["pid"], signal.SIGCONT)

    def awake() -> bool:
        rows = {row["pid"]: row for row in control(bed)["controllers"]}
        old, new = rows.pop(hung["pid"]), next(iter(rows.values()))
        return old["state"] == "up" and not old["master"] and new["master"] and old["version"] == new["version"]

    wait_for(awake, 15, lambda: f"{control(bed)['controllers']}")
    pings(bed, added.name, "blue-2")
    untouched(bed, before, since)


def test_models_over_partitions_and_front_ends(testbed: Callable[..., Testbed], tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model="on-demand", control=ControlLayout(True, partitions=2, replicas=1, front_ends=2))
    assert all(row["front_ends"] == 2 for row in control(bed)["controllers"])
    # A question is a packet from the switch to its front end, to the master, and back.
    pings(bed, "blue-1", "blue-2")
    assert control(bed)["counters"]["packets_in"] > 0
    stream = Stream(bed, "blue-1", "blue-2")
    for model in ("gateway", "preprogrammed"):
        bed.set_model(model)
        assert {control(bed)["model"], bed.topology.model} == {model}
    assert stream.missing() <= 1  # of some hundreds
    pings(bed, "blue-3", "blue-4")


FAILING = """
from pathlib import Path

from controllers.vmc.offload.policy import OffloadPolicy

ONCE = Path(__file__).with_name("once")

class Failing(OffloadPolicy):
    def decide(self, host, candidates, now):
        return super().decide(host, candidates, now)

    def report(self, usage, seconds, now):
        if usage and ONCE.exists():
            ONCE.unlink()
            return 1 / 0
        return super().report(usage, seconds, now)
"""


@pytest.mark.rootless
def test_a_role_whose_core_fails_ends_and_is_restarted(testbed: Callable[..., Testbed], tmp_path: Path) -> None:
    file, policy, once = tmp_path / "cluster.yaml", tmp_path / "failing.py", tmp_path / "once"
    file.write_text(CLUSTER)
    policy.write_text(FAILING)
    bed = testbed(file, control=ControlLayout(True, partitions=1, replicas=1), offload_policy=f"{policy}:Failing")
    pids = {one["name"]: one["pid"] for one in control(bed)["processes"]}
    before, since = ages(bed), time.monotonic()
    once.touch()
    stream = Stream(bed, "blue-1", "blue-2")

    def offloaded_again() -> bool:
        found = control(bed)
        return not once.exists() and found["state"] == "up" and found["offloads"] == 2

    wait_for(offloaded_again, 20, lambda: f"the VM controller does not come back: {control(bed)}")
    failed = {one["name"] for one in control(bed)["processes"] if one["pid"] != pids[one["name"]]}
    assert failed == {"vm-controller-0-0"}
    log = (bed.directory.logs / "vm-controller-0-0.log").read_text()
    assert log.count("an unexpected exception: this process ends") == 1
    assert "return 1 / 0" in log
    (row,) = bed.supervision()["processes"]
    assert row["why"] == f"{policy}:15: Failing.report() raised ZeroDivisionError: division by zero"
    assert [one["restarts"] for one in control(bed)["processes"] if one["name"] in failed] == [1]
    untouched(bed, before, since)
    assert stream.missing() <= 1  # of some hundreds


def refuses_the_deposed(bed: Testbed, server: str, partition: int, term: int) -> None:
    """Check that a front end rejects a program of a term that is over, and that the switch stays as it is."""
    before = ages(bed)
    socket = front_end_socket(bed.directory.control, 0)
    requests: SimpleQueue[pb.FrontEndRequest | None] = SimpleQueue()
    dpid = datapath_id(bed.server(server).spec.underlay_ip)
    requests.put(pb.FrontEndRequest(hello=pb.Candidate(partition=partition, replica=9)))
    requests.put(pb.FrontEndRequest(subscribe=pb.Subscribe(dpid=dpid)))
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = FrontEndsStub(channel)  # type: ignore[no-untyped-call]
        events = stub.Session(iter(requests.get, None), timeout=20)
        ref = next(event.subscribed.switch for event in events if event.HasField("subscribed"))
        over = pb.Term(partition=partition, term=term)
        program = pb.ProgramRequest(id=1, switch=ref, term=over, deletes="[[0,0,[]]]")
        requests.put(pb.FrontEndRequest(program=program))
        done = next(event.done for event in events if event.HasField("done"))
        requests.put(None)
    assert done.deposed
    assert f"term {term} of partition {partition} is over" in done.refused
    assert set(ages(bed)) >= set(before)
