"""Answers to hosts that asked by packet-in: the on-demand model's state in the controller (paper 3.3).

Pure. One token bucket a vport, so that no VM's flood costs another its answers; an answer lives while
it is used, a negative one for a fixed time. The paper gives no figures: those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import NamedTuple

from hoverboard.contract.packets import Address
from hoverboard.contract.token_bucket import ASK_BURST, ASK_RATE, TokenBucket

IDLE_EXPIRY = 30.0  # seconds without usage after which a host's answer is taken back
NEGATIVE_EXPIRY = 5.0  # seconds after which a host may ask again for what was not there
_HELD = 64  # packets that wait for the answers to one switch

_ETH_IPV4, _ETH_IPV6 = b"\x08\x00", b"\x86\xdd"


class Lookup(NamedTuple):
    """What a host asked for: an address of a network."""

    host: str
    network: str
    address: Address


def destination(frame: bytes) -> Address | None:
    """The destination of an IPv4 or IPv6 frame; None for anything else, or too short."""
    if frame[12:14] == _ETH_IPV4 and len(frame) >= 34:
        return IPv4Address(frame[30:34])
    if frame[12:14] == _ETH_IPV6 and len(frame) >= 54:
        return IPv6Address(frame[38:54])
    return None


class QuestionLimit:
    """Token buckets by vport: (datapath id, port)."""

    def __init__(self, rate: float = ASK_RATE, burst: float = ASK_BURST) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: dict[tuple[int, int], TokenBucket] = {}

    def take(self, dpid: int, port: int, now: float) -> bool:
        """Whether this vport may ask once more now."""
        bucket = self._buckets.get((dpid, port))
        if bucket is None:
            bucket = self._buckets[dpid, port] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def forget(self, dpid: int) -> None:
        """A switch went away: its vports begin anew."""
        for key in [key for key in self._buckets if key[0] == dpid]:
            del self._buckets[key]


@dataclass(slots=True)
class _Answer:
    negative: bool
    last_used: float


class Lookups:
    """The answers that stand, and what ends them."""

    def __init__(self, idle_expiry: float = IDLE_EXPIRY, negative_expiry: float = NEGATIVE_EXPIRY) -> None:
        self.idle_expiry, self.negative_expiry = idle_expiry, negative_expiry
        self._answers: dict[Lookup, _Answer] = {}
        self._askers: dict[str, dict[Address, set[str]]] = {}  # network -> address -> hosts
        self._next_expiry: float | None = None

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, lookup: Lookup) -> bool:
        return lookup in self._answers

    def add(self, lookup: Lookup, *, negative: bool, now: float) -> None:
        """An answer is given, anew or for the first time."""
        self._answers[lookup] = _Answer(negative, now)
        self._askers.setdefault(lookup.network, {}).setdefault(lookup.address, set()).add(lookup.host)
        due = now + (self.negative_expiry if negative else self.idle_expiry)
        self._next_expiry = due if self._next_expiry is None else min(self._next_expiry, due)

    def set_negative(self, lookup: Lookup, *, negative: bool) -> None:
        """Intent changed what the answer is."""
        self._answers[lookup].negative = negative

    def used(self, lookup: Lookup, now: float) -> None:
        """The host sent to the address."""
        answer = self._answers.get(lookup)
        if answer is not None:
            answer.last_used = now

    def about(self, network: str, what: Address | IPv4Network | None = None) -> Iterator[Lookup]:
        """Standing answers of a network about an address, a prefix, or anything."""
        askers = self._askers.get(network, {})
        if what is None or isinstance(what, IPv4Network):
            found = [one for one in askers if what is None or one in what]
        else:
            found = [what] if what in askers else []
        return iter([Lookup(host, network, address) for address in found for host in askers[address]])

    def all(self) -> list[Lookup]:
        """All standing answers."""
        return list(self._answers)

    def of_host(self, host: str, network: str) -> list[Lookup]:
        """Standing answers to a host about a network."""
        return [one for one in self._answers if (one.host, one.network) == (host, network)]

    def drop(self, lookup: Lookup) -> None:
        """Forget an answer."""
        if self._answers.pop(lookup, None) is None:
            return
        askers = self._askers[lookup.network]
        askers[lookup.address].discard(lookup.host)
        if not askers[lookup.address]:
            del askers[lookup.address]
            if not askers:
                del self._askers[lookup.network]

    def expire(self, now: float) -> list[Lookup]:
        """Forget and return the answers whose time is over."""
        if self._next_expiry is None or now < self._next_expiry:
            return []
        over = [one for one in self._answers if self._due(one) <= now]
        for one in over:
            self.drop(one)
        self._next_expiry = min((self._due(one) for one in self._answers), default=None)
        return over

    def _due(self, lookup: Lookup) -> float:
        answer = self._answers[lookup]
        return answer.last_used + (self.negative_expiry if answer.negative else self.idle_expiry)

    def deadline(self) -> float | None:
        """When `expire` has to be called next, at the earliest."""
        return self._next_expiry


class HeldPackets:
    """Packets that asked, until the answer is in the switch."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[int, bytes]]] = {}

    def keep(self, dpid: int, port: int, frame: bytes) -> bool:
        """Keep a packet; False when too many wait already."""
        waiting = self._waiting.setdefault(dpid, [])
        if len(waiting) >= _HELD:
            return False
        waiting.append((port, frame))
        return True

    def release(self, dpid: int) -> list[tuple[int, bytes]]:
        """The packets that wait for this switch."""
        return self._waiting.pop(dpid, [])
