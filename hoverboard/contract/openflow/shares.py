"""The share of a switch's flows that a control plane owns, if a regional and a global one program one switch.

Bit 0 of the cookie says it; kind and VNI have the upper bits. So each plane reads, and can delete, its own flows only.
A global flow for one VM ranks just below the regional flow that matches the same packets. So their keys differ, and
regional flows stay and win, whatever a global plane sends (paper section 3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import NamedTuple

from hoverboard.contract.openflow import tables
from hoverboard.contract.openflow.flow import Flow

_BELOW = frozenset(
    (int(table), rank)
    for table in (tables.Table.ROUTE, tables.Table.RELAY)
    for rank in (tables.EXACT, tables.PAIR, tables.ROUTE)
)


class Share(NamedTuple):
    """The flows whose cookie, under `mask`, is `cookie`."""

    cookie: int = 0
    mask: int = 0

    def holds(self, flow: Flow) -> bool:
        """Whether a flow belongs to the share."""
        return flow.cookie & self.mask == self.cookie


WHOLE, REGIONAL, GLOBAL = Share(), Share(0, 1), Share(1, 1)


def global_flow(flow: Flow) -> Flow:
    """The flow as it is in the global share."""
    below = (flow.table, flow.priority) in _BELOW
    return Flow(flow.table, flow.priority - below, flow.match, flow.actions, flow.cookie | GLOBAL.cookie)


@cache
def globally(make: Callable[..., Flow | Sequence[Flow]]) -> Callable[..., Flow | Sequence[Flow]]:
    """A function with the parameters of `make` that makes its flows for the global share."""

    @wraps(make)
    def made(*arguments: object) -> Flow | Sequence[Flow]:
        flows = make(*arguments)
        return global_flow(flows) if isinstance(flows, Flow) else [global_flow(flow) for flow in flows]

    return made
