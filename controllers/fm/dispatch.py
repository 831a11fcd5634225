"""Passes accepted requests to the VM controllers, fairly between networks (paper section 3.1).

A request arrives here validated, and is answered when its pieces are programmed. The event loop runs between pieces.
Only a few pieces of one network are in progress at a time. So one network never fills a switch's queue, and pieces of
other networks do not wait behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field

from controllers.crash import crash_on_error
from controllers.fm.intent_store import Changes
from controllers.fm.queues import FairQueues
from controllers.fm.slices import claims, cut

UNDER_WAY = 2  # pieces of one network in progress: one in the switches, one in their queues

# Applies a change; returns the names of the switches whose program changed, when they have it or after a timeout.
Apply = Callable[[Changes, bool], Awaitable[list[str]]]


@dataclass(slots=True)
class _Request:
    """A request that is being programmed.

    Attributes:
        left: number of pieces that are not done.
        claims: what pieces in other queues must not affect meanwhile.
    """

    left: int
    claims: frozenset[Hashable]
    done: asyncio.Future[None]
    switches: set[str] = field(default_factory=set)
    fault: BaseException | None = None


class Dispatcher:
    """Queues of changes between the fabric manager's store and the VM controllers.

    Args:
        apply: passes one change to the controllers.
        fair: one queue per network; False: one queue for all networks, for experiments that compare.
    """

    def __init__(self, apply: Apply, *, fair: bool = True) -> None:
        self._apply = apply
        self._queues: FairQueues[str, tuple[_Request, Changes]] = FairQueues(fair=fair)
        self._under_way: Counter[str] = Counter()
        self._claimed: Counter[Hashable] = Counter()
        self._claimed_by: dict[Hashable, frozenset[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._turn = asyncio.Lock()  # held by a request that waits until all earlier ones are done
        self._pump_due = False

    @property
    def fair(self) -> bool:
        """Whether each network has a separate queue."""
        return self._queues.fair

    def waiting(self) -> int:
        """The number of pieces that wait or are in progress."""
        return len(self._queues) + sum(self._under_way.values())

    async def submit(self, changes: Changes, complete: bool) -> list[str]:
        """Program an accepted request; return the switches whose program changed.

        Call it in the order of the requests' versions: it enters its queue before it first waits.
        """
        with crash_on_error():
            return await self._submit(changes, complete)

    async def _submit(self, changes: Changes, complete: bool) -> list[str]:
        if not changes:
            return await self._apply(changes, complete)
        pieces = cut(changes) if complete else None
        if pieces is None or self._turn.locked():
            return await self._alone(changes, complete)
        held = frozenset(claims(changes))
        if not self._may_enter(held, pieces):
            return await self._alone(changes, complete)
        return await self._enter(held, pieces)

    def _may_enter(self, held: frozenset[Hashable], pieces: Iterable[str]) -> bool:
        """Whether no other queue contains anything that it affects."""
        if held.isdisjoint(self._claimed_by):
            return True
        networks = frozenset(pieces)
        return all(self._claimed_by.get(claim, networks) == networks for claim in held)

    async def _alone(self, changes: Changes, complete: bool) -> list[str]:
        """Apply a change when all earlier ones are done, and before any later one begins."""
        async with self._turn:
            await self._idle.wait()
            return await self._apply(changes, complete)

    async def _enter(self, held: frozenset[Hashable], pieces: dict[str, list[Changes]]) -> list[str]:
        loop = asyncio.get_running_loop()
        request = _Request(sum(map(len, pieces.values())), held, loop.create_future())
        self._claimed.update(held)
        self._claimed_by.update(dict.fromkeys(held, frozenset(pieces)))
        for network, changes_of_it in pieces.items():
            for piece in changes_of_it:
                self._queues.put(network, (request, piece))
        self._idle.clear()
        self._schedule()
        await asyncio.shield(request.done)
        return sorted(request.switches)

    def _schedule(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Begin one piece; the loop does other work before the next one."""
        self._pump_due = False
        shared = sum(self._under_way.values())
        taken = self._queues.take(lambda network: (self._under_way[network] if self.fair else shared) < UNDER_WAY)
        if taken is None:
            return
        network, (request, piece) = taken
        self._under_way[network] += 1
        task = asyncio.get_running_loop().create_task(self._work(network, request, piece))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._schedule()

    async def _work(self, network: str, request: _Request, piece: Changes) -> None:
        cost = len(piece.added) + len(piece.changed) + len(piece.removed)
        try:
            with crash_on_error():
                switches = await self._apply(piece, True)
            request.switches.update(switches)
            # An entity is one change on each switch that it reaches; most entities reach few.
            cost = max(cost, len(switches))
        except Exception as fault:  # `submit` raises it to its caller
            request.fault = fault
        finally:
            self._under_way[network] -= 1
            self._queues.charge(network, cost)
            request.left -= 1
            if not request.left:
                self._finish(request)
            self._schedule()

    def _finish(self, request: _Request) -> None:
        for claim in request.claims:
            self._claimed[claim] -= 1
            if not self._claimed[claim]:
                del self._claimed[claim], self._claimed_by[claim]
        if request.fault is not None:
            request.done.set_exception(request.fault)
        else:
            request.done.set_result(None)
        if not self.waiting():
            self._idle.set()
