"""JSON documents of the verbs that measure or check the machine: doctor, experiment, demo (see `documents`)."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from hoverboard.contract.node_documents import HostStatus

# --- doctor, experiment ---------------------------------------------------------------------------


class DoctorLine(TypedDict):
    """A finding of `hoverboard doctor`."""

    name: str
    state: Literal["ok", "missing", "degraded"]
    detail: str
    consequence: str
    required: bool


class Doctor(TypedDict):
    """`hoverboard doctor`; `healthy`: everything required is there."""

    healthy: bool
    lines: list[DoctorLine]


class ListedParameter(TypedDict):
    """A parameter of an experiment."""

    default: Any
    unit: str
    what: str
    allowed: str


class ListedExperiment(TypedDict):
    """A row of `hoverboard experiment list`."""

    name: str
    title: str
    source: str
    measures: str
    minutes: float
    repeat: int
    parameters: dict[str, ListedParameter]


class Verdict(TypedDict):
    """The result for one claim of the paper; `ratio` is ours over the paper's, where there is one."""

    claim: str
    paper: str
    ours: str
    result: Literal["reproduced", "partly", "not", "not measured"]
    why: str
    ratio: float | None


class MeasuredExperiment(TypedDict):
    """A row of `hoverboard experiment run` and `report`: the folder, failed samples and their errors, verdicts."""

    folder: str
    failed: int
    errors: list[str]
    verdicts: list[Verdict]


class ComparedRow(TypedDict):
    """Samples of one run with the same metric and labels."""

    metric: str
    unit: str
    labels: dict[str, Any]
    n: int
    low: float
    median: float
    high: float


class Compared(TypedDict):
    """A row of `hoverboard experiment compare`; `apart`: the quartile ranges do not overlap."""

    metric: str
    unit: str
    labels: dict[str, Any]
    a: ComparedRow
    b: ComparedRow
    ratio: float | None
    apart: bool


# --- demo -----------------------------------------------------------------------------------------


class Check(TypedDict):
    """A condition that must hold, and the observed detail."""

    name: str
    ok: bool
    detail: str


class Pinged(TypedDict):
    """A pair of the ping matrix."""

    network: str
    src: str
    dst: str
    sent: int
    received: int
    min_ms: float | None
    ok: bool


class SameAddress(TypedDict):
    """An address that two tenants have: packets to its owner in the sending tenant, and to the other tenant's owner."""

    tenant: str
    address: str
    source: str
    target: str
    bystander: str
    sent: int
    target_echo_requests: int
    bystander_packets: int
    ok: bool


class ForeignAddress(TypedDict):
    """An address that only another tenant has."""

    tenant: str
    source: str
    address: str
    owner: str
    owner_tenant: str
    sent: int
    replies: int
    owner_packets: int
    replies_inside: int
    ok: bool


class Isolation(TypedDict):
    """Whether any packet crossed tenants."""

    ok: bool
    same_address: list[SameAddress]
    foreign_address: list[ForeignAddress]


class RoundTrips(TypedDict):
    """Round trips of a ping, in milliseconds; None if no reply came."""

    sent: int
    received: int
    min: float | None
    median: float | None
    avg: float | None
    max: float | None
    mdev: float | None
    stayed_on_hoverboard: NotRequired[bool]


class Latencies(TypedDict):
    """Round trips over the Hoverboard and on the direct path."""

    hoverboard: RoundTrips
    direct: RoundTrips


class PathPoint(TypedDict):
    """Bytes that a flow had sent on each path, `at` seconds after the sampler started."""

    at: float
    hoverboard_bytes: int
    direct_bytes: int


class Path(TypedDict):
    """The path of one flow over time, in seconds after its first packet."""

    src: str
    dst: str
    offloaded_at: float | None
    direct_at: float | None
    hoverboard_bytes: int
    direct_bytes: int
    points: list[PathPoint]
    failures: list[str]


class Pings(TypedDict):
    """All pings of a generation that should arrive, and those that did not."""

    sent: int
    lost: int


class Throughput(TypedDict):
    """A measurement by iperf3, and the part of it that Hoverboards received."""

    streams: int
    bps: float
    seconds: float
    retransmits: int | None
    cpu_client_percent: float | None
    cpu_server_percent: float | None
    relayed_bytes: int
    relayed_share: float


class DemoGeneration(TypedDict):
    """Results of one generation of the dataplane."""

    dataplane: str
    run: str
    up_seconds: float
    phases: dict[str, float]
    datapath_types: list[str]
    ping_matrix: list[Pinged]
    isolation: Isolation
    latency_ms: Latencies
    path: Path
    throughput: list[Throughput]
    pings: Pings
    servers: dict[str, HostStatus]


class Ratios(TypedDict, total=False):
    """How many times better `fastpath` is than `ovs`; throughput by streams. Empty unless both were measured."""

    throughput: dict[str, float]
    latency_direct: float | None
    latency_hoverboard: float | None


class Code(TypedDict):
    """The checkout that ran. `changed`: files differ from the commit; `changes`: a name for the difference."""

    commit: str | None
    changed: bool | None
    version: str | None
    changes: NotRequired[str]


class Record(TypedDict):
    """Everything needed to judge and to repeat a measurement; `privileges`: whether the testbeds were root's."""

    taken: str
    command: str
    parameters: dict[str, Any]
    privileges: Literal["root", "rootless"]
    code: Code
    machine: dict[str, str | int | float | None]
    versions: dict[str, str]


class Demo(TypedDict):
    """`hoverboard demo`, and its summary.json; `notes` explain what may surprise a reader."""

    experiment: Literal["demo"]
    ok: bool
    seconds: float
    checks: list[Check]
    ratios: Ratios
    notes: list[str]
    generations: list[DemoGeneration]
    record: Record
