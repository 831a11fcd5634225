"""The command that runs another one as a user of this machine."""

from __future__ import annotations

import pwd
from types import SimpleNamespace

import pytest

from hoverboard import mapped_users
from hoverboard.contract.errors import InputError
from topologies.namespaces.users import as_user

_STUDENT = SimpleNamespace(pw_name="student", pw_uid=1001, pw_gid=1002)


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the machine one user: `student`."""

    def by_name(name: str) -> object:
        if "\0" in name:
            raise ValueError(name)
        return {"student": _STUDENT}[name]

    monkeypatch.setattr(mapped_users, "only_one", lambda: False)
    monkeypatch.setattr(pwd, "getpwnam", by_name)
    monkeypatch.setattr(pwd, "getpwall", lambda: [_STUDENT])


def test_a_user_has_ids_groups_and_environment_of_a_login() -> None:
    assert as_user("student") == [
        "setpriv", "--reuid", "1001", "--regid", "1002", "--init-groups", "--inh-caps=-all", "--reset-env",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step"),
    [("studnet", "did you mean 'student'?"), ("x", "getent passwd"), ("a\0b", "getent passwd"), ("", "getent passwd")],
)
def test_an_unknown_user_is_told(name: str, step: str) -> None:
    with pytest.raises(InputError, match="has no user") as caught:
        as_user(name)
    assert step in caught.value.next_step
    assert caught.value.where == "--as"


@pytest.mark.parametrize("name", ["student", "x"])
def test_where_one_user_is_mapped_all_others_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_users, "only_one", lambda: True)
    with pytest.raises(InputError, match=f"only one user is mapped .* {name!r}") as caught:
        as_user(name)
    assert "leave --as out" in caught.value.next_step
