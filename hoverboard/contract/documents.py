"""JSON documents that `--json` prints, as types, verb by verb. Code that builds, sends or shows one names its type.

hoverboard/contract/schemas/ has the JSON Schema of each, made by `hoverboard.contract.document_schemas`. A
`NotRequired` key is absent where it does not apply; a value that exists but is not known is None. Numbers named
`.._bps` are bits a second, `.._pps` packets a second, `.._seconds` and `.._s` seconds, `.._us` microseconds.
"""

from __future__ import annotations

from typing import Literal, NotRequired

# pydantic cannot read typing's own TypedDict before Python 3.12.
from typing_extensions import TypedDict

from hoverboard.contract.links.link_documents import Link, Wan


class Warned(TypedDict):
    """A name in a topology that matches nothing, or a key without an effect: place, reason, next step."""

    where: str
    what: str
    next_step: str


class Counters(TypedDict, total=False):
    """Sums over all ports; `drops` by reason. Empty where no node is up.

    `drops_by_flow` has those drops that an OpenFlow flow decided, by its cookie, in hexadecimal.
    """

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    misses: int
    drops: dict[str, int]
    drops_by_flow: dict[str, int]


class DroppedBy(TypedDict):
    """Packets that one OpenFlow flow, or several with one cookie, have dropped; `cause` is the cookie in words."""

    reason: str
    cause: str
    packets: int


class Server(TypedDict):
    """A VM host or a Hoverboard in `status`; `vms`: hosts only; `error`: if it does not answer.

    `uplink`: its link to the fabric, if that has properties.
    """

    name: str
    dataplane: str
    datapath_type: str
    state: str
    error: NotRequired[str]
    vms: NotRequired[list[str]]
    program: NotRequired[str]
    controller: NotRequired[str]
    uplink: NotRequired[Link]


class ExternalProgram(TypedDict, total=False):
    """Keys of a host whose switch another controller programs: "external", and the controller's address."""

    program: str
    controller: str


class Addresses(TypedDict):
    """Addresses of a VM; `ip6` only if it has one."""

    ip: str
    ip6: NotRequired[str]


class VM(Addresses):
    """A VM of a network; `rate_bps`: the most that it sends, None: no limit."""

    name: str
    host: str
    tags: list[str]
    rate_bps: int | None


class Network(TypedDict):
    """A virtual network; `subnet` is the first of `subnets`."""

    name: str
    vni: int
    subnet: str
    subnets: list[str]
    subnet6: NotRequired[str]
    vms: list[VM]


class VMCpu(TypedDict):
    """CPU time that a VM has caused, by place."""

    vm: str
    host: str
    fastpath_seconds: float | None
    vmm_seconds: float | None
    coprocessor_seconds: float | None
    account: str | None
    guest_seconds: float | None


class Supervised(TypedDict):
    """A process that died at least once; `died_at` and `why`: time of day and reason of its last death."""

    what: str
    server: str | None
    state: str
    restarts: int
    last: str | None
    died_at: str | None
    why: str | None


class Supervision(TypedDict, total=False):
    """Supervised processes of a run: how many there are, and those that died. Empty where nothing is up."""

    watched: int
    restarts: int
    down: int
    processes: list[Supervised]


class Switch(TypedDict):
    """A switch, as the control plane sees it."""

    connected: bool
    agent: bool
    sync: str
    flows: int
    programmed: bool
    errors: int
    last_error: str


class VMCount(TypedDict):
    """Number of VMs in the intent, and of those whose port is known."""

    intended: int
    joined: int


class Queues(TypedDict):
    """Changes that wait; `fair`: in a queue per network."""

    fair: bool
    waiting: int


class ControlProcess(TypedDict):
    """A process of the control plane, as the run sees it."""

    name: str
    pid: int | None
    restarts: int
    state: str


class Controller(TypedDict):
    """A VM controller, as the fabric manager sees it."""

    partition: int
    replica: int
    pid: int
    master: bool
    term: int
    version: int
    state: str
    front_ends: int | None
    switches: int | None


class Plane(TypedDict):
    """The control plane of a region; the keys after `refused` only if it answers, `error` only if it does not."""

    region: str
    scope: str
    state: str
    pid: int | None
    restarts: int
    refused: str | None
    error: NotRequired[str]
    version: NotRequired[int]
    vms: NotRequired[int]
    flows: NotRequired[int]
    offloads: NotRequired[int]
    counters: NotRequired[dict[str, int]]


class OffloadPolicyStatus(TypedDict):
    """The offload policy: "/path/file.py:Class", or None for the built-in one; its settings; and its errors.

    `errors` counts them since the policy was chosen, or since its process started. `last_error` names the line.
    """

    policy: str | None
    threshold_bps: float
    keep_bps: float
    min_lifetime_s: float
    idle_expiry_s: float
    budget: int
    reports: str
    errors: int
    last_error: str | None


class PlaneStatus(TypedDict, total=False):
    """Status of a control plane.

    `scope` and `region` come from a control plane in one process. `partitions`, `store` and `controllers` come from a
    control plane in several processes. `planes` has one item per region; other numbers are then sums over the regions.
    """

    model: str
    switching: str | None
    switches: dict[str, Switch]
    vms: VMCount
    offloads: int
    lookups: int
    hoverboards_down: list[str]
    version: int
    synced: bool
    offload_threshold_bps: float
    offload_idle_expiry_s: float
    offload_policy: OffloadPolicyStatus
    report_interval_s: float
    queues: Queues
    counters: dict[str, int]
    scope: str
    region: str | None
    partitions: int
    store: str
    controllers: list[Controller]
    planes: list[Plane]


class ModelStatus(TypedDict):
    """The programming model of a VM controller.

    `switching` says what the change to this model waits for; it is None when the change is done. `lookups` counts the
    questions of hosts that have an answer now.
    """

    model: str
    switching: str | None
    lookups: int
    hoverboards_down: list[str]


class ReplicaStatus(ModelStatus):
    """The status of a VM controller process, as it sends it to the fabric manager.

    `joined` counts the VMs that are plugged in, `front_ends` those that it is connected to. `term` is that of the last
    election. `policy_errors` and `policy_error` are those of its offload policy.
    """

    switches: dict[str, Switch]
    joined: int
    offloads: int
    counters: dict[str, int]
    front_ends: int
    term: int
    policy_errors: int
    policy_error: str | None


class ControlFacts(TypedDict):
    """Facts about a control plane that need no answer from it; `processes` of a control plane in several processes."""

    pid: NotRequired[int | None]
    restarts: NotRequired[int]
    processes: NotRequired[list[ControlProcess]]


class Control(PlaneStatus, ControlFacts):
    """The control plane: "up" with its status, "unreachable" with the error, or only the state of the run."""

    state: str
    error: NotRequired[str]


class WanStatus(TypedDict):
    """The key `wan`, if a link joins two regions."""

    wan: NotRequired[Wan]


class Without(TypedDict):
    """Something that root's runs have and this run has not: why, and what follows."""

    what: str
    why: str
    consequence: str


class Status(WanStatus):
    """A run: `hoverboard status`; `warnings`: names in its intent without a match.

    `privileges` says whose run it is: that of the machine's root, or that of an ordinary user, who does without
    something. `without` is empty for root.
    """

    run: str
    privileges: Literal["root", "rootless"]
    without: list[Without]
    topology: str
    model: str
    state: str
    hosts: list[Server]
    hoverboards: list[Server]
    networks: list[Network]
    cpu: list[VMCpu]
    counters: Counters
    dropped_by: list[DroppedBy]
    supervision: Supervision
    phases: dict[str, float]
    control: Control
    warnings: list[Warned]


class Offload(TypedDict):
    """A VM pair on the direct path; `since` in seconds of the Unix epoch."""

    network: str
    src: str
    dst: str
    src_host: str
    dst_host: str
    since: float
    rate_bps: int
