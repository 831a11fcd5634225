"""The project's errors, for people who catch them; `hoverboard.contract.errors` has the tree and what each means."""

from __future__ import annotations

from hoverboard.contract.errors import (
    EntityError,
    HoverboardError,
    InputError,
    MachineError,
    MeasurementError,
    RunError,
    SwitchError,
)

__all__ = [
    "EntityError",
    "HoverboardError",
    "InputError",
    "MachineError",
    "MeasurementError",
    "RunError",
    "SwitchError",
]
