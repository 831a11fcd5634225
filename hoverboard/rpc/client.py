"""Client of an rpc server; several threads may share one. Imports nothing heavy: every command loads it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hoverboard.contract.errors import InputError, RunError
from hoverboard.rpc.channel import Channel, Deadline
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.errors import error_from_json

TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Reply:
    """An answer from the peer.

    Attributes:
        last: the peer closes the connection after it.
    """

    message: dict[str, Any]
    descriptors: Descriptors
    last: bool

    def get(self) -> tuple[Any, Descriptors]:
        """Return the result and its descriptors, or raise the error that the answer reports."""
        if "error" in self.message:
            self.descriptors.close()
            raise error_from_json(self.message["error"])
        return self.message["result"], self.descriptors


def exchange(
    channel: Channel,
    method: str,
    params: Mapping[str, Any],
    *,
    fds: Sequence[int] = (),
    deadline: Deadline,
    peer: str = "the peer",
    where: str = "",
) -> Reply:
    """Send a request on a channel, with copies of descriptors, and wait for its answer.

    Raises:
        RunError: no answer comes; the error names the `peer`. The channel cannot be used any more.
    """
    unsent = None
    try:
        try:
            channel.send({"method": method, "params": params}, fds, deadline)
        except ConnectionError as error:
            unsent = error  # the peer may have sent the reason before it closed
        got = channel.receive(deadline)
    except OSError as error:
        raise RunError(f"{method}: no answer ({unsent or error})", where=where) from error
    except InputError as error:
        raise RunError(f"{method}: {peer} sent something that is not an answer: {error}", where=where) from error
    if got is None:
        raise RunError(f"{method}: {peer} closed the connection", where=where)
    answer, given = got
    if not {"result", "error"} & answer.keys():
        given.close()
        raise RunError(f"{method}: {peer} answered neither a result nor an error", where=where)
    return Reply(answer, given, bool(unsent or answer.get("last")))


class Client:
    """A connection to a server, opened at the first request. One request at a time: threads wait for each other.

    If an exchange fails, the connection is closed, so that a late answer cannot be taken for the next one. The next
    request opens a new connection.
    """

    peer = "the peer"  # how its errors name the other end

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._channel: Channel | None = None
        self._exchange = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, timeout: float) -> None:
        """Wait until the server accepts a connection; RunError after `timeout` seconds."""
        with self._exclusive("connect", timeout):
            if self._channel is None:
                self._channel = Channel.connect(self.path, timeout)

    def close(self) -> None:
        """Close the connection, if there is one. A thread that waits for an answer gets an error."""
        channel = self._channel
        if channel is not None:
            channel.interrupt()
        with self._exchange:
            self._drop()

    def call(self, method: str, /, *, fds: Sequence[int] = (), timeout: float = TIMEOUT, **params: Any) -> Any:
        """Send one request and return its result.

        Args:
            method: name of the method at the server.
            fds: descriptors of which the server gets copies.
            timeout: seconds for the whole exchange.
            **params: arguments of the method, as JSON values.

        Raises:
            HoverboardError: the error that the peer reports, in its class; RunError if the peer closes or is silent.
        """
        result, given = self.call_for_descriptors(method, fds=fds, timeout=timeout, **params)
        given.close()
        return result

    def call_for_descriptors(
        self, method: str, /, *, fds: Sequence[int] = (), timeout: float = TIMEOUT, **params: Any
    ) -> tuple[Any, Descriptors]:
        """Send one request as call() does; return its result and the answer's descriptors, which the caller closes."""
        deadline = Deadline(timeout)
        with self._exclusive(method, timeout):
            if self._channel is None:
                self._channel = Channel.connect(self.path, deadline.left())
            try:
                answer = exchange(
                    self._channel, method, params, fds=fds, deadline=deadline, peer=self.peer, where=self.path
                )
            except BaseException:
                self._drop()  # its answer may still arrive
                raise
            if answer.last:
                self._drop()
        return answer.get()

    @contextlib.contextmanager
    def _exclusive(self, method: str, timeout: float) -> Iterator[None]:
        if not self._exchange.acquire(timeout=timeout):
            raise RunError(f"{method}: no answer: the request before it has not ended", where=self.path)
        try:
            yield
        finally:
            self._exchange.release()

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
