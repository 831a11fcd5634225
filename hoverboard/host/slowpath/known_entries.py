"""State of a flow-table entry that only the control thread needs (paper 4.3). Pure.

It holds the question and vswitchd's answer, decides which changes of the tables concern the entry, and remembers what
the entry carried under earlier answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.contract.packets import Address
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import TraceResult

K = TypeVar("K", bound=Hashable)
Prefix = IPv4Network | IPv6Network


@dataclass(slots=True)
class EarlierAnswer:
    """Packets and bytes that an entry carried under an earlier answer; `target` as in the engine's entry."""

    verdict: TraceResult
    target: int
    packets: int
    bytes: int
    dropped: str | None = None


@dataclass
class KnownEntry:
    """An entry's state in the control thread.

    Attributes:
        question: the flow that was traced, as ofproto/trace writes it.
        verdict: the answer.
        src, dst: inner addresses; None if the packet is not IP.
        seen: packets counted at the last expire(), to find idle entries.
        reported: (packets, bytes) that are reported to the control plane already.
        earlier: what the entry carried under each earlier answer, one item per answer.
        dropped: the reason for which this host drops what the switch would forward; None: it does not.
        tun_id: virtual network in the tunnel header with which the packet arrives; 0: it comes by no tunnel.
    """

    question: str
    verdict: TraceResult
    in_port: int
    src: Address | None
    dst: Address | None
    proto: int
    seen: int = -1
    reported: tuple[int, int] = (0, 0)
    earlier: list[EarlierAnswer] = field(default_factory=list)
    dropped: str | None = None
    tun_id: int = 0

    def change_answer(
        self, verdict: TraceResult, target: int, packets: int, octets: int, *, dropped: str | None = None
    ) -> None:
        """Replace the answer. Until now the entry led to `target`, and counted `packets` and `octets` in all."""
        packets -= sum(earlier.packets for earlier in self.earlier)
        octets -= sum(earlier.bytes for earlier in self.earlier)
        for earlier in self.earlier:
            if (earlier.verdict.cookie, earlier.verdict.tun_dst, earlier.target, earlier.dropped) == (
                self.verdict.cookie, self.verdict.tun_dst, target, self.dropped,
            ):  # fmt: skip
                earlier.packets += packets
                earlier.bytes += octets
                break
        else:
            self.earlier.append(EarlierAnswer(self.verdict, target, packets, octets, self.dropped))
        self.verdict, self.dropped = verdict, dropped

    def packets_dropped(self, packets: int) -> Iterator[tuple[int, int]]:
        """(cookie, packets) that OpenFlow flows have dropped, of the `packets` that the entry counted in all."""
        for earlier in self.earlier:
            packets -= earlier.packets
            if earlier.verdict.out_port is None:
                yield earlier.verdict.cookie, earlier.packets
        if self.verdict.out_port is None:
            yield self.verdict.cookie, packets

    def is_usage(self, relayed: bool) -> bool:
        """Whether its packets are usage: sent into the fabric by a VM here or, with `relayed`, by relaying."""
        return self.verdict.tun_dst is not None and (relayed or self.in_port != TUNNEL_PORT)


def concerns(change: Change, cached: KnownEntry) -> bool:
    """Whether a changed OpenFlow flow could match the packets of an entry."""
    metadata = cached.verdict.metadata
    if metadata is None:
        return True
    if change.in_port is not None and change.in_port != cached.in_port:
        return False
    if change.vni is not None and change.vni not in metadata:
        return False
    if change.tun_id is not None and change.tun_id != cached.tun_id:
        return False
    if change.src is not None and (cached.src is None or cached.src not in change.src):
        return False
    return not (change.dst is not None and (cached.dst is None or cached.dst not in change.dst))


def touched(changes: Iterable[Change], entries: Mapping[K, KnownEntry]) -> list[K]:
    """The keys of the entries that any of the changes concerns.

    While a network is filled, thousands of changes arrive, most of them about one address. So these are looked up by
    address, and only the others are compared with every entry.
    """
    about: dict[int | None, set[Address]] = defaultdict(set)  # by VNI: destinations of changes
    others: set[Change] = set()
    for change in changes:
        if change.dst is not None and change == _to_one_address(change.vni, change.dst):
            about[change.vni].add(change.dst.network_address)
        else:
            others.add(change)
    if not about and not others:
        return []
    anywhere = about.pop(None, set())

    def concerned(entry: KnownEntry) -> bool:
        metadata = entry.verdict.metadata
        if metadata is None or entry.dst in anywhere:
            return True
        if any(entry.dst in about[vni] for vni in metadata if vni in about):
            return True
        return any(concerns(change, entry) for change in others)

    return [key for key, entry in entries.items() if concerned(entry)]


def _to_one_address(vni: int | None, dst: Prefix) -> Change | None:
    """The change that is about packets to one address alone; None: the prefix has several addresses."""
    return Change(vni=vni, dst=dst) if dst.prefixlen == dst.max_prefixlen else None
