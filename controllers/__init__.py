"""The control plane: fabric manager, VM controllers, OpenFlow front ends (paper section 3).

- `fm/`: the intent; it checks and stores entities, with a gRPC service and a typed client.
- `vmc/`: intent, physical facts and usage in, flow programs out; the core is pure.
- `vmc/models/`: the programming models, one class each.
- `ofe/`: OpenFlow sessions; only `openflow` knows os-ken.
- `roles/`: each role as a separate process; `election/` and `store/` belong to it.
- `single_process`: all roles in one process; `python -m controllers` runs it.
- `testing/`: switches in memory and a cluster without processes, for tests and labs.

From the data plane it imports only the contract (`hoverboard.contract`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "FabricClient": "controllers.fm.fabric_client",
    "entities": "hoverboard.contract",
    "OffloadPolicy": "controllers.vmc.offload.policy",
    "Decision": "controllers.vmc.offload.policy",
    "ProgrammingModel": "controllers.vmc.model",
    "GatewayModel": "controllers.vmc.models.gateway",
    "VmScope": "controllers.vmc.view.flow_scopes",
    "block": "controllers.program",
    "route_flow": "hoverboard.contract.openflow.pipeline",
}
# Modules that the documents of version 0.1 name; the next version removes them.
OLD_PATHS = {
    "controllers.fm.client": "controllers.fm.fabric_client",
}

if TYPE_CHECKING:
    from controllers.fm.fabric_client import FabricClient as FabricClient
    from controllers.program import block as block
    from controllers.vmc.model import ProgrammingModel as ProgrammingModel
    from controllers.vmc.models.gateway import GatewayModel as GatewayModel
    from controllers.vmc.offload.policy import Decision as Decision
    from controllers.vmc.offload.policy import OffloadPolicy as OffloadPolicy
    from controllers.vmc.view.flow_scopes import VmScope as VmScope
    from hoverboard.contract import entities as entities
    from hoverboard.contract.openflow.pipeline import route_flow as route_flow
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC, OLD_PATHS)
