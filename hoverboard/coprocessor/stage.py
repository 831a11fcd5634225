"""The interface of a coprocessor stage: an object that turns a batch of packets into the packets that continue.

A stage runs in the thread of its VM (paper section 4.4), so it may lock, allocate and take time. It does no I/O. Time
and randomness come from its context, packets from the worker, and its events go to `context.report`. This module holds
plain data and does not import the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from hoverboard.contract.errors import InputError

Direction = Literal["egress", "ingress"]
PLAIN_VNET = bytes(12)  # struct virtio_net_hdr_v1 of a packet that needs nothing: no segments, no checksum


class Packet:
    """One inner packet on its way through a chain of stages.

    Attributes:
        frame: inner Ethernet frame, without FCS. A stage may change it or replace it. A source should leave 128 bytes
            of spare room behind it (allocate more, then cut): this saves encryption a copy. Only the packet refers to
            the frame: a stage that has replaced it may use the old one for other things.
        vnet: its virtio-net header, 12 bytes. The frame may be a TCP segment of up to 64 KB.
        direction: "egress" from the VM into the fabric, "ingress" from the fabric to the VM.
        vni: virtual network, 24 bits.
        peer: underlay address of the other host; None if there is no other end, or it is on this host.
        relayed: the peer is a Hoverboard; the host behind it is not known.
        chain: number of the chain of stages in its flow-table entry.
        ticket: data that the source needs when the packet comes back. Stages do not use it.
        reason: drop reason, or None.
        ledger: the worker's counters of drops; only the worker sets it.
        sample: 0: the packet itself. N: a copy of one packet in N, to look at; the packet itself stays on the fast
            path.
    """

    __slots__ = (
        "chain",
        "direction",
        "frame",
        "ledger",
        "peer",
        "reason",
        "relayed",
        "sample",
        "ticket",
        "vnet",
        "vni",
    )

    def __init__(
        self,
        frame: bytearray,
        *,
        vnet: bytes = PLAIN_VNET,
        direction: Direction = "egress",
        vni: int = 0,
        peer: IPv4Address | None = None,
        chain: int = 0,
        ticket: Any = None,
    ) -> None:
        self.frame = frame
        self.vnet = vnet
        self.direction: Direction = direction
        self.vni = vni
        self.peer = peer
        self.relayed = False
        self.chain = chain
        self.ticket = ticket
        self.reason: str | None = None
        self.ledger: MutableMapping[str, int] | None = None
        self.sample = 0

    def drop(self, reason: str) -> None:
        """Drop this packet, and count it once. The stage must not return it."""
        if self.reason is None:
            self.reason = reason
            if self.ledger is not None:
                self.ledger[reason] = self.ledger.get(reason, 0) + 1


def _ignore_report(_event: Mapping[str, Any]) -> None:
    """Ignore the event: the default of `StageContext.report`."""


def _no_region(_peer: IPv4Address) -> str | None:
    return None


def _boot_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _ignore_block(_source: bytes, _seconds: float) -> None:
    """Block nothing: the default of `StageContext.block`."""


@dataclass(frozen=True)
class StageContext:
    """The place where a stage runs: one object per VM and kind of stage.

    Attributes:
        vm, host: names.
        local: underlay address of this host.
        number: number of the VM on this host (its OpenFlow port), 16 bits. No other VM here has it at the same time.
        secret: secret that all hosts of the cluster share, for deriving keys.
        region_of: region of a host by its underlay address; None when it has no region.
        clock: seconds, monotonic.
        boot_clock: nanoseconds since the machine has booted, also those that it slept; the same on all hosts, and not
            set by any command.
        report: takes an event that a person should see (an alarm), as plain data; never blocks.
        block: takes a source address (4 or 16 bytes) and seconds. Within milliseconds the fast path drops the packets
            of that source to the VM, as "dos-blocked". Never waits.
        kept: data that must survive a restart of the stage for safety (sequence numbers); shared by all stages of one
            name that the VM has.
    """

    vm: str
    host: str
    local: IPv4Address
    number: int = 1
    secret: bytes = field(default=b"", repr=False)  # in no log
    region_of: Callable[[IPv4Address], str | None] = _no_region
    clock: Callable[[], float] = time.monotonic
    boot_clock: Callable[[], int] = _boot_clock
    report: Callable[[Mapping[str, Any]], None] = _ignore_report
    block: Callable[[bytes, float], None] = _ignore_block
    kept: dict[str, Any] = field(default_factory=dict, repr=False)


class Stage(Protocol):
    """The interface of a stage. All calls come from the coprocessor thread of the VM.

    A stage that only watches may also have a class method `sampling(config, direction) -> int`. It then gets copies of
    one packet in that many (0: none of this direction). All packets stay on the fast path, and packets that the stage
    returns for copies are ignored.
    """

    name: ClassVar[str]

    def __init__(self, context: StageContext, config: Mapping[str, Any]) -> None: ...

    def process(self, batch: list[Packet]) -> list[Packet]:
        """The packets that continue, in order; each other packet was dropped (`packet.drop`) or is held."""

    def tick(self, now: float) -> list[Packet]:
        """Held packets that may continue now; called after each batch and when deadline() is reached."""

    def deadline(self) -> float | None:
        """The latest time for the next tick() (the context's clock); None: no call needed."""


class StageConfig(BaseModel):
    """Base of the configurations of stages: unknown keys are errors, and values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=StageConfig)


def validated(model: type[C], name: str, config: Mapping[str, Any]) -> C:
    """`config` as the stage's model.

    Raises:
        InputError: the first fault, with the stage and the key.
    """
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            what = "no such key"
        elif first["type"] != "missing":
            what = f"{what} (given: {str(first['input'])[:60]})"
        known = ", ".join(model.model_fields) or "none"
        raise InputError(
            what, where=f"stage {name}, config{'.' + key if key else ''}", next_step=f"keys of this stage: {known}"
        ) from None


class ConfiguredStage(Generic[C]):
    """A base class for stages: checks the configuration, and holds no packets.

    A subclass sets `name` and its model (`Config`), and writes `process`.
    """

    name: ClassVar[str]
    Config: ClassVar[type[StageConfig]] = StageConfig

    def __init__(self, context: StageContext, config: Mapping[str, Any]) -> None:
        self.context = context
        self.config = cast(C, validated(self.Config, self.name, config))
        self.setup()

    def setup(self) -> None:
        """Make the state of the stage; context and config are set."""

    def process(self, batch: list[Packet]) -> list[Packet]:
        """The packets that continue: here all of them."""
        return batch

    def tick(self, now: float) -> list[Packet]:
        """No packets: this stage keeps no packet back."""
        return []

    def deadline(self) -> float | None:
        """None: this stage holds no packets."""
        return None

    def statistics(self) -> dict[str, Any]:
        """The figures that `status` shows for this stage, as plain data; must be safe to call while the stage works."""
        return {}
