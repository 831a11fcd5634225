"""What a standby would have sent lately: its master may have died before it sent the same (paper section 3.5). Pure.

A standby that is elected sends what the master did not report as done, and need not wait until it has read its
switches: a change that comes while the master dies is the one that somebody waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from controllers.program import Program
from hoverboard.contract.openflow.flow import Flow, FlowKey

# Seconds: longer than it takes to notice a dead or hanging master. Flow changes: what is more is left to the read.
WINDOW, MOST = 3.0, 2_000


class _Kept(NamedTuple):
    at: float
    number: int  # of the update that it is for; 0: that is done, or it is for what switches and agents said
    name: str
    program: Program


class UnconfirmedPrograms:
    """Programs of the last WINDOW seconds, and no more than MOST changes."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._size = 0

    def keep(self, name: str, program: Program, number: int, now: float) -> None:
        """A program for the switch `name` that was not sent."""
        self._kept.append(_Kept(now, number, name, program))
        self._size += len(program)
        while self._size > MOST:
            self._size -= len(self._kept.popleft().program)

    def applied(self, number: int) -> None:
        """The master has put the update of this number into its switches."""
        # It stays, for it may have changed again what an update before it is for.
        self._kept = deque([one._replace(number=0) if one.number == number else one for one in self._kept])

    def take(self, now: float) -> Iterator[tuple[str, Program]]:
        """For each switch what updates ask of it, in one program; then nothing is left.

        What is done or has another cause counts only where it changes the same flows again.
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
