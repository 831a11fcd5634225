"""`hoverboard apply` on real clusters: what a changed file says is what packets meet, and a dry run changes nothing."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.document_schemas import check
from hoverboard.contract.errors import EntityError, InputError, RunError
from topologies.emulation.devices import entered
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

CLUSTER = """
name: applied
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    vms:
      - {name: client, host: h1}
      - {name: web-1, host: h1, tags: [web]}
      - {name: web-2, host: h2, tags: [web]}
"""
FIREWALL = """
    firewall:
      ingress: deny
      rules:
        - {name: http, direction: ingress, action: allow, targets: [web], protocol: tcp, ports: [8080]}
"""
SHARED = "10.0.0.100"
BALANCER = f"""
    load_balancers:
      - {{name: front, ip: {SHARED}, backends: [web-1, web-2], protocol: tcp, ports: [8080]}}
"""
CONNECTIONS = 64


def address(bed: Testbed, vm: str) -> str:
    return next(str(one.ip) for one in bed.topology.vms if one.name == vm)


def tcp_socket(bed: Testbed, node: str, timeout: float = 10) -> socket.socket:
    """A TCP socket inside a VM."""
    with entered(bed.pid_of(node)):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(timeout)
    return made


def connects(bed: Testbed, source: str, target: str, port: int, timeout: float = 10) -> bool:
    with tcp_socket(bed, source, timeout) as sock:
        try:
            sock.connect((target, port))
        except TimeoutError:
            return False
        return True


def pings(bed: Testbed, source: str, target: str) -> bool:
    process = bed.node(source).popen(["ping", "-c3", "-i0.2", "-W2", target])
    process.communicate(timeout=20)
    return bool(process.returncode == 0)


def everything(bed: Testbed) -> Any:
    """All that an apply may change: intent, flows, VMs, the file kept with the run."""
    listed = bed.intent.entities()
    entities = listed["version"], sorted(listed["entities"], key=lambda entity: (entity["type"], entity["name"]))
    flows = {server.name: sorted(_plain(line) for line in bed.flows(server.name)["openflow"])
             for server in bed.topology.servers}  # fmt: skip
    return entities, flows, bed.topology, bed.directory.topology.read_text()


def _plain(line: str) -> str:
    """A flow without its counters."""
    return line[line.index("table=") :].partition("n_packets")[0] + line[line.index("actions=") :]


@pytest.mark.parametrize(
    "dataplane", ["fastpath", "pre", *(pytest.param(name, marks=pytest.mark.long) for name in ("fastpath-vmm", "ovs"))]
)
def test_a_changed_file_is_what_packets_meet(testbed: Callable[..., Testbed], tmp_path: Path, dataplane: str) -> None:
    file = tmp_path / "applied.yaml"
    file.write_text(CLUSTER)
    bed = testbed(file, dataplane=dataplane)
    web = address(bed, "web-2")
    with ExitStack() as stack:
        listening = {}
        for vm in ("web-1", "web-2"):
            for port in (8080, 9090):
                server = listening[vm, port] = stack.enter_context(tcp_socket(bed, vm))
                server.bind(("0.0.0.0", port))
                server.listen(CONNECTIONS)
        assert connects(bed, "client", web, 9090)
        assert pings(bed, "client", web)

        _dry_run_changes_nothing(bed, file)
        _firewall(bed, file, web)
        _balancer(bed, file, listening)
        _vms_come_and_go(bed, file)

        # The file is the first one again: nothing is left of it all, and there is nothing to do.
        assert connects(bed, "client", web, 9090)
        assert pings(bed, "client", web)
        file.write_text(CLUSTER)
        assert bed.apply(file)["applied"] is False


def _dry_run_changes_nothing(bed: Testbed, file: Path) -> None:
    before = everything(bed)
    file.write_text(CLUSTER.replace("- {name: client, host: h1}", "- {name: client, host: h1}\n      - {name: new}")
                    + FIREWALL + BALANCER)  # fmt: skip
    plan = bed.apply(file, dry_run=True)
    assert not plan["applied"]
    assert {entity["type"] for entity in plan["added"]} == {"VM", "FirewallRule", "LoadBalancer"}
    assert [change["fields"] for change in plan["changed"]] == [{"ingress": {"from": "allow", "to": "deny"}}]
    assert [vm["name"] for vm in plan["vms"]["build"]] == ["new"]
    assert plan["switches"].keys() == {"h1", "h2", "hv1"}
    assert all(flows["added"] > 0 for flows in plan["switches"].values())
    assert everything(bed) == before


def _firewall(bed: Testbed, file: Path, web: str) -> None:
    file.write_text(CLUSTER + FIREWALL)
    counts = {name: len(bed.flows(name)["openflow"]) for name in ("h1", "h2", "hv1")}
    plan = bed.apply(file)
    assert plan["applied"]
    for name, flows in plan["switches"].items():
        told = flows["added"] - flows["removed"]
        assert len(bed.flows(name)["openflow"]) == counts[name] + told, (name, flows)
    assert connects(bed, "client", web, 8080)
    assert not connects(bed, "client", web, 9090, 1.5)
    assert not pings(bed, "client", web)
    # What the others may start is not what they are allowed to be sent.
    assert not connects(bed, "web-2", address(bed, "client"), 8080, 1.5)
    # The rule goes, and with it what it allowed.
    file.write_text(CLUSTER + "    firewall: {ingress: deny}\n")
    assert [entity["name"] for entity in bed.apply(file)["removed"]] == ["http"]
    assert not connects(bed, "client", web, 8080, 1.5)


def _balancer(bed: Testbed, file: Path, listening: dict[tuple[str, int], socket.socket]) -> None:
    file.write_text(CLUSTER + BALANCER)
    plan = bed.apply(file)
    assert {vm["name"]: vm["shared_addresses"] for vm in plan["vms"]["alter"]} == {"web-1": [SHARED], "web-2": [SHARED]}
    # Ports of our choice: the kernel's would be the same for two connections now and then. The VM has no others.
    ports = list(range(20_000, 20_000 + CONNECTIONS))
    first = _spread(bed, listening, ports)
    assert list(first) == ports
    assert _spread(bed, listening, ports) == first, "a flow stays at its backend"
    assert min(Counter(first.values()).values()) > CONNECTIONS // 8, "both backends have a good part"
    # One backend less: all of it goes to the other, also from the ports whose flows are known.
    for left, gone in (("web-2", "web-1"), ("web-1", "web-2")):
        file.write_text(CLUSTER + BALANCER.replace("[web-1, web-2]", f"[{left}]"))
        bed.apply(file)
        _becomes(bed, listening, dict.fromkeys(ports, left))
        assert SHARED not in bed.node(gone).cmd("ip addr show lo")
    # One backend more: each has its part again, the same one.
    file.write_text(CLUSTER + BALANCER)
    bed.apply(file)
    _becomes(bed, listening, first)
    file.write_text(CLUSTER + BALANCER.replace("[web-1, web-2]", "[web-2]"))
    bed.apply(file)
    _becomes(bed, listening, dict.fromkeys(ports, "web-2"))


def _becomes(bed: Testbed, listening: dict[tuple[str, int], socket.socket], wanted: dict[int, str]) -> None:
    """Wait until connections from these ports go there: entries follow a change of the tables shortly after it."""
    wait_for(
        lambda: _spread(bed, listening, list(wanted)) == wanted, 30,
        lambda: f"{Counter(wanted.values())}: known flows go elsewhere",
    )  # fmt: skip


def _spread(bed: Testbed, listening: dict[tuple[str, int], socket.socket], ports: list[int]) -> dict[int, str]:
    """Who answers connections to the shared address, by the client's port."""
    found: dict[int, str] = {}
    for server in (listening["web-1", 8080], listening["web-2", 8080]):
        server.setblocking(False)
    for port in ports:
        with tcp_socket(bed, "client", 2) as sock:
            # Closed by a reset, so that the next connection may come from the same port at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.bind(("0.0.0.0", port))
            try:
                sock.connect((SHARED, 8080))
                wait_for(partial(_accepted, listening, sock.getsockname()[1], found), 2, lambda: "no backend has it")
            except (OSError, RunError):
                found[sock.getsockname()[1]] = "nobody"
    return found


def _accepted(listening: dict[tuple[str, int], socket.socket], port: int, found: dict[int, str]) -> bool:
    """Whether a backend has the connection from `port`; notes which one."""
    for vm in ("web-1", "web-2"):
        try:
            connection, peer = listening[vm, 8080].accept()
        except BlockingIOError:
            continue
        connection.close()
        if peer[1] == port:
            found[port] = vm
            return True
    return False


def _vms_come_and_go(bed: Testbed, file: Path) -> None:
    grown = CLUSTER.replace("- {name: web-1", "- {name: db, host: h2}\n      - {name: web-1")
    file.write_text(grown)
    before = {vm.name: vm.ip for vm in bed.topology.vms}
    plan = bed.apply(file)
    assert [vm["name"] for vm in plan["vms"]["build"]] == ["db"]
    assert pings(bed, "client", address(bed, "db"))
    assert {vm.name: vm.ip for vm in bed.topology.vms}.items() >= before.items()
    # A VM that runs stays what it is.
    file.write_text(grown.replace("{name: db, host: h2}", "{name: db, host: h1}"))
    with pytest.raises(InputError, match="VM db runs with host h2, and the file says h1"):
        bed.apply(file)
    file.write_text(grown.replace("hosts: 2", "hosts: 3"))
    with pytest.raises(InputError, match="`hosts` cannot change"):
        bed.apply(file)
    file.write_text(CLUSTER)
    assert bed.apply(file)["vms"]["remove"] == ["db"]
    assert "db" not in {vm.name for vm in bed.topology.vms}
    # Two clients: what another one added stands in the way, and is named.
    bed.intent.diff(
        upsert=[next(vm for vm in bed.topology.vms if vm.name == "client").entity().model_copy(
            update={"name": "theirs", "ip": "10.0.0.77", "mac": "02:00:00:00:00:77"})],
    )  # fmt: skip
    file.write_text(CLUSTER.replace("{name: client,", "{name: mine, ip: 10.0.0.77}\n      - {name: client,"))
    with pytest.raises(EntityError, match="10.0.0.77"):
        bed.apply(file)
    assert "mine" not in bed.nodes()
    bed.intent.diff(remove=[("VM", "theirs")])


def test_the_command(state: Path, run_name: str, tmp_path: Path) -> None:
    def hoverboard(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "console.cli", *words],
            capture_output=True,
            text=True,
            timeout=140,
            check=False,
        )

    file = tmp_path / "applied.yaml"
    file.write_text(CLUSTER)
    assert hoverboard("up", str(file), "--run", run_name, "--detach").returncode == 0
    file.write_text(CLUSTER + FIREWALL + "    rate: 50mbit\n")
    dry = hoverboard("apply", str(file), "--dry-run", "--run", run_name)
    assert dry.returncode == 0, dry.stderr
    assert "+ FirewallRule http  network=blue direction=ingress action=allow" in dry.stdout
    assert "~ Network blue  ingress: allow -> deny" in dry.stdout
    assert "protocol=tcp ports=8080\n" in dry.stdout
    assert "VM to alter: client, rate 50000000 bit/s" in dry.stdout
    assert "switches touched: 2" in dry.stdout
    assert f"dry run: nothing was changed in run '{run_name}'" in dry.stdout
    done = hoverboard("apply", str(file), "--json")
    assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    check("apply", applied)
    assert applied["applied"]
    node = json.loads(hoverboard("status", "h1", "--json").stdout)
    check("status-node", node)
    assert {facts["rate_bps"] for facts in node["vms"].values()} == {50_000_000}
    assert "nothing to do" in hoverboard("apply", str(file)).stdout
    file.write_text(CLUSTER + FIREWALL.replace("direction: ingress", "direction: in"))
    wrong = hoverboard("apply", str(file))
    assert wrong.returncode == 2
    assert f"{file}:16: networks[0].firewall.rules[0].direction" in wrong.stderr
    assert hoverboard("apply", str(tmp_path / "nosuch.yaml")).returncode == 2
