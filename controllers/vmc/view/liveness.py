"""Which Hoverboards can be sent to: one that has died is left out of the default routes (paper 3.3.1, 3.5).

Pure. A Hoverboard lives while its switch's session and its host process's stream stand, as far as this
controller has heard of them. Where all seem dead none is left out (fail static).
"""

from __future__ import annotations

# Seconds, ours. A Hoverboard whose connection broke may be back at once; one that came back may go again.
GRACE, PROBATION = 0.1, 1.0
PATIENCE = 5.0  # for one of which a young controller has heard nothing at all


class Liveness:
    """Hears of connections, says who is down.

    Attributes:
        down: names of Hoverboards that are out.
    """

    def __init__(self) -> None:
        self.down: set[str] = set()
        self._connections: dict[str, dict[str, bool]] = {}  # node -> connections known -> whether each stands
        self._due: dict[str, float] = {}  # node -> when it goes down, or comes back

    def watch(self, node: str, now: float) -> None:
        """A Hoverboard there should be; every partition hears of every one."""
        if not self._connections.setdefault(node, {}) and node not in self.down:
            self._due[node] = now + PATIENCE

    def forget(self, node: str) -> None:
        """A Hoverboard there should be no more."""
        self._connections.pop(node, None)
        self._due.pop(node, None)
        self.down.discard(node)

    def connection_up(self, node: str, part: str, now: float) -> None:
        """A connection of a node ("switch" or "agent") stands."""
        if node not in self._connections:
            return
        self._connections[node][part] = True
        if all(self._connections[node].values()):
            if node in self.down:
                self._due[node] = now + PROBATION
            else:
                self._due.pop(node, None)

    def connection_down(self, node: str, part: str, now: float, *, reported: bool = True) -> None:
        """A connection of a node broke; or, not `told`, the line to the front end that tells of this node."""
        if not reported:
            self.front_end_lost(node, now)
        elif node in self._connections:
            self._connections[node][part] = False
            self._due.pop(node, None)
            if node not in self.down:
                self._due[node] = now + GRACE

    def front_end_lost(self, node: str, now: float) -> None:
        """The front end of this node is lost. The node counts as up for PATIENCE seconds."""
        if node in self._connections:
            self._connections[node].clear()
            self._due.pop(node, None)
            if node not in self.down:
                self._due[node] = now + PATIENCE

    def tick(self, now: float) -> bool:
        """Let time pass; whether `down` changed."""
        due = [node for node, at in self._due.items() if at <= now]
        for node in due:
            del self._due[node]
            self.down ^= {node}
        return bool(due)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min(self._due.values(), default=None)
