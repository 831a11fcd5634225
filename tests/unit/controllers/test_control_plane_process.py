"""`python -m controllers`: what the command line means, one process a directory, and a clean end at a signal."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers import __main__ as process
from controllers.single_process import Settings
from controllers.store.etcd import EtcdStore
from controllers.store.remote import RemoteStore
from controllers.vmc.offload.policy import OffloadSettings
from hoverboard.contract.errors import InputError, RunError
from tests.unit.controllers.event_loop import run, turns


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The umask and the collector's thresholds, which a process sets for itself."""
    mask, thresholds = os.umask(0o022), gc.get_threshold()
    yield
    os.umask(mask)
    gc.set_threshold(*thresholds)


class Served:
    """Stands for a process that serves: remembers what it was to serve."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path, fault: Exception | None = None) -> None:
        self._monkeypatch, self.directory = monkeypatch, directory
        self.settings: list[Settings] = []
        self.names: list[str] = []
        self.arguments: list[argparse.Namespace] = []
        self.within: list[tuple[int, bool]] = []

        async def serve(arguments: argparse.Namespace, settings: Settings, name: str) -> int:
            self.arguments.append(arguments)
            self.settings.append(settings)
            self.names.append(name)
            mask = os.umask(0)
            os.umask(mask)
            self.within.append((mask, gc.get_threshold() == (100_000, 20, 100)))
            if fault is not None:
                raise fault
            return 0

        monkeypatch.setattr(process, "_serve", serve)

    def main(self, *options: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["controllers", "--dir", str(self.directory), *options])
        return process.main()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    return Served(monkeypatch, tmp_path / "new" / "control")


def test_without_options_it_is_the_whole_control_plane_as_documented(served: Served) -> None:
    assert served.main() == 0
    assert served.settings == [Settings(served.directory)]
    assert served.names == ["control"]
    assert served.within == [(0o077, True)]
    assert (served.directory / "control.lock").stat().st_mode & 0o777 == 0o600
    arguments = served.arguments[0]
    assert (arguments.number, arguments.partition, arguments.partitions, arguments.replica) == (0, 0, 1, 0)
    assert (arguments.front_ends, arguments.store, arguments.role) == (1, "embedded", "all")


def test_every_option_reaches_its_setting(served: Served) -> None:
    options = [
        "--model", "gateway", "--threshold", "1", "--idle-expiry", "2", "--offload-keep", "3",
        "--offload-lifetime", "4", "--offload-budget", "5", "--offload-reports", "hoverboards",
        "--offload-policy", "mine.py:Mine",
        "--report-interval", "6", "--shared-queue", "--scope", "regional", "--region", "east",
    ]  # fmt: skip
    assert served.main(*options) == 0
    offload = OffloadSettings(1, 3, 4, 2, 5, "hoverboards")
    assert served.settings == [
        Settings(
            served.directory, "gateway", offload, "mine.py:Mine", 6, fair_queues=False, scope="regional", region="east"
        )
    ]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--role", "vm-controller", "--partition", "2", "--replica", "1"], "vm-controller-2-1"),
        (["--role", "front-end", "--number", "3"], "front-end-3"),
        (["--role", "fabric-manager"], "fabric-manager"),
    ],
)
def test_each_role_has_a_name_and_a_lock_of_its_own(served: Served, options: list[str], name: str) -> None:
    assert served.main(*options) == 0
    assert served.names == [name]
    assert (served.directory / f"{name}.lock").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "inf"], ["--threshold", "-1"], ["--threshold", "nan"], ["--offload-keep", "-1"],
        ["--idle-expiry", "0"], ["--report-interval", "0"], ["--model", "star"], ["--scope", "global"],
        ["--region", "east"], ["--scope", "global", "--region", "east", "--role", "front-end"],
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused(served: Served, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        served.main(*options)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert served.settings == []


def test_a_process_has_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["controllers"])
    with pytest.raises(SystemExit) as ended:
        process.main()
    assert ended.value.code == 2


def test_zero_is_a_number_where_it_means_something(served: Served) -> None:
    assert served.main("--offload-keep", "0", "--offload-budget", "0", "--threshold", "0") == 0
    assert served.settings[0].offload == OffloadSettings(threshold_bps=0)


@pytest.mark.parametrize(
    ("role", "what"),
    [("all", "a control plane already runs in this directory"), ("front-end", "front-end-0 already runs")],
)
def test_a_second_one_in_a_directory_is_refused(
    served: Served, role: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served.directory.mkdir(parents=True)
    name = {"all": "control", "front-end": "front-end-0"}[role]
    first = process._lock(served.directory, name)
    assert (served.directory / f"{name}.lock").stat().st_mode & 0o777 == 0o600
    try:
        assert served.main("--role", role) == RunError.exit_code
    finally:
        os.close(first)
    error = capsys.readouterr().err
    assert what in error
    assert str(served.directory) in error
    assert served.settings == []
    assert served.main("--role", role) == 0
    assert served.main("--role", role) == 0  # one that has ended holds nothing


def test_an_error_is_printed_and_gives_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served(monkeypatch, tmp_path, InputError("no such policy", where="mine.py"))
    assert served.main() == InputError.exit_code
    assert "mine.py: no such policy" in capsys.readouterr().err


# --- roles --------------------------------------------------------------------------------------------


class Role:
    """Stands for any role: remembers how it was made, and whether it was started and stopped."""

    made: list[Role]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.arguments, self.more = arguments, more
        self.did: list[str] = []
        self.made.append(self)

    async def start(self) -> None:
        self.did.append("start")

    async def stop(self) -> None:
        self.did.append("stop")


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Role]]:
    found: dict[str, list[Role]] = {}
    for name in ("FabricManagerRole", "VmControllerRole", "FrontEndRole", "ControlPlane"):
        found[name] = []
        monkeypatch.setattr(process, name, type(name, (Role,), {"made": found[name]}))
    return found


def begin(roles: dict[str, list[Role]], kind: str, directory: Path, *options: str, **more: Any) -> Role:
    """The role that a command line starts."""
    parsed = argparse.Namespace(
        dir=directory, role="all", number=0, partition=0, partitions=1, replica=0, front_ends=1, store="embedded",
    )  # fmt: skip
    for option, value in zip(options[::2], options[1::2], strict=True):
        setattr(parsed, option, int(value) if value.isdigit() else value)

    async def start() -> None:
        running = await process._start(parsed, Settings(directory, **more))
        assert running is roles[kind][-1]

    run(start())
    assert sum(map(len, roles.values())) == 1
    return roles[kind][-1]


def test_a_fabric_manager_keeps_the_store_unless_etcd_does(roles: dict[str, list[Role]], tmp_path: Path) -> None:
    for store, embedded in (("embedded", True), ("127.0.0.1:2379", False)):
        role = begin(roles, "FabricManagerRole", tmp_path, "role", "fabric-manager", "partitions", "3", "store", store)
        assert (role.arguments, role.more, role.did) == ((Settings(tmp_path), 3), {"embedded": embedded}, ["start"])
        roles["FabricManagerRole"].clear()


def test_a_vm_controller_knows_its_place_and_all_front_ends(roles: dict[str, list[Role]], tmp_path: Path) -> None:
    role = begin(
        roles, "VmControllerRole", tmp_path, "role", "vm-controller", "partition", "1", "partitions", "2",
        "replica", "3", "front_ends", "2", model="gateway", offload=OffloadSettings(5),
    )  # fmt: skip
    model, offload, policy, place, store, manager, front_ends = role.arguments
    assert (model.name, offload, policy) == ("gateway", OffloadSettings(5), None)
    assert (place.partition, place.partitions, place.replica) == (1, 2, 3)
    assert isinstance(store, RemoteStore)
    assert manager == f"unix:{tmp_path}/control.sock"
    assert front_ends == [f"unix:{tmp_path}/ofe-{number}.sock" for number in (0, 1)]


@pytest.mark.parametrize("reports", ["hosts", "hoverboards"])
def test_a_front_end_has_a_socket_of_its_number(roles: dict[str, list[Role]], tmp_path: Path, reports: Any) -> None:
    role = begin(
        roles, "FrontEndRole", tmp_path, "role", "front-end", "number", "2",
        offload=OffloadSettings(reports=reports), report_interval=2.5,
    )  # fmt: skip
    path, store, interval = role.arguments
    assert (path, interval, role.did) == (tmp_path / "ofe-2.sock", 2.5, ["start"])
    assert isinstance(store, RemoteStore)
    assert role.more == {"report_relayed": reports == "hoverboards"}


def test_all_roles_in_one_process_are_a_control_plane(roles: dict[str, list[Role]], tmp_path: Path) -> None:
    role = begin(roles, "ControlPlane", tmp_path)
    assert (role.arguments, role.did) == ((Settings(tmp_path),), ["start"])


def test_the_store_is_etcd_where_its_members_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named: list[Any] = []
    monkeypatch.setattr(process, "EtcdStore", lambda members: named.append(members) or EtcdStore)
    monkeypatch.setattr(process, "RemoteStore", lambda address: named.append(address) or RemoteStore)
    for store, kind in (("a:1,b:2", EtcdStore), ("embedded", RemoteStore)):
        assert process._store(argparse.Namespace(store=store, dir=tmp_path)) is kind
    assert named == [["a:1", "b:2"], f"unix:{tmp_path}/control.sock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_stops(
    roles: dict[str, list[Role]], tmp_path: Path, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        serving = asyncio.create_task(process._serve(argparse.Namespace(role="all"), Settings(tmp_path), "control"))
        await turns()
        (role,) = roles["ControlPlane"]
        assert (role.did, serving.done()) == (["start"], False)
        os.kill(os.getpid(), number)
        await serving
        assert role.did == ["start", "stop"]

    run(story())
    assert f"control (hoverboard) serves in {tmp_path}" in caplog.messages
