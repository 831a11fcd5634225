"""The record that goes with a result: machine, tools, commit, and a name for what was not committed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.observe import provenance
from experiments.tools import tcp_congestion_control
from hoverboard import mapped_users


class Git:
    """What git says, by its verb."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **said: str) -> None:
        self.said: dict[str, str] = {"rev-parse": "a" * 40, "status": "", "diff": "+one"} | said
        self.asked: list[list[str]] = []
        monkeypatch.setattr(provenance, "_output", self._output)
        monkeypatch.setattr(provenance, "_package", lambda name: "1.2" if name == "hoverboard" else "")

    def _output(self, argv: list[str], cwd: Path | None = None) -> str:
        root = Path(provenance.__file__).resolve().parents[2]
        assert argv[:3] == ["git", "-c", f"safe.directory={root}"]
        assert cwd == root
        self.asked.append(argv[3:])
        return self.said[argv[3]]


def test_a_commit_without_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(monkeypatch)
    assert provenance.commit() == {"commit": "a" * 40, "changed": False, "version": "1.2"}
    assert git.asked == [["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]]


def test_changes_that_were_not_committed_have_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(monkeypatch, status=" M x.py")
    one = provenance.commit()
    assert one["changed"] is True
    assert one["changes"] == provenance.digest("+one")
    assert git.asked[-1] == ["diff", "HEAD"]
    git.said["diff"] = "+another"
    assert provenance.commit() != one


def test_no_checkout_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    Git(monkeypatch, **{"rev-parse": ""})
    monkeypatch.setattr(provenance, "_package", lambda name: "")
    assert provenance.commit() == {"commit": None, "changed": None, "version": None}


def test_a_digest_is_short_and_the_same_for_the_same_text() -> None:
    assert provenance.digest("x") == provenance.digest("x") == "2d711642b726b044"
    assert provenance.digest("x") != provenance.digest("y")


def test_tools_and_packages_with_their_versions_absent_ones_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "ovs-vswitchd": "ovs-vswitchd (Open vSwitch) 3.1.0\nmore", "iperf3": "iperf 3.12 (cJSON 1.7.15)",
        "ping": "ping from iputils 20221126",
    }  # fmt: skip
    monkeypatch.setattr(provenance, "_output", lambda argv: said.get(argv[0], ""))
    monkeypatch.setattr(provenance, "_package", lambda name: {"numpy": "2.0", "mininet": "2.3"}.get(name, ""))
    monkeypatch.setattr(provenance.platform, "python_version", lambda: "3.11.2")
    assert provenance.versions() == {
        "python": "3.11.2", "ovs": "3.1.0", "iperf3": "3.12", "ping": "20221126", "mininet": "2.3", "numpy": "2.0",
    }  # fmt: skip
    said.clear()
    assert provenance.versions() == {"python": "3.11.2", "mininet": "2.3", "numpy": "2.0"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["echo", " hello "], "hello"), (["false"], ""), (["sh", "-c", "echo half; exit 1"], ""), (["no-such-tool"], "")],
)
def test_what_a_command_prints_or_nothing(argv: list[str], said: str) -> None:
    assert provenance._output(argv) == said


def test_a_command_that_takes_too_long_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []

    def run(argv: list[str], **settings: Any) -> Iterator[None]:
        seen.append(settings)
        raise subprocess.TimeoutExpired(argv, settings["timeout"])

    monkeypatch.setattr(provenance.subprocess, "run", run)
    assert provenance._output(["git"], tmp_path) == ""
    assert (seen[0]["timeout"], seen[0]["cwd"]) == (5.0, tmp_path)


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert provenance._package("pytest") == pytest.__version__
    assert provenance._package("no-package-of-that-name") == ""


def test_the_machine_as_proc_tells_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {
        "/proc/meminfo": "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Made up 3000\nmodel name\t: Another\n",
        "/etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian 12"\n',
        "/proc/sys/net/ipv4/tcp_congestion_control": "bbr\n",
    }
    for path, text in texts.items():
        (tmp_path / path.replace("/", "_")).write_text(text)
    monkeypatch.setattr(provenance, "Path", lambda path: tmp_path / path.replace("/", "_"))
    monkeypatch.setattr(provenance.os, "cpu_count", lambda: 7)
    monkeypatch.setattr(provenance.platform, "release", lambda: "6.18")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(tcp_congestion_control, "control", lambda: "cubic")
    assert provenance.machine() == {
        "cores": 7, "cpu": "Made up 3000", "memory_gib": 8.0, "kernel": "6.18", "system": "Debian 12",
        "tcp_measured_with": "cubic", "tcp_congestion_control": "bbr",
    }  # fmt: skip
    for path in tmp_path.iterdir():
        path.unlink()
    assert provenance.machine() == {
        "cores": 7, "cpu": "x86_64", "memory_gib": None, "kernel": "6.18", "system": "",
        "tcp_measured_with": "cubic", "tcp_congestion_control": "",
    }  # fmt: skip


def test_a_record_has_all_that_is_needed_to_judge_and_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "c"})
    monkeypatch.setattr(provenance, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hoverboard", "demo", "--json"])
    monkeypatch.setattr(mapped_users, "privileges", lambda: "rootless")
    found = provenance.record({"seconds": 4})
    assert found.pop("taken").endswith("+00:00")
    assert found == {
        "command": "hoverboard demo --json", "parameters": {"seconds": 4}, "code": {"commit": "c"},
        "machine": {"cores": 2}, "versions": {"python": "3"}, "privileges": "rootless",
    }  # fmt: skip
