"""Hosts and Hoverboards that are added, changed or removed: which switches this controller programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controllers.vmc.affected_scopes import FlowMarks
from controllers.vmc.switch_programs import SwitchPrograms
from controllers.vmc.view.facts import Agents
from controllers.vmc.view.intent import View
from controllers.vmc.view.liveness import Liveness
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import AnyEntity, Host, Hoverboard


class Nodes:
    """The nodes of the intent.

    Args:
        ours: whether this controller programs a node of the view, whose switch has that datapath id.
    """

    def __init__(
        self,
        view: View,
        programs: SwitchPrograms,
        marks: FlowMarks,
        agents: Agents,
        liveness: Liveness,
        ours: Callable[[int, str], bool],
    ) -> None:
        self._view = view
        self._programs = programs
        self._marks = marks
        self._agents = agents
        self._liveness = liveness
        self._ours = ours

    def changed(self, old: Sequence[AnyEntity], new: Sequence[AnyEntity], now: float) -> None:
        """Apply the changes of nodes among the entities that the view had before and has now."""
        removed = [node for node in old if isinstance(node, Host | Hoverboard)]
        added = [node for node in new if isinstance(node, Host | Hoverboard)]
        held = {datapath_id(node.underlay_ip) for node in removed if node.name in self._programs.expected.tables}
        for node in removed:
            self._programs.remove_node(datapath_id(node.underlay_ip))
        for node in added:
            self._programs.add_node(datapath_id(node.underlay_ip), node.name)
        owned = {node.name for node in added if self._ours(datapath_id(node.underlay_ip), node.name)}
        expected = self._programs.expected
        for node in removed:
            if node.name in expected.tables and node.name not in owned:
                expected.remove_switch(node.name)
            if not self._programs.has_node(node.name):
                self._liveness.forget(node.name)
            dpid = datapath_id(node.underlay_ip)
            if dpid in held and self._is_released(node.name, dpid):
                self._programs.retire(dpid)
        for node in added:
            if node.name in owned and node.name not in expected.tables:
                self._take_over(node.name)
            switch = self._programs.switch_of(node.name)
            if switch is not None:
                self._programs.read_if_ready(switch)
            if isinstance(node, Hoverboard):
                self._watch(node.name, now)
        if any(isinstance(node, Hoverboard) for node in (*removed, *added)):
            self._view.down = self._view.down & self._view.hoverboards.keys()
            self._marks.gateways()

    def _is_released(self, name: str, dpid: int) -> bool:
        """Whether a switch is no longer ours: its node left the intent, or other programs control it now."""
        if name in self._view.external:
            return self._programs.names.get(dpid) == name
        return not self._programs.has_node(name) and dpid not in self._programs.names

    def _take_over(self, name: str) -> None:
        """Start to program a node's switch; its host may already have VMs."""
        self._programs.expected.add_switch(name)
        for network in self._view.networks_on(name):
            self._marks.presence(name, network)

    def _watch(self, name: str, now: float) -> None:
        """Watch a Hoverboard's liveness, with the connections that it already has."""
        self._liveness.watch(name, now)
        if name in self._agents.online:
            self._liveness.connection_up(name, "agent", now)
        switch = self._programs.switch_of(name)
        if switch is not None and switch.connected:
            self._liveness.connection_up(name, "switch", now)
