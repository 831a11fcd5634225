"""A queue for each virtual network, served in turn by the cost of each network's items (paper section 3.1). Pure.

Deficit round robin (Shreedhar and Varghese, 1995). The cost is charged after the work, when it is known. A queue may
overdraw by one item, and then waits until the other queues have had as much. So a network that adds 10,000 VMs delays
another network's VM by one item, not by 10,000. One shared queue, first come first served, is there for comparison.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

DEFAULT_QUANTUM = 64  # cost that a queue may use in a round; ours, about the cost of one VM at eight switches


class FairQueues(Generic[K, T]):
    """Items by key; `take` gives the next item of the key whose turn it is.

    Args:
        quantum: the cost that a key may use in each round; costs have the same unit.
        fair: False: all keys share one queue, first come first served.
    """

    def __init__(self, quantum: float = DEFAULT_QUANTUM, *, fair: bool = True) -> None:
        if not quantum > 0:
            raise ValueError(f"a quantum of {quantum} gives no queue a turn")
        self.quantum = quantum
        self.fair = fair
        self._waiting: dict[K | None, deque[tuple[K, T]]] = {}
        self._round: deque[K | None] = deque()  # queues with items, in the order of their turns
        self._credit: dict[K | None, float] = {}
        self._busy: dict[K | None, int] = {}  # taken and not charged yet

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def _queue(self, key: K) -> K | None:
        return key if self.fair else None

    def put(self, key: K, item: T) -> None:
        """Put an item into its key's queue."""
        queue = self._queue(key)
        items = self._waiting.get(queue)
        if items is None:
            items = self._waiting[queue] = deque()
            self._round.append(queue)
            # A queue that has just run empty keeps its credit.
            self._credit.setdefault(queue, 0.0)
        items.append((key, item))

    def waiting(self, key: K) -> int:
        """The number of waiting items of a key."""
        items = self._waiting.get(self._queue(key), ())
        return sum(1 for of, _ in items if of == key)

    def take(self, may: Callable[[K], bool] = lambda key: True) -> tuple[K, T] | None:
        """Remove and return the next item, or None if none may go now; call `charge` with its cost later.

        Args:
            may: whether an item of this key may go now; an item that may not keeps its place, and gains no credit.
        """
        ready = [queue for queue in self._round if may(self._waiting[queue][0][0])]
        if not ready:
            return None
        # Add the credit of as many whole rounds as one of them needs, in one step; 0 rounds if one has credit.
        rounds = max(0, min(int(-self._credit[queue] // self.quantum) + 1 for queue in ready))
        for queue in ready:
            self._credit[queue] += rounds * self.quantum
        queue = next(queue for queue in ready if self._credit[queue] > 0)
        key, item = self._waiting[queue].popleft()
        self._busy[queue] = self._busy.get(queue, 0) + 1
        if not self._waiting[queue]:
            del self._waiting[queue]
            self._round.remove(queue)
        return key, item

    def charge(self, key: K, cost: float) -> None:
        """Charge the cost of an item of `key` that was taken."""
        queue = self._queue(key)
        self._credit[queue] -= max(cost, 1.0)
        self._busy[queue] -= 1
        if not self._busy[queue]:
            del self._busy[queue]
        if queue in self._waiting:
            if self._credit[queue] <= 0:
                self._round.remove(queue)
                self._round.append(queue)
        elif queue not in self._busy and self._credit[queue] >= 0:
            del self._credit[queue]  # no debt to remember
        if not self._waiting and not self._busy:
            self._credit.clear()  # all queues are empty and nothing is in progress: debts are forgotten
