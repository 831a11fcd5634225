"""Helpers for tests of stages and the fast path: engines over ports in memory, a stage's context, packets, a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "MemoryHost": "hoverboard.testing.memory_host",
    "context": "hoverboard.testing.stages",
    "packet": "hoverboard.testing.stages",
    "Clock": "hoverboard.testing.stages",
}

if TYPE_CHECKING:
    from hoverboard.testing.memory_host import MemoryHost as MemoryHost
    from hoverboard.testing.stages import Clock as Clock
    from hoverboard.testing.stages import context as context
    from hoverboard.testing.stages import packet as packet
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC)
