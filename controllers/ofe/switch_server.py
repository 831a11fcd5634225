"""The OpenFlow socket of a front end: it accepts switches, holds their sessions, and ends silent ones.

All sessions share one event loop, without threads. The set of sessions is the only state (paper section 3.1: front ends
keep little state).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial
from pathlib import Path

from controllers.crash import critical_task
from controllers.ofe.openflow import serialize_flow_mod
from controllers.ofe.switch_interface import SwitchEvents
from controllers.ofe.switch_session import Session
from controllers.ofe.templates import FlowModEncoder
from hoverboard.contract.openflow.shares import WHOLE, Share

_log = logging.getLogger(__name__)

_CHECK_INTERVAL = 5.0  # seconds between two checks for silent switches


class FrontEnd:
    """Serves OpenFlow on the Unix socket `path` (created with mode 0600).

    Args:
        path: the socket; the socket of a dead process is replaced.
        events: receives the switches' events.
        share: the flows that are read, and may be deleted.
    """

    def __init__(self, path: Path, events: SwitchEvents, share: Share = WHOLE) -> None:
        self._path = path
        self._events = events
        self._share = share
        self._encoder = FlowModEncoder(partial(serialize_flow_mod, mask=share.mask), cookie=share.cookie)
        self._sessions: set[Session] = set()
        self._server: asyncio.Server | None = None
        self._checker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for switches."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await loop.create_unix_server(self._new_session, str(self._path))
        os.chmod(self._path, 0o600)
        self._checker = critical_task(self._check())

    async def stop(self) -> None:
        """End all sessions; the switches keep forwarding with their present flows."""
        if self._checker is not None:
            self._checker.cancel()
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _new_session(self) -> Session:
        session = Session(self._events, self._encoder, self._sessions.discard, self._share)
        self._sessions.add(session)
        return session

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            for session in list(self._sessions):
                session.check_alive(loop.time())
