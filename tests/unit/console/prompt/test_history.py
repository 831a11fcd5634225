"""The history: a file of who types, which only that person can read, and which root follows nowhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from console.prompt import history
from console.prompt.history import MOST, Person


@pytest.fixture
def owner(tmp_path: Path) -> Person:
    return Person(os.geteuid(), os.getegid(), tmp_path)


def test_lines_are_kept_for_the_next_time_and_only_for_their_owner(owner: Person) -> None:
    assert history.read(owner) == []
    assert history.save(owner, ["status", "blue-1 echo 'ä \\ $HOME'"])
    assert history.save(owner, ["pingall"])
    assert history.save(owner, [])
    assert history.read(owner) == ["status", "blue-1 echo 'ä \\ $HOME'", "pingall"]
    file = owner.home / history.NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in owner.home.iterdir()] == [history.NAME]


def test_a_file_that_all_could_read_becomes_private(owner: Person) -> None:
    file = owner.home / history.NAME
    file.write_text("old\n")
    file.chmod(0o644)
    history.save(owner, ["new"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "old\nnew\n"


def test_only_the_last_lines_are_kept(owner: Person) -> None:
    history.save(owner, [f"line {number}" for number in range(MOST + 5)])
    assert (history.read(owner)[0], len(history.read(owner))) == ("line 5", MOST)


def test_a_home_that_is_not_there_keeps_nothing(tmp_path: Path) -> None:
    owner = Person(os.geteuid(), os.getegid(), tmp_path / "none")
    assert history.read(owner) == []
    assert not history.save(owner, ["status"])


def test_bytes_that_are_no_text_do_no_harm(owner: Person) -> None:
    (owner.home / history.NAME).write_bytes(b"ok \xff end\n")
    assert history.read(owner) == ["ok \N{REPLACEMENT CHARACTER} end"]


def test_after_sudo_the_history_is_that_of_who_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_GID", "65534")
    monkeypatch.setenv("SUDO_UID", "65534")
    found = history.person()
    assert found is not None
    assert found.uid == 65534
    monkeypatch.setenv("SUDO_UID", "4000000000")
    assert history.person() is None
    for nobody in ("", "0x1", "-1", "²", "4294967295", "4294967296"):
        monkeypatch.setenv("SUDO_UID", nobody)
        found = history.person()
        assert found is not None
        assert found.uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_root_writes_with_the_rights_of_the_owner_and_follows_no_link_of_theirs(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root\n")
    secret.chmod(0o600)
    home = tmp_path / "home"
    home.mkdir()
    for path in (tmp_path, *list(tmp_path.parents)[:-1]):
        path.chmod(path.stat().st_mode | 0o011)
    os.chown(home, 65534, 65534)
    owner = Person(65534, 65534, home)
    (home / history.NAME).symlink_to(secret)
    assert history.read(owner) == []
    assert history.save(owner, ["status"])
    assert secret.read_text() == "of root\n"
    written = home / history.NAME
    assert not written.is_symlink()
    assert (written.stat().st_uid, stat.S_IMODE(written.stat().st_mode)) == (65534, 0o600)
