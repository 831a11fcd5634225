"""gRPC channels that find a server which has come back at once, and what their failures mean."""

from __future__ import annotations

from typing import Any

import grpc

from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.store.port import StoreError

ANSWER_TIMEOUT = 2.0  # seconds; the store answers in a few ms or is not there
OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # A restarted process must be found at once, not after gRPC's usual back-off of up to 120 s.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.use_local_subchannel_pool", 1),
]


def aio_channel(address: str) -> grpc.aio.Channel:
    """A channel for an event loop."""
    return grpc.aio.insecure_channel(address, options=OPTIONS)


def thread_channel(address: str) -> grpc.Channel:
    """A channel for a thread."""
    return grpc.insecure_channel(address, options=OPTIONS)


def no_answer(address: str, error: Any) -> StoreError:
    """The store did not answer."""
    what = f"{error.code().name.lower().replace('_', ' ')}: {error.details()}"
    return StoreError(
        f"the store does not answer ({what})", where=address, next_step="look whether its process runs, and at its log"
    )
