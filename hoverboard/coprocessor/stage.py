"""What a coprocessor stage is: a small object that turns a batch of packets into what goes on.

A stage may lock, allocate and take its time, for it runs in its VM's own thread (paper section 4.4),
but it does no I/O: time and randomness come from its context, packets from the worker, and what it
has to tell goes to `context.report`. Everything here is plain data; nothing imports the engine.
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
        frame: inner Ethernet frame, without FCS. A stage may change it or put another one in its place. A source
            that leaves 128 bytes of spare room behind it (allocate more, then cut) spares encryption a copy. It
            belongs to the packet alone: a stage may keep it for other uses once it has put another in its place.
        vnet: its virtio-net header, 12 bytes; a frame may be a TCP segment of up to 64 KB.
        direction: "egress" from the VM into the fabric, "ingress" the other way.
        vni: virtual network, 24 bits.
        peer: underlay address of the other host; None where there is none (or the same host).
        relayed: the peer is a Hoverboard, and the host behind it is not known.
        chain: number of the chain of stages that its flow-table entry asks for.
        ticket: whatever the source needs to know again when the packet comes back; stages leave it alone.
        reason: why it was dropped, or None.
        ledger: where a drop is counted; the worker's own business.
        sample: 0: the packet itself; N: a copy of one in N, to look at, while the packet itself goes its way.
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
        """This packet ends here; it must not be among those that the stage returns. Counted once."""
        if self.reason is None:
            self.reason = reason
            if self.ledger is not None:
                self.ledger[reason] = self.ledger.get(reason, 0) + 1


def _ignore_report(_event: Mapping[str, Any]) -> None:
    """Nobody listens."""


def _no_region(_peer: IPv4Address) -> str | None:
    return None


def _ignore_block(_source: bytes, _seconds: float) -> None:
    """Nobody can block anything."""


@dataclass(frozen=True)
class StageContext:
    """What a stage may know of where it runs. One per VM and kind of stage.

    Attributes:
        vm, host: names.
        local: underlay address of this host.
        number: of the VM on this host (its OpenFlow port): no other VM here has it at the same time. 16 bits.
        secret: what all hosts of the cluster share, for deriving keys.
        region_of: region of a host by its underlay address; None when it has none.
        clock: seconds, monotonic.
        wall_clock: nanoseconds since 1970, the same on all hosts up to a few seconds.
        report: takes events worth a person's attention (an alarm), as plain data; never blocks.
        block: (source address, 4 or 16 bytes; seconds) has the fast path drop what that source sends to the VM, from
            within milliseconds on, as "dos-blocked"; never waits.
        kept: survives a restart of the stage, for what safety forbids to forget (sequence numbers); one for all stages
            of one name that the VM has.
    """

    vm: str
    host: str
    local: IPv4Address
    number: int = 1
    secret: bytes = field(default=b"", repr=False)  # in no log
    region_of: Callable[[IPv4Address], str | None] = _no_region
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], int] = time.time_ns
    report: Callable[[Mapping[str, Any]], None] = _ignore_report
    block: Callable[[bytes, float], None] = _ignore_block
    kept: dict[str, Any] = field(default_factory=dict, repr=False)


class Stage(Protocol):
    """The interface of a stage; all calls come from the VM's one coprocessor thread.

    A stage that only looks may also have a class method `sampling(config, direction) -> int`: it gets copies of one
    packet in that many (0: none of this direction), and what it returns for them goes nowhere. All packets stay on
    the fast path.
    """

    name: ClassVar[str]

    def __init__(self, context: StageContext, config: Mapping[str, Any]) -> None: ...

    def process(self, batch: list[Packet]) -> list[Packet]:
        """What goes on, in order; a packet that is left out was dropped (`packet.drop`) or is held."""

    def tick(self, now: float) -> list[Packet]:
        """Held packets that may go on now; called after every batch and when deadline() has come."""

    def deadline(self) -> float | None:
        """When tick() wants to be called at the latest (the context's clock); None: no need."""


class StageConfig(BaseModel):
    """Base of the configurations of stages: no unknown keys, no change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=StageConfig)


def validated(model: type[C], name: str, config: Mapping[str, Any]) -> C:
    """`config` as the stage's model.

    Raises:
        InputError: naming the stage and the key, for the first thing that is wrong.
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
    """A convenient base: a validated configuration, and no packets held.

    A subclass names itself, names its model (`Config`) and writes `process`.
    """

    name: ClassVar[str]
    Config: ClassVar[type[StageConfig]] = StageConfig

    def __init__(self, context: StageContext, config: Mapping[str, Any]) -> None:
        self.context = context
        self.config = cast(C, validated(self.Config, self.name, config))
        self.setup()

    def setup(self) -> None:
        """Make the state; context and config are there."""

    def process(self, batch: list[Packet]) -> list[Packet]:
        """What goes on; here everything."""
        return batch

    def tick(self, now: float) -> list[Packet]:
        """Nothing is held."""
        return []

    def deadline(self) -> float | None:
        """Nothing is held."""
        return None

    def statistics(self) -> dict[str, Any]:
        """What `status` shows of this stage, as plain data; may be read while the stage works."""
        return {}
