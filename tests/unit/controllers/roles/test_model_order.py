"""Orders for the programming model: the way back while a change is in progress."""

from __future__ import annotations

from controllers.roles.model_order import ModelOrders
from hoverboard.contract.wire import control_pb2 as pb


def test_in_the_middle_of_a_change_only_the_way_back_is_open() -> None:
    sent: list[tuple[int, str, str]] = []
    orders = ModelOrders("hoverboard", 1, lambda order: sent.append((order.number, order.model, order.stage)))
    orders.begin("gateway")
    assert orders.begin("hoverboard") == "gateway"
    assert (orders.model, orders.waiting) == ("hoverboard", None)
    assert sent == [(1, "gateway", "gain"), (2, "hoverboard", "done")]
    orders.reached(0, pb.Reached(number=1, stage="gain"))  # of the change that was given up
    assert orders.model == "hoverboard"
    assert orders.begin("on-demand") == "hoverboard"
