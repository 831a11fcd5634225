"""What iperf3 -J prints, as a typed result. Pure: text in, `IperfResult` out, no processes.

Rates are what the receiver got, not what the sender wrote into its socket buffer. The raw JSON is
kept beside the figures, so that nothing has to be measured twice.
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
        sent_bps: bit/s of payload handed to the sending sockets.
        seconds: duration as the receiver saw it.
        retransmits: TCP segments sent again; None for UDP or when the sender's kernel does not tell.
        lost_percent, jitter_ms: UDP only.
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
    """Read the document of one run.

    Raises:
        MeasurementError: the text is no JSON, reports an error of iperf3's, or holds no result.
    """
    try:
        document = json.loads(text)
    except ValueError:
        shown = " ".join(text.split())[:200] or "nothing"
        raise MeasurementError(
            f"iperf3 printed no JSON but: {shown}", next_step="run it by hand: `hoverboard exec NODE -- iperf3 ...`"
        ) from None
    if not isinstance(document, dict) or document.get("error"):
        words = document.get("error") if isinstance(document, dict) else "an unexpected document"
        raise MeasurementError(f"iperf3 says: {words}", next_step="check that the two VMs can ping each other")
    try:
        return _result(document)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(
            f"iperf3's document has no result ({type(error).__name__}: {error})",
            next_step="it ended before the first interval; measure for longer",
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
