"""How many processes of which role a control plane has, and where servers find theirs."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError, MachineError
from topologies.cluster import control_processes, etcd_members
from topologies.cluster.control_processes import ControlLayout, ControlProcesses


def processes(layout: ControlLayout, *name: str) -> ControlProcesses:
    return ControlProcesses(layout, Path("/run/x"), Path("/run/x/logs"), None, lambda: ["--model", "gateway"], *name)  # type: ignore[arg-type]


def arguments(command: list[str]) -> dict[str, str]:
    """The options of `python -m controllers` by name."""
    options = command[command.index("controllers") + 1 :]
    return dict(zip(options[::2], options[1::2], strict=True))


def test_one_process_is_the_default() -> None:
    layout = ControlLayout.of()
    assert layout == ControlLayout() == ControlLayout.of("one-process", partitions=None, store=None)
    (role,) = processes(layout).roles
    assert arguments(role.command()) == {"--dir": "/run/x", "--model": "gateway"}
    assert (role.name, role.log) == ("control plane", Path("/run/x/logs/control.log"))
    assert role.sockets == [Path("/run/x/control.sock"), Path("/run/x/of.sock")]
    assert processes(layout).endpoint(IPv4Address("172.16.0.1")) == (
        "unix:/run/x/control.sock", Path("/run/x/of.sock"),
    )  # fmt: skip


def test_a_process_for_each_role() -> None:
    made = processes(ControlLayout.of("processes", partitions=2, replicas=2, front_ends=3))
    assert [role.name for role in made.roles] == [
        "fabric-manager", "front-end-0", "front-end-1", "front-end-2",
        "vm-controller-0-0", "vm-controller-0-1", "vm-controller-1-0", "vm-controller-1-1",
    ]  # fmt: skip
    assert made.first.name == "fabric-manager"
    common = {"--dir": "/run/x", "--model": "gateway", "--partitions": "2", "--store": "embedded"}
    manager, first, *_, last = made.roles
    assert arguments(manager.command()) == {**common, "--role": "fabric-manager"}
    assert arguments(first.command()) == {**common, "--role": "front-end", "--number": "0"}
    assert arguments(last.command()) == {
        **common, "--role": "vm-controller", "--partition": "1", "--replica": "1", "--front-ends": "3",
    }  # fmt: skip
    assert [role.log for role in made.roles] == [Path(f"/run/x/logs/{role.name}.log") for role in made.roles]
    assert manager.sockets == [Path("/run/x/control.sock")]
    assert first.sockets == [Path("/run/x/ofe-0.sock"), Path("/run/x/ofe-0.of")]
    assert last.sockets == []
    doors = {made.endpoint(IPv4Address(f"172.16.0.{number}")) for number in range(1, 40)}
    assert doors == {(f"unix:/run/x/ofe-{number}.sock", Path(f"/run/x/ofe-{number}.of")) for number in range(3)}


def test_a_control_plane_of_a_region_has_a_log_of_its_own() -> None:
    (role,) = processes(ControlLayout(), "regional east control plane").roles
    assert (role.name, role.log.name) == ("regional east control plane", "regional-east-control.log")


@pytest.mark.parametrize("way", ["one-process", "processes"])
def test_one_queue_for_all_networks_is_an_option_of_each_process(way: str) -> None:
    layout = ControlLayout(way == "processes", shared_queue=True)
    assert all("--shared-queue" in role.command() for role in processes(layout).roles)
    assert not any("--shared-queue" in role.command() for role in processes(ControlLayout(way == "processes")).roles)


def test_a_master_and_two_standbys_are_the_papers() -> None:
    layout = ControlLayout.of("processes")
    assert (layout.partitions, layout.replicas, layout.front_ends, layout.store) == (1, 3, 1, "embedded")
    assert not layout.shared_queue


@pytest.mark.parametrize(("option", "most"), [("partitions", 32), ("replicas", 9), ("front_ends", 32)])
def test_there_are_as_many_of_each_as_can_be_named(option: str, most: int) -> None:
    for number in (1, most):
        assert getattr(ControlLayout.of("processes", **{option: number}), option) == number
    for number in (0, most + 1):
        with pytest.raises(InputError, match=f"{number} {option.replace('_', '-')}") as refused:
            ControlLayout.of("processes", **{option: number})
        assert refused.value.next_step == f"give a number from 1 to {most}"


def test_etcd_has_members_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_members, "check_installed", lambda: None)
    made = processes(ControlLayout.of("processes", store="etcd"))
    members = [role for role in made.roles if role.name.startswith("etcd-")]
    assert len(members) == control_processes.ETCD_MEMBERS
    manager = made.first.command()
    stores = manager[manager.index("--store") + 1].split(",")
    assert [f"unix://{Path(store).name}" in role.command() for store, role in zip(stores, members, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({"control_plane": "processes", "partitions": 0}, "--partitions", "0 partitions"),
        ({"control_plane": "processes", "replicas": 10}, "--replicas", "10 replicas"),
        ({"control_plane": "processes", "front_ends": -1}, "--front-ends", "-1 front-ends"),
        ({"control_plane": "processes", "store": "zookeeper"}, "--store", "unknown store"),
        ({"control_plane": "threads"}, "--control-plane", "unknown kind"),
        ({"partitions": 2}, "--partitions", "one process has no"),
        ({"front_ends": 2}, "--front-ends", "one process has no"),
        ({"control_plane": "one-process", "store": "etcd"}, "--store", "one process has no"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as refused:
        ControlLayout.of(**given)
    assert refused.value.where == where
    assert refused.value.next_step


def test_etcd_that_is_not_installed_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_members, "PROGRAM", "no-such-etcd")
    with pytest.raises(MachineError, match="etcd is not installed"):
        ControlLayout.of("processes", store="etcd")
