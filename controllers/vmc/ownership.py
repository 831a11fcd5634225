"""Which nodes and switches are one controller's to program, and whether it knows enough to do so (paper section 3.1).

A controller has the switches of its partition, and on them the flows of its share. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from controllers.vmc.flows.flow_share import FlowShare
from controllers.vmc.view.facts import Agents
from controllers.vmc.view.intent import View


class Ownership:
    """What is one controller's to program.

    Args:
        view: the intent that it knows.
        agents: the host agents that it has heard.
        share: which flows of its switches it programs.
        owns: whether a switch, by datapath id, is in its partition; default: all are.

    Attributes:
        complete: a full update was seen: nodes that are not in the view are not intended.
    """

    def __init__(self, view: View, agents: Agents, share: FlowShare, owns: Callable[[int], bool] | None = None) -> None:
        self.complete = False
        self._view = view
        self._agents = agents
        self._share = share
        self._owns = owns

    def external(self) -> list[str]:
        """Hosts of its share whose switches others program."""
        return sorted(name for name in self._view.external if self._share.programs(self._view, name))

    def ours(self, dpid: int, node: str) -> bool:
        """Whether to program a node of the view, whose switch has this datapath id."""
        ours = node not in self._view.external and self._share.programs(self._view, node)
        return ours and self._in_partition(dpid)

    def judges(self, node: str) -> bool:
        """Whether enough is known of a node to judge what its switch holds."""
        return self.complete and node in self._agents.heard

    def abandoned(self, dpid: int) -> bool:
        """Whether to empty a connected switch that no node of the view has.

        Only switches of a testbed connect to its controllers, so its node was removed from the intent, perhaps
        while no controller was there to withdraw the program.
        """
        return self.complete and self._in_partition(dpid)

    def _in_partition(self, dpid: int) -> bool:
        return self._owns is None or self._owns(dpid)
