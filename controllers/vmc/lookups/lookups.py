"""The lookups that the controller has answered: its state for the on-demand model (paper 3.3). Pure.

A token bucket per vport limits lookups, so that a flood of one VM costs no other VM its answers. An answer lives while
it is used, a negative answer for a fixed time. The paper gives no figures: those here are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import NamedTuple

from hoverboard.contract.packets import Address
from hoverboard.contract.token_bucket import ASK_BURST, ASK_RATE, TokenBucket

IDLE_EXPIRY = 30.0  # seconds without usage after which an answer is withdrawn
NEGATIVE_EXPIRY = 5.0  # seconds after which a negative answer is withdrawn, so that the host may ask again
_MAX_HELD = 64  # packets of one switch that may wait for answers

_ETH_IPV4, _ETH_IPV6 = b"\x08\x00", b"\x86\xdd"


class Lookup(NamedTuple):
    """A host's question: an address of a network."""

    host: str
    network: str
    address: Address


def destination(frame: bytes) -> Address | None:
    """The destination of an IPv4 or IPv6 frame; None for any other or a short frame."""
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
        """Take a token of this vport; return whether it had one."""
        bucket = self._buckets.get((dpid, port))
        if bucket is None:
            bucket = self._buckets[dpid, port] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def forget(self, dpid: int) -> None:
        """Forget the buckets of a switch that disconnected."""
        for key in [key for key in self._buckets if key[0] == dpid]:
            del self._buckets[key]


@dataclass(slots=True)
class _Answer:
    negative: bool
    last_used: float


class Lookups:
    """The active answers and their expiry."""

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
        """Add an answer, or renew it."""
        self._answers[lookup] = _Answer(negative, now)
        self._askers.setdefault(lookup.network, {}).setdefault(lookup.address, set()).add(lookup.host)
        due = now + (self.negative_expiry if negative else self.idle_expiry)
        self._next_expiry = due if self._next_expiry is None else min(self._next_expiry, due)

    def set_negative(self, lookup: Lookup, *, negative: bool) -> None:
        """Change whether an answer is negative, after a change of the intent."""
        self._answers[lookup].negative = negative

    def used(self, lookup: Lookup, now: float) -> None:
        """Note that the host sent to the address."""
        answer = self._answers.get(lookup)
        if answer is not None:
            answer.last_used = now

    def about(self, network: str, what: Address | IPv4Network | None = None) -> Iterator[Lookup]:
        """Active answers of a network about an address or a prefix, or all of them."""
        askers = self._askers.get(network, {})
        if what is None or isinstance(what, IPv4Network):
            found = [one for one in askers if what is None or one in what]
        else:
            found = [what] if what in askers else []
        return iter([Lookup(host, network, address) for address in found for host in askers[address]])

    def all(self) -> list[Lookup]:
        """All active answers."""
        return list(self._answers)

    def of_host(self, host: str, network: str) -> list[Lookup]:
        """Active answers to a host about a network."""
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
        """Forget the expired answers and return them."""
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
        """The earliest time at which `expire` is due."""
        return self._next_expiry


class HeldPackets:
    """Packets that wait until the answer to their lookup is in the switch."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[int, bytes]]] = {}

    def keep(self, dpid: int, port: int, frame: bytes) -> bool:
        """Keep a packet; return False if too many wait already."""
        waiting = self._waiting.setdefault(dpid, [])
        if len(waiting) >= _MAX_HELD:
            return False
        waiting.append((port, frame))
        return True

    def release(self, dpid: int) -> list[tuple[int, bytes]]:
        """Remove the packets that wait for this switch, and return them."""
        return self._waiting.pop(dpid, [])
