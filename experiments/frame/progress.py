"""The callback by which long jobs (experiments, the demo, benchmarks) show their progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that shows progress. The thread that measures calls it at each step."""

    def __call__(self, doing: str, share: float, /) -> None:
        """Show the current step in a few words (`doing`), and the `share` of the whole that is done, 0 to 1."""
