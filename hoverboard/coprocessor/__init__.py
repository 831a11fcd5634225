"""Coprocessors (paper section 4.4): one thread per VM, for stages that are too heavy for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "ConfiguredStage": "hoverboard.coprocessor.stage",
    "StageConfig": "hoverboard.coprocessor.stage",
    "Packet": "hoverboard.coprocessor.stage",
}

if TYPE_CHECKING:
    from hoverboard.coprocessor.stage import ConfiguredStage as ConfiguredStage
    from hoverboard.coprocessor.stage import Packet as Packet
    from hoverboard.coprocessor.stage import StageConfig as StageConfig
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC)
