"""`hoverboard --version`: the version, and the commit as far as it is known."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from console import version
from hoverboard import __version__


class Installed:
    """A distribution with what pip recorded of where it came from."""

    def __init__(self, recorded: str | None) -> None:
        self._recorded = recorded

    def read_text(self, name: str) -> str | None:
        return self._recorded if name == "direct_url.json" else None


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_has_its_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert version.version_line(tmp_path) == f"hoverboard {__version__} ({commit[:7]})"


def test_a_checkout_that_git_cannot_read_has_none(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert version.version_line(tmp_path) == f"hoverboard {__version__} (commit unknown)"


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        (json.dumps({"vcs_info": {"vcs": "git", "commit_id": "99e4a1b" + "0" * 33}}), "99e4a1b"),
        (json.dumps({"url": "file:///a", "dir_info": {"editable": True}}), "commit unknown"),
        (None, "commit unknown"),
    ],
)  # fmt: skip
def test_without_a_checkout_it_is_the_commit_at_install(
    recorded: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(recorded))
    assert version.version_line(tmp_path) == f"hoverboard {__version__} ({shown})"


def test_files_that_nothing_installed_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert version.version_line(tmp_path) == f"hoverboard {__version__} (commit unknown)"
