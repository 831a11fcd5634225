"""Python's collector of cyclic garbage, gc_paused what large requests make.

Intent and flows are many objects without cycles that stay for long; each round of the collector would look at all of
them, for nothing, and keep everybody waiting for some 50 ms meanwhile.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_inside = 0


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """No collection inside, in this or any other task; what is there at the end is looked at never again.

    Cycles that are garbage by then stay for good: it is for requests that are few, and much larger than what is lost.
    """
    global _inside
    _inside += 1
    gc.disable()
    try:
        yield
    finally:
        _inside -= 1
        if not _inside:
            gc.freeze()
            gc.enable()
