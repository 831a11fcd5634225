"""A change of the programming model on running switches: when its next step is due, and what it waits for. Pure.

`switchover` knows the flows of each stage; this module watches the switches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controllers.program import Program
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.model_change.switchover import Stage, Switchover
from controllers.vmc.view.facts import Switch, Sync
from controllers.vmc.view.flow_scopes import BalancerScope, FirewallScope, NetworkScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View

# Seconds, ours. Open vSwitch's revalidators adapt its flow cache to its tables within half a second.
SETTLE, DRAIN = 0.5, 1.0
_GATE_INTERVAL = 0.05  # seconds between two calls of `gate`


class ModelChange:
    """The change in progress, if any.

    Args:
        switch_of: the known state of a node's switch, or None.
        gate: called at the end of a stage; whether the next stage may begin. Other partitions may be behind.

    Attributes:
        due: the earliest time of the next step.
    """

    def __init__(
        self, view: View, switch_of: Callable[[str], Switch | None], gate: Callable[[Stage], bool] | None = None
    ) -> None:
        self.due: float | None = None
        self._gate = gate
        self._view = view
        self._switch_of = switch_of

    def begin(self, old: ExpectedFlows, model: ProgrammingModel, now: float) -> tuple[Switchover, dict[str, Program]]:
        """Compute both models' flows; return them, and the first program of each Hoverboard. `old` has settled."""
        new = old.under(model)
        for name in old.tables:
            new.add_switch(name)
        for scope in _everything(self._view):
            new.mark(scope)
        new.settle()
        switchover = Switchover(old, new, self._view)
        self.due = now + SETTLE
        return switchover, switchover.begin()

    def ready(self, switchover: Switchover, now: float) -> bool:
        """Whether the next step may be taken now."""
        if self.waiting(switchover):
            self.due = now + (SETTLE if switchover.stage == "gain" else DRAIN)
        if self.due is None or self.due > now:
            return False
        if self._gate is not None and not self._gate(switchover.stage):
            self.due = now + _GATE_INTERVAL
            return False
        return True

    def step(self, switchover: Switchover, now: float) -> tuple[dict[str, Program], bool]:
        """Take the next step; return its programs, and whether it was the last step."""
        if switchover.stage == "gain":
            self.due = now + DRAIN
            return switchover.advance(), False
        self.due = None
        return switchover.finish(), True

    def waiting(self, switchover: Switchover) -> list[str]:
        """Connected switches of this stage that do not have their program yet."""
        gain = switchover.stage == "gain"
        return sorted(
            name
            for name in switchover.tables
            if (name in self._view.hoverboards) == gain
            and (switch := self._switch_of(name)) is not None
            and switch.connected
            and (switch.sync is not Sync.SYNCED or switch.outstanding)
        )


def _everything(view: View) -> Iterator[Scope]:
    """All scopes that the intent makes."""
    yield from (NetworkScope(network) for network in view.networks)
    yield from (FirewallScope(network) for network in view.networks)
    yield from (BalancerScope(name) for name in view.balancers)
    yield from (VmScope(vm) for vm in view.vms)
    for network, prefixes in view.routes.items():
        yield from (RouteScope(network, prefix) for prefix in prefixes)
