"""What an ordinary user's run does without is told once, by the doctor and by `status`; a delegated cgroup is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from console.doctor.kernel_features import FEATURES
from hoverboard.contract.document_schemas import check
from tests.ordinary_user import ROOT, OrdinaryUser
from tests.system.rootless.user_run import UP_SECONDS, nothing_is_left, status, up
from tests.waiting import until

OVS = ("--dataplane", "ovs")
ONE_LINE = "rootless: in namespaces of your own, without "


def doctor(user: OrdinaryUser, *before: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The findings by name, as the user has them."""
    done = user.run(*before, *user.cli("doctor", "--json"))
    assert done.returncode == code, done.stdout + done.stderr
    document = json.loads(done.stdout)
    check("doctor", document)
    assert document["healthy"] == (code == 0)
    return {line["name"]: line for line in document["lines"]}


class TestTheDoctor:
    def test_of_a_user_who_can_have_runs(self, user: OrdinaryUser) -> None:
        found = doctor(user)
        for name in ("root", "user namespaces", "/dev/net/tun", "limits", "own state directory", "veth", "bridge"):
            assert found[name]["state"] == "ok", found[name]
        assert found["tun/tap with segment header"]["detail"] == "works"
        assert found["root"]["detail"] == "no"
        assert "sudo" not in found["root"]["consequence"]
        assert found["other users"]["state"] == "degraded"
        assert "newuidmap" in found["other users"]["detail"]
        assert "kernel features" not in found, "all of them were tried"
        assert len(FEATURES) > 5
        nothing_is_left(user)

    def test_without_the_device(self, users: Callable[..., OrdinaryUser]) -> None:
        found = doctor(users(tun=0o600), code=4)
        assert "mode 0600" in found["/dev/net/tun"]["detail"]
        assert "sudo chmod 0666 /dev/net/tun" in found["/dev/net/tun"]["consequence"]

    def test_without_user_namespaces(self, user: OrdinaryUser) -> None:
        forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        machine = ["unshare", "--user", f"--map-user={user.uid}", "--keep-caps", "sh", "-c", forbid, "sh"]
        found = doctor(user, *machine, code=4)
        assert "user.max_user_namespaces is 0" in found["user namespaces"]["detail"]
        assert "sudo sysctl -w user.max_user_namespaces=10000" in found["user namespaces"]["consequence"]
        assert found["kernel features"]["state"] == "degraded"

    def test_names_a_state_directory_that_others_can_read(self, user: OrdinaryUser) -> None:
        user.run("mkdir", "-m", "755", "state")
        there = str(user.home / "state")
        found = doctor(user, "env", f"HOVERBOARD_STATE_DIR={there}", code=4)
        assert there in found["own state directory"]["detail"]
        assert doctor(user, "env", f"HOVERBOARD_STATE_DIR={there}/new/one", code=4)["own state directory"]["required"]
        user.run("chmod", "700", "state")
        assert doctor(user, "env", f"HOVERBOARD_STATE_DIR={there}")["own state directory"]["state"] == "ok"

    def test_lists_the_dead_runs_of_this_user(self, user: OrdinaryUser) -> None:
        (user.state / "gone").mkdir(parents=True)
        head = {"record": "run", "version": 1, "run": "gone", "boot": "another", "first": "1:1:1", "pidns": 2}
        (user.state / "gone/ledger.jsonl").write_text(json.dumps(head) + "\n")
        (user.state / "gone/lock").touch()
        for path in (user.state, *user.state.rglob("*")):
            os.chown(path, user.uid, user.uid)
            path.chmod(0o700)
        first = os.stat("/proc/self/ns/pid").st_ino
        (user.state / "gone/ledger.jsonl").write_text(json.dumps(head | {"first": f"1:1:{first}"}) + "\n")
        assert doctor(user)["dead runs"]["detail"] == "gone"


def test_status_tells_it_in_one_line_and_in_a_document(user: OrdinaryUser) -> None:
    up(user, *OVS)
    document = status(user)
    assert document["privileges"] == "rootless"
    lacks = [one["what"] for one in document["without"]]
    assert lacks[-1] == "other users"
    (line,) = [line for line in user.ok("status").splitlines() if line.startswith(ONE_LINE)]
    assert all(one["what"] in line and one["consequence"] in line for one in document["without"])
    # The doctor says the same.
    assert all(doctor(user)[what]["state"] == "degraded" for what in lacks)
    refused = user.hoverboard("exec", "--as", "nobody", "blue-1", "--", "id")
    assert refused.returncode == 2
    assert "only one user is mapped in a run of an ordinary user" in refused.stderr
    assert refused.stdout == ""
    user.ok("down")
    nothing_is_left(user)


def test_a_check_runs_the_files_of_a_topology_as_the_user_inside_and_outside(user: OrdinaryUser) -> None:
    """There is nobody else to become."""
    user.write("mine.py", "print('checked')\nclass Mine: ...\n")
    user.write(
        "one.yaml",
        "hosts: 1\nnetworks:\n  - {name: a, vni: 7, subnet: 10.0.0.0/24, vms: 2}\nstages:\n  - stage: mine.py:Mine\n",
    )
    check_it = user.cli("up", "--check", "one.yaml")
    inside = user.write("inside.py", f"import subprocess, sys\nsys.exit(subprocess.call({check_it!r}))\n")
    for said in (user.run(*check_it), user.hoverboard("python", inside)):
        assert (said.returncode, "checked" in said.stdout, "one.yaml:5" in said.stderr) == (2, True, True), said
    nothing_is_left(user)


@contextmanager
def delegated(user: OrdinaryUser, mount: Path) -> Iterator[Path]:
    """A cgroup of version 2 that belongs to the user, as systemd's `Delegate=yes` makes it."""
    group = mount / f"hoverboard-test-{user.uid}"
    group.mkdir()
    try:
        for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(path, user.uid, user.uid)
        yield group
    finally:

        def removed() -> bool:
            with suppress(OSError):
                group.rmdir()
            return not group.exists()

        until(removed, 20, f"{group} stays")


@pytest.fixture
def unified() -> Path:
    """Where cgroups of version 2 are."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(point, os.W_OK):
            return Path(point)
    pytest.skip("this machine has no cgroups of version 2 that root may make")


def test_in_a_delegated_cgroup_coprocessors_have_cgroups_of_their_own(user: OrdinaryUser, unified: Path) -> None:
    shutil.copy(ROOT / "experiments/catalog/coprocessor.yaml", user.home / "stages.yaml")
    (user.home / "stages.yaml").chmod(0o644)
    # Hierarchies of version 1 count CPU time first: in the mount namespace of this command there are none.
    alone = (
        'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && echo $$ > "/sys/fs/cgroup/$0/cgroup.procs"'
        ' && exec "$@"'
    )

    with delegated(user, unified) as group:
        words = user.words(*user.cli("up", "stages.yaml", "--run", "mine", "--detach"))
        inside = ["nsenter", f"--mount=/proc/{user.keeper.pid}/ns/mnt", "unshare", "--mount", "sh", "-c", alone]
        command = [*inside, group.name, *words[2:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=UP_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        user.ok("exec", "acl", "--", "ping", "-c", "2", "-i", "0.1", "acl-there")
        document = status(user)
        assert "cgroups" not in [one["what"] for one in document["without"]]
        accounts = {row["vm"]: row["account"] for row in document["cpu"]}
        assert accounts["acl"] == f"cgroup v2 /sys/fs/cgroup/{group.name}/hoverboard-mine-h1-acl"
        assert (group / "hoverboard-mine-h1-acl/cgroup.threads").read_text().split()
        user.ok("down")
        assert [one for one in group.iterdir() if one.is_dir()] == []
        nothing_is_left(user)
