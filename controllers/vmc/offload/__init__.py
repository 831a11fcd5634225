"""Which flows leave the Hoverboards, and the policies that decide it (paper 3.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import old_names

# In version 0.1 `policy` stood at this path; its names go from here with the next version.
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
