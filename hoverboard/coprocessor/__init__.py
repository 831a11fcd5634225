"""Coprocessors (paper section 4.4): per-VM threads for work too heavy for the fast path, made of stages."""

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
