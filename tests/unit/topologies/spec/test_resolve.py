"""What the parts of a topology file mean together: names, addresses, hosts, regions, stages, policies, what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError
from topologies.spec import schema
from topologies.spec.faults import TopologyFileError
from topologies.spec.topology import OffloadSpec, Topology

BLUE = "  - name: blue\n    vni: 7\n"


def parse(hosts: str = "hosts: 2", network: str = "", more: str = "") -> Topology:
    """A file of one network `blue`, whose keys are given line by line."""
    return schema.parse(
        f"{hosts}\n{more}\nnetworks:\n{BLUE}" + "".join(f"    {line}\n" for line in network.split("\n"))
    )


def faults(hosts: str = "hosts: 2", network: str = "subnet: 10.0.0.0/24", more: str = "") -> list[str]:
    """key: what, of each fault of such a file."""
    with pytest.raises(TopologyFileError) as refused:
        parse(hosts, network, more)
    assert all(fault.next_step for fault in refused.value.faults)
    return [f"{fault.key}: {fault.what}" for fault in refused.value.faults]


def hosts_of(topology: Topology) -> list[str]:
    return [vm.host for vm in topology.vms]


def addresses(topology: Topology) -> dict[str, str]:
    return {vm.name: str(vm.ip) for vm in topology.vms}


# --- subnets --------------------------------------------------------------------------------------------


def test_a_gateway_is_the_first_address_or_the_given_one() -> None:
    assert addresses(parse(network="subnet: 10.0.0.0/24\nvms: 2")) == {"blue-1": "10.0.0.2", "blue-2": "10.0.0.3"}
    given = parse(network="subnet: 10.0.0.0/24\ngateway: 10.0.0.2\nvms: 2")
    assert addresses(given) == {"blue-1": "10.0.0.1", "blue-2": "10.0.0.3"}
    assert [str(vm.gateway) for vm in given.vms] == ["10.0.0.2"] * 2


def test_each_of_several_subnets_has_its_own_gateway() -> None:
    topology = parse(network="subnets: [10.0.0.0/30, 10.1.0.0/24]\nvms: 2")
    assert [(str(vm.ip), str(vm.gateway)) for vm in topology.vms] == [
        ("10.0.0.2", "10.0.0.1"), ("10.1.0.2", "10.1.0.1"),
    ]  # fmt: skip
    assert faults(network="subnets: [10.0.0.0/24, 10.1.0.0/24]\ngateway: 10.0.0.7\nvms: 1") == [
        "networks[0].gateway: works only with one subnet"
    ]
    assert faults(network="subnets: [10.0.0.0/24, 10.1.0.0/24]\nvms: [{ip: 10.1.0.1}]") == [
        "networks[0].vms[0].ip: 10.1.0.1 is the gateway's address"
    ]


def test_a_network_without_a_subnet_has_no_other_fault_for_that() -> None:
    assert faults(network="vms: 3") == ["networks[0].subnet: is missing"]
    assert faults(network="vms: [{host: h9}]") == [
        "networks[0].subnet: is missing",
        "networks[0].vms[0].host: there is no host 'h9'",
    ]


def test_a_network_is_full_when_each_address_is_a_vms_or_a_load_balancers() -> None:
    shared = "load_balancers: [{name: front, ip: 10.0.0.6, backends: [blue-1]}]"
    assert addresses(parse(network="subnet: 10.0.0.0/29\nvms: 5"))["blue-5"] == "10.0.0.6"
    assert addresses(parse(network=f"subnet: 10.0.0.0/29\nvms: 4\n{shared}"))["blue-4"] == "10.0.0.5"
    assert faults(network=f"subnet: 10.0.0.0/29\nvms: 5\n{shared}") == [
        "networks[0].vms: 5 VMs, but 10.0.0.0/29 has room for 4"
    ]
    assert faults(network="subnets: [10.0.0.0/30, 10.1.0.0/30]\nvms: 3") == [
        "networks[0].vms: 3 VMs, but 10.0.0.0/30, 10.1.0.0/30 has room for 2"
    ]


def test_all_faults_of_the_vms_of_a_full_network_are_reported_at_once() -> None:
    assert faults(network="subnet: 10.0.0.0/30\nsubnet6: fd00:7::/126\nvms: [{}, {host: h9}, {name: h1}]") == [
        "networks[0].vms: 3 VMs, but 10.0.0.0/30 has room for 1",
        "networks[0].vms[1].host: there is no host 'h9'",
        "networks[0].vms[2].name: duplicate name 'h1', first used on line 1",
    ]
    assert faults(network="subnet: 10.0.0.0/24\nsubnet6: fd00:7::/126\nvms: [{}, {}, {host: h9}, {}]") == [
        "networks[0].subnet6: fd00:7::/126 has no room for 4 VMs",
        "networks[0].vms[2].host: there is no host 'h9'",
    ]


# --- VMs ------------------------------------------------------------------------------------------------


def test_vms_are_placed_on_the_hosts_in_turn_around_those_that_name_one() -> None:
    assert hosts_of(parse("hosts: 3", "subnet: 10.0.0.0/24\nvms: 4")) == ["h1", "h2", "h3", "h1"]
    listed = "subnet: 10.0.0.0/24\nvms: [{host: h3}, {}, {host: h3}, {}, {}, {}]"
    assert hosts_of(parse("hosts: 3", listed)) == ["h3", "h1", "h3", "h2", "h3", "h1"]


def test_a_host_that_is_not_there_is_refused_with_the_first_that_are() -> None:
    first = "h1, h2, h3, h4, h5, h6, h7, h8"
    for count, guess, known in ((8, "h8", first), (9, "h9", f"{first}, ...")):
        with pytest.raises(TopologyFileError) as refused:
            parse(f"hosts: {count}", f"subnet: 10.0.0.0/24\nvms: [{{host: {guess}9}}]")
        assert refused.value.faults[0].next_step == f"did you mean `{guess}`? use one of: {known}"


def test_a_vm_on_a_host_whose_own_name_is_wrong_is_no_fault() -> None:
    (fault,) = faults("hosts: [{name: no good}, {}]", "subnet: 10.0.0.0/24\nvms: [{host: no good}]")
    assert fault.startswith("hosts[0].name: ")


def test_a_vms_rate_is_its_own_or_its_networks_or_none() -> None:
    listed = "subnet: 10.0.0.0/24\nvms: [{rate: 5mbit}, {}]"
    assert [vm.rate for vm in parse(network=listed).vms] == [5_000_000, None]
    assert [vm.rate for vm in parse(network=f"rate: 9mbit\n{listed}").vms] == [5_000_000, 9_000_000]
    assert [vm.rate for vm in parse(network="rate: 9mbit\nsubnet: 10.0.0.0/24\nvms: 1").vms] == [9_000_000]


# --- beside what runs -----------------------------------------------------------------------------------


def beside(text: str, running: str) -> Topology:
    return schema.parse(text, running=schema.parse(running))


def blue(vms: str, more: str = "") -> str:
    return f"hosts: 3\nnetworks:\n{BLUE}    subnet: 10.0.0.0/24\n    subnet6: fd00:7::/64\n{more}    vms: {vms}\n"


def test_vms_that_run_keep_their_hosts_and_addresses_when_another_comes_before_them() -> None:
    running = blue("[{name: a}, {name: b}, {name: c}]")
    changed = beside(blue("[{name: new}, {name: a}, {name: b}, {name: c}]"), running)
    assert [(vm.name, vm.host, str(vm.ip), str(vm.ip6)) for vm in changed.vms] == [
        ("new", "h1", "10.0.0.5", "fd00:7::5"),
        ("a", "h1", "10.0.0.2", "fd00:7::2"),
        ("b", "h2", "10.0.0.3", "fd00:7::3"),
        ("c", "h3", "10.0.0.4", "fd00:7::4"),
    ]


def test_vms_that_run_under_default_names_keep_what_they_have() -> None:
    changed = beside(blue("[{ip: 10.0.0.2}, {}, {}]"), blue("2"))
    assert addresses(changed) == {"blue-1": "10.0.0.2", "blue-2": "10.0.0.3", "blue-3": "10.0.0.4"}
    assert addresses(beside(blue("[{}, {}]"), blue("[{}, {ip: 10.0.0.9}]")))["blue-2"] == "10.0.0.9"
    moved = beside(blue("[{ip: 10.0.0.3, host: h3}, {}]"), blue("2"))
    assert addresses(moved) == {"blue-1": "10.0.0.3", "blue-2": "10.0.0.2"}
    assert hosts_of(moved) == ["h3", "h2"]


# --- regions --------------------------------------------------------------------------------------------


def regions(topology: Topology) -> list[str | None]:
    return [server.region for server in topology.servers]


def test_hoverboards_are_in_the_one_region_of_the_hosts() -> None:
    assert regions(schema.parse("hosts: 1\nhoverboards: 1")) == ["default", "default"]
    assert regions(schema.parse("hosts: [{region: east}, {region: east}]\nhoverboards: 2")) == ["east"] * 4
    assert regions(schema.parse("hosts: [{region: east}]\nhoverboards: [{region: east}, {}]")) == ["east"] * 3


def test_hoverboards_without_a_region_serve_all_of_several() -> None:
    assert regions(schema.parse("hosts: [{region: east}, {}]\nhoverboards: 1")) == ["east", "default", None]


# --- stages, policies, models ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(
        "from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig\n"
        "class Mine(ConfiguredStage[StageConfig]):\n"
        "    name = 'mine'\n"
        "    Config = StageConfig\n"
        "    def process(self, batch): pass\n"
    )
    (tmp_path / "policy.py").write_text(
        "from controllers.vmc.offload.policy import OffloadPolicy\n"
        "class Greedy(OffloadPolicy):\n"
        "    def decide(self, host, candidates, now): pass\n"
    )
    return tmp_path


def test_stages_are_found_beside_the_file_and_kept_with_their_rules(folder: Path) -> None:
    topology = schema.parse(
        "hosts: 1\nstages:\n"
        "  - stage: mine.py:Mine\n"
        "  - stage: mine.py\n"
        "    when: {to: internet}\n"
        "  - stage: wan-encryption\n"
        "    config: {key_bits: 256}\n",
        base=folder,
    )
    assert [rule["stage"] for rule in topology.stages] == [
        f"{folder}/mine.py:Mine",
        f"{folder}/mine.py",
        "wan-encryption",
    ]
    assert [rule["config"] for rule in topology.stages] == [{}, {}, {"key_bits": 256}]
    assert topology.stages[1]["when"]["to"] == "internet"
    assert topology.stages[0]["when"] == topology.stages[2]["when"]


def test_an_offload_policy_is_found_beside_the_file(folder: Path) -> None:
    short = schema.parse("hosts: 1\noffload_policy: policy.py:Greedy", base=folder)
    assert short.offload == OffloadSpec(policy=f"{folder}/policy.py:Greedy")
    long = "{policy: policy.py, keep: 2kbit, min_lifetime: 3s, idle_expiry: 40s, budget: 5, reports: hoverboards}"
    assert schema.parse(f"hosts: 1\noffload_policy: {long}", base=folder).offload == OffloadSpec(
        2_000, 3.0, 40.0, 5, "hoverboards", f"{folder}/policy.py"
    )
    assert schema.parse("hosts: 1").offload == OffloadSpec()
    assert faults(more="offload_policy: absent.py:Mine") == ["offload_policy: there is no Python file 'absent.py'"]


def test_a_hoverboards_capacity_is_what_the_file_says() -> None:
    topology = schema.parse("hosts: 1\nhoverboards: [{capacity: {pps: 1000, bps: 5mbit}}, {capacity: {pps: 7}}, {}]")
    assert [server.capacity for server in topology.hoverboards] == [(1000, 5_000_000), (7, None), (None, None)]
    assert [server.capacity for server in topology.hosts] == [(None, None)]


@pytest.mark.parametrize("model", ["gateway", "hoverboard", "active-learning"])
@pytest.mark.parametrize("hoverboards", ["hoverboards: 0", "hoverboards: []"])
def test_models_that_relay_need_a_hoverboard(model: str, hoverboards: str) -> None:
    assert faults(more=f"model: {model}\n{hoverboards}") == [
        f"hoverboards: the {model} model needs at least one Hoverboard"
    ]


@pytest.mark.parametrize("model", ["preprogrammed", "on-demand"])
def test_models_that_do_not_relay_need_none(model: str) -> None:
    assert schema.parse(f"hosts: 1\nhoverboards: 0\nmodel: {model}").model == model


def test_what_a_generation_does_not_enforce_is_refused_where_it_is_asked_for() -> None:
    ovs = "hosts: [{}, {dataplane: ovs}]"
    assert faults(ovs, more="stages: [{stage: internet-acl}]") == ["stages: dataplane ovs has no coprocessor stages"]
    assert faults(ovs, "subnet: 10.0.0.0/24\nvms: [{}, {rate: 1mbit}]") == [
        "hosts: dataplane ovs has no rate limits, and VM blue-2 has one"
    ]


def test_a_topology_is_called_as_its_file_says_or_as_the_file_is_called() -> None:
    assert schema.parse("hosts: 1", name="rack").name == "rack"
    assert schema.parse("name: mine\nhosts: 1", name="rack").name == "mine"


def test_faults_of_policies_are_reported_before_whether_they_cross_regions() -> None:
    wan = "hoverboards: [{region: east}, {region: west}]\nwan: {}"
    hosts = "hosts: [{name: h1, region: east}, {name: h2, region: west}]"
    crossing = "load_balancers: [{name: front, ip: 10.0.0.9, backends: [a, b]}]"
    wrong = "load_balancers: [{name: front, ip: 10.0.0.9, backends: [a, b]}, {name: far, ip: 10.0.0.10, backends: [c]}]"
    network = "subnet: 10.0.0.0/24\nvms: [{name: a, host: h1}, {name: b, host: h2}]\n"
    assert faults(hosts, network + crossing, wan) == [
        "wan: load balancer front: the VMs are in east and west, and must be in one region"
    ]
    (fault,) = faults(hosts, network + wrong, wan)
    assert fault.startswith("networks[0].load_balancers[1]")
    assert parse(hosts, network + crossing, "hoverboards: 1").vms  # without a wan they may


def test_a_wan_needs_to_know_all_hosts() -> None:
    assert faults("hosts: [{name: h1, region: east, dataplane: dpdk}, {region: west}]", more="wan: {}") == [
        "hosts[0].dataplane: 'dpdk' is not a possible value"
    ]


def test_a_policy_of_a_network_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="blue-9"):
        parse(network="subnet: 10.0.0.0/24\nvms: 1\nroutes: [{prefix: 192.168.0.0/16, next_hop: blue-9}]")
