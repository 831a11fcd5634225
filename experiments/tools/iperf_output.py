"""Reads the output of `iperf3 -J` into a typed result. Pure: text in, `IperfResult` out, no processes.

Rates are those of the receiver, not those of the sender's socket buffer. The result keeps the raw JSON,
so that no measurement has to be repeated for another figure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from hoverboard.contract.errors import MeasurementError


@dataclass(frozen=True, slots=True)
class Interval:
    """One reporting interval of the client: seconds since its start, and bit/s over all streams."""

    start: float
    end: float
    bps: float


@dataclass(frozen=True, slots=True)
class IperfResult:
    """One iperf3 run.

    Attributes:
        bps: bit/s of payload that arrived, all streams together.
        sent_bps: bit/s of payload written to the sending sockets.
        seconds: duration at the receiver.
        retransmits: retransmitted TCP segments. None: UDP, or the sender's kernel does not count them.
        lost_percent: of datagrams; None: TCP.
        jitter_ms: None: TCP.
        cpu_client, cpu_server: percent of one core used by the client and server processes.
        intervals: the client's periodic figures.
        raw: iperf3's own JSON document.
    """

    protocol: Literal["tcp", "udp"]
    streams: int
    reverse: bool
    bps: float
    sent_bps: float
    seconds: float
    retransmits: int | None
    lost_percent: float | None
    jitter_ms: float | None
    cpu_client: float
    cpu_server: float
    intervals: tuple[Interval, ...]
    raw: dict[str, Any]


def parse(text: str) -> IperfResult:
    """Read the document of one iperf3 run.

    Raises:
        MeasurementError: the text is not JSON, reports an error of iperf3, or has no result.
    """
    try:
        document = json.loads(text)
    except ValueError:
        shown = " ".join(text.split())[:200] or "nothing"
        raise MeasurementError(
            f"iperf3 did not print JSON but: {shown}", next_step="run it by hand: `hoverboard exec NODE -- iperf3 ...`"
        ) from None
    if not isinstance(document, dict) or document.get("error"):
        words = document.get("error") if isinstance(document, dict) else "an unexpected document"
        raise MeasurementError(f"iperf3 reports: {words}", next_step="check that the two VMs can ping each other")
    try:
        return _result(document)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(
            f"iperf3's document has no result ({type(error).__name__}: {error})",
            next_step="measure for longer: it ended before the first interval",
        ) from None


def _result(document: dict[str, Any]) -> IperfResult:
    test, end = document["start"]["test_start"], document["end"]
    udp = test["protocol"].upper() == "UDP"
    # Since 3.8 a UDP document has sum_sent and sum_received too; before, only sum.
    received = end.get("sum_received") or end["sum"]
    sent = end.get("sum_sent") or end["sum"]
    cpu = end["cpu_utilization_percent"]
    loss = end["sum"] if udp else {}
    return IperfResult(
        protocol="udp" if udp else "tcp",
        streams=int(test["num_streams"]),
        reverse=bool(test["reverse"]),
        bps=float(received["bits_per_second"]),
        sent_bps=float(sent["bits_per_second"]),
        seconds=float(received["seconds"]),
        retransmits=None if udp or "retransmits" not in sent else int(sent["retransmits"]),
        lost_percent=float(loss["lost_percent"]) if udp else None,
        jitter_ms=float(loss["jitter_ms"]) if udp else None,
        cpu_client=float(cpu["host_total"]),
        cpu_server=float(cpu["remote_total"]),
        intervals=tuple(
            Interval(float(item["sum"]["start"]), float(item["sum"]["end"]), float(item["sum"]["bits_per_second"]))
            for item in document["intervals"]
            if not item["sum"].get("omitted")
        ),
        raw=document,
    )
