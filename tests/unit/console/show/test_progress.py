"""Progress where stderr is no terminal: a line for each phase, and one now and then for what takes long."""

from __future__ import annotations

import pytest

from console.show import progress
from console.show.progress import PhaseProgress
from topologies.processes.phases import PhaseEvent


def test_a_note_is_printed_at_once_and_then_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with PhaseProgress() as shown:
        for second in range(45):
            now[0] = 1000.0 + second
            shown(PhaseEvent("hosts", 0, 3, second, f"compiling, {second} s so far"))
        shown(PhaseEvent("hosts", 3, 3, 45.0))
    assert capsys.readouterr().err.splitlines() == [
        "compiling, 0 s so far", "compiling, 20 s so far", "compiling, 40 s so far", "         hosts 3/3 45.00 s",
        "            up in 44.00 s",
    ]  # fmt: skip
