"""A change from one programming model to another on running switches without loss (make before break).

It replaces `ExpectedFlows` during the change, and holds the flows of both models. In the stage "gain", the Hoverboards
receive the flows of both models. In the stage "hosts", each host changes to the new model in one atomic program. When
packets of the old model have arrived, the Hoverboards lose its flows, and the new model stays alone. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from controllers.program import Flows, Program
from controllers.vmc.flows.expected import ExpectedFlows, SwitchFlows
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.flow_scopes import LookupScope, OffloadScope, Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.openflow.flow import Flow, FlowKey

Stage = Literal["gain", "hosts"]
Made = dict[FlowKey, Flow]


def difference(old: Mapping[FlowKey, Flow], new: Mapping[FlowKey, Flow]) -> Program:
    """The program that changes a switch from `old` to `new`."""
    adds = tuple([flow for key, flow in new.items() if old.get(key) != flow])
    return Program(adds, tuple([key for key in old if key not in new]))


class _Union(SwitchFlows):
    """The flows of a Hoverboard under two models; for a key of both, the new model's flow."""

    def __init__(self, old: Made, new: Made) -> None:
        self.old, self.new = old, new
        self._made = {**old, **new}

    @property
    def flows(self) -> Flows:
        return Flows(self._made.values())

    def by_key(self) -> Made:
        return dict(self._made)

    def follow(self, of_old: Program, of_new: Program) -> Program:
        """Apply each model's changes; return the program that the switch needs for both."""
        adds: list[Flow] = []
        deletes: list[FlowKey] = []
        for key in {**_applied(self.old, of_old), **_applied(self.new, of_new)}:
            wanted = self.new.get(key) or self.old.get(key)
            if wanted is None:
                del self._made[key]
                deletes.append(key)
            elif self._made.get(key) != wanted:
                self._made[key] = wanted
                adds.append(wanted)
        return Program(tuple(adds), tuple(deletes))


def _applied(table: Made, program: Program) -> dict[FlowKey, None]:
    """Apply a program; return the keys that it touches, in its order."""
    touched = dict.fromkeys(program.deletes)
    for key in program.deletes:
        del table[key]
    for flow in program.adds:
        table[flow.key] = flow
        touched[flow.key] = None
    return touched


class Switchover:
    """The flows of all switches while the model changes; the same methods as `ExpectedFlows`.

    Args:
        old, new: both have settled.

    Attributes:
        tables: the flows that each switch should hold now, by name.
    """

    def __init__(self, old: ExpectedFlows, new: ExpectedFlows, view: View) -> None:
        self.old, self.new = old, new
        self.stage: Stage = "gain"
        self._view = view
        self._unions = {
            name: _Union(old.tables[name].by_key(), new.tables[name].by_key())
            for name in new.tables
            if name in view.hoverboards
        }
        self.tables = self._tables()

    def _tables(self) -> dict[str, SwitchFlows]:
        return {**(self.old if self.stage == "gain" else self.new).tables, **self._unions}

    def begin(self) -> dict[str, Program]:
        """The programs that give the Hoverboards the flows of both models."""
        return _nonempty({name: difference(union.old, union.by_key()) for name, union in self._unions.items()})

    def advance(self) -> dict[str, Program]:
        """Enter the stage "hosts"; return the program that each host needs."""
        self.stage = "hosts"
        self.tables = self._tables()
        return _nonempty(
            {
                name: difference(self.old.tables[name].by_key(), self.new.tables[name].by_key())
                for name in self.tables
                if name not in self._unions
            }
        )

    def finish(self) -> dict[str, Program]:
        """The programs that leave the Hoverboards only the flows of the new model."""
        return _nonempty({name: difference(union.by_key(), union.new) for name, union in self._unions.items()})

    # --- as ExpectedFlows -----------------------------------------------------------------------------

    @property
    def models(self) -> tuple[ProgrammingModel, ...]:
        """The models whose flows these are: both."""
        return (self.old.model, self.new.model)

    def add_switch(self, switch: str) -> None:
        """Add a switch."""
        for side in (self.old, self.new):
            side.add_switch(switch)
        if switch in self._view.hoverboards:
            self._unions[switch] = _Union({}, {})
        self.tables = self._tables()

    def remove_switch(self, switch: str) -> None:
        """Remove a switch that is no longer ours."""
        for side in (self.old, self.new):
            side.remove_switch(switch)
        self._unions.pop(switch, None)
        self.tables = self._tables()

    def mark(self, scope: Scope, switch: str | None = None) -> None:
        """Mark a scope (see `ExpectedFlows.mark`)."""
        self.old.mark(scope, switch)
        self.new.mark(scope, switch)

    def grant(self, scope: OffloadScope | LookupScope, given: bool) -> None:
        """Grant or withdraw a scope's flows (see `ExpectedFlows.grant`); each model takes the scopes it knows."""
        self.old.grant(scope, given)
        self.new.grant(scope, given)

    def settle(self) -> dict[str, Program]:
        """Bring `tables` up to date; return the program that each switch needs."""
        old, new = self.old.settle(), self.new.settle()
        programs = dict(old if self.stage == "gain" else new)
        for name, union in self._unions.items():
            programs[name] = union.follow(old.get(name, Program()), new.get(name, Program()))
        return _nonempty(programs)


def _nonempty(programs: dict[str, Program]) -> dict[str, Program]:
    return {name: program for name, program in programs.items() if program}
