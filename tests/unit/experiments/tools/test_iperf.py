"""iperf3's command lines, its samples, its sockets, and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.tools import listening_ports, tcp_congestion_control
from experiments.tools.iperf import IperfSample, IperfSpec
from hoverboard.contract.errors import InputError


def test_command_line() -> None:
    spec = IperfSpec(seconds=2, streams=16, reverse=True, udp=True, rate_bps=1e6, omit=1, length=1400)
    line = " ".join(spec.client_arguments("10.0.0.3", 5203))
    assert line.startswith("iperf3 -4 -J -c 10.0.0.3 -p 5203 -t 2 -P 16")
    for part in ("-R", "-u", "-b 1000000", "-O 1", "-l 1400"):
        assert part in line


def test_every_measurement_names_its_congestion_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_congestion_control, "control", lambda: "cubic")
    assert " -C cubic" in " ".join(IperfSpec().client_arguments("10.0.0.3", 5203))
    assert " -C reno" in " ".join(IperfSpec(congestion="reno").client_arguments("10.0.0.3", 5203))
    assert "-C" not in IperfSpec(congestion="").client_arguments("10.0.0.3", 5203)
    assert "-C" not in IperfSpec(udp=True, rate_bps=1e6).client_arguments("10.0.0.3", 5203)


def test_a_kernel_without_cubic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "available").write_text("reno bbr\n")
    (tmp_path / "default").write_text("bbr\n")
    monkeypatch.setattr(tcp_congestion_control, "_DEFAULT", tmp_path / "default")
    for available, wanted in (("available", "bbr"), ("nothing", "")):
        monkeypatch.setattr(tcp_congestion_control, "_AVAILABLE", tmp_path / available)
        tcp_congestion_control.control.cache_clear()
        assert tcp_congestion_control.control() == wanted
    tcp_congestion_control.control.cache_clear()


def test_a_failed_sample_is_recorded() -> None:
    record = IperfSample(IperfSpec(), "blue-1", "blue-2", None, "it hung").record()
    assert record == {"client": "blue-1", "server": "blue-2", "error": "it hung", "iperf3": None}


def test_listening_sockets() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
        "   1: 0100007F:1451 0100007F:8F2A 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n"
    )
    assert listening_ports.parse_listening(table) == {5201: 4711}


def test_first_free_port() -> None:
    assert listening_ports.first_free({5201, 5202, 5204}, 5201) == 5203


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": 0.5}, {"omit": 0.5}, {"udp": True}, {"streams": 129}])
def test_what_iperf3_would_take_for_something_else(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        IperfSpec(**wrong)  # type: ignore[arg-type]
