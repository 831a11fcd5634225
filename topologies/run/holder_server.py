"""Serves requests for a run on its holder.sock, for the command line and other programs; only root can open it."""

from __future__ import annotations

from pathlib import Path

from hoverboard.rpc.answering import Methods
from hoverboard.rpc.server import Server


class HolderServer:
    """Serves a table of callables. Each request has its own thread, so that a long one delays no other.

    Args:
        path: of the Unix socket.
        methods: the callables by name.
    """

    def __init__(self, path: Path, methods: Methods) -> None:
        self._path = path
        self._methods = methods
        self._server: Server | None = None

    def start(self) -> None:
        """Start to listen; the run's directory must exist."""
        self._server = Server(self._path, self._methods, threads=True, log="holder.log")
        self._server.start("holder")

    def stop(self) -> None:
        """Accept no more connections; requests that are under way still get their answers."""
        if self._server is not None:
            self._server.close()
            self._server = None
