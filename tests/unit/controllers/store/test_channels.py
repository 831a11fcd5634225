"""Channels to the store look for a server that comes back every quarter of a second at least."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.store import channels


@pytest.mark.parametrize(("module", "make"), [(grpc.aio, channels.aio_channel), (grpc, channels.thread_channel)])
def test_a_channel_finds_a_restarted_server_at_once(monkeypatch: pytest.MonkeyPatch, module: Any, make: Any) -> None:
    made: list[tuple[str, dict[str, int]]] = []
    monkeypatch.setattr(module, "insecure_channel", lambda address, options: made.append((address, dict(options))))
    make("unix:/run/store.sock")
    assert made == [
        (
            "unix:/run/store.sock",
            {
                "grpc.max_send_message_length": MAX_MESSAGE,
                "grpc.max_receive_message_length": MAX_MESSAGE,
                # Milliseconds; gRPC's own are a second to two minutes.
                "grpc.initial_reconnect_backoff_ms": 50,
                "grpc.min_reconnect_backoff_ms": 50,
                "grpc.max_reconnect_backoff_ms": 250,
                # A flag: a channel that is made again does not share the old one's pause.
                "grpc.use_local_subchannel_pool": 1,
            },
        )
    ]


def test_a_store_that_does_not_answer_is_given_up_before_an_election_is_late() -> None:
    assert channels.ANSWER_TIMEOUT == 2.0
    error = SimpleNamespace(code=lambda: grpc.StatusCode.DEADLINE_EXCEEDED, details=lambda: "late")
    found = channels.no_answer("unix:/run/store.sock", error)
    assert found.what == "the store does not answer (deadline exceeded: late)"
    assert (found.where, found.next_step) == (
        "unix:/run/store.sock", "check that its process runs, and read its log",
    )  # fmt: skip
