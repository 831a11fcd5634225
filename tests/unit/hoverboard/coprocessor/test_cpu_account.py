"""Which account a VM's thread gets, on machines described by files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.coprocessor import cpu_account
from hoverboard.coprocessor.cpu_account import Cgroup, ThreadClock


def machine(tmp_path: Path, mounts: str, own: str) -> dict[str, Path]:
    (tmp_path / "mounts").write_text(mounts.replace("ROOT", str(tmp_path)))
    (tmp_path / "own").write_text(own)
    return {"mounts": tmp_path / "mounts", "own": tmp_path / "own"}


@pytest.fixture
def kernel(monkeypatch):
    """A directory made in a cgroup hierarchy has its files at once, as in the kernel."""
    real = Path.mkdir

    def populate(files):
        def mkdir(self, *args, **kwargs):
            real(self, *args, **kwargs)
            for name, text in files.items():
                (self / name).write_text(text)

        monkeypatch.setattr(Path, "mkdir", mkdir)

    return populate


V1 = "cgroup ROOT/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\ncgroup2 ROOT/unified cgroup2 rw 0 0\n"
V2 = "proc /proc proc rw 0 0\ncgroup2 ROOT/unified cgroup2 rw,nosuid 0 0\n"


def test_version_1(tmp_path, kernel):
    files = machine(tmp_path, V1, "4:cpu,cpuacct:/svc\n0::/\n")
    (tmp_path / "cpu,cpuacct" / "svc").mkdir(parents=True)
    kernel({"tasks": "", "cpuacct.usage": "2500000000\n"})
    account = cpu_account.choose_account("hoverboard-x", **files)
    assert isinstance(account, Cgroup)
    assert account.path == tmp_path / "cpu,cpuacct" / "svc" / "hoverboard-x"
    assert account.how.startswith("cgroup v1")
    account.enter(77)
    assert (account.path / "tasks").read_text() == "77"
    assert account.cpu_seconds() == 2.5


def test_version_2(tmp_path, kernel):
    files = machine(tmp_path, V2, "0::/svc\n")
    (tmp_path / "unified" / "svc").mkdir(parents=True)
    kernel({"cgroup.type": "domain", "cgroup.threads": "", "cpu.stat": "usage_usec 1500000\nuser_usec 1\n"})
    account = cpu_account.choose_account("hoverboard-x", **files)
    assert isinstance(account, Cgroup)
    assert (account.path / "cgroup.type").read_text() == "threaded"
    account.enter(77)
    assert (account.path / "cgroup.threads").read_text() == "77"
    assert account.cpu_seconds() == 1.5


@pytest.mark.parametrize(
    ("mounts", "own", "why"),
    [
        ("proc /proc proc rw 0 0\n", "0::/\n", "no cgroup hierarchy"),
        ("cgroup ROOT/cpuset cgroup rw,cpuset 0 0\n", "1:cpuset:/\n", "no cgroup hierarchy"),
        (V2, "0::/gone\n", "no cgroup can be made"),
    ],
)
def test_none_to_be_had(tmp_path, mounts, own, why):
    account = cpu_account.choose_account("hoverboard-x", **machine(tmp_path, mounts, own))
    assert isinstance(account, ThreadClock)
    assert why in account.how


def test_one_of_no_use_is_removed_again(tmp_path):
    files = machine(tmp_path, V1, "4:cpu,cpuacct:/\n")
    (tmp_path / "cpu,cpuacct").mkdir()
    account = cpu_account.choose_account("hoverboard-x", **files)  # a plain directory: no tasks in it
    assert "cannot be used" in account.how
    assert not (tmp_path / "cpu,cpuacct" / "hoverboard-x").exists()


def test_somebody_elses_is_not_touched(tmp_path):
    files = machine(tmp_path, V1, "4:cpu,cpuacct:/\n")
    theirs = tmp_path / "cpu,cpuacct" / "hoverboard-x"
    theirs.mkdir(parents=True)
    assert "File exists" in cpu_account.choose_account("hoverboard-x", **files).how
    assert theirs.exists()


def test_no_proc(tmp_path):
    account = cpu_account.choose_account("x", mounts=tmp_path / "none", own=tmp_path / "none")
    assert "cannot be read" in account.how


@pytest.mark.parametrize(
    ("mounts", "own", "home"), [(V1, "4:cpu,cpuacct:/u\n", "cpu,cpuacct/u"), (V2, "0::/u\n", "unified/u")]
)
@pytest.mark.parametrize("delegated", [True, False])
def test_it_is_known_beforehand_whether_a_cgroup_could_be_made(tmp_path, monkeypatch, mounts, own, home, delegated):
    files = machine(tmp_path, mounts, own)
    (tmp_path / home).mkdir(parents=True)
    (tmp_path / home / "cgroup.threads").touch()
    # Root may write all files of these tests.
    monkeypatch.setattr(cpu_account.os, "access", lambda path, mode: delegated)
    why = cpu_account.why_no_cgroup(**files)
    assert why == (
        "" if delegated else f"cgroup v{1 if mounts == V1 else 2} {tmp_path / home} is not delegated to this user"
    )
    assert sorted(one.name for one in (tmp_path / home).iterdir()) == ["cgroup.threads"]


def test_a_folder_alone_is_no_delegation_in_version_2(tmp_path, monkeypatch):
    files = machine(tmp_path, V2, "0::/u\n")
    asked = []
    monkeypatch.setattr(cpu_account.os, "access", lambda path, mode: asked.append(path) or path.name == "u")
    assert "not delegated" in cpu_account.why_no_cgroup(**files)
    assert asked == [tmp_path / "unified" / "u", tmp_path / "unified" / "u" / "cgroup.threads"]


def test_a_machine_without_cgroups_says_so_beforehand(tmp_path):
    assert "no cgroup hierarchy" in cpu_account.why_no_cgroup(**machine(tmp_path, "", ""))
    assert "cannot be read" in cpu_account.why_no_cgroup(mounts=tmp_path / "none", own=tmp_path / "none")
