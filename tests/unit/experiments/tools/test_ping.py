"""ping's own output, recorded from real runs, as typed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.tools import ping, ping_output, tool_processes
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.tools.no_namespace import HERE

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


def test_a_ping_has_its_time_and_ten_seconds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, list[str], float]] = []

    def run(place: object, argv: list[str], *, timeout: float) -> tool_processes.Outcome:
        asked.append((place, argv, timeout))
        return tool_processes.Outcome(0, (DATA / "ping-ok.txt").read_text(), "")

    monkeypatch.setattr(tool_processes, "run", run)
    assert ping.measure(HERE, "10.0.0.3", count=20, interval=0.25, wait=2.0, size=16).received == 5
    assert asked == [(HERE, ping.arguments("10.0.0.3", 20, 0.25, 2.0, 16), 17.0)]
    ping.measure(HERE, "10.0.0.3")
    assert asked[1][1:] == (["ping", "-n", "-c", "5", "-i", "0.05", "-W", "1", "-s", "56", "10.0.0.3"], 11.25)


def test_what_ping_says_on_stderr_only_is_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tool_processes, "run", lambda *_, **__: tool_processes.Outcome(2, "", "ping: unknown host\n" + "x" * 300)
    )
    with pytest.raises(MeasurementError, match=f"ping reports: ping: unknown host {'x' * 181}\n"):
        ping.measure(HERE, "10.0.0.3")
    monkeypatch.setattr(tool_processes, "run", lambda *_, **__: tool_processes.Outcome(2, "", ""))
    with pytest.raises(MeasurementError, match="ping reports: nothing"):
        ping.measure(HERE, "10.0.0.3")


def test_answers_that_came_twice_are_no_samples_and_some_may_be_lost() -> None:
    text = (
        "64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=1.00 ms\n"
        "64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=9.00 ms (DUP!)\n"
        "64 bytes from 10.0.0.3: icmp_seq=3 ttl=64 time=2.50 ms\n\n"
        "4 packets transmitted, 2 received, +1 duplicates, 50% packet loss, time 5ms\n"
        "rtt min/avg/max/mdev = 1.000/1.750/2.500/0.750 ms\n"
    )
    result = ping_output.parse(text)
    assert (result.samples, result.loss_percent, result.text) == ((1.0, 2.5), 50.0, text)
    assert result.median_ms == 1.75
    nothing = ping_output.parse("0 packets transmitted, 0 received\n")
    assert (nothing.loss_percent, nothing.median_ms) == (100.0, None)


def test_command_line() -> None:
    line = ping.arguments("10.0.0.3", 3, 0.005, 1, 16)
    assert line == ["ping", "-n", "-c", "3", "-i", "0.005", "-W", "1", "-s", "16", "10.0.0.3"]
