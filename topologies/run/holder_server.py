"""Serves a run on its holder.sock, which is root's alone: what the command line and other programs can ask of it."""

from __future__ import annotations

from pathlib import Path

from hoverboard.rpc.answering import Methods
from hoverboard.rpc.server import Server


class HolderServer:
    """Serves a table of callables, each request in a thread of its own: one that takes long holds up no other.

    Args:
        path: of the socket.
        methods: by name.
    """

    def __init__(self, path: Path, methods: Methods) -> None:
        self._path = path
        self._methods = methods
        self._server: Server | None = None

    def start(self) -> None:
        """Listen; the run's directory has to be there."""
        self._server = Server(self._path, self._methods, threads=True, log="holder.log")
        self._server.start("holder")

    def stop(self) -> None:
        """Take no more connections; a request that is being carried out still gets its answer."""
        if self._server is not None:
            self._server.close()
            self._server = None
