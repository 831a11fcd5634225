"""Pauses Python's collector of cyclic garbage during large requests.

Intent and flows are many long-lived objects without cycles. Each collection would visit all of them in vain, and would
stop the process for some 50 ms.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_inside = 0


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Collect no garbage inside, in any task; objects that exist at the end are never visited again.

    Cycles that are garbage by then are never freed. Use it for requests that are few, and far larger than this loss.
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
