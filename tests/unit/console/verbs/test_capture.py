"""The last line of `hoverboard capture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.verbs.capture import summary_line


@pytest.mark.parametrize(
    ("lost", "file", "line"),
    [
        (0, None, "3 packets"),
        (0, Path("h1.pcapng"), "3 packets in h1.pcapng"),
        (2, Path("h1.pcapng"), "3 packets in h1.pcapng; 2 lost: the ring was full"),
    ],
)
def test_losses_and_their_reason_are_shown_only_if_there_are_any(lost: int, file: Path | None, line: str) -> None:
    assert summary_line({"packets": 3, "lost": lost}, file) == line
