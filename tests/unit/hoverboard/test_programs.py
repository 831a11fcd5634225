"""Programs are found in sbin directories, too, and all code finds them in one way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hoverboard import programs
from tests.unit.source_tree import source_tree

ROOT = Path(__file__).resolve().parents[3]
CRON = "/usr/bin:/bin"  # crontab(5), Debian


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (CRON, "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
        ("/mine:/usr/sbin:/bin", "/mine:/usr/sbin:/bin:/usr/local/sbin:/sbin"),
        ("/a::/b:", "/a:/b:/usr/local/sbin:/usr/sbin:/sbin"),
        (".:/a:./bin:bin:..:~/bin:/b", "/a:/b:/usr/local/sbin:/usr/sbin:/sbin"),
        ("", f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"),
        (None, f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"),
    ],
    ids=["of cron", "with sbin", "with the current directory", "with relative parts", "empty", "none"],
)
def test_the_sbin_directories_come_last(monkeypatch: pytest.MonkeyPatch, given: str | None, found: str) -> None:
    if given is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", given)
    assert programs.search_path() == found
    programs.complete_path()
    programs.complete_path()
    assert os.environ["PATH"] == found


def test_a_program_in_sbin_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "switch").touch(mode=0o755)
    monkeypatch.setenv("PATH", CRON)
    assert programs.find("switch") is None
    monkeypatch.setattr(programs, "SBIN", (str(tmp_path),))
    assert programs.find("switch") == str(tmp_path / "switch")


def test_all_code_finds_programs_here() -> None:
    elsewhere = [
        name
        for name, source in source_tree().items()
        if re.search(r"\bwhich\(|import which", source.text) and name != programs.__name__
    ]
    assert elsewhere == []


@pytest.mark.parametrize("path", [[f"PATH={CRON}"], []], ids=["of cron", "none"])
def test_the_doctor_finds_what_a_login_shell_finds(path: list[str]) -> None:
    command = ["-m", "console.cli", "doctor", "--json"]
    seen = {}
    for name, environment in (("login", ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]), ("cron", path)):
        words = ["env", "-i", *environment, f"PYTHONPATH={ROOT}", sys.executable, "-P", *command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = json.loads(done.stdout)["lines"]
        seen[name] = {line["name"]: line["state"] for line in lines if line["name"] in TOOLS}
    assert seen["cron"] == seen["login"]
    assert set(seen["cron"]) == set(TOOLS)


TOOLS = ("ovs-vswitchd", "ovsdb-server", "ovs-ofctl", "mnexec", "ip", "ethtool", "tcpdump")
