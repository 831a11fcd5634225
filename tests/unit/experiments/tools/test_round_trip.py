"""Round trips over TCP: figures of known samples, and both ends of the tool over the loopback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics import percentile
from experiments.tools import round_trip, round_trip_tool, tcp_congestion_control, tool_pair
from experiments.tools.round_trip import RoundTripResult, RoundTripSpec
from hoverboard.contract.errors import InputError
from tests.unit.experiments.tools.no_namespace import HERE, installed

LOCAL = "127.0.0.1"


def test_figures_of_known_round_trips() -> None:
    found = round_trip_tool.summary([1000 * number for number in range(1000, 0, -1)], 2.0)
    assert found == pytest.approx({
        "transactions": 1000, "seconds": 2.0, "per_second": 500.0, "mean_us": 500.5, "min_us": 1.0,
        "p50_us": 500.5, "p90_us": 900.1, "p99_us": 990.01, "p999_us": 999.001, "max_us": 1000.0,
    })  # fmt: skip
    assert asdict(RoundTripResult.parse(found)) == found


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200))
def test_percentiles_are_those_of_the_experiments_and_in_order(nanoseconds: list[int]) -> None:
    found = round_trip_tool.summary(nanoseconds, 1.0)
    for name, share in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)):
        assert found[name] * 1e3 == pytest.approx(percentile(nanoseconds, share))
    order = [found[name] for name in ("min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
    assert order == pytest.approx(sorted(order))
    assert found["min_us"] <= found["mean_us"] * (1 + 1e-12)


@pytest.mark.parametrize(("samples", "seconds"), [([], 1.0), ([1], 0.0)])
def test_no_round_trip_is_no_figure(samples: list[int], seconds: float) -> None:
    with pytest.raises(ValueError, match="no transaction"):
        round_trip_tool.summary(samples, seconds)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"size": 0}, {"omit": -0.1}, {"seconds": -1}])
def test_impossible_measurements_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        RoundTripSpec(**wrong)  # type: ignore[arg-type]


def test_a_run_counts_as_hung_ten_seconds_after_its_time() -> None:
    assert RoundTripSpec(seconds=0.5, omit=0, size=1).limit == 10.5
    assert RoundTripSpec(seconds=2, omit=0.25).limit == 12.25


class Server(threading.Thread):
    """The tool's serving end in a thread; `port` as it prints it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
        super().__init__(daemon=True)
        self.size = size
        self._ready = threading.Event()
        self._line = ""
        monkeypatch.setattr(round_trip_tool, "print", self._print, raising=False)
        self.start()
        assert self._ready.wait(20)

    def _print(self, text: str, **_: Any) -> None:
        self._line = text
        self._ready.set()

    @property
    def port(self) -> int:
        return int(json.loads(self._line)["port"])

    def run(self) -> None:
        round_trip_tool.serve(LOCAL, self.size)


@pytest.mark.parametrize("size", [1, 300_000])
def test_a_message_comes_back_whole(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    server = Server(monkeypatch, size)
    with socket.create_connection((LOCAL, server.port), timeout=20) as client:
        for _ in range(2):
            client.sendall(bytes(size))
            left = size
            while left:
                left -= len(client.recv(left))
    server.join(20)
    assert not server.is_alive()


def test_round_trips_are_counted_in_the_second_span_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that goes on by a microsecond at each look: a transaction takes one look, and 1 us.
    server = Server(monkeypatch, 1)
    clock = iter(range(10**15, 10**15 + 10**9, 1000))
    monkeypatch.setattr(round_trip_tool, "time", SimpleNamespace(perf_counter_ns=lambda: next(clock)))
    found = round_trip_tool.measure(LOCAL, server.port, 50e-6, 7e-6, 1)
    server.join(20)
    assert (found["transactions"], found["seconds"]) == (50, pytest.approx(50e-6))
    assert (found["min_us"], found["max_us"], found["per_second"]) == (1.0, 1.0, pytest.approx(1e6))


def test_a_peer_that_goes_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOCAL, 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConnectionError):
            round_trip_tool.measure(LOCAL, listener.getsockname()[1], 20, 0, 1)
        thread.join(20)


def test_connections_do_not_delay_and_have_the_congestion_control_that_is_asked_for() -> None:
    with socket.socket() as made:
        available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
        round_trip_tool._prepare(made, "reno" if "reno" in available else available[0])
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        name = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
        assert name == ("reno" if "reno" in available else available[0])
        seconds = made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
        assert int.from_bytes(seconds[:8], sys.byteorder) == 5


class Called:
    """What the tool's `main` called, and what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *words: str, raises: Exception | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []

        def call(name: str) -> Any:
            def called(*given: Any) -> dict[str, int]:
                self.calls.append((name, *given))
                if raises is not None:
                    raise raises
                return {"found": 1}

            return called

        for name in ("serve", "measure"):
            monkeypatch.setattr(round_trip_tool, name, call(name))
        monkeypatch.setattr(round_trip_tool.signal, "alarm", lambda seconds: self.calls.append(("alarm", seconds)))
        monkeypatch.setattr(round_trip_tool.gc, "disable", lambda: self.calls.append(("gc",)))
        monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: self.calls.append(("cpu", pid, cpus)))
        monkeypatch.setattr(sys, "argv", ["tool", *words])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.code = round_trip_tool.main()
        self.printed = json.loads(out.getvalue() or "null")


def test_the_command_line_of_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = Called(monkeypatch, "serve", "--address", LOCAL, "--size", "7", "--congestion", "cubic", "--cpu", "0")
    assert serving.calls == [("alarm", 60), ("gc",), ("cpu", 0, {0}), ("serve", LOCAL, 7, "cubic")]
    assert (serving.code, serving.printed) == (0, None)
    words = ("--port", "4711", "--seconds", "0.5", "--omit", "0.25", "--limit", "9")
    measuring = Called(monkeypatch, "measure", "--address", LOCAL, *words)
    assert measuring.calls == [("alarm", 9), ("gc",), ("measure", LOCAL, 4711, 0.5, 0.25, 1, "")]
    assert (measuring.code, measuring.printed) == (0, {"found": 1})


@pytest.mark.parametrize(
    ("error", "words"),
    [(BlockingIOError(), "no answer for 5 s"), (OSError("unreachable"), "unreachable"), (ValueError("none"), "none")],
)
def test_a_tool_that_fails_prints_why(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    found = Called(monkeypatch, "measure", "--address", LOCAL, "--port", "1", raises=error)
    assert (found.code, found.printed) == (1, {"error": words})


def test_both_ends_measure_over_the_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives some congestion controls to the privileged only."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, tcp_congestion_control.control().encode())
        except PermissionError:
            pytest.skip("needs CAP_NET_ADMIN")
    installed(tmp_path / "bin", monkeypatch)
    spec = RoundTripSpec(seconds=0.02, omit=0.01)
    found = round_trip.measure(HERE, HERE, LOCAL, spec)
    assert found.transactions > 0
    assert 0 < found.min_us <= found.mean_us <= found.max_us


def test_each_end_is_asked_for_its_cpu_size_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    @contextlib.contextmanager
    def serving(place: object, argv: list[str]) -> Any:
        commands.append(argv[3:])
        yield type("Server", (), {"port": 4711})

    def run(place: object, argv: list[str], timeout: float) -> dict[str, float]:
        commands.append([*argv[3:], f"{timeout:g}"])
        return round_trip_tool.summary([1000], 1.0)

    monkeypatch.setattr(tool_pair, "serving", serving)
    monkeypatch.setattr(tool_pair, "run", run)
    monkeypatch.setattr(tcp_congestion_control, "control", lambda: "cubic")
    found = round_trip.measure(HERE, HERE, LOCAL, RoundTripSpec(seconds=0.5, omit=0.25, size=3, cpus=(0, 1)))
    assert found.transactions == 1
    common = ["--address", LOCAL, "--size", "3", "--limit", "12", "--congestion", "cubic"]
    assert commands == [
        ["serve", "--cpu", "1", *common],
        ["measure", "--port", "4711", "--seconds", "0.5", "--omit", "0.25", "--cpu", "0", *common, "10.75"],
    ]
    commands.clear()
    monkeypatch.setattr(tcp_congestion_control, "control", lambda: "")
    round_trip.measure(HERE, HERE, LOCAL, RoundTripSpec())
    assert not {"--cpu", "--congestion"} & {word for argv in commands for word in argv}
