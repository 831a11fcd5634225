"""A VM that is added to a run: the values that a topology file can give, their defaults and their refusals."""

from __future__ import annotations

from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from topologies.changes.placement import VMValues, plan_vm
from topologies.spec import schema
from topologies.spec.keys import VMKeys
from topologies.spec.topology import Topology

FILE = """
hosts: [{dataplane: ovs}, {}, {program: external, controller: 'tcp:127.0.0.1:6653'}]
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms: [{host: h1}, {host: h2}, {host: h2}]
    load_balancers: [{name: front, ip: 10.0.0.100, backends: [blue-1]}]
  - {name: slow, vni: 8, subnet: 10.0.0.0/24, rate: 5mbit}
  - {name: guarded, vni: 9, subnet: 10.0.0.0/24, firewall: {ingress: deny}}
  - {name: ruled, vni: 10, subnet: 10.0.0.0/24, firewall: {rules: [{name: r, direction: egress, action: allow}]}}
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return schema.parse(FILE)


def test_a_vm_takes_what_a_file_can_give(topology: Topology) -> None:
    # `name` and `host` are arguments of their own; `external_ip` is reserved in files, too.
    assert set(VMValues.__annotations__) == set(VMKeys.model_fields) - {"name", "host", "external_ip"}
    vm = plan_vm(topology, "blue", "x", "h2", ip="10.0.0.77", ip6="fd00:7::77", tags=["web", "db"], rate="1.5mbit")
    assert (vm.name, vm.host, str(vm.ip), str(vm.ip6)) == ("x", "h2", "10.0.0.77", "fd00:7::77")
    assert (vm.tags, vm.rate) == (("web", "db"), 1_500_000)
    entity = vm.entity()
    assert (entity.tags, str(entity.ip)) == (("web", "db"), "10.0.0.77")


def test_what_is_not_given_is_what_a_file_would_leave_open(topology: Topology) -> None:
    vm = plan_vm(topology, "blue")
    assert (str(vm.ip), str(vm.ip6), vm.tags, vm.rate) == ("10.0.0.5", "fd00:7::5", (), None)
    assert plan_vm(topology, "blue", ip6=False).ip6 is None
    assert plan_vm(topology, "slow").rate == 5_000_000
    assert plan_vm(topology, "slow", rate="1mbit").rate == 1_000_000


@pytest.mark.parametrize(
    ("values", "where", "what"),
    [
        ({"ip": "10.0.0.2"}, "ip", "10.0.0.2 is the address of VM 'blue-1'"),
        ({"ip": "10.0.0.100"}, "ip", "10.0.0.100 is the address of load balancer 'front'"),
        ({"ip": "10.0.0.1"}, "ip", "10.0.0.1 is the address of the gateway"),
        ({"ip": "10.0.0.0"}, "ip", "10.0.0.0 is not a VM's address in 10.0.0.0/24"),
        ({"ip": "10.0.1.1"}, "ip", "10.0.1.1 is not a VM's address in 10.0.0.0/24"),
        ({"ip": "10.0.0"}, "ip", "'10.0.0' is not an IPv4 address"),
        ({"ip6": "fd00:7::2"}, "ip6", "fd00:7::2 is the address of VM 'blue-1'"),
        ({"ip6": "fd00:7::"}, "ip6", "fd00:7:: is not a VM's address in fd00:7::/64"),
        ({"ip6": "fd00:8::2"}, "ip6", "fd00:8::2 is not a VM's address in fd00:7::/64"),
        ({"ip6": "none"}, "ip6", "'none' is not an IPv6 address"),
        ({"rate": "fast"}, "rate", "'fast' is not a rate"),
        ({"tags": ["a b"]}, "tags", "'a b' is not a valid name"),
    ],
)
def test_a_value_that_is_wrong_or_taken_is_refused_by_its_name(
    topology: Topology, values: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(InputError) as refused:
        plan_vm(topology, "blue", **values)
    assert (refused.value.where, refused.value.what) == (where, what)
    assert refused.value.next_step


def test_an_ipv6_address_needs_a_range_of_the_network(topology: Topology) -> None:
    with pytest.raises(InputError, match="the network has no IPv6 range"):
        plan_vm(topology, "slow", ip6="fd00:7::9")


def test_a_rate_goes_only_to_a_host_that_enforces_it(topology: Topology) -> None:
    assert plan_vm(topology, "blue").host == "h3"  # the fewest VMs
    one = schema.parse(FILE.replace("{}, {program", "{dataplane: pre}, {dataplane: ovs, program"))
    for network, rate, host in (("blue", "1mbit", "h1"), ("slow", None, "h1"), ("blue", "1mbit", None)):
        with pytest.raises(InputError, match="dataplane ovs has no rate limits, and the VM would have one"):
            plan_vm(one, network, host=host, rate=rate)
    with pytest.raises(InputError, match="dataplane pre has no rate limits"):
        plan_vm(one, "blue", host="h2", rate="1mbit")
    assert plan_vm(one, "blue", host="h1").rate is None


def test_the_default_host_is_one_that_can_have_the_vm(topology: Topology) -> None:
    crowded = topology
    for number in range(3):
        crowded = crowded.with_vm(plan_vm(crowded, "blue", f"x{number}", "h3"))
    assert plan_vm(crowded, "blue").host == "h1"
    assert plan_vm(crowded, "blue", rate="1mbit").host == "h2"
    assert plan_vm(crowded, "slow").host == "h2"


@pytest.mark.parametrize("network", ["guarded", "ruled"])
def test_a_guarded_network_has_no_vm_on_a_host_that_another_program_controls(topology: Topology, network: str) -> None:
    assert plan_vm(topology, network).host == "h1"
    with pytest.raises(InputError, match=f"does not enforce the firewall of {network}") as refused:
        plan_vm(topology, network, host="h3")
    assert refused.value.where == "h3"
    assert plan_vm(topology, "blue", host="h3").host == "h3"


def test_names_that_may_be_meant_are_told(topology: Topology) -> None:
    with pytest.raises(InputError, match="did you mean `blue`") as refused:
        plan_vm(topology, "bleu")
    assert refused.value.what == "there is no network 'bleu'"
    with pytest.raises(InputError, match="use one of: h1, h2, h3"):
        plan_vm(topology, "blue", host="x")
