"""From one programming model to another on running switches, without a hole (make before break).

Stands in for `ExpectedFlows` while it lasts, with the flows of both models underneath. In stage
"gain" the Hoverboards hold both models' flows; when they have them, in stage "hosts", each host goes
over in one atomic change; when the hosts have done so and what they sent before has arrived, the
Hoverboards lose what is not needed any more, and the new model stands alone. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from controllers.program import Flows, Program
from controllers.vmc.expected import ExpectedFlows, Table
from controllers.vmc.view import Scope, View
from hoverboard.contract.flow import Flow, FlowKey

Stage = Literal["gain", "hosts"]
Made = dict[FlowKey, Flow]


def difference(old: Mapping[FlowKey, Flow], new: Mapping[FlowKey, Flow]) -> Program:
    """What makes a switch with `old` hold `new`."""
    adds = tuple([flow for key, flow in new.items() if old.get(key) != flow])
    return Program(adds, tuple([key for key in old if key not in new]))


class _Union(Table):
    """The flows of a Hoverboard under two models; where they differ in one key, the new one's."""

    def __init__(self, old: Made, new: Made) -> None:
        super().__init__({})
        self.sides = (old, new)
        self._made = {**old, **new}

    @property
    def flows(self) -> Flows:
        """All flows."""
        return Flows(self._made.values())

    def whole(self) -> Made:
        """All flows by key."""
        return self._made

    def follow(self, changes: tuple[Program | None, Program | None]) -> Program:
        """Each model's own change; what the switch needs for both."""
        touched: dict[FlowKey, None] = {}
        for side, program in zip(self.sides, changes, strict=True):
            if program is not None:
                for key in program.deletes:
                    del side[key]
                    touched[key] = None
                for flow in program.adds:
                    side[flow.key] = flow
                    touched[flow.key] = None
        old, new = self.sides
        adds: list[Flow] = []
        deletes: list[FlowKey] = []
        for key in touched:
            wanted = new.get(key) or old.get(key)
            if wanted is None:
                if self._made.pop(key, None) is not None:
                    deletes.append(key)
            elif self._made.get(key) != wanted:
                self._made[key] = wanted
                adds.append(wanted)
        return Program(tuple(adds), tuple(deletes))


class _Tables(Mapping[str, Table]):
    def __init__(self, switchover: Switchover) -> None:
        self._switchover = switchover

    def __getitem__(self, switch: str) -> Table:
        return self._switchover.table(switch)

    def __iter__(self) -> Iterator[str]:
        return iter(self._switchover.new.tables)

    def __len__(self) -> int:
        return len(self._switchover.new.tables)

    def __contains__(self, switch: object) -> bool:
        return switch in self._switchover.new.tables


class Switchover:
    """The flows of all switches while the model changes; the same methods as `ExpectedFlows`.

    Args:
        old, new: both have settled.
    """

    def __init__(self, old: ExpectedFlows, new: ExpectedFlows, view: View) -> None:
        self.old, self.new = old, new
        self.stage: Stage = "gain"
        self.tables: Mapping[str, Table] = _Tables(self)
        self._view = view
        self._unions = {
            name: _Union(old.tables[name].whole(), new.tables[name].whole())
            for name in new.tables
            if name in view.hoverboards
        }

    def table(self, switch: str) -> Table:
        """What a switch should hold now."""
        union = self._unions.get(switch)
        return union if union is not None else (self.old if self.stage == "gain" else self.new).tables[switch]

    def begin(self) -> dict[str, Program]:
        """Both models' flows for the Hoverboards; what each needs for that."""
        return _some({name: difference(union.sides[0], union.whole()) for name, union in self._unions.items()})

    def advance(self) -> dict[str, Program]:
        """To the hosts' stage; what each host needs for that."""
        self.stage = "hosts"
        return _some(
            {
                name: difference(self.old.tables[name].whole(), self.new.tables[name].whole())
                for name in self.tables
                if name not in self._unions
            }
        )

    def finish(self) -> dict[str, Program]:
        """The new model alone; what each Hoverboard needs for that."""
        return _some({name: difference(union.whole(), union.sides[1]) for name, union in self._unions.items()})

    # --- as ExpectedFlows -----------------------------------------------------------------------------

    def add_switch(self, switch: str) -> None:
        """A switch exists from now on."""
        for side in (self.old, self.new):
            side.add_switch(switch)
        if switch in self._view.hoverboards:
            self._unions[switch] = _Union({}, {})

    def remove_switch(self, switch: str) -> None:
        """A switch is not ours any more."""
        for side in (self.old, self.new):
            side.remove_switch(switch)
        self._unions.pop(switch, None)

    def mark(self, scope: Scope, switch: str | None = None) -> None:
        """Look at a scope again."""
        self.old.mark(scope, switch)
        self.new.mark(scope, switch)

    def grant(self, scope: Scope, given: bool) -> None:
        """As in ExpectedFlows; each model takes what it knows."""
        self.old.grant(scope, given)
        self.new.grant(scope, given)

    def settle(self) -> dict[str, Program]:
        """Bring `tables` up to date; what each switch needs for that."""
        old, new = self.old.settle(), self.new.settle()
        programs = {}
        for name in old.keys() | new.keys():
            union = self._unions.get(name)
            if union is not None:
                programs[name] = union.follow((old.get(name), new.get(name)))
            else:
                programs[name] = (old if self.stage == "gain" else new).get(name, Program())
        return _some(programs)


def _some(programs: dict[str, Program]) -> dict[str, Program]:
    return {name: program for name, program in programs.items() if program}
