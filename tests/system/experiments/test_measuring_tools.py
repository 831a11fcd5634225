"""Round trips, packet rates and spinners with real processes, in namespaces of the test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import flow_setup
from experiments.observe import cpu_window
from experiments.tools import packet_rate, round_trip, tool_processes
from experiments.tools.no_cpu_idle import keep_cpus_awake
from experiments.tools.packet_rate import PacketRateSpec
from experiments.tools.round_trip import RoundTripSpec
from experiments.tools.tool_processes import Node
from hoverboard.contract.errors import MeasurementError
from topologies.processes.deadlines import wait_for


@pytest.fixture
def place() -> Iterator[Node]:
    """A namespace with a loopback; both ends fit into it."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 300"],
                              stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    yield Node("lo", holder.pid)
    holder.kill()
    holder.wait()
    holder.stdout.close()


def members(place: Node) -> list[int]:
    """Processes in the namespace, its holder apart."""
    wanted, found = tool_processes.namespace_of(place.pid), []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(PermissionError):  # not ours to look at
            if entry.isdigit() and int(entry) != place.pid and tool_processes.namespace_of(int(entry)) == wanted:
                found.append(int(entry))
    return found


def test_round_trips(place: Node) -> None:
    found = round_trip.measure(place, place, "127.0.0.1", RoundTripSpec(seconds=0.3, omit=0.05))
    assert found.transactions > 100
    assert found.seconds == pytest.approx(0.3, rel=0.5)
    assert found.per_second == pytest.approx(1e6 / found.mean_us, rel=0.05)
    assert 0 < found.min_us <= found.p50_us <= found.p90_us <= found.p99_us <= found.p999_us <= found.max_us
    larger = round_trip.measure(place, place, "127.0.0.1", RoundTripSpec(seconds=0.1, omit=0, size=4000, cpus=(0, 0)))
    assert larger.transactions > 10
    assert members(place) == []


def test_a_server_without_its_address_is_an_error_that_names_it(place: Node) -> None:
    with pytest.raises(MeasurementError, match="did not start.*assign") as caught:
        round_trip.measure(place, place, "192.0.2.1", RoundTripSpec(seconds=0.1))
    assert caught.value.where == "lo"
    with pytest.raises(MeasurementError, match="did not start"):
        packet_rate.measure(place, place, "192.0.2.1", PacketRateSpec(seconds=0.1))
    assert members(place) == []


def test_a_client_that_cannot_reach_its_server_is_bounded(place: Node) -> None:
    elsewhere = Node("elsewhere", os.getpid())
    begun = time.monotonic()
    with pytest.raises(MeasurementError, match="(?i)refused"):
        round_trip.measure(elsewhere, place, "127.0.0.1", RoundTripSpec(seconds=0.1))
    assert time.monotonic() - begun < 10
    assert members(place) == []


@pytest.mark.parametrize("flows", [1, 4])
def test_packets_are_counted_where_they_arrive(place: Node, flows: int) -> None:
    spec = PacketRateSpec(seconds=0.4, omit=0.1, flows=flows, rate_pps=20_000)
    found = packet_rate.measure(place, place, "127.0.0.1", spec)
    assert found.offered_pps == pytest.approx(20_000, rel=0.3)
    assert found.delivered_pps == pytest.approx(20_000, rel=0.3)
    assert found.delivered > 0
    assert members(place) == []


def test_as_many_packets_as_go(place: Node) -> None:
    found = packet_rate.measure(place, place, "127.0.0.1", PacketRateSpec(seconds=0.3, omit=0.1))
    assert found.delivered_pps > 20_000


def test_spinners_keep_every_cpu_from_halting_and_are_gone_afterwards() -> None:
    def idle() -> int:
        return int(Path("/proc/stat").read_text().split()[4])

    with keep_cpus_awake(30) as pids:
        assert len(pids) == len(os.sched_getaffinity(0))
        assert all(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in pids)
        before, begun = idle(), time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 0.5, 5, lambda: "half a second")
        ticks = (time.monotonic() - begun) * os.sysconf("SC_CLK_TCK") * len(pids)
        assert idle() - before < ticks / 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_spinner_ends_by_itself() -> None:
    with keep_cpus_awake(0.1) as pids:
        wait_for(
            lambda: all("Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3] for pid in pids),
            10, lambda: "spinners that end",
        )  # fmt: skip


def test_cpu_of_a_child_is_seen_and_not_taken_for_a_strangers() -> None:
    before = cpu_window.read()
    subprocess.run(["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"], check=True, timeout=30)
    after = cpu_window.read()
    found = cpu_window.cost(before, after, cpu_window.descendants(after.processes, os.getpid()), [])
    assert found.cpu_seconds > 0.05
    assert found.others >= 0


def test_new_flows_need_entries_of_their_own_and_bare_traces_are_counted_beside_them(state: Path) -> None:
    found = flow_setup.measure(1, 0.2, 16, lambda *_: None)
    assert found["proof"]["entries"] >= 0.95 * found["proof"]["forwarded"] > 0
    assert found["samples"]["engine"][0] > 0
    assert found["samples"]["trace"][0] > 0
