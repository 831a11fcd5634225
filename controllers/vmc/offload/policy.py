"""The offload policy: which VM pairs get a flow for the direct path (paper section 3.3.1). Pure.

Pairs, bytes and times in, decisions out. The threshold of 20 kb/s is the value of the paper's evaluation. The paper
gives no rule for keeping or removing an offload, so all other values are ours. Another policy is a subclass of
`OffloadPolicy` that overrides `decide` (`controllers.vmc.offload.policy_file` loads it from a file).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from controllers.vmc.offload.policy_errors import PolicyErrors, nonsense, sensible

DEFAULT_THRESHOLD_BPS = 20_000.0
DEFAULT_IDLE_EXPIRY = 30.0  # seconds; ours
DEFAULT_LIFETIME = 2.0  # seconds; ours


class Pair(NamedTuple):
    """A sending and a receiving VM, by name."""

    src: str
    dst: str


@dataclass(slots=True)
class Offload:
    """An active offload.

    Attributes:
        host: the sender's host, which holds the flow.
        since: time of the decision or adoption.
        last_used: end of the last report in which the pair sent more than the keep threshold.
        last_report: end of the last report in which the pair sent anything.
        rate_bps: rate in that report, bits a second of inner frames.
        interval: length of that report, seconds.
    """

    host: str
    since: float
    last_used: float
    last_report: float
    rate_bps: float
    interval: float

    def rate(self, now: float) -> float:
        """The present rate, bits a second; 0 if the last reports do not contain the pair."""
        return self.rate_bps if now - self.last_report <= 2 * self.interval + 0.5 else 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The bytes of inner frames that a pair sent in a report interval; `host` is the sender's host."""

    pair: Pair
    host: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Pairs to offload, and active offloads to remove now, before they expire."""

    start: tuple[Pair, ...] = ()
    stop: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class OffloadSettings:
    """The settings of a policy.

    Attributes:
        threshold_bps: a pair that sends more is offloaded.
        keep_bps: an offload that sends more is not idle; below `threshold_bps`, so that no pair flaps.
        minimum_lifetime: seconds before a busier pair may replace an offload.
        idle_expiry: idle seconds after which an offload is removed.
        budget: maximum number of offloads of a host; 0: no limit.
        reports: nodes that send the usage reports: "hosts", as in the paper, or "hoverboards", for comparison.
    """

    threshold_bps: float = DEFAULT_THRESHOLD_BPS
    keep_bps: float = 0.0
    minimum_lifetime: float = DEFAULT_LIFETIME
    idle_expiry: float = DEFAULT_IDLE_EXPIRY
    budget: int = 0
    reports: Literal["hosts", "hoverboards"] = "hosts"


class OffloadPolicy:
    """Offloads pairs above the threshold, the busiest first within the budget; removes idle offloads.

    Attributes:
        settings: as given.
        active: the active offloads; only the methods here change it.
        errors: the errors of a derived class's `decide`.
    """

    def __init__(self, settings: OffloadSettings | None = None) -> None:
        self.settings = settings if settings is not None else OffloadSettings()
        self.active: dict[Pair, Offload] = {}
        self._by_host: dict[str, set[Pair]] = {}
        self._next_expiry: float | None = None
        self.errors = PolicyErrors()

    def decide(self, host: str, candidates: Sequence[tuple[Pair, float]], now: float) -> Decision:
        """Decide which of a host's pairs to offload, and which of its offloads to remove for that.

        Args:
            host: name of the senders' VM host; its active offloads count against the budget.
            candidates: (pair, rate in bits a second) of pairs that sent and are not offloaded.
            now: seconds of the controller's monotonic clock.
        """
        settings = self.settings
        wanted = sorted(
            (one for one in candidates if one[1] > settings.threshold_bps), key=lambda one: (-one[1], one[0])
        )
        if not settings.budget:
            return Decision(tuple(pair for pair, _ in wanted))  # tour: report 6
        room = settings.budget - len(self.standing(host))
        old_enough = sorted(
            (
                (self.active[pair].rate(now), pair)
                for pair in self.standing(host)
                if now - self.active[pair].since >= settings.minimum_lifetime
            ),
            reverse=True,
        )
        # A budget that was lowered is kept as soon as the offloads are old enough.
        stop = [old_enough.pop()[1] for _ in range(min(-room, len(old_enough)))]
        start = []
        for pair, rate in wanted:
            if room > 0:
                room -= 1
            elif old_enough and old_enough[-1][0] < rate:
                stop.append(old_enough.pop()[1])
            else:
                break
            start.append(pair)
        return Decision(tuple(start), tuple(stop))

    # --- what the controller calls ------------------------------------------------------------------

    def standing(self, host: str) -> frozenset[Pair]:
        """The pairs of the active offloads of `host`."""
        return frozenset(self._by_host.get(host, ()))

    def report(self, usage: Iterable[Sent], seconds: float, now: float) -> Decision:
        """Process one report of `seconds`; apply what `decide` says, and return it."""
        candidates: dict[str, list[tuple[Pair, float]]] = {}
        for sent in usage:
            if not sent.bytes:
                continue
            rate = sent.bytes * 8 / seconds
            standing = self.active.get(sent.pair)
            if standing is None:
                candidates.setdefault(sent.host, []).append((sent.pair, rate))
            else:
                standing.last_report, standing.rate_bps, standing.interval = now, rate, seconds
                if rate > self.settings.keep_bps:
                    standing.last_used = now
                if self._built_in and 0 < self.settings.budget < len(self._by_host[sent.host]):
                    candidates.setdefault(sent.host, [])  # the budget was lowered
        start: list[Pair] = []
        stop: list[Pair] = []
        for host, pairs in candidates.items():
            rates = dict(pairs)
            decision = self._decided(host, pairs, now)
            for pair in decision.stop:
                if pair in self.active:
                    self.drop(pair)
                    stop.append(pair)
            for pair in decision.start:
                if pair not in self.active:
                    self._start(pair, Offload(host, now, now, now, rates[pair], seconds))
                    start.append(pair)
        return Decision(tuple(start), tuple(stop))

    @property
    def _built_in(self) -> bool:
        """Whether `decide` is ours."""
        return type(self).decide is OffloadPolicy.decide

    def _decided(self, host: str, candidates: Sequence[tuple[Pair, float]], now: float) -> Decision:
        """The answer of `decide`. Mistakes of a derived class are recorded and left out."""
        if self._built_in:
            return self.decide(host, candidates, now)
        try:
            answer = self.decide(host, candidates, now)
            fault = nonsense(answer, Decision)
            if fault is not None:
                self.errors.returned(type(self).decide, fault)
                return Decision()
            start, unknown = sensible(answer.start, dict(candidates), "starts {}, which is no candidate")
            stop, inactive = sensible(answer.stop, self.active, "stops {}, which is not offloaded")
        except (Exception, SystemExit) as error:
            self.errors.raised(error)
            return Decision()
        for what in (unknown, inactive):
            if what is not None:
                self.errors.returned(type(self).decide, what)
        return Decision(tuple(start), tuple(stop))

    def take_over(self, former: OffloadPolicy) -> None:
        """Continue with the active offloads of another policy, which is not used any more."""
        for pair, offload in former.active.items():
            self._start(pair, offload)

    def adopt(self, pair: Pair, host: str, now: float) -> None:
        """Take over an offload that a switch holds; it ages from now on like any other."""
        if pair not in self.active:
            self._start(pair, Offload(host, now, now, now, 0.0, 0.0))

    def drop(self, pair: Pair) -> None:
        """Forget an offload whose VMs were removed or moved."""
        offload = self.active.pop(pair, None)
        if offload is not None:
            self._by_host[offload.host].discard(pair)

    def expire(self, now: float) -> list[Pair]:
        """Forget the offloads that were idle too long, and return them."""
        if self._next_expiry is None or now < self._next_expiry:
            return []
        after = max(self.settings.idle_expiry, self.settings.minimum_lifetime)
        idle = [pair for pair, offload in self.active.items() if now - offload.last_used >= after]
        for pair in idle:
            self.drop(pair)
        oldest = min((offload.last_used for offload in self.active.values()), default=None)
        self._next_expiry = None if oldest is None else oldest + after
        return idle

    def deadline(self) -> float | None:
        """The earliest time at which `expire` is due; None if nothing can expire."""
        return self._next_expiry

    def rates(self, now: float) -> Iterator[tuple[Pair, Offload, float]]:
        """The active offloads with their present rate."""
        for pair, offload in self.active.items():
            yield pair, offload, offload.rate(now)

    def _start(self, pair: Pair, offload: Offload) -> None:
        self.active[pair] = offload
        self._by_host.setdefault(offload.host, set()).add(pair)
        expiry = offload.last_used + max(self.settings.idle_expiry, self.settings.minimum_lifetime)
        # An earlier bound stays. `last_used` only grows, so the bound is never too late; expire() computes it exactly.
        self._next_expiry = expiry if self._next_expiry is None else min(self._next_expiry, expiry)
