"""Client of the link element, for the layers above: hoverboard.rpc over a Unix socket."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict, cast

from hoverboard.rpc.client import Client

if TYPE_CHECKING:
    from hoverboard.contract.links.link_documents import LinkCounters
    from hoverboard.contract.links.link_properties import LinkProperties


class ServedLink(TypedDict):
    """A link as the element sees it: the counters of its two directions, and CPU seconds of its thread."""

    out: LinkCounters
    back: LinkCounters
    cpu_seconds: float


class LinkClient(Client):
    """The client of the process that serves the links of a run; several threads may use it."""

    peer = "the link element"

    def serve(self, name: str, near: int, far: int, properties: LinkProperties) -> None:
        """Serve a link from now on.

        Args:
            name: of the link; a link of this name that is served already ends.
            near: descriptor of a tap with virtio-net headers; the element gets a copy, as of `far`.
            far: descriptor of the tap at the other end.
            properties: of both directions.
        """
        self.call("serve", fds=(near, far), name=name, properties=asdict(properties))

    def change(self, name: str, properties: LinkProperties) -> None:
        """Change the properties of a link while packets flow; InputError: it is not served."""
        self.call("change", name=name, properties=asdict(properties))

    def end(self, name: str) -> None:
        """Stop serving a link; harmless when it is not served."""
        self.call("end", name=name)

    def links(self, timeout: float = 2.0) -> dict[str, ServedLink]:
        """The links that are served, by name."""
        return cast("dict[str, ServedLink]", self.call("links", timeout=timeout))
