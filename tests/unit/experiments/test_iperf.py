"""iperf3's own output, recorded from real runs, as typed results; command lines; sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import congestion, iperf_output, sockets
from experiments.iperf import IperfSample, IperfSpec
from hoverboard.contract.errors import InputError, MeasurementError

DATA = Path(__file__).parent / "data"


def read(name: str) -> iperf_output.IperfResult:
    return iperf_output.parse((DATA / name).read_text())


def test_one_tcp_stream() -> None:
    result = read("tcp-1.json")
    assert (result.protocol, result.streams, result.reverse) == ("tcp", 1, False)
    assert result.bps == pytest.approx(12.954e9, rel=1e-3)
    assert result.seconds == pytest.approx(2.0, abs=0.01)
    assert result.retransmits == 12
    assert result.lost_percent is None
    assert result.cpu_client == pytest.approx(96.3, abs=0.1)
    assert len(result.intervals) == 4
    assert result.intervals[0].end == pytest.approx(0.5, abs=0.01)


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
    assert result.jitter_ms is not None


def test_an_error_of_iperf3_keeps_its_words() -> None:
    with pytest.raises(MeasurementError, match="unable to connect to server: Connection refused"):
        read("refused.json")


@pytest.mark.parametrize("text", ["", "iperf3: error - boom", "[]", '{"start": {}, "intervals": [], "end": {}}'])
def test_what_is_no_result_is_an_error(text: str) -> None:
    with pytest.raises(MeasurementError):
        iperf_output.parse(text)


def test_command_line() -> None:
    spec = IperfSpec(seconds=2, streams=16, reverse=True, udp=True, rate_bps=1e6, omit=1, length=1400)
    line = " ".join(spec.client_arguments("10.0.0.3", 5203))
    assert line.startswith("iperf3 -4 -J -c 10.0.0.3 -p 5203 -t 2 -P 16")
    for part in ("-R", "-u", "-b 1000000", "-O 1", "-l 1400"):
        assert part in line


def test_every_measurement_names_its_congestion_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(congestion, "control", lambda: "cubic")
    assert " -C cubic" in " ".join(IperfSpec().client_arguments("10.0.0.3", 5203))
    assert " -C reno" in " ".join(IperfSpec(congestion="reno").client_arguments("10.0.0.3", 5203))
    assert "-C" not in IperfSpec(congestion="").client_arguments("10.0.0.3", 5203)
    assert "-C" not in IperfSpec(udp=True, rate_bps=1e6).client_arguments("10.0.0.3", 5203)


def test_a_kernel_without_cubic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "available").write_text("reno bbr\n")
    (tmp_path / "default").write_text("bbr\n")
    monkeypatch.setattr(congestion, "_DEFAULT", tmp_path / "default")
    for available, wanted in (("available", "bbr"), ("nothing", "")):
        monkeypatch.setattr(congestion, "_AVAILABLE", tmp_path / available)
        congestion.control.cache_clear()
        assert congestion.control() == wanted
    congestion.control.cache_clear()


def test_a_failed_sample_is_recorded() -> None:
    record = IperfSample(IperfSpec(), "blue-1", "blue-2", None, "it hung").record()
    assert record == {"client": "blue-1", "server": "blue-2", "error": "it hung", "iperf3": None}


def test_listening_sockets() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
        "   1: 0100007F:1451 0100007F:8F2A 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n"
    )
    assert sockets.parse_listening(table) == {5201: 4711}


def test_first_free_port() -> None:
    assert sockets.first_free({5201, 5202, 5204}, 5201) == 5203


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": 0.5}, {"omit": 0.5}, {"udp": True}, {"streams": 129}])
def test_what_iperf3_would_take_for_something_else(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        IperfSpec(**wrong)  # type: ignore[arg-type]
