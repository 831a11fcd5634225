"""The collector of garbage, while requests that overlap pause it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from controllers.gc_pause import gc_paused


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    assert gc.isenabled()
    gc.unfreeze()
    yield
    gc.enable()
    gc.unfreeze()


def test_it_is_on_again_when_the_last_is_done() -> None:
    one, other = gc_paused(), gc_paused()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert (gc.isenabled(), gc.get_freeze_count()) == (False, 0)
    other.__exit__(None, None, None)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0  # what is there now is looked at never again


def test_it_is_on_again_after_a_fault() -> None:
    with pytest.raises(ZeroDivisionError), gc_paused():
        _ = 1 / gc.isenabled()
    assert gc.isenabled()
    with gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
