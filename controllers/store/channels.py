"""gRPC channels that reconnect at once to a restarted server, and the error for a server that does not answer."""

from __future__ import annotations

from typing import Any

import grpc

from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.store.port import StoreError

ANSWER_TIMEOUT = 2.0  # seconds; a store that is up answers in a few ms
OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # Reconnect at once to a restarted process, not after gRPC's usual back-off of up to 120 s.
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
    """The error for a store that did not answer."""
    what = f"{error.code().name.lower().replace('_', ' ')}: {error.details()}"
    return StoreError(
        f"the store does not answer ({what})", where=address, next_step="check that its process runs, and read its log"
    )
