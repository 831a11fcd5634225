"""Measures the phases of a start, and reports their progress for the progress bar."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

Phase = Literal["nodes", "links", "switches", "hosts", "control plane", "program", "ready"]
PHASES: tuple[Phase, ...] = ("nodes", "links", "switches", "hosts", "control plane", "program", "ready")


@dataclass(frozen=True, slots=True)
class PhaseEvent:
    """The progress of a phase.

    Attributes:
        phase: its name.
        done: parts that are done.
        total: number of all parts.
        seconds: since the phase began.
        note: what takes long now; empty: nothing.
    """

    phase: Phase
    done: int
    total: int
    seconds: float
    note: str = ""


Progress = Callable[[PhaseEvent], None]


class PhaseClock:
    """Measures phases. They may overlap, so their seconds do not add up to the total.

    Attributes:
        seconds: of each phase that is done.
        started: monotonic time at which the clock was made.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._last: PhaseEvent | None = None
        self.seconds: dict[str, float] = {}
        self.started = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name: Phase, total: int) -> Iterator[Callable[[], None]]:
        """Measure a phase of `total` parts; call the yielded function after each part, from any thread."""
        begin = time.monotonic()
        done = 0

        def step() -> None:
            nonlocal done
            with self._lock:
                done += 1
                self._report(PhaseEvent(name, done, total, time.monotonic() - begin))

        with self._lock:
            self._report(PhaseEvent(name, 0, total, 0.0))
        yield step
        seconds = time.monotonic() - begin
        with self._lock:
            self.seconds[name] = round(seconds, 3)
            self._report(PhaseEvent(name, total, total, seconds))

    def note(self, text: str) -> None:
        """Report what takes long in the phase of the last event; it is shown with the seconds that it takes."""
        with self._lock:
            if self._last is not None:
                self._report(replace(self._last, note=text))

    def total(self) -> float:
        """Seconds since the clock was made."""
        return time.monotonic() - self.started

    def _report(self, event: PhaseEvent) -> None:
        self._last = event
        if self._progress is not None:
            self._progress(event)
