"""ping's own output, recorded from real runs, as typed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import ping, ping_output
from hoverboard.contract.errors import MeasurementError

DATA = Path(__file__).parent / "data"


def read(name: str) -> ping_output.PingResult:
    return ping_output.parse((DATA / name).read_text())


def test_all_answers() -> None:
    result = read("ping-ok.txt")
    assert (result.sent, result.received, result.loss_percent) == (5, 5, 0)
    assert (result.min_ms, result.avg_ms, result.max_ms, result.mdev_ms) == (0.043, 0.231, 0.918, 0.343)
    assert result.samples == (0.918, 0.099, 0.043, 0.050, 0.048)
    assert result.median_ms == 0.050


def test_quiet_output_has_no_samples() -> None:
    result = read("ping-quiet.txt")
    assert result.received == 200
    assert result.samples == ()


@pytest.mark.parametrize("name", ["ping-lost.txt", "ping-unreachable.txt"])
def test_no_answer_is_a_result(name: str) -> None:
    result = read(name)
    assert result.received == 0
    assert result.loss_percent == 100
    assert result.avg_ms is None


def test_ping_that_did_not_start_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="Network is unreachable"):
        read("ping-no-route.txt")


def test_command_line() -> None:
    line = ping.arguments("10.0.0.3", 3, 0.005, 1, 16)
    assert line == ["ping", "-n", "-c", "3", "-i", "0.005", "-W", "1", "-s", "16", "10.0.0.3"]
