"""Routes on a real cluster: an address behind a VM answers VMs on other hosts, on every kind of data plane."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hoverboard.contract.entities import Route
from hoverboard.contract.errors import EntityError
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)

BEHIND = "192.168.7.7"
CLUSTER = """
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    vms:
      - {name: router, host: h1}
      - {name: beside, host: h1}
      - {name: far, host: h2}
  - name: red
    vni: 8
    subnet: 10.0.0.0/24
    vms: [{name: stranger, host: h2}]
"""


def ping(bed: Testbed, source: str, *arguments: str) -> bool:
    """Whether one of a few pings from a VM is answered."""
    process = bed.node(source).popen(["ping", "-c3", "-i0.2", "-W2", *arguments])
    process.communicate(timeout=20)
    return bool(process.returncode == 0)


def tcp_socket(bed: Testbed, node: str) -> socket.socket:
    """A TCP socket inside a VM."""
    with entered(bed.pid_of(node)):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(15)
    return made


def echoed(bed: Testbed, client: str, server: str, address: str, size: int = 300_000) -> int:
    """Bytes that come back when `client` sends `size` to `address`, at which `server` listens."""
    with tcp_socket(bed, server) as listening, tcp_socket(bed, client) as sending:
        listening.bind((address, 0))
        listening.listen()
        sending.connect(listening.getsockname())
        accepted, peer = listening.accept()
        with accepted:
            assert peer[0] == next(str(vm.ip) for vm in bed.topology.vms if vm.name == client)
            back = 0
            while back < size:
                sending.sendall(b"x" * 10_000)
                at_server = 0
                while at_server < 10_000:
                    got = accepted.recv(65_536)
                    assert got
                    accepted.sendall(got)
                    at_server += len(got)
                while at_server:
                    got = sending.recv(65_536)
                    assert got
                    at_server -= len(got)
                back += 10_000
            return back


@pytest.mark.parametrize(
    ("model", "dataplane"),
    [
        ("hoverboard", "fastpath"),
        ("hoverboard", "pre"),
        pytest.param("hoverboard", "ovs", marks=pytest.mark.long),
        pytest.param("hoverboard", "fastpath-vmm", marks=pytest.mark.long),
        pytest.param("preprogrammed", "pre", marks=pytest.mark.long),
        pytest.param("preprogrammed", "fastpath", marks=pytest.mark.long),
    ],
)
def test_an_address_behind_a_vm_answers(
    testbed: Callable[..., Testbed], tmp_path: Path, model: str, dataplane: str
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model=model, dataplane=dataplane)
    behind = Route(name="behind", network="blue", prefix=IPv4Network("192.168.7.0/24"), next_hop="router")
    bed.upsert(behind)
    bed.node("router").cmd(f"ip addr add {BEHIND}/32 dev lo")

    # From there first: the router asks for its gateway with the address behind it.
    far = next(str(vm.ip) for vm in bed.topology.vms if vm.name == "far")
    bed.node("router").cmd("ip neigh flush all")
    assert ping(bed, "router", "-I", BEHIND, far)
    for source in ("far", "beside"):
        assert ping(bed, source, BEHIND), source
        assert echoed(bed, source, "router", BEHIND) == 300_000
    assert not ping(bed, "far", "192.168.8.1"), "an address beside the prefix"
    assert not ping(bed, "stranger", BEHIND), "another tenant"
    # Only the next hop may send from there.
    bed.node("beside").cmd("ip addr add 192.168.7.8/32 dev lo")
    assert not ping(bed, "beside", "-I", "192.168.7.8", far)
    # What is routed is never offloaded, however much is sent: offloads are of pairs of VMs.
    assert [one for one in bed.offloads() if BEHIND in json.dumps(one)] == []

    with pytest.raises(EntityError, match="still needed by Route"):
        bed.remove_vm("router")
    assert ping(bed, "far", BEHIND)
