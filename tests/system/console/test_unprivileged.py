"""A check by root runs no file as root: planted files of a topology say who ran them."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.unprivileged import _KEPT, _SECONDS
from tests.system.privileges import needs_other_users

pytestmark = needs_other_users

COMMAND = [sys.executable, "-P", "-m", "console.cli"]
POLICY = (
    "from controllers.vmc.offload.policy import OffloadPolicy\nclass Mine(OffloadPolicy):\n"
    "    def decide(self, host, candidates, now): ...\n"
)
STAGE = (
    "class Mine:\n    name = 'mine'\n    def __init__(self, context, config): pass\n"
    "    def process(self, batch): return batch\n    def tick(self, now): return []\n"
    "    def deadline(self): return None\n"
)
MODEL = "from controllers.vmc.models.hoverboard import HoverboardModel\nclass Mine(HoverboardModel):\n    pass\n"
KEYS = {
    "policy": (POLICY, "offload_policy: planted.py:Mine"),
    "stage": (STAGE, "stages: [{stage: planted.py}]"),
    "model": (MODEL, "model: planted.py:Mine"),
}
TOPOLOGY = """name: planted
hosts: 2
hoverboards: 1
{key}
networks:
  - {{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2}}
"""
# What the planted file writes down of its process, a line each time that it is run.
SAYS = """import json, os, signal, sys
with open({ran!r}, "a") as ran:
    print(json.dumps({{
        "uid": os.getuid(), "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
        "environ": dict(os.environ), "session": os.getsid(0) == os.getpid(),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0], "bytecode": not sys.dont_write_bytecode,
    }}), file=ran)
"""


def plant(folder: Path, code: str, key: str) -> Path:
    """A topology file that names a file, which writes down by whom it was run."""
    (folder / "planted.py").write_text(SAYS.format(ran=str(folder / "ran")) + code)
    file = folder / "planted.yaml"
    file.write_text(TOPOLOGY.format(key=key))
    return file


def said(folder: Path) -> list[dict[str, object]]:
    """What the planted file wrote down, each time that it was run."""
    ran = folder / "ran"
    return [json.loads(line) for line in ran.read_text().splitlines()] if ran.exists() else []


def ran_as(folder: Path) -> set[object]:
    return {one["uid"] for one in said(folder)}


def hoverboard(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=150, check=False,
        env=os.environ | environment, extra_groups=[0, 4],
    )  # fmt: skip


@pytest.fixture
def open_folder(state: Path) -> Iterator[Path]:
    """A folder that every user may write, as a student's is to the student."""
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(("sudo", "uid"), [({}, 65534), ({"SUDO_UID": "64321", "SUDO_GID": "64321"}, 64321)])
def test_check_runs_no_file_as_root(open_folder: Path, kind: str, sudo: dict[str, str], uid: int) -> None:
    file = plant(open_folder, *KEYS[kind])
    done = hoverboard("up", file, "--check", **sudo)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{file}: fine")
    assert ran_as(open_folder) == {uid}


@pytest.mark.parametrize("uid", [65534, 64321])
def test_nothing_of_root_is_left_in_the_process_that_runs_the_file(open_folder: Path, uid: int) -> None:
    """Each line of `_become` has its part here: ids, groups, session, environment, time and files beside the file."""
    file = plant(open_folder, *KEYS["policy"])
    sudo = {"SUDO_UID": str(uid), "SUDO_GID": str(uid)} if uid != 65534 else {}
    given = {"SECRET": "of root", "HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": ""}
    done = hoverboard("up", file, "--check", **given, **sudo)
    assert (done.returncode, done.stderr) == (0, "")
    assert said(open_folder)
    for one in said(open_folder):
        assert one["uids"] == one["gids"] == [uid] * 3
        assert one["groups"] == []
        assert one["session"] is True
        assert one["bytecode"] is False
        environ, alarm = one["environ"], one["alarm"]
        assert isinstance(environ, dict)
        assert environ.keys() <= {*_KEPT, "HOME"}
        assert environ["LANG"] == "C.UTF-8"
        # A user without an entry in /etc/passwd has no home, least of all root's.
        assert environ.get("HOME") == (pwd.getpwuid(uid).pw_dir if uid == 65534 else None)
        assert isinstance(alarm, float)
        assert 0 < alarm <= _SECONDS + 5  # the parent keeps the limit


def test_check_tells_a_fault_that_only_running_shows(open_folder: Path) -> None:
    file = plant(open_folder, "1 / 0\n", "offload_policy: planted.py:Mine")
    done = hoverboard("up", file, "--check")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert f"planted.py:{SAYS.count(chr(10)) + 1}" in done.stderr


def test_a_file_that_the_user_may_not_read_is_named(open_folder: Path) -> None:
    file = plant(open_folder, *KEYS["policy"])
    (open_folder / "planted.py").chmod(0o600)
    done = hoverboard("up", file, "--check")
    assert done.returncode == 2
    assert "planted.py" in done.stderr
    assert "uid 65534 may not read it" in done.stderr
    assert "without sudo" in done.stderr


def test_options_are_checked_in_the_same_way(open_folder: Path) -> None:
    plant(open_folder, POLICY, "")
    done = hoverboard("up", "two-hosts", "--check", "--offload-policy", open_folder / "planted.py:Mine")
    assert (done.returncode, done.stderr) == (0, "")
    assert ran_as(open_folder) == {65534}


def test_a_dry_run_runs_no_file_as_root(open_folder: Path, run_name: str) -> None:
    """Nor does the holder, before it knows that the run cannot take the change."""
    file = open_folder / "plain.yaml"
    file.write_text(TOPOLOGY.format(key=""))
    up = hoverboard("up", file, "--run", run_name, "--detach")
    assert up.returncode == 0, up.stderr
    for kind in ("stage", "model"):
        planted = plant(open_folder, *KEYS[kind])
        for options in (["--dry-run"], []):
            done = hoverboard("apply", planted, "--run", run_name, *options)
            assert done.returncode == 2
            assert "cannot change while the run is up" in done.stderr
    assert ran_as(open_folder) == {65534}, "the dry runs, as nobody; the holder never"
    # A policy may change. The holder runs its file neither for the plan nor for the change: the control plane does.
    planted = plant(open_folder, *KEYS["policy"])
    (open_folder / "ran").unlink(missing_ok=True)
    done = hoverboard("apply", planted, "--run", run_name, "--dry-run")
    assert (done.returncode, f"~ offload policy: built-in -> {open_folder}/planted.py:Mine" in done.stdout) == (0, True)
    assert ran_as(open_folder) == {65534}


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os; os._exit(0)", "a file ended the check (code 0)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "a file ended the check (code -9)"),
    ],
)
def test_a_file_that_ends_the_check_has_not_passed_it(open_folder: Path, code: str, what: str) -> None:
    file = plant(open_folder, f"{code}\n{POLICY}", KEYS["policy"][1])
    done = hoverboard("up", file, "--check")
    assert done.returncode == 4, done.stdout
    assert what in done.stderr


def test_a_file_cannot_switch_the_limit_off(open_folder: Path) -> None:
    """The parent keeps the time. The limit is 60 s: a shorter one is put into the command here."""
    stay = "import signal, time\nsignal.alarm(0)\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(100)"
    file = plant(open_folder, f"{stay}\n{POLICY}", KEYS["policy"][1])
    code = "import sys; from console import cli, unprivileged; unprivileged._SECONDS = 1; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "up", str(file), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert "the check did not end within 1 s" in done.stderr
