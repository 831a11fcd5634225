"""Shows that no packet crosses from one tenant to another that uses the same addresses.

There are two independent proofs. Both read the counters of the receiving VM's kernel:

1. One tenant pings every address. Its VM at an address counts these echo requests. The other
   tenant's VM at the same address counts no IP packet.
2. One tenant pings an address that only the other tenant has. There is no answer, and the VM with
   that address counts no IP packet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from experiments.tools import ping
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import MeasurementError

if TYPE_CHECKING:
    from hoverboard.contract.experiment_documents import Isolation as Crossed


@dataclass(frozen=True, slots=True)
class IpCounters:
    """The counters of one VM's kernel since the VM started: all IP packets, and echo requests."""

    packets: int
    echo_requests: int


def parse_snmp(text: str) -> IpCounters:
    """Read the text of /proc/PID/net/snmp. MeasurementError: a counter is missing."""
    tables: dict[str, dict[str, int]] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        kind, _, heads = names.partition(":")
        tables[kind] = dict(zip(heads.split(), (int(value) for value in values.split()[1:]), strict=True))
    try:
        return IpCounters(tables["Ip"]["InReceives"], tables["Icmp"]["InEchos"])
    except KeyError as error:
        raise MeasurementError(
            f"/proc/net/snmp has no counter {error}", next_step="use a kernel whose /proc/net/snmp has it"
        ) from None


def counters(place: ToolPlace) -> IpCounters:
    """The counters of a VM's namespace."""
    return parse_snmp(Path(f"/proc/{place.pid}/net/snmp").read_text())


@dataclass(frozen=True, slots=True)
class SameAddress:
    """Proof 1 for one address: the counts of the VM in the sending tenant (target) and in the other (bystander)."""

    tenant: str
    address: str
    source: str
    target: str
    bystander: str
    sent: int
    target_echo_requests: int
    bystander_packets: int

    @property
    def ok(self) -> bool:
        """Only the target got requests. Some may be missing: on a busy machine the last ones arrive after the count."""
        return 0 < self.target_echo_requests <= self.sent and self.bystander_packets == 0


@dataclass(frozen=True, slots=True)
class ForeignAddress:
    """Proof 2 for one address that only `owner_tenant` has: pings from `tenant`, and from inside the owner's tenant."""

    tenant: str
    source: str
    address: str
    owner: str
    owner_tenant: str
    sent: int
    replies: int
    owner_packets: int
    replies_inside: int

    @property
    def ok(self) -> bool:
        """No answer to the outside and no packet at the owner, while the address answers inside its tenant."""
        return self.replies == 0 and self.owner_packets == 0 and self.replies_inside > 0


@dataclass(frozen=True, slots=True)
class Isolation:
    """Both proofs. `ok`: every row of both is ok."""

    same: tuple[SameAddress, ...]
    foreign: tuple[ForeignAddress, ...]

    @property
    def ok(self) -> bool:
        """No packet crossed. False too if there are no rows."""
        verdicts = [row.ok for row in self.same] + [row.ok for row in self.foreign]
        return bool(verdicts) and all(verdicts)

    def record(self) -> Crossed:
        """The document for JSON."""
        same = [{**asdict(row), "ok": row.ok} for row in self.same]
        foreign = [{**asdict(row), "ok": row.ok} for row in self.foreign]
        return cast("Crossed", {"ok": self.ok, "same_address": same, "foreign_address": foreign})


def same_address(
    tenant: str,
    source: tuple[str, ToolPlace],
    targets: Sequence[tuple[str, str, ToolPlace, str, ToolPlace]],
    *,
    count: int = 10,
) -> list[SameAddress]:
    """Ping each target from `source`, and read the counters of the target and of the bystander.

    Args:
        tenant: the network of `source`.
        source: (VM name, place).
        targets: one (address, target VM, its place, bystander VM, its place) each.
        count: pings for each target.
    """
    rows = []
    for address, target, target_place, bystander, bystander_place in targets:
        before, idle = counters(target_place), counters(bystander_place)
        ping.measure(source[1], address, count=count, interval=0.02, size=ping.SMALL)
        after, still = counters(target_place), counters(bystander_place)
        rows.append(
            SameAddress(
                tenant, address, source[0], target, bystander, count,
                after.echo_requests - before.echo_requests, still.packets - idle.packets,
            )
        )  # fmt: skip
    return rows


def foreign_address(
    tenant: str,
    source: tuple[str, ToolPlace],
    owner: tuple[str, str, ToolPlace],
    inside: ToolPlace,
    address: str,
    *,
    count: int = 10,
) -> ForeignAddress:
    """Ping an address that only the other tenant has.

    Args:
        tenant: the network of `source`.
        source: (VM name, place).
        owner: (VM name, tenant, place) of the VM with the address.
        inside: the place of another VM in the owner's tenant.
        address: the address.
        count: pings from `source`.
    """
    before = counters(owner[2])
    outside = ping.measure(source[1], address, count=count, interval=0.02, wait=0.5, size=ping.SMALL)
    after = counters(owner[2])
    answered = ping.measure(inside, address, count=3, interval=0.02, size=ping.SMALL)
    return ForeignAddress(
        tenant, source[0], address, owner[0], owner[1], count,
        outside.received, after.packets - before.packets, answered.received,
    )  # fmt: skip
