"""Shows that no packet crosses from one tenant to another that uses the same addresses.

Two independent proofs, both by what the receiving VM's own kernel counted: (1) while one tenant
pings every address, its VM at that address counts these echo requests and the other
tenant's VM at the same address counts no IP packet at all; (2) an address that exists in the other
tenant only does not answer, and the VM that has it counts nothing.
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
    """What the kernel of one VM has counted since it was made: all IP packets, and echo requests."""

    packets: int
    echo_requests: int


def parse_snmp(text: str) -> IpCounters:
    """Read /proc/PID/net/snmp; MeasurementError when a counter is missing."""
    tables: dict[str, dict[str, int]] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        kind, _, heads = names.partition(":")
        tables[kind] = dict(zip(heads.split(), (int(value) for value in values.split()[1:]), strict=True))
    try:
        return IpCounters(tables["Ip"]["InReceives"], tables["Icmp"]["InEchos"])
    except KeyError as error:
        raise MeasurementError(f"/proc/net/snmp has no counter {error}", next_step="which kernel is this?") from None


def counters(place: ToolPlace) -> IpCounters:
    """Counters of a VM's namespace."""
    return parse_snmp(Path(f"/proc/{place.pid}/net/snmp").read_text())


@dataclass(frozen=True, slots=True)
class SameAddress:
    """Proof 1, for one address: what its owner in the sending tenant got, and the other tenant's owner."""

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
        """Requests at the target and nowhere else; a lost one (Open vSwitch resolving a tunnel's end) is no leak."""
        return 0 < self.target_echo_requests <= self.sent and self.bystander_packets == 0


@dataclass(frozen=True, slots=True)
class ForeignAddress:
    """Proof 2: `address` exists in `owner_tenant` only, and is pinged from `tenant` and from inside."""

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
        """No answer from outside, nothing arrived, and the address does answer its own tenant."""
        return self.replies == 0 and self.owner_packets == 0 and self.replies_inside > 0


@dataclass(frozen=True, slots=True)
class Isolation:
    """Both proofs; `ok` when every row of both is."""

    same: tuple[SameAddress, ...]
    foreign: tuple[ForeignAddress, ...]

    @property
    def ok(self) -> bool:
        """No packet crossed; false too when nothing was tested."""
        verdicts = [row.ok for row in self.same] + [row.ok for row in self.foreign]
        return bool(verdicts) and all(verdicts)

    def record(self) -> Crossed:
        """As JSON."""
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
    """Ping each target from `source` and watch the VM of the other tenant with the same address.

    Args:
        source: (VM name, place).
        targets: (address, target VM, its place, bystander VM, its place) each.
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
    """Ping an address that only the other tenant has; `owner` is (VM, tenant, place), `inside` a neighbour of it."""
    before = counters(owner[2])
    outside = ping.measure(source[1], address, count=count, interval=0.02, wait=0.5, size=ping.SMALL)
    after = counters(owner[2])
    answered = ping.measure(inside, address, count=3, interval=0.02, size=ping.SMALL)
    return ForeignAddress(
        tenant, source[0], address, owner[0], owner[1], count,
        outside.received, after.packets - before.packets, answered.received,
    )  # fmt: skip
