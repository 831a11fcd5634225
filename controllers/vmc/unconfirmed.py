"""Programs of the last 3 s that the master has not confirmed (paper section 3.5). Pure.

A standby keeps them, and sends them first when it becomes master; it need not read its switches before. So a change
that comes while the master dies is not delayed by the reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from controllers.program import Program
from hoverboard.contract.openflow.flow import Flow, FlowKey

# Seconds: longer than it takes to notice a dead or hanging master. Flow changes: the read finds what exceeds this.
WINDOW, MOST = 3.0, 2_000


class _Kept(NamedTuple):
    at: float
    number: int  # of its update; 0: confirmed, or the cause was an event of a switch or agent
    name: str
    program: Program


class UnconfirmedPrograms:
    """Programs of the last WINDOW seconds, and no more than MOST changes."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._size = 0

    def keep(self, name: str, program: Program, number: int, now: float) -> None:
        """Keep a program for the switch `name` that was not sent."""
        self._kept.append(_Kept(now, number, name, program))
        self._size += len(program)
        while self._size > MOST:
            self._size -= len(self._kept.popleft().program)

    def applied(self, number: int) -> None:
        """Mark the update of this number as confirmed by the master."""
        # It stays: it may have changed flows that an earlier, unconfirmed update changed, too.
        self._kept = deque([one._replace(number=0) if one.number == number else one for one in self._kept])

    def take(self, now: float) -> Iterator[tuple[str, Program]]:
        """The flow changes of unconfirmed updates, one program per switch; nothing is kept after that.

        Programs that are confirmed or have another cause count only where they change flows of an unconfirmed update.
        """
        merged: dict[str, dict[FlowKey, Flow | None]] = {}
        for at, number, name, program in self._kept:
            if now - at > WINDOW:
                continue
            asked: dict[FlowKey, Flow | None] = dict.fromkeys(program.deletes)
            asked.update((flow.key, flow) for flow in program.adds)
            last = merged.setdefault(name, {})
            last.update(asked if number else {key: flow for key, flow in asked.items() if key in last})
        self._kept.clear()
        self._size = 0
        for name, last in merged.items():
            if last:
                adds = tuple([flow for flow in last.values() if flow is not None])
                yield name, Program(adds, tuple([key for key, flow in last.items() if flow is None]))
