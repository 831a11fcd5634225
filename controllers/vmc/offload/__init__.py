"""Decides which VM pairs are offloaded from the Hoverboards (paper 3.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import old_names

# In version 0.1 `policy` was at this path. The next version removes these names from here.
OLD_NAMES = {
    "Decision": "from controllers import Decision",
    "Offload": "from controllers.vmc.offload.policy import Offload",
    "OffloadPolicy": "from controllers import OffloadPolicy",
    "OffloadSettings": "from controllers.vmc.offload.policy import OffloadSettings",
    "Pair": "from controllers.vmc.offload.policy import Pair",
    "Sent": "from controllers.vmc.offload.policy import Sent",
}

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__, OLD_NAMES)
