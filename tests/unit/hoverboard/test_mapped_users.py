"""Whose testbeds a process makes, by its user and the users that it sees."""

from __future__ import annotations

import os

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
