"""Every packet that may not pass is dropped, counted by its own reason where it is dropped, and seen by no VM."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.encapsulation import GATEWAY_MAC
from tests.system.dataplane.dataplane_rig import Wire, drops, vm_of, wires
from tests.system.dataplane.frames import arp, datagram, ethernet, geneve, ipv4, outer
from tests.waiting import until
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)

BLUE, UNKNOWN_VNI = 7, 999
OWN, NEIGHBOUR, GATEWAY, NOBODY = "10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.99"
STRANGER = "06:07:0a:00:00:63"
COUNT = 3  # packets of each kind: what is cached after the first must be counted as well


@pytest.fixture(scope="module", params=["fastpath", "ovs"])
def cluster(request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed]) -> Iterator[Testbed]:
    """Two hosts, one Hoverboard; blue-1 (10.0.0.2) and blue-3 on h1, blue-2 and blue-4 on h2."""
    bed = module_testbed("two-hosts", dataplane=request.param)
    yield bed
    bed.down()


@pytest.fixture(scope="module")
def ears(cluster: Testbed) -> Iterator[dict[str, Wire]]:
    with wires(cluster, cluster.fabric_name, *(vm.name for vm in cluster.topology.vms)) as made:
        yield made


def own_mac(bed: Testbed) -> str:
    return vm_of(bed, "blue-1").mac


def from_vm(mac: str, body: bytes, kind: int = 0x0800, dst: str = GATEWAY_MAC) -> bytes:
    return ethernet(dst, mac, kind, body)


UDP, IPV6 = datagram, struct.pack("!IHBB", 6 << 28, 16, 59, 64) + bytes(32)
# What blue-1 sends: (own MAC, marker) -> frame; the reason; where it is counted.
SENT_BY_A_VM = {
    "source address of another": (lambda m, x: from_vm(m, ipv4(NOBODY, NEIGHBOUR, 17, UDP(9, x))), "spoofed", "h1"),
    "source MAC of another": (lambda m, x: from_vm(STRANGER, ipv4(OWN, NEIGHBOUR, 17, UDP(9, x))), "spoofed", "h1"),
    "IPv6": (lambda m, x: from_vm(m, IPV6 + x, 0x86DD), "no-ipv6", "h1"),
    "another Ethernet type": (lambda m, x: from_vm(m, x.ljust(50), 0x88B5), "spoofed", "h1"),
    "ARP for a neighbour": (lambda m, x: from_vm(m, arp(1, m, OWN, NEIGHBOUR) + x, 0x0806), "arp-not-gateway", "h1"),
    "ARP as another": (lambda m, x: from_vm(m, arp(1, m, NOBODY, GATEWAY) + x, 0x0806), "spoofed", "h1"),
    "ARP with another's MAC": (lambda m, x: from_vm(m, arp(1, STRANGER, OWN, GATEWAY) + x, 0x0806), "spoofed", "h1"),
    "an ARP answer": (lambda m, x: from_vm(m, arp(2, m, OWN, GATEWAY) + x, 0x0806), "arp-not-gateway", "h1"),
    "to an address nobody has": (lambda m, x: from_vm(m, ipv4(OWN, NOBODY, 17, UDP(9, x))), "no-route", "hv1"),
    "to the Internet": (lambda m, x: from_vm(m, ipv4(OWN, "192.0.2.1", 6, bytes(20) + x)), "no-route", "hv1"),
    "to the underlay": (lambda m, x: from_vm(m, ipv4(OWN, "172.16.0.2", 17, datagram(6081, x))), "no-route", "hv1"),
    "TCP to the gateway": (lambda m, x: from_vm(m, ipv4(OWN, GATEWAY, 6, bytes(20) + x)), "no-route", "hv1"),
}  # fmt: skip
MALFORMED = {
    "a VLAN tag": (lambda m, x: from_vm(m, b"\0\5\x08\0" + ipv4(OWN, NEIGHBOUR, 17, UDP(9, x)), 0x8100), "vlan"),
    "no IPv4 header": (lambda m, x: from_vm(m, b""), "malformed-ipv4"),
    "version 5": (lambda m, x: from_vm(m, ipv4(OWN, NEIGHBOUR, 17, UDP(9, x), version=5)), "malformed-ipv4"),
    "header too short": (lambda m, x: from_vm(m, ipv4(OWN, NEIGHBOUR, 17, UDP(9, x), words=4)), "malformed-ipv4"),
    "longer than it is": (
        lambda m, x: from_vm(m, ipv4(OWN, NEIGHBOUR, 17, UDP(9, x), total=1400)), "malformed-ipv4",
    ),
    "half a TCP header": (lambda m, x: from_vm(m, ipv4(OWN, NEIGHBOUR, 6, b"half")), "malformed-ipv4"),
}  # fmt: skip


def expect(
    bed: Testbed, ears: dict[str, Wire], sender: str, frame: bytes, marker: bytes, reason: str, node: str
) -> None:
    """Send it COUNT times: its counter rises by as much, no other does, no VM hears anything."""
    servers = [server.name for server in bed.topology.servers]
    before = {name: drops(bed, name) for name in servers}
    for ear in ears.values():
        ear.heard(marker)
    for _ in range(COUNT):
        ears[sender].send(frame)
    until(
        lambda: drops(bed, node).get(reason, 0) - before[node].get(reason, 0) >= COUNT,
        5, f"{reason} at {node}; drops there: {drops(bed, node)}, before: {before[node]}",
    )  # fmt: skip
    before[node][reason] = before[node].get(reason, 0) + COUNT
    assert {name: drops(bed, name) for name in servers} == before
    assert not [vm.name for vm in bed.topology.vms if ears[vm.name].heard(marker)]


@pytest.mark.parametrize("case", SENT_BY_A_VM)
def test_what_a_vm_may_not_send(cluster: Testbed, ears: dict[str, Wire], case: str) -> None:
    make, reason, node = SENT_BY_A_VM[case]
    marker = uuid.uuid4().bytes
    expect(cluster, ears, "blue-1", make(own_mac(cluster), marker), marker, reason, node)


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed(cluster: Testbed, ears: dict[str, Wire], case: str) -> None:
    if cluster.topology.hosts[0].dataplane == "ovs":
        pytest.skip("Open vSwitch has its own names for these")
    make, reason = MALFORMED[case]
    marker = uuid.uuid4().bytes
    expect(cluster, ears, "blue-1", make(own_mac(cluster), marker), marker, reason, "h1")


def inner(bed: Testbed, marker: bytes, dst: str = OWN) -> bytes:
    """A frame for blue-1, as blue-2's host would send it."""
    body = ipv4(NEIGHBOUR, dst, 17, datagram(9, marker))
    return ethernet(GATEWAY_MAC, vm_of(bed, "blue-2").mac, 0x0800, body)


CRITICAL, STRANGE = struct.pack("!HBB", 0x0101, 0x81, 0), struct.pack("!HBB", 0x0101, 0x01, 0)
# What the fabric brings to h1: (inner frame) -> Geneve packet, more for outer(); the reason.
FROM_THE_FABRIC = {
    "a VNI nobody has": (lambda frame: (geneve(UNKNOWN_VNI, frame), {}), "unknown-vni"),
    "a critical option": (lambda frame: (geneve(BLUE, frame, options=CRITICAL), {}), "geneve-critical-option"),
    "another version": (lambda frame: (geneve(BLUE, frame, version=1), {}), "malformed-outer"),
    "options beyond the end": (lambda frame: (geneve(BLUE, frame[:60], words=63), {}), "malformed-outer"),
    "an option beyond the options": (
        lambda frame: (geneve(BLUE, frame, options=struct.pack("!HBB", 0x0101, 1, 9)), {}), "malformed-outer",
    ),
    "a wrong UDP length": (lambda frame: (geneve(BLUE, frame), {"length": 30}), "malformed-outer"),
    "another UDP port": (lambda frame: (geneve(BLUE, frame), {"port": 4789}), "not-geneve"),
    "half an inner frame": (lambda frame: (geneve(BLUE, frame[:9]), {}), "short-frame"),
    "half an inner header": (lambda frame: (geneve(BLUE, frame[:30]), {}), "malformed-ipv4"),
    "an inner VLAN tag": (lambda frame: (geneve(BLUE, frame[:12] + b"\x81\0\0\5" + frame[12:]), {}), "vlan"),
    "inner ARP": (lambda frame: (geneve(BLUE, frame[:12] + b"\x08\x06" + frame[14:]), {}), "no-such-vm"),
}  # fmt: skip


@pytest.mark.parametrize("case", FROM_THE_FABRIC)
def test_what_the_fabric_may_not_bring(cluster: Testbed, ears: dict[str, Wire], case: str) -> None:
    make, reason = FROM_THE_FABRIC[case]
    if cluster.topology.hosts[0].dataplane == "ovs" and reason not in ("unknown-vni", "no-such-vm"):
        pytest.skip("Open vSwitch drops these before its tables and counts them nowhere")
    one, two = (server.underlay_ip for server in cluster.topology.hosts)
    marker = uuid.uuid4().bytes
    payload, more = make(inner(cluster, marker))
    expect(cluster, ears, cluster.fabric_name, outer(two, one, payload, **more), marker, reason, "h1")


def test_what_is_for_a_vm_elsewhere_is_not_sent_on_by_a_host(cluster: Testbed, ears: dict[str, Wire]) -> None:
    one, two = (server.underlay_ip for server in cluster.topology.hosts)
    marker = uuid.uuid4().bytes
    frame = outer(two, one, geneve(BLUE, inner(cluster, marker, dst=NEIGHBOUR)))
    expect(cluster, ears, cluster.fabric_name, frame, marker, "no-such-vm", "h1")


def test_an_unknown_vni_at_the_hoverboard(cluster: Testbed, ears: dict[str, Wire]) -> None:
    marker = uuid.uuid4().bytes
    source, target = cluster.topology.hosts[0].underlay_ip, cluster.topology.hoverboards[0].underlay_ip
    frame = outer(source, target, geneve(UNKNOWN_VNI, inner(cluster, marker)))
    expect(cluster, ears, cluster.fabric_name, frame, marker, "unknown-vni", "hv1")


def test_what_is_for_another_machine(cluster: Testbed, ears: dict[str, Wire]) -> None:
    if cluster.topology.hosts[0].dataplane == "ovs":
        pytest.skip("the node's own kernel drops it")
    marker = uuid.uuid4().bytes
    one, two = (server.underlay_ip for server in cluster.topology.hosts)
    frame = bytearray(outer(two, one, geneve(BLUE, inner(cluster, marker))))
    frame[30:34] = IPv4Address("172.16.77.77").packed
    expect(cluster, ears, cluster.fabric_name, bytes(frame), marker, "not-for-this-host", "h1")


def test_a_harmless_unknown_option_is_ignored(cluster: Testbed, ears: dict[str, Wire]) -> None:
    marker = uuid.uuid4().bytes
    one, two = (server.underlay_ip for server in cluster.topology.hosts)
    ears["blue-1"].heard(marker)
    ears[cluster.fabric_name].send(outer(two, one, geneve(BLUE, inner(cluster, marker), options=STRANGE)))
    until(lambda: ears["blue-1"].heard(marker) == 1, 5, "the packet")


def test_a_vlan_tag_from_a_vm_reaches_nobody(cluster: Testbed, ears: dict[str, Wire]) -> None:
    tagged, plain = uuid.uuid4().bytes, uuid.uuid4().bytes
    make, _ = MALFORMED["a VLAN tag"]
    ears["blue-2"].heard(tagged)
    for _ in range(COUNT):
        ears["blue-1"].send(make(own_mac(cluster), tagged))
    ears["blue-1"].send(from_vm(own_mac(cluster), ipv4(OWN, NEIGHBOUR, 17, datagram(9, plain))))
    heard = {tagged: 0, plain: 0}

    def after() -> bool:
        for marker, count in ears["blue-2"].heard_of(tagged, plain).items():
            heard[marker] += count
        return heard[plain] > 0

    until(after, 5, "the packet sent after it")
    assert heard[tagged] == 0
