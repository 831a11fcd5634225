"""Runs from beginning to end: up, what it looks like, changes while it runs, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hoverboard.contract.document_schemas import check
from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.openflow.pipeline import BRIDGE
from tests.holders import holder_process
from topologies.client import run_client
from topologies.client.run_client import RunClient
from topologies.emulation.topo import ClusterTopo, TwoHosts
from topologies.net import HoverboardNet
from topologies.processes.ledger import Ledger
from topologies.processes.phases import PHASES, PhaseEvent
from topologies.processes.run_directory import is_held
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from tests.system.conftest import Traces

    Eventually = Callable[[Callable[[], bool], float, str], None]

pytestmark = pytest.mark.timeout(120)

TINY = "hosts: 1\nhoverboards: 1\nnetworks:\n  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 1}\n"


def ping(bed: Testbed, source: str, address: str, *options: str) -> bool:
    """Whether one of a few pings from a VM is answered."""
    process = bed.node(source).popen(["ping", "-c3", "-i0.1", "-W2", *options, address])
    process.communicate(timeout=20)
    return process.returncode == 0


@pytest.fixture(scope="module")
def demo(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed("demo")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A topology file: one host, one VM."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


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
        assert status["networks"][1]["vms"][1] == {"name": "red-2", "ip": "10.0.0.3", "host": "h2"}
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


def start(file: Path, run: str) -> dict[str, object]:
    return run_client.start_detached(file, run=run)


def test_detached_up_status_down(state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]) -> None:
    events: list[PhaseEvent] = []
    ready = run_client.start_detached(tiny, run=run_name, progress=events.append)
    assert ready["run"] == run_name
    assert {event.phase for event in events} == set(PHASES)
    seen = traces(run_name)
    seen.look()
    assert run_client.live_runs() == [run_name]
    with RunClient(run_name) as run:
        assert run.status()["state"] == "up"
        pid = run.pid_of("blue-1")
    answer = subprocess.run(
        ["mnexec", "-a", str(pid), "ping", "-c1", "-W2", "10.0.0.1"], capture_output=True, timeout=10, check=False
    )
    assert answer.returncode == 0
    run_client.down(run_name)
    assert seen.left() == []
    with pytest.raises(RunError, match="there is no run"):
        RunClient(run_name)


def test_kill_9_of_the_holder_then_down(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces], eventually: Eventually
) -> None:
    start(tiny, run_name)
    seen = traces(run_name)
    seen.look()
    holder = holder_process(run_name, state)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    eventually(lambda: not is_held(seen.directory), 5.0, "the dead holder still holds the run")
    assert [dead.run for dead in run_client.dead_runs()] == [run_name]
    with pytest.raises(RunError, match="has died"):
        RunClient(run_name)
    with pytest.raises(RunError, match="holder of run .* died"):
        start(tiny, run_name)
    run_client.down(run_name)
    assert seen.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_ends_the_holder_cleanly(
    number: signal.Signals, state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces],
    eventually: Eventually,
) -> None:  # fmt: skip
    start(tiny, run_name)
    seen = traces(run_name)
    seen.look()
    holder = holder_process(run_name, state)
    assert holder is not None
    os.kill(holder.pid, number)
    eventually(lambda: not seen.directory.path.exists(), 20.0, "the run is still there")
    assert seen.left() == []


# Where little exists yet, and where processes of all kinds do; the others are long.
AT_PHASES = [
    "nodes",
    "hosts",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("links", "switches", "program")),
]


@pytest.fixture
def foreground(tiny: Path, run_name: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a program that brings `tiny` up and says each phase; foreground(code run in each event)."""
    made: list[subprocess.Popen[str]] = []

    def begin(code: str) -> subprocess.Popen[str]:
        program = (
            "import os, signal, sys\nfrom topologies.run.testbed import Testbed\n"
            "def progress(event):\n"
            "    print(event.phase, event.done, flush=True)\n"
            f"    {code}\n"
            f"bed = Testbed({str(tiny)!r}, run={run_name!r})\n"
            "bed.up(progress)\nprint('up', flush=True)\nbed.wait_down()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        made.append(process)
        return process

    yield begin
    for process in made:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("phase", AT_PHASES)
def test_ctrl_c_half_way_undoes_everything(
    phase: str, state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces],
    run_name: str,
) -> None:  # fmt: skip
    seen = traces(run_name)
    process = foreground(f"event.phase == {phase!r} and event.done == 1 and os.kill(os.getpid(), signal.SIGINT)")
    output, errors = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT), errors
    assert "KeyboardInterrupt" in errors
    assert f"{phase} 1" in output
    assert seen.left() == []


@pytest.mark.parametrize("phase", AT_PHASES)
def test_a_crash_half_way_is_cleaned_by_down(
    phase: str, state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces],
    run_name: str,
) -> None:  # fmt: skip
    seen = traces(run_name)
    process = foreground(f"event.phase == {phase!r} and event.done == 1 and os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    seen.look()
    run_client.down(run_name)
    assert seen.left() == []


def test_a_part_that_does_not_come_up_is_named_and_everything_undone(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces], monkeypatch: pytest.MonkeyPatch
) -> None:
    from topologies.emulation import ovs_daemons

    monkeypatch.setattr(ovs_daemons, "SWITCH_PROGRAM", "false")
    seen = traces(run_name)
    with pytest.raises(RunError, match="ovs-vswitchd of .* ended while it was starting"):
        Testbed(tiny, run=run_name).up()
    assert seen.left() == []


def test_racing_ups_one_wins_and_the_other_is_refused(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]
) -> None:
    beds = [Testbed(tiny, run=run_name) for _ in range(3)]
    refused: list[RunError] = []
    barrier = threading.Barrier(len(beds))

    def up(bed: Testbed) -> None:
        barrier.wait()
        try:
            bed.up()
        except RunError as error:
            refused.append(error)

    threads = [threading.Thread(target=up, args=(bed,)) for bed in beds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert len(refused) == 2
    assert all("already up" in str(error) for error in refused)
    (winner,) = [bed for bed in beds if bed.state == "up"]
    assert ping(winner, "blue-1", "10.0.0.1")
    seen = traces(run_name)
    seen.look()
    winner.down()
    assert seen.left() == []


def test_a_down_while_it_starts(
    state: Path, foreground: Callable[[str], subprocess.Popen[str]], traces: Callable[[str], Traces], run_name: str
) -> None:
    seen = traces(run_name)
    process = foreground("pass")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("switches"):
            break
    run_client.down(run_name)
    _, errors = process.communicate(timeout=30)
    assert "was taken down while it was starting" in errors
    assert seen.left() == []


def test_a_faulty_file_starts_nothing(state: Path, tmp_path: Path, run_name: str) -> None:
    file = tmp_path / "faulty.yaml"
    file.write_text("hosts: 1\nhoverbords: 1\nnetworks: []\n")
    with pytest.raises(InputError, match=r"faulty.yaml:2: hoverbords: unknown key"):
        run_client.start_detached(file, run=run_name)
    assert list(state.iterdir()) == []


def test_a_process_that_was_left_inside_a_vm_goes_with_the_run(
    state: Path, tiny: Path, run_name: str, traces: Callable[[str], Traces]
) -> None:
    bed = Testbed(tiny, run=run_name)
    bed.up()
    seen = traces(run_name)
    seen.look()
    left = bed.node("blue-1").popen(["sleep", "infinity"])
    bed.node("blue-1").cmd("sleep 1000 &")
    bed.down()
    assert left.wait(5.0) != 0
    left.communicate()
    assert seen.left() == []


def test_each_server_has_a_private_switch(testbed: Callable[..., Testbed], tiny: Path) -> None:
    bed = testbed(tiny)
    for server in ("h1", "hv1"):
        directory = bed.directory.node(server)
        assert {"conf.db", "db.sock", "vswitchd.ctl", f"{BRIDGE}.mgmt", "host.sock"} <= set(os.listdir(directory))
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
