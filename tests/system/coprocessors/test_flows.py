"""What a flow-table entry carries of stages, on every fast path there is: samples, blocked sources, both VMs of a host.

The generations with a fast path, each with engines of its own and compacted into one thread for all hosts: there the
eventfds of VMMs and coprocessors are another process's, and the rings shared memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.document_schemas import check
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed
from topologies.spec import schema

pytestmark = pytest.mark.timeout(200)

Eventually = Callable[[Callable[[], bool], float, str], None]
STAGES = Path(__file__).parent / "stages"
BLOCKED_SECONDS = 3
CLUSTER = {
    "hosts": [{"name": "h1", "region": "here"}, {"name": "h2", "region": "there"}],
    "stages": [
        {
            "stage": "dos-detection",
            "config": {"packets_per_second": 400, "sample": 4, "block_seconds": BLOCKED_SECONDS},
            "when": {"vms": ["victim"]},
        },
        {"stage": str(STAGES / "count.py"), "when": {"vms": ["from", "to"]}},
        {"stage": "wan-encryption", "when": {"to": "other-region", "vms": ["sealed", "opened"]}},
    ],
    "networks": [
        {
            "name": "blue",
            "vni": 7,
            "subnet": "10.0.0.0/24",
            "vms": [
                {"name": name, "host": host}
                for name, host in (
                    ("far", "h1"), ("good", "h1"), ("sealed", "h1"),
                    ("victim", "h2"), ("near", "h2"), ("from", "h2"), ("to", "h2"), ("opened", "h2"),
                )
            ],
        }
    ],
}  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        ("fastpath", "adaptive"),
        ("fastpath-vmm", "compacting"),
        pytest.param(("fastpath", "compacting"), marks=pytest.mark.long),
        pytest.param(("fastpath-vmm", "adaptive"), marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def cluster(request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed]) -> Testbed:
    dataplane, scheduling = request.param
    return module_testbed(schema.from_keys({**CLUSTER, "dataplane": dataplane, "scheduling": scheduling}))


def address(bed: Testbed, name: str) -> str:
    return next(str(vm.ip) for vm in bed.topology.vms if vm.name == name)


def answered(bed: Testbed, source: str, target: str, count: int = 3) -> int:
    """How many of some pings are answered."""
    words = ["ping", "-q", f"-c{count}", "-i0.05", "-W1", address(bed, target)]
    process = bed.node(source).popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out, _ = process.communicate(timeout=30)
    return int(out.split(" received")[0].split()[-1])


def status_of(bed: Testbed, host: str) -> dict[str, Any]:
    with contextlib.closing(bed.host_client(host)) as client:
        return dict(client.status())


def worker(bed: Testbed, vm: str) -> dict[str, Any]:
    host = next(one.host for one in bed.topology.vms if one.name == vm)
    return dict(status_of(bed, host)["vms"][vm]["coprocessor"] or {})


def dropped(bed: Testbed, host: str, reason: str) -> int:
    return int(status_of(bed, host)["counters"]["drops"].get(reason, 0))


def flood(bed: Testbed, source: str, target: str, until: Callable[[], bool], eventually: Eventually, what: str) -> None:
    """Send datagrams as fast as Python does, and look every few hundred."""
    with entered(bed.pid_of(source)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def more() -> bool:
            for number in range(400):
                sock.sendto(b"flood", (address(bed, target), 9000 + number % 4))
            return until()

        eventually(more, 20, what)


@pytest.mark.parametrize("source", ["far", "near"])
def test_a_flood_is_sampled_on_the_fast_path_and_its_source_blocked(
    cluster: Testbed, eventually: Eventually, source: str
) -> None:
    assert answered(cluster, source, "victim") == 3
    assert answered(cluster, "good", "victim") == 3
    before = dropped(cluster, "h2", "dos-blocked")
    flood(
        cluster, source, "victim", lambda: dropped(cluster, "h2", "dos-blocked") > before + 100, eventually,
        "never blocked",
    )  # fmt: skip
    said = worker(cluster, "victim")
    assert address(cluster, source) in said["blocked"]
    assert said["samples"] > 0
    assert said["packets"] == 0, "the packets themselves stay on the fast path"
    assert any(event.get("source") == address(cluster, source) for event in said["events"])
    assert answered(cluster, "good", "victim") == 3, "nobody else is blocked"
    with contextlib.closing(cluster.host_client("h2")) as client:
        kinds = {
            row["kind"] for row in client.flows() if row["now"] and row["src"] == address(cluster, source)
            and row["dst"] == address(cluster, "victim")
        }  # fmt: skip
    assert kinds == {"drop-dos-blocked"}
    eventually(lambda: not worker(cluster, "victim")["blocked"], BLOCKED_SECONDS + 5, "blocked for ever")
    assert answered(cluster, source, "victim") == 3


def test_between_two_vms_of_a_host_both_have_their_stages(cluster: Testbed) -> None:
    assert answered(cluster, "from", "to") == 3
    seen = {vm: worker(cluster, vm)["stages"]["count"]["seen"] for vm in ("from", "to")}
    # Requests and answers, each in the sender's stage and in the receiver's.
    assert all(count >= 6 for count in seen.values()), seen
    assert iperf.measure(
        cluster.node("from"), cluster.node("to"), address(cluster, "to"), IperfSpec(seconds=1)
    ).bps > 1e6  # fmt: skip


def test_encryption_between_regions(cluster: Testbed) -> None:
    assert answered(cluster, "sealed", "opened", 5) == 5
    assert worker(cluster, "sealed")["stages"]["wan-encryption"]["sealed"] >= 5
    assert worker(cluster, "opened")["stages"]["wan-encryption"]["opened"] >= 5
    ends = cluster.node("sealed"), cluster.node("opened"), address(cluster, "opened")
    assert iperf.measure(*ends, IperfSpec(seconds=1)).bps > 1e6


def test_vms_with_stages_go_and_come_and_leave_no_descriptor(cluster: Testbed) -> None:
    pids = [status_of(cluster, host)["pid"] for host in ("h1", "h2")]
    counts: list[list[int]] = []
    for _ in range(3):
        vm = cluster.add_vm("blue", "guest", "h2").name
        assert answered(cluster, "from", vm) == 3
        assert answered(cluster, vm, "to") == 3
        cluster.remove_vm(vm)
        counts.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in pids])
    assert counts[1] == counts[2]
    assert answered(cluster, "from", "to") == 3


def test_what_comes_and_goes_is_captured(cluster: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "good.pcapng"
    ping = cluster.node("good").popen(
        ["ping", "-i0.05", address(cluster, "victim")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    command = [sys.executable, "-P", "-m", "console.cli", "capture", "good", "-c", "10", "-w", str(file), "--json"]
    env = {**os.environ, "HOVERBOARD_STATE_DIR": str(cluster.directory.path.parent)}
    done = subprocess.run(
        [*command, "--run", cluster.run], capture_output=True, text=True, env=env, timeout=180, check=False
    )
    ping.terminate()
    ping.wait()
    assert done.returncode == 0, done.stderr
    captured = json.loads(done.stdout)
    check("capture", captured)
    assert captured["packets"] == 10
    shown = subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True).stdout
    assert "ICMP echo request" in shown
    assert "ICMP echo reply" in shown
    assert answered(cluster, "good", "victim") == 3
