"""Measures round trips over TCP between two network namespaces, as netperf's TCP_RR does.

The client sends a request of one byte, the server answers with one byte, and so on without a pause,
for a number of seconds. All processes have a time limit and are reaped by pid.
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
    """The settings of a measurement.

    Attributes:
        seconds: the time in which transactions are counted.
        omit: seconds before it that do not count (connecting, flow misses).
        size: bytes of a request and of a response.
        cpus: the CPU of the client and the CPU of the server; None: the kernel chooses.
    """

    seconds: float = 2.0
    omit: float = 0.2
    size: int = 1
    cpus: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.omit < 0 or self.size < 1:
            raise InputError(
                f"cannot measure round trips of {self.size} bytes for {self.seconds:g} s after {self.omit:g} s",
                where="seconds",
                next_step="give a time above 0 and a size of 1 or more",
            )

    @property
    def limit(self) -> float:
        """The seconds after which a run counts as hung."""
        return self.omit + self.seconds + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class RoundTripResult:
    """Round trips in microseconds, with percentiles as in `experiments.statistics`.

    Attributes:
        transactions: the number of counted transactions.
        seconds: the time that they took.
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
        """Read the document that the tool prints."""
        numbers = {name: float(document[name]) for name in cls.__slots__ if name != "transactions"}
        return cls(transactions=int(document["transactions"]), **numbers)


def measure(client: ToolPlace, server: ToolPlace, address: str, spec: RoundTripSpec) -> RoundTripResult:
    """Measure once from `client` to `server` at `address`.

    Raises:
        MeasurementError: one end does not start, fails or hangs. The error has its message.
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
