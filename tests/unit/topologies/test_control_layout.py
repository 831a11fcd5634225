"""How many processes of which role a control plane has, and where servers find theirs."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError, MachineError
from topologies import etcd, roles
from topologies.roles import ControlLayout, ControlProcesses


def processes(layout: ControlLayout) -> ControlProcesses:
    return ControlProcesses(layout, Path("/run/x"), Path("/run/x/logs"), None, lambda: ["--model", "gateway"])  # type: ignore[arg-type]


def test_one_process_is_the_default() -> None:
    layout = ControlLayout.of()
    assert layout == ControlLayout() == ControlLayout.of("one-process", partitions=None, store=None)
    (role,) = processes(layout).roles
    assert role.command()[-2:] == ["--model", "gateway"]
    assert processes(layout).door_of(IPv4Address("172.16.0.1")) == (
        "unix:/run/x/control.sock", Path("/run/x/of.sock"),
    )  # fmt: skip


def test_a_process_for_each_role() -> None:
    made = processes(ControlLayout.of("processes", partitions=2, replicas=2, front_ends=3))
    assert [role.name for role in made.roles] == [
        "fabric-manager", "front-end-0", "front-end-1", "front-end-2",
        "vm-controller-0-0", "vm-controller-0-1", "vm-controller-1-0", "vm-controller-1-1",
    ]  # fmt: skip
    assert made.first.name == "fabric-manager"
    last = made.roles[-1].command()
    arguments = dict(zip(last[last.index("--role") :: 2], last[last.index("--role") + 1 :: 2], strict=True))
    assert arguments == {
        "--role": "vm-controller", "--partitions": "2", "--store": "embedded", "--partition": "1", "--replica": "1",
        "--front-ends": "3",
    }  # fmt: skip
    doors = {made.door_of(IPv4Address(f"172.16.0.{number}")) for number in range(1, 40)}
    assert doors == {(f"unix:/run/x/ofe-{number}.sock", Path(f"/run/x/ofe-{number}.of")) for number in range(3)}


def test_etcd_has_members_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "check_installed", lambda: None)
    made = processes(ControlLayout.of("processes", store="etcd"))
    members = [role for role in made.roles if role.name.startswith("etcd-")]
    assert len(members) == roles.ETCD_MEMBERS
    manager = made.first.command()
    stores = manager[manager.index("--store") + 1].split(",")
    assert [f"http://{store}" in role.command() for store, role in zip(stores, members, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({"control_plane": "processes", "partitions": 0}, "--partitions", "0 partitions"),
        ({"control_plane": "processes", "replicas": 10}, "--replicas", "10 replicas"),
        ({"control_plane": "processes", "front_ends": -1}, "--front-ends", "-1 front-ends"),
        ({"control_plane": "processes", "store": "zookeeper"}, "--store", "unknown store"),
        ({"control_plane": "threads"}, "--control-plane", "unknown way"),
        ({"partitions": 2}, "--partitions", "one process has neither"),
        ({"control_plane": "one-process", "store": "etcd"}, "--store", "one process has neither"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as refused:
        ControlLayout.of(**given)
    assert refused.value.where == where
    assert refused.value.next_step


def test_etcd_that_is_not_installed_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "PROGRAM", "no-such-etcd")
    with pytest.raises(MachineError, match="etcd is not installed"):
        ControlLayout.of("processes", store="etcd")
