"""The life of a control plane's processes: they are started, waited for, and started again by the run's supervisor."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.processes.supervised_world import START, Clock, Ledger
from tests.unit.topologies.real_processes import Children
from tests.waiting import until
from topologies.cluster import etcd_members
from topologies.cluster.control_processes import ControlLayout, ControlProcesses, RoleProcess
from topologies.processes.supervisor import Supervisor

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


def listen(paths: list[Path]) -> list[socket.socket]:
    """Serve on these paths."""
    found = []
    for path in paths:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        found.append(listener)
    return found


class World:
    """A control plane of one front end and two replicas, and a supervisor, in made-up time.

    Attributes:
        returned: names of those that came back, in order.
        trouble: what is done when the next ones have come back.
    """

    def __init__(self, directory: Path, children: Children, layout: ControlLayout | None = None) -> None:
        self.clock = Clock()
        self.directory = directory
        self.launcher = Launcher(children)
        self.supervisor = Supervisor(Ledger(), self.clock, self.clock)  # type: ignore[arg-type]
        self.model = "gateway"
        self.returned: list[str] = []
        self.trouble: list[Callable[[RoleProcess], object]] = []
        self.listeners: list[socket.socket] = []
        self.plane = ControlProcesses(
            layout or ControlLayout.of("processes", replicas=2),
            directory / "control", directory / "logs", self.launcher,  # type: ignore[arg-type]
            lambda: ["--model", self.model], clock=self.clock,
        )  # fmt: skip
        self.roles = {role.name: role for role in self.plane.roles}

    def supervise(self) -> None:
        """All serve, and are watched."""
        self.plane.start()
        self.listeners = listen([path for role in self.plane.roles for path in role.sockets])
        self.plane.supervise(self.supervisor, self.on_restart)

    def close(self) -> None:
        self.supervisor.stop()
        self.supervisor.join()
        for listener in self.listeners:
            listener.close()

    def process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.roles[name].process
        assert process is not None
        return process

    def on_restart(self, role: RoleProcess) -> None:
        self.returned.append(role.name)
        if self.trouble:
            self.trouble.pop(0)(role)

    def kill(self, name: str, restarts: int) -> None:
        """Kill one, and wait until it is back for the so-manieth time."""
        self.process(name).kill()
        until(lambda: self.roles[name].restarts == restarts and self.roles[name].state == "up")


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hb") as directory, Children() as children:
        made = World(Path(directory), children)
        yield made
        made.close()


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


def test_why_a_process_died_is_told_by_its_own_words_or_by_its_end(world: World) -> None:
    world.supervise()
    role, other = world.roles["vm-controller-0-0"], world.roles["front-end-0"]
    assert world.plane.why_ended(role) is None
    pid = world.process(role.name).pid
    reason = {"pid": pid, "reason": "mine.py:7: Mine.vm_flows() raised ValueError: no"}
    (world.directory / "control" / f"{role.name}.crash").write_text(json.dumps(reason))
    assert world.plane.crashed(role, pid) == reason["reason"]
    world.kill(role.name, 1)
    world.kill(other.name, 1)
    rows = {row["what"]: row["why"] for row in world.supervisor.status()["processes"]}
    assert rows == {role.name: reason["reason"], other.name: "SIGKILL"}
    assert world.plane.crashed(role, world.process(role.name).pid) is None  # the words of the one before


def test_an_exit_code_leads_to_the_log(world: World) -> None:
    world.launcher.ends_at_once = True
    world.plane.start()
    assert world.plane.why_ended(world.roles["front-end-0"]) == "exit code 0, see front-end-0.log"


def test_etcd_has_a_folder_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_members, "check_installed", lambda: None)
    with Children() as children:
        other = World(world.directory / "other", children, ControlLayout.of("processes", store="etcd", replicas=1))
        other.plane.start()
        folder = other.directory / "control" / "etcd"
        assert folder.stat().st_mode & 0o777 == 0o700
        argv, what, _, log = other.launcher.started[0]
        assert (what, log) == ("etcd-0", other.directory / "logs" / "etcd-0.log")
        assert str(folder) in argv
        assert argv[argv.index("--data-dir") + 1] == "etcd-0"
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
        world.clock.now += 4.0

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
    world.supervise()
    world.model = "on-demand"
    pid, begun = world.process("vm-controller-0-0").pid, len(world.launcher.started)
    world.kill("vm-controller-0-0", 1)
    ((argv, what, kind, log),) = world.launcher.started[begun:]
    assert argv[argv.index("--model") + 1] == "on-demand"
    assert (what, kind, log.name) == ("vm-controller-0-0", "control", "vm-controller-0-0.log")
    assert (world.returned, world.launcher.forgotten) == (["vm-controller-0-0"], [pid])
    assert world.process("vm-controller-0-0").pid != pid
    assert [role.restarts for role in world.plane.roles] == [0, 0, 1, 0]
    (row,) = world.supervisor.status()["processes"]
    assert (row["what"], row["server"], row["state"], row["restarts"]) == ("vm-controller-0-0", None, "up", 1)


def test_one_that_goes_on_dying_waits_longer_each_time_and_is_given_up_and_shown(world: World) -> None:
    world.supervise()
    for restarts in range(1, 8):
        world.kill("vm-controller-0-1", restarts)
    assert round(world.clock.now - START, 3) == 0.2 + 0.4 + 0.8 + 1.6
    last = world.process("vm-controller-0-1").pid
    world.process("vm-controller-0-1").kill()
    until(lambda: world.roles["vm-controller-0-1"].state == "given up")
    assert world.plane.documents()[3] == {
        "name": "vm-controller-0-1", "pid": last, "restarts": 7, "state": "given up",
    }  # fmt: skip
    assert world.supervisor.status()["down"] == 1
    assert [role.state for role in world.plane.roles[:3]] == ["up"] * 3


def test_one_is_back_when_it_serves(world: World) -> None:
    world.supervise()
    dead, begun = world.process("front-end-0"), len(world.launcher.started)
    for listener in world.listeners:
        listener.close()
    dead.kill()
    until(lambda: len(world.launcher.started) > begun)
    assert (world.returned, world.roles["front-end-0"].state) == ([], "down")
    for path in world.roles["front-end-0"].sockets:
        path.unlink()
    world.listeners = listen(world.roles["front-end-0"].sockets)
    until(lambda: world.returned == ["front-end-0"])


def test_one_that_came_back_and_is_not_well_is_killed_and_started_once_more(world: World) -> None:
    world.supervise()
    sick: list[subprocess.Popen[bytes]] = []

    def ill(role: RoleProcess) -> None:
        assert role.process is not None
        sick.append(role.process)
        raise RunError("it does not come up")

    world.trouble = [ill]
    world.kill("fabric-manager", 1)
    assert sick[0].wait(_DEADLINE) == -9
    assert world.returned == ["fabric-manager"] * 2
    assert world.launcher.forgotten[1:] == [sick[0].pid]


def test_an_etcd_member_comes_back_like_everybody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_members, "check_installed", lambda: None)
    with Children() as children:
        other = World(world.directory / "other", children, ControlLayout.of("processes", store="etcd", replicas=1))
        other.supervise()
        (command, *_), *_ = other.launcher.started
        other.kill("etcd-0", 1)
        assert other.launcher.started[-1][0] == command  # the same ports and data
        other.close()


def test_after_the_supervisors_end_nothing_comes_back(world: World) -> None:
    world.supervise()
    begun = len(world.launcher.started)
    world.supervisor.stop()
    for name in world.roles:
        world.process(name).kill()
    world.supervisor.join()
    assert (world.returned, world.launcher.started[begun:]) == ([], [])


def test_a_plane_has_a_clock_of_its_own_where_none_is_given(world: World) -> None:
    with Children() as children:
        launcher = Launcher(children)
        plane = ControlProcesses(ControlLayout(), world.directory / "c", world.directory, launcher, list)  # type: ignore[arg-type]
        plane.start()
        listeners = listen(plane.roles[0].sockets)
        plane.wait_all_ready(_DEADLINE)
        for listener in listeners:
            listener.close()
