"""The life of a control plane's processes: they are started, waited for, and brought back when they die."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_processes import Children

from hoverboard.contract.errors import RunError
from tests.waiting import until
from topologies import etcd
from topologies.roles import ControlLayout, ControlProcesses, RoleProcess

START = 1_000_003.0
_DEADLINE = 5.0  # seconds


class Launcher:
    """Starts a sleeping child for each command, and remembers what it was to start."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self.started: list[tuple[list[str], str, str, Path]] = []
        self.forgotten: list[int] = []
        self.ends_at_once = False

    def start(self, argv: list[str], what: str, kind: str, *, log: Path) -> subprocess.Popen[bytes]:
        self.started.append((argv, what, kind, log))
        child = self._children.start(*(["/bin/true"] if self.ends_at_once else []))
        if self.ends_at_once:
            child.wait(_DEADLINE)
        return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        self.forgotten.append(child.pid)


class Closing(threading.Event):
    """An event whose waits are over at once.

    Attributes:
        pauses: how long they were to be.
        in_a_pause: called in each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []
        self.in_a_pause: Callable[[], object] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        self.in_a_pause()
        return self.is_set()


class World:
    """A control plane of one front end and two replicas, in made-up time."""

    def __init__(self, directory: Path, children: Children, layout: ControlLayout | None = None) -> None:
        self.now = START
        self.directory = directory
        self.launcher = Launcher(children)
        self.closing = Closing()
        self.model = "gateway"
        self.returned: list[str] = []
        self.trouble: list[Callable[[RoleProcess], object]] = []
        self.plane = ControlProcesses(
            layout or ControlLayout.of("processes", replicas=2),
            directory / "control", directory / "logs", self.launcher,  # type: ignore[arg-type]
            lambda: ["--model", self.model], clock=lambda: self.now, closing=self.closing,
        )  # fmt: skip
        self.roles = {role.name: role for role in self.plane.roles}

    def process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.roles[name].process
        assert process is not None
        return process

    def heard(self, role: RoleProcess) -> None:
        self.returned.append(role.name)
        if self.trouble:
            self.trouble.pop(0)(role)

    def kill(self, name: str, restarts: int) -> None:
        """Kill one, and wait until it is back for the so-manieth time."""
        self.process(name).kill()
        until(lambda: len(self.returned) == restarts)


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hb") as directory, Children() as children:
        made = World(Path(directory), children)
        yield made
        made.plane.close()


def test_each_role_is_started_with_its_command_and_its_log(world: World) -> None:
    world.plane.start()
    assert [(what, kind, log.name) for _, what, kind, log in world.launcher.started] == [
        (name, "control", f"{name}.log")
        for name in ("fabric-manager", "front-end-0", "vm-controller-0-0", "vm-controller-0-1")
    ]
    for (argv, *_), role in zip(world.launcher.started, world.plane.roles, strict=True):
        assert argv == role.command()
    folder = world.directory / "control"
    assert [one.name for one in world.directory.iterdir()] == ["control"]
    assert (folder.stat().st_mode & 0o777, list(folder.iterdir())) == (0o700, [])
    world.plane.start()  # the folders may be there


def test_etcd_has_a_folder_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "check_installed", lambda: None)
    with Children() as children:
        other = World(world.directory / "other", children, ControlLayout.of("processes", store="etcd", replicas=1))
        other.plane.start()
        folder = other.directory / "control" / "etcd"
        assert folder.stat().st_mode & 0o777 == 0o700
        argv, what, _, log = other.launcher.started[0]
        assert (what, log) == ("etcd-0", other.directory / "logs" / "etcd-0.log")
        assert argv[argv.index("--data-dir") + 1] == str(folder / "etcd-0")
        # The fabric manager, whatever else there is, comes first when all is asked for.
        assert other.plane.first.name == "fabric-manager"


def test_what_is_shown_of_each(world: World) -> None:
    down = {"pid": None, "restarts": 0, "state": "down"}
    assert world.plane.documents()[0] == {"name": "fabric-manager", **down}
    world.plane.start()
    pid = world.process("front-end-0").pid
    assert world.plane.documents()[1] == {"name": "front-end-0", "pid": pid, "restarts": 0, "state": "up"}
    world.process("front-end-0").kill()
    world.process("front-end-0").wait()
    assert world.plane.documents()[1] == {"name": "front-end-0", "pid": pid, "restarts": 0, "state": "down"}


# --- until they serve -----------------------------------------------------------------------------------


def listen(paths: list[Path]) -> list[socket.socket]:
    """Serve on these paths."""
    found = []
    for path in paths:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        found.append(listener)
    return found


def test_a_control_plane_is_ready_when_all_its_sockets_are_served_and_no_process_has_ended(world: World) -> None:
    world.plane.start()
    with pytest.raises(RunError, match="the fabric-manager does not serve") as failed:
        world.plane.wait_all_ready(0.0)
    assert failed.value.where == str(world.directory / "logs" / "fabric-manager.log")
    listeners = listen([path for role in world.plane.roles for path in role.sockets])
    try:
        world.plane.wait_all_ready(_DEADLINE)
        world.process("vm-controller-0-1").kill()
        world.process("vm-controller-0-1").wait()
        with pytest.raises(RunError, match="the vm-controller-0-1 ended while it was starting") as failed:
            world.plane.wait_all_ready(_DEADLINE)
        assert failed.value.where == str(world.directory / "logs" / "vm-controller-0-1.log")
    finally:
        for listener in listeners:
            listener.close()


def test_all_processes_share_one_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plane.start()
    timeouts: list[float] = []

    def wait_ready(role: RoleProcess, timeout: float) -> None:
        timeouts.append(timeout)
        world.now += 4.0

    monkeypatch.setattr(world.plane, "wait_ready", wait_ready)
    world.plane.wait_all_ready(10.0)
    assert timeouts == [10.0, 6.0, 2.0, 0.0]


def test_one_that_ends_before_it_serves_is_not_waited_for(world: World) -> None:
    world.launcher.ends_at_once = True
    world.plane.start()
    with pytest.raises(RunError, match="the front-end-0 ended while it was starting"):
        world.plane.wait_ready(world.roles["front-end-0"], _DEADLINE)


# --- when they die --------------------------------------------------------------------------------------


def test_one_that_dies_is_started_again_as_it_is_to_be_called_now(world: World) -> None:
    world.plane.start()
    world.plane.keep(world.heard)
    world.now += 1.0
    world.model = "on-demand"
    pid, begun = world.process("vm-controller-0-0").pid, len(world.launcher.started)
    world.kill("vm-controller-0-0", 1)
    ((argv, what, kind, log),) = world.launcher.started[begun:]
    assert argv[argv.index("--model") + 1] == "on-demand"
    assert (what, kind, log.name) == ("vm-controller-0-0", "control", "vm-controller-0-0.log")
    assert (world.returned, world.launcher.forgotten) == (["vm-controller-0-0"], [pid])
    assert world.closing.pauses == []
    assert world.process("vm-controller-0-0").pid != pid
    assert [role.restarts for role in world.plane.roles] == [0, 0, 1, 0]


def test_one_that_dies_young_waits_a_second_first(world: World) -> None:
    world.plane.start()
    world.plane.keep(world.heard)
    world.now += 0.9
    world.kill("front-end-0", 1)
    assert world.closing.pauses == [1.0]
    world.now += 0.9  # since it came back
    world.kill("front-end-0", 2)
    assert world.closing.pauses == [1.0, 1.0]
    world.now += 1.1
    world.kill("front-end-0", 3)
    assert world.closing.pauses == [1.0, 1.0]
    assert world.roles["front-end-0"].restarts == 3


def test_one_that_came_back_and_is_not_well_is_killed_and_started_once_more(world: World) -> None:
    world.plane.start()
    world.plane.keep(world.heard)
    world.now += 10.0
    sick: list[subprocess.Popen[bytes]] = []

    def ill(role: RoleProcess) -> None:
        assert role.process is not None
        sick.append(role.process)
        raise RunError("it does not come up")

    world.trouble = [ill]
    world.kill("fabric-manager", 2)
    assert sick[0].wait(_DEADLINE) == -9
    assert world.closing.pauses == [1.0]
    assert (world.returned, world.roles["fabric-manager"].restarts) == (["fabric-manager"] * 2, 2)


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("keep-")]


def test_a_plane_that_is_closed_brings_nothing_back(world: World) -> None:
    before = keepers()
    world.plane.start()
    world.plane.keep(world.heard)
    threads = [thread for thread in keepers() if thread not in before]
    assert {thread.name for thread in threads} == {f"keep-{name}" for name in world.roles}
    assert all(thread.daemon for thread in threads)
    begun = len(world.launcher.started)
    # One is in its pause when the plane is closed, the others run.
    world.closing.in_a_pause = world.plane.close
    world.process("front-end-0").kill()
    until(lambda: world.closing.is_set())
    for name in world.roles:
        world.process(name).kill()
    for thread in threads:
        thread.join(_DEADLINE)
        assert not thread.is_alive()
    assert (world.returned, world.launcher.started[begun:]) == ([], [])


def test_a_plane_has_a_clock_and_an_end_of_its_own_where_none_is_given(world: World) -> None:
    with Children() as children:
        launcher = Launcher(children)
        plane = ControlProcesses(ControlLayout(), world.directory / "c", world.directory, launcher, list)  # type: ignore[arg-type]
        plane.start()
        returned = threading.Event()
        plane.roles[0].started -= 10.0
        plane.keep(lambda role: returned.set())
        process = plane.roles[0].process
        assert process is not None
        process.kill()
        assert returned.wait(_DEADLINE)
        plane.close()
