"""JSON documents of the verbs that look into a node: status NODE, flows, latency, capture (see `documents`)."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from hoverboard.contract.documents import Addresses, Counters, DroppedBy
from hoverboard.contract.generations import Dataplane


class VPort(TypedDict):
    """A VM's port of a switch."""

    vm: str
    vport: str
    ofport: int


class Coprocessor(TypedDict):
    """A VM's coprocessor (docs/coprocessors.md)."""

    packets: int
    bytes: int
    given: int
    samples: int
    held: int
    drops: dict[str, int]
    errors: dict[str, int]
    cpu_seconds: float
    account: str
    stages: dict[str, dict[str, Any]]  # each stage has its own keys
    events: list[dict[str, Any]]
    samples_lost: int
    blocked: list[str]


class NodeVM(TypedDict):
    """A VM, as its host sees it."""

    fastpath_seconds: float | None
    vmm_seconds: float | None
    rate_bps: int | None
    coprocessor: Coprocessor | None
    guest_seconds: NotRequired[float | None]


class FlowKey(TypedDict):
    """A flow-table entry: packets to `dst` of network `vni`, `from` a VM or the tunnel, go `via` a host or a VM.

    `ports` has transport ports or the ICMP type, if the entry is for these alone: "1024 > 80", "type 8". `sender` is
    the VM that the packets come from, or the underlay address of a host. `more` has what else the entry is for: ECN
    bits, fragments, MACs. `cookie` is that of the flow that decided, in hexadecimal, if it is known.
    """

    vni: int | None
    src: str | None
    dst: str | None
    proto: int | None
    ports: str | None
    sender: str | None
    more: str | None
    cookie: str | None
    kind: str | None
    via: str | None


_From = TypedDict("_From", {"from": str})


class Flow(FlowKey, _From):
    """An entry without its counts."""


class Entry(Flow):
    """An entry with its counts; `now` is False for an earlier answer of the entry.

    `cause` says why a drop flow drops, in words; the run adds it.
    """

    now: bool
    cause: NotRequired[str]
    packets: int
    bytes: int


class BusyFlow(Flow):
    """One of the entries that carried most in the last second."""

    pps: float
    bps: float


class PortRate(TypedDict):
    """Rates in the last second; rx is what the engines received from the port."""

    rx_pps: float
    rx_bps: float
    tx_pps: float
    tx_bps: float


class Rates(TypedDict):
    """Packets that a node carried in the last second."""

    seconds: float
    ports: dict[str, PortRate]
    flows: list[BusyFlow]


class Checkpoint(TypedDict):
    """The checkpoint of a host process: records written, and whether an earlier one was used."""

    written: NotRequired[int]
    failure: NotRequired[str | None]
    resumed: bool
    refused: str | None
    settled: bool


class HostStatus(TypedDict):
    """Status of the host process of a VM host or Hoverboard."""

    node: str
    role: Literal["host", "hoverboard"]
    dataplane: str
    datapath_type: str
    pid: int
    control_plane: Literal["connected", "away"]
    vports: list[VPort]
    vms: dict[str, NodeVM]
    counters: Counters
    flow_table: dict[str, int]
    rates: Rates | None
    learning: dict[str, int]
    reports: dict[str, int]
    checkpoint: Checkpoint
    next_report_seconds: float


class ServerNode(HostStatus):
    """A VM host or Hoverboard that answers; `dropped_by` has `counters.drops_by_flow` in words."""

    state: Literal["up"]
    dropped_by: list[DroppedBy]


class SilentNode(TypedDict):
    """A VM host or Hoverboard that does not answer."""

    node: str
    role: Literal["host", "hoverboard"]
    dataplane: str
    datapath_type: str
    state: Literal["unreachable"]
    error: str


class VMNode(Addresses):
    """A VM."""

    node: str
    role: Literal["vm"]
    state: Literal["up"]
    network: str
    host: str
    mac: str
    gateway: str
    pid: int


class FabricNode(TypedDict):
    """The fabric."""

    node: str
    role: Literal["fabric"]
    state: Literal["up"]
    pid: int


Node = ServerNode | SilentNode | VMNode | FabricNode


class Flows(TypedDict):
    """`hoverboard flows NODE`: flows of the switch, and entries of the dataplane's flow table.

    `purposes` has the cookie of each line of `openflow` in words. `openflow_counts` says whether n_packets in these
    lines counts the packets: where engines carry them, only `entries` do.
    """

    node: str
    openflow: list[str]
    purposes: list[str]
    openflow_counts: bool
    entries: list[Entry]


Histogram = list[tuple[int, int]]  # (least nanoseconds of a bucket, packets)
EngineLatency = TypedDict(
    "EngineLatency",
    {
        "samples": int, "p50_us": NotRequired[float], "p90_us": NotRequired[float], "p99_us": NotRequired[float],
        "p99.9_us": NotRequired[float], "histogram": NotRequired[Histogram],
    },
)  # fmt: skip


class EngineLatencies(TypedDict):
    """Latencies of both engines of a host."""

    egress: EngineLatency
    ingress: EngineLatency


class Latency(EngineLatencies):
    """`hoverboard latency NODE`: time of sampled packets inside the engines."""

    node: str


class CaptureSummary(TypedDict):
    """Packets that were captured, and packets that found the ring full."""

    packets: int
    lost: int


class Captured(CaptureSummary):
    """`hoverboard capture -w FILE`."""

    file: str
    node: str
    ports: list[str]


# The wiring: what Mininet's verbs (`nodes`, `net`, `links`, `pingall` and others) know of a run. No verb prints it.
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
    dataplane: NotRequired[Dataplane]
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
