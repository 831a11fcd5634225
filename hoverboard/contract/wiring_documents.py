"""The nodes of a run and the links between them, as the holder sends them to the prompt and to programs.

Mininet's verbs (`nodes`, `net`, `links`, `pingall` and others) need no more than this. The types have no code.
"""

from __future__ import annotations

from typing import Literal, NotRequired

# pydantic cannot read typing's own TypedDict before Python 3.12.
from typing_extensions import TypedDict

NodeKind = Literal["vm", "host", "hoverboard", "fabric"]


class WiredNode(TypedDict):
    """A node; `pid` keeps its namespaces.

    `ip` of a VM is its address in its network, that of a host or a Hoverboard is its underlay address. `network`,
    `gateway`, `mac`, `host` and `ip6`: VMs only. `directory` of its switch and its host process, `dataplane`, and
    `controller` of an external program: hosts and Hoverboards only.
    """

    name: str
    kind: NodeKind
    pid: int
    ip: NotRequired[str]
    ip6: NotRequired[str]
    network: NotRequired[str]
    gateway: NotRequired[str]
    mac: NotRequired[str]
    host: NotRequired[str]
    dataplane: NotRequired[str]
    directory: NotRequired[str]
    controller: NotRequired[str]


class LinkEnd(TypedDict):
    """One end of a link; `device`: whether a network device has this name, or a process holds the end."""

    node: str
    name: str
    device: bool


class WiredLink(TypedDict):
    """A link between two nodes: a VM and its host, or a node and the fabric."""

    one: LinkEnd
    other: LinkEnd


class Wiring(TypedDict):
    """The nodes and links of a run."""

    run: str
    nodes: list[WiredNode]
    links: list[WiredLink]
