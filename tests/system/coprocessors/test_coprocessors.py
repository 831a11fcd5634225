"""Coprocessors in a running testbed: encryption between regions, an ACL, shaping, stages that fail, rate limits."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.show import tables
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.document_schemas import check
from hoverboard.contract.encapsulation import guest_mac, underlay_mac
from hoverboard.contract.packets import internet_checksum, mac_bytes
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed
from topologies.spec.topology import FABRIC

pytestmark = pytest.mark.timeout(200)

Eventually = Callable[[Callable[[], bool], float, str], None]
_SO_RCVBUFFORCE = 33
STAGES = Path(__file__).parent / "stages"
CLUSTER = f"""
hosts:
  - {{name: h1, region: here}}
  - {{name: h2, region: there}}
offload_threshold: 1mbit
stages:
  - stage: internet-acl
    config: {{rules: [{{action: deny, protocols: [udp], ports: [5353]}}]}}
    when: {{networks: [blue], direction: egress}}
  - stage: wan-shaping
    config: {{rates_bps: {{there: 20000000}}, default_bps: 20000000}}
    when: {{to: other-region, vms: [shaped], direction: egress}}
  - stage: {STAGES / "count.py"}
    when: {{to: 10.0.0.0/24, vms: [student]}}
  - stage: {STAGES / "crashing.py"}
    when: {{vms: [crash], direction: egress}}
  - stage: {STAGES / "slow.py"}
    when: {{vms: [slow], direction: egress}}
  - stage: wan-encryption
    when: {{to: other-region, networks: [blue]}}
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    vms:
      - {{name: one, host: h1}}
      - {{name: two, host: h2}}
      - {{name: beside, host: h1}}
      - {{name: shaped, host: h1}}
  - name: red
    vni: 8
    subnet: 10.0.0.0/24
    vms:
      - {{name: crash, host: h1}}
      - {{name: slow, host: h1}}
      - {{name: well, host: h1}}
      - {{name: far, host: h2}}
      - {{name: student, host: h1}}
      - {{name: limited, host: h1, rate: 50mbit}}
"""


@pytest.fixture(scope="module")
def cluster(module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory) -> Testbed:
    file = tmp_path_factory.mktemp("coprocessors") / "regions.yaml"
    file.write_text(CLUSTER, encoding="utf-8")
    return module_testbed(file)


def address(bed: Testbed, name: str) -> str:
    return next(str(vm.ip) for vm in bed.topology.vms if vm.name == name)


def run(bed: Testbed, node: str, *command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    process = bed.node(node).popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def ping(bed: Testbed, source: str, target: str, count: int = 3) -> bool:
    done = run(bed, source, "ping", "-c", str(count), "-i", "0.05", "-W", "1", address(bed, target))
    return f" {count} received" in done.stdout


def worker(bed: Testbed, vm: str) -> dict[str, Any]:
    host = next(one.host for one in bed.topology.vms if one.name == vm)
    client = bed.host_client(host)
    try:
        return dict(client.status()["vms"][vm]["coprocessor"] or {})
    finally:
        client.close()


def drops(bed: Testbed, vm: str, reason: str) -> int:
    return int(worker(bed, vm).get("drops", {}).get(reason, 0))


def sniffer(bed: Testbed) -> socket.socket:
    """All that crosses the fabric's ports, with room for a test's worth."""
    with entered(bed.pid_of(FABRIC)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 25)
    except PermissionError:  # an ordinary user's: as much as all may have
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 25)
    sock.settimeout(0.2)
    return sock


def heard(sock: socket.socket) -> list[bytes]:
    frames = []
    with sock:
        while True:
            try:
                frames.append(sock.recv(1 << 17))
            except TimeoutError:
                return frames


def throughput(bed: Testbed, client: str, server: str, seconds: int = 2) -> float:
    place, there = bed.node(client), bed.node(server)
    return float(iperf.measure(place, there, address(bed, server), IperfSpec(seconds=seconds, omit=1)).bps)


def test_between_regions_the_fabric_sees_no_plain_text(cluster: Testbed) -> None:
    assert ping(cluster, "one", "two")
    marker = "5ca1ab1e"
    sock = sniffer(cluster)
    marked = ("-s", "200", "-p", marker, address(cluster, "two"))
    assert " 3 received" in run(cluster, "one", "ping", "-c", "3", "-i", "0.05", "-W", "1", *marked).stdout
    run(cluster, "beside", "ping", "-c", "1", "-W", "1", "-p", marker, address(cluster, "one"))  # stays on the host
    frames = heard(sock)
    assert not any(bytes.fromhex(marker) * 4 in frame for frame in frames)
    ends = socket.inet_aton(address(cluster, "one")) + socket.inet_aton(address(cluster, "two"))
    sealed = [frame for frame in frames if ends in frame]
    assert sealed
    assert all(frame[frame.index(ends) - 3] == 50 for frame in sealed)  # the inner packets are ESP
    assert worker(cluster, "one")["stages"]["wan-encryption"]["sealed"] >= 6
    assert worker(cluster, "two")["stages"]["wan-encryption"]["opened"] >= 6


def test_tcp_crosses_the_encryption_offloaded_too(cluster: Testbed, eventually: Eventually) -> None:
    assert throughput(cluster, "one", "two") > 20e6
    eventually(lambda: bool(cluster.offloads()), 10, "never offloaded")
    assert throughput(cluster, "one", "two") > 50e6
    said = worker(cluster, "two")
    assert not {"esp-malformed", "esp-stale-epoch", "esp-plain"} & said["drops"].keys()
    # What was in the coprocessor when the path changed was sealed for the other way.
    assert said["drops"].get("esp-wrong-tag", 0) <= 64
    assert said["cpu_seconds"] > 0
    assert said["account"].startswith(("cgroup", "thread clock"))


def test_a_plain_packet_put_into_the_fabric_is_dropped(cluster: Testbed, eventually: Eventually) -> None:
    assert ping(cluster, "two", "one")
    one, two = (next(vm for vm in cluster.topology.vms if vm.name == name) for name in ("one", "two"))
    hosts = {server.name: server.underlay_ip for server in cluster.topology.servers}
    inner = mac_bytes(one.mac) + mac_bytes(guest_mac(7, two.ip)) + b"\x08\x00"
    body = b"plain and forged"
    udp = struct.pack("!HHHH", 9, 9, 8 + len(body), 0) + body
    inner += _ipv4(two.ip.packed, one.ip.packed, 17, udp)
    geneve = struct.pack("!BBHI", 0, 0, 0x6558, 7 << 8)
    outer_udp = struct.pack("!HHHH", 50000, 6081, 8 + len(geneve) + len(inner), 0)
    source, target = hosts["h2"], hosts["h1"]
    frame = b"".join(mac_bytes(underlay_mac(ip)) for ip in (target, source)) + b"\x08\x00"
    frame += _ipv4(source.packed, target.packed, 17, outer_udp + geneve + inner)
    before = drops(cluster, "one", "esp-plain")
    with entered(cluster.pid_of(FABRIC)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sock:
            # Out of the bridge's port to h1, which is into h1.
            sock.bind(("to-h1", 0))
            for _ in range(3):
                sock.send(frame)
    eventually(lambda: drops(cluster, "one", "esp-plain") >= before + 3, 5, "forged packets were not counted")


def _ipv4(source: bytes, target: bytes, protocol: int, payload: bytes) -> bytes:
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + source + target)
    header[10:12] = struct.pack("!H", internet_checksum(header))
    return bytes(header) + payload


def test_the_acl_denies_by_rule_also_on_one_host(cluster: Testbed, eventually: Eventually) -> None:
    before = drops(cluster, "one", "acl-denied") if worker(cluster, "one") else 0
    with entered(cluster.pid_of("one")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for target in ("two", "beside"):
            sock.sendto(b"denied", (address(cluster, target), 5353))
    eventually(lambda: drops(cluster, "one", "acl-denied") >= before + 2, 5, "the ACL dropped nothing")
    assert ping(cluster, "one", "beside")


def test_shaping_holds_a_stream_near_its_rate(cluster: Testbed) -> None:
    assert ping(cluster, "shaped", "two")
    rate = throughput(cluster, "shaped", "two", seconds=3)
    assert 10e6 < rate < 22e6
    assert worker(cluster, "shaped")["given"] > 0


def test_a_students_stage_is_one_file(cluster: Testbed) -> None:
    assert ping(cluster, "student", "far")
    assert worker(cluster, "student")["stages"]["count"]["seen"] >= 6  # both directions


def test_a_crashing_stage_hurts_only_its_vm(cluster: Testbed) -> None:
    assert not ping(cluster, "crash", "far")
    assert ping(cluster, "well", "far")
    said = worker(cluster, "crash")
    assert said["drops"]["stage-error"] >= 1
    assert said["errors"]["crashing"] >= 1
    assert said["stages"]["crashing"]["restarts"] >= 1
    assert "too many" in json.dumps(said["events"])


def test_a_slow_stage_hurts_only_its_vm(cluster: Testbed) -> None:
    with entered(cluster.pid_of("slow")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(400):
            sock.sendto(b"x" * 1000, (address(cluster, "far"), 7000 + number % 2))
    done = run(cluster, "well", "ping", "-c", "5", "-i", "0.05", "-W", "1", address(cluster, "far"))
    assert " 5 received" in done.stdout
    assert float(done.stdout.rsplit("=", 1)[1].split("/")[2]) < 200  # the slowest, in ms
    client = cluster.host_client("h1")
    try:
        assert client.status()["counters"]["drops"].get("coprocessor-queue-full", 0) > 0
    finally:
        client.close()


def test_a_rate_limit_holds_what_a_vm_sends(cluster: Testbed) -> None:
    assert ping(cluster, "limited", "far")
    assert 30e6 < throughput(cluster, "limited", "far") < 56e6
    assert throughput(cluster, "well", "far", seconds=1) > 100e6


def test_status_shows_cpu_by_vm(cluster: Testbed) -> None:
    vms = cluster.node_status("h1")["vms"]
    rows = {row["vm"]: row for row in cluster.status()["cpu"]}
    assert rows["one"]["coprocessor_seconds"] > 0
    assert rows["two"]["guest_seconds"] >= 0
    node, whole = cluster.node_status("h1"), cluster.status()
    check("status-node", node)
    check("status", whole)
    tables.show([*tables.node(node), *tables.status(whole)])
    assert vms["well"]["coprocessor"] is None  # nobody pays for what it does not use
    assert vms["limited"]["rate_bps"] == 50_000_000
    assert vms["one"]["fastpath_seconds"] > 0


@pytest.mark.rootless
def test_a_vm_with_a_coprocessor_goes_and_comes(cluster: Testbed) -> None:
    for _ in range(2):
        cluster.add_vm("blue", "guest", "h1")
        assert ping(cluster, "guest", "two")
        assert worker(cluster, "guest")["given"] > 0
        cluster.remove_vm("guest")
    assert ping(cluster, "one", "two")
