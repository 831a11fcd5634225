"""IPv6 inside the overlay: both families on one NIC, over the Hoverboard and offloaded, tenants apart."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, GATEWAY_MAC
from hoverboard.contract.packets import mac_bytes
from topologies.emulation.devices import GUEST_DEVICE, entered
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(200)

Eventually = Callable[[Callable[[], bool], float, str], None]
CLUSTER = """
hosts: 2
offload_threshold: 1mbit
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms:
      - {name: one, host: h1}
      - {name: two, host: h2}
      - {name: beside, host: h1}
      - {name: old, host: h2, ip6: false}
  - name: red
    vni: 8
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms:
      - {name: red-one, host: h1}
      - {name: red-two, host: h2}
"""


@pytest.fixture(scope="module", params=["ovs", "fastpath"])
def cluster(
    request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory
) -> Testbed:
    file = tmp_path_factory.mktemp("ipv6") / "both.yaml"
    file.write_text(CLUSTER, encoding="utf-8")
    return module_testbed(file, dataplane=request.param)


def run(bed: Testbed, node: str, *command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    process = bed.node(node).popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def answered(bed: Testbed, node: str, address: str, *, count: int = 3) -> bool:
    """Whether one of a few pings is answered: the first may wait for a host to find another on the fabric."""
    return run(bed, node, "ping", "-6", f"-c{count}", "-i0.2", "-W2", address).returncode == 0


def address6(bed: Testbed, vm: str) -> str:
    return str(next(one.ip6 for one in bed.topology.vms if one.name == vm))


def drops(bed: Testbed, host: str, reason: str) -> int:
    client = bed.host_client(host)
    try:
        return int(client.status()["counters"]["drops"].get(reason, 0))
    finally:
        client.close()


def transmit(bed: Testbed, vm: str, source: str, destination: str, times: int = 5) -> None:
    """Frames with any IPv6 source, straight out of a VM's NIC."""
    own = next(one.mac for one in bed.topology.vms if one.name == vm)
    payload = bytes(8)
    frame = (
        mac_bytes(GATEWAY_MAC) + mac_bytes(own) + b"\x86\xdd"
        + b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([59, 64])
        + IPv6Address(source).packed + IPv6Address(destination).packed + payload
    )  # fmt: skip
    with entered(bed.pid_of(vm)):
        nic = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with nic:
        nic.bind((GUEST_DEVICE, 0))
        for _ in range(times):
            nic.send(frame)


def test_a_guest_has_an_address_a_link_local_one_and_a_route_over_the_gateway(cluster: Testbed) -> None:
    addresses = json.loads(run(cluster, "one", "ip", "-6", "-j", "address", "show", "dev", GUEST_DEVICE).stdout)
    found = {(one["local"], one["prefixlen"]) for one in addresses[0]["addr_info"]}
    vm = next(one for one in cluster.topology.vms if one.name == "one")
    assert found == {("fd00:7::2", 128), ("fe80::407:aff:fe00:2", 64)}
    assert vm.mac == "06:07:0a:00:00:02"
    routes = json.loads(run(cluster, "one", "ip", "-6", "-j", "route").stdout)
    assert [one["gateway"] for one in routes if one["dst"] == "default"] == [str(GATEWAY_LINK_LOCAL)]
    assert answered(cluster, "one", f"{GATEWAY_LINK_LOCAL}%{GUEST_DEVICE}")
    neighbours = run(cluster, "one", "ip", "-6", "neighbour").stdout
    assert f"{GATEWAY_LINK_LOCAL} dev {GUEST_DEVICE} lladdr {GATEWAY_MAC} router" in neighbours
    assert run(cluster, "old", "ip", "-6", "address").stdout == ""


def test_vms_reach_each_other_on_one_host_and_across_hosts(cluster: Testbed) -> None:
    for source, target in (("one", "beside"), ("one", "two"), ("two", "one"), ("red-one", "red-two")):
        assert answered(cluster, source, address6(cluster, target)), (source, target)


def test_tcp_goes_over_the_hoverboard_first_and_then_host_to_host(cluster: Testbed, eventually: Eventually) -> None:
    def via(peer: str) -> bool:
        rows = cluster.flows("h1")["entries"]
        return any(
            (row["src"], row["dst"], row["proto"], row["via"]) == (here, there, 6, peer) and row["packets"] > 0
            for row in rows
        )

    here, there = address6(cluster, "beside"), address6(cluster, "two")
    hoverboard, target = str(cluster.topology.hoverboards[0].underlay_ip), str(cluster.topology.hosts[1].underlay_ip)
    client, server = cluster.node("beside"), cluster.node("two")
    # Below the threshold of an offload: the Hoverboard carries it.
    slow = IperfSpec(seconds=3, rate_bps=200e3, length=1000)
    with iperf.started(client, server, there, slow) as running:
        eventually(lambda: via(hoverboard), 10, "no TCP over the Hoverboard")
        assert not [row for row in cluster.offloads() if row["src"] == "beside"]
        assert running.wait().bps > 100e3
    with iperf.started(client, server, there, IperfSpec(seconds=5)) as running:
        eventually(lambda: via(target), 10, "no TCP host to host")
        assert [row["dst"] for row in cluster.offloads() if row["src"] == "beside"] == ["two"]
        assert running.wait().bps > 10e6


def test_two_networks_with_the_same_addresses_hear_nothing_of_each_other(cluster: Testbed) -> None:
    def echoes(vm: str) -> int:
        text = run(cluster, vm, "cat", "/proc/net/snmp6").stdout
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Icmp6InEchos ")))

    before = {vm: echoes(vm) for vm in ("two", "red-two")}
    assert address6(cluster, "two") == address6(cluster, "red-two")
    assert answered(cluster, "red-one", address6(cluster, "red-two"), count=4)
    after = {vm: echoes(vm) for vm in before}
    assert after["two"] == before["two"]
    assert after["red-two"] > before["red-two"]
    # Where only blue has the address, red reaches nobody.
    assert not answered(cluster, "red-one", address6(cluster, "beside"), count=2)


@pytest.mark.parametrize(
    ("vm", "host", "source", "destination", "reason"),
    [
        ("one", "h1", "fd00:7::3", "fd00:7::4", "spoofed"),
        ("one", "h1", "fe80::9", "fe80::1", "spoofed"),
        ("one", "h1", "fd00:7::2", "fe80::9", "link-local"),
        ("one", "h1", "fe80::407:aff:fe00:2", "fd00:7::4", "link-local"),
        ("one", "h1", "fe80::407:aff:fe00:2", "ff02::2", "multicast"),
        ("one", "h1", "::", "ff02::2", "multicast"),
        ("old", "h2", "fd00:7::5", "fd00:7::2", "no-ipv6"),
    ],
)
def test_what_may_not_be_sent_is_dropped_by_its_reason(
    cluster: Testbed, eventually: Eventually, vm: str, host: str, source: str, destination: str, reason: str
) -> None:
    before = drops(cluster, host, reason)
    transmit(cluster, vm, source, destination)
    eventually(lambda: drops(cluster, host, reason) >= before + 5, 10, f"no 5 packets dropped as {reason}")


def test_a_vm_that_comes_later_has_both_families(cluster: Testbed) -> None:
    vm = cluster.add_vm("blue", "late", "h2")
    assert vm.ip6 is not None
    assert answered(cluster, "one", str(vm.ip6))
    cluster.remove_vm("late")
