"""The client of the fabric manager: the reason of a call that failed."""

from __future__ import annotations

import grpc
import pytest

from controllers.fm import fabric_client


@pytest.mark.parametrize(
    ("code", "details", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: F", "it is down, or restarts"),
        (grpc.StatusCode.CANCELLED, "", "it is down, or restarts"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "no answer after 2 s"),
        (grpc.StatusCode.UNKNOWN, "\nfirst\nsecond", "unknown: first"),
        (grpc.StatusCode.DATA_LOSS, "x" * 1_000, "data loss: " + "x" * 200),
        (grpc.StatusCode.UNKNOWN, "", "unknown"),
    ],
)
def test_the_reason_is_one_plain_line(code: grpc.StatusCode, details: str, reason: str) -> None:
    assert fabric_client._reason(code, details, 2.0) == reason
