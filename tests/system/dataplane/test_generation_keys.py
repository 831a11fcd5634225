"""Each key of a topology file that every generation serves: a packet that depends on it, on each generation."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from hoverboard.contract.generations import available
from tests.generation_keys import SERVED
from tests.system.dataplane.dataplane_rig import ping, socket_in, vm_of
from topologies.emulation.ovs_daemons import datapath_type
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

CLUSTER = """
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    gateway: 10.0.0.9
    subnet6: fd00:7::/64
    firewall:
      ingress: deny
      egress: allow
      rules:
        - {name: pings, direction: ingress, action: allow, protocol: icmp}
        - {name: pings6, direction: ingress, action: allow, protocol: icmpv6}
        - {name: web, direction: ingress, action: allow, protocol: tcp, ports: [8080], targets: [web]}
        - {name: closed, direction: ingress, action: deny, protocol: tcp, ports: [8081], priority: 10}
        - {name: subnet, direction: ingress, action: allow, protocol: tcp, ports: [8081-8082], prefixes: [10.0.0.0/24]}
        - {name: clients, direction: ingress, action: allow, protocol: tcp, ports: [8083], tags: [clients]}
    load_balancers:
      - {name: any, ip: 10.0.0.100, backends: [web-1, web-2]}
      - {name: tcp, ip: 10.0.0.101, backends: [web-2], protocol: tcp, ports: [8080]}
    routes:
      - {name: behind, prefix: 192.168.7.0/24, next_hop: web-2}
      - {name: later, prefix: 192.168.7.0/24, next_hop: web-1, priority: 2000}
      - {name: longer, prefix: 192.168.7.8/32, next_hop: web-1}
    vms:
      - {name: client, host: h1, ip: 10.0.0.20, ip6: "fd00:7::20", tags: [clients]}
      - {name: web-1, host: h1, tags: [web]}
      - {name: web-2, host: h2, tags: [web]}
  - name: red
    vni: 8
    subnets: [10.0.0.0/30, 10.1.0.0/24]
    vms:
      - {name: red-1, host: h1, ip: 10.0.0.2}
      - {name: red-2, host: h2, ip: 10.1.0.20}
"""


@pytest.fixture(scope="module", params=available(datapath_type()))
def bed(
    request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Testbed]:
    """The cluster, with all hosts on one generation."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    file.write_text(CLUSTER)
    made = module_testbed(file, dataplane=request.param)
    for vm, address in (("web-2", "192.168.7.7"), ("web-1", "192.168.7.8"), ("web-1", "192.168.7.7")):
        made.node(vm).cmd(f"ip addr add {address}/32 dev lo")
    yield made
    made.down()


def answers(bed: Testbed, source: str, target: str, port: int) -> str | None:
    """The VM that accepts a connection; None: nobody does in time."""
    listening: dict[str, socket.socket] = {}
    try:
        for vm in ("client", "web-1", "web-2"):
            listening[vm] = socket_in(bed, vm, socket.AF_INET, socket.SOCK_STREAM)
            listening[vm].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening[vm].bind(("0.0.0.0", port))
            listening[vm].listen()
            listening[vm].settimeout(0.2)
        with socket_in(bed, source, socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            try:
                sock.connect((target, port))
            except TimeoutError:
                return None
            return next((vm for vm in listening if _accepts(listening[vm])), None)
    finally:
        for one in listening.values():
            one.close()


def _accepts(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except TimeoutError:
        return False
    return True


def reaches(bed: Testbed, source: str, target: str, *options: str) -> bool:
    return ping(bed, source, target, *options).received > 0


def test_hosts(bed: Testbed) -> None:
    assert reaches(bed, "client", str(vm_of(bed, "web-1").ip)), "to a VM of the same host"
    assert reaches(bed, "client", str(vm_of(bed, "web-2").ip)), "to a VM of the other host"


def test_networks(bed: Testbed) -> None:
    assert (str(vm_of(bed, "client").ip), vm_of(bed, "client").host) == ("10.0.0.20", "h1")
    assert reaches(bed, "red-1", "10.1.0.20"), "from one subnet to the other"
    assert reaches(bed, "red-2", "10.0.0.2")
    assert not reaches(bed, "red-2", "10.0.0.20"), "an address of the other network"


def test_gateway(bed: Testbed) -> None:
    assert reaches(bed, "client", "10.0.0.9")
    assert "via 10.0.0.9" in bed.node("client").cmd("ip route")


def test_ipv6(bed: Testbed) -> None:
    assert reaches(bed, "web-2", "fd00:7::20", "-6")
    assert reaches(bed, "client", str(vm_of(bed, "web-1").ip6), "-6")


def test_firewall(bed: Testbed) -> None:
    web, client = str(vm_of(bed, "web-2").ip), "10.0.0.20"
    assert answers(bed, "client", web, 8080) == "web-2"
    assert answers(bed, "web-2", client, 8080) is None, "it is no target"
    assert answers(bed, "client", web, 8081) is None, "the rule with the lower number denies"
    assert answers(bed, "client", web, 8082) == "web-2"
    assert answers(bed, "client", web, 8083) == "web-2"
    assert answers(bed, "web-1", web, 8083) is None, "it has no such tag"
    assert answers(bed, "client", web, 9090) is None, "no rule"


def test_load_balancers(bed: Testbed) -> None:
    assert reaches(bed, "client", "10.0.0.100"), "no ports: the address alone chooses"
    found = {answers(bed, "client", "10.0.0.100", 8080) for _ in range(12)}
    assert found == {"web-1", "web-2"}, "12 connections; 1 of 2048 times all go to one backend"
    assert answers(bed, "client", "10.0.0.101", 8080) == "web-2"
    assert not reaches(bed, "client", "10.0.0.101"), "TCP alone"


def test_routes(bed: Testbed) -> None:
    assert answers(bed, "client", "192.168.7.7", 8080) == "web-2", "the lower number"
    assert reaches(bed, "client", "192.168.7.7")
    assert answers(bed, "client", "192.168.7.8", 8080) == "web-1", "the longer prefix"
    assert not reaches(bed, "client", "192.168.8.7"), "beside the prefix"


def test_every_key_that_is_served_has_its_test() -> None:
    assert {f"test_{name}" for name in SERVED.values()} <= globals().keys()
