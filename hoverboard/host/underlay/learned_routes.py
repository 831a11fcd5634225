"""Routes that a host learns from its Hoverboard: requests and answers in the data plane, and a cache.

Programming model "active-learning" (Achelous, SIGCOMM 2023; the figures are ours). A request names a virtual network
and a destination. The Hoverboard's host process looks the destination up in the tables of its own switch and answers
with the host to send to. The host installs a learned route as an OpenFlow flow of Kind.LEARNED in its switch, so that
every generation of the dataplane uses it. Until then packets go through the Hoverboard. A route in use is revalidated
every few seconds. A route that is unused or unconfirmed is removed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage

_MAGIC = b"HBR1"
_REQUEST, _ANSWER = 1, 2
_MESSAGE = struct.Struct("!4sBBHI16s4s")  # magic, kind, IP version, 0, VNI, destination, underlay (0.0.0.0: none)

# Seconds; our figures.
RETRY = 0.2  # between a request and its retry
TRIES = 5
REVALIDATE = 5.0  # age at which a route in use is revalidated
UNCONFIRMED = 15.0  # age at which a route is removed
IDLE = 30.0  # time without use after which a route is removed
NEGATIVE = 5.0  # time for which a negative answer is kept
MOST = 10_000  # routes; more destinations stay with the Hoverboard


class Destination(NamedTuple):
    """A virtual network and an address in it."""

    vni: int
    address: Address


def request(wanted: Destination) -> bytes:
    """The datagram that requests a route."""
    return _pack(_REQUEST, wanted, IPv4Address(0))


def answer(wanted: Destination, underlay: IPv4Address | None) -> bytes:
    """The datagram that answers a request; None: there is no such destination."""
    return _pack(_ANSWER, wanted, underlay or IPv4Address(0))


def _pack(kind: int, wanted: Destination, underlay: IPv4Address) -> bytes:
    address = wanted.address
    return _MESSAGE.pack(_MAGIC, kind, address.version, 0, wanted.vni, address.packed, underlay.packed)


def read(payload: bytes) -> tuple[bool, Destination, IPv4Address | None] | None:
    """(whether it is a request, destination, answer) of a datagram; None if it is not of the route exchange."""
    if len(payload) != _MESSAGE.size:
        return None
    magic, kind, version, _, vni, raw, underlay = _MESSAGE.unpack(payload)
    if magic != _MAGIC or kind not in (_REQUEST, _ANSWER) or version not in (4, 6) or not 0 < vni < 1 << 24:
        return None
    wanted = Destination(vni, ip_address(raw[:4] if version == 4 else raw))
    return kind == _REQUEST, wanted, IPv4Address(underlay) if any(underlay) else None


@dataclass(slots=True)
class Learned:
    """A route in the cache.

    Attributes:
        underlay: the host to send to; None: the Hoverboard knows no such destination.
        confirmed: when the Hoverboard last gave this answer.
        used: when a packet was last sent by this route.
    """

    underlay: IPv4Address | None
    gateway: IPv4Address
    confirmed: float
    used: float


@dataclass(slots=True)
class _Question:
    gateway: IPv4Address
    asked: float
    tries: int
    fresh: bool  # packets go through the Hoverboard; False: a route in use is revalidated


class Learner:
    """The cache of one host. All times are seconds of one clock.

    Args:
        local: this host; no route to it is ever installed.
        send: sends a datagram to a Hoverboard.
        install: installs a route's flow (underlay), or removes it (None).
        is_installed: whether the route's flow is in the switch now.
    """

    def __init__(
        self,
        local: IPv4Address,
        send: Callable[[IPv4Address, bytes], None],
        install: Callable[[Destination, IPv4Address | None], None],
        is_installed: Callable[[Destination], bool],
    ) -> None:
        self.routes: dict[Destination, Learned] = {}
        self.counters = {"requests": 0, "answers": 0, "learned": 0, "changed": 0, "expired": 0}
        self._local = local
        self._send, self._install, self._is_installed = send, install, is_installed
        self._questions: dict[Destination, _Question] = {}

    def wanted(self, wanted: Destination, gateway: IPv4Address, now: float) -> None:
        """Request a direct route to a destination whose packets go through `gateway`, unless one is requested."""
        known = self.routes.get(wanted)
        # The flow of a new route is not installed at once.
        if known is not None and now - known.confirmed < (NEGATIVE if known.underlay is None else RETRY):
            return
        if (question := self._questions.get(wanted)) is not None:
            question.fresh = True
        elif known is not None or len(self.routes) < MOST:
            self._ask(wanted, gateway, now, fresh=True)

    def received(self, gateway: IPv4Address, wanted: Destination, underlay: IPv4Address | None, now: float) -> None:
        """Take an answer; one that was not requested, or comes from another host, is ignored."""
        question = self._questions.get(wanted)
        if question is None or question.gateway != gateway:
            return
        del self._questions[wanted]
        self.counters["answers"] += 1
        before = self.routes.get(wanted)
        if not question.fresh and not self._is_installed(wanted):
            # Its flow was removed: another programming model is active now, or the switch has restarted.
            self.routes.pop(wanted, None)
            return
        if underlay == self._local:
            underlay = None
        self.routes[wanted] = Learned(underlay, gateway, now, before.used if before is not None else now)
        if question.fresh or before is None or before.underlay != underlay:
            self.counters["learned" if question.fresh else "changed"] += 1
            if underlay is not None or (before is not None and before.underlay is not None):
                self._install(wanted, underlay)

    def used(self, flows: Iterable[FlowUsage], now: float) -> None:
        """Note which routes the host's VMs used since the last call."""
        for flow in flows:
            route = self.routes.get(Destination(flow.vni, flow.dst))
            if route is not None:
                route.used = now

    def tick(self, now: float) -> None:
        """Retry requests, revalidate routes in use, remove routes that are over. Call it several times a second."""
        for wanted, question in list(self._questions.items()):
            if now - question.asked >= RETRY:
                if question.tries >= TRIES:
                    del self._questions[wanted]
                else:
                    self._ask(wanted, question.gateway, now, fresh=question.fresh)
        for wanted, route in list(self.routes.items()):
            age = now - route.confirmed
            over = age >= NEGATIVE if route.underlay is None else age >= UNCONFIRMED or now - route.used >= IDLE
            if over:
                self._forget(wanted)
            elif route.underlay is not None and age >= REVALIDATE and wanted not in self._questions:
                self._ask(wanted, route.gateway, now, fresh=False)

    @property
    def busy(self) -> bool:
        """Whether there are routes or open requests, so that tick() is needed."""
        return bool(self.routes or self._questions)

    def _forget(self, wanted: Destination) -> None:
        route = self.routes.pop(wanted)
        self.counters["expired"] += 1
        if route.underlay is not None and self._is_installed(wanted):
            self._install(wanted, None)

    def _ask(self, wanted: Destination, gateway: IPv4Address, now: float, *, fresh: bool) -> None:
        question = self._questions.setdefault(wanted, _Question(gateway, now, 0, fresh))
        question.gateway, question.asked = gateway, now
        question.tries += 1
        self.counters["requests"] += 1
        self._send(gateway, request(wanted))
