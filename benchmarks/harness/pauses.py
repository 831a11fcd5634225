"""The pauses of a benchmark: the time of a measurement, or of quiet before it."""

from __future__ import annotations

import time


def pause(seconds: float) -> None:
    """Wait for a time that the measurement itself sets.

    For a condition, use `wait_for` of `topologies.processes.deadlines`: it has a deadline and a message.
    """
    time.sleep(seconds)
