"""Regional and global control planes: what befalls a global one touches nothing within its region (paper 3.5)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.document_schemas import check
from hoverboard.contract.entities import VM, AnyEntity, Host, Network, Subnetwork
from hoverboard.contract.errors import EntityError, InputError, RunError
from topologies.cluster.regional import RegionalClusterManager
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed

HUGE = 10_000


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed("two-regions")


@pytest.fixture
def planes(bed: Testbed) -> RegionalClusterManager:
    found = bed.current_run().cluster
    assert isinstance(found, RegionalClusterManager)
    return found


@contextmanager
def _nothing_lost(bed: Testbed, one: str, other: str, most: int | None = None) -> Iterator[None]:
    """While this lasts, pings of two VMs are answered, all but `most`."""
    command = ["ping", "-n", "-q", "-i", "0.02", "-W", "2", bed.node(other).IP()]
    ping = bed.node(one).popen(command, text=True)
    try:
        yield
    finally:
        ping.send_signal(signal.SIGINT)
        said = ping.communicate(timeout=20)[0]
    line = next(line for line in said.splitlines() if "packet loss" in line)
    sent, answered = (int(part.split()[0]) for part in line.split(", ")[:2])
    assert sent > 10
    assert sent - answered <= (1 + sent // 50 if most is None else most), line


def _pings(bed: Testbed, one: str, address: str) -> bool:
    with bed.node(one).popen(["ping", "-n", "-q", "-c", "1", "-W", "1", address]) as ping:
        ping.communicate(timeout=20)
    return ping.returncode == 0


def _reached(bed: Testbed, one: str, address: str) -> None:
    wait_for(lambda: _pings(bed, one, address), 20.0, lambda: f"{one} does not reach {address}")


def _global_flows(bed: Testbed, switch: str) -> list[str]:
    """The flows of the global share: bit 0 of the cookie."""
    lines = bed.flows(switch)["openflow"]
    return [line for line in lines if int(line.split(",")[0].removeprefix("cookie="), 16) & 1]


def _regional_flows(bed: Testbed, switch: str) -> set[str]:
    """All others but offloads, which come and go with traffic."""
    lines = set(bed.flows(switch)["openflow"]) - set(_global_flows(bed, switch))
    return {line[line.index("priority=") :] for line in lines if not line.startswith("cookie=0x7")}


def _new_vm_works(bed: Testbed) -> None:
    """A VM that comes now in the east is reached from its region, and goes again."""
    vm = bed.add_vm("blue", host="h1")
    _reached(bed, "blue-2", str(vm.ip))
    bed.remove_vm(vm.name)


def _vm(name: str, network: str, ip: IPv4Address, host: str) -> VM:
    return VM(name=name, network=network, ip=ip, mac=f"02:99:{ip.packed.hex(':')}", host=host)


def _huge(host: str) -> list[AnyEntity]:
    prefix = IPv4Network("10.64.0.0/16")
    return [
        Network(name="huge", vni=99),
        Subnetwork(name="huge", network="huge", prefix=prefix),
        *(_vm(f"huge-{number}", "huge", prefix[number + 2], host) for number in range(HUGE)),
    ]


def test_each_plane_is_told_its_part_and_has_its_own_flows(bed: Testbed, planes: RegionalClusterManager) -> None:
    told = {region: {one["name"] for one in plane.client.entities("VM")["entities"]}
            for region, plane in planes.regional.items()}  # fmt: skip
    assert told == {"east": {"blue-1", "blue-2"}, "west": {"blue-3", "blue-4"}}
    assert len(planes.globals["east"].client.entities("VM")["entities"]) == 4
    assert not _global_flows(bed, "h1")
    assert len(_global_flows(bed, "hv1")) == 2
    assert all("priority=299" in line for line in _global_flows(bed, "hv1"))
    _reached(bed, "blue-1", bed.node("blue-3").IP())


def _known(planes: RegionalClusterManager) -> dict[str, Any]:
    """The intent of each plane."""
    every = [*planes.regional.values(), *planes.globals.values()]
    return {plane.address: sorted(map(str, plane.client.entities()["entities"])) for plane in every}


def _counts(bed: Testbed) -> dict[str, int]:
    """Flows of each switch but offloads, which come and go with traffic."""
    lines = {server.name: bed.flows(server.name)["openflow"] for server in bed.topology.servers}
    return {name: sum(not line.startswith("cookie=0x7") for line in found) for name, found in lines.items()}


def _grown(bed: Testbed, file: Path, *vms: str) -> str:
    """Have `file` be the run's with more VMs; what the run has now."""
    text = bed.directory.topology.read_text()
    last = "      - {name: blue-4, host: h4}\n"
    assert last in text
    file.write_text(text.replace(last, last + "".join(f"      - {{{vm}}}\n" for vm in vms)))
    return text


def test_a_changed_file_is_told_to_every_plane(bed: Testbed, planes: RegionalClusterManager, tmp_path: Path) -> None:
    file, known, counts = tmp_path / "two-regions.yaml", _known(planes), _counts(bed)
    text = _grown(bed, file, "name: near, host: h1", "name: far, host: h4")
    file.write_text(file.read_text() + "    routes:\n      - {name: behind, prefix: 10.9.0.0/16, next_hop: far}\n")
    plan = bed.apply(file, dry_run=True)
    assert {entity["name"] for entity in plan["added"]} == {"near", "far", "behind"}
    assert plan["switches"].keys() == {"h1", "h4", "hv1", "hv2"}
    assert {(row["region"], row["scope"]) for row in plan["planes"]} == {
        (region, scope) for region in ("east", "west") for scope in ("regional", "global")
    }
    assert (_known(planes), _counts(bed)) == (known, counts)

    assert bed.apply(file)["applied"]
    told = {name: flows["added"] - flows["removed"] for name, flows in plan["switches"].items()}
    expected = {name: count + told.get(name, 0) for name, count in counts.items()}
    wait_for(lambda: _counts(bed) == expected, 20.0, lambda: f"{_counts(bed)} is not {expected}")
    assert "near" not in {one["name"] for one in planes.regional["west"].client.entities("VM")["entities"]}
    _reached(bed, "near", bed.node("far").IP())
    _reached(bed, "blue-2", bed.node("near").IP())

    file.write_text(text)
    assert set(bed.apply(file)["vms"]["remove"]) == {"near", "far"}
    wait_for(lambda: _counts(bed) == counts, 20.0, lambda: f"{_counts(bed)} is not {counts}")
    assert _known(planes) == known


def test_what_one_plane_refuses_changes_none(bed: Testbed, planes: RegionalClusterManager, tmp_path: Path) -> None:
    file, known = tmp_path / "two-regions.yaml", _known(planes)
    mine = "name: mine, ip: 10.0.0.77, host: h2"
    text = _grown(bed, file, mine, "name: far, host: h4")
    thief = _vm("thief", "blue", IPv4Address("10.0.0.77"), "h1")
    west = planes.globals["west"].client
    west.diff([thief])
    with pytest.raises(EntityError, match="10.0.0.77"):
        bed.apply(file)
    west.diff(remove=[thief])
    assert "mine" not in bed.nodes()
    assert _known(planes) == known
    # Somebody comes between plan and change, once at each kind of plane: those told before have it taken back.
    east, far = (_vm(name, "blue", IPv4Address(f"10.0.0.{last}"), host)
                 for name, last, host in (("mine", 77, "h2"), ("far", 78, "h4")))  # fmt: skip
    for between, error in ((planes.regional["west"].client, RunError), (west, EntityError)):
        plan = planes.plan([east, far], [])
        other = thief.model_copy(update={"host": "h3"})
        between.diff([other])
        with pytest.raises(error):
            planes.change([east, far], [], plan)
        between.diff(remove=[other])
        wait_for(lambda: _known(planes) == known, 20.0, lambda: "it is not taken back")
    assert bed.directory.topology.read_text() == text


@pytest.mark.long
def test_from_model_to_model_in_both_regions(bed: Testbed, planes: RegionalClusterManager) -> None:
    counts = _counts(bed)
    with pytest.raises(InputError, match="on-demand does not work with `wan`"):
        bed.set_model("on-demand")
    with pytest.raises(InputError, match="two control planes would answer"):
        planes.globals["east"].client.set_model("on-demand")
    with _nothing_lost(bed, "blue-1", "blue-2", most=1), _nothing_lost(bed, "blue-1", "blue-3", most=1):
        for model in ("preprogrammed", "gateway", "preprogrammed", "hoverboard"):
            assert bed.set_model(model)["model"] == bed.status()["control"]["model"] == model
            assert {
                plane.client.status()["model"] for plane in (*planes.regional.values(), *planes.globals.values())
            } == {model}
            assert bed.status()["control"]["switching"] is None
            assert _pings(bed, "blue-4", bed.node("blue-2").IP()), model
            assert _pings(bed, "blue-4", bed.node("blue-3").IP()), model
            ways = [line for line in _global_flows(bed, "h1") if not line.startswith("cookie=0x7")]
            assert len(ways) == (2 if model == "preprogrammed" else 0), model
    assert _counts(bed) == counts


def test_a_huge_remote_update_delays_nothing_within_the_region(bed: Testbed, planes: RegionalClusterManager) -> None:
    before = {name: _regional_flows(bed, name) for name in ("h1", "h2", "hv1")}
    client = FabricClient(planes.globals["east"].address)
    update = threading.Thread(target=client.diff, args=(_huge("h3"),))
    with _nothing_lost(bed, "blue-1", "blue-2"):
        update.start()
        _new_vm_works(bed)
        update.join(60)
    assert not update.is_alive()
    wait_for(lambda: len(_global_flows(bed, "hv1")) >= HUGE, 30.0, lambda: "the flows are not there")
    client.diff(remove=reversed(_huge("h3")))
    client.close()
    wait_for(lambda: len(_global_flows(bed, "hv1")) == 2, 30.0, lambda: "the flows have not gone")
    assert {name: _regional_flows(bed, name) for name in before} == before


def test_a_wrong_remote_update_is_refused_and_changes_nothing(bed: Testbed, planes: RegionalClusterManager) -> None:
    taken = IPv4Address(bed.node("blue-2").IP())
    before = bed.flows("hv1")["openflow"]
    with pytest.raises(EntityError, match="10.0.0.3"):
        planes.globals["east"].client.diff([_vm("thief", "blue", taken, "h3")])
    elsewhere = Host(name="h9", underlay_ip=IPv4Address("172.16.0.9"), region="west")
    with pytest.raises(EntityError, match="region west"):
        planes.regional["east"].client.diff([elsewhere])
    assert len(bed.flows("hv1")["openflow"]) == len(before)
    assert _pings(bed, "blue-1", str(taken))


def test_a_global_plane_that_hangs_is_waited_for_by_nobody(
    bed: Testbed, planes: RegionalClusterManager, tmp_path: Path
) -> None:
    pid = planes.globals["east"].pid
    assert pid is not None
    with _nothing_lost(bed, "blue-1", "blue-2"):
        os.kill(pid, signal.SIGSTOP)
        try:
            _new_vm_works(bed)
            status = bed.status()
            check("status", status)
            rows = {(row["region"], row["scope"]): row["state"] for row in status["control"]["planes"]}
            assert rows.pop(("east", "global")) == "unreachable"
            assert set(rows.values()) == {"up"}
            late = bed.add_vm("blue", "late", "h3")
            file = tmp_path / "two-regions.yaml"
            text = _grown(bed, file, f"name: late, host: h3, ip: {late.ip}", "name: later, host: h2")
            rows = {(row["region"], row["scope"]): row["version"] for row in bed.apply(file)["planes"]}
            assert rows.pop(("east", "global")) is None
            assert None not in rows.values()
            _reached(bed, "blue-1", bed.node("later").IP())
        finally:
            os.kill(pid, signal.SIGCONT)
    _reached(bed, "blue-1", str(late.ip))
    file.write_text(text)
    assert set(bed.apply(file)["vms"]["remove"]) == {"late", "later"}
    wait_for(lambda: len(_global_flows(bed, "hv1")) == 2, 20.0, lambda: "a VM that went is still programmed")


def test_global_planes_that_are_killed_come_back_and_are_told_again(
    bed: Testbed, planes: RegionalClusterManager
) -> None:
    far = bed.node("blue-3").IP()
    with _nothing_lost(bed, "blue-1", "blue-2"), _nothing_lost(bed, "blue-1", "blue-3"):
        for plane in planes.globals.values():
            assert plane.pid is not None
            os.kill(plane.pid, signal.SIGKILL)
        _new_vm_works(bed)

        def back() -> bool:
            rows = [row for row in bed.status()["control"]["planes"] if row["scope"] == "global"]
            return all(row["restarts"] == 1 and row.get("vms") == 4 for row in rows)

        wait_for(back, 30.0, lambda: "the global planes are not back")
    late = bed.add_vm("blue", "late", "h4")
    _reached(bed, "blue-1", str(late.ip))
    assert _pings(bed, "blue-1", far)
