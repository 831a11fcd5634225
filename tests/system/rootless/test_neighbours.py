"""Users of one machine, and its root: each has runs of the same name, and sees, judges and ends nobody else's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.rootless import free_uid
from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import first_pid, inside, nothing_is_left, pings, status, up
from tests.waiting import until
from topologies.client import run_client
from topologies.processes.ledger import Ledger
from topologies.processes.run_directory import RunDirectory

pytestmark = pytest.mark.timeout(400)
OVS = ("--dataplane", "ovs")
COMMAND = [sys.executable, "-P", "-m", "console.cli"]


def root(*words: str) -> subprocess.CompletedProcess[str]:
    """A verb by the machine's root, whose runs are in the state directory of the test."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=150, check=False)


@pytest.fixture
def of_root(state: Path) -> Iterator[Callable[[], set[int]]]:
    """Root's run `mine`, in a state directory that all can list; gives the pids of its processes that live."""
    done = root("up", "two-hosts", "--run", "mine", "--detach", *OVS)
    assert done.returncode == 0, done.stderr
    state.chmod(0o755)
    records = {one.process.pid for one in Ledger(RunDirectory.of("mine", state)).processes()}
    yield lambda: {pid for pid in records if os.path.isdir(f"/proc/{pid}")}
    run_client.down("mine", state=state, missing_ok=True)


def test_two_users_and_root_at_once(
    users: Callable[..., OrdinaryUser], of_root: Callable[[], set[int]], state: Path
) -> None:
    one, two = users(), users()
    for user in (one, two):
        up(user, *OVS)
    here = of_root()
    assert len(here) > 5
    kept = {user.uid: user.pids() for user in (one, two)}
    # Each sees its own run and answers to the same name; nobody hears of orphans.
    for user in (one, two):
        assert status(user)["run"] == "mine"
        done = user.hoverboard("status")
        assert "orphan" not in done.stderr
        assert user.ok("down", "--orphans") == "there are no orphans\n"
        assert "2 received" in pings(user)
    assert root("down", "--orphans").stdout == "there are no orphans\n"
    # By its directory, another user's run is refused, and root's too.
    for place in (one.state, state):
        for words in (("status",), ("down", "--run", "mine"), ("down", "--all"), ("exec", "blue-1", "--", "true")):
            said = two.hoverboard(*words, HOVERBOARD_STATE_DIR=str(place))
            assert said.returncode != 0 or "nothing was up" in said.stdout, (place, words, said.stdout)
            assert "Traceback" not in said.stderr, words
    assert {user.uid: user.pids() for user in (one, two)} == kept
    # The end of one user's run, and even of root's, is nobody else's.
    one.ok("down", "--all")
    nothing_is_left(one)
    assert of_root() == here
    assert "2 received" in pings(two)
    assert root("down", "--run", "mine").returncode == 0
    assert "2 received" in pings(two)
    two.ok("down")
    nothing_is_left(two)


def test_an_orphan_is_its_user_s(users: Callable[..., OrdinaryUser], of_root: Callable[[], set[int]]) -> None:
    """A lost run is found by marks in environments: those of other users are not looked at, and not ended."""
    one, two = users(), users()
    for user in (one, two):
        up(user, *OVS)
        shutil.rmtree(user.state / "mine")
    here = of_root()
    assert root("down", "--orphans").stdout == "there are no orphans\n"
    assert "mine (has lost its directory" in one.hoverboard("status").stderr
    before = two.pids()
    assert one.ok("down", "--orphans") == "down: mine\n"
    nothing_is_left(one)
    assert (two.pids(), of_root()) == (before, here)
    assert two.ok("down", "--orphans") == "down: mine\n"
    nothing_is_left(two)


def test_root_ends_a_user_s_run_by_its_first_process(user: OrdinaryUser) -> None:
    """What an administrator does: one kill, and all is gone."""
    up(user, *OVS)
    first = first_pid(user)
    assert len(inside(first)) > 10
    os.kill(first, signal.SIGKILL)
    until(lambda: not user.pids(), 20, "processes outlive the first one")
    user.ok("down")
    nothing_is_left(user)


def test_the_machine_sees_no_link_of_a_user(user: OrdinaryUser) -> None:
    links, names = set(os.listdir("/sys/class/net")), set(os.listdir("/run"))
    up(user, *OVS)
    assert not {name for name in set(os.listdir("/sys/class/net")) - links if name.startswith(("h1", "hv1", "fab"))}
    assert not {name for name in set(os.listdir("/run")) - names if "hoverboard" in name}
    user.ok("down")
    nothing_is_left(user)


class TestRootWhoGivesRootUp:
    """`--rootless`: root becomes the user who called sudo, or a uid that nobody has."""

    @pytest.fixture(params=["sudo", "nobody's"])
    def rootless(self, request: pytest.FixtureRequest, user: OrdinaryUser) -> Iterator[tuple[int, Callable[..., str]]]:
        """Who root becomes, and the command line of root in the mount namespace of the test's user."""
        uid = user.uid if request.param == "sudo" else free_uid()
        given = {"SUDO_UID": str(uid), "SUDO_GID": str(uid)} if request.param == "sudo" else {}
        left_out = ("SUDO_UID", "SUDO_GID", "HOVERBOARD_STATE_DIR", "XDG_RUNTIME_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in left_out} | given

        def hoverboard(*words: str) -> str:
            done = subprocess.run(
                ["nsenter", f"--mount=/proc/{user.keeper.pid}/ns/mnt", *COMMAND, *words],
                env=environment, capture_output=True, text=True, timeout=150, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield uid, hoverboard
        with contextlib.suppress(OSError):
            Path(f"/tmp/hoverboard-{uid}").rmdir()

    def test_has_the_rights_of_that_user_only(
        self, rootless: tuple[int, Callable[..., str]], user: OrdinaryUser
    ) -> None:
        uid, hoverboard = rootless
        user.home.chmod(0o755)
        file = user.home / "who.py"
        file.write_text("print(open('/proc/self/uid_map').read())\nprint(open('/proc/self/status').read())\n")
        said = hoverboard("python", "--rootless", str(file))
        assert said.split()[:3] == ["0", str(uid), "1"]
        assert "\nUid:\t0\t0\t0\t0\n" in said
        assert "\nGroups:\t \n" in said

    def test_has_runs_that_all_verbs_reach(
        self, rootless: tuple[int, Callable[..., str]], user: OrdinaryUser, run_name: str
    ) -> None:
        uid, hoverboard = rootless
        hoverboard("up", "two-hosts", "--rootless", "--run", run_name, "--detach", *OVS)
        try:
            root = Path(f"/proc/{user.keeper.pid}/root")
            places = [root / f"run/user/{uid}/hoverboard" / run_name, root / f"tmp/hoverboard-{uid}" / run_name]
            assert [place.stat().st_uid for place in places if place.exists()] == [uid]
            said = hoverboard("--rootless", "exec", "--run", run_name, "blue-1", "--", "ping", "-c", "2", "10.0.0.3")
            assert "2 received" in said
            assert run_name in hoverboard("--rootless", "status", "--run", run_name)
        finally:
            assert hoverboard("--rootless", "down", "--run", run_name) == f"down: {run_name}\n"
