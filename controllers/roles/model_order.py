"""A change of the programming model, ordered stage by stage for all partitions (paper section 3.3).

Each partition makes before it breaks for its own switches. Hosts of one partition send to Hoverboards of another. So
all partitions end a stage before the next stage begins. Pure, except that it sends the orders.
"""

from __future__ import annotations

from collections.abc import Callable

from controllers.vmc.models import model_named
from hoverboard.contract.errors import RunError
from hoverboard.contract.wire import control_pb2 as pb

_NEXT = {"gain": "hosts", "hosts": "done"}


class ModelOrders:
    """The present order.

    Args:
        model: the model with which the controllers started.
        send: sends an order to all of them.
    """

    def __init__(self, model: str, partitions: int, send: Callable[[pb.ModelOrder], None]) -> None:
        self.order = pb.ModelOrder(model=model, stage="done")
        self._partitions = partitions
        self._send = send
        self._reached: set[int] = set()
        self._former = model  # the model before the present change

    @property
    def model(self) -> str:
        """The programming model, or the new one during a change."""
        return self.order.model

    @property
    def waiting(self) -> list[int] | None:
        """Partitions that the change waits for; None if no change is in progress."""
        if self.order.stage == "done":
            return None
        return sorted(set(range(self._partitions)) - self._reached)

    def begin(self, model: str) -> str:
        """Begin a change to a model; return the previous model.

        During a change, only the way back to the former model is accepted: the new one may have ended a controller.

        Raises:
            InputError: the model does not exist.
            RunError: another change is still in progress.
        """
        model_named(model, where="SetModel")
        before = self.model
        if model == before:
            return before
        if self.waiting is not None and model == self._former:
            self._issue(pb.ModelOrder(number=self.order.number + 1, model=model, stage="done"))
            return before
        if self.waiting is not None:
            raise RunError(
                f"the change to model {before} is still in progress",
                where="SetModel",
                next_step="retry in a few seconds; `hoverboard status` shows what it waits for",
            )
        self._former = before
        self._issue(pb.ModelOrder(number=self.order.number + 1, model=model, stage="gain"))
        return before

    def reached(self, partition: int, report: pb.Reached) -> None:
        """Record that the master of a partition has ended a stage."""
        if (report.number, report.stage) != (self.order.number, self.order.stage) or self.order.stage == "done":
            return
        self._reached.add(partition)
        if len(self._reached) == self._partitions:
            self._issue(pb.ModelOrder(number=report.number, model=self.model, stage=_NEXT[report.stage]))

    def _issue(self, order: pb.ModelOrder) -> None:
        self.order = order
        self._reached = set()
        self._send(order)
