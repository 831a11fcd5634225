"""The stages of one VM: numbered chains, one object per stage and configuration, restarted after a crash.

A flow-table entry holds the number of its chain. The control thread adds chains, the coprocessor thread reads them. A
chain is complete before its number is returned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hoverboard.contract.errors import HoverboardError
from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage import Packet, Stage, StageContext
from hoverboard.coprocessor.stage_policy import StageSpec

STAGE_ERROR = "stage-error"
_CRASHES = (Exception, SystemExit)  # a stage that calls sys.exit() must not end the thread
_log = logging.getLogger("hoverboard.coprocessor")


class Runner:
    """One stage object, with its counters and its restarts. All calls come from the coprocessor thread.

    Attributes:
        held: packets that the stage holds.
        errors: how often the stage raised an exception or returned wrong packets.
        restarts: how often a new object replaced the stage after that.
    """

    def __init__(self, spec: StageSpec, context: StageContext, registry: Registry, drops: dict[str, int]) -> None:
        """Make the stage; raises InputError when it cannot be made."""
        self.spec, self._context, self._registry, self._drops = spec, context, registry, drops
        self._stage: Stage | None = registry.make(spec.stage, context, spec.settings)
        self.name = self._stage.name
        self.held = self.errors = self.restarts = 0
        self.last_error = ""
        self._reported: set[str] = set()

    def process(self, batch: list[Packet]) -> list[Packet]:
        """The packets that continue. If the stage crashes, none do, and all packets that it had are dropped."""
        return self._guarded(lambda stage: stage.process(batch), len(batch))

    def show_samples(self, samples: list[Packet]) -> None:
        """Give the stage copies of packets, and ignore the packets that it returns."""
        if self._stage is None and not self._restart():
            return
        assert self._stage is not None
        try:
            self._stage.process(samples)
        except _CRASHES as error:
            self._crashed(error, self.held)

    def tick(self, now: float) -> list[Packet]:
        """Held packets that continue now."""
        return self._guarded(lambda stage: stage.tick(now), 0)

    def deadline(self) -> float | None:
        """The time at which the stage wants its next tick; None: it needs none."""
        if not self.held or self._stage is None:
            return None
        try:
            at = self._stage.deadline()
            return None if at is None else float(at)
        except _CRASHES as error:
            self._crashed(error, self.held)
            return None

    def abandon(self) -> int:
        """Drop the packets that the stage holds; returns their number."""
        held, self.held = self.held, 0
        return held

    def statistics(self) -> dict[str, Any]:
        """The figures that `status` shows for the stage. Another thread may call this."""
        found: dict[str, Any] = {}
        statistics = getattr(self._stage, "statistics", None)
        if callable(statistics):
            try:
                found = dict(statistics())
            except _CRASHES as error:  # packets are not affected: show the error instead of the figures
                found = {"statistics": f"{type(error).__name__}: {error}"}
        own = {"held": self.held, "errors": self.errors, "restarts": self.restarts}
        return own | ({"last_error": self.last_error} if self.last_error else {}) | found

    def _guarded(self, call: Callable[[Stage], list[Packet]], given: int) -> list[Packet]:
        if self._stage is None and not self._restart():
            self._lose(given)
            return []
        assert self._stage is not None
        had, dropped = self.held + given, sum(self._drops.values())
        try:
            going = call(self._stage)
            left = had - (sum(self._drops.values()) - dropped) - len(going)
            if left < 0 or any(packet.reason is not None for packet in going):
                raise ValueError(
                    "more packets came out than went in: leave dropped packets out, return the others once"
                )
        except _CRASHES as error:
            self._crashed(error, had - (sum(self._drops.values()) - dropped))
            return []
        self.held = left
        return going

    def _crashed(self, error: BaseException, lost: int) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"
        self._lose(max(0, lost))
        self.held = 0
        # Log each kind of exception once: a stage that fails on every packet would fill the log.
        kind = type(error).__name__
        if kind not in self._reported:
            self._reported.add(kind)
            _log.error(
                "stage %s of VM %s failed; its packets are dropped as %s and it is restarted: %s",
                self.name,
                self._context.vm,
                STAGE_ERROR,
                self.last_error,
                exc_info=error,
            )
            self._context.report(
                {"error": "stage", "stage": self.name, "vm": self._context.vm, "what": self.last_error}
            )
        self._stage = None
        self._restart()

    def _restart(self) -> bool:
        try:
            self._stage = self._registry.make(self.spec.stage, self._context, self.spec.settings)
        except HoverboardError as error:
            # The stage could be made before. Until it can be made again, its packets are dropped; each batch retries.
            self.last_error = str(error)
            return False
        self.restarts += 1
        return True

    def _lose(self, packets: int) -> None:
        if packets:
            self._drops[STAGE_ERROR] = self._drops.get(STAGE_ERROR, 0) + packets


@dataclass(frozen=True)
class Chain:
    """Stages in the order in which packets pass them."""

    runners: tuple[Runner, ...]


class Chains:
    """All chains of one VM.

    Args:
        context: context of the VM; each kind of stage (its name) gets it with a `kept` of its own.
        drops: dropped packets by reason; the worker's counters.
    """

    NONE = 0  # number of the empty chain

    def __init__(self, context: StageContext, registry: Registry, drops: dict[str, int]) -> None:
        self._context, self._registry, self._drops = context, registry, drops
        self._adding = threading.Lock()
        self._numbers: dict[tuple[StageSpec, ...], int] = {(): self.NONE}
        self._runners: dict[StageSpec, Runner] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._chains: list[Chain] = [Chain(())]

    def add(self, specs: Sequence[StageSpec]) -> int:
        """The number of the chain of these stages; the same for each call. New stages are made.

        Raises:
            InputError: a stage cannot be made.
        """
        key = tuple(specs)
        with self._adding:
            if key not in self._numbers:
                made = {spec: self._runner(spec) for spec in key}
                self._runners.update(made)
                self._chains.append(Chain(tuple(made[spec] for spec in key)))
                self._numbers[key] = len(self._chains) - 1
            return self._numbers[key]

    def get(self, number: int) -> Chain | None:
        """The chain of a number; None when there is no such chain."""
        return self._chains[number] if 0 <= number < len(self._chains) else None

    def runners(self) -> list[Runner]:
        """All stages of the VM, once each."""
        return list(self._runners.values())

    def statistics(self) -> Mapping[str, Any]:
        """Figures by stage; the second stage of one name gets " 2" behind its name."""
        found: dict[str, Any] = {}
        for runner in self.runners():
            name, number = runner.name, 2
            while name in found:
                name, number = f"{runner.name} {number}", number + 1
            found[name] = runner.statistics()
        return found

    def _runner(self, spec: StageSpec) -> Runner:
        known = self._runners.get(spec)
        if known is not None:
            return known
        kept = self._kept.setdefault(self._registry.find(spec.stage).name, {})
        return Runner(spec, replace(self._context, kept=kept), self._registry, self._drops)
