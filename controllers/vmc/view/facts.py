"""Physical facts: what switches and host agents say is there (paper sections 3.1 and 3.2).

Switches are known by datapath id and tell ports by name and number; agents tell which vport a VM's
NIC is plugged into. Facts stay when their teller goes away (fail static).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Sync(Enum):
    """How much of a switch's tables we know."""

    AWAY = "away"  # not connected
    WAITING = "waiting"  # connected; a full update or the agent's Hello is missing
    READING = "reading"  # asked for its flows
    FAILED = "failed"  # refused a program; read again after a pause
    SYNCED = "synced"  # holds what was last sent
    EXTERNAL = "external"  # others program it, and it does not connect to us


@dataclass(slots=True)
class Switch:
    """One switch.

    Attributes:
        generation: counts its connections, so that late answers of an old one are told apart.
        ports: OpenFlow port by name.
        outstanding: programs sent and not yet answered.
        inherited: another controller has kept it in step until now, so that changes need not wait for the read.
        retry_at: when to try again after a refusal; `pause` is how long that took.
    """

    dpid: int
    generation: int = 0
    sync: Sync = Sync.AWAY
    ports: dict[str, int] = field(default_factory=dict)
    outstanding: int = 0
    inherited: bool = False
    errors: int = 0
    last_error: str = ""
    retry_at: float = 0.0
    pause: float = 0.0

    @property
    def connected(self) -> bool:
        """Whether it is there."""
        return self.sync is not Sync.AWAY


class Agents:
    """Bindings by node, both ways: VM -> vport and vport -> VM."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.online: set[str] = set()
        self._vport: dict[str, dict[str, str]] = {}
        self._vm: dict[str, dict[str, str]] = {}

    def vport(self, node: str, vm: str) -> str:
        """The vport of a VM on a node; "" for none."""
        return self._vport.get(node, {}).get(vm, "")

    def vm(self, node: str, vport: str) -> str | None:
        """The VM plugged into a vport of a node, or None."""
        return self._vm.get(node, {}).get(vport)

    def replace(self, node: str, bindings: Mapping[str, str]) -> set[str]:
        """All bindings of a node, VM -> vport; returns the VMs whose binding is new, other or gone."""
        before = dict(self._vport.get(node, {}))
        self._vport[node], self._vm[node] = {}, {}
        for vm, vport in bindings.items():
            self.bind(node, vm, vport)
        after = self._vport[node]
        return {vm for vm in before.keys() | after.keys() if before.get(vm) != after.get(vm)}

    def bind(self, node: str, vm: str, vport: str) -> tuple[str, ...]:
        """Plug a VM into a vport; returns the VMs touched (a vport holds one VM: the last wins)."""
        self.unbind(node, vm)
        former = self._vm.setdefault(node, {}).get(vport)
        if former is not None:
            self.unbind(node, former)
        self._vport.setdefault(node, {})[vm] = vport
        self._vm[node][vport] = vm
        return (vm,) if former is None else (vm, former)

    def unbind(self, node: str, vm: str) -> None:
        """Unplug a VM; harmless if it is not plugged in."""
        vport = self._vport.get(node, {}).pop(vm, None)
        if vport is not None:
            del self._vm[node][vport]
