"""Joins of intent and facts (paper section 3.1): a VM is plugged in if its host's agent and switch agree. Pure."""

from __future__ import annotations

from controllers.vmc.switch_programs import SwitchPrograms
from controllers.vmc.view.facts import Agents
from controllers.vmc.view.intent import View


class Joins:
    """Keeps `View.ports` up to date."""

    def __init__(self, view: View, agents: Agents, programs: SwitchPrograms) -> None:
        self._view = view
        self._agents = agents
        self._programs = programs

    def update(self, vm_name: str) -> bool:
        """Join intent, binding and port of one VM; return whether the result changed."""
        view = self._view
        vm = view.vms.get(vm_name)
        switch = self._programs.switch_of(vm.host) if vm is not None else None
        port = None
        if vm is not None and switch is not None:
            port = switch.ports.get(self._agents.vport(vm.host, vm.name))
        if view.ports.get(vm_name) == port:
            return False
        if port is None:
            del view.ports[vm_name]
        else:
            view.ports[vm_name] = port  # tour: vm 8
        return True
