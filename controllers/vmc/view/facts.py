"""Physical facts: the state that switches and host agents report (paper sections 3.1 and 3.2).

A switch is identified by datapath id, and reports its ports by name and number. An agent reports the vport of each VM's
NIC. Facts stay when the switch or agent disconnects (fail static).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Sync(Enum):
    """How far a switch's tables are known."""

    AWAY = "away"  # not connected
    WAITING = "waiting"  # connected; waits for a full update or the agent's Hello
    READING = "reading"  # its flows are being read
    FAILED = "failed"  # rejected a program; read again after a pause
    SYNCED = "synced"  # holds what was last sent
    EXTERNAL = "external"  # other programs control it; it does not connect to us


@dataclass(slots=True)
class Switch:
    """The known state of one switch.

    Attributes:
        generation: number of its connection; shows that a late answer belongs to an old connection.
        ports: OpenFlow port by name.
        outstanding: programs sent and not yet confirmed or rejected.
        inherited: another controller has kept it in step until now, so changes need not wait for the read.
        retry_at: time of the next read after a rejection; `pause` is the length of the wait.
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
        """Whether the switch is connected."""
        return self.sync is not Sync.AWAY


class Agents:
    """Bindings by node, both ways: VM -> vport and vport -> VM.

    Attributes:
        known: nodes whose agent has sent its bindings.
        online: nodes whose agent is connected.
    """

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
        """Replace all bindings of a node, VM -> vport; return the VMs whose binding changed."""
        before = dict(self._vport.get(node, {}))
        self._vport[node], self._vm[node] = {}, {}
        for vm, vport in bindings.items():
            self.bind(node, vm, vport)
        after = self._vport[node]
        return {vm for vm in before.keys() | after.keys() if before.get(vm) != after.get(vm)}

    def bind(self, node: str, vm: str, vport: str) -> tuple[str, ...]:
        """Bind a VM to a vport; return the VMs affected (a vport has one VM: the last one wins)."""
        self.unbind(node, vm)
        former = self._vm.setdefault(node, {}).get(vport)
        if former is not None:
            self.unbind(node, former)
        self._vport.setdefault(node, {})[vm] = vport
        self._vm[node][vport] = vm
        return (vm,) if former is None else (vm, former)

    def unbind(self, node: str, vm: str) -> None:
        """Unbind a VM; does nothing if it is not bound."""
        vport = self._vport.get(node, {}).pop(vm, None)
        if vport is not None:
            del self._vm[node][vport]
