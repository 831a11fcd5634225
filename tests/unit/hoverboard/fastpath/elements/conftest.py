"""One host for all element tests; each finds it empty."""

from __future__ import annotations

import pytest

from hoverboard.testing.memory_host import MemoryHost


@pytest.fixture(scope="session")
def one_host():
    host = MemoryHost()
    yield host
    host.close()


@pytest.fixture
def host(one_host):
    one_host.reset()
    return one_host
