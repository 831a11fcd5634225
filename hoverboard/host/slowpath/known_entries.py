"""What the control thread knows of a flow-table entry beside what the engine needs (paper 4.3).

Why it is there (the question and vswitchd's answer), whom a change of the tables touches, and what it
carried by each way that it led. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.contract.packets import Address
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import TraceResult

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class EarlierAnswer:
    """What an entry carried while its answer was another one; `target` as in the engine's entry."""

    verdict: TraceResult
    target: int
    packets: int
    bytes: int
    dropped: str | None = None


@dataclass
class KnownEntry:
    """What is known about an entry beside what the engine needs.

    Attributes:
        question: the flow that was traced, in ofproto/trace's words.
        verdict: the answer.
        src, dst: inner addresses, or None for other than IP.
        seen: packets counted at the last housekeeping, to find idle entries.
        reported: (packets, bytes) already told to the control plane.
        earlier: the ways it led before its answer changed, each once.
        dropped: why this host drops what the switch would forward; None: it does not.
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
        """The answer changes; until now the entry led to `target` and counted so much in all."""
        packets -= sum(earlier.packets for earlier in self.earlier)
        octets -= sum(earlier.bytes for earlier in self.earlier)
        for earlier in self.earlier:
            if (earlier.verdict.kind, earlier.verdict.tun_dst, earlier.target, earlier.dropped) == (
                self.verdict.kind, self.verdict.tun_dst, target, self.dropped,
            ):  # fmt: skip
                earlier.packets += packets
                earlier.bytes += octets
                break
        else:
            self.earlier.append(EarlierAnswer(self.verdict, target, packets, octets, self.dropped))
        self.verdict, self.dropped = verdict, dropped

    def is_usage(self, relayed: bool) -> bool:
        """Whether its packets are usage: sent by a VM of this host into the fabric; or `relayed`, from there back."""
        return self.verdict.tun_dst is not None and (relayed or self.in_port != TUNNEL_PORT)


def concerns(change: Change, cached: KnownEntry) -> bool:
    """Whether a changed OpenFlow flow might decide over the packets of an entry."""
    if change.in_port is not None and change.in_port != cached.in_port:
        return False
    if change.vni is not None and cached.verdict.vni and change.vni != cached.verdict.vni:
        return False
    if change.src is not None and (cached.src is None or cached.src not in change.src):
        return False
    return not (change.dst is not None and (cached.dst is None or cached.dst not in change.dst))


def touched(changes: Iterable[Change], entries: Mapping[K, KnownEntry]) -> list[K]:
    """The entries that any of the changes concerns.

    Changes come by the thousand while a network is filled, and nearly all of them are about one address: what they cost
    is not to be multiplied by the entries.
    """
    about: dict[int | None, set[Address]] = defaultdict(set)  # by VNI, changes that are about one destination alone
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
