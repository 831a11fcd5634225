"""The project's own measuring tools without their processes: command lines, figures, documents, bad input."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import packet_rate, packet_rate_tool, round_trip_tool, tool_pair
from experiments.packet_rate import PacketRateSpec
from experiments.round_trip import RoundTripResult, RoundTripSpec
from hoverboard.contract.errors import InputError, MeasurementError


def test_figures_of_known_round_trips() -> None:
    found = round_trip_tool.summary([1000 * number for number in range(1, 1001)], 2.0)
    assert found == {
        "transactions": 1000, "seconds": 2.0, "per_second": 500.0, "mean_us": 500.5, "min_us": 1.0,
        "p50_us": 500.0, "p90_us": 900.0, "p99_us": 990.0, "p999_us": 999.0, "max_us": 1000.0,
    }  # fmt: skip
    assert asdict(RoundTripResult.parse(found)) == found


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200))
def test_percentiles_are_samples_and_in_order(nanoseconds: list[int]) -> None:
    found = round_trip_tool.summary(nanoseconds, 1.0)
    order = [found[name] for name in ("min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
    assert order == sorted(order)
    assert {round(value * 1e3) for value in order} <= set(nanoseconds)
    assert found["min_us"] <= found["mean_us"] * (1 + 1e-12)


@pytest.mark.parametrize(("samples", "seconds"), [([], 1.0), ([1], 0.0)])
def test_no_round_trip_is_no_figure(samples: list[int], seconds: float) -> None:
    with pytest.raises(ValueError, match="no transaction"):
        round_trip_tool.summary(samples, seconds)


def test_a_64_byte_frame_has_18_bytes_of_payload() -> None:
    assert packet_rate.PAYLOAD_OF_64 == 18


def test_drops_are_those_of_the_socket() -> None:
    table = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
        "drops\n"
        "   12: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000 3\n"
        "   13: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000 99\n"
    )
    assert packet_rate_tool.dropped(table, 0x1F91) == 99
    assert packet_rate_tool.dropped(table, 1) == 0


def test_command_lines_leave_out_what_is_not_given() -> None:
    argv = tool_pair.command("round_trip_tool", "serve", address="10.0.0.2", cpu=None, limit=3)
    assert argv[1] == "-I"
    assert argv[2].endswith("experiments/round_trip_tool.py")
    assert argv[3:] == ["serve", "--address", "10.0.0.2", "--limit", "3"]


def test_documents_of_tools() -> None:
    assert tool_pair.parse('{"port": 1}\n{"delivered": 3}\n', "", 0, "vm1") == {"delivered": 3}


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "words"),
    [
        (json.dumps({"error": "no answer for 5 s"}), "", 1, "no answer for 5 s"),
        ("", "Traceback\n  boom", 1, "Traceback boom"),
        ("", "", -14, "code -14 and said: nothing"),
        ("[1]", "", 0, r"\[1\]"),
    ],
)
def test_a_tool_without_a_document_is_an_error_with_its_words(stdout: str, stderr: str, code: int, words: str) -> None:
    with pytest.raises(MeasurementError, match=words) as caught:
        tool_pair.parse(stdout, stderr, code, "vm1")
    assert caught.value.where == "vm1"


@pytest.mark.parametrize(
    "build",
    [
        lambda: RoundTripSpec(seconds=0),
        lambda: RoundTripSpec(size=0),
        lambda: RoundTripSpec(omit=-1),
        lambda: PacketRateSpec(seconds=0),
        lambda: PacketRateSpec(payload=0),
        lambda: PacketRateSpec(payload=9000),
        lambda: PacketRateSpec(flows=0),
        lambda: PacketRateSpec(rate_pps=0),
    ],
)
def test_impossible_measurements_are_refused(build: object) -> None:
    with pytest.raises(InputError):
        build()  # type: ignore[operator]
