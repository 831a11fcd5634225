"""The iperf3 and ping drivers against the real tools, in namespaces of the test's own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from experiments.tools import iperf, ping, tool_processes
from experiments.tools.iperf import IperfSpec
from experiments.tools.tool_processes import Node
from hoverboard.contract.errors import MeasurementError
from topologies.processes.deadlines import wait_for


@pytest.fixture
def place() -> Iterator[Node]:
    """A namespace with a loopback; iperf3's both ends fit into it."""
    before = tool_processes.namespace_of(os.getpid())
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 300"],
                              stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    assert tool_processes.namespace_of(holder.pid) != before
    yield Node("lo", holder.pid)
    holder.kill()
    holder.wait()
    holder.stdout.close()


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:  # gone, or not ours to look at
        return ""


def members(place: Node) -> list[str]:
    """Command lines in the namespace, its holder apart."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    wanted = tool_processes.namespace_of(place.pid)
    found = []
    for line in listed.splitlines():
        pid, _, command = line.strip().partition(" ")
        if int(pid) != place.pid and f"net:[{wanted}]" == _namespace(pid):
            found.append(command)
    return found


def test_more_streams_than_one_iperf3_has(place: Node) -> None:
    taken = iperf.together(place, place, "127.0.0.1", IperfSpec(seconds=1), 130)
    assert [one.result.streams if one.result else one.error for one in taken] == [128, 2]
    assert members(place) == []


@pytest.mark.rootless
def test_tcp_both_ways_and_udp(place: Node) -> None:
    one = iperf.measure(place, place, "127.0.0.1", IperfSpec(seconds=1, interval=0.2))
    assert one.bps > 1e8
    assert len(one.intervals) >= 4
    many = iperf.measure(place, place, "127.0.0.1", IperfSpec(seconds=1, streams=8, reverse=True))
    assert (many.streams, many.reverse) == (8, True)
    udp = iperf.measure(place, place, "127.0.0.1", IperfSpec(seconds=1, udp=True, rate_bps=2e6))
    assert udp.protocol == "udp"
    assert udp.sent_bps == pytest.approx(2e6, rel=0.3)
    assert members(place) == []


def test_two_at_once_take_different_ports(place: Node) -> None:
    spec = IperfSpec(seconds=1)
    with (
        iperf.started(place, place, "127.0.0.1", spec) as first,
        iperf.started(place, place, "127.0.0.1", spec) as second,
    ):
        assert first.wait().bps > 0
        assert second.wait().bps > 0


def test_a_server_out_of_reach_is_a_recorded_sample(place: Node) -> None:
    sample = iperf.sample(place, place, "192.0.2.1", IperfSpec(seconds=1))
    assert sample.result is None
    assert "iperf3 reports" in (sample.error or "")
    assert members(place) == []


def test_a_hung_iperf3_is_bounded_and_reaped(place: Node) -> None:
    begun = time.monotonic()
    with pytest.raises(MeasurementError, match="still running"):
        iperf.measure(place, place, "127.0.0.1", IperfSpec(seconds=30, grace=-29.0))
    assert time.monotonic() - begun < 10
    wait_for(lambda: not members(place), 5, lambda: f"left: {members(place)}")


def test_leaving_the_block_ends_both_ends(place: Node) -> None:
    with iperf.started(place, place, "127.0.0.1", IperfSpec(seconds=60)) as run:
        assert run.running()
    assert members(place) == []


def test_ping(place: Node) -> None:
    result = ping.measure(place, "127.0.0.1", count=5, interval=0.01)
    assert (result.sent, result.received, len(result.samples)) == (5, 5, 5)
    with pytest.raises(MeasurementError, match="unreachable"):
        ping.measure(place, "192.0.2.1", count=1)
