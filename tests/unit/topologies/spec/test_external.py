"""Hosts that others program: what a file says becomes, and where their switches connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from hoverboard.contract.entities import Dataplane, Host
from hoverboard.contract.errors import InputError
from topologies.emulation.nodes import Server
from topologies.emulation.topo import ClusterTopo
from topologies.run import host_processes
from topologies.spec import schema
from topologies.spec.external import notes
from topologies.spec.topology import ServerSpec, Topology, to_entities

ROOT = Path(__file__).parents[4]


def topology(controller: str = "tcp:127.0.0.1:6653", **keys: Any) -> Topology:
    host = {"name": "h2", "program": "external", "controller": controller}
    networks = [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": [{"host": "h1"}, {"host": "h2"}]}]
    return schema.from_keys({"hosts": [{"name": "h1"}, host], "networks": networks, **keys})


def test_the_intent_says_whose_the_host_is_and_not_by_what_address() -> None:
    found = topology()
    assert [host.name for host in found.external] == ["h2"]
    programs = {one.name: one.program for one in to_entities(found) if isinstance(one, Host)}
    assert programs == {"h1": "ours", "h2": "external"}
    assert [vm.host for vm in found.with_our_gateway(found.vms)] == ["h1"]


@pytest.mark.parametrize("address", ["tcp:10.0.0.9:1", "tcp:[::1]:65535", "unix:/run/mine.sock"])
def test_addresses_are_those_of_open_vswitch(address: str) -> None:
    assert topology(address).external[0].controller == address


def test_a_firewall_is_no_fault_where_its_vms_are_on_other_hosts() -> None:
    network = {
        "name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "firewall": {"ingress": "deny"}, "vms": [{"host": "h1"}],
    }  # fmt: skip
    assert topology(networks=[network]).networks[0].ingress == "deny"


@pytest.mark.parametrize(("dataplane", "count"), [("ovs", 0), ("fastpath", 1), ("fastpath-vmm", 1), ("pre", 1)])
def test_each_host_with_a_slow_path_has_one_note_about_its_limits(dataplane: Dataplane, count: int) -> None:
    found = notes(topology(dataplane=dataplane))
    assert len(found) == count
    assert all("host h2" in note and "uncacheable" in note for note in found)


class Mine(ClusterTopo):
    """The same in Python."""

    def build(self, **host: Any) -> None:
        self.addVMHost("h1")
        self.addVMHost("h2", **host)
        self.addHoverboard("hv1")


def test_a_topo_takes_program_and_controller_as_a_file_does() -> None:
    address = "tcp:127.0.0.1:6653"
    built = Mine(program="external", controller=address).topology()
    assert built.servers == topology(address, networks=[]).servers


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"program": "external"}, r"hosts\[1\].controller: is missing"),
        ({"controller": "tcp:127.0.0.1:6653"}, r"hosts\[1\].controller: works only beside"),
        ({"program": "external", "controller": "127.0.0.1"}, r"hosts\[1\].controller"),
    ],
)
def test_a_topo_has_the_faults_of_a_file(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Mine(**keys).topology()


def test_a_topo_made_from_a_file_keeps_them_when_something_is_added() -> None:
    built = ClusterTopo(ROOT / "docs" / "external_controller.yaml")
    built.addVM("late", network="blue", host="h1")
    assert [(host.name, host.controller) for host in built.topology().external] == [("h2", "tcp:127.0.0.1:6653")]


def test_its_switch_connects_to_the_address_or_to_a_link_to_the_socket_and_others_to_us(tmp_path: Path) -> None:
    def address(controller: str | None, link: str) -> str:
        spec = ServerSpec("h2", "host", topology().hosts[1].underlay_ip, "ovs", controller=controller)
        server = cast(Server, type("Spec", (), {"spec": spec})())
        return host_processes._openflow(server, tmp_path / link, tmp_path / "of.sock")

    assert address("tcp:127.0.0.1:6653", "a") == "tcp:127.0.0.1:6653"
    assert address("unix:/run/mine.sock", "b") == f"unix:{tmp_path}/b"
    assert (tmp_path / "b").readlink() == Path("/run/mine.sock")
    assert address(None, "c") == f"unix:{tmp_path}/c"
    assert (tmp_path / "c").readlink() == tmp_path / "of.sock"


def test_the_example_of_the_documentation_is_a_topology_that_its_program_is_for() -> None:
    found = schema.load(ROOT / "docs" / "external_controller.yaml")
    program = (ROOT / "docs" / "external_controller.py").read_text()
    assert f"VNI = {found.networks[0].vni} " in program
    assert f'HOVERBOARD = "{found.hoverboards[0].underlay_ip}"' in program
    assert {host.controller for host in found.external} == {"tcp:127.0.0.1:6653"}
