"""Runs ping inside a node: a number of requests, at an interval, with a hard time-out."""

from __future__ import annotations

from experiments.tools import ping_output, tool_processes
from experiments.tools.ping_output import PingResult
from experiments.tools.tool_processes import ToolPlace

_GRACE_SECONDS = 10.0
SMALL = 16  # the smallest payload with which ping measures times


def arguments(address: str, count: int, interval: float, wait: float, size: int) -> list[str]:
    """The command line. `interval`, and `wait` for the last reply, in seconds; `size` of the payload in bytes."""
    return ["ping", "-n", "-c", str(count), "-i", f"{interval:g}", "-W", f"{wait:g}", "-s", str(size), address]


def measure(
    source: ToolPlace,
    address: str,
    *,
    count: int = 5,
    interval: float = 0.05,
    wait: float = 1.0,
    size: int = 56,
) -> PingResult:
    """Ping `address` from `source`.

    Lost packets are a result, not an error.

    Raises:
        MeasurementError: ping does not start, or hangs.
    """
    limit = count * interval + wait + _GRACE_SECONDS
    # ping exits with 1 if no reply came. The experiment decides whether that is an error.
    outcome = tool_processes.run(source, arguments(address, count, interval, wait, size), timeout=limit)
    return ping_output.parse(outcome.stdout or outcome.stderr)
