"""`hoverboard --version`: the version, and the commit as far as it is known."""

from __future__ import annotations

import json
import os
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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a commit of one file."""
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("first\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_checkout_has_its_commit(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert version.version_line(checkout) == f"hoverboard {__version__} ({commit[:7]})"


def test_a_checkout_with_changes_says_so(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "new").write_text("a file that git does not know is no change\n")
    assert version.version_line(checkout) == f"hoverboard {__version__} ({commit[:7]})"
    (checkout / "file").write_text("changed\n")
    assert version.version_line(checkout) == f"hoverboard {__version__} ({commit[:7]}, changed)"
    git(checkout, "add", "file")
    assert version.version_line(checkout) == f"hoverboard {__version__} ({commit[:7]}, changed)"


def test_a_checkout_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert version.version_line(tmp_path) == f"hoverboard {__version__} (commit unknown)"


def test_a_linked_work_tree_has_its_commit(checkout: Path) -> None:
    git(checkout, "worktree", "add", "-q", "--detach", str(checkout / "linked"))
    commit = git(checkout, "rev-parse", "HEAD")
    assert version.version_line(checkout / "linked") == f"hoverboard {__version__} ({commit[:7]})"


def test_the_environment_cannot_name_another_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    other = checkout / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert version.version_line(checkout) == f"hoverboard {__version__} ({commit[:7]})"


def test_the_commit_of_a_repository_around_it_is_not_its_own(checkout: Path) -> None:
    (checkout / "inner/.git").mkdir(parents=True)
    assert version.version_line(checkout / "inner") == f"hoverboard {__version__} (commit unknown)"


def test_the_index_of_a_checkout_stays_as_it_is(checkout: Path) -> None:
    os.utime(checkout / "file", (1, 1))  # git would write the new time into the index
    before = (checkout / ".git/index").read_bytes()
    version.version_line(checkout)
    assert (checkout / ".git/index").read_bytes() == before


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
