"""The links of a run that can have properties: the WAN, and the uplink of each node. They change while packets flow.

Each is a pair of devices in the fabric's namespace. The kernel shapes what they send, or the link element carries the
packets between them (`kernel_shaping.choose`). An uplink without properties needs no such pair: its device is a port of
the fabric itself.
"""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hoverboard.contract.errors import HoverboardError
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.host.link.link_client import LinkClient
from topologies.emulation import kernel_shaping, link_devices
from topologies.emulation.kernel_shaping import KernelShaping, Means
from topologies.emulation.link_devices import End
from topologies.emulation.links import Uplink
from topologies.emulation.wan import wan_ends
from topologies.spec.topology import Topology

if TYPE_CHECKING:
    from hoverboard.contract.links.link_documents import Link, Wan
    from hoverboard.host.link.link_client import ServedLink

WAN = "wan"  # name of the link between two regions; uplinks have the names of their nodes
_PLAIN = Means("plain")
_MOST_SEED = (1 << 30) - 1  # netem's is twice this, and one more, for the two directions: below 2**31
_log = logging.getLogger(__name__)


@dataclass
class EmulatedLink:
    """One link.

    Attributes:
        name: WAN, or the name of a node.
        near, far: its ends: of an uplink at the node and at the fabric.
        uplink: the uplink that it is a part of; None: it is the WAN.
        properties: as wanted.
        means: who makes them.
        missing: properties that are wanted and not there, with the reason.
        fds: descriptors of its taps, if the element makes it. We keep them for an element that restarts.
        there: its devices exist.
    """

    name: str
    near: End
    far: End
    uplink: Uplink | None = None
    properties: LinkProperties = LinkProperties()
    means: Means = _PLAIN
    missing: tuple[str, ...] = ()
    fds: tuple[int, int] | None = None
    there: bool = False

    @property
    def port_bridge(self) -> str:
        """The bridge between an uplink's own device and `near`."""
        return self.near.bridge


def seeded(name: str, properties: LinkProperties) -> LinkProperties:
    """The properties with a seed of this link alone: links of one seed do not all lose the same packets."""
    return replace(properties, seed=(zlib.crc32(name.encode()) ^ (properties.seed or 0)) & _MOST_SEED)


def uplink_ends(uplink: Uplink) -> tuple[End, End]:
    """The ends of the link that an uplink gets when it has properties."""
    word = uplink.port.removeprefix("to-")  # at most 12 characters
    return End(f"in-{word}", f"up-{word}"), End(f"on-{word}", uplink.bridge, (uplink.server.spec.underlay_ip,))


class EmulatedLinks:
    """The links of a run.

    Args:
        fabric_pid: a process in the fabric's namespace.
        topology: of the run, for the WAN.
    """

    def __init__(self, fabric_pid: int, topology: Topology) -> None:
        self._pid = fabric_pid
        self._regions = topology.regions
        self._links: dict[str, EmulatedLink] = {}
        self._client: LinkClient | None = None
        self._kernel: KernelShaping | None = None
        self._lock = threading.RLock()  # uplinks are made in parallel
        if topology.wan is not None:
            self._links[WAN] = EmulatedLink(WAN, *wan_ends(topology))
            self.set(WAN, topology.wan)

    def add(self, uplink: Uplink) -> None:
        """Add the uplink of a node, with the properties of the node."""
        name = uplink.server.name
        with self._lock:
            self._links[name] = EmulatedLink(name, *uplink_ends(uplink), uplink=uplink)
        if uplink.server.spec.uplink:
            self.set(name, uplink.server.spec.uplink)

    @property
    def need_element(self) -> bool:
        """Whether the element has to carry the packets of a link."""
        return any(link.fds is not None for link in self._links.values())

    def needs_element(self, properties: LinkProperties) -> bool:
        """Whether a link with these properties would need the element."""
        return bool(properties) and kernel_shaping.choose(properties, self._kernel_shaping()).kind == "element"

    def serve(self, client: LinkClient) -> None:
        """Let a link element that has started carry the packets of its links.

        Raises:
            RunError: it does not answer.
        """
        with self._lock:
            self._client = client
            for link in self._links.values():
                self._serve(link)

    def set(self, name: str, properties: LinkProperties) -> None:
        """Set the properties of a link. A change of the properties alone loses no packet.

        If another means makes them from now on, packets that are inside the link are lost.

        Raises:
            RunError: the element does not answer; it gets the properties when it restarts.
            MachineError: a device cannot be made.
        """
        with self._lock:
            link = self._links[name]
            means = kernel_shaping.choose(properties, self._kernel_shaping()) if properties else _PLAIN
            before, link.properties = link.means, properties
            link.means = means
            if link.there and means.kind == before.kind == "element":
                if self._client is not None:
                    self._client.change(name, seeded(name, properties))
                return
            if not link.there or "element" in (means.kind, before.kind):
                self._remove(link)
                self._make(link)
            elif before.kind == "kernel":
                for end in (link.near, link.far):
                    kernel_shaping.unshape(self._pid, end.device)
            self._shape(link)
            self._serve(link)

    def _kernel_shaping(self) -> KernelShaping:
        with self._lock:
            if self._kernel is None:
                self._kernel = kernel_shaping.probe(self._pid)
            return self._kernel

    def _make(self, link: EmulatedLink) -> None:
        """Make the devices of a link, and put an uplink behind them; nothing of an uplink without properties."""
        if link.uplink is not None and link.means.kind == "plain":
            return
        if link.uplink is not None:
            link_devices.make_bridge(self._pid, link.port_bridge)
        link.fds = link_devices.make_pair(self._pid, link.near, link.far, taps=link.means.kind == "element")
        link.there = True
        if link.uplink is not None:
            link_devices.move(self._pid, link.uplink.port, link.port_bridge)

    def _remove(self, link: EmulatedLink) -> None:
        if not link.there:
            return
        if link.uplink is not None:
            link_devices.move(self._pid, link.uplink.port, link.far.bridge, link.far.nodes)
        self._close(link)
        link_devices.remove_pair(self._pid, link.near, link.far)
        link.there = False

    def _shape(self, link: EmulatedLink) -> None:
        missing: dict[str, None] = {}
        if link.means.kind == "kernel":
            for number, end in enumerate((link.near, link.far)):
                given = seeded(link.name, link.properties).seed
                seed = None if link.properties.seed is None or given is None else 2 * given + number
                missing |= dict.fromkeys(kernel_shaping.shape(self._pid, end.device, link.properties, seed))
        link.missing = tuple(missing)

    def _serve(self, link: EmulatedLink) -> None:
        if link.fds is not None and self._client is not None:
            self._client.serve(link.name, *link.fds, seeded(link.name, link.properties))

    def _close(self, link: EmulatedLink) -> None:
        """Close our descriptors of a link; the element stops to serve it."""
        if link.fds is None:
            return
        if self._client is not None:
            try:
                self._client.end(link.name)
            except HoverboardError as error:
                _log.info("the link element does not end link %s, and forgets it at its end: %s", link.name, error)
        fds, link.fds = link.fds, None  # first: a signal between the two would close other files of these numbers
        for fd in fds:
            os.close(fd)

    def close(self) -> None:
        """Close our descriptors; the devices end with their namespace."""
        with self._lock:
            self._client = None
            for link in self._links.values():
                self._close(link)

    # -- status -----------------------------------------------------------------------------------

    def served(self) -> Mapping[str, ServedLink]:
        """The links that the element serves; empty if there is none, or it does not answer."""
        if self._client is None:
            return {}
        try:
            return self._client.links()
        except HoverboardError:
            return {}

    def uplink(self, name: str, served: Mapping[str, ServedLink]) -> Link | None:
        """The uplink of a node as a document; None: it has no properties."""
        link = self._links.get(name)
        return None if link is None or not link.properties else _document(link, served.get(name))

    def wan(self, served: Mapping[str, ServedLink]) -> Wan | None:
        """The WAN link as a document; None: there is no WAN."""
        link = self._links.get(WAN)
        return None if link is None else {"regions": list(self._regions), **_document(link, served.get(WAN))}


def _document(link: EmulatedLink, served: ServedLink | None) -> Link:
    properties, missing = link.properties, list(link.missing)
    found: Link = {
        "delay_s": properties.delay, "jitter_s": properties.jitter, "loss": properties.loss,
        "reorder": properties.reorder, "duplicate": properties.duplicate, "rate_bps": properties.rate,
        "seed": properties.seed, "by": list(link.means.by), "missing": missing,
    }  # fmt: skip
    if link.means.kind == "element":
        found["why"] = link.means.why
        if served is None:
            missing.append("all packets: the link element does not serve this link now")
        else:
            found["out"], found["back"] = served["out"], served["back"]
    return found
