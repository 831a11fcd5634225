"""IPv6 in topologies: addresses in order, given, or none; the same from a file and from a `Topo`."""

from __future__ import annotations

import struct

import pytest

from hoverboard.contract.errors import InputError
from topologies.changes import placement
from topologies.emulation.ping import echo6_request, is_reply6
from topologies.emulation.topo import ClusterTopo
from topologies.spec import schema
from topologies.spec.topology import to_entities

TEXT = """
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms:
      - {}
      - {ip6: "fd00:7::2"}
      - {ip6: false}
      - {}
  - {name: plain, vni: 8, subnet: 10.0.0.0/24, vms: 1}
"""


def addresses(topology):
    return {vm.name: None if vm.ip6 is None else str(vm.ip6) for vm in topology.vms}


def test_addresses_are_given_in_order_around_those_in_the_file():
    assert addresses(schema.parse(TEXT)) == {
        "blue-1": "fd00:7::3", "blue-2": "fd00:7::2", "blue-3": None, "blue-4": "fd00:7::4", "plain-1": None,
    }  # fmt: skip


def test_entities_carry_both_families():
    entities = {entity.name: entity for entity in to_entities(schema.parse(TEXT))}
    assert str(entities["blue.10.0.0.0_24"].prefix6) == "fd00:7::/64"
    assert entities["plain.10.0.0.0_24"].prefix6 is None
    assert str(entities["blue-2"].ip6) == "fd00:7::2"
    assert entities["blue-3"].ip6 is None


def test_a_vm_has_a_gateway_for_each_family():
    one, _, without, *_ = schema.parse(TEXT).vms
    assert [str(gateway) for gateway in one.gateways] == ["10.0.0.1", "fe80::1"]
    assert [str(gateway) for gateway in without.gateways] == ["10.0.0.1"]


def test_a_topo_resolves_to_what_its_topology_says():
    given = schema.parse(TEXT)
    topo = ClusterTopo(topology=given)
    topo._given = None  # what a subclass that builds its own has
    assert addresses(topo.topology()) == addresses(given)


def test_a_vm_that_comes_later_gets_the_next_address():
    topology = schema.parse(TEXT)
    assert str(placement.plan_vm(topology, "blue").ip6) == "fd00:7::5"
    assert placement.plan_vm(topology, "plain").ip6 is None


def test_a_network_without_a_free_address_says_so():
    crowded = schema.parse(TEXT.replace("fd00:7::/64", "fd00:7::/126").replace("      - {}\n", "", 1))
    with pytest.raises(InputError, match="no free IPv6 address"):
        placement.plan_vm(crowded, "blue")


def test_an_echo_reply_is_known_by_its_identifier():
    request = echo6_request(3)
    assert not is_reply6(request)
    assert is_reply6(bytes([129]) + request[1:])
    assert not is_reply6(struct.pack("!BBHHH", 129, 0, 0, 1, 3))
    assert not is_reply6(b"\x81")
