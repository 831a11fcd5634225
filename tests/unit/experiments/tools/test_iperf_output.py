"""iperf3's own output as typed results: recorded runs, and documents of other versions of it made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import iperf_output
from experiments.tools.iperf_output import Interval
from hoverboard.contract.errors import MeasurementError

DATA = Path(__file__).parent / "data"


def read(name: str) -> iperf_output.IperfResult:
    return iperf_output.parse((DATA / name).read_text())


def document(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / name).read_text()))


def test_one_tcp_stream() -> None:
    result = read("tcp-1.json")
    assert (result.protocol, result.streams, result.reverse) == ("tcp", 1, False)
    assert result.bps == pytest.approx(12.954e9, rel=1e-3)
    assert result.seconds == pytest.approx(2.0, abs=0.01)
    assert result.retransmits == 12
    assert (result.lost_percent, result.jitter_ms) == (None, None)
    assert result.raw == document("tcp-1.json")


def test_each_figure_comes_from_its_place() -> None:
    said = document("tcp-1.json")
    end = said["end"]
    end["sum_received"] |= {"bits_per_second": 11.0, "seconds": 12.0}
    end["sum_sent"] |= {"bits_per_second": 13.0, "seconds": 14.0, "retransmits": 15}
    end["cpu_utilization_percent"] = {"host_total": 16.0, "remote_total": 17.0}
    said["intervals"] = [
        {"sum": {"start": 0.0, "end": 1.0, "bits_per_second": 1.0, "omitted": True}},
        {"sum": {"start": 0.0, "end": 0.5, "bits_per_second": 2.0, "omitted": False}},
        {"sum": {"start": 0.5, "end": 1.5, "bits_per_second": 3.0}},
    ]
    result = iperf_output.parse(json.dumps(said))
    assert (result.bps, result.seconds, result.sent_bps, result.retransmits) == (11.0, 12.0, 13.0, 15)
    assert (result.cpu_client, result.cpu_server) == (16.0, 17.0)
    assert result.intervals == (Interval(0.0, 0.5, 2.0), Interval(0.5, 1.5, 3.0))


def test_tcp_whose_sender_does_not_tell_what_it_sent_again() -> None:
    said = document("tcp-1.json")
    del said["end"]["sum_sent"]["retransmits"]
    result = iperf_output.parse(json.dumps(said))
    assert result.retransmits is None
    assert result.bps == pytest.approx(12.954e9, rel=1e-3)


def test_four_reverse_streams() -> None:
    result = read("tcp-4-reverse.json")
    assert (result.streams, result.reverse) == (4, True)
    assert result.bps > 1e9


def test_lost_datagrams_are_no_throughput() -> None:
    result = read("udp-lossy.json")
    assert result.protocol == "udp"
    assert result.retransmits is None
    assert result.lost_percent == pytest.approx(0.258, abs=0.001)
    assert result.bps < result.sent_bps
    assert result.jitter_ms == pytest.approx(document("udp-lossy.json")["end"]["sum"]["jitter_ms"])


def test_a_udp_document_of_before_3_8_has_one_sum_only() -> None:
    said = document("udp-lossy.json")
    for name in ("sum_sent", "sum_received"):
        said["end"].pop(name, None)
    said["end"]["sum"] |= {"bits_per_second": 5.0, "seconds": 6.0, "lost_percent": 7.0, "jitter_ms": 8.0}
    said["start"]["test_start"]["protocol"] = "udp"
    result = iperf_output.parse(json.dumps(said))
    assert (result.protocol, result.bps, result.sent_bps, result.seconds) == ("udp", 5.0, 5.0, 6.0)
    assert (result.lost_percent, result.jitter_ms, result.retransmits) == (7.0, 8.0, None)


def test_an_error_of_iperf3_keeps_its_words() -> None:
    with pytest.raises(MeasurementError, match="iperf3 reports: .*unable to connect to server: Connection refused"):
        read("refused.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "JSON but: nothing"),
        (f"iperf3: error -\n boom{'x' * 300}", f"JSON but: iperf3: error - boom{'x' * 180}\n"),
        ("[]", "iperf3 reports: an unexpected document"),
        ('{"start": {}, "intervals": [], "end": {}}', r"no result \(KeyError: 'test_start'\)"),
        ('{"start": null}', r"no result \(TypeError"),
    ],
)
def test_what_is_no_result_is_an_error(text: str, words: str) -> None:
    with pytest.raises(MeasurementError, match=words) as caught:
        iperf_output.parse(text)
    assert caught.value.next_step
