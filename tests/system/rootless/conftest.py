"""Fixtures of the tests of ordinary users' runs. Each test has users of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard import mapped_users
from tests.ordinary_user import OrdinaryUser, make
from tests.system.rootless.user_shell import Shell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out where there is one user only."""
    here = Path(__file__).parent
    if os.geteuid() != 0 or not mapped_users.only_one():
        return
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="an ordinary user cannot become the other users of these tests"))


@pytest.fixture
def users() -> Iterator[Callable[..., OrdinaryUser]]:
    """Makes users: users(tun=0o600) -> one who cannot open the device. At the end nothing of them is left."""
    made: list[OrdinaryUser] = []

    def new(**options: object) -> OrdinaryUser:
        made.append(make(**options))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def user(users: Callable[..., OrdinaryUser]) -> OrdinaryUser:
    """A user of a machine where nothing is missing."""
    return users()


@pytest.fixture
def shell(user: OrdinaryUser) -> Iterator[Callable[[], Shell]]:
    """Opens shells of the user, each at a terminal of its own."""
    opened: list[Shell] = []

    def new() -> Shell:
        opened.append(Shell(user))
        return opened[-1]

    yield new
    for one in opened:
        one.close()
