"""The collector of garbage, while requests that overlap are spared of it."""

from __future__ import annotations

import gc

from controllers.collector import spared


def test_it_is_on_again_when_the_last_is_done() -> None:
    one, other = spared(), spared()
    assert gc.isenabled()
    try:
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert not gc.isenabled()
        other.__exit__(None, None, None)
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
