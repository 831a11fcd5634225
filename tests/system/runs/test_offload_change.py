"""The offload policy, values of new VMs, and names without a match, on real runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.document_schemas import check
from hoverboard.contract.errors import HoverboardWarning, InputError, RunError
from topologies.cluster.control_processes import ControlLayout
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(200)

FILE = """
name: changed
hosts: [{region: east}, {region: west}]
hoverboards: [{region: east}, {region: west}]
offload_threshold: 1gbit
report_interval: 250ms
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    vms: [{name: a, host: h1}, {name: b, host: h2}]
    firewall: {rules: [{name: closed, direction: ingress, action: deny, targets: [store], protocol: icmp}]}
"""
ONE_REGION = FILE.replace("[{region: east}, {region: west}]\nhov", "2\nhov").replace(
    "hoverboards: [{region: east}, {region: west}]", "hoverboards: 1"
)
POLICY = """
from controllers import Decision, GatewayModel, OffloadPolicy

class All(OffloadPolicy):
    def decide(self, host, candidates, now):
        return Decision(start=[pair for pair, rate in candidates])

class Wrong(OffloadPolicy):
    def decide(self, host, candidates, now):
        return nothing

class Bad(GatewayModel):
    def vm_flows(self, view, switch, vm):
        raise ValueError("not today")
"""
LAYOUTS = {
    "one process": (ONE_REGION, None),
    "processes": (ONE_REGION, ControlLayout.of("processes", partitions=2, replicas=2)),
    "regions": (FILE + "wan: {}\n", None),
}


def policy_of(bed: Testbed) -> Any:
    return bed.control_status()["offload_policy"]


def wait_offloads(bed: Testbed, wanted: bool) -> None:
    """Ping between the hosts until a pair is offloaded, or until none is."""

    def reached() -> bool:
        bed.node("a").popen(["ping", "-c3", "-i0.05", "-q", str(bed.topology.vms[1].ip)]).communicate(timeout=20)
        return bool(bed.offloads()) is wanted

    wait_for(reached, 30, lambda: f"offloads: {bed.offloads()}")


@pytest.mark.parametrize(
    "layout", [pytest.param(one, marks=[] if one == "one process" else pytest.mark.long) for one in LAYOUTS]
)
def test_the_offload_policy_changes_while_packets_flow(
    testbed: Callable[..., Testbed], tmp_path: Path, layout: str
) -> None:
    text, control = LAYOUTS[layout]
    file, mine = tmp_path / "changed.yaml", tmp_path / "mine.py"
    file.write_text(text)
    mine.write_text(POLICY)
    with pytest.warns(HoverboardWarning, match="no VM of 'blue' has the tag 'store'"):
        bed = testbed(file, control=control)
    wait_offloads(bed, False)
    bed.set_offload(policy=f"{mine}:All", idle_expiry="1s")
    wait_offloads(bed, True)
    # A policy that is wrong ends nothing, and is shown with its line; offloads end by themselves.
    pids = [bed.control_status().get("pid"), bed.control_status()["restarts"]]
    bed.set_offload(policy=f"{mine}:Wrong")
    wait_for(lambda: not bed.offloads(), 20, lambda: "offloads stay")
    wait_offloads(bed, False)
    wait_for(lambda: policy_of(bed)["errors"] > 0, 20, lambda: "no error is counted")
    assert policy_of(bed)["last_error"] == f"{mine}:10: Wrong.decide() raised NameError: name 'nothing' is not defined"
    assert [bed.control_status().get("pid"), bed.control_status()["restarts"]] == pids
    # By the file: what it changes, and nothing else.
    file.write_text(text.replace("1gbit", "100bit"))
    with pytest.warns(HoverboardWarning):
        assert bed.apply(file)["offload"] == {"threshold": {"from": 10**9, "to": 100}}
    assert policy_of(bed)["policy"] == f"{mine}:Wrong"
    bed.set_offload(policy="built-in")
    wait_offloads(bed, True)
    with pytest.raises(InputError, match="there is no Python file 'gone.py'"):
        bed.set_offload(policy=str(tmp_path / "gone.py"), threshold="1gbit")
    _survives(bed)


def _survives(bed: Testbed) -> None:
    """Kill the control plane: the next one has the settings of now, and `status` says what happened."""
    dead = bed.control_status()["pid"]
    assert dead is not None
    os.kill(dead, signal.SIGKILL)
    wait_for(
        lambda: bed.control_status()["state"] == "up" and bed.control_status()["restarts"] == 1, 30,
        lambda: str(bed.control_status()),
    )  # fmt: skip
    status = bed.status()
    check("status", status)
    assert (policy_of(bed)["threshold_bps"], policy_of(bed)["policy"], policy_of(bed)["idle_expiry_s"]) == (
        100,
        None,
        1,
    )
    (row,) = [row for row in status["supervision"]["processes"] if row["server"] is None]
    assert (row["restarts"], row["state"], row["why"]) == (1, "up", "SIGKILL")
    assert [one["where"] for one in status["warnings"]] == ["FirewallRule/closed.targets"]


@pytest.mark.parametrize("layout", ["one process", pytest.param("processes", marks=pytest.mark.long)])
def test_a_model_that_ends_the_control_plane_is_left_again(
    testbed: Callable[..., Testbed], tmp_path: Path, layout: str
) -> None:
    text, control = LAYOUTS[layout]
    file, mine = tmp_path / "changed.yaml", tmp_path / "mine.py"
    file.write_text(text)
    mine.write_text(POLICY)
    with pytest.warns(HoverboardWarning):
        bed = testbed(file, control=control)
    with pytest.raises((InputError, RunError), match=r"Bad\.vm_flows\(\) raised ValueError: not today"):
        bed.set_model(f"{mine}:Bad")
    wait_for(
        lambda: bed.control_status()["state"] == "up" and bed.control_status()["restarts"] > 0, 30,
        lambda: str(bed.control_status()),
    )  # fmt: skip
    reasons = {row["why"] for row in bed.supervision()["processes"]}
    assert reasons == {f"{mine}:14: Bad.vm_flows() raised ValueError: not today"}

    def gateway() -> bool:
        try:
            return bed.set_model("gateway")["model"] == "gateway"
        except RunError:
            return False  # the way back is still under way

    wait_for(gateway, 30, lambda: "the model does not change")
    wait_for(lambda: bed.control_status()["model"] == "gateway", 10, lambda: str(bed.control_status()))


def test_a_new_vm_has_what_a_file_can_give(testbed: Callable[..., Testbed], tmp_path: Path) -> None:
    file = tmp_path / "changed.yaml"
    file.write_text(ONE_REGION)
    with pytest.warns(HoverboardWarning):
        bed = testbed(file)

    def answers(target: str) -> bool:
        process = bed.node("a").popen(["ping", "-c2", "-i0.2", "-W1", target])
        process.communicate(timeout=20)
        return bool(process.returncode == 0)

    bed.add_vm("blue", "open", "h2", ip="10.0.0.50", rate="5mbit")
    bed.add_vm("blue", "shop", "h2", ip="10.0.0.60", tags=["store", "web"])
    assert (answers("10.0.0.50"), answers("10.0.0.60")) == (True, False)
    node: Any = bed.node_status("h2")
    assert (node["vms"]["open"]["rate_bps"], node["vms"]["shop"]["rate_bps"]) == (5_000_000, None)
    rows = {vm["name"]: vm for vm in bed.status()["networks"][0]["vms"]}
    assert (rows["open"]["rate_bps"], rows["shop"]["tags"]) == (5_000_000, ["store", "web"])
    assert bed.status()["warnings"] == []
    with pytest.warns(HoverboardWarning, match=r"FirewallRule/closed\.targets: no VM of 'blue' has the tag 'store'"):
        bed.remove_vm("shop")
    with pytest.raises(InputError, match=r"10\.0\.0\.50 is the address of VM 'open'"):
        bed.add_vm("blue", ip="10.0.0.50")
