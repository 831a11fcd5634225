"""Topology files: their meaning, and golden pairs of a faulty file and its messages."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.entities import VM, Host, Hoverboard, Network, Subnetwork
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import NAMES as GENERATIONS
from hoverboard.contract.models import choices
from topologies.emulation.topo import ClusterTopo, Demo, Rack, TwoHosts
from topologies.spec import schema
from topologies.spec.faults import Fault, TopologyFileError
from topologies.spec.keys import TopologyKeys
from topologies.spec.topology import to_entities

ERRORS = Path(__file__).parent / "errors"
NAMES = {  # so that a new model, generation or key changes no expected text
    "{models}": choices(),
    "{scoped models}": choices(scoped=True),
    "{generations}": " or ".join(", ".join(map(repr, GENERATIONS)).rsplit(", ", 1)),
    "{keys}": ", ".join(TopologyKeys.model_fields),
}


def expected(file: Path) -> str:
    """The text of a file, with the names of today."""
    text = file.read_text()
    for words, names in NAMES.items():
        text = text.replace(words, names)
    return text


@pytest.mark.parametrize("file", sorted(ERRORS.glob("*.yaml")), ids=lambda path: path.stem)
def test_faults_are_reported_all_at_once_with_file_line_key_and_next_step(file: Path) -> None:
    with pytest.raises(TopologyFileError) as caught:
        schema.load(file)
    text = "\n".join(fault.text(file.name) for fault in caught.value.faults) + "\n"
    assert text == expected(file.with_suffix(".txt"))


@pytest.mark.parametrize(
    ("key", "at"),
    [
        ("model: boom.py:X", "model"),
        ("offload_policy: boom.py:X", "offload_policy"),
        ("offload_policy: {policy: boom.py}", "offload_policy.policy"),
        ("stages: [{stage: boom.py}]", "stages[0].stage"),
    ],
)
def test_a_python_file_that_raises_is_shown_with_both_lines(tmp_path: Path, key: str, at: str) -> None:
    (tmp_path / "boom.py").write_text("\nraise RuntimeError('boom')\n")
    (tmp_path / "t.yaml").write_text(f"hosts: 1\n{key}\n")
    with pytest.raises(TopologyFileError) as caught:
        schema.load(tmp_path / "t.yaml")
    (text,) = [fault.text("t.yaml") for fault in caught.value.faults if "raised" in fault.what]
    place = tmp_path / "boom.py"
    assert text.startswith(f"t.yaml:2: {at}: {place}:2: the file raised RuntimeError: boom\n  -> correct it")


@pytest.mark.parametrize("name", schema.SHIPPED)
def test_shipped_topologies_load_by_name_and_make_valid_entities(name: str) -> None:
    topology = schema.load(name)
    assert topology.name == name
    entities = to_entities(topology)
    keys = [(entity.TYPE, entity.name) for entity in entities]
    assert len(set(keys)) == len(keys)
    assert sum(isinstance(entity, VM) for entity in entities) == len(topology.vms)
    assert sum(isinstance(entity, Host) for entity in entities) == len(topology.hosts)
    assert sum(isinstance(entity, Hoverboard) for entity in entities) == len(topology.hoverboards)
    assert sum(isinstance(entity, (Network, Subnetwork)) for entity in entities) == 2 * len(topology.networks)


def test_the_rack_is_the_issues_rack() -> None:
    rack = schema.load("rack")
    assert (len(rack.hosts), len(rack.vms), len(rack.hoverboards)) == (20, 100, 2)
    assert {vm.host for vm in rack.vms} == {server.name for server in rack.hosts}


def test_demo_tenants_have_the_same_addresses() -> None:
    blue, red = schema.load("demo").networks
    assert [vm.ip for vm in blue.vms] == [vm.ip for vm in red.vms]
    assert [vm.name for vm in red.vms] == ["red-1", "red-2", "red-3"]


def test_mixed_has_both_generations() -> None:
    assert {server.dataplane for server in schema.load("mixed").hosts} == {"ovs", "fastpath"}


def test_defaults_and_given_values() -> None:
    topology = schema.parse(
        """
        hosts: [{name: a}, {dataplane: ovs}]
        hoverboards: [{name: gate}]
        offload_threshold: 1.5mbit
        report_interval: 500ms
        networks:
          - name: blue
            vni: 7
            subnets: [10.0.0.0/30, 10.1.0.0/24]
            vms: [{ip: 10.1.0.9, host: h2, tags: [web]}, {}, {name: db}]
        """,
        name="given",
    )
    assert topology.name == "given"
    assert [(s.name, s.dataplane, str(s.underlay_ip)) for s in topology.servers] == [
        ("a", "fastpath", "172.16.0.1"),
        ("h2", "ovs", "172.16.0.2"),
        ("gate", "fastpath", "172.16.255.1"),
    ]
    assert (topology.offload_threshold, topology.report_interval) == (1_500_000, 0.5)
    assert [(vm.name, vm.host, str(vm.ip), str(vm.gateway)) for vm in topology.vms] == [
        ("blue-1", "h2", "10.1.0.9", "10.1.0.1"),
        ("blue-2", "a", "10.0.0.2", "10.0.0.1"),
        ("db", "h2", "10.1.0.2", "10.1.0.1"),
    ]
    assert topology.vms[0].tags == ("web",)


def test_json_schema_for_editors_is_current() -> None:
    shipped = Path(schema.__file__).with_name("schema.json").read_text()
    assert shipped == schema.json_schema(), "write it with: python -m topologies.spec.schema"


def test_a_file_that_is_not_there_names_the_shipped_ones() -> None:
    with pytest.raises(InputError, match="two-hosts"):
        schema.load("nowhere.yaml")


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        schema.load(tmp_path)


def faults_of(work: Callable[[], object]) -> list[Fault]:
    """The faults that `work` raises; none when it is content."""
    try:
        work()
    except TopologyFileError as error:
        if not error.faults:
            raise
        return error.faults
    return []


@given(st.text(max_size=200))
def test_any_text_is_a_topology_or_a_list_of_faults(text: str) -> None:
    faults = faults_of(lambda: schema.parse(text))
    assert all(fault.line >= 1 and fault.next_step for fault in faults)


_scalars = st.none() | st.booleans() | st.integers(-5, 300) | st.text(max_size=8) | st.floats(allow_nan=False)
_keys = st.sampled_from(["name", "hosts", "hoverboards", "networks", "vms", "vni", "subnet", "subnets", "ip", "host"])
_data = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=5), max_leaves=20
)


@given(st.dictionaries(_keys, _data, max_size=6))
def test_any_data_is_a_topology_or_a_list_of_faults(data: dict[str, object]) -> None:
    faults_of(lambda: to_entities(schema.from_keys(data)))


@given(
    hosts=st.integers(1, 30),
    counts=st.lists(st.integers(0, 40), max_size=4),
)
def test_numbered_vms_are_spread_evenly_and_never_share_an_address(hosts: int, counts: list[int]) -> None:
    networks = [{"name": f"n{i}", "vni": i + 1, "subnet": "10.0.0.0/24", "vms": n} for i, n in enumerate(counts)]
    topology = schema.from_keys({"hosts": hosts, "networks": networks})
    load = [sum(vm.host == server.name for vm in topology.vms) for server in topology.hosts]
    assert max(load) - min(load) <= 1
    for network in topology.networks:
        addresses = [vm.ip for vm in network.vms]
        assert len(set(addresses)) == len(addresses)
        assert IPv4Address("10.0.0.1") not in addresses


@pytest.mark.parametrize("topo", [TwoHosts, Demo, Rack])
def test_topo_classes_are_the_shipped_files(topo: type[ClusterTopo]) -> None:
    built = topo()
    given_topology = built.topology()
    built._given = None  # now from Mininet's graph
    again = built.topology()
    assert again.servers == given_topology.servers
    assert again.networks == given_topology.networks
    assert len(built.hosts()) == len(given_topology.vms)


def test_a_topo_of_ones_own_is_checked_like_a_file() -> None:
    class Mine(ClusterTopo):
        def build(self) -> None:
            self.addVMHost("h1", dataplane="ovs")
            self.addHoverboard("hv1")
            self.addNetwork("blue", vni=7, subnet="10.0.0.0/24")
            self.addNetwork("red", vni=7, subnet="10.0.0.0/24")
            self.addVM("blue-1", network="blue", host="h1", ip="10.0.0.7")

    with pytest.raises(InputError, match="duplicate VNI 7"):
        Mine().topology()


def test_batch_sizes_are_the_files_unless_a_server_says_otherwise() -> None:
    topology = schema.parse("""
hosts:
  - {}
  - {batch: {ingress: 1}}
batch: {egress: 4, ingress: 8}
vm_priority: false
""")
    assert [server.batch for server in topology.servers] == [(4, 8), (32, 1), (4, 8)]
    assert not topology.vm_priority


def test_batch_sizes_are_the_papers_by_default() -> None:
    topology = schema.parse("hosts: 1")
    assert {server.batch for server in topology.servers} == {(32, 128)}
    assert topology.vm_priority
