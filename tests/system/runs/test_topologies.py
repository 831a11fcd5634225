"""Runs of topologies: what they look like, changes while they run, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hoverboard.contract.document_schemas import check
from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.openflow.pipeline import BRIDGE
from tests.system.runs.run_pings import ping
from topologies.client import run_client
from topologies.client.run_client import RunClient
from topologies.emulation.topo import ClusterTopo, TwoHosts
from topologies.net import HoverboardNet
from topologies.processes.ledger import Ledger
from topologies.processes.phases import PHASES
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from tests.system.conftest import Traces

    Eventually = Callable[[Callable[[], bool], float, str], None]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def demo(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed("demo")


class TestDemo:
    """One run of the demo, looked at from all sides."""

    def test_every_pair_of_a_tenant_and_none_across(self, demo: Testbed) -> None:
        for network in demo.topology.networks:
            for one in network.vms:
                for two in network.vms:
                    if one is not two:
                        assert ping(demo, one.name, str(two.ip)), f"{one.name} -> {two.name}"

    def test_a_vm_sees_what_a_cloud_vm_sees(self, demo: Testbed) -> None:
        vm = demo.node("blue-1")
        links = json.loads(vm.cmd("ip -j addr"))
        assert [link["ifname"] for link in links] == ["lo", "eth0"]
        nic = links[1]
        assert nic["mtu"] == 1450
        assert [(a["family"], a["local"], a["prefixlen"]) for a in nic["addr_info"]] == [("inet", "10.0.0.2", 32)]
        assert "default via 10.0.0.1 dev eth0" in vm.cmd("ip route")
        assert ping(demo, "blue-1", "10.0.0.1")
        assert not ping(demo, "blue-1", "172.16.0.1"), "the underlay can be seen"

    def test_the_machine_sees_nothing_of_it(self, demo: Testbed) -> None:
        addresses = subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True, check=True).stdout
        assert "172.16." not in addresses
        assert not re.search(r"\b(fabric|to-h\d|nic\d+)\b", addresses)

    def test_status_has_the_agreed_shape(self, demo: Testbed) -> None:
        status = demo.status()
        assert status["run"] == demo.run
        assert status["model"] == "hoverboard"
        assert status["state"] == "up"
        assert [(h["name"], h["state"], h["vms"]) for h in status["hosts"]][0] == ("h1", "up", ["blue-1", "red-1"])
        assert {"name", "dataplane", "datapath_type", "vms"} <= status["hosts"][0].keys()
        assert [h["name"] for h in status["hoverboards"]] == ["hv1"]
        assert [(n["name"], n["vni"], n["subnet"]) for n in status["networks"]] == [
            ("blue", 7, "10.0.0.0/24"),
            ("red", 8, "10.0.0.0/24"),
        ]
        assert status["networks"][1]["vms"][1] == {
            "name": "red-2", "ip": "10.0.0.3", "host": "h2", "tags": [], "rate_bps": None,
        }  # fmt: skip
        assert status["counters"]["rx_packets"] > 0
        assert isinstance(status["counters"]["drops"], dict)
        assert set(status["phases"]) == set(PHASES)
        check("status", status)

    def test_the_verbs_reach_it_over_its_socket(self, demo: Testbed) -> None:
        mode = os.stat(demo.directory.socket).st_mode
        assert stat.S_IMODE(mode) == 0o600
        with RunClient(demo.run, state=demo.directory.path.parent) as run:
            assert run.status()["run"] == demo.run
            assert run.pid_of("red-1") == demo.pid_of("red-1")
            assert run.node_status("h1")["node"] == "h1"
            assert run.node_status("blue-1")["host"] == "h1"
            assert run.node_status("fab")["role"] == "fabric"
            assert isinstance(run.offloads(), list)
            flows = run.flows("h1")
            assert any("table=0" in line for line in flows["openflow"])
            with pytest.raises(InputError, match="no node 'h9'"):
                run.pid_of("h9")
            with pytest.raises(InputError, match="no switch"):
                run.flows("blue-1")
            with pytest.raises(InputError, match="unknown method"):
                run.call("nonsense")
            with pytest.raises(InputError, match="bad request"):
                run.call("pid_of", nome="h1")
            assert run.status()["run"] == demo.run, "a refused request ended the connection"

    def test_a_vm_comes_and_goes(self, demo: Testbed) -> None:
        with RunClient(demo.run, state=demo.directory.path.parent) as run:
            added = run.add_vm("blue", host="h2")
            assert added["host"] == "h2"
            assert ping(demo, "blue-1", added["ip"])
            with pytest.raises(InputError, match="already is a node"):
                run.add_vm("blue", name=added["name"])
            run.remove_vm(added["name"])
            with pytest.raises(InputError, match="no node"):
                run.pid_of(added["name"])
            assert not ping(demo, "blue-1", added["ip"])
            again = run.add_vm("blue", name=added["name"], host="h3")
            assert ping(demo, "blue-1", again["ip"])
            run.remove_vm(again["name"])

    def test_an_up_of_a_run_that_is_up_is_refused_and_harmless(self, demo: Testbed) -> None:
        with pytest.raises(RunError, match="already up"):
            Testbed("demo", run=demo.run, state_dir=demo.directory.path.parent).up()
        assert ping(demo, "blue-1", "10.0.0.3")

    def test_the_control_plane_comes_back_and_is_told_everything(self, demo: Testbed, eventually: Eventually) -> None:
        before = demo.control_status()
        os.kill(before["pid"], signal.SIGKILL)

        def back() -> bool:
            now = demo.control_status()
            programmed = [s for s in now.get("switches", {}).values() if s.get("programmed")]
            return now["pid"] != before["pid"] and len(programmed) == 4

        eventually(back, 30.0, "the control plane is not back")
        assert demo.control_status()["restarts"] == 1
        assert ping(demo, "blue-1", "10.0.0.3")

    def test_a_dead_host_process_is_shown_and_not_waited_for(self, demo: Testbed, eventually: Eventually) -> None:
        pid = demo.server("h3").host_pid
        assert pid is not None
        demo.suppress_restarts("h3")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: demo.status()["hosts"][2]["state"] == "unreachable", 10.0, "h3 is still reachable")
        status = demo.status()
        assert [host["state"] for host in status["hosts"]] == ["up", "up", "unreachable"]
        assert "error" in status["hosts"][2]
        assert ping(demo, "blue-1", "10.0.0.3"), "the others suffer"


@pytest.mark.parametrize("dataplane", ["ovs", "fastpath"])
def test_two_hosts_up_and_down_leaves_nothing(
    dataplane: str, testbed: Callable[..., Testbed], traces: Callable[[str], Traces], state: Path
) -> None:
    bed = testbed("two-hosts", dataplane=dataplane)
    seen = traces(bed.run)
    seen.look()
    assert len(seen.namespaces) == 8  # fab, h1, h2, hv1 and four VMs
    assert ping(bed, "blue-1", "10.0.0.3")
    bed.down()
    assert seen.left() == []
    bed.down()  # again: nothing to do
    assert run_client.dead_runs(state) == []


def test_both_generations_in_one_cluster(testbed: Callable[..., Testbed]) -> None:
    bed = testbed("mixed")
    for one, two in (("blue-1", "blue-2"), ("blue-2", "blue-3"), ("blue-2", "blue-4"), ("red-4", "red-1")):
        vm = next(vm for vm in bed.topology.vms if vm.name == two)
        assert ping(bed, one, str(vm.ip)), f"{one} -> {two}"


def test_preprogrammed_without_a_hoverboard(testbed: Callable[..., Testbed], tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(
        "hosts: 2\nhoverboards: 0\nmodel: preprogrammed\nnetworks:\n"
        "  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2}\n"
    )
    bed = testbed(file)
    assert ping(bed, "blue-1", "10.0.0.3")


@pytest.mark.long
def test_two_runs_of_the_same_file_side_by_side(
    testbed: Callable[..., Testbed], traces: Callable[[str], Traces]
) -> None:
    one, two = testbed("two-hosts"), testbed("two-hosts")
    seen = traces(one.run)
    seen.look()
    assert ping(one, "blue-1", "10.0.0.3")
    assert ping(two, "blue-1", "10.0.0.3")
    one.down()
    assert seen.left() == []
    assert ping(two, "blue-1", "10.0.0.3")


def test_as_mininet(state: Path, run_name: str, traces: Callable[[str], Traces]) -> None:
    net = HoverboardNet(topo=TwoHosts(), run=run_name)
    seen = traces(run_name)
    seen.look()
    try:
        net.start()
        assert "1 received" in net.get("blue-1").cmd("ping -c1 -W2", net["blue-2"].IP())
        assert {host.name for host in net.hosts} == {"blue-1", "blue-2", "blue-3", "blue-4"}
        assert len(net.links) == 7
        out, _, code = net["blue-3"].pexec("cat /sys/class/net/eth0/mtu")
        assert (out.strip(), code) == ("1450", 0)
        vm = net.addVM("blue")
        assert "1 received" in net["blue-1"].cmd("ping -c1 -W2", vm.IP())
        net.delVM(vm.name)
        with pytest.raises(InputError, match="addVM"):
            net.addHost("h9")
    finally:
        net.stop()
    assert seen.left() == []


def test_a_mininet_topo_of_ones_own(state: Path, run_name: str) -> None:
    class Mine(ClusterTopo):
        def build(self, **_params: object) -> None:
            self.addVMHost("a")
            self.addVMHost("b", dataplane="ovs")
            self.addHoverboard("gate")
            self.addNetwork("green", vni=99, subnet="192.168.7.0/24")
            self.addVM("left", network="green", host="a")
            self.addVM("right", network="green", host="b", ip="192.168.7.77")

    with HoverboardNet(topo=Mine(), run=run_name) as net:
        assert "1 received" in net["left"].cmd("ping -c1 -W2 192.168.7.77")


def test_each_server_has_a_private_switch(testbed: Callable[..., Testbed], tiny: Path) -> None:
    bed = testbed(tiny)
    for server in ("h1", "hv1"):
        directory = bed.directory.node(server)
        assert {"conf.db", "db.sock", "ovs-vswitchd.pid", f"{BRIDGE}.mgmt", "host.sock"} <= set(os.listdir(directory))
        whats = [record.what for record in Ledger(bed.directory).processes()]
        for part in ("ovsdb-server", "ovs-vswitchd", "host process"):
            assert f"{part} of {server}" in whats


@pytest.mark.long
def test_the_rack_is_pingable_and_fits(testbed: Callable[..., Testbed], traces: Callable[[str], Traces]) -> None:
    rack = testbed("rack")
    seen = traces(rack.run)
    seen.look()
    assert len(seen.namespaces) == 1 + 20 + 2 + 100
    blue, red = rack.topology.networks
    for network in (blue, red):
        first, last = network.vms[0], network.vms[-1]
        assert ping(rack, first.name, str(last.ip))
    pss = 0
    for record in seen.records:
        for line in Path(f"/proc/{record.process.pid}/smaps_rollup").read_text().splitlines():  # type: ignore[attr-defined]
            if line.startswith("Pss:"):
                pss += int(line.split()[1])
    assert pss < 4 << 20, "more than 4 GiB"
    rack.down()
    assert seen.left() == []
