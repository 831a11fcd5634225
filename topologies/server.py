"""Serves a run on its holder.sock: what the command line and other programs can ask of a testbed.

One JSON object a line each way, a thread for each connection; the socket is root's alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoverboard.contract.errors import HoverboardError, InputError
from hoverboard.host.client import receive_line
from topologies import schema, status
from topologies.rpc import error_to_json
from topologies.status import addresses

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import AddedVM, Applied
    from topologies.testbed import Testbed

_log = logging.getLogger(__name__)


class HolderServer:
    """Serves one testbed on its run's holder.sock, a thread for each connection."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.shutdown_asked = threading.Event()
        self._listener: socket.socket | None = None
        self.methods: dict[str, Callable[..., Any]] = {
            "ping": lambda: {"pid": os.getpid(), "state": testbed.state},
            "status": lambda: status.status(testbed),
            "node_status": lambda node: status.node_status(testbed, node),
            "flows": lambda node: status.flows(testbed, node),
            "offloads": testbed.offloads,
            "pid_of": testbed.pid_of,
            "add_vm": self._add_vm,
            "remove_vm": testbed.remove_vm,
            "set_model": testbed.set_model,
            "apply": self._apply,
            "shutdown": self._shutdown,
        }

    def start(self) -> None:
        """Listen; the run's directory has to be there."""
        path = str(self.testbed.directory.socket)
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
            if method not in self.methods:
                raise InputError(f"unknown method {method!r}", where=str(self.testbed.directory.socket))
            return {"result": self.methods[method](**request)}
        except (HoverboardError, OSError) as error:
            return {"error": error_to_json(error)}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.exception("request failed")
            return {"error": error_to_json(InputError(f"bad request: {error}"))}

    def _add_vm(self, network: str, name: str | None = None, host: str | None = None) -> AddedVM:
        vm = self.testbed.add_vm(network, name, host)
        return {"name": vm.name, "network": vm.network, **addresses(vm), "host": vm.host, "mac": vm.mac}

    def _apply(self, text: str, source: str, name: str, base: str, dry_run: bool) -> Applied:
        given: schema.Given = {"text": text, "source": source, "name": name, "base": Path(base)}
        return self.testbed.apply(given, dry_run=dry_run)

    def _shutdown(self) -> bool:
        """The holder's main thread does the work; the caller waits for the run's lock."""
        self.shutdown_asked.set()
        threading.Thread(target=self.testbed.down, name="shutdown").start()
        return True
