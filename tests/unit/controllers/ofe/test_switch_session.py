"""A session and a switch that says what it should not: bytes in, no exception out."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast
from unittest.mock import Mock

import pytest

from controllers.ofe import openflow
from controllers.ofe.switch_session import Session
from controllers.ofe.templates import FlowModEncoder
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.flow import Flow

BAD_REQUEST = struct.pack("!HH", 1, 5)  # type, code


def error(xid: int) -> bytes:
    """OFPT_ERROR of OpenFlow 1.4 for the request with this number."""
    return struct.pack("!BBHI", 5, 1, 8 + len(BAD_REQUEST), xid) + BAD_REQUEST


def connected() -> Session:
    """A session on a connection that takes all that is written. Needs a running event loop."""
    made = Session(Mock(), FlowModEncoder(openflow.serialize_flow_mod), Mock())
    transport = Mock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    made.connection_made(cast("asyncio.Transport", transport))
    return made


async def rejected(before: Callable[[asyncio.Future[list[Flow]]], object], times: int) -> None:
    """Ask a switch for its flows; it rejects the request, some times. Gives what the request gives."""
    session = connected()
    dump = asyncio.ensure_future(session.dump())
    await asyncio.sleep(0)
    assert session._read is not None
    xid, _, answer = session._read
    before(answer)
    session.data_received(error(xid) * times)
    await dump


def test_a_request_for_flows_that_is_rejected_twice_fails_once() -> None:
    with pytest.raises(SwitchError, match="rejected the request for its flows"):
        asyncio.run(rejected(lambda answer: None, 2))


def test_a_rejection_that_comes_when_the_time_is_over_does_no_harm() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(rejected(asyncio.Future.cancel, 1))
