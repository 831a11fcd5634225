"""Answers one request: from its line, a table of methods and the descriptors, to the line of the answer."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.rpc.channel import Channel
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.errors import error_to_json
from hoverboard.rpc.messages import MOST_ANSWER, Inbox, decode, encode
from hoverboard.rpc.parameters import checked

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TakesDescriptors:
    """A method whose first argument is the request's `Descriptors`.

    Descriptors that it does not take are closed when it returns.
    """

    call: Callable[..., Any]
    least: int = 1
    most: int = 1


@dataclass(frozen=True)
class WithDescriptors:
    """A result with descriptors: copies are sent, and the method keeps its own."""

    result: Any
    numbers: tuple[int, ...]


Methods = Mapping[str, Callable[..., Any] | TakesDescriptors]


@dataclass(frozen=True)
class Answer:
    """A line to send, and the descriptors to send with it. The sender closes them."""

    line: bytes
    descriptors: Descriptors


@dataclass(frozen=True)
class Answerer:
    """Answers requests, for a server.

    Attributes:
        where: the node that errors without a place are about; may be empty.
        log: the file that holds the traceback of an unexpected error.
    """

    where: str = ""
    log: str = "the log files of the run"

    def answer(self, methods: Methods, line: bytes, inbox: Inbox) -> Answer:
        """Call the method of a request, with its parameters as keywords; an error of any kind becomes the answer."""
        name = "request"
        try:
            message = decode(line)
            with inbox.take(message) as given:
                name, call = _bind(methods, message, given)
                return _answer(name, call())
        except HoverboardError as error:
            return self.error_answer(error)
        except OSError as error:
            _log.exception("%s failed", name)
            return self.error_answer(RunError(f"{name}: {error}"))
        except Exception as error:  # the server must survive every request
            _log.exception("%s failed", name)
            return self.error_answer(RunError(f"{name}: {error!r}", next_step=f"see {self.log}"))

    def error_answer(self, error: HoverboardError, *, last: bool = False) -> Answer:
        """The answer that reports an error; `last`: the server closes the connection after it."""
        document = error_to_json(error)
        document["where"] = document["where"] or self.where
        return Answer(encode({"error": document, "last": True} if last else {"error": document}), Descriptors())


def _bind(methods: Methods, message: dict[str, Any], given: Descriptors) -> tuple[str, Callable[[], Any]]:
    """The method that a message names, and a callable that calls it with the message's parameters."""
    name, params = message.get("method"), message.get("params", {})
    method = methods.get(name) if isinstance(name, str) else None
    if method is None:
        raise InputError(f"unknown method {name!r}", next_step=f"use one of: {', '.join(methods)}")
    if not isinstance(params, dict):
        raise InputError(f"{name}: its parameters are a {type(params).__name__}, not an object")
    wanted = (method.least, method.most) if isinstance(method, TakesDescriptors) else (0, 0)
    if not wanted[0] <= len(given) <= wanted[1]:
        raise InputError(f"{name}: takes {_range(*wanted)} descriptors, not {len(given)}")
    call, first = (method.call, [given]) if isinstance(method, TakesDescriptors) else (method, [])
    try:
        inspect.signature(call).bind(*first, **params)
    except TypeError as error:
        raise InputError(f"bad request: {name}: {error}") from error
    fitting = checked(str(name), call, params)
    return str(name), lambda: call(*first, **fitting)


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _answer(name: str, result: Any) -> Answer:
    numbers: tuple[int, ...] = ()
    if isinstance(result, WithDescriptors):
        result, numbers = result.result, result.numbers
    line = encode({"result": result, "fds": len(numbers)} if numbers else {"result": result})
    if len(line) > MOST_ANSWER:
        raise RunError(f"{name}: an answer of {len(line)} bytes, longer than {MOST_ANSWER}")
    riding = Descriptors()
    try:
        for number in numbers:
            riding.numbers.append(os.dup(number))
    except OSError:
        riding.close()
        raise
    return Answer(line, riding)


def answer_one(channel: Channel, methods: Methods, where: str = "") -> bool:
    """Wait for a request on a channel and answer it; False if the peer closes instead. OSError: the socket failed."""
    line = channel.receive_line()
    if line is None:
        return False
    answer = Answerer(where).answer(methods, line, channel.inbox)
    with answer.descriptors as given:
        channel.send_line(answer.line, given.numbers)
    return True
