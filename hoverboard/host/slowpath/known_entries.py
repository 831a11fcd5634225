"""State of a flow-table entry that only the control thread needs (paper 4.3). Pure.

It holds the question and vswitchd's answer, decides which changes of the tables concern the entry, and remembers what
the entry carried under earlier answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.contract.packets import Address
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import TraceResult

K = TypeVar("K", bound=Hashable)


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
    if change.in_port is not None and change.in_port != cached.in_port:
        return False
    if change.vni is not None and cached.verdict.vni and change.vni != cached.verdict.vni:
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
        dst = change.dst
        if dst is not None and change.src is None and change.in_port is None and dst.prefixlen == dst.max_prefixlen:
            about[change.vni].add(dst.network_address)
        else:
            others.add(change)
    if not about and not others:
        return []
    anywhere, everywhere = about.pop(None, set()), set[Address]().union(*about.values())

    def concerned(entry: KnownEntry) -> bool:
        if entry.dst in anywhere:
            return True
        vni = entry.verdict.vni
        there = about.get(vni, ()) if vni else everywhere
        return entry.dst in there or any(concerns(change, entry) for change in others)

    return [key for key, entry in entries.items() if concerned(entry)]
