"""The whole control plane as a process, on real switches: updates, offloads, restarts, dead switches."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hoverboard.contract.encapsulation import guest_mac
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Subnetwork
from hoverboard.contract.errors import EntityError, RunError
from hoverboard.contract.openflow.pipeline import vport_flows
from tests.system.control_plane.control_plane_rig import ROOT, Rig, end, rig, wait_for

UNDERLAY = {"h1": "172.16.0.1", "h2": "172.16.0.2", "hv1": "172.16.255.1"}
BASE: list[AnyEntity] = [
    Network(name="blue", vni=7),
    Subnetwork(name="blue", network="blue", prefix=IPv4Network("10.0.0.0/16")),
    Host(name="h1", underlay_ip=IPv4Address(UNDERLAY["h1"])),
    Host(name="h2", underlay_ip=IPv4Address(UNDERLAY["h2"])),
    Hoverboard(name="hv1", underlay_ip=IPv4Address(UNDERLAY["hv1"])),
]


def vm(number: int, host: str) -> VM:
    address = IPv4Address("10.0.0.0") + number
    return VM(name=f"b{number}", network="blue", ip=address, mac=guest_mac(7, address), host=host)


VMS = [vm(2, "h1"), vm(3, "h2")]
OF_A_VM = len(vport_flows(7, 100, VMS[0].ip, VMS[0].mac))  # flows that a VM adds to its own host


def say_hello(cluster: Rig) -> None:
    cluster.hello("h1", {"b2": "vp2"})
    cluster.hello("h2", {"b3": "vp3"})
    cluster.hello("hv1")


@pytest.fixture
def cluster() -> Iterator[Rig]:
    """Two hosts, a Hoverboard, a joined VM on each host, everything programmed."""
    with rig() as made:
        made.start_plane("--idle-expiry", "60")
        for name, underlay in UNDERLAY.items():
            made.add_switch(name, underlay)
        made.switches["h1"].add_vport("vp2", 100)
        made.switches["h2"].add_vport("vp3", 100)
        made.client.full_update([*BASE, *VMS])
        say_hello(made)
        made.wait_programmed()
        yield made


def kinds(lines: list[str]) -> list[str]:
    return sorted(line.split(",")[0].split("=")[1] for line in lines)


def test_status_and_sockets(cluster: Rig) -> None:
    status = cluster.client.status()
    assert status["model"] == "hoverboard"
    assert status["synced"]
    assert status["vms"] == {"intended": 2, "joined": 2}
    assert cluster.agents["h1"].report_interval == 1.0
    for name, switch in cluster.switches.items():
        assert status["switches"][name]["connected"]
        assert status["switches"][name]["flows"] == len(switch.flows())
    for socket in ("control.sock", "of.sock"):
        mode = (cluster.control / socket).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


def test_a_vm_added_is_in_the_switches_when_the_diff_returns(cluster: Rig) -> None:
    before = {name: switch.flows() for name, switch in cluster.switches.items()}
    reply = cluster.client.diff([vm(4, "h2")])
    assert (reply.added, reply.switches) == (1, ("hv1",))
    assert len(cluster.switches["hv1"].flows()) == len(before["hv1"]) + 1
    cluster.switches["h2"].add_vport("vp4", 101)
    cluster.agents["h2"].bind("b4", "vp4")
    wait_for(lambda: len(cluster.switches["h2"].flows()) == len(before["h2"]) + OF_A_VM, "b4 is on h2")
    assert cluster.switches["h1"].flows() == before["h1"]
    cluster.client.diff(remove=[vm(4, "h2")])
    wait_for(lambda: {n: s.flows() for n, s in cluster.switches.items()} == before, "all as before")


def test_a_port_that_vanishes_unjoins_the_vm(cluster: Rig) -> None:
    before = cluster.switches["h2"].flows()
    cluster.switches["h2"].remove_vport("vp3")
    wait_for(lambda: cluster.client.status()["vms"]["joined"] == 1, "b3 is not joined any more")
    wait_for(lambda: len(cluster.switches["h2"].flows()) == len(before) - OF_A_VM, "b3's flows are gone")
    cluster.switches["h2"].add_vport("vp3", 100)
    wait_for(lambda: cluster.switches["h2"].flows() == before, "b3 is back")


def test_refusals_reach_the_client_as_they_were(cluster: Rig) -> None:
    with pytest.raises(EntityError) as refused:
        cluster.client.diff([VMS[0].model_copy(update={"name": "x"})])
    assert refused.value.where == "VM/x.ip"
    assert refused.value.what == "10.0.0.2 in network 'blue' is taken by VM 'b2'"
    assert refused.value.next_step
    assert cluster.client.status()["version"] == 1


def test_offload_and_the_hoverboards_reports_do_not_count(cluster: Rig) -> None:
    plain = cluster.switches["h1"].flows()
    cluster.agents["hv1"].usage(7, "10.0.0.2", "10.0.0.3", 10_000_000)
    wait_for(
        lambda: cluster.client.status()["counters"]["usage_reports_from_hoverboards"] == 1, "the report was counted"
    )
    assert cluster.client.offloads() == []
    cluster.agents["h1"].usage(7, "10.0.0.2", "10.0.0.3", 10_000)
    wait_for(cluster.client.offloads, "an offload")
    (offload,) = cluster.client.offloads()
    assert abs(offload.pop("since") - time.time()) < 5
    assert offload == {
        "network": "blue", "src": "b2", "dst": "b3", "src_host": "h1", "dst_host": "h2", "rate_bps": 80_000,
    }  # fmt: skip
    wait_for(lambda: len(cluster.switches["h1"].flows()) == len(plain) + 1, "the offload flow")
    (flow,) = set(cluster.switches["h1"].flows()) - set(plain)
    assert "nw_src=10.0.0.2,nw_dst=10.0.0.3" in flow
    assert f"set_field:{UNDERLAY['h2']}->tun_dst" in flow


def test_an_idle_offload_is_taken_back() -> None:
    with rig() as made:
        made.start_plane("--idle-expiry", "0.3", "--threshold", "1000")
        made.add_switch("h1", UNDERLAY["h1"])
        made.client.full_update([*BASE, *VMS])
        agent = made.hello("h1")
        made.wait_programmed("h1")
        before = made.switches["h1"].flows()
        agent.usage(7, "10.0.0.2", "10.0.0.3", 10_000)
        wait_for(made.client.offloads, "an offload")
        wait_for(lambda: made.client.offloads() == [], "taken back")
        wait_for(lambda: made.switches["h1"].flows() == before, "its flow is gone")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_touches_no_flow(cluster: Rig, number: int, tmp_path: Path) -> None:
    cluster.agents["h1"].usage(7, "10.0.0.2", "10.0.0.3", 10_000)
    wait_for(cluster.client.offloads, "an offload")
    cluster.wait_programmed()
    before = {name: switch.flows() for name, switch in cluster.switches.items()}
    monitors = {name: switch.monitor(tmp_path / name) for name, switch in cluster.switches.items()}
    try:
        for name, flows in before.items():
            wait_for(partial(has_events, tmp_path / name, len(flows)), f"the monitor of {name} watches")
        assert cluster.stop_plane(number) == (0 if number == signal.SIGTERM else -number)
        for agent in cluster.agents.values():
            agent.close()
        cluster.start_plane("--idle-expiry", "60")
        cluster.client.full_update([*BASE, *VMS])
        say_hello(cluster)
        cluster.wait_programmed()
        status = cluster.client.status()
        assert status["counters"]["reconciliations"] == len(cluster.switches)
        assert status["counters"]["reconciled_flows_changed"] == 0
        assert status["counters"]["offloads_adopted"] == 1
        assert len(cluster.client.offloads()) == 1
        assert {name: switch.flows() for name, switch in cluster.switches.items()} == before
    finally:
        for monitor in monitors.values():
            end(monitor)
    for name, flows in before.items():
        assert events(tmp_path / name) == len(flows), f"{name}: a flow was touched"


def has_events(monitor: Path, count: int) -> bool:
    return events(monitor) == count


def events(monitor: Path) -> int:
    """How many flow events a monitor has written; it begins with one for each flow."""
    return monitor.read_text().count("event=")


def test_an_agent_that_comes_back_before_its_old_stream_ends(cluster: Rig) -> None:
    def online() -> bool:
        return bool(cluster.client.status()["switches"]["h1"]["agent"])

    flows = cluster.switches["h1"].flows()
    first = cluster.agents["h1"]
    second = cluster.hello("h1", {"b2": "vp2"})
    first.close()
    second.usage(7, "10.0.0.2", "10.0.0.3", 10_000)  # a sign that the second stream is the one that counts
    wait_for(cluster.client.offloads, "an offload")
    assert online()
    second.close()
    wait_for(lambda: not online(), "h1's agent is gone")
    assert set(flows) <= set(cluster.switches["h1"].flows())  # fail static


def test_a_dead_switch_holds_up_nobody(cluster: Rig) -> None:
    cluster.switches["hv1"].pause()
    try:
        started = time.monotonic()
        reply = cluster.client.diff([vm(5, "h1")])
        assert reply.switches == ("hv1",)
        assert time.monotonic() - started < 2
        cluster.switches["h1"].add_vport("vp5", 105)
        cluster.agents["h1"].bind("b5", "vp5")
        wait_for(lambda: any("in_port=105" in line for line in cluster.switches["h1"].flows()), "b5 is on h1")
        assert not cluster.client.status()["switches"]["hv1"]["programmed"]
    finally:
        cluster.switches["hv1"].resume()
    cluster.wait_programmed()
    assert any("nw_dst=10.0.0.5" in line for line in cluster.switches["hv1"].flows())


def test_a_switch_that_lost_its_flows_gets_them_back(cluster: Rig) -> None:
    before = cluster.switches["h1"].flows()
    cluster.switches["h1"].vsctl("del-controller", "br-int")
    wait_for(lambda: not cluster.client.status()["switches"]["h1"]["connected"], "h1 is away")
    cluster.switches["h1"].ofctl("del-flows")
    cluster.switches["h1"].ofctl("add-flow", "table=30,priority=65535,ip,actions=NORMAL")
    cluster.switches["h1"].vsctl("set-controller", "br-int", f"unix:{cluster.switches['h1'].dir}/of.sock")
    wait_for(lambda: cluster.switches["h1"].flows() == before, "h1 is programmed again")


def test_a_second_control_plane_in_the_directory_is_refused(cluster: Rig) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "controllers", "--dir", str(cluster.control)],
        capture_output=True, text=True, timeout=20, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == RunError.exit_code
    assert "a control plane already runs in this directory" in done.stderr
    assert "Traceback" not in done.stderr
    assert cluster.client.status()["synced"]


def test_diff_before_full_update_and_no_control_plane_at_all() -> None:
    with rig() as made:
        made.start_plane("--model", "preprogrammed")
        with pytest.raises(RunError, match="a diff came before the first full update"):
            made.client.diff(VMS)
        made.stop_plane()
        assert not os.listdir(made.control) or os.listdir(made.control) == ["control.lock"]
        with pytest.raises(RunError, match="does not answer"):
            made.client.wait_ready(0.2)
