"""Python's collector of cyclic garbage, spared what a full update makes.

Intent and flows are many objects without cycles that stay for long; each round of the collector
would look at all of them, for nothing.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """No collection inside; what is there at the end is looked at never again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
