"""Policies in topology files: what they become, and what stays as it is when a running file is read again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from controllers.fm.intent_store import IntentStore
from hoverboard.contract.entities import FirewallRule, LoadBalancer, Network, Route
from topologies.changes import placement
from topologies.spec import schema
from topologies.spec.topology import Topology, to_entities

FILE = """
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/28
    vms: [{name: web-1, tags: [web]}, {name: web-2, tags: [web]}, {name: client}]
    firewall:
      ingress: deny
      rules:
        - {name: http, direction: ingress, action: allow, targets: [web], protocol: tcp, ports: [80, 8000-8099]}
    load_balancers:
      - {name: front, ip: 10.0.0.2, backends: [web-1, web-2], protocol: tcp, ports: [80]}
    routes:
      - {prefix: 192.168.0.0/16, next_hop: client}
"""


def addresses(topology: Topology) -> dict[str, str]:
    return {vm.name: str(vm.ip) for vm in topology.vms}


def test_policies_become_entities_that_the_fabric_manager_takes() -> None:
    topology = schema.parse(FILE)
    entities = to_entities(topology)
    IntentStore().full_update(entities)
    assert [one for one in entities if isinstance(one, Network)][0].ingress == "deny"
    assert [one for one in entities if isinstance(one, Route | FirewallRule | LoadBalancer)] == [
        Route(name="blue.192.168.0.0_16", network="blue", prefix=IPv4Network("192.168.0.0/16"), next_hop="client"),
        FirewallRule(
            name="http", network="blue", direction="ingress", action="allow", targets=("web",), protocol="tcp",
            ports=((80, 80), (8000, 8099)),
        ),
        LoadBalancer(
            name="front", network="blue", ip=IPv4Address("10.0.0.2"), backends=("web-1", "web-2"), protocol="tcp",
            ports=((80, 80),),
        ),
    ]  # fmt: skip


def test_a_shared_address_is_no_vms_own_and_is_had_by_the_backends() -> None:
    topology = schema.parse(FILE)
    assert addresses(topology) == {"web-1": "10.0.0.3", "web-2": "10.0.0.4", "client": "10.0.0.5"}
    assert {vm.name: vm.shared for vm in topology.vms} == {
        "web-1": (IPv4Address("10.0.0.2"),), "web-2": (IPv4Address("10.0.0.2"),), "client": (),
    }  # fmt: skip
    later = placement.plan_vm(topology, "blue")
    assert later.ip == IPv4Address("10.0.0.6")
    grown = topology.with_vm(later)
    assert grown.vms[0].shared == topology.vms[0].shared
    assert grown.without_vm(later) == topology


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vms: [{name: web-1, tags: [web]}, ", "vms: [{name: new}, {name: web-1, tags: [web]}, "),
        ("10.0.0.2, backends", "10.0.0.9, backends"),
        ("{name: client}", "{name: other}, {name: client}"),
    ],
)
def test_what_runs_stays_where_it_is(before: str, after: str) -> None:
    running = schema.parse(FILE)
    assert before in FILE
    wanted = schema.parse(FILE.replace(before, after), running=running)
    place = {vm.name: (vm.host, vm.ip) for vm in wanted.vms}
    assert all(place[vm.name] == (vm.host, vm.ip) for vm in running.vms)
    assert len({ip for _, ip in place.values()}) == len(place)


def test_what_a_file_says_is_done_also_to_what_runs() -> None:
    running = schema.parse(FILE)
    wanted = schema.parse(FILE.replace("{name: client}", "{name: client, host: h2, ip: 10.0.0.9}"), running=running)
    assert {vm.name: (vm.host, str(vm.ip)) for vm in wanted.vms}["client"] == ("h2", "10.0.0.9")


def test_ipv6_addresses_stay_too() -> None:
    text = "hosts: 1\nnetworks: [{name: a, vni: 1, subnet: 10.0.0.0/24, subnet6: 'fd00:7::/64', vms: [%s]}]\n"
    running = schema.parse(text % "{name: x}, {name: y}")
    wanted = schema.parse(text % "{name: z}, {name: y}", running=running)
    assert {vm.name: str(vm.ip6) for vm in wanted.vms} == {"z": "fd00:7::2", "y": "fd00:7::3"}
