"""Which Hoverboards are alive: a dead one is left out of the default routes (paper 3.3.1, 3.5). Pure.

A Hoverboard is alive while its switch's session and its host process's stream are up, as far as this controller knows.
If all seem dead, none is left out (fail static).
"""

from __future__ import annotations

# Seconds, ours: wait GRACE before a Hoverboard counts as down, and PROBATION before it counts as up again.
GRACE, PROBATION = 0.1, 1.0
PATIENCE = 5.0  # wait for a Hoverboard whose connections are unknown, as in a new controller


class Liveness:
    """Decides from the state of connections which Hoverboards are down.

    Attributes:
        down: names of the Hoverboards that are down.
    """

    def __init__(self) -> None:
        self.down: set[str] = set()
        self._connections: dict[str, dict[str, bool]] = {}  # node -> each known connection -> whether it is up
        self._due: dict[str, float] = {}  # node -> time at which it counts as down, or as up again

    def watch(self, node: str, now: float) -> None:
        """Watch a Hoverboard of the intent; every partition watches all of them."""
        if not self._connections.setdefault(node, {}) and node not in self.down:
            self._due[node] = now + PATIENCE

    def forget(self, node: str) -> None:
        """Forget a Hoverboard that left the intent."""
        self._connections.pop(node, None)
        self._due.pop(node, None)
        self.down.discard(node)

    def connection_up(self, node: str, part: str, now: float) -> None:
        """Record that a connection of a node ("switch" or "agent") is up."""
        if node not in self._connections:
            return
        self._connections[node][part] = True
        if all(self._connections[node].values()):
            if node in self.down:
                self._due[node] = now + PROBATION
            else:
                self._due.pop(node, None)

    def connection_down(self, node: str, part: str, now: float, *, reported: bool = True) -> None:
        """Record that a connection of a node broke; not `reported`: that its front end is lost."""
        if not reported:
            self.front_end_lost(node, now)
        elif node in self._connections:
            self._connections[node][part] = False
            self._due.pop(node, None)
            if node not in self.down:
                self._due[node] = now + GRACE

    def front_end_lost(self, node: str, now: float) -> None:
        """Record that the front end of this node is lost. The node counts as up for PATIENCE seconds."""
        if node in self._connections:
            self._connections[node].clear()
            self._due.pop(node, None)
            if node not in self.down:
                self._due[node] = now + PATIENCE

    def tick(self, now: float) -> bool:
        """Let time pass; return whether `down` changed."""
        due = [node for node, at in self._due.items() if at <= now]
        for node in due:
            del self._due[node]
            self.down ^= {node}
        return bool(due)

    def deadline(self) -> float | None:
        """The time at which `tick` is due next, or None."""
        return min(self._due.values(), default=None)
