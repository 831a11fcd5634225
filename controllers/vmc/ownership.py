"""The nodes and switches that one controller programs, and whether it knows enough to program them (paper 3.1).

A controller has the switches of its partition. On them it has the flows of its share. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from controllers.vmc.flows.flow_share import FlowShare
from controllers.vmc.view.facts import Agents
from controllers.vmc.view.intent import View


class Ownership:
    """The part of the intent that one controller programs.

    Args:
        view: the intent, as this controller knows it.
        agents: the host agents that said Hello.
        share: which flows of its switches it programs.
        owns: whether a switch, by datapath id, is in its partition; default: all are.

    Attributes:
        complete: a full update has come, so that the view has every node of the intent.
    """

    def __init__(self, view: View, agents: Agents, share: FlowShare, owns: Callable[[int], bool] | None = None) -> None:
        self.complete = False
        self._view = view
        self._agents = agents
        self._share = share
        self._owns = owns

    def external(self) -> list[str]:
        """The hosts of its share that other controllers program."""
        return sorted(name for name in self._view.external if self._share.programs(self._view, name))

    def ours(self, dpid: int, node: str) -> bool:
        """Whether this controller programs a node of the view; `dpid` is of the node's switch."""
        ours = node not in self._view.external and self._share.programs(self._view, node)
        return ours and self._in_partition(dpid)

    def can_reconcile(self, node: str) -> bool:
        """Whether the controller knows enough of a node to compare the flows of its switch with the expected ones."""
        return self.complete and node in self._agents.known

    def abandoned(self, dpid: int) -> bool:
        """Whether to empty a connected switch that has no node in the view.

        Only the switches of a run connect to its controllers. So the node of this switch was removed from the intent,
        perhaps while no controller was up.
        """
        return self.complete and self._in_partition(dpid)

    def _in_partition(self, dpid: int) -> bool:
        return self._owns is None or self._owns(dpid)
