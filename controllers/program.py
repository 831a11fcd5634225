"""What VM controllers send to switches: flow programs, as plain data.

A program is applied by a switch as one atomic, ordered change. Neither side's libraries show here.
"""

from __future__ import annotations

from dataclasses import dataclass

from hoverboard.contract.flow import Flow, FlowKey


@dataclass(frozen=True, slots=True)
class Program:
    """One atomic change of one switch: `deletes` (by table, priority, match) first, then `adds`.

    Adding a flow whose key exists replaces it. No key is in both parts.
    """

    adds: tuple[Flow, ...] = ()
    deletes: tuple[FlowKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.adds or self.deletes)

    def __len__(self) -> int:
        return len(self.adds) + len(self.deletes)
