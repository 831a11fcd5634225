"""`iperf`: what iperf3 prints becomes what Mininet prints, and what cannot be measured is refused."""

from __future__ import annotations

import json

import pytest

from hoverboard.contract.errors import InputError, MeasurementError
from hoverboard.contract.node_documents import WiredNode
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs import listing, throughput
from topologies.mininet_verbs.throughput import Throughput

TCP = {"end": {"sum_sent": {"bits_per_second": 9.42e9}, "sum_received": {"bits_per_second": 9.41e9}}}
UDP = {
    "end": {
        "sum": {"bits_per_second": 1e7, "lost_percent": 0.5}, "sum_sent": {"bits_per_second": 1e7},
        "sum_received": {"bits_per_second": 9.95e6},
    }
}  # fmt: skip
OLD_UDP = {"end": {"sum": {"bits_per_second": 1e7, "lost_percent": 0.5}}}


def vms(*names: str) -> list[WiredNode]:
    return [listing.node(WIRING, name) for name in names]


@pytest.mark.parametrize(
    ("document", "found"),
    [(TCP, Throughput(9.41e9, 9.42e9)), (UDP, Throughput(9.95e6, 1e7, 0.5)), (OLD_UDP, Throughput(1e7, 1e7, 0.5))],
)
def test_figures_of_a_document(document: object, found: Throughput) -> None:
    assert throughput.parse(json.dumps(document)) == found


@pytest.mark.parametrize(
    ("output", "errors", "message"),
    [
        ('{"error": "unable to connect"}', "", "a: iperf3 reports: unable to connect"),
        ("", "no such file", "printed no figures but: no such file"),
        ("{}", "", "printed no figures but: {}"),
        ("[]", "", "printed no figures"),
        ("", "", "printed no figures but: nothing"),
    ],
)
def test_output_without_figures(output: str, errors: str, message: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        throughput.parse(output, errors, where="a")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("bps", "unit", "text"),
    [(9.414e9, None, "9.41 Gbits/sec"), (1e7, None, "10 Mbits/sec"), (2500.0, None, "2.5 Kbits/sec"),
     (12.0, None, "12 bits/sec"), (1e9, "m", "1e+03 Mbits/sec"), (8e6, "M", "1 MBytes/sec")],
)  # fmt: skip
def test_a_rate_as_iperf_prints_it(bps: float, unit: str | None, text: str) -> None:
    assert throughput.rate(bps, unit) == text


def test_a_report_is_what_mininet_prints_and_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: Throughput(9.95e6, 1e7, 0.5))
    written: list[str] = []
    found = throughput.report(vms("blue-1", "blue-2"), written.append, udp_rate="10M")
    assert found == ["10M", "9.95 Mbits/sec", "10 Mbits/sec"]
    assert written == [
        "*** Iperf: testing UDP bandwidth between blue-1 and blue-2\n",
        "*** Results: ['10M', '9.95 Mbits/sec', '10 Mbits/sec'], 0.5% lost\n",
    ]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("blue-1",), {}, "between two VMs, not 1"),
        (("blue-1", "blue-1"), {}, "iperf needs two VMs"),
        (("blue-1", "red-1"), {}, "no packet crosses virtual networks"),
        (("blue-1", "hv1"), {}, "hv1 is no VM"),
        (("blue-1", "blue-2"), {"udp_rate": "fast"}, "'fast' is no rate"),
        (("blue-1", "blue-2"), {"unit": "x"}, "'x' is no unit"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    names: tuple[str, ...], options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput.subprocess, "Popen", lambda *_, **__: pytest.fail("nothing may start"))
    with pytest.raises(InputError) as caught:
        throughput.report(vms(*names), lambda _: None, **options)  # type: ignore[arg-type]
    assert message in str(caught.value)
