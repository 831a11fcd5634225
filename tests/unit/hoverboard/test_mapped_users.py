"""Whose testbeds a process makes, by its user and the users that it sees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoverboard import mapped_users


@pytest.mark.parametrize(
    ("user", "only_one", "expected"),
    [(0, False, "root"), (0, True, "rootless"), (1000, False, "rootless"), (1000, True, "rootless")],
)
def test_root_of_namespaces_is_not_the_machine_s(
    user: int, only_one: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(mapped_users, "only_one", lambda: only_one)
    assert mapped_users.privileges() == expected


ALL, ONLY_ME, SOME = "0 0 4294967295\n", "   0  61234   1\n", "0 61234 1\n1 200000 65536\n"


@pytest.mark.parametrize(
    ("user", "uid_map", "outside", "only_one"),
    [(61234, ALL, 61234, False), (0, ONLY_ME, 61234, True), (1000, SOME, 200999, False), (7, ONLY_ME, 7, True)],
)
def test_a_map_tells_who_is_there_and_our_number_outside(
    user: int, uid_map: str, outside: int, only_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "uid_map").write_text(uid_map)
    monkeypatch.setattr(mapped_users, "_UID_MAP", file)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    found = mapped_users.outside_uid(), mapped_users.only_one(), mapped_users.some_are_missing()
    assert found == (outside, only_one, uid_map != ALL)


@pytest.mark.parametrize("uid_map", [None, "", "what is this\n"])
def test_without_a_map_all_users_are_there(
    uid_map: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "uid_map"
    if uid_map is not None:
        file.write_text(uid_map)
    monkeypatch.setattr(mapped_users, "_UID_MAP", file)
    assert (mapped_users.outside_uid(), mapped_users.some_are_missing()) == (os.geteuid(), False)
