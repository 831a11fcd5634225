"""From one programming model to another on running switches, without a hole (make before break).

Stands in for `ExpectedFlows` while it lasts, with the flows of both models underneath. In stage
"gain" the Hoverboards hold both models' flows; when they have them, in stage "hosts", each host goes
over in one atomic change; when the hosts have done so and what they sent before has arrived, the
Hoverboards lose what is not needed any more, and the new model stands alone. Pure.
"""

from __future__ import annotations

from typing import Literal

from controllers.program import Program
from controllers.vmc.expected import ExpectedFlows
from controllers.vmc.view import Scope, View
from hoverboard.contract.flow import Flow, FlowKey

Stage = Literal["gain", "hosts"]
Table = dict[FlowKey, Flow]


def difference(old: Table, new: Table) -> Program:
    """What makes a switch with `old` hold `new`."""
    return Program(
        tuple(flow for key, flow in new.items() if old.get(key) != flow), tuple(key for key in old if key not in new)
    )


class Switchover:
    """The flows of all switches while the model changes; the same methods as `ExpectedFlows`."""

    def __init__(self, old: ExpectedFlows, new: ExpectedFlows, view: View) -> None:
        self.old, self.new = old, new
        self.stage: Stage = "gain"
        self._view = view
        self._gateways = {name for name in old.tables if name in view.hoverboards}
        self.tables: dict[str, Table] = dict(old.tables)

    @property
    def model(self) -> object:
        """The model that comes."""
        return self.new.model

    def begin(self) -> dict[str, Program]:
        """Both models' flows for the Hoverboards; what each needs for that. Both sides have settled."""
        programs = {}
        for name in self._gateways:
            before = self.old.tables[name]
            self.tables[name] = {**before, **self.new.tables[name]}
            programs[name] = difference(before, self.tables[name])
        return {name: program for name, program in programs.items() if program}

    def advance(self) -> dict[str, Program]:
        """To the hosts' stage; what each host needs for that."""
        self.stage = "hosts"
        programs = {}
        for name in self.tables:
            if name not in self._gateways:
                programs[name] = difference(self.old.tables[name], self.new.tables[name])
                self.tables[name] = self.new.tables[name]
        return {name: program for name, program in programs.items() if program}

    def finish(self) -> dict[str, Program]:
        """The new model alone; what each Hoverboard needs for that."""
        programs = {name: difference(self.tables[name], self.new.tables[name]) for name in self._gateways}
        return {name: program for name, program in programs.items() if program}

    # --- as ExpectedFlows -----------------------------------------------------------------------------

    def add_switch(self, switch: str) -> None:
        """A switch exists from now on."""
        for side in (self.old, self.new):
            side.add_switch(switch)
        if switch in self._view.hoverboards:
            self._gateways.add(switch)
            self.tables[switch] = {}
        else:
            self.tables[switch] = (self.old if self.stage == "gain" else self.new).tables[switch]

    def remove_switch(self, switch: str) -> None:
        """A switch is not ours any more."""
        for side in (self.old, self.new):
            side.remove_switch(switch)
        del self.tables[switch]
        self._gateways.discard(switch)

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
        changes = (self.old.settle(), self.new.settle())
        programs: dict[str, Program] = {}
        for name in changes[0].keys() | changes[1].keys():
            if name in self._gateways:
                program = self._settle_gateway(name, changes)
            else:
                program = changes[self.stage == "hosts"].get(name, Program())
            if program:
                programs[name] = program
        return programs

    def _settle_gateway(self, name: str, changes: tuple[dict[str, Program], dict[str, Program]]) -> Program:
        old, new, table = self.old.tables[name], self.new.tables[name], self.tables[name]
        adds: list[Flow] = []
        deletes: list[FlowKey] = []
        touched: dict[FlowKey, None] = {}
        for side in changes:
            if (program := side.get(name)) is not None:
                touched.update(dict.fromkeys(program.deletes))
                touched.update(dict.fromkeys(flow.key for flow in program.adds))
        for key in touched:
            wanted = new.get(key, old.get(key))
            if wanted is None:
                if table.pop(key, None) is not None:
                    deletes.append(key)
            elif table.get(key) != wanted:
                table[key] = wanted
                adds.append(wanted)
        return Program(tuple(adds), tuple(deletes))
