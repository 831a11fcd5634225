"""The first and the last line of `hoverboard capture`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from console.verbs.capture import _pass_on, summary_line


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


def test_a_capture_without_engines_says_that_it_sees_no_drops_and_who_counts_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _pass_on(io.StringIO("listening on eth0, link-type EN10MB\n4 packets captured\n"), "h1")
    words = "drops are not seen here: `hoverboard status h1` counts them by rule"
    assert capsys.readouterr().err.splitlines() == [
        "listening on eth0, link-type EN10MB",
        f"capturing begins now on h1; {words}; Ctrl-C ends it",
        "4 packets captured",
    ]
