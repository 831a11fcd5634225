"""Files of a run and of a capture are for their user alone, whatever the umask of the caller."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.privileges import ORDINARY
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory

TWO = """
hosts: [{name: h1, dataplane: fastpath}, {name: h2, dataplane: ovs}]
hoverboards: 1
networks:
  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2}
"""
STUDENT, STRANGER = 23456, 12345
pytestmark = pytest.mark.timeout(400)


class Caller:
    """A user with this umask and these variables, who types commands.

    Attributes:
        run: the run.
        folder: where the user stands.
    """

    def __init__(self, run: str, folder: Path) -> None:
        self.run, self.folder = run, folder

    def type(self, *words: str, code: int = 0, **variables: str) -> str:
        argv = [sys.executable, "-P", "-m", "console.cli", *words]
        done = subprocess.run(
            argv, cwd=self.folder, env=os.environ | variables, umask=0o002, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def verb(self, *words: str, code: int = 0, **variables: str) -> str:
        return self.type(words[0], *words[1:], "--run", self.run, code=code, **variables)


@pytest.fixture
def caller(state: Path, run_name: str, tmp_path: Path) -> Iterator[Caller]:
    """The caller of a run of two hosts, in the background."""
    made = Caller(run_name, tmp_path)
    (tmp_path / "two.yaml").write_text(TWO)
    made.verb("up", "two.yaml", "--detach")
    yield made
    made.verb("down")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_of_a_run_and_of_captures(caller: Caller, state: Path) -> None:
    _processes_are_private(RunDirectory.of(caller.run, state))
    if not ORDINARY:  # who has nobody else's files in sight
        _captures_belong_to_who_called_sudo(caller)
        _captures_follow_no_link(caller)
    _a_capture_may_go_to_a_pipe(caller)
    assert caller.type("exec", "blue-1", "--run", caller.run, "--", "sh", "-c", "umask") == "0002\n"


def _processes_are_private(directory: RunDirectory) -> None:
    assert (mode(directory.path.parent), mode(directory.path)) == (0o700, 0o700)  # the test has made the first
    table = LinuxProcesses()
    for record in live_processes(Ledger(directory), table):
        status = Path(f"/proc/{record.process.pid}/status").read_text()
        assert "\nUmask:\t0077\n" in status, record
        assert os.readlink(f"/proc/{record.process.pid}/cwd") == "/", record
    files = [path for path in directory.path.rglob("*") if not path.is_symlink()]
    assert len(files) > 20
    # Nodes see the files of `guests` in place of /etc/hosts and its like, and users in VMs read them there.
    seen = {path for path in directory.guests.rglob("*") if path.is_file()}
    assert {path for path in files if mode(path) & 0o077} == seen
    assert {mode(path) for path in seen} == {0o644}


def _captures_belong_to_who_called_sudo(caller: Caller) -> None:
    sudo = {"SUDO_UID": str(STUDENT), "SUDO_GID": str(STUDENT)}
    for node, port in (("h1", "uplink"), ("h2", "uplink")):
        file = caller.folder / f"{node}.pcap"
        caller.verb("capture", node, port, "-w", file.name, "--seconds", "0.5", **sudo)
        found = file.stat()
        assert (mode(file), found.st_uid, found.st_gid) == (0o600, STUDENT, STUDENT)


def _captures_follow_no_link(caller: Caller) -> None:
    secret = caller.folder / "secret"
    secret.write_text("secret")
    theirs = caller.folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    for node in ("h1", "h2"):
        (caller.folder / "link").symlink_to(secret)
        caller.verb("capture", node, "uplink", "-w", "link", "--seconds", "0.2")
        assert secret.read_text() == "secret"
        assert not (caller.folder / "link").is_symlink()
        (caller.folder / "link").unlink()
        said = caller.verb("capture", node, "uplink", "-w", "theirs/x", "--seconds", "0.2", code=2)
        assert f"belongs to user {STRANGER}" in said
    assert os.listdir(theirs) == []


def _a_capture_may_go_to_a_pipe(caller: Caller) -> None:
    for node in ("h1", "h2"):
        read = subprocess.run(
            ["bash", "-c", '"$@" | head -c 4 | od -An -tx1', "_", sys.executable, "-P", "-m", "console.cli", "capture",
             node, "uplink", "-w", "/dev/stdout", "--seconds", "0.5", "--run", caller.run],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert read.stdout.split() in (["0a", "0d", "0d", "0a"], ["d4", "c3", "b2", "a1"]), read.stderr
