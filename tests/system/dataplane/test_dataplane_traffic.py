"""TCP, UDP and ping of every size, on both generations and between them, by the Hoverboard and direct."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.system.dataplane.dataplane_rig import (
    Stream,
    drops,
    node_status,
    offloaded,
    ping,
    relayed,
    transfer,
    udp,
    vm_of,
    wires,
)
from tests.waiting import until
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)

SIZES = (1, 1411, 65_537, 2_000_003)
UDP_SEGMENT = 103  # linux/udp.h: have the kernel, or the NIC, cut one send into datagrams
CLUSTERS = {
    "fastpath": ("demo", "fastpath", ["blue-1", "blue-2", "blue-3"]),
    "ovs": ("two-hosts", "ovs", ["blue-1", "blue-2"]),
    # h1 and h3 are fast paths, h2 and h4 Open vSwitch; the Hoverboard is a fast path
    "mixed": ("mixed", None, ["blue-1", "blue-2", "blue-3", "blue-4"]),
}


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed]) -> Iterator[Testbed]:
    topology, dataplane, _ = CLUSTERS[request.param]
    bed = module_testbed(topology, dataplane=dataplane)
    yield bed
    bed.down()  # the next cluster has the machine to itself


def pairs(bed: Testbed) -> list[tuple[str, str]]:
    """Blue VMs on different hosts, each pair in one direction, for transfers go both ways."""
    vms = next(vms for name, _, vms in CLUSTERS.values() if name == bed.topology.name)
    return [(one, two) for i, one in enumerate(vms) for two in vms[i + 1 :]]


class TestTraffic:
    def test_tcp_over_the_hoverboard_carries_every_byte(self, cluster: Testbed) -> None:
        before = node_status(cluster, "hv1")["counters"]["tx_packets"]
        for src, dst in pairs(cluster):
            for size in SIZES[:3]:
                transfer(cluster, src, dst, size)
        until(
            lambda: node_status(cluster, "hv1")["counters"]["tx_packets"] > before + 20,
            5, "packets that the Hoverboard relays",
        )  # fmt: skip

    def test_tcp_after_the_offload_carries_every_byte_and_leaves_the_hoverboard_alone(self, cluster: Testbed) -> None:
        for src, dst in pairs(cluster)[:3]:
            with Stream(cluster, src, dst, rate=200, size=400), Stream(cluster, dst, src, rate=200, size=400):
                until(
                    lambda src=src, dst=dst: offloaded(cluster, src, dst) and offloaded(cluster, dst, src),
                    10, f"the offload of {src} - {dst}",
                )  # fmt: skip
        for src, dst in pairs(cluster):
            transfer(cluster, src, dst, SIZES[-1])
        if cluster.topology.name == "demo":
            src, dst = pairs(cluster)[0]
            before = relayed(cluster, "hv1", src, dst), relayed(cluster, "hv1", dst, src)
            transfer(cluster, src, dst, SIZES[-1])
            assert (relayed(cluster, "hv1", src, dst), relayed(cluster, "hv1", dst, src)) == before

    def test_iperf3_runs(self, cluster: Testbed) -> None:
        src, dst = pairs(cluster)[0]
        server = cluster.node(dst).popen(["iperf3", "-s", "-1", "--forceflush"], text=True)
        try:
            line = ""
            while "listening" not in line:
                line = server.stdout.readline()
                assert line, "iperf3 -s ended"
            client = cluster.node(src).popen(
                ["iperf3", "-J", "-c", str(vm_of(cluster, dst).ip), "-t", "1", "-P", "4"], text=True
            )
            report = json.loads(client.communicate(timeout=20)[0])
            assert report["end"]["sum_received"]["bytes"] > 1_000_000, report.get("error")
        finally:
            server.kill()
            server.communicate(timeout=10)

    def test_udp_of_every_size_arrives_whole_and_checksummed(self, cluster: Testbed) -> None:
        for src, dst in pairs(cluster):
            with udp(cluster, src) as one, udp(cluster, dst) as two:
                for size in (0, 1, 511, 1422, 1423, 9001):  # 1422 fills the MTU, more comes in fragments
                    data = bytes(i * 7 & 0xFF for i in range(size))
                    one.sendto(data, two.getsockname())
                    there, sender = two.recvfrom(65536)
                    assert there == data, f"{src} -> {dst}, {size} bytes"
                    two.sendto(there[::-1], sender)
                    assert one.recv(65536) == data[::-1], f"{dst} -> {src}, {size} bytes"

    def test_udp_segments_arrive_as_datagrams(self, cluster: Testbed) -> None:
        for src, dst in pairs(cluster):
            with udp(cluster, src) as one, udp(cluster, dst) as two:
                one.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
                data = bytes(i * 11 & 0xFF for i in range(20_500))
                one.sendto(data, two.getsockname())
                parts = [two.recv(65536) for _ in range(21)]
                assert sorted(map(len, parts)) == [500] + [1000] * 20, f"{src} -> {dst}"
                assert b"".join(parts) == data, f"{src} -> {dst}"

    @pytest.mark.parametrize("size", [0, 56, 1422, 1423, 4000, 20_000])
    def test_ping_of_every_size(self, cluster: Testbed, size: int) -> None:
        for src, dst in pairs(cluster):
            for one, two in ((src, dst), (dst, src)):
                result = ping(cluster, one, vm_of(cluster, two).ip, "-s", str(size))
                assert result.received >= 3, f"{one} -> {two}: {result.text}"

    def test_vms_of_one_host_talk_without_the_fabric(self, cluster: Testbed) -> None:
        if cluster.topology.name != "two-hosts":
            pytest.skip("one VM a host and tenant here")
        transfer(cluster, "blue-1", "blue-3", SIZES[-1])
        assert ping(cluster, "blue-1", vm_of(cluster, "blue-3").ip, "-s", "4000").received >= 3


class TestWhatAVmSees:
    def test_the_gateway_answers_arp_and_ping(self, cluster: Testbed) -> None:
        for vm in cluster.topology.vms[:4]:
            assert ping(cluster, vm.name, vm.gateway).received >= 3
            neighbours = json.loads(cluster.node(vm.name).cmd("ip -j neigh"))
            known = [(n["dst"], n["lladdr"]) for n in neighbours]
            assert known == [(str(vm.gateway), "02:00:5e:00:00:01")], "the gateway is all a VM ever resolves"

    def test_the_gateway_answers_pings_up_to_the_mtu(self, cluster: Testbed) -> None:
        vm = cluster.topology.vms[0]
        assert ping(cluster, vm.name, vm.gateway, "-s", "1422").received >= 3

    def test_fragments_for_the_gateway_are_dropped_by_name(self, cluster: Testbed) -> None:
        """Open vSwitch sees no ICMP type in a fragment: it goes where any unknown address goes."""
        vm = cluster.topology.vms[0]
        before = drops(cluster, "hv1").get("no-route", 0)
        assert ping(cluster, vm.name, vm.gateway, "-s", "4000", "-w1", count=1).received == 0
        until(lambda: drops(cluster, "hv1").get("no-route", 0) >= before + 3, 5, "its fragments among the drops")

    def test_nothing_of_the_underlay(self, cluster: Testbed) -> None:
        vm = cluster.topology.vms[0]
        node = cluster.node(vm.name)
        assert [link["ifname"] for link in json.loads(node.cmd("ip -j link"))] == ["lo", "eth0"]
        assert {route["dst"] for route in json.loads(node.cmd("ip -j route"))} <= {"default", str(vm.gateway)}
        for server in cluster.topology.servers:
            assert ping(cluster, vm.name, server.underlay_ip, "-w1", count=1).received == 0

    def test_no_packet_crosses_tenants_that_share_addresses(self, cluster: Testbed) -> None:
        if cluster.topology.name == "two-hosts":
            pytest.skip("one tenant here")
        red = [vm.name for vm in cluster.topology.networks[1].vms]
        blue = [vm.name for vm in cluster.topology.networks[0].vms]
        assert {vm.ip for vm in cluster.topology.networks[0].vms} == {vm.ip for vm in cluster.topology.networks[1].vms}
        marker = b"only for the blue tenant"
        with wires(cluster, *red, *blue) as heard, udp(cluster, "blue-1") as sender:
            for wire in heard.values():
                wire.heard(marker)
            for vm in cluster.topology.networks[0].vms[1:]:
                for _ in range(20):
                    sender.sendto(marker, (str(vm.ip), 7777))
                until(lambda vm=vm: heard[vm.name].heard(marker) > 0, 5, f"{vm.name} to hear it")
            assert sum(heard[name].heard(marker) for name in red) == 0
