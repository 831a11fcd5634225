"""The one way to measure a round trip over TCP: TCP_RR style, bounded, reaped by pid.

A request of a byte, a response of a byte, no pause between them, for so many seconds. Nothing here
knows what a VM is: it runs between two network namespaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from experiments.tools import tcp_congestion_control, tool_pair
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import InputError

_TOOL = "round_trip_tool"
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RoundTripSpec:
    """What to measure.

    Attributes:
        seconds: how long transactions are counted.
        omit: seconds before that, which are not (connecting, flow misses).
        size: bytes of a request, and of its response.
        cpus: the CPU the client may run on, and the server's; None: wherever the kernel puts them.
    """

    seconds: float = 2.0
    omit: float = 0.2
    size: int = 1
    cpus: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.omit < 0 or self.size < 1:
            raise InputError(
                f"no round trips of {self.size} bytes for {self.seconds:g} s after {self.omit:g} s",
                where="seconds",
                next_step="give a time above 0 and a size of 1 or more",
            )

    @property
    def limit(self) -> float:
        """Seconds after which a run counts as hung."""
        return self.omit + self.seconds + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class RoundTripResult:
    """Round trips in microseconds, percentiles by nearest rank.

    Attributes:
        transactions: how many were counted.
        seconds: the time they took.
    """

    transactions: int
    seconds: float
    per_second: float
    mean_us: float
    min_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float

    @classmethod
    def parse(cls, document: dict[str, Any]) -> RoundTripResult:
        """From the document that the tool prints."""
        numbers = {name: float(document[name]) for name in cls.__slots__ if name != "transactions"}
        return cls(transactions=int(document["transactions"]), **numbers)


def measure(client: ToolPlace, server: ToolPlace, address: str, spec: RoundTripSpec) -> RoundTripResult:
    """One measurement from `client` to `server` at `address`.

    Raises:
        MeasurementError: an end does not start, fails or hangs; with its own words.
    """
    here, there = spec.cpus if spec.cpus is not None else (None, None)
    common = {
        "address": address,
        "size": spec.size,
        "limit": math.ceil(spec.limit) + 1,
        "congestion": tcp_congestion_control.control() or None,
    }
    with tool_pair.serving(server, tool_pair.command(_TOOL, "serve", cpu=there, **common)) as serving:
        argv = tool_pair.command(
            _TOOL, "measure", port=serving.port, seconds=spec.seconds, omit=spec.omit, cpu=here, **common
        )
        return RoundTripResult.parse(tool_pair.run(client, argv, spec.limit))
