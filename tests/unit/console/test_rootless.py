"""Giving root up: what is called, in which order, and what the environment is then."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from console import cli, guard, own_terminal, plain_text, rootless, runs
from hoverboard import mapped_users, programs
from hoverboard.contract.errors import MachineError
from topologies.client import orphans

STUDENT = SimpleNamespace(pw_name="student", pw_dir="/home/student", pw_uid=1000)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The calls of a root that gives root up; none of them does anything."""
    made: list[tuple[object, ...]] = []

    def account(uid: int) -> SimpleNamespace:
        if uid != STUDENT.pw_uid:
            raise KeyError(uid)
        return STUDENT

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mapped_users, "only_one", lambda: False)
    monkeypatch.setattr(own_terminal, "take", lambda: made.append(("take",)))
    for name in ("initgroups", "setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *words, name=name: made.append((name, *words)))
    monkeypatch.setattr(pwd, "getpwuid", account)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/run/user"))
    for name in ("SUDO_UID", "SUDO_GID", "SUDO_USER", "XDG_RUNTIME_DIR", "HOVERBOARD_ROOTLESS"):
        monkeypatch.setenv(name, "0")
    return made


def test_root_becomes_the_user_who_called_sudo(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "100")
    rootless.become_ordinary()
    ids = (("setresgid", 100, 100, 100), ("setresuid", 1000, 1000, 1000))
    assert calls == [("take",), ("initgroups", "student", 100), *ids]
    assert (os.environ["HOME"], os.environ["USER"]) == ("/home/student", "student")
    assert not os.environ.keys() & {"SUDO_UID", "SUDO_GID", "SUDO_USER", "XDG_RUNTIME_DIR"}
    assert rootless.command() == "hoverboard --rootless"


@pytest.mark.parametrize("given", ["", "0", "abc", "-1"])
def test_without_one_root_becomes_a_uid_without_an_account_or_a_group(
    given: str, calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", given)
    taken = [SimpleNamespace(pw_uid=rootless._FIRST_FREE_UID), STUDENT]
    monkeypatch.setattr(pwd, "getpwall", lambda: taken)
    rootless.become_ordinary()
    uid = rootless._FIRST_FREE_UID + 1
    assert calls == [("take",), ("setgroups", []), ("setresgid", uid, uid, uid), ("setresuid", uid, uid, uid)]


def test_a_checkout_that_this_user_cannot_read_is_named(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MachineError, match="cannot read it") as caught:
        rootless.become_ordinary()
    assert caught.value.where == rootless.__file__


def test_in_the_namespaces_it_is_done_already(calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_users, "only_one", lambda: True)
    rootless.become_ordinary()
    assert calls == []


def test_the_command_knows_from_its_start_that_it_goes_on_and_what_it_starts_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[bool, bool]] = []
    monkeypatch.setattr(cli, "app", lambda **_: found.append((rootless.goes_on(), "HOVERBOARD_GOES_ON" in os.environ)))
    monkeypatch.setattr(rootless, "_went_on", False)
    for module, name in ((guard, "make_files_private"), (programs, "complete_path"), (plain_text, "install")):
        monkeypatch.setattr(module, name, lambda: None)
    cli.main()
    monkeypatch.setenv("HOVERBOARD_GOES_ON", "1")
    cli.main()
    assert found == [(False, False), (True, False)]


def test_a_command_that_goes_on_in_namespaces_names_orphans_once_and_what_it_starts_names_them_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "execvp", lambda file, words: replaced.append((file, *words)))
    monkeypatch.setattr(orphans, "find", lambda **_: [orphans.Orphan("dead", Path("/run/dead"), False, 3)])
    monkeypatch.setenv("HOVERBOARD_GOES_ON", "")
    monkeypatch.delenv("HOVERBOARD_GOES_ON")
    monkeypatch.setattr(rootless, "_went_on", False)

    def named() -> bool:
        runs.mention_orphans()
        return "orphaned: dead" in capsys.readouterr().err

    rootless.begin()
    assert named()
    rootless._execute(["first-process", "hoverboard"])
    assert len(replaced) == 1
    rootless.begin()  # the same command, in its namespaces
    assert not named()
    rootless.begin()  # a command that it starts, with the same environment
    assert named()
