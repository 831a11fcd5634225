"""Serves a run on its holder.sock: what the command line and other programs can ask of it.

One JSON object a line each way, a thread for each connection; the socket is root's alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import HoverboardError, InputError
from hoverboard.host.client import receive_line
from topologies.rpc import error_to_json

_log = logging.getLogger(__name__)


class HolderServer:
    """Serves requests on a Unix socket, a thread for each connection.

    Args:
        path: of the socket.
        methods: by name; each is called with the request's parameters, and gives what JSON can hold.
    """

    def __init__(self, path: Path, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._path = path
        self._methods = dict(methods)
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen; the run's directory has to be there."""
        path = str(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="holder", daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            # shutdown() wakes the accepting thread, close() alone would not.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="holder-request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        pending = bytearray()
        with connection, contextlib.suppress(ConnectionError, BrokenPipeError):
            while line := receive_line(connection, pending):
                connection.sendall(json.dumps(self.answer(line)).encode() + b"\n")

    def answer(self, line: bytes) -> dict[str, Any]:
        """The reply to one request: {"result": ..} or {"error": {..}}."""
        try:
            request = json.loads(line)
            method = request.pop("method")
            if method not in self._methods:
                raise InputError(f"unknown method {method!r}", where=str(self._path))
            return {"result": self._methods[method](**request)}
        except (HoverboardError, OSError) as error:
            return {"error": error_to_json(error)}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.exception("request failed")
            return {"error": error_to_json(InputError(f"bad request: {error}"))}
