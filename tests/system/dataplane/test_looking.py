"""`hoverboard capture` and `hoverboard latency` on running engines, and what they say where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard.contract.document_schemas import check
from tests.system.dataplane.dataplane_rig import node_status
from tests.waiting import until
from topologies.run.testbed import Testbed

# The first look into engines compiles them with the debug elements.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def fastpath(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed("two-hosts", dataplane="fastpath")


@pytest.fixture
def pinging(fastpath: Testbed) -> Iterator[None]:
    ping = fastpath.node("blue-1").popen(
        ["ping", "-i", "0.05", "10.0.0.3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield
    ping.terminate()
    ping.wait()


def start(bed: Testbed, *words: str) -> subprocess.Popen[str]:
    """A verb of the command line, on this run."""
    command = [sys.executable, "-P", "-m", "console.cli", *words, "--run", bed.run]
    env = {**os.environ, "HOVERBOARD_STATE_DIR": str(bed.directory.path.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def run(bed: Testbed, *words: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a verb."""
    process = start(bed, *words)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def shown(file: Path) -> list[str]:
    """The lines that tcpdump makes of a capture."""
    done = subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.usefixtures("pinging")
class TestCapture:
    def test_a_ping_with_both_directions_and_the_engine_is_as_before(self, fastpath: Testbed, tmp_path: Path) -> None:
        file = tmp_path / "blue.pcapng"
        code, out, err = run(fastpath, "capture", "blue-1", "-c", "20", "-w", str(file), "--json")
        assert code == 0, err
        assert json.loads(out) == {"file": str(file), "node": "h1", "ports": ["blue-1"], "packets": 20, "lost": 0}
        lines = shown(file)
        assert sum("10.0.0.2 > 10.0.0.3: ICMP echo request" in line for line in lines) >= 9
        assert sum("10.0.0.3 > 10.0.0.2: ICMP echo reply" in line for line in lines) >= 9
        assert (
            fastpath.node("blue-1")
            .popen(["ping", "-c", "3", "-i", "0.1", "10.0.0.3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            .wait(10)
            == 0
        )

    def test_the_uplink_shows_the_tunnel(self, fastpath: Testbed, tmp_path: Path) -> None:
        file = tmp_path / "uplink.pcapng"
        code, _out, err = run(fastpath, "capture", "h1", "uplink", "-c", "10", "-w", str(file))
        assert code == 0, err
        assert any("172.16.0.1" in line and "Geneve" in line and "ICMP echo request" in line for line in shown(file))

    def test_ctrl_c_ends_it_with_a_whole_file(self, fastpath: Testbed, tmp_path: Path) -> None:
        file = tmp_path / "some.pcapng"
        process = start(fastpath, "capture", "h1", "-w", str(file))
        until(lambda: file.exists() and file.stat().st_size > 2000, 100, "packets in the file")
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=10)
        assert process.returncode == 0, err
        assert f"packets in {file}" in err
        assert len(shown(file)) >= 4

    @pytest.mark.rootless
    def test_without_a_file_packets_are_shown(self, fastpath: Testbed) -> None:
        code, out, err = run(fastpath, "capture", "blue-2", "-c", "4")
        assert (code, len(out.splitlines())) == (0, 4), err
        assert "capturing begins now: blue-2 of h2" in err
        assert all("blue-2 in IP" in line or "blue-2 out IP" in line for line in out.splitlines())

    def test_lines_that_nobody_reads_any_more_end_it(self, fastpath: Testbed) -> None:
        process = start(fastpath, "capture", "blue-2")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        _out, err = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in err) == (0, False), err

    def test_who_dies_captures_no_more(self, fastpath: Testbed, tmp_path: Path) -> None:
        file = tmp_path / "killed.pcapng"
        process = start(fastpath, "capture", "h1", "-w", str(file))
        until(lambda: file.exists() and file.stat().st_size > 2000, 100, "packets in the file")
        process.kill()
        process.communicate()
        # A second capture is refused while one runs.
        until(lambda: run(fastpath, "capture", "h1", "-c", "1", "-w", str(file))[0] == 0, 10, "the end of the first")

    def test_latency_and_rates(self, fastpath: Testbed) -> None:
        code, out, err = run(fastpath, "latency", "h1", "--seconds", "1", "--every", "1", "--json")
        assert code == 0, err
        found = json.loads(out)
        assert found["egress"]["samples"] > 5
        assert found["ingress"]["samples"] > 5
        assert 0 < found["egress"]["p50_us"] <= found["egress"]["p99_us"]
        rates = node_status(fastpath, "h1")["rates"]
        assert rates["ports"]["blue-1"]["rx_pps"] > 5
        assert {"10.0.0.2", "10.0.0.3"} <= {flow["src"] for flow in rates["flows"]}


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("capture", "h9"), "there is no node 'h9'"),
            (("capture", "h1", "blue-2"), "use one of: uplink,"),
            (("capture", "blue-1", "uplink"), "name its host: h1"),
            (("capture", "fab"), "has no data plane"),
            (("capture", "h1", "-w", "/nowhere/x"), "cannot write /nowhere/x"),
            (("capture", "h1", "--json"), "add -w FILE"),
            (("latency", "h9"), "there is no node 'h9'"),
        ],
    )
    def test_what_is_wrong_and_what_to_do(self, fastpath: Testbed, words: tuple[str, ...], said: str) -> None:
        code, _out, err = run(fastpath, *words)
        assert code != 0
        assert said in err

    def test_open_vswitch_is_looked_at_with_tcpdump(self, testbed: Callable[..., Testbed], tmp_path: Path) -> None:
        bed = testbed("two-hosts", dataplane="ovs")
        file = tmp_path / "ovs.pcap"
        ping = bed.node("blue-1").popen(
            ["ping", "-i", "0.1", "10.0.0.3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        code, _out, err = run(bed, "capture", "h1", "uplink", "-c", "4", "-w", str(file))
        ping.terminate()
        ping.wait()
        assert code == 0, err
        assert "running tcpdump" in err
        assert "capturing begins now on h1" in err
        assert any("Geneve" in line for line in shown(file))
        code, _out, err = run(bed, "latency", "h1")
        assert code != 0
        assert "dataplane: fastpath" in err


WEB = """
name: web
hosts: 2
hoverboards: 1
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    vms: 2
    firewall: {rules: [{name: no-web, direction: ingress, action: deny, protocol: udp, ports: [80, 81]}]}
"""
DENIED = "denied by rule no-web of blue"


@pytest.mark.parametrize("dataplane", ["fastpath", "ovs"])
def test_the_rule_that_dropped_is_named(testbed: Callable[..., Testbed], dataplane: str) -> None:
    from topologies.spec import schema

    bed = testbed(schema.parse(WEB).with_dataplane(dataplane))
    send = "for port in 80 80 81; do echo x > /dev/udp/10.0.0.3/$port; done"
    capture = None
    if dataplane == "fastpath":
        capture = start(bed, "capture", "h2", "uplink")
        assert capture.stderr is not None
        # Not before: what is sent while the engines are compiled is not captured.
        assert any("capturing begins now" in line for line in capture.stderr)

    def dropped() -> int:
        """Packets that the rule has dropped, after some more of them."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        assert bed.node("blue-1").popen(["bash", "-c", send], **quiet).wait(10) == 0
        return sum(row["packets"] for row in bed.node_status("h2")["dropped_by"] if row["cause"] == DENIED)

    until(lambda: dropped() >= 3, 20, "drops by rule")
    assert DENIED in run(bed, "status", "h2")[1]
    code, out, err = run(bed, "flows", "h2", "--json")
    assert code == 0, err
    document = json.loads(out)
    check("flows", document)
    assert DENIED in document["purposes"]
    assert document["openflow_counts"] is (dataplane == "ovs")
    if capture is not None:
        assert {(row["ports"].split()[-1], row["cause"]) for row in document["entries"] if "cause" in row} == {
            ("80", DENIED), ("81", DENIED)
        }  # fmt: skip
        capture.send_signal(signal.SIGINT)
        shown, err = capture.communicate(timeout=60)
        lines = [line for line in shown.splitlines() if "UDP" in line and "10.0.0.3.8" in line]
        assert len(lines) >= 3
        assert all(line.endswith(f"[dropped: firewall-ingress ({DENIED})]") for line in lines)
        senders = [line.partition("IP 10.0.0.2.")[2].partition(" ")[0] for line in lines]
        assert len(set(senders)) == len(senders), "each packet once"


def test_batches_of_one_and_arrival_order_carry_packets(testbed: Callable[..., Testbed]) -> None:
    topology = {"hosts": 2, "batch": {"egress": 1, "ingress": 1}, "vm_priority": False}
    from topologies.spec import schema

    bed = testbed(
        schema.from_keys({**topology, "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 2}]})
    )
    assert (
        bed.node("blue-1")
        .popen(["ping", "-c", "3", "-i", "0.1", "10.0.0.3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        .wait(10)
        == 0
    )
