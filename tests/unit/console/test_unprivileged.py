"""Whose rights the check of a user's file has; that it gives root up is tested with root (system ring)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from console import unprivileged
from hoverboard import mapped_users
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import FileNotRunError, load_class, without_running_files


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SUDO_UID": "1000", "SUDO_GID": "1001"}, (1000, 1001)),
        ({}, (65534, 65534)),
        ({"SUDO_UID": "1000"}, (65534, 65534)),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, (65534, 65534)),
        ({"SUDO_UID": "1000", "SUDO_GID": "0"}, (65534, 65534)),
        ({"SUDO_UID": "-1", "SUDO_GID": "x"}, (65534, 65534)),
        ({"SUDO_UID": "4294967295", "SUDO_GID": "1000"}, (65534, 65534)),
        ({"SUDO_UID": "1000", "SUDO_GID": "4294967295"}, (65534, 65534)),
        ({"SUDO_UID": "4294967296", "SUDO_GID": "4294967296"}, (65534, 65534)),
        ({"SUDO_UID": "²", "SUDO_GID": "1000"}, (65534, 65534)),
    ],
)
def test_the_user_is_never_root(
    environment: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    assert unprivileged.user() == expected


@pytest.mark.parametrize("ids", ["4294967295", "4294967296", "8589934591"])
def test_an_id_that_means_leave_as_it_is_never_reaches_the_kernel(ids: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.setenv(name, ids)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    for name in ("setsid", "setgroups"):
        monkeypatch.setattr(os, name, lambda *_: None)
    for name in ("setresuid", "setresgid"):
        monkeypatch.setattr(os, name, lambda *given: asked.append(given))
    monkeypatch.setattr(unprivileged.signal, "alarm", lambda _: 0)
    monkeypatch.setattr(unprivileged.sys, "dont_write_bytecode", sys.dont_write_bytecode)
    unprivileged._become(*unprivileged.user())
    assert asked == [(65534,) * 3] * 2


def touch_a_file() -> None:
    load_class("mine.py:Mine", object, noun="stage", next_step="")


def fail() -> None:
    raise InputError("wrong")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Root; the checks that would be done in a child."""
    found: list[Callable[[], object]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mapped_users, "only_one", lambda: False)
    monkeypatch.setattr(unprivileged, "in_child", lambda check, uid, gid: found.append(check) or 7)
    return found


def test_without_a_file_the_check_is_done_here(children: list[Callable[[], object]]) -> None:
    assert unprivileged.checked(lambda: None) == 0
    with pytest.raises(InputError):
        unprivileged.checked(fail)
    assert children == []


def test_a_file_is_checked_in_a_child(children: list[Callable[[], object]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.is_file", lambda _: True)
        assert unprivileged.checked(touch_a_file) == 7
        assert unprivileged.checked(touch_a_file, only_files=True) == 7
    assert children == [touch_a_file, touch_a_file]


def test_with_only_files_other_faults_are_left_to_the_next_check(children: list[Callable[[], object]]) -> None:
    assert unprivileged.checked(fail, only_files=True) == 0
    assert children == []


def test_no_file_runs_inside_the_block_and_any_after_it(tmp_path: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.is_file", lambda _: True)
        with pytest.raises(FileNotRunError), without_running_files():
            touch_a_file()
    with pytest.raises(InputError, match="there is no Python file"):
        touch_a_file()


def test_in_namespaces_of_a_user_it_is_done_here_as_that_user(
    children: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_users, "only_one", lambda: True)
    done: list[bool] = []
    assert unprivileged.checked(lambda: done.append(True)) == 0
    assert unprivileged.checked(lambda: done.append(True), only_files=True) == 0
    with pytest.raises(InputError):
        unprivileged.checked(fail)
    assert (children, done) == ([], [True])
