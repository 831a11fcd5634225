"""Errors of Hoverboard, for code that catches them; `hoverboard.contract.errors` has the tree and their meanings."""

from __future__ import annotations

from hoverboard.contract.errors import (
    EntityError,
    HoverboardError,
    HoverboardWarning,
    InputError,
    MachineError,
    MeasurementError,
    RunError,
    SwitchError,
)

__all__ = [
    "EntityError",
    "HoverboardError",
    "HoverboardWarning",
    "InputError",
    "MachineError",
    "MeasurementError",
    "RunError",
    "SwitchError",
]
