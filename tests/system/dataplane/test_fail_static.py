"""Fail static (paper 3.5): whatever of a host or of the control plane is killed, packets of known flows go on.

Everything that was killed is brought back, and changes no flow that it need not. The fast path loses no packet by
a switch or a controller that is away; generation ovs is its switch, and stands still until that is back.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.system.dataplane.dataplane_rig import Stream, flow_events, node_status, ping, program, transfer, vm_of
from tests.waiting import until
from topologies.cluster import etcd_members
from topologies.cluster.control_processes import ControlLayout, StoreKind
from topologies.processes.deadlines import wait_for
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(240)

CLUSTER = """
hosts: 2
hoverboards: 1
offload_threshold: 20kbit
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 4}
"""
SWITCH = ("ovsdb-server", "ovs-vswitchd")
HOST, CONTROL = "host process", "control plane"
BACK = 60.0  # seconds
PATIENCE = 45.0  # as long as known flows may stand still, on a machine that does much else


def pids_of(bed: Testbed, part: str) -> list[int]:
    """Of what is to be killed: the control plane's, all of them, or one of h1's."""
    if part == CONTROL:
        status = bed.control_status()
        return [int(one["pid"]) for one in status.get("processes", [status])]
    server = bed.server("h1")
    pid = server.host_pid if part == HOST else server.daemons[part].pid
    assert pid is not None
    return [pid]


def restarts(bed: Testbed, part: str) -> int:
    if part == CONTROL:
        return int(bed.control_status()["restarts"])
    rows = bed.supervision()["processes"]
    return sum(row["restarts"] for row in rows if row["what"] == part and row["server"] == "h1")


def in_step(bed: Testbed) -> bool:
    """Whether every process is there and every switch has its program, as the control plane sees it."""
    control = bed.control_status()
    return (
        not bed.supervision()["down"]
        and control["state"] == "up"
        and len(control["switches"]) == len(bed.topology.servers)
        and all(one["programmed"] and one["agent"] for one in control["switches"].values())
        and control["vms"]["joined"] == control["vms"]["intended"] == len(bed.topology.vms)
        and all(node_status(bed, server.name)["checkpoint"]["settled"] for server in bed.topology.servers)
    )


def programs(bed: Testbed) -> dict[str, list[str]]:
    return {server.name: program(bed, server.name) for server in bed.topology.servers}


def changed(bed: Testbed, tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """Flows that came or went, by server."""
    now = programs(bed)
    return {name: sorted(set(rows) ^ set(now[name])) for name, rows in tables.items() if rows != now[name]}


def direct_flow(bed: Testbed, host: str, src: str, dst: str) -> bool:
    """Whether a host's switch sends a VM pair host to host."""
    one, two = str(vm_of(bed, src).ip), str(vm_of(bed, dst).ip)
    return any(f"nw_src={one},nw_dst={two} " in line and "->tun_dst" in line for line in program(bed, host))


def gap(stream: Stream, since: int) -> float:
    """Longest time, in seconds, without a datagram of those received from number `since` on."""
    times = [when for number, when in stream.received if number >= since]
    return max(later - earlier for earlier, later in zip(times, times[1:], strict=False))


def lost(stream: Stream, since: int) -> int:
    """Datagrams of those sent from number `since` on that did not come."""
    return stream.sent - since - len({number for number, _ in stream.received if number >= since})


def kill(bed: Testbed, *parts: str, unchanged: tuple[str, ...] = ()) -> dict[str, int]:
    """Kill -9 all of them at once, wait until everything is back; lost datagrams by stream.

    Args:
        bed: the testbed.
        parts: what is killed.
        unchanged: nodes whose flows nobody may touch from the kill on, not even to write the same ones again.
    """
    with (
        ExitStack() as stack,
        Stream(bed, "blue-1", "blue-2", rate=300, size=100) as direct,
        Stream(bed, "blue-2", "blue-1", rate=300, size=100) as back,
        Stream(bed, "blue-3", "blue-4", rate=10) as relayed,
    ):
        until(lambda: direct_flow(bed, "h1", "blue-1", "blue-2"), 15, "the offload there")
        until(lambda: direct_flow(bed, "h2", "blue-2", "blue-1"), 15, "the offload back")
        assert not direct_flow(bed, "h1", "blue-3", "blue-4")
        for stream in (direct, back, relayed):
            stream.flows()
        # Open vSwitch drops the packets that make it ask for a neighbour: these flows are known from here on.
        marks = {stream: stream.received[-1][0] for stream in (direct, back, relayed)}
        events = [stack.enter_context(flow_events(bed, node)) for node in unchanged]
        counts = [len(one()) for one in events]
        tables, lives = programs(bed), {part: restarts(bed, part) for part in parts}
        pids = {part: pids_of(bed, part) for part in parts}
        for pid in sum(pids.values(), []):
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: all(restarts(bed, part) >= lives[part] + len(pids[part]) for part in parts),
            BACK, "another life of what was killed",
        )  # fmt: skip
        until(lambda: in_step(bed), BACK, "everything in step again")
        for stream in marks:
            stream.flows()
        # A control plane and a switch that die together take an offload along; it is found again by its usage.
        wait_for(lambda: changed(bed, tables) == {}, BACK, lambda: f"flows differ: {changed(bed, tables)}")
        touched = [event for one, count in zip(events, counts, strict=True) for event in one()[count:]]
        assert touched == [], "flows were changed without need"
    recorded = {record.process.pid for record in Ledger(bed.directory).processes()}
    for part in parts:
        assert not set(pids_of(bed, part)) & set(pids[part])
        assert set(pids_of(bed, part)) <= recorded
    streams = {"direct": direct, "back": back, "relayed": relayed}
    gaps = {name: gap(stream, marks[stream]) for name, stream in streams.items()}
    longest = 1e3 * max(gaps["direct"], gaps["back"])  # the other's datagrams are 100 ms apart anyway
    print(f"\nmeasured: {' + '.join(parts)} killed, known flows stood still for {longest:.0f} ms")
    assert max(gaps.values()) < PATIENCE
    assert not direct.refused + back.refused + relayed.refused
    return {name: lost(stream, marks[stream]) for name, stream in streams.items()}


@pytest.fixture(scope="module")
def cluster(module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Testbed]:
    file = tmp_path_factory.mktemp("fail-static") / "cluster.yaml"
    file.write_text(CLUSTER)
    return lambda dataplane, **more: module_testbed(file, dataplane=dataplane, **more)


@pytest.fixture(scope="module")
def fast(cluster: Callable[..., Testbed]) -> Testbed:
    return cluster("fastpath")


@pytest.fixture(scope="module")
def plain(cluster: Callable[..., Testbed]) -> Testbed:
    return cluster("ovs")


@pytest.fixture(scope="module")
def roles(cluster: Callable[..., Testbed]) -> Testbed:
    """With a process for each role of the control plane, each member of its store, and the engines of all hosts."""
    store: StoreKind = "etcd" if shutil.which(etcd_members.PROGRAM) else "embedded"
    layout = ControlLayout(True, partitions=2, replicas=2, front_ends=2, store=store)
    return cluster("fastpath", control=layout, scheduling="compacting")


NOTHING = {"direct": 0, "back": 0, "relayed": 0}


class TestFastPath:
    @pytest.mark.parametrize("parts", [SWITCH[:1], SWITCH[1:], (CONTROL, *SWITCH)], ids=" + ".join)
    def test_without_its_switch_and_its_controller_it_loses_no_packet(
        self, fast: Testbed, parts: tuple[str, ...]
    ) -> None:
        assert kill(fast, *parts) == NOTHING

    def test_a_host_process_goes_on_by_the_checkpoint_of_the_one_before(self, fast: Testbed) -> None:
        kill(fast, HOST, unchanged=("h1", "h2"))
        checkpoint = node_status(fast, "h1")["checkpoint"]
        assert checkpoint["resumed"]
        assert checkpoint["refused"] is None

    @pytest.mark.long
    def test_one_that_was_away_for_long_finds_its_queues_full(self, fast: Testbed) -> None:
        running = live_processes(Ledger(fast.directory), LinuxProcesses())
        nursery = next(one.process.pid for one in running if one.kind == "nursery")
        with Stream(fast, "blue-1", "blue-2", rate=300) as there, Stream(fast, "blue-2", "blue-1", rate=300) as back:
            there.flows()
            back.flows()
            lives = restarts(fast, HOST)
            os.kill(nursery, signal.SIGSTOP)  # nobody can fork another host process
            try:
                os.kill(*pids_of(fast, HOST), signal.SIGKILL)
                marks = [(stream, stream.sent) for stream in (there, back)]
                until(lambda: all(stream.sent > mark + 1_500 for stream, mark in marks), 30, "full queues")
                assert restarts(fast, HOST) == lives
            finally:
                os.kill(nursery, signal.SIGCONT)
            until(lambda: restarts(fast, HOST) > lives and in_step(fast), BACK, "another host process")
            there.flows()
            back.flows()

    def test_all_of_them_at_once(self, fast: Testbed) -> None:
        kill(fast, HOST, CONTROL, *SWITCH)
        added = fast.add_vm("blue", host="h1")
        assert ping(fast, "blue-2", added.ip).received >= 1
        fast.remove_vm(added.name)
        transfer(fast, "blue-1", "blue-4", 200_000)


class TestRoles:
    def test_without_any_process_of_the_control_plane_no_packet_is_lost(self, roles: Testbed) -> None:
        assert kill(roles, CONTROL, unchanged=("h1", "hv1")) == NOTHING

    @pytest.mark.long
    def test_everything_of_a_host_and_of_the_control_plane_at_once(self, roles: Testbed) -> None:
        kill(roles, HOST, CONTROL, *SWITCH)


class TestOvs:
    def test_without_host_process_or_controller_it_loses_no_packet(self, plain: Testbed) -> None:
        assert kill(plain, CONTROL) == NOTHING
        assert kill(plain, HOST, unchanged=("h1",)) == NOTHING

    @pytest.mark.long
    def test_a_dead_switch_comes_back_with_its_flows(self, plain: Testbed) -> None:
        kill(plain, *SWITCH)
        kill(plain, HOST, CONTROL, *SWITCH)
        assert ping(plain, "blue-1", "10.0.0.3").received >= 1


def test_a_run_that_is_taken_down_while_things_come_back_leaves_nothing(
    testbed: Callable[..., Testbed], traces: Callable[[str], Any]
) -> None:
    bed = testbed("two-hosts", dataplane="fastpath")
    seen = traces(bed.run)
    seen.look()
    for part in (HOST, *SWITCH):
        os.kill(*pids_of(bed, part), signal.SIGKILL)
    bed.down()
    assert seen.left() == []
