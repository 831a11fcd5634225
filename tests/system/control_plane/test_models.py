"""Programming models on a real cluster: each carries packets in its own way; one follows another without a loss."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from tests.documented import file_text
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

CLUSTER = """
hosts: 2
hoverboards: 2
report_interval: 0.2
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 4}
"""
INTERVAL = 0.01
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
NOBODY = "10.0.0.77"


def address(bed: Testbed, vm: str) -> str:
    return next(str(one.ip) for one in bed.topology.vms if one.name == vm)


class Ping:
    """A ping that runs until it is asked what was lost."""

    def __init__(self, bed: Testbed, source: str, target: str, *more: str) -> None:
        self._process = bed.node(source).popen(
            ["ping", "-n", "-i", str(INTERVAL), "-W", "2", *more, target], stdout=subprocess.PIPE, bufsize=0
        )
        self._process.stdout.readline()  # by then a signal has it print its counts, and does not just end it

    def end(self) -> tuple[int, int]:
        """(sent, lost); what is under way may still come back."""
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=20)
        self.text = output.decode()
        found = _COUNTS.search(self.text)
        assert found, self.text
        # The last one may have been sent a moment before the signal.
        return int(found[1]), max(0, int(found[1]) - int(found[2]))


def reaches(bed: Testbed, source: str, target: str, count: int = 5) -> int:
    """How many of `count` pings are answered."""
    process = bed.node(source).popen(
        ["ping", "-n", "-c", str(count), "-i", "0.05", "-W", "1", target], stdout=subprocess.PIPE
    )
    output, _ = process.communicate(timeout=20)
    found = _COUNTS.search(output.decode())
    assert found, output
    return int(found[2])


def settle(bed: Testbed) -> None:
    """Until hosts know each other on the fabric: Open vSwitch drops the packets that make it ask."""
    for source, target in (("blue-1", "blue-2"), ("blue-4", "blue-3")):
        wait_for(partial(_all_back, bed, source, target), 10, lambda: "the first packets arrive")


def _all_back(bed: Testbed, source: str, target: str) -> bool:
    return reaches(bed, source, address(bed, target), 3) == 3


def control(bed: Testbed) -> dict[str, Any]:
    return bed.control_status()


def openflow(bed: Testbed, node: str) -> list[str]:
    return list(bed.flows(node)["openflow"])


def learning(bed: Testbed, node: str) -> dict[str, int]:
    with_client = bed.host_client(node)
    try:
        return dict(with_client.status()["learning"])
    finally:
        with_client.close()


@pytest.mark.parametrize("dataplane", ["fastpath", pytest.param("ovs", marks=pytest.mark.long)])
def test_from_model_to_model_without_a_lost_packet(
    testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model="hoverboard", dataplane=dataplane)
    settle(bed)
    pings = [Ping(bed, "blue-1", address(bed, "blue-2")), Ping(bed, "blue-4", address(bed, "blue-3"))]
    for model in ("preprogrammed", "on-demand", "gateway", "active-learning", "hoverboard"):
        done = bed.set_model(model)
        assert done["model"] == model == bed.topology.model
        assert control(bed)["switching"] is None
        assert reaches(bed, "blue-3", address(bed, "blue-4")) >= 4, model
        assert reaches(bed, "blue-1", address(bed, "blue-3")) == 5, model
        assert reaches(bed, "blue-1", NOBODY, 2) == 0, model
    for ping in pings:
        sent, lost = ping.end()
        assert sent > 400, ping.text
        assert lost <= 1, ping.text  # the one that the signal overtook


@pytest.mark.parametrize("dataplane", ["fastpath", "ovs"])
@pytest.mark.rootless
def test_on_demand_asks_once_and_remembers(testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model="on-demand", dataplane=dataplane)
    before = control(bed)
    assert before["lookups"] == 2  # one ping, each way, before the run is up
    # The first packet waits for the answer, and is not lost.
    assert reaches(bed, "blue-3", address(bed, "blue-4")) == 5
    after = control(bed)
    assert after["lookups"] == 4
    asked = before["counters"]["packets_in"]
    assert after["counters"]["packets_in"] == asked + 2
    # Nobody is there: one question, then the host's own answer for a while.
    assert reaches(bed, "blue-1", NOBODY, 10) == 0
    assert control(bed)["counters"]["packets_in"] == asked + 3
    assert any("nw_dst=10.0.0.77 actions=drop" in line for line in openflow(bed, "h1"))
    # Hoverboards carry nothing.
    assert not any("table=50" in line and "nw_dst" in line for line in openflow(bed, "hv1"))
    # The VM that comes is reached, whatever was answered before.
    bed.intent.diff(
        upsert=[one for one in _entities(bed) if one.name == "blue-2"],
    )
    assert reaches(bed, "blue-3", address(bed, "blue-2")) == 5


def _entities(bed: Testbed) -> list[Any]:
    return [vm.entity() for vm in bed.topology.vms]


@pytest.mark.parametrize("dataplane", ["fastpath", "ovs"])
def test_active_learning_leaves_the_gateway(testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model="active-learning", dataplane=dataplane)
    settle(bed)
    ping = Ping(bed, "blue-1", address(bed, "blue-2"))

    def learned() -> bool:
        return any("priority=90" in line and "nw_dst=10.0.0.3" in line for line in openflow(bed, "h1"))

    wait_for(learned, 10, lambda: f"h1 learns the route; {learning(bed, 'h1')}")
    assert learning(bed, "h1")["routes"] >= 1
    assert sum(learning(bed, node)["answered"] for node in ("hv1", "hv2")) >= 1
    # The controller that reads the switch leaves the host's own flows alone.
    counters = control(bed)["counters"]
    bed.full_update()
    assert learned()
    assert control(bed)["counters"]["offloads_started"] == counters["offloads_started"] == 0
    _, lost = ping.end()
    assert lost <= 1, ping.text


def gap(text: str) -> float:
    """Longest time without an answer in the output of `ping -D`, seconds."""
    times = [float(stamp) for stamp in re.findall(r"^\[(\d+\.\d+)\] \d+ bytes", text, re.MULTILINE)]
    return max(later - earlier for earlier, later in zip(times, times[1:], strict=False))


@pytest.mark.parametrize("dataplane", ["fastpath", pytest.param("ovs", marks=pytest.mark.long)])
def test_a_dead_hoverboard_is_replaced_within_a_second(
    testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, model="gateway", dataplane=dataplane)
    settle(bed)
    ping = Ping(bed, "blue-1", address(bed, "blue-2"), "-D")
    assert reaches(bed, "blue-1", address(bed, "blue-2"), 10) == 10
    used = next(
        name
        for name, dotted in (("hv1", "172.16.255.1"), ("hv2", "172.16.255.2"))
        if any(f"set_field:{dotted}->tun_dst" in line for line in openflow(bed, "h1") if "priority=10," in line)
    )
    server = bed.server(used)
    assert server.host_pid is not None
    bed.suppress_restarts(used)
    os.kill(server.host_pid, signal.SIGKILL)
    os.kill(server.daemons["ovs-vswitchd"].pid, signal.SIGKILL)
    wait_for(lambda: used in control(bed)["hoverboards_down"], 5, lambda: "the Hoverboard is left out")
    settle(bed)
    _, lost = ping.end()
    print(f"{dataplane}: relayed traffic stood still for {gap(ping.text):.3f} s")
    assert lost > 1, "it was the Hoverboard that carried them"
    assert gap(ping.text) < 1.0


TAGGED = """
model: tagged.py:Tagged
hosts: 2
hoverboards: 1
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: [{}, {tags: [direct]}, {}, {}]}
"""


@pytest.mark.parametrize("dataplane", ["fastpath", pytest.param("ovs", marks=pytest.mark.long)])
def test_a_model_from_a_file_beside_the_topology(
    testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tagged.py").write_text(file_text("docs/models.md", "tagged.py"))
    file = tmp_path / "tagged.yaml"
    file.write_text(TAGGED)
    bed = testbed(file, dataplane=dataplane)
    reference = f"{tmp_path}/tagged.py:Tagged"
    settle(bed)
    assert control(bed)["model"] == bed.status()["model"] == reference

    def direct() -> list[str]:
        """Routes of h1 to a VM of h2."""
        return [line for line in openflow(bed, "h1") if f"nw_dst={address(bed, 'blue-2')} " in line and "tun" in line]

    assert len(direct()) == 1
    assert not any(f"nw_dst={address(bed, 'blue-4')} " in line and "tun" in line for line in openflow(bed, "h1"))
    ping = Ping(bed, "blue-1", address(bed, "blue-2"))
    assert bed.set_model("gateway")["from"] == reference
    assert (direct(), reaches(bed, "blue-1", address(bed, "blue-2"))) == ([], 5)
    with pytest.raises(InputError, match="there is no Python file 'absent.py'"):
        bed.set_model("absent.py:Tagged")
    monkeypatch.chdir(tmp_path)
    assert bed.set_model("tagged.py:Tagged") | {"seconds": 0} == {"model": reference, "from": "gateway", "seconds": 0}
    assert len(direct()) == 1
    sent, lost = ping.end()
    assert sent > 100, ping.text
    assert lost <= 1, ping.text
