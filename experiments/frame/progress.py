"""How what takes minutes tells how far it is: experiments, the demo, benchmarks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called at each step, in the thread that measures."""

    def __call__(self, doing: str, share: float, /) -> None:
        """`doing`: what is being done, in a few words; `share` of the whole that is done, 0 to 1."""
