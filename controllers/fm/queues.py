"""A queue for each virtual network, served in turn by what each one costs (paper section 3.1).

Deficit round robin (Shreedhar and Varghese, 1995), with the cost charged when it is known, after the
work: a queue may overdraw by one item, and then waits until the others have had as much. So a network
that asks for 10,000 VMs delays another's one VM by one item of its own, not by 10,000. Pure; knows
nothing of what the items are. One shared queue, first come first served, is there for comparison.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

DEFAULT_QUANTUM = 64  # cost a queue may use in a round; ours, about what one VM costs at eight switches


class FairQueues(Generic[K, T]):
    """Items by key; `take` gives the next of the key whose turn it is.

    Args:
        quantum: what a key may use each time its turn comes round; any cost is in the same unit.
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
        """An item waits in its key's queue."""
        queue = self._queue(key)
        items = self._waiting.get(queue)
        if items is None:
            items = self._waiting[queue] = deque()
            self._round.append(queue)
            # A queue that has just run empty does not come back with more than it left with.
            self._credit.setdefault(queue, 0.0)
        items.append((key, item))

    def waiting(self, key: K) -> int:
        """How many items of a key wait."""
        items = self._waiting.get(self._queue(key), ())
        return sum(1 for of, _ in items if of == key)

    def take(self, may: Callable[[K], bool] = lambda key: True) -> tuple[K, T] | None:
        """The next item, or None where none may go now; its cost is to be charged.

        Args:
            may: whether an item of this key may go now; what may not keeps its place, and gains nothing by waiting.
        """
        ready = [queue for queue in self._round if may(self._waiting[queue][0][0])]
        if not ready:
            return None
        # As many whole rounds as it takes until one of them may go, at once instead of one by one; none where one may.
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
        """An item of `key` that was taken has cost so much."""
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
            del self._credit[queue]  # no debt: nothing to remember
        if not self._waiting and not self._busy:
            self._credit.clear()  # nothing waits and nothing is under way: no debt delays another queue
