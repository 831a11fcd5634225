"""Progress on stderr: bars on a terminal, one line per step elsewhere. stdout is for results."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from console.plain_text import plain, unfiltered

if TYPE_CHECKING:
    from topologies.processes.phases import PhaseEvent

_NOTE_INTERVAL = 20.0  # seconds


def print_progress(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def _bars(*columns: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(file=unfiltered(sys.stderr)), transient=False)


class PhaseProgress:
    """The phases of a start: a bar per phase with its count and seconds, or a line when the phase ends."""

    def __init__(self) -> None:
        self._tty = unfiltered(sys.stderr).isatty()
        self._lock = threading.Lock()
        self._tasks: dict[str, Any] = {}
        self._printed: set[str] = set()
        self._next_note = 0.0
        self._started = time.monotonic()
        self._progress: Any = None

    def __enter__(self) -> Self:
        if self._tty:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

            self._progress = _bars(
                TextColumn("{task.description:>14}"), BarColumn(30), MofNCompleteColumn(),
                TextColumn("{task.fields[seconds]:.2f} s"), TextColumn("{task.fields[note]}"),
            )  # fmt: skip
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        if kind is None:
            print(f"{'up':>14} in {time.monotonic() - self._started:.2f} s", file=sys.stderr)

    def __call__(self, event: PhaseEvent) -> None:
        """Show one event. Any thread may call it."""
        with self._lock:
            if self._progress is not None:
                if event.phase not in self._tasks:
                    self._tasks[event.phase] = self._progress.add_task(
                        event.phase, total=event.total, seconds=0.0, note=""
                    )
                self._progress.update(
                    self._tasks[event.phase], completed=event.done, seconds=event.seconds, note=event.note
                )
            elif event.note:
                self._print_note(event.note)
            elif event.done == event.total and event.phase not in self._printed:
                self._printed.add(event.phase)
                print(f"{event.phase:>14} {event.done}/{event.total} {event.seconds:.2f} s", file=sys.stderr)

    def _print_note(self, note: str) -> None:
        """Print the first note, and then one now and then: a terminal shows them all in place."""
        now = time.monotonic()
        if now >= self._next_note:
            self._next_note = now + _NOTE_INTERVAL
            print(note, file=sys.stderr, flush=True)


class StepProgress:
    """One bar over named steps of different lengths."""

    def __init__(self) -> None:
        self._tty = unfiltered(sys.stderr).isatty()
        self._progress: Any = None
        self._task: Any = None
        self._last_step = ""
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._tty:
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._progress = _bars(
                SpinnerColumn(), BarColumn(30), TimeElapsedColumn(), TextColumn("{task.description}")
            )
            self._progress.start()
            self._task = self._progress.add_task("", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            if kind is None:
                self._progress.update(self._task, completed=1.0, description="done")
            self._progress.stop()

    def __call__(self, step: str, share: float) -> None:
        """Show the running step, and the share of the whole that is done (0 to 1)."""
        if self._progress is not None:
            self._progress.update(self._task, completed=share, description=plain(step))
            return
        name = step.partition(",")[0] if ": starting" in step else step
        if name != self._last_step:
            self._last_step = name
            print(f"[{time.monotonic() - self._started:5.1f} s] {name}", file=sys.stderr)
