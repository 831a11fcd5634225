"""The client of a server of ours; several threads may use one. Imports nothing heavy: every command pays for it."""

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
    """An answer that came.

    Attributes:
        last: the connection ends with it.
    """

    message: dict[str, Any]
    descriptors: Descriptors
    last: bool

    def get(self) -> tuple[Any, Descriptors]:
        """The result, and the descriptors that came with it; raises the error that it is instead."""
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
    """Send a request on a channel, with copies of some descriptors, and wait for its answer.

    Raises:
        RunError: there is none; names the `peer`. The channel is of no use then.
    """
    unsent = None
    try:
        try:
            channel.send({"method": method, "params": params}, fds, deadline)
        except ConnectionError as error:
            unsent = error  # but the peer may have said why it reads no more
        got = channel.receive(deadline)
    except OSError as error:
        raise RunError(f"{method}: no answer ({unsent or error})", where=where) from error
    except InputError as error:
        raise RunError(f"{method}: {peer} answered what is no answer: {error}", where=where) from error
    if got is None:
        raise RunError(f"{method}: {peer} closed the connection", where=where)
    answer, given = got
    if not {"result", "error"} & answer.keys():
        given.close()
        raise RunError(f"{method}: {peer} answered neither a result nor an error", where=where)
    return Reply(answer, given, bool(unsent or answer.get("last")))


class Client:
    """A connection to a server, made when it is first needed. One request at a time: threads wait for each other.

    An exchange that does not end as it should ends the connection, so that a late answer is nobody's; the next
    request makes another one.
    """

    peer = "the peer"  # as its errors call the other end

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
        """Wait until the socket accepts; RunError after `timeout` seconds."""
        with self._exclusive("connect", timeout):
            if self._channel is None:
                self._channel = Channel.connect(self.path, timeout)

    def close(self) -> None:
        """Close the connection; harmless when there is none. Whoever waits for an answer waits no more."""
        channel = self._channel
        if channel is not None:
            channel.interrupt()
        with self._exchange:
            self._drop()

    def call(self, method: str, /, *, fds: Sequence[int] = (), timeout: float = TIMEOUT, **params: Any) -> Any:
        """Send one request, with copies of descriptors `fds`, and return its result.

        Args:
            timeout: seconds for all of it.

        Raises:
            HoverboardError: what the peer reports, in its own kind; RunError if the peer is gone or silent.
        """
        result, given = self.call_for_descriptors(method, fds=fds, timeout=timeout, **params)
        given.close()
        return result

    def call_for_descriptors(
        self, method: str, /, *, fds: Sequence[int] = (), timeout: float = TIMEOUT, **params: Any
    ) -> tuple[Any, Descriptors]:
        """As call(), and the descriptors that came with the answer: for the caller to close."""
        deadline = Deadline(timeout)
        with self._exclusive(method, timeout):
            if self._channel is None:
                self._channel = Channel.connect(self.path, deadline.left())
            try:
                answer = exchange(
                    self._channel, method, params, fds=fds, deadline=deadline, peer=self.peer, where=self.path
                )
            except BaseException:
                self._drop()  # its answer may still come
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
