"""The process that serves the emulated links of a run: a thread for each link (`hoverboard.fastpath.link`).

One process for all: a process per link takes 6 to 9 MiB more for each, and as much CPU time
(`benchmarks.link_element`). The run restarts it when it dies, and keeps the taps: packets wait in them meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoverboard.contract.errors import InputError
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.link_thread import LinkThread
from hoverboard.host.generations.taps import check_tap
from hoverboard.rpc.answering import Methods, TakesDescriptors
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import Server, serve_until_sigterm


class LinkProcess:
    """The links of a run by name, and the methods that `LinkClient` calls."""

    def __init__(self) -> None:
        self._links: dict[str, LinkThread] = {}
        self.methods: Methods = {
            "serve": TakesDescriptors(self._serve, 2, 2),
            "change": self._change,
            "end": self._end,
            "links": self._served,
        }

    def _serve(self, fds: Descriptors, name: str, properties: LinkProperties) -> None:
        for fd in fds.numbers:
            check_tap(f"link {name}", fd)
        self._end(name)
        near, far = fds.take()
        link = LinkThread(near, far)
        link.set_properties(properties)
        self._links[name] = link
        link.start()

    def _change(self, name: str, properties: LinkProperties) -> None:
        if name not in self._links:
            raise InputError(f"link {name!r} is not served", next_step="serve it first")
        self._links[name].set_properties(properties)

    def _end(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            link.close()

    def _served(self) -> dict[str, Any]:
        found = {}
        for name, link in self._links.items():
            out, back = link.counters()
            found[name] = {"out": out, "back": back, "cpu_seconds": link.cpu_seconds()}
        return found

    def close(self) -> None:
        """Stop serving all links."""
        for name in list(self._links):
            self._end(name)


def serve(path: Path) -> None:
    """Serve links on a Unix socket until SIGTERM."""
    links = LinkProcess()
    server = Server(path, links.methods, log="links.log")
    serve_until_sigterm(server)
    links.close()
