"""In a host or a Hoverboard, the tools of Open vSwitch reach the node's own switch without an option."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from tests.system.runs.run_pings import ping
from tests.waiting import until
from topologies.emulation import ovs_daemons
from topologies.namespaces import mount_namespace
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)

# Every kind of carrier, and flows of every kind: a firewall, a balancer, a route, IPv6.
MIXED = """
hosts:
  - {name: h1, dataplane: fastpath}
  - {name: h2, dataplane: ovs}
  - {name: h3, dataplane: pre}
dataplane: fastpath
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms: 3
    firewall:
      ingress: deny
      rules:
        - {name: ssh, direction: ingress, action: allow, protocol: tcp, ports: [22, 8000-8099]}
        - {name: ping, direction: ingress, action: allow, protocol: icmp}
  - name: red
    vni: 8
    subnet: 10.0.0.0/24
    vms: [{name: red-1, host: h1}, {name: red-2, host: h2}]
    load_balancers:
      - {name: web, ip: 10.0.0.100, backends: [red-1, red-2], protocol: tcp, ports: [80]}
    routes:
      - {prefix: 192.168.0.0/16, next_hop: red-1}
"""
NODES = ("h1", "h2", "h3", "hv1")
OTHER_VERSIONS = ("OpenFlow13", "OpenFlow14", "OpenFlow15")


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory) -> Testbed:
    file = tmp_path_factory.mktemp("tools") / "mixed.yaml"
    file.write_text(MIXED)
    return module_testbed(file)


def output(bed: Testbed, node: str, *command: str) -> str:
    """What a command prints in a node; it has to succeed."""
    out, err, code = bed.node(node).pexec(list(command))
    assert code == 0, f"{node}: {' '.join(command)}: {err}"
    return str(out)


def listed(dump: str) -> list[str]:
    """The flows that `ovs-ofctl dump-flows` lists, by cookie, table and priority."""
    flow = re.compile(r"cookie=(\w+), .*?table=(\d+), (?:.*?priority=(\d+))?")
    return sorted(" ".join(map(str, found.groups())) for found in flow.finditer(dump))


def all_reach_it(bed: Testbed, node: str) -> None:
    """Check that each tool, as it is typed, reaches the switch of `node`."""
    assert "Bridge br-int" in output(bed, node, "ovs-vsctl", "show")
    assert "Open vSwitch" in output(bed, node, "ovs-appctl", "version")
    assert "ovsdb-server" in output(bed, node, "ovs-appctl", "-t", "ovsdb-server", "version")
    traced = output(bed, node, "ovs-appctl", "ofproto/trace", "br-int", "in_port=1,icmp,tun_id=0x7,nw_dst=10.0.0.2")
    assert "Datapath actions" in traced
    own = f"dpid:{int(bed.server(node).spec.underlay_ip):016x}"
    assert own in output(bed, node, "ovs-ofctl", "show", "br-int"), "the switch of another node"


@pytest.mark.parametrize("node", NODES)
class TestTools:
    """Each tool in each kind of node."""

    def test_each_tool_reaches_the_nodes_own_switch(self, bed: Testbed, node: str) -> None:
        all_reach_it(bed, node)

    def test_the_nodes_shell_reaches_it_too(self, bed: Testbed, node: str) -> None:
        assert "br-int" in bed.node(node).cmd("ovs-vsctl list-br").split()

    def test_every_version_lists_the_same_flows(self, bed: Testbed, node: str) -> None:
        plain = listed(output(bed, node, "ovs-ofctl", "dump-flows", "br-int"))
        assert len(plain) > 10
        for version in OTHER_VERSIONS:
            assert listed(output(bed, node, "ovs-ofctl", "-O", version, "dump-flows", "br-int")) == plain, version

    def test_our_own_controller_speaks_1_4(self, bed: Testbed, node: str) -> None:
        log = (bed.directory.node(node) / "ovs-vswitchd.log").read_text()
        assert "version negotiation failed" not in log
        # Open vSwitch writes this to its database with a delay.
        until(lambda: "is_connected: true" in output(bed, node, "ovs-vsctl", "show"), 20, "the controller is connected")


def test_a_daemon_that_restarts_is_reached_by_the_same_names(bed: Testbed) -> None:
    for node, daemon in (("h1", "ovs-vswitchd"), ("h2", "ovsdb-server"), ("h2", "ovs-vswitchd")):
        server = bed.server(node)
        old = server.daemons[daemon].pid
        os.kill(old, signal.SIGKILL)
        until(partial(_restarted, bed, node, daemon, old), 30, f"{daemon} is back")
        all_reach_it(bed, node)
        sockets = [path.name for path in server.directory.glob(f"{daemon}.*.ctl")]
        assert sockets == [f"{daemon}.{server.daemons[daemon].pid}.ctl"], "the socket of the dead one is left"
    until(lambda: ping(bed, "blue-1", "10.0.0.3"), 30, "the hosts forward again")


def _restarted(bed: Testbed, node: str, daemon: str, old: int) -> bool:
    rows = bed.supervision()["processes"]
    up = any((row["server"], row["what"], row["state"]) == (node, daemon, "up") for row in rows)
    return up and bed.server(node).daemons[daemon].pid != old


def test_the_machine_sees_nothing_of_it(bed: Testbed) -> None:
    assert bed.run not in Path("/proc/self/mountinfo").read_text()
    place = ovs_daemons.TOOLS_PLACE
    assert not place.exists() or not os.path.samefile(place, bed.directory.node("h1"))
    assert bed.node("blue-1").pexec("ovs-vsctl --timeout=1 show")[2] != 0 or place.exists(), "a VM sees a switch"


def test_a_node_sees_all_else_of_the_machines_run_directory(bed: Testbed) -> None:
    before = (bed.directory.path / "conf.db").stat().st_mtime  # it is made right before the first switch starts
    old = {path.name: path.is_symlink() for path in Path("/run").iterdir() if path.lstat().st_ctime < before}
    seen = "import json, pathlib; print(json.dumps({p.name: p.is_symlink() for p in pathlib.Path('/run').iterdir()}))"
    there = json.loads(output(bed, "h1", "python3", "-c", seen))
    assert old.items() <= there.items()


@pytest.fixture
def state_in_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory in /run, as that of an installation is."""
    with tempfile.TemporaryDirectory(prefix="hb", dir="/run") as base:
        monkeypatch.setenv("HOVERBOARD_STATE_DIR", base)
        yield Path(base)


@pytest.mark.rootless
def test_a_run_with_its_files_in_run_is_whole(state_in_run: Path, run_name: str) -> None:
    with Testbed("two-hosts", run=run_name, dataplane="ovs") as bed:
        all_reach_it(bed, "h1")
        seen = output(bed, "h2", "ls", "-A", str(bed.directory.path)).split()
        assert sorted(seen) == sorted(os.listdir(bed.directory.path))
        assert ping(bed, "blue-1", "10.0.0.3")


@pytest.fixture
def other_machine() -> Iterator[int]:
    """A pid with a mount namespace of its own, whose /run is empty."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_where_the_machine_has_the_place_it_is_covered_in_the_node_alone(other_machine: int, tmp_path: Path) -> None:
    (tmp_path / "db.sock").touch()

    def inside(command: str) -> list[str]:
        words = ["nsenter", f"--mount=/proc/{other_machine}/ns/mnt", "sh", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    inside("mkdir /run/openvswitch && touch /run/openvswitch/theirs /run/other")
    ovs_daemons.show_to_tools(tmp_path, other_machine)
    assert inside("ls /var/run/openvswitch") == ["db.sock"]
    assert inside("ls /run") == ["openvswitch", "other"]
    inside("umount /run/openvswitch")
    assert inside("ls /run/openvswitch") == ["theirs"], "a file of the machine was written"


def test_a_machine_without_a_place_for_it_is_told(
    other_machine: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovs_daemons, "TOOLS_PLACE", Path("/var/nothing/openvswitch"))
    with pytest.raises(MachineError, match="cannot show the switch to its tools at /var/nothing/openvswitch"):
        ovs_daemons.show_to_tools(tmp_path, other_machine)


def test_what_a_thread_sees_inside_it_sees_no_more_outside(other_machine: int) -> None:
    assert mount_namespace.run_inside(other_machine, lambda: os.listdir("/run")) == []
    assert os.listdir("/run") != []
    with pytest.raises(MachineError, match="has ended"):
        mount_namespace.run_inside((1 << 22) + 1, lambda: None)


def test_nothing_is_mounted_in_a_namespace_that_is_our_own() -> None:
    called: list[bool] = []
    with pytest.raises(MachineError, match="no mount namespace of its own"):
        mount_namespace.run_inside(os.getpid(), lambda: called.append(True))
    assert called == []
